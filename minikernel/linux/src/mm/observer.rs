//! Letting go of file pages that the file no longer has: after a truncation, or when a page of an image was replaced by a changed copy.

use alloc::sync::{Arc, Weak};
use core::ops::Range;

use isopod_fs::file::OpenFile;
use isopod_fs::{Errno, Inode, MappingObserver, PageLoss};
use isopod_hal::PAGE_SIZE;
use isopod_hal::paging::Access;

use super::space::Inner;
use super::{AddressSpace, Backing, FileBacking};
use crate::fail::errno;
use crate::ipc::sysv::memory;

/// An address space's interest in one inode.
struct Observer {
    id: u64,
    space: Weak<AddressSpace>,
    inode: Weak<dyn Inode>,
}

impl FileBacking {
    /// The part of `file` from `offset` on, whose pages are those of `inode`, as `space` maps it.
    pub fn new(
        space: &Arc<AddressSpace>,
        file: Arc<OpenFile>,
        inode: Arc<dyn Inode>,
        offset: u64,
    ) -> Result<Self, Errno> {
        let id = space.id();
        let make = || -> Arc<dyn MappingObserver> {
            Arc::new(Observer { id, space: Arc::downgrade(space), inode: Arc::downgrade(&inode) })
        };
        let observer = inode.state().observe(id, make).map_err(errno)?;
        Ok(Self { file, inode, offset, _observer: observer })
    }

    /// The same part, as another address space maps it.
    pub fn for_space(&self, space: &Arc<AddressSpace>) -> Result<Self, Errno> {
        let file = match memory::inherited(&self.file)? {
            Some(attachment) => attachment,
            None => Arc::clone(&self.file),
        };
        Self::new(space, file, Arc::clone(&self.inode), self.offset)
    }
}

impl MappingObserver for Observer {
    fn id(&self) -> u64 {
        self.id
    }

    fn may_write(&self) -> bool {
        let (Some(space), Some(inode)) = (self.space.upgrade(), self.inode.upgrade()) else { return false };
        space.inner.lock().areas.iter().any(|vma| {
            let its = matches!(&vma.backing, Backing::File(part) if Arc::ptr_eq(&part.inode, &inode));
            its && !vma.is_private() && vma.max_access.contains(Access::WRITE)
        })
    }

    fn invalidate(&self, pages: Range<u64>, loss: PageLoss) {
        let (Some(space), Some(inode)) = (self.space.upgrade(), self.inode.upgrade()) else { return };
        let mut guard = space.inner.lock();
        let Inner { areas, table, resident, .. } = &mut *guard;
        for vma in areas.iter() {
            let Backing::File(part) = &vma.backing else { continue };
            if !Arc::ptr_eq(&part.inode, &inode) {
                continue;
            }
            let first = part.offset / PAGE_SIZE as u64;
            let address = |page: u64| {
                let offset = page.saturating_sub(first).saturating_mul(PAGE_SIZE as u64);
                vma.start.saturating_add(offset as usize).min(vma.end)
            };
            // What a private mapping has written is its own, unless the file ends before it; the file's pages are never mapped there with the
            // right to write. A page of its own that lost the right, by mprotect or a fork, is marked as written.
            let spared = vma.is_private() && loss == PageLoss::Replaced;
            table.unmap_where(
                address(pages.start)..address(pages.end),
                usize::MAX,
                &mut |mapped| !spared || !mapped.dirty && !mapped.access.contains(Access::WRITE),
                &mut |_, frame| {
                    *resident -= 1;
                    drop(frame);
                },
            );
        }
    }
}
