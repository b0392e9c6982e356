//! Devices: finding them, and driving them.
//!
//! [`probe()`] asks ACPI, the command line and PCI what the machine has and starts a driver for each device it
//! knows. Drivers are safe code over the ports, register windows and DMA memory of `hal`. A device is not trusted:
//! what it says is checked, and one that breaks the rules is given up with a line in the log.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod acpi;
pub mod block;
mod bytes;
pub mod command_line;
pub mod console;
pub mod disk;
pub mod entropy;
mod interrupt;
pub mod network;
pub mod pci;
mod place;
mod probe;
mod refusal;
mod segment;
pub mod serial;
pub mod virtio;
mod wait;

pub use place::Place;
pub use probe::{Devices, probe};
pub use refusal::Refusal;
pub use wait::wait;
