//! Options of TCP.

use libc::*;

use super::helpers::{bound, connect, option, set_option, socket};
use crate::cases::helpers::close;
use crate::report::Report;

const NAMES: [(&str, i32); 17] = [
    ("nodelay", TCP_NODELAY),
    ("maxseg", TCP_MAXSEG),
    ("cork", TCP_CORK),
    ("keepidle", TCP_KEEPIDLE),
    ("keepintvl", TCP_KEEPINTVL),
    ("keepcnt", TCP_KEEPCNT),
    ("syncnt", TCP_SYNCNT),
    ("linger2", TCP_LINGER2),
    ("defer_accept", TCP_DEFER_ACCEPT),
    ("quickack", TCP_QUICKACK),
    ("user_timeout", TCP_USER_TIMEOUT),
    ("fastopen_connect", TCP_FASTOPEN_CONNECT),
    ("notsent_lowat", TCP_NOTSENT_LOWAT),
    ("md5sig_ext", 99),
    ("window_clamp", TCP_WINDOW_CLAMP),
    ("fastopen", TCP_FASTOPEN),
    ("unknown", 199),
];

/// How many connections wait for who listens, and how many may.
fn listening(t: &mut Report) {
    let at = "127.0.0.1:6310";
    let server = bound(SOCK_STREAM, at);
    let clients: Vec<_> = (0..3).map(|_| socket(AF_INET, SOCK_STREAM)).collect();
    let told = || {
        let (mut info, mut length) = ([0u8; 512], 104u32);
        sys!(SYS_getsockopt, server, IPPROTO_TCP, TCP_INFO, &mut info, &mut length).expect("it is told");
        format!("{} {:?}", info[0], &info[24..32])
    };
    sys!(SYS_listen, server, 13).expect("it listens");
    let mut answers = vec![told()];
    for client in &clients {
        // It is made at once, though nobody waits for that.
        connect(*client, at).expect_err("it does not wait");
        answers.push(told());
    }
    close(sys!(SYS_accept4, server, 0, 0, 0).expect("a connection") as i32);
    answers.push(told());
    sys!(SYS_listen, server, 5).expect("it listens");
    answers.push(told());
    t.show("tcp_info_listens", answers.join(", "));
    clients.into_iter().chain([server]).for_each(close);
}

pub fn run(t: &mut Report) {
    for (name, number) in NAMES {
        let fd = socket(AF_INET, SOCK_STREAM);
        let mut answers = vec![option(fd, IPPROTO_TCP, number)];
        for value in [1, 5, 100, 1000, 100_000, 0, -1] {
            let outcome = set_option(fd, IPPROTO_TCP, number, value);
            answers.push(outcome.map_or_else(|errno| errno.to_string(), |_| option(fd, IPPROTO_TCP, number)));
        }
        let short = sys!(SYS_setsockopt, fd, IPPROTO_TCP, number, &1i32, 3);
        answers.push(short.map_or_else(|errno| errno.to_string(), |_| "ok".to_owned()));
        t.show(&format!("tcp_{name}"), answers.join(", "));
        close(fd);
    }
    let fd = socket(AF_INET, SOCK_STREAM);
    for (word, name) in [
        ("keepalive", SO_KEEPALIVE),
        ("oobinline", SO_OOBINLINE),
        ("reuseport", SO_REUSEPORT),
        ("passcred", SO_PASSCRED),
        ("broadcast", SO_BROADCAST),
    ] {
        let before = option(fd, SOL_SOCKET, name);
        let set = set_option(fd, SOL_SOCKET, name, 1)
            .map_or_else(|errno| errno.to_string(), |_| option(fd, SOL_SOCKET, name));
        t.show(&format!("tcp_{word}"), format!("{before} {set}"));
    }
    for name in ["cubic", "reno", "nonsense", ""] {
        let set = sys!(SYS_setsockopt, fd, IPPROTO_TCP, TCP_CONGESTION, name.as_ptr(), name.len());
        let (mut told, mut length) = ([0u8; 16], 16u32);
        sys!(SYS_getsockopt, fd, IPPROTO_TCP, TCP_CONGESTION, &mut told, &mut length).expect("a name");
        // What is there before is for who set up the machine to say.
        let told = if set.is_ok() {
            String::from_utf8_lossy(&told).trim_end_matches('\0').to_owned()
        } else {
            String::new()
        };
        t.show(&format!("tcp_congestion_{name}"), format!("{set:?} {told} {length}"));
    }
    let (mut info, mut length) = ([0u8; 512], 104u32);
    t.call("tcp_info", sys!(SYS_getsockopt, fd, IPPROTO_TCP, TCP_INFO, &mut info, &mut length));
    t.show("tcp_info_idle", format!("{length} {}", info[0]));
    listening(t);
    t.call("tcp_multicast_ttl", set_option(fd, IPPROTO_IP, IP_MULTICAST_TTL, 1));
    t.call("tcp_multicast_loop", set_option(fd, IPPROTO_IP, IP_MULTICAST_LOOP, 1));
    t.call("tcp_ttl", set_option(fd, IPPROTO_IP, IP_TTL, 9));
    t.show("tcp_ttl_then", option(fd, IPPROTO_IP, IP_TTL));
    t.call("tcp_mtu", sys!(SYS_getsockopt, fd, IPPROTO_IP, IP_MTU, &mut info, &mut length));
    t.call("tcp_tos", set_option(fd, IPPROTO_IP, IP_TOS, 0xff));
    t.show("tcp_tos_then", option(fd, IPPROTO_IP, IP_TOS));
    close(fd);
    let fd = socket(AF_INET6, SOCK_STREAM);
    t.call("tcp_class", set_option(fd, IPPROTO_IPV6, IPV6_TCLASS, 0xff));
    t.show("tcp_class_then", option(fd, IPPROTO_IPV6, IPV6_TCLASS));
    t.call("tcp_hops", set_option(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS, 9));
    t.show("tcp_hops_then", option(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS));
    close(fd);
}
