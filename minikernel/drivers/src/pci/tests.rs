use proptest::prelude::*;

use super::simulated::Machine;
use super::*;

const VIRTIO: u32 = 0x1042_1af4;

#[test]
fn functions_and_bridges_are_found() {
    let machine = Machine::default();
    machine.set(0, 0, &[(0, 0x29c0_8086), (0x0c, 0)]);
    // A device with several functions, of which the second is missing.
    machine.set(0, 0x1f << 3, &[(0, 0x2918_8086), (0x0c, 0x80 << 16)]);
    machine.set(0, 0x1f << 3 | 2, &[(0, 0x2922_8086), (0x0c, 0)]);
    // A function behind one that does not say it has others is none.
    machine.set(0, 1, &[(0, VIRTIO), (0x0c, 0)]);
    // Bridges: to bus 5, and from there back to bus 0 and to itself.
    machine.set(0, 2 << 3, &[(0, 0x000c_1b36), (0x0c, 1 << 16), (0x18, 0x0005_0500)]);
    machine.set(5, 0, &[(0, VIRTIO), (0x0c, 0)]);
    machine.set(5, 1 << 3, &[(0, 0x000c_1b36), (0x0c, 1 << 16), (0x18, 0x0005_0005)]);
    machine.set(5, 2 << 3, &[(0, 0x000c_1b36), (0x0c, 1 << 16), (0x18, 0x0005_0505)]);
    let names: Vec<_> = machine.all().iter().map(|function| alloc::format!("{function:?}")).collect();
    assert_eq!(
        names,
        [
            "00:00.0 [8086:29c0]",
            "00:02.0 [1b36:000c]",
            "00:1f.0 [8086:2918]",
            "00:1f.2 [8086:2922]",
            "05:00.0 [1af4:1042]",
            "05:01.0 [1b36:000c]",
            "05:02.0 [1b36:000c]"
        ]
    );
}

fn function(registers: &[(u8, u32)]) -> (Machine, Function) {
    let machine = Machine::default();
    machine.set(0, 0, &[(0, VIRTIO), (0x0c, 0)]);
    machine.set(0, 0, registers);
    let function = machine.all().remove(0);
    (machine, function)
}

#[test]
fn addresses_are_read_from_bars() {
    let (_, function) = function(&[
        (0x10, 0xfebd_1000),
        (0x14, 0x0000_c001),
        (0x18, 0xc),
        (0x1c, 0x80),
        (0x20, 0),
        (0x24, 0xfff0_0004),
    ]);
    assert_eq!(function.bar(0), Some(0xfebd_1000));
    assert_eq!(function.bar(1), None, "I/O");
    assert_eq!(function.bar(2), Some(0x80_0000_0000));
    assert_eq!(function.bar(4), None, "unassigned");
    assert_eq!(function.bar(5), None, "64 bits without a register for the upper half");
    assert_eq!(function.bar(6), None);
    assert_eq!(function.bar(u8::MAX), None);
}

#[test]
fn capabilities_are_listed_even_in_circles() {
    let (machine, function) =
        function(&[(4, 0x0010_0000), (0x34, 0x98), (0x98, 0x8003_4011), (0x40, 0x0110_0009)]);
    let expected = [
        Capability { id: CAPABILITY_MSIX, offset: 0x98, head: 0x8003 },
        Capability { id: CAPABILITY_VENDOR, offset: 0x40, head: 0x0110 },
    ];
    assert_eq!(function.capabilities(), expected);
    machine.set(0, 0, &[(0x40, 0x0110_9809)]);
    assert_eq!(function.capabilities().len(), 48);
}

#[test]
fn enabling_leaves_other_bits_alone() {
    let (machine, function) = function(&[(4, 0xfff0_0101)]);
    assert!(function.enable());
    assert_eq!(machine.register(4), 0x0107);
    machine.set(0, 0, &[(4, 0xffe0_0000)]);
    assert!(!function.enable());
}

#[test]
fn interrupt_pins_need_a_route() {
    for (register, line) in [(0x010b, Some(11)), (0x000b, None), (0x01ff, None)] {
        assert_eq!(function(&[(0x3c, register)]).1.interrupt_line(), line);
    }
}

proptest! {
    #[test]
    fn random_configuration_never_panics(
        registers in proptest::collection::vec((0u8..3, any::<u8>(), any::<u8>(), any::<u32>()), 0..200),
        heads in proptest::collection::vec(any::<u8>(), 0..20),
    ) {
        let machine = Machine::default();
        for number in heads {
            machine.set(0, number, &[(0, VIRTIO), (0x0c, 0x81 << 16)]);
        }
        for (bus, function, offset, value) in registers {
            machine.set(bus, function, &[(offset & !3, value)]);
        }
        for function in machine.all() {
            function.capabilities();
            (0..7).for_each(|index| _ = function.bar(index));
            function.interrupt_line();
        }
    }
}
