//! Sockets that send echo requests: icmp(7).

use libc::*;

use super::helpers::{bind, connect, name_of, option, receive, send, send_to, try_socket};
use crate::cases::helpers::{close, status_of};
use crate::cases::sockets::helpers::events;
use crate::report::Report;

pub fn run(t: &mut Report) {
    for (address, family, protocol, request) in
        [("127.0.0.1", AF_INET, IPPROTO_ICMP, 8u8), ("[::1]", AF_INET6, IPPROTO_ICMPV6, 128)]
    {
        echoes(t, address, family, protocol, request);
    }
    for (family, protocol) in
        [(AF_INET, IPPROTO_ICMPV6), (AF_INET6, IPPROTO_ICMP), (AF_INET, IPPROTO_TCP), (AF_INET, 100)]
    {
        t.ok(&format!("ping_{family}_{protocol}"), try_socket(family, SOCK_DGRAM, protocol));
    }
    let setting = "/proc/sys/net/ipv4/ping_group_range";
    let as_group = |group: u32| {
        status_of(|| {
            sys!(SYS_setgroups, 0, 0).expect("root may");
            sys!(SYS_setgid, group).expect("root may");
            try_socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP).map_or_else(|errno| errno.0, |_| 0)
        })
    };
    std::fs::write(setting, "100 200").expect("a setting");
    t.show("ping_in_range", as_group(150));
    t.show("ping_out_of_range", as_group(201));
    std::fs::write(setting, "0 2147483647").expect("a setting");
}

fn echoes(t: &mut Report, address: &str, family: i32, protocol: i32, request: u8) {
    let fd = try_socket(family, SOCK_DGRAM | SOCK_NONBLOCK, protocol).expect("a socket") as i32;
    let mut show = |case: &str, what: String| t.show(&format!("ping_{address}_{case}"), what);
    let told = |outcome: Result<usize, crate::sys::Errno>| {
        outcome.map_or_else(|errno| errno.to_string(), |count| count.to_string())
    };
    show("protocol", option(fd, SOL_SOCKET, SO_PROTOCOL));
    show("name", name_of(SYS_getsockname, fd));
    show("bind", told(bind(fd, &format!("{address}:77"))));
    show("bound", name_of(SYS_getsockname, fd));
    let to = format!("{address}:0");
    let message = |kind: u8, code: u8| [kind, code, 1, 2, 3, 4, 0, 5, b'e', b'c', b'h', b'o'];
    show("send", told(send_to(fd, &message(request, 0), &to)));
    show("events", events(fd));
    let mut answer = [0u8; 64];
    let count = sys!(SYS_recvfrom, fd, &mut answer, 64, 0, 0, 0);
    show(
        "answer",
        count.map_or_else(
            |errno| errno.to_string(),
            |count| format!("{:?} {:?}", &answer[..2], &answer[4..count]),
        ),
    );
    show("nothing_more", receive(fd, 64, 0));
    show("send_short", told(send_to(fd, &[request, 0, 0, 0], &to)));
    show("send_other_kind", told(send_to(fd, &message(request ^ 1, 0), &to)));
    show("send_other_code", told(send_to(fd, &message(request, 1), &to)));
    show("send_nowhere", told(send(fd, &message(request, 0), 0)));
    show(
        "send_without_a_route",
        told(send_to(
            fd,
            &message(request, 0),
            if family == AF_INET { "192.0.2.7:0" } else { "[2001:db8::7]:0" },
        )),
    );
    show("connect", told(connect(fd, &format!("{address}:5"))));
    show("send_connected", told(send(fd, &message(request, 0), 0)));
    show("received", receive(fd, 0, MSG_TRUNC));
    close(fd);
}
