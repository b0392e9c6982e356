//! Access to user memory. An instruction that may fault is named in `.extable`, with the place where its copy goes on
//! if it does (see the vectors).

use core::arch::{asm, naked_asm};

use super::{percpu::PerCpu, shootdown};
use crate::cpu::features;

/// Copies in; how many bytes came.
pub(crate) unsafe fn copy_from_user(into: *mut u8, from: usize, len: usize) -> usize {
    let _open = Open::new();
    // SAFETY: the caller vouches for `into` and for `from` being in the user half; faults there are caught.
    len - unsafe { copy(into, core::ptr::with_exposed_provenance(from), len) }
}

/// Copies out; how many bytes went.
pub(crate) unsafe fn copy_to_user(to: usize, from: *const u8, len: usize) -> usize {
    let _open = Open::new();
    // SAFETY: as above, in the other direction.
    len - unsafe { copy(core::ptr::with_exposed_provenance_mut(to), from, len) }
}

/// Copies `len` bytes upwards; returns how many are left when a byte cannot be reached.
///
/// By words first: short copies in a loop, since a string instruction takes long to start. When a word faults, and for
/// the rest, byte by byte up to the very byte that faults. Clobbers only what the calling convention says, on all ways
/// out.
#[unsafe(naked)]
unsafe extern "C" fn copy(into: *mut u8, from: *const u8, len: usize) -> usize {
    naked_asm!(
        "mov rax, rdx",
        "cmp rdx, 64",
        "ja 9f",
        "2: cmp rax, 8",
        "jb 24f",
        "3: mov rcx, [rsi]",
        "4: mov [rdi], rcx",
        "add rsi, 8",
        "add rdi, 8",
        "sub rax, 8",
        "jmp 2b",
        "24: cmp rax, 4",
        "jb 5f",
        "25: mov ecx, [rsi]",
        "26: mov [rdi], ecx",
        "add rsi, 4",
        "add rdi, 4",
        "sub rax, 4",
        "5: test rax, rax",
        "jz 8f",
        "6: mov cl, [rsi]",
        "7: mov [rdi], cl",
        "inc rsi",
        "inc rdi",
        "dec rax",
        "jmp 5b",
        "8: ret",
        "9: mov rcx, rdx",
        "shr rcx, 3",
        "and edx, 7",
        "22: rep movsq",
        // Bytes left = 8 * words left + rest; after a fault there are words left.
        "23: lea rax, [rcx * 8 + rdx]",
        "jmp 5b",
        ".pushsection .extable, \"a\"",
        ".quad 3b, 5b",
        ".quad 4b, 5b",
        ".quad 25b, 5b",
        ".quad 26b, 5b",
        ".quad 6b, 8b",
        ".quad 7b, 8b",
        ".quad 22b, 23b",
        ".popsection",
    )
}

/// Loads a word.
pub(crate) unsafe fn user_load_u32(address: usize) -> Option<u32> {
    let _open = Open::new();
    let (value, fault): (u32, u32);
    // SAFETY: the address is in the user half; a fault goes on at 3 with the mark set.
    unsafe {
        asm!(
            "2: mov {value:e}, [{address}]",
            "xor {fault:e}, {fault:e}",
            "3:",
            ".pushsection .extable, \"a\"",
            ".quad 2b, 3b",
            ".popsection",
            address = in(reg) address, value = out(reg) value, fault = inout(reg) 1 => fault,
            options(nostack),
        );
    }
    (fault == 0).then_some(value)
}

/// Stores a word.
pub(crate) unsafe fn user_store_u32(address: usize, value: u32) -> Option<()> {
    let _open = Open::new();
    let fault: u32;
    // SAFETY: as for the load.
    unsafe {
        asm!(
            "2: mov [{address}], {value:e}",
            "xor {fault:e}, {fault:e}",
            "3:",
            ".pushsection .extable, \"a\"",
            ".quad 2b, 3b",
            ".popsection",
            address = in(reg) address, value = in(reg) value, fault = inout(reg) 1 => fault,
            options(nostack),
        );
    }
    (fault == 0).then_some(())
}

/// Compares and exchanges a word.
pub(crate) unsafe fn user_cmpxchg_u32(address: usize, old: u32, new: u32) -> Option<u32> {
    let _open = Open::new();
    let (before, fault): (u32, u32);
    // SAFETY: as for the load.
    unsafe {
        asm!(
            "2: lock cmpxchg [{address}], {new:e}",
            "mov {fault:e}, 0",
            "3:",
            ".pushsection .extable, \"a\"",
            ".quad 2b, 3b",
            ".popsection",
            address = in(reg) address, new = in(reg) new, inout("eax") old => before,
            fault = inout(reg) 1 => fault,
            options(nostack),
        );
    }
    (fault == 0).then_some(before)
}

/// While it lives, the kernel may reach user pages (SDM volume 3, section 4.6.1).
struct Open;

impl Open {
    #[expect(clippy::inline_always, reason = "part of every copy")]
    #[inline(always)]
    fn new() -> Self {
        if shootdown::several_run() {
            shootdown::begin(PerCpu::get());
        }
        if features().smap {
            // SAFETY: the processor has SMAP and so the instruction. Nothing but the copy runs until it is undone.
            unsafe { asm!("stac", options(nostack)) };
        }
        Self
    }
}

impl Drop for Open {
    #[expect(clippy::inline_always, reason = "part of every copy")]
    #[inline(always)]
    fn drop(&mut self) {
        if features().smap {
            // SAFETY: as above.
            unsafe { asm!("clac", options(nostack)) };
        }
        if shootdown::several_run() {
            shootdown::end(PerCpu::get());
        }
    }
}
