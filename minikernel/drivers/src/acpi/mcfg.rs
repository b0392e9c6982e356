//! PCI Express memory-mapped configuration (PCI Firmware Specification 3.3, 4.1.2).

use alloc::vec::Vec;

use crate::bytes;

/// The configuration space of a range of buses, 1 MiB for each bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EcamRegion {
    /// Physical address of bus 0, also where the range starts at a later bus.
    pub base: u64,
    /// PCI segment group.
    pub segment: u16,
    /// First bus of the range.
    pub first_bus: u8,
    /// Last bus of the range, at least `first_bus`.
    pub last_bus: u8,
}

/// All regions of a whole table; an entry whose last bus comes before its first is left out.
pub(super) fn parse(table: &[u8]) -> Vec<EcamRegion> {
    let entries = table.get(44..).unwrap_or_default().chunks_exact(16);
    let region = |entry: &[u8]| {
        Some(EcamRegion {
            base: bytes::u64(entry, 0)?,
            segment: bytes::u16(entry, 8)?,
            first_bus: bytes::u8(entry, 10)?,
            last_bus: bytes::u8(entry, 11)?,
        })
    };
    entries.filter_map(region).filter(|region| region.first_bus <= region.last_bus).collect()
}
