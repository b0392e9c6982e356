//! What a BIOS starts: boot code, and a stage with a table of what it loads (`minikernel/hal/bios`).

use super::gpt::{BOOT_CODE, SECTOR};
use crate::link::{Loading, Segment};

/// Boot code and stage as they lie in memory.
const PROGRAM: &[u8] = include_bytes!(env!("ISOPOD_BIOS"));
/// Where the stage is in it.
const STAGE: usize = 0x400;
/// What the boot code loads of the stage.
const STAGE_MAX: usize = 4096;
/// In the stage: the kernel's entry, the end of what is loaded, and the table with its entries.
const ENTRY: usize = 8;
const END: usize = 12;
const LOADS: usize = 16;
const LOAD: usize = 24;
const LOADS_MAX: usize = 16;

/// The boot code of the MBR.
pub(super) fn boot_code() -> [u8; BOOT_CODE] {
    *PROGRAM.first_chunk().expect("the program's link script has the stage behind the boot code")
}

/// The stage for a disk on which the image begins at `kernel` and the root, of `root_len` bytes, at `root`; `None` where it has
/// no room for so many segments or so large a root. A root that is not loaded may be of any size.
pub(super) fn stage(loading: &Loading, kernel: u64, root: u64, root_len: u64) -> Option<Vec<u8>> {
    let loaded = if loading.end > loading.root { u32::try_from(root_len).ok()? } else { 0 };
    let root = Segment { offset: root, len: loaded, to: loading.root, zero: 0 };
    let moved = loading.segments.iter().map(|part| Segment { offset: kernel + part.offset, ..*part });
    let loads: Vec<Segment> = moved.chain((loaded > 0).then_some(root)).collect();
    let mut bytes = PROGRAM[STAGE..].to_vec();
    bytes.resize(STAGE_MAX, 0);
    bytes[ENTRY..ENTRY + 4].copy_from_slice(&loading.entry.to_le_bytes());
    bytes[END..END + 4].copy_from_slice(&loading.end.to_le_bytes());
    for (place, load) in bytes[LOADS..].chunks_exact_mut(LOAD).zip(&loads) {
        place[..8].copy_from_slice(&(load.offset / SECTOR).to_le_bytes());
        place[8..12].copy_from_slice(&load.to.to_le_bytes());
        place[12..16].copy_from_slice(&load.len.to_le_bytes());
        place[16..20].copy_from_slice(&load.zero.to_le_bytes());
    }
    (loads.len() <= LOADS_MAX).then_some(bytes)
}
