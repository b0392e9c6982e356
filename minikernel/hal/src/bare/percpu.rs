//! What each CPU has of its own, reached through `gs` while the kernel runs.

use core::{
    arch::asm,
    cell::{Cell, UnsafeCell},
    mem::offset_of,
    ops::Range,
    ptr,
    sync::atomic::{AtomicBool, AtomicU32, AtomicU64},
};

use super::{
    registers::{cr3, wrmsr},
    segments::{Gdt, Tss},
    timer::Countdown,
};
use crate::{PhysAddr, paging::ActiveTables};

/// Length of a CPU's kernel stack. There is one stack for a CPU, whatever the number of threads.
pub(super) const STACK_SIZE: usize = 64 << 10;
/// Length of the stacks for NMI, double fault and machine check.
pub(super) const FAULT_STACK_SIZE: usize = 12 << 10;
/// How many there are of these.
pub(super) const FAULT_STACKS: usize = 3;

/// `MSR_GS_BASE` and `MSR_KERNEL_GS_BASE` (SDM volume 4): this half's and the other's, exchanged by `swapgs`.
const GS_BASE: u32 = 0xc000_0101;
pub(super) const KERNEL_GS_BASE: u32 = 0xc000_0102;

/// A CPU's data. Assembly uses the first fields by their offsets.
#[repr(C, align(64))]
pub(super) struct PerCpu {
    /// Where this lies.
    this: *const PerCpu,
    /// The kernel's stack pointer while user code runs.
    stack: Cell<usize>,
    /// Where the registers of the running user thread are stored at a trap.
    registers: Cell<usize>,
    /// Where its vector registers are stored.
    pub(super) area: Cell<*mut u8>,
    /// A register's place for some instructions of the entry.
    scratch: Cell<u64>,
    /// Vector of the interrupt that ended the CPU's sleep, or 0.
    pub(super) pending: Cell<u64>,
    /// The address space in CR3.
    pub(super) root: Cell<PhysAddr>,
    /// Its tables, which live as long as the processor may walk them.
    pub(super) active: UnsafeCell<Option<ActiveTables>>,
    /// Whose vector registers the CPU holds: an XSAVE area, or null.
    pub(super) owner: Cell<*mut u8>,
    /// Whether it holds more than the area does, since the owner's user code has run.
    pub(super) unsaved: Cell<bool>,
    /// Number of the CPU, from 0 on.
    pub(super) index: usize,
    /// The local APIC's timer.
    pub(super) countdown: Countdown,
    /// The addresses of the kernel's stack.
    pub(super) stack_range: UnsafeCell<Range<usize>>,
    /// What other CPUs look at.
    pub(super) shared: Shared,
    /// Where the processor pushes five words at an exception or interrupt of user code.
    entry_stack: UnsafeCell<[u64; 32]>,
    /// The same for debug exceptions, which may come at the first instruction of any entry, with user code's stack pointer: `mov ss` holds them up by
    /// an instruction, which may be the one that enters (SDM volume 3, section 7.8.3).
    debug_stack: UnsafeCell<[u64; 32]>,
    pub(super) gdt: UnsafeCell<Gdt>,
    pub(super) tss: UnsafeCell<Tss>,
}

/// The part of a CPU's data that others read and write, in a cache line of its own.
#[repr(align(64))]
pub(super) struct Shared {
    /// Its identifier in interrupt messages.
    pub(super) apic_id: AtomicU32,
    /// User memory is within its reach: user code runs, or a copy from or to user memory. See [`super::shootdown`].
    pub(super) reaches_user: AtomicBool,
    /// How often others have asked it to forget translations, and up to which of these it has done so.
    pub(super) asked: AtomicU64,
    pub(super) done: AtomicU64,
}

