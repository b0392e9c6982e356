//! TCP: connecting, listening, sending and receiving, and how connections end.

use libc::*;

use super::helpers::{
    Name, bind, bound, connect, connect_name, disconnect, error, name, name_of, option, port_of, receive,
    send, send_to, set_option, socket, socket_for,
};
use crate::cases::helpers::{NOWHERE, close};
use crate::cases::sockets::helpers::events;
use crate::report::Report;
use crate::sys::Errno;

pub fn run(t: &mut Report) {
    for address in ["127.0.0.1", "[::1]"] {
        idle(t, address);
        connecting(t, address);
        refused(t, address);
        transfers(t, address);
        halves(t, address);
        resets(t, address);
    }
    versions(t);
    destinations(t);
    listening(t);
    full(t);
    urgent(t);
    lingering(t);
    addresses_again(t);
}

/// A socket that listens, and where.
pub(super) fn listener(address: &str, backlog: i32) -> (i32, String) {
    let fd = bound(SOCK_STREAM, &format!("{address}:0"));
    sys!(SYS_listen, fd, backlog).expect("it listens");
    (fd, format!("{address}:{}", port_of(fd)))
}

pub(super) fn accept(fd: i32) -> Result<usize, Errno> {
    sys!(SYS_accept4, fd, 0, 0, SOCK_NONBLOCK)
}

/// Both ends of a connection; neither waits.
pub(super) fn pair(address: &str) -> (i32, i32) {
    let (server, to) = listener(address, 5);
    let client = socket_for(address, SOCK_STREAM);
    wait_for(client, &to);
    let accepted = accept(server).expect("a connection") as i32;
    close(server);
    (client, accepted)
}

/// connect(2), waiting.
pub(super) fn wait_for(fd: i32, to: &str) {
    sys!(SYS_fcntl, fd, F_SETFL, 0).expect("flags");
    connect(fd, to).expect("a connection");
    sys!(SYS_fcntl, fd, F_SETFL, O_NONBLOCK).expect("flags");
}

pub(super) fn count(fd: i32, request: u64) -> String {
    let mut count = -1i32;
    sys!(SYS_ioctl, fd, request, &mut count).map_or_else(|errno| errno.to_string(), |_| count.to_string())
}

/// What recv(2) says, without an address.
pub(super) fn take(fd: i32, room: usize, flags: i32) -> String {
    let mut buffer = vec![0u8; room.max(1)];
    match sys!(SYS_recvfrom, fd, buffer.as_mut_ptr(), room, flags, 0, 0) {
        Ok(count) => format!("{count} {:?}", String::from_utf8_lossy(&buffer[..count.min(room).min(20)])),
        Err(errno) => errno.to_string(),
    }
}

pub(super) fn told(outcome: Result<usize, Errno>) -> String {
    outcome.map_or_else(|errno| errno.to_string(), |value| value.cast_signed().to_string())
}

fn idle(t: &mut Report, address: &str) {
    let fd = socket_for(address, SOCK_STREAM);
    let mut show = |case: &str, what: String| t.show(&format!("tcp_{address}_{case}"), what);
    show("idle_events", events(fd));
    show("idle_receive", take(fd, 5, 0));
    show("idle_send", told(send(fd, b"x", 0)));
    show("idle_send_to", told(send_to(fd, b"x", &format!("{address}:9"))));
    show("idle_accept", told(accept(fd)));
    show("idle_urgent", take(fd, 1, MSG_OOB));
    show("idle_error_queue", take(fd, 1, MSG_ERRQUEUE));
    show("idle_readable", count(fd, FIONREAD));
    show("idle_unsent", count(fd, TIOCOUTQ));
    show("idle_at_mark", count(fd, 0x8905));
    show("idle_name", name_of(SYS_getsockname, fd));
    show("idle_peer", name_of(SYS_getpeername, fd));
    show("idle_shutdown", told(sys!(SYS_shutdown, fd, SHUT_RD)));
    show("idle_shutdown_events", events(fd));
    show("idle_shutdown_receive", take(fd, 5, 0));
    close(fd);
}

