use super::*;
use crate::address::{ANY, v4};
use crate::chunk::Chunk;
use crate::stack::HOP_LIMIT;
use alloc::vec::Vec;
use isopod_hal::sync::wait::WaitQueue;

const AUTOMATIC: RangeInclusive<u16> = 32768..=60999;
const HOW: Manner = Manner {
    source: ANY,
    interface: 0,
    group_interface: 0,
    hop_limit: HOP_LIMIT,
    group_hop_limit: 1,
    traffic_class: 0,
    loops: true,
    discovery: crate::udp::DISCOVERED,
};

struct Net {
    stack: Stack,
    out: Outbox,
}

impl Net {
    fn new() -> Self {
        Self { stack: Stack::new(|| 12345), out: Outbox::new(0) }
    }

    fn bound(&self, address: Address, port: u16) -> Arc<Endpoint> {
        let endpoint = fresh(address);
        self.stack.bind(&endpoint, SocketAddress { address, port }, AUTOMATIC).unwrap();
        endpoint
    }

    fn send(&mut self, from: &Arc<Endpoint>, to: Option<SocketAddress>, text: &str) -> Result<()> {
        self.stack.bind_to_any(from, AUTOMATIC)?;
        let data = Chunk::copy_of(text.as_bytes()).unwrap();
        let sent = self.stack.send(from, to, &HOW, data.into(), &mut self.out);
        self.stack.deliver(&mut self.out);
        sent
    }
}

fn fresh(address: Address) -> Arc<Endpoint> {
    let any = crate::address::any_like(&address);
    Endpoint::new(protocol::UDP, any, 0, 200_000, Arc::new(WaitQueue::new()))
}

#[expect(clippy::unnecessary_wraps, reason = "it is what `send` takes")]
fn at(address: Address, port: u16) -> Option<SocketAddress> {
    Some(SocketAddress { address, port })
}

fn received(endpoint: &Endpoint) -> Option<(Vec<u8>, SocketAddress)> {
    let datagram = endpoint.inbox().take()?;
    let from = SocketAddress { address: datagram.header.source, port: datagram.ports.0 };
    Some((icmp::flat(&datagram.data).unwrap().to_vec(), from))
}

#[test]
fn a_datagram_arrives_and_says_from_whom() {
    for address in [LOOPBACK_V4, LOOPBACK, v4(127, 3, 2, 1)] {
        let mut net = Net::new();
        let (one, other) = (net.bound(address, 7), fresh(address));
        net.send(&other, at(address, 7), "hello").unwrap();
        let (text, from) = received(&one).unwrap();
        assert_eq!(text, b"hello");
        assert!(AUTOMATIC.contains(&from.port));
        net.send(&one, Some(from), "answer").unwrap();
        assert_eq!(received(&other).unwrap(), (b"answer".to_vec(), at(address, 7).unwrap()));
    }
}

#[test]
fn one_socket_takes_both_versions_unless_it_will_not() {
    let mut net = Net::new();
    let both = net.bound(ANY, 7);
    let client = fresh(LOOPBACK_V4);
    net.send(&client, at(LOOPBACK_V4, 7), "four").unwrap();
    assert_eq!(received(&both).unwrap().0, b"four");
    both.set(Switches::ONLY_V6, true);
    net.send(&client, at(LOOPBACK_V4, 7), "four").unwrap();
    assert!(received(&both).is_none());
}

#[test]
fn who_is_connected_learns_that_nobody_listens() {
    for address in [LOOPBACK_V4, LOOPBACK] {
        let mut net = Net::new();
        let client = net.bound(address, 0);
        net.send(&client, at(address, 9), "unconnected").unwrap();
        assert_eq!(client.inbox().error, None);
        net.stack.connect(&client, at(address, 9).unwrap(), &HOW, 0).unwrap();
        net.send(&client, None, "connected").unwrap();
        assert_eq!(client.inbox().error.take(), Some(Error::Refused));
        client.set(if is_v4(&address) { Switches::REPORTS } else { Switches::REPORTS_V6 }, true);
        net.send(&client, None, "reported").unwrap();
        let report = client.inbox().take_report().unwrap();
        assert_eq!((report.error, report.destination), (Error::Refused, at(address, 9).unwrap()));
        assert_eq!(&*icmp::flat(&report.data).unwrap(), b"reported");
    }
}

