//! madvise(2), mincore(2), mlock(2).

use alloc::vec::Vec;

use isopod_fs::Errno;
use isopod_hal::PAGE_SIZE;
use isopod_hal::paging::USER_END;

use super::map::MAX_AREAS;
use super::space::{AddressSpace, STEP};
use super::{Backing, VmaFlags, page_up};

/// What a program says about a range of its memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Advice {
    /// How it will be read; nothing depends on it.
    Hint,
    /// Its content is no longer needed (`MADV_DONTNEED`, `MADV_FREE`): the next access finds zeros or the file.
    Forget,
    /// As `Forget`, also of what is locked (`MADV_DONTNEED_LOCKED`).
    ForgetLocked,
    /// As `Forget`, only for private anonymous memory (`MADV_FREE`).
    Free,
    /// Set these flags.
    Set(VmaFlags),
    /// Clear these flags.
    Clear(VmaFlags),
}

impl AddressSpace {
    /// Applies `advice`. `ENOMEM` when the range has holes; what is mapped is treated all the same. As with [`unmap`](Self::unmap), `done` bytes are
    /// done already, and the result is how many are when it is another's turn.
    pub fn advise(
        &self,
        start: usize,
        length: usize,
        advice: Advice,
        done: usize,
    ) -> Result<Option<usize>, Errno> {
        if !start.is_multiple_of(PAGE_SIZE) {
            return Err(Errno::EINVAL);
        }
        let length = page_up(length).ok_or(Errno::EINVAL)?;
        let range = start..start.checked_add(length).ok_or(Errno::EINVAL)?;
        if range.is_empty() {
            return Ok(None);
        }
        let mut inner = self.inner.lock();
        if matches!(advice, Advice::Set(_) | Advice::Clear(_)) && inner.areas.len() + 2 > MAX_AREAS {
            return Err(Errno::ENOMEM);
        }
        let covered = inner.areas.covers(range.clone());
        match advice {
            Advice::Hint => {}
            Advice::Forget | Advice::ForgetLocked | Advice::Free => {
                let kept = match advice {
                    Advice::ForgetLocked => VmaFlags::KERNEL,
                    _ => VmaFlags::LOCKED | VmaFlags::KERNEL,
                };
                for vma in inner.areas.overlapping(range.clone()) {
                    let forbidden = vma.flags.intersects(kept);
                    let anonymous = matches!(vma.backing, Backing::Anonymous);
                    if forbidden || (advice == Advice::Free && !anonymous) {
                        return Err(Errno::EINVAL);
                    }
                }
                let to = range.end.min(USER_END);
                let end = inner.evict_some((range.start + done.min(range.len())).min(to)..to, STEP);
                if end < to {
                    return Ok(Some(end - range.start));
                }
            }
            Advice::Set(flags) => inner.areas.update(range, |vma| vma.flags |= flags),
            Advice::Clear(flags) => inner.areas.update(range, |vma| vma.flags &= !flags),
        }
        if covered { Ok(None) } else { Err(Errno::ENOMEM) }
    }

    /// For each page of the range, which is one of pages: whether it is in memory (`mincore(2)`).
    pub fn resident_pages(&self, start: usize, length: usize) -> Result<Vec<u8>, Errno> {
        let range = start..start.checked_add(length).ok_or(Errno::ENOMEM)?;
        let inner = self.inner.lock();
        if !inner.areas.covers(range.clone()) {
            return Err(Errno::ENOMEM);
        }
        let mut pages = Vec::new();
        pages.try_reserve(length / PAGE_SIZE).map_err(|_| Errno::ENOMEM)?;
        pages.extend(range.step_by(PAGE_SIZE).map(|page| u8::from(inner.table.is_mapped(page))));
        Ok(pages)
    }

    /// True when the whole range is mapped (`msync(2)`, `mlock(2)` check it).
    pub fn is_mapped(&self, start: usize, length: usize) -> bool {
        start.checked_add(length).is_some_and(|end| self.inner.lock().areas.covers(start..end))
    }
}
