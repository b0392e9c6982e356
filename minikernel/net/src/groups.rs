//! The groups that this machine has joined, on each interface (RFC 1112, RFC 4291 section 2.7), and what routers are to know of them.

use alloc::vec::Vec;

use isopod_hal::sync::SpinLock;

use crate::address::{Address, is_v4};
use crate::error::{Error, Result};

/// A group that somebody has joined is told of again after at most this (`Unsolicited Report Interval`; RFC 3376, section 8.11; RFC 3810, section 9.11).
const INTERVAL: u64 = 1_000_000_000;

/// A group on an interface.
#[derive(Debug)]
struct Membership {
    group: Address,
    interface: u32,
    /// So many are in it.
    count: usize,
    /// When it is told of next.
    at: u64,
    /// It is new, which is to be said.
    new: bool,
}

/// Groups and how many endpoints are in them.
#[derive(Debug, Default)]
pub struct Groups(SpinLock<Vec<Membership>>);

/// A group that routers are to be told of, and whether it is new.
pub type Told = (Address, bool);

impl Groups {
    /// None.
    pub const fn new() -> Self {
        Self(SpinLock::new(Vec::new()))
    }

    /// One more joins. True if it is the first; routers are told again at the time that is returned then.
    pub fn join(&self, group: &Address, interface: u32, now: u64, random: u64) -> Result<Option<u64>> {
        let mut groups = self.0.lock();
        let same = |known: &&mut Membership| known.group == *group && known.interface == interface;
        if let Some(known) = groups.iter_mut().find(same) {
            known.count += 1;
            return Ok(None);
        }
        groups.try_reserve(1).map_err(|_| Error::OutOfMemory)?;
        let at = now + random % INTERVAL;
        groups.push(Membership { group: *group, interface, count: 1, at, new: true });
        Ok(Some(at))
    }

    /// One leaves. True if it was the last.
    pub fn leave(&self, group: &Address, interface: u32) -> bool {
        let mut groups = self.0.lock();
        let place = groups.iter().position(|known| known.group == *group && known.interface == interface);
        let Some(place) = place else { return false };
        groups[place].count -= 1;
        let last = groups[place].count == 0;
        if last {
            groups.swap_remove(place);
        }
        last
    }

    /// Whether anybody is in it.
    pub fn has(&self, group: &Address, interface: u32) -> bool {
        self.0.lock().iter().any(|known| known.group == *group && known.interface == interface)
    }

    /// A router asks about a group, or all of a version if that is any address: it is answered within `delay`. Returns when the first answer is due.
    pub fn ask(
        &self,
        group: Option<Address>,
        v4: bool,
        interface: u32,
        now: u64,
        delay: u64,
        random: u64,
    ) -> u64 {
        let mut first = u64::MAX;
        let mut random = random | 1;
        for known in self.0.lock().iter_mut() {
            if known.interface == interface
                && is_v4(&known.group) == v4
                && group.is_none_or(|group| group == known.group)
            {
                random = random.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23);
                known.at = known.at.min(now + random % delay.max(1));
                first = first.min(known.at);
            }
        }
        first
    }

    /// The groups of an interface that routers are to be told of now, and when the next is.
    pub fn expire(&self, interface: u32, now: u64) -> (Vec<Told>, u64) {
        let (mut due, mut next) = (Vec::new(), u64::MAX);
        for known in self.0.lock().iter_mut().filter(|known| known.interface == interface) {
            if known.at <= now && due.try_reserve(1).is_ok() {
                due.push((known.group, known.new));
                (known.at, known.new) = (u64::MAX, false);
            }
            next = next.min(known.at);
        }
        (due, next)
    }
}
