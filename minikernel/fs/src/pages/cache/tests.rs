//! Pages are read once, shared, dropped only when nobody uses them, and always those of the device.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec;
use core::task::Waker;

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use super::*;
use crate::Error;

/// A device whose page n is full of the byte n, and whose reads end when the test says so.
#[derive(Default)]
struct Disk {
    reads: SpinLock<Vec<Arc<Read>>>,
}

struct Read {
    first: u64,
    count: usize,
    /// Until it is over.
    frames: SpinLock<Vec<Frame>>,
    result: SpinLock<Option<core::result::Result<(), Errno>>>,
}

impl PageDevice for Disk {
    fn size(&self) -> u64 {
        200 * PAGE_SIZE as u64
    }

    fn read(&self, first: u64, frames: &[Frame]) -> Result<Arc<dyn PageRead>> {
        let read = Arc::new(Read {
            first,
            count: frames.len(),
            frames: SpinLock::new(frames.to_vec()),
            result: SpinLock::new(None),
        });
        self.reads.lock().push(read.clone());
        Ok(read)
    }
}

impl Disk {
    fn finish(&self, result: core::result::Result<(), Errno>) {
        for read in self.reads.lock().drain(..) {
            for (index, frame) in (read.first..).zip(core::mem::take(&mut *read.frames.lock())) {
                frame.write(0, &[index as u8; PAGE_SIZE]);
            }
            *read.result.lock() = Some(result);
        }
    }

    fn ranges(&self) -> Vec<(u64, usize)> {
        self.reads.lock().iter().map(|read| (read.first, read.count)).collect()
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
    assert_eq!(cache.shrink(2), 2);
    assert_eq!(cache.shrink(100), 7);
    drop(held);
    assert_eq!(cache.shrink(100), 1);
    let wait = waits(cache.page(0));
    disk.finish(Ok(()));
    assert_eq!(cache.shrink(100), 3, "what is waited for stays");
    drop(wait);
    assert_eq!(cache.shrink(100), 1);
}

/// The bytes that tell page `index` apart.
fn assert_contents(frame: &Frame, index: u64) -> core::result::Result<(), TestCaseError> {
    prop_assert_eq!(frame.read_array::<1>(PAGE_SIZE - 1), [index as u8]);
    Ok(())
}

#[derive(Clone, Debug)]
enum Step {
    Page(u64),
    Resident(u64, usize),
    Prefetch(u64, u64),
    Finish(bool),
    Release,
    Shrink(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let index = 0..205_u64;
    prop_oneof![
        4 => index.clone().prop_map(Step::Page),
        2 => (index.clone(), 1..24_usize).prop_map(|(first, count)| Step::Resident(first, count)),
        1 => (index, 0..80_u64).prop_map(|(first, count)| Step::Prefetch(first, count)),
        3 => prop::bool::weighted(0.8).prop_map(Step::Finish),
        1 => Just(Step::Release),
        2 => (0..70_usize).prop_map(Step::Shrink),
    ]
}

proptest! {
    /// Against the device: each page that is given is its own and the only one, none is read that is there or on its way, and a
    /// shortage takes as many as nobody uses and no other.
    #[test]
    fn pages_are_those_of_the_device(steps in prop::collection::vec(step(), 1..60)) {
        let disk = Arc::new(Disk::default());
        let cache = PageCache::new(disk.clone());
        let mut held: BTreeMap<u64, Frame> = BTreeMap::new();
        let mut waits = Vec::new();
        for step in steps {
            let before: BTreeSet<u64> = cache.inner.lock().pages.range(..).map(|(index, _)| *index).collect();
            let reads = disk.reads.lock().len();
            match step {
                Step::Page(index) => match cache.page(index) {
                    Ok(frame) => {
                        assert_contents(&frame, index)?;
                        let first = held.entry(index).or_insert_with(|| frame.clone());
                        prop_assert!(first.same(&frame), "page {index} is there twice");
                    }
                    Err(Error::Wait(wait)) => waits.push(wait),
                    Err(_) => prop_assert!(index >= 200 || !held.contains_key(&index), "page {index} was there"),
                },
                Step::Resident(first, count) => {
                    let mut frames = vec![None; count];
                    cache.resident(first, &mut frames);
                    for (index, frame) in (first..).zip(frames) {
                        let Some(frame) = frame else { continue };
                        assert_contents(&frame, index)?;
                        prop_assert!(held.get(&index).is_none_or(|held| held.same(&frame)));
                    }
                }
                Step::Prefetch(first, count) => cache.prefetch(first..first + count),
                Step::Finish(good) => disk.finish(if good { Ok(()) } else { Err(Errno::EIO) }),
                Step::Release => {
                    held.clear();
                    waits.clear();
                }
                Step::Shrink(want) => {
                    let idle = cache.inner.lock().pages.range_mut(0..u64::MAX).filter_map(|(_, page)| page.is_idle().then_some(())).count();
                    prop_assert_eq!(cache.shrink(want), want.min(idle));
                    prop_assert_eq!(cache.pages(), before.len() - want.min(idle));
                }
            }
            let after = cache.inner.lock();
            for index in held.keys() {
                prop_assert!(after.pages.contains_key(index), "page {index} is used and was dropped");
            }
            let known = disk.reads.lock();
            for read in known.iter().skip(reads) {
                for index in read.first..read.first + read.count as u64 {
                    prop_assert!(index < 200 && !before.contains(&index) && after.pages.contains_key(&index), "page {index} is read again");
                }
            }
        }
        disk.finish(Ok(()));
        drop((held, waits));
        cache.shrink(usize::MAX);
        prop_assert_eq!(cache.pages(), 0);
    }
}
