//! Futexes that are owned: `FUTEX_LOCK_PI` and its kin.
//!
//! The word holds the owner's thread id, and the kernel hands the lock on, so that it never passes to whoever happens to run. Threads are not
//! scheduled by priority, and there is none to inherit; which of those who wait is first does depend on it.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use isopod_fs::Errno;
use isopod_hal::uaccess;

use super::claim::Claim;
use super::key::{Key, Scope, key};
use super::queue::{Bucket, Pair, Place, lock as lock_bucket};
use super::robust::{OWNER_DIED, TID_MASK, WAITERS};
use super::word::exchange;
use crate::fail::{Attempt, Fail};
use crate::mm::{AddressSpace, UserPtr};
use crate::process::{Thread, find_thread};
use crate::wait::{Until, Waited, again};

/// What came of a try to take a lock.
enum Tried {
    Taken,
    /// This thread has it.
    Owned(u32),
}

/// Takes the lock for thread `tid` if it is free; otherwise marks that somebody waits (`futex_lock_pi_atomic`).
fn take(bucket: &Bucket, key: Key, address: usize, tid: u32, more_wait: bool) -> Attempt<Tried> {
    let mut word = uaccess::user_load_u32(address)?;
    loop {
        if word & TID_MASK == tid {
            return Err(Errno::EDEADLK.into());
        }
        let mut waiters = bucket.waiters.iter().filter(|(at, _)| *at == key);
        if let Some((_, first)) = waiters.next() {
            // Whoever waits there otherwise waits for something else.
            let Some(claim) = &first.claim else { return Err(Errno::EINVAL.into()) };
            let owner = claim.owner.load(Ordering::Relaxed);
            let being_left = bucket.claims(key).any(|(_, claim)| claim.is_granted());
            let fits = owner != 0 && (being_left || owner == word & TID_MASK);
            return if fits { Ok(Tried::Owned(owner)) } else { Err(Errno::EINVAL.into()) };
        }
        let owner = word & TID_MASK;
        let wanted = match owner {
            0 => word & OWNER_DIED | tid | if more_wait { WAITERS } else { 0 },
            _ => word | WAITERS,
        };
        let found = uaccess::user_cmpxchg_u32(address, word, wanted)?;
        if found != word {
            word = found;
            continue;
        }
        return match owner {
            0 => Ok(Tried::Taken),
            owner if find_thread(owner).is_none() => Err(Errno::ESRCH.into()),
            owner => Ok(Tried::Owned(owner)),
        };
    }
}

/// Locks the futex for `thread`, or takes a place in the queue for it. `EDEADLK` if it, or who waits for it, has the lock.
pub fn lock(
    thread: &Arc<Thread>,
    memory: &Arc<AddressSpace>,
    address: usize,
    scope: Scope,
) -> Attempt<Option<Place>> {
    let key = key(memory, address, scope)?;
    let mut bucket = lock_bucket(&key);
    let Tried::Owned(owner) = take(&bucket, key, address, thread.tid(), false)? else { return Ok(None) };
    if bucket.waiters.try_reserve(1).is_err() {
        return Err(Errno::ENOMEM.into());
    }
    let claim = Claim::new(thread, None);
    claim.begin(owner)?;
    Ok(Some(bucket.enter(key, 0, Some(claim))?))
}

/// Waits at a place for the lock at `address` to be handed over. What was left by an owner that has ended is then taken. If the wait ended
/// without the lock, where it ended comes with that.
pub async fn wait_for_lock(
    thread: Arc<Thread>,
    memory: Arc<AddressSpace>,
    address: usize,
    place: Place,
    deadline: u64,
) -> Result<(Waited, Option<Key>), Fail> {
    let waited = Until::new(&thread, deadline, &mut |context| place.poll_woken(context)).await;
    // What comes together with a signal or the time must not be lost.
    let left = again(&memory, || accept_or_leave(thread.tid(), address, &place)).await?;
    Ok((if left.is_none() { Waited::Woken } else { waited }, left))
}

/// Ends a wait: takes what was granted, if it has been; if not, where the place was is the result.
fn accept_or_leave(tid: u32, address: usize, place: &Place) -> Attempt<Option<Key>> {
    loop {
        let Some(key) = place.0.state.lock().key else { return Ok(None) };
        let mut bucket = lock_bucket(&key);
        // It may have been moved, or given the lock, meanwhile.
        if place.0.state.lock().key != Some(key) {
            continue;
        }
        let granted = place.0.claim.as_ref().is_some_and(Claim::is_granted);
        if granted {
            let mut word = uaccess::user_load_u32(address)?;
            exchange(address, &mut word, |_| Some(WAITERS | OWNER_DIED | tid))?;
        }
        bucket.remove(&place.0);
        place.0.state.lock().key = None;
        if let Some(claim) = &place.0.claim {
            claim.thread.awaited_owner.store(0, Ordering::Relaxed);
        }
        return Ok((!granted).then_some(key));
    }
}

