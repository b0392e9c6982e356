//! The same program in a Linux guest: Debian's cloud kernel in the same machine, started from an archive in memory.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use isopod_e2e::{packages, succeed};

use super::machine;
use super::table::{Row, grouped};

/// Measures the instructions from reset to the program's first one.
pub fn measure() -> Result<Vec<Row>> {
    let folder = tempfile::tempdir()?;
    let archive = folder.path().join("initramfs");
    fs::write(&archive, newc(&fs::read(machine::counter_program()?)?))?;
    let kernel = kernel()?;
    let path = |path: &Path| path.display().to_string();
    let words = [
        "qemu-system-x86_64",
        "-M",
        "microvm,x-option-roms=off,rtc=on",
        "-cpu",
        "max",
        "-accel",
        "tcg",
        "-m",
        "128M",
    ]
    .map(str::to_owned)
    .into_iter()
    .chain(
        ["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio"]
            .map(str::to_owned),
    )
    .chain(["-kernel".to_owned(), path(&kernel), "-initrd".to_owned(), path(&archive)])
    .chain(["-append", "console=ttyS0 quiet reboot=t panic=-1"].map(str::to_owned))
    .collect::<Vec<_>>();
    let instructions = machine::instructions_to_program(&words)?;
    let name = "A Linux guest (Debian's cloud kernel), reset to the first instruction of the same program";
    Ok(vec![Row::figure(name, format!("{} instructions", grouped(instructions)))])
}

/// The kernel that Debian's package `linux-image-cloud-amd64` stands for.
fn kernel() -> Result<std::path::PathBuf> {
    let depends = succeed(Command::new("apt-cache").args(["depends", "linux-image-cloud-amd64"]))?;
    let depends = String::from_utf8(depends)?;
    let name = depends.lines().find_map(|line| line.trim().strip_prefix("Depends: "));
    let name = name.context("apt knows no package linux-image-cloud-amd64")?;
    packages::program(name, &format!("boot/vmlinuz-{}", name.trim_start_matches("linux-image-")))
}

/// An archive as Linux unpacks it at boot (`cpio`'s format `newc`): `/init`, `/dev` and the console in it.
fn newc(init: &[u8]) -> Vec<u8> {
    let mut archive = Vec::new();
    let mut entry = |name: &str, mode: u32, device: (u32, u32), content: &[u8]| {
        let fields =
            [1, mode, 0, 0, 1, 0, content.len() as u32, 0, 0, device.0, device.1, name.len() as u32 + 1, 0];
        archive.extend(b"070701");
        archive.extend(fields.iter().flat_map(|field| format!("{field:08x}").into_bytes()));
        for part in [[name.as_bytes(), b"\0"].concat().as_slice(), content] {
            archive.extend(part);
            archive.resize(archive.len().next_multiple_of(4), 0);
        }
    };
    entry("dev", 0o040_755, (0, 0), b"");
    entry("dev/console", 0o020_600, (5, 1), b"");
    entry("init", 0o100_755, (0, 0), init);
    entry("TRAILER!!!", 0, (0, 0), b"");
    archive
}
