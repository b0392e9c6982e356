//! What an address space looks like, for `/proc/self/maps` and fault reports.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;

use isopod_fs::Errno;
use isopod_hal::paging::Access;

use super::space::{AddressSpace, Inner};
use super::{Backing, Vma, VmaFlags};
use crate::kernel;

/// Sizes of an address space in bytes.
#[derive(Debug, Clone, Copy, Default)]
pub struct MemoryReport {
    /// All areas.
    pub size: usize,
    /// The most bytes of areas there have been.
    pub size_peak: usize,
    /// Areas whose pages are to stay in memory.
    pub locked: usize,
    /// Pages in memory.
    pub resident: usize,
    /// The most pages in memory there have been.
    pub resident_peak: usize,
    /// Areas of files.
    pub file: usize,
    /// Private writable areas.
    pub data: usize,
    /// Stacks.
    pub stack: usize,
    /// Executable areas.
    pub text: usize,
    /// Its page tables.
    pub tables: usize,
}

/// What of some areas is in memory, in bytes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Resident {
    /// All of it.
    pub all: usize,
    /// The same, each page divided by how many have it mapped.
    pub proportional: usize,
    /// Mapped elsewhere too, or not; unchanged, or changed: `[shared][changed]`.
    pub kinds: [[usize; 2]; 2],
    /// Touched lately, as far as the processor has said.
    pub referenced: usize,
    /// No file's pages.
    pub anonymous: usize,
    /// In areas whose pages are to stay.
    pub locked: usize,
}

impl AddressSpace {
    /// Adds what of an area is in memory.
    pub fn add_resident(&self, vma: &Vma, sum: &mut Resident) {
        let file = !matches!(vma.backing, Backing::Anonymous);
        self.inner.lock().table.for_each(vma.range(), &mut |_, mapped| {
            // What a private mapping has written is its own; see `observer`.
            let own = !file || vma.is_private() && (mapped.dirty || mapped.access.contains(Access::WRITE));
            // A file holds its pages too. Of those that nobody counts there is no telling.
            let mappings = match mapped.frame.owners() {
                u32::MAX => 1,
                owners => owners.saturating_sub(u32::from(!own)).max(1) as usize,
            };
            let page = isopod_hal::PAGE_SIZE;
            sum.all += page;
            sum.proportional += page / mappings;
            sum.kinds[usize::from(mappings > 1)][usize::from(own || mapped.dirty)] += page;
            sum.referenced += if mapped.accessed { page } else { 0 };
            sum.anonymous += if own { page } else { 0 };
            sum.locked += if vma.flags.contains(VmaFlags::LOCKED) { page } else { 0 };
        });
    }

    /// The sizes now.
    pub fn report(&self) -> MemoryReport {
        let inner = self.inner.lock();
        let sum = |filter: fn(&Vma) -> bool| inner.areas.iter().filter(|vma| filter(vma)).map(Vma::len).sum();
        MemoryReport {
            size: inner.mapped_bytes(),
            size_peak: inner.areas.bytes_peak(),
            locked: sum(|vma| vma.flags.contains(VmaFlags::LOCKED)),
            resident: inner.resident_bytes(),
            resident_peak: inner.resident_peak * isopod_hal::PAGE_SIZE,
            file: sum(|vma| matches!(vma.backing, Backing::File(_))),
            data: sum(Vma::is_data),
            stack: sum(is_stack),
            text: sum(|vma| vma.access.contains(Access::EXEC)),
            tables: inner.table.count() * isopod_hal::PAGE_SIZE,
        }
    }

    /// Bytes that come back when it goes, but for what is shared: its pages, their tables and the areas.
    pub fn footprint(&self) -> usize {
        let inner = self.inner.lock();
        inner.resident_bytes() + inner.table.count() * isopod_hal::PAGE_SIZE + inner.area_bytes()
    }

    /// Bytes of areas that can be written and are its own.
    pub fn data_bytes(&self) -> usize {
        self.inner.lock().areas.iter().filter(|vma| vma.is_data()).map(Vma::len).sum()
    }

    /// How many pages of files' areas are in memory.
    pub fn resident_of_files(&self) -> usize {
        let inner = self.inner.lock();
        let mut pages = 0;
        for vma in inner.areas.iter().filter(|vma| matches!(vma.backing, Backing::File(_))) {
            inner.table.for_each(vma.range(), &mut |_, _| pages += 1);
        }
        pages
    }

    /// All areas, in order.
    pub fn areas(&self) -> Result<Vec<Vma>, Errno> {
        let inner = self.inner.lock();
        let mut areas = Vec::new();
        areas.try_reserve_exact(inner.areas.len()).map_err(|_| Errno::ENOMEM)?;
        areas.extend(inner.areas.iter().cloned());
        Ok(areas)
    }
}

impl Inner {
    /// What its areas take of the heap, with their places in the set of areas, in bytes.
    pub(super) fn area_bytes(&self) -> usize {
        self.areas.len() * 2 * size_of::<Vma>()
    }
}

fn is_stack(vma: &Vma) -> bool {
    vma.flags.contains(VmaFlags::STACK)
}

/// One line of `/proc/self/maps` (`proc_pid_maps(5)`), without the newline.
pub fn describe(vma: &Vma) -> String {
    let mut line = String::new();
    let right = |access: Access, letter: char| if vma.access.contains(access) { letter } else { '-' };
    let (offset, device, inode, name) = origin(vma);
    // Writing to a String cannot fail.
    let _ = write!(
        line,
        "{:08x}-{:08x} {}{}{}{} {:08x} {:02x}:{:02x} {}",
        vma.start,
        vma.end,
        right(Access::READ, 'r'),
        right(Access::WRITE, 'w'),
        right(Access::EXEC, 'x'),
        if vma.is_private() { 'p' } else { 's' },
        offset,
        device.0,
        device.1,
        inode,
    );
    line.push(' ');
    if !name.is_empty() {
        // Linux pads to the same column.
        while line.len() < 73 {
            line.push(' ');
        }
        line.push_str(&name);
    }
    line
}

/// Offset, device, inode number and name of what an area maps.
fn origin(vma: &Vma) -> (u64, (u32, u32), u64, String) {
    match &vma.backing {
        Backing::File(part) => {
            let path = part.file.path();
            let (device, inode) = part
                .inode
                .metadata()
                .map_or(((0, 0), 0), |about| ((about.device.major, about.device.minor), about.inode));
            let name = String::from_utf8_lossy(&path.text(&kernel::root()).0).into_owned();
            (part.offset, device, inode, name)
        }
        Backing::Kernel { name, .. } => (0, (0, 0), 0, (*name).into()),
        Backing::Anonymous if is_stack(vma) => (0, (0, 0), 0, "[stack]".into()),
        Backing::Anonymous if vma.flags.contains(VmaFlags::HEAP) => (0, (0, 0), 0, "[heap]".into()),
        Backing::Anonymous => (0, (0, 0), 0, String::new()),
    }
}
