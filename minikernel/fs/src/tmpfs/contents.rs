//! The contents of a regular file: pages of its own over pages of the lower file.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;
use isopod_hal::number_map::NumberMap;

use isopod_hal::{PAGE_SIZE, frame::Frame};

use super::shared::Shared;
use crate::file::MAX_OFFSET;
use crate::inode::{AllocateMode, Extent, Inode};
use crate::transfer::{Source, page_of};
use crate::{Errno, Result};

const PAGE: u64 = PAGE_SIZE as u64;

/// What a page of the contents is.
#[derive(Debug)]
pub(super) enum Found {
    /// This page, of the file's own or of the lower file.
    Frame(Frame),
    /// Zeros that take no room.
    Hole,
}

/// Contents of any size, most of which may be holes. What an operation costs is decided by what is there, never by its range.
#[derive(Debug)]
pub(super) struct Contents {
    size: u64,
    /// Pages of its own.
    pages: NumberMap<Frame>,
    lower: Option<Lower>,
}

/// The lower file.
#[derive(Debug)]
struct Lower {
    inode: Arc<dyn Inode>,
    /// Which of its pages are still part of the contents, rising and apart, but for those over which there is an own one. Bytes after
    /// the end of the lower file are zero in its last page, and where it was cut shorter, the last page was copied.
    shown: Vec<Range<u64>>,
    /// How many pages of `shown` are hidden by own ones.
    hidden: u64,
}

impl Lower {
    /// The first run of shown pages that ends after `index`.
    fn run_after(&self, index: u64) -> Option<&Range<u64>> {
        self.shown.get(self.shown.partition_point(|run| run.end <= index))
    }

    fn shows(&self, index: u64) -> bool {
        self.run_after(index).is_some_and(|run| run.start <= index)
    }

    /// Shows nothing in `pages` any more.
    fn hide(&mut self, pages: &Range<u64>) -> Result<()> {
        let first = self.shown.partition_point(|run| run.end <= pages.start);
        let end = self.shown.partition_point(|run| run.start < pages.end);
        let Some(run) = self.shown.get(first).filter(|_| first < end).cloned() else { return Ok(()) };
        let last = self.shown[end - 1].end;
        let rest = [run.start..pages.start, pages.end..last];
        self.shown.try_reserve(1)?;
        self.shown.splice(first..end, rest.into_iter().filter(|run| !run.is_empty()));
        Ok(())
    }
}

