//! Address spaces: four levels of page tables (SDM volume 3, section 4.5).
//!
//! A [`PageTable`] is the user half of one address space; the kernel's half is the same in all. Its leaves own
//! references to frames. Rights and what a page is for are the caller's matter, as is locking: methods that change
//! something take `&mut self`.

mod entry;
mod table;

pub use entry::Access;
pub(crate) use entry::{Bits, Entry};

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use core::{fmt, mem::ManuallyDrop, ops::Range};

use crate::{PAGE_SIZE, PhysAddr, frame::Frame, machine, memory::OutOfMemory};
use table::{LEVELS, Slot, Table, index, span};

/// End of the user half. The last page below the canonical border stays unmapped, since a `syscall` instruction at its
/// end would return to a non-canonical address.
pub const USER_END: usize = 0x7fff_ffff_f000;

/// A page of an address space.
#[derive(Debug)]
pub struct Mapped {
    /// What is mapped.
    pub frame: Frame,
    /// What the program may do with it; nothing for a page kept without access.
    pub access: Access,
    /// Whether it was used since it was mapped.
    pub accessed: bool,
    /// Whether it was written since it was mapped.
    pub dirty: bool,
}

/// How far [`PageTable::share_read_only`] came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shared {
    /// How many pages both have now.
    pub pages: usize,
    /// Everything below is shared.
    pub end: usize,
}

/// The user half of an address space.
pub struct PageTable {
    tables: ActiveTables,
}

/// The tables as a processor has them that may walk them.
pub(crate) type ActiveTables = Arc<Tables>;

/// The tables of an address space. They go when neither the address space nor a processor has them any more.
pub(crate) struct Tables {
    root: Frame,
    /// How many there are.
    count: AtomicUsize,
    /// The processors in whose CR3 they are, a bit each.
    #[cfg_attr(not(isopod_bare), expect(dead_code, reason = "hosted, walks cache nothing"))]
    pub(crate) cpus: AtomicU64,
}

impl Tables {
    /// Where the highest table lies.
    #[inline]
    pub(crate) fn root(&self) -> PhysAddr {
        self.root.phys()
    }

    fn table(&self) -> Table {
        // SAFETY: the root is a table and lives as long as `self`.
        unsafe { Table::at(self.root.phys()) }
    }
}

