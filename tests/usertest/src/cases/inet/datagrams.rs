//! UDP: sending, receiving, connecting.

use libc::*;

use super::helpers::{
    Name, bind, bound, connect, connect_name, disconnect, name, name_of, receive, send, send_to,
    send_to_name, set_option, socket, socket_for,
};
use crate::cases::helpers::{NOWHERE, close};
use crate::cases::sockets::helpers::events;
use crate::report::Report;

pub fn run(t: &mut Report) {
    for address in ["127.0.0.1", "[::1]"] {
        transfers(t, address);
        connections(t, address);
        shutdowns(t, address);
        lengths(t, address);
    }
    versions(t);
    addresses(t);
    calls(t);
    drops(t);
}

fn transfers(t: &mut Report, address: &str) {
    let to = format!("{address}:5000");
    let server = bound(SOCK_DGRAM, &to);
    let client = socket_for(address, SOCK_DGRAM);
    let mut show = |case: &str, what: String| t.show(&format!("{address}_{case}"), what);
    show("nothing", receive(server, 10, 0));
    show("events_idle", events(server));
    show("send", format!("{:?}", send_to(client, b"hello", &to)));
    show("client_name", name_of(SYS_getsockname, client));
    show("events_full", events(server));
    let mut count = 0i32;
    sys!(SYS_ioctl, server, FIONREAD, &mut count).expect("a count");
    show("readable", count.to_string());
    show("peek", receive(server, 3, MSG_PEEK));
    show("peek_whole", receive(server, 3, MSG_PEEK | MSG_TRUNC));
    show("short", receive(server, 3, 0));
    show("gone", receive(server, 3, 0));
    for text in ["", "x", "last"] {
        send_to(client, text.as_bytes(), &to).expect("it goes");
    }
    sys!(SYS_ioctl, server, FIONREAD, &mut count).expect("a count");
    show("readable_empty", count.to_string());
    show("empty", receive(server, 10, 0));
    show("one", receive(server, 10, MSG_TRUNC));
    show("no_room", receive(server, 0, MSG_TRUNC));
    show("out_of_band", format!("{:?}", send(client, b"x", MSG_OOB)));
    show("no_destination", format!("{:?}", send(client, b"x", 0)));
    let mut byte = [0u8; 4];
    send_to(client, b"read", &to).expect("it goes");
    show("read", format!("{:?}", sys!(SYS_read, server, &mut byte, 4)));
    show("write", format!("{:?}", sys!(SYS_write, client, &byte, 4)));
    close(server);
    close(client);
}

fn connections(t: &mut Report, address: &str) {
    let (server, stranger) =
        (bound(SOCK_DGRAM, &format!("{address}:5000")), bound(SOCK_DGRAM, &format!("{address}:5001")));
    let client = socket_for(address, SOCK_DGRAM);
    let mut show = |case: &str, what: String| t.show(&format!("{address}_{case}"), what);
    show("connect", format!("{:?}", connect(client, &format!("{address}:5000"))));
    show("connected_name", name_of(SYS_getsockname, client));
    show("connected_peer", name_of(SYS_getpeername, client));
    send(client, b"to the peer", 0).expect("it goes");
    show("from_connected", receive(server, 20, 0));
    send_to(client, b"to another", &format!("{address}:5001")).expect("it goes");
    show("to_another", receive(stranger, 20, 0));
    let place = format!("{address}:{}", super::helpers::port_of(client));
    send_to(stranger, b"unwanted", &place).expect("it goes");
    show("from_a_stranger", receive(client, 20, 0));
    send_to(server, b"answer", &place).expect("it goes");
    show("from_the_peer", receive(client, 20, 0));
    show("reconnect", format!("{:?}", connect(client, &format!("{address}:5001"))));
    show("new_peer", name_of(SYS_getpeername, client));
    show("disconnect", format!("{:?}", disconnect(client)));
    show("no_name", name_of(SYS_getsockname, client));
    show("no_peer", name_of(SYS_getpeername, client));
    show("send_after", format!("{:?}", send(client, b"x", 0)));
    close(client);
    let client = bound(SOCK_DGRAM, &format!("{address}:5002"));
    connect(client, &format!("{address}:5000")).expect("a peer");
    disconnect(client).expect("no peer");
    show("keeps_its_name", name_of(SYS_getsockname, client));
    show("connect_port_0", format!("{:?}", connect(client, &format!("{address}:0"))));
    show("peer_port_0", name_of(SYS_getpeername, client));
    show("send_port_0", format!("{:?}", send(client, b"x", 0)));
    show("send_to_port_0", format!("{:?}", send_to(client, b"x", &format!("{address}:0"))));
    [server, stranger, client].into_iter().for_each(close);
}

