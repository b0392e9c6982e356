//! `/sys/class/net`: `Documentation/ABI/testing/sysfs-class-net` of Linux.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use isopod_fs::{Errno, Result};
use isopod_net::interface::{Interface, LOOPBACK_INDEX};

use super::table::{Row, put};
use super::text::Text;
use crate::socket::inet::interfaces;

pub(super) static NET: [Row; 1] = [Row::rows("lo", &LOOPBACK)];

static LOOPBACK: [Row; 18] = [
    Row::constant("addr_assign_type", "0\n"),
    Row::constant("addr_len", "6\n"),
    Row::constant("address", "00:00:00:00:00:00\n"),
    Row::constant("broadcast", "00:00:00:00:00:00\n"),
    Row::constant("carrier", "1\n"),
    Row::constant("dev_id", "0x0\n"),
    Row::constant("dev_port", "0\n"),
    Row::constant("dormant", "0\n"),
    Row::constant("flags", "0x9\n"),
    Row::constant("ifindex", "1\n"),
    Row::constant("iflink", "1\n"),
    Row::constant("link_mode", "0\n"),
    Row::thread("mtu", |_, text| {
        put!(text, "{}\n", loopback()?.mtu.load(Ordering::Relaxed));
        Ok(())
    }),
    Row::constant("operstate", "unknown\n"),
    Row::rows("statistics", &STATISTICS),
    Row::constant("tx_queue_len", "1000\n"),
    Row::constant("type", "772\n"),
    Row::constant("uevent", "INTERFACE=lo\nIFINDEX=1\n"),
];

static STATISTICS: [Row; 8] = [
    Row::thread("rx_bytes", |_, text| count(text, |interface| &interface.received.bytes)),
    Row::constant("rx_dropped", "0\n"),
    Row::constant("rx_errors", "0\n"),
    Row::thread("rx_packets", |_, text| count(text, |interface| &interface.received.packets)),
    Row::thread("tx_bytes", |_, text| count(text, |interface| &interface.sent.bytes)),
    Row::constant("tx_dropped", "0\n"),
    Row::constant("tx_errors", "0\n"),
    Row::thread("tx_packets", |_, text| count(text, |interface| &interface.sent.packets)),
];

fn loopback() -> Result<Arc<Interface>> {
    let found = interfaces()?.into_iter().find(|interface| interface.index == LOOPBACK_INDEX);
    found.ok_or_else(|| Errno::ENODEV.into())
}

fn count(text: &mut Text, of: fn(&Interface) -> &core::sync::atomic::AtomicU64) -> Result<()> {
    put!(text, "{}\n", of(&*loopback()?).load(Ordering::Relaxed));
    Ok(())
}
