//! What each CPU has of its own, reached through `gs` while the kernel runs.

use core::{
    arch::asm,
    cell::{Cell, UnsafeCell},
    mem::offset_of,
    ptr,
};

use super::{
    registers::wrmsr,
    segments::{Gdt, Tss},
};
use crate::PhysAddr;

/// Length of a CPU's kernel stack. There is one stack for a CPU, whatever the number of threads.
pub(super) const STACK_SIZE: usize = 64 << 10;
/// Length of the stacks for NMI, double fault and machine check.
const FAULT_STACK_SIZE: usize = 12 << 10;

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
    /// Whose vector registers the CPU holds: an XSAVE area, or null.
    pub(super) owner: Cell<*mut u8>,
    /// Where the processor pushes five words at an exception or interrupt of user code.
    entry_stack: UnsafeCell<[u64; 32]>,
    pub(super) gdt: UnsafeCell<Gdt>,
    pub(super) tss: UnsafeCell<Tss>,
}

/// Offsets for assembly.
pub(super) const STACK: usize = offset_of!(PerCpu, stack);
pub(super) const REGISTERS: usize = offset_of!(PerCpu, registers);
pub(super) const AREA: usize = offset_of!(PerCpu, area);
pub(super) const SCRATCH: usize = offset_of!(PerCpu, scratch);
pub(super) const PENDING: usize = offset_of!(PerCpu, pending);

// SAFETY: every CPU uses its own only, and the kernel is not interrupted while it does.
unsafe impl Sync for PerCpu {}

static BOOT_CPU: PerCpu = PerCpu {
    this: &raw const BOOT_CPU,
    stack: Cell::new(0),
    registers: Cell::new(0),
    area: Cell::new(ptr::null_mut()),
    scratch: Cell::new(0),
    pending: Cell::new(0),
    root: Cell::new(PhysAddr::new(0)),
    owner: Cell::new(ptr::null_mut()),
    entry_stack: UnsafeCell::new([0; 32]),
    gdt: UnsafeCell::new(Gdt::new()),
    tss: UnsafeCell::new(Tss::new()),
};

/// A stack for an exception that must not use the present one. The lowest bytes are no guard page: its handlers'
/// depth is known.
#[repr(C, align(16))]
struct FaultStack(UnsafeCell<[u8; FAULT_STACK_SIZE]>);

// SAFETY: only the processor and its handler use it.
unsafe impl Sync for FaultStack {}

static FAULT_STACKS: [FaultStack; 3] = [const { FaultStack(UnsafeCell::new([0; FAULT_STACK_SIZE])) }; 3];

impl PerCpu {
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

    /// Gives the boot CPU its data, segments and stacks.
    ///
    /// # Safety
    /// Called once, first of all, on the boot CPU.
    pub(super) unsafe fn install() {
        let cpu = &BOOT_CPU;
        // SAFETY: nobody else has a reference yet; the descriptors and stacks are static.
        unsafe {
            let tss = &mut *cpu.tss.get();
            tss.set_stack(cpu.entry_stack.get().add(1) as usize);
            for (index, stack) in FAULT_STACKS.iter().enumerate() {
                tss.set_fault_stack(index, stack.0.get().add(1) as usize);
            }
            (*cpu.gdt.get()).load(cpu.tss.get());
            wrmsr(GS_BASE, &raw const *cpu as u64);
            wrmsr(KERNEL_GS_BASE, 0);
        }
        cpu.root.set(PhysAddr::new(super::registers::cr3()));
    }
}
