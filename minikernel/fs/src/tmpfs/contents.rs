//! The contents of a regular file: pages of its own over pages of the lower file.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use core::ops::Range;

use isopod_hal::{PAGE_SIZE, frame::Frame};

use super::shared::Shared;
use crate::file::MAX_OFFSET;
use crate::inode::{AllocateMode, Extent, Inode};
use crate::transfer::{Source, page_of};
use crate::{Errno, Result};

const PAGE: u64 = PAGE_SIZE as u64;

/// A page that differs from the lower file's.
#[derive(Debug)]
enum Page {
    Own(Frame),
    /// A hole where the lower file has data.
    Hole,
}

/// What a page of the contents is.
#[derive(Debug)]
pub(super) enum Found {
    /// This page, of the file's own or of the lower file.
    Frame(Frame),
    /// Zeros that take no room.
    Hole,
}

/// Contents of any size, most of which may be holes.
#[derive(Debug)]
pub(super) struct Contents {
    size: u64,
    pages: BTreeMap<u64, Page>,
    /// How many of `pages` are own ones.
    own: u64,
    lower: Option<Lower>,
}

/// The part of the lower file that is still visible.
#[derive(Debug)]
struct Lower {
    inode: Arc<dyn Inode>,
    /// Pages before this one are the lower file's, except for those in `pages`. Bytes after the end of the lower file
    /// are zero in its last page, and where it was cut shorter, the last page was copied.
    pages: u64,
}

