//! Messages of UDP that are put together by several calls.

use libc::*;

use super::helpers::{
    Name, bound, connect, disconnect, name, option, port_of, receive, send, set_option, socket_for,
};
use crate::cases::helpers::{NOWHERE, close};
use crate::report::Report;
use crate::sys::Errno;

const UDP_CORK: i32 = 1;
const UDP_SEGMENT: i32 = 103;

pub fn run(t: &mut Report) {
    for address in ["127.0.0.1", "[::1]"] {
        together(t, address);
        elsewhere(t, address);
        lengths(t, address);
        ends(t, address);
    }
    option_values(t);
    versions(t);
}

fn send_to(fd: i32, bytes: &[u8], flags: i32, Name(to): &Name) -> Result<usize, Errno> {
    sys!(SYS_sendto, fd, bytes.as_ptr(), bytes.len(), flags, to.as_ptr(), to.len())
}

fn uncork(fd: i32) -> Result<usize, Errno> {
    set_option(fd, SOL_UDP, UDP_CORK, 0)
}

fn together(t: &mut Report, address: &str) {
    let to = name(&format!("{address}:6200"));
    let (server, client) = (bound(SOCK_DGRAM, &format!("{address}:6200")), socket_for(address, SOCK_DGRAM));
    let mut show = |case: &str, what: String| t.show(&format!("cork_{address}_{case}"), what);
    show("more", format!("{:?}", send_to(client, b"abc", MSG_MORE, &to)));
    show("more_nothing", receive(server, 50, 0));
    show("more_last", format!("{:?}", send_to(client, b"de", 0, &to)));
    show("more_whole", receive(server, 50, 0));
    show("more_one", receive(server, 50, 0));
    show("set", format!("{:?}", set_option(client, SOL_UDP, UDP_CORK, 1)));
    for part in ["one", "", " two"] {
        show("corked", format!("{:?}", send_to(client, part.as_bytes(), 0, &to)));
    }
    show("corked_nothing", receive(server, 50, 0));
    show("uncork", format!("{:?}", uncork(client)));
    show("corked_whole", receive(server, 50, 0));
    show("uncork_again", format!("{:?}", uncork(client)));
    show("uncorked_nothing", receive(server, 50, 0));
    // Whoever uncorks sends what `MSG_MORE` has begun, too.
    send_to(client, b"begun", MSG_MORE, &to).expect("a part");
    show("uncork_more", format!("{:?}", uncork(client)));
    show("uncorked_more", receive(server, 50, 0));
    send_to(client, b"", MSG_MORE, &to).expect("a part");
    show("empty_nothing", receive(server, 50, 0));
    send_to(client, b"", 0, &to).expect("a part");
    show("empty", receive(server, 50, 0));
    // The parts have one name.
    send_to(client, b"x", MSG_MORE, &to).expect("a part");
    show("has_port", (port_of(client) != 0).to_string());
    set_option(client, SOL_UDP, UDP_SEGMENT, 2).expect("an option");
    send_to(client, b"y", MSG_MORE, &to).expect("a part");
    show("segments_later", format!("{:?}", send_to(client, b"z", 0, &to)));
    show("segments_later_whole", receive(server, 50, 0));
    send_to(client, b"x", MSG_MORE, &to).expect("a part");
    set_option(client, SOL_UDP, UDP_SEGMENT, 0).expect("an option");
    show("segments", format!("{:?}", send_to(client, b"yz", 0, &to)));
    show("segments_first", receive(server, 50, 0));
    show("segments_second", receive(server, 50, 0));
    [server, client].into_iter().for_each(close);
}

/// Only the first part says where it goes.
fn elsewhere(t: &mut Report, address: &str) {
    let place = |port: u16| name(&format!("{address}:{port}"));
    let (server, other) =
        (bound(SOCK_DGRAM, &format!("{address}:6201")), bound(SOCK_DGRAM, &format!("{address}:6202")));
    let client = socket_for(address, SOCK_DGRAM);
    let mut show = |case: &str, what: String| t.show(&format!("cork_{address}_{case}"), what);
    show("no_destination", format!("{:?}", send(client, b"a", MSG_MORE)));
    send_to(client, b"a", MSG_MORE, &place(6201)).expect("a part");
    show("other", format!("{:?}", send_to(client, b"b", MSG_MORE, &place(6202))));
    show("other_port_0", format!("{:?}", send_to(client, b"c", MSG_MORE, &place(0))));
    show("other_short", format!("{:?}", send_to(client, b"d", MSG_MORE, &Name(place(1).0[..4].to_vec()))));
    show("other_family", format!("{:?}", send_to(client, b"e", MSG_MORE, &place(1).of_family(AF_UNIX))));
    show("out_of_band", format!("{:?}", send(client, b"f", MSG_OOB | MSG_MORE)));
    show("no_name", format!("{:?}", send(client, b"g", 0)));
    show("all_there", receive(server, 50, 0));
    show("none_elsewhere", receive(other, 50, 0));
    connect(client, &format!("{address}:6201")).expect("a peer");
    send(client, b"1", MSG_MORE).expect("a part");
    show("connect", format!("{:?}", connect(client, &format!("{address}:6202"))));
    show("connected", format!("{:?}", send(client, b"2", 0)));
    show("connected_there", receive(server, 50, 0).split(' ').next().unwrap_or_default().to_owned());
    show("connected_none", receive(other, 50, 0));
    send(client, b"3", MSG_MORE).expect("a part");
    show("disconnect", format!("{:?}", disconnect(client)));
    show("disconnected", format!("{:?}", send(client, b"4", 0)));
    show("disconnected_there", receive(other, 50, 0).split(' ').next().unwrap_or_default().to_owned());
    show("disconnected_again", format!("{:?}", send(client, b"5", 0)));
    [server, other, client].into_iter().for_each(close);
}

