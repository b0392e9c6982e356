//! VMware's paravirtual SCSI adapter, as Linux' `vmw_pvscsi.h` describes it: a ring of requests and one of what came back.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use isopod_hal::dma::{Dma, fence};
use isopod_hal::mmio::Mmio;
use isopod_hal::{PAGE_SIZE, PhysAddr, PhysRange};

use super::scsi::{self, Bus, lun, target};
use super::{Adapter, Command, Controller, Found, Hardware, Kind, Outcome, Refusal};
use crate::block::BlockError;
use crate::pci::Function;

const NAME: &str = "pvscsi";
/// Bytes of registers.
const WINDOW: u64 = 32 << 10;
/// Targets that an adapter can have.
const TARGETS: u32 = 64;
/// Requests at a time, as many as the page of their ring has; and what came back in the page of the other one.
const SLOTS: usize = 32;
const RETURNS: u32 = 128;
/// Pages of a command, and bytes of the list of their segments.
const MOST_PAGES: usize = 32;
const LIST: usize = 16 * MOST_PAGES;
/// Bytes of what a device says of an error.
const SENSE: usize = 32;

mod register {
    pub const COMMAND: usize = 0x0000;
    pub const DATA: usize = 0x0004;
    pub const INTERRUPTS: usize = 0x100c;
    pub const INTERRUPT_MASK: usize = 0x2010;
    /// There are requests, of others than transfers and of transfers.
    pub const KICK: [usize; 2] = [0x3014, 0x4018];
}

/// Commands of the adapter.
mod adapter {
    pub const RESET: u32 = 1;
    pub const SETUP_RINGS: u32 = 3;
}

/// What came back.
const COMPLETIONS: u32 = 0b11;

/// Where things lie in the adapter's memory: the state of the rings, the rings, the lists and what is said of errors.
const REQUESTS: usize = PAGE_SIZE;
const RETURNED: usize = 2 * PAGE_SIZE;
const LISTS: usize = 3 * PAGE_SIZE;
const SENSES: usize = LISTS + SLOTS * LIST;
const MEMORY: usize = SENSES + SLOTS * SENSE;

/// In the state of the rings.
mod state {
    pub const REQUESTED: usize = 0;
    pub const RETURNED: usize = 12;
    pub const TAKEN: usize = 16;
}

/// The rings of an adapter.
struct Rings {
    function: Function,
    registers: Mmio,
    memory: Dma,
    /// Requests that were made, those that the adapter was told of, and what was taken of what came back.
    requested: u32,
    told: u32,
    taken: u32,
    /// Slots whose command transfers sectors: all of them or none.
    exact: u32,
    /// Whether the last request transfers any.
    transfers: bool,
}

/// Starts an adapter; its disks are not known yet.
pub(super) fn start(adapter: &Adapter<'_>, found: &mut Found) -> Result<(), Refusal> {
    let function = adapter.function;
    let place = function.place();
    let address = function.bar(0).ok_or(Refusal::WINDOW)?;
    let registers = Mmio::map(PhysRange::new(PhysAddr::new(address), WINDOW)).map_err(|_| Refusal::WINDOW)?;
    let memory = Dma::pages(MEMORY.div_ceil(PAGE_SIZE))?;
    registers.write32(register::COMMAND, adapter::RESET);
    let listeners = adapter.connect()?;
    let page = |offset: usize| memory.phys().as_u64() / PAGE_SIZE as u64 + (offset / PAGE_SIZE) as u64;
    // A page for each of both rings, of 32 that could be.
    let mut rings = [0; 66];
    (rings[0], rings[1], rings[2], rings[34]) = (1 << 32 | 1, page(0), page(REQUESTS), page(RETURNED));
    registers.write32(register::COMMAND, adapter::SETUP_RINGS);
    for word in rings {
        registers.write32(register::DATA, word as u32);
        registers.write32(register::DATA, (word >> 32) as u32);
    }
    registers.write32(register::INTERRUPTS, u32::MAX);
    registers.write32(register::INTERRUPT_MASK, COMPLETIONS);
    let function = function.clone();
    let hardware =
        Rings { function, registers, memory, requested: 0, told: 0, taken: 0, exact: 0, transfers: false };
    let controller = Arc::new(Controller::new((NAME, place), Box::new(hardware), SLOTS, MOST_PAGES)?);
    listeners.get_or_init(|| Vec::from([Arc::clone(&controller)]));
    found.buses.push(Bus { controller, name: NAME, place, targets: TARGETS, known: Vec::new() });
    Ok(())
}

