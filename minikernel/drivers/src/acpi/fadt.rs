//! Fixed ACPI Description Table: power management registers and the address of the DSDT (ACPI 5.2.9).

use crate::bytes;

/// A register in one of the two address spaces that firmware puts registers into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Register {
    /// A physical address.
    Memory(u64),
    /// An I/O port.
    Port(u16),
}

impl Register {
    /// Parses a Generic Address Structure (ACPI 5.2.3.2); `None` if it is absent (zero) or in another space.
    fn parse(table: &[u8], offset: usize) -> Option<Self> {
        let address = bytes::u64(table, offset.checked_add(4)?).filter(|address| *address != 0)?;
        match bytes::u8(table, offset)? {
            0 => Some(Self::Memory(address)),
            1 => u16::try_from(address).ok().map(Self::Port),
            _ => None,
        }
    }
}

/// What the table says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fadt {
    /// Physical address of the Differentiated System Description Table.
    pub dsdt: u64,
    /// I/O port of the first PM1 control register; absent on hardware-reduced machines.
    pub pm1a_control: Option<u16>,
    /// Physical address of the sleep control register of hardware-reduced machines.
    pub sleep_control: Option<u64>,
    /// I/O port of the power management timer.
    pub pm_timer: Option<u16>,
    /// That timer has 32 bits, not 24.
    pub pm_timer_wide: bool,
    /// The machine has none of the PC's fixed ACPI hardware.
    pub hardware_reduced: bool,
}

impl Fadt {
    /// Parses a whole table; `None` if it is too short for the fields of ACPI 1.0.
    pub fn parse(table: &[u8]) -> Option<Self> {
        const TMR_VAL_EXT: u32 = 1 << 8;
        const HW_REDUCED_ACPI: u32 = 1 << 20;
        let flags = bytes::u32(table, 112)?;
        let hardware_reduced = flags & HW_REDUCED_ACPI != 0;
        let dsdt = u64::from(bytes::u32(table, 40)?);
        // A register of fixed hardware: of both its addresses the extended one counts.
        let fixed = |offset, extended| match Register::parse(table, extended) {
            _ if hardware_reduced => None,
            Some(Register::Port(port)) => Some(port),
            _ => u16::try_from(bytes::u32(table, offset)?).ok().filter(|port| *port != 0),
        };
        Some(Self {
            dsdt: bytes::u64(table, 140).filter(|address| *address != 0).unwrap_or(dsdt),
            pm1a_control: fixed(64, 172),
            sleep_control: match Register::parse(table, 244) {
                Some(Register::Memory(address)) if hardware_reduced => Some(address),
                _ => None,
            },
            pm_timer: fixed(76, 208),
            pm_timer_wide: flags & TMR_VAL_EXT != 0,
            hardware_reduced,
        })
    }
}
