//! Endpoints that take whole packets of a protocol: raw(7). Their protocol is the port at which they are found.

use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering};

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::address::{Address, SocketAddress, is_any, is_multicast, is_v4};
use crate::checksum::Sum;
use crate::chunk::{Chunk, Chunks};
use crate::endpoint::Endpoint;
use crate::error::{Error, Result};
use crate::icmp::flat;
use crate::ip;
use crate::packet::{IpHeader, Outbox, Packet, Payload, protocol};
use crate::stack::Stack;
use crate::udp::{Manner, meant};

/// `IPPROTO_RAW`: who has this gives headers, and receives nothing that there is.
pub const ANYTHING: u8 = 255;
/// Mobility headers of IPv6 (RFC 6275), whose checksum is the kernel's to write, as ICMPv6's is.
const MOBILITY: u8 = 135;
/// The longest packet.
const LENGTH_MAX: usize = 0xffff;

/// What only such an endpoint has.
#[derive(Debug)]
pub struct Raw {
    /// The types of ICMP that it does not want, a bit for each (`ICMP_FILTER`, `ICMPV6_FILTER`).
    pub blocked: [AtomicU32; 8],
    /// Where in its messages of IPv6 a checksum stands; less than 0 if nowhere (`IPV6_CHECKSUM`).
    pub checksum: AtomicI32,
    /// What it sends has a header (`IP_HDRINCL`).
    pub header: AtomicBool,
}

impl Raw {
    pub(crate) fn new(protocol: u8) -> Self {
        let checksum = match protocol {
            protocol::ICMPV6 => 2,
            MOBILITY => 4,
            _ => -1,
        };
        Self {
            blocked: [const { AtomicU32::new(0) }; 8],
            checksum: AtomicI32::new(checksum),
            header: AtomicBool::new(false),
        }
    }

    /// Whether what it sends has a header.
    pub fn has_header(&self) -> bool {
        self.header.load(Ordering::Relaxed)
    }

    /// Where a checksum is to be written in what it sends by IPv6, and looked at in what it receives.
    fn checksum_at(&self) -> Option<usize> {
        usize::try_from(self.checksum.load(Ordering::Relaxed)).ok()
    }

    /// Whether it wants a message of ICMP (`icmp_filter`, `icmpv6_filter`).
    fn wants(&self, v4: bool, message: &[u8]) -> bool {
        let Some(&kind) = message.first() else { return false };
        let blocked = self.blocked[usize::from(kind >> 5)].load(Ordering::Relaxed);
        v4 && kind >= 32 || blocked >> (kind & 31) & 1 == 0
    }
}

/// The sum over a message of IPv6 and what stands before it in thought, which is 0 if its checksum is right.
fn sum(header: &IpHeader, protocol: u8, data: &Chunks) -> Sum {
    let mut sum = Sum::of_pseudo_header(&header.source, &header.destination, protocol, data.len());
    data.iter().for_each(|chunk| sum.add(chunk));
    sum
}

/// Calls `visit` for each endpoint of a protocol that takes what one address sends to another. Returns whether there is any.
pub(crate) fn matching(
    stack: &Stack,
    protocol: u8,
    (from, to): (&Address, &Address),
    interface: u32,
    visit: &mut dyn FnMut(&Endpoint),
) -> bool {
    let from = SocketAddress { address: *from, port: 0 };
    let to = SocketAddress { address: *to, port: protocol.into() };
    let mut any = false;
    // Without memory they hear nothing.
    let _ = stack.raws.for_group(&from, &to, interface, &mut |endpoint| {
        any = true;
        visit(endpoint);
    });
    any
}

/// Gives a packet to all that want it: of IPv4 with its header, of IPv6 without (raw(7), RFC 3542, section 3). Returns whether there is any.
pub(crate) fn input(stack: &Stack, packet: &Packet, now: u64) -> bool {
    let header = &packet.header;
    let protocol = packet.payload.protocol();
    let v4 = is_v4(&header.destination);
    let group = is_multicast(&header.destination);
    matching(stack, protocol, (&header.source, &header.destination), header.interface, &mut |endpoint| {
        let Some(raw) = &endpoint.raw else { return };
        if group && !endpoint.is_member(&header.destination, header.interface) {
            return;
        }
        let Some(data) = bytes_of(packet, v4) else { return };
        if let Payload::Other(protocol::ICMP | protocol::ICMPV6, message) = &packet.payload
            && !raw.wants(v4, message.front())
        {
            return;
        }
        if !v4 && raw.checksum_at().is_some() && sum(header, protocol, &data).finish() != 0 {
            return;
        }
        endpoint.deliver(header, (0, 0), data, now);
    })
}

