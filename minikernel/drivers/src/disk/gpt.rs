//! The GUID partition table (UEFI specification 2.10, 5.3): a header behind the disk's first sector and one in its last, each with a table
//! of entries. Whoever wrote them is not trusted.
//!
//! Sectors are those of 512 bytes by which Isopod writes its disks, whatever blocks the device has.

pub mod sample;

use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

use crate::block::SECTOR_SIZE;
use crate::bytes::{array, u32, u64};

/// Most bytes that a table may take. Others write 16 KiB.
const MOST: u64 = 128 << 10;
/// Bytes of an entry that the specification fills.
const ENTRY: u32 = 128;

/// Why there is no table to look into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// There is no signature.
    Missing,
    /// It is for a revision that never came, or says that it is elsewhere or longer than a sector.
    Header,
    /// The header's checksum is not that of its bytes.
    HeaderChecksum,
    /// Its entries lie outside of the disk, or take more than there should be.
    Place,
    /// The entries' checksum is not that of their bytes.
    Checksum,
    /// The partition that was looked for lies outside of the disk.
    Partition,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "no partition table",
            Self::Header => "a partition table with a header that makes no sense",
            Self::HeaderChecksum => "a partition table with a damaged header",
            Self::Place => "a partition table that names entries where none can be",
            Self::Checksum => "a partition table with damaged entries",
            Self::Partition => "a partition that does not lie on the disk",
        })
    }
}

/// A header that makes sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Sectors that partitions may take.
    usable: Range<u64>,
    /// Where the entries begin.
    first: u64,
    count: u32,
    entry_size: u32,
    checksum: u32,
}

impl Header {
    /// Reads the header in sector `at` of a disk of so many sectors.
    pub fn parse(sector: &[u8], at: u64, sectors: u64) -> Result<Self, Damage> {
        const REVISION: u32 = 0x0001_0000;
        if sector.get(..8) != Some(b"EFI PART") {
            return Err(Damage::Missing);
        }
        let long = |offset| u64(sector, offset).ok_or(Damage::Header);
        let word = |offset| u32(sector, offset).ok_or(Damage::Header);
        let size = word(12)? as usize;
        if word(8)? != REVISION || !(92..=SECTOR_SIZE as usize).contains(&size) {
            return Err(Damage::Header);
        }
        let table = crc_table();
        let own = sector.get(..size).ok_or(Damage::Header)?;
        let parts = [&own[..16], &[0; 4], &own[20..]];
        if word(16)? != parts.iter().fold(0, |crc, part| crc32(&table, crc, part)) {
            return Err(Damage::HeaderChecksum);
        }
        if long(24)? != at {
            return Err(Damage::Header);
        }
        let behind = long(48)?.checked_add(1).filter(|behind| *behind <= sectors);
        let header = Self {
            usable: long(40)?..behind.ok_or(Damage::Place)?,
            first: long(72)?,
            count: word(80)?,
            entry_size: word(84)?,
            checksum: word(88)?,
        };
        let end = header.first.checked_add(header.length().div_ceil(SECTOR_SIZE));
        let fits = header.first > 0 && end.is_some_and(|end| end <= sectors);
        let sizes = header.entry_size >= ENTRY && header.entry_size.is_multiple_of(8);
        (fits && sizes && header.length() <= MOST).then_some(header).ok_or(Damage::Place)
    }

    /// Bytes of the entries.
    fn length(&self) -> u64 {
        u64::from(self.count) * u64::from(self.entry_size)
    }

    /// The sectors in which the entries lie.
    pub fn table(&self) -> Range<u64> {
        self.first..self.first + self.length().div_ceil(SECTOR_SIZE)
    }

    /// The sectors of the partition with an identifier, by the bytes of [`Self::table`]; `None` if there is none.
    pub fn find(&self, table: &[u8], id: &[u8; 16]) -> Result<Option<Range<u64>>, Damage> {
        let entries = table.get(..self.length() as usize).ok_or(Damage::Place)?;
        if crc32(&crc_table(), 0, entries) != self.checksum {
            return Err(Damage::Checksum);
        }
        // An entry without a type is not used.
        let entry = entries
            .chunks_exact(self.entry_size as usize)
            .find(|entry| array(entry, 16) == Some(*id) && array(entry, 0) != Some([0; 16]));
        let Some(entry) = entry else { return Ok(None) };
        let (first, last) = (u64(entry, 32).ok_or(Damage::Place)?, u64(entry, 40).ok_or(Damage::Place)?);
        if first < self.usable.start || last < first || last >= self.usable.end {
            return Err(Damage::Partition);
        }
        Ok(Some(first..last + 1))
    }
}

/// What each byte adds to a checksum: 1 KiB that no program needs but who looks for a partition, so it is made then.
fn crc_table() -> Vec<u32> {
    const POLYNOMIAL: u32 = 0xedb8_8320;
    let step = |crc: u32| crc >> 1 ^ POLYNOMIAL & (crc & 1).wrapping_neg();
    (0..256).map(|byte| (0..8).fold(byte, |crc, _| step(crc))).collect()
}

/// The CRC-32 of what has the checksum `crc` and of `bytes` behind it.
fn crc32(table: &[u32], crc: u32, bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!crc, |crc, byte| crc >> 8 ^ table[usize::from(crc as u8 ^ byte)])
}

#[cfg(test)]
mod tests;
