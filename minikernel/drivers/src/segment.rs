//! Memory that a device is told of.

use isopod_hal::PhysAddr;

/// Contiguous memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Where it begins.
    pub address: PhysAddr,
    /// Its length in bytes.
    pub len: u32,
}
