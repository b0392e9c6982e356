//! What has been done, in memory that the program shares (`struct aio_ring`).
//!
//! The kernel writes at the tail, and whoever takes events moves the head: the kernel for the program, or the program itself, which must not be
//! believed in anything it writes here. A slot stays empty, so that a full ring is not an empty one.

use alloc::sync::Arc;
use core::fmt;

use isopod_fs::{Buffer, Bytes, Errno, Inode};
use isopod_hal::PAGE_SIZE;
use isopod_hal::uaccess::Fault;
use zerocopy::IntoBytes;

use super::{Event, Tell};
use crate::fail::errno;
use crate::sched;

/// `AIO_RING_MAGIC`: a program that finds it may take events by itself.
const MAGIC: u32 = 0xa10a_10a1;
/// `AIO_RING_COMPAT_FEATURES`
const FEATURES: u32 = 1;
/// Bytes of `struct aio_ring`; the events follow.
const HEADER: usize = 32;
/// Where in it the head stands, and the tail.
const HEAD: u64 = 8;
const TAIL: u64 = 12;
/// Bytes of an event.
const EVENT: usize = size_of::<Event>();

/// A ring.
pub struct Ring {
    memory: Arc<dyn Inode>,
    slots: u32,
    /// The slot that is filled next, and how many requests are under way.
    tail: u32,
    active: u32,
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { slots, tail, active, .. } = self;
        f.debug_struct("Ring")
            .field("slots", slots)
            .field("tail", tail)
            .field("active", active)
            .finish_non_exhaustive()
    }
}

impl Ring {
    /// How many slots one for `asked` requests has: at least some for each processor, and what fills its last page (`aio_setup_ring()`).
    pub fn slots_for(asked: u32) -> u32 {
        let least = u64::from(asked.max(sched::cpus().count_ones() * 4)) * 2 + 2;
        let pages = (HEADER as u64 + EVENT as u64 * least).div_ceil(PAGE_SIZE as u64);
        ((pages * PAGE_SIZE as u64 - HEADER as u64) / EVENT as u64).try_into().unwrap_or(u32::MAX)
    }

    /// Its bytes.
    pub fn length(slots: u32) -> usize {
        (HEADER + slots as usize * EVENT).next_multiple_of(PAGE_SIZE)
    }

    /// One in this memory, all of whose pages are taken now. `ENOMEM`
    pub fn new(memory: Arc<dyn Inode>, slots: u32) -> Result<Self, Errno> {
        const EMPTY: [u8; PAGE_SIZE] = [0; PAGE_SIZE];
        let mut first = EMPTY;
        let header = [0, slots, 0, 0, MAGIC, FEATURES, 0, HEADER as u32];
        first[..HEADER].copy_from_slice(header.as_bytes());
        for start in (0..Self::length(slots)).step_by(PAGE_SIZE) {
            let page = if start == 0 { &first } else { &EMPTY };
            memory.write_at(start as u64, &mut Bytes::new(page)).map_err(errno)?;
        }
        Ok(Self { memory, slots, tail: 0, active: 0 })
    }

    /// How many slots it has.
    pub fn slots(&self) -> u32 {
        self.slots
    }

    /// Where the program stands. What lies there has been taken from the kernel's memory, and cannot be missing.
    fn head(&self) -> u32 {
        let mut head = [0; 4];
        let _ = self.memory.read_at(HEAD, &mut Buffer::new(&mut head));
        u32::from_ne_bytes(head) % self.slots
    }

    fn write(&self, place: u64, bytes: &[u8]) {
        // Its pages are there since it was made.
        let _ = self.memory.write_at(place, &mut Bytes::new(bytes));
    }

    fn place(slot: u32) -> u64 {
        (HEADER + slot as usize * EVENT) as u64
    }

    fn filled(&self) -> u32 {
        (self.tail + self.slots - self.head()) % self.slots
    }

    /// Whether there is an event.
    pub fn has_some(&self) -> bool {
        self.filled() > 0
    }

    /// Keeps a slot for a request. `EAGAIN`
    pub fn reserve(&mut self) -> Result<(), Errno> {
        if self.filled() + self.active >= self.slots - 1 {
            return Err(Errno::EAGAIN);
        }
        self.active += 1;
        Ok(())
    }

    /// The request has never been.
    pub fn release(&mut self) {
        self.active -= 1;
    }

    /// The request is done.
    pub fn put(&mut self, event: &Event) {
        self.active -= 1;
        self.write(Self::place(self.tail), event.as_bytes());
        self.tail = (self.tail + 1) % self.slots;
        self.write(TAIL, &self.tail.to_ne_bytes());
    }

    /// Takes at most `most` events, all that it `tell`s of, or none: how many.
    pub fn take(&mut self, most: usize, tell: Tell<'_>) -> Result<usize, Fault> {
        let head = self.head();
        let count = most.min(self.filled() as usize);
        let mut event = [0; EVENT];
        for index in 0..count {
            let slot = (head + index as u32) % self.slots;
            let _ = self.memory.read_at(Self::place(slot), &mut Buffer::new(&mut event));
            tell(index, &event)?;
        }
        if count > 0 {
            self.write(HEAD, &((head + count as u32) % self.slots).to_ne_bytes());
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn ring(asked: u32) -> Ring {
        crate::testing::install_kernel();
        let slots = Ring::slots_for(asked);
        Ring::new(crate::dev::memory_inode(Ring::length(slots) as u64).unwrap(), slots).unwrap()
    }

    fn event(data: u64) -> Event {
        Event { data, object: 0, result: 0, second: 0 }
    }

    fn take(ring: &mut Ring, most: usize) -> Vec<u64> {
        let mut seen = Vec::new();
        let told = ring.take(most, &mut |_, event| {
            seen.push(u64::from_ne_bytes(event[..8].try_into().unwrap()));
            Ok(())
        });
        assert_eq!(told.unwrap(), seen.len());
        seen
    }

    #[test]
    fn a_ring_has_the_slots_that_linux_gives_it() {
        assert_eq!((Ring::slots_for(128), Ring::length(383)), (383, 3 * PAGE_SIZE));
    }

    #[test]
    fn events_come_in_their_order_and_no_more_begin_than_there_is_room_for() {
        let mut ring = ring(128);
        for round in 0..5u64 {
            let mut begun = 0;
            while ring.reserve().is_ok() {
                begun += 1;
            }
            assert_eq!(begun, ring.slots - 1);
            ring.release();
            for data in 1..u64::from(begun) {
                ring.put(&event(round << 32 | data));
            }
            assert_eq!(take(&mut ring, 2), [round << 32 | 1, round << 32 | 2]);
            assert_eq!(take(&mut ring, usize::MAX).len(), begun as usize - 3);
            assert!(!ring.has_some() && take(&mut ring, 1).is_empty());
        }
    }

    #[test]
    fn a_program_may_write_what_it_likes() {
        let mut ring = ring(128);
        for bytes in [[0xff; 32], [0x7f; 32], [0; 32]] {
            ring.write(0, &bytes);
            assert!(ring.head() < ring.slots);
            if ring.reserve().is_ok() {
                ring.put(&event(1));
            }
            assert!(take(&mut ring, 1000).len() < ring.slots as usize);
        }
    }
}
