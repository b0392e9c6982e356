//! Wait queues: where futures sleep until something they wait for may have happened.
//!
//! A queue holds wakers, never threads. The rule that makes a lost wake-up impossible is kept here once, in [`WaitQueue::until`]:
//! register first, then look at the condition, then sleep. Whoever changes the condition changes it first and wakes
//! afterwards. A waiter that was chosen by [`WaitQueue::wake_one`] and then dropped before it looked (a signal ended its wait)
//! hands the wake-up to the next.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use core::future::poll_fn;
use core::ops::Range;
use core::task::{Poll, Waker};

use super::SpinLock;
use crate::number_map::NumberMap;
use crate::{OutOfMemory, heap};

/// Entries that stand in one block of memory. Those behind them have blocks of their own: programs decide how many there are, and a large
/// block may not be there when memory is short.
const FRONT: usize = 16;

/// Wakers in the order in which they came.
#[derive(Debug)]
pub struct WaitQueue {
    inner: SpinLock<Inner>,
}

#[derive(Debug)]
struct Inner {
    next_id: u64,
    /// The first entries. Nobody joins them while there are others.
    front: VecDeque<Entry>,
    /// The others, by their ids.
    rest: NumberMap<Box<Entry>>,
}

#[derive(Debug)]
struct Entry {
    id: u64,
    waker: Waker,
    /// A listener stays in the queue when it is woken and never takes a wake-up from a waiter.
    listener: bool,
    /// It hears of room, too: see [`WaitQueue::wake_for_room`].
    room: bool,
}

impl Default for WaitQueue {
    fn default() -> Self {
        Self::new()
    }
}

impl WaitQueue {
    /// An empty queue.
    pub const fn new() -> Self {
        Self { inner: SpinLock::new(Inner { next_id: 0, front: VecDeque::new(), rest: NumberMap::new() }) }
    }

    /// Wakes the waiter that came first, and every listener. True when there was a waiter.
    pub fn wake_one(&self) -> bool {
        self.wake(1) == 1
    }

    /// Wakes every waiter and every listener.
    pub fn wake_all(&self) {
        self.wake(usize::MAX);
    }

    /// Wakes at most `limit` waiters, and every listener. Returns how many waiters there were.
    ///
    /// Each waker is called, and dropped, outside the lock: it may be the last owner of a task whose futures stand in this very queue.
    pub fn wake(&self, limit: usize) -> usize {
        let end = {
            let inner = self.inner.lock();
            // Mostly nobody waits.
            if inner.is_empty() {
                return 0;
            }
            inner.next_id
        };
        let (mut from, mut woken) = (0, 0);
        while let Some((id, waker, listener)) = self.take_next(from, end, woken < limit) {
            waker.wake();
            woken += usize::from(!listener);
            from = id + 1;
        }
        woken
    }

    /// Wakes the listeners that want to hear of room even if there was some before, and nobody else.
    pub fn wake_for_room(&self) {
        let mut from = 0;
        while let Some((id, waker)) = self.next_for_room(from) {
            waker.wake();
            from = id + 1;
        }
    }

    fn next_for_room(&self, from: u64) -> Option<(u64, Waker)> {
        let inner = self.inner.lock();
        // Mostly nobody listens.
        if inner.is_empty() {
            return None;
        }
        inner.find(from..u64::MAX, |entry| entry.room).map(|entry| (entry.id, entry.waker.clone()))
    }

    /// The first entry with an identifier in `from..end` that is to be woken; it stays when it is a listener.
    fn take_next(&self, from: u64, end: u64, waiters_too: bool) -> Option<(u64, Waker, bool)> {
        let mut inner = self.inner.lock();
        let entry = inner.find(from..end, |entry| entry.listener || waiters_too)?;
        if entry.listener {
            return Some((entry.id, entry.waker.clone(), true));
        }
        let id = entry.id;
        inner.remove(id).map(|entry| (id, entry.waker, false))
    }

    /// Sleeps until `ready` gives a value. It is asked before the first sleep and after each wake-up.
    pub async fn until<T>(&self, mut ready: impl FnMut() -> Option<T>) -> T {
        if let Some(value) = ready() {
            return value;
        }
        self.until_changed(ready).await
    }

    /// As [`WaitQueue::until`], for one who has just asked in vain.
    pub async fn until_changed<T>(&self, mut ready: impl FnMut() -> Option<T>) -> T {
        let mut place = Place { queue: self, id: None };
        poll_fn(|context| {
            place.enter(context.waker());
            match ready() {
                Some(value) => {
                    place.leave();
                    Poll::Ready(value)
                }
                None => Poll::Pending,
            }
        })
        .await
    }

