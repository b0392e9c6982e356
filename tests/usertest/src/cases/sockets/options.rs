//! getsockopt(2), setsockopt(2).

use libc::*;

use super::helpers::{accept, connect, listener, option, pair, parts, send, set_option, socket};
use crate::cases::helpers::{NOWHERE, close, status_of};
use crate::report::Report;

/// `SO_PEERPIDFD`, `SO_PASSPIDFD`
const PEER_PIDFD: i32 = 77;
const PASS_PIDFD: i32 = 76;

pub fn run(t: &mut Report) {
    values(t);
    lengths(t);
    buffers(t);
    peers(t);
}

const NUMBERS: [(&str, i32); 24] = [
    ("debug", SO_DEBUG),
    ("reuseaddr", SO_REUSEADDR),
    ("type", SO_TYPE),
    ("error", SO_ERROR),
    ("dontroute", SO_DONTROUTE),
    ("broadcast", SO_BROADCAST),
    ("sndbuf", SO_SNDBUF),
    ("rcvbuf", SO_RCVBUF),
    ("keepalive", SO_KEEPALIVE),
    ("oobinline", SO_OOBINLINE),
    ("priority", SO_PRIORITY),
    ("reuseport", SO_REUSEPORT),
    ("passcred", SO_PASSCRED),
    ("rcvlowat", SO_RCVLOWAT),
    ("sndlowat", SO_SNDLOWAT),
    ("timestamp", SO_TIMESTAMP),
    ("acceptconn", SO_ACCEPTCONN),
    ("passsec", SO_PASSSEC),
    ("mark", SO_MARK),
    ("protocol", SO_PROTOCOL),
    ("domain", SO_DOMAIN),
    ("peek_off", SO_PEEK_OFF),
    ("passpidfd", PASS_PIDFD),
    ("unknown", 1000),
];

fn values(t: &mut Report) {
    let fd = socket(SOCK_STREAM);
    for (name, number) in NUMBERS {
        t.show(name, option(fd, number));
        t.call(&format!("{name}_set"), set_option(fd, number, 5));
        t.show(&format!("{name}_then"), option(fd, number));
        t.call(&format!("{name}_clear"), set_option(fd, number, 0));
        t.show(&format!("{name}_cleared"), option(fd, number));
    }
    let mut linger = [9i32; 2];
    let mut length = 8i32;
    t.call("linger", sys!(SYS_getsockopt, fd, SOL_SOCKET, SO_LINGER, &mut linger, &mut length));
    t.show("linger_value", format!("{linger:?} {length}"));
    t.call("linger_set", sys!(SYS_setsockopt, fd, SOL_SOCKET, SO_LINGER, &[1i32, 7], 8));
    t.call("linger_short", sys!(SYS_setsockopt, fd, SOL_SOCKET, SO_LINGER, &[1i32], 4));
    let _ = sys!(SYS_getsockopt, fd, SOL_SOCKET, SO_LINGER, &mut linger, &mut length);
    t.show("linger_then", format!("{linger:?}"));
    for (name, number) in [("rcvtimeo", SO_RCVTIMEO), ("sndtimeo", SO_SNDTIMEO)] {
        let mut time = [7i64; 2];
        let mut length = 16i32;
        t.call(name, sys!(SYS_getsockopt, fd, SOL_SOCKET, number, &mut time, &mut length));
        t.show(&format!("{name}_value"), format!("{time:?} {length}"));
        t.call(&format!("{name}_set"), sys!(SYS_setsockopt, fd, SOL_SOCKET, number, &[3i64, 500_000], 16));
        let _ = sys!(SYS_getsockopt, fd, SOL_SOCKET, number, &mut time, &mut length);
        t.show(&format!("{name}_then"), format!("{time:?}"));
        t.call(&format!("{name}_short"), sys!(SYS_setsockopt, fd, SOL_SOCKET, number, &[3i64], 8));
        t.call(
            &format!("{name}_domain"),
            sys!(SYS_setsockopt, fd, SOL_SOCKET, number, &[3i64, 1_000_000], 16),
        );
        t.call(&format!("{name}_negative"), sys!(SYS_setsockopt, fd, SOL_SOCKET, number, &[-1i64, 0], 16));
        t.call(&format!("{name}_zero"), sys!(SYS_setsockopt, fd, SOL_SOCKET, number, &[0i64, 0], 16));
    }
    for level in [0, 6, 41, 99] {
        t.call(&format!("level_{level}"), sys!(SYS_getsockopt, fd, level, 1, &mut [0i32; 4], &mut 16i32));
        t.call(&format!("level_{level}_set"), sys!(SYS_setsockopt, fd, level, 1, &[1i32; 4], 16));
    }
    close(fd);
}

