//! Neighbours and routers of IPv6.

use super::wire::{CARD, Host, Wire};
use super::*;
use crate::address::{SocketAddress, V4_PREFIX, v4};
use crate::chunk::Chunk;
use crate::event::Event;
use crate::icmp;
use crate::interface::FOREVER;
use crate::link::port::Checksum;
use crate::packet::{IpHeader, protocol};

const SECOND: u64 = 1_000_000_000;
const ROUTER: [u8; 6] = [2, 0, 0, 0, 0, 0xfe];

fn address(text: &str) -> Address {
    text.parse().unwrap()
}

/// A message of ICMPv6 in its frame.
fn message(source: &str, destination: &str, hop_limit: u8, body: &[u8]) -> Vec<u8> {
    let header = IpHeader::new(address(source), address(destination), hop_limit);
    let mut message = body.to_vec();
    let sum = icmp::sum(&header, &message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let mut ip = [0; crate::ip::HEADER_MAX];
    crate::ip::emit(&header, protocol::ICMPV6, message.len(), 0, &mut ip);
    let to = if header.destination.is_multicast() {
        ethernet::of_group(&header.destination)
    } else {
        [2, 0, 0, 0, 0, 1]
    };
    [&to[..], &ROUTER, &[0x86, 0xdd], &ip, &message].concat()
}

/// A prefix: flags, lifetimes.
fn prefix(text: &str, length: u8, flags: u8, valid: u32, preferred: u32) -> Vec<u8> {
    let octets = address(text).octets();
    [&[3, 4, length, flags][..], &valid.to_be_bytes(), &preferred.to_be_bytes(), &[0; 4], &octets].concat()
}

fn advertisement(lifetime: u16, options: &[u8]) -> Vec<u8> {
    let [high, low] = lifetime.to_be_bytes();
    let body =
        [&[134, 0, 0, 0, 64, 0, high, low, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1][..], &ROUTER, options].concat();
    message("fe80::fe", "ff02::1", 255, &body)
}

fn host() -> Host {
    let host = Host::new(1, Offloads::empty());
    host.with(0, |stack, out| stack.set_autoconfiguration(CARD, true, out)).unwrap();
    host
}

fn addresses(host: &Host) -> Vec<Address> {
    let all = host.stack.at(CARD).unwrap().addresses().unwrap();
    all.iter().map(|known| known.address).collect()
}

/// The types of the messages of ICMPv6 that were seen.
fn types(frames: &[Vec<u8>]) -> Vec<u8> {
    frames
        .iter()
        .filter(|frame| frame[12..14] == [0x86, 0xdd] && frame[20] == 58)
        .map(|frame| frame[54])
        .collect()
}

#[test]
fn rfc_4861_6_3_7_routers_are_asked_three_times_at_most() {
    let mut wire = Wire::new(alloc::vec![host()]);
    wire.now = 0;
    wire.run(60 * SECOND);
    assert_eq!(types(&wire.seen), [133; 3]);
    // While its address is in doubt, it does not tell what others would note (RFC 4429, section 3.2).
    let questions = wire.seen.iter().filter(|frame| frame[20] == 58);
    assert_eq!(questions.map(Vec::len).collect::<Vec<_>>(), [62, 70, 70]);
    let mut wire = Wire::new(alloc::vec![host()]);
    wire.now = 0;
    wire.run(SECOND);
    wire.hosts[0].receive(wire.now, &advertisement(1800, &[]), Checksum::Unknown);
    wire.run(60 * SECOND);
    assert_eq!(types(&wire.seen), [133]);
}

#[test]
fn rfc_4862_5_5_an_address_follows_from_a_prefix_and_ends_with_it() {
    let host = host();
    let now = 10 * SECOND;
    let said = advertisement(1800, &prefix("2001:db8:5::", 64, 0xc0, 3600 * 3, 1800));
    host.receive(now, &said, Checksum::Unknown);
    let own = address("2001:db8:5::ff:fe00:1");
    assert_eq!(addresses(&host), [address("fe80::ff:fe00:1"), own]);
    let far = host.stack.route(&address("2001:db8:9::1"), &Address::UNSPECIFIED, 0, now).unwrap();
    assert_eq!((far.next, far.source, far.interface), (address("fe80::fe"), own, CARD));
    let near = host.stack.route(&address("2001:db8:5::9"), &Address::UNSPECIFIED, 0, now).unwrap();
    assert_eq!((near.next, near.source), (address("2001:db8:5::9"), own));
    // Nobody can take it away at once.
    let said = advertisement(0, &prefix("2001:db8:5::", 64, 0xc0, 0, 0));
    host.receive(now, &said, Checksum::Unknown);
    assert!(host.stack.route(&address("2001:db8:9::1"), &Address::UNSPECIFIED, 0, now).is_err());
    let mut wire = Wire::new(alloc::vec![host]);
    wire.now = now;
    wire.run(7190 * SECOND);
    assert!(addresses(&wire.hosts[0]).contains(&own));
    wire.run(20 * SECOND);
    assert_eq!(addresses(&wire.hosts[0]), [address("fe80::ff:fe00:1")]);
}

#[test]
fn what_a_router_may_not_say_is_not_heeded() {
    let host = host();
    let good = prefix("2001:db8:5::", 64, 0xc0, 600, 600);
    let far = message(
        "fe80::fe",
        "ff02::1",
        64,
        &[&[134, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0][..], &good].concat(),
    );
    let global = message(
        "2001:db8::1",
        "ff02::1",
        255,
        &[&[134, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0][..], &good].concat(),
    );
    let cases = [
        far,
        global,
        advertisement(0, &prefix("fe80::", 64, 0xc0, 600, 600)),
        advertisement(0, &prefix("2001:db8:5::", 64, 0xc0, 600, 601)),
        advertisement(0, &prefix("2001:db8:5::", 48, 0x40, 600, 600)),
        advertisement(0, &prefix("2001:db8:5::", 64, 0x40, 0, 0)),
        advertisement(0, &[3, 0, 0, 0]),
        advertisement(0, &[3, 200, 0, 0]),
    ];
    for said in cases {
        host.receive(SECOND, &said, Checksum::Unknown);
        assert_eq!(addresses(&host).len(), 1);
    }
    assert!(host.stack.route(&address("2001:db8:9::1"), &Address::UNSPECIFIED, 0, 0).is_err());
    // Redirects are nobody's to send.
    let redirect =
        [&[137, 0, 0, 0, 0, 0, 0, 0][..], &address("fe80::66").octets(), &address("2001:db8:9::1").octets()]
            .concat();
    host.receive(SECOND, &message("fe80::fe", "fe80::ff:fe00:1", 255, &redirect), Checksum::Unknown);
    assert!(host.stack.route(&address("2001:db8:9::1"), &Address::UNSPECIFIED, 0, 0).is_err());
}

#[test]
fn only_so_many_addresses_and_routes_come_of_what_routers_say() {
    let host = host();
    for number in 0..100 {
        let text = alloc::format!("2001:db8:{number:x}::");
        host.receive(SECOND, &advertisement(1800, &prefix(&text, 64, 0xc0, 600, 600)), Checksum::Unknown);
    }
    assert_eq!(addresses(&host).len(), 17);
    let learned = host.stack.routes.all().unwrap();
    assert_eq!(learned.iter().filter(|route| route.origin == crate::route::Route::BY_ROUTER).count(), 16);
}

#[test]
fn rfc_8106_name_servers_are_told_of() {
    let host = host();
    let servers = [&[25, 3, 0, 0, 0, 0, 0, 60][..], &address("2001:db8::53").octets()].concat();
    host.receive(SECOND, &advertisement(1800, &servers), Checksum::Unknown);
    let Some(Event::Resolvers { interface, servers, until }) = host.stack.next_event() else {
        panic!("an event")
    };
    assert_eq!((interface, until), (CARD, 61 * SECOND));
    assert_eq!(servers, [address("2001:db8::53")]);
    assert!(host.stack.next_event().is_none());
}

#[test]
fn a_link_says_how_long_packets_may_be() {
    let host = host();
    let mtu = |mtu: u32| [&[5, 1, 0, 0][..], &mtu.to_be_bytes()].concat();
    host.add(0, address("2001:db8::1"), 64);
    for (said, expected) in [(1400, 1400), (9000, 1400), (1000, 1400), (1300, 1300)] {
        host.receive(SECOND, &advertisement(1800, &mtu(said)), Checksum::Unknown);
        assert_eq!(host.stack.mtu_to(&address("2001:db8::2")), Some(expected));
    }
    host.add(0, v4(10, 0, 0, 1), V4_PREFIX + 24);
    assert_eq!(host.stack.mtu_to(&v4(10, 0, 0, 2)), Some(1500));
}

#[test]
fn rfc_4862_5_4_an_address_that_another_machine_has_is_given_up() {
    let own = address("2001:db8::1");
    let body = [&[136, 0, 0, 0, 0x20, 0, 0, 0][..], &own.octets(), &[2, 1], &ROUTER].concat();
    let claim = message("2001:db8::1", "ff02::1", 255, &body);
    let host = Host::new(1, Offloads::empty());
    host.add(SECOND, own, 64);
    let asked = host.card.take();
    assert_eq!((types(&asked), &asked[0][22..38]), ([135].into(), &[0; 16][..]));
    host.receive(SECOND + SECOND / 2, &claim, Checksum::Unknown);
    assert!(!addresses(&host).contains(&own));
    assert!(matches!(host.stack.next_event(), Some(Event::Duplicate { .. })));
    // Later nobody can take it.
    host.add(SECOND, own, 64);
    host.receive(3 * SECOND, &claim, Checksum::Unknown);
    assert!(addresses(&host).contains(&own));
    // Somebody else who wants it at the same time.
    let asks = [&[135, 0, 0, 0, 0, 0, 0, 0][..], &address("2001:db8::2").octets()].concat();
    host.add(5 * SECOND, address("2001:db8::2"), 64);
    host.receive(5 * SECOND, &message("::", "ff02::1:ff00:2", 255, &asks), Checksum::Unknown);
    assert!(!addresses(&host).contains(&address("2001:db8::2")));
}

#[test]
fn rfc_7527_4_2_a_link_that_brings_back_what_was_sent_takes_no_address() {
    let own = address("2001:db8::1");
    let host = Host::new(1, Offloads::empty());
    host.add(SECOND, own, 64);
    let question = host.card.take().pop().unwrap();
    host.receive(SECOND, &question, Checksum::Unknown);
    assert!(addresses(&host).contains(&own));
    // Nor does its answer to somebody who asks meanwhile.
    let asks = [&[135, 0, 0, 0, 0, 0, 0, 0][..], &own.octets(), &[1, 1], &ROUTER].concat();
    host.receive(SECOND, &message("2001:db8::9", "ff02::1:ff00:1", 255, &asks), Checksum::Unknown);
    let answers = host.card.take();
    assert_eq!(types(&answers), [136]);
    host.receive(SECOND, &answers[0], Checksum::Unknown);
    assert!(addresses(&host).contains(&own));
    // The same question of somebody else.
    let other = [&[135, 0, 0, 0, 0, 0, 0, 0][..], &own.octets(), &[14, 1, 1, 2, 3, 4, 5, 6]].concat();
    host.receive(SECOND, &message("::", "ff02::1:ff00:1", 255, &other), Checksum::Unknown);
    assert!(!addresses(&host).contains(&own));
}

#[test]
fn rfc_4861_7_2_4_who_asks_is_answered() {
    let host = Host::new(1, Offloads::empty());
    host.add(0, address("2001:db8::1"), 64);
    host.card.take();
    let asks = [&[135, 0, 0, 0, 0, 0, 0, 0][..], &address("2001:db8::1").octets(), &[1, 1], &ROUTER].concat();
    host.receive(5 * SECOND, &message("2001:db8::9", "ff02::1:ff00:1", 255, &asks), Checksum::Unknown);
    let answers = host.card.take();
    assert_eq!(types(&answers), [136]);
    assert_eq!((&answers[0][..6], answers[0][58]), (&ROUTER[..], 0x60));
    // One from beyond a router is not.
    host.receive(5 * SECOND, &message("2001:db8::9", "ff02::1:ff00:1", 254, &asks), Checksum::Unknown);
    assert!(host.card.take().is_empty());
}

#[test]
fn machines_find_each_other_by_their_link_local_addresses() {
    let mut wire = Wire::new([1, 2].map(|number| Host::new(number, Offloads::empty())).into());
    wire.run(2 * SECOND);
    let [here, there] = [1, 2]
        .map(|number| SocketAddress { address: address(&alloc::format!("fe80::ff:fe00:{number}")), port: 7 });
    let (one, other) = (wire.hosts[0].socket(here), wire.hosts[1].socket(there));
    one.interface.store(CARD, Ordering::Relaxed);
    wire.hosts[0].send(wire.now, &one, there, Chunk::copy_of(b"hello").unwrap().into()).unwrap();
    wire.settle();
    assert!(other.inbox().take().is_some());
    assert_eq!(types(&wire.seen), [135, 136]);
    assert_eq!(wire.hosts[0].stack.at(CARD).unwrap().addresses().unwrap()[0].valid_until, FOREVER);
}
