//! What the kernel tells of the network: `/proc/net`, `/sys/class/net`, ioctl(2), rtnetlink(7).

use std::fmt::Write;
use std::fs;

use libc::*;

use super::helpers::{bound, connect, port_of, socket, try_socket};
use crate::cases::helpers::{NOWHERE, close, fstat};
use crate::cases::sockets::helpers::events;
use crate::report::Report;
use crate::sys::Errno;

pub fn run(t: &mut Report) {
    sockets(t);
    files(t);
    requests(t);
    netlink(t);
}

/// The lines of a table that are about sockets with these inodes; where all lines are of one length, that too.
fn rows(path: &str, inodes: &[u64]) -> Vec<String> {
    let text = fs::read_to_string(path).expect("a table");
    let mut rows = Vec::new();
    for line in text.lines().skip(1) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let inode: u64 = words[9].parse().expect("an inode");
        if !inodes.contains(&inode) {
            continue;
        }
        let remote = words[2].split(':').next().expect("an address");
        let length = if path.ends_with('6') { 0 } else { line.len() };
        rows.push(format!("{} {remote} {} {} {} {length}", words[1], words[3], words[4], words[7]));
    }
    rows.sort();
    rows
}

fn sockets(t: &mut Report) {
    let listener = bound(SOCK_STREAM, "127.0.0.1:6000");
    sys!(SYS_listen, listener, 5).expect("it listens");
    let listener6 = bound(SOCK_STREAM, "[::]:6001");
    sys!(SYS_listen, listener6, 5).expect("it listens");
    let client = socket(AF_INET, SOCK_STREAM);
    let _ = connect(client, "127.0.0.1:6000");
    let server = sys!(SYS_accept4, listener, 0, 0, 0).expect("a connection") as i32;
    let udp = bound(SOCK_DGRAM, "127.0.0.1:6002");
    let udp6 = bound(SOCK_DGRAM, "[::1]:6003");
    connect(udp, "127.0.0.1:6004").expect("a peer");
    let idle = bound(SOCK_STREAM, "127.0.0.1:6005");
    let unnamed = socket(AF_INET, SOCK_DGRAM);
    let inodes = [listener, listener6, server, udp, udp6, idle, unnamed].map(|fd| fstat(fd).st_ino);
    for table in ["tcp", "tcp6", "udp", "udp6"] {
        let path = format!("/proc/net/{table}");
        let heading =
            fs::read_to_string(&path).expect("a table").lines().next().expect("a heading").to_owned();
        t.show(&format!("table_{table}_heading"), format!("{heading:?}"));
        t.show(&format!("table_{table}"), rows(&path, &inodes).join(", "));
    }
    let client_row = fs::read_to_string("/proc/net/tcp").expect("a table");
    let place = format!("0100007F:{:04X} 0100007F:1770 01", port_of(client));
    t.is("table_client", client_row.contains(&place));
    [listener, listener6, server, client, udp, udp6, idle, unnamed].into_iter().for_each(close);
}

fn files(t: &mut Report) {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_else(|error| error.to_string());
    let dev = read("/proc/net/dev");
    t.show("dev_heading", format!("{:?}", dev.lines().take(2).collect::<Vec<_>>()));
    t.show(
        "dev",
        dev.lines().skip(2).map(|line| line[..7].to_owned() + &line.len().to_string()).collect::<String>(),
    );
    t.show("route", format!("{:?}", read("/proc/net/route")));
    t.show("if_inet6", format!("{:?}", read("/proc/net/if_inet6")));
    let of_lo = |name: &str| read(&format!("/proc/sys/net/ipv6/conf/lo/{name}"));
    t.show("disable_ipv6", of_lo("disable_ipv6").trim());
    for name in [
        "ipv4/ip_default_ttl",
        "ipv4/ip_forward",
        "ipv4/ip_nonlocal_bind",
        "ipv4/ping_group_range",
        "ipv6/bindv6only",
    ] {
        t.show(&format!("sysctl_{name}"), format!("{:?}", read(&format!("/proc/sys/net/{name}"))));
    }
}

fn request(fd: i32, number: u64, name: &str) -> String {
    let mut request = [0u8; 40];
    request[..name.len()].copy_from_slice(name.as_bytes());
    request[16] = 1;
    match sys!(SYS_ioctl, fd, number, &mut request) {
        Ok(_) => format!("{:?} {:?}", String::from_utf8_lossy(&request[..4]), &request[16..34]),
        Err(errno) => errno.to_string(),
    }
}

