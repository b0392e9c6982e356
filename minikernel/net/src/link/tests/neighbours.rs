use super::super::ethernet::{ARP, EVERYBODY};
use super::wire::{CARD, Host};
use super::*;
use crate::address::{SocketAddress, v4};
use crate::chunk::{Chunk, Chunks};
use crate::endpoint::Endpoint;
use crate::error::Error;

const SECOND: u64 = 1_000_000_000;

fn at(number: u8) -> SocketAddress {
    SocketAddress { address: v4(10, 0, 0, number), port: 7 }
}

fn text(bytes: &[u8]) -> Chunks {
    Chunk::copy_of(bytes).unwrap().into()
}

fn read(endpoint: &Endpoint) -> Option<Vec<u8>> {
    let datagram = endpoint.inbox().take()?;
    Some(datagram.data.iter().flat_map(|chunk| chunk.to_vec()).collect())
}

fn pair() -> Wire {
    Wire::new([1, 2].map(|number| host_v4(number, Offloads::empty())).into())
}

fn kinds(wire: &Wire) -> Vec<u16> {
    wire.seen.iter().map(|frame| u16::from_be_bytes([frame[12], frame[13]])).collect()
}

#[test]
fn rfc_826_a_neighbour_is_asked_for_once_and_its_answer_kept() {
    let mut wire = pair();
    let (one, other) = (wire.hosts[0].socket(at(1)), wire.hosts[1].socket(at(2)));
    for word in [&b"one"[..], b"two"] {
        wire.hosts[0].send(wire.now, &one, at(2), text(word)).unwrap();
        wire.settle();
        assert_eq!(read(&other).unwrap(), word);
    }
    // Who was asked knows who asked.
    wire.hosts[1].send(wire.now, &other, at(1), text(b"three")).unwrap();
    wire.settle();
    assert_eq!(read(&one).unwrap(), b"three");
    assert_eq!(kinds(&wire), [ARP, ARP, 0x0800, 0x0800, 0x0800]);
    assert_eq!(wire.seen[0][..6], EVERYBODY);
    assert_eq!(wire.seen[1][..6], [2, 0, 0, 0, 0, 1]);
}

#[test]
fn what_waits_for_a_neighbour_arrives_in_order_and_the_oldest_gives_way() {
    let wire = pair();
    let (one, other) = (wire.hosts[0].socket(at(1)), wire.hosts[1].socket(at(2)));
    let mut wire = wire;
    for number in 0..110_u8 {
        wire.hosts[0].send(wire.now, &one, at(2), text(&[number])).unwrap();
    }
    wire.settle();
    let arrived: Vec<u8> = core::iter::from_fn(|| read(&other)).flatten().collect();
    assert_eq!(arrived, (9..110).collect::<Vec<u8>>());
}

#[test]
fn what_waits_for_many_takes_no_more_than_all_may_and_is_given_back() {
    use super::super::neighbour::{HELD, WAITING_ALL};
    let mut wire = Wire::new(alloc::vec![host_v4(1, Offloads::empty())]);
    let one = wire.hosts[0].socket(at(1));
    for number in (10..200).cycle().take(190 * 20) {
        wire.hosts[0].send(wire.now, &one, at(number), text(&[0; 1400])).unwrap();
    }
    let held = HELD.load(Ordering::Relaxed);
    assert!((WAITING_ALL / 2..=WAITING_ALL).contains(&held), "{held}");
    wire.run(10 * SECOND);
    assert_eq!(HELD.load(Ordering::Relaxed), 0);
}

#[test]
fn who_sends_to_nobody_learns_that_after_three_questions() {
    let mut wire = Wire::new(alloc::vec![host_v4(1, Offloads::empty())]);
    wire.run(2 * SECOND);
    wire.seen.clear();
    let one = wire.hosts[0].socket(at(1));
    wire.hosts[0].stack.connect(&one, at(9), &super::wire::HOW, wire.now).unwrap();
    one.set(crate::endpoint::Switches::REPORTS, true);
    wire.hosts[0].send(wire.now, &one, at(9), text(b"lost")).unwrap();
    wire.run(2 * SECOND);
    assert_eq!(one.inbox().error, None);
    wire.run(2 * SECOND);
    assert_eq!(one.inbox().error, Some(Error::HostUnreachable));
    assert_eq!(kinds(&wire), [ARP; 3]);
    // The next packet asks again.
    one.inbox().error = None;
    wire.hosts[0].send(wire.now, &one, at(9), text(b"lost")).unwrap();
    wire.settle();
    assert_eq!(kinds(&wire), [ARP; 4]);
}

