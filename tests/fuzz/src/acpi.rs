//! Tables that firmware, and so a hypervisor, wrote. Their checksums are put right, or hardly a change would get beyond them.

use isopod_drivers::acpi::sample::{BASE, Firmware, checksum};
use isopod_drivers::acpi::{Platform, aml};

/// Signatures of tables, and where in a table its length and its checksum are.
const TABLES: [&[u8; 4]; 8] = [b"DSDT", b"FACP", b"APIC", b"MCFG", b"HPET", b"RSDT", b"XSDT", b"WAET"];
/// The length of the root pointer's first version, which has a checksum of its own, and of the second.
const POINTER: [usize; 2] = [20, 36];

/// Puts the checksum right of everything that looks like a table.
fn mend(bytes: &mut [u8]) {
    for at in 0..bytes.len().saturating_sub(8) {
        let rest = &mut bytes[at..];
        if TABLES.iter().any(|signature| rest.starts_with(*signature)) {
            let length = u32::from_le_bytes(rest[4..8].try_into().expect("four bytes")) as usize;
            if let Some(table) = rest.get_mut(..length).filter(|table| table.len() > 9) {
                checksum(table, 9);
            }
        } else if rest.starts_with(b"RSD PTR ") {
            for (length, place) in POINTER.into_iter().zip([8, 32]) {
                if let Some(pointer) = rest.get_mut(..length) {
                    checksum(pointer, place);
                }
            }
        }
    }
}

/// How many facts were found.
pub fn run(data: &[u8]) -> usize {
    let devices = aml::devices(data, *b"LNRO0005").len() + usize::from(aml::sleep_type(data, 5).is_some());
    let mut firmware = Firmware(data.to_vec());
    mend(&mut firmware.0);
    // The root pointer comes last, as in the seeds.
    let Some(pointer) = data.len().checked_sub(POINTER[1]) else { return devices };
    let Ok(platform) = Platform::read(&firmware, BASE + pointer as u64) else { return devices };
    let _ = platform.isa_line(4);
    let tables = [platform.madt.is_some(), platform.fadt.is_some(), platform.hpet.is_some()];
    let found = tables.into_iter().filter(|found| *found).count();
    devices
        + found
        + platform.ecam.len()
        + platform.virtio_mmio.len()
        + usize::from(platform.soft_off().is_some())
}
