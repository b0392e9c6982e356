//! The run queue and the loop that empties it.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::task::Wake;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Waker};

use isopod_hal::irq;
use isopod_hal::sync::SpinLock;
use isopod_hal::sync::atomic::{AtomicBool, Ordering};

use super::{preempt, timers};

type BoxedFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A future on its way to completion.
struct Task {
    /// Empty once the future is complete. The lock is taken only by the CPU that polls.
    future: SpinLock<Option<BoxedFuture>>,
    /// In the run queue, so that a second wake-up does not queue it twice.
    queued: AtomicBool,
}

static RUN_QUEUE: SpinLock<VecDeque<Arc<Task>>> = SpinLock::new(VecDeque::new());

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        if !self.queued.swap(true, Ordering::AcqRel) {
            enqueue(self);
        }
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Not a mere look: it must follow the changes that it tells of, or it could see the flag that a poll is about to clear.
        if !self.queued.swap(true, Ordering::AcqRel) {
            enqueue(Arc::clone(self));
        }
    }
}

/// Puts a task that is not there into the run queue.
fn enqueue(task: Arc<Task>) {
    RUN_QUEUE.lock().push_back(task);
    preempt::note_change();
}

/// Starts a future; returns the waker that makes it run again.
pub fn spawn(future: impl Future<Output = ()> + Send + 'static) -> Waker {
    let task =
        Arc::new(Task { future: SpinLock::new(Some(Box::pin(future))), queued: AtomicBool::new(false) });
    let waker = Waker::from(task);
    waker.wake_by_ref();
    waker
}

/// True when a task waits for this CPU.
pub(super) fn has_ready() -> bool {
    !RUN_QUEUE.lock().is_empty()
}

/// Runs tasks for ever; sleeps when there are none.
pub fn run() -> ! {
    loop {
        run_ready();
        idle();
    }
}

fn run_ready() {
    loop {
        // Bound to its own statement: the lock must not be held while the task runs.
        let next = RUN_QUEUE.lock().pop_front();
        let Some(task) = next else { return };
        poll(&task);
    }
}

fn poll(task: &Arc<Task>) {
    // Cleared before the poll: what wakes the task while it runs must queue it again. By an exchange, so that the poll sees what came before
    // a wake-up that found the flag still set.
    task.queued.swap(false, Ordering::AcqRel);
    preempt::begin_slice();
    let waker = Waker::from(Arc::clone(task));
    let mut slot = task.future.lock();
    if let Some(future) = slot.as_mut()
        && future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready()
    {
        let finished = slot.take();
        // What the future still owns is dropped outside the lock.
        drop(slot);
        drop(finished);
    }
}

/// Sleeps until an interrupt, which is the only thing that can make a task ready while this CPU does nothing.
fn idle() {
    timers::arm_next();
    if let Some(vector) = irq::wait_for_interrupt() {
        irq::dispatch(vector);
    }
}

#[cfg(all(test, loom))]
mod models;

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use core::sync::atomic::AtomicUsize;
    use core::task::Poll;

    /// The run queue is one for the process, so that what runs here must be awaited by what it changes.
    #[test]
    fn a_woken_task_runs_once_and_a_finished_one_never_again() {
        static POLLS: AtomicUsize = AtomicUsize::new(0);
        let waker = spawn(core::future::poll_fn(|_| {
            if POLLS.fetch_add(1, Ordering::SeqCst) == 2 { Poll::Ready(()) } else { Poll::Pending }
        }));
        for expected in [1, 2, 3, 3] {
            waker.wake_by_ref();
            waker.wake_by_ref();
            run_ready();
            assert_eq!(POLLS.load(Ordering::SeqCst), expected);
        }
    }
}
