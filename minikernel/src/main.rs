//! The Isopod guest kernel: boots, brings the rooms together, runs the manifest.
//!
//! The order of the boot is the order of this file: find the manifest, find the devices, reach the host, mount the root, start the first
//! process. Nothing waits but for the root's disk.
#![cfg_attr(isopod_bare, no_std, no_main)]
#![forbid(unsafe_code)]

#[cfg(isopod_bare)]
extern crate alloc;

#[cfg(isopod_bare)]
mod boot;
#[cfg(isopod_bare)]
mod disk;
#[cfg(isopod_bare)]
mod manifest;
#[cfg(isopod_bare)]
mod network;
#[cfg(isopod_bare)]
mod partition;
#[cfg(isopod_bare)]
mod root;

#[cfg(isopod_bare)]
isopod_hal::entry!(boot::start);

/// The kernel does not run on the host; its rooms are tested there one by one.
#[cfg(not(isopod_bare))]
fn main() {}
