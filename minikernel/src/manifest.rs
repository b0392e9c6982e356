//! Finding what to run.

use alloc::string::String;
use alloc::vec::Vec;

use isopod_hal::boot::BootInfo;
use isopod_hal::boot_memory::BootMemory;
use isopod_manifest::{DecodeError, MAX_SIZE, Manifest};

/// Reads the manifest: in the first module that the loader brought, or linked behind the kernel. A module comes first, so that a linked
/// image can be run with other settings than it was built with. The error says what is wrong, and on a second line what to do.
pub fn find(boot: &BootInfo) -> Result<Manifest, String> {
    let place = boot.modules.first().copied().or(boot.link.manifest);
    let Some(place) = place else {
        return Err("there is no manifest\nhint: build an image with `isopod build`, or pass one as the first module (-initrd)".into());
    };
    let memory = BootMemory::claim(place)
        .ok_or("the loader's manifest lies outside of memory\nhint: give the VM more with -m")?;
    read(&memory).map_err(|error| {
        let hint = match error {
            DecodeError::NoMemory => "give the VM more with -m",
            _ => "build the image again",
        };
        alloc::format!("{error}\nhint: {hint}")
    })
}

fn read(memory: &BootMemory) -> Result<Manifest, DecodeError> {
    // What is behind the manifest may be padding; a body of the largest size and its envelope fit.
    let size = memory.len().min(MAX_SIZE + 64);
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(size).map_err(|_| DecodeError::NoMemory)?;
    bytes.resize(size, 0);
    let read = memory.read(0, &mut bytes);
    Manifest::decode(&bytes[..read])
}
