//! The state of an interface in Linux' words: netdevice(7), RFC 2863.

use isopod_hal::clock;
use isopod_net::interface::{FOREVER, Interface, LOOPBACK_INDEX};

/// Packets that may wait to be sent.
pub const QUEUE_LENGTH: u32 = 1000;

/// `IFF_UP`, `IFF_BROADCAST`, `IFF_LOOPBACK`, `IFF_RUNNING`, `IFF_MULTICAST`, `IFF_LOWER_UP`
const UP: u32 = 1;
const BROADCAST: u32 = 2;
const LOOPBACK: u32 = 8;
const RUNNING: u32 = 0x40;
const MULTICAST: u32 = 0x1000;
const LOWER_UP: u32 = 0x1_0000;

/// `IF_OPER_*`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operational {
    /// One that does not say.
    Unknown = 0,
    /// It is not to be used, or its link is not there.
    Down = 2,
    /// Packets pass.
    Up = 6,
}

impl Operational {
    /// Its name in `/sys`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Down => "down",
            Self::Up => "up",
        }
    }
}

/// Whether it is the loopback interface.
fn is_loopback(interface: &Interface) -> bool {
    interface.index == LOOPBACK_INDEX
}

/// `IFF_*`
pub fn flags(interface: &Interface) -> u32 {
    let kind = if is_loopback(interface) { LOOPBACK } else { BROADCAST | MULTICAST };
    let state = match (interface.is_up(), interface.has_carrier()) {
        (true, true) => UP | RUNNING | LOWER_UP,
        (true, false) => UP,
        (false, _) => 0,
    };
    kind | state
}

/// How it is with packets.
pub fn operational(interface: &Interface) -> Operational {
    match (is_loopback(interface), interface.is_up() && interface.has_carrier()) {
        (_, false) => Operational::Down,
        (true, true) => Operational::Unknown,
        (false, true) => Operational::Up,
    }
}

/// `ARPHRD_LOOPBACK`, `ARPHRD_ETHER`
pub fn kind(interface: &Interface) -> u16 {
    if is_loopback(interface) { 772 } else { 1 }
}

/// The address of all on its link.
pub fn broadcast(interface: &Interface) -> [u8; 6] {
    if is_loopback(interface) { [0; 6] } else { [0xff; 6] }
}

/// How packets wait for it.
pub fn discipline(interface: &Interface) -> &'static str {
    if is_loopback(interface) { "noqueue" } else { "pfifo_fast" }
}

/// Seconds until a moment, as attributes of addresses have them; all ones is never.
pub fn seconds_until(moment: u64) -> u32 {
    if moment == FOREVER {
        return u32::MAX;
    }
    let left = moment.saturating_sub(clock::monotonic_ns()) / 1_000_000_000;
    u32::try_from(left).unwrap_or(u32::MAX)
}
