//! The firmware's description of the machine, as far as this kernel needs it (ACPI 6.5).
//!
//! Every table comes from the host and is hostile until proven otherwise: the parsers are total, each loop is
//! bounded by the bytes at hand, and a table that makes no sense is left out with a line in the log, so that the
//! machine boots with what the others say.

pub mod aml;
mod fadt;
mod madt;
mod mcfg;
#[cfg(any(test, fuzzing))]
pub mod sample;
mod tables;

use alloc::vec::Vec;
use core::fmt;

pub use aml::MmioDevice;
pub use fadt::Fadt;
pub use madt::{IoApic, LocalApic, Madt, Override};
pub use mcfg::EcamRegion;
pub use tables::PhysicalMemory;

pub use isopod_hal::irq::{Polarity, Trigger};
use isopod_hal::log;

use crate::bytes;

/// An interrupt line as firmware describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// Global system interrupt number: the inputs of all I/O APICs, counted through.
    pub gsi: u32,
    /// Edge or level.
    pub trigger: Trigger,
    /// Active high or low.
    pub polarity: Polarity,
}

/// Why the tables could not be read at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcpiError {
    /// No `RSD PTR ` with a valid checksum where the boot loader said.
    NoRootPointer,
    /// The table lies outside of what may be read as firmware memory, or memory for a copy ran out.
    Unreadable,
    /// A table's signature, length or checksum is wrong.
    Malformed,
}

impl fmt::Display for AcpiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoRootPointer => "no valid root pointer",
            Self::Unreadable => "a table cannot be read",
            Self::Malformed => "a table is malformed",
        })
    }
}

/// How to switch the machine off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SoftOff {
    /// Write `value` (16 bits) to the first PM1 control register at this I/O port (ACPI 4.8.3.2.1).
    Pm1 {
        /// I/O port of the register.
        port: u16,
        /// `SLP_TYPa` of `_S5` with `SLP_EN`.
        value: u16,
    },
    /// Write `value` (8 bits) to the sleep control register of hardware-reduced ACPI (ACPI 4.8.3.7).
    SleepControl {
        /// Physical address of the register.
        register: u64,
        /// `SLP_TYP` of `_S5` with `SLP_EN`.
        value: u8,
    },
}

/// What the tables say about the machine.
#[derive(Debug, Default)]
pub struct Platform {
    /// Interrupt controllers and processors.
    pub madt: Option<Madt>,
    /// Fixed hardware.
    pub fadt: Option<Fadt>,
    /// Where the configuration space of PCI lies in memory.
    pub ecam: Vec<EcamRegion>,
    /// virtio-mmio devices, in the order in which the firmware lists them.
    pub virtio_mmio: Vec<MmioDevice>,
    /// Physical address of the HPET's registers.
    pub hpet: Option<u64>,
    /// The sleep type of `_S5`.
    pub s5: Option<u8>,
}

impl Platform {
    /// Reads all tables that the root pointer at `rsdp` leads to.
    pub fn read(memory: &impl PhysicalMemory, rsdp: u64) -> Result<Self, AcpiError> {
        let mut platform = Self::default();
        for address in tables::addresses(memory, rsdp)? {
            if let Err(error) = platform.read_table(memory, address) {
                log!("acpi: table at {address:#x} left out: {error}");
            }
        }
        Ok(platform)
    }

    fn read_table(&mut self, memory: &impl PhysicalMemory, address: u64) -> Result<(), AcpiError> {
        match &tables::signature(memory, address)? {
            b"APIC" => {
                self.madt = Some(Madt::parse(&tables::load(memory, address)?).ok_or(AcpiError::Malformed)?);
            }
            b"MCFG" => self.ecam = mcfg::parse(&tables::load(memory, address)?),
            b"HPET" => self.hpet = bytes::u64(&tables::load(memory, address)?, 44),
            b"SSDT" => self.scan(&tables::load(memory, address)?),
            b"FACP" => {
                let fadt = Fadt::parse(&tables::load(memory, address)?).ok_or(AcpiError::Malformed)?;
                let dsdt = fadt.dsdt;
                self.fadt = Some(fadt);
                self.scan(&tables::load(memory, dsdt)?);
            }
            _ => {}
        }
        Ok(())
    }

    fn scan(&mut self, definition_block: &[u8]) {
        let code = definition_block.get(tables::HEADER..).unwrap_or_default();
        self.virtio_mmio.extend(aml::devices(code, *b"LNRO0005"));
        self.s5 = self.s5.or_else(|| aml::sleep_type(code, 5));
    }

    /// How an ISA interrupt arrives.
    pub fn isa_line(&self, isa: u8) -> Line {
        let own = Line { gsi: u32::from(isa), trigger: Trigger::Edge, polarity: Polarity::High };
        let overrides = self.madt.iter().flat_map(|madt| &madt.overrides);
        overrides.filter(|entry| entry.isa == isa).map(|entry| entry.line).next().unwrap_or(own)
    }

    /// How to switch the machine off, if the tables say so.
    pub fn soft_off(&self) -> Option<SoftOff> {
        const SLP_EN_PM1: u16 = 1 << 13;
        const SLP_EN_REDUCED: u8 = 1 << 5;
        let (fadt, s5) = (self.fadt.as_ref()?, self.s5?);
        if let Some(register) = fadt.sleep_control {
            return Some(SoftOff::SleepControl { register, value: (s5 & 7) << 2 | SLP_EN_REDUCED });
        }
        let port = fadt.pm1a_control?;
        Some(SoftOff::Pm1 { port, value: u16::from(s5 & 7) << 10 | SLP_EN_PM1 })
    }
}

#[cfg(test)]
mod tests;
