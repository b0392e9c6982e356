//! What sockets of UDP can be told beyond the usual: to cut messages, to tell when they came and what was lost, to join groups by number.

use libc::*;

use super::helpers::{bound, connect, name, option, receive, receive_message, send, set_option, socket};
use crate::cases::helpers::close;
use crate::cases::sockets::helpers::{control, parts};
use crate::report::Report;

const UDP_SEGMENT: i32 = 103;
const UDP_GRO: i32 = 104;
const MCAST_JOIN_GROUP: i32 = 42;
const MCAST_LEAVE_GROUP: i32 = 45;

pub fn run(t: &mut Report) {
    cutting(t);
    arrivals(t);
    losses(t);
    groups(t);
    whole(t);
    copies(t);
}

/// `MSG_ZEROCOPY` means nothing to a socket that was not told of it: the bytes go as always, and nothing tells that they have.
fn copies(t: &mut Report) {
    for (word, kind) in [("udp", SOCK_DGRAM), ("tcp", SOCK_STREAM)] {
        let at = format!("127.0.0.1:{}", 6320 + kind);
        let (server, client) = (bound(kind, &at), socket(AF_INET, kind));
        if kind == SOCK_STREAM {
            sys!(SYS_listen, server, 5).expect("it listens");
        }
        let connected = connect(client, &at).is_ok();
        t.show(&format!("zero_copy_{word}_connects"), connected);
        t.call(&format!("zero_copy_{word}_send"), send(client, b"copied", MSG_ZEROCOPY));
        t.show(&format!("zero_copy_{word}_tells"), receive(client, 50, MSG_ERRQUEUE));
        let accepted = sys!(SYS_accept4, server, 0, 0, SOCK_NONBLOCK).map(|fd| fd as i32);
        t.show(&format!("zero_copy_{word}_there"), receive(accepted.unwrap_or(server), 50, 0));
        accepted.into_iter().chain([server, client]).for_each(close);
    }
}

fn cutting(t: &mut Report) {
    let (server, client) = (bound(SOCK_DGRAM, "127.0.0.1:6100"), socket(AF_INET, SOCK_DGRAM));
    for (word, number) in [("segment", UDP_SEGMENT), ("gro", UDP_GRO)] {
        let mut answers = vec![option(client, SOL_UDP, number)];
        for value in [1, 1000, 70_000, -1, 0] {
            let outcome = set_option(client, SOL_UDP, number, value);
            answers.push(outcome.map_or_else(|errno| errno.to_string(), |_| option(client, SOL_UDP, number)));
        }
        let short = sys!(SYS_setsockopt, client, SOL_UDP, number, &1i32, 3);
        answers.push(format!("{short:?}"));
        t.show(&format!("udp_{word}"), answers.join(", "));
    }
    let stream = socket(AF_INET, SOCK_STREAM);
    t.call("udp_segment_tcp", set_option(stream, SOL_UDP, UDP_SEGMENT, 100));
    close(stream);
    connect(client, "127.0.0.1:6100").expect("a peer");
    set_option(client, SOL_UDP, UDP_SEGMENT, 4).expect("an option");
    t.call("udp_segment_send", send(client, b"onetwothree!!", 0));
    for _ in 0..5 {
        t.show("udp_segment_received", receive(server, 50, 0));
    }
    t.call("udp_segment_send_short", send(client, b"abc", 0));
    t.show("udp_segment_received_short", receive(server, 50, 0));
    set_option(client, SOL_UDP, UDP_SEGMENT, 65_535).expect("an option");
    t.call("udp_segment_too_long", send(client, b"abc", 0));
    set_option(client, SOL_UDP, UDP_SEGMENT, 0).expect("an option");
    for (case, part) in [
        ("cut", control(SOL_UDP, UDP_SEGMENT, &5u16.to_ne_bytes())),
        ("cut_wrong", control(SOL_UDP, UDP_SEGMENT, &5u32.to_ne_bytes())),
    ] {
        let message = parts(b"onetwothree!!", &part);
        t.call(&format!("udp_segment_{case}"), sys!(SYS_sendmsg, client, &raw const message.header, 0));
        t.show(&format!("udp_segment_{case}_first"), receive(server, 50, 0));
        while receive(server, 50, 0).contains("from") {}
    }
    [server, client].into_iter().for_each(close);
}

/// The level, the kind and the length of each part that comes with a message, and whether the time is that of now.
fn told(fd: i32) -> String {
    let mut message = parts(&[0; 20], &[0; 512]);
    if let Err(errno) = sys!(SYS_recvmsg, fd, &raw mut message.header, 0) {
        return errno.to_string();
    }
    let (mut at, mut told) = (0, Vec::new());
    let word = |at: usize| i32::from_ne_bytes(message.control[at..at + 4].try_into().expect("four bytes"));
    let long = |at: usize| i64::from_ne_bytes(message.control[at..at + 8].try_into().expect("eight bytes"));
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a time").as_secs();
    while at + 16 <= message.header.msg_controllen {
        let (length, level, kind) = (word(at) as usize, word(at + 8), word(at + 12));
        let is_time = matches!(kind, SO_TIMESTAMP | SO_TIMESTAMPNS);
        let value = if is_time {
            let near = now.abs_diff(long(at + 16).cast_unsigned()) < 100;
            let unit = if kind == SO_TIMESTAMP { 1_000_000 } else { 1_000_000_000 };
            format!("{near} {}", (0..unit).contains(&long(at + 24)))
        } else {
            word(at + 16).to_string()
        };
        told.push(format!("{level} {kind} {length}: {value}"));
        at += length.next_multiple_of(8);
    }
    told.join("; ")
}