impl Rings {
    /// What the descriptor at `at` says of a command, and its slot.
    fn outcome(&self, at: usize) -> (usize, Outcome) {
        const FINE: [u16; 3] = [0x00, 0x0a, 0x0b];
        const SHORT: [u16; 2] = [0x0c, 0x12];
        /// The bus was reset, or the command taken back.
        const RESET: [u16; 4] = [0x22, 0x23, 0x25, 0x26];
        let memory = &self.memory;
        let slot = usize::try_from(memory.read_u64(at)).unwrap_or(usize::MAX);
        let (host, scsi) = (memory.read_u16(at + 20), memory.read_u16(at + 22));
        if slot >= SLOTS || RESET.contains(&host) {
            return (slot, Outcome::Again);
        }
        let mut sense = [0; 4];
        memory.read(SENSES + slot * SENSE, &mut sense);
        let outcome = match scsi::outcome(scsi as u8, sense) {
            // Less than was asked for, as of what a device says of itself.
            Outcome::Done if SHORT.contains(&host) && self.exact >> slot & 1 != 0 => {
                Outcome::Failed(BlockError::Io)
            }
            outcome if FINE.contains(&host) || SHORT.contains(&host) => outcome,
            _ => Outcome::Failed(BlockError::Io),
        };
        (slot, outcome)
    }
}

impl Hardware for Rings {
    fn submit(&mut self, slot: usize, command: &Command<'_>) -> bool {
        const LISTED: u32 = 1;
        const NONE: u32 = 1 << 2;
        const READ: u32 = 1 << 3;
        const WRITE: u32 = 1 << 4;
        /// What is asked for without order.
        const SIMPLE: u8 = 0x20;
        let (list, sense) = (LISTS + slot * LIST, SENSES + slot * SENSE);
        let memory = &self.memory;
        let address = |offset: usize| memory.phys().as_u64() + offset as u64;
        for (segment, at) in command.data.iter().zip((list..).step_by(16)) {
            memory.write_u64(at, segment.address.as_u64());
            memory.write_u64(at + 8, segment.len.into());
        }
        memory.write(sense, &[0; SENSE]);
        let direction = match command.kind {
            Kind::Write => WRITE,
            _ if command.len == 0 => NONE,
            _ => READ,
        };
        let [high, low] = lun(command.unit).to_be_bytes();
        let high = if high == 0 { 0 } else { 0x40 | high };
        let bytes = scsi::bytes(command);
        let mut rest = [0; 88];
        rest[..16].copy_from_slice(&bytes);
        // How long a command is, is in the highest bits of it (SPC-4, 4.2.5.1).
        rest[16] = match bytes[0] >> 5 {
            0 => 6,
            1 | 2 => 10,
            5 => 12,
            _ => 16,
        };
        rest[17..19].copy_from_slice(&[high, low]);
        rest[25] = SIMPLE;
        rest[27] = target(command.unit);
        let at = REQUESTS + self.requested as usize % SLOTS * 128;
        let words = [
            slot as u64,
            address(list),
            command.len as u64,
            address(sense),
            SENSE as u64 | u64::from(LISTED | direction) << 32,
        ];
        for (index, word) in words.into_iter().enumerate() {
            memory.write_u64(at + 8 * index, word);
        }
        memory.write(at + 40, &rest);
        self.requested = self.requested.wrapping_add(1);
        fence();
        memory.write_u32(state::REQUESTED, self.requested);
        self.transfers = matches!(command.kind, Kind::Read | Kind::Write);
        self.exact = self.exact & !(1 << slot) | u32::from(self.transfers) << slot;
        true
    }

    fn kick(&mut self) {
        if core::mem::replace(&mut self.told, self.requested) != self.requested {
            self.registers.write32(register::KICK[usize::from(self.transfers)], 0);
        }
    }

    fn next_done(&mut self) -> Result<Option<(usize, Outcome)>, &'static str> {
        let waiting = self.memory.read_u32(state::RETURNED).wrapping_sub(self.taken);
        if waiting == 0 {
            return Ok(None);
        }
        if waiting > SLOTS as u32 {
            return Err("it returned more than it has");
        }
        fence();
        let done = self.outcome(RETURNED + (self.taken % RETURNS) as usize * 32);
        self.taken = self.taken.wrapping_add(1);
        self.memory.write_u32(state::TAKEN, self.taken);
        Ok(Some(done))
    }

    fn acknowledge(&mut self) {
        self.registers.write32(register::INTERRUPTS, COMPLETIONS);
    }

    fn stop(&mut self) {
        self.registers.write32(register::COMMAND, adapter::RESET);
        self.function.disable();
    }
}

#[cfg(test)]
mod tests;
