//! TCP: what is left to be read at the end, who waits for it, and what comes too late.

use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::thread;

use libc::*;

use super::helpers::{connect, error, option, port_of, send, set_option, socket, socket_for};
use super::streams::{accept, count, listener, pair, take, told, wait_for};
use crate::cases::helpers::{
    child, close, now, pipe, sleep_ms, until_others_sleep, wait_for as wait_for_child,
};
use crate::cases::sockets::helpers::events;
use crate::report::Report;

pub fn run(t: &mut Report) {
    for address in ["127.0.0.1", "[::1]"] {
        after_the_end(t, address);
        too_late(t, address);
        closed_before(t, address);
    }
    lingers(t);
    lingers_in_vain(t);
    low_water(t);
    low_water_wakes(t);
    low_water_limits(t);
}

/// A reset behind the end: the end stays what is read, and the error is kept for those who ask.
fn after_the_end(t: &mut Report, address: &str) {
    let mut show = |case: &str, what: String| t.show(&format!("end_{address}_{case}"), what);
    let (client, server) = pair(address);
    send(server, b"last", 0).expect("it goes");
    close(server);
    send(client, b"x", 0).expect("it goes");
    show("reset_events", events(client));
    show("reset_last", take(client, 9, 0));
    show("reset_end", take(client, 9, 0));
    show("reset_end_peeked", take(client, 9, MSG_PEEK));
    show("reset_error", error(client));
    show("reset_end_again", take(client, 9, 0));
    show("reset_send", told(send(client, b"x", MSG_NOSIGNAL)));
    close(client);
    // Both have said that they are done, and one closes without having read.
    let (client, server) = pair(address);
    set_option(client, SOL_SOCKET, SO_RCVBUF, 4096).expect("an option");
    send(server, b"abc", 0).expect("it goes");
    sys!(SYS_shutdown, client, SHUT_WR).expect("no more is sent");
    while send(server, &[b'z'; 10_000], 0).is_ok() {}
    sys!(SYS_shutdown, server, SHUT_WR).expect("no more is sent");
    close(client);
    show("last_reset_events", events(server));
    show("last_reset_end", take(server, 9, 0));
    show("last_reset_error", error(server));
    close(server);
}

/// Data for whoever has closed both directions is refused with a reset; for whoever has closed one it is not.
fn too_late(t: &mut Report, address: &str) {
    for (word, hows) in [
        ("both", &[SHUT_RDWR][..]),
        ("write_read", &[SHUT_WR, SHUT_RD]),
        ("read_write", &[SHUT_RD, SHUT_WR]),
        ("read", &[SHUT_RD]),
        ("write", &[SHUT_WR]),
    ] {
        let mut show = |case: &str, what: String| t.show(&format!("late_{address}_{word}_{case}"), what);
        let (client, server) = pair(address);
        for how in hows {
            sys!(SYS_shutdown, client, *how).expect("it is closed");
        }
        show("events", events(client));
        show("send", told(send(server, b"x", 0)));
        show("peer_events", events(server));
        show("peer_send", told(send(server, b"y", MSG_NOSIGNAL)));
        show("peer_receive", take(server, 9, 0));
        show("events_then", events(client));
        show("error", error(client));
        show("receive", take(client, 9, 0));
        show("receive_again", take(client, 9, 0));
        show("shutdown", told(sys!(SYS_shutdown, client, SHUT_RDWR)));
        [client, server].into_iter().for_each(close);
    }
}

/// shutdown(2) before there is a connection: the connection has it, and so have those that come to a listener.
fn closed_before(t: &mut Report, address: &str) {
    for (word, how) in [("read", SHUT_RD), ("write", SHUT_WR), ("both", SHUT_RDWR)] {
        let mut show = |case: &str, what: String| t.show(&format!("before_{address}_{word}_{case}"), what);
        let (at, to) = listener(address, 5);
        let client = socket_for(address, SOCK_STREAM);
        show("shutdown", told(sys!(SYS_shutdown, client, how)));
        show("events", events(client));
        wait_for(client, &to);
        let server = accept(at).expect("a connection") as i32;
        show("connected", events(client));
        show("peer", events(server));
        show("receive", take(client, 9, 0));
        show("send", told(send(client, b"x", MSG_NOSIGNAL)));
        send(server, b"abc", 0).expect("it goes");
        show("events_then", events(client));
        show("received", take(client, 9, 0));
        show("receive_then", take(client, 9, 0));
        show("shutdown_then", told(sys!(SYS_shutdown, client, SHUT_WR)));
        show("peer_then", events(server));
        [at, client, server].into_iter().for_each(close);
        let at = socket_for(address, SOCK_STREAM);
        sys!(SYS_shutdown, at, how).expect_err("there is no connection");
        sys!(SYS_listen, at, 5).expect("it listens");
        show("listens", events(at));
        let client = socket_for(address, SOCK_STREAM);
        wait_for(client, &format!("{address}:{}", port_of(at)));
        show("listener", events(at));
        let server = accept(at).expect("a connection") as i32;
        show("accepted", events(server));
        show("accepted_send", told(send(server, b"x", MSG_NOSIGNAL)));
        [at, client, server].into_iter().for_each(close);
        // What failed leaves nothing behind.
        let fd = socket_for(address, SOCK_STREAM);
        sys!(SYS_shutdown, fd, how).expect_err("there is no connection");
        sys!(SYS_fcntl, fd, F_SETFL, 0).expect("flags");
        show("refused", told(connect(fd, &format!("{address}:9"))));
        show("refused_events", events(fd));
        close(fd);
    }
}