#[test]
fn one_that_was_silent_for_long_is_asked_itself() {
    let mut wire = pair();
    let one = wire.hosts[0].socket(at(1));
    wire.hosts[1].socket(at(2));
    wire.hosts[0].send(wire.now, &one, at(2), text(b"x")).unwrap();
    wire.settle();
    wire.run(40 * SECOND);
    wire.seen.clear();
    wire.hosts[0].send(wire.now, &one, at(2), text(b"x")).unwrap();
    wire.run(SECOND);
    assert_eq!(kinds(&wire), [0x0800], "what is known is used while it is in doubt");
    wire.run(5 * SECOND);
    assert_eq!(kinds(&wire), [0x0800, ARP, ARP]);
    assert_eq!(wire.seen[1][..6], [2, 0, 0, 0, 0, 2], "it alone is asked");
    wire.hosts.truncate(1);
    wire.run(40 * SECOND);
    wire.seen.clear();
    wire.hosts[0].send(wire.now, &one, at(2), text(b"x")).unwrap();
    wire.run(10 * SECOND);
    assert_eq!(kinds(&wire), [0x0800, ARP, ARP, ARP], "and forgotten if it does not answer");
}

#[test]
fn rfc_5227_3_addresses_are_announced_and_announcements_heeded() {
    let mut wire = pair();
    let one = wire.hosts[0].socket(at(1));
    wire.hosts[1].socket(at(2));
    wire.hosts[0].send(wire.now, &one, at(2), text(b"x")).unwrap();
    wire.settle();
    // Another machine takes the address over.
    wire.hosts[1] = Host::new(7, Offloads::empty());
    wire.hosts[1].add(wire.now, v4(10, 0, 0, 2), crate::address::V4_PREFIX + 24);
    let other = wire.hosts[1].socket(at(2));
    wire.settle();
    wire.seen.clear();
    wire.hosts[0].send(wire.now, &one, at(2), text(b"new")).unwrap();
    wire.settle();
    assert_eq!(read(&other).unwrap(), b"new");
    assert_eq!(wire.seen[0][..6], [2, 0, 0, 0, 0, 7]);
    wire.hosts[1].with(wire.now, |stack, out| stack.announce(CARD, out));
    let announced = wire.hosts[1].card.take();
    assert_eq!(
        announced.iter().map(|frame| u16::from_be_bytes([frame[12], frame[13]])).collect::<Vec<_>>(),
        [0x86dd, ARP]
    );
}

#[test]
fn only_so_many_neighbours_are_noted() {
    let host = host_v4(1, Offloads::empty());
    let link = host.stack.at(CARD).unwrap().link.as_ref().unwrap();
    let word = neighbour::Word { solicited: false, overrides: true, creates: true };
    for number in 0..3000_u32 {
        let address = core::net::Ipv4Addr::from(0x0a00_0000 + number).to_ipv6_mapped();
        link.neighbours.learn(&address, [2; 6], word, u64::from(number));
    }
    let mut count = 0;
    link.neighbours.each(&mut |_, _, _| count += 1);
    assert_eq!(count, 1024);
}

#[test]
fn a_full_card_is_waited_for_in_order() {
    let mut wire = pair();
    let (one, other) = (wire.hosts[0].socket(at(1)), wire.hosts[1].socket(at(2)));
    wire.hosts[0].send(wire.now, &one, at(2), text(b"x")).unwrap();
    wire.settle();
    read(&other).unwrap();
    wire.hosts[0].card.room.store(2, Ordering::Relaxed);
    for number in 0..10 {
        wire.hosts[0].send(wire.now, &one, at(2), text(&[number])).unwrap();
    }
    let mut arrived = Vec::new();
    for _ in 0..5 {
        wire.settle();
        let now: Vec<u8> = core::iter::from_fn(|| read(&other)).flatten().collect();
        assert_eq!(now.len(), 2);
        arrived.extend(now);
        wire.hosts[0].stack.room(CARD);
    }
    assert_eq!(arrived, (0..10).collect::<Vec<u8>>());
}
