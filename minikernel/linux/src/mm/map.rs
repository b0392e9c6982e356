//! Mapping and unmapping: mmap(2), munmap(2), mprotect(2), brk(2).

use alloc::sync::Arc;
use core::ops::Range;

use isopod_fs::Errno;
use isopod_fs::file::OpenFile;
use isopod_hal::paging::{Access, USER_END};
use isopod_hal::{PAGE_SIZE, memory_stats};

use super::layout::LOWEST;
use super::space::{AddressSpace, Inner, STEP};
use super::vma::is_data;
use super::{Backing, Vma, VmaFlags, page_up};

/// The most areas a process may have (`vm.max_map_count`).
pub(super) const MAX_AREAS: usize = 65_530;

/// Whether memory is promised for such an area: what shared ones show is promised as a file's or segment's, if at all.
fn is_promise(access: Access, flags: VmaFlags) -> bool {
    access.contains(Access::WRITE) && !flags.intersects(VmaFlags::SHARED | VmaFlags::NO_RESERVE)
}

/// Where a mapping is to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// Anywhere, near the address if it is free (0: no wish).
    Hint(usize),
    /// In the first 2 GiB (`MAP_32BIT`).
    Low,
    /// There, in place of what is there (`MAP_FIXED`).
    Fixed(usize),
    /// There, or not at all (`MAP_FIXED_NOREPLACE`).
    FixedNoReplace(usize),
}

/// A new mapping.
#[derive(Debug)]
pub struct MapRequest {
    /// Where.
    pub placement: Placement,
    /// Length in bytes; rounded up to pages.
    pub length: usize,
    /// What the program may do.
    pub access: Access,
    /// What mprotect may grant later.
    pub max_access: Access,
    /// Kind of area.
    pub flags: VmaFlags,
    /// Where pages come from.
    pub backing: Backing,
}

/// Refuses to promise `bytes` of memory if that is plainly more than there is (overcommit mode 0, `__vm_enough_memory`).
pub fn commit(bytes: usize) -> Result<(), Errno> {
    if bytes / PAGE_SIZE > memory_stats().total_frames { Err(Errno::ENOMEM) } else { Ok(()) }
}

/// The page-aligned range of `length` bytes at `start`, or `None` if it leaves the user half.
fn user_range(start: usize, length: usize) -> Option<Range<usize>> {
    let end = start.checked_add(page_up(length)?)?;
    (end <= USER_END).then_some(start..end)
}

impl AddressSpace {
    /// mmap(2). Returns where the mapping is.
    pub fn map(&self, request: MapRequest) -> Result<usize, Errno> {
        if request.length == 0 {
            return Err(Errno::EINVAL);
        }
        let length = page_up(request.length).filter(|&length| length <= USER_END).ok_or(Errno::ENOMEM)?;
        let mut inner = self.inner.lock();
        let start = inner.place(request.placement, length)?;
        let range = start..start + length;
        if inner.areas.len() >= MAX_AREAS {
            return Err(Errno::ENOMEM);
        }
        inner.check_growth(length, request.access, request.flags)?;
        if inner.touches_kernel_area(range.clone()) {
            return Err(Errno::EPERM);
        }
        inner.unmap(range.clone());
        inner.areas.insert(Vma {
            start,
            end: range.end,
            access: request.access,
            max_access: request.max_access,
            flags: request.flags,
            backing: request.backing,
        });
        Ok(start)
    }

    /// Where `length` bytes would be mapped.
    pub fn find_room(&self, length: usize) -> Result<usize, Errno> {
        self.inner.lock().place(Placement::Hint(0), length)
    }

    /// munmap(2): all that lies in the range; holes are no error. What of it comes first is done already, `done` bytes. Returns how many are
    /// when it is another's turn, and nothing once all are.
    pub fn unmap(&self, start: usize, length: usize, done: usize) -> Result<Option<usize>, Errno> {
        if !start.is_multiple_of(PAGE_SIZE) || length == 0 {
            return Err(Errno::EINVAL);
        }
        let range = user_range(start, length).ok_or(Errno::EINVAL)?;
        let mut inner = self.inner.lock();
        if inner.areas.len() >= MAX_AREAS && inner.splits(&range) {
            return Err(Errno::ENOMEM);
        }
        let from = start + done.min(range.len());
        let end = inner.evict_some(from..range.end, STEP);
        inner.areas.remove(from..end);
        Ok((end < range.end).then_some(end - start))
    }