fn connecting(t: &mut Report, address: &str) {
    let (server, to) = listener(address, 5);
    let mut show = |case: &str, what: String| t.show(&format!("tcp_{address}_{case}"), what);
    let fd = socket_for(address, SOCK_STREAM);
    show("connect", told(connect(fd, &to)));
    show("connected_events", events(fd));
    show("connected_error", error(fd));
    show("connect_again", told(connect(fd, &to)));
    show("connect_once_more", told(connect(fd, &to)));
    show("listening_events", events(server));
    show("connected_name", name_of(SYS_getsockname, fd));
    show("connected_peer", name_of(SYS_getpeername, fd).replace(&to[address.len()..], ":port"));
    let accepted = accept(server).expect("a connection") as i32;
    show("accept_again", told(accept(server)));
    show("accepted_peer", (name_of(SYS_getpeername, accepted) == name_of(SYS_getsockname, fd)).to_string());
    show("accepted_name", (name_of(SYS_getsockname, accepted) == name_of(SYS_getpeername, fd)).to_string());
    show("listen_connected", told(sys!(SYS_listen, fd, 5)));
    show("bind_connected", told(bind(fd, &format!("{address}:0"))));
    show("accept_connected", told(accept(fd)));
    show("accepts", option(server, SOL_SOCKET, SO_ACCEPTCONN));
    show("accepted_accepts", option(accepted, SOL_SOCKET, SO_ACCEPTCONN));
    show("disconnect", told(disconnect(fd)));
    show("disconnected_name", name_of(SYS_getsockname, fd));
    show("disconnected_peer", name_of(SYS_getpeername, fd));
    show("disconnected_events", events(fd));
    show("reset_events", events(accepted));
    show("reset", take(accepted, 5, 0));
    show("reset_again", take(accepted, 5, 0));
    show("connect_anew", told(connect(fd, &to)));
    show("listener_connect", told(connect(server, &to)));
    show("listener_send", told(send(server, b"x", 0)));
    show("listener_receive", take(server, 5, 0));
    show("listener_readable", count(server, FIONREAD));
    show("listener_unsent", count(server, TIOCOUTQ));
    show("listener_peer", name_of(SYS_getpeername, server));
    show("listener_shutdown_write", told(sys!(SYS_shutdown, server, SHUT_WR)));
    show("listener_events", events(server));
    show("listener_shutdown", told(sys!(SYS_shutdown, server, SHUT_RD)));
    show("listener_events_then", events(server));
    show("listener_accept_then", told(accept(server)));
    show("listener_listen_then", told(sys!(SYS_listen, server, 5)));
    [server, fd, accepted].into_iter().for_each(close);
}

fn refused(t: &mut Report, address: &str) {
    let nobody = format!("{address}:9");
    let mut show = |case: &str, what: String| t.show(&format!("tcp_{address}_{case}"), what);
    let fd = socket_for(address, SOCK_STREAM);
    show("refused", told(connect(fd, &nobody)));
    show("refused_events", events(fd));
    show("refused_peer", name_of(SYS_getpeername, fd));
    show("refused_again", told(connect(fd, &nobody)));
    show("refused_events_then", events(fd));
    show("refused_error", error(fd));
    show("refused_third", told(connect(fd, &nobody)));
    show("refused_error_first", error(fd));
    show("refused_then", told(connect(fd, &nobody)));
    close(fd);
    let fd = socket_for(address, SOCK_STREAM);
    sys!(SYS_fcntl, fd, F_SETFL, 0).expect("flags");
    show("refused_waiting", told(connect(fd, &nobody)));
    show("refused_waiting_error", error(fd));
    show("refused_waiting_events", events(fd));
    show("refused_waiting_receive", take(fd, 5, 0));
    show("refused_waiting_send", told(send(fd, b"x", 0)));
    close(fd);
    let fd = socket_for(address, SOCK_STREAM);
    let _ = connect(fd, &nobody);
    show("refused_receive", take(fd, 5, 0));
    show("refused_receive_again", take(fd, 5, 0));
    close(fd);
    let fd = socket_for(address, SOCK_STREAM);
    let _ = connect(fd, &nobody);
    show("refused_send", told(send(fd, b"x", 0)));
    show("refused_send_again", told(send(fd, b"x", 0)));
    close(fd);
}

