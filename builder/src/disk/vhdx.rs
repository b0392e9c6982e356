//! Dynamic VHDX ([MS-VHDX]).
//!
//! ```text
//! 0        identifier, 64 KiB; two headers, 64 KiB each; two region tables, 64 KiB each
//! 1 MiB    log, empty
//! 2 MiB    metadata
//! 3 MiB    block allocation table (BAT)
//! ..       blocks of 1 MiB
//! ```
//!
//! No log entry is ever written: the headers name no log, so a reader has none to replay (2.3), and whoever opens the file to write to
//! it gives it a new identifier first (2.2.2.1).
//!
//! [MS-VHDX]: https://learn.microsoft.com/openspecs/windows_protocols/ms-vhdx/83e061f8-f6e2-4de1-91bd-5d518a43d477

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use uuid::{Uuid, uuid};

use super::content::Map;
use super::layout::derived;
use super::pass::Sink;

/// The largest disk that the format has: 64 TiB.
pub(super) const LIMIT: u64 = 64 << 40;

/// The smallest block that there is: the file has least of what the disk does not.
const BLOCK: u64 = 1 << 20;
const SECTOR: u64 = 512;
/// Behind so many blocks the table has an entry for a bitmap, which only disks with a parent have.
const CHUNK: u64 = (1 << 23) * SECTOR / BLOCK;

const HEADERS: [u64; 2] = [64 << 10, 128 << 10];
const REGION_TABLES: [u64; 2] = [192 << 10, 256 << 10];
const LOG: u64 = 1 << 20;
const METADATA: u64 = 2 << 20;
const BAT: u64 = 3 << 20;
const REGION: u64 = 1 << 20;
/// Where the items of the metadata begin, behind their table.
const ITEMS: usize = 64 << 10;

/// Of a block in the table: all of it is there.
const FULLY_PRESENT: u64 = 6;

/// A file being written.
#[derive(Debug)]
pub(super) struct Vhdx<'a> {
    file: &'a File,
    /// Where the first block is.
    start: u64,
    /// The block that was written to last, and how many came before it.
    current: Option<(u64, u64)>,
}

impl<'a> Vhdx<'a> {
    /// Writes all that comes before the blocks. `file` is empty.
    pub fn new(map: &Map, id: Uuid, file: &'a File) -> io::Result<Self> {
        let table = block_table(map);
        let table_len = (table.len() as u64).next_multiple_of(REGION);
        let start = BAT + table_len;
        file.set_len(start + map.blocks(BLOCK).count() as u64 * BLOCK)?;
        file.write_all_at(&identifier(), 0)?;
        for (sequence, offset) in (0..).zip(HEADERS) {
            file.write_all_at(&header(sequence, id), offset)?;
        }
        for offset in REGION_TABLES {
            file.write_all_at(&region_table(table_len), offset)?;
        }
        file.write_all_at(&metadata(map.size(), id), METADATA)?;
        file.write_all_at(&table, BAT)?;
        Ok(Self { file, start, current: None })
    }
}

