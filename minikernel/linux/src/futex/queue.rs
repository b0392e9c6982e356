//! Waiting for and waking futexes.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::future::{Future, poll_fn};
use core::hash::{Hash, Hasher};
use core::task::{Poll, Waker};

use isopod_fs::Errno;
use isopod_hal::sync::{SpinLock, SpinLockGuard};
use isopod_hal::uaccess;

use super::key::{Key, Scope, key};
use super::word::{Attempt, attempt};
use crate::fail::Interrupted;
use crate::mm::AddressSpace;
use crate::process::Thread;
use crate::sched;
use crate::wait::interruptible;

#[cfg(all(test, loom))]
mod models;

/// Futexes are spread over this many locks; a power of two.
const BUCKETS: usize = 256;

/// Somebody who waits.
#[derive(Debug)]
struct Waiter {
    state: SpinLock<State>,
    /// Which wake-ups it takes (`FUTEX_WAIT_BITSET`).
    bits: u32,
}

#[derive(Debug)]
struct State {
    /// Where it stands; requeueing moves it. `None` once it has been woken.
    key: Option<Key>,
    waker: Option<Waker>,
}

#[derive(Debug, Default)]
pub(super) struct Bucket {
    waiters: VecDeque<(Key, Arc<Waiter>)>,
}

static TABLE: [SpinLock<Bucket>; BUCKETS] =
    [const { SpinLock::new(Bucket { waiters: VecDeque::new() }) }; BUCKETS];

/// FNV-1a: keys are small, and nobody gains from collisions but in time of their own.
struct Fnv(u64);

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

fn bucket_index(key: &Key) -> usize {
    let mut hasher = Fnv(0xcbf2_9ce4_8422_2325);
    key.hash(&mut hasher);
    let hash = hasher.finish();
    (hash ^ hash >> 32) as usize & (BUCKETS - 1)
}

fn lock(key: &Key) -> SpinLockGuard<'static, Bucket> {
    TABLE[bucket_index(key)].lock()
}

/// A place in a bucket, given up when the wait ends.
struct Place(Arc<Waiter>);

impl Place {
    fn is_woken(&self) -> bool {
        self.0.state.lock().key.is_none()
    }

    /// Sleeps until it is woken.
    fn woken(&self) -> impl Future<Output = ()> {
        poll_fn(|context| {
            let mut state = self.0.state.lock();
            if state.key.is_none() {
                return Poll::Ready(());
            }
            state.waker = Some(context.waker().clone());
            Poll::Pending
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // A requeue may move the waiter between the look at its key and the lock of the bucket.
        loop {
            let Some(key) = self.0.state.lock().key else { return };
            let mut bucket = lock(&key);
            if let Some(position) = bucket.waiters.iter().position(|(_, waiter)| Arc::ptr_eq(waiter, &self.0))
            {
                bucket.waiters.remove(position);
                self.0.state.lock().key = None;
                return;
            }
        }
    }
}

/// How a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waited {
    /// Woken.
    Woken,
    /// A signal came first.
    Interrupted,
    /// The time came first.
    TimedOut,
}

/// Waits until the word at `address` is woken, provided that it is `expected` now: `EAGAIN` otherwise. `deadline` is in
/// nanoseconds since boot.
pub async fn wait(
    thread: &Arc<Thread>,
    memory: &Arc<AddressSpace>,
    address: usize,
    scope: Scope,
    expected: u32,
    bits: u32,
    deadline: u64,
) -> Result<Waited, Errno> {
    if bits == 0 {
        return Err(Errno::EINVAL);
    }
    let key = key(memory, address, scope).await?;
    let place = attempt(memory, || enqueue(key, address, expected, bits)).await?;
    Ok(match interruptible(thread, sched::timeout_at(deadline, place.woken())).await {
        Ok(Some(())) => Waited::Woken,
        // A wake-up that came together with the signal or the time must not be lost.
        _ if place.is_woken() => Waited::Woken,
        Ok(None) => Waited::TimedOut,
        Err(Interrupted) => Waited::Interrupted,
    })
}

/// Looks at the word and takes a place, both under the bucket's lock.
fn enqueue(key: Key, address: usize, expected: u32, bits: u32) -> Attempt<Place> {
    let mut bucket = lock(&key);
    if uaccess::user_load_u32(address)? != expected {
        return Ok(Err(Errno::EAGAIN));
    }
    if bucket.waiters.try_reserve(1).is_err() {
        return Ok(Err(Errno::ENOMEM));
    }
    let waiter = Arc::new(Waiter { state: SpinLock::new(State { key: Some(key), waker: None }), bits });
    bucket.waiters.push_back((key, Arc::clone(&waiter)));
    Ok(Ok(Place(waiter)))
}

impl Bucket {
    /// Takes out the first waiter of `key` that takes a wake-up with `bits`.
    fn take(&mut self, key: Key, bits: u32) -> Option<Arc<Waiter>> {
        let position = self.waiters.iter().position(|(at, waiter)| *at == key && waiter.bits & bits != 0)?;
        self.waiters.remove(position).map(|(_, waiter)| waiter)
    }