fn transfers(t: &mut Report, address: &str) {
    let (client, server) = pair(address);
    let mut show = |case: &str, what: String| t.show(&format!("tcp_{address}_{case}"), what);
    show("empty", take(server, 5, 0));
    show("send", told(send(client, b"hello, world", 0)));
    show("full_events", events(server));
    show("readable", count(server, FIONREAD));
    show("unsent", count(client, TIOCOUTQ));
    show("peek", take(server, 5, MSG_PEEK));
    show("peek_more", take(server, 50, MSG_PEEK));
    show("take", take(server, 5, 0));
    show("truncate", take(server, 2, MSG_TRUNC));
    show("zero", take(server, 0, 0));
    show("rest", receive(server, 50, 0));
    show("zero_empty", take(server, 0, 0));
    show("send_empty", told(send(client, b"", 0)));
    show("send_to_other", told(send_to(client, b"x", &format!("{address}:9"))));
    show("went_to_the_peer", take(server, 5, 0));
    show("more", told(send(client, b"one ", MSG_MORE)));
    show("more_then", told(send(client, b"two", 0)));
    show("more_received", take(server, 50, 0));
    show("whole_not_waiting", {
        send(client, b"abc", 0).expect("it goes");
        take(server, 10, MSG_WAITALL)
    });
    set_option(server, SOL_SOCKET, SO_RCVLOWAT, 4).expect("an option");
    send(client, b"abc", 0).expect("it goes");
    show("low_water_not_waiting", take(server, 10, 0));
    show("send_fault", told(sys!(SYS_sendto, client, NOWHERE, 5, 0, 0, 0)));
    send(client, b"abcdef", 0).expect("it goes");
    show("receive_fault", told(sys!(SYS_recvfrom, server, NOWHERE, 5, 0, 0, 0)));
    show("after_fault", take(server, 10, 0));
    [client, server].into_iter().for_each(close);
}

fn halves(t: &mut Report, address: &str) {
    let (client, server) = pair(address);
    let mut show = |case: &str, what: String| t.show(&format!("tcp_{address}_{case}"), what);
    send(client, b"last", 0).expect("it goes");
    show("shut_down_write", told(sys!(SYS_shutdown, client, SHUT_WR)));
    show("half_events", events(client));
    show("half_peer_events", events(server));
    show("half_send", told(send(client, b"x", 0)));
    show("half_last", take(server, 10, 0));
    show("half_end", take(server, 10, 0));
    show("half_answer", told(send(server, b"answer", 0)));
    show("half_answered", take(client, 10, 0));
    show("half_peer", name_of(SYS_getpeername, client).contains(address).to_string());
    show("shut_down_other", told(sys!(SYS_shutdown, server, SHUT_WR)));
    show("both_events", events(client));
    show("both_peer_events", events(server));
    show("both_end", take(client, 10, 0));
    show("both_name", name_of(SYS_getpeername, client));
    show("both_server_name", name_of(SYS_getpeername, server));
    show("both_shutdown", told(sys!(SYS_shutdown, client, SHUT_RDWR)));
    [client, server].into_iter().for_each(close);
    let (client, server) = pair(address);
    show("shut_down_read", told(sys!(SYS_shutdown, client, SHUT_RD)));
    show("deaf_events", events(client));
    show("deaf_receive", take(client, 10, 0));
    show("deaf_sent", told(send(server, b"unheard", 0)));
    show("deaf_heard", take(client, 10, 0));
    show("deaf_send", told(send(client, b"still", 0)));
    show("deaf_sends", take(server, 10, 0));
    [client, server].into_iter().for_each(close);
}

