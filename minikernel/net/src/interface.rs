//! Interfaces, their addresses, and the links behind them.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use isopod_hal::sync::RwSpinLock;

use crate::address::{Address, LOOPBACK, LOOPBACK_V4, V4_PREFIX, is_v4, same_prefix};
use crate::error::{Error, Result};
use crate::link::Link;
use crate::link::port::Port;
use crate::watch::Watchers;

/// The loopback interface's number.
pub const LOOPBACK_INDEX: u32 = 1;
/// Its longest packet.
const LOOPBACK_MTU: u32 = 65_536;

/// An address of an interface.
#[derive(Clone, Copy, Debug)]
pub struct InterfaceAddress {
    /// The address.
    pub address: Address,
    /// So many bits of it are its network's; those before an address of IPv4 count.
    pub prefix: u8,
    /// It is good for this machine alone, or for a link (`RT_SCOPE_*`).
    pub scope: u8,
    /// Until when it is used for new connections, in nanoseconds of the monotonic clock.
    pub preferred_until: u64,
    /// Until when it is valid.
    pub valid_until: u64,
    /// Until when another machine may say that it has it (RFC 4862, section 5.4).
    pub doubtful_until: u64,
    /// It came of what a router said (RFC 4862, section 5.5).
    pub from_router: bool,
}

/// `RT_SCOPE_UNIVERSE`
pub const SCOPE_UNIVERSE: u8 = 0;
/// `RT_SCOPE_LINK`
pub const SCOPE_LINK: u8 = 253;
/// `RT_SCOPE_HOST`
pub const SCOPE_HOST: u8 = 254;
/// The end of what does not end.
pub const FOREVER: u64 = u64::MAX;

impl InterfaceAddress {
    /// One for ever; the bits before an address of IPv4 count as the prefix's.
    pub fn new(address: Address, prefix: u8) -> Self {
        let scope = match address {
            LOOPBACK | LOOPBACK_V4 => SCOPE_HOST,
            address if address.is_unicast_link_local() => SCOPE_LINK,
            _ => SCOPE_UNIVERSE,
        };
        Self {
            address,
            prefix,
            scope,
            preferred_until: FOREVER,
            valid_until: FOREVER,
            doubtful_until: 0,
            from_router: false,
        }
    }

    /// The address of all on its network, where there is one (RFC 919; not on networks of two, RFC 3021).
    pub fn broadcast(&self) -> Option<Address> {
        let others = 128 - u32::from(self.prefix);
        let all = u128::MAX.checked_shr(self.prefix.into()).unwrap_or(0);
        let has = is_v4(&self.address) && self.scope != SCOPE_HOST && others > 1;
        has.then(|| Address::from_bits(self.address.to_bits() | all))
    }
}

/// What went through an interface.
#[derive(Debug, Default)]
pub struct Traffic {
    /// Packets.
    pub packets: AtomicU64,
    /// Their bytes.
    pub bytes: AtomicU64,
}

