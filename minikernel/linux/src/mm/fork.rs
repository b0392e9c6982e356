//! fork(2)'s part in memory: a copy of an address space that shares every page until one side writes to it.
//!
//! What it costs is proportional to the pages that are mapped, not to the areas' size. Files' pages of shared areas are left out: a
//! fault finds them again.

use alloc::sync::Arc;

use isopod_hal::OutOfMemory;
use isopod_hal::paging::Access;

use super::space::{AddressSpace, Inner, STEP};
use super::{Backing, Vma, VmaFlags};
use crate::{memory_pressure, sched};

impl AddressSpace {
    /// A copy for a child. Other threads of the caller may run and change the original meanwhile; the child has the areas of
    /// the beginning, and of each page what it held at some time of the call.
    pub async fn fork(&self) -> Result<Arc<Self>, OutOfMemory> {
        let child = self.copy_areas()?;
        let mut from = 0;
        while let Some(next) = self.share_step(&child, from)? {
            from = next;
            sched::yield_now().await;
        }
        Ok(child)
    }

    /// The child with its areas, and no page yet.
    fn copy_areas(&self) -> Result<Arc<Self>, OutOfMemory> {
        let inner = self.inner.lock();
        // Areas are small objects, but there can be many of them.
        memory_pressure::afford(inner.area_bytes())?;
        let child = Arc::new(Self::new(inner.layout, inner.limits())?);
        child.register_barriers(self.barriers());
        let mut copy = child.inner.lock();
        copy.brk_start = inner.brk_start;
        copy.brk = inner.brk;
        copy.start = inner.start.clone();
        for vma in inner.areas.iter().filter(|vma| !vma.flags.contains(VmaFlags::DONT_FORK)) {
            let backing = match &vma.backing {
                Backing::File(file) => Backing::File(file.for_space(&child).map_err(|_| OutOfMemory)?),
                other => other.clone(),
            };
            // Locks are not inherited (mlock(2)).
            copy.areas.insert(Vma { flags: vma.flags.difference(VmaFlags::LOCKED), backing, ..vma.clone() });
        }
        drop(copy);
        Ok(child)
    }

    /// Shares the next pages at or above `from`. Returns where to go on, unless all is done.
    fn share_step(&self, child: &Self, from: usize) -> Result<Option<usize>, OutOfMemory> {
        let mut parent = self.inner.lock();
        let mut child = child.inner.lock();
        let (mut at, mut left) = (from, STEP);
        while let Some(area) = child.areas.at_or_after(at) {
            let range = area.start.max(at)..area.end;
            if !area.is_private() || area.flags.contains(VmaFlags::WIPE_ON_FORK) {
                at = range.end;
                continue;
            }
            // Meanwhile another thread may have put something else there, of which the child knows nothing.
            let source = match parent.areas.at_or_after(range.start) {
                Some(source) if source.start > range.start => {
                    at = source.start.min(range.end);
                    continue;
                }
                Some(source) if !source.is_copy_of(area) => {
                    at = source.end.min(range.end);
                    continue;
                }
                Some(source) => source,
                None => return Ok(None),
            };
            let rights_differ = source.access != area.access;
            let access = area.access.difference(Access::WRITE);
            let range = range.start..range.end.min(source.end);
            let shared = {
                let Inner { table, resident, resident_peak, .. } = &mut *child;
                let shared = parent.table.share_read_only(table, range.clone(), left)?;
                if rights_differ {
                    table.protect_range(range.start..shared.end, access);
                }
                *resident += shared.pages;
                *resident_peak = *resident;
                shared
            };
            left -= shared.pages;
            at = shared.end;
            if left == 0 {
                return Ok(Some(at));
            }
        }
        Ok(None)
    }
}
