//! Segments: as few as 64-bit mode and `sysret` need.

use core::arch::asm;

/// The kernel's code segment; `syscall` wants the stack segment behind it.
pub(super) const KERNEL_CODE: u16 = 0x08;
/// The kernel's stack segment, which `syscall` loads. A trap of user code leaves a null selector there, which serves as well; but an
/// emulator keeps what it translated by the segment's size too and would translate the kernel once more, so the traps load it.
pub(super) const KERNEL_STACK: u16 = 0x10;
/// What `sysret` counts from: stack and code segment of user code follow.
pub(super) const USER_BASE: u16 = 0x18;
/// Selectors of user code, with its privilege level.
pub(super) const USER_STACK: u16 = 0x23;
pub(super) const USER_CODE: u16 = 0x2b;
const TASK: u16 = 0x30;

/// The global descriptor table (SDM volume 3, section 3.4.5). The accessed bits are set, so that the processor need not.
#[repr(C, align(16))]
pub(super) struct Gdt([u64; 8]);

impl Gdt {
    pub(super) const fn new() -> Self {
        Self([
            0,
            // 64-bit code and data of the kernel.
            0x00af_9b00_0000_ffff,
            0x00cf_9300_0000_ffff,
            // 32-bit code of the user: never used, but `sysret` leaves room for it.
            0,
            // Data and 64-bit code of the user.
            0x00cf_f300_0000_ffff,
            0x00af_fb00_0000_ffff,
            // The task state segment, two entries long.
            0,
            0,
        ])
    }

    /// Makes this the CPU's table, with `tss` as its task state.
    ///
    /// # Safety
    /// Both stay where they are for good, and nothing else changes them but the processor.
    pub(super) unsafe fn load(&mut self, tss: *const Tss) {
        let base = tss as u64;
        // SDM volume 3, figure 8-4: an available 64-bit TSS.
        self.0[6] =
            (size_of::<Tss>() as u64 - 1) | (base & 0xff_ffff) << 16 | 0x89 << 40 | (base >> 24 & 0xff) << 56;
        self.0[7] = base >> 32;
        let pointer = Pointer { limit: size_of::<Self>() as u16 - 1, base: self.0.as_ptr() as u64 };
        // SAFETY: the table is complete. The code segment is the one that the far return loads; data segments
        // have no meaning in 64-bit mode but the stack segment, which may be null in ring 0.
        unsafe {
            asm!(
                "lgdt [{pointer}]",
                "push {code}",
                "lea {scratch}, [rip + 2f]",
                "push {scratch}",
                "retfq",
                "2:",
                "ltr {task:x}",
                pointer = in(reg) &raw const pointer,
                code = in(reg) u64::from(KERNEL_CODE),
                task = in(reg) TASK,
                scratch = out(reg) _,
                options(preserves_flags),
            );
        }
    }
}

/// Operand of `lgdt` and `lidt`.
#[repr(C, packed)]
pub(super) struct Pointer {
    pub(super) limit: u16,
    pub(super) base: u64,
}

/// The 64-bit task state segment (SDM volume 3, section 8.7): the stacks that the processor switches to.
#[repr(C, packed(4))]
pub(super) struct Tss {
    reserved_0: u32,
    stacks: [u64; 3],
    reserved_1: u64,
    fault_stacks: [u64; 7],
    reserved_2: [u16; 5],
    io_map: u16,
}

impl Tss {
    pub(super) const fn new() -> Self {
        Self {
            reserved_0: 0,
            stacks: [0; 3],
            reserved_1: 0,
            fault_stacks: [0; 7],
            reserved_2: [0; 5],
            // Behind the segment's limit: no port is open to user code.
            io_map: size_of::<Self>() as u16,
        }
    }

    /// Sets the stack for traps of user code.
    pub(super) fn set_stack(&mut self, top: usize) {
        self.stacks[0] = top as u64;
    }

    /// Sets stack `index`, from 0 on, for gates that name `index + 1`.
    pub(super) fn set_fault_stack(&mut self, index: usize, top: usize) {
        self.fault_stacks[index] = top as u64;
    }
}
