//! Frames on their way in.
//!
//! The device writes into memory that is its own for good, from which frames are copied: they take no more room than their bytes, and nothing that
//! the device did not write is ever seen, however long it says a frame is.

use alloc::vec::Vec;

use isopod_hal::dma::Dma;
use isopod_hal::{PAGE_SIZE, PhysAddr};

use super::HEADER;
use crate::network::Incoming;
use crate::virtio::queue::{Completion, Direction, Queue, Segment};
use crate::virtio::{StartError, Violation};

/// Memory for buffers is made in blocks of so many bytes, or of one buffer.
const BLOCK: usize = 4 * PAGE_SIZE;
/// A long frame becomes pieces of so many bytes.
const PIECE: usize = 16 << 10;

/// The header that comes before each frame (5.1.6).
mod header {
    pub const FLAGS: usize = 0;
    /// The sum is a pseudo-header's: the frame comes from the host itself.
    pub const NEEDS_SUM: u8 = 1;
    /// The sum is right.
    pub const SUM_IS_RIGHT: u8 = 2;
    pub const KIND: usize = 1;
    pub const SEGMENT_SIZE: usize = 4;
    pub const BUFFERS: usize = 10;
}

/// One queue of buffers for frames.
#[derive(Debug)]
pub(super) struct Receive {
    pub queue: Queue,
    /// Bytes of a buffer.
    size: usize,
    /// How many buffers a block has: two to the power of this.
    shift: u32,
    /// A frame may lie in several.
    merges: bool,
    blocks: Vec<Dma>,
    /// How many buffers there are.
    buffers: u16,
}

impl Receive {
    /// A queue whose buffers have `size` bytes, with as many as a frame of `longest` bytes fills: a device that has no room for a frame waits until
    /// there are more buffers, and there are more only when it has used some.
    pub fn new(queue: Queue, size: usize, merges: bool, longest: usize) -> Result<Self, StartError> {
        let shift = (BLOCK / size).max(1).ilog2();
        let mut receive = Self { queue, size, shift, merges, blocks: Vec::new(), buffers: 0 };
        while usize::from(receive.buffers) * size < longest && receive.buffers < receive.queue.size() {
            if !receive.grow() {
                return Err(StartError::OutOfMemory);
            }
        }
        Ok(receive)
    }

    /// Adds a block of buffers; false without memory for it.
    fn grow(&mut self) -> bool {
        let bytes = self.size.max(BLOCK);
        let Ok(block) = Dma::pages(bytes.div_ceil(PAGE_SIZE)) else { return false };
        if self.blocks.try_reserve(1).is_err() {
            return false;
        }
        self.blocks.push(block);
        let more = (1 << self.shift).min(self.queue.size() - self.buffers);
        let from = self.buffers;
        self.buffers += more;
        (from..self.buffers).for_each(|buffer| self.offer(buffer));
        true
    }

    /// Where a buffer lies.
    #[inline]
    fn place(&self, buffer: u16) -> (&Dma, usize) {
        let buffer = usize::from(buffer);
        (&self.blocks[buffer >> self.shift], (buffer & ((1 << self.shift) - 1)) * self.size)
    }

    /// Gives a buffer to the device.
    fn offer(&mut self, buffer: u16) {
        let (block, at) = self.place(buffer);
        let address = PhysAddr::new(block.phys().as_u64() + at as u64);
        self.queue
            .push(buffer, &[Segment { address, len: self.size as u32, direction: Direction::FromDevice }]);
    }

    /// Takes frames until there are `limit` in `frames`; true if there may be more. Their buffers go back to the device, which is not told yet.
    pub fn take(&mut self, limit: usize, frames: &mut Vec<Incoming>) -> Result<bool, Violation> {
        self.queue.silence();
        let mut taken = 0;
        let more = loop {
            if frames.len() >= limit {
                break true;
            }
            let Some(first) = self.queue.pop()? else { break false };
            taken += self.take_frame(first, frames)?;
        };
        // A device that fills half of the buffers before anybody looks could use more of them.
        if taken * 2 >= self.buffers && self.buffers < self.queue.size() {
            self.grow();
        }
        Ok(more)
    }

    /// Takes the frame that begins with `first`; how many buffers it lay in. One for which there is no memory is lost.
    fn take_frame(&mut self, first: Completion, frames: &mut Vec<Incoming>) -> Result<u16, Violation> {
        let (block, at) = self.place(first.token);
        let length = first.written as usize;
        if length < HEADER {
            return Err(Violation::NoHeader);
        }
        let flags = block.read_u8(at + header::FLAGS);
        let glued = block.read_u8(at + header::KIND) != 0;
        let segment_size = if glued { block.read_u16(at + header::SEGMENT_SIZE) } else { 0 };
        let count = if self.merges { block.read_u16(at + header::BUFFERS) } else { 1 };
        if count == 0 {
            return Err(Violation::Incomplete);
        }
        let verified = flags & (header::NEEDS_SUM | header::SUM_IS_RIGHT) != 0;
        let mut frame = Incoming { first: Vec::new(), rest: Vec::new(), verified, segment_size };
        let mut left = usize::from(count) * self.size;
        let capacity = |left: usize| if count == 1 { 0 } else { left.min(PIECE) };
        let mut room = append(block, at + HEADER, length - HEADER, &mut frame, capacity(left));
        self.offer(first.token);
        for _ in 1..count {
            let next = self.queue.pop()?.ok_or(Violation::Incomplete)?;
            left -= self.size;
            let (block, at) = self.place(next.token);
            room = room && append(block, at, next.written as usize, &mut frame, capacity(left));
            self.offer(next.token);
        }
        if room && frames.try_reserve(1).is_ok() {
            frames.push(frame);
        }
        Ok(count)
    }
}

/// Copies a part of a frame to where there is room, or to a new piece with room for `capacity` bytes at least; false without memory for that.
fn append(from: &Dma, at: usize, length: usize, frame: &mut Incoming, capacity: usize) -> bool {
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
