//! Firmware as QEMU's writes it, for tests and fuzz targets.

use alloc::vec;
use alloc::vec::Vec;

use super::{AcpiError, PhysicalMemory, tables};

/// Where it begins.
pub const BASE: u64 = 0xe_0000;

/// Firmware memory of a few KiB.
#[derive(Clone, Debug)]
pub struct Firmware(pub Vec<u8>);

impl PhysicalMemory for Firmware {
    fn read(&self, address: u64, into: &mut [u8]) -> Result<(), AcpiError> {
        let start = address.checked_sub(BASE).ok_or(AcpiError::Unreadable)?;
        let start = usize::try_from(start).map_err(|_| AcpiError::Unreadable)?;
        let from =
            self.0.get(start..).and_then(|rest| rest.get(..into.len())).ok_or(AcpiError::Unreadable)?;
        into.copy_from_slice(from);
        Ok(())
    }
}

impl Firmware {
    fn append(&mut self, bytes: &[u8]) -> u64 {
        let address = BASE + self.0.len() as u64;
        self.0.extend_from_slice(bytes);
        address
    }
}

/// Sets the byte at `at` so that all of `bytes` add up to 0.
pub fn checksum(bytes: &mut [u8], at: usize) {
    bytes[at] = 0;
    bytes[at] = bytes.iter().fold(0u8, |sum, byte| sum.wrapping_sub(*byte));
}

fn table(signature: [u8; 4], body: &[u8]) -> Vec<u8> {
    let mut table = vec![0; tables::HEADER];
    table[..4].copy_from_slice(&signature);
    table.extend_from_slice(body);
    let length = table.len() as u32;
    table[4..8].copy_from_slice(&length.to_le_bytes());
    checksum(&mut table, 9);
    table
}

/// AML with its length in front.
pub fn package(op: &[u8], body: &[u8]) -> Vec<u8> {
    let mut code = op.to_vec();
    let length = body.len() + 2;
    assert!(length < 0x1000);
    code.extend([0x40 | (length & 0xf) as u8, (length >> 4) as u8]);
    code.extend_from_slice(body);
    code
}

/// AML that names a value.
pub fn name(name: [u8; 4], value: &[u8]) -> Vec<u8> {
    [&[0x08], name.as_slice(), value].concat()
}

/// A device as QEMU's microvm writes it.
pub fn virtio_device(base: u32, gsi: u32, interrupt_flags: u8) -> Vec<u8> {
    let resources = [
        &[0x86, 9, 0, 1],
        base.to_le_bytes().as_slice(),
        &512u32.to_le_bytes(),
        &[0x89, 6, 0, interrupt_flags, 1],
        &gsi.to_le_bytes(),
        &[0x79, 0],
    ]
    .concat();
    let buffer = package(&[0x11], &[[0x0a, resources.len() as u8].as_slice(), &resources].concat());
    let body =
        [b"VR00".to_vec(), name(*b"_HID", b"\x0dLNRO0005\0"), name(*b"_CCA", &[1]), name(*b"_CRS", &buffer)];
    package(&[0x5b, 0x82], &body.concat())
}

fn dsdt(devices: &[Vec<u8>]) -> Vec<u8> {
    let scope = package(&[0x10], &[b"_SB_".to_vec(), devices.concat()].concat());
    let s5 = [0x08, b'_', b'S', b'5', b'_', 0x12, 7, 4, 0x0a, 5, 0, 0, 0];
    table(*b"DSDT", &[scope.as_slice(), &s5].concat())
}

fn fadt(dsdt: u64, hardware_reduced: bool) -> Vec<u8> {
    let mut table = table(*b"FACP", &[0; 268 - tables::HEADER]);
    table[40..44].copy_from_slice(&(dsdt as u32).to_le_bytes());
    table[64..68].copy_from_slice(&0x604u32.to_le_bytes());
    table[76..80].copy_from_slice(&0x608u32.to_le_bytes());
    table[112..116].copy_from_slice(&(1u32 << 8).to_le_bytes());
    if hardware_reduced {
        table[112..116].copy_from_slice(&(1u32 << 20).to_le_bytes());
        table[248..256].copy_from_slice(&0xfea0_0200u64.to_le_bytes());
    }
    checksum(&mut table, 9);
    table
}

fn madt() -> Vec<u8> {
    let body: &[&[u8]] = &[
        &0xfee0_0000u32.to_le_bytes(),
        &1u32.to_le_bytes(),
        &[0, 8, 0, 7, 1, 0, 0, 0],
        &[9, 16, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        &[1, 12, 0, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0],
        &[1, 12, 0, 0, 0, 0x10, 0xc0, 0xfe, 24, 0, 0, 0],
        &[2, 10, 0, 0, 2, 0, 0, 0, 0, 0],
        &[2, 10, 0, 10, 10, 0, 0, 0, 0x0f, 0],
        &[1, 3, 9],
        &[77, 4, 0, 0],
    ];
    table(*b"APIC", &body.concat())
}

fn mcfg() -> Vec<u8> {
    let region =
        |base: u64, first, last| [base.to_le_bytes().as_slice(), &[0, 0, first, last, 0, 0, 0, 0]].concat();
    table(*b"MCFG", &[vec![0; 8], region(0xb000_0000, 0, 255), region(0xc000_0000, 9, 8)].concat())
}

fn hpet() -> Vec<u8> {
    table(*b"HPET", &[[0; 8].as_slice(), &0xfed0_0000u64.to_le_bytes(), &[0; 4]].concat())
}

/// Tables with a root pointer; returns its address.
pub fn firmware(extended: bool, hardware_reduced: bool, devices: &[Vec<u8>]) -> (Firmware, u64) {
    let mut firmware = Firmware(Vec::new());
    let dsdt = firmware.append(&dsdt(devices));
    let addresses = [
        firmware.append(&fadt(dsdt, hardware_reduced)),
        firmware.append(&madt()),
        firmware.append(&mcfg()),
        firmware.append(&table(*b"WAET", &[0; 4])),
        firmware.append(&hpet()),
    ];
    let (signature, width) = if extended { (*b"XSDT", 8) } else { (*b"RSDT", 4) };
    let entries: Vec<u8> =
        addresses.iter().flat_map(|address| address.to_le_bytes()[..width].to_vec()).collect();
    let root = firmware.append(&table(signature, &entries));
    let mut pointer = [0; 36];
    pointer[..8].copy_from_slice(b"RSD PTR ");
    if extended {
        pointer[15] = 2;
        pointer[24..32].copy_from_slice(&root.to_le_bytes());
    } else {
        pointer[16..20].copy_from_slice(&(root as u32).to_le_bytes());
    }
    checksum(&mut pointer[..20], 8);
    checksum(&mut pointer, 32);
    let address = firmware.append(&pointer);
    (firmware, address)
}
