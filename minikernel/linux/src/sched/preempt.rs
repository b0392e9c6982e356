//! Time slices: a user thread that computes gives way when others wait.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use isopod_hal::{clock, irq};

use super::yielding::yield_now;
use super::{executor, timers};

/// How long a thread may run while others wait. Linux's EEVDF gives 3 ms by default (`sched_base_slice_ns`, scaled by CPUs).
const SLICE_NS: u64 = 3_000_000;

/// When the slice of the running task ends; 0 while nobody has asked.
static SLICE_END: AtomicU64 = AtomicU64::new(0);

/// A task or a timer has come, or the timer may have to be armed for another reason, since this was last looked at.
static CHANGED: AtomicBool = AtomicBool::new(true);

/// A task has been given the CPU.
pub(super) fn begin_slice() {
    SLICE_END.store(0, Ordering::Relaxed);
    note_change();
}

/// Has [`before_user`] look at what there is.
pub(super) fn note_change() {
    CHANGED.store(true, Ordering::Release);
}

/// To be called before user code runs: arms the timer for whatever comes first, the end of the slice if others wait, or the next timer.
/// Nobody else to run and no timer: no interrupt. Nothing new since the last time: nothing to do, as after most system calls.
#[inline]
pub fn before_user() {
    if CHANGED.load(Ordering::Relaxed) {
        arm();
    }
}

fn arm() {
    // Taken before the look: what comes after it is for the next time.
    CHANGED.swap(false, Ordering::AcqRel);
    if executor::has_ready() && SLICE_END.load(Ordering::Relaxed) == 0 {
        SLICE_END.store(clock::monotonic_ns() + SLICE_NS, Ordering::Relaxed);
    }
    timers::arm_next();
}

/// When the running task must give way, in nanoseconds since boot.
pub(super) fn deadline() -> Option<u64> {
    match SLICE_END.load(Ordering::Relaxed) {
        0 => None,
        end => Some(end),
    }
}

/// True when the slice is over and somebody waits.
pub fn is_due() -> bool {
    deadline().is_some_and(|end| clock::monotonic_ns() >= end) && executor::has_ready()
}

/// What long work in the kernel does at fixed steps (design, decision 5): takes the interrupt that waits, if one does, and lets others run
/// when the slice is over.
pub async fn give_way() {
    if let Some(vector) = irq::pending_interrupt() {
        irq::dispatch(vector);
    }
    if CHANGED.load(Ordering::Relaxed) {
        arm();
    }
    if is_due() {
        yield_now().await;
    }
}

/// True when a task waits for the CPU.
pub fn others_wait() -> bool {
    executor::has_ready()
}
