//! Limits that the administrator can change: ip(7), udp(7), tcp(7).

use core::ops::RangeInclusive;

use crate::tunable::Tunable;

/// The first and the last port that a socket gets by itself (`ip_local_port_range`).
pub static LOCAL_PORTS: [Tunable; 2] =
    [Tunable::new(|| 32_768, 1, 65_535), Tunable::new(|| 60_999, 1, 65_535)];
/// From this port on no privilege is needed (`ip_unprivileged_port_start`): 0 as in containers.
pub static UNPRIVILEGED_PORT_START: Tunable = Tunable::new(|| 0, 0, 65_535);
/// The hop limit of packets whose sender does not say (`ip_default_ttl`).
pub static HOP_LIMIT: Tunable = Tunable::new(|| isopod_net::stack::HOP_LIMIT.into(), 1, 255);
/// Whether new sockets of `AF_INET6` take IPv6 only (`bindv6only`).
pub static ONLY_V6: Tunable = Tunable::new(|| 0, 0, 1);

/// The ports that sockets get by themselves.
pub fn local_ports() -> RangeInclusive<u16> {
    let [first, last] = &LOCAL_PORTS;
    first.get() as u16..=last.get() as u16
}

/// The groups whose members may send echo requests (`ping_group_range`): all, as in containers.
pub static PING_GROUPS: [Tunable; 2] =
    [Tunable::new(|| 0, 0, i32::MAX as u64), Tunable::new(|| i32::MAX as u64, 0, i32::MAX as u64)];
