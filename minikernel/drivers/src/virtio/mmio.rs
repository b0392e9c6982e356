//! virtio over MMIO (virtio 1.2, 4.2).

use alloc::boxed::Box;

use isopod_hal::mmio::Mmio;
use isopod_hal::{PAGE_SIZE, PhysAddr, PhysRange};

use super::{Doorbell, Handler, Rings, StartError, Status, Transport};
use crate::acpi::MmioDevice;
use crate::interrupt;

mod register {
    pub const MAGIC: usize = 0x000;
    pub const VERSION: usize = 0x004;
    pub const DEVICE: usize = 0x008;
    pub const DEVICE_FEATURES: usize = 0x010;
    pub const DEVICE_FEATURES_SELECT: usize = 0x014;
    pub const DRIVER_FEATURES: usize = 0x020;
    pub const DRIVER_FEATURES_SELECT: usize = 0x024;
    pub const QUEUE_SELECT: usize = 0x030;
    pub const QUEUE_SIZE_MAX: usize = 0x034;
    pub const QUEUE_SIZE: usize = 0x038;
    pub const QUEUE_READY: usize = 0x044;
    pub const QUEUE_NOTIFY: usize = 0x050;
    pub const INTERRUPT_ACKNOWLEDGE: usize = 0x064;
    pub const STATUS: usize = 0x070;
    pub const QUEUE_DESCRIPTORS: usize = 0x080;
    pub const QUEUE_AVAILABLE: usize = 0x090;
    pub const QUEUE_USED: usize = 0x0a0;
    pub const CONFIG: usize = 0x100;
}

/// A device behind a register window.
#[derive(Debug)]
pub struct MmioTransport {
    window: Mmio,
    size: usize,
    place: MmioDevice,
}

impl MmioTransport {
    /// Looks at the device at `place`; its device number, 0 for an empty slot, and the way to it.
    pub fn open(place: MmioDevice) -> Result<(u32, Self), StartError> {
        const MAGIC: u32 = u32::from_le_bytes(*b"virt");
        // No device has more registers; a size that somebody made up must not map gigabytes.
        let size = place.size.min(PAGE_SIZE as u64) as usize;
        if size < register::CONFIG || !place.base.is_multiple_of(4) {
            return Err(StartError::Window);
        }
        let range = PhysRange::new(PhysAddr::new(place.base), size as u64);
        let window = Mmio::map(range).map_err(|_| StartError::Window)?;
        if window.read32(register::MAGIC) != MAGIC {
            return Err(StartError::Window);
        }
        let device = window.read32(register::DEVICE);
        // An empty slot says nothing of its version that anyone wants to hear.
        if device != 0 && window.read32(register::VERSION) != 2 {
            return Err(StartError::Legacy);
        }
        Ok((device, Self { window, size, place }))
    }

    fn write_address(&self, register: usize, address: PhysAddr) {
        self.window.write32(register, address.as_u64() as u32);
        self.window.write32(register + 4, (address.as_u64() >> 32) as u32);
    }
}

impl Transport for MmioTransport {
    fn reset(&self) {
        self.window.write32(register::STATUS, 0);
    }

    fn status(&self) -> Status {
        Status::from_bits_retain(self.window.read32(register::STATUS) as u8)
    }

    fn set_status(&self, status: Status) {
        self.window.write32(register::STATUS, u32::from(status.bits()));
    }

    fn device_features(&self) -> u64 {
        let half = |select: u32| {
            self.window.write32(register::DEVICE_FEATURES_SELECT, select);
            u64::from(self.window.read32(register::DEVICE_FEATURES))
        };
        half(0) | half(1) << 32
    }

    fn accept_features(&self, features: u64) {
        for (select, half) in [(0, features as u32), (1, (features >> 32) as u32)] {
            self.window.write32(register::DRIVER_FEATURES_SELECT, select);
            self.window.write32(register::DRIVER_FEATURES, half);
        }
    }

    fn connect(&mut self, _: u16, handler: Handler) -> Result<(), StartError> {
        interrupt::connect(self.place.line, Box::new(move || handler(None))).ok_or(StartError::Interrupt)
    }

    fn follow_config(&self) -> Result<(), StartError> {
        Ok(())
    }

    fn select_queue(&self, queue: u16) -> u16 {
        self.window.write32(register::QUEUE_SELECT, u32::from(queue));
        u16::try_from(self.window.read32(register::QUEUE_SIZE_MAX)).unwrap_or(u16::MAX)
    }

    fn enable_queue(&self, size: u16, rings: Rings, _: u16) -> Result<Doorbell, StartError> {
        self.window.write32(register::QUEUE_SIZE, u32::from(size));
        self.write_address(register::QUEUE_DESCRIPTORS, rings.descriptors);
        self.write_address(register::QUEUE_AVAILABLE, rings.available);
        self.write_address(register::QUEUE_USED, rings.used);
        self.window.write32(register::QUEUE_READY, 1);
        Ok(Doorbell(register::QUEUE_NOTIFY))
    }

    fn notify(&self, queue: u16, doorbell: Doorbell) {
        self.window.write32(doorbell.0, u32::from(queue));
    }

    fn config(&self, offset: usize) -> u32 {
        match register::CONFIG.checked_add(offset) {
            Some(register) if register + 4 <= self.size => self.window.read32(register),
            _ => 0,
        }
    }

    fn acknowledge_interrupt(&self, used: bool) -> bool {
        /// Used buffers, and with a changed configuration.
        const USED: u32 = 0b01;
        const ALL: u32 = 0b11;
        // The status register, an exit from the virtual machine, is not read: a change of the configuration that is not acknowledged here
        // interrupts again.
        self.window.write32(register::INTERRUPT_ACKNOWLEDGE, if used { USED } else { ALL });
        !used
    }
}

#[cfg(test)]
pub(crate) mod tests;
