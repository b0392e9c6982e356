//! Counters of known rate: the ACPI timer, the HPET, and the timer chip of every PC.

use crate::{PhysRange, clock::Reference, mmio::Mmio, port::Port};

/// Rates in Hz.
const PIT_FREQUENCY: u64 = 1_193_182;
const PM_TIMER_FREQUENCY: u64 = 3_579_545;

/// The 8254's channel 0 and its mode register.
const PIT_CHANNEL: Port<u8> = Port::new(0x40);
const PIT_MODE: Port<u8> = Port::new(0x43);
/// Channel 0, low byte then high, mode 2: counts down from 65536 by one, again and again.
const PIT_RATE_GENERATOR: u8 = 0x34;
/// Channel 0: hold the count for reading.
const PIT_LATCH: u8 = 0x00;

/// Registers of the HPET (IA-PC HPET specification, section 2.3).
const HPET_CAPABILITIES: usize = 0x00;
const HPET_CONFIGURATION: usize = 0x10;
const HPET_COUNTER: usize = 0xf0;
const FEMTOSECONDS: u64 = 1_000_000_000_000_000;

/// A counter that counts upwards.
pub(super) enum Counter {
    Pit,
    PmTimer { port: Port<u32>, wide: bool },
    Hpet { registers: Mmio, frequency: u64 },
}

impl Counter {
    /// The counter that was offered, or the timer chip, started anew.
    pub(super) fn open(offered: Option<Reference>) -> Self {
        match offered {
            Some(Reference::PmTimer { port, wide }) => return Self::PmTimer { port: Port::new(port), wide },
            Some(Reference::Hpet(at)) => {
                if let Some(hpet) = open_hpet(at) {
                    return hpet;
                }
            }
            None => {}
        }
        PIT_MODE.write(PIT_RATE_GENERATOR);
        PIT_CHANNEL.write(0);
        PIT_CHANNEL.write(0);
        Self::Pit
    }

    /// Counts per second.
    pub(super) fn frequency(&self) -> u64 {
        match self {
            Self::Pit => PIT_FREQUENCY,
            Self::PmTimer { .. } => PM_TIMER_FREQUENCY,
            Self::Hpet { frequency, .. } => *frequency,
        }
    }

    /// The largest count, after which it begins anew.
    pub(super) fn mask(&self) -> u64 {
        match self {
            Self::Pit => 0xffff,
            Self::PmTimer { wide: false, .. } => 0xff_ffff,
            Self::PmTimer { wide: true, .. } | Self::Hpet { .. } => 0xffff_ffff,
        }
    }

    /// The count now.
    pub(super) fn read(&self) -> u64 {
        let count = match self {
            Self::Pit => {
                PIT_MODE.write(PIT_LATCH);
                let low = PIT_CHANNEL.read();
                let high = PIT_CHANNEL.read();
                u64::from(u16::from_le_bytes([low, high])).wrapping_neg()
            }
            Self::PmTimer { port, .. } => u64::from(port.read()),
            Self::Hpet { registers, .. } => u64::from(registers.read32(HPET_COUNTER)),
        };
        count & self.mask()
    }
}

fn open_hpet(at: crate::PhysAddr) -> Option<Counter> {
    let registers = Mmio::map(PhysRange::new(at, 0x400)).ok()?;
    let period = registers.read64(HPET_CAPABILITIES) >> 32;
    // At least 10 MHz, says the specification.
    if period == 0 || period > 100_000_000 {
        return None;
    }
    registers.write64(HPET_CONFIGURATION, registers.read64(HPET_CONFIGURATION) | 1);
    Some(Counter::Hpet { registers, frequency: FEMTOSECONDS / period })
}