impl Drop for Tables {
    fn drop(&mut self) {
        free_below(self.table(), LEVELS - 1, 0..table::ENTRIES / 2, true);
        TABLES.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Tables of all address spaces.
static TABLES: AtomicUsize = AtomicUsize::new(0);

/// How many frames the tables of all address spaces take.
pub fn tables() -> usize {
    TABLES.load(Ordering::Relaxed)
}

impl PageTable {
    /// An empty address space.
    pub fn new() -> Result<Self, OutOfMemory> {
        let root = Frame::zeroed()?;
        TABLES.fetch_add(1, Ordering::Relaxed);
        machine::share_kernel_half(&root);
        Ok(Self { tables: Arc::new(Tables { root, count: AtomicUsize::new(1), cpus: AtomicU64::new(0) }) })
    }

    /// How many frames its tables take.
    pub fn count(&self) -> usize {
        self.tables.count.load(Ordering::Relaxed)
    }

    /// Maps `frame` at `page`; returns what was mapped there.
    ///
    /// Without any right the page is kept but unreachable.
    ///
    /// # Panics
    /// As all methods: `page` is not a page of the user half.
    pub fn map(&mut self, page: usize, frame: Frame, access: Access) -> Result<Option<Frame>, OutOfMemory> {
        check(page..page.wrapping_add(PAGE_SIZE));
        let slot = self.make(page)?;
        let old = slot.swap(Entry::page(frame, access));
        if old.has_page() {
            self.flush(page..page + PAGE_SIZE);
            // SAFETY: the entry has just been replaced, so its reference is ours.
            return Ok(Some(unsafe { old.into_frame() }));
        }
        Ok(None)
    }

    /// Maps `frames` at the pages from `page` on where nothing is mapped, and takes them; returns how many. Without memory for a table it maps
    /// none.
    ///
    /// # Panics
    /// The pages have not all the same lowest table: they cross a border of 2 MiB.
    pub fn fill(
        &mut self,
        page: usize,
        frames: &mut [Option<Frame>],
        access: Access,
    ) -> Result<usize, OutOfMemory> {
        check(page..page.wrapping_add(frames.len() * PAGE_SIZE));
        let mut filled = 0;
        let table = self.make_leaf(page)?;
        for (entry, place) in (index(page, 0)..).zip(frames) {
            let slot = table.slot(entry);
            if !slot.get().has_page()
                && let Some(frame) = place.take()
            {
                slot.set(Entry::page(frame, access));
                filled += 1;
            }
        }
        Ok(filled)
    }

    /// Takes the page away; returns what was mapped.
    pub fn unmap(&mut self, page: usize) -> Option<Frame> {
        let mut found = None;
        self.unmap_range(page..page.wrapping_add(PAGE_SIZE), &mut |_, frame| found = Some(frame));
        found
    }

    /// Takes all pages of `range` away and hands each to `on`. The translations are gone before `on` sees the first
    /// of up to 64 frames at a time.
    pub fn unmap_range(&mut self, range: Range<usize>, on: &mut dyn FnMut(usize, Frame)) {
        self.unmap_where(range, usize::MAX, &mut |_| true, on);
    }

    /// As [`PageTable::unmap_range`], for those pages that `choose` wants. After `most` of them it ends at the next border of a table, so that
    /// what comes behind can be taken out by itself; returns where.
    pub fn unmap_where(
        &mut self,
        range: Range<usize>,
        most: usize,
        choose: &mut dyn FnMut(&Mapped) -> bool,
        on: &mut dyn FnMut(usize, Frame),
    ) -> usize {
        check(range.clone());
        let mut all = true;
        let Range { mut start, mut end } = range;
        let mut left = most;
        while start < end {
            let mut batch = [(0, Entry::EMPTY); 64];
            let mut count = 0;
            let mut border = end;
            let stopped = self.visit(start..end, &mut |page, slot| {
                if count >= left && page.is_multiple_of(span(1)) {
                    border = page;
                    return false;
                }
                if !choose(&borrow(slot.get())) {
                    all = false;
                    return true;
                }
                batch[count] = (page, slot.swap(Entry::EMPTY));
                count += 1;
                count < batch.len()
            });
            end = border;
            left = left.saturating_sub(count);
            let Some(last) = count.checked_sub(1) else { break };
            self.flush(batch[0].0..batch[last].0 + PAGE_SIZE);
            for &(page, entry) in &batch[..count] {
                // SAFETY: the entry was taken out of its table, so its reference is ours.
                on(page, unsafe { entry.into_frame() });
            }
            start = if stopped { batch[last].0 + PAGE_SIZE } else { end };
        }
        if all {
            self.free_tables(range.start..end);
        }
        end
    }

    /// Gives all mapped pages of `range` these rights.
    pub fn protect_range(&mut self, range: Range<usize>, access: Access) {
        check(range.clone());
        self.visit(range.clone(), &mut |_, slot| {
            slot.update(|entry| entry.with_access(access));
            true
        });
        self.flush(range);
    }

    /// What is mapped at `page`.
    pub fn get(&self, page: usize) -> Option<Mapped> {
        check(page..page.wrapping_add(PAGE_SIZE));
        let entry = self.find(page)?.get();
        entry.has_page().then(|| {
            let mapped = borrow(entry);
            Mapped { frame: mapped.frame.clone(), ..*mapped }
        })
    }

    /// Whether anything is mapped at `page`, with or without rights.
    pub fn is_mapped(&self, page: usize) -> bool {
        let mut found = false;
        self.for_each(page..page.wrapping_add(PAGE_SIZE), &mut |_, _| found = true);
        found
    }

    /// Shows every mapped page of `range`, in order.
    pub fn for_each(&self, range: Range<usize>, on: &mut dyn FnMut(usize, &Mapped)) {
        check(range.clone());
        self.visit(range, &mut |page, slot| {
            on(page, &borrow(slot.get()));
            true
        });
    }

    /// Moves the pages of `from..from + len` to `to`, with rights and marks (`mremap`). The two ranges do not
    /// overlap, and nothing is mapped in the second. Without memory for tables nothing is moved.
    pub fn move_range(&mut self, from: usize, to: usize, len: usize) -> Result<(), OutOfMemory> {
        check(from..from.wrapping_add(len));
        check(to..to.wrapping_add(len));
        // First the tables, then the pages: only the first can fail.
        let mut result = Ok(());
        self.visit(from..from + len, &mut |page, _| {
            result = self.make(page - from + to).map(|_| ());
            result.is_ok()
        });
        result?;
        self.visit(from..from + len, &mut |page, source| {
            if let Some(target) = self.find(page - from + to) {
                target.set(source.swap(Entry::EMPTY));
            }
            true
        });
        self.flush(from..from + len);
        self.free_tables(from..from + len);
        Ok(())
    }

    /// Maps the pages of `range` in `child` too, without the right to write in either (`fork`, private memory). Marks are kept. Stops
    /// after `most` pages, so that a large address space can be shared in steps. Where memory for tables is lacking, a part may
    /// have been shared; the caller drops the child.
    pub fn share_read_only(
        &mut self,
        child: &mut Self,
        range: Range<usize>,
        most: usize,
    ) -> Result<Shared, OutOfMemory> {
        check(range.clone());
        let mut shared = Shared { pages: 0, end: range.end };
        let mut result = Ok(());
        self.visit(range.clone(), &mut |page, slot| {
            if shared.pages == most {
                shared.end = page;
                return false;
            }
            slot.update(|entry| entry.with_access(entry.access() - Access::WRITE));
            let entry = slot.get();
            // SAFETY: the reference stays with the entry; the clone, which the child's entry owns, is not dropped.
            let frame = ManuallyDrop::new(unsafe { entry.into_frame() });
            match child.make(page) {
                Ok(target) => {
                    core::mem::forget(Frame::clone(&frame));
                    target.set(entry);
                    shared.pages += 1;
                }
                Err(error) => result = Err(error),
            }
            result.is_ok()
        });
        self.flush(range.start..shared.end);
        result.map(|()| shared)
    }

    /// Makes this the address space that user code runs in and that [`crate::uaccess`] reaches on this CPU. It stays so
    /// until another one is activated, or this one is dropped.
    #[inline]
    pub fn activate(&self) {
        machine::load_tables(&self.tables);
    }

    /// Calls `act` for each leaf with a page in `range` until it returns false; whether it did.
    fn visit(&self, range: Range<usize>, act: &mut dyn FnMut(usize, Slot) -> bool) -> bool {
        let mut page = range.start;
        'pages: while page < range.end {
            let mut table = self.root();
            for level in (1..LEVELS).rev() {
                let entry = table.slot(index(page, level)).get();
                if !entry.is_present() {
                    page = (page | (span(level) - 1)) + 1;
                    continue 'pages;
                }
                // SAFETY: entries of the user half's upper levels point to tables, freed only through `&mut self`.
                table = unsafe { Table::at(entry.address()) };
            }
            loop {
                let slot = table.slot(index(page, 0));
                if slot.get().has_page() && !act(page, slot) {
                    return true;
                }
                page += PAGE_SIZE;
                if page >= range.end || index(page, 0) == 0 {
                    break;
                }
            }
        }
        false
    }

    /// The leaf's place for `page`, where its tables exist.
    fn find(&self, page: usize) -> Option<Slot> {
        let mut table = self.root();
        for level in (1..LEVELS).rev() {
            let entry = table.slot(index(page, level)).get();
            if !entry.is_present() {
                return None;
            }
            // SAFETY: as in `visit`.
            table = unsafe { Table::at(entry.address()) };
        }
        Some(table.slot(index(page, 0)))
    }

    /// The leaf's place for `page`, its tables made where they lack. Takes `&self`, as `move_range` makes tables while
    /// it visits others; every public caller has `&mut self`.
    fn make(&self, page: usize) -> Result<Slot, OutOfMemory> {
        Ok(self.make_leaf(page)?.slot(index(page, 0)))
    }

    /// The lowest table for `page`, as [`Self::make`] makes it.
    fn make_leaf(&self, page: usize) -> Result<Table, OutOfMemory> {
        let mut table = self.root();
        for level in (1..LEVELS).rev() {
            let slot = table.slot(index(page, level));
            let mut entry = slot.get();
            if !entry.is_present() {
                let (at, _) = Frame::zeroed()?.into_raw();
                TABLES.fetch_add(1, Ordering::Relaxed);
                self.tables.count.fetch_add(1, Ordering::Relaxed);
                entry = Entry::table(at);
                slot.set(entry);
            }
            // SAFETY: as in `visit`.
            table = unsafe { Table::at(entry.address()) };
        }
        Ok(table)
    }

    fn root(&self) -> Table {
        self.tables.table()
    }

    /// Frees the lowest tables that lie wholly in `range`; its pages have been taken away. They stay where another processor may be walking
    /// them: those processors have forgotten the pages, but not that there are tables.
    fn free_tables(&mut self, range: Range<usize>) {
        if machine::others_use(&self.tables) {
            return;
        }
        let first = range.start.next_multiple_of(span(1));
        let mut page = first;
        while page < range.end && range.end - page >= span(1) {
            let mut table = Some(self.root());
            for level in (2..LEVELS).rev() {
                let entry = table.map_or(Entry::EMPTY, |table| table.slot(index(page, level)).get());
                if !entry.is_present() {
                    table = None;
                    page = (page | (span(level) - 1)) + 1;
                    break;
                }
                // SAFETY: as in `visit`.
                table = Some(unsafe { Table::at(entry.address()) });
            }
            let Some(table) = table else { continue };
            let entry = table.slot(index(page, 1)).swap(Entry::EMPTY);
            if entry.is_present() {
                // The processor may have cached the upper entry though no leaf is left (SDM 4.10.4.1).
                self.flush(page..page + PAGE_SIZE);
                TABLES.fetch_sub(1, Ordering::Relaxed);
                self.tables.count.fetch_sub(1, Ordering::Relaxed);
                // SAFETY: the table is empty, out of the tree, and was made from a managed frame in `make`.
                drop(unsafe { Frame::from_raw(entry.address(), true) });
            }
            page += span(1);
        }
    }

    /// Has every processor forget the translations of `range`.
    fn flush(&self, range: Range<usize>) {
        machine::flush(&self.tables, range);
    }
}

/// What a leaf with a page maps. The reference stays with the entry, so the result is never dropped.
fn borrow(entry: Entry) -> ManuallyDrop<Mapped> {
    let bits = entry.bits();
    ManuallyDrop::new(Mapped {
        // SAFETY: see above.
        frame: unsafe { entry.into_frame() },
        access: entry.access(),
        accessed: bits.contains(Bits::ACCESSED),
        dirty: bits.contains(Bits::DIRTY),
    })
}

/// Frees the pages that the tables below `table`, a table of `level`, map, and these tables too if they are `unused`.
fn free_below(table: Table, level: usize, entries: Range<usize>, unused: bool) {
    for at in entries {
        let slot = table.slot(at);
        let entry = slot.get();
        if level == 0 && entry.has_page() {
            // SAFETY: the entry is taken out of its table, so its reference is ours.
            drop(unsafe { slot.swap(Entry::EMPTY).into_frame() });
        } else if level > 0 && entry.is_present() {
            // SAFETY: entries of the upper levels point to tables, and this one is freed below at the earliest.
            free_below(unsafe { Table::at(entry.address()) }, level - 1, 0..table::ENTRIES, unused);
            if unused {
                slot.set(Entry::EMPTY);
                TABLES.fetch_sub(1, Ordering::Relaxed);
                // SAFETY: tables are made from managed frames in `make`; this one is empty and out of the tree.
                drop(unsafe { Frame::from_raw(entry.address(), true) });
            }
        }
    }
}

impl Drop for PageTable {
    fn drop(&mut self) {
        machine::leave_tables(&self.tables);
        if Arc::strong_count(&self.tables) > 1 {
            // A processor that idles, or that is about to take up something else, is still here: it keeps the tables, but no program's memory.
            free_below(self.root(), LEVELS - 1, 0..table::ENTRIES / 2, false);
        }
    }
}

impl fmt::Debug for PageTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PageTable({})", self.tables.root())
    }
}

fn check(range: Range<usize>) {
    assert!(
        range.start <= range.end
            && range.end <= USER_END
            && range.start.is_multiple_of(PAGE_SIZE)
            && range.end.is_multiple_of(PAGE_SIZE),
        "pages of the user half: {range:x?}"
    );
}

/// What the processor finds for `address` in the tables at `root`, looked up in software.
#[cfg(not(isopod_bare))]
pub(crate) fn translate(root: PhysAddr, address: usize) -> Option<(PhysAddr, Access)> {
    // SAFETY: the caller's root is the active one, which is alive.
    let mut table = unsafe { Table::at(root) };
    for level in (1..LEVELS).rev() {
        let entry = table.slot(index(address, level)).get();
        if !entry.is_present() {
            return None;
        }
        // SAFETY: as in `visit`.
        table = unsafe { Table::at(entry.address()) };
    }
    let slot = table.slot(index(address, 0));
    let entry = slot.get();
    entry.is_present().then(|| (entry.address(), entry.access()))
}

#[cfg(test)]
mod tests;
