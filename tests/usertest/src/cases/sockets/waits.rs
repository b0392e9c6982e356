//! Waiting: time-outs, signals, poll(2) and epoll(7), and what /proc shows.

use libc::*;

use super::helpers::{accept, bind, connect, events, listener, pair, receive, send, socket};
use crate::cases::helpers::{close, now, until_others_sleep};
use crate::report::Report;
use crate::sys::zeroed;

pub fn run(t: &mut Report) {
    timed(t);
    polled(t);
    edges(t);
    shown_in_proc(t);
}

fn timed(t: &mut Report) {
    let time = |fd: i32, name: i32| {
        sys!(SYS_setsockopt, fd, SOL_SOCKET, name, &[0i64, 20_000], 16).expect("an option")
    };
    for (case, kind) in [("stream", SOCK_STREAM), ("sequence", SOCK_SEQPACKET), ("datagram", SOCK_DGRAM)] {
        let [one, other] = pair(kind);
        time(one, SO_RCVTIMEO);
        time(one, SO_SNDTIMEO);
        let start = now();
        t.show(&format!("{case}_receive"), receive(one, 4, 0));
        t.is(&format!("{case}_receive_waited"), now() - start >= 20_000_000);
        t.call(&format!("{case}_read"), sys!(SYS_read, one, &mut [0u8; 4], 4));
        let start = now();
        while send(one, &[0u8; 4000], 0).is_ok_and(|sent| sent == 4000) {}
        t.call(&format!("{case}_send"), send(one, b"x", 0));
        t.call(&format!("{case}_write"), sys!(SYS_write, one, b"x", 1));
        t.is(&format!("{case}_send_waited"), now() - start >= 20_000_000);
        close(one);
        close(other);
    }
    let server = listener(SOCK_STREAM, "\0usertest-timed", 0);
    time(server, SO_RCVTIMEO);
    t.call("accept", accept(server));
    let (first, second) = (socket(SOCK_STREAM), socket(SOCK_STREAM));
    time(second, SO_SNDTIMEO);
    connect(first, "\0usertest-timed").expect("there is room");
    t.call("connect", connect(second, "\0usertest-timed"));
    for fd in [server, first, second] {
        close(fd);
    }
}

fn polled(t: &mut Report) {
    let wait = |fd: i32, events: i16, act: &dyn Fn()| {
        let thread = std::thread::spawn(move || {
            let mut poll = pollfd { fd, events, revents: 0 };
            let _ = sys!(SYS_poll, &raw mut poll, 1, 5000);
            format!("{:#x}", poll.revents)
        });
        until_others_sleep();
        act();
        thread.join().expect("a thread")
    };
    let [one, other] = pair(SOCK_STREAM | SOCK_NONBLOCK);
    t.show("data", wait(other, POLLIN, &|| assert!(send(one, b"x", 0).is_ok())));
    let _ = receive(other, 1, 0);
    t.show("half", wait(other, POLLRDHUP, &|| assert!(sys!(SYS_shutdown, one, SHUT_WR).is_ok())));
    t.show("closed", wait(other, 0, &|| close(one)));
    close(other);
    let [one, other] = pair(SOCK_STREAM | SOCK_NONBLOCK);
    while send(one, &[0u8; 4096], 0).is_ok() {}
    t.show("room", wait(one, POLLOUT, &|| while sys!(SYS_read, other, &mut [0u8; 4096], 4096).is_ok() {}));
    close(one);
    close(other);
    let server = listener(SOCK_STREAM, "\0usertest-polled", 1);
    let client = socket(SOCK_STREAM);
    t.show("arrival", wait(server, POLLIN, &|| assert!(connect(client, "\0usertest-polled").is_ok())));
    close(client);
    close(server);
    let server = socket(SOCK_DGRAM | SOCK_NONBLOCK);
    bind(server, "\0usertest-polled").expect("a name");
    let client = socket(SOCK_DGRAM | SOCK_NONBLOCK);
    connect(client, "\0usertest-polled").expect("it is there");
    while send(client, b"x", 0).is_ok() {}
    t.show("queue_full", events(client));
    t.show("queue_room", wait(client, POLLOUT, &|| assert_eq!(receive(server, 1, 0), "1 \"x\"")));
    close(client);
    close(server);
}

fn edges(t: &mut Report) {
    let [one, other] = pair(SOCK_STREAM | SOCK_NONBLOCK);
    let epoll = sys!(SYS_epoll_create1, 0).expect("an instance") as i32;
    let interest = epoll_event { events: (EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET) as u32, u64: 7 };
    t.call("add", sys!(SYS_epoll_ctl, epoll, EPOLL_CTL_ADD, other, &raw const interest));
    let step = |t: &mut Report, case: &str| {
        let mut found = zeroed::<epoll_event>();
        let count = sys!(SYS_epoll_wait, epoll, &raw mut found, 1, 0);
        let events = found.events;
        t.show(case, format!("{} {events:#x}", count.unwrap_or(99)));
    };
    step(t, "edge_at_first");
    step(t, "edge_no_more");
    send(one, b"ab", 0).expect("there is room");
    step(t, "edge_data");
    step(t, "edge_data_no_more");
    send(one, b"cd", 0).expect("there is room");
    step(t, "edge_more_data");
    let _ = receive(other, 1, 0);
    step(t, "edge_part_read");
    let _ = sys!(SYS_shutdown, one, SHUT_WR);
    step(t, "edge_half");
    close(one);
    step(t, "edge_closed");
    step(t, "edge_closed_no_more");
    close(epoll);
    close(other);
}

fn shown_in_proc(t: &mut Report) {
    let server = listener(SOCK_STREAM, "\0usertest-shown", 1);
    let path = socket(SOCK_DGRAM);
    bind(path, "shown").expect("a name");
    let [one, other] = pair(SOCK_SEQPACKET);
    let table = std::fs::read_to_string("/proc/net/unix").expect("it can be read");
    t.show("table_head", table.lines().next().unwrap_or_default());
    for (case, fd) in [("server", server), ("path", path), ("pair", one)] {
        let inode = crate::cases::helpers::fstat(fd).st_ino.to_string();
        let line = table.lines().find(|line| line.split_ascii_whitespace().nth(6) == Some(&inode));
        let words: Vec<_> = line.unwrap_or_default().split_ascii_whitespace().collect();
        // The first is an address, the seventh the inode.
        let shown: Vec<_> = words
            .iter()
            .enumerate()
            .filter(|(index, _)| ![0, 6].contains(index))
            .map(|(_, word)| *word)
            .collect();
        t.show(&format!("table_{case}"), shown.join(" "));
    }
    for name in [
        "core/optmem_max",
        "core/rmem_default",
        "core/rmem_max",
        "core/somaxconn",
        "core/wmem_default",
        "core/wmem_max",
        "unix/max_dgram_qlen",
    ] {
        t.show(&name.replace('/', "_"), crate::cases::helpers::get(&format!("/proc/sys/net/{name}")).trim());
    }
    t.is("table_link", std::fs::read_link("/proc/net").is_ok_and(|to| to.as_os_str() == "self/net"));
    for fd in [server, path, one, other] {
        close(fd);
    }
}
