//! Options of IP, and what they make messages tell.

use libc::*;

use super::helpers::{bound, name, option, receive_message, set_option, socket};
use crate::cases::helpers::close;
use crate::cases::sockets::helpers::{control, parts};
use crate::report::Report;
use crate::sys::Errno;

pub fn run(t: &mut Report) {
    numbers(t);
    unknown(t);
    received(t);
    sent(t);
}

const V4: [(&str, i32); 22] = [
    ("tos", IP_TOS),
    ("ttl", IP_TTL),
    ("recvopts", IP_RECVOPTS),
    ("retopts", IP_RETOPTS),
    ("pktinfo", IP_PKTINFO),
    ("mtu_discover", IP_MTU_DISCOVER),
    ("recverr", IP_RECVERR),
    ("recvttl", IP_RECVTTL),
    ("recvtos", IP_RECVTOS),
    ("mtu", IP_MTU),
    ("freebind", IP_FREEBIND),
    ("passsec", 18),
    ("transparent", IP_TRANSPARENT),
    ("recvorigdstaddr", IP_RECVORIGDSTADDR),
    ("minttl", IP_MINTTL),
    ("bind_address_no_port", IP_BIND_ADDRESS_NO_PORT),
    ("recverr_rfc4884", 26),
    ("multicast_if", IP_MULTICAST_IF),
    ("multicast_ttl", IP_MULTICAST_TTL),
    ("multicast_loop", IP_MULTICAST_LOOP),
    ("multicast_all", IP_MULTICAST_ALL),
    ("unknown", 150),
];

const V6: [(&str, i32); 21] = [
    ("unicast_hops", IPV6_UNICAST_HOPS),
    ("multicast_hops", IPV6_MULTICAST_HOPS),
    ("multicast_loop", IPV6_MULTICAST_LOOP),
    ("mtu_discover", IPV6_MTU_DISCOVER),
    ("mtu", IPV6_MTU),
    ("recverr", IPV6_RECVERR),
    ("v6only", IPV6_V6ONLY),
    ("recvpktinfo", IPV6_RECVPKTINFO),
    ("recvhoplimit", IPV6_RECVHOPLIMIT),
    ("recvtclass", IPV6_RECVTCLASS),
    ("tclass", IPV6_TCLASS),
    ("multicast_all", 29),
    ("flowinfo_send", 33),
    ("dontfrag", IPV6_DONTFRAG),
    ("autoflowlabel", 70),
    ("transparent", IPV6_TRANSPARENT),
    ("freebind", 78),
    ("recvfragsize", 77),
    ("minhopcount", 73),
    ("recvorigdstaddr", IPV6_RECVORIGDSTADDR),
    ("unknown", 99),
];

fn numbers(t: &mut Report) {
    let both = socket(AF_INET6, SOCK_DGRAM);
    let v4 = socket(AF_INET, SOCK_DGRAM);
    let mut ask = |word: &str, fd: i32, level: i32, names: &[(&str, i32)]| {
        for (name, number) in names {
            let mut answers = vec![option(fd, level, *number)];
            for value in [1, 2, 300, -1, -2, 0] {
                answers.push(
                    set_option(fd, level, *number, value)
                        .map_or_else(|errno| errno.to_string(), |_| option(fd, level, *number)),
                );
            }
            let byte = |value: &u8, length: usize| sys!(SYS_setsockopt, fd, level, *number, value, length);
            let told = |outcome: Result<usize, Errno>| {
                outcome.map_or_else(|errno| errno.to_string(), |_| option(fd, level, *number))
            };
            answers.push(told(byte(&1, 1)));
            answers.push(told(byte(&1, 0)));
            t.show(&format!("{word}_{name}"), answers.join(", "));
        }
    };
    ask("v4", v4, IPPROTO_IP, &V4);
    ask("v6", both, IPPROTO_IPV6, &V6);
    ask("v4_on_v6", both, IPPROTO_IP, &V4[..4]);
    ask("v6_on_v4", v4, IPPROTO_IPV6, &V6[..2]);
    ask("level", v4, 99, &V4[..1]);
    ask("level_on_v6", both, 99, &V4[..1]);
    close(both);
    close(v4);
}

/// Those of sockets that there are not, and the cookie, which is told into any room that suffices.
fn unknown(t: &mut Report) {
    for family in [AF_INET, AF_INET6] {
        for kind in [SOCK_DGRAM, SOCK_STREAM] {
            let fd = socket(family, kind);
            let answers: Vec<_> = [22, 31, 54, 78, 200].map(|number| option(fd, SOL_SOCKET, number)).into();
            t.show(&format!("socket_level_{family}_{kind}"), answers.join(", "));
            let mut lengths = Vec::new();
            for room in [4u32, 8, 64] {
                let (mut cookie, mut length) = ([0u64; 8], room);
                let told = sys!(SYS_getsockopt, fd, SOL_SOCKET, SO_COOKIE, &mut cookie, &mut length);
                lengths.push(format!("{told:?} {length} {}", cookie[0] != 0));
            }
            t.show(&format!("socket_cookie_{family}_{kind}"), lengths.join(", "));
            close(fd);
        }
    }
}

