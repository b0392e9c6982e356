//! Finding the disks behind an adapter: each of its targets is asked for its logical units, and each of those what it is.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use isopod_hal::PAGE_SIZE;

use crate::Place;
use crate::block::{Block, BlockError, Name};
use crate::bytes::array;
use crate::disk::{Controller, Disk, Geometry};

const INQUIRY: u8 = 0x12;
const MODE_SENSE_6: u8 = 0x1a;
const READ_CAPACITY_10: u8 = 0x25;
/// With [`READ_CAPACITY_16`]: a command that shares its code with others.
const SERVICE_ACTION_IN: u8 = 0x9e;
const READ_CAPACITY_16: u8 = 0x10;
const REPORT_LUNS: u8 = 0xa0;
/// Most logical units of a target.
const MOST: usize = 64;

/// An adapter's disks.
pub(crate) struct Bus {
    pub controller: Arc<Controller>,
    pub name: &'static str,
    pub place: Place,
    /// How many targets it can have.
    pub targets: u32,
    /// Units that are disks and known.
    pub known: Vec<u32>,
}

/// The number of a logical unit on its adapter.
pub(crate) fn unit(target: u32, lun: u16) -> u32 {
    target << 16 | u32::from(lun)
}

/// The target in such a number.
pub(crate) fn target(unit: u32) -> u8 {
    (unit >> 16) as u8
}

/// The number of the unit in its target.
pub(crate) fn lun(unit: u32) -> u16 {
    unit as u16
}

impl Bus {
    /// Adds the disks that are not known yet.
    pub fn look(&mut self, disks: &mut Vec<Arc<dyn Block>>) {
        for target in 0..self.targets {
            for lun in self.units(target) {
                let unit = unit(target, lun);
                if self.known.contains(&unit) {
                    continue;
                }
                if let Some(geometry) = self.geometry(unit) {
                    self.known.push(unit);
                    let name = Name { controller: self.name, place: self.place, number: unit };
                    disks.push(Disk::new(Arc::clone(&self.controller), name, geometry));
                }
            }
        }
    }

    /// The logical units of a target: those that it lists, or the first if it cannot list any.
    fn units(&self, target: u32) -> Vec<u16> {
        /// What precedes the list, and what a unit takes in it.
        const ENTRY: usize = 8;
        let mut command = [0; 16];
        command[0] = REPORT_LUNS;
        command[6..10].copy_from_slice(&(PAGE_SIZE as u32).to_be_bytes());
        match self.ask(unit(target, 0), command) {
            Ok(list) => {
                let length = array(&list, 0).map_or(0, |length| u32::from_be_bytes(length) as usize);
                let entries = list[ENTRY..].chunks_exact(ENTRY).take((length / ENTRY).min(MOST));
                // In the first level, as a number of eight bits or of fourteen (SAM-5, 4.7).
                let number = |entry: &[u8]| match entry[0] >> 6 {
                    0 | 1 => Some(u16::from_be_bytes([entry[0] & 0x3f, entry[1]])),
                    _ => None,
                };
                entries.filter_map(number).collect()
            }
            Err(BlockError::Unsupported) => vec![0],
            Err(_) => Vec::new(),
        }
    }

    /// What a logical unit says of itself; `None` if it is no disk, or none for us.
    fn geometry(&self, unit: u32) -> Option<Geometry> {
        /// Bytes of an answer that are asked for.
        const LENGTH: u8 = 64;
        let mut command = [0; 16];
        command[0] = INQUIRY;
        command[4] = LENGTH;
        // Connected, and a disk: both are zeros.
        if self.ask(unit, command).ok()?[0] != 0 {
            return None;
        }
        let mut command = [0; 16];
        command[0] = READ_CAPACITY_10;
        let answer = self.ask(unit, command).ok()?;
        let mut last = u64::from(u32::from_be_bytes(array(&answer, 0)?));
        let mut size = u32::from_be_bytes(array(&answer, 4)?);
        if last == u64::from(u32::MAX) {
            command = [0; 16];
            command[..2].copy_from_slice(&[SERVICE_ACTION_IN, READ_CAPACITY_16]);
            command[13] = LENGTH;
            let answer = self.ask(unit, command).ok()?;
            last = u64::from_be_bytes(array(&answer, 0)?);
            size = u32::from_be_bytes(array(&answer, 8)?);
        }
        if !size.is_power_of_two() || !(512..=4096).contains(&size) {
            return None;
        }
        let block = u64::from(size / 512);
        let sectors = last.saturating_add(1).saturating_mul(block);
        // All pages; whether it may be written is said before them. Who does not tell lets itself be written.
        command = [0; 16];
        command[..5].copy_from_slice(&[MODE_SENSE_6, 0, 0x3f, 0, LENGTH]);
        let read_only = self.ask(unit, command).is_ok_and(|answer| answer[2] & 0x80 != 0);
        Some(Geometry { sectors, block, read_only, can_flush: true })
    }

    /// What a command gives, in a page.
    fn ask(&self, unit: u32, command: [u8; 16]) -> Result<Vec<u8>, BlockError> {
        /// As many bytes as a command asks for; more of them would be too few that came.
        const CAPACITY: usize = 8;
        let len = match command[0] {
            READ_CAPACITY_10 => CAPACITY,
            REPORT_LUNS => PAGE_SIZE,
            SERVICE_ACTION_IN => command[13].into(),
            _ => command[4].into(),
        };
        let page = self.controller.execute(unit, command, len)?;
        let mut bytes = vec![0; PAGE_SIZE];
        page.read(0, &mut bytes);
        Ok(bytes)
    }
}
