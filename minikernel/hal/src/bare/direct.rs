//! The kernel's half of the address space: its image, the direct map, windows to device registers.
//!
//! Its tables are shared by all address spaces and only ever gain entries. RAM enters the direct map when it is first
//! used, by pages of 1 GiB where the processor has them and all of it is RAM, else of 2 MiB: nothing grows with
//! the size of RAM. A page of 2 MiB may contain some bytes that are not RAM; the kernel never touches those, and
//! the processor heeds the memory types that firmware set for the lowest MiB (SDM volume 3, section 12.11.9).

use core::{
    arch::asm,
    ptr,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
};

use super::{
    layout::{self, DIRECT_BASE, DIRECT_LEN, WINDOWS_BASE, WINDOWS_LEN, image_phys},
    registers::{cr3, set_cr3},
};
use crate::{
    PAGE_SIZE, PhysAddr, PhysRange,
    boot::MemoryRegion,
    cpu::features,
    frame::Frame,
    memory::{OutOfMemory, Purpose, memory},
    mmio::MapError,
    paging::{Bits, Entry},
    sync::Once,
};

type Table = [AtomicU64; 512];

unsafe extern "C" {
    safe static root_table: Table;
    safe static direct_pointers: Table;
    safe static direct_directory: Table;
    safe static high_pointers: Table;
    safe static window_directory: Table;
    safe static stack_guard: u8;
}

const LARGE_PAGE: usize = 2 << 20;
const HUGE_PAGE: u64 = 1 << 30;

/// Tables for the image: from 2 MiB on, 8 MiB long at most, as the linker script asserts.
const IMAGE_TABLES: usize = 4;

#[repr(C, align(4096))]
struct Aligned<T>(T);

static IMAGE_DIRECTORY: Aligned<Table> = Aligned([const { AtomicU64::new(0) }; 512]);
static IMAGE_PAGES: Aligned<[AtomicU64; 512 * IMAGE_TABLES]> =
    Aligned([const { AtomicU64::new(0) }; 512 * IMAGE_TABLES]);
/// The table of the first windows, so that the machine's own need no frame.
static FIRST_WINDOWS: Aligned<Table> = Aligned([const { AtomicU64::new(0) }; 512]);

/// Entries of upper tables: rights are those of the leaves.
const UPPER: Bits = Bits::PRESENT.union(Bits::WRITABLE);
/// Pages for data.
const DATA: Bits = Bits::PRESENT
    .union(Bits::WRITABLE)
    .union(Bits::NO_EXECUTE)
    .union(Bits::GLOBAL)
    .union(Bits::ACCESSED)
    .union(Bits::DIRTY);

/// RAM, to tell where a page of 1 GiB may lie.
static RAM: Once<&'static [MemoryRegion]> = Once::new();

fn entry(at: PhysAddr, bits: Bits) -> u64 {
    // Processors without the ability take the bit for an error.
    let bits = if features().nx { bits } else { bits - Bits::NO_EXECUTE };
    at.as_u64() | bits.bits()
}

fn phys_of(table: &[AtomicU64]) -> PhysAddr {
    image_phys(table.as_ptr() as usize)
}

/// Pages for code.
const CODE: Bits = Bits::PRESENT.union(Bits::GLOBAL).union(Bits::ACCESSED);

/// Gives each page of the image its exact rights, and forgets the early tables. What is `packed` is no code yet, and not mapped.
///
/// # Safety
/// Called once at boot, in the high half, on the stack whose guard page is named in the entry.
pub(super) unsafe fn protect_image(packed: bool) {
    let mapped_end = (layout::image_end() - layout::KERNEL_BASE).next_multiple_of(LARGE_PAGE);
    let limits = [
        (layout::text(), DATA),
        (layout::packed(), CODE),
        (layout::packed_end(), if packed { Bits::empty() } else { CODE }),
        (layout::text_end(), CODE),
        (layout::rodata_end(), DATA - Bits::WRITABLE - Bits::DIRTY),
        // Behind the image the table goes on to the next 2 MiB: RAM like other RAM.
        (mapped_end + layout::KERNEL_BASE, DATA),
    ];
    let mut start = LARGE_PAGE;
    for (limit, bits) in limits {
        let end = limit - layout::KERNEL_BASE;
        if bits.is_empty() {
            start = end;
            continue;
        }
        let mut page = entry(PhysAddr::new(start as u64), bits);
        for slot in &IMAGE_PAGES.0[image_page(start)..image_page(end)] {
            slot.store(page, Ordering::Relaxed);
            page += PAGE_SIZE as u64;
        }
        start = end;
    }
    IMAGE_PAGES.0[image_page(&raw const stack_guard as usize - layout::KERNEL_BASE)]
        .store(0, Ordering::Relaxed);
    for (index, table) in IMAGE_PAGES.0.chunks(512).enumerate() {
        let at = LARGE_PAGE * (index + 1);
        if at < mapped_end {
            let table = phys_of(table);
            IMAGE_DIRECTORY.0[index + 1].store(entry(table, UPPER), Ordering::Relaxed);
            // The same table serves the direct map, where nothing may be executed, so code has no writable alias.
            direct_directory[index + 1].store(entry(table, UPPER | Bits::NO_EXECUTE), Ordering::Relaxed);
        }
    }
    window_directory[0].store(entry(phys_of(&FIRST_WINDOWS.0), UPPER), Ordering::Relaxed);
    high_pointers[510].store(entry(phys_of(&IMAGE_DIRECTORY.0), UPPER), Ordering::Relaxed);
    root_table[0].store(0, Ordering::Relaxed);
    // SAFETY: the tables hold all of the image as before; the lowest addresses are in use no more.
    unsafe { set_cr3(cr3()) };
}

