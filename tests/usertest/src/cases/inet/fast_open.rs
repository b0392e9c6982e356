//! TCP Fast Open without a cookie: `MSG_FASTOPEN` connects, and the data follows (tcp(7), `TCP_FASTOPEN_CONNECT`).

use libc::*;

use super::helpers::{Name, connect, error, name, send, set_option, socket, socket_for};
use super::streams::{accept, listener, pair, take, told};
use crate::cases::helpers::close;
use crate::cases::sockets::helpers::{events, parts};
use crate::report::Report;
use crate::sys::Errno;

pub fn run(t: &mut Report) {
    for address in ["127.0.0.1", "[::1]"] {
        waiting(t, address);
        not_waiting(t, address);
        in_parts(t, address);
    }
    refused(t);
    options(t);
}

/// More than a buffer takes.
const LENGTH: usize = 300_000;

fn open_with(fd: i32, bytes: &[u8], flags: i32, Name(to): &Name) -> Result<usize, Errno> {
    let flags = flags | MSG_FASTOPEN | MSG_NOSIGNAL;
    let place = if to.is_empty() { std::ptr::null() } else { to.as_ptr() };
    sys!(SYS_sendto, fd, bytes.as_ptr(), bytes.len(), flags, place, to.len())
}

/// A socket that waits.
fn patient(address: &str) -> i32 {
    let fd = socket_for(address, SOCK_STREAM);
    sys!(SYS_fcntl, fd, F_SETFL, 0).expect("flags");
    fd
}

fn waiting(t: &mut Report, address: &str) {
    let (at, to) = listener(address, 5);
    let to = name(&to);
    let mut show = |case: &str, what: String| t.show(&format!("fast_{address}_{case}"), what);
    let fd = patient(address);
    show("sent", told(open_with(fd, b"hello", 0, &to)));
    show("events", events(fd));
    let peer = accept(at).expect("a connection") as i32;
    show("received", take(peer, 9, 0));
    show("again", told(open_with(fd, b"hello", 0, &to)));
    show("no_address", told(open_with(fd, b"hello", 0, &Name(Vec::new()))));
    [fd, peer].into_iter().for_each(close);
    let fd = patient(address);
    show("empty", told(open_with(fd, b"", 0, &to)));
    show("empty_events", events(fd));
    close(fd);
    let fd = patient(address);
    sys!(SYS_shutdown, fd, SHUT_WR).expect_err("there is no connection");
    show("shut", told(open_with(fd, b"x", 0, &to)));
    show("shut_events", events(fd));
    close(fd);
    show("listener", told(open_with(at, b"x", 0, &to)));
    close(at);
}

fn not_waiting(t: &mut Report, address: &str) {
    let (at, to) = listener(address, 5);
    let to = name(&to);
    let mut show = |case: &str, what: String| t.show(&format!("fast_{address}_{case}"), what);
    let fd = socket_for(address, SOCK_STREAM);
    show("begun", told(open_with(fd, b"hello", 0, &to)));
    show("begun_events", events(fd));
    show("then", told(open_with(fd, b"hello", 0, &to)));
    show("third", told(open_with(fd, b"hello", 0, &to)));
    close(fd);
    let fd = patient(address);
    show("flag", told(open_with(fd, b"hello", MSG_DONTWAIT, &to)));
    show("flag_then", told(open_with(fd, b"hello", 0, &to)));
    close(fd);
    close(at);
    // Nobody answers.
    let (at, to) = listener(address, 0);
    let to = name(&to);
    let others = [socket_for(address, SOCK_STREAM), socket_for(address, SOCK_STREAM)];
    let fd = others.map(|fd| told(open_with(fd, b"x", 0, &to)));
    show("unanswered", format!("{fd:?}"));
    show("unanswered_again", told(open_with(others[1], b"x", 0, &to)));
    show("unanswered_events", events(others[1]));
    let fd = patient(address);
    let time = [0i64, 20_000];
    sys!(SYS_setsockopt, fd, SOL_SOCKET, SO_SNDTIMEO, &time, 16).expect("an option");
    show("unanswered_in_time", told(open_with(fd, b"x", 0, &to)));
    show("unanswered_in_time_again", told(open_with(fd, b"x", 0, &to)));
    [at, fd].into_iter().chain(others).for_each(close);
}

