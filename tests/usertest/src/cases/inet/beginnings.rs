//! Connections that have hardly begun or just ended: handshakes without an answer, what accepted sockets inherit, what tables show.

use libc::*;

use super::helpers::{bound, connect, error, name_of, option, port_of, set_option, socket, socket_for};
use crate::cases::helpers::close;
use crate::cases::sockets::helpers::events;
use crate::report::Report;

pub fn run(t: &mut Report) {
    unanswered(t);
    failed(t);
    inherited(t);
    shown(t);
    tuned(t);
    urgent(t);
}

/// A listener whose backlog is full, so that it answers nobody.
fn full(address: &str) -> (i32, i32, String) {
    let server = bound(SOCK_STREAM, &format!("{address}:0"));
    sys!(SYS_listen, server, 0).expect("it listens");
    let to = format!("{address}:{}", port_of(server));
    let client = socket_for(address, SOCK_STREAM);
    connect(client, &to).expect_err("it is under way");
    (server, client, to)
}

fn unanswered(t: &mut Report) {
    for address in ["127.0.0.1", "[::1]"] {
        let (server, client, to) = full(address);
        for (word, how) in [("read", SHUT_RD), ("write", SHUT_WR), ("both", SHUT_RDWR)] {
            let mut show =
                |case: &str, what: String| t.show(&format!("begins_{address}_{word}_{case}"), what);
            let fd = socket_for(address, SOCK_STREAM);
            show("connect", format!("{:?}", connect(fd, &to)));
            show("events", events(fd));
            show("again", format!("{:?}", connect(fd, &to)));
            show("shutdown", format!("{:?}", sys!(SYS_shutdown, fd, how)));
            show("events_then", events(fd));
            show("name", name_of(SYS_getsockname, fd));
            show("error", error(fd));
            show("events_after", events(fd));
            show("connect_then", format!("{:?}", connect(fd, &to)));
            show("set", format!("{:?}", set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1)));
            close(fd);
        }
        [server, client].into_iter().for_each(close);
    }
}

fn failed(t: &mut Report) {
    for address in ["127.0.0.1", "[::1]"] {
        let fd = socket_for(address, SOCK_STREAM);
        sys!(SYS_fcntl, fd, F_SETFL, 0).expect("flags");
        t.call(&format!("failed_{address}"), connect(fd, &format!("{address}:9")));
        t.show(&format!("failed_{address}_name"), name_of(SYS_getsockname, fd));
        t.call(&format!("failed_{address}_listen"), sys!(SYS_listen, fd, 5));
        t.show(&format!("failed_{address}_listens"), name_of(SYS_getsockname, fd));
        close(fd);
    }
}

fn inherited(t: &mut Report) {
    let server = bound(SOCK_STREAM, "127.0.0.1:6010");
    let names =
        [TCP_NOTSENT_LOWAT, TCP_FASTOPEN, TCP_FASTOPEN_CONNECT, TCP_QUICKACK, TCP_MAXSEG, TCP_USER_TIMEOUT];
    for (name, value) in names.into_iter().zip([1000, 5, 1, 0, 500, 3000]) {
        set_option(server, IPPROTO_TCP, name, value).expect("an option");
    }
    sys!(SYS_listen, server, 5).expect("it listens");
    let client = socket(AF_INET, SOCK_STREAM);
    sys!(SYS_fcntl, client, F_SETFL, 0).expect("flags");
    connect(client, "127.0.0.1:6010").expect("a connection");
    let accepted = sys!(SYS_accept4, server, 0, 0, 0).expect("a connection") as i32;
    for name in names {
        t.show(&format!("inherited_{name}"), option(accepted, IPPROTO_TCP, name));
    }
    [server, client, accepted].into_iter().for_each(close);
}

/// The lines of a table about a port: the addresses and the state.
fn rows(table: &str, port: u16) -> String {
    let text = std::fs::read_to_string(format!("/proc/net/{table}")).expect("a table");
    let mut rows = Vec::new();
    for line in text.lines().skip(1) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let ends = [words[1], words[2]].map(|end| end.split_once(':').expect("an address and a port"));
        let is_port = |end: &(&str, &str)| u16::from_str_radix(end.1, 16) == Ok(port);
        if ends.iter().any(is_port) {
            let [local, remote] =
                ends.map(|end| format!("{}{}", end.0, if is_port(&end) { ":port" } else { "" }));
            // The acknowledgment of a FIN may take its time.
            let state = if words[3] == "05" { "04" } else { words[3] };
            rows.push(format!("{local} {remote} {state}"));
        }
    }
    rows.sort();
    format!("{rows:?}")
}

fn shown(t: &mut Report) {
    let server = bound(SOCK_STREAM, "[::]:6020");
    sys!(SYS_listen, server, 5).expect("it listens");
    let client = socket(AF_INET, SOCK_STREAM);
    sys!(SYS_fcntl, client, F_SETFL, 0).expect("flags");
    connect(client, "127.0.0.1:6020").expect("a connection");
    t.show("table_not_accepted", rows("tcp", 6020));
    t.show("table_not_accepted6", rows("tcp6", 6020));
    let accepted = sys!(SYS_accept4, server, 0, 0, 0).expect("a connection") as i32;
    close(accepted);
    t.show("table_nobodys", rows("tcp", 6020));
    t.show("table_nobodys6", rows("tcp6", 6020));
    close(client);
    t.show("table_over", rows("tcp", 6020));
    t.show("table_over6", rows("tcp6", 6020));
    close(server);
}

