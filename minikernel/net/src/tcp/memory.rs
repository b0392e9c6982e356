//! What all connections together may hold (`tcp_mem`), and how many of them may be nobody's (`tcp_max_orphans`): peers that stop reading, or that never
//! answer, must not take the machine's memory.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicUsize, Ordering};

/// What is counted at once. A connection that holds less counts nothing, so most never do.
const UNIT: usize = 4096;

bitflags::bitflags! {
    /// What there is too much of.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub(super) struct Pressure: u8 {
        /// Buffers do not grow, and windows are small.
        const HIGH = 1;
        /// Nothing is taken that can be done without.
        const FULL = 2;
        /// Nobody's connections end at once.
        const ORPHANS = 4;
    }
}

/// What is held and what may be.
#[derive(Debug)]
pub struct Memory {
    used: AtomicUsize,
    orphans: AtomicUsize,
    limits: [AtomicUsize; 2],
    orphans_max: AtomicUsize,
    time_waits_max: AtomicUsize,
}

impl Memory {
    pub(super) const fn new() -> Self {
        let limits = [const { AtomicUsize::new(usize::MAX) }; 2];
        let (used, orphans) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Self {
            used,
            orphans,
            limits,
            orphans_max: AtomicUsize::new(usize::MAX),
            time_waits_max: AtomicUsize::new(8192),
        }
    }

    /// From so many pages on buffers do not grow, and from so many on there is no more.
    pub fn limit(&self, pressure: usize, most: usize) {
        self.limits[0].store(pressure, Ordering::Relaxed);
        self.limits[1].store(most, Ordering::Relaxed);
    }

    /// So many connections may be nobody's, and so many ends of others are kept (`tcp_max_tw_buckets`).
    pub fn limit_connections(&self, orphans: usize, time_waits: usize) {
        self.orphans_max.store(orphans, Ordering::Relaxed);
        self.time_waits_max.store(time_waits, Ordering::Relaxed);
    }

    pub(super) fn time_waits_max(&self) -> usize {
        self.time_waits_max.load(Ordering::Relaxed)
    }

    /// Pages that are held, and connections that are nobody's.
    pub fn used(&self) -> (usize, usize) {
        (self.used.load(Ordering::Relaxed), self.orphans.load(Ordering::Relaxed))
    }

    /// How much it is.
    pub(super) fn pressure(&self) -> Pressure {
        let (used, orphans) = self.used();
        let over = |count: usize, limit: &AtomicUsize| count > limit.load(Ordering::Relaxed);
        let mut pressure = Pressure::empty();
        pressure.set(Pressure::HIGH, over(used, &self.limits[0]));
        pressure.set(Pressure::FULL, over(used, &self.limits[1]));
        pressure.set(Pressure::ORPHANS, over(orphans, &self.orphans_max));
        pressure
    }
}

/// A connection's part, which it gives back.
#[derive(Debug)]
pub(super) struct Charge {
    all: Arc<Memory>,
    units: u32,
    orphan: bool,
}

impl Charge {
    pub fn new(all: &Arc<Memory>) -> Self {
        Self { all: all.clone(), units: 0, orphan: false }
    }

    /// It holds so many bytes now, and is nobody's or not.
    pub fn update(&mut self, bytes: usize, orphan: bool) {
        let units = (bytes / UNIT) as u32;
        if units != self.units {
            let before = core::mem::replace(&mut self.units, units);
            self.all
                .used
                .fetch_add(units.wrapping_sub(before).cast_signed() as isize as usize, Ordering::Relaxed);
        }
        if orphan != self.orphan {
            self.orphan = orphan;
            self.all.orphans.fetch_add(if orphan { 1 } else { usize::MAX }, Ordering::Relaxed);
        }
    }

    pub fn pressure(&self) -> Pressure {
        self.all.pressure()
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.update(0, false);
    }
}
