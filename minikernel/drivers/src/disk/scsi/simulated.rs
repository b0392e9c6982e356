//! What answers commands of SCSI in tests: a disk of 4 MiB at target 2, as units 0 and 300, and a CD at target 3.

use alloc::vec;
use alloc::vec::Vec;

use super::{unit, *};
use crate::disk::simulated::sectors;

/// A status, what the device says of it, and what it gives.
pub(crate) type Answer = (u8, [u8; 4], Vec<u8>);

/// The devices of an adapter.
pub(crate) struct Devices {
    pub disk: Vec<u8>,
    /// Commands to any unit that fail first, as after a reset.
    pub attention: usize,
    /// Units of target 2 that are there.
    pub units: Vec<u16>,
    /// In place of the first bytes of an answer to a command.
    pub lie: Option<(u8, Vec<u8>)>,
    /// In place of the status and what is said of it.
    pub status: Option<(u8, [u8; 4])>,
    pub flushed: usize,
}

impl Devices {
    pub fn new() -> Self {
        let units = vec![0, 300];
        Self { disk: sectors(8192), attention: 1, units, lie: None, status: None, flushed: 0 }
    }

    /// What a unit answers to a command, which brings these bytes; `None` for a target that is not there.
    pub fn answer(&mut self, number: u32, command: [u8; 16], data: &[u8]) -> Option<Answer> {
        if !matches!(target(number), 2 | 3) {
            return None;
        }
        if self.attention > 0 {
            self.attention -= 1;
            return Some((2, [0x70, 0, 6, 0], Vec::new()));
        }
        if let Some((status, sense)) = self.status {
            return Some((status, sense, Vec::new()));
        }
        let cd = target(number) == 3;
        let known = if cd { number == unit(3, 0) } else { self.units.contains(&lun(number)) };
        let mut given = vec![0; 64];
        match command[0] {
            0xa0 => {
                let units = if cd { &[0][..] } else { &self.units };
                given = (units.len() as u32 * 8).to_be_bytes().to_vec();
                given.resize(8, 0);
                for unit in units {
                    given.extend([0x40 | (unit >> 8) as u8, *unit as u8, 0, 0, 0, 0, 0, 0]);
                }
            }
            0x12 => {
                given[0] = if !known {
                    0x7f
                } else if cd {
                    5
                } else {
                    0
                }
            }
            0x25 => given[..8].copy_from_slice(&[0, 0, 0x1f, 0xff, 0, 0, 2, 0]),
            0x9e => given[..12].copy_from_slice(&[0, 0, 0, 1, 0, 0, 0x1f, 0xff, 0, 0, 2, 0]),
            0x1a => given[2] = if lun(number) == 300 { 0x80 } else { 0 },
            0x28 | 0x88 => given = self.disk[place(command)].to_vec(),
            0x2a | 0x8a => {
                self.disk[place(command)].copy_from_slice(data);
                given.clear();
            }
            0x35 => {
                self.flushed += 1;
                given.clear();
            }
            other => panic!("command {other:#x}"),
        }
        if let Some((_, lie)) = self.lie.as_ref().filter(|lie| lie.0 == command[0]) {
            given[..lie.len()].copy_from_slice(lie);
        }
        Some((0, [0; 4], given))
    }
}

/// Which bytes of the disk a command is for.
fn place(command: [u8; 16]) -> core::ops::Range<usize> {
    let number = |at: usize, len: usize| {
        command[at..at + len].iter().fold(0, |number, byte| number << 8 | usize::from(*byte))
    };
    let (first, count) =
        if command[0] < 0x80 { (number(2, 4), number(7, 2)) } else { (number(2, 8), number(10, 4)) };
    first * 512..(first + count) * 512
}