/// A packet's bytes, with the header of IP or without.
fn bytes_of(packet: &Packet, with_header: bool) -> Option<Chunks> {
    if let (Payload::Other(_, data), false) = (&packet.payload, with_header) {
        return data.try_clone().ok();
    }
    let mut bytes = Vec::new();
    let length = packet.wire_len();
    bytes.try_reserve_exact(length).ok()?;
    bytes.resize(length, 0);
    packet.emit(&mut bytes);
    let mut whole = Chunks::from(Chunk::from(bytes));
    if !with_header {
        whole.advance(ip::V6_HEADER);
    }
    Some(whole)
}

/// Whether a program has put a packet together that the protocols know.
pub(crate) fn is_read_again(packet: &Packet) -> bool {
    matches!(packet.payload, Payload::Other(protocol::TCP | protocol::UDP, _) | Payload::Verbatim(..))
}

/// Takes in a packet of which [`is_read_again`] says so. `None` for what makes no sense, and without memory.
pub(crate) fn read_again(stack: &Stack, packet: Packet, out: &mut Outbox) -> Option<()> {
    let Packet { mut header, payload } = packet;
    let (data, protocol) = match payload {
        Payload::Verbatim(_, mut data) => {
            let front = flat(&data)?;
            let (found, protocol, payload) = ip::parse(&front, header.interface)?;
            data.truncate(payload.end);
            data.advance(payload.start);
            header = IpHeader { to_many: header.to_many, ..found };
            (data, protocol)
        }
        Payload::Other(protocol, data) => (data, protocol),
        Payload::Tcp(..) | Payload::Udp(..) => return None,
    };
    header.cut_to = 0;
    stack.receive_payload(header, protocol, data, (false, 0), out)
}

impl Stack {
    /// An endpoint begins to take packets.
    pub fn open_raw(&self, endpoint: &Arc<Endpoint>) -> Result<()> {
        let mut names = endpoint.lock_names();
        names.local.port = endpoint.protocol.into();
        let local = names.local;
        self.raws.enter(endpoint, &names, local).inspect_err(|_| names.local.port = 0)
    }

    /// It takes only what comes to an address, and sends from there if it can. `Invalid` if it is connected.
    pub fn bind_raw(&self, endpoint: &Arc<Endpoint>, address: Address) -> Result<()> {
        let mut names = endpoint.lock_names();
        if names.peer.is_some() {
            return Err(Error::Invalid);
        }
        names.move_to(address);
        self.mend_source(&mut names);
        self.raws.update(endpoint, &names);
        Ok(())
    }

    /// Sends a packet of a protocol, to the peer if not `to` somebody.
    pub fn send_raw(
        &self,
        endpoint: &Arc<Endpoint>,
        (to, protocol): (Option<Address>, u8),
        how: &Manner,
        data: Chunks,
        out: &mut Outbox,
    ) -> Result<()> {
        let Some(raw) = &endpoint.raw else { return Err(Error::Invalid) };
        let names = endpoint.names();
        let to = to.or(names.peer.map(|peer| peer.address)).ok_or(Error::NoDestination)?;
        let address = meant(&to, &names.source);
        let source = if is_any(&how.source) { names.source } else { how.source };
        let path = self.way(endpoint, &address, &Manner { source, ..*how }, out.now)?;
        let v4 = is_v4(&address);
        let place = SocketAddress { address, port: 0 };
        if raw.has_header() {
            let mtu = self.at(path.interface).ok_or(Error::NoInterface)?.mtu();
            if data.len() > mtu as usize {
                endpoint.tell_too_long(place, mtu, path.source);
                return Err(Error::TooLong);
            }
            if data.len() < if v4 { ip::V4_HEADER } else { ip::V6_HEADER } {
                return Err(Error::Invalid);
            }
            endpoint.check_sending()?;
            let data = if v4 { completed(&data, &path.source, (self.random)() as u16)? } else { data };
            let header = IpHeader { alone: !how.loops, ..IpHeader::new(path.source, address, 0) };
            return self.output(&path, Packet { header, payload: Payload::Verbatim(protocol, data) }, out);
        }
        let before = if v4 { ip::V4_HEADER } else { ip::V6_HEADER };
        if data.len() > LENGTH_MAX - if v4 { before } else { 0 } {
            return Err(Error::TooLong);
        }
        let header = self.header_to(endpoint, &path, &place, how, before + data.len())?;
        let data = match raw.checksum_at().filter(|_| !v4) {
            Some(at) => summed(&header, protocol, &data, at)?,
            None => data,
        };
        self.output(&path, Packet { header, payload: Payload::Other(protocol, data) }, out)
    }
}

