//! Frames to packets. What comes from a link may be anything: each length is checked against what is there, and what makes no sense is dropped.

use smoltcp::wire::{Ipv4Packet, Ipv6Packet};

use super::ethernet::{ARP, EVERYBODY, HEADER, IPV4, IPV6};
use super::extensions::{self, Problem};
use super::port::{Checksum, Received};
use super::reassembly::Fragment;
use super::{Link, arp};
use crate::address::{Address, is_any, is_multicast, is_v4};
use crate::checksum::Sum;
use crate::chunk::{Chunk, Chunks};
use crate::dhcp;
use crate::icmp;
use crate::interface::Interface;
use crate::ip::{V4_HEADER, V6_HEADER, header_v4, header_v6};
use crate::packet::{IpHeader, Outbox, Packet, Payload, UdpHeader, protocol};
use crate::route::Kind;
use crate::stack::Stack;
use crate::tcp::SegmentHeader;

/// So many bytes of headers lie in one piece, if there are as many.
const HEADERS: usize = 256;
/// The protocol of a packet of IPv6 without a payload.
const NOTHING: u8 = 59;
/// What a segment of TCP needs of that on Ethernet with IPv4, all options included.
const USUAL: usize = HEADER + 60 + SegmentHeader::MAX_LEN;

/// The same bytes, the first of them in one piece.
fn pull_up(data: Chunks) -> Option<Chunks> {
    let mut bytes = [0; HEADERS];
    let mut count = 0;
    data.copy_to(0, &mut |part| {
        let taken = part.len().min(HEADERS - count);
        bytes[count..count + taken].copy_from_slice(&part[..taken]);
        count += taken;
        taken
    });
    let mut whole = Chunks::from(Chunk::copy_of(&bytes[..count]).ok()?);
    let mut rest = data;
    rest.advance(count);
    while let Some(chunk) = rest.pop() {
        whole.push(chunk).ok()?;
    }
    Some(whole)
}

impl Stack {
    /// Takes in a frame that came by an interface. What is to be answered lies in `out` after that: a batch of frames is followed by
    /// [`deliver`](Self::deliver).
    pub fn receive(&self, index: u32, frame: Received, out: &mut Outbox) {
        let Some(interface) = self.at(index).filter(|interface| interface.is_up()) else { return };
        let Some(link) = &interface.link else { return };
        interface.received.count(frame.data.len());
        if !self.watchers.is_empty() {
            let verified = frame.checksum == Checksum::Verified;
            self.watchers.show_received(index, &frame.data, link.hardware, verified);
        }
        // Without memory it is lost, as what is none is.
        let _ = self.receive_frame(interface, link, frame, out);
    }

    fn receive_frame(
        &self,
        interface: &Interface,
        link: &Link,
        frame: Received,
        out: &mut Outbox,
    ) -> Option<()> {
        let Received { mut data, checksum, segment_size } = frame;
        if data.front().len() < data.len().min(USUAL) {
            data = pull_up(data)?;
        }
        let head = data.front().get(..HEADER)?;
        let (to, kind) = (&head[..6], u16::from_be_bytes([head[12], head[13]]));
        let to_many = to[0] & 1 != 0;
        if !to_many && *to != link.hardware {
            return None;
        }
        let verified = checksum == Checksum::Verified;
        // A broadcast is for IPv4 alone; what is to a group is looked at by its address.
        let everybody = to == EVERYBODY;
        data.advance(HEADER);
        match kind {
            IPV4 => self.receive_v4(interface, data, (to_many, verified, segment_size), out),
            IPV6 if !everybody => self.receive_v6(interface, data, (to_many, verified, segment_size), out),
            ARP => {
                arp::input(self, link, data.front(), out);
                Some(())
            }
            _ => None,
        }
    }

