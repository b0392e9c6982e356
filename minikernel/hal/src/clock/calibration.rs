//! Finding the rate of the time-stamp counter beside a counter of known rate, without ever waiting.
//!
//! The first two samples lie where the kernel happens to ask for the time. Until they are far enough apart to tell the
//! rate, the reference itself tells the time, and for moments between its readings the highest rate that a counter could
//! have: so the clock may run slow for a moment, but never ahead. Later samples, ever farther apart, make the rate more
//! exact.

use super::Rate;

/// The two samples must lie so many nanoseconds apart, so that the microsecond that reading them may take is a
/// thousandth.
const FIRST_DISTANCE: u64 = 1_000_000;
/// Each sample that makes the rate more exact lies so much farther away than the one before.
const STRETCH: u64 = 8;
/// From this distance on, in nanoseconds, the rate is exact to a millionth and final.
const FINAL_DISTANCE: u64 = 4_000_000_000;
/// No time-stamp counter of a 64-bit processor is slower, in Hz.
const SLOWEST: u128 = 500_000_000;
/// No time-stamp counter is faster, in GHz.
const FASTEST_GHZ: u64 = 8;
/// Ticks within which the reference is not read again: each reading leaves a virtual machine several times.
const FREQUENT: u64 = 1_000_000;
/// The rate where nothing tells it, in Hz.
const GUESS: u64 = 2_000_000_000;
/// Readings until one is accepted, however long it took.
const READINGS: usize = 5;
/// Readings of a reference that may stand still.
const PATIENCE: usize = 1000;

/// A time-stamp counter and a reference, read together.
#[derive(Clone, Copy, Debug)]
struct Sample {
    tsc: u64,
    /// The reference, without its wraps.
    count: u64,
}

/// The state of a calibration.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Calibration {
    frequency: u64,
    mask: u64,
    /// Where the present measurement began, and the time there.
    first: Option<(Sample, u64)>,
    last: Sample,
    rate: Option<Rate>,
    /// Value of the time-stamp counter at which the next sample is due.
    next: u64,
    /// Nanoseconds over which the rate is good enough to tell how often the reference has wrapped.
    reach: u64,
    /// The shortest that reading the reference has taken, in ticks.
    shortest: Option<u64>,
}

impl Calibration {
    /// For a reference that counts `frequency` times a second and begins anew after `mask`.
    pub(crate) fn new(frequency: u64, mask: u64) -> Self {
        let none = Sample { tsc: 0, count: 0 };
        Self {
            frequency: frequency.max(1),
            mask,
            first: None,
            last: none,
            rate: None,
            next: 0,
            reach: 0,
            shortest: None,
        }
    }

    /// The line found so far.
    pub(crate) fn rate(&self) -> Option<Rate> {
        self.rate
    }

    /// Nanoseconds since the first call, and whether the line has changed. `tsc` and `reference` read the counters.
    pub(crate) fn now(&mut self, tsc: impl Fn() -> u64, reference: impl Fn() -> u64) -> (u64, bool) {
        let ticks = tsc();
        if let Some(rate) = self.rate
            && ticks < self.next
        {
            return (rate.at(ticks), false);
        }
        if let (None, Some((first, base))) = (self.rate, self.first)
            && ticks.saturating_sub(self.last.tsc) < FREQUENT
        {
            let elapsed = self.nanoseconds(self.last.count - first.count);
            return (base + elapsed + ticks.saturating_sub(self.last.tsc) / FASTEST_GHZ, false);
        }
        let mut sample = self.read(&tsc, &reference);
        let Some((first, base)) = self.first else {
            self.restart(sample, 0);
            return (0, false);
        };
        let Some(rate) = self.rate else {
            // While there is no rate, the samples must lie so close that the reference cannot have wrapped, were the
            // counter as slow as none is.
            if u128::from(sample.tsc - first.tsc) * u128::from(self.frequency)
                > SLOWEST * u128::from(self.mask)
            {
                return (self.measure_shortly(&tsc, &reference), true);
            }
            sample.count = self.last.count + (sample.count.wrapping_sub(self.last.count) & self.mask);
            self.last = sample;
            let elapsed = self.nanoseconds(sample.count - first.count);
            let enough = elapsed >= FIRST_DISTANCE;
            if enough {
                self.draw(first, sample, base + elapsed);
            }
            return (base + elapsed, enough);
        };
        let now = rate.at(sample.tsc);
        let gap = rate.scale(sample.tsc.saturating_sub(self.last.tsc));
        if gap > self.reach {
            self.restart(sample, now);
            self.next = sample.tsc.saturating_add((sample.tsc - first.tsc) / STRETCH);
        } else {
            sample.count = self.unwrap(sample.count, gap);
            self.last = sample;
            self.draw(first, sample, now);
        }
        (now, true)
    }