fn resets(t: &mut Report, address: &str) {
    let (client, server) = pair(address);
    let mut show = |case: &str, what: String| t.show(&format!("tcp_{address}_{case}"), what);
    close(server);
    show("closed_events", events(client));
    show("closed_receive", take(client, 5, 0));
    show("closed_send", told(send(client, b"x", 0)));
    show("closed_events_then", events(client));
    show("closed_send_again", told(send(client, b"x", 0)));
    show("closed_error", error(client));
    show("closed_receive_then", take(client, 5, 0));
    close(client);
    let (client, server) = pair(address);
    send(client, b"unread", 0).expect("it goes");
    close(server);
    show("unread_events", events(client));
    show("unread_receive", take(client, 5, 0));
    show("unread_receive_again", take(client, 5, 0));
    show("unread_send", told(send(client, b"x", 0)));
    show("unread_peer", name_of(SYS_getpeername, client));
    show("unread_name", name_of(SYS_getsockname, client));
    show("unread_shutdown", told(sys!(SYS_shutdown, client, SHUT_RDWR)));
    close(client);
    let (client, server) = pair(address);
    send(server, b"before", 0).expect("it goes");
    send(client, b"unread", 0).expect("it goes");
    close(server);
    show("reset_before_read", take(client, 10, 0));
    show("reset_before_read_again", take(client, 10, 0));
    close(client);
}

fn versions(t: &mut Report) {
    let server = bound(SOCK_STREAM, "[::]:5000");
    sys!(SYS_listen, server, 5).expect("it listens");
    let client = socket(AF_INET, SOCK_STREAM);
    wait_for(client, "127.0.0.1:5000");
    let accepted = accept(server).expect("a connection") as i32;
    t.show("tcp_mapped_name", name_of(SYS_getsockname, accepted));
    t.show("tcp_mapped_peer", name_of(SYS_getpeername, accepted));
    close(accepted);
    close(client);
    let client = socket(AF_INET6, SOCK_STREAM);
    wait_for(client, "[::ffff:127.0.0.1]:5000");
    t.show("tcp_to_mapped_name", name_of(SYS_getsockname, client));
    t.show("tcp_to_mapped_peer", name_of(SYS_getpeername, client));
    close(client);
    let client = socket(AF_INET6, SOCK_STREAM);
    t.call("tcp_v6_connect_v4", connect(client, "127.0.0.1:5000"));
    set_option(client, IPPROTO_IPV6, IPV6_V6ONLY, 1).expect("an option");
    t.call("tcp_only_v6_connect_mapped", connect(client, "[::ffff:127.0.0.1]:5000"));
    close(client);
    close(server);
    let server = bound(SOCK_STREAM, "[::1]:5010");
    sys!(SYS_listen, server, 5).expect("it listens");
    let client = socket(AF_INET, SOCK_STREAM);
    sys!(SYS_fcntl, client, F_SETFL, 0).expect("flags");
    t.call("tcp_v4_to_v6", connect(client, "127.0.0.1:5010"));
    close(client);
    close(server);
}