fn lengths(t: &mut Report) {
    let fd = socket(SOCK_STREAM);
    let mut value = [0xffu8; 16];
    for room in [-1i32, 0, 1, 3, 4, 16] {
        let mut length = room;
        value.fill(0xff);
        t.call(
            &format!("get_{room}"),
            sys!(SYS_getsockopt, fd, SOL_SOCKET, SO_DOMAIN, &mut value, &mut length),
        );
        t.show(&format!("get_{room}_value"), format!("{length} {:?}", &value[..6]));
        t.call(&format!("set_{room}"), sys!(SYS_setsockopt, fd, SOL_SOCKET, SO_KEEPALIVE, &[1i32; 4], room));
    }
    t.call("get_fault", sys!(SYS_getsockopt, fd, SOL_SOCKET, SO_DOMAIN, NOWHERE, &mut 4i32));
    t.call("get_length_fault", sys!(SYS_getsockopt, fd, SOL_SOCKET, SO_DOMAIN, &mut value, NOWHERE));
    t.call("get_unknown_fault", sys!(SYS_getsockopt, fd, SOL_SOCKET, 1000, &mut value, NOWHERE));
    t.call("set_fault", sys!(SYS_setsockopt, fd, SOL_SOCKET, SO_KEEPALIVE, NOWHERE, 4));
    t.call("set_unknown_fault", sys!(SYS_setsockopt, fd, SOL_SOCKET, 1000, NOWHERE, 4));
    t.call("set_unknown_short", sys!(SYS_setsockopt, fd, SOL_SOCKET, 1000, NOWHERE, 3));
    t.call("set_read_only_fault", sys!(SYS_setsockopt, fd, SOL_SOCKET, SO_TYPE, NOWHERE, 4));
    close(fd);
}

fn buffers(t: &mut Report) {
    let fd = socket(SOCK_STREAM);
    for (name, number, force) in
        [("sndbuf", SO_SNDBUF, SO_SNDBUFFORCE), ("rcvbuf", SO_RCVBUF, SO_RCVBUFFORCE)]
    {
        for size in [-1, 0, 1, 1151, 1152, 2304, 2305, 5000, 212_992, 212_993, i32::MAX] {
            t.call(&format!("{name}_{size}"), set_option(fd, number, size));
            t.show(&format!("{name}_{size}_is"), option(fd, number));
            t.call(&format!("{name}_force_{size}"), set_option(fd, force, size));
            t.show(&format!("{name}_force_{size}_is"), option(fd, number));
        }
        t.show(
            &format!("{name}_force_unprivileged"),
            status_of(|| {
                sys!(SYS_setuid, 1234).expect("root may");
                set_option(fd, force, 5000).map_or_else(|errno| errno.0, |_| 0)
            }),
        );
    }
    for (name, number) in [("debug", SO_DEBUG), ("mark", SO_MARK), ("priority", SO_PRIORITY)] {
        t.show(
            &format!("{name}_unprivileged"),
            status_of(|| {
                sys!(SYS_setuid, 1234).expect("root may");
                set_option(fd, number, 7).map_or_else(|errno| errno.0, |_| 0)
            }),
        );
    }
    close(fd);
    let [one, other] = pair(SOCK_DGRAM | SOCK_NONBLOCK);
    set_option(one, SO_SNDBUF, 0).expect("an option");
    t.call("small_too_long", send(one, &[0; 4577], 0));
    t.call("small_longest", send(one, &[0; 4576], 0));
    t.call("small_full", send(one, b"x", 0));
    close(one);
    close(other);
}

