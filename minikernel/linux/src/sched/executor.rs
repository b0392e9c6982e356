//! The loop of each CPU: it polls what is ready, and sleeps when nothing is.

use core::future::Future;

use isopod_hal::irq;

use super::task::{Task, TaskRef};
use super::{preempt, processor};

/// Makes a task of a future. It begins when it is first called.
pub fn task(future: impl Future<Output = ()> + Send + 'static) -> TaskRef {
    TaskRef(Task::new(future))
}

/// Starts a future.
pub fn spawn(future: impl Future<Output = ()> + Send + 'static) {
    task(future).call();
}

/// Runs tasks for ever; sleeps when there are none. To be called once on each CPU.
pub fn run() -> ! {
    processor::begin();
    loop {
        run_ready();
        idle();
    }
}

fn run_ready() {
    while let Some(task) = processor::next() {
        preempt::begin_slice(&task);
        task.poll();
    }
}

/// Sleeps until an interrupt, which is the only thing that can give this CPU something to do: its own, or another CPU's call.
fn idle() {
    let processor = processor::this();
    processor.prepare_sleep();
    if let Some(task) = processor::next() {
        processor.end_sleep();
        preempt::begin_slice(&task);
        task.poll();
        return;
    }
    processor.timers.arm_next(None);
    let vector = irq::wait_for_interrupt();
    processor.end_sleep();
    if let Some(vector) = vector {
        irq::dispatch(vector);
    }
}

#[cfg(all(test, loom))]
mod models;

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use core::sync::atomic::{AtomicUsize, Ordering};
    use core::task::Poll;

    /// The run queue is one for the process, so that what runs here must be awaited by what it changes.
    #[test]
    fn a_woken_task_runs_once_and_a_finished_one_never_again() {
        static POLLS: AtomicUsize = AtomicUsize::new(0);
        let task = task(core::future::poll_fn(|_| {
            if POLLS.fetch_add(1, Ordering::SeqCst) == 2 { Poll::Ready(()) } else { Poll::Pending }
        }));
        for expected in [1, 2, 3, 3] {
            task.call();
            task.call();
            run_ready();
            assert_eq!(POLLS.load(Ordering::SeqCst), expected);
        }
    }
}
