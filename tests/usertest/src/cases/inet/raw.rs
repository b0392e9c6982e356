//! Sockets of whole packets: raw(7), RFC 3542.

use libc::*;

use super::helpers::{
    bind, bind_name, connect, disconnect, error, name, name_of, option, receive_message, send, send_to,
    set_option, try_socket,
};
use crate::cases::helpers::{close, status_of};
use crate::cases::sockets::helpers::events;
use crate::report::Report;

/// `IPV6_CHECKSUM`, `IPV6_HDRINCL`
const CHECKSUM: i32 = 7;
const HEADER_V6: i32 = 36;
const SOL_RAW: i32 = 255;
const FILTER: i32 = 1;
/// A protocol that nobody has (RFC 3692).
const STRANGE: i32 = 253;

pub fn run(t: &mut Report) {
    making(t);
    names(t);
    strange(t);
    echoes(t);
    echoes_v6(t);
    headers(t);
    checksums(t);
    options(t);
    errors(t);
}

fn raw(family: i32, protocol: i32) -> i32 {
    try_socket(family, SOCK_RAW | SOCK_NONBLOCK, protocol).expect("root may") as i32
}

/// What was received, as numbers, without what differs from run to run: the identification of IPv4 and the checksum over it.
fn bytes(fd: i32) -> String {
    let mut buffer = [0u8; 256];
    match sys!(SYS_recvfrom, fd, &mut buffer, 256, 0, 0, 0) {
        Ok(count) => {
            if buffer[0] >> 4 == 4 {
                buffer[4..8].fill(0);
                buffer[10..12].fill(0);
            }
            format!("{:?}", &buffer[..count])
        }
        Err(errno) => errno.to_string(),
    }
}

fn drain(fd: i32) -> usize {
    let mut buffer = [0u8; 2048];
    (0..100).take_while(|_| sys!(SYS_recvfrom, fd, &mut buffer, 2048, 0, 0, 0).is_ok()).count()
}

