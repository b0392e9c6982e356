//! When something is due, for all connections at once. An entry is added only where a connection's next deadline comes earlier than those it
//! has here, so most calls to a connection add nothing; an entry that comes true looks at the connection and is added again where needed.

use alloc::collections::BinaryHeap;
use core::cmp::Reverse;
use core::sync::atomic::{AtomicU64, Ordering};

use isopod_hal::sync::SpinLock;

const NEVER: u64 = u64::MAX;

/// The entries that a connection has: the next, and one that was added before it.
#[derive(Debug)]
pub(super) struct Armed {
    near: u64,
    far: u64,
}

impl Armed {
    pub const fn new() -> Self {
        Self { near: NEVER, far: NEVER }
    }
}

/// A moment, and the flow it concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    pub at: u64,
    pub hash: u32,
    pub id: u32,
}

/// All entries, the next first.
#[derive(Debug)]
pub(super) struct Deadlines {
    heap: SpinLock<BinaryHeap<Reverse<Entry>>>,
    next: AtomicU64,
}

impl Deadlines {
    pub const fn new() -> Self {
        Self { heap: SpinLock::new(BinaryHeap::new()), next: AtomicU64::new(NEVER) }
    }

    /// When the next entry comes true.
    pub fn next(&self) -> Option<u64> {
        Some(self.next.load(Ordering::Relaxed)).filter(|&at| at != NEVER)
    }

    /// Adds an entry; false where memory is short.
    pub fn add(&self, entry: Entry) -> bool {
        let mut heap = self.heap.lock();
        if heap.try_reserve(1).is_err() {
            return false;
        }
        heap.push(Reverse(entry));
        self.publish(&heap);
        true
    }

    /// Sees that there is an entry for a connection's deadline. Where memory is short the next call for the connection tries again.
    pub fn watch(&self, armed: &mut Armed, deadline: Option<u64>, hash: u32, id: u32) {
        let Some(at) = deadline.filter(|&at| at < armed.near) else { return };
        if self.add(Entry { at, hash, id }) {
            armed.far = armed.far.min(armed.near);
            armed.near = at;
        }
    }

    /// An entry for `at` has come true: whether it was the connection's, or one that an earlier one has overtaken.
    pub fn came(armed: &mut Armed, at: u64) -> bool {
        if armed.near == at {
            armed.near = core::mem::replace(&mut armed.far, NEVER);
            true
        } else {
            armed.far = if armed.far == at { NEVER } else { armed.far };
            false
        }
    }

    /// Takes the next entry that has come true.
    pub fn take(&self, now: u64) -> Option<Entry> {
        let mut heap = self.heap.lock();
        if heap.peek().is_none_or(|next| next.0.at > now) {
            return None;
        }
        let entry = heap.pop().map(|entry| entry.0);
        if heap.capacity() > 64 && heap.len() < heap.capacity() / 4 {
            heap.shrink_to_fit();
        }
        self.publish(&heap);
        entry
    }

    fn publish(&self, heap: &BinaryHeap<Reverse<Entry>>) {
        self.next.store(heap.peek().map_or(NEVER, |next| next.0.at), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A connection that moves its deadline as one does that is busy: short ones now and then before a long one.
    #[test]
    fn a_connection_has_few_entries_and_misses_none() {
        let deadlines = Deadlines::new();
        let mut armed = Armed::new();
        let mut most = 0;
        let (mut short, mut long, mut met) = (NEVER, 7_200_000, 0);
        for now in 0..100_000u64 {
            if now % 7 == 0 {
                short = now + 40 + now % 200;
            }
            let deadline = short.min(long);
            deadlines.watch(&mut armed, Some(deadline), 1, 2);
            while let Some(entry) = deadlines.take(now) {
                if Deadlines::came(&mut armed, entry.at) && now >= short {
                    (short, met) = (NEVER, met + 1);
                }
                deadlines.watch(&mut armed, Some(short.min(long)), 1, 2);
            }
            assert!(now <= short.min(long), "missed at {now}");
            if now % 1000 == 999 {
                (short, long) = (NEVER, now + 7_200_000);
            }
            most = most.max(deadlines.heap.lock().len());
        }
        assert!(most < 300, "{most}");
        assert_eq!(met, 0, "it is always busy again before");
    }
}
