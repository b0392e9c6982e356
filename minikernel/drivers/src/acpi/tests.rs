use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;

const BASE: u64 = 0xe_0000;

/// Firmware memory of a few KiB.
#[derive(Clone, Debug)]
struct Firmware(Vec<u8>);

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

fn checksum(bytes: &mut [u8], at: usize) {
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

fn package(op: &[u8], body: &[u8]) -> Vec<u8> {
    let mut code = op.to_vec();
    let length = body.len() + 2;
    assert!(length < 0x1000);
    code.extend([0x40 | (length & 0xf) as u8, (length >> 4) as u8]);
    code.extend_from_slice(body);
    code
}

fn name(name: [u8; 4], value: &[u8]) -> Vec<u8> {
    [&[0x08], name.as_slice(), value].concat()
}

/// A device as QEMU's microvm writes it.
fn virtio_device(base: u32, gsi: u32, interrupt_flags: u8) -> Vec<u8> {
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
fn firmware(extended: bool, hardware_reduced: bool, devices: &[Vec<u8>]) -> (Firmware, u64) {
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

fn line(gsi: u32, trigger: Trigger, polarity: Polarity) -> Line {
    Line { gsi, trigger, polarity }
}

#[test]
fn reads_a_microvm() {
    let devices = [virtio_device(0xfeb0_2e00, 47, 1), virtio_device(0xfeb0_2c00, 46, 0b111)];
    let (memory, rsdp) = firmware(true, true, &devices);
    let platform = Platform::read(&memory, rsdp).unwrap();
    let expected = [
        MmioDevice { base: 0xfeb0_2e00, size: 512, line: line(47, Trigger::Level, Polarity::High) },
        MmioDevice { base: 0xfeb0_2c00, size: 512, line: line(46, Trigger::Edge, Polarity::Low) },
    ];
    assert_eq!(platform.virtio_mmio, expected);
    let off = SoftOff::SleepControl { register: 0xfea0_0200, value: 0x34 };
    assert_eq!(platform.soft_off(), Some(off));
    let fadt = platform.fadt.unwrap();
    assert_eq!((fadt.pm1a_control, fadt.pm_timer), (None, None), "there is no fixed hardware");
}

#[test]
fn reads_a_pc() {
    let (memory, rsdp) = firmware(false, false, &[]);
    let platform = Platform::read(&memory, rsdp).unwrap();
    assert_eq!(platform.soft_off(), Some(SoftOff::Pm1 { port: 0x604, value: 0x2000 | 5 << 10 }));
    assert_eq!(platform.ecam, [EcamRegion { base: 0xb000_0000, segment: 0, first_bus: 0, last_bus: 255 }]);
    assert_eq!(platform.hpet, Some(0xfed0_0000));
    let fadt = platform.fadt.unwrap();
    assert_eq!((fadt.pm_timer, fadt.pm_timer_wide, fadt.sleep_control), (Some(0x608), true, None));
    let madt = platform.madt.as_ref().unwrap();
    assert_eq!(madt.local_apic_address, 0xfee0_0000);
    assert_eq!(madt.processors, [LocalApic { id: 7, enabled: true }, LocalApic { id: 256, enabled: false }]);
    assert_eq!(
        madt.io_apics,
        [IoApic { address: 0xfec0_0000, gsi_base: 0 }, IoApic { address: 0xfec0_1000, gsi_base: 24 }]
    );
    assert_eq!(platform.isa_line(0), line(2, Trigger::Edge, Polarity::High));
    assert_eq!(platform.isa_line(10), line(10, Trigger::Level, Polarity::Low));
    assert_eq!(platform.isa_line(4), line(4, Trigger::Edge, Polarity::High));
}

#[test]
fn finds_devices_inside_devices() {
    let inner = virtio_device(0x1000, 5, 3);
    let outer = package(&[0x5b, 0x82], &[b"PCI0".to_vec(), name(*b"_HID", b"\x0dPNP0A03\0"), inner].concat());
    assert_eq!(aml::devices(&outer, *b"LNRO0005").len(), 1);
    // The innermost device owns the name, so the outer one's resources are not taken for the inner one's.
    let without = package(&[0x5b, 0x82], &[b"VR00".to_vec(), name(*b"_HID", b"\x0dLNRO0005\0")].concat());
    let sibling = virtio_device(0x1000, 5, 3);
    assert_eq!(aml::devices(&[without, sibling].concat(), *b"LNRO0005").len(), 1);
}

#[test]
fn reads_64_bit_ranges() {
    let mut descriptor = vec![0x8a, 43, 0, 0, 0, 0];
    for number in [0u64, 0x40_0000_0000, 0x40_0000_0fff, 0, 0x1000] {
        descriptor.extend(number.to_le_bytes());
    }
    descriptor.extend([0x89, 6, 0, 3, 1, 33, 0, 0, 0, 0x79, 0]);
    let buffer = package(&[0x11], &[[0x0a, descriptor.len() as u8].as_slice(), &descriptor].concat());
    let body = [b"_SB0".to_vec(), name(*b"_CRS", &buffer), name(*b"_HID", b"\x0dLNRO0005\0")].concat();
    let devices = aml::devices(&package(&[0x5b, 0x82], &body), *b"LNRO0005");
    assert_eq!(
        devices,
        [MmioDevice { base: 0x40_0000_0000, size: 0x1000, line: line(33, Trigger::Edge, Polarity::High) }]
    );
}

#[test]
fn reads_the_rooted_sleep_type_of_q35() {
    assert_eq!(aml::sleep_type(b"\x08\\_S5_\x12\x06\x04\x0b\x07\x00\x00\x00", 5), Some(7));
    assert_eq!(aml::sleep_type(b"\x08_S4_\x12\x06\x04\x00\x00\x00\x00", 5), None);
}

#[test]
fn a_broken_table_does_not_hide_the_others() {
    let (memory, rsdp) = firmware(true, true, &[virtio_device(0x1000, 5, 3)]);
    let mut broken = memory.clone();
    let at = broken.0.windows(4).position(|window| window == b"APIC").unwrap();
    broken.0[at + 50] ^= 1;
    let platform = Platform::read(&broken, rsdp).unwrap();
    assert!(platform.madt.is_none());
    assert_eq!(platform.virtio_mmio.len(), 1);
    assert_eq!(Platform::read(&memory, rsdp + 1).unwrap_err(), AcpiError::NoRootPointer);
    assert_eq!(Platform::read(&memory, 0).unwrap_err(), AcpiError::Unreadable);
}

proptest! {
    #[test]
    fn occurrences_are_those_of_a_plain_search(
        code in proptest::collection::vec(0u8..4, 0..300),
        needle in proptest::collection::vec(0u8..4, 1..4),
        rare in any::<prop::sample::Index>(),
    ) {
        let plain: Vec<_> =
            (0..code.len()).filter(|start| code[*start..].starts_with(&needle)).collect();
        let found: Vec<_> = aml::occurrences(&code, &needle, rare.index(needle.len())).collect();
        prop_assert_eq!(found, plain);
    }

    #[test]
    fn corrupted_tables_never_panic(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
        length in any::<prop::sample::Index>(),
        extended in any::<bool>(),
    ) {
        let (mut memory, rsdp) = firmware(extended, true, &[virtio_device(0x1000, 5, 3)]);
        for (index, value) in changes {
            let at = index.index(memory.0.len());
            memory.0[at] = value;
        }
        let _ = Platform::read(&memory, rsdp).map(|platform| platform.soft_off());
        // Again with checksums that hide the corruption, straight into each parser.
        Madt::parse(&memory.0);
        Fadt::parse(&memory.0);
        mcfg::parse(&memory.0);
        memory.0.truncate(length.index(memory.0.len()));
        aml::devices(&memory.0, *b"LNRO0005");
        aml::sleep_type(&memory.0, 5);
    }
}
