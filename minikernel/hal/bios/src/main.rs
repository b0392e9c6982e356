//! What a BIOS starts: the boot code of the MBR, which loads the stage, which loads the kernel and the root and enters the kernel by
//! PVH. They are linked as plain bytes; the builder puts them onto the disk with a table of what is to be loaded
//! (`builder/src/disk/bios.rs`).
//!
//! It is assembly, because it runs in 16-bit mode.
#![cfg_attr(isopod_bare, no_std, no_main)]

#[cfg(isopod_bare)]
core::arch::global_asm!(include_str!("firmware.s"), include_str!("boot.s"), include_str!("stage.s"));

/// Nothing here can panic, but the compiler wants to be told what to do then.
#[cfg(isopod_bare)]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[cfg(not(isopod_bare))]
fn main() {}
