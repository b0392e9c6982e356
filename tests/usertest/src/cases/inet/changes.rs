//! What netlink changes: rtnetlink(7). The program has a network of its own on Linux, and leaves it as it was.

use libc::*;

use super::helpers::{bind, send_to, socket, try_socket};
use crate::cases::helpers::{close, status_of};
use crate::report::Report;
use crate::sys::Errno;

const ROUTE: i32 = 0;
const SOL_NETLINK: i32 = 270;
const LO: u32 = 1;
const ACKNOWLEDGE: u16 = 4;
const EXCLUSIVE: u16 = 0x200;
const CREATE: u16 = 0x400;
const REPLACE: u16 = 0x100;

pub fn run(t: &mut Report) {
    let fd = netlink();
    addresses(t, fd);
    addresses_v6(t, fd);
    routes(t, fd);
    links(t, fd);
    t.show(
        "change_unprivileged",
        status_of(|| {
            sys!(SYS_setuid, 1000).expect("root may");
            let fd = netlink();
            ask(fd, RTM_NEWADDR, CREATE, &address(24, LO), &[(2, &[10, 9, 9, 1])])
                .map_or_else(|errno| errno.0, |()| 0)
        }),
    );
    close(fd);
}

fn netlink() -> i32 {
    try_socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK, ROUTE).expect("anybody may") as i32
}

/// Sends a request, and what is answered.
fn ask(fd: i32, kind: u16, flags: u16, fixed: &[u8], attributes: &[(u16, &[u8])]) -> Result<(), Errno> {
    let mut message = vec![0; 16];
    message.extend(fixed);
    for (kind, value) in attributes {
        message.extend((4 + value.len() as u16).to_ne_bytes());
        message.extend(kind.to_ne_bytes());
        message.extend(*value);
        message.resize(message.len().next_multiple_of(4), 0);
    }
    let length = message.len() as u32;
    message[..4].copy_from_slice(&length.to_ne_bytes());
    message[4..6].copy_from_slice(&kind.to_ne_bytes());
    message[6..8].copy_from_slice(&(1 | ACKNOWLEDGE | flags).to_ne_bytes());
    sys!(SYS_sendto, fd, message.as_ptr(), message.len(), 0, 0, 0)?;
    let mut answer = [0u8; 1024];
    let count = sys!(SYS_recvfrom, fd, &mut answer, 1024, 0, 0, 0)?;
    assert!(count >= 20 && answer[4] == 2, "an acknowledgement");
    match i32::from_ne_bytes([answer[16], answer[17], answer[18], answer[19]]) {
        0 => Ok(()),
        number => Err(Errno(-number)),
    }
}

fn show(t: &mut Report, case: &str, outcome: Result<(), Errno>) {
    t.call(&format!("change_{case}"), outcome.map(|()| 0));
}

/// The types of the messages that wait.
fn heard(fd: i32) -> String {
    let mut kinds = Vec::new();
    let mut answer = [0u8; 4096];
    while let Ok(count) = sys!(SYS_recvfrom, fd, &mut answer, 4096, 0, 0, 0) {
        kinds.push((u16::from_ne_bytes([answer[4], answer[5]]), count > 16));
    }
    format!("{kinds:?}")
}

/// `struct ifaddrmsg`
fn address(prefix: u8, interface: u32) -> Vec<u8> {
    [&[AF_INET as u8, prefix, 0, 0][..], &interface.to_ne_bytes()].concat()
}

