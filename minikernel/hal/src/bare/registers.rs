//! The processor's control and model-specific registers.

use core::arch::asm;

/// Reads a model-specific register.
///
/// # Safety
/// The processor has it.
#[inline]
pub(super) unsafe fn rdmsr(register: u32) -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: reading a register that exists changes nothing.
    unsafe {
        asm!("rdmsr", in("ecx") register, out("eax") low, out("edx") high, options(nomem, nostack, preserves_flags));
    }
    u64::from(high) << 32 | u64::from(low)
}

/// Writes a model-specific register.
///
/// # Safety
/// The processor has it, takes the value, and memory safety survives what follows.
#[inline]
pub(super) unsafe fn wrmsr(register: u32, value: u64) {
    // SAFETY: the caller's promise.
    unsafe {
        asm!(
            "wrmsr",
            in("ecx") register, in("eax") value as u32, in("edx") (value >> 32) as u32,
            options(nostack, preserves_flags),
        );
    }
}

macro_rules! control {
    ($($read:ident, $write:ident: $name:literal;)*) => {
        $(
            #[doc = concat!("Reads ", $name, ".")]
            #[inline]
            pub(super) fn $read() -> u64 {
                let value;
                // SAFETY: reading a control register changes nothing.
                unsafe { asm!(concat!("mov {}, ", $name), out(reg) value, options(nomem, nostack, preserves_flags)) };
                value
            }

            #[doc = concat!("Writes ", $name, ".")]
            ///
            /// # Safety
            /// The processor takes the value, and what is mapped and where stays true for all that is in use.
            #[inline]
            pub(super) unsafe fn $write(value: u64) {
                // SAFETY: the caller's promise.
                unsafe { asm!(concat!("mov ", $name, ", {}"), in(reg) value, options(nostack, preserves_flags)) };
            }
        )*
    };
}

control! {
    cr3, set_cr3: "cr3";
    cr4, set_cr4: "cr4";
}

/// The address of the last page fault.
#[inline]
pub(super) fn cr2() -> usize {
    let value;
    // SAFETY: reading a control register changes nothing.
    unsafe { asm!("mov {}, cr2", out(reg) value, options(nomem, nostack, preserves_flags)) };
    value
}

/// The time-stamp counter, wherever the processor reads it between what precedes in the program and what follows.
#[inline]
pub(crate) fn rough_tsc() -> u64 {
    // SAFETY: the instruction only reads; every 64-bit processor has it.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// The time-stamp counter, not before what precedes in the program (SDM volume 2, RDTSC).
#[inline]
pub(crate) fn tsc() -> u64 {
    // SAFETY: both instructions only read; every 64-bit processor has them.
    unsafe {
        core::arch::x86_64::_mm_lfence();
        core::arch::x86_64::_rdtsc()
    }
}
