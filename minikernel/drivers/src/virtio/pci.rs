//! virtio over PCI (virtio 1.2, 4.1), by the modern interface only.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem;

use isopod_hal::mmio::Mmio;
use isopod_hal::sync::Once;
use isopod_hal::{PhysAddr, PhysRange, irq};

use super::{Doorbell, Handler, Rings, StartError, Status, Transport};
use crate::acpi::Line;
use crate::interrupt;
use crate::pci::{CAPABILITY_MSIX, CAPABILITY_VENDOR, Capability, Function, enable_msix, msix_entries};

/// Fields of the common configuration (4.1.4.3).
mod common {
    pub const DEVICE_FEATURES_SELECT: usize = 0x00;
    pub const DEVICE_FEATURES: usize = 0x04;
    pub const DRIVER_FEATURES_SELECT: usize = 0x08;
    pub const DRIVER_FEATURES: usize = 0x0c;
    pub const CONFIG_VECTOR: usize = 0x10;
    pub const STATUS: usize = 0x14;
    pub const QUEUE_SELECT: usize = 0x16;
    pub const QUEUE_SIZE: usize = 0x18;
    pub const QUEUE_VECTOR: usize = 0x1a;
    pub const QUEUE_ENABLE: usize = 0x1c;
    pub const QUEUE_NOTIFY_OFFSET: usize = 0x1e;
    pub const QUEUE_DESCRIPTORS: usize = 0x20;
    pub const QUEUE_AVAILABLE: usize = 0x28;
    pub const QUEUE_USED: usize = 0x30;
    pub const LENGTH: usize = 0x38;
}

/// The kinds of structures that a vendor capability can describe (4.1.4).
mod structure {
    pub const COMMON: u8 = 1;
    pub const NOTIFICATIONS: u8 = 2;
    pub const CAUSE: u8 = 3;
    pub const DEVICE: u8 = 4;
}

/// No structure is longer, but for the notifications of thousands of queues. A length that the device made up must not
/// map gigabytes.
const LONGEST_WINDOW: u32 = 64 << 10;

/// A register window and its length.
#[derive(Debug)]
struct Window {
    registers: Mmio,
    len: usize,
}

impl Window {
    /// Maps the structure that a vendor capability describes: BAR, offset and length at bytes 4, 8 and 12. The BAR read
    /// last is kept in `bar`: all structures tend to share one.
    fn map(function: &Function, capability: Capability, bar: &mut Option<(u8, u64)>) -> Option<Self> {
        let word = |at: u8| Some(function.read(capability.offset.checked_add(at)?));
        let (index, offset, len) = (word(4)? as u8, word(8)?, word(12)?.min(LONGEST_WINDOW));
        let address = match *bar {
            Some((known, address)) if known == index => address,
            _ => function.bar(index)?,
        };
        *bar = Some((index, address));
        let base = address.checked_add(u64::from(offset))?;
        if !offset.is_multiple_of(4) || len == 0 {
            return None;
        }
        let registers = Mmio::map(PhysRange::new(PhysAddr::new(base), u64::from(len))).ok()?;
        Some(Self { registers, len: len as usize })
    }
}

/// How the device interrupts.
#[derive(Debug)]
enum Interrupt {
    /// Not yet, but by messages it can.
    PossibleMessage(Capability),
    /// Not yet, but by its pin it can.
    PossiblePin(Option<Line>, Window),
    /// By so many entries of the table.
    Message(u16),
    /// By its pin, until the cause is read.
    Pin(Window),
}

/// A function with virtio's capabilities.
#[derive(Debug)]
pub struct PciTransport {
    function: Function,
    common: Window,
    notifications: Window,
    notify_multiplier: usize,
    /// Where the device's configuration is described, and its window once somebody has asked for it.
    config: (Option<Capability>, Once<Option<Window>>),
    /// The BAR read last.
    bar: Option<(u8, u64)>,
    interrupt: Interrupt,
}