fn requests(t: &mut Report) {
    let v4 = socket(AF_INET, SOCK_DGRAM);
    let v6 = socket(AF_INET6, SOCK_STREAM);
    let unix = try_socket(AF_UNIX, SOCK_DGRAM, 0).expect("a socket") as i32;
    for (word, number) in [
        ("name", SIOCGIFNAME),
        ("flags", SIOCGIFFLAGS),
        ("address", SIOCGIFADDR),
        ("destination", SIOCGIFDSTADDR),
        ("broadcast", SIOCGIFBRDADDR),
        ("mask", SIOCGIFNETMASK),
        ("metric", SIOCGIFMETRIC),
        ("mtu", SIOCGIFMTU),
        ("hardware", SIOCGIFHWADDR),
        ("index", SIOCGIFINDEX),
        ("queue", SIOCGIFTXQLEN),
        ("map", 0x8970),
        ("private_flags", 0x8935),
        ("unknown", 0x8980),
    ] {
        t.show(&format!("ioctl_{word}"), request(v4, number, "lo"));
        t.show(&format!("ioctl_{word}_nobody"), request(v4, number, "nobody"));
        t.show(&format!("ioctl_{word}_v6"), request(v6, number, "lo"));
        t.show(&format!("ioctl_{word}_unix"), request(unix, number, "lo"));
    }
    t.call("ioctl_fault", sys!(SYS_ioctl, v4, SIOCGIFFLAGS, NOWHERE));
    let mut list = [0u8; 400];
    let mut asked = [80u64, list.as_mut_ptr() as u64];
    t.call("ioctl_list", sys!(SYS_ioctl, v4, SIOCGIFCONF, &mut asked));
    t.show("ioctl_list_found", format!("{} {:?}", asked[0], &list[..24]));
    asked = [0, 0];
    t.call("ioctl_list_length", sys!(SYS_ioctl, v4, SIOCGIFCONF, &mut asked));
    t.show("ioctl_list_needs", asked[0]);
    [v4, v6, unix].into_iter().for_each(close);
}

/// What an answer says: each message with what matters of its fixed part, and the attributes that all kernels have.
fn told(bytes: &[u8]) -> Vec<String> {
    let half = |at: usize| u16::from_ne_bytes([bytes[at], bytes[at + 1]]);
    let (mut at, mut messages) = (0, Vec::new());
    while at + 16 <= bytes.len() {
        let length = half(at) as usize;
        let (kind, flags) = (half(at + 4), half(at + 6));
        let fixed = match kind {
            RTM_NEWLINK => 16,
            RTM_NEWADDR => 8,
            RTM_NEWROUTE | RTM_NEWRULE => 12,
            _ => length - 16,
        };
        let known: &[u16] = match kind {
            RTM_NEWLINK => &[1, 2, 3, 4, 6, 13, 16, 17, 27, 30, 31, 32, 33],
            RTM_NEWADDR => &[1, 2, 3, 8],
            RTM_NEWROUTE => &[1, 2, 4, 5, 6, 7, 15],
            RTM_NEWRULE => &[6, 14, 15, 21],
            _ => &[],
        };
        let mut text = format!("{kind} {flags:#x} {:?}", &bytes[at + 16..at + 16 + fixed.min(20)]);
        let mut place = at + 16 + fixed;
        let mut attributes = Vec::new();
        while place + 4 <= at + length {
            let (size, name) = (half(place) as usize, half(place + 2));
            if known.contains(&name) {
                attributes.push((name, bytes[place + 4..place + size].to_vec()));
            }
            place += size.next_multiple_of(4);
        }
        attributes.sort();
        for (name, value) in attributes {
            write!(text, " {name}={value:?}").expect("a text grows");
        }
        messages.push(text);
        at += length.next_multiple_of(4);
    }
    messages
}

fn ask(fd: i32, kind: u16, flags: u16, body: &[u8]) -> Vec<String> {
    match answer_to(fd, kind, flags, body) {
        Ok(bytes) => told(&bytes),
        Err(errno) => vec![errno.to_string()],
    }
}

/// All messages that answer a request.
pub(super) fn answer_to(fd: i32, kind: u16, flags: u16, body: &[u8]) -> Result<Vec<u8>, Errno> {
    let mut request = (16 + body.len() as u32).to_ne_bytes().to_vec();
    request.extend(kind.to_ne_bytes());
    request.extend((1 | flags).to_ne_bytes());
    request.extend(7u32.to_ne_bytes());
    request.extend(0u32.to_ne_bytes());
    request.extend(body);
    sys!(SYS_sendto, fd, request.as_ptr(), request.len(), 0, 0, 0)?;
    let mut messages = Vec::new();
    let mut buffer = vec![0u8; 32_768];
    while let Ok(count) = sys!(SYS_recvfrom, fd, buffer.as_mut_ptr(), buffer.len(), MSG_DONTWAIT, 0, 0) {
        messages.extend(&buffer[..count]);
    }
    Ok(messages)
}

