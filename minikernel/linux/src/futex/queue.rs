//! Waiting for and waking futexes.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::hash::{Hash, Hasher};
use core::task::{Context, Waker};

use isopod_fs::Errno;
use isopod_hal::sync::{SpinLock, SpinLockGuard};
use isopod_hal::uaccess;

use super::claim::Claim;
use super::key::{Key, Scope, key};
use crate::fail::Attempt;
use crate::mm::AddressSpace;
use crate::process::Thread;
use crate::wait::{Until, Waited};

#[cfg(all(test, loom))]
mod models;

/// Futexes are spread over this many locks; a power of two.
pub(super) const BUCKETS: usize = 64;

/// Somebody who waits.
#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) state: SpinLock<State>,
    /// Which wake-ups it takes (`FUTEX_WAIT_BITSET`): none if it waits for a lock.
    bits: u32,
    /// It waits for a lock that is handed to it.
    pub(super) claim: Option<Claim>,
}

#[derive(Debug)]
pub(super) struct State {
    /// Where it stands; requeueing moves it. `None` once it has been woken.
    pub(super) key: Option<Key>,
    pub(super) waker: Option<Waker>,
}

#[derive(Debug, Default)]
pub(super) struct Bucket {
    pub(super) waiters: VecDeque<(Key, Arc<Waiter>)>,
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

/// The bucket with this number.
pub(super) fn bucket(index: usize) -> SpinLockGuard<'static, Bucket> {
    TABLE[index].lock()
}

pub(super) fn lock(key: &Key) -> SpinLockGuard<'static, Bucket> {
    TABLE[bucket_index(key)].lock()
}

/// A place in a bucket, given up when the wait ends.
#[derive(Debug)]
pub struct Place(pub(super) Arc<Waiter>);

impl Place {
    /// True when it is woken; if not, it will be told.
    pub(super) fn poll_woken(&self, context: &Context<'_>) -> bool {
        let mut state = self.0.state.lock();
        let over = state.key.is_none() || self.0.claim.as_ref().is_some_and(Claim::is_granted);
        if !over {
            state.waker = Some(context.waker().clone());
        }
        over
    }
}

impl Place {
    /// Ends the wait. True if it had been woken.
    fn leave(&self) -> bool {
        // A requeue may move the waiter between the look at its key and the lock of the bucket.
        loop {
            let Some(key) = self.0.state.lock().key else { return true };
            let mut bucket = lock(&key);
            if let Some(position) = bucket.waiters.iter().position(|(_, waiter)| Arc::ptr_eq(waiter, &self.0))
            {
                bucket.waiters.remove(position);
                self.0.state.lock().key = None;
                if let Some(claim) = &self.0.claim {
                    claim.give_up(&mut bucket, key);
                }
                return false;
            }
        }
    }
}

/// Ends the waits at all places. The last of those that had been woken, if there is one.
fn leave_all(places: &[Place]) -> Option<usize> {
    places
        .iter()
        .enumerate()
        .fold(None, |last, (index, place)| if place.leave() { Some(index) } else { last })
}

impl Drop for Place {
    fn drop(&mut self) {
        self.leave();
    }
}

/// A place at the word at `address`, provided that it is `expected` now: `EAGAIN` otherwise.
pub fn enter(
    memory: &Arc<AddressSpace>,
    address: usize,
    scope: Scope,
    expected: u32,
    bits: u32,
) -> Attempt<Place> {
    if bits == 0 {
        return Err(Errno::EINVAL.into());
    }
    enqueue(key(memory, address, scope)?, address, expected, bits)
}

/// Waits until the place is woken. `deadline` is in nanoseconds since boot.
pub async fn wait(thread: Arc<Thread>, place: Place, deadline: u64) -> Waited {
    let waited = Until::new(&thread, deadline, &mut |context| place.poll_woken(context)).await;
    // A wake-up that came together with the signal or the time must not be lost.
    if place.leave() { Waited::Woken } else { waited }
}

/// A word to wait for, among others (`futex_waitv(2)`).
#[derive(Debug, Clone, Copy)]
pub struct Word {
    /// Where it is.
    pub address: usize,
    /// Who can use it.
    pub scope: Scope,
    /// What it must be.
    pub expected: u32,
}