    fn receive_v4(
        &self,
        interface: &Interface,
        mut data: Chunks,
        (to_many, verified, segment_size): (bool, bool, u16),
        out: &mut Outbox,
    ) -> Option<()> {
        let bytes = data.front();
        if bytes.len() < V4_HEADER {
            return None;
        }
        let packet = Ipv4Packet::new_unchecked(bytes);
        let (begin, total) = (usize::from(packet.header_len()), usize::from(packet.total_len()));
        if packet.version() != 4 || begin < V4_HEADER || total < begin || total > data.len() {
            return None;
        }
        let mut sum = Sum::default();
        sum.add(bytes.get(..begin)?);
        if sum.finish() != 0 || begin > V4_HEADER && !may_be_heeded(&bytes[V4_HEADER..begin]) {
            return None;
        }
        let (source, destination) = (packet.src_addr(), packet.dst_addr());
        let nowhere = source.octets()[0] == 0 && !source.is_unspecified();
        if source.is_loopback() || destination.is_loopback() || nowhere {
            return None;
        }
        let header = IpHeader { to_many, ..header_v4(&packet, interface.index) };
        let protocol = packet.next_header().into();
        let fragment = Fragment {
            protocol,
            identification: packet.ident().into(),
            offset: packet.frag_offset(),
            more: packet.more_frags(),
        };
        if !self.takes(&header, protocol, data.front().get(begin..)) {
            return None;
        }
        data.truncate(total);
        data.advance(begin);
        if fragment.offset == 0 && !fragment.more {
            return self.receive_payload(header, protocol, data, (verified, segment_size), out);
        }
        let (protocol, whole) = self.collect(interface, &header, fragment, data, out)?;
        self.receive_payload(header, protocol, whole, (false, 0), out)
    }

    /// Takes in a fragment; the whole packet's protocol and payload if it is complete.
    fn collect(
        &self,
        interface: &Interface,
        header: &IpHeader,
        fragment: Fragment,
        data: Chunks,
        out: &Outbox,
    ) -> Option<(u8, Chunks)> {
        let link = interface.link.as_ref()?;
        let (whole, until) = link.reassembly.add(header, fragment, data, out.now);
        self.arm(until);
        whole
    }

    fn receive_v6(
        &self,
        interface: &Interface,
        mut data: Chunks,
        (to_many, verified, segment_size): (bool, bool, u16),
        out: &mut Outbox,
    ) -> Option<()> {
        let bytes = data.front();
        if bytes.len() < V6_HEADER {
            return None;
        }
        let packet = Ipv6Packet::new_unchecked(bytes);
        let length = usize::from(packet.payload_len());
        let header = IpHeader { to_many, ..header_v6(&packet, interface.index) };
        // What seems to be of IPv4 never travels so (RFC 4291, section 2.5.5.2), nor what is for one machine alone.
        let strange = |address: &Address| is_v4(address) || address.is_loopback();
        let alone = header.destination.is_multicast() && header.destination.octets()[1] & 0xf <= 1;
        if packet.version() != 6
            || length > data.len() - V6_HEADER
            || strange(&header.source)
            || strange(&header.destination)
            || alone
        {
            return None;
        }
        let protocol = packet.next_header().into();
        if !self.takes(&header, protocol, None) {
            return None;
        }
        data.truncate(V6_HEADER + length);
        data.advance(V6_HEADER);
        let (protocol, data, fragment) = self.pass_extensions(interface, &header, protocol, data, out)?;
        let Some(fragment) = fragment else {
            return self.receive_payload(header, protocol, data, (verified, segment_size), out);
        };
        let (protocol, mut whole) = self.collect(interface, &header, fragment, data, out)?;
        if whole.front().len() < whole.len().min(HEADERS) {
            whole = pull_up(whole)?;
        }
        match self.pass_extensions(interface, &header, protocol, whole, out)? {
            (protocol, whole, None) => self.receive_payload(header, protocol, whole, (false, 0), out),
            // A fragment of a fragment is nobody's.
            _ => None,
        }
    }

    /// What lies behind the extension headers; the sender is told if they cannot be heeded.
    fn pass_extensions(
        &self,
        interface: &Interface,
        header: &IpHeader,
        protocol: u8,
        mut data: Chunks,
        out: &mut Outbox,
    ) -> Option<(u8, Chunks, Option<Fragment>)> {
        match extensions::walk(protocol, data.front()) {
            Ok(behind) => {
                data.advance(behind.length);
                Some((behind.protocol, data, behind.fragment))
            }
            Err(Problem::Dropped) => None,
            Err(Problem::Told { code, at, always }) => {
                let pointer = (V6_HEADER + at) as u32;
                let packet = Packet { header: *header, payload: Payload::Other(protocol, data) };
                icmp::object(self, interface, &packet, (code, pointer), always, out);
                None
            }
        }
    }

