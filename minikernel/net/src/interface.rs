//! Interfaces and the devices behind them.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use isopod_hal::sync::RwSpinLock;

use crate::address::{Address, LOOPBACK, LOOPBACK_V4, V4_PREFIX, is_v4};
use crate::error::{Error, Result};
use crate::packet::{Outbox, Packet};

/// What packets leave by.
pub trait Device: Send + Sync {
    /// Its address on the link, where it has one.
    fn hardware_address(&self) -> Option<[u8; 6]>;

    /// Sends a packet to the neighbour `next`. One that cannot be sent is lost.
    fn transmit(&self, packet: Packet, next: &Address, out: &mut Outbox);
}

/// The device whose packets come back.
#[derive(Debug)]
pub struct Loopback;

impl Device for Loopback {
    fn hardware_address(&self) -> Option<[u8; 6]> {
        None
    }

    fn transmit(&self, packet: Packet, _: &Address, out: &mut Outbox) {
        out.push(packet);
    }
}

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
}

/// `RT_SCOPE_HOST`
pub const SCOPE_HOST: u8 = 254;

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
    pub name: &'static str,
    /// Its longest packet.
    pub mtu: AtomicU32,
    /// What it received.
    pub received: Traffic,
    /// What it sent.
    pub sent: Traffic,
    device: Box<dyn Device>,
    addresses: RwSpinLock<Vec<InterfaceAddress>>,
}

impl core::fmt::Debug for Interface {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Interface").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Interface {
    /// The loopback interface, with its addresses.
    pub fn loopback() -> Arc<Self> {
        let address = |address, prefix| InterfaceAddress { address, prefix, scope: SCOPE_HOST };
        Arc::new(Self {
            index: LOOPBACK_INDEX,
            name: "lo",
            mtu: AtomicU32::new(LOOPBACK_MTU),
            received: Traffic::default(),
            sent: Traffic::default(),
            device: Box::new(Loopback),
            addresses: RwSpinLock::new(alloc::vec![
                address(LOOPBACK_V4, V4_PREFIX + 8),
                address(LOOPBACK, 128)
            ]),
        })
    }

    /// Its address on the link.
    pub fn hardware_address(&self) -> Option<[u8; 6]> {
        self.device.hardware_address()
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

    /// Whether an address is its own.
    pub fn has(&self, address: &Address) -> bool {
        self.addresses.read().iter().any(|known| known.address == *address)
    }

    /// Sends a packet to the neighbour `next`.
    pub fn transmit(&self, packet: Packet, next: &Address, out: &mut Outbox) {
        self.sent.count(packet.wire_len());
        self.device.transmit(packet, next, out);
    }
}