impl Contents {
    /// The contents of `lower` (and its size), or none.
    pub(super) fn new(lower: Option<(Arc<dyn Inode>, u64)>) -> Self {
        let size = lower.as_ref().map_or(0, |(_, size)| *size);
        let lower = lower.map(|(inode, size)| Lower { inode, pages: size.div_ceil(PAGE) });
        Self { size, pages: BTreeMap::new(), own: 0, lower }
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// How many pages are of its own: what counts against the limit.
    pub(super) fn own_pages(&self) -> u64 {
        self.own
    }

    /// How many pages are no holes.
    pub(super) fn data_pages(&self) -> u64 {
        let lower = self.lower_pages();
        self.own + lower - self.pages.range(..lower).count() as u64
    }

    fn lower_pages(&self) -> u64 {
        self.lower.as_ref().map_or(0, |lower| lower.pages)
    }

    /// Has the lower file's pages in `pages` read, if they are used.
    pub(super) fn prefetch(&self, pages: Range<u64>) {
        if let Some(lower) = &self.lower
            && pages.start < lower.pages
        {
            lower.inode.prefetch(pages.start..pages.end.min(lower.pages));
        }
    }

    /// The page with this index.
    pub(super) fn find(&self, index: u64) -> Result<Found> {
        match (self.pages.get(&index), &self.lower) {
            (Some(Page::Own(frame)), _) => Ok(Found::Frame(frame.clone())),
            (None, Some(lower)) if index < lower.pages => lower.inode.page(index).map(Found::Frame),
            _ => Ok(Found::Hole),
        }
    }

    /// The page with this index as one of the file's own, and whether another one was shown there so far.
    pub(super) fn own(&mut self, index: u64, shared: &Shared) -> Result<(Frame, bool)> {
        match self.find(index)? {
            Found::Frame(frame) if self.is_own(index) => Ok((frame, false)),
            Found::Frame(lower) => {
                let frame = new_page(shared, Some(&lower))?;
                self.put(index, frame.clone());
                Ok((frame, true))
            }
            Found::Hole => {
                let frame = new_page(shared, None)?;
                self.put(index, frame.clone());
                Ok((frame, false))
            }
        }
    }

    fn is_own(&self, index: u64) -> bool {
        matches!(self.pages.get(&index), Some(Page::Own(_)))
    }

    fn put(&mut self, index: u64, frame: Frame) {
        if !matches!(self.pages.insert(index, Page::Own(frame)), Some(Page::Own(_))) {
            self.own += 1;
        }
    }

    /// Writes what `source` has, from `offset` on. Returns how much, and which pages of the lower file were replaced.
    pub(super) fn write(
        &mut self,
        offset: u64,
        source: &mut dyn Source,
        shared: &Shared,
    ) -> Result<(usize, Range<u64>)> {
        let mut done = 0;
        let mut replaced = 0..0;
        if offset > self.size && source.remaining() > 0 {
            self.clear_tail();
        }
        loop {
            let position = offset + done as u64;
            let (index, start) = page_of(position);
            let length = (PAGE_SIZE - start).min(source.remaining()).min((MAX_OFFSET - position) as usize);
            if length == 0 {
                break;
            }
            let (written, other) = match self.write_page(index, start, length, source, shared) {
                Ok(outcome) => outcome,
                Err(error) if done == 0 => return Err(error),
                Err(_) => break,
            };
            if other {
                replaced = if replaced.is_empty() { index..index + 1 } else { replaced.start..index + 1 };
            }
            done += written;
            if written > 0 {
                self.size = self.size.max(position + written as u64);
            }
            if written < length {
                break;
            }
        }
        Ok((done, replaced))
    }

    /// Writes `length` bytes to one page. Returns how many came, and whether the lower file's page was replaced.
    fn write_page(
        &mut self,
        index: u64,
        start: usize,
        length: usize,
        source: &mut dyn Source,
        shared: &Shared,
    ) -> Result<(usize, bool)> {
        // Even of a page that is overwritten as a whole, as the source may end early.
        let (frame, replaced) = self.own(index, shared)?;
        Ok((source.take_frame(&frame, start, length), replaced))
    }

    /// Zeros what lies after the end in the last page: a mapping may have written there.
    fn clear_tail(&mut self) {
        let (index, start) = page_of(self.size);
        if start > 0
            && let Some(Page::Own(frame)) = self.pages.get(&index)
        {
            frame.clear(start..PAGE_SIZE);
        }
    }

    /// Sets the size. Returns the pages that mappings must let go of.
    pub(super) fn truncate(&mut self, size: u64, shared: &Shared) -> Result<Range<u64>> {
        if size > MAX_OFFSET {
            return Err(Errno::EFBIG.into());
        }
        let old_pages = self.size.div_ceil(PAGE);
        if size >= self.size {
            self.clear_tail();
            self.size = size;
            return Ok(0..0);
        }
        let (last, start) = page_of(size);
        let mut first_gone = last;
        if start > 0 {
            first_gone = last + 1;
            if matches!(self.find(last)?, Found::Frame(_)) {
                let (frame, replaced) = self.own(last, shared)?;
                frame.clear(start..PAGE_SIZE);
                if replaced {
                    first_gone = last;
                }
            }
        }
        let kept = size.div_ceil(PAGE);
        self.discard(kept..u64::MAX, shared);
        if let Some(lower) = &mut self.lower {
            lower.pages = lower.pages.min(kept);
        }
        self.size = size;
        Ok(first_gone..old_pages)
    }

    /// Frees own pages in the range, and forgets holes.
    fn discard(&mut self, range: Range<u64>, shared: &Shared) {
        let mut freed = 0;
        let mut rest = self.pages.split_off(&range.start);
        let mut after = rest.split_off(&range.end);
        for page in rest.into_values() {
            freed += u64::from(matches!(page, Page::Own(_)));
        }
        self.pages.append(&mut after);
        self.own -= freed;
        shared.give_pages(freed);
    }

    /// fallocate(2). Returns the pages that mappings must let go of.
    pub(super) fn allocate(
        &mut self,
        mode: AllocateMode,
        range: Range<u64>,
        shared: &Shared,
    ) -> Result<Range<u64>> {
        match mode {
            AllocateMode::PunchHole => return self.punch(range, shared),
            AllocateMode::Reserve => {
                self.reserve(&range, shared)?;
                if range.end > self.size {
                    self.clear_tail();
                    self.size = range.end;
                }
            }
            AllocateMode::ReserveKeepSize => self.reserve(&range, shared)?,
        }
        Ok(0..0)
    }

    /// Gives every hole in the range (bytes) a page; all or none.
    fn reserve(&mut self, range: &Range<u64>, shared: &Shared) -> Result<()> {
        let pages = range.start / PAGE..range.end.div_ceil(PAGE);
        let taken =
            self.pages.range(pages.clone()).filter(|(_, page)| matches!(page, Page::Own(_))).count() as u64;
        let lower = self.lower_pages();
        let lower_data = lower.min(pages.end).saturating_sub(pages.start)
            - self.pages.range(pages.start..lower.clamp(pages.start, pages.end)).count() as u64;
        // Refused before a single page is zeroed when there cannot be room for all.
        let holes = pages.end - pages.start - taken - lower_data;
        shared.take_pages(holes)?;
        shared.give_pages(holes);
        let mut added = alloc::vec::Vec::new();
        for index in pages {
            let hole = match self.pages.get(&index) {
                Some(Page::Own(_)) => false,
                Some(Page::Hole) => true,
                None => index >= lower,
            };
            if !hole {
                continue;
            }
            let outcome = match added.try_reserve(1) {
                Ok(()) => new_page(shared, None),
                Err(error) => Err(error.into()),
            };
            match outcome {
                Ok(frame) => {
                    self.put(index, frame);
                    added.push(index);
                }
                Err(error) => {
                    for index in added {
                        self.punch_page(index, shared);
                    }
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Makes the range (bytes) a hole. Returns the pages that mappings must let go of.
    fn punch(&mut self, range: Range<u64>, shared: &Shared) -> Result<Range<u64>> {
        let end = range.end.min(self.size.next_multiple_of(PAGE));
        if range.start >= end {
            return Ok(0..0);
        }
        let touched = range.start / PAGE..end.div_ceil(PAGE);
        let whole = range.start.div_ceil(PAGE)..end / PAGE;
        // Pages of which only a part goes stay, and are zeroed there. They are found before anything changes.
        let edges = [touched.start, touched.end - 1].into_iter().filter(|index| !whole.contains(index));
        for index in edges.clone() {
            self.find(index)?;
        }
        for index in edges {
            if matches!(self.find(index)?, Found::Frame(_)) {
                let (frame, _) = self.own(index, shared)?;
                let page = index * PAGE;
                let part = range.start.saturating_sub(page)..(end - page).min(PAGE);
                frame.clear(part.start as usize..part.end as usize);
            }
        }
        if !whole.is_empty() {
            self.discard(whole.clone(), shared);
            for index in whole.start..whole.end.min(self.lower_pages()) {
                self.pages.insert(index, Page::Hole);
            }
        }
        Ok(touched)
    }

    /// Makes one own page a hole again.
    fn punch_page(&mut self, index: u64, shared: &Shared) {
        self.discard(index..index + 1, shared);
        if index < self.lower_pages() {
            self.pages.insert(index, Page::Hole);
        }
    }

    /// `SEEK_DATA` and `SEEK_HOLE` of lseek(2).
    pub(super) fn seek_extent(&self, offset: u64, extent: Extent) -> Result<u64> {
        if offset >= self.size {
            return Err(Errno::ENXIO.into());
        }
        let is_data = |index| match self.pages.get(&index) {
            Some(Page::Own(_)) => true,
            Some(Page::Hole) => false,
            None => index < self.lower_pages(),
        };
        let mut index = offset / PAGE;
        let end = self.size.div_ceil(PAGE);
        while index < end && is_data(index) != (extent == Extent::Data) {
            index = match self.pages.range(index + 1..).next() {
                // Between the lower file's pages and the next own one there is nothing.
                Some((next, _)) if extent == Extent::Data && index + 1 >= self.lower_pages() => *next,
                None if extent == Extent::Data && index + 1 >= self.lower_pages() => end,
                _ => index + 1,
            };
        }
        match extent {
            Extent::Data if index >= end => Err(Errno::ENXIO.into()),
            _ => Ok(offset.max(index * PAGE).min(self.size)),
        }
    }
}

/// A counted page with the contents of `from`, or zeros.
fn new_page(shared: &Shared, from: Option<&Frame>) -> Result<Frame> {
    shared.take_pages(1)?;
    let frame = match from {
        Some(from) => Frame::uninit().inspect(|frame| frame.copy_from(from)),
        None => Frame::zeroed(),
    };
    frame.map_err(|error| {
        shared.give_pages(1);
        error.into()
    })
}
