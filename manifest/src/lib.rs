//! What an Isopod image runs and how: the format that builder and guest kernel share.
//!
//! Two things cross the border between host and guest, and both are defined here and nowhere else:
//!
//! * [`Manifest`]: what to run. It travels in the linked ELF, as a PVH module, or on the disk; never on a command
//!   line, where `ps` would show its secrets.
//! * [`channel`]: the framed protocol of the control channel, over which the standard streams, the stop signal
//!   and the exit status travel while the guest runs.
//!
//! Both are versioned, and both treat the other side's bytes as hostile: every decoder returns an error, none panics.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod body;
pub mod channel;
mod envelope;
mod model;
mod network;

pub use envelope::{DecodeError, MAGIC, MAX_SIZE, VERSION};
pub use model::{Channel, Manifest, PartitionId, Port, Protocol, Resources, Root, User};
pub use network::{InterfaceConfig, MTU_MIN, Method, Network};
