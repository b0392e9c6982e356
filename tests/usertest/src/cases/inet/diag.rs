//! What the kernel tells of sockets: `sock_diag(7)`.

use libc::*;

use super::helpers::{bound, connect, port_of, send, set_option, socket, socket_for, try_socket};
use super::streams::accept;
use super::tables::answer_to;
use crate::cases::helpers::{close, fstat};
use crate::report::Report;
use crate::sys;

const NETLINK_SOCK_DIAG: i32 = 4;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const DUMP: u16 = 0x300;
/// All states that `ss -a` asks for; newer kernels have one more, for what is only bound.
const STATES: u32 = 0xfff;

pub fn run(t: &mut Report) {
    let diag = try_socket(AF_NETLINK, SOCK_DGRAM, NETLINK_SOCK_DIAG).expect("a socket") as i32;
    internet(t, diag);
    local(t, diag);
    refused(t, diag);
    close(diag);
}

/// `struct inet_diag_req_v2`
fn request(family: i32, protocol: i32, states: u32, id: &[u8]) -> Vec<u8> {
    let mut body = vec![family as u8, protocol as u8, 0, 0];
    body.extend(states.to_ne_bytes());
    body.extend(id);
    body.resize(48, 0);
    // No cookie.
    body.extend([0xff; 8]);
    body
}

/// Each message's type, without what only one kernel knows: of sockets the state, ports, addresses, queues and what is told of shutdown and of IPv6 alone.
fn told(bytes: &[u8], inodes: &[u64]) -> Vec<String> {
    let half = |at: usize| u16::from_ne_bytes([bytes[at], bytes[at + 1]]);
    let word = |at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    let (mut at, mut all) = (0, Vec::new());
    while at + 16 <= bytes.len() {
        let (length, kind, body) = (half(at) as usize, half(at + 4), at + 16);
        let unix = kind == SOCK_DIAG_BY_FAMILY && i32::from(bytes[body]) == AF_UNIX;
        let (fixed, inode) = if unix { (16, body + 4) } else { (72, body + 68) };
        if kind != SOCK_DIAG_BY_FAMILY {
            all.push(format!(
                "type {kind} {}",
                if kind == NLMSG_NOOP as u16 { 0 } else { word(body) as i32 }
            ));
        } else if let Some(place) = inodes.iter().position(|known| *known as u32 == word(inode)) {
            let head = if unix {
                format!("{place}: {:?}", &bytes[body..body + 3])
            } else {
                let port = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
                let shown = [port(body + 4), port(body + 6)].map(|port| if port > 32_767 { 1 } else { port });
                let (to, queues) =
                    (&bytes[body + 8..body + 40], [word(body + 56), word(body + 60), word(body + 64)]);
                format!("{place}: {:?} {shown:?} {to:?} {queues:?}", &bytes[body..body + 2])
            };
            let mut parts = Vec::new();
            let mut next = body + fixed;
            while next + 4 <= at + length {
                let (size, name) = (half(next) as usize, half(next + 2));
                let value = &bytes[next + 4..next + size];
                match name {
                    2 if unix => parts.push(format!(
                        "peer {:?}",
                        inodes.iter().position(|known| *known as u32 == word(next + 4))
                    )),
                    0 | 4 | 6 if unix => parts.push(format!("{name}={value:?}")),
                    8 | 11 if !unix => parts.push(format!("{name}={value:?}")),
                    _ => {}
                }
                next += size.next_multiple_of(4);
            }
            parts.sort();
            all.push(format!("{head} {}", parts.join(" ")));
        }
        at += length.next_multiple_of(4);
    }
    all.sort();
    all
}

