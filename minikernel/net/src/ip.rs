//! Both versions of IP (RFC 791, RFC 8200): headers on the wire.

use smoltcp::wire::{IpProtocol, Ipv4Packet, Ipv6Packet};

use crate::address::is_v4;
use crate::checksum::Sum;
use crate::packet::{IpHeader, protocol};

/// Bytes of a header without options.
pub const V4_HEADER: usize = 20;
/// The option that says that routers are to look into a packet (RFC 2113), as messages of IGMP have it.
const ROUTER_ALERT: u32 = 0x9404_0000;
/// The flag of what nobody may fragment.
const DONT_FRAGMENT: u32 = 0x4000;
/// Bytes of a header without extensions.
pub const V6_HEADER: usize = 40;
/// Bytes of the longest header that is written.
pub const HEADER_MAX: usize = V6_HEADER;
/// Where in both headers their version is, in the upper half.
const VERSION: usize = 0;

/// Bytes of the header of IPv4 before a protocol.
fn v4_header(protocol: u8) -> usize {
    V4_HEADER + if protocol == protocol::IGMP { size_of_val(&ROUTER_ALERT) } else { 0 }
}

/// Writes the header of a packet with `length` bytes behind it; `identification` is IPv4's, for packets that may be fragmented. Returns how long it is itself.
pub fn emit(
    header: &IpHeader,
    protocol: u8,
    length: usize,
    identification: u16,
    bytes: &mut [u8; HEADER_MAX],
) -> usize {
    if is_v4(&header.source) {
        let begin = v4_header(protocol);
        let fixed =
            |first: u8, second: u8, rest: u16| u32::from_be_bytes([first, second, 0, 0]) | u32::from(rest);
        // Five words, or six: written as such, since every packet has them.
        let mut words = [
            fixed(0x40 | (begin / 4) as u8, header.traffic_class, (begin + length) as u16),
            u32::from(identification) << 16 | if header.whole { DONT_FRAGMENT } else { 0 },
            fixed(header.hop_limit, protocol, 0),
            header.source.to_bits() as u32,
            header.destination.to_bits() as u32,
            ROUTER_ALERT,
        ];
        let words = &mut words[..begin / 4];
        let sum = words.iter().map(|word| u64::from(*word)).sum();
        words[2] |= u32::from(Sum::of(sum).finish());
        for (place, word) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(words) {
            *place = word.to_be_bytes();
        }
        return begin;
    }
    bytes.fill(0);
    let mut packet = Ipv6Packet::new_unchecked(&mut bytes[..]);
    packet.set_version(6);
    packet.set_traffic_class(header.traffic_class);
    packet.set_payload_len(length as u16);
    packet.set_hop_limit(header.hop_limit);
    packet.set_next_header(IpProtocol::from(protocol));
    packet.set_src_addr(header.source);
    packet.set_dst_addr(header.destination);
    V6_HEADER
}

/// Makes a header of IPv4 one of a fragment.
pub fn set_fragment(header: &mut [u8], identification: u16, offset: u16, more: bool) {
    let mut packet = Ipv4Packet::new_unchecked(&mut *header);
    packet.set_ident(identification);
    packet.set_frag_offset(offset);
    packet.set_more_frags(more);
    packet.set_checksum(0);
    let mut sum = Sum::default();
    sum.add(header);
    Ipv4Packet::new_unchecked(header).set_checksum(sum.finish());
}

/// What a header of IPv4 says that came by `interface`.
pub fn header_v4(packet: &Ipv4Packet<&[u8]>, interface: u32) -> IpHeader {
    let [source, destination] =
        [packet.src_addr(), packet.dst_addr()].map(|address| address.to_ipv6_mapped());
    IpHeader {
        traffic_class: packet.dscp() << 2 | packet.ecn(),
        whole: packet.dont_frag(),
        interface,
        ..IpHeader::new(source, destination, packet.hop_limit())
    }
}

/// What one of IPv6 says.
pub fn header_v6(packet: &Ipv6Packet<&[u8]>, interface: u32) -> IpHeader {
    IpHeader {
        traffic_class: packet.traffic_class(),
        interface,
        ..IpHeader::new(packet.src_addr(), packet.dst_addr(), packet.hop_limit())
    }
}

/// What a packet that came by `interface` says: its header, its protocol, and where its payload lies, as far as it is there: an ICMP message quotes only
/// the beginning. `None` for what is no packet.
pub fn parse(bytes: &[u8], interface: u32) -> Option<(IpHeader, u8, core::ops::Range<usize>)> {
    let version = bytes.get(VERSION)? >> 4;
    if version == 4 && bytes.len() >= V4_HEADER {
        let packet = Ipv4Packet::new_unchecked(bytes);
        let begin = usize::from(packet.header_len());
        let end = bytes.len().min(packet.total_len().into());
        if begin < V4_HEADER || begin > end {
            return None;
        }
        let header = header_v4(&packet, interface);
        return Some((header, packet.next_header().into(), begin..end));
    }
    if version == 6 && bytes.len() >= V6_HEADER {
        let packet = Ipv6Packet::new_unchecked(bytes);
        let header = header_v6(&packet, interface);
        let end = bytes.len().min(V6_HEADER + usize::from(packet.payload_len()));
        return Some((header, packet.next_header().into(), V6_HEADER..end));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::{LOOPBACK, LOOPBACK_V4, v4};
    use crate::packet::protocol::UDP;

    #[test]
    fn headers_are_read_as_they_were_written() {
        for (source, destination) in [(LOOPBACK_V4, v4(10, 1, 2, 3)), (LOOPBACK, LOOPBACK)] {
            let header =
                IpHeader { traffic_class: 0xb9, interface: 4, ..IpHeader::new(source, destination, 9) };
            let mut bytes = [0; V6_HEADER];
            let length = emit(&header, UDP, 100, 0, &mut bytes);
            let (found, protocol, payload) = parse(&bytes[..length], 4).unwrap();
            assert_eq!(alloc::format!("{found:?}"), alloc::format!("{header:?}"));
            assert_eq!((protocol, payload), (UDP, length..length));
        }
    }

    #[test]
    fn the_checksum_of_a_header_is_that_of_rfc_791() {
        let header = IpHeader { interface: 1, ..IpHeader::new(v4(192, 168, 0, 1), v4(192, 168, 0, 199), 64) };
        let mut bytes = [0; V6_HEADER];
        emit(&header, UDP, 95, 0, &mut bytes);
        assert_eq!(bytes[10..12], [0xb8, 0x61]);
    }

    #[test]
    fn what_is_no_packet_is_none() {
        assert!(
            [&[][..], &[0x45; 19], &[0x60; 39], &[0x41; 40], &[0x75; 60]]
                .iter()
                .all(|bytes| parse(bytes, 1).is_none())
        );
    }
}
