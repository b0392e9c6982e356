use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::sample::{firmware, name, package, virtio_device};
use super::*;

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
