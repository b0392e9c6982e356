//! Page faults: how each page of an area comes to be.

use alloc::sync::Arc;
use core::ops::Range;

use isopod_fs as fs;
use isopod_fs::Inode;
use isopod_hal::frame::Frame;
use isopod_hal::paging::Access;
use isopod_hal::sync::Once;
use isopod_hal::{OutOfMemory, PAGE_SIZE};

use super::layout::LOWEST;
use super::space::{AddressSpace, Inner};
use super::vma::STACK_GUARD;
use super::{Backing, FileBacking, Vma, VmaFlags, page_down};
use crate::memory_pressure::Shortage;
use crate::{process, sched};

/// How much of a file is mapped around a read fault, in bytes, as far as it is in memory already (Linux's `fault_around_bytes`).
const FAULT_AROUND: usize = 64 << 10;

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

/// A page of a file that a fault needs.
struct Wanted {
    inode: Arc<dyn Inode>,
    index: u64,
    /// It is to be written, and the writes are to reach the file.
    for_write: bool,
    /// How often the file had lost pages before it is asked for this one.
    losses: u64,
}

impl Wanted {
    /// True when it is still what `vma` maps at `page`, and what the file has given is still part of it. The space's lock is held: the file, if
    /// it loses the page from now on, takes it away again.
    fn fits(&self, page: usize, vma: &Vma) -> bool {
        self.inode.state().losses() == self.losses
            && matches!(&vma.backing, Backing::File(file)
                if Arc::ptr_eq(&file.inode, &self.inode) && page_index(file, vma, page) == self.index)
    }

    fn get(&self) -> fs::Result<Frame> {
        if self.for_write { self.inode.page_for_write(self.index) } else { self.inode.page(self.index) }
    }
}

impl AddressSpace {
    /// Provides the page at `address` for an access of `kind`, or says why not.
    pub fn fault(&self, address: usize, kind: FaultKind) -> Result<(), FaultError> {
        let page = page_down(address);
        let wanted = self.inner.lock().wanted(page, kind)?;
        // Asked for without the lock: a page that is to be written may replace another, which everybody who has that mapped must then let
        // go of, this address space too.
        let provided = match &wanted {
            Some(wanted) => Some(wanted.get()?),
            None => None,
        };
        let mut inner = self.inner.lock();
        let vma = inner.areas.find(page).ok_or(FaultError::NotMapped)?.clone();
        if !vma.access.contains(kind.needs()) {
            return Err(FaultError::NotAllowed);
        }
        let provided = provided.filter(|_| wanted.is_some_and(|wanted| wanted.fits(page, &vma)));
        match inner.table.get(page) {
            // Another thread was faster, or the fault came from an old TLB entry.
            Some(mapped) if mapped.access.contains(kind.needs()) => Ok(()),
            Some(_) if kind == FaultKind::Write => inner.unshare(page, &vma, provided),
            Some(_) => {
                inner.table.protect_range(page..page + PAGE_SIZE, without_write(vma.access));
                Ok(())
            }
            None => inner.populate(page, &vma, kind, provided),
        }
    }

    /// Provides every page of `range` for reading or writing, and waits as often as needed, for memory too, which only a thread that is
    /// to end does not get. Such a one gets no more than the first of many.
    pub async fn fault_in(&self, range: Range<usize>, kind: FaultKind) -> Result<(), FaultError> {
        /// After so many bytes others get a turn.
        const STEP: usize = 1 << 20;
        let mut page = page_down(range.start);
        let mut shortage = Shortage::default();
        while page < range.end {
            if page.is_multiple_of(STEP) && page > range.start {
                sched::give_way().await;
                if process::current().is_some_and(|thread| thread.must_end()) {
                    return Ok(());
                }
            }
            match self.fault(page, kind) {
                Ok(()) => page += PAGE_SIZE,
                Err(FaultError::Wait(wait)) => wait.await,
                Err(FaultError::Memory) if shortage.wait().await => {}
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
            let harmless = below.flags.contains(VmaFlags::GROWS_DOWN) || below.access.is_empty();
            !harmless && page - below.end < STACK_GUARD
        });
        let outside = page < LOWEST || grown > self.stack_limit;
        if outside || crowded || self.check_growth(above.start - page, above.access, above.flags).is_err() {
            return Err(FaultError::NotMapped);
        }
        let extension = Vma { start: page, end: above.start, ..above.clone() };
        self.areas.insert(extension);
        Ok(())
    }

    /// The page of a file that a fault of `kind` at `page` needs, if it needs one.
    fn wanted(&mut self, page: usize, kind: FaultKind) -> Result<Option<Wanted>, FaultError> {
        if self.areas.find(page).is_none() {
            self.grow_stack(page)?;
        }
        let vma = self.areas.find(page).ok_or(FaultError::NotMapped)?;
        let Backing::File(file) = &vma.backing else { return Ok(None) };
        if !vma.access.contains(kind.needs()) {
            return Err(FaultError::NotAllowed);
        }
        let shared = !vma.is_private();
        if self.table.is_mapped(page) && !(shared && kind == FaultKind::Write) {
            return Ok(None);
        }
        let for_write = shared && vma.access.contains(Access::WRITE);
        Ok(Some(Wanted {
            inode: Arc::clone(&file.inode),
            index: page_index(file, vma, page),
            for_write,
            losses: file.inode.state().losses(),
        }))
    }

    /// Fills a page that is not there. `provided` is the file's page; without one the area has just become another, and the program
    /// faults again.
    fn populate(
        &mut self,
        page: usize,
        vma: &Vma,
        kind: FaultKind,
        provided: Option<Frame>,
    ) -> Result<(), FaultError> {
        match (&vma.backing, provided) {
            (Backing::Anonymous, _) if kind == FaultKind::Write => {
                self.install(page, Frame::zeroed()?, vma.access)?;
            }
            (Backing::Anonymous, _) => {
                self.install(page, zero_page()?, without_write(vma.access))?;
            }
            (Backing::File(_), Some(frame)) if !vma.is_private() => {
                self.install(page, frame, vma.access)?;
            }
            (Backing::File(_), Some(source)) if kind == FaultKind::Write => {
                let copy = Frame::uninit()?;
                copy.copy_from(&source);
                self.install(page, copy, vma.access)?;
            }
            (Backing::File(file), Some(frame)) => {
                self.install(page, frame, without_write(vma.access))?;
                self.map_around(page, vma, file)?;
            }
            (Backing::File(_), None) => {}
            (Backing::Kernel { frames, first, .. }, _) => {
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
        let (start, end) = (window.max(vma.start), (window + FAULT_AROUND).min(vma.end));
        let mut frames = [const { None }; FAULT_AROUND / PAGE_SIZE];
        let frames = &mut frames[..(end - start) / PAGE_SIZE];
        file.inode.resident(page_index(file, vma, start), frames);
        let filled = self.table.fill(start, frames, without_write(vma.access))?;
        self.note_resident(filled);
        Ok(())
    }

    /// Makes a page writable that is mapped without that right: in place if nobody else has it, else as a copy.
    fn unshare(&mut self, page: usize, vma: &Vma, provided: Option<Frame>) -> Result<(), FaultError> {
        if !vma.is_private() {
            if let Some(frame) = provided {
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