/// What the administrator sets counts for the sockets that are made from then on.
fn tuned(t: &mut Report) {
    let set = |name: &str, value: &str| std::fs::write(format!("/proc/sys/net/ipv4/{name}"), value);
    let get = |name: &str| std::fs::read_to_string(format!("/proc/sys/net/ipv4/{name}")).expect("a setting");
    let mut option_of = |name: &str, value: &str, number: i32| {
        let before = get(name);
        let fd = socket(AF_INET, SOCK_STREAM);
        set(name, value).expect("it can be set");
        let new = socket(AF_INET, SOCK_STREAM);
        t.show(&format!("tuned_{name}"), format!("{:?} {}", get(name), option(new, IPPROTO_TCP, number)));
        set(name, &before).expect("it can be set");
        [fd, new].into_iter().for_each(close);
    };
    option_of("tcp_fin_timeout", "7", TCP_LINGER2);
    option_of("tcp_keepalive_time", "100", TCP_KEEPIDLE);
    option_of("tcp_keepalive_intvl", "11", TCP_KEEPINTVL);
    option_of("tcp_keepalive_probes", "3", TCP_KEEPCNT);
    option_of("tcp_syn_retries", "2", TCP_SYNCNT);
    for (name, value) in [
        ("tcp_tw_reuse", "1"),
        ("tcp_syncookies", "0"),
        ("tcp_max_syn_backlog", "77"),
        ("tcp_rmem", "4096 10000 20000"),
        ("tcp_wmem", "4096\t8192\t20000\n"),
        ("tcp_retries2", "8"),
        ("tcp_synack_retries", "3"),
        ("tcp_congestion_control", "reno"),
    ] {
        let before = get(name);
        let outcome = set(name, value).is_ok();
        t.show(&format!("tuned_{name}"), format!("{outcome} {:?}", get(name)));
        if name == "tcp_rmem" || name == "tcp_wmem" {
            let fd = socket(AF_INET, SOCK_STREAM);
            let number = if name == "tcp_rmem" { SO_RCVBUF } else { SO_SNDBUF };
            t.show(&format!("tuned_{name}_buffer"), option(fd, SOL_SOCKET, number));
            close(fd);
        }
        set(name, &before).expect("it can be set");
    }
    let nonsense = set("tcp_congestion_control", "nonsense").map_err(|error| error.raw_os_error());
    t.show("tuned_congestion_nonsense", format!("{nonsense:?}"));
    // Ports that the kernel chooses.
    let before = get("ip_local_port_range");
    set("ip_local_port_range", "40001 40004").expect("it can be set");
    let server = bound(SOCK_STREAM, "127.0.0.1:6030");
    sys!(SYS_listen, server, 50).expect("it listens");
    let clients: Vec<i32> = (0..5).map(|_| socket(AF_INET, SOCK_STREAM)).collect();
    let mut outcomes = Vec::new();
    for client in &clients {
        sys!(SYS_fcntl, *client, F_SETFL, 0).expect("flags");
        let outcome = connect(*client, "127.0.0.1:6030");
        let port = outcome.map(|_| (40_001..=40_004).contains(&port_of(*client)));
        outcomes.push(format!("{port:?}"));
    }
    t.show("tuned_ports", outcomes.join(" "));
    t.show(
        "tuned_ports_bind",
        format!("{:?}", super::helpers::bind(socket(AF_INET, SOCK_STREAM), "127.0.0.1:0").is_ok()),
    );
    clients.into_iter().chain([server]).for_each(close);
    set("ip_local_port_range", &before).expect("it can be set");
}

/// Who owns a socket hears of urgent data, and of nothing else.
fn urgent(t: &mut Report) {
    let (set, now, long) = (1u64 << (SIGURG - 1), [0i64, 0], [60i64, 0]);
    sys!(SYS_rt_sigprocmask, SIG_BLOCK, &set, 0, 8).expect("a mask");
    let server = bound(SOCK_STREAM, "127.0.0.1:6040");
    sys!(SYS_listen, server, 5).expect("it listens");
    let client = socket(AF_INET, SOCK_STREAM);
    sys!(SYS_fcntl, client, F_SETFL, 0).expect("flags");
    connect(client, "127.0.0.1:6040").expect("a connection");
    let accepted = sys!(SYS_accept4, server, 0, 0, SOCK_NONBLOCK).expect("a connection") as i32;
    let mut heard = |case: &str, time: &[i64; 2]| {
        let mut info = [0i32; 32];
        let signal = sys!(SYS_rt_sigtimedwait, &set, &mut info, time, 8);
        t.show(&format!("urgent_{case}"), format!("{signal:?} {:#x}", info[2]));
    };
    super::helpers::send(client, b"x", MSG_OOB).expect("it goes");
    heard("of_nobody", &now);
    sys!(SYS_fcntl, accepted, F_SETOWN, std::process::id()).expect("an owner");
    super::helpers::send(client, b"usual", 0).expect("it goes");
    heard("usual", &now);
    super::helpers::send(client, b"y", MSG_OOB).expect("it goes");
    heard("owned", &long);
    heard("once", &now);
    [server, client, accepted].into_iter().for_each(close);
    sys!(SYS_rt_sigprocmask, SIG_UNBLOCK, &set, 0, 8).expect("a mask");
}
