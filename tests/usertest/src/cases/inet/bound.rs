//! Sockets of TCP that use one interface only, and that take nothing from far away.

use libc::*;

use super::helpers::{bind, connect, name_of, option, receive, send, set_option, socket_for};
use crate::cases::helpers::{NOWHERE, close};
use crate::cases::sockets::helpers::events;
use crate::report::Report;
use crate::sys::Errno;

const SO_BINDTOIFINDEX: i32 = 62;
/// No interface has this number.
const NOBODY: i32 = 77;

pub fn run(t: &mut Report) {
    for address in ["127.0.0.1", "[::1]"] {
        settings(t, address);
        connections(t, address);
        listeners(t, address);
        near(t, address);
    }
}

fn bind_to(fd: i32, name: &[u8]) -> Result<usize, Errno> {
    sys!(SYS_setsockopt, fd, SOL_SOCKET, SO_BINDTODEVICE, name.as_ptr(), name.len())
}

fn bound_to(fd: i32) -> String {
    let (mut name, mut length) = ([0u8; 16], 16u32);
    let told = sys!(SYS_getsockopt, fd, SOL_SOCKET, SO_BINDTODEVICE, &mut name, &mut length);
    let index = option(fd, SOL_SOCKET, SO_BINDTOIFINDEX);
    format!("{told:?} {:?} {index}", String::from_utf8_lossy(&name[..length as usize]))
}

fn settings(t: &mut Report, address: &str) {
    let fd = socket_for(address, SOCK_STREAM);
    let mut show = |case: &str, what: String| t.show(&format!("bound_{address}_{case}"), what);
    show("at_first", bound_to(fd));
    show("lo", format!("{:?} {}", bind_to(fd, b"lo\0"), bound_to(fd)));
    show("lo_unended", format!("{:?} {}", bind_to(fd, b"lo"), bound_to(fd)));
    show("nobody", format!("{:?} {}", bind_to(fd, b"nobody\0"), bound_to(fd)));
    show("none", format!("{:?} {}", bind_to(fd, b"\0"), bound_to(fd)));
    show("index", format!("{:?} {}", set_option(fd, SOL_SOCKET, SO_BINDTOIFINDEX, 1), bound_to(fd)));
    show("negative", format!("{:?} {}", set_option(fd, SOL_SOCKET, SO_BINDTOIFINDEX, -1), bound_to(fd)));
    show("unknown", format!("{:?} {}", set_option(fd, SOL_SOCKET, SO_BINDTOIFINDEX, NOBODY), bound_to(fd)));
    show("fault", format!("{:?}", sys!(SYS_setsockopt, fd, SOL_SOCKET, SO_BINDTODEVICE, NOWHERE, 4)));
    show("connect_unknown", format!("{:?}", connect(fd, &format!("{address}:6300"))));
    show("any_again", format!("{:?} {}", set_option(fd, SOL_SOCKET, SO_BINDTOIFINDEX, 0), bound_to(fd)));
    close(fd);
}

/// One that listens, bound to an interface or with 0 to none.
fn listener(at: &str, interface: i32) -> Result<i32, Errno> {
    let fd = socket_for(at, SOCK_STREAM);
    set_option(fd, SOL_SOCKET, SO_BINDTOIFINDEX, interface).expect("an option");
    let outcome = bind(fd, at).and_then(|_| sys!(SYS_listen, fd, 5));
    outcome.map(|_| fd).inspect_err(|_| close(fd))
}

fn accept(fd: i32) -> Result<i32, Errno> {
    sys!(SYS_accept4, fd, 0, 0, SOCK_NONBLOCK).map(|fd| fd as i32)
}

/// Whether there was a connection.
fn takes_one(fd: i32) -> bool {
    accept(fd).map(close).is_ok()
}

