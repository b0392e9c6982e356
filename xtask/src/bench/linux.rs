//! The same program in a Linux guest: Debian's cloud kernel in the same machine, started from an archive in memory.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use isopod_e2e::{packages, programs, succeed};

use super::machine;
use super::newc::Archive;
use super::table::{Row, grouped};

/// Measures the instructions from reset to the program's first one.
pub fn measure() -> Result<Vec<Row>> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("initramfs");
    fs::write(&file, Archive::with_init(&fs::read(machine::counter_program()?)?).finish())?;
    let instructions = machine::instructions_to_program(&words(&file, "128M", &[])?)?;
    let name = "A Linux guest (Debian's cloud kernel), reset to the first instruction of the same program";
    Ok(vec![Row::figure(name, format!("{} instructions", grouped(instructions)))])
}

/// Modules of the root's file system, and of the network card on a microvm, in the order in which they need each other.
const MODULES: [&str; 7] = [
    "fs/overlayfs/overlay",
    "drivers/virtio/virtio_ring",
    "drivers/virtio/virtio",
    "drivers/virtio/virtio_mmio",
    "net/core/failover",
    "drivers/net/net_failover",
    "drivers/net/virtio_net",
];

/// An archive from which a guest starts with this folder as the lower part of its root, an overlay, as a container has it.
pub fn archive_of(image: &Path) -> Result<Vec<u8>> {
    let init = programs::compile("gcc", "linux-init.c", &["-O2", "-static"])?;
    let (package, version) = package()?;
    let mut archive = Archive::with_init(&fs::read(init)?);
    archive.folder("modules");
    for (number, module) in MODULES.iter().enumerate() {
        let file = packages::program(&package, &format!("lib/modules/{version}/kernel/{module}.ko"))?;
        archive.file(&format!("modules/{number}.ko"), &fs::read(file)?);
    }
    archive.tree("image", image)?;
    Ok(archive.finish())
}

/// Debian's kernel.
pub fn kernel() -> Result<PathBuf> {
    let (package, version) = package()?;
    packages::program(&package, &format!("boot/vmlinuz-{version}"))
}

/// What the kernel is told: to be brief, and to run this as its first program's arguments.
pub fn line(arguments: &[&str]) -> String {
    format!("console=ttyS0 quiet reboot=t panic=-1 -- {}", arguments.join(" "))
}

/// The command that starts a guest of so much memory from an archive. Its first program gets these arguments.
pub fn words(archive: &Path, memory: &str, arguments: &[&str]) -> Result<Vec<String>> {
    let path = |path: &Path| path.display().to_string();
    let machine = "qemu-system-x86_64 -M microvm,acpi=off,x-option-roms=off,rtc=on -cpu max -accel tcg \
                   -nodefaults -no-user-config -display none -no-reboot -serial stdio";
    let words = machine.split_whitespace().map(str::to_owned);
    let rest =
        ["-m", memory, "-kernel", &path(&kernel()?), "-initrd", &path(archive), "-append", &line(arguments)];
    Ok(words.chain(rest.map(str::to_owned)).collect())
}

/// The package that Debian's `linux-image-cloud-amd64` stands for, and the kernel's version.
fn package() -> Result<(String, String)> {
    let depends = succeed(Command::new("apt-cache").args(["depends", "linux-image-cloud-amd64"]))?;
    let depends = String::from_utf8(depends)?;
    let name = depends.lines().find_map(|line| line.trim().strip_prefix("Depends: "));
    let name = name.context("apt knows no package linux-image-cloud-amd64")?;
    Ok((name.to_owned(), name.trim_start_matches("linux-image-").to_owned()))
}
