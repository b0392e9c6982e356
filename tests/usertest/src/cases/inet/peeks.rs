//! Where a peek begins (`SO_PEEK_OFF`), when something came (`SIOCGSTAMP`), how much a read waits for (`SO_RCVLOWAT`), and options that are only told
//! again.

use libc::*;

use super::helpers::{bound, connect, option, port_of, receive, send, set_option, socket, try_socket};
use super::streams::{pair, take};
use crate::cases::helpers::close;
use crate::report::Report;
use crate::sys::Errno;

const SO_BUSY_POLL: i32 = 46;
const SO_MAX_PACING_RATE: i32 = 47;
const SIOCGSTAMP: u64 = 0x8906;
const SIOCGSTAMPNS: u64 = 0x8907;

pub fn run(t: &mut Report) {
    of_datagrams(t);
    of_streams(t);
    stamps(t);
    low_water(t);
    told_again(t);
}

fn of_datagrams(t: &mut Report) {
    let receiver = bound(SOCK_DGRAM, "127.0.0.1:6100");
    let sender = socket(AF_INET, SOCK_DGRAM);
    connect(sender, "127.0.0.1:6100").expect("a peer");
    let offset = |fd| option(fd, SOL_SOCKET, SO_PEEK_OFF);
    t.show("peek_offset_default", offset(receiver));
    t.call("peek_offset_set", set_option(receiver, SOL_SOCKET, SO_PEEK_OFF, 2));
    t.show("peek_offset_of_other", offset(sender));
    send(sender, b"abcdef", 0).expect("it is sent");
    send(sender, b"ghi", 0).expect("it is sent");
    let came = |room, flags| {
        let text = receive(receiver, room, flags);
        format!("{} then {}", text.split(" from").next().unwrap_or_default(), offset(receiver))
    };
    t.show("peek_at_offset", came(3, MSG_PEEK));
    t.show("peek_at_end", came(10, MSG_PEEK));
    t.show("peek_at_second", came(10, MSG_PEEK | MSG_TRUNC));
    t.show("peek_at_nothing", came(10, MSG_PEEK));
    t.show("peek_then_take", came(10, 0));
    t.show("peek_after_take", came(10, MSG_PEEK));
    t.show("peek_then_take_second", came(10, 0));
    t.call("peek_offset_none", set_option(receiver, SOL_SOCKET, SO_PEEK_OFF, -1));
    send(sender, b"xyz", 0).expect("it is sent");
    t.show("peek_without_offset", came(2, MSG_PEEK));
    t.show("peek_without_offset_again", came(2, MSG_PEEK));
    if let Ok(raw) = try_socket(AF_INET, SOCK_RAW, 200) {
        t.show("peek_offset_raw", offset(raw as i32));
        t.call("peek_offset_raw_set", set_option(raw as i32, SOL_SOCKET, SO_PEEK_OFF, 1));
        close(raw as i32);
    }
    [receiver, sender].into_iter().for_each(close);
}

fn of_streams(t: &mut Report) {
    let (client, server) = pair("127.0.0.1");
    let offset = || option(server, SOL_SOCKET, SO_PEEK_OFF);
    t.show("stream_peek_offset_default", offset());
    t.call("stream_peek_offset_set", set_option(server, SOL_SOCKET, SO_PEEK_OFF, 2));
    send(client, b"abcdefgh", 0).expect("it is sent");
    let came = |room, flags| format!("{} then {}", take(server, room, flags), offset());
    t.show("stream_peek_at_offset", came(3, MSG_PEEK));
    t.show("stream_peek_further", came(10, MSG_PEEK));
    t.show("stream_peek_at_nothing", came(10, MSG_PEEK));
    t.show("stream_peek_then_take", came(4, 0));
    t.show("stream_peek_after_take", came(10, MSG_PEEK));
    t.call("stream_peek_offset_start", set_option(server, SOL_SOCKET, SO_PEEK_OFF, 0));
    t.show("stream_peek_at_start", came(2, MSG_PEEK));
    t.show("stream_take_rest", came(10, 0));
    [client, server].into_iter().for_each(close);
}

/// How long ago an ioctl says that something came; the answer of one that says nothing.
fn age(fd: i32, request: u64) -> String {
    let mut time = [0u64; 2];
    if let Err(errno) = sys!(SYS_ioctl, fd, request, &mut time) {
        return errno.to_string();
    }
    let mut now = [0u64; 2];
    sys!(SYS_clock_gettime, CLOCK_REALTIME, &mut now).expect("a time");
    let most = if request == SIOCGSTAMP { 1_000_000 } else { 1_000_000_000 };
    format!("recent {} fraction {}", now[0].abs_diff(time[0]) < 10, time[1] < most)
}