/// Where a packet to one address would go.
fn lookups(t: &mut Report, fd: i32) {
    const FLAGS: [(&str, u32); 2] = [("", 0), ("_table", 0x1000)];
    let attribute = |kind: u16, value: &[u8]| {
        [&((4 + value.len()) as u16).to_ne_bytes()[..], &kind.to_ne_bytes(), value].concat()
    };
    let mut look = |case: &str, family: i32, flags: u32, attributes: &[Vec<u8>]| {
        let mut body = vec![family as u8, 0, 0, 0, 0, 0, 0, 0];
        body.extend(flags.to_ne_bytes());
        body.extend(attributes.concat());
        t.show(&format!("route_of_{case}"), ask(fd, RTM_GETROUTE, 0, &body).join("; "));
    };
    let mut loopback = [0u8; 16];
    loopback[15] = 1;
    for (word, flags) in FLAGS {
        look(&format!("local{word}"), AF_INET, flags, &[attribute(1, &[127, 0, 0, 1])]);
        look(&format!("local6{word}"), AF_INET6, flags, &[attribute(1, &loopback)]);
        look(&format!("all{word}"), AF_INET, flags, &[attribute(1, &[127, 255, 255, 255])]);
    }
    let to = attribute(1, &[127, 0, 0, 9]);
    look("by", AF_INET, 0, &[to.clone(), attribute(4, &1u32.to_ne_bytes())]);
    look("by_none", AF_INET, 0, &[to.clone(), attribute(4, &77u32.to_ne_bytes())]);
    look("from", AF_INET, 0, &[to.clone(), attribute(2, &[127, 0, 0, 5])]);
    look("from_elsewhere", AF_INET, 0, &[to, attribute(2, &[192, 0, 2, 1])]);
    look("unreachable", AF_INET, 0, &[attribute(1, &[192, 0, 2, 1])]);
    look("short", AF_INET, 0, &[attribute(1, &[127, 0])]);
    look("nothing", AF_INET, 0, &[]);
    t.show("route_of_short_request", ask(fd, RTM_GETROUTE, 0, &[AF_INET as u8; 8]).len());
}

fn netlink(t: &mut Report) {
    for (kind, protocol) in [(SOCK_STREAM, 0), (SOCK_RAW, 0), (SOCK_DGRAM, 0), (SOCK_RAW, 100)] {
        match try_socket(AF_NETLINK, kind, protocol) {
            Ok(fd) => {
                t.show(&format!("netlink_{kind}_{protocol}"), "a socket");
                close(fd as i32);
            }
            Err(errno) => t.show(&format!("netlink_{kind}_{protocol}"), errno),
        }
    }
    let fd = try_socket(AF_NETLINK, SOCK_RAW, 0).expect("a socket") as i32;
    let name = |fd: i32| {
        let (mut address, mut length) = ([0u8; 16], 16i32);
        sys!(SYS_getsockname, fd, &mut address, &mut length).expect("a name");
        let port = u32::from_ne_bytes(address[4..8].try_into().expect("four bytes"));
        let port = if port == std::process::id() { "mine".to_owned() } else { (port != 0).to_string() };
        format!("{length} {:?} {port}", &address[..2])
    };
    t.show("netlink_name", name(fd));
    t.show("netlink_events", events(fd));
    let local = [16u8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    t.call("netlink_bind_short", sys!(SYS_bind, fd, &local, 11));
    t.call("netlink_bind", sys!(SYS_bind, fd, &local, 12));
    t.show("netlink_bound", name(fd));
    let other = try_socket(AF_NETLINK, SOCK_RAW, 0).expect("a socket") as i32;
    t.call("netlink_bind_other", sys!(SYS_bind, other, &local, 12));
    t.show("netlink_bound_other", name(other));
    close(other);
    t.call("netlink_listen", sys!(SYS_listen, fd, 5));
    let mut info = vec![0u8; 16];
    t.show("netlink_links", ask(fd, RTM_GETLINK, 0x300, &info).join("; "));
    info[4] = 1;
    t.show("netlink_link", ask(fd, RTM_GETLINK, 0, &info).join("; "));
    info[4] = 77;
    t.show("netlink_no_link", ask(fd, RTM_GETLINK, 0, &info).len());
    info[4] = 0;
    let named = |name: &[u8]| {
        [&info[..], &((4 + name.len()) as u16).to_ne_bytes(), &3u16.to_ne_bytes(), name].concat()
    };
    t.show("netlink_link_named", ask(fd, RTM_GETLINK, 0, &named(b"lo\0\0")[..23]).len());
    for family in [AF_UNSPEC, AF_INET, AF_INET6] {
        let body = [family as u8, 0, 0, 0, 0, 0, 0, 0];
        t.show(&format!("netlink_addresses_{family}"), ask(fd, RTM_GETADDR, 0x300, &body).join("; "));
        let body = [family as u8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        if family != AF_UNSPEC {
            t.show(&format!("netlink_rules_{family}"), ask(fd, RTM_GETRULE, 0x300, &body).join("; "));
        }
        let mut routes = ask(fd, RTM_GETROUTE, 0x300, &body);
        if family == AF_INET {
            t.show("netlink_routes_in_order", routes.join("; "));
        }
        routes.sort();
        t.show(&format!("netlink_routes_{family}"), routes.join("; "));
    }
    lookups(t, fd);
    t.show("netlink_unknown", ask(fd, 1000, 0, &[0; 4]).join("; "));
    t.show("netlink_events_then", events(fd));
    t.call("netlink_receive", sys!(SYS_recvfrom, fd, NOWHERE, 5, MSG_DONTWAIT, 0, 0));
    close(fd);
}
