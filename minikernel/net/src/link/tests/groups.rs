//! Groups: who hears what is sent to them, and what routers are told.

use super::super::ethernet::HEADER;
use super::wire::{CARD, HOW, Wire, host_v4};
use super::*;
use crate::address::{SocketAddress, v4};
use crate::chunk::{Chunk, Chunks};
use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::ip;
use crate::link::port::Checksum;
use crate::packet::{IpHeader, protocol};
use crate::udp::Manner;

const SECOND: u64 = 1_000_000_000;
const GROUP: Address = v4(239, 1, 2, 3);

fn group_v6() -> Address {
    "ff05::1234".parse().unwrap()
}

fn any(group: &Address, port: u16) -> SocketAddress {
    SocketAddress { address: crate::address::any_like(group), port }
}

fn text(bytes: &[u8]) -> Chunks {
    Chunk::copy_of(bytes).unwrap().into()
}

fn pair() -> Wire {
    let mut wire = Wire::new([1, 2].map(|number| host_v4(number, Offloads::empty())).into());
    wire.run(5 * SECOND);
    wire.seen.clear();
    wire
}

fn join(wire: &Wire, host: usize, endpoint: &Endpoint, group: Address) -> crate::error::Result<()> {
    wire.hosts[host].with(wire.now, |stack, out| stack.join(endpoint, &group, CARD, out))
}

/// What follows the headers of IP of the frames that tell of a group.
fn reports(wire: &Wire) -> Vec<Vec<u8>> {
    let of = |frame: &Vec<u8>| match (frame[13], frame[HEADER], frame.get(HEADER + 9)) {
        (0x00, 0x46, Some(2)) => Some(frame[HEADER + 24..].to_vec()),
        (0xdd, _, _) if frame[HEADER + 6] == 0 => Some(frame[HEADER + 48..].to_vec()),
        _ => None,
    };
    wire.seen.iter().filter_map(of).collect()
}

#[test]
fn what_is_sent_to_a_group_reaches_who_is_in_it() {
    for group in [GROUP, group_v6()] {
        let mut wire = pair();
        let to = SocketAddress { address: group, port: 7 };
        let (one, other) = (wire.hosts[0].socket(any(&group, 7)), wire.hosts[1].socket(any(&group, 7)));
        let send = |wire: &mut Wire, loops| {
            let how = Manner { loops, ..HOW };
            wire.hosts[0]
                .with(wire.now, |stack, out| stack.send(&one, Some(to), &how, text(b"x"), out))
                .unwrap();
            wire.settle();
            [&one, &other].map(|endpoint| endpoint.inbox().take().is_some())
        };
        assert_eq!(send(&mut wire, true), [false, false]);
        join(&wire, 1, &other, group).unwrap();
        assert_eq!(send(&mut wire, true), [false, true]);
        join(&wire, 0, &one, group).unwrap();
        assert_eq!(send(&mut wire, true), [true, true]);
        assert_eq!(send(&mut wire, false), [false, true]);
        wire.hosts[1].with(wire.now, |stack, out| stack.leave(&other, &group, CARD, out)).unwrap();
        assert_eq!(send(&mut wire, true), [true, false]);
        // All, of IPv4, who may.
        one.set(crate::endpoint::Switches::BROADCAST, true);
        for all in [v4(255, 255, 255, 255), v4(10, 0, 0, 255)] {
            let to = SocketAddress { address: all, port: 7 };
            let how = Manner { interface: CARD, ..HOW };
            wire.hosts[0]
                .with(wire.now, |stack, out| stack.send(&one, Some(to), &how, text(b"x"), out))
                .unwrap();
            wire.settle();
            let heard = [&one, &other].map(|endpoint| endpoint.inbox().take().is_some());
            assert_eq!(heard, [true; 2], "{all}");
        }
    }
}