/// Messages of several buffers, of pages that are not there yet, and of more than fits.
fn in_parts(t: &mut Report, address: &str) {
    let (at, to) = listener(address, 5);
    let Name(to) = name(&to);
    let mut show = |case: &str, what: String| t.show(&format!("fast_{address}_{case}"), what);
    let mut message = parts(b"a message", &[]);
    message.header.msg_name = to.as_ptr().cast_mut().cast();
    message.header.msg_namelen = to.len() as u32;
    let fd = patient(address);
    show("message", told(sys!(SYS_sendmsg, fd, &raw const message.header, MSG_FASTOPEN)));
    let peer = accept(at).expect("a connection") as i32;
    show("message_received", take(peer, 20, 0));
    [fd, peer].into_iter().for_each(close);
    let pages = sys!(SYS_mmap, 0, LENGTH, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    let pages = pages.expect("memory");
    let fd = patient(address);
    let first = sys!(SYS_sendto, fd, pages, 10, MSG_FASTOPEN, to.as_ptr(), to.len());
    show("fresh_page", told(first));
    close(accept(at).expect("a connection") as i32);
    close(fd);
    let fd = patient(address);
    set_option(fd, SOL_SOCKET, SO_SNDBUF, 10_000).expect("an option");
    let reading = std::thread::spawn(move || {
        let mut poll = pollfd { fd: at, events: POLLIN, revents: 0 };
        sys!(SYS_poll, &raw mut poll, 1, -1).expect("a connection");
        let peer = accept(at).expect("a connection") as i32;
        sys!(SYS_fcntl, peer, F_SETFL, 0).expect("flags");
        let mut buffer = vec![0u8; 100_000];
        let mut all = 0;
        while let Ok(count @ 1..) = sys!(SYS_recvfrom, peer, buffer.as_mut_ptr(), buffer.len(), 0, 0, 0) {
            all += count;
        }
        close(peer);
        all
    });
    show("much", told(sys!(SYS_sendto, fd, pages, LENGTH, MSG_FASTOPEN, to.as_ptr(), to.len())));
    close(fd);
    show("much_received", reading.join().expect("a thread").to_string());
    sys!(SYS_munmap, pages, LENGTH).expect("memory");
    close(at);
}

fn refused(t: &mut Report) {
    let nobody = name("127.0.0.1:9");
    let fd = patient("127.0.0.1");
    t.call("fast_refused", open_with(fd, b"x", 0, &nobody));
    t.show("fast_refused_events", events(fd));
    t.show("fast_refused_error", error(fd));
    t.call("fast_refused_send", send(fd, b"x", MSG_NOSIGNAL));
    t.call("fast_no_address", open_with(fd, b"x", 0, &Name(Vec::new())));
    for length in [1, 8] {
        t.call(&format!("fast_short_{length}"), open_with(fd, b"x", 0, &Name(nobody.0[..length].to_vec())));
    }
    t.call("fast_unspecified", open_with(fd, b"x", 0, &nobody.clone().of_family(AF_UNSPEC)));
    t.call("fast_v6", open_with(fd, b"x", 0, &name("[::1]:9")));
    close(fd);
    let fd = socket(AF_INET, SOCK_STREAM);
    t.call("fast_refused_later", open_with(fd, b"x", 0, &nobody));
    t.call("fast_refused_then", open_with(fd, b"x", 0, &nobody));
    t.call("fast_refused_anew", open_with(fd, b"x", 0, &nobody));
    close(fd);
    // Who has no connections ignores it.
    let fd = socket(AF_INET, SOCK_DGRAM);
    t.call("fast_datagram", open_with(fd, b"x", 0, &nobody));
    close(fd);
}

/// `TCP_FASTOPEN_CONNECT`: connect(2) connects as ever where there is no cookie.
fn options(t: &mut Report) {
    let (at, to) = listener("127.0.0.1", 5);
    let set = |fd, value| told(set_option(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, value));
    let fd = patient("127.0.0.1");
    for value in [-1, 2, 1] {
        t.show(&format!("fast_connect_set_{value}"), set(fd, value));
    }
    t.call("fast_connect", connect(fd, &to));
    t.show("fast_connect_events", events(fd));
    t.call("fast_connect_send", send(fd, b"hi", 0));
    let peer = accept(at).expect("a connection") as i32;
    t.show("fast_connect_received", take(peer, 9, 0));
    t.show("fast_connect_set_connected", set(fd, 1));
    t.show("fast_connect_set_listening", set(at, 1));
    [fd, peer].into_iter().for_each(close);
    let fd = socket(AF_INET, SOCK_STREAM);
    set(fd, 1);
    t.call("fast_connect_begun", connect(fd, &to));
    t.call("fast_connect_begun_send", send(fd, b"x", 0));
    close(fd);
    let fd = patient("127.0.0.1");
    set(fd, 1);
    t.call("fast_connect_and_flag", open_with(fd, b"x", 0, &name(&to)));
    [fd, at].into_iter().for_each(close);
    let (client, server) = pair("127.0.0.1");
    t.call("fast_connected", open_with(client, b"x", 0, &name("127.0.0.1:9")));
    [client, server].into_iter().for_each(close);
}
