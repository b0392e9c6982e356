//! How long packets may be on paths of which a router has said that they take less than the link (RFC 1191, RFC 8201).

use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering};

use isopod_hal::sync::SpinLock;

use crate::address::{Address, is_v4};

/// How long a router's word holds (`mtu_expires`).
const AGE: u64 = 600_000_000_000;
/// So many destinations are known at the most.
const MOST: usize = 256;
/// What no path takes less than (`min_pmtu`; RFC 8200, section 5): whoever says so wants something else.
const LEAST_V4: u32 = 552;
/// See [`LEAST_V4`].
const LEAST_V6: u32 = 1280;

#[derive(Debug)]
struct Known {
    destination: Address,
    mtu: u32,
    until: u64,
}

/// What is known of paths.
#[derive(Debug)]
pub struct PathMtus {
    known: SpinLock<Vec<Known>>,
    /// How many: most machines never learn of one.
    count: AtomicUsize,
}

impl PathMtus {
    pub const fn new() -> Self {
        Self { known: SpinLock::new(Vec::new()), count: AtomicUsize::new(0) }
    }

    /// The longest packet to an address, where that is known.
    pub fn find(&self, destination: &Address) -> Option<u32> {
        if self.count.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let known = self.known.lock();
        known.iter().find(|known| known.destination == *destination).map(|known| known.mtu)
    }

    /// Forgets what is old. Returns when the next is.
    pub fn expire(&self, now: u64) -> u64 {
        let mut known = self.known.lock();
        known.retain(|known| known.until > now);
        self.count.store(known.len(), Ordering::Relaxed);
        known.iter().map(|known| known.until).min().unwrap_or(u64::MAX)
    }

    /// A router says that a path takes no more than `mtu`; what it took before is `before`. Returns until when that is believed.
    pub fn learn(&self, destination: &Address, mtu: u32, before: u32, now: u64) -> Option<u64> {
        let mtu = mtu.max(if is_v4(destination) { LEAST_V4 } else { LEAST_V6 });
        if mtu >= before {
            return None;
        }
        let mut known = self.known.lock();
        known.retain(|known| known.destination != *destination);
        if known.len() >= MOST {
            known.remove(0);
        }
        if known.try_reserve(1).is_ok() {
            known.push(Known { destination: *destination, mtu, until: now + AGE });
        }
        self.count.store(known.len(), Ordering::Relaxed);
        Some(now + AGE)
    }
}