    /// Wakes up to `count` waiters of `key`; returns how many.
    pub(super) fn wake(&mut self, key: Key, count: usize, bits: u32) -> usize {
        let mut woken = 0;
        while woken < count
            && let Some(waiter) = self.take(key, bits)
        {
            let mut state = waiter.state.lock();
            state.key = None;
            if let Some(waker) = state.waker.take() {
                waker.wake();
            }
            woken += 1;
        }
        woken
    }
}

/// Wakes up to `count` waiters; returns how many there were.
pub async fn wake(
    memory: &Arc<AddressSpace>,
    address: usize,
    scope: Scope,
    count: usize,
    bits: u32,
) -> Result<usize, Errno> {
    if bits == 0 {
        return Err(Errno::EINVAL);
    }
    let key = key(memory, address, scope).await?;
    Ok(lock(&key).wake(key, count, bits))
}

/// The locks of two buckets, taken in one order by everybody.
pub(super) struct Pair {
    first: SpinLockGuard<'static, Bucket>,
    second: Option<SpinLockGuard<'static, Bucket>>,
    swapped: bool,
}

impl Pair {
    pub(super) fn lock(a: &Key, b: &Key) -> Self {
        let (i, j) = (bucket_index(a), bucket_index(b));
        let swapped = j < i;
        let (low, high) = (i.min(j), i.max(j));
        Self { first: TABLE[low].lock(), second: (low != high).then(|| TABLE[high].lock()), swapped }
    }

    pub(super) fn a(&mut self) -> &mut Bucket {
        if self.swapped { self.second.as_mut().unwrap_or(&mut self.first) } else { &mut self.first }
    }

    pub(super) fn b(&mut self) -> &mut Bucket {
        if self.swapped { &mut self.first } else { self.second.as_mut().unwrap_or(&mut self.first) }
    }
}

/// Wakes up to `wakes` waiters of one word and moves up to `moves` others to another (`FUTEX_CMP_REQUEUE`). With `expected` the first word must
/// be that, or it is `EAGAIN`. Returns how many were woken, and how many moved.
pub async fn requeue(
    memory: &Arc<AddressSpace>,
    from: usize,
    to: usize,
    scope: Scope,
    (wakes, moves): (usize, usize),
    expected: Option<u32>,
) -> Result<(usize, usize), Errno> {
    let (source, target) = (key(memory, from, scope).await?, key(memory, to, scope).await?);
    attempt(memory, || try_requeue(source, target, from, (wakes, moves), expected)).await
}

fn try_requeue(
    source: Key,
    target: Key,
    from: usize,
    (wakes, moves): (usize, usize),
    expected: Option<u32>,
) -> Attempt<(usize, usize)> {
    let mut pair = Pair::lock(&source, &target);
    if let Some(expected) = expected
        && uaccess::user_load_u32(from)? != expected
    {
        return Ok(Err(Errno::EAGAIN));
    }
    let woken = pair.a().wake(source, wakes, u32::MAX);
    let mut moved = 0;
    while moved < moves
        && source != target
        && pair.b().waiters.try_reserve(1).is_ok()
        && let Some(waiter) = pair.a().take(source, u32::MAX)
    {
        waiter.state.lock().key = Some(target);
        pair.b().waiters.push_back((target, waiter));
        moved += 1;
    }
    Ok(Ok((woken, moved)))
}