    /// Has `waker` woken at every wake-up of this queue until the listener is dropped: what `poll` and `epoll` need.
    pub fn listen<'a>(&'a self, waker: &Waker) -> Listener<&'a Self> {
        Listener { id: self.insert(waker, true), queue: self }
    }

    /// As [`WaitQueue::listen`], for a listener that keeps the queue alive. It can fail: how many of them stand in a queue is for a
    /// program to decide.
    pub fn listen_owned(
        self: alloc::sync::Arc<Self>,
        waker: &Waker,
    ) -> Result<Listener<alloc::sync::Arc<Self>>, OutOfMemory> {
        if heap::reserve_low() {
            return Err(OutOfMemory);
        }
        Ok(Listener { id: self.insert(waker, true), queue: self })
    }

    fn insert(&self, waker: &Waker, listener: bool) -> u64 {
        let mut inner = self.inner.lock();
        let id = inner.next_id;
        inner.next_id += 1;
        let entry = Entry { id, waker: waker.clone(), listener, room: false };
        if inner.rest.is_empty() && inner.front.len() < FRONT {
            inner.front.push_back(entry);
        } else {
            inner.rest.insert(id, Box::new(entry));
        }
        id
    }

    /// Takes an entry out. False when it was no longer there: it has been woken.
    fn remove(&self, id: u64) -> bool {
        let gone = self.inner.lock().remove(id);
        gone.is_some()
    }

    fn contains(&self, id: u64) -> bool {
        self.inner.lock().find(id..id + 1, |_| true).is_some()
    }
}

impl Inner {
    fn is_empty(&self) -> bool {
        self.front.is_empty() && self.rest.is_empty()
    }

    /// Where entry `id` stands in front, or the next behind it: identifiers rise along the queue, as entries are only ever appended.
    fn place_of(&self, id: u64) -> usize {
        let (mut low, mut high) = (0, self.front.len());
        while low < high {
            let middle = low.midpoint(high);
            if self.front[middle].id < id { low = middle + 1 } else { high = middle }
        }
        low
    }

    /// The first entry with one of these identifiers that is `wanted`.
    fn find(&self, ids: Range<u64>, wanted: impl Fn(&Entry) -> bool) -> Option<&Entry> {
        let mut place = self.place_of(ids.start);
        while let Some(entry) = self.front.get(place).filter(|entry| entry.id < ids.end) {
            if wanted(entry) {
                return Some(entry);
            }
            place += 1;
        }
        // Mostly there are no others.
        if self.rest.is_empty() {
            return None;
        }
        self.rest.range(ids).map(|(_, entry)| &**entry).find(|entry| wanted(entry))
    }

    fn get_mut(&mut self, id: u64) -> Option<&mut Entry> {
        let place = self.place_of(id);
        match self.front.get_mut(place) {
            Some(entry) if entry.id == id => Some(entry),
            _ => self.rest.get_mut(&id).map(|entry| &mut **entry),
        }
    }

    fn remove(&mut self, id: u64) -> Option<Entry> {
        let place = self.place_of(id);
        if self.front.get(place).is_some_and(|entry| entry.id == id) {
            return self.front.remove(place);
        }
        if self.rest.is_empty() { None } else { self.rest.remove(&id).map(|entry| *entry) }
    }
}

/// A waiter's place in a queue.
struct Place<'a> {
    queue: &'a WaitQueue,
    id: Option<u64>,
}

impl Place<'_> {
    /// Takes a place, or a new one at the end when a wake-up used up the old one and the condition did not hold.
    fn enter(&mut self, waker: &Waker) {
        if !self.id.is_some_and(|id| self.queue.contains(id)) {
            self.id = Some(self.queue.insert(waker, false));
        }
    }

    /// Gives the place up: the condition held, or nobody waits for it any more. A wake-up that has chosen this place meanwhile is for something
    /// that came after the last look, and another waiter must have it.
    fn leave(&mut self) {
        if let Some(id) = self.id.take()
            && !self.queue.remove(id)
        {
            self.queue.wake_one();
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.leave();
    }
}

/// A registration that outlives single wake-ups; see [`WaitQueue::listen`].
#[derive(Debug)]
pub struct Listener<Q: core::ops::Deref<Target = WaitQueue>> {
    queue: Q,
    id: u64,
}

impl<Q: core::ops::Deref<Target = WaitQueue>> Listener<Q> {
    /// Whether it wants to hear of room even if there was some before.
    pub fn hear_of_room(&self, wanted: bool) {
        if let Some(entry) = self.queue.inner.lock().get_mut(self.id) {
            entry.room = wanted;
        }
    }
}

impl<Q: core::ops::Deref<Target = WaitQueue>> Drop for Listener<Q> {
    fn drop(&mut self) {
        self.queue.remove(self.id);
    }
}

