//! The ways in: 32-bit by PVH or by Linux' boot protocol, 64-bit by the latter. All end in [`super::start::start`], in the high half.

use core::arch::global_asm;

use super::{percpu::STACK_SIZE, segments::KERNEL_STACK};

/// How the loader described the machine.
pub(super) const PVH: u64 = 0;
/// The loader filled Linux' zero page.
pub(super) const LINUX: u64 = 1;

/// PAE, OSFXSR, OSXMMEXCPT.
pub(super) const CR4: u32 = 1 << 5 | 1 << 9 | 1 << 10;
/// PG, AM, WP, NE, ET, MP, PE: no emulation, no lazy switching, read-only means the kernel too, and user code may have its alignment
/// checked.
pub(super) const CR0: u32 = 0x8005_0033;
/// The register of extended abilities.
pub(super) const EFER: u32 = 0xc000_0080;

global_asm!(
    // XEN_ELFNOTE_PHYS32_ENTRY: the 32-bit entry point (Xen, public/elfnote.h). Loaders compare the name with its zero.
    ".pushsection .note.pvh, \"a\", @note",
    ".balign 4",
    ".long 4, 4, 18",
    ".asciz \"Xen\"",
    ".long pvh_start",
    ".popsection",
    ".pushsection .boot.text, \"ax\"",
    // Fills the entries of the early tables that are not zero; `base` is a register. The lowest 16 MiB, which contain the image, appear
    // at 0 and at the image's place.
    ".macro fill_tables base",
    "mov \\base, offset root_table - {BASE}",
    "mov dword ptr [\\base], offset early_pointers - {BASE} + 3",
    "mov dword ptr [\\base + 256 * 8], offset direct_pointers - {BASE} + 3",
    "mov dword ptr [\\base + 511 * 8], offset high_pointers - {BASE} + 3",
    "mov dword ptr [\\base + 4096], offset early_directory - {BASE} + 3",
    "mov dword ptr [\\base + 2 * 4096], offset direct_directory - {BASE} + 3",
    "mov dword ptr [\\base + 3 * 4096 + 510 * 8], offset early_directory - {BASE} + 3",
    "mov dword ptr [\\base + 3 * 4096 + 511 * 8], offset window_directory - {BASE} + 3",
    ".set i, 0",
    ".rept 8",
    "mov dword ptr [\\base + 4 * 4096 + 8 * i], i * 0x200000 + 0x83",
    ".set i, i + 1",
    ".endr",
    ".endm",
    // PVH (Xen, misc/pvh.pandoc): protected mode, flat segments, paging off, interrupts off, ebx = start info. No stack.
    ".code32",
    ".globl pvh_start",
    "pvh_start:",
    // The 32-bit boot protocol of Linux ends here too: ebx = 0, esi = zero page.
    "mov edi, esi",
    "mov esi, {LINUX}",
    "test ebx, ebx",
    "jz 1f",
    "mov edi, ebx",
    "mov esi, {PVH}",
    "1:",
    "fill_tables ecx",
    // Four-level paging (SDM volume 3, section 10.8.5): PAE; with it SSE, which compiled code uses anywhere.
    "mov eax, cr4",
    "or eax, {CR4}",
    "mov cr4, eax",
    "mov eax, offset root_table - {BASE}",
    "mov cr3, eax",
    "mov ecx, {EFER}",
    "rdmsr",
    "or eax, {EFER_LME_SCE}",
    "wrmsr",
    "mov eax, {CR0}",
    "mov cr0, eax",
    "lgdt [boot_gdt_pointer]",
    // ljmp 8:boot_64
    ".byte 0xea",
    ".long boot_64",
    ".word 8",
    // Linux (Documentation/arch/x86/boot.rst, 64-bit boot protocol): long mode, identity-mapped, rsi = zero page.
    ".code64",
    ".globl linux_start",
    "linux_start:",
    "cli",
    "mov rdi, rsi",
    "mov esi, {LINUX}",
    "fill_tables rcx",
    "mov rax, cr4",
    "or eax, {CR4}",
    "mov cr4, rax",
    "mov eax, offset root_table - {BASE}",
    "mov cr3, rax",
    "mov eax, {CR0}",
    "mov cr0, rax",
    "lgdt [boot_gdt_pointer]",
    "boot_64:",
    "cld",
    // The loader's data segments may point anywhere.
    "xor eax, eax",
    "mov ds, eax",
    "mov es, eax",
    "mov fs, eax",
    "mov gs, eax",
    "mov eax, {KERNEL_STACK}",
    "mov ss, eax",
    "mov rsp, offset boot_stack + {STACK_SIZE}",
    "mov rax, offset {start}",
    "call rax",
    "ud2",
    ".balign 8",
    "boot_gdt:",
    ".quad 0",
    ".quad 0x00af9b000000ffff",
    ".quad 0x00cf93000000ffff",
    "boot_gdt_pointer:",
    ".word 23",
    ".quad boot_gdt",
    ".popsection",
    // The tables that the kernel starts with, and whose upper part it keeps.
    ".pushsection .bss.pages, \"aw\", @nobits",
    ".balign 4096",
    ".globl root_table, early_pointers, direct_pointers, high_pointers",
    "root_table: .skip 4096",
    "early_pointers: .skip 4096",
    "direct_pointers: .skip 4096",
    "high_pointers: .skip 4096",
    "early_directory: .skip 4096",
    ".globl direct_directory",
    "direct_directory: .skip 4096",
    ".globl window_directory",
    "window_directory: .skip 4096",
    // A page that is never mapped, so that a stack that overflows faults.
    ".globl stack_guard",
    "stack_guard: .skip 4096",
    ".globl boot_stack",
    "boot_stack: .skip {STACK_SIZE}",
    ".popsection",
    start = sym super::start::start,
    PVH = const PVH,
    LINUX = const LINUX,
    KERNEL_STACK = const KERNEL_STACK,
    BASE = const super::layout::KERNEL_BASE,
    STACK_SIZE = const STACK_SIZE,
    CR4 = const CR4,
    EFER = const EFER,
    EFER_LME_SCE = const 1 << 8 | 1,
    CR0 = const CR0,
);