fn linger(fd: i32, seconds: i32) {
    sys!(SYS_setsockopt, fd, SOL_SOCKET, SO_LINGER, &[1i32, seconds], 8).expect("an option");
}

/// A connection of which one end has written more than the other takes, and lingers for so long.
fn stuffed(seconds: i32) -> (i32, i32) {
    const SIOCOUTQNSD: u64 = 0x894b;
    let (client, server) = pair("127.0.0.1");
    set_option(client, SOL_SOCKET, SO_SNDBUF, 10_000).expect("an option");
    // The window is closed when something waits and nothing is on its way.
    while send(client, &[b'z'; 10_000], 0).is_ok() || count(client, TIOCOUTQ) != count(client, SIOCOUTQNSD) {
        sleep_ms(1);
    }
    linger(client, seconds);
    (client, server)
}

/// Reads to the end: whether there was one.
fn drain(fd: i32) -> bool {
    sys!(SYS_fcntl, fd, F_SETFL, 0).expect("flags");
    let mut buffer = vec![0u8; 70_000];
    loop {
        match sys!(SYS_recvfrom, fd, buffer.as_mut_ptr(), buffer.len(), 0, 0, 0) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(_) => return false,
        }
    }
}

/// What a thread has said once it sleeps in `wait`, and what `wait` returned when `then` had ended it.
fn waits(wait: impl FnOnce() -> String + Send, then: impl FnOnce()) -> String {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let outcome = wait();
            over.store(true, Ordering::SeqCst);
            outcome
        });
        until_others_sleep();
        let early = over.load(Ordering::SeqCst);
        then();
        format!("early {early}, then {}", thread.join().expect("a thread"))
    })
}

extern "C" fn nothing(_: i32) {}

/// close(2) waits until the peer has all.
fn lingers(t: &mut Report) {
    let (client, server) = stuffed(3600);
    let closing = || told(sys!(SYS_close, client));
    t.show("linger_closes", waits(closing, || assert!(drain(server), "an end")));
    close(server);
    // What puts another file in its place closes it, too.
    let (client, server) = stuffed(3600);
    let replacing = || told(sys!(SYS_dup2, 0, client));
    t.show(
        "linger_replaced",
        waits(replacing, || assert!(drain(server), "an end")).replace(&client.to_string(), "it"),
    );
    [client, server].into_iter().for_each(close);
    let (client, server) = stuffed(3600);
    let closing = || told(sys!(SYS_close_range, client, client, 0));
    t.show("linger_range", waits(closing, || assert!(drain(server), "an end")));
    close(server);
    // A reset ends it.
    let (client, server) = stuffed(3600);
    t.show("linger_reset", waits(|| told(sys!(SYS_close, client)), || close(server)));
    // Nothing is left to wait for.
    let (client, server) = pair("127.0.0.1");
    linger(client, 3600);
    send(client, b"all", 0).expect("it goes");
    t.call("linger_all_there", sys!(SYS_close, client));
    t.show("linger_all", take(server, 9, 0));
    close(server);
    // Another has it open.
    let (client, server) = stuffed(3600);
    let other = sys!(SYS_dup, client).expect("a descriptor") as i32;
    t.call("linger_not_the_last", sys!(SYS_close, client));
    close(server);
    close(other);
    // What was not read is lost, and nobody waits for a connection that is reset.
    let (client, server) = stuffed(3600);
    send(server, b"unread", 0).expect("it goes");
    t.call("linger_unread", sys!(SYS_close, client));
    close(server);
}

/// close(2) waits no longer than it was told, not after a signal, and not when the process ends.
fn lingers_in_vain(t: &mut Report) {
    let (client, server) = stuffed(1);
    let before = now();
    t.call("linger_a_second", sys!(SYS_close, client));
    t.is("linger_took_a_second", now() - before >= 990_000_000);
    t.is("linger_sends_on", drain(server));
    close(server);
    let (client, server) = stuffed(3600);
    // SAFETY: the handler does nothing.
    unsafe { signal(SIGUSR1, nothing as *const () as usize) };
    let closer = AtomicI32::new(0);
    let interrupted = waits(
        || {
            closer.store(sys!(SYS_gettid).expect("an id") as i32, Ordering::SeqCst);
            told(sys!(SYS_close, client))
        },
        || {
            sys!(SYS_tgkill, std::process::id(), closer.load(Ordering::SeqCst), SIGUSR1).expect("a signal");
        },
    );
    t.show("linger_interrupted", interrupted);
    t.is("linger_interrupted_sends_on", drain(server));
    close(server);
    let (client, server) = stuffed(3600);
    let [waits, goes] = pipe();
    let pid = child(|| {
        close(goes);
        close(server);
        // Until the parent has closed its own.
        let _ = sys!(SYS_read, waits, &mut [0u8; 1], 1);
        0
    });
    close(client);
    close(goes);
    t.show("linger_exit", format!("{:?}", wait_for_child(pid).1));
    t.is("linger_exit_sends_on", drain(server));
    [waits, server].into_iter().for_each(close);
}

