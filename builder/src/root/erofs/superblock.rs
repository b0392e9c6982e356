//! The superblock (`struct erofs_super_block`).

use super::plan::Plan;
use super::{BLOCK, BLOCK_BITS, SLOT};

/// Where it begins in the image.
pub(super) const START: u64 = 1024;
/// Where it ends.
pub(super) const END: u64 = START + SIZE as u64;
const SIZE: usize = 128;

const MAGIC: u32 = 0xe0f5_e1e2;
/// The checksum counts (`EROFS_FEATURE_COMPAT_SB_CHKSUM`), and times are of the last change (`.._MTIME`).
const COMPAT: u32 = 1 | 2;
/// There are files in chunks (`EROFS_FEATURE_INCOMPAT_CHUNKED_FILE`).
const INCOMPAT_CHUNKED: u32 = 4;

/// The superblock of `plan`; `rest` is what follows it in its block.
pub(super) fn encode(plan: &Plan, rest: &[u8]) -> [u8; SIZE] {
    let mut bytes = [0; SIZE];
    let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
    put(0, &MAGIC.to_le_bytes());
    put(8, &COMPAT.to_le_bytes());
    put(12, &[BLOCK_BITS as u8]);
    // The root comes first, and the first inode lies within the first two blocks.
    put(14, &((plan.offset(plan.order()[0]) / SLOT) as u16).to_le_bytes());
    put(16, &(plan.order().len() as u64).to_le_bytes());
    put(24, &plan.epoch().seconds.to_le_bytes());
    put(32, &plan.epoch().nanos.to_le_bytes());
    put(36, &(plan.blocks() as u32).to_le_bytes());
    // The metadata area is the whole image: node ids count from its first byte. The UUID and the volume's name stay zero.
    put(80, &if plan.has_chunks() { INCOMPAT_CHUNKED } else { 0 }.to_le_bytes());
    let checksum = crc32c([&bytes[..], rest].concat());
    bytes[4..8].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

/// The root's node id, and the byte from which ids count; `None` for anything but a superblock of this form.
pub(super) fn decode(bytes: &[u8; SIZE]) -> Option<(u64, u64)> {
    let word = |at: usize| bytes[at..].first_chunk().map_or(0, |word| u32::from_le_bytes(*word));
    let root = u16::from_le_bytes([bytes[14], bytes[15]]);
    let known = word(0) == MAGIC && u32::from(bytes[12]) == BLOCK_BITS;
    known.then(|| (root.into(), u64::from(word(40)) * BLOCK))
}

/// CRC-32C (Castagnoli) without the final inversion, as the kernel's `crc32c(~0, ..)`. It runs over one block, once.
fn crc32c(bytes: impl IntoIterator<Item = u8>) -> u32 {
    bytes.into_iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0x82f6_3b78 * (crc & 1)))
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_checksum_is_the_published_one() {
        // RFC 3720, appendix B.4, which inverts at the end.
        assert_eq!(!super::crc32c([0; 32]), 0x8a91_36aa);
    }
}