fn internet(t: &mut Report, diag: i32) {
    for address in ["127.0.0.1", "[::1]"] {
        let family = if address.starts_with('[') { AF_INET6 } else { AF_INET };
        let listener = bound(SOCK_STREAM, &format!("{address}:6200"));
        sys!(SYS_listen, listener, 5).expect("it listens");
        let client = socket_for(address, SOCK_STREAM);
        let _ = connect(client, &format!("{address}:6200"));
        let server = accept(listener).expect("a connection") as i32;
        let waits = socket_for(address, SOCK_STREAM);
        let _ = connect(waits, &format!("{address}:6200"));
        send(client, b"abc", 0).expect("it is sent");
        let udp = bound(SOCK_DGRAM, &format!("{address}:6201"));
        let peer = socket_for(address, SOCK_DGRAM);
        connect(peer, &format!("{address}:6201")).expect("a peer");
        sys!(SYS_shutdown, peer, SHUT_WR).expect("it is shut down");
        let idle = bound(SOCK_STREAM, &format!("{address}:6202"));
        let unnamed = socket(family, SOCK_DGRAM);
        let all = [listener, client, server, waits, udp, peer, idle, unnamed];
        let inodes = all.map(|fd| fstat(fd).st_ino);
        let mut dump = |case: &str, protocol: i32, states: u32, id: &[u8]| {
            let answer = answer_to(diag, SOCK_DIAG_BY_FAMILY, DUMP, &request(family, protocol, states, id));
            let shown =
                answer.map_or_else(|errno| errno.to_string(), |bytes| told(&bytes, &inodes).join("; "));
            t.show(&format!("diag_{address}_{case}"), shown);
        };
        dump("tcp", IPPROTO_TCP, STATES, &[]);
        dump("tcp_listening", IPPROTO_TCP, 1 << 10, &[]);
        dump("tcp_established", IPPROTO_TCP, 1 << 1, &[]);
        dump("tcp_no_state", IPPROTO_TCP, 0, &[]);
        dump("tcp_of_port", IPPROTO_TCP, STATES, &6200u16.to_be_bytes());
        dump("udp", IPPROTO_UDP, STATES, &[]);
        dump("udp_connected", IPPROTO_UDP, 1 << 1, &[]);
        dump("unknown_protocol", 99, STATES, &[]);
        let mut long = request(family, IPPROTO_TCP, STATES, &[]);
        long.extend([8u16, 3].map(u16::to_ne_bytes).as_flattened());
        long.extend((IPPROTO_UDP as u32).to_ne_bytes());
        let answer = answer_to(diag, SOCK_DIAG_BY_FAMILY, DUMP, &long).expect("an answer");
        t.show(&format!("diag_{address}_protocol_named"), told(&answer, &inodes).join("; "));
        let mut id = [port_of(server), port_of(client)].map(u16::to_be_bytes).as_flattened().to_vec();
        let octets: &[u8] = if family == AF_INET {
            &[127, 0, 0, 1]
        } else {
            &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]
        };
        for _ in 0..2 {
            id.extend(octets);
            id.resize(id.len() + 16 - octets.len(), 0);
        }
        let answer = answer_to(diag, SOCK_DIAG_BY_FAMILY, 0, &request(family, IPPROTO_TCP, STATES, &id));
        t.show(&format!("diag_{address}_one"), told(&answer.expect("an answer"), &inodes).join("; "));
        id[2] ^= 0xff;
        let answer = answer_to(diag, SOCK_DIAG_BY_FAMILY, 0, &request(family, IPPROTO_TCP, STATES, &id));
        t.show(&format!("diag_{address}_none"), told(&answer.expect("an answer"), &inodes).join("; "));
        all.into_iter().for_each(close);
    }
    let both = bound(SOCK_STREAM, "[::]:6203");
    sys!(SYS_listen, both, 7).expect("it listens");
    let only = socket(AF_INET6, SOCK_STREAM);
    set_option(only, IPPROTO_IPV6, IPV6_V6ONLY, 1).expect("an option");
    super::helpers::bind(only, "[::]:6204").expect("an address");
    sys!(SYS_listen, only, 7).expect("it listens");
    let inodes = [both, only].map(|fd| fstat(fd).st_ino);
    let answer = answer_to(diag, SOCK_DIAG_BY_FAMILY, DUMP, &request(AF_INET6, IPPROTO_TCP, STATES, &[]));
    t.show("diag_only_v6", told(&answer.expect("an answer"), &inodes).join("; "));
    [both, only].into_iter().for_each(close);
}

