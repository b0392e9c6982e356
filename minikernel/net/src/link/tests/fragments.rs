//! Packets that are longer than the link, or than the path.

use super::super::ethernet::HEADER;
use super::wire::{CARD, HOW, Host, Wire};
use super::*;
use crate::address::{SocketAddress, V4_PREFIX, v4};
use crate::chunk::{Chunk, Chunks};
use crate::endpoint::{Endpoint, Switches};
use crate::error::Error;
use crate::icmp::Origin;
use crate::ip;
use crate::link::port::Checksum;
use crate::packet::{IpHeader, protocol};
use crate::udp::{FRAGMENTED, Manner, PROBED, WHOLE};
use proptest::prelude::*;

const SECOND: u64 = 1_000_000_000;

fn addresses(v6: bool) -> [SocketAddress; 2] {
    let of = |address| SocketAddress { address, port: 7 };
    if v6 {
        ["fd00::1", "fd00::2"].map(|text| of(text.parse().unwrap()))
    } else {
        [of(v4(10, 0, 0, 1)), of(v4(10, 0, 0, 2))]
    }
}

/// Two machines that know each other, and a socket on each.
fn pair(v6: bool) -> (Wire, [Arc<Endpoint>; 2]) {
    let mut wire = Wire::new(Vec::new());
    for (number, at) in addresses(v6).into_iter().enumerate() {
        let host = Host::new(number as u8 + 1, Offloads::SUMS);
        host.add(wire.now, at.address, if v6 { 64 } else { V4_PREFIX + 24 });
        wire.hosts.push(host);
    }
    wire.run(5 * SECOND);
    let [one, other] = addresses(v6);
    let sockets = [wire.hosts[0].socket(one), wire.hosts[1].socket(other)];
    wire.hosts[0].send(wire.now, &sockets[0], other, text(b"x")).unwrap();
    wire.settle();
    assert!(sockets[1].inbox().take().is_some());
    wire.seen.clear();
    (wire, sockets)
}

fn text(bytes: &[u8]) -> Chunks {
    Chunk::copy_of(bytes).unwrap().into()
}

fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|at| (at % 251) as u8).collect()
}

fn read(endpoint: &Endpoint) -> Option<Vec<u8>> {
    let datagram = endpoint.inbox().take()?;
    Some(datagram.data.iter().flat_map(|chunk| chunk.to_vec()).collect())
}

/// The fragments of a datagram, as they are on the wire.
fn fragments(v6: bool, count: usize) -> (Wire, [Arc<Endpoint>; 2], Vec<Vec<u8>>) {
    let (wire, sockets) = pair(v6);
    wire.hosts[0].send(wire.now, &sockets[0], addresses(v6)[1], text(&bytes(count))).unwrap();
    let frames = wire.hosts[0].card.take();
    (wire, sockets, frames)
}

#[test]
fn a_datagram_as_long_as_can_be_arrives_in_fragments() {
    for (v6, longest) in [(false, 65_507), (true, 65_527)] {
        let (mut wire, [one, other]) = pair(v6);
        let to = addresses(v6)[1];
        for count in [1452, 1473, 3000, longest] {
            wire.hosts[0].send(wire.now, &one, to, text(&bytes(count))).unwrap();
            wire.settle();
            assert_eq!(read(&other).unwrap(), bytes(count));
        }
        assert!(wire.seen.iter().all(|frame| frame.len() <= 1514));
        let long = wire.hosts[0].send(wire.now, &one, to, text(&bytes(longest + 1)));
        assert_eq!(long, Err(Error::TooLong));
    }
}

#[test]
fn rfc_5722_fragments_that_overlap_take_the_whole_with_them() {
    for v6 in [false, true] {
        let (wire, [_, other], frames) = fragments(v6, 4000);
        let (ip, place) = if v6 { (40, HEADER + 42) } else { (20, HEADER + 6) };
        let mut overlaps = frames[1].clone();
        // Eight bytes earlier.
        let at = u16::from_be_bytes([overlaps[place], overlaps[place + 1]]) - if v6 { 8 } else { 1 };
        overlaps[place..place + 2].copy_from_slice(&at.to_be_bytes());
        if !v6 {
            repair(&mut overlaps[HEADER..HEADER + ip]);
        }
        let all = [&frames[0], &overlaps, &frames[1], &frames[2]];
        for frame in all {
            wire.hosts[1].receive(wire.now, frame, Checksum::Unknown);
        }
        assert!(read(&other).is_none());
        // The same twice is no overlap.
        let (wire, [_, other], frames) = fragments(v6, 4000);
        for frame in [&frames[0], &frames[0], &frames[1], &frames[1], &frames[2]] {
            wire.hosts[1].receive(wire.now, frame, Checksum::Unknown);
        }
        assert_eq!(read(&other).unwrap(), bytes(4000));
    }
}