fn peers(t: &mut Report) {
    let shown = |fd: i32, name: i32, room: i32| {
        let mut value = [0xffu32; 40];
        let mut length = room;
        match sys!(SYS_getsockopt, fd, SOL_SOCKET, name, &mut value, &mut length) {
            Ok(_) => {
                let words = value[..(length as usize).div_ceil(4)].iter();
                let word = |value: &u32| {
                    if *value == std::process::id() {
                        "me".to_owned()
                    } else {
                        value.cast_signed().to_string()
                    }
                };
                format!("{length} {}", words.map(word).collect::<Vec<_>>().join(" "))
            }
            Err(errno) => format!("{errno} {length}"),
        }
    };
    let alone = socket(SOCK_STREAM);
    let [one, other] = pair(SOCK_STREAM);
    let server = listener(SOCK_STREAM, "\0usertest-peers", 1);
    let client = socket(SOCK_STREAM);
    connect(client, "\0usertest-peers").expect("it listens");
    let accepted = accept(server).expect("a connection") as i32;
    for (case, fd) in
        [("alone", alone), ("pair", one), ("server", server), ("client", client), ("accepted", accepted)]
    {
        t.show(&format!("{case}_credentials"), shown(fd, SO_PEERCRED, 12));
        t.show(&format!("{case}_security"), shown(fd, SO_PEERSEC, 100));
        t.show(&format!("{case}_name"), shown(fd, SO_PEERNAME, 0));
    }
    t.show("groups_alone", shown(alone, SO_PEERGROUPS, 160));
    t.show("credentials_short", shown(one, SO_PEERCRED, 5));
    t.show("credentials_long", shown(one, SO_PEERCRED, 100));
    t.show("name_long", shown(client, SO_PEERNAME, 100));
    let mut fd = -1i32;
    t.call("pidfd", sys!(SYS_getsockopt, one, SOL_SOCKET, PEER_PIDFD, &mut fd, &mut 4i32));
    t.call("pidfd_cloexec", sys!(SYS_fcntl, fd, F_GETFD));
    t.call("pidfd_signal", sys!(SYS_pidfd_send_signal, fd, 0, 0, 0));
    close(fd);
    t.call("pidfd_alone", sys!(SYS_getsockopt, alone, SOL_SOCKET, PEER_PIDFD, &mut fd, &mut 4i32));
    // Whoever made the pair stays its peer, whatever it becomes.
    let found = status_of(|| {
        sys!(SYS_setgroups, 2, &[77u32, 78]).expect("root may");
        sys!(SYS_setresgid, 10, 11, 12).expect("root may");
        sys!(SYS_setresuid, 20, 21, 22).expect("root may");
        let [one, _] = pair(SOCK_STREAM);
        let credentials = shown(one, SO_PEERCRED, 12) == "12 me 21 11";
        let groups = shown(one, SO_PEERGROUPS, 160) == "8 77 78";
        let short = shown(one, SO_PEERGROUPS, 4) == "ERANGE 8";
        i32::from(credentials) + 2 * i32::from(groups) + 4 * i32::from(short)
    });
    t.show("effective_ids", found);
    t.call("passpidfd", set_option(other, PASS_PIDFD, 1));
    send(one, b"who", 0).expect("there is room");
    let mut message = parts(&[0; 8], &[0; 64]);
    t.call("pidfd_message", sys!(SYS_recvmsg, other, &raw mut message.header, 0));
    t.show("pidfd_control", format!("{} {:?}", message.header.msg_controllen, &message.control[..16]));
    let fd = i32::from_le_bytes(message.control[16..20].try_into().expect("four bytes"));
    t.call("pidfd_message_signal", sys!(SYS_pidfd_send_signal, fd, 0, 0, 0));
    t.call("pidfd_message_cloexec", sys!(SYS_fcntl, fd, F_GETFD));
    for fd in [fd, alone, one, other, server, client, accepted] {
        close(fd);
    }
}
