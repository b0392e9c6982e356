//! listen(2), connect(2), accept(2), shutdown(2), and who is at the other end.

use libc::*;

use super::helpers::{
    accept, bind, connect, events, listener, name_of, nonblocking, option, pair, receive, send, send_to,
    shown, socket,
};
use crate::cases::helpers::{NOWHERE, close};
use crate::report::Report;
use crate::sys::zeroed;

pub fn run(t: &mut Report) {
    listening(t);
    accepting(t);
    backlog(t);
    ends(t);
    shutting(t);
    lost(t);
}

fn listening(t: &mut Report) {
    let fd = socket(SOCK_STREAM);
    t.call("listen_unnamed", sys!(SYS_listen, fd, 5));
    t.show("accepts_not", option(fd, SO_ACCEPTCONN));
    t.call("accept_unlistening", accept(fd));
    t.show("events_alone", events(fd));
    bind(fd, "server").expect("a name");
    t.call("accept_bound", accept(fd));
    t.call("listen", sys!(SYS_listen, fd, 5));
    t.call("listen_again", sys!(SYS_listen, fd, -1));
    t.show("accepts", option(fd, SO_ACCEPTCONN));
    t.show("events_listening", events(fd));
    t.call("connect_listening", connect(fd, "server"));
    t.call("send_listening", send(fd, b"x", MSG_NOSIGNAL));
    t.show("recv_listening", receive(fd, 4, MSG_DONTWAIT));
    let mut count = 0i32;
    t.call("fionread_listening", sys!(SYS_ioctl, fd, FIONREAD, &mut count));
    t.call("outq_listening", sys!(SYS_ioctl, fd, TIOCOUTQ, &mut count));
    t.call("getpeername_listening", sys!(SYS_getpeername, fd, 0, 0));
    close(fd);
    let datagrams = socket(SOCK_DGRAM);
    t.call("listen_datagram", sys!(SYS_listen, datagrams, 5));
    t.call("accept_datagram", accept(datagrams));
    close(datagrams);
    let [one, other] = pair(SOCK_STREAM);
    t.call("listen_connected", sys!(SYS_listen, one, 5));
    bind(one, "pair-server").expect("a name");
    t.call("listen_connected_named", sys!(SYS_listen, one, 5));
    t.call("connect_connected", connect(one, "pair-server"));
    close(one);
    close(other);
}

fn accepting(t: &mut Report) {
    let server = listener(SOCK_STREAM | SOCK_NONBLOCK, "\0usertest-accept", 5);
    t.call("accept_none", accept(server));
    let client = socket(SOCK_STREAM);
    t.call("connect", connect(client, "\0usertest-accept"));
    t.call("connect_again", connect(client, "\0usertest-accept"));
    t.call("connect_again_nowhere", connect(client, "\0usertest-nowhere"));
    t.show("events_waiting", events(server));
    t.show("events_unaccepted", events(client));
    t.call("send_unaccepted", send(client, b"early", 0));
    t.show("peer_unaccepted", name_of(SYS_getpeername, client));
    let mut address = zeroed::<sockaddr_un>();
    let mut length = size_of::<sockaddr_un>() as i32;
    let made = sys!(SYS_accept4, server, &raw mut address, &mut length, SOCK_CLOEXEC | SOCK_NONBLOCK);
    t.call("accept", made);
    t.show("accept_address", shown(&address, length));
    let fd = made.expect("a connection") as i32;
    t.call("accept_cloexec", sys!(SYS_fcntl, fd, F_GETFD));
    t.call("accept_nonblock", sys!(SYS_fcntl, fd, F_GETFL));
    t.show("accepted_name", name_of(SYS_getsockname, fd));
    t.show("accepted_peer", name_of(SYS_getpeername, fd));
    t.show("receive_early", receive(fd, 16, 0));
    close(fd);
    close(client);
    let client = socket(SOCK_STREAM);
    bind(client, "\0usertest-client").expect("a name");
    connect(client, "\0usertest-accept").expect("it listens");
    length = size_of::<sockaddr_un>() as i32;
    let fd = sys!(SYS_accept4, server, &raw mut address, &mut length, 0).expect("a connection") as i32;
    t.show("accept_named", shown(&address, length));
    t.call("accept_not_inherited", sys!(SYS_fcntl, fd, F_GETFL));
    close(fd);
    close(client);
    let client = socket(SOCK_STREAM);
    connect(client, "\0usertest-accept").expect("it listens");
    t.call("accept_fault", sys!(SYS_accept4, server, NOWHERE, NOWHERE, 0));
    t.show("accept_fault_loses", events(client));
    t.show("accept_fault_receive", receive(client, 1, MSG_DONTWAIT));
    t.call("accept_flag", sys!(SYS_accept4, server, 0, 0, 1));
    close(client);
    t.call("shutdown_listener", sys!(SYS_shutdown, server, SHUT_RD));
    t.call("accept_shut", accept(server));
    t.call("connect_shut", connect(socket(SOCK_STREAM), "\0usertest-accept"));
    close(server + 1);
    t.show("events_shut", events(server));
    close(server);
}

