//! Virtual memory areas and the ordered set of them that an address space is.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;
use core::ops::{Range, RangeBounds};

use bitflags::bitflags;
use isopod_fs::file::OpenFile;
use isopod_fs::{Inode, MappingObserver};
use isopod_hal::PAGE_SIZE;
use isopod_hal::frame::Frame;
use isopod_hal::number_map::NumberMap;
use isopod_hal::paging::Access;

bitflags! {
    /// What an area is besides its rights.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct VmaFlags: u32 {
        /// Changes reach every mapping of the same pages (`MAP_SHARED`).
        const SHARED = 1 << 0;
        /// Grows towards lower addresses when the page below it is touched (`MAP_GROWSDOWN`; the stack).
        const GROWS_DOWN = 1 << 1;
        /// The heap that brk(2) moves.
        const HEAP = 1 << 2;
        /// The first stack.
        const STACK = 1 << 3;
        /// Pages are to stay in memory (`mlock(2)`). There is no swap: it is only reported.
        const LOCKED = 1 << 4;
        /// Not inherited by fork (`MADV_DONTFORK`).
        const DONT_FORK = 1 << 5;
        /// Zeroed in a forked child (`MADV_WIPEONFORK`).
        const WIPE_ON_FORK = 1 << 6;
        /// May not be changed or unmapped by the program (the vDSO's data).
        const KERNEL = 1 << 7;
        /// Its size is not refused for being more than memory can hold (`MAP_NORESERVE`).
        const NO_RESERVE = 1 << 8;
        /// Left out of core files (`MADV_DONTDUMP`).
        const DONT_DUMP = 1 << 9;
    }
}

/// Free space kept between a growing stack and what lies below (Linux's `stack_guard_gap`, 256 pages).
pub(super) const STACK_GUARD: usize = 256 * PAGE_SIZE;

/// Where the pages of an area come from.
#[derive(Clone)]
pub enum Backing {
    /// Zeros, until written.
    Anonymous,
    /// A file's pages; for anonymous shared memory a nameless file on tmpfs.
    File(FileBacking),
    /// Pages that the kernel provides, and the name that `/proc/self/maps` shows.
    Kernel {
        /// One frame for each page of the whole original area.
        frames: Arc<[Frame]>,
        /// Which of them the area starts with.
        first: usize,
        /// Such as `[vdso]`.
        name: &'static str,
    },
}

/// A part of a file.
#[derive(Clone)]
pub struct FileBacking {
    /// The file, kept open by the mapping; its path is what `/proc/self/maps` shows.
    pub file: Arc<OpenFile>,
    /// Whose pages they are: the file's inode, or, for a device, what it maps.
    pub inode: Arc<dyn Inode>,
    /// Where in the file the area starts, in bytes; a multiple of the page size.
    pub offset: u64,
    /// Hears when the file loses pages, as long as they are mapped.
    pub(super) _observer: Arc<dyn MappingObserver>,
}

impl fmt::Debug for FileBacking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileBacking(+{:#x})", self.offset)
    }
}

impl fmt::Debug for Backing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous => f.write_str("Anonymous"),
            Self::File(file) => write!(f, "File(+{:#x})", file.offset),
            Self::Kernel { name, .. } => write!(f, "Kernel({name})"),
        }
    }
}

impl Backing {
    /// The same backing, starting `bytes` later.
    fn advanced(&self, bytes: usize) -> Self {
        match self {
            Self::Anonymous => Self::Anonymous,
            Self::File(part) => {
                Self::File(FileBacking { offset: part.offset + bytes as u64, ..part.clone() })
            }
            Self::Kernel { frames, first, name } => {
                Self::Kernel { frames: Arc::clone(frames), first: first + bytes / PAGE_SIZE, name }
            }
        }
    }

    /// True when `next` goes on where an area of `length` bytes with this backing ends.
    fn continues_with(&self, length: usize, next: &Self) -> bool {
        match (self, next) {
            (Self::Anonymous, Self::Anonymous) => true,
            (Self::File(a), Self::File(b)) => {
                Arc::ptr_eq(&a.file, &b.file) && a.offset + length as u64 == b.offset
            }
            _ => false,
        }
    }
}