    /// Begins to measure at `sample`, where the time is `now`.
    fn restart(&mut self, sample: Sample, now: u64) {
        self.first = Some((sample, now));
        self.last = sample;
    }

    /// Sets the line by two samples; the time at the second is `now`, so that time has no steps.
    fn draw(&mut self, first: Sample, second: Sample, now: u64) {
        let elapsed = self.nanoseconds(second.count - first.count);
        let distance = second.tsc.saturating_sub(first.tsc).max(1);
        let multiplier = ((u128::from(elapsed) << 32) / u128::from(distance)) as u64;
        self.rate = Some(Rate { base_tsc: second.tsc, base_ns: now, multiplier: multiplier.max(1) });
        self.next = if elapsed < FINAL_DISTANCE {
            first.tsc.saturating_add(distance.saturating_mul(STRETCH))
        } else {
            u64::MAX
        };
        // Each end may be wrong by a count, so the line by two counts of all; half a wrap must be more than that.
        let wrap = u128::from(self.nanoseconds(self.mask));
        let reach = wrap * u128::from(second.count - first.count) / 4;
        self.reach = u64::try_from(reach).unwrap_or(u64::MAX);
    }

    /// The first two samples lie too far apart. Reads the reference until it has gone on by some counts, a tenth of
    /// a millisecond, for a rate that is good to a hundredth; later samples will correct it. Returns the time.
    #[cold]
    fn measure_shortly(&mut self, tsc: impl Fn() -> u64, reference: impl Fn() -> u64) -> u64 {
        let start = self.read(&tsc, &reference);
        let mut end = start;
        for _ in 0..PATIENCE {
            end = self.read(&tsc, &reference);
            end.count = start.count + (end.count.wrapping_sub(start.count) & self.mask);
            if self.nanoseconds(end.count - start.count) >= FIRST_DISTANCE / 10 {
                break;
            }
        }
        let (first, base) = self.first.unwrap_or((start, 0));
        if end.count == start.count {
            // There is no such counter. A clock that is wrong is better than one that stands still.
            let rate = Rate::new(first.tsc, base, GUESS);
            self.rate = Some(rate);
            self.next = u64::MAX;
            return rate.at(end.tsc);
        }
        self.draw(start, end, 0);
        let passed = self.rate.map_or(0, |rate| rate.scale(end.tsc - first.tsc));
        self.draw(start, end, base + passed);
        self.restart(start, base);
        self.last = end;
        base + passed
    }

    /// The reference's count, with the wraps since the last sample, `gap` nanoseconds ago by the rate known so far.
    fn unwrap(&self, raw: u64, gap: u64) -> u64 {
        let passed = raw.wrapping_sub(self.last.count) & self.mask;
        let wrap = u128::from(self.mask) + 1;
        let expected = u128::from(gap) * u128::from(self.frequency) / 1_000_000_000;
        let wraps = (expected.saturating_sub(u128::from(passed)) + wrap / 2) / wrap;
        self.last.count + passed + u64::try_from(wraps * wrap).unwrap_or(0)
    }

    /// Reads both counters together. If the host takes the CPU away in between, they do not belong together; then the
    /// reading takes much longer than others, and is repeated.
    fn read(&mut self, tsc: impl Fn() -> u64, reference: impl Fn() -> u64) -> Sample {
        let mut best: Option<(u64, Sample)> = None;
        for _ in 0..READINGS {
            let before = tsc();
            let count = reference();
            let took = tsc().saturating_sub(before);
            // What the reference says is true of some moment in between.
            let sample = Sample { tsc: before + took / 2, count };
            if best.is_none_or(|(shortest, _)| took < shortest) {
                best = Some((took, sample));
            }
            // The very first has none to be compared with.
            let usual = self.shortest.is_some_and(|shortest| took / 4 <= shortest);
            self.shortest = Some(self.shortest.map_or(took, |shortest| shortest.min(took)));
            if usual {
                break;
            }
        }
        best.map_or(self.last, |(_, sample)| sample)
    }

    fn nanoseconds(&self, count: u64) -> u64 {
        (u128::from(count) * 1_000_000_000 / u128::from(self.frequency)) as u64
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, vec::Vec};

    use proptest::prelude::*;

    use super::*;

    const PIT: u64 = 1_193_182;