fn backlog(t: &mut Report) {
    let server = listener(SOCK_SEQPACKET, "\0usertest-full", 1);
    let mut clients = Vec::new();
    for index in 0..4 {
        let client = socket(SOCK_SEQPACKET | SOCK_NONBLOCK);
        t.call(&format!("backlog_{index}"), connect(client, "\0usertest-full"));
        clients.push(client);
    }
    let fd = accept(server).expect("a connection") as i32;
    t.call("backlog_after_accept", connect(clients[3], "\0usertest-full"));
    t.call("backlog_still_full", connect(clients[2], "\0usertest-full"));
    close(server);
    for (index, &client) in clients.iter().enumerate() {
        t.show(&format!("closed_listener_{index}"), events(client));
        t.show(&format!("closed_listener_error_{index}"), option(client, SO_ERROR));
        t.call(&format!("closed_listener_send_{index}"), send(client, b"x", MSG_NOSIGNAL));
        t.show(&format!("closed_listener_receive_{index}"), receive(client, 1, 0));
        close(client);
    }
    close(fd);
    let server = listener(SOCK_STREAM, "\0usertest-zero", 0);
    for index in 0..2 {
        let client = socket(SOCK_STREAM | SOCK_NONBLOCK);
        t.call(&format!("backlog_zero_{index}"), connect(client, "\0usertest-zero"));
        close(client);
    }
    // Those that have left can still be accepted.
    let fd = accept(server).expect("a connection") as i32;
    t.show("accepted_gone", events(fd));
    t.show("accepted_gone_receive", receive(fd, 1, 0));
    close(fd);
    close(server);
    // Connecting waits for room.
    let server = listener(SOCK_STREAM, "\0usertest-room", 0);
    let first = socket(SOCK_STREAM);
    connect(first, "\0usertest-room").expect("there is room");
    let thread = std::thread::spawn(|| {
        let second = socket(SOCK_STREAM);
        let outcome = connect(second, "\0usertest-room");
        close(second);
        outcome
    });
    crate::cases::helpers::until_others_sleep();
    let fd = accept(server).expect("a connection") as i32;
    t.call("connect_waits", thread.join().expect("a thread"));
    close(fd);
    let thread = std::thread::spawn(|| {
        let (second, third) = (socket(SOCK_STREAM), socket(SOCK_STREAM));
        let _ = connect(second, "\0usertest-room");
        let outcome = connect(third, "\0usertest-room");
        close(second);
        close(third);
        outcome
    });
    crate::cases::helpers::until_others_sleep();
    close(server);
    t.call("connect_waits_for_nobody", thread.join().expect("a thread"));
    close(first);
}

fn ends(t: &mut Report) {
    for (case, kind) in [("stream", SOCK_STREAM), ("sequence", SOCK_SEQPACKET), ("datagram", SOCK_DGRAM)] {
        let [one, other] = pair(kind);
        t.show(&format!("{case}_pair_name"), name_of(SYS_getsockname, one));
        t.show(&format!("{case}_pair_peer"), name_of(SYS_getpeername, one));
        t.show(&format!("{case}_pair_events"), events(one));
        nonblocking(one);
        t.show(&format!("{case}_empty"), receive(one, 4, 0));
        close(other);
        t.show(&format!("{case}_closed_events"), events(one));
        t.call(&format!("{case}_closed_send"), send(one, b"x", MSG_NOSIGNAL));
        t.show(&format!("{case}_closed_receive"), receive(one, 4, 0));
        t.show(&format!("{case}_closed_peer"), name_of(SYS_getpeername, one));
        t.call(&format!("{case}_closed_send_again"), send(one, b"x", MSG_NOSIGNAL));
        t.show(&format!("{case}_closed_error"), option(one, SO_ERROR));
        close(one);
    }
    for (case, kind) in [("stream", SOCK_STREAM), ("sequence", SOCK_SEQPACKET), ("datagram", SOCK_DGRAM)] {
        let alone = socket(kind | SOCK_NONBLOCK);
        t.show(&format!("{case}_alone_events"), events(alone));
        t.call(&format!("{case}_alone_send"), send(alone, b"x", MSG_NOSIGNAL));
        t.call(&format!("{case}_alone_send_nothing"), send(alone, b"", MSG_NOSIGNAL));
        t.call(&format!("{case}_alone_write"), sys!(SYS_write, alone, b"x", 1));
        t.show(&format!("{case}_alone_receive"), receive(alone, 1, 0));
        t.call(&format!("{case}_alone_read"), sys!(SYS_read, alone, &mut [0u8; 1], 1));
        t.call(&format!("{case}_alone_read_nothing"), sys!(SYS_read, alone, &mut [0u8; 1], 0));
        t.call(&format!("{case}_alone_sendto"), send_to(alone, b"x", "\0usertest-nobody"));
        t.call(
            &format!("{case}_alone_sendto_bad"),
            sys!(SYS_sendto, alone, b"x", 1, MSG_NOSIGNAL, &[2u8, 0, 0, 0], 4),
        );
        t.call(&format!("{case}_alone_shutdown"), sys!(SYS_shutdown, alone, SHUT_WR));
        t.call(&format!("{case}_alone_shut_send"), send(alone, b"x", MSG_NOSIGNAL));
        t.show(&format!("{case}_alone_shut_events"), events(alone));
        close(alone);
    }
}