    /// shmdt(2): unmaps all that is left of a mapping that began at `start` with the start of a file that `is_meant`. False if there is
    /// nothing of it. Another's turn may come before all is done.
    pub fn unmap_file(&self, start: usize, is_meant: &dyn Fn(&OpenFile) -> bool) -> (bool, Option<usize>) {
        let mut inner = self.inner.lock();
        let mut found: Option<Arc<OpenFile>> = None;
        let mut from = start;
        while let Some(vma) = inner.areas.at_or_after(from) {
            from = vma.end;
            let Backing::File(part) = &vma.backing else { continue };
            let meant =
                found.as_ref().map_or_else(|| is_meant(&part.file), |file| Arc::ptr_eq(file, &part.file));
            if !meant || vma.start.checked_sub(start).map(|offset| offset as u64) != Some(part.offset) {
                continue;
            }
            found = Some(Arc::clone(&part.file));
            let range = vma.range();
            let end = inner.evict_some(range.clone(), STEP);
            inner.areas.remove(range.start..end);
            if end < range.end {
                return (true, Some(end - start));
            }
        }
        (found.is_some(), None)
    }

    /// mprotect(2). Changes what comes before the first hole or refused area, as Linux does.
    pub fn protect(&self, start: usize, length: usize, access: Access) -> Result<(), Errno> {
        if !start.is_multiple_of(PAGE_SIZE) {
            return Err(Errno::EINVAL);
        }
        if length == 0 {
            return Ok(());
        }
        let range = user_range(start, length).ok_or(Errno::ENOMEM)?;
        let mut inner = self.inner.lock();
        // A change splits an area at each end of the range at the most.
        if inner.areas.len() + 2 > MAX_AREAS {
            return Err(Errno::ENOMEM);
        }
        let mut at = range.start;
        let mut outcome = Ok(());
        for vma in inner.areas.overlapping(range.clone()) {
            if vma.start > at {
                break;
            }
            if !vma.max_access.contains(access) || vma.flags.contains(VmaFlags::KERNEL) {
                outcome = Err(Errno::EACCES);
                break;
            }
            let part = vma.end.min(range.end) - at;
            let becomes_data = !vma.is_data() && is_data(access, vma.flags);
            let becomes_promise = !is_promise(vma.access, vma.flags) && is_promise(access, vma.flags);
            if becomes_data && !inner.may_have_data(part) || becomes_promise && commit(part).is_err() {
                outcome = Err(Errno::ENOMEM);
                break;
            }
            at = vma.end.min(range.end);
        }
        if outcome.is_ok() && at < range.end {
            outcome = Err(Errno::ENOMEM);
        }
        if at > range.start {
            let range = range.start..at;
            inner.areas.update(range.clone(), |vma| vma.access = access);
            // The right to write is given page by page, at a fault that knows whether the page is shared.
            inner.table.protect_range(range, access.difference(Access::WRITE));
        }
        outcome
    }

    /// brk(2): moves the heap's end to `wanted` if that can be, and returns where it is. Much is given back from its end, in steps: the error is
    /// where the next one ends when it is another's turn.
    pub fn set_brk(&self, wanted: usize, data_limit: u64) -> Result<usize, usize> {
        let mut inner = self.inner.lock();
        let step = inner.brk.saturating_sub(STEP * PAGE_SIZE);
        let next = if wanted < inner.brk { wanted.max(step) } else { wanted };
        if inner.try_brk(wanted, next, data_limit, self.locks_future()).is_some() {
            inner.brk = next;
            if next != wanted {
                return Err(next);
            }
        }
        Ok(inner.brk)
    }
}

impl Inner {
    /// Takes areas and pages out.
    pub(super) fn unmap(&mut self, range: Range<usize>) {
        if !self.areas.remove(range.clone()) {
            return;
        }
        self.evict(range);
    }

    fn splits(&self, range: &Range<usize>) -> bool {
        self.areas.find(range.start).is_some_and(|vma| vma.start < range.start && vma.end > range.end)
    }