/// `struct unix_diag_req`, for names, peers and queues.
fn unix_request(states: u32, inode: u32) -> Vec<u8> {
    let mut body = vec![AF_UNIX as u8, 0, 0, 0];
    body.extend([states, inode, 0x15, u32::MAX, u32::MAX].map(u32::to_ne_bytes).as_flattened());
    body
}

fn local(t: &mut Report, diag: i32) {
    let mut pair = [0i32; 2];
    sys!(SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, &mut pair).expect("a pair");
    send(pair[0], b"abcde", 0).expect("it is sent");
    let listener = try_socket(AF_UNIX, SOCK_STREAM, 0).expect("a socket") as i32;
    let mut name = sys::zeroed::<sockaddr_un>();
    name.sun_family = AF_UNIX as u16;
    for (to, from) in name.sun_path.iter_mut().zip(b"\0diag") {
        *to = *from as i8;
    }
    sys!(SYS_bind, listener, &name, 7).expect("a name");
    sys!(SYS_listen, listener, 9).expect("it listens");
    let client = try_socket(AF_UNIX, SOCK_STREAM, 0).expect("a socket") as i32;
    sys!(SYS_connect, client, &name, 7).expect("a connection");
    let alone = try_socket(AF_UNIX, SOCK_SEQPACKET, 0).expect("a socket") as i32;
    let all = [pair[0], pair[1], listener, client, alone];
    let inodes = all.map(|fd| fstat(fd).st_ino);
    let mut ask = |case: &str, flags: u16, body: &[u8]| {
        let answer = answer_to(diag, SOCK_DIAG_BY_FAMILY, flags, body).expect("an answer");
        let shown = told(&answer, &inodes);
        // What is charged for bytes on their way is each kernel's own.
        let shown: Vec<_> = shown
            .iter()
            .map(|line| match line.split_once("4=[0, 0, 0, 0, ") {
                Some((head, rest)) if line.starts_with("0: ") => {
                    format!("{head}charged {}", rest.split_once(']').map_or("", |(_, rest)| rest))
                }
                _ => line.clone(),
            })
            .collect();
        t.show(&format!("diag_unix_{case}"), shown.join("; "));
    };
    ask("all", DUMP, &unix_request(STATES, 0));
    ask("listening", DUMP, &unix_request(1 << 10, 0));
    ask("unconnected", DUMP, &unix_request(1 << 7, 0));
    ask("one", 0, &unix_request(STATES, inodes[2] as u32));
    ask("none", 0, &unix_request(STATES, 1));
    ask("nothing", 0, &unix_request(STATES, 0));
    let mut other = unix_request(STATES, inodes[2] as u32);
    other[16..].copy_from_slice(&[1; 8]);
    ask("other_cookie", 0, &other);
    all.into_iter().for_each(close);
}

fn refused(t: &mut Report, diag: i32) {
    let mut ask = |case: &str, kind: u16, flags: u16, body: &[u8]| {
        let answer = answer_to(diag, kind, flags, body).expect("an answer");
        t.show(&format!("diag_{case}"), told(&answer, &[]).join("; "));
    };
    ask("unknown_type", 30, 0, &request(AF_INET, IPPROTO_TCP, 0, &[]));
    ask("unknown_family", SOCK_DIAG_BY_FAMILY, DUMP, &request(45, IPPROTO_TCP, 0, &[]));
    ask("no_family", SOCK_DIAG_BY_FAMILY, DUMP, &request(200, IPPROTO_TCP, 0, &[]));
    ask("short", SOCK_DIAG_BY_FAMILY, DUMP, &[AF_INET as u8, 6, 0, 0]);
    ask("very_short", SOCK_DIAG_BY_FAMILY, DUMP, &[AF_INET as u8]);
    ask("unix_short", SOCK_DIAG_BY_FAMILY, DUMP, &[AF_UNIX as u8, 0, 0, 0]);
}
