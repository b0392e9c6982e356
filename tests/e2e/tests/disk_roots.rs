//! Roots that stay on their disk: the guest finds them by their partition's identifier and reads them by drivers of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use isopod_e2e::isopod::Isopod;
use isopod_e2e::{programs, run_limited, succeed};
use tempfile::TempDir;

/// Long enough for a firmware and a guest on a slow machine.
const LIMIT: Duration = Duration::from_mins(2);

/// A machine with nothing but a serial line.
const PLAIN: [&str; 10] =
    ["-nodefaults", "-no-reboot", "-display", "none", "-serial", "stdio", "-m", "64M", "-accel", "tcg"];
/// A processor that only knows its own instructions as time, and sleeps in none: it waits for half a minute at once.
const NO_SLEEP: [&str; 4] = ["-icount", "shift=0,sleep=off", "-rtc", "clock=vm"];

/// Another firmware than the BIOS, as Debian builds it for QEMU.
const UEFI: [&str; 4] = ["-bios", "/usr/share/ovmf/OVMF.fd", "-m", "128M"];

/// A disk with a program that prints its words, one a line.
struct Disk {
    folder: TempDir,
    bytes: Vec<u8>,
}

impl Disk {
    fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("built");
        let source = format!("elf:{}", programs::compile("gcc", "show.c", &["-O1", "-static"])?.display());
        let output = path.to_str().context("a path is text")?;
        let words = ["build", "-f", "raw", "--root", "disk", "-o", output, &source, "--", "from a disk"];
        Isopod::shared().run(&words)?.expect_status(0);
        let bytes = fs::read(&path)?;
        Ok(Self { folder, bytes })
    }

    /// Writes a disk of other bytes.
    fn write(&self, bytes: &[u8]) -> Result<PathBuf> {
        let path = self.folder.path().join("disk");
        fs::write(&path, bytes)?;
        Ok(path)
    }

    /// Boots a disk of other bytes as QEMU's machine of a kind with these devices, of which one has the drive `disk`; what it says.
    fn boot(&self, bytes: &[u8], kind: &str, devices: &[&str]) -> Result<String> {
        boot(&self.write(bytes)?, kind, devices, &[])
    }

    /// Where the root's partition begins: the first sector in the third entry of the table.
    fn root(&self) -> usize {
        let (_, entry) = self.bytes.split_at(1024 + 2 * 128 + 32);
        u64::from_le_bytes(*entry.first_chunk().expect("the disk has a table")) as usize * 512
    }
}

fn boot(disk: &Path, kind: &str, devices: &[&str], options: &[&str]) -> Result<String> {
    let drive = format!("file={},format=raw,snapshot=on,if=none,id=disk", disk.display());
    let mut command = Command::new("qemu-system-x86_64");
    command.args(PLAIN).args(options).args(["-M", kind, "-drive", &drive]);
    for device in devices {
        command.args(["-device", device]);
    }
    let finished = run_limited(&mut command, b"", LIMIT)?;
    let text = String::from_utf8_lossy(&finished.stdout).replace('\r', "");
    assert!(finished.status.success(), "{text}{}", String::from_utf8_lossy(&finished.stderr));
    Ok(text)
}

const NVME: &str = "nvme,drive=disk,serial=1";

/// The guest runs from its disk behind these devices.
fn runs(kind: &str, devices: &[&str]) -> Result<()> {
    runs_by(&[&[]], kind, devices)
}

/// The same by these firmwares.
fn runs_by(firmwares: &[&[&str]], kind: &str, devices: &[&str]) -> Result<()> {
    let disk = Disk::new()?;
    let path = disk.write(&disk.bytes)?;
    for options in firmwares {
        let said = boot(&path, kind, devices, options)?;
        assert!(said.contains("argument from a disk\n") && !said.contains("isopod:"), "{options:?}: {said}");
    }
    Ok(())
}

#[test]
fn virtio_blk() -> Result<()> {
    runs("q35", &["virtio-blk-pci,drive=disk"])
}

