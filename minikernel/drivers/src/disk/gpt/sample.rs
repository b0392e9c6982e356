//! Partition tables for tests and fuzz targets.

use alloc::vec;
use alloc::vec::Vec;

use super::{crc_table, crc32};
use crate::bytes::u32;

/// The identifier of the second partition.
pub const ID: [u8; 16] = *b"this one, please";
/// Sectors of the disk.
pub const SECTORS: u64 = 8192;

/// A header for sector 1, and its table of two partitions.
pub fn sample() -> (Vec<u8>, Vec<u8>) {
    let mut entries = vec![0; 128 * 128];
    let partitions = [(*b"another of those", 64u64, 99u64), (ID, 2048, 4095)];
    for (entry, (id, first, last)) in entries.chunks_exact_mut(128).zip(partitions) {
        entry[..16].fill(7);
        entry[16..32].copy_from_slice(&id);
        entry[32..40].copy_from_slice(&first.to_le_bytes());
        entry[40..48].copy_from_slice(&last.to_le_bytes());
    }
    let mut header = vec![0; 512];
    header[..8].copy_from_slice(b"EFI PART");
    header[8..16].copy_from_slice(&[0, 0, 1, 0, 92, 0, 0, 0]);
    let fields = [(24, 1), (32, SECTORS - 1), (40, 34), (48, SECTORS - 34), (72, 2), (80, 128 | 128 << 32)];
    for (offset, value) in fields {
        header[offset..offset + 8].copy_from_slice(&u64::to_le_bytes(value));
    }
    seal(&mut header, &entries);
    (header, entries)
}

/// Puts the checksums right, of a header that has room for them.
pub fn seal(header: &mut [u8], entries: &[u8]) {
    let table = crc_table();
    header[88..92].copy_from_slice(&crc32(&table, 0, entries).to_le_bytes());
    let size = u32(header, 12).map_or(0, |size| size as usize).min(header.len());
    header[16..20].fill(0);
    let crc = crc32(&table, 0, &header[..size]);
    header[16..20].copy_from_slice(&crc.to_le_bytes());
}