fn sum(bytes: &[u8]) -> u16 {
    let mut sum = 0u32;
    for pair in bytes.chunks(2) {
        sum += u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

fn echo(kind: u8) -> Vec<u8> {
    let mut message = vec![kind, 0, 0, 0, 0x12, 0x34, 0, 1, b'e', b'c', b'h', b'o'];
    let checksum = sum(&message).to_be_bytes();
    message[2..4].copy_from_slice(&checksum);
    message
}

fn making(t: &mut Report) {
    for (family, protocol) in [
        (AF_INET, 0),
        (AF_INET, IPPROTO_ICMP),
        (AF_INET, IPPROTO_ICMPV6),
        (AF_INET, IPPROTO_TCP),
        (AF_INET, IPPROTO_RAW),
        (AF_INET, 256),
        (AF_INET, 263),
        (AF_INET, -1),
        (AF_INET6, 0),
        (AF_INET6, IPPROTO_ICMPV6),
        (AF_INET6, IPPROTO_RAW),
    ] {
        let made = try_socket(family, SOCK_RAW, protocol);
        t.ok(&format!("raw_{family}_{protocol}"), made);
        if let Ok(fd) = made {
            let fd = fd as i32;
            t.show(&format!("raw_{family}_{protocol}_type"), option(fd, SOL_SOCKET, SO_TYPE));
            t.show(&format!("raw_{family}_{protocol}_protocol"), option(fd, SOL_SOCKET, SO_PROTOCOL));
            let (level, header) =
                if family == AF_INET { (IPPROTO_IP, IP_HDRINCL) } else { (IPPROTO_IPV6, HEADER_V6) };
            t.show(&format!("raw_{family}_{protocol}_header"), option(fd, level, header));
            close(fd);
        }
    }
    let unprivileged = |protocol| {
        status_of(|| {
            sys!(SYS_setuid, 1000).expect("root may");
            try_socket(AF_INET, SOCK_RAW, protocol).map_or_else(|errno| errno.0, |_| 0)
        })
    };
    t.show("raw_unprivileged", unprivileged(IPPROTO_ICMP));
    t.show("raw_unprivileged_none", unprivileged(0));
}

fn names(t: &mut Report) {
    let fd = raw(AF_INET, STRANGE);
    t.show("raw_name", name_of(SYS_getsockname, fd));
    t.show("raw_peer", name_of(SYS_getpeername, fd));
    t.call("raw_bind_short", sys!(SYS_bind, fd, name("127.0.0.1:0").0.as_ptr(), 15));
    t.call("raw_bind_other_family", bind_name(fd, &name("127.0.0.1:0").of_family(AF_UNIX)));
    t.call("raw_bind_elsewhere", bind(fd, "192.0.2.1:0"));
    t.call("raw_bind_port", bind(fd, "127.0.0.1:99"));
    t.show("raw_bound", name_of(SYS_getsockname, fd));
    t.call("raw_bind_again", bind(fd, "127.0.0.2:0"));
    t.call("raw_bind_group", bind(fd, "224.0.0.9:0"));
    t.show("raw_bound_group", name_of(SYS_getsockname, fd));
    t.call("raw_bind_any", bind(fd, "0.0.0.0:0"));
    t.call("raw_connect", connect(fd, "127.0.0.1:7"));
    t.show("raw_connected", name_of(SYS_getsockname, fd));
    t.call("raw_bind_connected", bind(fd, "127.0.0.1:0"));
    t.call("raw_listen", sys!(SYS_listen, fd, 1));
    t.call("raw_disconnect", disconnect(fd));
    t.show("raw_disconnected", name_of(SYS_getsockname, fd));
    close(fd);
    let fd = raw(AF_INET6, STRANGE);
    t.show("raw6_name", name_of(SYS_getsockname, fd));
    t.call("raw6_bind_v4", bind_name(fd, &name("127.0.0.1:0")));
    t.call("raw6_bind_mapped", bind(fd, "[::ffff:127.0.0.1]:0"));
    t.call("raw6_bind_link", bind(fd, "[fe80::1]:0"));
    t.call("raw6_bind_no_link", bind(fd, "[fe80::1%77]:0"));
    close(fd);
    let fd = raw(AF_INET6, STRANGE);
    t.call("raw6_bind_elsewhere", bind(fd, "[2001:db8::1]:0"));
    t.call("raw6_bind", bind(fd, "[::1]:5"));
    t.show("raw6_bound", name_of(SYS_getsockname, fd));
    t.call("raw6_connect_v4", connect(fd, "127.0.0.1:7"));
    t.call("raw6_connect", connect(fd, "[::1]:0"));
    t.show("raw6_peer", name_of(SYS_getpeername, fd));
    close(fd);
}

/// A protocol of one's own.
fn strange(t: &mut Report) {
    let (one, other, bound) = (raw(AF_INET, STRANGE), raw(AF_INET, STRANGE), raw(AF_INET, STRANGE));
    bind(bound, "127.0.0.2:0").expect("an address");
    t.call("strange_nowhere", send(one, b"x", 0));
    t.call("strange_urgent", send(one, b"x", MSG_OOB));
    t.call(
        "strange_short_name",
        sys!(SYS_sendto, one, b"x".as_ptr(), 1, 0, name("127.0.0.1:0").0.as_ptr(), 15),
    );
    let to_unix = name("127.0.0.1:0").of_family(AF_UNIX);
    t.call("strange_other_family", sys!(SYS_sendto, one, b"x".as_ptr(), 1, 0, to_unix.0.as_ptr(), 16));
    t.call("strange_no_route", send_to(one, b"x", "192.0.2.7:0"));
    t.call("strange_long", send_to(one, &vec![0; 65_516], "127.0.0.1:0"));
    t.call("strange_too_long", send_to(one, &vec![0; 65_536], "127.0.0.1:0"));
    t.show("strange_nothing", bytes(one));
    t.call("strange_send", send_to(one, b"hello", "127.0.0.1:0"));
    t.show("strange_events", events(one));
    let mut waiting = 0i32;
    sys!(SYS_ioctl, one, FIONREAD, &raw mut waiting).expect("a number");
    t.show("strange_waiting", waiting);
    t.show("strange_one", bytes(one));
    t.show("strange_other", bytes(other));
    t.show("strange_bound_elsewhere", bytes(bound));
    set_option(one, IPPROTO_IP, IP_TTL, 9).expect("an option");
    set_option(one, IPPROTO_IP, IP_TOS, 0x10).expect("an option");
    set_option(other, IPPROTO_IP, IP_PKTINFO, 1).expect("an option");
    t.call("strange_to_bound", send_to(one, b"there", "127.0.0.2:0"));
    t.show("strange_bound", bytes(bound));
    t.show(
        "strange_told",
        receive_message(other, 22, 0).split(" flags ").nth(1).unwrap_or("nothing").to_owned(),
    );
    send_to(one, b"cut", "127.0.0.1:0").expect("it goes");
    let mut buffer = [0u8; 4];
    drain(other);
    drain(one);
    send_to(one, b"cut", "127.0.0.1:0").expect("it goes");
    t.call("strange_whole_length", sys!(SYS_recvfrom, one, &mut buffer, 4, MSG_TRUNC, 0, 0));
    t.call("strange_cut", sys!(SYS_recvfrom, other, &mut buffer, 4, 0, 0, 0));
    t.call("strange_receive_urgent", sys!(SYS_recvfrom, other, &mut buffer, 4, MSG_OOB, 0, 0));
    // A peer's only.
    connect(other, "127.0.0.2:0").expect("a peer");
    drain(other);
    send_to(one, b"not you", "127.0.0.1:0").expect("it goes");
    t.show("strange_of_nobody", bytes(other));
    t.call("strange_connected", send(other, b"to the peer", 0));
    t.show("strange_at_the_peer", bytes(bound));
    t.call("strange_shutdown", sys!(SYS_shutdown, other, SHUT_RDWR));
    t.call("strange_send_then", send(other, b"x", 0));
    set_option(other, IPPROTO_IP, IP_HDRINCL, 1).expect("an option");
    t.call("strange_send_header_then", send(other, &[0x45; 20], 0));
    [one, other, bound].into_iter().for_each(close);
}

fn echoes(t: &mut Report) {
    let fd = raw(AF_INET, IPPROTO_ICMP);
    t.call("echo_send", send_to(fd, &echo(8), "127.0.0.1:0"));
    t.show("echo_request", bytes(fd));
    t.show("echo_reply", bytes(fd));
    t.show("echo_nothing", bytes(fd));
    let mut filter = !(1u32 << 0);
    t.call("filter_set", sys!(SYS_setsockopt, fd, SOL_RAW, FILTER, &filter, 4));
    t.call("filter_set_short", sys!(SYS_setsockopt, fd, SOL_RAW, FILTER, &filter, 1));
    t.show("filter_get", option(fd, SOL_RAW, FILTER));
    t.call("filter_unknown", set_option(fd, SOL_RAW, 2, 0));
    t.show("filter_get_unknown", option(fd, SOL_RAW, 2));
    send_to(fd, &echo(8), "127.0.0.1:0").expect("it goes");
    t.show("filtered", bytes(fd));
    t.show("filtered_nothing", bytes(fd));
    filter = u32::MAX;
    sys!(SYS_setsockopt, fd, SOL_RAW, FILTER, &filter, 4).expect("a filter");
    send_to(fd, &echo(8), "127.0.0.1:0").expect("it goes");
    t.show("filtered_all", bytes(fd));
    close(fd);
    let strange = raw(AF_INET, STRANGE);
    t.call("filter_of_another", sys!(SYS_setsockopt, strange, SOL_RAW, FILTER, &filter, 4));
    t.show("filter_get_of_another", option(strange, SOL_RAW, FILTER));
    close(strange);
}

fn echoes_v6(t: &mut Report) {
    let fd = raw(AF_INET6, IPPROTO_ICMPV6);
    t.show("checksum_of_icmp6", option(fd, IPPROTO_IPV6, CHECKSUM));
    t.call("checksum_of_icmp6_set", set_option(fd, IPPROTO_IPV6, CHECKSUM, 2));
    t.call("echo6_send", send_to(fd, &echo(128), "[::1]:0"));
    t.show("echo6_request", bytes(fd));
    t.show("echo6_reply", bytes(fd));
    t.call("echo6_any", send_to(fd, &echo(128), "[::]:58"));
    t.show("echo6_any_came", drain(fd));
    t.call("echo6_other_protocol", send_to(fd, &echo(128), "[::1]:59"));
    t.call("echo6_mapped", send_to(fd, &echo(128), "[::ffff:127.0.0.1]:0"));
    t.call("echo6_v4", send_to(fd, &echo(128), "127.0.0.1:0"));
    t.call("echo6_short", send_to(fd, &[128, 0, 0], "[::1]:0"));
    let mut filter = [u32::MAX; 8];
    filter[129 / 32] &= !(1 << (129 % 32));
    t.call("filter6_set", sys!(SYS_setsockopt, fd, IPPROTO_ICMPV6, FILTER, &filter, 32));
    send_to(fd, &echo(128), "[::1]:0").expect("it goes");
    t.show("filtered6", bytes(fd));
    t.show("filtered6_nothing", bytes(fd));
    let (mut found, mut length) = ([0u32; 8], 32u32);
    sys!(SYS_getsockopt, fd, IPPROTO_ICMPV6, FILTER, &mut found, &mut length).expect("a filter");
    t.show("filter6_get", format!("{length} {found:x?}"));
    t.call("filter6_unknown", set_option(fd, IPPROTO_ICMPV6, 2, 0));
    close(fd);
    let strange = raw(AF_INET6, STRANGE);
    t.call("filter6_of_another", sys!(SYS_setsockopt, strange, IPPROTO_ICMPV6, FILTER, &filter, 32));
    close(strange);
}

/// Headers of one's own.
fn headers(t: &mut Report) {
    let (sender, receiver) = (raw(AF_INET, IPPROTO_RAW), raw(AF_INET, STRANGE));
    let mut packet =
        vec![0x45, 0x08, 0xff, 0xff, 0, 7, 0, 0, 33, STRANGE as u8, 1, 2, 0, 0, 0, 0, 127, 0, 0, 1];
    packet.extend(b"whole");
    t.call("header_send", send_to(sender, &packet, "127.0.0.1:0"));
    t.show("header_came", bytes(receiver));
    t.call("header_short", send_to(sender, &packet[..19], "127.0.0.1:0"));
    let mut long = packet.clone();
    long[0] = 0x4f;
    t.call("header_cut", send_to(sender, &long, "127.0.0.1:0"));
    packet[12..16].copy_from_slice(&[127, 0, 0, 9]);
    t.call("header_source", send_to(sender, &packet, "127.0.0.1:0"));
    t.show("header_source_came", bytes(receiver));
    t.call("header_off", set_option(sender, IPPROTO_IP, IP_HDRINCL, 0));
    t.call("header_on", set_option(receiver, IPPROTO_IP, IP_HDRINCL, 1));
    t.show("header_is_on", option(receiver, IPPROTO_IP, IP_HDRINCL));
    t.call("header_of_its_own", send_to(receiver, &packet, "127.0.0.1:0"));
    t.show("header_of_its_own_came", bytes(receiver));
    // What others make of it.
    let udp = super::helpers::bound(SOCK_DGRAM, "127.0.0.1:5300");
    let mut datagram = packet[..20].to_vec();
    datagram[9] = IPPROTO_UDP as u8;
    datagram.extend([0, 99, 20, 180, 0, 10, 0, 0, b'h', b'i']);
    t.call("header_datagram", send_to(receiver, &datagram, "127.0.0.1:0"));
    t.show("header_datagram_came", super::helpers::receive(udp, 10, 0));
    close(udp);
    let datagrams = super::helpers::socket(AF_INET, SOCK_DGRAM);
    t.call("header_on_datagrams", set_option(datagrams, IPPROTO_IP, IP_HDRINCL, 1));
    close(datagrams);
    [sender, receiver].into_iter().for_each(close);
    let (sender, receiver) = (raw(AF_INET6, IPPROTO_RAW), raw(AF_INET6, STRANGE));
    let mut packet = vec![0x60, 0, 0, 0, 0, 5, STRANGE as u8, 44];
    let own = std::net::Ipv6Addr::LOCALHOST.octets();
    packet.extend(own);
    packet.extend(own);
    packet.extend(b"whole");
    t.call("header6_send", send_to(sender, &packet, "[::1]:0"));
    t.show("header6_came", bytes(receiver));
    t.call("header6_short", send_to(sender, &packet[..39], "[::1]:0"));
    [sender, receiver].into_iter().for_each(close);
}

fn checksums(t: &mut Report) {
    let (sender, receiver) = (raw(AF_INET6, STRANGE), raw(AF_INET6, STRANGE));
    t.show("checksum", option(sender, IPPROTO_IPV6, CHECKSUM));
    t.call("checksum_odd", set_option(sender, IPPROTO_IPV6, CHECKSUM, 3));
    t.call("checksum_at", set_option(sender, IPPROTO_IPV6, CHECKSUM, 4));
    t.show("checksum_then", option(sender, IPPROTO_IPV6, CHECKSUM));
    t.show("checksum_raw", option(sender, SOL_RAW, CHECKSUM));
    t.call("checksum_short", sys!(SYS_setsockopt, sender, IPPROTO_IPV6, CHECKSUM, &4i32, 2));
    t.call("checksum_outside", send_to(sender, b"abcde", "[::1]:0"));
    t.call("checksum_send", send_to(sender, b"abcdefgh", "[::1]:0"));
    t.show("checksum_came", bytes(receiver));
    t.show("checksum_right", bytes(sender));
    send_to(receiver, b"abcdefgh", "[::1]:0").expect("it goes");
    t.show("checksum_wrong", bytes(sender));
    t.call("checksum_off", set_option(sender, IPPROTO_IPV6, CHECKSUM, -5));
    t.show("checksum_is_off", option(sender, IPPROTO_IPV6, CHECKSUM));
    [sender, receiver].into_iter().for_each(close);
}

fn options(t: &mut Report) {
    let fd = raw(AF_INET, STRANGE);
    for (level, option) in [
        (IPPROTO_IP, IP_TTL),
        (IPPROTO_IP, IP_MULTICAST_TTL),
        (IPPROTO_UDP, 103),
        (IPPROTO_IPV6, IPV6_V6ONLY),
    ] {
        t.call(&format!("raw_option_{level}_{option}"), set_option(fd, level, option, 5));
        t.show(&format!("raw_option_{level}_{option}_is"), super::helpers::option(fd, level, option));
    }
    let group = [224u8, 0, 0, 9, 127, 0, 0, 1];
    t.call("raw_join", sys!(SYS_setsockopt, fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &group, 8));
    let local = [127u8, 0, 0, 1];
    sys!(SYS_setsockopt, fd, IPPROTO_IP, IP_MULTICAST_IF, &local, 4).expect("an interface");
    t.call("raw_to_group", send_to(fd, b"all", "224.0.0.9:0"));
    t.show("raw_of_group", bytes(fd));
    close(fd);
}

/// What ICMP says of what was sent.
fn errors(t: &mut Report) {
    let udp = super::helpers::bound(SOCK_DGRAM, "127.0.0.1:5301");
    for (case, reports, peer) in
        [("alone", false, false), ("connected", false, true), ("asking", true, false)]
    {
        let fd = raw(AF_INET, IPPROTO_UDP);
        if reports {
            set_option(fd, IPPROTO_IP, IP_RECVERR, 1).expect("an option");
        }
        if peer {
            connect(fd, "127.0.0.1:0").expect("a peer");
        }
        send_to(udp, b"anybody", "127.0.0.1:5302").expect("it goes");
        t.show(&format!("error_{case}"), error(fd));
        t.show(&format!("error_{case}_report"), report(fd));
        close(fd);
    }
    close(udp);
}

/// The flags, the length and the ancillary data of an error that was reported.
fn report(fd: i32) -> String {
    let mut parts = crate::cases::sockets::helpers::parts(&[0; 64], &[0; 128]);
    match sys!(SYS_recvmsg, fd, &raw mut parts.header, MSG_ERRQUEUE) {
        Ok(count) => format!(
            "{count} {:#x} {:?} {:?}",
            parts.header.msg_flags,
            &parts.bytes[8.min(count)..count],
            &parts.control[16..parts.header.msg_controllen.min(128)]
        ),
        Err(errno) => errno.to_string(),
    }
}