fn destinations(t: &mut Report) {
    let server = bound(SOCK_STREAM, "[::]:5020");
    sys!(SYS_listen, server, 50).expect("it listens");
    for to in [
        "0.0.0.0:5020",
        "127.9.9.9:5020",
        "192.0.2.77:5020",
        "127.255.255.255:5020",
        "255.255.255.255:5020",
        "224.0.0.1:5020",
        "[::]:5020",
        "[::ffff:0.0.0.0]:5020",
        "[2001:db8::1]:5020",
        "[fe80::1]:5020",
        "[ff02::1]:5020",
        "127.0.0.1:0",
    ] {
        let fd = socket_for(to, SOCK_STREAM);
        sys!(SYS_fcntl, fd, F_SETFL, 0).expect("flags");
        t.call(&format!("tcp_connect_{to}"), connect(fd, to));
        t.show(
            &format!("tcp_connected_{to}"),
            format!("{} {}", name_of(SYS_getsockname, fd), name_of(SYS_getpeername, fd)),
        );
        close(fd);
    }
    let fd = socket(AF_INET, SOCK_STREAM);
    let v4 = name("127.0.0.1:5020");
    t.call("tcp_connect_short", connect_name(fd, &Name(v4.0[..15].to_vec())));
    t.call("tcp_connect_one_byte", connect_name(fd, &Name(v4.0[..1].to_vec())));
    t.call("tcp_connect_v6", connect(fd, "[::1]:5020"));
    t.call("tcp_connect_unix", connect_name(fd, &v4.of_family(AF_UNIX)));
    t.call("tcp_disconnect_idle", disconnect(fd));
    bind(fd, "127.0.0.8:5008").expect("an address");
    wait_for(fd, "127.0.0.1:5020");
    t.show("tcp_bound_name", name_of(SYS_getsockname, fd));
    let other = socket(AF_INET, SOCK_STREAM);
    set_option(other, SOL_SOCKET, SO_REUSEADDR, 1).expect("an option");
    t.call("tcp_bind_connected", bind(other, "127.0.0.8:5008"));
    disconnect(fd).expect("no peer");
    t.show("tcp_bound_name_kept", name_of(SYS_getsockname, fd));
    [fd, other, server].into_iter().for_each(close);
}

fn listening(t: &mut Report) {
    let fd = socket(AF_INET, SOCK_STREAM);
    t.call("tcp_listen_unbound", sys!(SYS_listen, fd, 5));
    t.show("tcp_listen_unbound_name", name_of(SYS_getsockname, fd));
    t.call("tcp_listen_again", sys!(SYS_listen, fd, 1));
    t.call("tcp_listen_bind", bind(fd, "127.0.0.1:0"));
    t.show("tcp_listen_events", events(fd));
    t.call("tcp_disconnect_listener", disconnect(fd));
    t.call("tcp_accept_then", accept(fd));
    close(fd);
    let (first, second) = (socket(AF_INET, SOCK_STREAM), socket(AF_INET, SOCK_STREAM));
    for fd in [first, second] {
        set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1).expect("an option");
        bind(fd, "127.0.0.1:5030").expect("an address");
    }
    t.call("tcp_listen_first", sys!(SYS_listen, first, 5));
    t.call("tcp_listen_second", sys!(SYS_listen, second, 5));
    close(first);
    t.call("tcp_listen_second_then", sys!(SYS_listen, second, 5));
    close(second);
    let fds = [socket(AF_INET, SOCK_STREAM), socket(AF_INET, SOCK_STREAM)];
    for fd in fds {
        set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1).expect("an option");
        bind(fd, "127.0.0.1:5040").expect("an address");
        sys!(SYS_listen, fd, 50).expect("it listens");
    }
    let clients: Vec<i32> = (0..20).map(|_| socket(AF_INET, SOCK_STREAM)).collect();
    for client in &clients {
        wait_for(*client, "127.0.0.1:5040");
    }
    let taken = fds.map(|fd| std::iter::from_fn(|| accept(fd).ok()).map(|fd| close(fd as i32)).count());
    t.show("tcp_shared_taken", taken.iter().sum::<usize>());
    t.is("tcp_shared_by_both", taken.iter().all(|count| *count > 0));
    clients.into_iter().chain(fds).for_each(close);
    let (server, to) = listener("127.0.0.1", 5);
    let client = socket(AF_INET, SOCK_STREAM);
    wait_for(client, &to);
    close(server);
    t.show("tcp_not_accepted_events", events(client));
    t.show("tcp_not_accepted", take(client, 5, 0));
    close(client);
}

