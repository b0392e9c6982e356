//! Page faults: how each page of an area comes to be.

use core::ops::Range;

use isopod_fs as fs;
use isopod_hal::frame::Frame;
use isopod_hal::paging::Access;
use isopod_hal::sync::Once;
use isopod_hal::{OutOfMemory, PAGE_SIZE};

use super::space::{AddressSpace, Inner};
use super::{Backing, FileBacking, Vma, VmaFlags, page_down};

/// How much of a file is mapped around a read fault, in bytes, as far as it is in memory already (Linux's `fault_around_bytes`).
const FAULT_AROUND: usize = 64 << 10;

/// Free space kept between a growing stack and what lies below (Linux's `stack_guard_gap`, 256 pages).
const STACK_GUARD: usize = 256 * PAGE_SIZE;

/// What the program tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// A load.
    Read,
    /// A store.
    Write,
    /// An instruction fetch.
    Execute,
}

impl FaultKind {
    fn needs(self) -> Access {
        match self {
            Self::Read => Access::READ,
            Self::Write => Access::WRITE,
            Self::Execute => Access::EXEC,
        }
    }
}

/// Why a page could not be provided.
#[derive(Debug)]
pub enum FaultError {
    /// Nothing is mapped there: SIGSEGV, `SEGV_MAPERR`.
    NotMapped,
    /// The area does not allow it: SIGSEGV, `SEGV_ACCERR`.
    NotAllowed,
    /// The file ends before the page, or could not be read: SIGBUS, `BUS_ADRERR`.
    NoContent,
    /// No memory.
    Memory,
    /// Wait, then try again.
    Wait(fs::Wait),
}

impl From<OutOfMemory> for FaultError {
    fn from(_: OutOfMemory) -> Self {
        Self::Memory
    }
}

impl From<fs::Error> for FaultError {
    fn from(error: fs::Error) -> Self {
        match error {
            fs::Error::Wait(wait) => Self::Wait(wait),
            fs::Error::Errno(fs::Errno::ENOMEM) => Self::Memory,
            fs::Error::Errno(_) => Self::NoContent,
        }
    }
}

/// The page of zeros that stands in for anonymous memory that was only read.
fn zero_page() -> Result<Frame, OutOfMemory> {
    static ZERO: Once<Frame> = Once::new();
    if let Some(zero) = ZERO.get() {
        return Ok(zero.clone());
    }
    let zero = Frame::zeroed()?;
    Ok(ZERO.get_or_init(|| zero).clone())
}

/// Rights for a page that must not be written before it has been copied.
fn without_write(access: Access) -> Access {
    access.difference(Access::WRITE)
}

impl AddressSpace {
    /// Provides the page at `address` for an access of `kind`, or says why not.
    pub fn fault(&self, address: usize, kind: FaultKind) -> Result<(), FaultError> {
        let mut inner = self.inner.lock();
        let page = page_down(address);
        if inner.areas.find(page).is_none() {
            inner.grow_stack(page)?;
        }
        let vma = inner.areas.find(page).ok_or(FaultError::NotMapped)?.clone();
        if !vma.access.contains(kind.needs()) {
            return Err(FaultError::NotAllowed);
        }
        match inner.table.get(page) {
            // Another thread was faster, or the fault came from an old TLB entry.
            Some(mapped) if mapped.access.contains(kind.needs()) => Ok(()),
            Some(_) if kind == FaultKind::Write => inner.unshare(page, &vma),
            Some(_) => {
                inner.table.protect_range(page..page + PAGE_SIZE, without_write(vma.access));
                Ok(())
            }
            None => inner.populate(page, &vma, kind),
        }
    }

