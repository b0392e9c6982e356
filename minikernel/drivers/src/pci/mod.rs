//! PCI: finding functions and reading their configuration space (PCI Local Bus 3.0, chapter 6).
//!
//! Each access to configuration space leaves the virtual machine (by ports it does so twice), so only what the
//! drivers need is read, and nothing is sized or assigned: firmware or the VMM has given every BAR its address.

mod config;
mod msi;
mod msix;

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

pub use config::{Bus, ConfigSpace, Ecam, Ports};
pub use msi::connect;
pub use msix::{enable_msix, entries as msix_entries};

use crate::Place;

const ID: u8 = 0x00;
const COMMAND_STATUS: u8 = 0x04;
const CLASS_REVISION: u8 = 0x08;
const HEADER_TYPE: u8 = 0x0c;
const BAR0: u8 = 0x10;
const BUSES: u8 = 0x18;
const CAPABILITIES: u8 = 0x34;
const INTERRUPT: u8 = 0x3c;

/// Capability identifier of MSI-X.
pub const CAPABILITY_MSIX: u8 = 0x11;
/// Capability identifier of vendor-specific structures.
pub const CAPABILITY_VENDOR: u8 = 0x09;

/// One function of a device.
#[derive(Clone)]
pub struct Function {
    bus: Arc<dyn Bus>,
    bus_number: u8,
    /// Device in the upper five bits, function in the lower three.
    number: u8,
    /// Vendor identifier.
    pub vendor: u16,
    /// Device identifier.
    pub device: u16,
}

/// A capability: where it is, and its first 32 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capability {
    /// Capability identifier.
    pub id: u8,
    /// Where it starts in configuration space.
    pub offset: u8,
    /// The first 16 bits after identifier and link.
    pub head: u16,
}

/// Calls `found` with each function that answers, bus 0 first, then the buses behind bridges.
pub fn enumerate(space: &dyn ConfigSpace, found: &mut dyn FnMut(Function)) {
    let mut buses = Vec::from([0u8]);
    let mut at = 0;
    while let Some(&bus_number) = buses.get(at) {
        at += 1;
        let Some(bus) = space.bus(bus_number) else { continue };
        for device in 0..32u8 {
            let mut functions = 1;
            let mut function = 0;
            while function < functions {
                let number = device << 3 | function;
                function += 1;
                let id = bus.read(number, ID);
                if id & 0xffff == 0xffff {
                    continue;
                }
                let (vendor, device) = (id as u16, (id >> 16) as u16);
                let header = bus.read(number, HEADER_TYPE) >> 16;
                if header & 0x80 != 0 {
                    functions = 8;
                }
                if header & 0x7f == 1 {
                    let secondary = (bus.read(number, BUSES) >> 8) as u8;
                    // A bus seen before would lead in circles; 0 is a bridge that nobody configured.
                    if !buses.contains(&secondary) {
                        buses.push(secondary);
                    }
                }
                found(Function { bus: Arc::clone(&bus), bus_number, number, vendor, device });
            }
        }
    }
}

impl Function {
    /// Where it is.
    pub fn place(&self) -> Place {
        Place::Pci(self.bus_number, self.number)
    }

    /// The 32-bit register that contains byte `offset`, which is aligned down.
    pub fn read(&self, offset: u8) -> u32 {
        self.bus.read(self.number, offset & !3)
    }

    /// Writes a 32-bit register.
    pub fn write(&self, offset: u8, value: u32) {
        self.bus.write(self.number, offset & !3, value);
    }

    /// Lets the function decode ports and memory and access memory. Returns whether it has capabilities.
    pub fn enable(&self) -> bool {
        const PORTS_AND_MEMORY: u32 = 0b11;
        const BUS_MASTER: u32 = 1 << 2;
        const CAPABILITY_LIST: u32 = 1 << 20;
        let register = self.read(COMMAND_STATUS);
        // The upper half is the status, whose bits are cleared by writing ones.
        let command = register & 0xffff;
        if command != command | PORTS_AND_MEMORY | BUS_MASTER {
            self.write(COMMAND_STATUS, command | PORTS_AND_MEMORY | BUS_MASTER);
        }
        register & CAPABILITY_LIST != 0
    }

    /// Takes the access to memory from it again.
    pub fn disable(&self) {
        const BUS_MASTER: u32 = 1 << 2;
        self.write(COMMAND_STATUS, self.read(COMMAND_STATUS) & 0xffff & !BUS_MASTER);
    }

    /// What it is (PCI Code and ID Assignment 1.11): class, subclass and programming interface, from the highest byte to the lowest.
    pub fn class(&self) -> u32 {
        self.read(CLASS_REVISION) >> 8
    }

    /// Its capabilities, in the order of the list.
    pub fn capabilities(&self) -> Vec<Capability> {
        // As many as fit in 192 bytes: a list that is longer runs in circles.
        const MOST: usize = 48;
        let mut capabilities = Vec::new();
        let mut offset = self.read(CAPABILITIES) as u8 & !3;
        while offset >= 0x40 && capabilities.len() < MOST {
            let word = self.read(offset);
            capabilities.push(Capability { id: word as u8, offset, head: (word >> 16) as u16 });
            offset = (word >> 8) as u8 & !3;
        }
        capabilities
    }

    /// The physical address that BAR `index` decodes; `None` for an I/O BAR, an unassigned one or no such BAR.
    pub fn bar(&self, index: u8) -> Option<u64> {
        if index > 5 {
            return None;
        }
        let low = self.read(BAR0 + 4 * index);
        let high = match low & 0b111 {
            0b000 => 0,
            0b100 if index < 5 => self.read(BAR0 + 4 * (index + 1)),
            _ => return None,
        };
        Some(u64::from(high) << 32 | u64::from(low & !0xf)).filter(|address| *address != 0)
    }

    /// The first I/O port that BAR `index` decodes; `None` for a BAR of memory, an unassigned one or no such BAR.
    pub fn io_bar(&self, index: u8) -> Option<u16> {
        let value = if index > 5 { 0 } else { self.read(BAR0 + 4 * index) };
        (value & 1 != 0 && value > 0b11).then(|| u16::try_from(value & !0b11).ok()).flatten()
    }

    /// The ISA interrupt that firmware routed the function's pin to; `None` if it has no pin or no route.
    pub fn interrupt_line(&self) -> Option<u8> {
        let [line, pin, ..] = self.read(INTERRUPT).to_le_bytes();
        (pin != 0 && line < 16).then_some(line)
    }
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [{:04x}:{:04x}]", self.place(), self.vendor, self.device)
    }
}

#[cfg(test)]
pub(crate) mod simulated;
#[cfg(test)]
mod tests;