/// Places at all of the words, provided that they are as expected: `EAGAIN` otherwise. If one was woken meanwhile that counts instead, and its
/// index is what comes.
pub fn enter_all(memory: &Arc<AddressSpace>, words: &[Word]) -> Attempt<Result<Vec<Place>, usize>> {
    let mut places = Vec::new();
    places.try_reserve_exact(words.len()).map_err(|_| Errno::ENOMEM)?;
    for word in words {
        match enter(memory, word.address, word.scope, word.expected, u32::MAX) {
            Ok(place) => places.push(place),
            Err(stop) => return leave_all(&places).map(Err).ok_or(stop),
        }
    }
    Ok(Ok(places))
}

/// Waits until one of the places is woken. With [`Waited::Woken`] comes the last of those that were.
pub async fn wait_any(thread: Arc<Thread>, places: Vec<Place>, deadline: u64) -> (Waited, usize) {
    let waited = Until::new(&thread, deadline, &mut |context| {
        // All of them, so that each knows whom to tell.
        places.iter().fold(false, |over, place| over | place.poll_woken(context))
    })
    .await;
    match leave_all(&places) {
        Some(index) => (Waited::Woken, index),
        None => (waited, 0),
    }
}

/// Looks at the word and takes a place, both under the bucket's lock.
fn enqueue(key: Key, address: usize, expected: u32, bits: u32) -> Attempt<Place> {
    let mut bucket = lock(&key);
    if uaccess::user_load_u32(address)? != expected {
        return Err(Errno::EAGAIN.into());
    }
    Ok(bucket.enter(key, bits, None)?)
}

impl Bucket {
    /// Puts somebody at the end of the queue.
    pub(super) fn enter(&mut self, key: Key, bits: u32, claim: Option<Claim>) -> Result<Place, Errno> {
        self.waiters.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        let state = SpinLock::new(State { key: Some(key), waker: None });
        let waiter = Arc::new(Waiter { state, bits, claim });
        self.waiters.push_back((key, Arc::clone(&waiter)));
        Ok(Place(waiter))
    }

    /// `EINVAL` where somebody waits for a lock, which only its owner hands over.
    fn check_no_claim(&self, key: Key) -> Result<(), Errno> {
        let claimed = self.waiters.iter().any(|(at, waiter)| *at == key && waiter.claim.is_some());
        if claimed { Err(Errno::EINVAL) } else { Ok(()) }
    }

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
            waiter.release();
            woken += 1;
        }
        woken
    }

    /// As [`wake`](Self::wake), unless locks are waited for here.
    pub(super) fn try_wake(&mut self, key: Key, count: usize, bits: u32) -> Result<usize, Errno> {
        self.check_no_claim(key)?;
        Ok(self.wake(key, count, bits))
    }
}

impl Waiter {
    /// Ends its wait. It is out of the bucket.
    pub(super) fn release(&self) {
        self.state.lock().key = None;
        self.tell();
    }

    /// Has it look again.
    pub(super) fn tell(&self) {
        let waker = self.state.lock().waker.take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// Wakes up to `count` waiters; returns how many there were.
pub fn wake(memory: &Arc<AddressSpace>, address: usize, scope: Scope, count: usize, bits: u32) -> Attempt {
    if bits == 0 {
        return Err(Errno::EINVAL.into());
    }
    let key = key(memory, address, scope)?;
    Ok(lock(&key).try_wake(key, count, bits)?)
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
pub fn requeue(
    memory: &Arc<AddressSpace>,
    from: usize,
    to: usize,
    scope: Scope,
    counts: (usize, usize),
    expected: Option<u32>,
) -> Attempt<(usize, usize)> {
    let (source, target) = (key(memory, from, scope)?, key(memory, to, scope)?);
    try_requeue(source, target, from, counts, expected)
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
        return Err(Errno::EAGAIN.into());
    }
    let woken = pair.a().try_wake(source, wakes, u32::MAX)?;
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
    Ok((woken, moved))
}
