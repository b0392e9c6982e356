//! One table of 512 entries, in RAM.

use core::sync::atomic::{AtomicU64, Ordering};

use super::entry::Entry;
use crate::{PAGE_SIZE, PhysAddr, machine};

/// Entries of a table.
pub(super) const ENTRIES: usize = 512;

/// A table of any of the four levels. The processor sets accessed and dirty bits in it at any time, so entries are
/// atomic and a change that must keep those bits is an exchange.
#[derive(Clone, Copy)]
pub(super) struct Table(&'static [AtomicU64; ENTRIES]);

impl Table {
    /// The table at `at`.
    ///
    /// # Safety
    /// A table lies there and stays as long as the result is used.
    pub(super) unsafe fn at(at: PhysAddr) -> Self {
        // SAFETY: a table is a whole page, reached through the direct map, and only used as atomics.
        Self(unsafe { &*machine::direct(at).cast::<[AtomicU64; ENTRIES]>() })
    }

    pub(super) fn slot(self, index: usize) -> Slot {
        Slot(&self.0[index])
    }
}

/// Place of one entry.
#[derive(Clone, Copy)]
pub(super) struct Slot(&'static AtomicU64);

impl Slot {
    #[inline]
    pub(super) fn get(self) -> Entry {
        Entry(self.0.load(Ordering::Relaxed))
    }

    #[inline]
    pub(super) fn set(self, entry: Entry) {
        self.0.store(entry.0, Ordering::Release);
    }

    /// Sets the entry; returns the one before with all that the processor noted in it.
    #[inline]
    pub(super) fn swap(self, entry: Entry) -> Entry {
        Entry(self.0.swap(entry.0, Ordering::AcqRel))
    }

    /// Changes the entry without losing what the processor notes in the meantime.
    pub(super) fn update(self, change: impl Fn(Entry) -> Entry) {
        let mut old = self.0.load(Ordering::Relaxed);
        while let Err(now) =
            self.0.compare_exchange_weak(old, change(Entry(old)).0, Ordering::AcqRel, Ordering::Relaxed)
        {
            old = now;
        }
    }
}

/// Levels of the tables, leaves first.
pub(super) const LEVELS: usize = 4;

/// Bytes that one entry of a level covers.
pub(super) const fn span(level: usize) -> usize {
    PAGE_SIZE << (9 * level)
}

/// Index of the entry for `address` in a table of `level`.
pub(super) const fn index(address: usize, level: usize) -> usize {
    address / span(level) % ENTRIES
}