/// A peer that does not read.
fn full(t: &mut Report) {
    let (client, server) = pair("127.0.0.1");
    let bytes = vec![b'z'; 100_000];
    let mut sent = 0;
    while let Ok(count) = send(client, &bytes, 0) {
        sent += count;
    }
    t.is("tcp_full_takes_much", sent > 100_000);
    t.show("tcp_full_events", events(client));
    t.show("tcp_full_send", told(send(client, b"x", 0)));
    let mut received = 0;
    let mut buffer = vec![0u8; 70_000];
    while let Ok(count) = sys!(SYS_recvfrom, server, buffer.as_mut_ptr(), buffer.len(), 0, 0, 0) {
        received += count;
    }
    t.is("tcp_full_received_all", received == sent);
    t.show("tcp_full_events_then", events(client));
    t.show("tcp_full_unsent_then", count(client, TIOCOUTQ));
    [client, server].into_iter().for_each(close);
}

fn urgent(t: &mut Report) {
    let (client, server) = pair("127.0.0.1");
    t.show("tcp_urgent_nothing", take(server, 1, MSG_OOB));
    send(client, b"abc", 0).expect("it goes");
    t.call("tcp_urgent_send", send(client, b"de", MSG_OOB));
    send(client, b"fg", 0).expect("it goes");
    t.show("tcp_urgent_events", events(server));
    t.show("tcp_urgent_mark", count(server, 0x8905));
    t.show("tcp_urgent_readable", count(server, FIONREAD));
    t.show("tcp_urgent_peek", take(server, 1, MSG_OOB | MSG_PEEK));
    t.show("tcp_urgent", take(server, 5, MSG_OOB));
    t.show("tcp_urgent_again", take(server, 5, MSG_OOB));
    t.show("tcp_urgent_events_then", events(server));
    t.show("tcp_before_mark", take(server, 50, 0));
    t.show("tcp_at_mark", count(server, 0x8905));
    t.show("tcp_behind_mark", take(server, 50, 0));
    t.show("tcp_mark_passed", count(server, 0x8905));
    set_option(server, SOL_SOCKET, SO_OOBINLINE, 1).expect("an option");
    send(client, b"xy", MSG_OOB).expect("it goes");
    t.show("tcp_inline_urgent", take(server, 5, MSG_OOB));
    t.show("tcp_inline_before", take(server, 50, 0));
    t.show("tcp_inline_mark", count(server, 0x8905));
    t.show("tcp_inline_behind", take(server, 50, 0));
    [client, server].into_iter().for_each(close);
}

fn lingering(t: &mut Report) {
    let (client, server) = pair("127.0.0.1");
    sys!(SYS_setsockopt, client, SOL_SOCKET, SO_LINGER, &[1i32, 0], 8).expect("an option");
    close(client);
    t.show("tcp_aborted_events", events(server));
    t.show("tcp_aborted_error", error(server));
    t.show("tcp_aborted_receive", take(server, 5, 0));
    t.show("tcp_aborted_peer", name_of(SYS_getpeername, server));
    close(server);
    let (client, server) = pair("127.0.0.1");
    sys!(SYS_setsockopt, client, SOL_SOCKET, SO_LINGER, &[1i32, 5], 8).expect("an option");
    send(client, b"all", 0).expect("it goes");
    close(client);
    t.show("tcp_lingered", take(server, 5, 0));
    close(server);
}

/// What is left of a connection keeps others from its address, unless they ask.
fn addresses_again(t: &mut Report) {
    let server = bound(SOCK_STREAM, "127.0.0.1:5050");
    sys!(SYS_listen, server, 5).expect("it listens");
    let client = socket(AF_INET, SOCK_STREAM);
    wait_for(client, "127.0.0.1:5050");
    let accepted = accept(server).expect("a connection") as i32;
    close(server);
    let other = socket(AF_INET, SOCK_STREAM);
    t.call("tcp_bind_while_connected", bind(other, "127.0.0.1:5050"));
    close(accepted);
    close(client);
    t.call("tcp_bind_after", bind(other, "127.0.0.1:5050"));
    set_option(other, SOL_SOCKET, SO_REUSEADDR, 1).expect("an option");
    t.call("tcp_bind_after_reusing", bind(other, "127.0.0.1:5050"));
    close(other);
}
