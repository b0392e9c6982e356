//! When something is due, for all connections at once: a heap in which each connection has one place at the most. Memory for it is taken when
//! the connection begins, so that no deadline is lost for want of it, and given back when it ends.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use isopod_hal::OutOfMemory;
use isopod_hal::sync::SpinLock;

const NEVER: u64 = u64::MAX;
const NOWHERE: u32 = u32::MAX;

/// A moment that has come, and the flow it concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub at: u64,
    pub hash: u32,
    pub id: u32,
}

/// All deadlines.
#[derive(Debug)]
pub(super) struct Deadlines {
    heap: SpinLock<Heap>,
    next: AtomicU64,
}

/// What one connection has among them. It is set to a moment no later than the connection's deadline: most calls to a connection only move that
/// later, and change nothing here.
#[derive(Debug)]
pub(super) struct Alarm {
    all: Arc<Deadlines>,
    slot: u32,
    at: u64,
}

#[derive(Debug)]
struct Heap {
    /// None comes before its parent, which is at half its index.
    nodes: Vec<Node>,
    slots: Vec<Slot>,
    /// The first of the slots that are nobody's, each of which has the next in `place`.
    free: u32,
    used: usize,
}

#[derive(Clone, Copy, Debug)]
struct Node {
    at: u64,
    slot: u32,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    /// Where its node is.
    place: u32,
    hash: u32,
    id: u32,
}

impl Deadlines {
    pub const fn new() -> Self {
        Self { heap: SpinLock::new(Heap::new()), next: AtomicU64::new(NEVER) }
    }

    /// When the next comes.
    pub fn next(&self) -> Option<u64> {
        Some(self.next.load(Ordering::Relaxed)).filter(|&at| at != NEVER)
    }

    /// A place for the deadlines of a flow, which are told by its hash and its number.
    pub fn alarm(self: &Arc<Self>, hash: u32, id: u32) -> Result<Alarm, OutOfMemory> {
        let slot = self.heap.lock().allocate(Slot { place: NOWHERE, hash, id })?;
        Ok(Alarm { all: self.clone(), slot, at: NEVER })
    }

    /// Takes the next that has come.
    pub fn take(&self, now: u64) -> Option<Entry> {
        let mut heap = self.heap.lock();
        let first = *heap.nodes.first().filter(|first| first.at <= now)?;
        heap.remove(0);
        self.publish(&heap);
        let Slot { hash, id, .. } = heap.slots[first.slot as usize];
        Some(Entry { at: first.at, hash, id })
    }

    fn publish(&self, heap: &Heap) {
        self.next.store(heap.nodes.first().map_or(NEVER, |first| first.at), Ordering::Relaxed);
    }
}

impl Alarm {
    /// Sees that it goes off no later than `deadline`.
    pub fn watch(&mut self, deadline: Option<u64>) {
        if let Some(at) = deadline.filter(|&at| at < self.at) {
            self.set(at);
        }
    }

    fn set(&mut self, at: u64) {
        self.at = at;
        let mut heap = self.all.heap.lock();
        heap.set(self.slot, at);
        self.all.publish(&heap);
    }

    /// It went off for `at`: whether that is still what it was set to.
    pub fn came(&mut self, at: u64) -> bool {
        let came = self.at == at;
        if came {
            self.at = NEVER;
        }
        came
    }

    /// From now on it is another's, who takes the place of the one before.
    pub fn pass_on(&mut self, id: u32, deadline: u64) {
        self.all.heap.lock().slots[self.slot as usize].id = id;
        self.set(deadline);
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        let mut heap = self.all.heap.lock();
        heap.release(self.slot);
        self.all.publish(&heap);
    }
}

impl Heap {
    const fn new() -> Self {
        Self { nodes: Vec::new(), slots: Vec::new(), free: NOWHERE, used: 0 }
    }

    fn allocate(&mut self, slot: Slot) -> Result<u32, OutOfMemory> {
        if self.free == NOWHERE {
            let more = self.slots.len() + 1 - self.nodes.len();
            self.nodes.try_reserve(more).map_err(|_| OutOfMemory)?;
            self.slots.try_reserve(1).map_err(|_| OutOfMemory)?;
            self.free = self.slots.len() as u32;
            self.slots.push(slot);
        }
        let index = self.free;
        self.free = core::mem::replace(&mut self.slots[index as usize], slot).place;
        self.used += 1;
        Ok(index)
    }

    fn release(&mut self, slot: u32) {
        self.set(slot, NEVER);
        self.slots[slot as usize].place = core::mem::replace(&mut self.free, slot);
        self.used -= 1;
        if self.used == 0 {
            *self = Self::new();
        }
    }

