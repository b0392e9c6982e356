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
mod tests {
    use core::task::Waker;

    use super::*;
    use crate::Error;

    /// A device whose page n is full of the byte n, and whose reads end when the test says so.
    #[derive(Default)]
    struct Disk {
        reads: SpinLock<Vec<Arc<Read>>>,
    }

    struct Read {
        first: u64,
        frames: Vec<Frame>,
        result: SpinLock<Option<core::result::Result<(), Errno>>>,
    }

    impl PageDevice for Disk {
        fn size(&self) -> u64 {
            200 * PAGE_SIZE as u64
        }

        fn read(&self, first: u64, frames: &[Frame]) -> Result<Arc<dyn PageRead>> {
            let read = Arc::new(Read { first, frames: frames.to_vec(), result: SpinLock::new(None) });
            self.reads.lock().push(read.clone());
            Ok(read)
        }
    }

    impl Disk {
        fn finish(&self, result: core::result::Result<(), Errno>) {
            for read in self.reads.lock().drain(..) {
                for (index, frame) in (read.first..).zip(&read.frames) {
                    frame.write(0, &[index as u8; PAGE_SIZE]);
                }
                *read.result.lock() = Some(result);
            }
        }

        fn ranges(&self) -> Vec<(u64, usize)> {
            self.reads.lock().iter().map(|read| (read.first, read.frames.len())).collect()
        }
    }

    impl Pending for Read {
        fn is_done(&self) -> bool {
            self.result.lock().is_some()
        }

        fn register(&self, waker: &Waker) {
            waker.wake_by_ref();
        }
    }

    impl PageRead for Read {
        fn result(&self) -> Option<core::result::Result<(), Errno>> {
            *self.result.lock()
        }
    }

    fn waits(result: Result<Frame>) -> Wait {
        match result {
            Err(Error::Wait(wait)) => wait,
            other => panic!("a wait expected, not {other:?}"),
        }
    }

    #[test]
    fn pages_are_read_once_and_shared() {
        let disk = Arc::new(Disk::default());
        let cache = PageCache::new(disk.clone());
        waits(cache.page(5));
        waits(cache.page(6));
        assert_eq!(disk.ranges(), [(5, 4)]);
        disk.finish(Ok(()));
        let page = cache.page(5).unwrap();
        assert_eq!(page.read_array::<2>(4094), [5, 5]);
        assert!(page.same(&cache.page(5).unwrap()));
        assert_eq!(disk.ranges(), []);
        cache.page(7).unwrap();
        assert_eq!(disk.ranges(), [(9, 8)], "read ahead at the marker");
    }

    #[test]
    fn what_is_resident_is_given_and_the_rest_read() {
        let disk = Arc::new(Disk::default());
        let cache = PageCache::new(disk.clone());
        let resident = || {
            let mut frames = [const { None }; 8];
            cache.resident(10, &mut frames);
            frames.map(|frame: Option<Frame>| frame.map(|frame| frame.read_array::<1>(0)[0]))
        };
        assert_eq!(resident(), [None; 8]);
        assert_eq!(disk.ranges(), [(10, 4)]);
        disk.finish(Ok(()));
        let (here, none) = (Some, None);
        assert_eq!(resident(), [here(10), here(11), here(12), here(13), none, none, none, none]);
        assert!(!disk.ranges().is_empty(), "what follows is read");
        disk.finish(Ok(()));
        assert_eq!(resident(), [10, 11, 12, 13, 14, 15, 16, 17].map(here));
    }

    #[test]
    fn the_end_of_the_device_is_the_end() {
        let disk = Arc::new(Disk::default());
        let cache = PageCache::new(disk.clone());
        waits(cache.page(198));
        assert_eq!(disk.ranges(), [(198, 2)]);
        assert!(matches!(cache.page(200), Err(Error::Errno(Errno::EIO))));
        assert!(matches!(cache.page(u64::MAX), Err(Error::Errno(Errno::EIO))));
        cache.prefetch(199..u64::MAX);
        cache.prefetch(u64::MAX - 1..u64::MAX);
    }

    #[test]
    fn an_error_is_told_and_the_page_read_again() {
        let disk = Arc::new(Disk::default());
        let cache = PageCache::new(disk.clone());
        waits(cache.page(5));
        disk.finish(Err(Errno::EIO));
        assert!(matches!(cache.page(5), Err(Error::Errno(Errno::EIO))));
        waits(cache.page(5));
        disk.finish(Ok(()));
        cache.page(5).unwrap();
    }

    #[test]
    fn pages_are_dropped_in_turn() {
        let disk = Arc::new(Disk::default());
        let cache = PageCache::new(disk.clone());
        let read = |pages| {
            cache.prefetch(pages);
            disk.finish(Ok(()));
            // The test's reads keep their frames as long as they are known.
            cache.inner.lock().pages.range_mut(0..u64::MAX).for_each(|(_, page)| assert!(page.is_read()));
        };
        let touch = |index| cache.inner.lock().pages.get_mut(&index).unwrap().used = true;
        let shrink = |want| {
            let freed = cache.shrink(want);
            (freed, cache.inner.lock().pages.range(..).map(|(index, _)| *index).collect::<Vec<_>>())
        };
        read(0..6);
        touch(2);
        assert_eq!(shrink(1), (1, [1, 2, 3, 4, 5].into()));
        // A page that has just been read again is not the next to go, and one that was touched stays for a round.
        read(0..1);
        assert_eq!(shrink(2), (2, [0, 2, 4, 5].into()));
        assert_eq!(shrink(3), (3, [2].into()));
        assert_eq!(shrink(64), (1, [].into()));
        assert_eq!(shrink(64), (0, [].into()));
        // More than one batch, all of them touched.
        read(0..60);
        let count = cache.pages();
        (0..count as u64).for_each(touch);
        assert_eq!(shrink(count - 1), (count - 1, [count as u64 - 1].into()));
    }

    #[test]
    fn only_pages_that_nobody_uses_are_dropped() {
        let disk = Arc::new(Disk::default());
        let cache = PageCache::new(disk.clone());
        cache.prefetch(0..10);
        assert_eq!(disk.ranges(), [(0, 10)]);
        assert_eq!(cache.shrink(100), 0, "still being read");
        disk.finish(Ok(()));
        let held = cache.page(3).unwrap();
        disk.reads.lock().clear();
        assert_eq!(cache.shrink(2), 2);
        assert_eq!(cache.shrink(100), 7);
        drop(held);
        assert_eq!(cache.shrink(100), 1);
        let wait = waits(cache.page(0));
        disk.finish(Ok(()));
        assert_eq!(cache.shrink(100), 0, "what is waited for stays");
        drop(wait);
        assert_eq!(cache.shrink(100), 4);
    }
}
