//! The pages of a pipe.

use alloc::collections::VecDeque;

use isopod_fs::Source;
use isopod_hal::PAGE_SIZE;
use isopod_hal::frame::Frame;

/// One page of the ring.
#[derive(Debug, Clone)]
pub(super) struct Slot {
    pub frame: Frame,
    /// Where in the page its bytes start.
    pub offset: usize,
    /// How many there are, at least one.
    pub length: usize,
    /// Written in packet mode (`O_DIRECT`): one read takes it whole, and drops what it has no room for.
    pub packet: bool,
    /// Later writes may add to it: it is neither a packet nor shared with another pipe.
    pub open: bool,
}

impl Slot {
    /// True when `odd` bytes, at least one, can be added.
    pub fn has_room_for(&self, odd: usize) -> bool {
        odd > 0 && self.open && self.offset + self.length + odd <= PAGE_SIZE
    }
}

/// Bytes on their way out of a ring, with the pages that hold them.
#[derive(Debug, Clone, Default)]
pub struct Pages(pub(super) VecDeque<Slot>);

impl Pages {
    /// How many bytes.
    pub fn len(&self) -> usize {
        self.0.iter().map(|slot| slot.length).sum()
    }

    /// True without any.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Drops the first `length` bytes.
    pub fn advance(&mut self, mut length: usize) {
        while let Some(slot) = self.0.front_mut().filter(|_| length > 0) {
            let step = slot.length.min(length);
            slot.offset += step;
            slot.length -= step;
            length -= step;
            if slot.length == 0 {
                self.0.pop_front();
            }
        }
    }
}

impl Source for Pages {
    fn take(&mut self, bytes: &mut [u8]) -> usize {
        let mut done = 0;
        while let Some(slot) = self.0.front().filter(|_| done < bytes.len()) {
            let step = slot.length.min(bytes.len() - done);
            slot.frame.read(slot.offset, &mut bytes[done..done + step]);
            done += step;
            self.advance(step);
        }
        done
    }

    fn take_frame(&mut self, frame: &Frame, offset: usize, length: usize) -> usize {
        const STEP: usize = 512;
        let mut done = 0;
        while done < length {
            let mut bytes = [0; STEP];
            let taken = self.take(&mut bytes[..STEP.min(length - done)]);
            if taken == 0 {
                break;
            }
            frame.write(offset + done, &bytes[..taken]);
            done += taken;
        }
        done
    }

    fn skip(&mut self) -> usize {
        let rest = self.len();
        self.0.clear();
        rest
    }

    fn remaining(&self) -> usize {
        self.len()
    }
}
