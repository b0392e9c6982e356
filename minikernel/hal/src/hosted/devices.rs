//! Ports, registers and interrupts that a test plays, each for its own thread.

use alloc::{boxed::Box, collections::VecDeque, rc::Rc, vec::Vec};
use core::cell::RefCell;
use std::thread_local;

use crate::{
    PhysRange,
    irq::{IoApicInfo, Polarity, RouteError, Trigger},
    mmio::MapError,
};

/// Whoever answers I/O ports.
pub trait PortBus {
    /// A read of `width` bytes: 1, 2 or 4.
    fn read(&mut self, port: u16, width: u8) -> u32;
    /// A write of `width` bytes.
    fn write(&mut self, port: u16, width: u8, value: u32);
}

/// A device with registers in memory.
pub trait MmioDevice {
    /// A read of `width` bytes (1, 2, 4 or 8) at `offset` from the device's start.
    fn read(&mut self, offset: u64, width: u8) -> u64;
    /// A write of `width` bytes.
    fn write(&mut self, offset: u64, width: u8, value: u64);
}

type SharedMmio = Rc<RefCell<dyn MmioDevice>>;

thread_local! {
    static PORTS: RefCell<Option<Box<dyn PortBus>>> = const { RefCell::new(None) };
    static MMIO: RefCell<Vec<(PhysRange, SharedMmio)>> = const { RefCell::new(Vec::new()) };
    static PENDING: RefCell<VecDeque<u8>> = const { RefCell::new(VecDeque::new()) };
}

/// Lets `bus` answer this thread's port accesses. Without one, reads are all ones.
pub fn set_ports(bus: impl PortBus + 'static) {
    PORTS.set(Some(Box::new(bus)));
}

/// Lets `device` answer accesses of this thread through windows mapped within `range` from now on.
pub fn attach_mmio(range: PhysRange, device: Rc<RefCell<dyn MmioDevice>>) {
    MMIO.with_borrow_mut(|devices| devices.push((range, device)));
}

/// Makes an interrupt pending on this thread.
pub fn raise(vector: u8) {
    PENDING.with_borrow_mut(|pending| pending.push_back(vector));
}

pub(crate) fn port_read(port: u16, width: u8) -> u32 {
    PORTS.with_borrow_mut(|bus| bus.as_mut().map_or(u32::MAX, |bus| bus.read(port, width)))
}

pub(crate) fn port_write(port: u16, width: u8, value: u32) {
    PORTS.with_borrow_mut(|bus| {
        if let Some(bus) = bus {
            bus.write(port, width, value);
        }
    });
}

/// A window: where it lies. Its device is looked up at each access, on the thread that makes it.
pub(crate) struct MmioWindow(PhysRange);

impl MmioWindow {
    pub(crate) fn open(range: PhysRange) -> Result<Self, MapError> {
        Ok(Self(range))
    }

    pub(crate) fn read<W: TryFrom<u64>>(&self, offset: usize) -> W {
        let all_ones = u64::MAX >> (64 - 8 * size_of::<W>());
        let value = self.device().map_or(u64::MAX, |(device, base)| {
            device.borrow_mut().read(base + offset as u64, size_of::<W>() as u8)
        });
        W::try_from(value & all_ones)
            .unwrap_or_else(|_| unreachable!("the value was cut to the word's width"))
    }

    pub(crate) fn write<W: Into<u64>>(&self, offset: usize, value: W) {
        if let Some((device, base)) = self.device() {
            device.borrow_mut().write(base + offset as u64, size_of::<W>() as u8, value.into());
        }
    }

    /// The device and the offset of the window in it.
    fn device(&self) -> Option<(SharedMmio, u64)> {
        MMIO.with_borrow(|devices| {
            let (range, device) = devices.iter().rev().find(|(range, _)| range.contains(self.0))?;
            Some((device.clone(), self.0.start.as_u64() - range.start.as_u64()))
        })
    }
}

pub(crate) fn route_gsi(
    _gsi: u32,
    _vector: u8,
    _trigger: Trigger,
    _polarity: Polarity,
) -> Result<(), RouteError> {
    Ok(())
}

pub(crate) fn configure_ioapics(_ioapics: &[IoApicInfo]) {}

pub(crate) fn end_of_interrupt() {}

pub(crate) fn pending_interrupt() -> Option<u8> {
    PENDING.with_borrow_mut(VecDeque::pop_front)
}

/// Does not sleep: a test's thread has nobody to wake it.
#[cfg(not(loom))]
pub(crate) fn wait_for_interrupt() -> Option<u8> {
    pending_interrupt()
}
