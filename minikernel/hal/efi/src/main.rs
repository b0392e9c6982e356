//! What UEFI firmware starts, and every loader that can start Linux: a program that has the guest kernel in it, puts it where it is linked
//! to, and enters it. It is one file: a PE32+ image to the one, a bzImage to the others, as Linux' own kernels are
//! (`builder/src/link/efi.rs` writes it).
//!
//! - UEFI calls [`efi_main`]. The root is in the file too, or is read from its partition, by the firmware, so any disk will do that the
//!   firmware knows. The kernel is entered by PVH.
//! - The boot protocol of Linux has three entries, of 16, 32 and 64 bits. They are assembly, and lead to the kernel's own adapter to it.
//!
//! Rust's `core` counts on a red zone below the stack, in which firmware's interrupt handlers write: interrupts are on only within
//! firmware's own functions. And there is nothing that would have to be relocated: the few addresses that are needed are taken by assembly, and
//! memory is copied by it, since compiled code would find both in a table.
#![cfg_attr(isopod_bare, no_std, no_main)]

#[cfg(any(isopod_bare, test))]
mod memory;

#[cfg(isopod_bare)]
mod disk;
#[cfg(isopod_bare)]
mod firmware;
#[cfg(isopod_bare)]
mod load;
#[cfg(isopod_bare)]
mod plan;

#[cfg(isopod_bare)]
core::arch::global_asm!(
    include_str!("../../bios/src/firmware.s"),
    include_str!("setup.s"),
    include_str!("start.s")
);

/// What cannot happen, the firmware reports with all registers.
#[cfg(isopod_bare)]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // SAFETY: nothing follows.
    unsafe { core::arch::asm!("ud2", options(noreturn)) }
}

#[cfg(not(isopod_bare))]
fn main() {}
