//! An address space: areas and page table under one lock.

use alloc::sync::Arc;
use core::ops::Range;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use isopod_hal::frame::Frame;
use isopod_hal::paging::{Access, PageTable, USER_END};
use isopod_hal::sync::{Once, SpinLock};
use isopod_hal::{OutOfMemory, PAGE_SIZE};

use super::{FaultKind, Layout, Vma, VmaFlags, VmaSet, page_down};
use crate::aio::Contexts;
use crate::sched;

/// How many pages are shared or given back before others may run: some hundred microseconds of work.
pub(super) const STEP: usize = 4096;

/// What an exec put on the stack, for `/proc/self/cmdline`, `environ`, `auxv` and `stat`.
#[derive(Debug, Clone, Default)]
pub struct Start {
    /// Where the argument strings lie.
    pub arguments: Range<usize>,
    /// Where the environment strings lie.
    pub environment: Range<usize>,
    /// The first stack pointer.
    pub stack: usize,
    /// The auxiliary vector, `AT_NULL` included.
    pub auxiliary: Arc<[(u64, u64)]>,
}

impl Start {
    /// Where the program itself begins, as the auxiliary vector says; 0 before there is one.
    pub fn entry(&self) -> u64 {
        /// auxvec.h
        const AT_ENTRY: u64 = 9;
        self.auxiliary.iter().find(|(key, _)| *key == AT_ENTRY).map_or(0, |(_, value)| *value)
    }
}

/// How large an address space may get, in bytes (getrlimit(2)).
#[derive(Debug, Clone, Copy, Default)]
pub struct SpaceLimits {
    /// `RLIMIT_STACK`
    pub stack: u64,
    /// `RLIMIT_AS`
    pub size: u64,
    /// `RLIMIT_DATA`
    pub data: u64,
}

/// The memory of a process; shared by its threads.
#[derive(Debug)]
pub struct AddressSpace {
    id: u64,
    barriers: AtomicU32,
    /// How many processes have it.
    processes: AtomicU32,
    /// See [`locks_future`](Self::locks_future).
    pub(super) locks_future: AtomicBool,
    /// Its contexts of asynchronous I/O.
    pub aio: Contexts,
    pub(super) inner: SpinLock<Inner>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) table: PageTable,
    pub(super) areas: VmaSet,
    pub(super) layout: Layout,
    /// The heap: from `brk_start` to `brk`; the latter need not be a page boundary.
    pub(super) brk_start: usize,
    pub(super) brk: usize,
    /// What the program was started with.
    pub(super) start: Start,
    /// Pages in the table.
    pub(super) resident: usize,
    /// The most there have been, for `getrusage(2)`.
    pub(super) resident_peak: usize,
    /// How far the stack may grow, in bytes (`RLIMIT_STACK`).
    pub(super) stack_limit: u64,
    /// How much may be mapped, in bytes (`RLIMIT_AS`).
    pub(super) size_limit: u64,
    /// How much of it may be private and writable (`RLIMIT_DATA`).
    pub(super) data_limit: u64,
}

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

impl AddressSpace {
    /// An empty address space.
    pub fn new(layout: Layout, limits: SpaceLimits) -> Result<Self, OutOfMemory> {
        let SpaceLimits { stack: stack_limit, size: size_limit, data: data_limit } = limits;
        Ok(Self {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            barriers: AtomicU32::new(0),
            processes: AtomicU32::new(0),
            locks_future: AtomicBool::new(false),
            aio: Contexts::default(),
            inner: SpinLock::new(Inner {
                table: PageTable::new()?,
                areas: VmaSet::default(),
                layout,
                brk_start: 0,
                brk: 0,
                start: Start::default(),
                resident: 0,
                resident_peak: 0,
                stack_limit,
                size_limit,
                data_limit,
            }),
        })
    }

    /// What a process that has ended has for memory: nothing can be mapped or found there. The first call makes it.
    pub fn none() -> Result<Arc<Self>, OutOfMemory> {
        static NONE: Once<Arc<AddressSpace>> = Once::new();
        if let Some(none) = NONE.get() {
            return Ok(Arc::clone(none));
        }
        let none = Arc::new(Self::new(Layout::default(), SpaceLimits::default())?);
        Ok(Arc::clone(NONE.get_or_init(|| none)))
    }

    /// Lets go of it. The last who does gives its pages back, in steps between which others run.
    pub async fn release(self: Arc<Self>) {
        let Some(memory) = Arc::into_inner(self) else { return };
        let mut start = 0;
        while start < USER_END && memory.inner.lock().resident > STEP {
            start = memory.inner.lock().evict_some(start..USER_END, STEP);
            sched::give_way().await;
        }
    }

    /// A number no other address space of this boot has; private futexes are told apart by it.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// A process has it.
    pub fn join(&self) {
        self.processes.fetch_add(1, Ordering::Relaxed);
    }

