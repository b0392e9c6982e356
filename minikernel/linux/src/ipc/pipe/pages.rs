//! The pages of a pipe.

use alloc::collections::VecDeque;

use isopod_fs::{Result, Sink, Source};
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
#[derive(Debug, Default)]
pub struct Pages(pub(super) VecDeque<Slot>);

impl Pages {
    /// As many new pages as `length` bytes take, whose bytes are to be put there.
    pub fn new(length: usize) -> Result<Self> {
        let mut slots = VecDeque::new();
        slots.try_reserve(length.div_ceil(PAGE_SIZE))?;
        for start in (0..length).step_by(PAGE_SIZE) {
            let frame = Frame::uninit()?;
            slots.push_back(Slot {
                frame,
                offset: 0,
                length: PAGE_SIZE.min(length - start),
                packet: false,
                open: true,
            });
        }
        Ok(Self(slots))
    }

    /// The same bytes once more.
    pub fn try_clone(&self) -> Result<Self> {
        let mut slots = VecDeque::new();
        slots.try_reserve(self.0.len())?;
        slots.extend(self.0.iter().cloned());
        Ok(Self(slots))
    }

    /// How many pages.
    pub fn pages(&self) -> usize {
        self.0.len()
    }

    /// Drops what lies beyond the first `length` bytes.
    pub fn truncate(&mut self, length: usize) {
        let mut left = length;
        self.0.retain_mut(|slot| {
            slot.length = slot.length.min(left);
            left -= slot.length;
            slot.length > 0
        });
    }

    /// As something to put bytes into, from the first on.
    pub fn fill(&mut self) -> Fill<'_> {
        Fill { slots: &self.0, filled: 0 }
    }

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

/// Puts bytes into new pages.
#[derive(Debug)]
pub struct Fill<'a> {
    slots: &'a VecDeque<Slot>,
    filled: usize,
}

impl Sink for Fill<'_> {
    fn put(&mut self, bytes: &[u8]) -> usize {
        let mut done = 0;
        while let Some(slot) = self.slots.get(self.filled / PAGE_SIZE).filter(|_| done < bytes.len()) {
            let start = self.filled % PAGE_SIZE;
            let step = (slot.length - start).min(bytes.len() - done);
            if step == 0 {
                break;
            }
            slot.frame.write(start, &bytes[done..done + step]);
            self.filled += step;
            done += step;
        }
        done
    }

    fn put_frame(&mut self, frame: &Frame, offset: usize, length: usize) -> usize {
        const STEP: usize = 512;
        let mut done = 0;
        while done < length {
            let mut bytes = [0; STEP];
            let step = STEP.min(length - done);
            frame.read(offset + done, &mut bytes[..step]);
            let put = self.put(&bytes[..step]);
            done += put;
            if put < step {
                break;
            }
        }
        done
    }

    fn remaining(&self) -> usize {
        self.slots.iter().map(|slot| slot.length).sum::<usize>() - self.filled
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