/// Maps the page at `at`, one of the packed code's, to be written or to be run.
///
/// # Safety
/// What is mapped to be run is what the linker put there.
pub(super) unsafe fn map_packed(at: usize, writable: bool) {
    let bits = if writable { DATA } else { CODE };
    let phys = image_phys(at);
    IMAGE_PAGES.0[image_page(phys.as_u64() as usize)].store(entry(phys, bits), Ordering::Release);
    // SAFETY: forgets what was known of the page, nothing else. Other CPUs have known it as absent, and that is not kept
    // (SDM volume 3, section 4.10.2.3), or as not to be run, and have forgotten that with their fault (4.10.4.1).
    unsafe { asm!("invlpg [{}]", in(reg) at, options(nostack, preserves_flags)) };
}

/// Whether the page of the image that `at` lies in may be run.
pub(super) fn is_code(at: usize) -> bool {
    let page = image_page(image_phys(at).as_u64() as usize);
    let bits = Entry(IMAGE_PAGES.0[page].load(Ordering::Acquire)).bits();
    bits.contains(Bits::PRESENT) && !bits.contains(Bits::WRITABLE)
}

/// Number of a page of the image, by its physical address.
fn image_page(at: usize) -> usize {
    (at - LARGE_PAGE) / PAGE_SIZE
}

/// Tells where RAM lies, before the allocator claims any.
pub(super) fn set_ram(regions: &'static [MemoryRegion]) {
    let _ = RAM.set(regions);
}

/// Where RAM that has been mapped is reached.
#[inline]
pub(crate) fn direct(at: PhysAddr) -> *mut u8 {
    ptr::with_exposed_provenance_mut(DIRECT_BASE + at.as_u64() as usize)
}

/// The address of RAM that is reached through the direct map.
pub(crate) fn direct_to_phys(at: *const u8) -> PhysAddr {
    PhysAddr::new((at as usize - DIRECT_BASE) as u64)
}

/// Where bytes of the heap lie, all of which is in the direct map.
pub(crate) fn heap_address(bytes: &[u8]) -> Option<PhysAddr> {
    let at = bytes.as_ptr().addr();
    let mapped = (DIRECT_BASE..DIRECT_BASE + DIRECT_LEN as usize).contains(&at);
    mapped.then(|| direct_to_phys(bytes.as_ptr()))
}

/// Brings a range into the direct map. `table` gives the number of a mapped frame that nobody uses, to become a
/// table, for at most one per GiB.
pub(crate) fn map_direct(
    range: PhysRange,
    table: &mut dyn FnMut() -> Option<u32>,
) -> Result<(), OutOfMemory> {
    if range.end().as_u64() > DIRECT_LEN {
        return Err(OutOfMemory);
    }
    let mut at = range.start.as_u64() & !(LARGE_PAGE as u64 - 1);
    while at < range.end().as_u64() {
        let upper = &direct_pointers[(at / HUGE_PAGE) as usize];
        let mut found = Entry(upper.load(Ordering::Acquire));
        if !found.is_present() {
            let gib = PhysRange::new(PhysAddr::new(at & !(HUGE_PAGE - 1)), HUGE_PAGE);
            let whole = RAM.get().is_some_and(|ram| ram.iter().any(|region| region.range.contains(gib)));
            found = if whole && features().huge_pages {
                Entry(entry(gib.start, DATA | Bits::LARGE))
            } else {
                Entry(entry(empty_table(table().ok_or(OutOfMemory)?), UPPER))
            };
            upper.store(found.0, Ordering::Release);
        }
        if found.bits().contains(Bits::LARGE) {
            at = (at & !(HUGE_PAGE - 1)) + HUGE_PAGE;
            continue;
        }
        let slot = &table_at(found.address())[at as usize / LARGE_PAGE % 512];
        if slot.load(Ordering::Relaxed) == 0 {
            slot.store(entry(PhysAddr::new(at), DATA | Bits::LARGE), Ordering::Release);
        }
        at += LARGE_PAGE as u64;
    }
    Ok(())
}

/// A table of the kernel's half. The first GiB's lies in the image, all others in frames.
fn table_at(at: PhysAddr) -> &'static Table {
    // SAFETY: a table that an entry of the kernel's half names stays one for good, and is mapped: the direct map holds
    // the image's tables as well as those in frames.
    unsafe { &*direct(at).cast::<Table>() }
}