/// Offsets for assembly.
pub(super) const STACK: usize = offset_of!(PerCpu, stack);
pub(super) const REGISTERS: usize = offset_of!(PerCpu, registers);
pub(super) const AREA: usize = offset_of!(PerCpu, area);
pub(super) const SCRATCH: usize = offset_of!(PerCpu, scratch);
pub(super) const PENDING: usize = offset_of!(PerCpu, pending);

// SAFETY: every CPU uses its own only, but for `shared`, and the kernel is not interrupted while it does.
unsafe impl Sync for PerCpu {}

pub(super) static BOOT_CPU: PerCpu = PerCpu::new(&raw const BOOT_CPU, 0);

/// A stack for an exception that must not use the present one. The lowest bytes are no guard page: its handlers'
/// depth is known.
#[repr(C, align(16))]
struct FaultStack(UnsafeCell<[u8; FAULT_STACK_SIZE]>);

// SAFETY: only the processor and its handler use it.
unsafe impl Sync for FaultStack {}

static BOOT_FAULT_STACKS: [FaultStack; FAULT_STACKS] =
    [const { FaultStack(UnsafeCell::new([0; FAULT_STACK_SIZE])) }; FAULT_STACKS];

impl PerCpu {
    /// The data of CPU `index`, which will lie at `this`.
    pub(super) const fn new(this: *const Self, index: usize) -> Self {
        Self {
            this,
            stack: Cell::new(0),
            registers: Cell::new(0),
            area: Cell::new(ptr::null_mut()),
            scratch: Cell::new(0),
            pending: Cell::new(0),
            root: Cell::new(PhysAddr::new(0)),
            active: UnsafeCell::new(None),
            owner: Cell::new(ptr::null_mut()),
            unsaved: Cell::new(false),
            index,
            countdown: Countdown::new(),
            stack_range: UnsafeCell::new(0..0),
            shared: Shared {
                apic_id: AtomicU32::new(0),
                reaches_user: AtomicBool::new(false),
                asked: AtomicU64::new(0),
                done: AtomicU64::new(0),
            },
            entry_stack: UnsafeCell::new([0; 32]),
            debug_stack: UnsafeCell::new([0; 32]),
            gdt: UnsafeCell::new(Gdt::new()),
            tss: UnsafeCell::new(Tss::new()),
        }
    }

    /// This CPU's data.
    #[inline]
    pub(super) fn get() -> &'static Self {
        let this: *const Self;
        // SAFETY: in the kernel `gs` leads to this CPU's data, whose first word is its address.
        unsafe {
            asm!("mov {}, gs:[0]", out(reg) this, options(pure, readonly, nostack, preserves_flags));
            &*this
        }
    }

    /// The ends of the boot CPU's stacks for faults.
    pub(super) fn boot_fault_stacks() -> [usize; FAULT_STACKS] {
        // SAFETY: one behind the end of each static is still its address.
        BOOT_FAULT_STACKS.each_ref().map(|stack| unsafe { stack.0.get().add(1) as usize })
    }

    /// Gives the CPU that runs this its data, segments and stacks.
    ///
    /// # Safety
    /// Called once for each CPU, on it, first of all. The stacks are its own: the present one, and those for faults.
    pub(super) unsafe fn install(&'static self, stack: Range<usize>, fault_stacks: [usize; FAULT_STACKS]) {
        // SAFETY: nobody else has a reference yet; the descriptors and stacks stay for good.
        unsafe {
            *self.stack_range.get() = stack;
            let tss = &mut *self.tss.get();
            tss.set_stack(self.entry_stack.get().add(1) as usize);
            for (index, top) in fault_stacks.into_iter().enumerate() {
                tss.set_fault_stack(index, top);
            }
            tss.set_fault_stack(FAULT_STACKS, self.debug_stack.get().add(1) as usize);
            (*self.gdt.get()).load(self.tss.get());
            wrmsr(GS_BASE, &raw const *self as u64);
            wrmsr(KERNEL_GS_BASE, 0);
        }
        self.root.set(PhysAddr::new(cr3()));
    }
}
