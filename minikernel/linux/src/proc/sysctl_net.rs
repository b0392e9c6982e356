//! `/proc/sys/net`: ip(7), tcp(7), `Documentation/networking/ip-sysctl.rst` of Linux.

use isopod_fs::{Errno, Result};

use super::table::{Row, put};
use super::text::Text;
use crate::socket::inet::limits as of_inet;
use crate::socket::{inet, limits};
use crate::tunable::Tunable;

/// A row of several numbers.
macro_rules! list {
    ($name:literal, $list:expr) => {
        Row::written($name, |_, text| put_list(text, &$list), |_, text| set_list(text, &$list))
    };
}

/// A row of numbers that all sockets together keep to.
macro_rules! common {
    ($name:literal, $list:expr) => {
        Row::written(
            $name,
            |_, text| put_list(text, $list),
            |_, text| {
                set_list(text, $list)?;
                inet::limits_changed();
                Ok(())
            },
        )
    };
}

pub(super) static NET: [Row; 4] =
    [Row::rows("core", &CORE), Row::rows("ipv4", &V4), Row::rows("ipv6", &V6), Row::rows("unix", &UNIX)];

static CORE: [Row; 6] = [
    Row::number("optmem_max", &limits::CONTROL_MAX),
    Row::number("rmem_default", &limits::RECEIVE_BUFFER),
    Row::number("rmem_max", &limits::RECEIVE_BUFFER_MAX),
    Row::number("somaxconn", &limits::BACKLOG_MAX),
    Row::number("wmem_default", &limits::SEND_BUFFER),
    Row::number("wmem_max", &limits::SEND_BUFFER_MAX),
];

static UNIX: [Row; 1] = [Row::number("max_dgram_qlen", &limits::MESSAGES_MAX)];

static V4: [Row; 40] = [
    Row::rows("conf", &CONF_V4),
    Row::constant("icmp_echo_ignore_all", "0\n"),
    Row::constant("icmp_echo_ignore_broadcasts", "1\n"),
    Row::number("ip_default_ttl", &of_inet::HOP_LIMIT),
    Row::constant("ip_forward", "0\n"),
    list!("ip_local_port_range", of_inet::LOCAL_PORTS),
    Row::constant("ip_local_reserved_ports", "\n"),
    Row::constant("ip_nonlocal_bind", "0\n"),
    Row::number("ip_unprivileged_port_start", &of_inet::UNPRIVILEGED_PORT_START),
    list!("ping_group_range", of_inet::PING_GROUPS),
    Row::constant("tcp_abort_on_overflow", "0\n"),
    Row::constant("tcp_allowed_congestion_control", "reno cubic\n"),
    Row::constant("tcp_available_congestion_control", "reno cubic\n"),
    Row::written(
        "tcp_congestion_control",
        |_, text| {
            put!(text, "{}\n", ALGORITHMS[of_inet::CONGESTION.get() as usize]);
            Ok(())
        },
        |_, name| {
            let name = name.trim_ascii();
            let place = ALGORITHMS.iter().position(|known| known.as_bytes() == name).ok_or(Errno::ENOENT)?;
            Ok(of_inet::CONGESTION.set(place as u64)?)
        },
    ),
    Row::constant("tcp_ecn", "0\n"),
    Row::constant("tcp_fastopen", "1\n"),
    Row::number("tcp_fin_timeout", &of_inet::FIN_TIMEOUT),
    Row::number("tcp_keepalive_intvl", &of_inet::KEEP_ALIVE[1]),
    Row::number("tcp_keepalive_probes", &of_inet::KEEP_ALIVE[2]),
    Row::number("tcp_keepalive_time", &of_inet::KEEP_ALIVE[0]),
    common!("tcp_max_orphans", core::slice::from_ref(&of_inet::ORPHANS)),
    Row::number("tcp_max_syn_backlog", &of_inet::SYN_BACKLOG),
    common!("tcp_max_tw_buckets", core::slice::from_ref(&of_inet::TIME_WAITS)),
    common!("tcp_mem", &of_inet::STREAM_PAGES),
    Row::constant("tcp_moderate_rcvbuf", "1\n"),
    Row::constant("tcp_mtu_probing", "0\n"),
    Row::number("tcp_orphan_retries", &of_inet::RETRIES[3]),
    Row::number("tcp_retries2", &of_inet::RETRIES[2]),
    Row::constant("tcp_rfc1337", "0\n"),
    list!("tcp_rmem", of_inet::STREAM_RECEIVE),
    Row::constant("tcp_sack", "1\n"),
    Row::constant("tcp_slow_start_after_idle", "1\n"),
    Row::number("tcp_syn_retries", &of_inet::RETRIES[0]),
    Row::number("tcp_synack_retries", &of_inet::RETRIES[1]),
    Row::number("tcp_syncookies", &of_inet::COOKIES),
    Row::constant("tcp_timestamps", "1\n"),
    Row::number("tcp_tw_reuse", &of_inet::REUSE_TIME_WAIT),
    Row::constant("tcp_window_scaling", "1\n"),
    list!("tcp_wmem", of_inet::STREAM_SEND),
    common!("udp_mem", &of_inet::DATAGRAM_PAGES),
];

/// By their numbers.
const ALGORITHMS: [&str; 2] = ["reno", "cubic"];

static V6: [Row; 2] = [Row::number("bindv6only", &of_inet::ONLY_V6), Row::rows("conf", &CONF_V6)];

static CONF_V4: [Row; 3] = [Row::rows("all", &OF_V4), Row::rows("default", &OF_V4), Row::rows("lo", &OF_V4)];
static OF_V4: [Row; 4] = [
    // Nobody else tells the way (firewall by default).
    Row::constant("accept_redirects", "0\n"),
    Row::constant("accept_source_route", "0\n"),
    Row::constant("forwarding", "0\n"),
    Row::constant("rp_filter", "0\n"),
];
static CONF_V6: [Row; 3] = [Row::rows("all", &OF_V6), Row::rows("default", &OF_V6), Row::rows("lo", &OF_V6)];
static OF_V6: [Row; 3] = [
    Row::constant("accept_redirects", "0\n"),
    Row::constant("disable_ipv6", "0\n"),
    Row::constant("forwarding", "0\n"),
];

#[expect(clippy::unnecessary_wraps, reason = "it is a row of a table")]
fn put_list(text: &mut Text, list: &[Tunable]) -> Result<()> {
    for (index, number) in list.iter().enumerate() {
        put!(text, "{}{}", if index == 0 { "" } else { "\t" }, number.get());
    }
    put!(text, "\n");
    Ok(())
}

/// Sets all numbers, of which none must be smaller than the one before.
fn set_list(numbers: &[u8], list: &'static [Tunable]) -> Result<()> {
    let words = || numbers.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let number = |word: &[u8]| -> Option<u64> { core::str::from_utf8(word).ok()?.parse().ok() };
    let mut before = 0;
    for place in 0..list.len() {
        let value = words().nth(place).and_then(number).filter(|value| *value >= before);
        before = value.ok_or(Errno::EINVAL)?;
    }
    for (number, value) in list.iter().zip(words().filter_map(number)) {
        number.set(value)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_ends_no_earlier_than_it_begins() {
        static RANGE: [Tunable; 2] = [Tunable::new(|| 1, 1, 100), Tunable::new(|| 9, 1, 100)];
        for (text, taken) in
            [("5 20\n", true), ("7\t7", true), ("7 6", false), ("3", false), ("1 101", false), ("x y", false)]
        {
            assert_eq!(set_list(text.as_bytes(), &RANGE).is_ok(), taken, "{text}");
        }
    }
}
