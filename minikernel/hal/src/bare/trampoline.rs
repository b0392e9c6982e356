//! From real mode, in which a processor starts, to the high half (SDM volume 3, section 9.4.4): code that is copied below 1 MiB.

use core::{
    arch::global_asm,
    sync::atomic::{AtomicU64, Ordering},
};

use super::{
    direct::{direct, map_direct},
    layout::image_phys,
    processors,
    segments::KERNEL_STACK,
};
use crate::{PhysAddr, PhysRange, cpu::features, memory::OutOfMemory};

/// Where the code is copied to, and beside it the tables to start with. The allocator knows nothing below 1 MiB, and every machine has RAM
/// here.
const CODE: u64 = 0x8000;
const ROOT: u64 = 0x9000;
const LEN: u64 = 0x2000;

/// What the processor starts with: long mode, system calls, and the ability to forbid execution where it has that.
const LONG_MODE_AND_SYSCALL: u32 = 1 << 8 | 1;
const NO_EXECUTE: u32 = 1 << 11;

unsafe extern "C" {
    safe static trampoline: u8;
    safe static trampoline_abilities: u8;
    safe static trampoline_end: u8;
    safe static root_table: [AtomicU64; 512];
    safe static early_pointers: [AtomicU64; 512];
}

/// Puts the code and its tables in place; the number of the page at which a processor starts. The tables map the lowest 16 MiB where
/// they are, besides the kernel's half.
pub(super) fn install() -> Result<u8, OutOfMemory> {
    map_direct(PhysRange::new(PhysAddr::new(CODE), LEN), &mut || None)?;
    let start = &raw const trampoline;
    let len = &raw const trampoline_end as usize - start as usize;
    let abilities = &raw const trampoline_abilities as usize - start as usize;
    let efer = LONG_MODE_AND_SYSCALL | if features().nx { NO_EXECUTE } else { 0 };
    // SAFETY: the two pages are mapped, and nobody else's. The code is shorter than a page.
    let root = unsafe {
        let code = direct(PhysAddr::new(CODE));
        code.copy_from_nonoverlapping(start, len);
        code.add(abilities).cast::<u32>().write_unaligned(efer);
        &*direct(PhysAddr::new(ROOT)).cast::<[AtomicU64; 512]>()
    };
    for (slot, entry) in root.iter().zip(&root_table) {
        slot.store(entry.load(Ordering::Relaxed), Ordering::Relaxed);
    }
    let early = image_phys(early_pointers.as_ptr() as usize).as_u64();
    root[0].store(early | 3, Ordering::SeqCst);
    Ok((CODE >> 12) as u8)
}

global_asm!(
    ".pushsection .rodata, \"a\"",
    ".balign 16",
    ".globl trampoline",
    "trampoline:",
    ".code16",
    "cli",
    "cld",
    "movw %cs, %ax",
    "movw %ax, %ds",
    // As at the boot CPU's entry.
    "movl ${CR4}, %eax",
    "movl %eax, %cr4",
    "movl ${ROOT}, %eax",
    "movl %eax, %cr3",
    "movl ${EFER}, %ecx",
    "movl trampoline_abilities - trampoline, %eax",
    "xorl %edx, %edx",
    "wrmsr",
    "lgdtl trampoline_gdt_pointer - trampoline",
    "movl ${CR0}, %eax",
    "movl %eax, %cr0",
    // ljmpl $8, $trampoline_64
    ".byte 0x66, 0xea",
    ".long trampoline_64 - trampoline + {CODE}",
    ".word 8",
    ".balign 8",
    "trampoline_gdt:",
    ".quad 0",
    ".quad 0x00af9b000000ffff",
    ".quad 0x00cf93000000ffff",
    "trampoline_gdt_pointer:",
    ".word 23",
    ".long trampoline_gdt - trampoline + {CODE}",
    ".balign 4",
    ".globl trampoline_abilities",
    "trampoline_abilities: .long 0",
    // The processors start all at once; each takes a number, and with it a stack.
    "trampoline_next: .long 1",
    ".code64",
    "trampoline_64:",
    "xorl %eax, %eax",
    "movl %eax, %ds",
    "movl %eax, %es",
    "movl %eax, %fs",
    "movl %eax, %gs",
    "movl ${KERNEL_STACK}, %eax",
    "movl %eax, %ss",
    "movl $1, %edi",
    "lock xaddl %edi, trampoline_next(%rip)",
    "cmpl ${MOST}, %edi",
    "jae 2f",
    "movq {STACKS}(,%rdi,8), %rsp",
    "testq %rsp, %rsp",
    "jz 2f",
    "movq ${run}, %rax",
    "callq *%rax",
    // More processors than are wanted.
    "2: cli",
    "hlt",
    "jmp 2b",
    ".globl trampoline_end",
    "trampoline_end:",
    ".popsection",
    CR4 = const super::entry::CR4,
    CR0 = const super::entry::CR0,
    EFER = const super::entry::EFER,
    ROOT = const ROOT,
    CODE = const CODE,
    KERNEL_STACK = const KERNEL_STACK,
    MOST = const processors::MOST,
    STACKS = sym processors::STACKS,
    run = sym processors::run,
    options(att_syntax),
);
