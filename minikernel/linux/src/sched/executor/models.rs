//! A task that is woken by another processor runs again, whatever it was doing, and no processor sleeps while a task waits that it may run.

use alloc::sync::Arc;
use core::future::poll_fn;
use core::task::Poll;

use isopod_hal::cpu;
use isopod_hal::sync::atomic::{AtomicBool, Ordering};
use loom::thread;

use super::super::processor;
use super::{idle, run_ready, task};

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

/// A task, made ready by CPU 0, which does nothing else, is run by CPU 1, which falls asleep meanwhile.
fn a_processor_that_falls_asleep_runs_it(affinity: u64) {
    loom::model(move || {
        processor::pretend(0b11);
        let done = Arc::new(AtomicBool::new(false));
        let finished = Arc::clone(&done);
        let task = task(poll_fn(move |_| {
            finished.store(true, Ordering::Release);
            Poll::Ready(())
        }));
        task.set_affinity(affinity);
        let sleeper = thread::spawn(move || {
            cpu::pretend(1);
            run_ready();
            while !done.load(Ordering::Acquire) {
                idle();
                run_ready();
            }
        });
        task.call();
        sleeper.join().unwrap();
        empty();
    });
}

#[test]
fn a_task_of_its_own_wakes_a_processor_that_falls_asleep() {
    a_processor_that_falls_asleep_runs_it(0b10);
}

#[test]
fn a_processor_that_falls_asleep_sees_what_waits_elsewhere() {
    a_processor_that_falls_asleep_runs_it(0b11);
}
