//! The page cache of a device.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;
use core::sync::atomic::{AtomicUsize, Ordering};
use isopod_hal::number_map::NumberMap;

use isopod_hal::{PAGE_SIZE, frame::Frame, sync::SpinLock};

use super::PageSource;
use super::read_ahead::{MOST, ReadAhead};
use crate::error::Pending;
use crate::{Errno, Result, Wait};

/// A device that reads pages, and does not keep the caller waiting.
pub trait PageDevice: Send + Sync {
    /// Size in bytes.
    fn size(&self) -> u64;

    /// Starts to read into `frames` the pages from `first` on.
    fn read(&self, first: u64, frames: &[Frame]) -> Result<Arc<dyn PageRead>>;
}

/// A read on its way.
pub trait PageRead: Pending {
    /// How it went; `None` while it is on its way.
    fn result(&self) -> Option<core::result::Result<(), Errno>>;
}

/// The pages of a device that were read, each once, and shared with everyone who reads or maps them.
///
/// They can be dropped again as long as nobody uses them: [`shrink`](Self::shrink).
pub struct PageCache {
    device: Arc<dyn PageDevice>,
    inner: SpinLock<Inner>,
}

#[derive(Default)]
struct Inner {
    pages: NumberMap<Box<Page>>,
    ahead: ReadAhead,
    /// Where the search for pages to drop goes on, round and round.
    hand: u64,
}

impl Inner {
    /// Drops pages from the hand on, at most `want`, a batch or what comes before the end; of those that nobody uses the ones that were not
    /// touched since the hand passed them last. Each page it passes takes one of `steps`. Returns how many it has dropped.
    fn sweep(&mut self, want: usize, steps: &mut usize) -> usize {
        let mut idle = [0; 32];
        let want = want.min(idle.len());
        let mut found = 0;
        let pages = self.pages.range_mut(self.hand..u64::MAX);
        self.hand = 0;
        for (&index, page) in pages {
            if found == want || *steps == 0 {
                self.hand = index;
                break;
            }
            *steps -= 1;
            if page.is_idle() && !core::mem::take(&mut page.used) {
                idle[found] = index;
                found += 1;
            }
        }
        idle[..found].iter().for_each(|index| drop(self.pages.remove(index)));
        found
    }
}

struct Page {
    frame: Frame,
    /// The read that fills it, until that was seen to be over.
    read: Option<Arc<dyn PageRead>>,
    /// Whether it was touched since memory was last short.
    used: bool,
}

/// Pages in all caches.
static CACHED: AtomicUsize = AtomicUsize::new(0);

/// How many pages all caches hold.
pub fn cached() -> usize {
    CACHED.load(Ordering::Relaxed)
}

impl PageCache {
    /// An empty cache of `device`.
    pub fn new(device: Arc<dyn PageDevice>) -> Arc<Self> {
        Arc::new(Self { device, inner: SpinLock::default() })
    }

    /// Drops pages that nobody uses, at most `want`; those first that were not touched lately. Returns how many. It goes on where the last call
    /// stopped, and so passes each page once in a while, not in each call.
    pub fn shrink(&self, want: usize) -> usize {
        let mut inner = self.inner.lock();
        let mut freed = 0;
        // What the first round marks as no longer used, the second one takes.
        let mut steps = 2 * inner.pages.len();
        while freed < want && steps > 0 && !inner.pages.is_empty() {
            freed += inner.sweep(want - freed, &mut steps);
        }
        drop(inner);
        CACHED.fetch_sub(freed, Ordering::Relaxed);
        freed
    }

    /// How many pages are cached.
    pub fn pages(&self) -> usize {
        self.inner.lock().pages.len()
    }

    fn end(&self) -> u64 {
        self.device.size().div_ceil(PAGE_SIZE as u64)
    }

    /// Reads ahead of who asks for these pages, which are there, if it is time for that.
    fn go_on(&self, inner: &mut Inner, pages: &Range<u64>) {
        if let Some(range) = inner.ahead.hit(pages)
            && !inner.pages.contains_key(&range.start)
            && range.start < self.end()
        {
            // What is only read ahead may fail: then it is read when it is wanted.
            let _ = self.start_read(inner, range);
        }
    }