fn connections(t: &mut Report, address: &str) {
    let at = format!("{address}:6301");
    let server = listener(&at, 1).expect("a listener");
    let client = socket_for(address, SOCK_STREAM);
    bind_to(client, b"lo\0").expect("an interface");
    let mut show = |case: &str, what: String| t.show(&format!("bound_{address}_{case}"), what);
    show("connect", format!("{:?} {}", connect(client, &at), events(client)));
    show("peer", name_of(SYS_getpeername, client));
    let accepted = accept(server).expect("a connection");
    show("accepted", bound_to(accepted));
    send(client, b"there", 0).expect("it goes");
    show("there", receive(accepted, 20, 0));
    send(accepted, b"back", 0).expect("it goes");
    show("back", receive(client, 20, 0));
    show("change", format!("{:?}", set_option(client, SOL_SOCKET, SO_BINDTOIFINDEX, 0)));
    send(client, b"still", 0).expect("it goes");
    show("still", receive(accepted, 20, 0));
    [server, client, accepted].into_iter().for_each(close);
}

fn listeners(t: &mut Report, address: &str) {
    // What is left of connections would keep the port from the other version.
    let (any, port) = if address == "[::1]" { ("[::]:6312", 6312) } else { ("0.0.0.0:6302", 6302) };
    let at = format!("{address}:{port}");
    let reached = || {
        let client = socket_for(address, SOCK_STREAM);
        let outcome = connect(client, &at);
        let reached = format!("{outcome:?} {}", events(client));
        close(client);
        reached
    };
    let mut show = |case: &str, what: String| t.show(&format!("bound_{address}_{case}"), what);
    show("bind_unknown", format!("{:?}", listener(&format!("{address}:6304"), NOBODY).map(close)));
    let elsewhere = listener(any, NOBODY).expect("a listener");
    show("elsewhere", reached());
    show("conflict_any", format!("{:?}", listener(any, 0).map(close)));
    show("conflict_same", format!("{:?}", listener(any, NOBODY).map(close)));
    let here = listener(any, 1).expect("another listener");
    show("here", reached());
    show("which", format!("{} {}", takes_one(here), takes_one(elsewhere)));
    close(here);
    show("move", format!("{:?}", set_option(elsewhere, SOL_SOCKET, SO_BINDTOIFINDEX, 1)));
    show("moved", reached());
    show("free", format!("{:?}", set_option(elsewhere, SOL_SOCKET, SO_BINDTOIFINDEX, 0)));
    show("freed", reached());
    close(elsewhere);
}

/// `IP_MINTTL`, `IPV6_MINHOPCOUNT`
fn near(t: &mut Report, address: &str) {
    let v4 = !address.starts_with('[');
    let (level, least) = if v4 { (IPPROTO_IP, IP_MINTTL) } else { (IPPROTO_IPV6, 73) };
    let at = format!("{address}:6303");
    let server = listener(&at, 0).expect("a listener");
    let mut show = |case: &str, what: String| t.show(&format!("near_{address}_{case}"), what);
    set_option(server, level, least, 255).expect("an option");
    let far = socket_for(address, SOCK_STREAM);
    show("far", format!("{:?} {}", connect(far, &at), events(far)));
    close(far);
    let client = socket_for(address, SOCK_STREAM);
    let hops = if v4 { IP_TTL } else { IPV6_UNICAST_HOPS };
    set_option(client, level, hops, 255).expect("an option");
    show("close", format!("{:?} {}", connect(client, &at), events(client)));
    let accepted = accept(server).expect("a connection");
    show("inherited", option(accepted, level, least));
    send(client, b"seen", 0).expect("it goes");
    show("seen", receive(accepted, 20, 0));
    set_option(client, level, hops, 64).expect("an option");
    send(client, b"late", 0).expect("it goes");
    show("unseen", receive(accepted, 20, 0));
    set_option(accepted, level, least, 64).expect("an option");
    // It is sent again.
    sys!(SYS_fcntl, accepted, F_SETFL, 0).expect("flags");
    show("again", receive(accepted, 20, 0));
    [server, client, accepted].into_iter().for_each(close);
}