    /// Asks for the time at these moments, in nanoseconds, of a machine with this rate, where a reading of the
    /// reference takes a microsecond. What it says, and at which moment.
    fn play(frequency: u64, mask: u64, moments: &[u64]) -> (Calibration, Vec<(u64, u64)>, usize) {
        let mut calibration = Calibration::new(PIT, mask);
        let (clock, reads) = (Cell::new(0), Cell::new(0));
        let counter = |rate: u64| (u128::from(clock.get()) * u128::from(rate) / 1_000_000_000) as u64;
        let times = moments
            .iter()
            .map(|&moment| {
                clock.set(clock.get().max(moment));
                let reference = || {
                    reads.set(reads.get() + 1);
                    clock.set(clock.get() + 1000);
                    counter(PIT) & mask
                };
                let told = calibration.now(|| 12345 + counter(frequency), reference).0;
                (told, clock.get())
            })
            .collect();
        (calibration, times, reads.get())
    }

    fn is_close(told: &[(u64, u64)], parts: u64) -> bool {
        let start = told[0].1;
        told.iter().map(|&(told, real)| (told, real - start)).all(|(told, real)| {
            let close = told.abs_diff(real) <= real / parts + 3000;
            // Before the rate can be known, the clock may be slow.
            close || (real < 2 * FIRST_DISTANCE && told < real)
        })
    }

    #[test]
    fn two_samples_give_the_rate() {
        let (calibration, told, reads) =
            play(2_500_000_000, 0xffff, &[0, 200_000, 2_000_000, 5_000_000, 9_000_000]);
        assert_eq!(reads, 3);
        let frequency = calibration.rate().unwrap().frequency();
        assert!(frequency.abs_diff(2_500_000_000) < 5_000_000, "{frequency}");
        assert!(is_close(&told, 500), "{told:?}");
    }

    #[test]
    fn long_sleeps_make_it_exact() {
        // The 16 bits of the timer chip wrap each 55 ms.
        let moments: Vec<u64> = (0..60).map(|step| 1_000_000 * (1u64 << (step / 4)) + step).collect();
        let (calibration, told, _) = play(3_000_000_000, 0xffff, &moments);
        let frequency = calibration.rate().unwrap().frequency();
        assert!(frequency.abs_diff(3_000_000_000) < 6_000, "{frequency}");
        assert!(told.is_sorted());
    }

    #[test]
    fn who_seldom_asks_gets_a_rate_too() {
        let moments: Vec<u64> = (0..40).map(|step| step * 1_000_000_000).collect();
        let (calibration, told, reads) = play(3_000_000_000, 0xffff, &moments);
        assert!(reads < 200);
        let frequency = calibration.rate().unwrap().frequency();
        assert!(frequency.abs_diff(3_000_000_000) < 300_000, "{frequency}");
        assert!(is_close(&told, 30), "{told:?}");
    }

    #[test]
    fn a_reference_that_stands_still_is_survived() {
        let mut calibration = Calibration::new(PIT, 0xffff);
        let clock = Cell::new(0);
        for _ in 0..10 {
            clock.set(clock.get() + 1_000_000_000);
            calibration.now(|| clock.get() * 2, || 0xffff);
        }
        let (start, end) = (calibration.now(|| clock.get() * 2, || 0xffff).0, clock.get() + 1_000_000_000);
        assert_eq!(calibration.now(|| end * 2, || 0xffff).0 - start, 1_000_000_000);
    }

    #[test]
    fn a_host_that_takes_the_cpu_away_is_noticed() {
        let mut calibration = Calibration::new(PIT, 0xffff);
        let (clock, reads) = (Cell::new(0u64), Cell::new(0));
        let reference = || {
            let count = (u128::from(clock.get()) * u128::from(PIT) / 1_000_000_000) as u64 & 0xffff;
            reads.set(reads.get() + 1);
            // Each fifth reading takes 5 ms.
            clock.set(clock.get() + if reads.get() % 5 == 0 { 5_000_000 } else { 1000 });
            count
        };
        let times: Vec<(u64, u64)> = (0..200)
            .map(|_| {
                clock.set(clock.get() + 300_000);
                (calibration.now(|| clock.get() * 2, reference).0, clock.get())
            })
            .collect();
        assert!(times.is_sorted());
        assert!(is_close(&times, 250), "{times:?}");
    }

    proptest! {
        #[test]
        fn time_never_runs_backwards(
            frequency in 500_000_000u64..6_000_000_000,
            steps in prop::collection::vec(1u64..20_000_000, 1..100),
        ) {
            let moments: Vec<u64> = steps
                .iter()
                .scan(0, |sum, step| {
                    *sum += step;
                    Some(*sum)
                })
                .collect();
            let (_, told, _) = play(frequency, 0xff_ffff, &moments);
            prop_assert!(told.is_sorted());
            prop_assert!(is_close(&told, 250), "{:?}", told);
        }
    }
}