/// A packet of IPv4 whose header a program has given, with what it has left to the kernel: its source if that is 0, its identification if that is, its length
/// and its checksum (raw(7)).
fn completed(data: &Chunks, source: &Address, identification: u16) -> Result<Chunks> {
    let front = flat(data).ok_or(Error::OutOfMemory)?;
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(front.len()).map_err(|_| Error::OutOfMemory)?;
    bytes.extend_from_slice(&front);
    let header = usize::from(bytes[0] & 0xf) * 4;
    if header > bytes.len() {
        return Err(Error::Invalid);
    }
    // One that is too short to be one goes as it is (`raw_send_hdrinc`).
    if header >= ip::V4_HEADER {
        let length = bytes.len() as u16;
        if bytes[12..16] == [0; 4] {
            bytes[12..16].copy_from_slice(&source.octets()[12..]);
        }
        if bytes[4..6] == [0; 2] {
            bytes[4..6].copy_from_slice(&identification.max(1).to_be_bytes());
        }
        bytes[2..4].copy_from_slice(&length.to_be_bytes());
        bytes[10..12].fill(0);
        let mut sum = Sum::default();
        sum.add(&bytes[..header]);
        let sum = sum.finish();
        bytes[10..12].copy_from_slice(&sum.to_be_bytes());
    }
    Ok(Chunk::from(bytes).into())
}

/// A message with its checksum in its place (RFC 3542, section 3.1). `Invalid` if that lies outside.
fn summed(header: &IpHeader, protocol: u8, data: &Chunks, at: usize) -> Result<Chunks> {
    if at + 1 >= data.len() {
        return Err(Error::Invalid);
    }
    let front = flat(data).ok_or(Error::OutOfMemory)?;
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(front.len()).map_err(|_| Error::OutOfMemory)?;
    bytes.extend_from_slice(&front);
    bytes[at..at + 2].fill(0);
    let mut sum = Sum::of_pseudo_header(&header.source, &header.destination, protocol, bytes.len());
    sum.add(&bytes);
    let sum = if protocol == protocol::UDP { sum.finish_sent() } else { sum.finish() };
    bytes[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    Ok(Chunk::from(bytes).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::{ANY_V4, LOOPBACK_V4};
    use crate::udp::DISCOVERED;

    const MANNER: Manner = Manner {
        source: ANY_V4,
        interface: 0,
        group_interface: 0,
        hop_limit: 64,
        group_hop_limit: 1,
        traffic_class: 0,
        loops: true,
        discovery: DISCOVERED,
    };

    /// A network, one that gives headers, and one that takes what a protocol says.
    fn endpoints(protocol: u8) -> (Stack, Arc<Endpoint>, Arc<Endpoint>) {
        let stack = Stack::new(|| 4);
        let [sender, receiver] = [ANYTHING, protocol].map(|protocol| {
            let endpoint = Endpoint::new_raw(protocol, ANY_V4, 0, 1 << 20, Arc::default());
            stack.open_raw(&endpoint).unwrap();
            endpoint
        });
        sender.raw.as_ref().unwrap().header.store(true, Ordering::Relaxed);
        (stack, sender, receiver)
    }

    fn send(stack: &Stack, endpoint: &Arc<Endpoint>, bytes: &[u8]) -> Result<()> {
        let mut out = Outbox::new(0);
        let data = Chunk::copy_of(bytes).unwrap().into();
        let sent = stack.send_raw(endpoint, (Some(LOOPBACK_V4), ANYTHING), &MANNER, data, &mut out);
        stack.deliver(&mut out);
        sent
    }

    #[test]
    fn a_program_may_send_anything() {
        for protocol in [protocol::TCP, protocol::UDP, protocol::ICMP, protocol::IGMP, 99] {
            let (stack, sender, receiver) = endpoints(protocol);
            let mut packet = std::vec![7; 64];
            packet[..20].copy_from_slice(&[
                0x45, 0, 0, 64, 0, 0, 0, 0, 9, protocol, 0, 0, 127, 0, 0, 1, 127, 0, 0, 1,
            ]);
            for length in 0..packet.len() {
                let sent = send(&stack, &sender, &packet[..length]);
                assert_eq!(sent.is_ok(), length >= 20, "{length}");
            }
            for at in 0..40 {
                for value in [0, 0x0f, 0x40, 0x4f, 0x60, 0xff] {
                    let mut other = packet.clone();
                    other[at] = value;
                    // What comes of it is no more than that nothing breaks.
                    let _ = send(&stack, &sender, &other);
                }
            }
            assert!(protocol != 99 || !receiver.inbox().messages.is_empty());
        }
    }

    #[test]
    fn one_that_is_closed_hears_nothing() {
        let (stack, sender, receiver) = endpoints(99);
        let packet = [0x45, 0, 0, 20, 0, 0, 0, 0, 9, 99, 0, 0, 127, 0, 0, 1, 127, 0, 0, 1];
        send(&stack, &sender, &packet).unwrap();
        assert_eq!(receiver.inbox().messages.len(), 1);
        for endpoint in [&receiver, &sender] {
            stack.close(endpoint, &mut Outbox::new(0));
        }
        assert!(stack.raws.is_empty() && receiver.inbox().messages.is_empty());
    }
}
