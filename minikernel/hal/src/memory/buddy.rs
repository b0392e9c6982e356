//! A buddy allocator that learns of RAM only as it is needed.
//!
//! Each span has a frontier: frames beyond it have never been used, are not mapped, and have no record. When the free
//! lists run dry, the frontier moves by one block, which costs the same however much RAM there is. Blocks are
//! naturally aligned powers of two; a block's two halves are buddies and merge when both are free.

use super::{
    Purpose,
    spans::{FREE, MAX_SPANS, Record, Span, Spans},
};
use crate::{PAGE_SIZE, PhysAddr, PhysRange, machine};

/// Blocks have 2^0 to 2^`MAX_ORDER` frames: up to 128 MiB.
const MAX_ORDER: usize = 15;
/// The frontier moves by blocks of 2 MiB, the size of a page of the direct map.
const CLAIM_ORDER: usize = 9;
/// Single frames kept at hand before they return to the lists.
const CACHE: usize = 256;
/// Frames taken from the lists at a time: 2^5.
const BATCH_ORDER: usize = 5;
/// Frames kept ready to become page tables of the direct map, which claiming a block may need.
const SPARE_TABLES: usize = 2;
/// No frame: frame 0 is never managed.
const NONE: u32 = 0;

/// The allocator of frames.
#[derive(Debug)]
pub(crate) struct Buddy {
    spans: Spans,
    /// First frame of each span that was never claimed.
    frontier: [u32; MAX_SPANS],
    /// First free block of each order.
    free: [u32; MAX_ORDER + 1],
    cache: [u32; CACHE],
    cached: usize,
    spare: [u32; SPARE_TABLES],
    free_frames: usize,
    total: usize,
    reserve: usize,
}

impl Buddy {
    pub(crate) fn new(spans: &Spans) -> Self {
        let mut frontier = [NONE; MAX_SPANS];
        for (slot, span) in frontier.iter_mut().zip(spans.iter()) {
            *slot = span.first;
        }
        let total = spans.iter().map(Span::len).sum();
        Self {
            spans: *spans,
            frontier,
            free: [NONE; MAX_ORDER + 1],
            cache: [NONE; CACHE],
            cached: 0,
            spare: [NONE; SPARE_TABLES],
            free_frames: total,
            total,
            // 1/32 of the RAM up to 2 MiB: enough for the small objects of the calls under way.
            reserve: (total / 32).min(512),
        }
    }

    /// Frames managed.
    pub(crate) const fn total(&self) -> usize {
        self.total
    }

    /// Frames that nobody has, claimed or not.
    pub(crate) const fn free_frames(&self) -> usize {
        self.free_frames
    }

    /// Frames that only [`Purpose::Kernel`] may take.
    pub(crate) const fn reserve(&self) -> usize {
        self.reserve
    }

    /// Takes `count` contiguous frames; the number of the first.
    pub(crate) fn allocate(&mut self, count: usize, purpose: Purpose) -> Option<u32> {
        let floor = if purpose == Purpose::Ordinary { self.reserve } else { 0 };
        if count == 0 || self.free_frames < count.checked_add(floor)? {
            return None;
        }
        let frame = if count == 1 { self.take_one()? } else { self.take_run(count)? };
        self.free_frames -= count;
        Some(frame)
    }

    /// Gives `count` contiguous frames back.
    ///
    /// # Safety
    /// They were taken from this allocator, and nobody uses them any more.
    pub(crate) unsafe fn free(&mut self, first: u32, count: usize) {
        self.free_frames += count;
        if count == 1 && self.cached < CACHE {
            self.cache[self.cached] = first;
            self.cached += 1;
        } else {
            if count == 1 {
                self.drain_cache(CACHE / 2);
            }
            self.release_run(first, first + count as u32);
        }
    }

    fn take_one(&mut self) -> Option<u32> {
        if self.cached > 0 {
            self.cached -= 1;
            return Some(self.cache[self.cached]);
        }
        // A block at a time fills the cache: to split one for each frame would cost more than all else.
        let (frame, order) =
            (0..=BATCH_ORDER).rev().find_map(|order| Some((self.take_block(order)?, order)))?;
        for next in frame + 1..frame + (1 << order) {
            self.record(next).state = 0;
            self.cache[self.cached] = next;
            self.cached += 1;
        }
        Some(frame)
    }

    fn take_run(&mut self, count: usize) -> Option<u32> {
        let order = count.checked_next_power_of_two()?.trailing_zeros() as usize;
        let first = self.take_block(order).or_else(|| {
            self.drain_cache(0);
            self.take_block(order)
        })?;
        let end = first + count as u32;
        self.release_run(end, first + (1 << order));
        // The run's neighbours look for their buddies at the starts of the blocks that make up the run.
        for_each_block(first, end, |block, _| self.record(block).state = 0);
        Some(first)
    }

    /// Takes a block of exactly 2^order frames, splitting a larger one where need be.
    fn take_block(&mut self, order: usize) -> Option<u32> {
        if order > MAX_ORDER {
            return None;
        }
        let mut found = (order..=MAX_ORDER).find(|&larger| self.free[larger] != NONE);
        if found.is_none() {
            self.claim(order)?;
            found = (order..=MAX_ORDER).find(|&larger| self.free[larger] != NONE);
        }
        let mut larger = found?;
        let frame = self.free[larger];
        self.unlink(frame, larger);
        while larger > order {
            larger -= 1;
            self.link(frame + (1 << larger), larger);
        }
        Some(frame)
    }