    /// Whether a packet from a link is for this machine, and from somebody (RFC 1122, section 3.2.1.3).
    fn takes(&self, header: &IpHeader, protocol: u8, head: Option<&[u8]>) -> bool {
        let to_group = is_multicast(&header.destination);
        let to = self.routes.kind_of(&header.destination);
        let from_somebody = if is_any(&header.source) {
            // Who has no address yet sends to all.
            to_group || to == Kind::Broadcast
        } else {
            // Another machine that has an address of this one says so by IPv6 (RFC 4862, section 5.4.4).
            protocol == protocol::ICMPV6 && !is_v4(&header.source)
                || self.routes.kind_of(&header.source) == Kind::Unicast
        };
        // Who is about to get an address is spoken to by it (RFC 2131, section 4.1).
        let gives_address = || {
            let client = |link: &Link| link.dhcp.is_active();
            let port = head
                .and_then(|head| head.get(2..4))
                .is_some_and(|port| port == dhcp::CLIENT_PORT.to_be_bytes());
            protocol == protocol::UDP
                && port
                && self.at(header.interface).and_then(|at| at.link.as_ref()).is_some_and(client)
        };
        let for_us = match to {
            // TCP knows no broadcasts (RFC 9293, section 3.9.2.3), not even in a frame for this machine alone.
            Kind::Broadcast => protocol != protocol::TCP,
            Kind::Local => true,
            Kind::Unicast => to_group || gives_address(),
        };
        for_us && from_somebody && !is_multicast(&header.source)
    }

    /// Takes in what a packet carries.
    pub(crate) fn receive_payload(
        &self,
        header: IpHeader,
        protocol: u8,
        mut data: Chunks,
        (verified, segment_size): (bool, u16),
        out: &mut Outbox,
    ) -> Option<()> {
        let payload = match protocol {
            // TCP knows no broadcasts (RFC 9293, section 3.9.2.3).
            protocol::TCP if header.to_many => return None,
            protocol::TCP => {
                if !verified && !is_right(&header, protocol, &data) {
                    return None;
                }
                if data.front().len() < data.len().min(SegmentHeader::MAX_LEN) {
                    data = pull_up(data)?;
                }
                let (mut segment, length) = SegmentHeader::parse(data.front())?;
                segment.segment_size = segment_size;
                data.advance(length);
                Payload::Tcp(segment, data)
            }
            protocol::UDP => {
                if data.front().len() < data.len().min(UdpHeader::LEN) {
                    data = pull_up(data)?;
                }
                let head: &[u8; UdpHeader::LEN] = data.front().first_chunk()?;
                let word = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
                let (ports, length, sum) =
                    (UdpHeader { source: word(0), destination: word(2) }, usize::from(word(4)), word(6));
                if length < UdpHeader::LEN || length > data.len() {
                    return None;
                }
                data.truncate(length);
                // IPv4 knows datagrams without a checksum (RFC 768), IPv6 does not (RFC 8200, section 8.1).
                let without = sum == 0;
                if without && !is_v4(&header.source)
                    || !without && !verified && !is_right(&header, protocol, &data)
                {
                    return None;
                }
                data.advance(UdpHeader::LEN);
                Payload::Udp(ports, data)
            }
            NOTHING => return None,
            protocol => Payload::Other(protocol, data),
        };
        self.input(Packet { header, payload }, out);
        Some(())
    }
}

/// Whether the checksum of TCP or UDP is right.
fn is_right(header: &IpHeader, protocol: u8, data: &Chunks) -> bool {
    let mut sum = Sum::of_pseudo_header(&header.source, &header.destination, protocol, data.len());
    data.iter().for_each(|chunk| sum.add(chunk));
    sum.finish() == 0
}

/// Whether the options of IPv4 make sense, and none wants the packet to go its own way (`accept_source_route` 0).
fn may_be_heeded(options: &[u8]) -> bool {
    const END: u8 = 0;
    const NOTHING: u8 = 1;
    const LOOSE_ROUTE: u8 = 131;
    const STRICT_ROUTE: u8 = 137;
    let mut rest = options;
    loop {
        match rest {
            [] | [END, ..] => return true,
            [NOTHING, others @ ..] => rest = others,
            [LOOSE_ROUTE | STRICT_ROUTE, ..] => return false,
            [_, length, ..] if (2..=rest.len()).contains(&usize::from(*length)) => {
                rest = &rest[usize::from(*length)..];
            }
            _ => return false,
        }
    }
}