/// A virtual memory area: a run of pages with the same rights and the same origin.
#[derive(Debug, Clone)]
pub struct Vma {
    /// First address; a multiple of the page size.
    pub start: usize,
    /// First address after it; a multiple of the page size.
    pub end: usize,
    /// What the program may do with it.
    pub access: Access,
    /// What mprotect(2) may grant: a file opened for reading cannot be mapped shared and made writable later.
    pub max_access: Access,
    /// The rest.
    pub flags: VmaFlags,
    /// Where its pages come from.
    pub backing: Backing,
}

/// [`Vma::is_data`]
pub(super) fn is_data(access: Access, flags: VmaFlags) -> bool {
    access.contains(Access::WRITE) && !flags.intersects(VmaFlags::SHARED | VmaFlags::GROWS_DOWN)
}

impl Vma {
    /// Length in bytes.
    #[expect(clippy::len_without_is_empty, reason = "an area is never empty")]
    pub fn len(&self) -> usize {
        self.end - self.start
    }

    /// The area's addresses.
    pub fn range(&self) -> Range<usize> {
        self.start..self.end
    }

    /// True if the program can change it and nobody else sees that, but for a stack: what `RLIMIT_DATA` counts.
    pub fn is_data(&self) -> bool {
        is_data(self.access, self.flags)
    }

    /// True for memory whose changes stay in this address space.
    pub fn is_private(&self) -> bool {
        !self.flags.contains(VmaFlags::SHARED)
    }

    /// Where the room begins that nothing is placed in: a stack's guard gap (`vm_start_gap()` of Linux).
    fn start_of_gap(&self) -> usize {
        let gap = if self.flags.contains(VmaFlags::GROWS_DOWN) { STACK_GUARD } else { 0 };
        self.start.saturating_sub(gap)
    }

    /// The part of the area inside `range`, which must overlap it.
    fn part(&self, range: &Range<usize>) -> Self {
        let start = self.start.max(range.start);
        let end = self.end.min(range.end);
        Self { start, end, backing: self.backing.advanced(start - self.start), ..self.clone() }
    }

    /// True when both show the same bytes at the addresses that they have in common, as a child's area does and its parent's.
    pub(super) fn is_copy_of(&self, other: &Self) -> bool {
        let (first, second) = if self.start <= other.start { (self, other) } else { (other, self) };
        self.is_private() == other.is_private()
            && match (&first.backing, &second.backing) {
                (Backing::Kernel { frames: a, .. }, Backing::Kernel { frames: b, .. }) => Arc::ptr_eq(a, b),
                (first_backing, second_backing) => {
                    first_backing.continues_with(second.start - first.start, second_backing)
                }
            }
    }

    fn merges_with(&self, next: &Self) -> bool {
        self.end == next.start
            && self.access == next.access
            && self.max_access == next.max_access
            && self.flags == next.flags
            && self.backing.continues_with(self.len(), &next.backing)
    }
}

/// To walk through so many areas costs less than to remember where there is room.
const FEW: usize = if cfg!(test) { 2 } else { 32 };

/// How many classes of gaps are told apart by their size: those of at least a page, of 4, of 16, and so on to 256 MiB.
const GAP_SIZES: usize = 9;

/// The last class to which all gaps of `length` bytes belong.
fn gap_class(length: usize) -> usize {
    ((length / PAGE_SIZE).max(1).ilog2() as usize / 2).min(GAP_SIZES - 1)
}

/// The areas of an address space, ordered, never overlapping.
#[derive(Debug)]
pub struct VmaSet {
    /// By their starts.
    areas: NumberMap<Box<Vma>>,
    /// For each class of gaps: of those that [`find_room`](Self::find_room) looks at, none as large ends above this address. So that who maps much
    /// does not walk through all that it has mapped each time.
    above: [usize; GAP_SIZES],
    /// That is known.
    remembers: bool,
    /// Bytes of all areas, now and at most.
    bytes: usize,
    bytes_peak: usize,
}

impl Default for VmaSet {
    fn default() -> Self {
        Self { areas: NumberMap::new(), above: [0; GAP_SIZES], remembers: false, bytes: 0, bytes_peak: 0 }
    }
}