#[test]
fn a_packet_in_more_parts_than_any_link_makes_is_dropped() {
    for (size, arrives) in [(8_usize, false), (16, true)] {
        let (wire, [_, other], frames) = fragments(false, 4000);
        let whole: Vec<u8> = frames.iter().flat_map(|frame| frame[HEADER + 20..].to_vec()).collect();
        let count = whole.len().div_ceil(size);
        for (number, part) in whole.chunks(size).enumerate() {
            let mut frame = [&frames[0][..HEADER + 20], part].concat();
            let ip = &mut frame[HEADER..HEADER + 20];
            let more = if number + 1 < count { 0x2000 } else { 0 };
            ip[2..4].copy_from_slice(&(20 + part.len() as u16).to_be_bytes());
            ip[6..8].copy_from_slice(&(more | (number * size / 8) as u16).to_be_bytes());
            repair(ip);
            wire.hosts[1].receive(wire.now, &frame, Checksum::Unknown);
        }
        assert_eq!(read(&other), arrives.then(|| bytes(4000)));
    }
}

fn repair(header: &mut [u8]) {
    header[10..12].fill(0);
    let mut sum = crate::checksum::Sum::default();
    sum.add(header);
    header[10..12].copy_from_slice(&sum.finish().to_be_bytes());
}

#[test]
fn the_rest_is_not_waited_for_for_ever_and_the_sender_learns_that() {
    for (v6, patience, kind) in [(false, 30, (11, 1)), (true, 60, (3, 1))] {
        let (mut wire, [one, other], frames) = fragments(v6, 4000);
        one.set(if v6 { Switches::REPORTS_V6 } else { Switches::REPORTS }, true);
        wire.hosts[1].receive(wire.now, &frames[0], Checksum::Unknown);
        wire.run(patience * SECOND - SECOND);
        assert!(one.inbox().reports.is_empty());
        wire.run(2 * SECOND);
        assert_eq!(one.inbox().take_report().map(|report| report.kind), Some(kind));
        for frame in &frames[1..] {
            wire.hosts[1].receive(wire.now, frame, Checksum::Unknown);
        }
        assert!(read(&other).is_none());
    }
}

#[test]
fn fragments_hold_only_so_much() {
    let (wire, [one, other]) = pair(false);
    let mut first = Vec::new();
    for _ in 0..1000 {
        wire.hosts[0].send(wire.now, &one, addresses(false)[1], text(&bytes(65_000))).unwrap();
        first = wire.hosts[0].card.take();
        for frame in &first[1..] {
            wire.hosts[1].receive(wire.now, frame, Checksum::Unknown);
        }
    }
    // What comes later finds no room before the time of the others is over.
    let (mut wire, other) = (wire, other);
    wire.hosts[1].receive(wire.now, &first[0], Checksum::Unknown);
    read(&other);
    wire.run(31 * SECOND);
    wire.hosts[0].send(wire.now, &one, addresses(false)[1], text(&bytes(65_000))).unwrap();
    wire.settle();
    assert_eq!(read(&other).unwrap(), bytes(65_000));
}

proptest! {
    #[test]
    fn fragments_arrive_in_any_order_and_often(
        v6: bool, count in 1500..20_000usize, order in prop::collection::vec(any::<prop::sample::Index>(), 0..40), seed: u64,
    ) {
        let (wire, [_, other], frames) = fragments(v6, count);
        let mut all: Vec<usize> = (0..frames.len()).collect();
        let mut state = seed | 1;
        for place in (1..all.len()).rev() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            all.swap(place, (state >> 33) as usize % (place + 1));
        }
        // Some of them earlier as well, but not all.
        let last = *all.last().unwrap();
        let early = order.iter().map(|index| index.index(frames.len())).filter(|&index| index != last);
        for index in early.chain(all.clone()) {
            prop_assert!(other.inbox().messages.is_empty());
            wire.hosts[1].receive(wire.now, &frames[index], Checksum::Unknown);
        }
        prop_assert_eq!(read(&other).unwrap(), bytes(count));
    }
}

/// A router tells host 1 that a packet of it was too long.
fn too_long(v6: bool, mtu: u16, quoted: &[u8]) -> Vec<u8> {
    let [one, other] = addresses(v6).map(|at| at.address);
    let header = IpHeader { whole: false, ..IpHeader::new(other, one, 60) };
    let [high, low] = mtu.to_be_bytes();
    let (kind, code, protocol) = if v6 { (2, 0, protocol::ICMPV6) } else { (3, 4, protocol::ICMP) };
    let quoted = &quoted[HEADER..quoted.len().min(HEADER + 500)];
    let mut message = [&[kind, code, 0, 0, 0, 0, high, low], quoted].concat();
    let sum = icmp::sum(&header, &message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let mut bytes = [0; ip::HEADER_MAX];
    let length = ip::emit(&header, protocol, message.len(), 0, &mut bytes);
    let kind: &[u8] = if v6 { &[0x86, 0xdd] } else { &[8, 0] };
    [&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2], kind, &bytes[..length], &message].concat()
}

