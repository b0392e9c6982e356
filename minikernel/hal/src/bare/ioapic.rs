//! IOAPICs: device wires to vectors (Intel 82093AA data sheet).

use alloc::vec::Vec;

use super::apic::apic_id;
use crate::{
    PhysAddr, PhysRange,
    irq::{IoApicInfo, Polarity, RouteError, Trigger},
    mmio::Mmio,
    sync::SpinLock,
};

/// Where a PC has its first one.
const DEFAULT: IoApicInfo = IoApicInfo { address: PhysAddr::new(0xfec0_0000), gsi_base: 0 };
/// Offsets of the register that selects another, and of the one through which that is seen.
const SELECT: usize = 0x00;
const WINDOW: usize = 0x10;
/// Registers behind the window.
const VERSION: u32 = 1;
const REDIRECTION: u32 = 0x10;
/// Bits of a redirection entry's lower half.
const ACTIVE_LOW: u32 = 1 << 13;
const LEVEL: u32 = 1 << 15;

struct IoApic {
    registers: Mmio,
    gsi_base: u32,
    inputs: u32,
}

impl IoApic {
    fn open(info: IoApicInfo) -> Option<Self> {
        let registers = Mmio::map(PhysRange::new(info.address, 0x20)).ok()?;
        let mut ioapic = Self { registers, gsi_base: info.gsi_base, inputs: 0 };
        ioapic.inputs = (ioapic.read(VERSION) >> 16 & 0xff) + 1;
        Some(ioapic)
    }

    fn read(&self, register: u32) -> u32 {
        self.registers.write32(SELECT, register);
        self.registers.read32(WINDOW)
    }

    fn write(&self, register: u32, value: u32) {
        self.registers.write32(SELECT, register);
        self.registers.write32(WINDOW, value);
    }
}

static IOAPICS: SpinLock<Vec<IoApic>> = SpinLock::new(Vec::new());

/// Opens the IOAPICs that firmware names. One that cannot be opened has no inputs.
pub(crate) fn configure_ioapics(infos: &[IoApicInfo]) {
    let mut ioapics = IOAPICS.lock();
    if ioapics.is_empty() {
        ioapics.extend(infos.iter().filter_map(|&info| IoApic::open(info)));
    }
}

/// Connects an input to a vector of this CPU.
pub(crate) fn route_gsi(
    gsi: u32,
    vector: u8,
    trigger: Trigger,
    polarity: Polarity,
) -> Result<(), RouteError> {
    let mut ioapics = IOAPICS.lock();
    if ioapics.is_empty() {
        ioapics.push(IoApic::open(DEFAULT).ok_or(RouteError::Unreachable)?);
    }
    let (ioapic, input) = ioapics
        .iter()
        .find_map(|ioapic| {
            let input = gsi.checked_sub(ioapic.gsi_base)?;
            (input < ioapic.inputs).then_some((ioapic, input))
        })
        .ok_or(RouteError::NoSuchInput)?;
    let mut entry = u32::from(vector);
    if trigger == Trigger::Level {
        entry |= LEVEL;
    }
    if polarity == Polarity::Low {
        entry |= ACTIVE_LOW;
    }
    // The upper half, the destination, first: the lower one takes the mask away.
    ioapic.write(REDIRECTION + 2 * input + 1, apic_id() << 24);
    ioapic.write(REDIRECTION + 2 * input, entry);
    Ok(())
}
