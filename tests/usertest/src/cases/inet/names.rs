//! socket(2), bind(2), getsockname(2).

use libc::*;

use super::helpers::{
    Name, bind, bind_name, bound, connect, name, name_of, option, port_of, set_option, socket, socket_for,
    try_socket,
};
use crate::cases::helpers::{close, status_of};
use crate::report::Report;

const KINDS: [i32; 2] = [SOCK_DGRAM, SOCK_STREAM];

pub fn run(t: &mut Report) {
    making(t);
    binding(t);
    conflicts(t);
    shared(t);
    ports(t);
}

fn making(t: &mut Report) {
    for (family, word) in [(AF_INET, "inet"), (AF_INET6, "inet6")] {
        for kind in [SOCK_STREAM, SOCK_DGRAM, SOCK_RDM, SOCK_SEQPACKET, 6, 11] {
            for protocol in [0, 6, 17, 255, 263, -1] {
                let case = format!("socket_{word}_{kind}_{protocol}");
                match try_socket(family, kind, protocol) {
                    Ok(fd) => {
                        let fd = fd as i32;
                        let told = [SO_TYPE, SO_DOMAIN, SO_PROTOCOL].map(|name| option(fd, SOL_SOCKET, name));
                        t.show(&case, told.join(" "));
                        close(fd);
                    }
                    Err(errno) => t.show(&case, errno),
                }
            }
        }
        let mut ends = [0i32; 2];
        t.call(&format!("socketpair_{word}"), sys!(SYS_socketpair, family, SOCK_DGRAM, 0, &mut ends));
        t.call(&format!("socketpair_{word}_stream"), sys!(SYS_socketpair, family, SOCK_STREAM, 0, &mut ends));
    }
}

fn binding(t: &mut Report) {
    for kind in KINDS {
        let word = if kind == SOCK_DGRAM { "udp" } else { "tcp" };
        let mut try_bind = |case: &str, family: i32, address: &Name| {
            let fd = socket(family, kind);
            t.call(&format!("{word}_{case}"), bind_name(fd, address));
            t.show(&format!("{word}_{case}_name"), name_of(SYS_getsockname, fd));
            t.show(&format!("{word}_{case}_peer"), name_of(SYS_getpeername, fd));
            close(fd);
        };
        let (v4, v6) = (name("127.0.0.1:5000"), name("[::1]:5000"));
        let short = |address: &Name, length: usize| Name(address.0[..length].to_vec());
        try_bind("bind", AF_INET, &v4);
        try_bind("bind_other_local", AF_INET, &name("127.200.3.4:5000"));
        try_bind("bind_any", AF_INET, &name("0.0.0.0:5000"));
        try_bind("bind_not_local", AF_INET, &name("192.0.2.77:5000"));
        try_bind("bind_broadcast", AF_INET, &name("255.255.255.255:5000"));
        try_bind("bind_local_broadcast", AF_INET, &name("127.255.255.255:5000"));
        try_bind("bind_group", AF_INET, &name("224.1.2.3:5000"));
        try_bind("bind_port_0", AF_INET, &name("127.0.0.1:0"));
        try_bind("bind_short", AF_INET, &short(&v4, 15));
        try_bind("bind_family_only", AF_INET, &short(&v4, 2));
        try_bind("bind_v6_to_v4", AF_INET, &v6);
        try_bind("bind_unspec_any", AF_INET, &name("0.0.0.0:5000").of_family(AF_UNSPEC));
        try_bind("bind_unspec", AF_INET, &v4.clone().of_family(AF_UNSPEC));
        try_bind("bind6", AF_INET6, &v6);
        try_bind("bind6_any", AF_INET6, &name("[::]:5000"));
        try_bind("bind6_mapped", AF_INET6, &name("[::ffff:127.0.0.1]:5000"));
        try_bind("bind6_mapped_any", AF_INET6, &name("[::ffff:0.0.0.0]:5000"));
        try_bind("bind6_mapped_not_local", AF_INET6, &name("[::ffff:192.0.2.77]:5000"));
        try_bind("bind6_not_local", AF_INET6, &name("[2001:db8::1]:5000"));
        try_bind("bind6_group", AF_INET6, &name("[ff02::1]:5000"));
        try_bind("bind6_short", AF_INET6, &short(&v6, 23));
        try_bind("bind6_old", AF_INET6, &short(&v6, 24));
        try_bind("bind6_v4", AF_INET6, &v4);
        try_bind("bind6_unspec", AF_INET6, &v6.clone().of_family(AF_UNSPEC));
        let fd = socket(AF_INET6, kind);
        t.call(&format!("{word}_only_v6"), set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1));
        t.call(&format!("{word}_only_v6_mapped"), bind(fd, "[::ffff:127.0.0.1]:5000"));
        t.call(&format!("{word}_only_v6_bind"), bind(fd, "[::1]:5000"));
        t.call(&format!("{word}_only_v6_late"), set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0));
        t.call(&format!("{word}_bind_twice"), bind(fd, "[::1]:5001"));
        t.call(&format!("{word}_bind_twice_not_local"), bind(fd, "[2001:db8::1]:5001"));
        close(fd);
        let fd = bound(kind, "127.0.0.1:5000");
        t.call(&format!("{word}_bind_twice_v4"), bind(fd, "127.0.0.1:5001"));
        t.call(&format!("{word}_bind_twice_v4_not_local"), bind(fd, "192.0.2.77:5001"));
        close(fd);
    }
}