#[test]
fn nvme() -> Result<()> {
    runs("q35", &[NVME])
}

#[test]
fn virtio_scsi() -> Result<()> {
    runs("q35", &["virtio-scsi-pci,id=bus", "scsi-hd,bus=bus.0,scsi-id=5,lun=3,drive=disk"])
}

/// The UEFI firmware has no driver for it.
#[test]
fn pvscsi() -> Result<()> {
    runs("q35", &["pvscsi,id=bus", "scsi-hd,bus=bus.0,scsi-id=5,drive=disk"])
}

#[test]
fn ahci() -> Result<()> {
    runs_by(&[&[], &UEFI], "q35", &["ide-hd,drive=disk"])?;
    runs("pc", &["ahci,id=bus", "ide-hd,bus=bus.3,drive=disk"])
}

#[test]
fn ide() -> Result<()> {
    runs_by(&[&[], &UEFI], "pc", &["ide-cd,bus=ide.0", "ide-hd,bus=ide.1,unit=1,drive=disk"])
}

/// The guest does not run, says why in two lines, and ends.
fn fails(said: &str, reasons: &[&str]) {
    let lines: Vec<_> = said.lines().skip_while(|line| !line.starts_with("isopod: ")).collect();
    let [.., error, hint] = lines[..] else { panic!("{said}") };
    assert!(hint.starts_with("hint: ") && !said.contains("argument"), "{said}");
    for reason in reasons {
        assert!(error.starts_with("isopod: ") && error.contains(reason), "{reason}: {said}");
    }
}

#[test]
fn a_disk_without_the_partition_is_named() -> Result<()> {
    let disk = Disk::new()?;
    let path = disk.write(&disk.bytes)?;
    let other = "11111111-2222-8333-8444-555555555555";
    succeed(Command::new("sgdisk").args(["-u", &format!("3:{other}")]).arg(&path))?;
    let said = boot(&path, "q35", &[NVME], &NO_SLEEP)?;
    fails(
        &said,
        &["the root's partition", "is on no disk: nvme 00:01.0 disk 1 (5 MiB) has no such partition"],
    );
    assert!(said.contains("isopod: waiting for a disk with the root's partition "), "{said}");
    Ok(())
}

#[test]
fn the_second_partition_table_stands_in_for_the_first() -> Result<()> {
    let disk = Disk::new()?;
    // In the header's signature and its own bytes, and in the entries, where nothing is used.
    for (at, word) in [(512, "no partition table"), (600, "a damaged header"), (17_000, "damaged entries")] {
        let mut bytes = disk.bytes.clone();
        bytes[at] ^= 0x40;
        let said = disk.boot(&bytes, "q35", &[NVME])?;
        assert!(said.contains("argument from a disk\n"), "{said}");
        assert!(said.contains(word) && said.contains("the one at its end is used"), "{said}");
    }
    Ok(())
}

#[test]
fn damaged_partition_tables_are_told() -> Result<()> {
    let disk = Disk::new()?;
    let mut bytes = disk.bytes.clone();
    let last = bytes.len() - 512;
    bytes[17_000] ^= 1;
    bytes[last] ^= 1;
    let said = boot(&disk.write(&bytes)?, "q35", &["virtio-blk-pci,drive=disk"], &NO_SLEEP)?;
    fails(
        &said,
        &[
            "virtio-blk 00:01.0 disk 0",
            "a partition table with damaged entries, and at its end no partition table",
        ],
    );
    Ok(())
}

#[test]
fn a_damaged_root_is_told() -> Result<()> {
    let disk = Disk::new()?;
    let mut bytes = disk.bytes.clone();
    bytes[disk.root() + 1024] ^= 1;
    let said = disk.boot(&bytes, "q35", &[NVME])?;
    fails(&said, &["cannot mount the root, partition ", " of nvme 00:01.0 disk 1: not an EROFS image"]);
    Ok(())
}