    /// Starts to read what is missing at the start of `range`.
    fn start_read(&self, inner: &mut Inner, range: Range<u64>) -> Result<()> {
        let end = range.end.min(self.end());
        let end =
            inner.pages.range(range.start..end.max(range.start)).next().map_or(end, |(index, _)| *index);
        let mut frames = Vec::new();
        for index in range.start..end {
            // Read-ahead is given up for lack of memory, the page that is wanted is not.
            let frame = frames.try_reserve(1).ok().and_then(|()| Frame::uninit().ok());
            match frame {
                Some(frame) => frames.push(frame),
                None if index == range.start => return Err(Errno::ENOMEM.into()),
                None => break,
            }
        }
        if frames.is_empty() {
            return Ok(());
        }
        let read = self.device.read(range.start, &frames)?;
        CACHED.fetch_add(frames.len(), Ordering::Relaxed);
        for (index, frame) in (range.start..).zip(frames) {
            inner.pages.insert(index, Box::new(Page { frame, read: Some(read.clone()), used: false }));
        }
        Ok(())
    }
}

impl Drop for PageCache {
    fn drop(&mut self) {
        CACHED.fetch_sub(self.inner.lock().pages.len(), Ordering::Relaxed);
    }
}

impl Page {
    /// Whether it can be dropped: its read is over, and only the cache refers to it.
    fn is_idle(&mut self) -> bool {
        match self.read.as_ref().map(|read| read.result()) {
            Some(None) => return false,
            // Its contents are of no use; who asks for it reads it again.
            Some(Some(Err(_))) => return true,
            Some(Some(Ok(()))) => self.read = None,
            None => {}
        }
        self.frame.is_unique()
    }

    /// Whether its contents are there.
    fn is_read(&mut self) -> bool {
        if self.read.as_ref().is_some_and(|read| matches!(read.result(), Some(Ok(())))) {
            self.read = None;
        }
        self.read.is_none()
    }
}

impl PageSource for PageCache {
    fn size(&self) -> u64 {
        self.device.size()
    }

    fn page(&self, index: u64) -> Result<Frame> {
        if index >= self.end() {
            return Err(Errno::EIO.into());
        }
        let mut inner = self.inner.lock();
        if let Some(page) = inner.pages.get_mut(&index)
            && page.read.is_none()
        {
            page.used = true;
            let frame = page.frame.clone();
            self.go_on(&mut inner, &(index..index + 1));
            return Ok(frame);
        }
        if inner.pages.contains_key(&index) {
            self.go_on(&mut inner, &(index..index + 1));
        } else {
            let range = inner.ahead.miss(index);
            self.start_read(&mut inner, range)?;
        }
        let page = inner.pages.get_mut(&index).ok_or(Errno::EIO)?;
        page.used = true;
        if let Some(read) = &page.read {
            match read.result() {
                None => {
                    let wait = Wait::new(read.clone(), Some(page.frame.clone()));
                    return Err(crate::Error::Wait(wait));
                }
                Some(Ok(())) => page.read = None,
                Some(Err(errno)) => {
                    inner.pages.remove(&index);
                    CACHED.fetch_sub(1, Ordering::Relaxed);
                    return Err(errno.into());
                }
            }
        }
        Ok(page.frame.clone())
    }

    fn resident(&self, first: u64, frames: &mut [Option<Frame>]) {
        let mut inner = self.inner.lock();
        let wanted = first..first.saturating_add(frames.len() as u64);
        let mut next = first;
        for (&index, page) in inner.pages.range_mut(wanted.clone()) {
            if index != next {
                break;
            }
            next += 1;
            if page.is_read() {
                page.used = true;
                frames[(index - first) as usize] = Some(page.frame.clone());
            }
        }
        self.go_on(&mut inner, &(first..next));
        if next < wanted.end {
            let range = inner.ahead.miss(next);
            // As with all read-ahead, a failure is met again by who wants the page.
            let _ = self.start_read(&mut inner, range);
        }
    }

    fn prefetch(&self, pages: Range<u64>) {
        let mut inner = self.inner.lock();
        let end = pages.end.min(pages.start.saturating_add(MOST)).min(self.end());
        if let Some(first) = (pages.start..end).find(|index| !inner.pages.contains_key(index)) {
            let range = inner.ahead.start(first..end);
            // As with all read-ahead, a failure is met again by who wants the page.
            let _ = self.start_read(&mut inner, range);
        }
    }
}

impl fmt::Debug for PageCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PageCache").field("pages", &self.pages()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
