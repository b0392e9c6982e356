//! What is sent is what arrives, whatever the cards on both sides do.

use super::wire::{CARD, Host};
use super::*;
use crate::address::{SocketAddress, V4_PREFIX, v4};
use crate::chunk::{Chunk, Chunks};
use crate::link::port::{Checksum, Received};
use crate::segments::{Below, of_tcp};
use crate::tcp::{Claim, Endpoint, Events, Flow, Observer, Scope, Send, SocketOptions};
use proptest::prelude::*;

#[derive(Debug)]
struct Ignore;

impl Observer for Ignore {
    fn notify(&self, _: Events) {}
}

const SECOND: u64 = 1_000_000_000;

fn addresses(v6: bool) -> [Address; 2] {
    if v6 {
        ["fd00::1", "fd00::2"].map(|text| text.parse().unwrap())
    } else {
        [v4(10, 0, 0, 1), v4(10, 0, 0, 2)]
    }
}

fn pair(v6: bool, offloads: [Offloads; 2]) -> Wire {
    let mut wire = Wire::new(Vec::new());
    for (number, address) in addresses(v6).into_iter().enumerate() {
        let host = Host::new(number as u8 + 1, offloads[number]);
        host.add(wire.now, address, if v6 { 64 } else { V4_PREFIX + 24 });
        wire.hosts.push(host);
    }
    wire.run(5 * SECOND);
    wire.seen.clear();
    wire
}

/// A connection over which `count` bytes go, in the face of `fate`.
fn transfer(mut wire: Wire, v6: bool, count: usize, longest: usize) {
    let [here, there] = addresses(v6);
    let server = wire.hosts[1].stack;
    let claim = Claim { reuse_address: true, ..Claim::new(Scope::Any) };
    let binding = server.tcp.bind(80, claim).unwrap();
    let listener =
        server.tcp.listen(binding, Scope::Any, 8, SocketOptions::default(), Arc::new(Ignore)).unwrap();
    let flow = Flow { local: Endpoint::new(of_tcp(&here), 0), remote: Endpoint::new(of_tcp(&there), 80) };
    let now = wire.now;
    let client = wire.hosts[0].with(now, |stack, out| {
        let below = &mut Below { stack, out };
        stack.tcp.connect(flow, None, &SocketOptions::default(), Arc::new(Ignore), now, below).unwrap()
    });
    wire.run(10 * SECOND);
    let accepted = listener.accept().unwrap();
    let (mut sent, mut received) = (0, Vec::new());
    for _ in 0..2000 {
        let now = wire.now;
        wire.hosts[0].with(now, |stack, out| {
            client.with(&stack.tcp, now, |connection| {
                let room = connection.room().min(count - sent);
                let bytes: Vec<u8> = (sent..sent + room).map(|at| (at % 251) as u8).collect();
                sent += room;
                connection.send(now, Chunk::from(bytes), Send::default(), &mut Below { stack, out }).unwrap();
            });
        });
        wire.run(SECOND / 10);
        let now = wire.now;
        wire.hosts[1].with(now, |stack, out| {
            accepted.with(&stack.tcp, now, |connection| {
                let mut sink = |bytes: &[u8]| {
                    received.extend_from_slice(bytes);
                    bytes.len()
                };
                let _ = connection.read(now, &mut sink, &mut Below { stack, out });
            });
        });
        if received.len() == count {
            break;
        }
    }
    assert_eq!(received.len(), count);
    assert!(received.iter().enumerate().all(|(at, &byte)| byte == (at % 251) as u8));
    let most = wire.seen.iter().map(Vec::len).max().unwrap();
    assert_eq!(most, longest, "as long as the link allows");
}

#[test]
fn a_stream_crosses_a_link_with_and_without_the_help_of_cards() {
    let all = Offloads::all();
    for v6 in [false, true] {
        for offloads in [[Offloads::empty(); 2], [all; 2], [Offloads::SUMS, Offloads::empty()]] {
            transfer(pair(v6, offloads), v6, 100_000, 1514);
        }
    }
}

#[test]
fn a_stream_crosses_a_link_that_loses_and_repeats() {
    let mut wire = pair(false, [Offloads::empty(); 2]);
    wire.fate = |number, _| match number {
        n if n > 20 && n.is_multiple_of(13) => 0,
        n if n.is_multiple_of(7) => 2,
        _ => 1,
    };
    transfer(wire, false, 100_000, 1514);
}

proptest! {
    #[test]
    fn a_datagram_arrives_as_it_was_sent(
        v6: bool, sums: bool, parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..5),
        cuts in prop::collection::vec(1..400usize, 0..6),
    ) {
        let offloads = if sums { Offloads::SUMS } else { Offloads::empty() };
        let mut wire = pair(v6, [offloads; 2]);
        let [here, there] = addresses(v6).map(|address| SocketAddress { address, port: 7 });
        let (one, other) = (wire.hosts[0].socket(here), wire.hosts[1].socket(there));
        let mut data = Chunks::new();
        for part in &parts {
            data.push(Chunk::copy_of(part).unwrap()).unwrap();
        }
        let data = if data.len() > 1400 { data.split_to(1400).unwrap() } else { data };
        let whole: Vec<u8> = data.iter().flat_map(|chunk| chunk.to_vec()).collect();
        wire.hosts[0].send(wire.now, &one, there, data).unwrap();
        wire.hosts.truncate(2);
        wire.settle();
        let found = other.inbox().take().unwrap();
        prop_assert_eq!(found.data.iter().flat_map(|chunk| chunk.to_vec()).collect::<Vec<u8>>(), whole.clone());
        prop_assert_eq!(found.header.source, here.address);
        // The same, in whatever pieces the card gives it.
        let frame = wire.seen.last().unwrap().clone();
        let mut pieces = Chunks::new();
        let mut rest = &frame[..];
        for cut in cuts {
            let (piece, others) = rest.split_at(cut.min(rest.len()));
            pieces.push(Chunk::copy_of(piece).unwrap()).unwrap();
            rest = others;
        }
        pieces.push(Chunk::copy_of(rest).unwrap()).unwrap();
        let received = Received { data: pieces, checksum: Checksum::Unknown, segment_size: 0 };
        wire.hosts[1].with(wire.now, |stack, out| stack.receive(CARD, received, out));
        let found = other.inbox().take().unwrap();
        prop_assert_eq!(found.data.iter().flat_map(|chunk| chunk.to_vec()).collect::<Vec<u8>>(), whole);
        // A single bit, and it is none of this machine's, or not what it was: nobody gets it.
        for bit in [8 * 14 + 5, 8 * 30 + 3, 8 * (frame.len() - 1)] {
            let mut frame = frame.clone();
            frame[bit / 8] ^= 1 << (bit % 8);
            wire.hosts[1].receive(wire.now, &frame, Checksum::Unknown);
            prop_assert!(other.inbox().take().is_none());
        }
    }

    #[test]
    fn any_frame_is_taken_or_dropped(bytes in prop::collection::vec(any::<u8>(), 0..200), kind in prop::sample::select(alloc::vec![0x0800u16, 0x0806, 0x86dd])) {
        let wire = pair(false, [Offloads::empty(); 2]);
        let mut frame = alloc::vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
        frame.extend(kind.to_be_bytes());
        frame.extend(bytes);
        wire.hosts[1].receive(wire.now, &frame, Checksum::Verified);
        wire.hosts[1].receive(wire.now, &frame, Checksum::Unknown);
    }
}