#[test]
fn rfc_1191_a_path_that_takes_less_is_learned_of_and_forgotten() {
    for (v6, mtu, least) in [(false, 1000, 552), (true, 1400, 1280)] {
        let (mut wire, [one, other]) = pair(v6);
        let to = addresses(v6)[1];
        wire.hosts[0].stack.connect(&one, to, &HOW, wire.now).unwrap();
        wire.hosts[0].send(wire.now, &one, to, text(&bytes(1400))).unwrap();
        let sent = wire.hosts[0].card.take();
        let known = |wire: &Wire| wire.hosts[0].stack.mtu_to(&to.address).unwrap();
        // One who asks about something that was never sent is not believed.
        let mut forged = sent[0].clone();
        let port = HEADER + if v6 { 40 } else { 20 };
        forged[port] ^= 0xff;
        wire.hosts[0].receive(wire.now, &too_long(v6, mtu, &forged), Checksum::Unknown);
        assert_eq!(known(&wire), 1500);
        wire.hosts[0].receive(wire.now, &too_long(v6, mtu, &sent[0]), Checksum::Unknown);
        assert_eq!(known(&wire), u32::from(mtu));
        assert_eq!(one.inbox().error.take(), Some(Error::TooLong));
        // From now on this machine fragments; who forbids that learns how long a packet may be.
        wire.hosts[0].send(wire.now, &one, to, text(&bytes(1400))).unwrap();
        wire.settle();
        assert_eq!(read(&other).unwrap(), bytes(1400));
        assert!(wire.seen.iter().all(|frame| frame.len() <= HEADER + usize::from(mtu)));
        one.set(if v6 { Switches::REPORTS_V6 } else { Switches::REPORTS }, true);
        let send = |wire: &Wire, discovery| {
            let how = Manner { discovery, ..HOW };
            wire.hosts[0].with(wire.now, |stack, out| stack.send(&one, None, &how, text(&bytes(1400)), out))
        };
        assert_eq!(send(&wire, WHOLE), Err(Error::TooLong));
        let report = one.inbox().take_report().unwrap();
        assert_eq!((report.origin, report.info), (Origin::Local, u32::from(mtu)));
        assert_eq!(send(&wire, PROBED), Ok(()));
        assert_eq!(send(&wire, FRAGMENTED), Ok(()));
        wire.settle();
        // Nobody makes it shorter than any link.
        wire.hosts[0].receive(wire.now, &too_long(v6, 68, &sent[0]), Checksum::Unknown);
        assert_eq!(known(&wire), least);
        wire.hosts[0].receive(wire.now, &too_long(v6, 9000, &sent[0]), Checksum::Unknown);
        assert_eq!(known(&wire), least);
        wire.run(601 * SECOND);
        assert_eq!(known(&wire), 1500);
    }
}

#[test]
fn only_what_may_be_fragmented_says_so() {
    let (wire, [one, _]) = pair(false);
    let to = addresses(false)[1];
    let flags = |discovery, count| {
        let how = Manner { discovery, ..HOW };
        wire.hosts[0]
            .with(wire.now, |stack, out| stack.send(&one, Some(to), &how, text(&bytes(count)), out))
            .unwrap();
        wire.hosts[0].card.take()[0][HEADER + 6] & 0x60
    };
    let (whole, more) = (0x40, 0x20);
    assert_eq!([FRAGMENTED, 1, WHOLE, PROBED].map(|how| flags(how, 10)), [0, whole, whole, whole]);
    assert_eq!([FRAGMENTED, 1].map(|how| flags(how, 2000)), [more; 2]);
}

#[test]
fn errors_are_few() {
    let (wire, [one, _]) = pair(false);
    let nobody = SocketAddress { port: 9, ..addresses(false)[1] };
    let mut answered = 0;
    for _ in 0..100 {
        wire.hosts[0].send(wire.now, &one, nobody, text(b"x")).unwrap();
        for frame in wire.hosts[0].card.take() {
            wire.hosts[1].receive(wire.now, &frame, Checksum::Unknown);
        }
        answered += wire.hosts[1].card.take().len();
    }
    assert_eq!(answered, 6);
    // None is about what was for many.
    let mut frame = wire.hosts[0].with(wire.now, |stack, out| {
        stack.send(&one, Some(nobody), &HOW, text(b"x"), out).unwrap();
        stack.deliver(out);
        wire.hosts[0].card.take().remove(0)
    });
    frame[..6].fill(0xff);
    wire.hosts[1].receive(wire.now + 100 * SECOND, &frame, Checksum::Unknown);
    assert!(wire.hosts[1].card.take().is_empty());
    assert_eq!(wire.hosts[1].stack.at(CARD).unwrap().index, CARD);
}
