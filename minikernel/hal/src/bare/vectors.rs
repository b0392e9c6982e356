//! The interrupt descriptor table and the code behind its gates.
//!
//! User code may trap anywhere; the kernel itself only in five ways: a copy from or to user memory faults and is
//! continued at the place that `.extable` names, or meets a breakpoint, a device interrupts the idle CPU, code is reached that is still
//! packed, or the kernel has an error.

use alloc::alloc::{alloc, dealloc};
use core::{
    alloc::Layout,
    arch::{asm, global_asm},
};

use super::{
    debug, percpu,
    segments::{KERNEL_CODE, Pointer},
};
use crate::{cpu::cpuid, memory::OutOfMemory, sync::Once};

/// Where the linker script puts the code of gate 0; the others follow at this distance.
const CODE: u64 = 0xffff_ffff_8020_1000;
const DISTANCE: u64 = 16;

/// Vectors with a meaning here (SDM volume 3, table 7-1).
pub(super) const DEBUG: usize = 1;
const NMI: usize = 2;
const BREAKPOINT: usize = 3;
const OVERFLOW: usize = 4;
const DOUBLE_FAULT: usize = 8;
pub(super) const PAGE_FAULT: u64 = 14;
const MACHINE_CHECK: usize = 18;

/// The table is a constant: nothing is written at boot, and nothing can be written later.
#[repr(C, align(16))]
struct Idt([[u64; 2]; 256]);

static IDT: Idt = Idt::new();

/// The table for QEMU's emulator, once it is wanted.
static EMULATORS: Once<&Idt> = Once::new();

impl Idt {
    const fn new() -> Self {
        let mut gates = [[0; 2]; 256];
        let mut vector = 0;
        while vector < 256 {
            let code = CODE + vector as u64 * DISTANCE;
            let stack = match vector {
                NMI => 1,
                DOUBLE_FAULT => 2,
                MACHINE_CHECK => 3,
                DEBUG => 4,
                _ => 0,
            };
            // `int3` and `into` may be executed by user code; other vectors cannot be called by `int`.
            let level = if vector == BREAKPOINT || vector == OVERFLOW { 3 } else { 0 };
            // SDM volume 3, figure 7-8: an interrupt gate, which keeps interrupts off.
            let attributes = 0x8e00 | level << 13 | stack;
            gates[vector] = [
                code & 0xffff | (KERNEL_CODE as u64) << 16 | attributes << 32 | (code >> 16 & 0xffff) << 48,
                code >> 32,
            ];
            vector += 1;
        }
        Self(gates)
    }
}

/// Makes the table the CPU's.
pub(super) fn load() {
    load_table(&IDT);
}

/// Makes what is needed for debug exceptions. QEMU's emulator delivers a breakpoint and a single step of one instruction one after the other, the
/// second behind the gate of the first, whose frame it would overwrite if both had the same stack. It does not hold up exceptions behind `mov ss`,
/// for which they have a stack of their own elsewhere. So there they have none.
pub(super) fn prepare_debug() -> Result<(), OutOfMemory> {
    // A processor that does not know the leaf answers with another, which has no such bytes.
    let name = cpuid(0x4000_0000);
    let emulator = [*b"TCGT", *b"CGTC", *b"GTCG"].map(u32::from_le_bytes);
    if EMULATORS.get().is_some() || [name.ebx, name.ecx, name.edx] != emulator {
        return Ok(());
    }
    let mut table = Idt::new();
    table.0[DEBUG][0] &= !(7 << 32);
    // SAFETY: the layout is not empty; what was allocated is written as a whole, and stays for good.
    let table = unsafe {
        let place = alloc(Layout::new::<Idt>()).cast::<Idt>();
        if place.is_null() {
            return Err(OutOfMemory);
        }
        place.write(table);
        &*place
    };
    if let Err(table) = EMULATORS.set(table) {
        // SAFETY: another CPU was faster, and nobody has seen this one.
        unsafe { dealloc(core::ptr::from_ref(table).cast_mut().cast(), Layout::new::<Idt>()) };
    }
    Ok(())
}

/// Has debug exceptions come in the way that was prepared.
pub(super) fn load_debug() {
    if let Some(table) = EMULATORS.get() {
        load_table(table);
    }
}

fn load_table(table: &'static Idt) {
    let pointer = Pointer { limit: size_of::<Idt>() as u16 - 1, base: &raw const *table as u64 };
    // SAFETY: every gate leads to code that the linker script has put there, asserted at link time.
    unsafe { asm!("lidt [{}]", in(reg) &raw const pointer, options(readonly, nostack, preserves_flags)) };
}

