//! Waiting for and waking futexes.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::future::poll_fn;
use core::hash::{Hash, Hasher};
use core::task::{Poll, Waker};

use isopod_fs::Errno;
use isopod_hal::sync::{SpinLock, SpinLockGuard};
use isopod_hal::uaccess;

use super::key::{Key, Scope, key};
use crate::fail::Interrupted;
use crate::mm::AddressSpace;
use crate::process::Thread;
use crate::sched;
use crate::wait::interruptible;

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
struct Bucket {
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

/// How a wait ended, other than by a wake-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FutexOp {
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
) -> Result<FutexOp, Errno> {
    if bits == 0 {
        return Err(Errno::EINVAL);
    }
    let key = key(memory, address, scope).await?;
    let place = attempt(memory, || enqueue(key, address, expected, bits)).await?;
    let woken = poll_fn(|context| {
        let mut state = place.0.state.lock();
        if state.key.is_none() {
            return Poll::Ready(());
        }
        state.waker = Some(context.waker().clone());
        Poll::Pending
    });
    Ok(match interruptible(thread, sched::timeout_at(deadline, woken)).await {
        Ok(Some(())) => FutexOp::Woken,
        // A wake-up that came together with the signal or the time must not be lost.
        _ if place.is_woken() => FutexOp::Woken,
        Ok(None) => FutexOp::TimedOut,
        Err(Interrupted) => FutexOp::Interrupted,
    })
}

/// What came of a look at the word, or the fault that prevented it.
pub(super) type Attempt<T> = Result<Result<T, Errno>, uaccess::Fault>;

/// Acts under a bucket's lock, where a page cannot be waited for, again after each fault.
pub(super) async fn attempt<T>(
    memory: &AddressSpace,
    mut act: impl FnMut() -> Attempt<T>,
) -> Result<T, Errno> {
    loop {
        match act() {
            Ok(outcome) => return outcome,
            Err(fault) => memory.resolve(fault).await?,
        }
    }
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
    fn wake(&mut self, key: Key, count: usize, bits: u32) -> usize {
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
struct Pair {
    first: SpinLockGuard<'static, Bucket>,
    second: Option<SpinLockGuard<'static, Bucket>>,
    swapped: bool,
}

impl Pair {
    fn lock(a: &Key, b: &Key) -> Self {
        let (i, j) = (bucket_index(a), bucket_index(b));
        let swapped = j < i;
        let (low, high) = (i.min(j), i.max(j));
        Self { first: TABLE[low].lock(), second: (low != high).then(|| TABLE[high].lock()), swapped }
    }

    fn a(&mut self) -> &mut Bucket {
        if self.swapped { self.second.as_mut().unwrap_or(&mut self.first) } else { &mut self.first }
    }

    fn b(&mut self) -> &mut Bucket {
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

/// `FUTEX_WAKE_OP`: what is done to the second word, and what its old value is compared with.
#[derive(Debug, Clone, Copy)]
pub struct WakeOp {
    operation: u32,
    operand: u32,
    comparison: u32,
    compared: i32,
}

impl WakeOp {
    /// From the encoded argument (`futex(2)`, `FUTEX_OP`). `ENOSYS` for an operation or comparison that does not exist.
    pub fn decode(encoded: u32) -> Result<Self, Errno> {
        const SHIFTED: u32 = 8;
        let sign_extend = |twelve: u32| (twelve << 20) as i32 >> 20;
        let operation = encoded >> 28 & 0xf;
        let mut operand = sign_extend(encoded >> 12 & 0xfff) as u32;
        if operation & SHIFTED != 0 {
            operand = 1u32 << (operand & 31);
        }
        let decoded = Self {
            operation: operation & 7,
            operand,
            comparison: encoded >> 24 & 0xf,
            compared: sign_extend(encoded & 0xfff),
        };
        if decoded.operation > 4 || decoded.comparison > 5 { Err(Errno::ENOSYS) } else { Ok(decoded) }
    }

    fn apply(self, old: u32) -> u32 {
        match self.operation {
            0 => self.operand,
            1 => old.wrapping_add(self.operand),
            2 => old | self.operand,
            3 => old & !self.operand,
            _ => old ^ self.operand,
        }
    }

    fn holds(self, old: u32) -> bool {
        let old = old as i32;
        match self.comparison {
            0 => old == self.compared,
            1 => old != self.compared,
            2 => old < self.compared,
            3 => old <= self.compared,
            4 => old > self.compared,
            _ => old >= self.compared,
        }
    }
}

/// Changes the second word, wakes waiters of the first, and, if the old value compares so, of the second. Returns how many.
pub async fn wake_op(
    memory: &Arc<AddressSpace>,
    first: usize,
    second: usize,
    scope: Scope,
    (wakes, wakes_second): (usize, usize),
    operation: WakeOp,
) -> Result<usize, Errno> {
    let (a, b) = (key(memory, first, scope).await?, key(memory, second, scope).await?);
    attempt(memory, || try_wake_op(a, b, second, (wakes, wakes_second), operation)).await
}

fn try_wake_op(
    a: Key,
    b: Key,
    second: usize,
    (wakes, wakes_second): (usize, usize),
    operation: WakeOp,
) -> Attempt<usize> {
    let mut pair = Pair::lock(&a, &b);
    let mut old = uaccess::user_load_u32(second)?;
    exchange(second, &mut old, |old| Some(operation.apply(old)))?;
    let mut woken = pair.a().wake(a, wakes, u32::MAX);
    if operation.holds(old) {
        woken += pair.b().wake(b, wakes_second, u32::MAX);
    }
    Ok(Ok(woken))
}

/// Replaces the word at `address`, which was `old` when it was looked at, by what `change` makes of it, if that is anything. `old` is then what was
/// replaced.
pub(super) fn exchange(
    address: usize,
    old: &mut u32,
    change: impl Fn(u32) -> Option<u32>,
) -> Result<(), uaccess::Fault> {
    while let Some(new) = change(*old) {
        let found = uaccess::user_cmpxchg_u32(address, *old, new)?;
        if found == *old {
            break;
        }
        *old = found;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_encoded_operation_is_that_of_the_manual() {
        // FUTEX_OP(FUTEX_OP_ADD, 1, FUTEX_OP_CMP_GT, 1): what glibc's condition variables used.
        let add = WakeOp::decode(1 << 28 | 4 << 24 | 1 << 12 | 1).unwrap();
        assert_eq!(add.apply(1), 2);
        assert!(!add.holds(1) && add.holds(2));
        let negative = WakeOp::decode(0xfff << 12 | 0xfff).unwrap();
        assert_eq!(negative.apply(5), u32::MAX);
        assert!(negative.holds(u32::MAX));
        let shifted = WakeOp::decode((8 | 2) << 28 | 4 << 12).unwrap();
        assert_eq!(shifted.apply(1), 17);
        assert_eq!(WakeOp::decode(7 << 28).unwrap_err(), Errno::ENOSYS);
    }
}
