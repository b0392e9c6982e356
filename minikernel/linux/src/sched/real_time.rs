//! Tasks that come before all others: `SCHED_FIFO` and `SCHED_RR` of sched(7).
//!
//! A run queue is in the order of their priorities, and they leave the others a twentieth of each second, so that a program that never waits
//! cannot lock everybody out.

use core::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use isopod_hal::clock;

use super::preempt::SLICE_NS;

/// `sched_rt_period_us` and `sched_rt_runtime_us`
const PERIOD_NS: u64 = 1_000_000_000;
const RUNTIME_NS: u64 = 950_000_000;

/// How long one runs while others of its priority wait, if they take turns (`sched_rr_timeslice_ms`).
const TURN_NS: u64 = 100_000_000;

/// The end of a slice that another task ended by coming first; a time that has passed.
pub(super) const CUT_SHORT: u64 = 1;

/// What a task wants of a CPU that others want too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// So much, from 1024, which is the usual, up or down.
    Weight(u32),
    /// To be before those of lower priorities, which are from 1 on, and for as long as it likes, or in turns with those of the same.
    First {
        /// The higher is first.
        priority: u8,
        /// It takes turns.
        in_turns: bool,
    },
}

/// The mark of [`Share::First`] in a number.
const FIRST: u32 = 1 << 31;

impl Share {
    /// As a number: a weight, or one that is negative if it is taken for a signed one.
    pub(super) fn number(self) -> u32 {
        match self {
            Self::Weight(weight) => weight.clamp(1, FIRST - 1),
            Self::First { priority, in_turns } => FIRST | u32::from(priority) << 1 | u32::from(in_turns),
        }
    }
}

/// The priority in [`Share::number`]; 0 for a weight.
pub(super) fn priority(number: u32) -> u8 {
    if number < FIRST { 0 } else { (number >> 1) as u8 }
}

fn takes_turns(number: u32) -> bool {
    number & 1 == 1
}

/// What such tasks have had of a CPU. Only the CPU itself looks at it.
pub(super) struct Budget {
    /// When the period began, and for how long they have run in it.
    began: AtomicU64,
    used: AtomicU64,
    /// How the running task was made to give way: not, at the end of its slice, or by one that came first.
    gave_way: AtomicU8,
}

impl Budget {
    pub(super) const fn new() -> Self {
        Self { began: AtomicU64::new(0), used: AtomicU64::new(0), gave_way: AtomicU8::new(0) }
    }

    /// One is about to run: for how long it may while others wait.
    #[cold]
    pub(super) fn begin(&self, number: u32) -> u64 {
        self.gave_way.store(0, Ordering::Relaxed);
        let now = clock::monotonic_ns();
        if now.saturating_sub(self.began.load(Ordering::Relaxed)) >= PERIOD_NS {
            self.began.store(now, Ordering::Relaxed);
            self.used.store(0, Ordering::Relaxed);
        }
        let left = RUNTIME_NS.saturating_sub(self.used.load(Ordering::Relaxed)).max(SLICE_NS);
        if takes_turns(number) { left.min(TURN_NS) } else { left }
    }

    /// One has run since `began`. Returns until when all others come first.
    pub(super) fn spend(&self, began: u64) -> u64 {
        let spent = clock::monotonic_ns().saturating_sub(began);
        let used = self.used.fetch_add(spent, Ordering::Relaxed) + spent;
        if used < RUNTIME_NS { 0 } else { self.began.load(Ordering::Relaxed) + PERIOD_NS }
    }

    /// The running task has to give way, as its slice ends at `end`.
    pub(super) fn note_end(&self, end: u64) {
        self.gave_way.store(if end == CUT_SHORT { 2 } else { 1 }, Ordering::Relaxed);
    }

    /// Whether the task that has just run stays before those of its priority, as it did not give way by itself nor has had its turn.
    pub(super) fn stays_first(&self, number: u32) -> bool {
        match self.gave_way.load(Ordering::Relaxed) {
            0 => false,
            1 => !takes_turns(number),
            _ => true,
        }
    }
}
