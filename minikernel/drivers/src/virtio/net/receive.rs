//! Frames on their way in.

use alloc::vec::Vec;

use super::HEADER;
use crate::network::{Buffers, Incoming, append};
use crate::segment::Segment;
use crate::virtio::queue::{Completion, Queue};
use crate::virtio::{StartError, Violation};

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
    buffers: Buffers,
    /// A frame may lie in several.
    merges: bool,
}

impl Receive {
    /// A queue whose buffers have `size` bytes, with as many as a frame of `longest` bytes fills: a device that has no room for a frame waits until
    /// there are more buffers, and there are more only when it has used some.
    pub fn new(queue: Queue, size: usize, merges: bool, longest: usize) -> Result<Self, StartError> {
        let buffers = Buffers::new(size, queue.size());
        let mut receive = Self { queue, buffers, merges };
        while usize::from(receive.buffers.count()) * size < longest
            && receive.buffers.count() < receive.queue.size()
        {
            if !receive.grow() {
                return Err(StartError::OutOfMemory);
            }
        }
        Ok(receive)
    }

    /// Adds some buffers; false without memory for them.
    fn grow(&mut self) -> bool {
        let Some(new) = self.buffers.grow() else { return false };
        new.for_each(|buffer| self.offer(buffer));
        true
    }

    /// Gives a buffer to the device.
    fn offer(&mut self, buffer: u16) {
        let segment = Segment { address: self.buffers.address(buffer), len: self.buffers.size() as u32 };
        self.queue.push(buffer, &[segment], 1);
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
        if taken * 2 >= self.buffers.count() {
            self.grow();
        }
        Ok(more)
    }

    /// Takes the frame that begins with `first`; how many buffers it lay in. One for which there is no memory is lost.
    fn take_frame(&mut self, first: Completion, frames: &mut Vec<Incoming>) -> Result<u16, Violation> {
        let (block, at) = self.buffers.place(first.token);
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
        let mut left = usize::from(count) * self.buffers.size();
        let capacity = |left: usize| if count == 1 { 0 } else { left.min(PIECE) };
        let mut room = append(block, at + HEADER, length - HEADER, &mut frame, capacity(left));
        self.offer(first.token);
        for _ in 1..count {
            let next = self.queue.pop()?.ok_or(Violation::Incomplete)?;
            left -= self.buffers.size();
            let (block, at) = self.buffers.place(next.token);
            room = room && append(block, at, next.written as usize, &mut frame, capacity(left));
            self.offer(next.token);
        }
        if room && frames.try_reserve(1).is_ok() {
            frames.push(frame);
        }
        Ok(count)
    }
}