/// The virtio device number of a function, if it is one with the modern interface. A function with an identifier
/// from before virtio 1.0 may have it too; its device number is then told by its old identifier.
pub fn device_number(function: &Function) -> Option<u32> {
    const VENDOR: u16 = 0x1af4;
    if function.vendor != VENDOR {
        return None;
    }
    match function.device {
        0x1000 => Some(super::device::NETWORK),
        0x1001 => Some(super::device::BLOCK),
        0x1004 => Some(super::device::SCSI),
        0x1003 => Some(super::device::CONSOLE),
        0x1005 => Some(super::device::RANDOM),
        0x1012 => Some(super::device::SOCKET),
        modern @ 0x1040..=0x107f => Some(u32::from(modern - 0x1040)),
        _ => None,
    }
}

impl PciTransport {
    /// The way to the device. `isa_line` tells how an ISA interrupt arrives, for a device without MSI-X.
    pub fn open(function: Function, isa_line: &dyn Fn(u8) -> Line) -> Result<Self, StartError> {
        if !function.enable() {
            return Err(StartError::Legacy);
        }
        let (mut msix, mut structures) = (None, [None; 5]);
        for capability in function.capabilities() {
            let kind = (capability.head >> 8) as u8;
            match (capability.id, kind) {
                (CAPABILITY_MSIX, _) => msix = Some(capability),
                // The first of a kind is the one that the device prefers (4.1.4.1).
                (CAPABILITY_VENDOR, structure::COMMON..=structure::DEVICE) => {
                    let slot: &mut Option<Capability> = &mut structures[usize::from(kind)];
                    *slot = slot.or(Some(capability));
                }
                _ => {}
            }
        }
        let mut bar = None;
        let mut window = |kind: u8| {
            let capability = structures[usize::from(kind)].ok_or(StartError::Legacy)?;
            Window::map(&function, capability, &mut bar).ok_or(StartError::Window)
        };
        let (common, notifications) = (window(structure::COMMON)?, window(structure::NOTIFICATIONS)?);
        if common.len < common::LENGTH {
            return Err(StartError::Window);
        }
        let interrupt = match msix {
            Some(capability) => Interrupt::PossibleMessage(capability),
            None => {
                Interrupt::PossiblePin(function.interrupt_line().map(isa_line), window(structure::CAUSE)?)
            }
        };
        let multiplier = structures[usize::from(structure::NOTIFICATIONS)]
            .and_then(|capability| capability.offset.checked_add(16))
            .ok_or(StartError::Window)?;
        let notify_multiplier = function.read(multiplier) as usize;
        let config = (structures[usize::from(structure::DEVICE)], Once::new());
        Ok(Self { function, common, notifications, notify_multiplier, config, bar, interrupt })
    }

    fn write_address(&self, register: usize, address: PhysAddr) {
        self.common.registers.write32(register, address.as_u64() as u32);
        self.common.registers.write32(register + 4, (address.as_u64() >> 32) as u32);
    }

    /// Chooses the vector of what has `register` for that, where interrupts are messages.
    fn choose_vector(&self, register: usize, vector: u16) -> Result<(), StartError> {
        let Interrupt::Message(vectors) = self.interrupt else { return Ok(()) };
        let vector = vector.min(vectors.saturating_sub(1));
        self.common.registers.write16(register, vector);
        // The device reports here that it has no resources for the vector (4.1.5.1.2).
        if self.common.registers.read16(register) != vector {
            return Err(StartError::Interrupt);
        }
        Ok(())
    }
}

impl Transport for PciTransport {
    fn reset(&self) {
        /// A reset that takes longer than this many reads never ends.
        const PATIENCE: u32 = 1 << 20;
        self.set_status(Status::empty());
        for _ in 0..PATIENCE {
            if self.status().is_empty() {
                break;
            }
        }
    }

    fn status(&self) -> Status {
        Status::from_bits_retain(self.common.registers.read8(common::STATUS))
    }

    fn set_status(&self, status: Status) {
        self.common.registers.write8(common::STATUS, status.bits());
    }

