//! The local APIC's timer.
//!
//! Where it compares with the time-stamp counter, a deadline is exact. Else it counts down at a rate that only
//! some hypervisors tell. No start-up waits to measure it: the first countdown assumes a rate that is lower than any, so
//! it ends too early, and how long it has really lasted gives the rate for the next one.

use core::{
    cell::Cell,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use super::{
    apic::{self, MASKED, Register},
    percpu::PerCpu,
    registers::wrmsr,
    time,
};
use crate::{
    clock::monotonic_ns,
    cpu::{cpuid, features},
    irq::TIMER_VECTOR,
};

/// `IA32_TSC_DEADLINE`.
const TSC_DEADLINE: u32 = 0x6e0;
/// Mode in the local vector table: compare with the time-stamp counter.
const DEADLINE_MODE: u32 = 2 << 17;
/// Value of the divide register for 16.
const BY_16: u32 = 3;
const DIVISOR: u64 = 16;

/// Ticks per second of the countdown, after division, of every CPU; 0 before a timer was first used.
static RATE: AtomicU64 = AtomicU64::new(0);
/// Whether somebody told the rate, so that it need not be measured.
static RATE_IS_TOLD: AtomicBool = AtomicBool::new(false);
/// A rate below any real one, so that the first countdown is never late: 1 MHz, after division.
const SLOWEST: u64 = 1_000_000 / DIVISOR;
/// A countdown must have lasted so long in nanoseconds for its length to give the rate.
const LONG_ENOUGH: u64 = 20_000;

/// The timer of one CPU.
pub(super) struct Countdown {
    mode: Cell<Mode>,
    /// The countdown under way: its start in nanoseconds and its length in ticks; 0 = none.
    started: Cell<u64>,
    ticks: Cell<u64>,
}

/// What the entry in the local vector table says.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Nothing yet.
    Off,
    /// It counts down.
    Counts,
    /// It compares with the time-stamp counter, once that counter's rate is known.
    Compares,
}

impl Countdown {
    pub(super) const fn new() -> Self {
        Self { mode: Cell::new(Mode::Off), started: Cell::new(0), ticks: Cell::new(0) }
    }
}

/// Lets the timer interrupt at `deadline` in nanoseconds.
pub(crate) fn arm_timer(deadline: u64) {
    match features().tsc_deadline.then(time::rate).flatten() {
        Some(rate) => compare(rate.tsc_at(deadline)),
        None => count_down(deadline),
    }
}

/// Lets the timer interrupt at a value of the time-stamp counter.
fn compare(tsc: u64) {
    let countdown = &PerCpu::get().countdown;
    if countdown.mode.replace(Mode::Compares) != Mode::Compares {
        countdown.ticks.set(0);
        apic::write(Register::Timer, DEADLINE_MODE | u32::from(TIMER_VECTOR));
        // SAFETY: every 64-bit processor has the instruction. The deadline must not overtake the mode, which is written
        // to memory (SDM volume 3, section 11.5.4.1).
        unsafe { core::arch::x86_64::_mm_mfence() };
    }
    // SAFETY: the processor has the register. A deadline of 0 would disarm.
    unsafe { wrmsr(TSC_DEADLINE, tsc.max(1)) };
}

/// Lets the timer interrupt after as many ticks as there are until `deadline`, or earlier.
fn count_down(deadline: u64) {
    let countdown = &PerCpu::get().countdown;
    if countdown.mode.replace(Mode::Counts) != Mode::Counts {
        start();
    }
    let rate = RATE.load(Ordering::Relaxed);
    let now = monotonic_ns();
    let ticks = u128::from(deadline.saturating_sub(now)) * u128::from(rate) / 1_000_000_000;
    let ticks = u32::try_from(ticks).unwrap_or(u32::MAX).max(1);
    countdown.started.set(now);
    countdown.ticks.set(u64::from(ticks));
    apic::write(Register::InitialCount, ticks);
}

/// Forgets the deadline.
pub(crate) fn disarm_timer() {
    let countdown = &PerCpu::get().countdown;
    if countdown.mode.get() == Mode::Compares {
        // SAFETY: the processor has the register; 0 disarms.
        unsafe { wrmsr(TSC_DEADLINE, 0) };
    } else if countdown.ticks.replace(0) != 0 {
        apic::write(Register::InitialCount, 0);
    }
}

/// A countdown has ended: learn from it, where nobody tells the rate.
pub(crate) fn timer_fired() {
    let countdown = &PerCpu::get().countdown;
    let ticks = countdown.ticks.replace(0);
    if ticks == 0 || RATE_IS_TOLD.load(Ordering::Relaxed) || apic::read(Register::CurrentCount) != 0 {
        return;
    }
    let elapsed = monotonic_ns().saturating_sub(countdown.started.get());
    let known = RATE.load(Ordering::Relaxed);
    let expected = u128::from(ticks) * 1_000_000_000 / u128::from(known.max(1));
    if expected < u128::from(LONG_ENOUGH) {
        // A deadline that had almost come teaches nothing.
        return;
    }
    if elapsed >= LONG_ENOUGH {
        // The handler ran somewhat later than the countdown ended, so this is rather too low, which is the good side.
        let measured = u128::from(ticks) * 1_000_000_000 / u128::from(elapsed);
        RATE.fetch_max(u64::try_from(measured).unwrap_or(known), Ordering::Relaxed);
    } else {
        // Whoever else has learned something at the same time has learned the same.
        let _ = RATE.compare_exchange(known, known.saturating_mul(8), Ordering::Relaxed, Ordering::Relaxed);
    }
}

/// Sets this CPU's countdown up, and the rate to begin with.
fn start() {
    apic::write(Register::Divide, BY_16);
    apic::write(Register::Timer, u32::from(TIMER_VECTOR) & !MASKED);
    if RATE.load(Ordering::Relaxed) == 0 {
        let told = told_rate();
        RATE_IS_TOLD.store(told.is_some(), Ordering::Relaxed);
        RATE.store(told.map_or(SLOWEST, |frequency| frequency / DIVISOR), Ordering::Relaxed);
    }
}

/// The rate of the timer's input, where somebody tells it.
fn told_rate() -> Option<u64> {
    let hypervisor = time::hypervisor();
    // KVM and QEMU's emulation count nanoseconds, by definition.
    if hypervisor.is(b"KVMKVMKVM\0\0\0") || hypervisor.is(b"TCGTCGTCGTCG") {
        return Some(1_000_000_000);
    }
    // VMware's leaf of timing information, which others have too: kHz.
    if hypervisor.max_leaf >= 0x4000_0010 {
        let frequency = u64::from(cpuid(0x4000_0010).ebx) * 1000;
        return (frequency != 0).then_some(frequency);
    }
    None
}
