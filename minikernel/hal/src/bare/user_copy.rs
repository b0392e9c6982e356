//! Access to user memory. An instruction that may fault is named in `.extable`, with the place where its copy goes on
//! if it does (see the vectors).

use core::arch::{asm, naked_asm};

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
/// By words first. When one faults, the bytes that are left are copied one by one up to the very byte that faults.
/// Clobbers only what the calling convention says, on both ways out.
#[unsafe(naked)]
unsafe extern "C" fn copy(into: *mut u8, from: *const u8, len: usize) -> usize {
    naked_asm!(
        "mov rcx, rdx",
        "shr rcx, 3",
        "and edx, 7",
        "2: rep movsq",
        "3: mov ecx, edx",
        "4: rep movsb",
        "mov rax, rcx",
        "ret",
        // After a fault among the words: bytes left = 8 * words left + rest.
        "5: lea rcx, [rcx * 8 + rdx]",
        "6: rep movsb",
        "7: mov rax, rcx",
        "ret",
        ".pushsection .extable, \"a\"",
        ".quad 2b, 5b",
        ".quad 4b, 7b",
        ".quad 6b, 7b",
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
    #[inline]
    fn new() -> Self {
        if features().smap {
            // SAFETY: the processor has SMAP and so the instruction. Nothing but the copy runs until it is undone.
            unsafe { asm!("stac", options(nostack)) };
        }
        Self
    }
}

impl Drop for Open {
    #[inline]
    fn drop(&mut self) {
        if features().smap {
            // SAFETY: as above.
            unsafe { asm!("clac", options(nostack)) };
        }
    }
}