/// What the kernel's own trap leaves on the stack: the order in which `kernel_trap` pushes.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(super) struct TrapFrame {
    pub(super) r15: u64,
    pub(super) r14: u64,
    pub(super) r13: u64,
    pub(super) r12: u64,
    pub(super) r11: u64,
    pub(super) r10: u64,
    pub(super) r9: u64,
    pub(super) r8: u64,
    pub(super) rbp: u64,
    pub(super) rdi: u64,
    pub(super) rsi: u64,
    pub(super) rdx: u64,
    pub(super) rcx: u64,
    pub(super) rbx: u64,
    pub(super) rax: u64,
    pub(super) vector: u64,
    pub(super) error: u64,
    pub(super) rip: u64,
    pub(super) cs: u64,
    pub(super) rflags: u64,
    pub(super) rsp: u64,
    pub(super) ss: u64,
}

global_asm!(
    ".pushsection .text.vectors, \"ax\"",
    ".globl vectors",
    "vectors:",
    ".set vector, 0",
    ".rept 256",
    ".balign {DISTANCE}",
    // The processor pushes an error code itself for these; elsewhere a zero stands in for it.
    ".if (vector == 8) || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21 || vector == 29 || vector == 30",
    ".else",
    "push 0",
    ".endif",
    "push vector",
    ".if vector == {NMI} || vector == {DOUBLE_FAULT} || vector == {MACHINE_CHECK}",
    "jmp fault_entry",
    ".elseif vector == {DEBUG}",
    "jmp debug_entry",
    ".else",
    "jmp trap_entry",
    ".endif",
    ".set vector, vector + 1",
    ".endr",

    // On the stack: vector, error, rip, cs, rflags, rsp, ss.
    "trap_entry:",
    "cld",
    "test byte ptr [rsp + 24], 3",
    "jnz user_trap",
    "cmp dword ptr [rsp], 32",
    "jb kernel_exception",

    // An interrupt while the CPU sleeps: note it, and go on behind the sleep with interrupts off.
    "push rax",
    "mov eax, [rsp + 8]",
    "mov gs:[{PENDING}], rax",
    "and dword ptr [rsp + 40], ~0x200",
    "pop rax",
    "add rsp, 16",
    "iretq",

    // A breakpoint of user code's, or a single step. The kernel itself meets breakpoints in copies, and at the first instruction of an entry, with
    // user code's `gs`. It forgets them and goes on, but where an emulator has still to tell of what user code has met (see `prepare_debug`).
    "debug_entry:",
    "cld",
    "test byte ptr [rsp + 24], 3",
    "jnz user_trap",
    "cmp qword ptr [rsp + 16], offset vectors + {DEBUG} * {DISTANCE}",
    "je 5f",
    "push rax",
    "mov eax, {NOTHING}",
    "mov dr6, rax",
    "pop rax",
    "5: add rsp, 16",
    "iretq",

    // A fault in the kernel. If the instruction is in the table, its copy ends there.
    "kernel_exception:",
    "push rax",
    "push rcx",
    "mov rax, [rsp + 32]",
    "mov rcx, offset extable_start",
    "2: cmp rcx, offset extable_end",
    "jae 3f",
    "cmp rax, [rcx]",
    "je 4f",
    "add rcx, 16",
    "jmp 2b",
    // But a part of the instruction itself may lie in a page of packed code that nobody has been to.
    "4: cmp dword ptr [rsp + 16], {PAGE_FAULT}",
    "jne 6f",
    "mov rax, cr2",
    "cmp rax, offset packed_start",
    "jb 6f",
    "cmp rax, offset packed_end",
    "jb 3f",
    "6: mov rax, [rcx + 8]",
    "mov [rsp + 32], rax",
    "pop rcx",
    "pop rax",
    "add rsp, 16",
    "iretq",
    "3: pop rcx",
    "pop rax",

    // NMI, double fault, machine check, on stacks of their own: they may come at any instruction, with either half's
    // `gs`, so nothing here uses it. An NMI returns; all that the handler's code may change is saved.
    "fault_entry:",
    "cld",
    "push rax",
    "push rbx",
    "push rcx",
    "push rdx",
    "push rsi",
    "push rdi",
    "push rbp",
    "push r8",
    "push r9",
    "push r10",
    "push r11",
    "push r12",
    "push r13",
    "push r14",
    "push r15",
    "mov rdi, rsp",
    "mov rbp, rsp",
    "sub rsp, 528",
    "and rsp, -16",
    "fxsave64 [rsp]",
    "call {handler}",
    "fxrstor64 [rsp]",
    "mov rsp, rbp",
    "pop r15",
    "pop r14",
    "pop r13",
    "pop r12",
    "pop r11",
    "pop r10",
    "pop r9",
    "pop r8",
    "pop rbp",
    "pop rdi",
    "pop rsi",
    "pop rdx",
    "pop rcx",
    "pop rbx",
    "pop rax",
    "add rsp, 16",
    "iretq",
    ".popsection",
    DISTANCE = const DISTANCE,
    DEBUG = const DEBUG,
    NOTHING = const debug::NOTHING,
    NMI = const NMI,
    PAGE_FAULT = const PAGE_FAULT,
    DOUBLE_FAULT = const DOUBLE_FAULT,
    MACHINE_CHECK = const MACHINE_CHECK,
    PENDING = const percpu::PENDING,
    handler = sym super::fault::kernel_fault,
);
