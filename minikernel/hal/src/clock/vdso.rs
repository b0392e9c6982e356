//! What the vDSO needs to tell the time without a system call.

use core::sync::atomic::{Ordering, fence};

use crate::frame::Frame;

/// A straight line from the time-stamp counter to the monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Value of the counter at `base_ns`.
    pub base_tsc: u64,
    /// Monotonic time in nanoseconds at `base_tsc`.
    pub base_ns: u64,
    /// Nanoseconds per tick, times 2^32.
    pub multiplier: u64,
}

impl Rate {
    /// A line through a point, for a counter of `frequency` Hz, which is not 0.
    pub(crate) fn new(base_tsc: u64, base_ns: u64, frequency: u64) -> Self {
        let multiplier = ((1_000_000_000u128 << 32) / u128::from(frequency.max(1))) as u64;
        Self { base_tsc, base_ns, multiplier }
    }

    /// Time at a value of the counter; one before the base counts as the base.
    #[inline]
    pub(crate) fn at(&self, tsc: u64) -> u64 {
        self.base_ns.saturating_add(self.scale(tsc.saturating_sub(self.base_tsc)))
    }

    /// Ticks in nanoseconds.
    #[inline]
    pub(crate) fn scale(&self, ticks: u64) -> u64 {
        ((u128::from(ticks) * u128::from(self.multiplier)) >> 32) as u64
    }

    /// Rate of the counter in Hz.
    pub(crate) fn frequency(&self) -> u64 {
        ((1_000_000_000u128 << 32) / u128::from(self.multiplier.max(1))) as u64
    }

    /// Value of the counter at a time, rounded up; the far future where it does not fit.
    pub(crate) fn tsc_at(&self, ns: u64) -> u64 {
        let ticks =
            (u128::from(ns.saturating_sub(self.base_ns)) << 32).div_ceil(u128::from(self.multiplier.max(1)));
        u64::try_from(ticks).unwrap_or(u64::MAX).saturating_add(self.base_tsc)
    }
}

/// The parameters in memory, little endian, from an offset that is a multiple of 8:
///
/// | offset | size | meaning |
/// |---|---|---|
/// | 0 | 4 | sequence; odd while the rest changes |
/// | 4 | 4 | bit 0: the monotonic clock can be computed; bit 1: the wall clock too. Else: make the system call |
/// | 8 | 8 | `base_tsc` |
/// | 16 | 8 | `base_ns` |
/// | 24 | 8 | `multiplier` |
/// | 32 | 8 | wall clock minus monotonic clock in nanoseconds, signed |
///
/// A reader loads the sequence until it is even, then the rest, `rdtsc` after an `lfence`, and the sequence again; if that
/// has changed, it begins anew. `monotonic = base_ns + ((tsc - base_tsc) * multiplier >> 32)`, the product in 128 bits,
/// a negative difference taken as 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VdsoParameters {
    /// The monotonic clock's line; `None` while the rate is not known, or where the counter is not fit for it.
    pub rate: Option<Rate>,
    /// Wall clock minus monotonic clock in nanoseconds; `None` before somebody asked for the wall clock.
    pub realtime_offset_ns: Option<i64>,
}

impl VdsoParameters {
    /// Length in memory.
    pub const LEN: usize = 40;

    /// Writes the parameters for readers that may read at any moment. One writer at a time.
    pub(crate) fn write(&self, page: &Frame, offset: usize) {
        let sequence = page.atomic_u32(offset);
        let odd = sequence.load(Ordering::Relaxed).wrapping_add(1) | 1;
        sequence.store(odd, Ordering::Relaxed);
        fence(Ordering::Release);
        let flags = u32::from(self.rate.is_some())
            | u32::from(self.rate.is_some() && self.realtime_offset_ns.is_some()) << 1;
        page.atomic_u32(offset + 4).store(flags, Ordering::Relaxed);
        let rate = self.rate.unwrap_or(Rate { base_tsc: 0, base_ns: 0, multiplier: 0 });
        let words =
            [rate.base_tsc, rate.base_ns, rate.multiplier, self.realtime_offset_ns.unwrap_or(0) as u64];
        for (index, word) in words.into_iter().enumerate() {
            page.write(offset + 8 + index * 8, &word.to_le_bytes());
        }
        sequence.store(odd.wrapping_add(1), Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parameters_reach_the_page() {
        let page = Frame::zeroed().unwrap();
        let rate = Rate::new(7, 9, 2_000_000_000);
        VdsoParameters { rate: Some(rate), realtime_offset_ns: Some(-3) }.write(&page, 64);
        let word = |at: usize| u64::from_le_bytes(page.read_array::<8>(64 + at));
        assert_eq!(word(0), 3 << 32 | 2);
        assert_eq!((word(8), word(16), word(24), word(32)), (7, 9, 1 << 31, (-3i64) as u64));
        VdsoParameters { rate: None, realtime_offset_ns: Some(-3) }.write(&page, 64);
        assert_eq!(word(0), 4);
    }

    proptest! {
        #[test]
        fn lines_are_exact_to_a_nanosecond_per_second(
            frequency in 100_000_000u64..8_000_000_000, seconds in 0u64..100_000_000,
        ) {
            let rate = Rate::new(1 << 40, 5, frequency);
            let ticks = u128::from(seconds) * u128::from(frequency);
            let now = rate.at((1u64 << 40).saturating_add(u64::try_from(ticks).unwrap_or(u64::MAX)));
            let exact = seconds * 1_000_000_000 + 5;
            prop_assert!(now <= exact && exact - now <= 2 * seconds + 2);
            prop_assert!(rate.frequency().abs_diff(frequency) <= 1 + frequency / 100_000_000);
        }

        #[test]
        fn a_deadline_is_never_early(frequency in 100_000_000u64..8_000_000_000, ns in any::<u32>()) {
            let rate = Rate::new(1000, 1000, frequency);
            prop_assert!(rate.at(rate.tsc_at(u64::from(ns))) >= u64::from(ns).max(1000));
        }
    }
}