fn arrivals(t: &mut Report) {
    let (server, client) = (bound(SOCK_DGRAM, "127.0.0.1:6101"), socket(AF_INET, SOCK_DGRAM));
    connect(client, "127.0.0.1:6101").expect("a peer");
    let state = |fd: i32| {
        format!("{} {}", option(fd, SOL_SOCKET, SO_TIMESTAMP), option(fd, SOL_SOCKET, SO_TIMESTAMPNS))
    };
    for (word, number, value) in [
        ("off", SO_TIMESTAMP, 0),
        ("us", SO_TIMESTAMP, 1),
        ("ns", SO_TIMESTAMPNS, 1),
        ("us_again", SO_TIMESTAMP, 1),
        ("off_by_other", SO_TIMESTAMPNS, 0),
    ] {
        set_option(server, SOL_SOCKET, number, value).expect("an option");
        t.show(&format!("udp_time_{word}"), state(server));
        send(client, b"x", 0).expect("it goes");
        t.show(&format!("udp_time_{word}_told"), told(server));
    }
    set_option(server, SOL_SOCKET, SO_TIMESTAMP, 1).expect("an option");
    set_option(server, IPPROTO_IP, IP_RECVTTL, 1).expect("an option");
    send(client, b"x", 0).expect("it goes");
    t.show("udp_time_and_hops", told(server));
    [server, client].into_iter().for_each(close);
}

fn losses(t: &mut Report) {
    let (server, client) = (bound(SOCK_DGRAM, "127.0.0.1:6102"), socket(AF_INET, SOCK_DGRAM));
    connect(client, "127.0.0.1:6102").expect("a peer");
    set_option(server, SOL_SOCKET, SO_RXQ_OVFL, 1).expect("an option");
    set_option(server, SOL_SOCKET, SO_RCVBUF, 0).expect("an option");
    send(client, b"x", 0).expect("it goes");
    t.show("udp_lost_none", told(server));
    let large = [7u8; 2000];
    for _ in 0..20 {
        send(client, &large, 0).expect("it goes");
    }
    let mut received = 0;
    while told(server) != "EAGAIN" {
        received += 1;
    }
    send(client, b"x", 0).expect("it goes");
    let lost = format!("1 40 20: {}", 20 - received);
    t.is("udp_lost_told", told(server) == lost);
    [server, client].into_iter().for_each(close);
}

fn group_request(interface: u32, group: &str) -> [u8; 136] {
    let mut request = [0; 136];
    request[..4].copy_from_slice(&interface.to_ne_bytes());
    let name = name(group).0;
    request[8..8 + name.len()].copy_from_slice(&name);
    request
}

fn groups(t: &mut Report) {
    let v4 = bound(SOCK_DGRAM, "0.0.0.0:6103");
    let v6 = bound(SOCK_DGRAM, "[::]:6104");
    for (word, fd, level, group, other) in [
        ("v4", v4, IPPROTO_IP, "239.1.2.4:0", "[ff02::77]:0"),
        ("v6", v6, IPPROTO_IPV6, "[ff02::77]:0", "239.1.2.4:0"),
    ] {
        let mut change = |case: &str, number: i32, request: [u8; 136], length: usize| {
            t.call(
                &format!("group_{word}_{case}"),
                sys!(SYS_setsockopt, fd, level, number, &request, length),
            );
        };
        change("join_short", MCAST_JOIN_GROUP, group_request(1, group), 135);
        change("join_other", MCAST_JOIN_GROUP, group_request(1, other), 136);
        change("join_none", MCAST_JOIN_GROUP, group_request(77, group), 136);
        change("join", MCAST_JOIN_GROUP, group_request(1, group), 136);
        change("join_again", MCAST_JOIN_GROUP, group_request(1, group), 136);
        change("leave", MCAST_LEAVE_GROUP, group_request(1, group), 136);
        change("leave_again", MCAST_LEAVE_GROUP, group_request(1, group), 136);
    }
    [v4, v6].into_iter().for_each(close);
}

/// On loopback everything fits but what is longer than its packets.
fn whole(t: &mut Report) {
    let (server, client) = (bound(SOCK_DGRAM, "[::1]:6105"), socket(AF_INET6, SOCK_DGRAM));
    connect(client, "[::1]:6105").expect("a peer");
    set_option(client, IPPROTO_IPV6, IPV6_DONTFRAG, 1).expect("an option");
    t.call("udp_whole", send(client, &vec![7; 60_000], 0));
    t.show("udp_whole_received", receive_message(server, 5, MSG_TRUNC));
    t.call("udp_whole_mtu", sys!(SYS_sendto, client, vec![0u8; 65_520].as_ptr(), 65_520, 0, 0, 0));
    [server, client].into_iter().for_each(close);
}
