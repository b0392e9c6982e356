//! Disks that speak SCSI (SPC-4, SBC-3), whatever adapter they are behind.

mod bus;

#[cfg(test)]
pub(crate) use bus::unit;
pub(crate) use bus::{Bus, lun, target};

use crate::block::BlockError;
use crate::disk::{Command, Kind, Outcome};

const READ_10: u8 = 0x28;
const WRITE_10: u8 = 0x2a;
const SYNCHRONIZE_CACHE_10: u8 = 0x35;
const READ_16: u8 = 0x88;
const WRITE_16: u8 = 0x8a;

/// The bytes of a command.
pub(crate) fn bytes(command: &Command<'_>) -> [u8; 16] {
    let (first, count) = command.blocks();
    let mut bytes = [0; 16];
    let (short, long) = match command.kind {
        Kind::Read => (READ_10, READ_16),
        Kind::Write => (WRITE_10, WRITE_16),
        // All blocks, and an answer when they are written.
        Kind::Flush => {
            bytes[0] = SYNCHRONIZE_CACHE_10;
            return bytes;
        }
        Kind::Scsi(bytes) => return bytes,
    };
    if let (Ok(first), Ok(count)) = (u32::try_from(first), u16::try_from(count)) {
        bytes[0] = short;
        bytes[2..6].copy_from_slice(&first.to_be_bytes());
        bytes[7..9].copy_from_slice(&count.to_be_bytes());
    } else {
        bytes[0] = long;
        bytes[2..10].copy_from_slice(&first.to_be_bytes());
        bytes[10..14].copy_from_slice(&count.to_be_bytes());
    }
    bytes
}

/// How a command went, by its status (SAM-5, 5.3) and what the device says of it (SPC-4, 4.5).
pub(crate) fn outcome(status: u8, sense: [u8; 4]) -> Outcome {
    const GOOD: u8 = 0x00;
    const CHECK_CONDITION: u8 = 0x02;
    const BUSY: u8 = 0x08;
    const TASK_SET_FULL: u8 = 0x28;
    const RECOVERED: u8 = 0x1;
    const NOT_READY: u8 = 0x2;
    const ILLEGAL_REQUEST: u8 = 0x5;
    const UNIT_ATTENTION: u8 = 0x6;
    const ABORTED: u8 = 0xb;
    match status {
        GOOD => Outcome::Done,
        BUSY | TASK_SET_FULL => Outcome::Again,
        CHECK_CONDITION => {
            // With descriptors, or of fixed format.
            let key = if sense[0] & 0x7e == 0x72 { sense[1] } else { sense[2] } & 0xf;
            match key {
                RECOVERED => Outcome::Done,
                NOT_READY | UNIT_ATTENTION | ABORTED => Outcome::Again,
                ILLEGAL_REQUEST => Outcome::Failed(BlockError::Unsupported),
                _ => Outcome::Failed(BlockError::Io),
            }
        }
        _ => Outcome::Failed(BlockError::Io),
    }
}

#[cfg(test)]
pub(crate) mod simulated;
#[cfg(test)]
mod tests;
