//! Nobody else says which way packets go: routes that a packet wants to take, and ICMP's redirects.

use super::super::ethernet::IPV4;
use super::wire::Host;
use super::*;
use crate::address::{SocketAddress, v4};
use crate::checksum::Sum;
use crate::link::port::Checksum;
use crate::packet::protocol;

const SECOND: u64 = 1_000_000_000;
const UDP_HEADER: usize = 8;

fn sum(bytes: &[u8]) -> [u8; 2] {
    let mut sum = Sum::default();
    sum.add(bytes);
    sum.finish().to_be_bytes()
}

/// A frame to the first machine from a router with a packet of IPv4 that has options.
fn frame(options: &[u8], protocol: u8, payload: &[u8]) -> Vec<u8> {
    assert_eq!(options.len() % 4, 0);
    let header = 20 + options.len();
    let mut packet = alloc::vec![0x40 | (header / 4) as u8, 0];
    packet.extend(((header + payload.len()) as u16).to_be_bytes());
    packet.extend([0, 0, 0, 0, 64, protocol, 0, 0, 10, 0, 0, 254, 10, 0, 0, 1]);
    packet.extend_from_slice(options);
    let checksum = sum(&packet);
    packet[10..12].copy_from_slice(&checksum);
    packet.extend_from_slice(payload);
    let mut frame = alloc::vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 254];
    frame.extend(IPV4.to_be_bytes());
    frame.extend(packet);
    frame
}

/// A datagram with so many bytes to port 7.
fn datagram(length: usize) -> Vec<u8> {
    let words = [9, 7, (UDP_HEADER + length) as u16, 0];
    [words.map(u16::to_be_bytes).as_flattened(), &alloc::vec![b'x'; length]].concat()
}

/// How many messages arrive of one whose packet has these options.
fn arrive(host: &Host, options: &[u8]) -> usize {
    let endpoint = host.socket(SocketAddress { address: v4(10, 0, 0, 1), port: 7 });
    host.receive(SECOND, &frame(options, protocol::UDP, &datagram(5)), Checksum::Unknown);
    let arrived = endpoint.inbox().messages.len();
    host.with(SECOND, |stack, out| stack.close(&endpoint, out));
    arrived
}

#[test]
fn rfc_7126_packets_with_a_route_of_their_own_are_dropped() {
    let host = host_v4(1, Offloads::empty());
    // The route is at its end, or not even begun; with padding before it.
    for kind in [131, 137] {
        assert_eq!(arrive(&host, &[kind, 7, 8, 10, 0, 0, 9, 0]), 0, "{kind}");
        assert_eq!(arrive(&host, &[kind, 7, 4, 10, 0, 0, 9, 0]), 0, "{kind}");
        assert_eq!(arrive(&host, &[1, kind, 3, 4]), 0, "{kind}");
    }
}

#[test]
fn harmless_options_change_nothing() {
    let host = host_v4(1, Offloads::empty());
    for options in [
        &[][..],
        &[1, 1, 1, 0],
        &[0, 0, 0, 0],
        // Record route, timestamps, router alert.
        &[7, 7, 4, 0, 0, 0, 0, 0],
        &[68, 12, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        &[148, 4, 0, 0],
        // What is behind the end is none, and one that nobody knows.
        &[0, 131, 7, 4],
        &[222, 4, 1, 2],
    ] {
        assert_eq!(arrive(&host, options), 1, "{options:?}");
    }
    // Those that do not end where the header does.
    for options in [&[7, 9, 4, 0][..], &[68, 1, 5, 0], &[1, 1, 1, 7]] {
        assert_eq!(arrive(&host, options), 0, "{options:?}");
    }
}

#[test]
fn rfc_1122_3_2_2_2_a_redirect_has_no_effect() {
    let host = host_v4(1, Offloads::empty());
    let to = v4(10, 0, 0, 7);
    let before = host.stack.route(&to, &v4(0, 0, 0, 0), 0, SECOND).unwrap();
    let routes = host.stack.routes.all().unwrap();
    let endpoint = host.socket(SocketAddress { address: v4(10, 0, 0, 1), port: 9 });
    let quoted = {
        // What this machine is said to have sent.
        let mut packet = alloc::vec![0x45, 0, 0, 33, 0, 0, 0, 0, 64, protocol::UDP, 0, 0];
        packet.extend([10, 0, 0, 1, 10, 0, 0, 7]);
        let checksum = sum(&packet);
        packet[10..12].copy_from_slice(&checksum);
        packet.extend(datagram(5));
        packet
    };
    for code in 0..4 {
        let mut message = alloc::vec![5, code, 0, 0, 10, 0, 0, 253];
        message.extend_from_slice(&quoted);
        let checksum = sum(&message);
        message[2..4].copy_from_slice(&checksum);
        host.receive(SECOND, &frame(&[], protocol::ICMP, &message), Checksum::Unknown);
        let after = host.stack.route(&to, &v4(0, 0, 0, 0), 0, SECOND).unwrap();
        assert_eq!((after.next, after.interface), (before.next, before.interface));
        assert_eq!(host.stack.routes.all().unwrap(), routes);
        assert_eq!(endpoint.inbox().error, None);
    }
}