fn lengths(t: &mut Report, address: &str) {
    let to = name(&format!("{address}:6203"));
    let (server, client) = (bound(SOCK_DGRAM, &format!("{address}:6203")), socket_for(address, SOCK_DGRAM));
    set_option(server, SOL_SOCKET, SO_RCVBUF, 1 << 20).expect("room");
    let bytes = vec![b'y'; 65_600];
    let mut show = |case: &str, what: String| t.show(&format!("cork_{address}_{case}"), what);
    for rest in [65_407, 65_408, 65_427, 65_428, 65_435, 65_436] {
        send_to(client, &bytes[..100], MSG_MORE, &to).expect("a part");
        show(&format!("length_{rest}"), format!("{:?}", send_to(client, &bytes[..rest], 0, &to)));
        show(&format!("length_{rest}_there"), receive(server, 65_536, 0));
        show(&format!("length_{rest}_then"), format!("{:?}", send_to(client, b"next", 0, &to)));
        show(&format!("length_{rest}_next"), receive(server, 65_536, 0));
    }
    show("too_long_first", format!("{:?}", send_to(client, &bytes[..65_530], MSG_MORE, &to)));
    show("too_long_first_then", format!("{:?}", send_to(client, b"alone", 0, &to)));
    show("too_long_first_next", receive(server, 65_536, 0));
    // Many small parts.
    for part in bytes[..3000].chunks(3) {
        send_to(client, part, MSG_MORE, &to).expect("a part");
    }
    send_to(client, b"", 0, &to).expect("the end");
    show("many", receive(server, 65_536, 0));
    [server, client].into_iter().for_each(close);
}

fn ends(t: &mut Report, address: &str) {
    let at = format!("{address}:6204");
    let to = name(&at);
    let (server, client) = (bound(SOCK_DGRAM, &at), socket_for(address, SOCK_DGRAM));
    let mut show = |case: &str, what: String| t.show(&format!("cork_{address}_{case}"), what);
    show("fault", format!("{:?}", sys!(SYS_sendto, client, NOWHERE, 5, MSG_MORE, to.0.as_ptr(), to.0.len())));
    show("fault_then", format!("{:?}", send_to(client, b"x", 0, &to)));
    show("fault_there", receive(server, 50, 0));
    connect(client, &at).expect("a peer");
    send(client, b"said", MSG_MORE).expect("a part");
    sys!(SYS_shutdown, client, SHUT_WR).expect("it ends");
    show("shut_down", format!("{:?}", send(client, b" before", 0)));
    show("shut_down_there", receive(server, 50, 0));
    show("shut_down_more", format!("{:?}", send(client, b"x", MSG_MORE)));
    close(client);
    // Nobody gets what is closed.
    let client = socket_for(address, SOCK_DGRAM);
    send_to(client, b"x", MSG_MORE, &to).expect("a part");
    close(client);
    show("closed", receive(server, 50, 0));
    close(server);
}

fn option_values(t: &mut Report) {
    for address in ["127.0.0.1", "[::1]"] {
        let fd = socket_for(address, SOCK_DGRAM);
        let mut answers = vec![option(fd, SOL_UDP, UDP_CORK)];
        for value in [1, 5, -1, 0] {
            let outcome = set_option(fd, SOL_UDP, UDP_CORK, value);
            answers.push(outcome.map_or_else(|errno| errno.to_string(), |_| option(fd, SOL_UDP, UDP_CORK)));
        }
        answers.push(format!("{:?}", sys!(SYS_setsockopt, fd, SOL_UDP, UDP_CORK, &1i32, 3)));
        t.show(&format!("cork_{address}_option"), answers.join(", "));
        close(fd);
        let stream = socket_for(address, SOCK_STREAM);
        t.call(&format!("cork_{address}_stream"), set_option(stream, SOL_UDP, UDP_CORK, 1));
        close(stream);
    }
}

/// A message is of one version.
fn versions(t: &mut Report) {
    let v4 = bound(SOCK_DGRAM, "127.0.0.1:6205");
    let v6 = bound(SOCK_DGRAM, "[::1]:6205");
    let client = socket_for("[::1]", SOCK_DGRAM);
    let (to_v4, to_v6, plain) = (name("[::ffff:127.0.0.1]:6205"), name("[::1]:6205"), name("127.0.0.1:6205"));
    for (case, first, then) in [
        ("v4_v6", &to_v4, &to_v6),
        ("v6_v4", &to_v6, &to_v4),
        ("v6_plain", &to_v6, &plain),
        ("plain_v6", &plain, &to_v6),
        ("v4_v4", &to_v4, &plain),
    ] {
        t.call(&format!("cork_{case}_first"), send_to(client, b"one", MSG_MORE, first));
        t.call(&format!("cork_{case}_then"), send_to(client, b"two", 0, then));
        t.call(&format!("cork_{case}_end"), uncork(client));
        t.show(&format!("cork_{case}_there"), format!("{}; {}", receive(v4, 50, 0), receive(v6, 50, 0)));
    }
    [v4, v6, client].into_iter().for_each(close);
}