    /// Moves frontiers until a block of at least 2^order frames has come into the lists.
    fn claim(&mut self, order: usize) -> Option<()> {
        let mut index = 0;
        while let Some(span) = self.spans.get(index) {
            while self.frontier[index] < span.end {
                let frame = self.frontier[index];
                let left = (span.end - frame).ilog2() as usize;
                let size = (frame.trailing_zeros() as usize).min(left).min(order.max(CLAIM_ORDER));
                self.map(block_range(frame, 1 << size))?;
                self.map(span.records_of(frame, 1 << size))?;
                self.frontier[index] = frame + (1 << size);
                self.link(frame, size);
                self.fill_spares();
                if size >= order && self.free[size] != NONE {
                    return Some(());
                }
            }
            index += 1;
        }
        None
    }

    /// Makes RAM reachable through the direct map.
    fn map(&mut self, range: PhysRange) -> Option<()> {
        let spare = &mut self.spare;
        machine::map_direct(range, &mut || {
            let slot = spare.iter_mut().find(|slot| **slot != NONE)?;
            self.free_frames -= 1;
            Some(core::mem::replace(slot, NONE))
        })
        .ok()
    }

    /// Puts frames aside for the next new tables. They still count as free until they are used.
    fn fill_spares(&mut self) {
        for index in 0..SPARE_TABLES {
            if self.spare[index] == NONE
                && let Some(larger) = (0..=MAX_ORDER).find(|&order| self.free[order] != NONE)
            {
                let frame = self.free[larger];
                self.unlink(frame, larger);
                self.release_run(frame + 1, frame + (1 << larger));
                self.spare[index] = frame;
            }
        }
    }

    /// Returns single frames from the cache to the lists until `keep` are left.
    fn drain_cache(&mut self, keep: usize) {
        while self.cached > keep {
            self.cached -= 1;
            let frame = self.cache[self.cached];
            self.release_block(frame, 0);
        }
    }

    /// Puts the frames `first..end` into the lists, as the largest aligned blocks that they make up.
    fn release_run(&mut self, first: u32, end: u32) {
        for_each_block(first, end, |block, order| self.release_block(block, order));
    }

    /// Puts a block into the lists, merged with its buddy as long as that is free too.
    fn release_block(&mut self, mut frame: u32, mut order: usize) {
        let (span, frontier) = self.span_of(frame);
        while order < MAX_ORDER {
            let buddy = frame ^ (1 << order);
            // A buddy behind the frontier has a record: its own block was split from the common one, or claimed.
            if buddy < span.first || buddy >= frontier {
                break;
            }
            // SAFETY: as in `record`.
            if unsafe { (*span.record(buddy)).state } != FREE | order as u32 {
                break;
            }
            self.unlink(buddy, order);
            frame &= !(1 << order);
            order += 1;
        }
        self.link(frame, order);
    }

    /// The span of a claimed frame, and its frontier.
    fn span_of(&self, frame: u32) -> (Span, u32) {
        let mut spans = self.spans.iter().zip(self.frontier);
        let found = spans.find(|(span, _)| span.first <= frame && frame < span.end);
        let (span, frontier) = found.expect("a managed frame lies in a span");
        (*span, frontier)
    }

    fn link(&mut self, frame: u32, order: usize) {
        let next = self.free[order];
        if next != NONE {
            self.record(next).previous = frame;
        }
        let record = self.record(frame);
        record.state = FREE | order as u32;
        record.next = next;
        record.previous = NONE;
        self.free[order] = frame;
    }

    fn unlink(&mut self, frame: u32, order: usize) {
        let record = self.record(frame);
        record.state = 0;
        let (next, previous) = (record.next, record.previous);
        if next != NONE {
            self.record(next).previous = previous;
        }
        if previous == NONE {
            self.free[order] = next;
        } else {
            self.record(previous).next = next;
        }
    }

    /// The record of a claimed frame.
    fn record(&mut self, frame: u32) -> &mut Record {
        // SAFETY: the record lies in RAM that only this allocator knows, mapped when the frame was claimed. The
        // reference borrows the allocator, so there is one at a time. Others use the `references` field alone, of
        // frames that are allocated, through a raw pointer; it is atomic.
        unsafe { &mut *self.spans.record(frame) }
    }
}

/// Calls `act` for each of the largest aligned blocks that make up the frames `first..end`.
fn for_each_block(mut first: u32, end: u32, mut act: impl FnMut(u32, usize)) {
    while first < end {
        let left = (end - first).ilog2() as usize;
        let order = (first.trailing_zeros() as usize).min(left).min(MAX_ORDER);
        act(first, order);
        first += 1 << order;
    }
}

/// The bytes of `count` frames.
pub(crate) const fn block_range(frame: u32, count: usize) -> PhysRange {
    PhysRange::new(PhysAddr::new(frame as u64 * PAGE_SIZE as u64), (count * PAGE_SIZE) as u64)
}

#[cfg(test)]
mod tests;
