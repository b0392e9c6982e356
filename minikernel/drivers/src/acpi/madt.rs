//! Multiple APIC Description Table: processors and interrupt controllers (ACPI 5.2.12).

use alloc::vec::Vec;

use super::{Line, Polarity, Trigger};
use crate::bytes;

/// A processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalApic {
    /// The identifier that interrupts are addressed to.
    pub id: u32,
    /// False for a socket that is empty now and may be filled later.
    pub enabled: bool,
}

/// An I/O APIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IoApic {
    /// Physical address of its registers.
    pub address: u64,
    /// Number of its first input among all global system interrupts.
    pub gsi_base: u32,
}

/// Where an ISA interrupt arrives, if not at the input of its own number, edge-triggered and active high.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Override {
    /// ISA interrupt number.
    pub isa: u8,
    /// Where and how it arrives.
    pub line: Line,
}

/// What the table says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Madt {
    /// Physical address of each processor's local APIC.
    pub local_apic_address: u64,
    /// Processors.
    pub processors: Vec<LocalApic>,
    /// I/O APICs.
    pub io_apics: Vec<IoApic>,
    /// Odd ISA interrupts.
    pub overrides: Vec<Override>,
}

impl Madt {
    /// Parses a whole table. An entry that is too short for its type, or of an unknown type, is skipped; `None` if
    /// the table is too short.
    pub fn parse(table: &[u8]) -> Option<Self> {
        let mut madt = Self { local_apic_address: u64::from(bytes::u32(table, 36)?), ..Self::default() };
        let mut rest = table.get(44..)?;
        while let (Some(kind), Some(length)) = (bytes::u8(rest, 0), bytes::u8(rest, 1)) {
            let Some((entry, tail)) = rest.split_at_checked(usize::from(length)).filter(|_| length >= 2)
            else {
                break;
            };
            rest = tail;
            // An entry too short for its type says nothing.
            let _: Option<()> = madt.take(kind, entry);
        }
        Some(madt)
    }

    fn take(&mut self, kind: u8, entry: &[u8]) -> Option<()> {
        const ENABLED: u32 = 1;
        match kind {
            0 => {
                let enabled = bytes::u32(entry, 4)? & ENABLED != 0;
                self.processors.push(LocalApic { id: u32::from(bytes::u8(entry, 3)?), enabled });
            }
            1 => {
                let address = u64::from(bytes::u32(entry, 4)?);
                self.io_apics.push(IoApic { address, gsi_base: bytes::u32(entry, 8)? });
            }
            2 => {
                let flags = bytes::u16(entry, 8)?;
                let line = Line {
                    gsi: bytes::u32(entry, 4)?,
                    // "Conforms to the bus" means edge and high for ISA.
                    trigger: if flags >> 2 & 3 == 3 { Trigger::Level } else { Trigger::Edge },
                    polarity: if flags & 3 == 3 { Polarity::Low } else { Polarity::High },
                };
                self.overrides.push(Override { isa: bytes::u8(entry, 3)?, line });
            }
            5 => self.local_apic_address = bytes::u64(entry, 4)?,
            9 => {
                let enabled = bytes::u32(entry, 8)? & ENABLED != 0;
                self.processors.push(LocalApic { id: bytes::u32(entry, 4)?, enabled });
            }
            _ => {}
        }
        Some(())
    }
}