fn stamps(t: &mut Report) {
    let receiver = bound(SOCK_DGRAM, "127.0.0.1:6101");
    let sender = socket(AF_INET, SOCK_DGRAM);
    connect(sender, "127.0.0.1:6101").expect("a peer");
    t.show("stamp_of_nothing", age(receiver, SIOCGSTAMP));
    t.show("stamp_ns_of_nothing", age(receiver, SIOCGSTAMPNS));
    send(sender, b"abc", 0).expect("it is sent");
    let _ = receive(receiver, 10, 0);
    t.show("stamp", age(receiver, SIOCGSTAMP));
    t.show("stamp_ns", age(receiver, SIOCGSTAMPNS));
    let stream = socket(AF_INET, SOCK_STREAM);
    t.show("stamp_of_stream", age(stream, SIOCGSTAMP));
    let unix = try_socket(AF_UNIX, SOCK_DGRAM, 0).expect("a socket") as i32;
    t.show("stamp_of_unix", age(unix, SIOCGSTAMP));
    [receiver, sender, stream, unix].into_iter().for_each(close);
}

/// A read that waits until there is as much as it may wait for, or time is over: then it takes what there is.
fn low_water(t: &mut Report) {
    let (client, server) = pair("127.0.0.1");
    sys!(SYS_fcntl, server, F_SETFL, 0).expect("flags");
    set_option(server, SOL_SOCKET, SO_RCVLOWAT, 5).expect("an option");
    let limit = [0u64, 50_000];
    sys!(SYS_setsockopt, server, SOL_SOCKET, SO_RCVTIMEO, &limit, 16).expect("an option");
    send(client, b"abc", 0).expect("it is sent");
    t.show("low_water_room_for_less", take(server, 2, 0));
    t.show("low_water_without_wait", take(server, 10, MSG_DONTWAIT));
    send(client, b"abc", 0).expect("it is sent");
    t.show("low_water_time_is_over", take(server, 10, 0));
    send(client, b"defgh", 0).expect("it is sent");
    t.show("low_water_reached", take(server, 20, 0));
    send(client, b"xy", 0).expect("it is sent");
    sys!(SYS_shutdown, client, SHUT_WR).expect("it is shut down");
    t.show("low_water_at_end", take(server, 20, 0));
    [client, server].into_iter().for_each(close);
}

fn told_again(t: &mut Report) {
    let fd = socket(AF_INET, SOCK_STREAM);
    t.show("busy_poll_default", option(fd, SOL_SOCKET, SO_BUSY_POLL));
    t.call("busy_poll_negative", set_option(fd, SOL_SOCKET, SO_BUSY_POLL, -1));
    t.call("busy_poll_set", set_option(fd, SOL_SOCKET, SO_BUSY_POLL, 50));
    t.show("busy_poll", option(fd, SOL_SOCKET, SO_BUSY_POLL));
    let rate = |room: u32| {
        let (mut value, mut length) = (0u64, room);
        let told = sys!(SYS_getsockopt, fd, SOL_SOCKET, SO_MAX_PACING_RATE, &mut value, &mut length);
        told.map_or_else(|errno: Errno| errno.to_string(), |_| format!("{value} ({length})"))
    };
    t.show("pacing_rate_default", rate(4));
    t.show("pacing_rate_default_long", rate(8));
    t.call("pacing_rate_set", set_option(fd, SOL_SOCKET, SO_MAX_PACING_RATE, 1_000_000));
    t.show("pacing_rate", rate(4));
    let long = 10_000_000_000u64;
    t.call("pacing_rate_set_long", sys!(SYS_setsockopt, fd, SOL_SOCKET, SO_MAX_PACING_RATE, &long, 8));
    t.show("pacing_rate_long", rate(8));
    t.show("pacing_rate_cut", rate(4));
    t.show("pacing_rate_odd_room", rate(6));
    t.call("pacing_rate_set_none", set_option(fd, SOL_SOCKET, SO_MAX_PACING_RATE, -1));
    t.show("pacing_rate_none", rate(8));
    t.is("its_port_is_none", port_of(fd) == 0);
    close(fd);
}
