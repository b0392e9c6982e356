//! QEMU's firmware configuration device, for the memory map where PVH's start info is of version 0
//! (QEMU, `docs/specs/fw_cfg.rst`).

use super::{Loaded, MapEntry};
use crate::port::Port;

const SELECTOR: Port<u16> = Port::new(0x510);
const DATA: Port<u8> = Port::new(0x511);
/// Keys: the signature, the number of processors that run, and the directory of files.
const SIGNATURE: u16 = 0x00;
const CPUS: u16 = 0x05;
const DIRECTORY: u16 = 0x19;
const MAP_FILE: &[u8] = b"etc/e820\0";
/// Entries of the directory, and of the map, that are looked at.
const MAX: u32 = 256;

/// Reads the map.
pub(super) fn take_memory_map(loaded: &mut Loaded) {
    if !is_there() {
        return;
    }
    let Some((key, len)) = find(MAP_FILE) else { return };
    let count = (len as usize / size_of::<MapEntry>()).min(MAX as usize);
    // A file is read in order; each of the two passes over the map selects it anew.
    loaded.take_map(|index| {
        if index == 0 {
            SELECTOR.write(key);
        }
        (index < count).then(|| MapEntry {
            start: u64::from_le_bytes(next()),
            len: u64::from_le_bytes(next()),
            kind: u32::from_le_bytes(next()),
        })
    });
}

/// How many processors the machine has.
pub(crate) fn cpus() -> Option<usize> {
    is_there().then(|| {
        SELECTOR.write(CPUS);
        usize::from(u16::from_le_bytes(next()))
    })
}

fn is_there() -> bool {
    SELECTOR.write(SIGNATURE);
    next::<4>() == *b"QEMU"
}

/// Key and length of a file. A directory entry is: length, key (big endian), two bytes, the name in 56.
fn find(name: &[u8]) -> Option<(u16, u32)> {
    SELECTOR.write(DIRECTORY);
    let count = u32::from_be_bytes(next()).min(MAX);
    (0..count).find_map(|_| {
        let len = u32::from_be_bytes(next());
        let key = u16::from_be_bytes(next());
        let _reserved: [u8; 2] = next();
        next::<56>().starts_with(name).then_some((key, len))
    })
}

fn next<const N: usize>() -> [u8; N] {
    core::array::from_fn(|_| DATA.read())
}
