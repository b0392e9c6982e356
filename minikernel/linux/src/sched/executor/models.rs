//! A task that is woken by another processor runs again, whatever it was doing.

use alloc::sync::Arc;
use core::future::poll_fn;
use core::task::Poll;

use isopod_hal::sync::atomic::{AtomicBool, Ordering};
use loom::thread;

use super::super::processor;
use super::{run_ready, task};

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

/// The queue is a static, and outlives an execution of a model.
fn empty() {
    while processor::next().is_some() {}
}

#[test]
fn a_wake_up_while_the_task_runs_makes_it_run_again() {
    loom::model(|| {
        let (come, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (seen, finished) = (come.clone(), done.clone());
        let task = task(poll_fn(move |_| {
            if seen.load(Ordering::Relaxed) {
                finished.store(true, Ordering::Release);
                return Poll::Ready(());
            }
            Poll::Pending
        }));
        task.call();
        let other = thread::spawn(move || {
            // Nothing but the wake-up itself carries the news over.
            come.store(true, Ordering::Relaxed);
            task.call();
        });
        run_until(&done);
        other.join().unwrap();
        empty();
    });
}

#[test]
fn two_wake_ups_at_once_queue_a_task_once() {
    loom::model(|| {
        let polls = Arc::new(loom::sync::atomic::AtomicUsize::new(0));
        let counted = polls.clone();
        let task = task(poll_fn(move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
            Poll::<()>::Pending
        }));
        let (one, other) = (task.clone(), task);
        let first = thread::spawn(move || one.call());
        other.call();
        first.join().unwrap();
        run_ready();
        assert_eq!(polls.load(Ordering::Relaxed), 1);
    });
}