#[cfg(all(test, loom))]
mod models;

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::sync::Arc;
    use alloc::task::Wake;
    use alloc::vec::Vec;
    use core::pin::pin;
    use core::sync::atomic::{AtomicUsize, Ordering};
    use core::task::Context;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn counter() -> (Arc<Count>, Waker) {
        let count = Arc::new(Count::default());
        (count.clone(), Waker::from(count))
    }

    fn seen(count: &Count) -> usize {
        count.0.load(Ordering::SeqCst)
    }

    #[test]
    fn a_condition_that_holds_never_sleeps() {
        let queue = WaitQueue::new();
        let (_, waker) = counter();
        let mut wait = pin!(queue.until(|| Some(7)));
        assert_eq!(wait.as_mut().poll(&mut Context::from_waker(&waker)), Poll::Ready(7));
    }

    #[test]
    fn only_who_wants_to_hears_of_room() {
        let queue = WaitQueue::new();
        let (mut all, mut listeners) = (Vec::new(), Vec::new());
        // More than stand in front.
        for _ in 0..2 * FRONT {
            let (count, waker) = counter();
            listeners.push(queue.listen(&waker));
            all.push(count);
        }
        queue.wake_for_room();
        assert!(all.iter().all(|count| seen(count) == 0));
        listeners.iter().step_by(2).for_each(|listener| listener.hear_of_room(true));
        listeners[0].hear_of_room(false);
        queue.wake_for_room();
        for (index, count) in all.iter().enumerate() {
            assert_eq!(seen(count), usize::from(index > 0 && index % 2 == 0), "{index}");
        }
    }

    #[test]
    fn wake_one_wakes_in_order_and_only_one() {
        let queue = WaitQueue::new();
        let (first, first_waker) = counter();
        let (second, second_waker) = counter();
        let mut a = pin!(queue.until(|| None::<()>));
        let mut b = pin!(queue.until(|| None::<()>));
        assert!(a.as_mut().poll(&mut Context::from_waker(&first_waker)).is_pending());
        assert!(b.as_mut().poll(&mut Context::from_waker(&second_waker)).is_pending());
        assert!(queue.wake_one());
        assert_eq!((seen(&first), seen(&second)), (1, 0));
    }

    #[test]
    fn a_wake_up_given_to_a_dropped_waiter_goes_to_the_next() {
        let queue = WaitQueue::new();
        let (_, first_waker) = counter();
        let (second, second_waker) = counter();
        let mut a = alloc::boxed::Box::pin(queue.until(|| None::<()>));
        let mut b = pin!(queue.until(|| None::<()>));
        assert!(a.as_mut().poll(&mut Context::from_waker(&first_waker)).is_pending());
        assert!(b.as_mut().poll(&mut Context::from_waker(&second_waker)).is_pending());
        queue.wake_one();
        drop(a);
        assert_eq!(seen(&second), 1);
    }

    #[test]
    fn a_queue_grows_without_a_large_block_of_memory() {
        const WAITERS: usize = 1000;
        let queue = WaitQueue::new();
        let (count, waker) = counter();
        let context = &mut Context::from_waker(&waker);
        let mut waits: Vec<_> = (0..WAITERS).map(|_| Some(Box::pin(queue.until(|| None::<()>)))).collect();
        let exhausted = crate::hosted::exhaust(512 << 10);
        for wait in waits.iter_mut().flatten() {
            assert!(wait.as_mut().poll(context).is_pending());
        }
        drop(exhausted);
        // One of the first and one of the others give up.
        waits[1] = None;
        waits[500] = None;
        assert_eq!(queue.wake(100), 100);
        assert_eq!(seen(&count), 100);
        // Each of them had its place in the queue, and takes the last one now.
        let (last, last_waker) = counter();
        let mut wait = pin!(queue.until(|| None::<()>));
        assert!(wait.as_mut().poll(&mut Context::from_waker(&last_waker)).is_pending());
        assert_eq!(queue.wake(WAITERS - 102), WAITERS - 102);
        assert_eq!((seen(&count), seen(&last)), (WAITERS - 2, 0));
        assert!(queue.wake_one() && !queue.wake_one());
        assert_eq!(seen(&last), 1);
    }

    #[test]
    fn listeners_stay_and_take_nothing_from_waiters() {
        let queue = WaitQueue::new();
        let (listener, listener_waker) = counter();
        let (waiter, waiter_waker) = counter();
        let registration = queue.listen(&listener_waker);
        let mut wait = pin!(queue.until(|| None::<()>));
        assert!(wait.as_mut().poll(&mut Context::from_waker(&waiter_waker)).is_pending());
        assert!(queue.wake_one());
        assert!(!queue.wake_one());
        assert_eq!((seen(&listener), seen(&waiter)), (2, 1));
        drop(registration);
        queue.wake_all();
        assert_eq!(seen(&listener), 2);
    }
}
