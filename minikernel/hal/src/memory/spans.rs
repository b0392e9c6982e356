//! Which frames exist, and where the record of each lies.

use core::sync::atomic::AtomicU32;

use crate::{PAGE_SIZE, PhysAddr, PhysRange, machine};

/// Most separate spans of RAM that the kernel manages. Firmware describes a handful; of more, the largest count.
pub(crate) const MAX_SPANS: usize = 32;

/// What the kernel notes about a frame, or about the block of frames that begins with it.
///
/// Only the record of a block's first frame means something, and it is written when the block comes into being. So a
/// record is never read before it was written, and RAM that nobody has used yet is never touched.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Record {
    /// How many owners the frame has; meaningful while it is allocated as a [`crate::frame::Frame`].
    pub(crate) references: AtomicU32,
    /// [`FREE`] and the block's order, while the block is in a free list; 0 else.
    pub(super) state: u32,
    /// Neighbours in the free list; 0 = none.
    pub(super) next: u32,
    pub(super) previous: u32,
}

/// Bit of [`Record::state`]: the block is in a free list.
pub(super) const FREE: u32 = 1 << 31;

const RECORD_SIZE: u64 = size_of::<Record>() as u64;

/// A run of frames with one array of records, which lies in the RAM before them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Span {
    /// Number (address / 4096) of the first frame.
    pub(crate) first: u32,
    /// Number of the frame behind the last.
    pub(crate) end: u32,
    /// Where the record of the first frame lies.
    records: PhysAddr,
}

impl Span {
    /// Divides a range of usable RAM into records and frames. `None` where it is too small to be worth it.
    pub(crate) fn carve(range: PhysRange) -> Option<Self> {
        let page = PAGE_SIZE as u64;
        let first = range.start.as_u64().div_ceil(page);
        // Frame numbers stay below 2^31: `Frame` uses the top bit. That is 8 TiB of RAM.
        let end = (range.end().as_u64() / page).min(1 << 31);
        let count = end.checked_sub(first)?;
        let record_pages = (count * RECORD_SIZE).div_ceil(page);
        if count < record_pages + 2 || first == 0 {
            return None;
        }
        Some(Self {
            first: (first + record_pages) as u32,
            end: end as u32,
            records: PhysAddr::new(first * page),
        })
    }

    /// Number of frames.
    pub(crate) const fn len(&self) -> usize {
        (self.end - self.first) as usize
    }

    /// The record of a frame of this span.
    #[inline]
    pub(super) fn record(&self, frame: u32) -> *mut Record {
        machine::direct(self.records_of(frame, 1).start).cast()
    }

    /// Where the records of the `count` frames from `frame` lie.
    pub(super) fn records_of(&self, frame: u32, count: usize) -> PhysRange {
        let start = self.records.as_u64() + u64::from(frame - self.first) * RECORD_SIZE;
        PhysRange::new(PhysAddr::new(start), count as u64 * RECORD_SIZE)
    }
}

/// All managed RAM. Never changes once the kernel runs, so it is read without a lock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spans {
    spans: [Span; MAX_SPANS],
    count: usize,
}

impl Spans {
    pub(crate) const fn new() -> Self {
        Self { spans: [Span { first: 0, end: 0, records: PhysAddr::new(0) }; MAX_SPANS], count: 0 }
    }

    /// Adds a range of usable RAM. Where the table is full, the smallest span gives way.
    pub(crate) fn add(&mut self, range: PhysRange) {
        let Some(span) = Span::carve(range) else { return };
        if let Some(slot) = self.spans.get_mut(self.count) {
            *slot = span;
            self.count += 1;
        } else if let Some(smallest) = self.spans.iter_mut().min_by_key(|other| other.len())
            && smallest.len() < span.len()
        {
            *smallest = span;
        }
    }

    pub(crate) fn iter(&self) -> core::slice::Iter<'_, Span> {
        self.spans[..self.count].iter()
    }

    pub(super) fn get(&self, index: usize) -> Option<Span> {
        self.spans[..self.count].get(index).copied()
    }

    /// The record of a managed frame.
    #[expect(clippy::inline_always, reason = "part of each count of a page's owners")]
    #[inline(always)]
    pub(crate) fn record(&self, frame: u32) -> *mut Record {
        let span = self.iter().find(|span| span.first <= frame && frame < span.end);
        span.expect("a managed frame lies in a span").record(frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_precede_their_frames() {
        let span = Span::carve(PhysRange::new(PhysAddr::new(0x10_0001), 64 << 20)).unwrap();
        assert!(span.records.as_u64() == 0x10_1000);
        let records = span.records_of(span.first, span.len());
        assert!(records.end().as_u64() <= u64::from(span.first) * PAGE_SIZE as u64);
        // 16 bytes of 4096: less than half a percent.
        assert_eq!(span.len(), 16383 - 64);
    }

    #[test]
    fn crumbs_are_left_out() {
        for (start, len) in
            [(0x10_0000, 0x2000), (0x10_0800, 0x2000), (0x10_0000, 0), (0, 1 << 20), (u64::MAX, 1)]
        {
            assert_eq!(Span::carve(PhysRange::new(PhysAddr::new(start), len)), None);
        }
    }

    #[test]
    fn the_smallest_span_gives_way() {
        let mut spans = Spans::new();
        for index in 0..=MAX_SPANS as u64 {
            spans.add(PhysRange::new(PhysAddr::new((index + 1) << 20), (index + 4) << 12));
        }
        assert_eq!(spans.iter().count(), MAX_SPANS);
        assert!(spans.iter().all(|span| span.first != 0x102));
    }
}
