//! Segments on their way between TCP and IP.

use core::net::IpAddr;

use crate::address::{Address, is_v4};
use crate::chunk::Chunks;
use crate::error::Result;
use crate::interface::LOOPBACK_INDEX;
use crate::ip;
use crate::packet::{IpHeader, Outbox, Packet, Payload};
use crate::route;
use crate::stack::{HOP_LIMIT, Stack};
use crate::tcp::{Endpoint, Flow, Manner, Output, Path, SegmentHeader, Seq};

/// The payload that loopback takes at once.
const LOOPBACK_BURST: u32 = 0xffff;
/// The same of a link, where headers come before it: cutting costs less below than above, even if no card does it.
const LINK_BURST: u32 = PACKET_MAX - (ip::V4_HEADER + SegmentHeader::MAX_LEN) as u32;
/// No packet is longer, whatever an interface takes.
const PACKET_MAX: u32 = 0xffff;

/// What TCP sends by.
#[derive(Debug)]
pub struct Below<'a> {
    /// The network.
    pub stack: &'a Stack,
    /// Where its packets go.
    pub out: &'a mut Outbox,
}

/// An address as TCP has it.
pub fn of_tcp(address: &Address) -> IpAddr {
    address.to_canonical()
}

/// An address of TCP's as packets have it.
pub fn to_packets(address: IpAddr) -> Address {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

fn way(stack: &Stack, flow: &Flow, interface: u32, now: u64) -> Result<(route::Path, Address, Address)> {
    let (source, destination) = (to_packets(flow.local.address), to_packets(flow.remote.address));
    let path = match interface {
        0 => stack.routes.find(&destination, &source, 0)?,
        named => stack.route(&destination, &source, named, now)?,
    };
    Ok((path, source, destination))
}

impl Output for Below<'_> {
    fn segment(&mut self, flow: &Flow, header: &SegmentHeader, payload: Chunks) {
        // What cannot be sent is lost, and sent again if that matters.
        let Manner { hop_limit, traffic_class, interface } = header.manner;
        let Ok((path, source, destination)) = way(self.stack, flow, interface, self.out.now) else { return };
        let ip = IpHeader {
            traffic_class,
            interface: path.interface,
            ..IpHeader::new(source, destination, if hop_limit == 0 { HOP_LIMIT } else { hop_limit })
        };
        let packet = Packet { header: ip, payload: Payload::Tcp(header.clone(), payload) };
        let _ = self.stack.output(&path, packet, self.out);
    }

    /// What this machine sends to itself comes by the interface that has the address (`ip_route_output_key_hash_rcu`).
    fn arrival(&self, flow: &Flow, interface: u32) -> u32 {
        if interface != LOOPBACK_INDEX {
            return interface;
        }
        let route = self.stack.routes.leading_to(&to_packets(flow.local.address), 0);
        route.map_or(interface, |route| route.interface)
    }

    fn path(&self, flow: &Flow) -> Path {
        let destination = to_packets(flow.remote.address);
        let mtu = self.stack.mtu_to(&destination).unwrap_or(PACKET_MAX).min(PACKET_MAX);
        let burst = if mtu == PACKET_MAX { LOOPBACK_BURST } else { LINK_BURST };
        Path { mss: mtu.saturating_sub(headers(&destination)) as u16, burst }
    }
}

/// A router says that the path of a connection takes no more than `mtu` in a packet. It is believed, and remembered for other connections, if it quotes
/// what is under way (RFC 5927, section 7).
pub(crate) fn path_changed(
    stack: &Stack,
    flow: &Flow,
    quoted: Seq,
    (destination, mtu): (Address, u32),
    out: &mut Outbox,
) {
    let Some(stream) = stack.tcp.stream(flow) else { return };
    let size = || stream.look(crate::tcp::Connection::segment_size);
    let (before, now) = (size(), out.now);
    let mss = mtu.saturating_sub(headers(&destination)).min(u16::MAX.into()) as u16;
    stack.tcp.path_changed(now, flow, quoted, mss, &mut Below { stack, out });
    if size() < before {
        stack.learn_mtu(&destination, mtu, now);
    }
}

/// Bytes of the headers before a segment's payload, without options.
fn headers(destination: &Address) -> u32 {
    let ip = if is_v4(destination) { ip::V4_HEADER } else { ip::V6_HEADER };
    (ip + SegmentHeader::LEN) as u32
}

/// Takes in a segment.
pub(crate) fn input(
    stack: &Stack,
    header: &IpHeader,
    segment: &mut SegmentHeader,
    data: Chunks,
    out: &mut Outbox,
) {
    segment.manner = Manner {
        hop_limit: header.hop_limit,
        traffic_class: header.traffic_class,
        interface: header.interface,
    };
    let flow = Flow {
        local: Endpoint::new(of_tcp(&header.destination), segment.destination),
        remote: Endpoint::new(of_tcp(&header.source), segment.source),
    };
    let now = out.now;
    stack.tcp.receive(now, &flow, segment, data, &mut Below { stack, out });
}

#[cfg(test)]
mod tests;
