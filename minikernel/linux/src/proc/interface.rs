//! `/sys/class/net`: `Documentation/ABI/testing/sysfs-class-net` of Linux.

use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use isopod_fs::generated::{Attributes, Entry, Link};
use isopod_fs::vfs::Process;
use isopod_fs::{Errno, FileType, Result, Target};
use isopod_net::interface::{Interface, LOOPBACK_INDEX};

use super::subject::Subject;
use super::table::{Folder, Numbers, Row, put};
use super::text::Text;
use crate::socket::inet::{interfaces, state};

/// Of a card's name, what comes before its number: the first is behind the loopback interface.
const CARD: &str = "eth";

pub(super) static CLASS: [Row; 2] = [Row::rows("block", &[]), Row::mixed("net", &LOOPBACK_LINK, &CARD_LINKS)];
pub(super) static DEVICES: [Row; 1] = [Row::mixed("net", &LOOPBACK, &CARDS)];

static LOOPBACK_LINK: [Row; 1] =
    [Row::link("lo", |_, _| Ok(Target::Text(b"../../devices/virtual/net/lo".to_vec())))];
static LOOPBACK: [Row; 1] = [Row::rows("lo", &INTERFACE)];

static CARD_LINKS: Numbers = Numbers {
    prefix: CARD,
    kind: FileType::Symlink,
    all: cards,
    entry: |_, number| {
        card(number)?;
        Ok(Entry::Link(Arc::new(CardLink(number))))
    },
};

static CARDS: Numbers = Numbers {
    prefix: CARD,
    kind: FileType::Directory,
    all: cards,
    entry: |_, number| {
        let subject = Subject::MACHINE.of_thread(card(number)?.index);
        Ok(Entry::Directory(Arc::new(Folder { subject, mode: 0o555, rows: &INTERFACE, numbers: None })))
    },
};

struct CardLink(u32);

impl Link for CardLink {
    fn attributes(&self) -> Attributes {
        Attributes::root(0o777)
    }

    fn text(&self, _: Process) -> Result<Vec<u8>> {
        Ok(format!("../../devices/virtual/net/{CARD}{}", self.0).into_bytes())
    }
}

/// The number in the name of a card's interface.
fn number(interface: &Interface) -> Option<u32> {
    interface.name.strip_prefix(CARD)?.parse().ok()
}

fn cards(_: &Subject) -> Result<Vec<u32>> {
    Ok(interfaces()?.iter().filter_map(|interface| number(interface)).collect())
}

fn card(wanted: u32) -> Result<Arc<Interface>> {
    let found = interfaces()?.into_iter().find(|interface| number(interface) == Some(wanted));
    found.ok_or_else(|| Errno::ENOENT.into())
}

/// What there is to know of an interface: that of the directory's number, or the loopback interface.
static INTERFACE: [Row; 20] = [
    Row::constant("addr_assign_type", "0\n"),
    Row::constant("addr_len", "6\n"),
    Row::thread("address", |subject, text| {
        hardware(text, found(subject)?.hardware_address().unwrap_or_default());
        Ok(())
    }),
    Row::thread("broadcast", |subject, text| {
        hardware(text, state::broadcast(&*found(subject)?));
        Ok(())
    }),
    Row::thread("carrier", |subject, text| {
        let interface = found(subject)?;
        // Who does not use it does not know.
        if !interface.is_up() {
            return Err(Errno::EINVAL.into());
        }
        number_of(text, interface.has_carrier().into())
    }),
    Row::constant("dev_id", "0x0\n"),
    Row::constant("dev_port", "0\n"),
    Row::constant("dormant", "0\n"),
    Row::thread("duplex", |subject, text| rate(subject, text, "unknown\n")),
    Row::thread("flags", |subject, text| {
        /// Those that somebody sets: the others tell how it is.
        const SET: u32 = 0x100b;
        put!(text, "{:#x}\n", state::flags(&*found(subject)?) & SET);
        Ok(())
    }),
    Row::thread("ifindex", |subject, text| number_of(text, found(subject)?.index.into())),
    Row::thread("iflink", |subject, text| number_of(text, found(subject)?.index.into())),
    Row::constant("link_mode", "0\n"),
    Row::thread("mtu", |subject, text| number_of(text, found(subject)?.mtu.load(Ordering::Relaxed).into())),
    Row::thread("operstate", |subject, text| {
        put!(text, "{}\n", state::operational(&*found(subject)?).name());
        Ok(())
    }),
    Row::thread("speed", |subject, text| rate(subject, text, "-1\n")),
    Row::rows("statistics", &STATISTICS),
    Row::constant("tx_queue_len", "1000\n"),
    Row::thread("type", |subject, text| number_of(text, state::kind(&*found(subject)?).into())),
    Row::thread("uevent", |subject, text| {
        let interface = found(subject)?;
        put!(text, "INTERFACE={}\nIFINDEX={}\n", interface.name, interface.index);
        Ok(())
    }),
];

static STATISTICS: [Row; 8] = [
    Row::thread("rx_bytes", |subject, text| count(subject, text, |interface| &interface.received.bytes)),
    Row::constant("rx_dropped", "0\n"),
    Row::constant("rx_errors", "0\n"),
    Row::thread("rx_packets", |subject, text| count(subject, text, |interface| &interface.received.packets)),
    Row::thread("tx_bytes", |subject, text| count(subject, text, |interface| &interface.sent.bytes)),
    Row::constant("tx_dropped", "0\n"),
    Row::constant("tx_errors", "0\n"),
    Row::thread("tx_packets", |subject, text| count(subject, text, |interface| &interface.sent.packets)),
];

fn found(subject: &Subject) -> Result<Arc<Interface>> {
    let index = subject.id().unwrap_or(LOOPBACK_INDEX);
    let found = interfaces()?.into_iter().find(|interface| interface.index == index);
    found.ok_or_else(|| Errno::ENODEV.into())
}

#[expect(clippy::unnecessary_wraps, reason = "it ends a row of a table")]
fn number_of(text: &mut Text, number: u64) -> Result<()> {
    put!(text, "{number}\n");
    Ok(())
}

fn hardware(text: &mut Text, address: [u8; 6]) {
    for (place, byte) in address.iter().enumerate() {
        put!(text, "{}{byte:02x}", if place == 0 { "" } else { ":" });
    }
    text.put(b"\n");
}

/// What is said of a card's speed, which nobody knows. One that is no card has none (`ethtool_get_link_ksettings`).
fn rate(subject: &Subject, text: &mut Text, unknown: &str) -> Result<()> {
    let interface = found(subject)?;
    if interface.hardware_address().is_none() || !interface.is_up() {
        return Err(Errno::EINVAL.into());
    }
    text.put(unknown.as_bytes());
    Ok(())
}

fn count(subject: &Subject, text: &mut Text, of: fn(&Interface) -> &AtomicU64) -> Result<()> {
    number_of(text, of(&*found(subject)?).load(Ordering::Relaxed))
}
