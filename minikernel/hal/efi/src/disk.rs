//! The root's partition on the disk that the firmware started this program from, found by its identifier in the GPT (UEFI specification
//! 2.10, section 5.3). So it need not matter where the disk is attached, or whether the firmware knows partitions of a CD.

use core::{ptr, slice};

use crate::firmware::{BlockIo, Firmware, PAGE};
use crate::load::too_little;
use crate::plan::Plan;

/// Sectors of the disk as the table counts them; a CD's are larger.
const SECTOR: u64 = 512;
/// The table with as many entries as there are, and the sector that protects it.
const TABLE: u64 = (2 * SECTOR + 128 * 128).next_multiple_of(PAGE);
/// Up to here the kernel maps memory.
const MEMORY: u64 = 64 << 30;
/// Some firmware has limits to what it reads at once.
const PIECE: u64 = 16 << 20;
const ROOT_UNREADABLE: &str = "isopod: the partition `isopod-root` cannot be read: the firmware's error is ";
/// The superblock of EROFS: where it begins, and what it begins with.
const SUPERBLOCK: usize = 1024;
const MAGIC: [u8; 4] = 0xe0f5_e1e2_u32.to_le_bytes();

/// Loads the root; its address.
pub fn load_root(firmware: Firmware, plan: &Plan) -> u64 {
    let image = firmware.loaded_image();
    let Some(disk) = image.and_then(|image| firmware.disk_of(image.device)) else {
        firmware.fail(
            "isopod: this program is not on a disk\r\nhint: its root is on a disk's partition; \
             `isopod build -f efi` writes a program with all inside",
        )
    };
    let allocate = |len| firmware.allocate(len, MEMORY).unwrap_or_else(|| too_little(firmware, plan));
    let table = allocate(TABLE);
    read(
        firmware,
        disk,
        "isopod: the partition table cannot be read: the firmware's error is ",
        0,
        TABLE,
        table,
    );
    // SAFETY: it has just been allocated and read.
    let table = unsafe { bytes(table, TABLE) };
    let Some(start) = find(table, plan) else {
        firmware.fail(
            "isopod: the disk has no partition `isopod-root` of this image\r\n\
             hint: write the whole image to the disk, or build it again",
        )
    };
    let len = u64::from(plan.root_len);
    let root = allocate(len);
    let mut done = 0;
    while done < len {
        let piece = PIECE.min(len - done);
        read(firmware, disk, ROOT_UNREADABLE, start + done, piece, root + done);
        done += piece;
    }
    // SAFETY: as above.
    let bytes = unsafe { bytes(root, len) };
    if bytes.get(SUPERBLOCK..).is_none_or(|bytes| !bytes.starts_with(&MAGIC)) {
        firmware.fail(
            "isopod: the partition `isopod-root` is damaged: it has no file system\r\n\
             hint: write the image to the disk again",
        )
    }
    root
}

/// # Safety
/// So many bytes are there that nobody writes to.
unsafe fn bytes(at: u64, len: u64) -> &'static [u8] {
    // SAFETY: by the caller.
    unsafe { slice::from_raw_parts(ptr::with_exposed_provenance(at as usize), len as usize) }
}

/// Where the root's partition begins, in bytes, if there is one that is long enough.
fn find(table: &[u8], plan: &Plan) -> Option<u64> {
    let header = table.get(SECTOR as usize..).filter(|header| header.starts_with(b"EFI PART"))?;
    let word = |bytes: &[u8], at: usize| Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
    // Its own fields say where the entries begin, how many there are and how long each is.
    let first = word(header, 72)?.checked_mul(SECTOR)? as usize;
    let counts = word(header, 80)?;
    let (count, len) = (counts as u32 as usize, (counts >> 32) as usize);
    let entries = table.get(first..)?.chunks_exact(len.max(128)).take(count);
    for entry in entries {
        if entry[16..32] == plan.partition {
            let (first, last) = (word(entry, 32)?, word(entry, 40)?);
            let sectors = last.checked_sub(first)?.checked_add(1)?;
            return first
                .checked_mul(SECTOR)
                .filter(|_| sectors >= u64::from(plan.root_len).div_ceil(SECTOR));
        }
    }
    None
}

/// Reads a part of the disk into memory that has been allocated.
fn read(firmware: Firmware, disk: &BlockIo, what: &str, offset: u64, len: u64, into: u64) {
    // SAFETY: by the caller.
    let status = unsafe { disk.read(offset, len, into) };
    if status != 0 {
        let hint = "\r\nhint: see whether the disk is as long as the image";
        firmware.fail_with(what, Some(status as u64 & 0xffff_ffff), hint)
    }
}
