//! Disks that speak ATA (ACS-3), whatever controller they are behind.

use super::{Command, Geometry, Kind};
use crate::bytes::{array, u16, u32, u64};

/// Asks a disk what it is.
pub(super) const IDENTIFY: u8 = 0xec;
/// Most pages of a command: 256 blocks, which a disk takes that knows only short commands.
pub(super) const MOST_PAGES: usize = 32;
/// Sectors that a short command and a long one reach.
const REACH: [u64; 2] = [1 << 28, 1 << 48];

/// What the registers of a device say.
pub(super) mod status {
    /// The last command failed.
    pub const ERROR: u8 = 1;
    /// It wants data, or has some.
    pub const DATA: u8 = 1 << 3;
    /// It failed, and so will the next ones.
    pub const FAULT: u8 = 1 << 5;
    pub const BUSY: u8 = 1 << 7;
}

/// A disk, as it describes itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct About {
    pub geometry: Geometry,
    /// Whether it knows long commands.
    pub long: bool,
}

/// What a device gets to hear, by its registers (ACS-3, 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Registers {
    pub command: u8,
    pub device: u8,
    /// 48 bits.
    pub block: u64,
    pub count: u16,
}

impl About {
    /// Reads the answer to [`IDENTIFY`] (ACS-3, 7.12.7). `None` for what is no disk, or none for us: without blocks, of blocks of odd sizes, or that
    /// accesses no memory.
    pub fn parse(answer: &[u8]) -> Option<Self> {
        /// Logical blocks, by DMA.
        const ABLE: u16 = 1 << 9 | 1 << 8;
        /// Two words tell by it that they hold anything: it is set, and the bit above is not.
        const VALID: u16 = 1 << 14;
        let word = |index: usize| u16(answer, 2 * index);
        let has = |index: usize, mask: u16| word(index).map(|word| word & mask == mask);
        if has(0, 1 << 15)? || !has(49, ABLE)? {
            return None;
        }
        let told = |index: usize, mask: u16| Some(has(index, VALID | mask)? && !has(index, 1 << 15)?);
        let long = told(83, 1 << 10)?;
        let blocks = if long { u64(answer, 200)? } else { u32(answer, 120)?.into() };
        // In words, where it is said at all.
        let size = if told(106, 1 << 12)? { u32::from_le_bytes(array(answer, 234)?) } else { 256 };
        if !size.is_power_of_two() || !(256..=2048).contains(&size) {
            return None;
        }
        let block = u64::from(size / 256);
        let sectors = blocks.min(REACH[usize::from(long)]) * block;
        let geometry = Geometry { sectors, block, read_only: false, can_flush: told(83, 1 << 12)? };
        (sectors > 0).then_some(Self { geometry, long })
    }
}

impl Registers {
    /// A command without blocks.
    pub fn new(command: u8) -> Self {
        Self { command, device: 0, block: 0, count: 0 }
    }

    /// What has a disk do a command.
    pub fn of(command: &Command<'_>, long: bool) -> Self {
        /// Blocks have numbers.
        const NUMBERED: u8 = 1 << 6;
        let code = match (command.kind, long) {
            (Kind::Read, true) => 0x25,
            (Kind::Read, false) => 0xc8,
            (Kind::Write, true) => 0x35,
            (Kind::Write, false) => 0xca,
            (Kind::Flush, _) => return Self::new(0xe7),
            // No operation, which fails.
            (Kind::Scsi(_), _) => return Self::new(0),
        };
        let (first, count) = command.blocks();
        // A short command has the highest bits elsewhere, and as 256 blocks it takes a zero.
        let (block, high) = if long { (first, 0) } else { (first & 0xff_ffff, (first >> 24) as u8 & 0xf) };
        let count = if long { count as u16 } else { count as u16 & 0xff };
        Self { command: code, device: NUMBERED | high, block, count }
    }
}

#[cfg(test)]
pub(super) mod simulated;
#[cfg(test)]
mod tests;