fn received(t: &mut Report) {
    let both = bound(SOCK_DGRAM, "[::]:5000");
    let v4 = bound(SOCK_DGRAM, "127.0.0.1:5001");
    let v6 = bound(SOCK_DGRAM, "[::1]:5001");
    let send = |fd: i32, to: &str| super::helpers::send_to(fd, b"message", to).expect("it goes");
    for (level, numbers) in [
        (IPPROTO_IPV6, [IPV6_RECVPKTINFO, IPV6_RECVHOPLIMIT, IPV6_RECVTCLASS, IPV6_RECVORIGDSTADDR]),
        (IPPROTO_IP, [IP_PKTINFO, IP_RECVTTL, IP_RECVTOS, IP_RECVORIGDSTADDR]),
    ] {
        for number in numbers {
            set_option(both, level, number, 1).expect("an option");
            send(v4, "127.0.0.1:5000");
            t.show(&format!("about_v4_{level}_{number}"), receive_message(both, 20, 0));
            send(v6, "[::1]:5000");
            t.show(&format!("about_v6_{level}_{number}"), receive_message(both, 20, 0));
            set_option(both, level, number, 0).expect("an option");
        }
    }
    for number in [IP_PKTINFO, IP_RECVTTL, IP_RECVTOS, IP_RECVORIGDSTADDR] {
        set_option(v4, IPPROTO_IP, number, 1).expect("an option");
    }
    set_option(both, IPPROTO_IP, IP_TTL, 7).expect("an option");
    set_option(both, IPPROTO_IP, IP_TOS, 0x10).expect("an option");
    super::helpers::send_to(both, b"mapped", "[::ffff:127.0.0.1]:5001").expect("it goes");
    t.show("about_several", receive_message(v4, 20, 0));
    [both, v4, v6].into_iter().for_each(close);
}

fn sent(t: &mut Report) {
    let server = bound(SOCK_DGRAM, "[::]:5000");
    for number in [IPV6_RECVPKTINFO, IPV6_RECVHOPLIMIT, IPV6_RECVTCLASS] {
        set_option(server, IPPROTO_IPV6, number, 1).expect("an option");
    }
    for number in [IP_RECVTTL, IP_RECVTOS] {
        set_option(server, IPPROTO_IP, number, 1).expect("an option");
    }
    let mut send = |case: &str, fd: i32, to: &str, control: &[u8]| {
        let mut message = parts(b"message", control);
        let mut to = name(to);
        message.header.msg_name = to.0.as_mut_ptr().cast();
        message.header.msg_namelen = to.0.len() as u32;
        t.call(case, sys!(SYS_sendmsg, fd, &raw const message.header, 0));
        t.show(&format!("{case}_received"), receive_message(server, 20, 0));
    };
    let v4 = socket(AF_INET, SOCK_DGRAM);
    let v6 = socket(AF_INET6, SOCK_DGRAM);
    let (to, to6) = ("127.0.0.1:5000", "[::1]:5000");
    let info = |interface: u32, source: [u8; 4]| [&interface.to_ne_bytes()[..], &source, &[0; 4]].concat();
    let number = |number: i32| number.to_ne_bytes();
    send("from", v4, to, &control(IPPROTO_IP, IP_PKTINFO, &info(0, [127, 0, 0, 5])));
    send("from_by", v4, to, &control(IPPROTO_IP, IP_PKTINFO, &info(1, [0; 4])));
    send("from_by_none", v4, to, &control(IPPROTO_IP, IP_PKTINFO, &info(77, [0; 4])));
    send("from_not_local", v4, to, &control(IPPROTO_IP, IP_PKTINFO, &info(0, [192, 0, 2, 77])));
    send("from_short", v4, to, &control(IPPROTO_IP, IP_PKTINFO, &[0; 8]));
    send("ttl", v4, to, &control(IPPROTO_IP, IP_TTL, &number(9)));
    send("ttl_0", v4, to, &control(IPPROTO_IP, IP_TTL, &number(0)));
    send("ttl_256", v4, to, &control(IPPROTO_IP, IP_TTL, &number(256)));
    send("tos", v4, to, &control(IPPROTO_IP, IP_TOS, &number(0x20)));
    send("tos_byte", v4, to, &control(IPPROTO_IP, IP_TOS, &[0x20]));
    send("unknown", v4, to, &control(IPPROTO_IP, 99, &number(1)));
    send("other_level", v4, to, &control(99, 99, &number(1)));
    send("v6_level", v4, to, &control(IPPROTO_IPV6, IPV6_HOPLIMIT, &number(9)));
    send("rights", v4, to, &control(SOL_SOCKET, SCM_RIGHTS, &number(0)));
    send("socket_level", v4, to, &control(SOL_SOCKET, 99, &number(0)));
    let info6 = |interface: u32, source: &str| {
        let source: std::net::Ipv6Addr = source.parse().expect("an address");
        [&source.octets()[..], &interface.to_ne_bytes()].concat()
    };
    send("from6", v6, to6, &control(IPPROTO_IPV6, IPV6_PKTINFO, &info6(1, "::1")));
    send("from6_any", v6, to6, &control(IPPROTO_IPV6, IPV6_PKTINFO, &info6(0, "::")));
    send("from6_not_local", v6, to6, &control(IPPROTO_IPV6, IPV6_PKTINFO, &info6(0, "2001:db8::1")));
    send("from6_by_none", v6, to6, &control(IPPROTO_IPV6, IPV6_PKTINFO, &info6(77, "::")));
    send("from6_short", v6, to6, &control(IPPROTO_IPV6, IPV6_PKTINFO, &[0; 16]));
    send("hops", v6, to6, &control(IPPROTO_IPV6, IPV6_HOPLIMIT, &number(9)));
    send("hops_default", v6, to6, &control(IPPROTO_IPV6, IPV6_HOPLIMIT, &number(-1)));
    send("hops_wrong", v6, to6, &control(IPPROTO_IPV6, IPV6_HOPLIMIT, &number(256)));
    send("class", v6, to6, &control(IPPROTO_IPV6, IPV6_TCLASS, &number(0x20)));
    send("unknown6", v6, to6, &control(IPPROTO_IPV6, 99, &number(1)));
    [server, v4, v6].into_iter().for_each(close);
}
