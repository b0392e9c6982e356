//! The self test in QEMU: it is booted in each way, on each machine, with little and with much memory, and what it prints
//! is read. QEMU emulates the processor, so the tests need no virtualisation.
#![cfg(not(isopod_bare))]

mod image;
mod loader;
mod machine;

use std::time::{SystemTime, UNIX_EPOCH};

use image::self_test;
use machine::Machine;

/// Boots the self test and looks whether all of it passes.
fn passes(machine: &Machine) -> String {
    let output = machine.boot(&self_test(), "all");
    assert!(output.contains("self test passed"), "{machine:?}:\n{output}");
    output
}

#[test]
fn microvm_with_16_mib() {
    passes(&Machine::new("microvm", "16M"));
}

#[test]
fn microvm_with_64_gib() {
    passes(&Machine::new("microvm", "64G"));
}

#[test]
fn microvm_with_all_that_the_emulator_can() {
    let output = passes(&Machine::new("microvm", "128M").cpu("max"));
    for ability in ["smep", "smap", "umip", "nx", "fsgsbase", "xsave", "huge_pages", "rdrand"] {
        assert!(output.contains(&format!("{ability}: true")), "{ability}:\n{output}");
    }
}

#[test]
fn q35_with_16_mib() {
    passes(&Machine::new("q35", "16M"));
}

#[test]
fn q35_with_8_gib() {
    passes(&Machine::new("q35", "8G"));
}

#[test]
fn q35_with_64_gib_and_pages_of_1_gib() {
    passes(&Machine::new("q35", "64G").cpu("max"));
}

#[test]
fn old_and_named_processors() {
    for cpu in ["qemu64,-nx,-hypervisor", "Nehalem", "EPYC"] {
        passes(&Machine::new("q35", "128M").cpu(cpu));
    }
}

#[test]
fn a_module_and_the_wall_clock() {
    let module: Vec<u8> = (0..10_000u32).map(|byte| byte as u8).collect();
    let sum: u64 = module.iter().map(|&byte| u64::from(byte)).sum();
    let output = passes(&Machine::new("microvm", "128M").module(module));
    assert!(output.contains(&format!("module of 10000 bytes, sum {sum}")), "{output}");
    let line = output.lines().find_map(|line| line.strip_prefix("wall clock ")).unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    assert!(line.trim().parse::<u64>().unwrap().abs_diff(now) < 60, "{line}");
}

#[test]
fn linux_entry() {
    for memory in [16, 128, 2000] {
        let image = loader::start_by_linux_entry(&self_test(), memory << 20, "all of it");
        let output = Machine::new("q35", &format!("{memory}M")).boot(&image, "");
        assert!(output.contains("self test passed"), "{output}");
        assert!(output.contains("all of it") && output.contains("seed Some([7, 7, "), "{output}");
    }
}

/// The first version of PVH's start info has no memory map: it is read from QEMU's configuration device.
#[test]
fn pvh_without_a_memory_map() {
    let image = loader::start_by_old_pvh(&self_test(), loader::PVH_MAGIC, "all as ever");
    let output = Machine::new("q35", "5G").boot(&image, "");
    assert!(output.contains("self test passed") && output.contains("0x100000000..0x1c0000000"), "{output}");
    assert!(output.contains("all as ever"), "{output}");
}

#[test]
fn a_loader_that_says_nothing() {
    let image = loader::start_by_old_pvh(&self_test(), 0, "all");
    let output = Machine::new("microvm", "128M").boot(&image, "");
    assert_eq!(output, "isopod: the boot loader tells of no memory\r\n");
}

#[test]
fn time_under_counted_instructions() {
    let machine = Machine::new("microvm", "128M").accelerator("tcg,thread=single").counted();
    let output = passes(&machine);
    // There a tick is an instruction is a nanosecond.
    let line = output.lines().find_map(|line| line.strip_prefix("tsc Some(")).unwrap();
    let frequency: u64 = line.split(')').next().unwrap().parse().unwrap();
    // Two samples may be a microsecond off, and by the end of the self test the last ones lie 8 ms apart or more (`clock/calibration.rs`).
    assert!(frequency.abs_diff(1_000_000_000) < 125_000, "{line}");
}

/// What the way to the kernel's main function and a system call may cost, in instructions. Firmware's share is some
/// 15,000 of the first.
#[test]
fn instructions_are_few_whatever_the_memory() {
    let number = |memory: &str, what: &str, words: &str| -> u64 {
        let machine = Machine::new("microvm", memory).accelerator("tcg,thread=single").counted();
        let output = machine.boot(&self_test(), what);
        let line =
            output.lines().find_map(|line| line.strip_prefix(words)).unwrap_or_else(|| panic!("{output}"));
        line.split_whitespace().next().unwrap().parse().unwrap()
    };
    let small = number("128M", "null", "main after ");
    let large = number("8G", "null", "main after ");
    assert!(small < 40_000 && large.abs_diff(small) < small / 20, "{small} {large}");
    let call = number("128M", "calls", "system call ");
    assert!(call <= 130, "{call}");
}

#[test]
fn errors_are_reported() {
    let cases = [
        ("panic", "panicked at"),
        ("hook", "the hook says: isopod: the kernel has an error"),
        ("write-code", "page fault in the kernel"),
        ("write-alias", "page fault in the kernel"),
        ("write-constant", "page fault in the kernel"),
        ("nothing", "page fault in the kernel"),
        ("execute-data", "page fault in the kernel"),
        ("overflow", "double fault in the kernel"),
        ("invalid", "invalid instruction in the kernel"),
    ];
    for (name, words) in cases {
        let output = Machine::new("microvm", "128M").cpu("max").boot(&self_test(), name);
        assert!(output.contains(words) && output.contains("  0: 0xffffffff"), "{name}:\n{output}");
        assert!(!output.contains("nothing happened"), "{name}:\n{output}");
    }
}

#[test]
fn an_nmi_is_reported_and_survived() {
    let output = Machine::new("q35", "128M").boot(&self_test(), "nmi");
    assert!(output.contains("non-maskable interrupt in the kernel"), "{output}");
    assert!(output.ends_with("the kernel goes on\r\n"), "{output}");
}

#[test]
fn backtraces_name_functions() {
    let output = Machine::new("microvm", "128M").boot(&image::with_symbols(&self_test()), "panic");
    assert!(output.contains("errors4deep") && output.contains("isopod_main+0x"), "{output}");
}