/// poll(2), select(2) and epoll(7) tell of data from the low water mark on, and of the end.
fn low_water(t: &mut Report) {
    let (client, server) = pair("127.0.0.1");
    let poll = sys!(SYS_epoll_create1, 0).expect("an epoll") as i32;
    let mut event = epoll_event { events: (EPOLLIN | EPOLLET) as u32, u64: 0 };
    sys!(SYS_epoll_ctl, poll, EPOLL_CTL_ADD, server, &raw mut event).expect("it is watched");
    let mut look = |case: &str| {
        let mut set = [0u64; 16];
        set[server as usize / 64] |= 1 << (server % 64);
        let selected = sys!(SYS_select, server + 1, &mut set, 0, 0, &mut [0i64; 2]);
        let mut found = epoll_event { events: 0, u64: 0 };
        let polled = sys!(SYS_epoll_wait, poll, &raw mut found, 1, 0);
        let events = { found.events };
        let readable = count(server, FIONREAD);
        let seen = crate::cases::sockets::helpers::events(server);
        t.show(
            &format!("low_water_{case}"),
            format!(
                "poll {seen} select {} epoll {} {events:#x} holds {readable}",
                told(selected),
                told(polled)
            ),
        );
    };
    set_option(server, SOL_SOCKET, SO_RCVLOWAT, 5).expect("an option");
    look("nothing");
    send(client, b"abc", 0).expect("it goes");
    look("less");
    send(client, b"de", 0).expect("it goes");
    look("enough");
    assert_eq!(take(server, 3, MSG_DONTWAIT), "3 \"abc\"");
    look("less_again");
    set_option(server, SOL_SOCKET, SO_RCVLOWAT, 2).expect("an option");
    look("lowered");
    set_option(server, SOL_SOCKET, SO_RCVLOWAT, 9).expect("an option");
    look("raised");
    send(client, b"!", MSG_OOB).expect("it goes");
    look("urgent");
    sys!(SYS_shutdown, client, SHUT_WR).expect("no more is sent");
    look("end");
    [poll, client, server].into_iter().for_each(close);
    // The urgent byte, which no read gives, does not count where it is next.
    let (client, server) = pair("127.0.0.1");
    send(client, b"!", MSG_OOB).expect("it goes");
    t.show("low_water_only_urgent", events(server));
    send(client, b"a", 0).expect("it goes");
    t.show("low_water_urgent_and_more", events(server));
    [client, server].into_iter().for_each(close);
}

/// Whoever waits is left asleep until there is enough.
fn low_water_wakes(t: &mut Report) {
    let (client, server) = pair("127.0.0.1");
    set_option(server, SOL_SOCKET, SO_RCVLOWAT, 4).expect("an option");
    let polling = || {
        let mut poll = pollfd { fd: server, events: POLLIN, revents: 0 };
        let outcome = told(sys!(SYS_poll, &raw mut poll, 1, -1));
        format!("{outcome} {:#x} with {}", poll.revents, count(server, FIONREAD))
    };
    send(client, b"ab", 0).expect("it goes");
    t.show("low_water_poll_wakes", waits(polling, || assert_eq!(send(client, b"cd", 0), Ok(2))));
    take(server, 9, 0);
    sys!(SYS_fcntl, server, F_SETFL, 0).expect("flags");
    send(client, b"ab", 0).expect("it goes");
    let receiving = || take(server, 9, 0);
    t.show("low_water_receive_wakes", waits(receiving, || assert_eq!(send(client, b"cdef", 0), Ok(4))));
    send(client, b"ab", 0).expect("it goes");
    let lower = || assert_eq!(set_option(server, SOL_SOCKET, SO_RCVLOWAT, 2), Ok(0));
    t.show("low_water_lowered_wakes", waits(polling, lower));
    [client, server].into_iter().for_each(close);
}

/// No mark is higher than what the buffer takes.
fn low_water_limits(t: &mut Report) {
    let fd = socket(AF_INET, SOCK_STREAM);
    for size in [10_000, 100_000] {
        set_option(fd, SOL_SOCKET, SO_RCVBUF, size).expect("an option");
        for mark in [-1, 0, 1, size - 1, size, size + 1, i32::MAX] {
            t.call(&format!("low_water_{size}_set_{mark}"), set_option(fd, SOL_SOCKET, SO_RCVLOWAT, mark));
            t.show(&format!("low_water_{size}_{mark}"), option(fd, SOL_SOCKET, SO_RCVLOWAT));
        }
    }
    set_option(fd, SOL_SOCKET, SO_RCVBUF, 10_000).expect("an option");
    t.show("low_water_stays", option(fd, SOL_SOCKET, SO_RCVLOWAT));
    close(fd);
}