#[test]
fn the_most_particular_endpoint_receives() {
    let mut net = Net::new();
    let reusing = |address| {
        let endpoint = fresh(address);
        endpoint.set(Switches::REUSE_ADDRESS, true);
        net.stack.bind(&endpoint, at(address, 7).unwrap(), AUTOMATIC).unwrap();
        endpoint
    };
    let any = reusing(ANY);
    let any_v4 = reusing(crate::address::ANY_V4);
    let exact = reusing(LOOPBACK_V4);
    let connected = reusing(LOOPBACK_V4);
    let friend = net.bound(LOOPBACK_V4, 8);
    net.stack.connect(&connected, at(LOOPBACK_V4, 8).unwrap(), &HOW, 0).unwrap();
    net.send(&friend, at(LOOPBACK_V4, 7), "x").unwrap();
    assert!(received(&connected).is_some());
    let stranger = fresh(LOOPBACK_V4);
    for expected in [&exact, &any_v4, &any] {
        net.send(&stranger, at(LOOPBACK_V4, 7), "x").unwrap();
        assert!(received(expected).is_some());
        net.stack.close(expected, &mut net.out);
    }
}

#[test]
fn ports_are_taken_once_unless_both_agree() {
    let net = Net::new();
    let first = net.bound(LOOPBACK_V4, 7);
    let try_bind = |switch| {
        let endpoint = fresh(LOOPBACK_V4);
        first.set(switch, true);
        endpoint.set(switch, true);
        let outcome = net.stack.bind(&endpoint, at(LOOPBACK_V4, 7).unwrap(), AUTOMATIC);
        net.stack.close(&endpoint, &mut Outbox::new(0));
        first.set(switch, false);
        outcome
    };
    assert_eq!(try_bind(Switches::BROADCAST), Err(Error::AddressInUse));
    assert_eq!(try_bind(Switches::REUSE_ADDRESS), Ok(()));
    assert_eq!(try_bind(Switches::REUSE_PORT), Ok(()));
    net.stack.close(&first, &mut Outbox::new(0));
    assert_eq!(try_bind(Switches::BROADCAST), Ok(()));
}

#[test]
fn what_finds_no_room_is_dropped_and_counted() {
    let mut net = Net::new();
    let full = net.bound(LOOPBACK_V4, 7);
    full.room.store(1, Ordering::Relaxed);
    let client = fresh(LOOPBACK_V4);
    for _ in 0..3 {
        net.send(&client, at(LOOPBACK_V4, 7), "x").unwrap();
    }
    let waiting = full.inbox().messages.len();
    assert_eq!((waiting, full.inbox().dropped), (1, 2));
    assert!(received(&full).is_some());
    net.send(&client, at(LOOPBACK_V4, 7), "x").unwrap();
    assert!(received(&full).is_some());
}

/// The only test with a limit for all; others run in processes of their own.
#[test]
fn all_messages_together_have_a_limit() {
    let mut net = Net::new();
    let endpoints = [7, 8].map(|port| net.bound(LOOPBACK_V4, port));
    crate::endpoint::HELD_MAX.store(2500, Ordering::Relaxed);
    let client = fresh(LOOPBACK_V4);
    for port in [7, 7, 7, 7, 8, 8] {
        net.send(&client, at(LOOPBACK_V4, port), "x").unwrap();
    }
    let found = endpoints.each_ref().map(|endpoint| endpoint.inbox().messages.len());
    assert_eq!(found, [3, 1], "one is always taken");
    net.stack.close(&endpoints[0], &mut net.out);
    let again = net.bound(LOOPBACK_V4, 7);
    for _ in 0..3 {
        net.send(&client, at(LOOPBACK_V4, 7), "x").unwrap();
    }
    assert_eq!(again.inbox().messages.len(), 2, "what is closed gives it back");
}