impl VmaSet {
    /// The areas that start at any of `starts`, in order.
    fn starting(&self, starts: impl RangeBounds<usize>) -> impl DoubleEndedIterator<Item = &Vma> {
        let starts = (starts.start_bound().map(|&at| at as u64), starts.end_bound().map(|&at| at as u64));
        self.areas.range(starts).map(|(_, vma)| &**vma)
    }

    /// The area that contains `address`.
    pub fn find(&self, address: usize) -> Option<&Vma> {
        self.starting(..=address).next_back().filter(|vma| address < vma.end)
    }

    /// The first area that starts after `address`.
    pub fn next_after(&self, address: usize) -> Option<&Vma> {
        self.starting(address + 1..).next()
    }

    /// The first area that ends after `address`.
    pub(super) fn at_or_after(&self, address: usize) -> Option<&Vma> {
        self.find(address).or_else(|| self.next_after(address))
    }

    /// The last area that ends at or below `address`.
    pub fn last_before(&self, address: usize) -> Option<&Vma> {
        self.starting(..address).next_back()
    }

    /// All areas in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Vma> {
        self.starting(..)
    }

    /// Bytes of all areas.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The most bytes there have been.
    pub fn bytes_peak(&self) -> usize {
        self.bytes_peak
    }

    /// How many areas there are.
    pub fn len(&self) -> usize {
        self.areas.len()
    }

    /// True without any area.
    pub fn is_empty(&self) -> bool {
        self.areas.is_empty()
    }

    /// The areas that overlap `range`, in order.
    pub fn overlapping(&self, range: Range<usize>) -> impl Iterator<Item = &Vma> {
        let first = self.find(range.start).map_or(range.start, |vma| vma.start);
        self.starting(first..range.end.max(first))
    }

    /// True when every page of `range` belongs to an area.
    pub fn covers(&self, range: Range<usize>) -> bool {
        let mut at = range.start;
        for vma in self.overlapping(range.clone()) {
            if vma.start > at {
                return false;
            }
            at = vma.end;
        }
        at >= range.end
    }

    /// Adds an area where nothing is, joined with its neighbours if they go on alike.
    pub fn insert(&mut self, vma: Vma) {
        let mut vma = vma;
        self.bytes += vma.len();
        self.bytes_peak = self.bytes_peak.max(self.bytes);
        if let Some(before) = self.last_before(vma.start).filter(|before| before.merges_with(&vma)) {
            let before = before.clone();
            self.take(before.start);
            vma = Vma { end: vma.end, ..before };
        }
        if let Some(after) = self.areas.get(&(vma.end as u64)).filter(|after| vma.merges_with(after)) {
            let end = after.end;
            self.take(vma.end);
            vma.end = end;
        }
        self.put(vma);
    }

    fn put(&mut self, vma: Vma) {
        self.areas.insert(vma.start as u64, Box::new(vma));
    }

    fn take(&mut self, start: usize) -> Option<Vma> {
        self.areas.remove(&(start as u64)).map(|vma| *vma)
    }

    /// Takes out all that overlaps `range`, split at its borders. True when there was something.
    pub fn remove(&mut self, range: Range<usize>) -> bool {
        let mut any = false;
        while self.take_first(&range).is_some() {
            any = true;
        }
        if any {
            self.note_gap(&range);
        }
        any
    }

    /// Notes the gap that `range` is in, which was none before.
    pub(super) fn note_gap(&mut self, range: &Range<usize>) {
        if self.len() <= FEW {
            self.remembers = false;
            return;
        }
        let start = self.last_before(range.start).map_or(0, |vma| vma.end);
        let end = self.next_after(range.end - 1).map_or(usize::MAX, Vma::start_of_gap);
        let last = gap_class(end.saturating_sub(start));
        for above in &mut self.above[..=last] {
            *above = end.max(*above);
        }
    }

    /// Takes out the first part that overlaps `range`, split at its borders.
    pub fn take_first(&mut self, range: &Range<usize>) -> Option<Vma> {
        if range.is_empty() {
            return None;
        }
        let start = self.overlapping(range.clone()).next()?.start;
        let vma = self.take(start)?;
        if vma.start < range.start {
            let left = vma.part(&(vma.start..range.start));
            self.put(left);
        }
        if vma.end > range.end {
            let right = vma.part(&(range.end..vma.end));
            self.put(right);
        }
        let part = vma.part(range);
        self.bytes -= part.len();
        Some(part)
    }

    /// Changes all that overlaps `range`, splitting at its borders and joining what then is alike.
    pub fn update(&mut self, range: Range<usize>, mut change: impl FnMut(&mut Vma)) {
        let mut left = range;
        while let Some(mut vma) = self.take_first(&left) {
            left.start = vma.end;
            change(&mut vma);
            self.insert(vma);
        }
    }

    /// The highest free range of `length` bytes that ends at or below `top` and starts at or above `bottom`. Stacks keep their room.
    pub fn highest_gap(&self, length: usize, bottom: usize, top: usize) -> Option<usize> {
        let ceiling = self.walk(length, top, &mut |_, _| ());
        ceiling.checked_sub(length).filter(|&start| start >= bottom)
    }

    /// As [`highest_gap`](Self::highest_gap), for a `top` that is always the same: it remembers how far down there is none.
    pub fn find_room(&mut self, length: usize, bottom: usize, top: usize) -> Option<usize> {
        if self.len() <= FEW {
            return self.highest_gap(length, bottom, top);
        }
        if !self.remembers {
            (self.above, self.remembers) = ([usize::MAX; GAP_SIZES], true);
        }
        let class = gap_class(length);
        let mut too_small = None;
        let ceiling = self.walk(length, self.above[class].min(top), &mut |end, gap| {
            if gap >= PAGE_SIZE << (2 * class) && too_small.is_none() {
                too_small = Some(end);
            }
        });
        self.above[class] = too_small.unwrap_or(ceiling);
        for above in &mut self.above[class + 1..] {
            *above = ceiling.min(*above);
        }
        ceiling.checked_sub(length).filter(|&start| start >= bottom)
    }

    /// Where the highest gap of `length` bytes below `from` ends, or what is left below all areas. `passed` hears of the gaps above it: their ends and
    /// their lengths.
    fn walk(&self, length: usize, from: usize, passed: &mut dyn FnMut(usize, usize)) -> usize {
        let next = || self.next_after(from.saturating_sub(1)).map_or(from, |vma| vma.start);
        // That of few areas is met on the way.
        let last = if self.len() <= FEW { usize::MAX } else { next() };
        let mut ceiling = from;
        for vma in self.starting(..=last).rev() {
            if vma.start < from {
                let gap = ceiling.saturating_sub(vma.end);
                if gap >= length {
                    break;
                }
                if gap > 0 {
                    passed(ceiling, gap);
                }
            }
            ceiling = from.min(vma.start_of_gap());
        }
        ceiling
    }

    /// True when nothing overlaps `range`, and it leaves the room below the next stack alone.
    pub fn has_room(&self, range: Range<usize>) -> bool {
        let next = self.next_after(range.end.saturating_sub(1));
        self.is_free(range.clone()) && next.is_none_or(|next| range.end <= next.start_of_gap())
    }

    /// True when nothing overlaps `range`.
    pub fn is_free(&self, range: Range<usize>) -> bool {
        self.overlapping(range).next().is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn anonymous(range: Range<usize>, access: Access) -> Vma {
        Vma {
            start: range.start << 12,
            end: range.end << 12,
            access,
            max_access: Access::all(),
            flags: VmaFlags::empty(),
            backing: Backing::Anonymous,
        }
    }

    fn shape(set: &VmaSet) -> alloc::vec::Vec<(usize, usize, Access)> {
        set.iter().map(|vma| (vma.start >> 12, vma.end >> 12, vma.access)).collect()
    }

    #[test]
    fn neighbours_that_are_alike_join() {
        let mut set = VmaSet::default();
        set.insert(anonymous(1..2, Access::READ));
        set.insert(anonymous(3..4, Access::READ));
        set.insert(anonymous(2..3, Access::READ));
        assert_eq!(shape(&set), [(1, 4, Access::READ)]);
    }

    #[test]
    fn a_change_in_the_middle_splits_and_joins_again() {
        let mut set = VmaSet::default();
        set.insert(anonymous(0..10, Access::READ));
        set.update(3 << 12..5 << 12, |vma| vma.access = Access::empty());
        assert_eq!(shape(&set), [(0, 3, Access::READ), (3, 5, Access::empty()), (5, 10, Access::READ)]);
        set.update(3 << 12..5 << 12, |vma| vma.access = Access::READ);
        assert_eq!(shape(&set), [(0, 10, Access::READ)]);
    }

    #[test]
    fn the_highest_gap_lies_under_the_ceiling() {
        let mut set = VmaSet::default();
        set.insert(anonymous(8..10, Access::READ));
        set.insert(anonymous(4..5, Access::READ));
        let gap = |pages: usize| set.highest_gap(pages << 12, 1 << 12, 12 << 12).map(|at| at >> 12);
        assert_eq!((gap(2), gap(3), gap(4)), (Some(10), Some(5), None));
    }

    #[test]
    fn what_was_mapped_is_not_walked_through_again() {
        let mut set = VmaSet::default();
        let (bottom, top) = (1 << 12, 1 << 40);
        for index in 0..9999 {
            let access = if index % 2 == 0 { Access::READ } else { Access::WRITE };
            // Sizes of two classes in turn.
            let pages = 1 + index % 3 * 4;
            let at = set.find_room(pages << 12, bottom, top).unwrap();
            set.insert(anonymous(at >> 12..(at >> 12) + pages, access));
        }
        let lowest = set.iter().next().unwrap().start;
        set.find_room(1 << 12, bottom, top).unwrap();
        assert_eq!(set.above, [lowest; GAP_SIZES]);
    }

    #[test]
    fn covers_sees_holes() {
        let mut set = VmaSet::default();
        set.insert(anonymous(1..2, Access::READ));
        set.insert(anonymous(2..4, Access::WRITE));
        assert!(set.covers(1 << 12..4 << 12));
        assert!(!set.covers(1 << 12..5 << 12));
        assert!(!set.covers(0..2 << 12));
    }

    proptest! {
        #[test]
        fn room_is_the_highest_gap(operations in proptest::collection::vec((0usize..2000, 1usize..600, 0u8..6), 1..80)) {
            let (bottom, top) = (1 << 12, 1800 << 12);
            let mut set = VmaSet::default();
            for (start, pages, kind) in operations {
                match kind {
                    0 | 1 => { set.remove(start << 12..(start + pages) << 12); }
                    2 => {
                        set.remove(start << 12..(start + pages) << 12);
                        let stack = Vma { flags: VmaFlags::GROWS_DOWN, ..anonymous(start..start + pages, Access::READ) };
                        set.insert(stack);
                    }
                    _ => {
                        let length = (pages >> (3 * (kind - 3))).max(1) << 12;
                        let room = set.find_room(length, bottom, top);
                        prop_assert_eq!(room, set.highest_gap(length, bottom, top));
                        if let Some(at) = room {
                            let access = if start % 2 == 0 { Access::READ } else { Access::WRITE };
                            set.insert(anonymous(at >> 12..(at + length) >> 12, access));
                        }
                    }
                }
            }
        }

        /// Against a page-by-page model.
        #[test]
        fn behaves_like_an_array_of_pages(operations in proptest::collection::vec((0usize..30, 1usize..8, 0u8..4), 1..60)) {
            let mut set = VmaSet::default();
            let mut model = [None; 40];
            for (start, length, kind) in operations {
                let range = start << 12..(start + length) << 12;
                match kind {
                    0 => { set.remove(range); model[start..start + length].fill(None); }
                    1 => {
                        set.update(range, |vma| vma.access = Access::WRITE);
                        for page in &mut model[start..start + length] { *page = page.map(|_| Access::WRITE); }
                    }
                    _ => {
                        set.remove(range);
                        set.insert(anonymous(start..start + length, Access::READ));
                        model[start..start + length].fill(Some(Access::READ));
                    }
                }
                for (page, expected) in model.iter().enumerate() {
                    prop_assert_eq!(set.find(page << 12).map(|vma| vma.access), *expected);
                }
                prop_assert_eq!(set.bytes(), model.iter().flatten().count() << 12);
                let areas: alloc::vec::Vec<_> = set.iter().collect();
                for pair in areas.windows(2) {
                    prop_assert!(pair[0].end < pair[1].start || pair[0].access != pair[1].access);
                }
            }
        }
    }
}
