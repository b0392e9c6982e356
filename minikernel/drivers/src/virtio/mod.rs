//! virtio 1.2 devices.
//!
//! A [`Transport`] is one device as its bus shows it; [`start`] brings it up the way the specification asks (3.1.1)
//! and ties its interrupt to a [`Driver`]. Each access to a device leaves the virtual machine, so features are read
//! once, configuration only where a driver needs it, and interrupts are acknowledged without asking for their cause.

pub mod block;
pub mod console;
pub mod mmio;
pub mod net;
pub mod pci;
pub mod queue;
pub mod random;
pub(crate) mod scsi;
pub mod transport;
pub mod vsock;

#[cfg(test)]
mod simulated;

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;

use isopod_hal::OutOfMemory;
use isopod_hal::sync::Once;

pub use transport::{Doorbell, Handler, Rings, Status, Transport};

/// Device numbers (virtio 1.2, chapter 5).
pub mod device {
    /// Network card.
    pub const NETWORK: u32 = 1;
    /// Block device.
    pub const BLOCK: u32 = 2;
    /// Console.
    pub const CONSOLE: u32 = 3;
    /// Entropy source.
    pub const RANDOM: u32 = 4;
    /// SCSI host adapter.
    pub const SCSI: u32 = 8;
    /// Sockets between the machine and its host.
    pub const SOCKET: u32 = 19;
}

/// Feature bits that every driver negotiates (virtio 1.2, chapter 6).
mod feature {
    pub(super) const EVENT_INDEX: u64 = 1 << 29;
    pub(super) const VERSION_1: u64 = 1 << 32;
}

/// Why a device was not started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartError {
    /// It speaks only the protocol from before virtio 1.0.
    Legacy,
    /// It refused the features chosen from those it offered.
    Features,
    /// It lacks a queue, or the queue is too small.
    Queue,
    /// It lacks a register window that the transport needs, or the window cannot be mapped.
    Window,
    /// No interrupt can be had for it.
    Interrupt,
    /// No memory for queues or buffers.
    OutOfMemory,
}

impl From<OutOfMemory> for StartError {
    fn from(_: OutOfMemory) -> Self {
        Self::OutOfMemory
    }
}

impl StartError {
    /// For people.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Legacy => "only legacy virtio (with QEMU: -global virtio-mmio.force-legacy=false)",
            Self::Features => "it refuses the features it offered",
            Self::Queue => "a queue is missing or too small",
            Self::Window => "its registers cannot be reached",
            Self::Interrupt => "no interrupt for it",
            Self::OutOfMemory => "out of memory",
        }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

/// The rules that a device broke; it is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// It returned a buffer that it does not have.
    UnknownBuffer,
    /// It says that it wrote more than the buffer holds.
    TooMuchWritten,
    /// It returned more buffers than it has.
    TooManyReturned,
    /// It filled a buffer with less than what comes first in each.
    NoHeader,
    /// It announced a frame in more buffers than it returned.
    Incomplete,
}

impl Violation {
    /// What it did.
    pub fn text(self) -> &'static str {
        match self {
            Self::UnknownBuffer => "it returned a buffer that it does not have",
            Self::TooMuchWritten => "it claims to have written more than the buffer holds",
            Self::TooManyReturned => "it returned more buffers than it has",
            Self::NoHeader => "it returned a frame without a header",
            Self::Incomplete => "it returned fewer buffers than a frame is said to lie in",
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

/// A driver of one device.
pub trait Driver: Send + Sync + 'static {
    /// The device raised its interrupt: that of a vector, or, for `None`, the one that stands for everything.
    fn on_interrupt(&self, vector: Option<u16>);
}

/// Negotiates features with a device: what `choose` chooses of those it offers. `build` makes the driver and its queues from the
/// transport and the result; the device is live when this returns. It interrupts by as many `vectors`, if it can.
pub fn start<D: Driver>(
    mut transport: Box<dyn Transport>,
    choose: impl FnOnce(u64) -> u64,
    vectors: u16,
    build: impl FnOnce(Arc<dyn Transport>, u64) -> Result<D, StartError>,
) -> Result<Arc<D>, StartError> {
    let mut status = Status::empty();
    let mut add = |transport: &dyn Transport, bit| {
        status |= bit;
        transport.set_status(status);
    };
    transport.reset();
    // One by one: Firecracker insists on it.
    add(&*transport, Status::ACKNOWLEDGE);
    add(&*transport, Status::DRIVER);
    let offered = transport.device_features();
    if offered & feature::VERSION_1 == 0 {
        add(&*transport, Status::FAILED);
        return Err(StartError::Legacy);
    }
    let features = offered & (choose(offered) | feature::EVENT_INDEX | feature::VERSION_1);
    transport.accept_features(features);
    add(&*transport, Status::FEATURES_OK);
    if !transport.status().contains(Status::FEATURES_OK) {
        add(&*transport, Status::FAILED);
        return Err(StartError::Features);
    }
    // The interrupt must exist before the queues, which name it, and the driver owns the queues: so it gets there
    // by way of a cell that is filled last.
    let target = Arc::new(Once::<Arc<D>>::new());
    let handler = Arc::clone(&target);
    let on_interrupt: Handler = Arc::new(move |vector| {
        if let Some(driver) = handler.get() {
            driver.on_interrupt(vector);
        }
    });
    transport.connect(vectors, on_interrupt).inspect_err(|_| add(&*transport, Status::FAILED))?;
    let transport: Arc<dyn Transport> = transport.into();
    let driver = build(Arc::clone(&transport), features).inspect_err(|_| add(&*transport, Status::FAILED))?;
    let driver = Arc::new(driver);
    // From here on the driver lives for good: its device knows its memory.
    target.get_or_init(|| Arc::clone(&driver));
    add(&*transport, Status::DRIVER_OK);
    Ok(driver)
}

#[cfg(test)]
mod tests;