#[test]
fn members_receive_what_comes_to_their_group() {
    let mut net = Net::new();
    let group = v4(239, 1, 2, 3);
    let member = net.bound(crate::address::ANY_V4, 7);
    let client = fresh(LOOPBACK_V4);
    assert_eq!(net.send(&client, at(group, 7), "x"), Err(Error::NetworkUnreachable));
    let how = Manner { group_interface: 1, ..HOW };
    let send = |out: &mut Outbox| {
        let data = Chunk::copy_of(b"x").unwrap();
        net.stack.send(&client, at(group, 7), &how, data.into(), out).unwrap();
        net.stack.deliver(out);
    };
    let mut out = Outbox::new(0);
    send(&mut out);
    assert!(received(&member).is_none());
    net.stack.join(&member, &group, 1, &mut net.out).unwrap();
    assert_eq!(net.stack.join(&member, &group, 1, &mut net.out), Err(Error::AddressInUse));
    send(&mut out);
    assert!(received(&member).is_some());
    net.stack.leave(&member, &group, 1, &mut net.out).unwrap();
    send(&mut out);
    assert!(received(&member).is_none());
}

#[test]
fn a_lost_connection_gives_back_what_it_had_given() {
    let net = Net::new();
    let automatic = fresh(LOOPBACK_V4);
    net.stack.bind_to_any(&automatic, AUTOMATIC).unwrap();
    net.stack.connect(&automatic, at(LOOPBACK_V4, 9).unwrap(), &HOW, 0).unwrap();
    assert_eq!(automatic.names().local.address, LOOPBACK_V4);
    net.stack.disconnect(&automatic);
    assert_eq!(automatic.names().local, at(crate::address::ANY_V4, 0).unwrap());
    let bound = net.bound(LOOPBACK_V4, 7);
    net.stack.connect(&bound, at(LOOPBACK_V4, 9).unwrap(), &HOW, 0).unwrap();
    net.stack.disconnect(&bound);
    assert_eq!(bound.names().local, at(LOOPBACK_V4, 7).unwrap());
}

#[test]
fn an_echo_comes_back_to_who_asked() {
    for (address, protocol, request, reply) in
        [(LOOPBACK_V4, protocol::ICMP, 8, 0), (LOOPBACK, protocol::ICMPV6, 128, 129)]
    {
        let mut net = Net::new();
        let any = crate::address::any_like(&address);
        let asks = || Endpoint::new(protocol, any, 0, 200_000, Arc::new(WaitQueue::new()));
        let (one, other) = (asks(), asks());
        net.stack.bind(&other, at(any, 99).unwrap(), AUTOMATIC).unwrap();
        let message = [request, 0, 9, 9, 1, 2, 0, 7, b'x'];
        net.stack.bind(&one, at(any, 77).unwrap(), AUTOMATIC).unwrap();
        let data = Chunk::copy_of(&message).unwrap();
        net.stack.send(&one, at(address, 0), &HOW, data.into(), &mut net.out).unwrap();
        net.stack.deliver(&mut net.out);
        assert!(received(&other).is_none());
        let (answer, from) = received(&one).unwrap();
        assert_eq!(
            (answer[0], &answer[4..], from),
            (reply, &[0, 77, 0, 7, b'x'][..], at(address, 0).unwrap())
        );
        let wrong = Chunk::copy_of(&[reply, 0, 0, 0, 0, 0, 0, 0]).unwrap();
        assert_eq!(
            net.stack.send(&one, at(address, 0), &HOW, wrong.into(), &mut net.out),
            Err(Error::Invalid)
        );
    }
}