fn shutting(t: &mut Report) {
    for (case, kind) in [("stream", SOCK_STREAM), ("sequence", SOCK_SEQPACKET), ("datagram", SOCK_DGRAM)] {
        let [one, other] = pair(kind | SOCK_NONBLOCK);
        t.call(&format!("{case}_shutdown_bad"), sys!(SYS_shutdown, one, 3));
        t.call(&format!("{case}_shutdown_negative"), sys!(SYS_shutdown, one, -1));
        send(one, b"before", 0).expect("there is room");
        t.call(&format!("{case}_shut_write"), sys!(SYS_shutdown, one, SHUT_WR));
        t.show(&format!("{case}_shut_write_events"), events(one));
        t.show(&format!("{case}_shut_write_events_other"), events(other));
        t.call(&format!("{case}_shut_write_send"), send(one, b"x", MSG_NOSIGNAL));
        t.show(&format!("{case}_shut_write_receive"), receive(other, 16, 0));
        t.show(&format!("{case}_shut_write_end"), receive(other, 16, 0));
        t.call(&format!("{case}_shut_write_back"), send(other, b"back", MSG_NOSIGNAL));
        t.show(&format!("{case}_shut_write_receive_back"), receive(one, 16, 0));
        t.call(&format!("{case}_shut_read"), sys!(SYS_shutdown, one, SHUT_RD));
        t.show(&format!("{case}_shut_both_events"), events(one));
        t.show(&format!("{case}_shut_both_events_other"), events(other));
        t.call(&format!("{case}_shut_read_send"), send(other, b"x", MSG_NOSIGNAL));
        t.show(&format!("{case}_shut_read_receive"), receive(one, 16, 0));
        t.call(&format!("{case}_shut_again"), sys!(SYS_shutdown, one, SHUT_RDWR));
        close(one);
        close(other);
        let [one, other] = pair(kind | SOCK_NONBLOCK);
        send(other, b"unread", 0).expect("there is room");
        let _ = sys!(SYS_shutdown, one, SHUT_RD);
        t.show(&format!("{case}_shut_read_keeps"), receive(one, 16, 0));
        t.show(&format!("{case}_shut_read_then_end"), receive(one, 16, 0));
        t.call(&format!("{case}_shut_read_still_sends"), send(one, b"x", MSG_NOSIGNAL));
        close(one);
        close(other);
    }
}

/// What was not received is lost, and the sender hears of it.
fn lost(t: &mut Report) {
    for (case, kind) in [("stream", SOCK_STREAM), ("sequence", SOCK_SEQPACKET), ("datagram", SOCK_DGRAM)] {
        let [one, other] = pair(kind | SOCK_NONBLOCK);
        send(one, b"unread", 0).expect("there is room");
        close(other);
        t.show(&format!("{case}_lost_events"), events(one));
        t.call(&format!("{case}_lost_send"), send(one, b"x", MSG_NOSIGNAL));
        t.show(&format!("{case}_lost_receive"), receive(one, 4, 0));
        t.show(&format!("{case}_lost_receive_again"), receive(one, 4, 0));
        t.show(&format!("{case}_lost_events_after"), events(one));
        close(one);
        let [one, other] = pair(kind | SOCK_NONBLOCK);
        send(one, b"unread", 0).expect("there is room");
        send(other, b"left", 0).expect("there is room");
        close(other);
        t.show(&format!("{case}_lost_left"), receive(one, 4, 0));
        t.show(&format!("{case}_lost_error"), option(one, SO_ERROR));
        t.show(&format!("{case}_lost_error_again"), option(one, SO_ERROR));
        close(one);
    }
}
