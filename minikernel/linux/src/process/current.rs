//! The thread that each CPU works for.

use alloc::sync::Arc;

use isopod_hal::cpu;
use isopod_hal::sync::SpinLock;

use super::Thread;

/// The most CPUs of which a thread is kept.
const CPUS_MAX: usize = 256;

static CURRENT: [SpinLock<Option<Arc<Thread>>>; CPUS_MAX] = [const { SpinLock::new(None) }; CPUS_MAX];

/// The thread whose task this CPU runs; `None` between tasks. For files whose meaning depends on who asks, such as a signalfd: system
/// calls have their context.
pub fn current() -> Option<Arc<Thread>> {
    CURRENT.get(cpu::id())?.lock().clone()
}

/// Makes `thread` the current one until the guard goes.
pub(super) fn enter(thread: &Arc<Thread>) -> Entered {
    Entered { before: replace(Some(Arc::clone(thread))) }
}

/// See [`enter`].
pub(super) struct Entered {
    before: Option<Arc<Thread>>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        drop(replace(self.before.take()));
    }
}

fn replace(thread: Option<Arc<Thread>>) -> Option<Arc<Thread>> {
    let mut slot = CURRENT.get(cpu::id())?.lock();
    core::mem::replace(&mut *slot, thread)
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