    fn set(&mut self, slot: u32, at: u64) {
        let place = self.slots[slot as usize].place;
        match (place, at) {
            (NOWHERE, NEVER) => {}
            (_, NEVER) => self.remove(place as usize),
            (NOWHERE, _) => {
                self.slots[slot as usize].place = self.nodes.len() as u32;
                self.nodes.push(Node { at, slot });
                self.settle(self.nodes.len() - 1);
            }
            _ => {
                self.nodes[place as usize].at = at;
                self.settle(place as usize);
            }
        }
    }

    fn remove(&mut self, place: usize) {
        let gone = self.nodes.swap_remove(place);
        self.slots[gone.slot as usize].place = NOWHERE;
        if place < self.nodes.len() {
            self.slots[self.nodes[place].slot as usize].place = place as u32;
            self.settle(place);
        }
    }

    /// Moves the node at `place` to where it belongs.
    fn settle(&mut self, mut place: usize) {
        while place > 0 && self.nodes[place].at < self.nodes[(place - 1) / 2].at {
            self.swap(place, (place - 1) / 2);
            place = (place - 1) / 2;
        }
        loop {
            let children = 2 * place + 1..(2 * place + 3).min(self.nodes.len());
            let Some(child) = children.min_by_key(|&child| self.nodes[child].at) else { return };
            if self.nodes[place].at <= self.nodes[child].at {
                return;
            }
            self.swap(place, child);
            place = child;
        }
    }

    fn swap(&mut self, one: usize, other: usize) {
        super::step();
        self.nodes.swap(one, other);
        for place in [one, other] {
            self.slots[self.nodes[place].slot as usize].place = place as u32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A connection that moves its deadline as one does that is busy: short ones now and then before a long one.
    #[test]
    fn a_connection_has_one_place_and_misses_nothing() {
        let deadlines = Arc::new(Deadlines::new());
        let mut alarm = deadlines.alarm(1, 2).unwrap();
        let (mut short, mut long, mut met) = (NEVER, 7_200_000, 0);
        for now in 0..100_000u64 {
            if now % 7 == 0 {
                short = now + 40 + now % 200;
            }
            alarm.watch(Some(short.min(long)));
            while let Some(entry) = deadlines.take(now) {
                if alarm.came(entry.at) && now >= short {
                    (short, met) = (NEVER, met + 1);
                }
                alarm.watch(Some(short.min(long)));
            }
            assert!(now <= short.min(long), "missed at {now}");
            if now % 1000 == 999 {
                (short, long) = (NEVER, now + 7_200_000);
            }
            assert!(deadlines.heap.lock().nodes.len() <= 1);
        }
        assert_eq!(met, 0, "it is always busy again before");
    }

    #[test]
    fn connections_that_are_gone_leave_nothing() {
        let deadlines = Arc::new(Deadlines::new());
        let mut last = deadlines.alarm(0, 0).unwrap();
        last.watch(Some(5));
        for id in 1..10_000 {
            let mut alarm = deadlines.alarm(0, id).unwrap();
            alarm.watch(Some(7_200_000));
        }
        let heap = deadlines.heap.lock();
        assert_eq!((heap.nodes.len(), heap.slots.len()), (1, 2));
        drop(heap);
        drop(last);
        assert_eq!((deadlines.next(), deadlines.heap.lock().slots.capacity()), (None, 0));
    }

    proptest! {
        /// Alarms are set, given back and go off in any order: what goes off is always the earliest.
        #[test]
        fn the_earliest_comes_first(steps in proptest::collection::vec((0usize..8, 0u64..100, 0u8..8), 1..200)) {
            let deadlines = Arc::new(Deadlines::new());
            let mut alarms: [Option<Alarm>; 8] = Default::default();
            for (which, at, what) in steps {
                match what {
                    0 => alarms[which] = None,
                    1 => {
                        let earliest = alarms.iter().flatten().map(|alarm| alarm.at).min().filter(|&at| at != NEVER);
                        prop_assert_eq!(deadlines.next(), earliest);
                        let taken = deadlines.take(50);
                        prop_assert_eq!(taken.map(|entry| entry.at), earliest.filter(|&at| at <= 50));
                        if let Some(Entry { at, hash, id }) = taken {
                            prop_assert_eq!(hash, id + 100);
                            prop_assert!(alarms[id as usize].as_mut().unwrap().came(at));
                        }
                    }
                    2 => if let Some(alarm) = &mut alarms[which] {
                        alarm.pass_on(which as u32, at);
                    },
                    _ => {
                        let new = || deadlines.alarm(which as u32 + 100, which as u32).unwrap();
                        alarms[which].get_or_insert_with(new).watch(Some(at));
                    }
                }
            }
        }
    }
}
