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
