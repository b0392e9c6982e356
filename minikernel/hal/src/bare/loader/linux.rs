//! Linux' zero page (Documentation/arch/x86/zero-page.rst and boot.rst).

use super::{Loaded, MapEntry, read};

/// Offsets in the zero page.
const RSDP: u64 = 0x070;
const EXT_RAMDISK_IMAGE: u64 = 0x0c0;
const EXT_RAMDISK_SIZE: u64 = 0x0c4;
const EXT_COMMAND_LINE: u64 = 0x0c8;
const MAP_COUNT: u64 = 0x1e8;
const RAMDISK_IMAGE: u64 = 0x218;
const RAMDISK_SIZE: u64 = 0x21c;
const COMMAND_LINE: u64 = 0x228;
const SETUP_DATA: u64 = 0x250;
const MAP: u64 = 0x2d0;
/// Entries for which the zero page has room.
const MAP_MAX: usize = 128;

/// `struct setup_data`: next, type, length, then the data.
const SETUP_HEADER: u64 = 16;
/// Its type for random bytes.
const SETUP_RNG_SEED: u32 = 9;
/// Entries of the list, lest it be a ring.
const SETUP_MAX: usize = 32;

pub(in super::super) fn take(loaded: &mut Loaded, page: u64) {
    let word = |offset| read::<u32>(page + offset).map_or(0, u64::from);
    loaded.set_rsdp(read::<u64>(page + RSDP).unwrap_or(0));
    loaded.copy_command_line(word(COMMAND_LINE) | word(EXT_COMMAND_LINE) << 32);
    loaded.add_module(
        word(RAMDISK_IMAGE) | word(EXT_RAMDISK_IMAGE) << 32,
        word(RAMDISK_SIZE) | word(EXT_RAMDISK_SIZE) << 32,
    );
    let count = read::<u8>(page + MAP_COUNT).map_or(0, usize::from).min(MAP_MAX);
    loaded.take_map(|index| {
        (index < count)
            .then(|| read::<MapEntry>(page + MAP + (index * size_of::<MapEntry>()) as u64))
            .flatten()
    });
    let mut next = read::<u64>(page + SETUP_DATA).unwrap_or(0);
    for _ in 0..SETUP_MAX {
        if next == 0 {
            break;
        }
        let (kind, len) = (read::<u32>(next + 8), read::<u32>(next + 12).unwrap_or(0));
        if kind == Some(SETUP_RNG_SEED) && len >= 32 {
            loaded.seed = read::<[u8; 32]>(next + SETUP_HEADER);
        }
        // The list lies in RAM; nothing of it is needed later but what was copied.
        next = read::<u64>(next).unwrap_or(0);
    }
}
