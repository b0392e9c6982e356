//! The Isopod guest kernel.
#![cfg_attr(isopod_bare, no_std, no_main)]
#![forbid(unsafe_code)]

#[cfg(isopod_bare)]
isopod_hal::entry!(kmain);

/// Where the machine hands over.
#[cfg(isopod_bare)]
fn kmain(boot: &'static isopod_hal::boot::BootInfo) -> ! {
    isopod_hal::log!("isopod: {boot:?}");
    isopod_hal::power::off(0)
}

/// The kernel does not run on the host; its rooms are tested there one by one.
#[cfg(not(isopod_bare))]
fn main() {}