#[test]
fn rfc_3376_and_3810_routers_are_told_twice_of_what_is_new_and_once_of_what_is_over() {
    for (group, report, records) in [(GROUP, 0x22, 8..16), (group_v6(), 143, 8..28)] {
        let mut wire = pair();
        let one = wire.hosts[0].socket(any(&group, 7));
        join(&wire, 0, &one, group).unwrap();
        wire.run(5 * SECOND);
        wire.hosts[0].with(wire.now, |stack, out| stack.close(&one, out));
        wire.run(5 * SECOND);
        let said = reports(&wire);
        let octets = group.octets();
        let group = if report == 0x22 { &octets[12..] } else { &octets[..] };
        let expected = |record: u8| [&[record, 0, 0, 0][..], group].concat();
        assert!(said.iter().all(|message| message[0] == report && message[7] == 1));
        let records: Vec<_> = said.iter().map(|message| message[records.clone()].to_vec()).collect();
        assert_eq!(records, [expected(4), expected(4), expected(3)]);
    }
}

/// A router asks host 1.
fn question(source: Address, destination: Address, message: &[u8]) -> Vec<u8> {
    let header = IpHeader::new(source, destination, 1);
    let v4 = crate::address::is_v4(&source);
    let mut message = message.to_vec();
    let sum = icmp::sum(&header, &message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let mut bytes = [0; ip::HEADER_MAX];
    let protocol = if v4 { protocol::IGMP } else { protocol::ICMPV6 };
    let length = ip::emit(&header, protocol, message.len(), 0, &mut bytes);
    let kind: &[u8] = if v4 { &[8, 0] } else { &[0x86, 0xdd] };
    [&ethernet::of_group(&destination)[..], &[2, 0, 0, 0, 0, 0xfe], kind, &bytes[..length], &message].concat()
}

#[test]
fn routers_that_ask_are_answered_in_their_own_way() {
    let mut wire = pair();
    let one = wire.hosts[0].socket(any(&GROUP, 7));
    join(&wire, 0, &one, GROUP).unwrap();
    join(&wire, 0, &one, group_v6()).unwrap();
    wire.run(5 * SECOND);
    let answers = |wire: &mut Wire, frame: Vec<u8>| {
        wire.seen.clear();
        wire.hosts[0].receive(wire.now, &frame, Checksum::Unknown);
        wire.run(15 * SECOND);
        let mut said: Vec<u8> = reports(wire).iter().map(|message| message[0]).collect();
        said.sort_unstable();
        said
    };
    let (router, all) = (v4(10, 0, 0, 9), v4(224, 0, 0, 1));
    let third = [0x11, 100, 0, 0, 0, 0, 0, 0, 2, 125, 0, 0];
    assert_eq!(answers(&mut wire, question(router, all, &third)), [0x22]);
    let about_another = [0x11, 100, 0, 0, 239, 9, 9, 9, 2, 125, 0, 0];
    assert!(answers(&mut wire, question(router, all, &about_another)).is_empty());
    assert_eq!(answers(&mut wire, question(router, all, &third[..8])), [0x16], "IGMPv2");
    assert_eq!(
        answers(&mut wire, question(router, all, &third)),
        [0x16],
        "as long as the old one may be there"
    );
    let (router, all) = ("fe80::9".parse().unwrap(), "ff02::1".parse().unwrap());
    let second = [&[130, 0, 0, 0, 4, 0, 0, 0][..], &[0; 16], &[2, 125, 0, 0]].concat();
    // The group, and those of its addresses.
    let own = wire.hosts[0].stack.at(CARD).unwrap().addresses().unwrap();
    let own = own.iter().filter(|known| !crate::address::is_v4(&known.address)).count();
    assert_eq!(answers(&mut wire, question(router, all, &second)), alloc::vec![143; own + 1]);
    assert_eq!(answers(&mut wire, question(router, all, &second[..24])), alloc::vec![131; own + 1]);
    let far = question("2001:db8::9".parse().unwrap(), all, &second);
    assert!(answers(&mut wire, far).is_empty());
}

#[test]
fn nobody_is_in_more_than_twenty_groups() {
    let wire = pair();
    let one = wire.hosts[0].socket(any(&GROUP, 7));
    for number in 0..20 {
        join(&wire, 0, &one, v4(239, 0, 0, number)).unwrap();
    }
    assert_eq!(join(&wire, 0, &one, GROUP), Err(Error::TooMany));
    assert_eq!(join(&wire, 0, &one, v4(239, 0, 0, 1)), Err(Error::AddressInUse));
    assert!(!wire.hosts[0].stack.groups.has(&GROUP, CARD));
    assert_eq!(join(&wire, 0, &one, group_v6()), Ok(()));
}
