//! What every bus can do for a virtio device.

use alloc::sync::Arc;

use bitflags::bitflags;
use isopod_hal::PhysAddr;

use super::StartError;

bitflags! {
    /// Device status (virtio 1.2, 2.1).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Status: u8 {
        /// The device was noticed.
        const ACKNOWLEDGE = 1;
        /// There is a driver for it.
        const DRIVER = 2;
        /// The driver is ready.
        const DRIVER_OK = 4;
        /// Features are agreed upon.
        const FEATURES_OK = 8;
        /// The device met an error that only a reset cures.
        const NEEDS_RESET = 64;
        /// The driver gave up.
        const FAILED = 128;
    }
}

/// Where the three parts of a queue lie (virtio 1.2, 2.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rings {
    /// Descriptor table.
    pub descriptors: PhysAddr,
    /// Available ring, written by the driver.
    pub available: PhysAddr,
    /// Used ring, written by the device.
    pub used: PhysAddr,
}

/// Where a queue is notified, in the terms of its transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Doorbell(pub(super) usize);

/// What happens at an interrupt: of one vector, or, where one interrupt stands for everything, of `None`.
pub type Handler = Arc<dyn Fn(Option<u16>) + Send + Sync>;

/// One virtio device as its bus shows it.
pub trait Transport: Send + Sync {
    /// Puts the device into the state after power-on; it no longer touches memory.
    fn reset(&self);
    /// Device status.
    fn status(&self) -> Status;
    /// Sets the device status.
    fn set_status(&self, status: Status);
    /// The features that the device offers.
    fn device_features(&self) -> u64;
    /// Tells the device the features that the driver chose.
    fn accept_features(&self, features: u64);
    /// Calls `handler` at each interrupt of the device, from before the first queue is enabled: by as many vectors, or by one for everything
    /// if only one is wanted or the device does not have so many.
    fn connect(&mut self, vectors: u16, handler: Handler) -> Result<(), StartError>;
    /// Interrupts, by the first vector, when the configuration changes too.
    fn follow_config(&self) -> Result<(), StartError>;
    /// Selects a queue; the most descriptors it can have, 0 if the device has no such queue.
    fn select_queue(&self, queue: u16) -> u16;
    /// Enables the queue selected last, to interrupt by `vector` where there are several; where to notify it.
    fn enable_queue(&self, size: u16, rings: Rings, vector: u16) -> Result<Doorbell, StartError>;
    /// Tells the device that `queue` has new buffers.
    fn notify(&self, queue: u16, doorbell: Doorbell);
    /// The 32-bit field at `offset`, a multiple of 4, of the device's configuration. A field beyond its end reads as
    /// 0.
    fn config(&self, offset: usize) -> u32;
    /// Takes note of an interrupt that stands for everything, so that the device can raise the next one. To be called before looking at the
    /// queues: what the device adds later raises a new interrupt. True if it may have been a change of the configuration. Where only another
    /// access could tell, that is asked of who has seen used buffers (`used`) no sooner than at the next interrupt, which follows at once.
    fn acknowledge_interrupt(&self, used: bool) -> bool;
}