fn shutdowns(t: &mut Report, address: &str) {
    let to = format!("{address}:5000");
    let server = bound(SOCK_DGRAM, &to);
    let client = socket_for(address, SOCK_DGRAM);
    let mut show = |case: &str, what: String| t.show(&format!("{address}_{case}"), what);
    show("shutdown_unconnected", format!("{:?}", sys!(SYS_shutdown, client, SHUT_WR)));
    show("send_shut_down", format!("{:?}", send_to(client, b"x", &to)));
    close(client);
    let client = socket_for(address, SOCK_DGRAM);
    connect(client, &to).expect("a peer");
    show("shutdown_invalid", format!("{:?}", sys!(SYS_shutdown, client, 3)));
    show("shutdown", format!("{:?}", sys!(SYS_shutdown, client, SHUT_RD)));
    show("events_ended", events(client));
    show("receive_ended", receive(client, 10, 0));
    sys!(SYS_fcntl, client, F_SETFL, 0).expect("flags");
    show("receive_ended_waiting", receive(client, 10, 0));
    show("receive_ended_not_waiting", receive(client, 10, MSG_DONTWAIT));
    show("send_half", format!("{:?}", send(client, b"x", 0)));
    sys!(SYS_shutdown, client, SHUT_RDWR).expect("it ends");
    show("events_both", events(client));
    show("send_neither", format!("{:?}", send(client, b"x", 0)));
    close(client);
    close(server);
}

fn lengths(t: &mut Report, address: &str) {
    let to = format!("{address}:5000");
    let server = bound(SOCK_DGRAM, &to);
    set_option(server, SOL_SOCKET, SO_RCVBUF, 1 << 20).expect("room");
    let client = socket_for(address, SOCK_DGRAM);
    let bytes = vec![b'y'; 70_000];
    for length in [65_487, 65_488, 65_507, 65_508, 65_527, 65_528, 65_535, 65_536, 70_000] {
        t.call(&format!("{address}_send_{length}"), send_to(client, &bytes[..length], &to));
        t.show(&format!("{address}_receive_{length}"), receive(server, 70_000, 0));
    }
    close(server);
    close(client);
}

/// Sockets of both versions.
fn versions(t: &mut Report) {
    let both = bound(SOCK_DGRAM, "[::]:5000");
    let v4 = bound(SOCK_DGRAM, "127.0.0.1:5001");
    t.call("v4_to_both", send_to(v4, b"four", "127.0.0.1:5000"));
    t.show("both_from_v4", receive(both, 10, 0));
    t.call("both_to_v4", send_to(both, b"answer", "[::ffff:127.0.0.1]:5001"));
    t.show("v4_from_both", receive(v4, 10, 0));
    t.call("both_to_plain_v4", send_to(both, b"plain", "127.0.0.1:5001"));
    t.show("v4_from_both_plain", receive(v4, 10, 0));
    t.call("v4_to_v6", send_to(v4, b"x", "[::1]:5000"));
    t.call("both_connect", connect(both, "[::ffff:127.0.0.1]:5001"));
    t.show(
        "both_connected",
        format!("{} {}", name_of(SYS_getsockname, both), name_of(SYS_getpeername, both)),
    );
    t.call("both_disconnect", disconnect(both));
    t.show("both_disconnected", name_of(SYS_getsockname, both));
    t.call("both_connect_plain", connect(both, "127.0.0.1:5001"));
    t.show(
        "both_connected_plain",
        format!("{} {}", name_of(SYS_getsockname, both), name_of(SYS_getpeername, both)),
    );
    close(both);
    let only = socket(AF_INET6, SOCK_DGRAM);
    set_option(only, IPPROTO_IPV6, IPV6_V6ONLY, 1).expect("an option");
    bind(only, "[::]:5000").expect("an address");
    send_to(v4, b"four", "127.0.0.1:5000").expect("it goes");
    t.show("only_from_v4", receive(only, 10, 0));
    t.call("only_to_mapped", send_to(only, b"x", "[::ffff:127.0.0.1]:5001"));
    t.call("only_to_v4", send_to(only, b"x", "127.0.0.1:5001"));
    t.call("only_connect_mapped", connect(only, "[::ffff:127.0.0.1]:5001"));
    t.call("only_connect_v4", connect(only, "127.0.0.1:5001"));
    close(only);
    close(v4);
}

