//! A root as a disk that firmware can start from, in the formats of hypervisors and clouds.
//!
//! - [`Disk::plan`] decides what lies where: partition table, boot programs, the partition of UEFI, the root with its manifest.
//! - [`Target`] says which format a hypervisor or cloud takes, and what to do with it there.
//! - [`write`] writes that in any number of formats, reading it once, with little memory however large it is.
//!
//! Every format is written by us, deterministic to the byte, and front to back: where a disk has data is known before any of it is
//! read. No program that makes disks is needed on the host.

mod bios;
mod containerdisk;
mod content;
mod error;
mod fat;
mod format;
mod gce;
mod gpt;
mod iso;
mod layout;
mod ova;
mod ovf;
mod pass;
mod qcow2;
mod raw;
mod target;
mod vhd;
mod vhdx;
mod vmdk;

pub use content::Data;
pub use error::DiskError;
pub use fat::EfiFile;
pub use format::{Format, write};
pub use gpt::{Kind, Partition};
pub use layout::{ALIGNMENT, Bios, Contents, Disk, root_partition};
pub use ovf::{Bus, Card, Firmware, Hardware, Machine};
pub use target::{Driver, Form, Image, NotTaken, Platform, Target};

#[cfg(test)]
mod tests;