const ADDRESSES: [&str; 7] = [
    "0.0.0.0:5000",
    "127.0.0.1:5000",
    "127.0.0.2:5000",
    "[::]:5000",
    "[::1]:5000",
    "[::ffff:127.0.0.1]:5000",
    "[::ffff:0.0.0.0]:5000",
];

/// Each address against each, plain, with the options that let addresses be used twice, and with IPv6 only.
fn conflicts(t: &mut Report) {
    for kind in KINDS {
        for first in ADDRESSES {
            for second in ADDRESSES {
                let case = format!("{}_{first}_{second}", if kind == SOCK_DGRAM { "udp" } else { "tcp" });
                let one = bound(kind, first);
                let mut answers = Vec::new();
                let mut attempt = |prepare: &dyn Fn(i32)| {
                    let other = socket_for(second, kind);
                    prepare(other);
                    answers.push(
                        bind(other, second).map_or_else(|errno| errno.to_string(), |_| "ok".to_owned()),
                    );
                    close(other);
                };
                attempt(&|_| {});
                attempt(&|other| {
                    let _ = set_option(other, IPPROTO_IPV6, IPV6_V6ONLY, 1);
                });
                attempt(&|other| {
                    set_option(other, SOL_SOCKET, SO_REUSEADDR, 1).expect("an option");
                });
                for name in [SO_REUSEADDR, SO_REUSEPORT] {
                    set_option(one, SOL_SOCKET, name, 1).expect("an option");
                    attempt(&|other| {
                        set_option(other, SOL_SOCKET, name, 1).expect("an option");
                    });
                    set_option(one, SOL_SOCKET, name, 0).expect("an option");
                }
                t.show(&case, answers.join(" "));
                close(one);
            }
        }
    }
}

/// Users do not share a port with each other.
fn shared(t: &mut Report) {
    let one = socket(AF_INET, SOCK_DGRAM);
    set_option(one, SOL_SOCKET, SO_REUSEPORT, 1).expect("an option");
    bind(one, "127.0.0.1:5000").expect("an address");
    let status = status_of(|| {
        sys!(SYS_setuid, 1234).expect("root may");
        let other = socket(AF_INET, SOCK_DGRAM);
        set_option(other, SOL_SOCKET, SO_REUSEPORT, 1).expect("an option");
        bind(other, "127.0.0.1:5000").map_or_else(|errno| errno.0, |_| 0)
    });
    t.show("share_with_another_user", status);
    close(one);
}

fn ports(t: &mut Report) {
    let status = |port: u16| {
        status_of(|| {
            sys!(SYS_setuid, 1234).expect("root may");
            let fd = socket(AF_INET, SOCK_DGRAM);
            bind(fd, &format!("127.0.0.1:{port}")).map_or_else(|errno| errno.0, |_| 0)
        })
    };
    let setting = "/proc/sys/net/ipv4/ip_unprivileged_port_start";
    t.show("unprivileged_start", std::fs::read_to_string(setting).expect("a setting").trim());
    t.show("low_port", status(80));
    std::fs::write(setting, "1024").expect("a setting");
    t.show("reserved_port", status(1023));
    t.show("first_free_port", status(1024));
    std::fs::write(setting, "0").expect("a setting");
    let range = "/proc/sys/net/ipv4/ip_local_port_range";
    let before = std::fs::read_to_string(range).expect("a range");
    t.show("local_ports", before.trim());
    std::fs::write(range, "40000 40001").expect("a range");
    t.show("local_ports_then", std::fs::read_to_string(range).expect("a range").trim());
    let fds = [0, 1, 2].map(|_| socket(AF_INET, SOCK_DGRAM));
    let mut taken = fds.map(|fd| {
        bind(fd, "127.0.0.1:0").map_or_else(|errno| errno.to_string(), |_| port_of(fd).to_string())
    });
    taken.sort();
    t.show("automatic_ports", taken.join(" "));
    let late = socket(AF_INET, SOCK_DGRAM);
    t.call("no_port_to_connect", connect(late, "127.0.0.1:7"));
    t.call(
        "wrong_range",
        std::fs::write(range, "10 5")
            .map(|()| 0)
            .map_err(|error| crate::sys::Errno(error.raw_os_error().unwrap_or(0))),
    );
    std::fs::write(range, before).expect("a range");
    fds.into_iter().chain([late]).for_each(close);
}
