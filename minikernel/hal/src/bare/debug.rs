//! Debug registers (SDM volume 3, chapter 18): the breakpoints of a user thread are in the processor while it has the CPU, and only
//! addresses of the user half are among them.
//!
//! They are met by user code, which is a trap like others, and by the kernel's copies from and to user memory, which nobody is told of, as on
//! Linux.

use core::arch::asm;

use super::vectors;
use crate::{memory::OutOfMemory, user::Prefix};

/// DR6 when nothing was met: the bits that are always set.
pub(super) const NOTHING: u32 = 0xffff_0ff0;
/// What is told of DR6: which breakpoints were met, and whether it was a single step.
const CAUSES: u64 = 0x400f;

/// Takes what DR6 tells of a trap of user code.
pub(super) fn take_causes() -> u64 {
    let causes: u64;
    // SAFETY: what the registers hold is about the trap that is being dealt with.
    unsafe {
        asm!("mov {}, dr6", out(reg) causes, options(nomem, nostack, preserves_flags));
        asm!("mov dr6, {}", in(reg) u64::from(NOTHING), options(nomem, nostack, preserves_flags));
    }
    causes & CAUSES
}

/// To be called before a thread gets breakpoints.
pub(crate) fn prepare_breakpoints() -> Result<(), OutOfMemory> {
    vectors::prepare_debug()
}

/// Puts a thread's breakpoints into the processor.
#[cold]
pub(super) fn load(prefix: &Prefix) {
    vectors::load_debug();
    let [first, second, third, fourth] = prefix.breakpoints;
    // SAFETY: the addresses are in the user half, where neither the kernel's code nor its data are, and DR7 has no bit but those of
    // breakpoints. Its general-detect bit and the reserved ones would fault.
    unsafe {
        asm!("mov dr0, {}", in(reg) first, options(nomem, nostack, preserves_flags));
        asm!("mov dr1, {}", in(reg) second, options(nomem, nostack, preserves_flags));
        asm!("mov dr2, {}", in(reg) third, options(nomem, nostack, preserves_flags));
        asm!("mov dr3, {}", in(reg) fourth, options(nomem, nostack, preserves_flags));
        asm!("mov dr7, {}", in(reg) prefix.control, options(nomem, nostack, preserves_flags));
    }
}

/// Switches them off.
#[cold]
pub(super) fn unload() {
    // SAFETY: without breakpoints nothing happens.
    unsafe { asm!("mov dr7, {}", in(reg) 0u64, options(nomem, nostack, preserves_flags)) };
}