impl Contents {
    /// The contents of `lower` (and its size), or none.
    pub(super) fn new(lower: Option<(Arc<dyn Inode>, u64)>) -> Self {
        let size = lower.as_ref().map_or(0, |(_, size)| *size);
        let shown = core::iter::once(0..size.div_ceil(PAGE)).filter(|run| !run.is_empty());
        let lower = lower.map(|(inode, _)| Lower { inode, shown: shown.collect(), hidden: 0 });
        Self { size, pages: NumberMap::new(), lower }
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// How many pages are of its own: what counts against the limit.
    pub(super) fn own_pages(&self) -> u64 {
        self.pages.len() as u64
    }

    /// How many pages are no holes.
    pub(super) fn data_pages(&self) -> u64 {
        let shown = self
            .lower
            .as_ref()
            .map_or(0, |lower| lower.shown.iter().map(|run| run.end - run.start).sum::<u64>() - lower.hidden);
        self.own_pages() + shown
    }

    fn shows_lower(&self, index: u64) -> bool {
        self.lower.as_ref().is_some_and(|lower| lower.shows(index))
    }

    /// Has the lower file's pages in `pages` read, if they are used.
    pub(super) fn prefetch(&self, pages: Range<u64>) {
        if let Some(lower) = &self.lower
            && let Some(run) = lower.run_after(pages.start)
            && run.start < pages.end
        {
            lower.inode.prefetch(pages.start.max(run.start)..pages.end.min(run.end));
        }
    }

    /// The page with this index.
    pub(super) fn find(&self, index: u64) -> Result<Found> {
        match (self.pages.get(&index), &self.lower) {
            (Some(frame), _) => Ok(Found::Frame(frame.clone())),
            (None, Some(lower)) if lower.shows(index) => lower.inode.page(index).map(Found::Frame),
            _ => Ok(Found::Hole),
        }
    }

    /// The pages from `first` on that are in memory, each in its place.
    pub(super) fn resident(&self, first: u64, frames: &mut [Option<Frame>]) {
        let end = first.saturating_add(frames.len() as u64).min(self.size.div_ceil(PAGE));
        if let Some(lower) = &self.lower {
            let mut at = first;
            while let Some(run) = lower.run_after(at).filter(|run| run.start < end) {
                let (from, to) = (run.start.max(first), run.end.min(end));
                lower.inode.resident(from, &mut frames[(from - first) as usize..(to - first) as usize]);
                at = run.end;
            }
        }
        for (index, frame) in self.pages.range(first..end.max(first)) {
            frames[(index - first) as usize] = Some(frame.clone());
        }
    }

    /// The page with this index as one of the file's own, and whether another one was shown there so far.
    pub(super) fn own(&mut self, index: u64, shared: &Shared) -> Result<(Frame, bool)> {
        if let Some(frame) = self.pages.get(&index) {
            return Ok((frame.clone(), false));
        }
        let lower = match self.find(index)? {
            Found::Frame(frame) => Some(frame),
            Found::Hole => None,
        };
        let frame = new_page(shared, lower.as_ref())?;
        self.pages.insert(index, frame.clone());
        if let Some(hidden) = self.lower.as_mut().filter(|_| lower.is_some()) {
            hidden.hidden += 1;
        }
        Ok((frame, lower.is_some()))
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
            && let Some(frame) = self.pages.get(&index)
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
        self.discard(&(size.div_ceil(PAGE)..u64::MAX), shared)?;
        self.size = size;
        Ok(first_gone..old_pages)
    }

    /// Makes the pages holes.
    fn discard(&mut self, pages: &Range<u64>, shared: &Shared) -> Result<()> {
        if let Some(lower) = &mut self.lower {
            // Own pages go first from the count, as long as it is known what they hide.
            let hidden = self.pages.range(pages.clone()).filter(|(index, _)| lower.shows(**index)).count();
            lower.hide(pages)?;
            lower.hidden -= hidden as u64;
        }
        let before = self.pages.len();
        self.pages.remove_range(pages.clone());
        shared.give_pages((before - self.pages.len()) as u64);
        Ok(())
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
        // Refused before a single page is zeroed when there cannot be room for all.
        let mut holes = 0;
        let mut at = self.next_hole(pages.start);
        while at < pages.end {
            let end = self.next_data(at).unwrap_or(u64::MAX).min(pages.end);
            holes += end - at;
            at = self.next_hole(end);
        }
        shared.take_pages(holes)?;
        shared.give_pages(holes);
        let mut added = Vec::new();
        added.try_reserve_exact(holes as usize)?;
        let mut at = self.next_hole(pages.start);
        while at < pages.end {
            match new_page(shared, None) {
                Ok(frame) => {
                    self.pages.insert(at, frame);
                    added.push(at);
                }
                Err(error) => {
                    for index in &added {
                        self.pages.remove(index);
                    }
                    shared.give_pages(added.len() as u64);
                    return Err(error);
                }
            }
            at = self.next_hole(at + 1);
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
            self.discard(&whole, shared)?;
        }
        Ok(touched)
    }

    /// The first page at or after `index` that is no hole.
    fn next_data(&self, index: u64) -> Option<u64> {
        let own = self.pages.range(index..).next().map(|(own, _)| *own);
        let lower =
            self.lower.as_ref().and_then(|lower| lower.run_after(index)).map(|run| run.start.max(index));
        own.into_iter().chain(lower).min()
    }

    /// The first page at or after `index` that is a hole.
    fn next_hole(&self, mut index: u64) -> u64 {
        loop {
            let run = self.lower.as_ref().and_then(|lower| lower.run_after(index));
            if let Some(run) = run.filter(|run| run.start <= index) {
                index = run.end;
            }
            let start = index;
            for own in self.pages.range(index..).map(|(own, _)| *own) {
                if own != index {
                    break;
                }
                index += 1;
            }
            if index == start && !self.shows_lower(index) {
                return index;
            }
        }
    }

    /// `SEEK_DATA` and `SEEK_HOLE` of lseek(2).
    pub(super) fn seek_extent(&self, offset: u64, extent: Extent) -> Result<u64> {
        if offset >= self.size {
            return Err(Errno::ENXIO.into());
        }
        let index = offset / PAGE;
        let found = match extent {
            Extent::Data => {
                self.next_data(index).filter(|found| found * PAGE < self.size).ok_or(Errno::ENXIO)?
            }
            Extent::Hole => self.next_hole(index),
        };
        Ok(found.saturating_mul(PAGE).max(offset).min(self.size))
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
