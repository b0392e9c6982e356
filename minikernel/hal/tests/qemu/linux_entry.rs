//! A loader that starts the kernel by Linux' 64-bit boot protocol, as Firecracker does. QEMU does not, so the loader
//! comes in the image: PVH starts it, and it has its tables and the zero page ready.

use std::arch::global_asm;

use super::image::{add_segment, put, u32_at, u64_at};

/// Where the loader lies: its code, its segments, its tables, the zero page and what that names.
const AT: u64 = 0x90_0000;
const SEGMENTS: u64 = AT + 0x800;
const SEGMENTS_POINTER: u64 = AT + 0x820;
/// Holds the kernel's entry.
const ENTRY: u64 = AT + 0x840;
const TABLES: u64 = AT + 0x1000;
const ZERO_PAGE: u64 = AT + 0x4000;
const COMMAND_LINE: u64 = AT + 0x5000;
const SETUP_DATA: u64 = AT + 0x5800;
const END: u64 = AT + 0x6000;

// Protected mode to long mode, then to the kernel's entry with rsi = zero page.
global_asm!(
    ".pushsection .rodata.linux_entry, \"a\"",
    ".code32",
    "linux_entry_start:",
    "mov eax, cr4",
    "or eax, 0x20",
    "mov cr4, eax",
    "mov eax, {TABLES}",
    "mov cr3, eax",
    "mov ecx, 0xc0000080",
    "rdmsr",
    "or eax, 0x100",
    "wrmsr",
    "mov eax, cr0",
    "or eax, 0x80000000",
    "mov cr0, eax",
    "lgdt [{SEGMENTS_POINTER}]",
    // ljmp 0x10:2f, the selector that the protocol names
    ".byte 0xea",
    ".long {AT} + 2f - linux_entry_start",
    ".word 0x10",
    ".code64",
    "2: mov esi, {ZERO_PAGE}",
    "mov rax, [{ENTRY}]",
    "jmp rax",
    "linux_entry_end:",
    ".popsection",
    AT = const AT,
    SEGMENTS_POINTER = const SEGMENTS_POINTER,
    ENTRY = const ENTRY,
    TABLES = const TABLES,
    ZERO_PAGE = const ZERO_PAGE,
);

unsafe extern "C" {
    static linux_entry_start: u8;
    static linux_entry_end: u8;
}

/// The kernel with a loader that tells it of so much memory and of this command line.
pub fn wrap(kernel: &[u8], memory: u64, command_line: &str) -> Vec<u8> {
    // SAFETY: the two labels enclose constants.
    let code = unsafe {
        let (start, end) = (&raw const linux_entry_start, &raw const linux_entry_end);
        std::slice::from_raw_parts(start, end.offset_from_unsigned(start))
    };
    let mut loader = vec![0; (END - AT) as usize];
    let mut set = |at: u64, bytes: &[u8]| put(&mut loader, (at - AT) as usize, bytes);
    set(AT, code);
    set(ENTRY, &u64_at(kernel, 24).to_le_bytes());
    for (index, segment) in [0u64, 0, 0x00af_9b00_0000_ffff, 0x00cf_9300_0000_ffff].into_iter().enumerate() {
        set(SEGMENTS + index as u64 * 8, &segment.to_le_bytes());
    }
    set(SEGMENTS_POINTER, &31u16.to_le_bytes());
    set(SEGMENTS_POINTER + 2, &(SEGMENTS as u32).to_le_bytes());
    // Identity, 1 GiB by pages of 2 MiB.
    set(TABLES, &(TABLES + 0x1003).to_le_bytes());
    set(TABLES + 0x1000, &(TABLES + 0x2003).to_le_bytes());
    for page in 0..512 {
        set(TABLES + 0x2000 + page * 8, &(page << 21 | 0x83).to_le_bytes());
    }
    let map =
        [(0, 0x9_fc00, 1u32), (0x9_fc00, 0x6_0400, 2), (0x10_0000, memory - 0x10_0000, 1), (AT, END - AT, 2)];
    set(ZERO_PAGE + 0x1e8, &[map.len() as u8]);
    for (index, (start, len, kind)) in map.into_iter().enumerate() {
        let entry = ZERO_PAGE + 0x2d0 + index as u64 * 20;
        set(entry, &u64::to_le_bytes(start));
        set(entry + 8, &u64::to_le_bytes(len));
        set(entry + 16, &kind.to_le_bytes());
    }
    set(ZERO_PAGE + 0x228, &(COMMAND_LINE as u32).to_le_bytes());
    set(COMMAND_LINE, command_line.as_bytes());
    // Random bytes of a loader that is not random: next = 0, type 9, length 32.
    set(ZERO_PAGE + 0x250, &SETUP_DATA.to_le_bytes());
    set(SETUP_DATA + 8, &9u32.to_le_bytes());
    set(SETUP_DATA + 12, &32u32.to_le_bytes());
    set(SETUP_DATA + 16, &[7; 32]);

    let mut image = kernel.to_vec();
    // The PVH note: lengths, type 18, "Xen", then the entry.
    let note = (0..image.len() - 20)
        .step_by(4)
        .find(|&at| u32_at(&image, at + 8) == 18 && &image[at + 12..at + 16] == b"Xen\0")
        .unwrap();
    put(&mut image, note + 16, &(AT as u32).to_le_bytes());
    add_segment(&mut image, AT, &loader);
    image
}
