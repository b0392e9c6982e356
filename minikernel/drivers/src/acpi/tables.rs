//! Root pointer, root table and the header that all tables share (ACPI 5.2.5 to 5.2.8).

use alloc::vec::Vec;

use super::AcpiError;
use crate::bytes;

/// Length of the header that all tables but the root pointer and FACS share.
pub(super) const HEADER: usize = 36;

/// More than any firmware has; bounds the work that a root table can ask for.
const MAX_TABLES: usize = 128;

/// Far above the largest definition block of a virtual machine (q35: 8 KiB); bounds the copy of a table.
const MAX_TABLE: usize = 1 << 20;

/// A view of firmware memory by physical address.
pub trait PhysicalMemory {
    /// Copies `into.len()` bytes at `address`; [`AcpiError::Unreadable`] where there is nothing to read.
    fn read(&self, address: u64, into: &mut [u8]) -> Result<(), AcpiError>;
}

fn sums_to_zero(bytes: &[u8]) -> bool {
    bytes.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)) == 0
}

/// Addresses of all tables: the entries of XSDT (revision 2 and later) or RSDT.
pub(super) fn addresses(memory: &impl PhysicalMemory, rsdp: u64) -> Result<Vec<u64>, AcpiError> {
    let mut pointer = [0; 20];
    memory.read(rsdp, &mut pointer)?;
    if !pointer.starts_with(b"RSD PTR ") || !sums_to_zero(&pointer) {
        return Err(AcpiError::NoRootPointer);
    }
    let rsdt = bytes::u32(&pointer, 16).map_or(0, u64::from);
    let xsdt = if pointer[15] >= 2 {
        let mut address = [0; 8];
        memory.read(rsdp.checked_add(24).ok_or(AcpiError::NoRootPointer)?, &mut address)?;
        u64::from_le_bytes(address)
    } else {
        0
    };
    let (root, expected, width) = if xsdt == 0 { (rsdt, b"RSDT", 4) } else { (xsdt, b"XSDT", 8) };
    let table = load(memory, root)?;
    if !table.starts_with(expected) {
        return Err(AcpiError::Malformed);
    }
    let entries = table[HEADER..].chunks_exact(width).take(MAX_TABLES);
    Ok(entries
        .map(|entry| entry.iter().rev().fold(0, |address, byte| address << 8 | u64::from(*byte)))
        .filter(|address| *address != 0)
        .collect())
}

/// The four letters that name the table at `address`.
pub(super) fn signature(memory: &impl PhysicalMemory, address: u64) -> Result<[u8; 4], AcpiError> {
    let mut signature = [0; 4];
    memory.read(address, &mut signature)?;
    Ok(signature)
}

/// A copy of the whole table at `address`, at least [`HEADER`] bytes, its checksum verified.
pub(super) fn load(memory: &impl PhysicalMemory, address: u64) -> Result<Vec<u8>, AcpiError> {
    let mut start = [0; 8];
    memory.read(address, &mut start)?;
    let length = bytes::u32(&start, 4).map_or(0, |length| length as usize);
    if !(HEADER..=MAX_TABLE).contains(&length) {
        return Err(AcpiError::Malformed);
    }
    let mut table = Vec::new();
    table.try_reserve_exact(length).map_err(|_| AcpiError::Unreadable)?;
    table.resize(length, 0);
    memory.read(address, &mut table)?;
    if sums_to_zero(&table) { Ok(table) } else { Err(AcpiError::Malformed) }
}
