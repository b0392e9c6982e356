//! Groups: `IP_ADD_MEMBERSHIP` and its kin.

use libc::*;

use super::helpers::{bound, option, receive, send_to, set_option, socket};
use crate::cases::helpers::close;
use crate::report::Report;
use crate::sys::Errno;

const LOCAL: [u8; 4] = [127, 0, 0, 1];

fn change(fd: i32, name: i32, group: [u8; 4], local: [u8; 4]) -> Result<usize, Errno> {
    sys!(SYS_setsockopt, fd, IPPROTO_IP, name, [group, local].concat().as_ptr(), 8)
}

fn change_v6(fd: i32, name: i32, group: &str, interface: u32) -> Result<usize, Errno> {
    let group: std::net::Ipv6Addr = group.parse().expect("an address");
    let mut request = group.octets().to_vec();
    request.extend(interface.to_ne_bytes());
    sys!(SYS_setsockopt, fd, IPPROTO_IPV6, name, request.as_ptr(), 20)
}

pub fn run(t: &mut Report) {
    let group = [239, 1, 2, 3];
    let member = bound(SOCK_DGRAM, "0.0.0.0:5000");
    let client = socket(AF_INET, SOCK_DGRAM);
    t.call("send_without_a_route", send_to(client, b"x", "239.1.2.3:5000"));
    t.call("join_without_a_route", change(member, IP_ADD_MEMBERSHIP, group, [0; 4]));
    t.call("join_not_a_group", change(member, IP_ADD_MEMBERSHIP, [10, 0, 0, 1], LOCAL));
    t.call("join_nowhere", change(member, IP_ADD_MEMBERSHIP, group, [192, 0, 2, 1]));
    t.call("leave_before", change(member, IP_DROP_MEMBERSHIP, group, LOCAL));
    t.call("group_interface", sys!(SYS_setsockopt, client, IPPROTO_IP, IP_MULTICAST_IF, LOCAL.as_ptr(), 4));
    t.call(
        "group_interface_nowhere",
        sys!(SYS_setsockopt, client, IPPROTO_IP, IP_MULTICAST_IF, [192u8, 0, 2, 1].as_ptr(), 4),
    );
    t.show("group_interface_then", option(client, IPPROTO_IP, IP_MULTICAST_IF));
    t.call("send_to_nobody", send_to(client, b"x", "239.1.2.3:5000"));
    t.show("not_a_member", receive(member, 10, 0));
    t.call("join", change(member, IP_ADD_MEMBERSHIP, group, LOCAL));
    t.call("join_again", change(member, IP_ADD_MEMBERSHIP, group, LOCAL));
    t.call("send", send_to(client, b"to all", "239.1.2.3:5000"));
    t.show("a_member", receive(member, 10, 0));
    let other = bound(SOCK_DGRAM, "239.1.2.3:5001");
    t.call("send_other", send_to(client, b"others", "239.1.2.3:5001"));
    t.show("joined_by_another", receive(other, 10, 0));
    set_option(other, IPPROTO_IP, IP_MULTICAST_ALL, 0).expect("an option");
    send_to(client, b"others", "239.1.2.3:5001").expect("it goes");
    t.show("only_its_own", receive(other, 10, 0));
    t.call("leave", change(member, IP_DROP_MEMBERSHIP, group, LOCAL));
    send_to(client, b"x", "239.1.2.3:5000").expect("it goes");
    t.show("left", receive(member, 10, 0));
    // A socket is in so many groups at the most (`igmp_max_memberships`).
    let all = (0..25).map(|number| change(member, IP_ADD_MEMBERSHIP, [239, 9, 9, number], LOCAL));
    t.show("join_many", all.flatten().count());
    t.call("join_too_many", change(member, IP_ADD_MEMBERSHIP, group, LOCAL));
    t.call("leave_one", change(member, IP_DROP_MEMBERSHIP, [239, 9, 9, 3], LOCAL));
    t.call("join_one_more", change(member, IP_ADD_MEMBERSHIP, group, LOCAL));
    [member, client, other].into_iter().for_each(close);
    let member = bound(SOCK_DGRAM, "[::]:5000");
    let client = socket(AF_INET6, SOCK_DGRAM);
    t.call("join6", change_v6(member, IPV6_ADD_MEMBERSHIP, "ff02::1234", 1));
    t.call("join6_again", change_v6(member, IPV6_ADD_MEMBERSHIP, "ff02::1234", 1));
    t.call("join6_not_a_group", change_v6(member, IPV6_ADD_MEMBERSHIP, "::1", 1));
    t.call("join6_nowhere", change_v6(member, IPV6_ADD_MEMBERSHIP, "ff02::1234", 77));
    t.call("send6", send_to(client, b"six", "[ff02::1234%1]:5000"));
    t.show("a_member6", receive(member, 10, 0));
    t.call("leave6", change_v6(member, IPV6_DROP_MEMBERSHIP, "ff02::1234", 1));
    t.call("leave6_again", change_v6(member, IPV6_DROP_MEMBERSHIP, "ff02::1234", 1));
    [member, client].into_iter().for_each(close);
}
