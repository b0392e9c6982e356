//! Limits that the administrator can change: ip(7), udp(7), tcp(7).

use core::ops::RangeInclusive;
use core::sync::atomic::Ordering;

use isopod_hal::memory_stats;
use isopod_net::endpoint;
use isopod_net::tcp::{Algorithm, SocketOptions, Tcp};

use super::AF_INET6;
use crate::tunable::Tunable;

const INT_MAX: u64 = i32::MAX as u64;
const SECOND: u64 = 1_000_000_000;

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

/// Whether nobody's TIME-WAIT makes place for a connection (`tcp_tw_reuse`), and whether listeners send cookies (`tcp_syncookies`).
pub static REUSE_TIME_WAIT: Tunable = Tunable::new(|| 2, 0, 2);
/// See [`REUSE_TIME_WAIT`].
pub static COOKIES: Tunable = Tunable::new(|| 1, 0, 2);
/// Handshakes that a listener without cookies keeps (`tcp_max_syn_backlog`).
pub static SYN_BACKLOG: Tunable = Tunable::new(|| 4096, 0, INT_MAX);
/// Seconds in FIN-WAIT-2 (`tcp_fin_timeout`).
pub static FIN_TIMEOUT: Tunable = Tunable::new(|| 60, 0, 120);
/// Seconds and probes (`tcp_keepalive_time`, `tcp_keepalive_intvl`, `tcp_keepalive_probes`).
pub static KEEP_ALIVE: [Tunable; 3] =
    [Tunable::new(|| 7200, 1, INT_MAX), Tunable::new(|| 75, 1, INT_MAX), Tunable::new(|| 9, 0, 255)];
/// How often something is sent again: a SYN, its answer, a segment, one of nobody's connection (`tcp_syn_retries`, `tcp_synack_retries`,
/// `tcp_retries2`, `tcp_orphan_retries`, where 0 stands for 8).
pub static RETRIES: [Tunable; 4] = [
    Tunable::new(|| 6, 1, 127),
    Tunable::new(|| 5, 0, 255),
    Tunable::new(|| 15, 0, 255),
    Tunable::new(|| 0, 0, 255),
];
/// Bytes of a connection's buffers: the least, at first, the most (`tcp_rmem`, `tcp_wmem`).
pub static STREAM_RECEIVE: [Tunable; 3] = [
    Tunable::new(|| 4096, 1, INT_MAX),
    Tunable::new(|| 131_072, 1, INT_MAX),
    Tunable::new(|| 6 << 20, 1, INT_MAX),
];
/// See [`STREAM_RECEIVE`].
pub static STREAM_SEND: [Tunable; 3] = [
    Tunable::new(|| 4096, 1, INT_MAX),
    Tunable::new(|| 16_384, 1, INT_MAX),
    Tunable::new(|| 4 << 20, 1, INT_MAX),
];
/// 0 for Reno, 1 for CUBIC (`tcp_congestion_control`).
pub static CONGESTION: Tunable = Tunable::new(|| 1, 0, 1);
/// Pages of all connections, and of all messages of UDP: with ease, under pressure, at the most (`tcp_mem`, `udp_mem`); shares of the RAM as Linux
/// takes them.
pub static STREAM_PAGES: [Tunable; 3] = [
    Tunable::new(|| share(16) / 4 * 3, 0, u64::MAX >> 1),
    Tunable::new(|| share(16), 0, u64::MAX >> 1),
    Tunable::new(|| share(16) / 4 * 6, 0, u64::MAX >> 1),
];
/// See [`STREAM_PAGES`].
pub static DATAGRAM_PAGES: [Tunable; 3] = [
    Tunable::new(|| share(8) / 4 * 3, 0, u64::MAX >> 1),
    Tunable::new(|| share(8), 0, u64::MAX >> 1),
    Tunable::new(|| share(8) / 4 * 6, 0, u64::MAX >> 1),
];
/// Connections that are nobody's, of which each may hold 64 KiB (`tcp_max_orphans`), and ends of connections (`tcp_max_tw_buckets`).
pub static ORPHANS: Tunable = Tunable::new(|| share(16), 0, INT_MAX);
/// See [`ORPHANS`].
pub static TIME_WAITS: Tunable = Tunable::new(|| share(16), 0, INT_MAX);

/// A part of all pages.
fn share(part: u64) -> u64 {
    (memory_stats().total_frames as u64 / part).max(128)
}

/// Has the network keep to the limits of all sockets together.
pub fn apply(tcp: &Tcp) {
    let [_, pressure, most] = STREAM_PAGES.each_ref().map(|pages| pages.get() as usize);
    tcp.memory.limit(pressure, most);
    tcp.memory.limit_connections(ORPHANS.get() as usize, TIME_WAITS.get() as usize);
    let bytes = (DATAGRAM_PAGES[2].get() as usize).saturating_mul(4096);
    endpoint::HELD_MAX.store(bytes, Ordering::Relaxed);
}

/// What a new socket of TCP has.
pub fn stream_options(family: u16) -> SocketOptions {
    let size = |size: &Tunable| size.get() as u32;
    let [retries, answer_retries, established, orphan_retries] =
        RETRIES.each_ref().map(|count| count.get() as u8);
    SocketOptions {
        v6: family == AF_INET6,
        congestion: if CONGESTION.get() == 0 { Algorithm::Reno } else { Algorithm::Cubic },
        fin_timeout: FIN_TIMEOUT.get() * SECOND,
        keep_alive_idle: KEEP_ALIVE[0].get() * SECOND,
        keep_alive_interval: KEEP_ALIVE[1].get() * SECOND,
        keep_alive_count: size(&KEEP_ALIVE[2]) as u8,
        syn_retries: retries,
        answer_retries,
        retries: established,
        orphan_retries: if orphan_retries == 0 { 8 } else { orphan_retries },
        reuse_time_wait: size(&REUSE_TIME_WAIT) as u8,
        cookies: size(&COOKIES) as u8,
        syn_backlog: size(&SYN_BACKLOG),
        receive_limits: (size(&STREAM_RECEIVE[1]) / 2, size(&STREAM_RECEIVE[2]) / 2),
        send_limit: size(&STREAM_SEND[2]),
        ..SocketOptions::default()
    }
}