/// Locks the futex for `thread` if it is free. `EAGAIN` if not.
pub fn try_lock(thread: &Thread, memory: &Arc<AddressSpace>, address: usize, scope: Scope) -> Attempt<()> {
    let key = key(memory, address, scope)?;
    match take(&lock_bucket(&key), key, address, thread.tid(), false)? {
        Tried::Taken => Ok(()),
        Tried::Owned(_) => Err(Errno::EAGAIN.into()),
    }
}

/// Hands the lock of `thread` to the next, if there is one. `EPERM` if it is not the owner.
pub fn unlock(thread: &Thread, memory: &Arc<AddressSpace>, address: usize, scope: Scope) -> Attempt<()> {
    let tid = thread.tid();
    if UserPtr::<u32>::new(address).get()? & TID_MASK != tid {
        return Err(Errno::EPERM.into());
    }
    hand_over(tid, key(memory, address, scope)?, address)
}

fn hand_over(tid: u32, key: Key, address: usize) -> Attempt<()> {
    let mut bucket = lock_bucket(&key);
    let word = uaccess::user_load_u32(address)?;
    if word & TID_MASK != tid {
        return Err(Errno::EPERM.into());
    }
    if bucket.waiters.iter().any(|(at, waiter)| *at == key && waiter.claim.is_none()) {
        return Err(Errno::EINVAL.into());
    }
    let next = bucket.first_claim(key);
    let claim = next.as_ref().and_then(|next| next.claim.as_ref());
    if claim.is_some_and(|claim| claim.owner.load(Ordering::Relaxed) != tid) {
        return Err(Errno::EINVAL.into());
    }
    let new = claim.map_or(0, |claim| WAITERS | claim.thread.tid());
    // The owner's other threads may set the mark that somebody waits, and nothing else.
    let mut old = word;
    exchange(address, &mut old, |old| (old & TID_MASK == tid).then_some(new))?;
    if old & TID_MASK != tid {
        return Err(Errno::EINVAL.into());
    }
    if let (Some(next), Some(claim)) = (&next, claim) {
        bucket.remove(next);
        bucket.set_owner(key, claim.thread.tid());
        claim.thread.awaited_owner.store(0, Ordering::Relaxed);
        next.release();
    }
    Ok(())
}

/// A place at one word, provided that it is `expected`, to be moved to the lock at `second` (`FUTEX_WAIT_REQUEUE_PI`). With it comes the place's
/// key, which it still has if it has not been moved.
pub fn enter_for_lock(
    thread: &Arc<Thread>,
    memory: &Arc<AddressSpace>,
    (first, second): (usize, usize),
    scope: Scope,
    expected: u32,
) -> Attempt<(Place, Key)> {
    let target = key(memory, second, scope)?;
    let key = key(memory, first, scope)?;
    if key == target {
        return Err(Errno::EINVAL.into());
    }
    let mut bucket = lock_bucket(&key);
    if uaccess::user_load_u32(first)? != expected {
        return Err(Errno::EAGAIN.into());
    }
    Ok((bucket.enter(key, 0, Some(Claim::new(thread, Some(target))))?, key))
}