fn addresses(t: &mut Report, fd: i32) {
    let listener = netlink();
    let mut name = (AF_NETLINK as u16).to_ne_bytes().to_vec();
    name.extend([0; 6]);
    // `RTNLGRP_IPV4_IFADDR`
    name.extend((1u32 << 4).to_ne_bytes());
    t.call("change_listen", sys!(SYS_bind, listener, name.as_ptr(), name.len()));
    let own: &[u8] = &[10, 9, 9, 1];
    let add = |flags: u16, prefix, interface, attributes: &[(u16, &[u8])]| {
        ask(fd, RTM_NEWADDR, flags, &address(prefix, interface), attributes)
    };
    let new = CREATE | EXCLUSIVE;
    show(t, "address_missing", add(new, 24, LO, &[(1, own)]));
    show(t, "address_nowhere", add(new, 24, 77, &[(2, own)]));
    show(t, "address_long", add(new, 33, LO, &[(2, own)]));
    t.show("change_unheard", heard(listener));
    show(t, "address", add(new, 24, LO, &[(1, own), (2, own)]));
    show(t, "address_again", add(new, 24, LO, &[(1, own), (2, own)]));
    show(t, "address_replaced", add(CREATE | REPLACE, 24, LO, &[(1, own), (2, own)]));
    let udp = socket(AF_INET, SOCK_DGRAM);
    t.call("change_address_is_bound", bind(udp, "10.9.9.1:5500"));
    t.call("change_address_is_reached", send_to(udp, b"x", "10.9.9.1:5500"));
    close(udp);
    let remove = |prefix, bytes: &[u8]| ask(fd, RTM_DELADDR, 0, &address(prefix, LO), &[(2, bytes)]);
    show(t, "address_of_another", remove(24, &[10, 9, 9, 2]));
    show(t, "address_removed", remove(24, own));
    show(t, "address_removed_again", remove(24, own));
    let udp = socket(AF_INET, SOCK_DGRAM);
    t.call("change_address_is_gone", bind(udp, "10.9.9.1:5500"));
    close(udp);
    t.show("change_heard", heard(listener));
    t.call("change_leave", sys!(SYS_setsockopt, listener, SOL_NETLINK, 2, &5i32, 4));
    add(new, 24, LO, &[(2, own)]).expect("it can be added");
    remove(24, own).expect("it can be removed");
    t.show("change_heard_then", heard(listener));
    t.call("change_join", sys!(SYS_setsockopt, listener, SOL_NETLINK, 1, &5i32, 4));
    t.call("change_join_nothing", sys!(SYS_setsockopt, listener, SOL_NETLINK, 1, &0i32, 4));
    add(new, 24, LO, &[(2, own)]).expect("it can be added");
    remove(24, own).expect("it can be removed");
    t.show("change_heard_again", heard(listener));
    close(listener);
}

fn addresses_v6(t: &mut Report, fd: i32) {
    let own: std::net::Ipv6Addr = "2001:db8:9::1".parse().expect("an address");
    let own = own.octets();
    let fixed = [&[AF_INET6 as u8, 64, 0, 0][..], &LO.to_ne_bytes()].concat();
    let add = |flags: u16, own: &[u8]| ask(fd, RTM_NEWADDR, flags, &fixed, &[(1, own)]);
    show(t, "address6", add(CREATE | EXCLUSIVE, &own));
    show(t, "address6_again", add(CREATE | EXCLUSIVE, &own));
    show(t, "address6_any", add(CREATE | EXCLUSIVE, &[0; 16]));
    show(t, "address6_short", add(CREATE | EXCLUSIVE, &[0; 4]));
    show(t, "address6_removed", ask(fd, RTM_DELADDR, 0, &fixed, &[(1, &own)]));
    show(t, "address6_removed_again", ask(fd, RTM_DELADDR, 0, &fixed, &[(1, &own)]));
}