    /// A process no longer has it.
    pub fn leave(&self) {
        self.processes.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether several processes have it (`CLONE_VM`).
    pub fn is_shared(&self) -> bool {
        self.processes.load(Ordering::Relaxed) > 1
    }

    /// Makes it the current CPU's address space.
    pub fn activate(&self) {
        self.inner.lock().table.activate();
    }

    /// The layout drawn for it.
    pub fn layout(&self) -> Layout {
        self.inner.lock().layout
    }

    /// Sets where the heap starts; an exec does it once.
    pub fn set_brk_start(&self, start: usize) {
        let mut inner = self.inner.lock();
        inner.brk_start = start;
        inner.brk = start;
    }

    /// Where the heap starts.
    pub fn brk_start(&self) -> usize {
        self.inner.lock().brk_start
    }

    /// Remembers what the program was started with.
    pub fn set_start(&self, start: Start) {
        let old = core::mem::replace(&mut self.inner.lock().start, start);
        drop(old);
    }

    /// What the program was started with.
    pub fn start(&self) -> Start {
        self.inner.lock().start.clone()
    }

    /// Changes the limits.
    pub fn set_limits(&self, limits: SpaceLimits) {
        let mut inner = self.inner.lock();
        inner.stack_limit = limits.stack;
        inner.size_limit = limits.size;
        inner.data_limit = limits.data;
    }

    /// The area at `address`.
    pub fn area_at(&self, address: usize) -> Option<Vma> {
        self.inner.lock().areas.find(address).cloned()
    }

    /// Calls `act` with the page at `page` if it is mapped for an access of `kind`; no other thread can take it away meanwhile.
    pub fn with_page(
        &self,
        page: usize,
        kind: FaultKind,
        act: &mut dyn FnMut(&Frame) -> usize,
    ) -> Option<usize> {
        let inner = self.inner.lock();
        let wanted = if kind == FaultKind::Write { Access::READ | Access::WRITE } else { Access::READ };
        inner.areas.find(page).filter(|vma| vma.access.contains(wanted))?;
        let mapped = inner.table.get(page).filter(|mapped| mapped.access.contains(wanted))?;
        Some(act(&mapped.frame))
    }

    /// What of membarrier(2) it is registered for.
    pub fn barriers(&self) -> u32 {
        self.barriers.load(Ordering::Relaxed)
    }

    /// Registers it for more.
    pub fn register_barriers(&self, commands: u32) {
        self.barriers.fetch_or(commands, Ordering::Relaxed);
    }

    /// The frame mapped at `address`, for a debugger's or another process's look at it.
    pub fn frame_at(&self, address: usize) -> Option<Frame> {
        self.inner.lock().table.get(page_down(address)).map(|mapped| mapped.frame)
    }
}

impl Inner {
    /// Puts a page in place. The old one, if any, is returned.
    pub(super) fn install(
        &mut self,
        page: usize,
        frame: Frame,
        access: Access,
    ) -> Result<Option<Frame>, OutOfMemory> {
        let old = self.table.map(page, frame, access)?;
        if old.is_none() {
            self.note_resident(1);
        }
        Ok(old)
    }

    /// So many more pages are in place.
    pub(super) fn note_resident(&mut self, more: usize) {
        self.resident += more;
        self.resident_peak = self.resident_peak.max(self.resident);
    }

    /// Takes out the pages of `range`.
    pub(super) fn evict(&mut self, range: Range<usize>) {
        self.evict_some(range, usize::MAX);
    }

    /// Takes out the pages of `range`, not many more than `most`. Returns where they end.
    pub(super) fn evict_some(&mut self, range: Range<usize>, most: usize) -> usize {
        let mut gone = 0;
        let end = self.table.unmap_where(range, most, &mut |_| true, &mut |_, frame| {
            gone += 1;
            drop(frame);
        });
        self.resident -= gone;
        end
    }

    /// Bytes mapped in all.
    pub(super) fn mapped_bytes(&self) -> usize {
        self.areas.bytes()
    }

    /// True when `more` bytes keep within `RLIMIT_AS`.
    pub(super) fn may_grow(&self, more: usize) -> bool {
        self.size_limit == u64::MAX
            || (self.mapped_bytes() as u64).saturating_add(more as u64) <= self.size_limit
    }

    /// Its limits.
    pub(super) fn limits(&self) -> SpaceLimits {
        SpaceLimits { stack: self.stack_limit, size: self.size_limit, data: self.data_limit }
    }

    /// True when `more` bytes that are private and writable keep within `RLIMIT_DATA`. A limit of nothing does not count, as on Linux, which lets
    /// programs set it to notice only what the heap takes.
    pub(super) fn may_have_data(&self, more: usize) -> bool {
        if self.data_limit == u64::MAX || self.data_limit == 0 {
            return true;
        }
        let data: usize = self.areas.iter().filter(|vma| vma.is_data()).map(Vma::len).sum();
        (data as u64).saturating_add(more as u64) <= self.data_limit
    }

    /// True when an area of the range belongs to the kernel.
    pub(super) fn touches_kernel_area(&self, range: Range<usize>) -> bool {
        self.areas.overlapping(range).any(|vma| vma.flags.contains(VmaFlags::KERNEL))
    }

    /// Pages of the resident set in bytes.
    pub(super) fn resident_bytes(&self) -> usize {
        self.resident * PAGE_SIZE
    }
}