fn addresses(t: &mut Report) {
    let server = bound(SOCK_DGRAM, "0.0.0.0:5000");
    let client = socket(AF_INET, SOCK_DGRAM);
    for to in
        ["0.0.0.0:5000", "127.0.0.9:5000", "192.0.2.77:5000", "127.255.255.255:5000", "255.255.255.255:5000"]
    {
        t.call(&format!("send_{to}"), send_to(client, b"x", to));
        t.show(&format!("received_{to}"), receive(server, 10, 0));
        let other = socket(AF_INET, SOCK_DGRAM);
        t.call(&format!("connect_{to}"), connect(other, to));
        t.show(
            &format!("connected_{to}"),
            format!("{} {}", name_of(SYS_getsockname, other), name_of(SYS_getpeername, other)),
        );
        close(other);
    }
    set_option(client, SOL_SOCKET, SO_BROADCAST, 1).expect("an option");
    for to in ["127.255.255.255:5000", "255.255.255.255:5000"] {
        t.call(&format!("broadcast_{to}"), send_to(client, b"x", to));
        t.show(&format!("received_broadcast_{to}"), receive(server, 10, 0));
    }
    close(server);
    close(client);
    let server = bound(SOCK_DGRAM, "[::]:5000");
    let client = socket(AF_INET6, SOCK_DGRAM);
    for to in [
        "[::]:5000",
        "[::1]:5000",
        "[2001:db8::1]:5000",
        "[fe80::1]:5000",
        "[fe80::1%1]:5000",
        "[::ffff:0.0.0.0]:5000",
    ] {
        t.call(&format!("send_{to}"), send_to(client, b"x", to));
        t.show(&format!("received_{to}"), receive(server, 10, 0));
        let other = socket(AF_INET6, SOCK_DGRAM);
        t.call(&format!("connect_{to}"), connect(other, to));
        t.show(
            &format!("connected_{to}"),
            format!("{} {}", name_of(SYS_getsockname, other), name_of(SYS_getpeername, other)),
        );
        close(other);
    }
    close(server);
    close(client);
}

fn calls(t: &mut Report) {
    let fd = socket(AF_INET, SOCK_DGRAM);
    let v4 = name("127.0.0.1:5000");
    t.call("listen", sys!(SYS_listen, fd, 5));
    t.call("accept", sys!(SYS_accept4, fd, 0, 0, 0));
    t.call("connect_short", connect_name(fd, &Name(v4.0[..15].to_vec())));
    t.call("connect_one_byte", connect_name(fd, &Name(v4.0[..1].to_vec())));
    t.call("connect_v6", connect(fd, "[::1]:5000"));
    t.call("connect_fault", sys!(SYS_connect, fd, NOWHERE, 16));
    t.call("send_short", send_to_name(fd, b"x", &Name(v4.0[..15].to_vec())));
    t.call("send_v6", send_to(fd, b"x", "[::1]:5000"));
    t.call("send_unspec", send_to_name(fd, b"x", &v4.clone().of_family(AF_UNSPEC)));
    t.call("send_unix", send_to_name(fd, b"x", &v4.of_family(AF_UNIX)));
    t.call("send_fault", sys!(SYS_sendto, fd, NOWHERE, 5, 0, name("127.0.0.1:5000").0.as_ptr(), 16));
    close(fd);
    let fd = socket(AF_INET6, SOCK_DGRAM);
    let v6 = name("[::1]:5000");
    t.call("connect6_short", connect_name(fd, &Name(v6.0[..23].to_vec())));
    t.call("connect6_unix", connect_name(fd, &v6.clone().of_family(AF_UNIX)));
    t.call("send6_short", send_to_name(fd, b"x", &Name(v6.0[..23].to_vec())));
    t.call("send6_tiny", send_to_name(fd, b"x", &Name(v6.0[..1].to_vec())));
    t.call("send6_unix", send_to_name(fd, b"x", &v6.clone().of_family(AF_UNIX)));
    t.call("send6_unspec", send_to_name(fd, b"x", &v6.of_family(AF_UNSPEC)));
    t.call("send6_long", sys!(SYS_sendto, fd, NOWHERE, 5, 0, NOWHERE, 200));
    close(fd);
}

/// What finds no room is lost; nobody waits for it.
fn drops(t: &mut Report) {
    let server = bound(SOCK_DGRAM, "127.0.0.1:5000");
    let client = socket(AF_INET, SOCK_DGRAM);
    set_option(server, SOL_SOCKET, SO_RCVBUF, 0).expect("an option");
    let sent = (0..50).filter(|_| send_to(client, &[b'x'; 1000], "127.0.0.1:5000").is_ok()).count();
    let mut received = 0;
    while receive(server, 1000, 0) != "EAGAIN" {
        received += 1;
    }
    t.show("sent", sent);
    t.is("some_received", received > 0);
    t.is("some_lost", received < 10);
    close(server);
    close(client);
}