fn routes(t: &mut Report, fd: i32) {
    // `RT_TABLE_MAIN`, `RTPROT_BOOT`, `RT_SCOPE_LINK`, `RTN_UNICAST`
    let fixed = |prefix: u8| vec![AF_INET as u8, prefix, 0, 0, 254, 3, 253, 1, 0, 0, 0, 0];
    let to: &[u8] = &[198, 51, 100, 0];
    let lo: &[u8] = &LO.to_ne_bytes();
    let new = CREATE | EXCLUSIVE;
    show(t, "route_must_be_there", ask(fd, RTM_NEWROUTE, 0, &fixed(24), &[(1, to), (4, lo)]));
    show(t, "route", ask(fd, RTM_NEWROUTE, new, &fixed(24), &[(1, to), (4, lo)]));
    show(t, "route_again", ask(fd, RTM_NEWROUTE, new, &fixed(24), &[(1, to), (4, lo)]));
    show(t, "route_replaced", ask(fd, RTM_NEWROUTE, CREATE | REPLACE, &fixed(24), &[(1, to), (4, lo)]));
    show(
        t,
        "route_metric",
        ask(fd, RTM_NEWROUTE, new, &fixed(24), &[(1, to), (4, lo), (6, &9u32.to_ne_bytes())]),
    );
    show(t, "route_odd", ask(fd, RTM_NEWROUTE, new, &fixed(24), &[(1, &[198, 51, 100, 1]), (4, lo)]));
    show(t, "route_long", ask(fd, RTM_NEWROUTE, new, &fixed(33), &[(1, to), (4, lo)]));
    show(
        t,
        "route_by_nothing",
        ask(fd, RTM_NEWROUTE, new, &fixed(25), &[(1, to), (4, &77u32.to_ne_bytes())]),
    );
    let mut far = fixed(25);
    far[6] = 0;
    show(t, "route_far", ask(fd, RTM_NEWROUTE, new, &far, &[(1, to), (5, &[192, 0, 2, 1])]));
    let udp = socket(AF_INET, SOCK_DGRAM);
    t.call("change_route_leads_there", send_to(udp, b"x", "198.51.100.7:9"));
    let remove =
        |metric: u32| ask(fd, RTM_DELROUTE, 0, &fixed(24), &[(1, to), (4, lo), (6, &metric.to_ne_bytes())]);
    show(t, "route_removed_by_metric", remove(9));
    show(t, "route_removed_by_metric_again", remove(9));
    show(t, "route_removed", remove(0));
    show(t, "route_removed_again", remove(0));
    t.call("change_route_is_gone", send_to(udp, b"x", "198.51.100.7:9"));
    close(udp);
}

fn links(t: &mut Report, fd: i32) {
    let fixed = |index: u32, flags: u32, change: u32| {
        [[0; 4], index.to_ne_bytes(), flags.to_ne_bytes(), change.to_ne_bytes()].concat()
    };
    let mtu = |mtu: u32| ask(fd, RTM_NEWLINK, 0, &fixed(LO, 0, 0), &[(4, &mtu.to_ne_bytes())]);
    let length = || {
        let udp = socket(AF_INET, SOCK_DGRAM);
        let mut request = [0u8; 40];
        request[..2].copy_from_slice(b"lo");
        sys!(SYS_ioctl, udp, SIOCGIFMTU, &mut request).expect("there is a loopback interface");
        close(udp);
        u32::from_ne_bytes([request[16], request[17], request[18], request[19]])
    };
    show(t, "link_nothing", ask(fd, RTM_NEWLINK, 0, &fixed(0, 0, 0), &[]));
    show(t, "link_nowhere", ask(fd, RTM_NEWLINK, 0, &fixed(77, 0, 0), &[]));
    show(t, "link_unknown", ask(fd, RTM_SETLINK, 0, &fixed(0, 0, 0), &[(3, b"none\0")]));
    show(t, "link_up", ask(fd, RTM_NEWLINK, 0, &fixed(LO, 1, 1), &[]));
    show(t, "link_by_name", ask(fd, RTM_SETLINK, 0, &fixed(0, 1, 1), &[(3, b"lo\0")]));
    show(t, "link_mtu", mtu(1400));
    t.show("change_link_mtu_is", length());
    show(t, "link_mtu_back", mtu(65_536));
    t.show("change_link_mtu_then", length());
}
