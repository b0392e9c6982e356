//! Memory for frames that come in.
//!
//! The device writes into memory that is its own for good, from which frames are copied: they take no more room than their bytes, and nothing that
//! the device did not write is ever seen, however long it says a frame is.

use alloc::vec::Vec;
use core::ops::Range;

use isopod_hal::dma::Dma;
use isopod_hal::{PAGE_SIZE, PhysAddr};

use super::Incoming;

/// Memory for buffers is made in blocks of so many bytes, or of one buffer.
const BLOCK: usize = 4 * PAGE_SIZE;

/// Buffers of one size, by their numbers.
#[derive(Debug)]
pub(crate) struct Buffers {
    /// Bytes of a buffer.
    size: usize,
    /// How many buffers a block has: two to the power of this.
    shift: u32,
    blocks: Vec<Dma>,
    count: u16,
    most: u16,
}

impl Buffers {
    /// None yet, of `size` bytes each, and no more than `most` ever.
    pub fn new(size: usize, most: u16) -> Self {
        Self { size, shift: (BLOCK / size).max(1).ilog2(), blocks: Vec::new(), count: 0, most }
    }

    /// How many there are.
    pub fn count(&self) -> u16 {
        self.count
    }

    /// Bytes of each.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Adds a block of buffers; `None` without memory for it. Empty when there are as many as there may be.
    pub fn grow(&mut self) -> Option<Range<u16>> {
        let from = self.count;
        let more = (1 << self.shift).min(self.most - from);
        if more > 0 {
            let block = Dma::pages(self.size.max(BLOCK).div_ceil(PAGE_SIZE)).ok()?;
            self.blocks.try_reserve(1).ok()?;
            self.blocks.push(block);
            self.count += more;
        }
        Some(from..self.count)
    }

    /// Where a buffer lies.
    #[inline]
    pub fn place(&self, buffer: u16) -> (&Dma, usize) {
        let buffer = usize::from(buffer);
        (&self.blocks[buffer >> self.shift], (buffer & ((1 << self.shift) - 1)) * self.size)
    }

    /// Where the device finds it.
    pub fn address(&self, buffer: u16) -> PhysAddr {
        let (block, at) = self.place(buffer);
        PhysAddr::new(block.phys().as_u64() + at as u64)
    }
}

/// Copies a part of a frame to where there is room, or to a new piece with room for `capacity` bytes at least; false without memory for that.
pub(crate) fn append(from: &Dma, at: usize, length: usize, frame: &mut Incoming, capacity: usize) -> bool {
    let last = frame.rest.last_mut().unwrap_or(&mut frame.first);
    if last.capacity() - last.len() >= length {
        return from.append_to(at, length, last).is_ok();
    }
    let mut piece = Vec::new();
    if piece.try_reserve_exact(capacity.max(length)).is_err()
        || from.append_to(at, length, &mut piece).is_err()
    {
        return false;
    }
    if frame.first.capacity() == 0 {
        frame.first = piece;
        return true;
    }
    let room = frame.rest.try_reserve(1).is_ok();
    if room {
        frame.rest.push(piece);
    }
    room
}
