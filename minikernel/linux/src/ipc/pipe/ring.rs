//! What a pipe holds: a ring of pages, as Linux's `struct pipe_inode_info`.
//!
//! The number of pages is the capacity. A write fills the last page's rest if all of its odd bytes fit there, then a page of its own for
//! each page's worth; so a write of at most a page (`PIPE_BUF`) is never torn, and one in packet mode never shares a page.

use alloc::collections::VecDeque;

use isopod_fs::{Errno, Result, Sink, Source};
use isopod_hal::PAGE_SIZE;
use isopod_hal::frame::Frame;

use super::pages::{Pages, Slot};

/// Pages of a pipe that nobody has resized: 64 KiB (pipe(7)).
const DEFAULT_PAGES: usize = 16;

/// The bytes in a pipe.
#[derive(Debug)]
pub(super) struct Ring {
    slots: VecDeque<Slot>,
    /// The most slots.
    pages: usize,
    /// A page that has been read empty, kept for the next write.
    spare: Option<Frame>,
}

impl Default for Ring {
    fn default() -> Self {
        Self { slots: VecDeque::new(), pages: DEFAULT_PAGES, spare: None }
    }
}

impl Ring {
    /// True with nothing to read.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// True with no page left for a write.
    pub fn is_full(&self) -> bool {
        self.slots.len() >= self.pages
    }

    /// True when a write of `length` bytes would take at least some of them.
    pub fn has_room_for(&self, length: usize) -> bool {
        !self.is_full() || self.slots.back().is_some_and(|last| last.has_room_for(length % PAGE_SIZE))
    }

    /// Bytes to read.
    pub fn len(&self) -> usize {
        self.slots.iter().map(|slot| slot.length).sum()
    }

    /// Bytes of memory of its pages.
    pub fn footprint(&self) -> usize {
        (self.slots.len() + usize::from(self.spare.is_some())) * PAGE_SIZE
    }

    /// Capacity in bytes.
    pub fn capacity(&self) -> usize {
        self.pages * PAGE_SIZE
    }

    /// Changes the capacity to `pages`. `EBUSY` when more are in use.
    pub fn resize(&mut self, pages: usize) -> Result<()> {
        if pages < self.slots.len() {
            return Err(Errno::EBUSY.into());
        }
        self.pages = pages;
        Ok(())
    }

    /// Moves bytes out. Returns how many; a page whose copy was cut stays as it was.
    pub fn read(&mut self, sink: &mut dyn Sink) -> usize {
        let mut done = 0;
        while let Some(slot) = self.slots.front_mut() {
            let wanted = slot.length.min(sink.remaining());
            if wanted == 0 {
                break;
            }
            if sink.put_frame(&slot.frame, slot.offset, wanted) < wanted {
                break;
            }
            done += wanted;
            slot.offset += wanted;
            slot.length -= wanted;
            let packet = slot.packet;
            if packet || slot.length == 0 {
                self.retire_first();
            }
            if packet {
                break;
            }
        }
        done
    }

    /// Drops the first slot, and keeps its page for the next write.
    fn retire_first(&mut self) {
        let first = self.slots.pop_front();
        if self.spare.is_none() {
            self.spare = first.map(|slot| slot.frame).filter(Frame::is_unique);
        }
    }

    /// Moves bytes in, as packets or as a stream. Returns how many; fewer than offered when the ring is full or the copy was cut, and then
    /// nothing of the page that it was cut in.
    pub fn write(&mut self, source: &mut dyn Source, packets: bool) -> Result<usize> {
        let mut done = self.fill_last(source);
        while source.remaining() > 0 && !self.is_full() {
            let length = source.remaining().min(PAGE_SIZE);
            self.slots.try_reserve(1)?;
            let frame = match self.spare.take() {
                Some(frame) => frame,
                None if done == 0 => Frame::uninit()?,
                // What has been written counts.
                None => match Frame::uninit() {
                    Ok(frame) => frame,
                    Err(_) => break,
                },
            };
            if source.take_frame(&frame, 0, length) < length {
                self.spare = Some(frame);
                break;
            }
            self.slots.push_back(Slot { frame, offset: 0, length, packet: packets, open: !packets });
            done += length;
        }
        Ok(done)
    }

    /// Pages that can be added.
    pub fn free_pages(&self) -> usize {
        self.pages.saturating_sub(self.slots.len())
    }

    /// The first `length` bytes, as far as they lie in `pages` pages. They stay in the ring, too; who later adds bytes uses a page of its own.
    pub fn share(&mut self, length: usize, pages: usize) -> Result<Pages> {
        let mut shared = VecDeque::new();
        shared.try_reserve(pages.min(self.slots.len()))?;
        let mut left = length;
        for slot in self.slots.iter_mut().take(pages) {
            if left == 0 {
                break;
            }
            slot.open = false;
            let part = Slot { length: slot.length.min(left), ..slot.clone() };
            left -= part.length;
            shared.push_back(part);
        }
        Ok(Pages(shared))
    }

    /// Drops the first `length` bytes.
    pub fn consume(&mut self, length: usize) {
        let mut rest = Pages(core::mem::take(&mut self.slots));
        rest.advance(length);
        self.slots = rest.0;
    }

    /// Puts pages back that were the first.
    pub fn put_back(&mut self, pages: Pages) {
        for slot in pages.0.into_iter().rev() {
            self.slots.push_front(slot);
        }
    }

    /// Makes room for the entries of `pages` pages, so that [`append`](Self::append) cannot fail.
    pub fn reserve(&mut self, pages: usize) -> Result<()> {
        Ok(self.slots.try_reserve(pages)?)
    }

    /// Puts pages behind the last; all or, without memory, none.
    pub fn append(&mut self, pages: &mut Pages) -> Result<()> {
        self.reserve(pages.0.len())?;
        self.slots.append(&mut pages.0);
        Ok(())
    }

    /// Puts the odd bytes, those beyond whole pages, behind the last page's, if all of them fit.
    fn fill_last(&mut self, source: &mut dyn Source) -> usize {
        let odd = source.remaining() % PAGE_SIZE;
        let Some(last) = self.slots.back_mut() else { return 0 };
        let end = last.offset + last.length;
        if !last.has_room_for(odd) || source.take_frame(&last.frame, end, odd) < odd {
            return 0;
        }
        last.length += odd;
        odd
    }
}

#[cfg(test)]
mod tests;