    /// Chooses the address of a mapping of `length` bytes.
    pub(super) fn place(&mut self, placement: Placement, length: usize) -> Result<usize, Errno> {
        match placement {
            Placement::Fixed(start) | Placement::FixedNoReplace(start) => {
                if start % PAGE_SIZE != 0 {
                    return Err(Errno::EINVAL);
                }
                let range = user_range(start, length).ok_or(Errno::ENOMEM)?;
                if start < LOWEST {
                    return Err(Errno::EPERM);
                }
                if matches!(placement, Placement::FixedNoReplace(_)) && !self.areas.is_free(range) {
                    return Err(Errno::EEXIST);
                }
                Ok(start)
            }
            // As on Linux the second of them only, so that programs without `MAP_32BIT` keep the first.
            Placement::Low => self.areas.highest_gap(length, 0x4000_0000, 0x8000_0000).ok_or(Errno::ENOMEM),
            Placement::Hint(hint) => {
                let hint = hint & !(PAGE_SIZE - 1);
                if hint >= LOWEST && user_range(hint, length).is_some_and(|range| self.areas.has_room(range))
                {
                    return Ok(hint);
                }
                let top = self.layout.mmap_top;
                self.areas
                    .find_room(length, LOWEST, top)
                    .or_else(|| self.areas.highest_gap(length, top, USER_END))
                    .ok_or(Errno::ENOMEM)
            }
        }
    }

    /// Refuses `more` bytes of such an area if they exceed the process's limit, or plainly the memory there is (overcommit mode 0).
    pub(super) fn check_growth(&self, more: usize, access: Access, flags: VmaFlags) -> Result<(), Errno> {
        if is_promise(access, flags) {
            commit(more)?;
        }
        if !self.may_grow(more) || is_data(access, flags) && !self.may_have_data(more) {
            return Err(Errno::ENOMEM);
        }
        Ok(())
    }

    /// Goes to `next`, on the way to `wanted`.
    fn try_brk(&mut self, wanted: usize, next: usize, data_limit: u64, locked: bool) -> Option<()> {
        if wanted < self.brk_start || (wanted - self.brk_start) as u64 > data_limit {
            return None;
        }
        let (old_end, new_end) = (page_up(self.brk)?, page_up(next)?);
        if new_end <= old_end {
            self.unmap(new_end..old_end);
            return Some(());
        }
        let range = user_range(old_end, new_end - old_end)?;
        let size = range.len();
        // One page stays free before the next area, as Linux keeps its guard gap.
        let (access, mut flags) = (Access::READ | Access::WRITE, VmaFlags::HEAP);
        flags.set(VmaFlags::LOCKED, locked);
        let fits = self.areas.has_room(range.start..range.end.checked_add(PAGE_SIZE)?)
            && self.check_growth(size, access, flags).is_ok();
        fits.then(|| {
            self.areas.insert(Vma {
                start: range.start,
                end: range.end,
                access,
                max_access: Access::all(),
                flags,
                backing: Backing::Anonymous,
            });
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mm::{Advice, FaultKind};
    use crate::testing;

    #[test]
    fn much_is_forgotten_and_given_back_in_steps() {
        let thread = testing::thread();
        let (start, pages) = (1 << 30, STEP + 100);
        let length = pages * PAGE_SIZE;
        let memory = thread.process().memory();
        memory.set_brk_start(start);
        assert_eq!(memory.set_brk(start + length, u64::MAX), Ok(start + length));
        let fill =
            || (0..pages).for_each(|page| memory.fault(start + page * PAGE_SIZE, FaultKind::Write).unwrap());
        fill();
        let forget = |done| memory.advise(start, length, Advice::Forget, done);
        let done = forget(0).unwrap();
        assert_eq!((done, memory.report().resident), (Some(STEP * PAGE_SIZE), 100 * PAGE_SIZE));
        assert_eq!((forget(STEP * PAGE_SIZE), memory.report().resident), (Ok(None), 0));
        fill();
        assert_eq!(memory.set_brk(start, u64::MAX), Err(start + 100 * PAGE_SIZE));
        assert_eq!((memory.set_brk(start, u64::MAX), memory.report().size), (Ok(start), 0));
    }

    #[test]
    fn much_is_unmapped_in_steps_that_leave_alone_what_comes_meanwhile() {
        let thread = testing::thread();
        let (start, pages) = (1 << 30, 2 * STEP + 100);
        let memory = testing::map_pages(&thread, start, pages);
        for page in 0..pages {
            memory.fault(start + page * PAGE_SIZE, FaultKind::Write).unwrap();
        }
        let length = pages * PAGE_SIZE;
        let done = memory.unmap(start, length, 0).unwrap();
        assert_eq!(done, Some(STEP * PAGE_SIZE));
        testing::map_pages(&thread, start, 1);
        assert_eq!(memory.unmap(start, length, STEP * PAGE_SIZE), Ok(Some(2 * STEP * PAGE_SIZE)));
        assert_eq!(memory.unmap(start, length, 2 * STEP * PAGE_SIZE), Ok(None));
        assert!(memory.is_mapped(start, PAGE_SIZE));
        assert!(memory.inner.lock().areas.is_free(start + PAGE_SIZE..start + length));
    }
}