/// Moves those who wait at `first` to the lock at `second`, which the first of them gets if it is free (`FUTEX_CMP_REQUEUE_PI`). Returns how
/// many were woken or moved, at most one more than `moves`.
pub fn requeue_to_lock(
    memory: &Arc<AddressSpace>,
    (first, second): (usize, usize),
    scope: Scope,
    moves: usize,
    expected: u32,
) -> Attempt {
    if first == second {
        return Err(Errno::EINVAL.into());
    }
    let (source, target) = (key(memory, first, scope)?, key(memory, second, scope)?);
    if source == target {
        return Err(Errno::EINVAL.into());
    }
    let mut pair = Pair::lock(&source, &target);
    if uaccess::user_load_u32(first)? != expected {
        return Err(Errno::EAGAIN.into());
    }
    let mut done = 0;
    let mut owner = None;
    while done <= moves {
        let Some(waiter) =
            pair.a().waiters.iter().find(|(at, _)| *at == source).map(|(_, waiter)| Arc::clone(waiter))
        else {
            break;
        };
        let Some(claim) = waiter.claim.as_ref().filter(|claim| claim.target == Some(target)) else {
            return if done > 0 { Ok(done) } else { Err(Errno::EINVAL.into()) };
        };
        let tid = claim.thread.tid();
        let tried = match owner {
            Some(owner) => Tried::Owned(owner),
            None => take(pair.b(), target, second, tid, moves > 0)?,
        };
        match tried {
            Tried::Taken => {
                pair.a().remove(&waiter);
                waiter.release();
                owner = Some(tid);
            }
            Tried::Owned(current) => {
                owner = Some(current);
                if let Err(errno) = claim.begin(current) {
                    return if done > 0 { Ok(done) } else { Err(errno.into()) };
                }
                if pair.b().waiters.try_reserve(1).is_err() {
                    return Err(Errno::ENOMEM.into());
                }
                pair.a().remove(&waiter);
                waiter.state.lock().key = Some(target);
                pair.b().waiters.push_back((target, waiter));
            }
        }
        done += 1;
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::enlist;
    use crate::testing::{self, Task};
    use alloc::vec::Vec;
    use core::task::Poll;
    use isopod_hal::PAGE_SIZE;

    const WORDS: [usize; 2] = [0x20_0000, 0x20_0000 + 64];

    /// Threads of one process, and its memory.
    fn threads(count: usize) -> (Vec<Arc<Thread>>, Arc<AddressSpace>) {
        let first = testing::thread();
        let memory =
            testing::map_pages(&first, WORDS[0], WORDS[1].div_ceil(PAGE_SIZE) - WORDS[0] / PAGE_SIZE);
        let mut all = alloc::vec![first];
        while all.len() < count {
            all.push(testing::sibling(&all[0]));
        }
        all.iter().for_each(enlist);
        (all, memory)
    }

    fn locking<'a>(
        thread: &'a Arc<Thread>,
        memory: &'a Arc<AddressSpace>,
        word: usize,
    ) -> Task<'a, Result<Waited, Fail>> {
        Task::new(async move {
            let begun = again(memory, || lock(thread, memory, WORDS[word], Scope::Private)).await?;
            let Some(place) = begun else { return Ok(Waited::Woken) };
            let wait = wait_for_lock(Arc::clone(thread), Arc::clone(memory), WORDS[word], place, u64::MAX);
            wait.await.map(|(waited, _)| waited)
        })
    }

    fn unlocked(thread: &Thread, memory: &Arc<AddressSpace>, word: usize) -> Result<(), Fail> {
        match Task::new(again(memory, || unlock(thread, memory, WORDS[word], Scope::Private))).poll() {
            Poll::Ready(outcome) => outcome,
            Poll::Pending => panic!("an unlock does not wait"),
        }
    }

    #[test]
    fn a_lock_is_handed_to_the_first_of_the_highest_priority() {
        let (threads, memory) = threads(4);
        assert_eq!(locking(&threads[0], &memory, 0).poll(), Poll::Ready(Ok(Waited::Woken)));
        let mut scheduling = threads[3].scheduling();
        scheduling.priority = 5;
        threads[3].set_scheduling(scheduling);
        let mut waits: Vec<_> = threads[1..].iter().map(|thread| locking(thread, &memory, 0)).collect();
        assert!(waits.iter_mut().all(|wait| wait.poll().is_pending()));
        for (owner, next) in [(0, 2), (3, 0), (1, 1)] {
            assert_eq!(unlocked(&threads[owner], &memory, 0), Ok(()));
            assert_eq!(waits[next].poll(), Poll::Ready(Ok(Waited::Woken)));
        }
        assert_eq!(unlocked(&threads[0], &memory, 0), Err(Errno::EPERM.into()));
        assert_eq!(unlocked(&threads[2], &memory, 0), Ok(()));
    }

    #[test]
    fn a_circle_of_owners_is_refused_and_an_end_breaks_it() {
        let (threads, memory) = threads(3);
        for (thread, word) in [(0, 0), (1, 1)] {
            assert!(locking(&threads[thread], &memory, word).poll().is_ready());
        }
        let mut first = locking(&threads[0], &memory, 1);
        let mut third = locking(&threads[2], &memory, 0);
        assert!(first.poll().is_pending() && third.poll().is_pending());
        assert_eq!(locking(&threads[1], &memory, 0).poll(), Poll::Ready(Err(Errno::EDEADLK.into())));
        super::super::release_claimed(&threads[1]);
        assert_eq!(first.poll(), Poll::Ready(Ok(Waited::Woken)));
        let word = uaccess::user_load_u32(WORDS[1]).unwrap();
        assert_eq!(word, WAITERS | OWNER_DIED | threads[0].tid());
        // One who gives up leaves what was granted to the next.
        super::super::release_claimed(&threads[0]);
        drop(third);
        assert!(locking(&threads[1], &memory, 0).poll().is_pending());
    }
}
