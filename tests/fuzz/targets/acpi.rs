//! Tables that firmware, and so a hypervisor, wrote.
#![no_main]

use isopod_drivers::acpi::{AcpiError, PhysicalMemory, Platform, aml};

/// Memory that holds these bytes from address 0 on.
struct Memory<'a>(&'a [u8]);

impl PhysicalMemory for Memory<'_> {
    fn read(&self, address: u64, into: &mut [u8]) -> Result<(), AcpiError> {
        let start = usize::try_from(address).map_err(|_| AcpiError::Unreadable)?;
        let end = start.checked_add(into.len()).ok_or(AcpiError::Unreadable)?;
        into.copy_from_slice(self.0.get(start..end).ok_or(AcpiError::Unreadable)?);
        Ok(())
    }
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = Platform::read(&Memory(data), 0);
    let _ = aml::devices(data, *b"LNRO0005");
    let _ = aml::sleep_type(data, 5);
});
