//! Load averages: how many threads have wanted a CPU over the last 1, 5 and 15 minutes (`proc_loadavg(5)`; `kernel/sched/loadavg.c` of Linux).
//!
//! No timer takes samples. One is due every five seconds, and is taken when next a thread is given a CPU, or somebody asks. It is no look at that moment,
//! at which there is always somebody, but what there was since the last: how long the CPUs have worked, and threads waited for one, which is counted
//! in whole time slices.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use isopod_hal::sync::SpinLock;
use isopod_hal::{clock, cpu};

use super::work_of;
use crate::sched;

/// Bits behind the point.
const POINT: u32 = 11;
/// What is left of each average after a period of its 1, 5 and 15 minutes, in that form: e^(-5/60) and so on.
const DECAYS: [u64; 3] = [1884, 2014, 2037];
/// Nanoseconds between two samples: a little more than five seconds, lest it beat with what programs do.
const PERIOD: u64 = 5_004_000_000;
/// After so many periods without a sample nothing is left of what was before.
const FORGOTTEN: u64 = 4096;

/// When the next sample is due, by the time-stamp counter.
static DUE: AtomicU64 = AtomicU64::new(0);
/// For how long threads have waited for a CPU, in nanoseconds.
static WAITED: AtomicU64 = AtomicU64::new(0);
static LOAD: SpinLock<Load> = SpinLock::new(Load { at: 0, work: 0, waited: 0, averages: [0; 3] });

struct Load {
    /// When the last sample was taken, and for how long all CPUs had worked then, in ticks of the time-stamp counter.
    at: u64,
    work: u64,
    /// What [`WAITED`] was.
    waited: u64,
    averages: [u64; 3],
}

/// A thread is given a CPU, or somebody asks: takes a sample if one is due.
#[inline]
pub(super) fn note(now: u64) {
    if now >= DUE.load(Relaxed) {
        sample(now);
    }
}

/// A time slice has ended, as long as others have waited for the CPU.
pub(super) fn note_end_of_slice() {
    WAITED.fetch_add(sched::waited(), Relaxed);
}

#[cold]
fn sample(now: u64) {
    let work = (0..cpu::count()).map(|cpu| work_of(cpu).0).sum();
    let waited = WAITED.load(Relaxed);
    let period = clock::tsc_frequency().unwrap_or(1_000_000_000) / 1000 * (PERIOD / 1_000_000);
    let mut load = LOAD.lock();
    let passed = now.saturating_sub(load.at);
    if load.at != 0 && passed < period {
        return;
    }
    if load.at != 0 {
        let waiting = average(load.waited, waited, clock::ticks_to_ns(passed));
        let active = average(load.work, work, passed) + waiting;
        for _ in 0..(passed / period).min(FORGOTTEN) {
            load.averages = core::array::from_fn(|at| decayed(load.averages[at], DECAYS[at], active));
        }
    }
    (load.at, load.work, load.waited) = (now, work, waited);
    DUE.store(now + period, Relaxed);
}

/// How many there have been on average, by what they have come to in the time that has passed.
fn average(before: u64, now: u64, passed: u64) -> u64 {
    now.saturating_sub(before) / (passed >> POINT).max(1)
}

fn decayed(average: u64, decay: u64, active: u64) -> u64 {
    const ONE: u64 = 1 << POINT;
    let sum = average * decay + active * (ONE - decay);
    // Upwards it is rounded up, or it would never get there.
    (if active >= average { sum + ONE - 1 } else { sum }) >> POINT
}

/// The three averages, with 16 bits behind the point, as sysinfo(2) has them.
pub fn averages() -> [u64; 3] {
    note(clock::tsc());
    LOAD.lock().averages.map(|average| average << (16 - POINT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_average_comes_to_what_there_is_and_back_to_nothing() {
        let two = 2 << POINT;
        let mut average = 0;
        for _ in 0..12 {
            average = decayed(average, DECAYS[0], two);
        }
        // After a minute all but one part in e.
        assert!((average * 100 / two).abs_diff(63) <= 1, "{average}");
        for _ in 0..200 {
            average = decayed(average, DECAYS[0], two);
        }
        assert_eq!(average, two);
        for _ in 0..400 {
            average = decayed(average, DECAYS[0], 0);
        }
        assert_eq!(average, 0);
    }

    #[test]
    fn half_a_cpu_is_half_a_load() {
        assert_eq!(super::average(1 << 40, (1 << 40) + (1 << 30), 1 << 31), 1 << (POINT - 1));
    }
}
