//! A task that is woken by another processor runs again, whatever it was doing.

use alloc::sync::Arc;
use core::future::poll_fn;
use core::task::Poll;

use isopod_hal::sync::atomic::{AtomicBool, Ordering};
use loom::thread;

use super::{RUN_QUEUE, run_ready, spawn};

/// Runs until `done`: a processor whose run queue is empty lets others work.
fn run_until(done: &AtomicBool) {
    loop {
        run_ready();
        if done.load(Ordering::Acquire) {
            return;
        }
        thread::yield_now();
    }
}

#[test]
fn a_wake_up_while_the_task_runs_makes_it_run_again() {
    loom::model(|| {
        let (come, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (seen, finished) = (come.clone(), done.clone());
        let waker = spawn(poll_fn(move |_| {
            if seen.load(Ordering::Relaxed) {
                finished.store(true, Ordering::Release);
                return Poll::Ready(());
            }
            Poll::Pending
        }));
        let other = thread::spawn(move || {
            // Nothing but the wake-up itself carries the news over.
            come.store(true, Ordering::Relaxed);
            waker.wake_by_ref();
        });
        run_until(&done);
        other.join().unwrap();
        // The queue is a static, and outlives this execution of the model.
        RUN_QUEUE.lock().clear();
    });
}

#[test]
fn two_wake_ups_at_once_queue_a_task_once() {
    loom::model(|| {
        let polls = Arc::new(loom::sync::atomic::AtomicUsize::new(0));
        let counted = polls.clone();
        let waker = spawn(poll_fn(move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
            Poll::<()>::Pending
        }));
        let (one, other) = (waker.clone(), waker);
        let first = thread::spawn(move || one.wake_by_ref());
        other.wake_by_ref();
        first.join().unwrap();
        assert_eq!(RUN_QUEUE.lock().len(), 1);
        run_ready();
        assert_eq!(polls.load(Ordering::Relaxed), 1);
    });
}
