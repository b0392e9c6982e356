//! Which connection a segment belongs to: a hash table over both ends' addresses and ports, in shards with a lock each.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use isopod_hal::OutOfMemory;
use isopod_hal::sync::{SpinLock, SpinLockGuard};

use super::request::Request;
use super::time_wait::TimeWait;
use super::{Flow, Stream};

/// How many parts the table has.
pub(super) const SHARDS: usize = 32;

/// What a flow leads to.
#[derive(Debug)]
pub(super) enum Target {
    Stream(Arc<Stream>),
    /// A handshake that a peer began. It is changed only with the shard locked.
    Request(Box<Request>),
    TimeWait(Box<TimeWait>),
}

impl Target {
    pub fn flow(&self) -> &Flow {
        match self {
            Self::Stream(stream) => stream.flow(),
            Self::Request(request) => &request.handshake.flow,
            Self::TimeWait(wait) => &wait.flow,
        }
    }

    /// A number that no other target has had of late.
    pub fn id(&self) -> u32 {
        match self {
            Self::Stream(stream) => stream.id(),
            Self::Request(request) => request.id,
            Self::TimeWait(wait) => wait.id,
        }
    }
}

/// All flows.
#[derive(Debug)]
pub(super) struct Flows {
    shards: [SpinLock<Shard>; SHARDS],
}

impl Flows {
    pub const fn new() -> Self {
        Self { shards: [const { SpinLock::new(Shard { slots: Vec::new(), used: 0 }) }; SHARDS] }
    }

    /// The part of the table in which a flow with this hash stands. It is locked after a stream, never before one.
    pub fn shard(&self, hash: u32) -> SpinLockGuard<'_, Shard> {
        self.shards[hash as usize % SHARDS].lock()
    }
}

/// Open addressing with linear probing: a place or the next free one behind it.
#[derive(Debug)]
pub(super) struct Shard {
    slots: Vec<Option<(u32, Target)>>,
    used: usize,
}

impl Shard {
    /// What the flow leads to.
    pub fn find(&mut self, hash: u32, flow: &Flow) -> Option<&mut Target> {
        let index = self.position(hash, &mut |target| target.flow() == flow)?;
        self.slots[index].as_mut().map(|slot| &mut slot.1)
    }

    /// The target with this number.
    pub fn find_id(&mut self, hash: u32, id: u32) -> Option<&mut Target> {
        let index = self.position(hash, &mut |target| target.id() == id)?;
        self.slots[index].as_mut().map(|slot| &mut slot.1)
    }

    /// Makes room for another flow.
    pub fn reserve(&mut self) -> Result<(), OutOfMemory> {
        if (self.used + 1) * 4 > self.slots.len() * 3 { self.grow() } else { Ok(()) }
    }

    /// Adds a flow that is not there; [`reserve`](Self::reserve) has made room.
    pub fn insert(&mut self, hash: u32, target: Target) {
        self.place(hash, target);
        self.used += 1;
    }

    /// Takes the target with this number out.
    pub fn remove(&mut self, hash: u32, id: u32) -> Option<Target> {
        let mut hole = self.position(hash, &mut |target| target.id() == id)?;
        let removed = self.slots[hole].take();
        self.used -= 1;
        // Those behind it move up where they have been pushed past the hole.
        let mask = self.slots.len() - 1;
        let mut index = hole;
        loop {
            index = (index + 1) & mask;
            let Some((other, _)) = &self.slots[index] else { break };
            let home = Self::home(*other, mask);
            if index.wrapping_sub(home) & mask >= index.wrapping_sub(hole) & mask {
                self.slots.swap(index, hole);
                hole = index;
            }
        }
        removed.map(|slot| slot.1)
    }

    /// Every target.
    pub fn iter(&self) -> impl Iterator<Item = &Target> {
        self.slots.iter().flatten().map(|slot| &slot.1)
    }

    fn position(&self, hash: u32, wanted: &mut dyn FnMut(&Target) -> bool) -> Option<usize> {
        let mask = self.slots.len().checked_sub(1)?;
        let mut index = Self::home(hash, mask);
        loop {
            super::step();
            let (other, target) = self.slots[index].as_ref()?;
            if *other == hash && wanted(target) {
                return Some(index);
            }
            index = (index + 1) & mask;
        }
    }

    /// The lowest bits chose the shard.
    fn home(hash: u32, mask: usize) -> usize {
        (hash as usize / SHARDS) & mask
    }

    fn place(&mut self, hash: u32, target: Target) {
        let mask = self.slots.len() - 1;
        let mut index = Self::home(hash, mask);
        while self.slots[index].is_some() {
            index = (index + 1) & mask;
        }
        self.slots[index] = Some((hash, target));
    }

    fn grow(&mut self) -> Result<(), OutOfMemory> {
        let count = (self.slots.len() * 2).max(8);
        let mut slots = Vec::new();
        slots.try_reserve_exact(count).map_err(|_| OutOfMemory)?;
        slots.resize_with(count, || None);
        for (hash, target) in core::mem::replace(&mut self.slots, slots).into_iter().flatten() {
            self.place(hash, target);
        }
        Ok(())
    }
}
