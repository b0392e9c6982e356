//! Time slices: a user thread that computes gives way when others wait.

use core::sync::atomic::Ordering;
use isopod_hal::{clock, irq};

use super::processor::{self, Processor};
use super::real_time::CUT_SHORT;
use super::task::Task;
use super::yielding::yield_now;

/// How long a thread may run while others wait. Linux's EEVDF gives 3 ms by default (`sched_base_slice_ns`, scaled by CPUs).
pub(super) const SLICE_NS: u64 = 3_000_000;

/// A task is given the CPU.
pub(super) fn begin_slice(task: &Task) {
    let processor = processor::this();
    processor.slice.store(task.slice(), Ordering::Relaxed);
    processor.running.store(task.share(), Ordering::Relaxed);
    processor.slice_end.store(0, Ordering::Relaxed);
    processor.note_change();
}

/// To be called before user code runs: arms the timer for whatever comes first, the end of the slice if others wait, or the next timer.
/// Nobody else to run and no timer: no interrupt. Nothing new since the last time: nothing to do, as after most system calls.
#[inline]
pub fn before_user() {
    let processor = processor::this();
    if processor.changed.load(Ordering::Relaxed) {
        arm(processor);
    }
}

fn arm(processor: &Processor) {
    // Taken before the look: what comes after it is for the next time.
    processor.changed.swap(false, Ordering::AcqRel);
    if !processor.has_ready() {
        processor.slice_end.store(0, Ordering::Relaxed);
    } else if processor.slice_end.load(Ordering::Relaxed) == 0 {
        let end = clock::monotonic_ns() + processor.slice.load(Ordering::Relaxed);
        processor.slice_end.store(end, Ordering::Relaxed);
    }
    processor.timers.arm_next(deadline(processor));
}

/// When the running task must give way, in nanoseconds since boot.
fn deadline(processor: &Processor) -> Option<u64> {
    match processor.slice_end.load(Ordering::Relaxed) {
        0 => None,
        end => Some(end),
    }
}

/// For how long others have waited in the slice that is over, all together, in nanoseconds.
pub fn waited() -> u64 {
    let processor = processor::this();
    let end = deadline(processor).filter(|&end| end != CUT_SHORT);
    let begin = end.map_or(u64::MAX, |end| end.saturating_sub(processor.slice.load(Ordering::Relaxed)));
    clock::monotonic_ns().saturating_sub(begin) * processor.waiting() as u64
}

/// True when the running task must give way: its slice is over and somebody waits, or it may not stay on this CPU.
pub fn is_due() -> bool {
    let processor = processor::this();
    if processor.must_move.load(Ordering::Relaxed) {
        return processor.must_move.swap(false, Ordering::Relaxed);
    }
    let Some(end) = deadline(processor) else { return false };
    let is_due = clock::monotonic_ns() >= end && processor.has_ready();
    if is_due {
        processor.budget.note_end(end);
    }
    is_due
}

/// What long work in the kernel does at fixed steps (design, decision 5): takes the interrupt that waits, if one does, and lets others run
/// when the slice is over.
pub async fn give_way() {
    if let Some(vector) = irq::pending_interrupt() {
        irq::dispatch(vector);
    }
    before_user();
    if is_due() {
        yield_now().await;
    }
}
