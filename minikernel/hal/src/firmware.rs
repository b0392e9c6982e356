//! Reading what firmware left in memory: ACPI tables, the boot loader's structures.

use crate::{PhysAddr, PhysRange, cpu::physical_limit, machine};

/// Why firmware memory could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirmwareError {
    /// The range wraps around or lies beyond what the processor can address.
    Address,
    /// No memory for the window's page tables.
    OutOfMemory,
}

/// Copies out `into.len()` bytes of physical memory from `at` on.
///
/// Meant for tables in ROM and in RAM that the memory map keeps from the kernel. Reading cannot break anything: RAM
/// that the kernel uses comes out as bytes too, and an address without memory as all ones.
pub fn read(at: PhysAddr, into: &mut [u8]) -> Result<(), FirmwareError> {
    let range = PhysRange::new(at, into.len() as u64);
    at.checked_add(range.len).filter(|end| end.as_u64() <= physical_limit()).ok_or(FirmwareError::Address)?;
    machine::read_firmware(range, into).map_err(|_| FirmwareError::OutOfMemory)
}