    fn device_features(&self) -> u64 {
        let half = |select: u32| {
            self.common.registers.write32(common::DEVICE_FEATURES_SELECT, select);
            u64::from(self.common.registers.read32(common::DEVICE_FEATURES))
        };
        half(0) | half(1) << 32
    }

    fn accept_features(&self, features: u64) {
        for (select, half) in [(0, features as u32), (1, (features >> 32) as u32)] {
            self.common.registers.write32(common::DRIVER_FEATURES_SELECT, select);
            self.common.registers.write32(common::DRIVER_FEATURES, half);
        }
    }

    fn connect(&mut self, vectors: u16, handler: Handler) -> Result<(), StartError> {
        let possible = mem::replace(&mut self.interrupt, Interrupt::Message(0));
        self.interrupt = match possible {
            Interrupt::PossibleMessage(capability) => {
                let several = (2..=msix_entries(capability)).contains(&vectors);
                let vectors = if several { vectors } else { 1 };
                let connect = |vector: u16| {
                    let handler = Arc::clone(&handler);
                    let vector = irq::allocate_vector(Box::new(move || handler(several.then_some(vector))));
                    vector.map(irq::msi_message)
                };
                let messages: Option<Vec<_>> = (0..vectors).map(connect).collect();
                let enabled = messages.and_then(|all| enable_msix(&self.function, capability, &all));
                enabled.ok_or(StartError::Interrupt)?;
                Interrupt::Message(vectors)
            }
            Interrupt::PossiblePin(line, cause) => {
                let handler = Box::new(move || handler(None));
                let connected = line.and_then(|line| interrupt::connect(line, handler));
                connected.ok_or(StartError::Interrupt)?;
                Interrupt::Pin(cause)
            }
            Interrupt::Message(_) | Interrupt::Pin(_) => return Err(StartError::Interrupt),
        };
        Ok(())
    }

    fn follow_config(&self) -> Result<(), StartError> {
        self.choose_vector(common::CONFIG_VECTOR, 0)
    }

    fn select_queue(&self, queue: u16) -> u16 {
        self.common.registers.write16(common::QUEUE_SELECT, queue);
        self.common.registers.read16(common::QUEUE_SIZE)
    }

    fn enable_queue(&self, size: u16, rings: Rings, vector: u16) -> Result<Doorbell, StartError> {
        self.common.registers.write16(common::QUEUE_SIZE, size);
        self.choose_vector(common::QUEUE_VECTOR, vector)?;
        let offset = usize::from(self.common.registers.read16(common::QUEUE_NOTIFY_OFFSET));
        let doorbell = offset.saturating_mul(self.notify_multiplier);
        if !doorbell.is_multiple_of(2) || doorbell.saturating_add(2) > self.notifications.len {
            return Err(StartError::Window);
        }
        self.write_address(common::QUEUE_DESCRIPTORS, rings.descriptors);
        self.write_address(common::QUEUE_AVAILABLE, rings.available);
        self.write_address(common::QUEUE_USED, rings.used);
        self.common.registers.write16(common::QUEUE_ENABLE, 1);
        Ok(Doorbell(doorbell))
    }

    fn notify(&self, queue: u16, doorbell: Doorbell) {
        self.notifications.registers.write16(doorbell.0, queue);
    }

    fn config(&self, offset: usize) -> u32 {
        let (capability, window) = &self.config;
        let map = || {
            let mut bar = self.bar;
            Window::map(&self.function, (*capability)?, &mut bar)
        };
        let fits = |window: &&Window| offset.checked_add(4).is_some_and(|end| end <= window.len);
        window.get_or_init(map).as_ref().filter(fits).map_or(0, |window| window.registers.read32(offset))
    }

    fn acknowledge_interrupt(&self, used: bool) -> bool {
        /// A changed configuration.
        const CONFIG: u8 = 0b10;
        // A message needs no acknowledgement. A pin is released by reading the cause.
        match &self.interrupt {
            Interrupt::Pin(cause) => cause.registers.read8(0) & CONFIG != 0,
            _ => !used,
        }
    }
}

#[cfg(test)]
mod tests;
