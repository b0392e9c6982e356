//! Loaders that QEMU does not have. They come in the image: QEMU starts them by PVH, and they have ready in memory what
//! a loader would have prepared.

use std::arch::global_asm;

use super::image::{add_segment, put, u32_at, u64_at};

/// Where a loader lies: its code, its segments, its tables, then what it tells the kernel.
const AT: u64 = 0x90_0000;
const SEGMENTS: u64 = AT + 0x800;
const SEGMENTS_POINTER: u64 = AT + 0x820;
/// Holds the kernel's entry.
const ENTRY: u64 = AT + 0x840;
const TABLES: u64 = AT + 0x1000;
/// Linux' zero page, or PVH's start info.
const INFO: u64 = AT + 0x4000;
const COMMAND_LINE: u64 = AT + 0x5000;
const SETUP_DATA: u64 = AT + 0x5800;
const END: u64 = AT + 0x6000;

global_asm!(
    ".pushsection .rodata.loaders, \"a\"",
    ".code32",
    // As Firecracker does: protected mode to long mode, then to the kernel's entry with rsi = zero page.
    "linux_loader_start:",
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
    ".long {AT} + 2f - linux_loader_start",
    ".word 0x10",
    ".code64",
    "2: mov esi, {INFO}",
    "mov rax, [{ENTRY}]",
    "jmp rax",
    "linux_loader_end:",
    // PVH once more, with another start info.
    ".code32",
    "pvh_loader_start:",
    "mov ebx, {INFO}",
    "jmp dword ptr [{ENTRY}]",
    "pvh_loader_end:",
    ".code64",
    ".popsection",
    AT = const AT,
    SEGMENTS_POINTER = const SEGMENTS_POINTER,
    ENTRY = const ENTRY,
    TABLES = const TABLES,
    INFO = const INFO,
);

unsafe extern "C" {
    static linux_loader_start: u8;
    static linux_loader_end: u8;
    static pvh_loader_start: u8;
    static pvh_loader_end: u8;
}

/// The bytes between two labels.
///
/// # Safety
/// They enclose constants.
unsafe fn code(start: *const u8, end: *const u8) -> &'static [u8] {
    // SAFETY: the caller's promise.
    unsafe { std::slice::from_raw_parts(start, end.offset_from_unsigned(start)) }
}

/// A loader's memory.
struct Loader(Vec<u8>);

impl Loader {
    fn new(code: &[u8], entry: u64, command_line: &str) -> Self {
        let mut loader = Self(vec![0; (END - AT) as usize]);
        loader.set(AT, code);
        loader.set(ENTRY, &entry.to_le_bytes());
        loader.set(COMMAND_LINE, command_line.as_bytes());
        loader
    }

    fn set(&mut self, at: u64, bytes: &[u8]) {
        put(&mut self.0, (at - AT) as usize, bytes);
    }

    /// The kernel with this loader, which is started in its stead.
    fn wrap(self, kernel: &[u8]) -> Vec<u8> {
        let mut image = kernel.to_vec();
        let entry = pvh_entry(&image);
        put(&mut image, entry, &(AT as u32).to_le_bytes());
        add_segment(&mut image, AT, &self.0);
        image
    }
}

/// Where the PVH note has its entry: behind the lengths, type 18 and "Xen".
fn pvh_entry(image: &[u8]) -> usize {
    let is_note = |at: &usize| u32_at(image, at + 8) == 18 && &image[at + 12..at + 16] == b"Xen\0";
    (0..image.len() - 20).step_by(4).find(is_note).unwrap() + 16
}

/// The kernel with a loader that enters it by Linux' 64-bit protocol, and tells it of so much memory.
pub fn start_by_linux_entry(kernel: &[u8], memory: u64, command_line: &str) -> Vec<u8> {
    // SAFETY: the labels enclose constants.
    let code = unsafe { code(&raw const linux_loader_start, &raw const linux_loader_end) };
    let mut loader = Loader::new(code, u64_at(kernel, 24), command_line);
    for (index, segment) in [0u64, 0, 0x00af_9b00_0000_ffff, 0x00cf_9300_0000_ffff].into_iter().enumerate() {
        loader.set(SEGMENTS + index as u64 * 8, &segment.to_le_bytes());
    }
    loader.set(SEGMENTS_POINTER, &31u16.to_le_bytes());
    loader.set(SEGMENTS_POINTER + 2, &(SEGMENTS as u32).to_le_bytes());
    // Identity, 1 GiB by pages of 2 MiB.
    loader.set(TABLES, &(TABLES + 0x1003).to_le_bytes());
    loader.set(TABLES + 0x1000, &(TABLES + 0x2003).to_le_bytes());
    for page in 0..512 {
        loader.set(TABLES + 0x2000 + page * 8, &(page << 21 | 0x83).to_le_bytes());
    }
    let map =
        [(0, 0x9_fc00, 1u32), (0x9_fc00, 0x6_0400, 2), (0x10_0000, memory - 0x10_0000, 1), (AT, END - AT, 2)];
    loader.set(INFO + 0x1e8, &[map.len() as u8]);
    for (index, (start, len, kind)) in map.into_iter().enumerate() {
        let entry = INFO + 0x2d0 + index as u64 * 20;
        loader.set(entry, &u64::to_le_bytes(start));
        loader.set(entry + 8, &u64::to_le_bytes(len));
        loader.set(entry + 16, &kind.to_le_bytes());
    }
    loader.set(INFO + 0x228, &(COMMAND_LINE as u32).to_le_bytes());
    // Random bytes of a loader that is not random: next = 0, type 9, length 32.
    loader.set(INFO + 0x250, &SETUP_DATA.to_le_bytes());
    loader.set(SETUP_DATA + 8, &9u32.to_le_bytes());
    loader.set(SETUP_DATA + 12, &32u32.to_le_bytes());
    loader.set(SETUP_DATA + 16, &[7; 32]);
    loader.wrap(kernel)
}

/// The magic number of PVH's start info.
pub const PVH_MAGIC: u32 = 0x336e_c578;

/// The kernel with a loader that enters it by PVH, with a start info of version 0.
pub fn start_by_old_pvh(kernel: &[u8], magic: u32, command_line: &str) -> Vec<u8> {
    // SAFETY: the labels enclose constants.
    let code = unsafe { code(&raw const pvh_loader_start, &raw const pvh_loader_end) };
    let mut loader = Loader::new(code, u64::from(u32_at(kernel, pvh_entry(kernel))), command_line);
    loader.set(INFO, &magic.to_le_bytes());
    loader.set(INFO + 24, &COMMAND_LINE.to_le_bytes());
    loader.wrap(kernel)
}
