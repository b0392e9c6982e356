//! Letting go of file pages that the file no longer has: after a truncation, or when a page of an image was replaced by a changed copy.

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::ops::Range;

use isopod_fs::file::OpenFile;
use isopod_fs::{Inode, MappingObserver};
use isopod_hal::PAGE_SIZE;
use isopod_hal::paging::Access;

use super::{AddressSpace, Backing, FileBacking};

/// An address space's interest in one inode.
struct Observer {
    space: Weak<AddressSpace>,
    inode: Weak<dyn Inode>,
}

impl FileBacking {
    /// The part of `file` from `offset` on, whose pages are those of `inode`, as `space` maps it.
    pub fn new(space: &Arc<AddressSpace>, file: Arc<OpenFile>, inode: Arc<dyn Inode>, offset: u64) -> Self {
        let observer: Arc<dyn MappingObserver> =
            Arc::new(Observer { space: Arc::downgrade(space), inode: Arc::downgrade(&inode) });
        inode.state().observe(&observer);
        Self { file, inode, offset, _observer: observer }
    }

    /// The same part, as another address space maps it.
    #[must_use]
    pub fn for_space(&self, space: &Arc<AddressSpace>) -> Self {
        Self::new(space, Arc::clone(&self.file), Arc::clone(&self.inode), self.offset)
    }
}

impl MappingObserver for Observer {
    fn invalidate(&self, pages: Range<u64>) {
        let (Some(space), Some(inode)) = (self.space.upgrade(), self.inode.upgrade()) else { return };
        let mut inner = space.inner.lock();
        let mut gone = Vec::new();
        for vma in inner.areas.iter() {
            let Backing::File(part) = &vma.backing else { continue };
            if !Arc::ptr_eq(&part.inode, &inode) {
                continue;
            }
            let first = part.offset / PAGE_SIZE as u64;
            let address = |page: u64| {
                let offset = page.saturating_sub(first).saturating_mul(PAGE_SIZE as u64);
                vma.start.saturating_add(offset as usize).min(vma.end)
            };
            gone.push((address(pages.start)..address(pages.end), vma.is_private()));
        }
        for (range, private) in gone {
            // What a private mapping has written is its own, and mapped with the right to write; the file's pages never are.
            let mut unmapped = Vec::new();
            inner.table.for_each(range, &mut |page, mapped| {
                if !private || !mapped.access.contains(Access::WRITE) {
                    unmapped.push(page);
                }
            });
            for page in unmapped {
                inner.evict(page..page + PAGE_SIZE);
            }
        }
    }
}
