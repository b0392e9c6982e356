//! mremap(2), `remap_file_pages(2)`.

use alloc::sync::Arc;
use core::ops::Range;

use isopod_fs::Errno;
use isopod_hal::PAGE_SIZE;
use isopod_hal::paging::USER_END;

use super::layout::LOWEST;
use super::map::MAX_AREAS;
use super::space::{AddressSpace, Inner};
use super::vma::{Backing, FileBacking};
use super::{Placement, Vma, VmaFlags, page_up};

/// What mremap may do to find room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Move {
    /// Grow in place or fail.
    No,
    /// Move if needed (`MREMAP_MAYMOVE`).
    May,
    /// Move there (`MREMAP_FIXED`).
    To(usize),
}

impl AddressSpace {
    /// Resizes or moves the mapping at `start`; `keep` leaves the old range mapped but empty (`MREMAP_DONTUNMAP`).
    /// Returns where the mapping then is.
    pub fn remap(&self, start: usize, old: usize, new: usize, how: Move, keep: bool) -> Result<usize, Errno> {
        let old = page_up(old).ok_or(Errno::EINVAL)?;
        let new = page_up(new).filter(|&new| new != 0).ok_or(Errno::EINVAL)?;
        if !start.is_multiple_of(PAGE_SIZE) {
            return Err(Errno::EINVAL);
        }
        let mut inner = self.inner.lock();
        // A move splits an area at each end of the old and of the new range at the most.
        if inner.areas.len() + 4 > MAX_AREAS {
            return Err(Errno::ENOMEM);
        }
        let vma = inner.areas.find(start).ok_or(Errno::EFAULT)?.clone();
        if vma.flags.contains(VmaFlags::KERNEL) {
            return Err(Errno::EPERM);
        }
        let old = match old {
            // An old size of zero duplicates a shared mapping.
            0 if vma.is_private() || how == Move::No => return Err(Errno::EINVAL),
            _ if start.checked_add(old).is_none_or(|end| end > vma.end) => return Err(Errno::EFAULT),
            old => old,
        };
        if let Move::To(to) = how {
            return inner.move_to(&vma, start, old, to, new, keep);
        }
        if keep {
            let to = inner.place(Placement::Hint(0), new)?;
            return inner.move_to(&vma, start, old, to, new, keep);
        }
        if new <= old && old != 0 {
            inner.unmap(start + new..start + old);
            return Ok(start);
        }
        inner.check_growth(new - old, vma.access, vma.flags)?;
        let end = start + old;
        let in_place = old != 0
            && end == vma.end
            && start.checked_add(new).is_some_and(|to| to <= USER_END && inner.areas.has_room(end..to));
        if in_place {
            inner.extend(&vma, start + new);
            return Ok(start);
        }
        if how == Move::No {
            return Err(Errno::ENOMEM);
        }
        let to = inner.place(Placement::Hint(0), new)?;
        inner.move_to(&vma, start, old, to, new, keep)
    }
}

impl AddressSpace {
    /// Shows the file of the shared mapping at `start` from byte `offset` on in `range`. EINVAL unless all of it is
    /// mapped shared from one file, with the same rights; EOVERFLOW for an offset that no file has.
    pub fn show_other_pages(&self, range: &Range<usize>, offset: Option<u64>) -> Result<(), Errno> {
        let mut inner = self.inner.lock();
        let first = inner.areas.find(range.start).ok_or(Errno::EINVAL)?;
        let Backing::File(part) = &first.backing else { return Err(Errno::EINVAL) };
        let alike = |vma: &Vma| {
            let same_file =
                matches!(&vma.backing, Backing::File(other) if Arc::ptr_eq(&other.file, &part.file));
            same_file && (vma.access, vma.flags) == (first.access, first.flags)
        };
        let whole = inner.areas.covers(range.clone()) && inner.areas.overlapping(range.clone()).all(alike);
        if first.is_private() || !whole {
            return Err(Errno::EINVAL);
        }
        let offset = offset.ok_or(Errno::EOVERFLOW)?;
        let backing = Backing::File(FileBacking { offset, ..part.clone() });
        let shown = Vma { start: range.start, end: range.end, backing, ..first.clone() };
        if inner.areas.len() + 2 > MAX_AREAS {
            return Err(Errno::ENOMEM);
        }
        inner.unmap(range.clone());
        inner.areas.insert(shown);
        Ok(())
    }
}

impl Inner {
    /// Lets the area end at `end`.
    fn extend(&mut self, vma: &Vma, end: usize) {
        if let Some(part) = self.areas.take_first(&vma.range()) {
            self.areas.insert(Vma { end, ..part });
        }
    }

    /// Moves `old` bytes at `from` to `to`, where they become `new` bytes.
    fn move_to(
        &mut self,
        vma: &Vma,
        from: usize,
        old: usize,
        to: usize,
        new: usize,
        keep: bool,
    ) -> Result<usize, Errno> {
        let target_end = to.checked_add(new).filter(|&end| end <= USER_END).ok_or(Errno::EINVAL)?;
        if !to.is_multiple_of(PAGE_SIZE) || (to < from + old && from < target_end) {
            return Err(Errno::EINVAL);
        }
        if to < LOWEST {
            return Err(Errno::EPERM);
        }
        if self.touches_kernel_area(to..target_end) {
            return Err(Errno::EPERM);
        }
        if keep && (!vma.is_private() || old != new) {
            return Err(Errno::EINVAL);
        }
        self.unmap(to..target_end);
        let more = if keep { new } else { new.saturating_sub(old) };
        self.check_growth(more, vma.access, vma.flags)?;
        let moved = old.min(new);
        self.table.move_range(from, to, moved).map_err(|_| Errno::ENOMEM)?;
        let part = self.areas.take_first(&(from..(from + old).max(from + PAGE_SIZE)));
        let Some(part) = part else { return Err(Errno::EFAULT) };
        if keep || old == 0 {
            self.areas.insert(part.clone());
        } else {
            self.areas.note_gap(&part.range());
            self.evict(from + moved..from + old);
        }
        self.areas.insert(Vma { start: to, end: target_end, ..part });
        Ok(to)
    }
}