impl Sink for Vhdx<'_> {
    fn write(&mut self, offset: u64, mut data: &[u8]) -> io::Result<()> {
        let mut offset = offset;
        while !data.is_empty() {
            let (block, within) = (offset / BLOCK, offset % BLOCK);
            let place = match self.current {
                None => 0,
                Some((current, place)) if current == block => place,
                Some((_, place)) => place + 1,
            };
            self.current = Some((block, place));
            let (now, later) = data.split_at((BLOCK - within).min(data.len() as u64) as usize);
            self.file.write_all_at(now, self.start + place * BLOCK + within)?;
            offset += now.len() as u64;
            data = later;
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> io::Result<()> {
        Ok(())
    }
}

/// Where the blocks are that hold data; the others are not there, and read as zeros.
fn block_table(map: &Map) -> Vec<u8> {
    let blocks = map.size().div_ceil(BLOCK);
    let entries = blocks + (blocks - 1) / CHUNK;
    let start = BAT + (entries * 8).next_multiple_of(REGION);
    let mut table = vec![0; entries as usize * 8];
    for (place, block) in (0..).zip(map.blocks(BLOCK)) {
        let entry = FULLY_PRESENT | (start + place * BLOCK);
        let at = (block + block / CHUNK) as usize * 8;
        table[at..at + 8].copy_from_slice(&entry.to_le_bytes());
    }
    table
}

fn identifier() -> Vec<u8> {
    let creator = "Isopod".encode_utf16().flat_map(u16::to_le_bytes);
    b"vhdxfile".iter().copied().chain(creator).collect()
}

/// One of two headers; the one with the larger number counts.
fn header(sequence: u64, id: Uuid) -> Vec<u8> {
    let mut bytes = vec![0; 4096];
    let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    put(0, b"head");
    put(8, &sequence.to_le_bytes());
    put(16, &derived(id.as_bytes(), "file write").to_bytes_le());
    put(32, &derived(id.as_bytes(), "data write").to_bytes_le());
    // No identifier of a log, from byte 48 on: it is empty. Its version is 0.
    put(66, &1u16.to_le_bytes()); // version of the format
    put(68, &(REGION as u32).to_le_bytes());
    put(72, &LOG.to_le_bytes());
    sum(bytes)
}

fn region_table(table_len: u64) -> Vec<u8> {
    let mut bytes = vec![0; 64 << 10];
    bytes[..4].copy_from_slice(b"regi");
    bytes[8..12].copy_from_slice(&2u32.to_le_bytes());
    let regions = [
        (uuid!("2dc27766-f623-4200-9d64-115e9bfd4a08"), BAT, table_len),
        (uuid!("8b7ca206-4790-4b9a-b8fe-575f050f886e"), METADATA, REGION),
    ];
    for (entry, (kind, offset, len)) in bytes[16..].chunks_exact_mut(32).zip(regions) {
        entry[..16].copy_from_slice(&kind.to_bytes_le());
        entry[16..24].copy_from_slice(&offset.to_le_bytes());
        entry[24..28].copy_from_slice(&(len as u32).to_le_bytes());
        entry[28..].copy_from_slice(&1u32.to_le_bytes()); // must be understood
    }
    sum(bytes)
}

fn metadata(size: u64, id: Uuid) -> Vec<u8> {
    /// Flags of an item: it describes the disk and not the file; it must be understood.
    const OF_DISK: u32 = 2;
    const REQUIRED: u32 = 4;
    let parameters = (BLOCK as u32).to_le_bytes().into_iter().chain([0; 4]).collect::<Vec<u8>>();
    let page83 = derived(id.as_bytes(), "disk").to_bytes_le();
    let items = [
        (uuid!("caa16737-fa36-4d43-b3b6-33f0aa44e76b"), REQUIRED, parameters),
        (uuid!("2fa54224-cd1b-4876-b211-5dbed83bf4b8"), REQUIRED | OF_DISK, size.to_le_bytes().to_vec()),
        (uuid!("beca12ab-b2e6-4523-93ef-c309e000c746"), REQUIRED | OF_DISK, page83.to_vec()),
        (uuid!("8141bf1d-a96f-4709-ba47-f233a8faab5f"), REQUIRED | OF_DISK, 512u32.to_le_bytes().to_vec()),
        (uuid!("cda348c7-445d-4471-9cc9-e9885251c556"), REQUIRED | OF_DISK, 4096u32.to_le_bytes().to_vec()),
    ];
    let mut bytes = vec![0; 32 * (1 + items.len())];
    bytes[..8].copy_from_slice(b"metadata");
    bytes[10..12].copy_from_slice(&(items.len() as u16).to_le_bytes());
    bytes.resize(ITEMS, 0);
    for (number, (kind, flags, item)) in items.into_iter().enumerate() {
        let place = bytes.len() as u32;
        let entry = &mut bytes[32 * (number + 1)..][..32];
        entry[..16].copy_from_slice(&kind.to_bytes_le());
        entry[16..20].copy_from_slice(&place.to_le_bytes());
        entry[20..24].copy_from_slice(&(item.len() as u32).to_le_bytes());
        entry[24..28].copy_from_slice(&flags.to_le_bytes());
        bytes.extend(item);
    }
    bytes
}

/// Puts the checksum, over all bytes and with itself zero, where headers and region tables have it.
fn sum(mut bytes: Vec<u8>) -> Vec<u8> {
    let sum = crc32c(&bytes);
    bytes[4..8].copy_from_slice(&sum.to_le_bytes());
    bytes
}

/// CRC-32C (RFC 3720, B.4), bit by bit: it goes over little.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg()))
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_checksum_is_the_published_one() {
        assert_eq!(super::crc32c(b"123456789"), 0xe306_9283);
    }
}