impl Traffic {
    /// One more packet.
    pub fn count(&self, bytes: usize) {
        self.packets.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

/// An interface.
pub struct Interface {
    /// Its number.
    pub index: u32,
    /// Its name.
    pub name: Box<str>,
    /// Its longest packet.
    pub mtu: AtomicU32,
    /// The same for IPv6, if a router has said less.
    mtu_v6: AtomicU32,
    /// What it received.
    pub received: Traffic,
    /// What it sent.
    pub sent: Arc<Traffic>,
    /// What packets leave by; those of the loopback interface come back.
    pub(crate) link: Option<Link>,
    /// It is to be used (`IFF_UP`).
    pub(crate) up: AtomicBool,
    pub(crate) addresses: RwSpinLock<Vec<InterfaceAddress>>,
}

impl core::fmt::Debug for Interface {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Interface").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Interface {
    fn of(
        index: u32,
        name: Box<str>,
        mtu: u32,
        (link, sent): (Option<Link>, Arc<Traffic>),
        addresses: Vec<InterfaceAddress>,
    ) -> Arc<Self> {
        Arc::new(Self {
            index,
            name,
            mtu: AtomicU32::new(mtu),
            mtu_v6: AtomicU32::new(u32::MAX),
            received: Traffic::default(),
            sent,
            up: AtomicBool::new(link.is_none()),
            link,
            addresses: RwSpinLock::new(addresses),
        })
    }

    /// The loopback interface, with its addresses.
    pub fn loopback() -> Arc<Self> {
        let addresses = alloc::vec![
            InterfaceAddress::new(LOOPBACK_V4, V4_PREFIX + 8),
            InterfaceAddress::new(LOOPBACK, 128)
        ];
        Self::of(LOOPBACK_INDEX, "lo".into(), LOOPBACK_MTU, (None, Arc::default()), addresses)
    }

    /// One with a card behind it, without addresses and not in use.
    pub(crate) fn of_port(
        (index, name): (u32, &str),
        port: Arc<dyn Port>,
        random: fn() -> u64,
        watchers: &Arc<Watchers>,
    ) -> Arc<Self> {
        let mtu = port.mtu();
        let sent = Arc::new(Traffic::default());
        let link = Link::new((index, port), Arc::clone(&sent), random, Arc::clone(watchers));
        Self::of(index, name.into(), mtu, (Some(link), sent), Vec::new())
    }

    /// Its longest packet.
    pub fn mtu(&self) -> u32 {
        self.mtu.load(Ordering::Relaxed)
    }

    /// A router says what the longest packet of IPv6 is.
    pub(crate) fn set_mtu_v6(&self, mtu: u32) {
        self.mtu_v6.store(mtu, Ordering::Relaxed);
    }

    /// The longest packet to an address.
    pub(crate) fn mtu_to(&self, address: &Address) -> u32 {
        let mtu = self.mtu();
        if is_v4(address) { mtu } else { mtu.min(self.mtu_v6.load(Ordering::Relaxed)) }
    }

    /// Its address on the link.
    pub fn hardware_address(&self) -> Option<[u8; 6]> {
        self.link.as_ref().map(|link| link.hardware)
    }

    /// Whether it is to be used (`IFF_UP`).
    pub fn is_up(&self) -> bool {
        self.up.load(Ordering::Relaxed)
    }

    /// Whether its link is there (`IFF_LOWER_UP`).
    pub fn has_carrier(&self) -> bool {
        self.link.as_ref().is_none_or(|link| link.port.is_up())
    }

    /// Its addresses. `OutOfMemory`
    pub fn addresses(&self) -> Result<Vec<InterfaceAddress>> {
        let addresses = self.addresses.read();
        let mut all = Vec::new();
        all.try_reserve_exact(addresses.len()).map_err(|_| Error::OutOfMemory)?;
        all.extend_from_slice(&addresses);
        Ok(all)
    }

    /// Its first address of the version of `other`.
    pub fn address_for(&self, other: &Address) -> Option<Address> {
        let addresses = self.addresses.read();
        let same = |known: &&InterfaceAddress| is_v4(&known.address) == is_v4(other);
        addresses.iter().find(same).map(|known| known.address)
    }

    /// The address of it that `other` knows best: one of the same network, else the first of the version.
    pub(crate) fn address_near(&self, other: &Address) -> Option<Address> {
        let addresses = self.addresses.read();
        let near = |known: &&InterfaceAddress| same_prefix(&known.address, other, known.prefix);
        let found = addresses.iter().filter(|known| is_v4(&known.address) == is_v4(other)).find(near);
        found.map(|known| known.address).or_else(|| {
            drop(addresses);
            self.address_for(other)
        })
    }

    /// Whether an address is its own.
    pub fn has(&self, address: &Address) -> bool {
        self.addresses.read().iter().any(|known| known.address == *address)
    }
}
