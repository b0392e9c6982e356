//! The bytes that wait in a socket to be received: a queue in pages.
//!
//! Bytes are copied in once and out once. A page stays when the queue runs empty, so that small messages need no memory of their own.

use alloc::collections::VecDeque;

use isopod_fs::{Sink, Source};
use isopod_hal::frame::Frame;
use isopod_hal::{OutOfMemory, PAGE_SIZE};

/// A queue of bytes.
#[derive(Debug, Default)]
pub struct Ring {
    frames: VecDeque<Frame>,
    /// Where in the first page the first byte lies.
    start: usize,
    length: usize,
}

impl Ring {
    /// How many bytes there are.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Takes at most `limit` bytes of `source`. Returns how many; fewer than there were when the copy was cut. Without memory for all it takes
    /// none.
    pub fn write(&mut self, source: &mut dyn Source, limit: usize) -> Result<usize, OutOfMemory> {
        let wanted = source.remaining().min(limit);
        self.reserve(wanted)?;
        let mut done = 0;
        while done < wanted {
            let end = self.start + self.length;
            let offset = end % PAGE_SIZE;
            let step = (PAGE_SIZE - offset).min(wanted - done);
            let taken = source.take_frame(&self.frames[end / PAGE_SIZE], offset, step);
            self.length += taken;
            done += taken;
            if taken < step {
                break;
            }
        }
        Ok(done)
    }

    fn reserve(&mut self, more: usize) -> Result<(), OutOfMemory> {
        let pages = (self.start + self.length + more).div_ceil(PAGE_SIZE);
        self.frames.try_reserve(pages.saturating_sub(self.frames.len())).map_err(|_| OutOfMemory)?;
        while self.frames.len() < pages {
            match Frame::uninit() {
                Ok(frame) => self.frames.push_back(frame),
                Err(error) => {
                    self.take_back(0);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Copies at most `limit` bytes out, from `offset` on. They stay. Returns how many; fewer than there were when the copy was cut.
    pub fn peek(&self, offset: usize, sink: &mut dyn Sink, limit: usize) -> usize {
        let wanted = self.length.saturating_sub(offset).min(limit).min(sink.remaining());
        let mut done = 0;
        while done < wanted {
            let at = self.start + offset + done;
            let step = (PAGE_SIZE - at % PAGE_SIZE).min(wanted - done);
            let put = sink.put_frame(&self.frames[at / PAGE_SIZE], at % PAGE_SIZE, step);
            done += put;
            if put < step {
                break;
            }
        }
        done
    }

    /// Drops the first `length` bytes.
    pub fn consume(&mut self, length: usize) {
        let length = length.min(self.length);
        self.start += length;
        self.length -= length;
        while self.start >= PAGE_SIZE && self.frames.len() > 1 {
            self.frames.pop_front();
            self.start -= PAGE_SIZE;
        }
        if self.length == 0 {
            self.start = 0;
        }
    }

    /// Drops the last `length` bytes.
    pub fn take_back(&mut self, length: usize) {
        self.length -= length.min(self.length);
        let used = (self.start + self.length).div_ceil(PAGE_SIZE);
        self.frames.truncate(used.max(1));
    }

    /// Drops everything, the pages too.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;
    use isopod_fs::{Buffer, Bytes};
    use proptest::prelude::*;

    fn get(ring: &Ring, offset: usize, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        let count = ring.peek(offset, &mut Buffer::new(&mut bytes), usize::MAX);
        bytes.truncate(count);
        bytes
    }

    #[test]
    fn an_empty_ring_keeps_one_page_and_begins_at_its_start() {
        let mut ring = Ring::default();
        for _ in 0..1000 {
            assert_eq!(ring.write(&mut Bytes::new(&[7; 100]), usize::MAX).unwrap(), 100);
            ring.consume(100);
            assert_eq!((ring.frames.len(), ring.start, ring.len()), (1, 0, 0));
        }
    }

    proptest! {
        #[test]
        fn a_ring_is_a_queue_of_bytes(
            steps in prop::collection::vec((0..4u8, 0..20_000usize), 1..60)
        ) {
            let mut ring = Ring::default();
            let mut model: Vec<u8> = Vec::new();
            let mut next = 0u8;
            for (step, amount) in steps {
                match step {
                    0 | 1 => {
                        let bytes: Vec<u8> = (0..amount).map(|index| (index % 251) as u8 ^ next).collect();
                        next = next.wrapping_add(1);
                        prop_assert_eq!(ring.write(&mut Bytes::new(&bytes), amount).unwrap(), amount);
                        model.extend(bytes);
                    }
                    2 => {
                        ring.consume(amount);
                        model.drain(..amount.min(model.len()));
                    }
                    _ => {
                        ring.take_back(amount / 4);
                        model.truncate(model.len().saturating_sub(amount / 4));
                    }
                }
                let offset = (amount / 3).min(model.len());
                let end = (offset + 9000).min(model.len());
                prop_assert_eq!(ring.len(), model.len());
                prop_assert_eq!(get(&ring, offset, 9000), &model[offset..end]);
                prop_assert!(ring.frames.len() <= (ring.start + ring.len()).div_ceil(PAGE_SIZE).max(1));
            }
        }
    }
}
