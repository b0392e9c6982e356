//! `/proc/sys/net`: ip(7), tcp(7), `Documentation/networking/ip-sysctl.rst` of Linux.

use isopod_fs::{Errno, Result};

use super::table::{Row, put};
use super::text::Text;
use crate::socket::{inet, limits};
use crate::tunable::Tunable;

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

static V4: [Row; 10] = [
    Row::rows("conf", &CONF_V4),
    Row::constant("icmp_echo_ignore_all", "0\n"),
    Row::constant("icmp_echo_ignore_broadcasts", "1\n"),
    Row::number("ip_default_ttl", &inet::limits::HOP_LIMIT),
    Row::constant("ip_forward", "0\n"),
    Row::written(
        "ip_local_port_range",
        |_, text| put_range(text, &inet::limits::LOCAL_PORTS),
        |_, text| set_range(text, &inet::limits::LOCAL_PORTS),
    ),
    Row::constant("ip_local_reserved_ports", "\n"),
    Row::constant("ip_nonlocal_bind", "0\n"),
    Row::number("ip_unprivileged_port_start", &inet::limits::UNPRIVILEGED_PORT_START),
    Row::written(
        "ping_group_range",
        |_, text| put_range(text, &inet::limits::PING_GROUPS),
        |_, text| set_range(text, &inet::limits::PING_GROUPS),
    ),
];

static V6: [Row; 2] = [Row::number("bindv6only", &inet::limits::ONLY_V6), Row::rows("conf", &CONF_V6)];

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
fn put_range(text: &mut Text, range: &[Tunable; 2]) -> Result<()> {
    put!(text, "{}\t{}\n", range[0].get(), range[1].get());
    Ok(())
}

/// Sets both numbers, of which the second must not be the smaller.
fn set_range(numbers: &[u8], range: &'static [Tunable; 2]) -> Result<()> {
    let mut words = numbers.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let mut next = || -> Option<u64> { core::str::from_utf8(words.next()?).ok()?.parse().ok() };
    let (first, last) = next().zip(next()).filter(|(first, last)| first <= last).ok_or(Errno::EINVAL)?;
    range[0].set(first)?;
    Ok(range[1].set(last)?)
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
            assert_eq!(set_range(text.as_bytes(), &RANGE).is_ok(), taken, "{text}");
        }
    }
}
