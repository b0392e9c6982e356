//! A second address space like the first: what fork needs.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use isopod_hal::OutOfMemory;
use isopod_hal::paging::PageTable;
use isopod_hal::sync::SpinLock;

use super::space::{AddressSpace, Inner};
use super::{Backing, Vma, VmaFlags, VmaSet};
use crate::memory_pressure;

/// What an area takes of the heap, with its place in the set of areas.
const AREA_BYTES: usize = 2 * size_of::<Vma>();

impl AddressSpace {
    /// Copies the address space. Private pages are shared until one side writes; the cost is that of the page tables.
    pub fn duplicate(self: &Arc<Self>) -> Result<Arc<Self>, OutOfMemory> {
        let mut parent = self.inner.lock();
        // Areas are small objects, but there can be many of them.
        memory_pressure::afford(parent.areas.len() * AREA_BYTES)?;
        let mut areas = VmaSet::default();
        let mut table = PageTable::new()?;
        let mut resident = 0;
        let Inner { areas: inherited, table: own, .. } = &mut *parent;
        for vma in inherited.iter().filter(|vma| !vma.flags.contains(VmaFlags::DONT_FORK)) {
            if !vma.flags.contains(VmaFlags::WIPE_ON_FORK) {
                if vma.is_private() {
                    own.share_read_only(&mut table, vma.range())?;
                } else {
                    own.share(&mut table, vma.range())?;
                }
                table.for_each(vma.range(), &mut |_, _| resident += 1);
            }
            areas.insert(Vma { flags: vma.flags.difference(VmaFlags::LOCKED), ..vma.clone() });
        }
        let inner = Inner {
            table,
            areas,
            layout: parent.layout,
            brk_start: parent.brk_start,
            brk: parent.brk,
            start: parent.start.clone(),
            resident,
            resident_peak: resident,
            stack_limit: parent.stack_limit,
            size_limit: parent.size_limit,
        };
        drop(parent);
        let copy = Arc::new(Self::from_inner(inner));
        for vma in copy.inner.lock().areas.iter_mut() {
            if let Backing::File(part) = &vma.backing {
                vma.backing = Backing::File(part.for_space(&copy).map_err(|_| OutOfMemory)?);
            }
        }
        Ok(copy)
    }

    fn from_inner(inner: Inner) -> Self {
        Self { id: super::space::NEXT_ID.fetch_add(1, Ordering::Relaxed), inner: SpinLock::new(inner) }
    }
}