/// Makes a frame an empty table.
fn empty_table(frame: u32) -> PhysAddr {
    let at = PhysAddr::new(u64::from(frame) * PAGE_SIZE as u64);
    for slot in table_at(at) {
        slot.store(0, Ordering::Relaxed);
    }
    at
}

/// Copies firmware's memory out, through the direct map.
pub(crate) fn read_firmware(range: PhysRange, into: &mut [u8]) -> Result<(), OutOfMemory> {
    map_direct(range, &mut || memory().allocate(1, Purpose::Kernel).ok())?;
    // SAFETY: mapped just now; whoever else may change these bytes, they remain bytes.
    unsafe { ptr::copy_nonoverlapping(direct(range.start), into.as_mut_ptr(), into.len()) };
    Ok(())
}

/// Enters the kernel's half into a new address space.
pub(crate) fn share_kernel_half(root: &Frame) {
    for index in [256, 511] {
        root.write(index * 8, &root_table[index].load(Ordering::Relaxed).to_le_bytes());
    }
}

/// The address space without a user half.
pub(super) fn kernel_root() -> PhysAddr {
    phys_of(&root_table)
}

/// Device registers in memory, uncached.
pub(crate) struct MmioWindow(*mut u8);

// SAFETY: the window stays mapped for good and every access through it is volatile; devices see to themselves.
unsafe impl Send for MmioWindow {}
// SAFETY: as above.
unsafe impl Sync for MmioWindow {}

impl MmioWindow {
    pub(crate) fn open(range: PhysRange) -> Result<Self, MapError> {
        let first = range.start.page();
        let len = (range.end().as_u64() - first.as_u64()).next_multiple_of(PAGE_SIZE as u64) as usize;
        // What is large, as a PCI segment's configuration space is, has large pages.
        let large = first.is_aligned(LARGE_PAGE as u64) && len.is_multiple_of(LARGE_PAGE);
        let page = if large { LARGE_PAGE } else { PAGE_SIZE };
        let start = reserve(len, page)?;
        for offset in (0..len).step_by(page) {
            let at = PhysAddr::new(first.as_u64() + offset as u64);
            if large {
                window_directory[(start + offset) / LARGE_PAGE % 512]
                    .store(entry(at, REGISTERS | Bits::LARGE), Ordering::Release);
            } else {
                map_window_page(start + offset, at, REGISTERS).map_err(|_| MapError::OutOfMemory)?;
            }
        }
        Ok(Self(ptr::with_exposed_provenance_mut(start + range.start.page_offset())))
    }

    #[inline]
    pub(crate) fn read<W: Copy>(&self, offset: usize) -> W {
        // SAFETY: the caller has checked offset and alignment against the window's length.
        unsafe { self.0.add(offset).cast::<W>().read_volatile() }
    }

    #[inline]
    pub(crate) fn write<W: Copy>(&self, offset: usize, value: W) {
        // SAFETY: as for `read`. That the device cannot be told to overwrite the kernel is the driver's part: what
        // it may write to are `Dma` pages.
        unsafe { self.0.add(offset).cast::<W>().write_volatile(value) }
    }
}

/// Takes addresses for a window of `len` bytes, aligned to `page`.
fn reserve(len: usize, page: usize) -> Result<usize, MapError> {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let take = |next: usize| next.next_multiple_of(page).checked_add(len).filter(|&end| end <= WINDOWS_LEN);
    let before =
        NEXT.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).map_err(|_| MapError::OutOfMemory)?;
    Ok(WINDOWS_BASE + before.next_multiple_of(page))
}

/// Pages for registers. PCD and PWT choose entry 3 of the PAT, which is uncacheable since reset.
const REGISTERS: Bits = DATA.union(Bits::CACHE_DISABLE).union(Bits::WRITE_THROUGH);

/// Maps one page among the windows.
fn map_window_page(page: usize, at: PhysAddr, bits: Bits) -> Result<(), OutOfMemory> {
    let upper = &window_directory[page / LARGE_PAGE % 512];
    let mut found = Entry(upper.load(Ordering::Acquire));
    if !found.is_present() {
        found = Entry(entry(empty_table(memory().allocate(1, Purpose::Kernel)?), UPPER));
        upper.store(found.0, Ordering::Release);
    }
    table_at(found.address())[page / PAGE_SIZE % 512].store(entry(at, bits), Ordering::Release);
    Ok(())
}

/// Memory for a CPU's stacks, with a page before it that is never mapped, so that a stack that overflows faults. It stays for good.
pub(super) fn map_stack(len: usize) -> Result<usize, OutOfMemory> {
    let start = reserve(PAGE_SIZE + len, PAGE_SIZE).map_err(|_| OutOfMemory)? + PAGE_SIZE;
    for offset in (0..len).step_by(PAGE_SIZE) {
        let (at, _) = Frame::allocate(Purpose::Ordinary)?.into_raw();
        map_window_page(start + offset, at, DATA)?;
    }
    Ok(start)
}
