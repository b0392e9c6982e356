//! No wake-up is lost, whatever order several processors do things in. A model that waits for ever is a deadlock, which loom reports.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::future::Future;
use core::task::{Context, Waker};

use loom::future::block_on;
use loom::thread;

use super::WaitQueue;
use crate::sync::SpinLock;

/// A number of things to be had, and the queue of those who want one.
#[derive(Default)]
struct Store {
    things: SpinLock<usize>,
    queue: WaitQueue,
}

impl Store {
    fn put(&self) {
        *self.things.lock() += 1;
        self.queue.wake_one();
    }

    fn take(&self) -> Option<()> {
        let mut things = self.things.lock();
        *things = things.checked_sub(1)?;
        Some(())
    }
}

/// A waiter polled once, as one that a signal will end.
fn polled<'a>(store: &'a Store) -> Box<dyn Future<Output = ()> + 'a> {
    let mut wait = Box::pin(store.queue.until(|| store.take()));
    // A value that came at once is given back: what is looked at is a wait that has none.
    if wait.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
        store.put();
    }
    Box::new(wait)
}

/// Tries all executions in which a processor is interrupted by others three times at the most: without a bound three of them take hours, and
/// errors that need more are unheard of (Musuvathi and Qadeer, "Iterative context bounding", 2007, found all of theirs with two).
fn explore(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}

#[test]
fn a_wake_up_between_the_look_and_the_sleep_is_not_lost() {
    explore(|| {
        let store = Arc::new(Store::default());
        let other = store.clone();
        let waker = thread::spawn(move || other.put());
        block_on(store.queue.until(|| store.take()));
        waker.join().unwrap();
    });
}

#[test]
fn two_wake_ups_serve_two_waiters() {
    explore(|| {
        let store = Arc::new(Store::default());
        let (one, other) = (store.clone(), store.clone());
        let waiter = thread::spawn(move || block_on(one.queue.until(|| one.take())));
        let waker = thread::spawn(move || other.put());
        store.put();
        block_on(store.queue.until(|| store.take()));
        waiter.join().unwrap();
        waker.join().unwrap();
    });
}

#[test]
fn a_wait_that_is_given_up_passes_its_wake_up_on() {
    explore(|| {
        let store = Arc::new(Store::default());
        let (one, other) = (store.clone(), store.clone());
        let given_up = thread::spawn(move || drop(polled(&one)));
        let waker = thread::spawn(move || other.put());
        block_on(store.queue.until(|| store.take()));
        given_up.join().unwrap();
        waker.join().unwrap();
    });
}

#[test]
fn listeners_come_and_go_beside_waiters() {
    explore(|| {
        let store = Arc::new(Store::default());
        let (one, other) = (store.clone(), store.clone());
        let listener = thread::spawn(move || drop(one.queue.listen(Waker::noop())));
        let waker = thread::spawn(move || other.put());
        block_on(store.queue.until(|| store.take()));
        listener.join().unwrap();
        waker.join().unwrap();
    });
}
