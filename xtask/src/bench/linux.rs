//! The same program in a Linux guest: Debian's cloud kernel in the same machine, started from an archive in memory.

use std::fs;
use std::path::Path;
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

/// An archive from which a guest starts with this folder as the lower part of its root, an overlay, as a container has it.
pub fn archive_of(image: &Path) -> Result<Vec<u8>> {
    let init = programs::compile("gcc", "linux-init.c", &["-O2", "-static"])?;
    let (package, version) = package()?;
    let overlay = format!("lib/modules/{version}/kernel/fs/overlayfs/overlay.ko");
    let mut archive = Archive::with_init(&fs::read(init)?);
    archive.file("overlay.ko", &fs::read(packages::program(&package, &overlay)?)?);
    archive.tree("image", image)?;
    Ok(archive.finish())
}

/// The command that starts a guest of so much memory from an archive. Its first program gets these arguments.
pub fn words(archive: &Path, memory: &str, arguments: &[&str]) -> Result<Vec<String>> {
    let path = |path: &Path| path.display().to_string();
    let (package, version) = package()?;
    let kernel = packages::program(&package, &format!("boot/vmlinuz-{version}"))?;
    let line = format!("console=ttyS0 quiet reboot=t panic=-1 -- {}", arguments.join(" "));
    let machine = "qemu-system-x86_64 -M microvm,acpi=off,x-option-roms=off,rtc=on -cpu max -accel tcg \
                   -nodefaults -no-user-config -display none -no-reboot -serial stdio";
    let words = machine.split_whitespace().map(str::to_owned);
    let rest = ["-m", memory, "-kernel", &path(&kernel), "-initrd", &path(archive), "-append", &line];
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
