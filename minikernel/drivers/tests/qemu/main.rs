//! The self test in QEMU: it is booted on each machine whose devices there are drivers for, and what it prints is read.
#![cfg(not(isopod_bare))]

mod machine;

use machine::{Bus, Disks, Machine};

/// Boots the self test, which returns what is typed, and looks whether all of it passes.
fn passes(machine: &Machine) {
    // More than all buffers hold, so that both sides have to wait.
    let lines: Vec<_> = (0..20_000).map(|line| format!("line {line}\n")).collect();
    let typed = lines.concat() + "~";
    let (serial, console) = machine.boot("all", &typed);
    assert!(serial.contains("2 disks, 2 consoles, 1 sources"), "{machine:?}:\n{serial}");
    assert!(serial.contains("self test passed"), "{machine:?}:\n{serial}");
    assert!(console == format!("console 0\n{typed}last words\n"), "{machine:?}: {} bytes", console.len());
}

#[test]
fn mmio_devices_on_the_command_line() {
    passes(&Machine::new("microvm,acpi=off", Bus::Mmio));
}

#[test]
fn mmio_devices_in_acpi() {
    passes(&Machine::new("microvm,acpi=on", Bus::Mmio));
}

#[test]
fn pci_devices_with_message_interrupts() {
    passes(&Machine::new("q35", Bus::Pci("disable-legacy=on")));
}

#[test]
fn pci_devices_that_were_legacy_once() {
    passes(&Machine::new("q35", Bus::Pci("disable-legacy=off")));
}

#[test]
fn pci_devices_with_pin_interrupts() {
    passes(&Machine::new("q35", Bus::Pci("vectors=0")));
}

#[test]
fn pci_devices_behind_ports() {
    passes(&Machine::new("pc", Bus::Pci("disable-legacy=on")));
}

/// As [`passes`], with disks behind other controllers, on a machine whose other devices are on PCI.
fn passes_with(kind: &'static str, disks: &'static [&'static str]) {
    passes(&Machine::new(kind, Bus::Pci("disable-legacy=on")).with_disks(Disks::Other(disks)));
}

#[test]
fn nvme() {
    passes_with("q35", &["nvme,serial=1,drive=disk", "nvme,serial=2,drive=writable"]);
}

#[test]
fn ahci() {
    passes_with(
        "q35",
        &["ide-hd,bus=ide.2,drive=disk", "ide-hd,bus=ide.5,drive=writable", "ide-cd,bus=ide.3"],
    );
}

#[test]
fn ide() {
    passes_with("pc", &["ide-hd,bus=ide.0,unit=1,drive=disk", "ide-hd,bus=ide.0,unit=0,drive=writable"]);
    passes_with(
        "pc",
        &["ide-cd,bus=ide.0", "ide-hd,bus=ide.0,drive=disk", "ide-hd,bus=ide.1,drive=writable"],
    );
}

#[test]
fn pvscsi() {
    let disks = &[
        "pvscsi,id=bus",
        "scsi-cd,bus=bus.0,scsi-id=1",
        "scsi-hd,bus=bus.0,scsi-id=2,drive=disk",
        "scsi-hd,bus=bus.0,scsi-id=9,drive=writable",
    ];
    passes_with("q35", disks);
    passes_with("pc", disks);
}

#[test]
fn virtio_scsi() {
    passes_with(
        "q35",
        &[
            "virtio-scsi-pci,id=bus",
            "scsi-hd,bus=bus.0,scsi-id=0,drive=disk",
            "scsi-hd,bus=bus.0,scsi-id=9,lun=300,drive=writable",
        ],
    );
}

#[test]
fn virtio_scsi_without_pci() {
    let disks = &[
        "virtio-scsi-device,id=bus",
        "scsi-hd,bus=bus.0,lun=1,drive=disk",
        "scsi-hd,bus=bus.0,lun=2,drive=writable",
    ];
    passes(&Machine::new("microvm,acpi=off", Bus::Mmio).with_disks(Disks::Other(disks)));
}

#[test]
fn legacy_devices_are_left_out() {
    let (serial, _) = Machine::new("microvm,acpi=off", Bus::LegacyMmio).boot("probe", "");
    assert_eq!(serial.matches("left out: only legacy virtio").count(), 5, "{serial}");
    assert!(serial.contains("0 disks"), "{serial}");
}

/// Each access to a device leaves the virtual machine, so their number is a promise.
#[test]
fn accesses_are_few() {
    let accesses = Machine::new("microvm,acpi=off", Bus::Mmio).accesses("probe", "virtio-mmio");
    // Two disks of 29, a console of 38 and its first notification, one with ports of
    // 49 and its first two, a source of 27 and its first.
    assert_eq!(accesses, 2 * 29 + 39 + 51 + 28);
}
