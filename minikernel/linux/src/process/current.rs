//! The thread that each CPU works for, and how long each has worked.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};

use isopod_hal::sync::SpinLock;
use isopod_hal::{clock, cpu};

use super::{Thread, load};

/// What a CPU does, and has done.
struct Work {
    thread: SpinLock<Option<Arc<Thread>>>,
    /// The time-stamp counter when the thread was given the CPU, and its ticks in user code then.
    since: AtomicU64,
    user_before: AtomicU64,
    /// Ticks for threads that have given the CPU up since, and how many of these in user code.
    run_ticks: AtomicU64,
    user_ticks: AtomicU64,
    /// How often it has been given a thread.
    switches: AtomicU64,
}

static WORK: [Work; cpu::MOST] = [const {
    Work {
        thread: SpinLock::new(None),
        since: AtomicU64::new(0),
        user_before: AtomicU64::new(0),
        run_ticks: AtomicU64::new(0),
        user_ticks: AtomicU64::new(0),
        switches: AtomicU64::new(0),
    }
}; cpu::MOST];

/// The thread whose task this CPU runs; `None` between tasks. For files whose meaning depends on who asks, such as a signalfd: system
/// calls have their context.
pub fn current() -> Option<Arc<Thread>> {
    WORK[cpu::id()].thread.lock().clone()
}

/// How long a CPU has worked for threads until now, and how much of that in user code, in ticks of the time-stamp counter.
pub fn work_of(cpu: usize) -> (u64, u64) {
    let work = &WORK[cpu];
    let thread = work.thread.lock();
    let (mut run, mut user) =
        (work.run_ticks.load(Ordering::Relaxed), work.user_ticks.load(Ordering::Relaxed));
    if let Some(thread) = &*thread {
        run += clock::tsc().saturating_sub(work.since.load(Ordering::Relaxed));
        user += thread.user_ticks().saturating_sub(work.user_before.load(Ordering::Relaxed));
    }
    (run, user)
}

/// How often the CPUs have been given a thread since boot.
pub fn switches() -> u64 {
    WORK.iter().map(|work| work.switches.load(Ordering::Relaxed)).sum()
}

/// Counts one more; nobody else counts there at the same time.
fn count(counter: &AtomicU64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
}

/// Makes `thread` the current one, and counts its time, until the guard goes.
pub(super) fn enter(thread: &Arc<Thread>) -> Entered {
    let work = &WORK[cpu::id()];
    let now = clock::tsc();
    load::note(now);
    count(&work.switches);
    count(&thread.switches);
    thread.running_since.store(now, Ordering::Relaxed);
    let mut slot = work.thread.lock();
    work.since.store(now, Ordering::Relaxed);
    work.user_before.store(thread.user_ticks(), Ordering::Relaxed);
    Entered { before: slot.replace(Arc::clone(thread)) }
}

/// See [`enter`].
pub(super) struct Entered {
    before: Option<Arc<Thread>>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        let work = &WORK[cpu::id()];
        let mut slot = work.thread.lock();
        let Some(thread) = core::mem::replace(&mut *slot, self.before.take()) else { return };
        let ran = clock::tsc().saturating_sub(work.since.load(Ordering::Relaxed));
        let user = thread.user_ticks().saturating_sub(work.user_before.load(Ordering::Relaxed));
        work.run_ticks.fetch_add(ran, Ordering::Relaxed);
        work.user_ticks.fetch_add(user, Ordering::Relaxed);
        drop(slot);
        thread.running_since.store(0, Ordering::Relaxed);
        thread.run_ticks.fetch_add(ran, Ordering::Relaxed);
    }
}

/// Polls `future` as a task of `thread` would.
#[cfg(test)]
pub async fn in_thread<T>(thread: &Arc<Thread>, future: impl Future<Output = T>) -> T {
    let mut future = core::pin::pin!(future);
    core::future::poll_fn(|context| {
        let _entered = enter(thread);
        future.as_mut().poll(context)
    })
    .await
}
