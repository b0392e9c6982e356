//! What a pipe holds: a ring of pages, as Linux's `struct pipe_inode_info`.
//!
//! The number of pages is the capacity. A write fills the last page's rest if all of its odd bytes fit there, then a page of its own for
//! each page's worth; so a write of at most a page (`PIPE_BUF`) is never torn, and one in packet mode never shares a page.

use alloc::collections::VecDeque;

use isopod_fs::{Errno, Result, Sink, Source};
use isopod_hal::PAGE_SIZE;
use isopod_hal::frame::Frame;

/// Pages of a pipe that nobody has resized: 64 KiB (pipe(7)).
const DEFAULT_PAGES: usize = 16;

/// One page of the ring.
#[derive(Debug, Clone)]
pub(super) struct Slot {
    frame: Frame,
    offset: usize,
    length: usize,
    /// Written in packet mode (`O_DIRECT`): one read takes it whole, and drops what it has no room for.
    packet: bool,
    /// Later writes may add to it: it is neither a packet nor shared with another pipe.
    open: bool,
}

impl Slot {
    /// True when `odd` bytes, at least one, can be added.
    fn has_room_for(&self, odd: usize) -> bool {
        odd > 0 && self.open && self.offset + self.length + odd <= PAGE_SIZE
    }
}

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

    /// Takes out what [`share`](Self::share) gives.
    pub fn take(&mut self, length: usize, pages: usize) -> Result<Pages> {
        let taken = self.share(length, pages)?;
        let mut rest = Pages(core::mem::take(&mut self.slots));
        rest.advance(taken.len());
        self.slots = rest.0;
        Ok(taken)
    }

    /// Puts pages behind the last.
    pub fn append(&mut self, mut pages: Pages) -> Result<()> {
        self.slots.try_reserve(pages.0.len())?;
        self.slots.append(&mut pages.0);
        Ok(())
    }

    /// Puts pages that were taken out before the first again.
    pub fn put_back(&mut self, mut pages: Pages) -> Result<()> {
        pages.0.try_reserve(self.slots.len())?;
        pages.0.append(&mut self.slots);
        self.slots = pages.0;
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

/// Bytes on their way out of a ring, with the pages that hold them.
#[derive(Debug, Clone, Default)]
pub struct Pages(VecDeque<Slot>);

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

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;
    use isopod_fs::{Buffer, Bytes};
    use proptest::prelude::*;

    fn put(ring: &mut Ring, bytes: &[u8]) -> usize {
        ring.write(&mut Bytes::new(bytes), false).unwrap()
    }

    fn get(ring: &mut Ring, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        let count = ring.read(&mut Buffer::new(&mut bytes));
        bytes.truncate(count);
        bytes
    }

    #[test]
    fn small_writes_share_pages_and_a_full_ring_takes_none() {
        let mut ring = Ring::default();
        for _ in 0..65_536 {
            assert_eq!(put(&mut ring, b"x"), 1);
        }
        assert!(ring.is_full());
        assert_eq!(put(&mut ring, b"x"), 0);
        assert_eq!(get(&mut ring, 4095).len(), 4095);
        // Room is won by whole pages only.
        assert_eq!(put(&mut ring, b"x"), 0);
        assert_eq!(get(&mut ring, 1).len(), 1);
        assert_eq!(put(&mut ring, &[0; 5000]), 4096);
        assert_eq!(ring.len(), 65_536);
    }

    #[test]
    fn a_small_write_is_whole_or_not_at_all() {
        let mut ring = Ring::default();
        ring.resize(1).unwrap();
        assert_eq!(put(&mut ring, &[0; 4000]), 4000);
        assert_eq!(put(&mut ring, &[0; 97]), 0);
        assert_eq!(put(&mut ring, &[0; 96]), 96);
        assert!(ring.resize(0).is_err());
    }

    #[test]
    fn packets_stay_apart_and_lose_what_a_read_leaves() {
        let mut ring = Ring::default();
        assert_eq!(ring.write(&mut Bytes::new(b"abc"), true).unwrap(), 3);
        assert_eq!(ring.write(&mut Bytes::new(b"def"), true).unwrap(), 3);
        assert_eq!(get(&mut ring, 2), b"ab");
        assert_eq!(get(&mut ring, 9), b"def");
        assert!(ring.is_empty());
    }

    #[test]
    fn shared_pages_are_in_both_rings_and_never_grow_there() {
        let (mut first, mut second) = (Ring::default(), Ring::default());
        put(&mut first, b"abcdef");
        second.append(first.share(4, 1).unwrap()).unwrap();
        put(&mut first, b"xy");
        put(&mut second, b"z");
        assert_eq!((get(&mut first, 9), get(&mut second, 9)), (b"abcdefxy".to_vec(), b"abcdz".to_vec()));
    }

    #[test]
    fn what_is_taken_can_be_put_back() {
        let mut ring = Ring::default();
        put(&mut ring, &[1; 4096]);
        put(&mut ring, &[2; 4096]);
        let mut taken = ring.take(5000, 9).unwrap();
        assert_eq!((taken.len(), ring.len()), (5000, 3192));
        let mut start = [0; 4100];
        assert_eq!(taken.take(&mut start), 4100);
        assert_eq!((start[4095], start[4096]), (1, 2));
        ring.put_back(taken).unwrap();
        assert_eq!((ring.len(), get(&mut ring, 9000)), (4092, vec![2; 4092]));
        assert!(ring.take(1, 1).unwrap().is_empty());
    }

    /// A source whose copies end after `left` bytes.
    struct Cut<'a>(Bytes<'a>, usize);

    impl Source for Cut<'_> {
        fn take(&mut self, bytes: &mut [u8]) -> usize {
            let length = bytes.len().min(self.1);
            self.1 -= length;
            self.0.take(&mut bytes[..length])
        }

        fn take_frame(&mut self, frame: &Frame, offset: usize, length: usize) -> usize {
            let length = length.min(self.1);
            self.1 -= length;
            self.0.take_frame(frame, offset, length)
        }

        fn remaining(&self) -> usize {
            self.0.remaining()
        }

        fn skip(&mut self) -> usize {
            self.0.skip()
        }
    }

    #[test]
    fn a_cut_copy_leaves_no_torn_page() {
        let mut ring = Ring::default();
        let bytes = [7; 9000];
        assert_eq!(ring.write(&mut Cut(Bytes::new(&bytes), 5000), false).unwrap(), 4096);
        assert_eq!(ring.len(), 4096);
        assert_eq!(put(&mut ring, b"ab"), 2);
        assert_eq!(ring.write(&mut Cut(Bytes::new(b"cd"), 1), false).unwrap(), 0);
        assert_eq!(get(&mut ring, 9000).split_off(4096), b"ab");
    }

    proptest! {
        #[test]
        fn bytes_come_out_in_order(steps in prop::collection::vec((any::<bool>(), 1usize..10_000), 1..60)) {
            let mut ring = Ring::default();
            let (mut written, mut taken) = (0usize, 0usize);
            for (write, length) in steps {
                if write {
                    let bytes: Vec<u8> = (written..written + length).map(|at| (at % 251) as u8).collect();
                    written += put(&mut ring, &bytes);
                } else {
                    let bytes = get(&mut ring, length);
                    prop_assert_eq!(bytes.len(), length.min(written - taken));
                    prop_assert!(bytes.iter().enumerate().all(|(at, &byte)| byte == ((taken + at) % 251) as u8));
                    taken += bytes.len();
                }
                prop_assert_eq!(ring.len(), written - taken);
                prop_assert!(ring.len() <= ring.capacity());
            }
        }
    }
}