    /// Provides every page of `range` for reading or writing, and waits as often as needed.
    pub async fn fault_in(&self, range: Range<usize>, kind: FaultKind) -> Result<(), FaultError> {
        let mut page = page_down(range.start);
        while page < range.end {
            match self.fault(page, kind) {
                Ok(()) => page += PAGE_SIZE,
                Err(FaultError::Wait(wait)) => wait.await,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl Inner {
    /// Extends a stack area down to `page` if there is one above it, within its limit.
    fn grow_stack(&mut self, page: usize) -> Result<(), FaultError> {
        let above = self.areas.next_after(page).ok_or(FaultError::NotMapped)?;
        if !above.flags.contains(VmaFlags::GROWS_DOWN) {
            return Err(FaultError::NotMapped);
        }
        let grown = (above.end - page) as u64;
        let crowded = self.areas.last_before(page).is_some_and(|below| {
            !below.flags.contains(VmaFlags::GROWS_DOWN) && page - below.end < STACK_GUARD
        });
        if grown > self.stack_limit || crowded || !self.may_grow(above.start - page) {
            return Err(FaultError::NotMapped);
        }
        let extension = Vma { start: page, end: above.start, ..above.clone() };
        self.areas.insert(extension);
        Ok(())
    }

    /// Fills a page that is not there.
    fn populate(&mut self, page: usize, vma: &Vma, kind: FaultKind) -> Result<(), FaultError> {
        match &vma.backing {
            Backing::Anonymous if kind == FaultKind::Write => {
                self.install(page, Frame::zeroed()?, vma.access)?;
            }
            Backing::Anonymous => {
                self.install(page, zero_page()?, without_write(vma.access))?;
            }
            Backing::File(file) if !vma.is_private() => {
                let index = page_index(file, vma, page);
                let writable = vma.access.contains(Access::WRITE);
                let inode = &file.inode;
                let frame = if writable { inode.page_for_write(index)? } else { inode.page(index)? };
                self.install(page, frame, vma.access)?;
            }
            Backing::File(file) if kind == FaultKind::Write => {
                let source = file.inode.page(page_index(file, vma, page))?;
                let copy = Frame::uninit()?;
                copy.copy_from(&source);
                self.install(page, copy, vma.access)?;
            }
            Backing::File(file) => {
                let frame = file.inode.page(page_index(file, vma, page))?;
                self.install(page, frame, without_write(vma.access))?;
                self.map_around(page, vma, file)?;
            }
            Backing::Kernel { frames, first, .. } => {
                let frame =
                    frames.get(first + (page - vma.start) / PAGE_SIZE).ok_or(FaultError::NoContent)?;
                self.install(page, frame.clone(), vma.access)?;
            }
        }
        Ok(())
    }

    /// Maps the pages around a read fault that are in memory already, and begins to read those that are not: neighbours are touched
    /// next more often than not.
    fn map_around(&mut self, page: usize, vma: &Vma, file: &FileBacking) -> Result<(), FaultError> {
        let window = page & !(FAULT_AROUND - 1);
        for neighbour in (window.max(vma.start)..(window + FAULT_AROUND).min(vma.end)).step_by(PAGE_SIZE) {
            if neighbour == page || self.table.is_mapped(neighbour) {
                continue;
            }
            if let Ok(frame) = file.inode.page(page_index(file, vma, neighbour)) {
                self.install(neighbour, frame, without_write(vma.access))?;
            }
        }
        Ok(())
    }

    /// Makes a page writable that is mapped without that right: in place if nobody else has it, else as a copy.
    fn unshare(&mut self, page: usize, vma: &Vma) -> Result<(), FaultError> {
        if !vma.is_private() {
            if let Backing::File(file) = &vma.backing {
                let frame = file.inode.page_for_write(page_index(file, vma, page))?;
                self.install(page, frame, vma.access)?;
            }
            return Ok(());
        }
        let Some(old) = self.table.get(page) else { return Ok(()) };
        let old = old.frame;
        if old.owners() <= 2 {
            // This handle's and the page table's: nobody else has the page.
            self.table.protect_range(page..page + PAGE_SIZE, vma.access);
            return Ok(());
        }
        let copy = Frame::uninit()?;
        copy.copy_from(&old);
        self.install(page, copy, vma.access)?;
        Ok(())
    }
}

/// Which page of the file lies at `page`.
fn page_index(file: &FileBacking, vma: &Vma, page: usize) -> u64 {
    (file.offset + (page - vma.start) as u64) / PAGE_SIZE as u64
}
