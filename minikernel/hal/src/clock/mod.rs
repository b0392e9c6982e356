//! Time: a monotonic clock, and the wall clock on top of it.

mod calibration;
mod civil;
mod vdso;

#[cfg(isopod_bare)]
pub(crate) use calibration::Calibration;
#[cfg(isopod_bare)]
pub(crate) use civil::Civil;
pub use vdso::{Rate, VdsoParameters};

use core::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use crate::{
    frame::Frame,
    machine,
    sync::{Once, SpinLock},
};

/// A hardware counter with a known rate, from which the processor's time-stamp counter is calibrated where neither CPUID
/// nor a paravirtual clock tells its rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reference {
    /// The ACPI power-management timer: its port, and whether it has 32 bits instead of 24.
    PmTimer {
        /// I/O port (FADT's `PM_TMR_BLK` or `X_PM_TMR_BLK`).
        port: u16,
        /// Flag `TMR_VAL_EXT`.
        wide: bool,
    },
    /// The HPET whose registers lie here.
    Hpet(crate::PhysAddr),
}

/// Wall clock minus monotonic clock in nanoseconds; `UNKNOWN` before it is first asked for.
static OFFSET: AtomicI64 = AtomicI64::new(UNKNOWN);
const UNKNOWN: i64 = i64::MIN;

/// The latest time given out, so that the clock never runs backwards.
static LATEST: AtomicU64 = AtomicU64::new(0);

/// Nanoseconds since the hypervisor's clock began, or else since this was first called (`CLOCK_MONOTONIC`). Never runs
/// backwards.
#[inline]
pub fn monotonic_ns() -> u64 {
    let now = machine::monotonic_ns();
    // A correction of the rate, or a host that moves us to another machine, may set the counter back.
    LATEST.fetch_max(now, Ordering::Relaxed).max(now)
}

/// Nanoseconds since 1970 (`CLOCK_REALTIME`). The first call asks the hypervisor's or the battery-backed clock.
pub fn realtime_ns() -> u64 {
    let now = monotonic_ns();
    let mut offset = OFFSET.load(Ordering::Relaxed);
    if offset == UNKNOWN {
        offset = (machine::wall_clock_ns() as i64).saturating_sub(now as i64);
        OFFSET.store(offset, Ordering::Relaxed);
        refresh_vdso();
    }
    now.saturating_add_signed(offset)
}

/// Sets the wall clock.
pub fn set_realtime_ns(now: u64) {
    OFFSET.store((now as i64).saturating_sub(monotonic_ns() as i64), Ordering::Relaxed);
    refresh_vdso();
}

/// Offers a counter of known rate for calibration; used only where the rate is not known already.
pub fn offer_reference(reference: Reference) {
    machine::offer_reference(reference);
}

/// The page in which the vDSO finds [`VdsoParameters`], and where in it.
static VDSO: Once<(Frame, usize)> = Once::new();
static VDSO_WRITER: SpinLock<()> = SpinLock::new(());

/// Keeps [`VdsoParameters`] up to date in `page` at `offset`, a multiple of 8, from now on. The first caller wins.
pub fn publish(page: Frame, offset: usize) {
    let _ = VDSO.set((page, offset));
    refresh_vdso();
}

/// What the vDSO needs to tell the time, now.
pub fn vdso_parameters() -> VdsoParameters {
    let offset = OFFSET.load(Ordering::Relaxed);
    VdsoParameters {
        rate: machine::rate(),
        realtime_offset_ns: if offset == UNKNOWN { None } else { Some(offset) },
    }
}

/// Writes the parameters to the page, if there is one. To be called whenever they have changed.
pub(crate) fn refresh_vdso() {
    if let Some((page, offset)) = VDSO.get() {
        let writer = VDSO_WRITER.lock();
        vdso_parameters().write(page, *offset);
        drop(writer);
    }
}

/// The time-stamp counter now.
#[inline]
pub fn tsc() -> u64 {
    machine::tsc()
}

/// The time-stamp counter, which may be read some instructions too early or too late: for sums of many times.
#[inline]
pub fn rough_tsc() -> u64 {
    machine::rough_tsc()
}

/// Ticks of the time-stamp counter in nanoseconds, at the rate known now; for CPU time. 0 where it is not known yet.
pub fn ticks_to_ns(ticks: u64) -> u64 {
    machine::rate().map_or(0, |rate| rate.scale(ticks))
}

/// Rate of the time-stamp counter in Hz, where it is known.
pub fn tsc_frequency() -> Option<u64> {
    machine::rate().map(|rate| rate.frequency())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_advance_together() {
        let (start, wall) = (monotonic_ns(), realtime_ns());
        while monotonic_ns() == start {}
        assert!(monotonic_ns() > start);
        // Between 2020 and 2200.
        assert!((1_577_836_800..7_258_118_400).contains(&(wall / 1_000_000_000)));
        assert!(realtime_ns() >= wall);
    }
}
