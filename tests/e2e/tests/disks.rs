//! Disks and programs that `isopod build` writes start where firmware and loaders of Linux find them.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use isopod_e2e::isopod::Isopod;
use isopod_e2e::{Finished, packages, programs, run_limited, succeed};

/// Long enough for a firmware and a guest on a slow machine.
const LIMIT: Duration = Duration::from_mins(2);

/// A PC without a card, so that its firmware does not try to start from the network.
const PLAIN: [&str; 10] =
    ["-nodefaults", "-no-reboot", "-display", "none", "-serial", "stdio", "-m", "128M", "-accel", "tcg"];

/// UEFI firmware, as Debian builds it for QEMU.
const UEFI: [&str; 4] = ["-M", "q35", "-bios", "/usr/share/ovmf/OVMF.fd"];

/// A static program that prints its words, one a line.
fn source() -> Result<String> {
    Ok(format!("elf:{}", programs::compile("gcc", "show.c", &["-O1", "-static"])?.display()))
}

/// Builds the disks of these formats as `FOLDER/app.FORMAT`.
fn build(folder: &Path, formats: &str) -> Result<()> {
    let output = folder.join("app");
    let output = output.to_str().context("a path is text")?;
    let words = ["build", "-f", formats, "-o", output, &source()?, "--", "a disk"];
    Isopod::shared().run(&words)?.expect_status(0);
    Ok(())
}

/// Starts a machine with UEFI; it must end by itself, having said `expected`.
fn expect_uefi(words: &[&str], expected: &str) -> Result<()> {
    let finished = start(&[&UEFI, words].concat())?;
    let text = String::from_utf8_lossy(&finished.stdout).replace('\r', "");
    assert!(finished.status.success(), "{words:?}: {text}");
    assert!(text.contains(expected), "{words:?}: {text}");
    Ok(())
}

/// Starts a machine; what its serial line says.
fn start(words: &[&str]) -> Result<Finished> {
    run_limited(Command::new("qemu-system-x86_64").args(PLAIN).args(words), b"", LIMIT)
}

fn expect(words: &[&str]) -> Result<()> {
    let finished = start(words)?;
    let text = String::from_utf8_lossy(&finished.stdout);
    assert!(finished.status.success(), "{words:?}: {text}");
    assert!(text.replace('\r', "").contains("argument a disk\n"), "{words:?}: {text}");
    Ok(())
}

#[test]
fn every_format_starts_from_the_disks_that_firmware_knows() -> Result<()> {
    let folder = tempfile::tempdir()?;
    build(folder.path(), "raw,qcow2,vmdk,vmdk-sparse,vhd,vhdx")?;
    let drive = |file: &str, format: &str, interface: &str| {
        format!("file={}/app.{file},format={format},snapshot=on,{interface}", folder.path().display())
    };
    expect(&["-M", "q35", "-drive", &drive("raw", "raw", "if=virtio")])?;
    expect(&["-M", "pc", "-drive", &drive("qcow2", "qcow2", "if=ide")])?;
    let nvme = drive("vhdx", "vhdx", "if=none,id=disk");
    expect(&["-M", "q35", "-drive", &nvme, "-device", "nvme,drive=disk,serial=1"])?;
    let scsi = drive("vmdk", "vmdk", "if=none,id=disk");
    expect(&["-M", "q35", "-drive", &scsi, "-device", "virtio-scsi-pci", "-device", "scsi-hd,drive=disk"])?;
    let pvscsi = drive("sparse.vmdk", "vmdk", "if=none,id=disk");
    expect(&["-M", "pc", "-drive", &pvscsi, "-device", "pvscsi", "-device", "scsi-hd,drive=disk"])?;
    expect(&["-M", "q35", "-drive", &drive("vhd", "vpc", "if=ide")])?;
    Ok(())
}

#[test]
fn a_cd_starts() -> Result<()> {
    let folder = tempfile::tempdir()?;
    build(folder.path(), "iso,raw")?;
    let iso = folder.path().join("app.iso");
    expect(&["-M", "q35", "-cdrom", iso.to_str().context("a path is text")?])?;
    // The same file is a disk.
    expect(&["-M", "pc", "-drive", &format!("file={},format=raw,snapshot=on", iso.display())])
}

#[test]
fn uefi_starts_from_the_disks_that_it_knows() -> Result<()> {
    let folder = tempfile::tempdir()?;
    build(folder.path(), "raw,qcow2,iso")?;
    let drive = |file: &str, format: &str, interface: &str| {
        format!("file={}/app.{file},format={format},snapshot=on,{interface}", folder.path().display())
    };
    let runs = "argument a disk\n";
    expect_uefi(&["-drive", &drive("qcow2", "qcow2", "if=virtio"), "-smp", "2"], runs)?;
    let nvme = drive("raw", "raw", "if=none,id=disk");
    expect_uefi(&["-drive", &nvme, "-device", "nvme,drive=disk,serial=1"], runs)?;
    expect_uefi(&["-drive", &drive("raw", "raw", "if=ide")], runs)?;
    let iso = folder.path().join("app.iso");
    expect_uefi(&["-cdrom", iso.to_str().context("a path is text")?], runs)
}

#[test]
fn one_program_starts_by_uefi_and_as_linux_does() -> Result<()> {
    let folder = tempfile::tempdir()?;
    build(folder.path(), "efi")?;
    let program = folder.path().join("app");
    let kernel = ["-kernel", program.to_str().context("a path is text")?];
    expect_uefi(&kernel, "argument a disk\n")?;
    for machine in ["q35", "pc", "microvm"] {
        expect(&[&["-M", machine], &kernel[..]].concat())?;
    }
    // Firecracker and Cloud Hypervisor know the 64-bit entry only.
    let flags = ["-static", "-nostdlib", "-Wl,--build-id=none,-Ttext=0x3000000"];
    let loader = programs::compile("gcc", "linux64.S", &flags)?;
    let loader = loader.to_str().context("a path is text")?;
    expect(&["-M", "q35", "-kernel", loader, "-initrd", kernel[1]])?;
    let boot = folder.path().join("disk/EFI/BOOT");
    std::fs::create_dir_all(&boot)?;
    std::fs::rename(program, boot.join("BOOTX64.EFI"))?;
    let drive = format!("file=fat:{}/disk,format=raw,if=virtio,readonly=on", folder.path().display());
    expect_uefi(&["-drive", &drive], "argument a disk\n")
}

/// Makes a GRUB that runs these commands and has all that it needs for them.
fn grub(format: &str, package: &str, modules: &[&str], commands: &str, image: &Path) -> Result<()> {
    let config = image.with_extension("cfg");
    std::fs::write(&config, commands)?;
    let library = packages::program("libdevmapper1.02.1", "lib/x86_64-linux-gnu")?;
    let all = packages::program(package, "usr/lib/grub")?;
    let (family, _) = format.rsplit_once("-eltorito").unwrap_or((format, ""));
    let mut mkimage = Command::new(packages::program("grub-common", "usr/bin/grub-mkimage")?);
    mkimage.env("LD_LIBRARY_PATH", library).args(["-O", format, "-p", "/boot", "-d"]).arg(all.join(family));
    mkimage.arg("-c").arg(config).arg("-o").arg(image).args(modules);
    succeed(&mut mkimage).map(drop)
}

#[test]
fn grub_starts_the_program_as_linux_and_by_uefi() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name);
    std::fs::create_dir_all(path("disk/EFI/BOOT"))?;
    build(folder.path(), "efi")?;
    std::fs::rename(path("app"), path("disk/app"))?;

    let modules = ["biosdisk", "iso9660", "linux", "boot"];
    let commands = "linux (cd)/app\nboot\n";
    grub("i386-pc-eltorito", "grub-pc-bin", &modules, commands, &path("disk/grub.img"))?;
    let mut disc = Command::new("xorriso");
    disc.args(["-as", "mkisofs", "-quiet", "-b", "grub.img", "-no-emul-boot", "-boot-load-size", "4"]);
    succeed(disc.args(["-boot-info-table", "-o"]).args([path("grub.iso"), path("disk")]))?;
    let disc = path("grub.iso");
    expect(&["-M", "pc", "-cdrom", disc.to_str().context("a path is text")?])?;

    let drive = format!("file=fat:{},format=raw,if=virtio,readonly=on", path("disk").display());
    let modules = ["fat", "part_msdos", "linux", "chain", "boot", "search", "search_fs_file"];
    for how in ["linux", "chainloader"] {
        let commands = format!("search --file --set=root /app\n{how} /app\nboot\n");
        let program = path("disk/EFI/BOOT/BOOTX64.EFI");
        grub("x86_64-efi", "grub-efi-amd64-bin", &modules, &commands, &program)?;
        expect_uefi(&["-drive", &drive], "argument a disk\n")?;
    }
    Ok(())
}

#[test]
fn uefi_is_told_what_is_missing() -> Result<()> {
    let folder = tempfile::tempdir()?;
    build(folder.path(), "raw")?;
    let disk = folder.path().join("app");
    let drive = format!("file={},format=raw,snapshot=on,if=virtio", disk.display());
    let broken = |expected: &str| expect_uefi(&["-drive", &drive], expected);
    let whole = std::fs::read(&disk)?;
    // The superblock of EROFS begins with its magic number, 1 KiB into the file system.
    let root = whole.chunks_exact(4096).position(|page| page[1024..1028] == [0xe2, 0xe1, 0xf5, 0xe0]);
    let root = root.context("the disk has a root")? * 4096;

    let mut damaged = whole.clone();
    damaged[root..root + 4096].fill(0);
    std::fs::write(&disk, &damaged)?;
    broken("isopod: the partition `isopod-root` is damaged: it has no file system\nhint: ")?;

    std::fs::write(&disk, &whole[..root + 8192])?;
    broken("isopod: the partition `isopod-root` cannot be read: the firmware's error is 2\nhint: ")?;

    std::fs::write(&disk, &whole)?;
    succeed(Command::new("sgdisk").args(["-d", "3"]).arg(&disk))?;
    broken("isopod: the disk has no partition `isopod-root` of this image\nhint: ")
}

#[test]
fn uefi_is_told_of_too_little_memory() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (root, disk) = (folder.path().join("root"), folder.path().join("disk"));
    std::fs::create_dir(&root)?;
    // Nearly all of the machine's memory, of which the firmware has some.
    let content: Vec<u8> = (0..100 << 18).flat_map(u32::to_le_bytes).collect();
    std::fs::write(root.join("content"), content)?;
    let source = format!("rootfs:{}", root.display());
    let output = disk.to_str().context("a path is text")?;
    std::fs::copy(programs::compile("gcc", "show.c", &["-O1", "-static"])?, root.join("show"))?;
    let arguments = ["build", "-f", "raw", "--root", "memory", "-o", output, &source, "--", "/show"];
    Isopod::shared().run(&arguments)?.expect_status(0);
    let drive = format!("file={output},format=raw,snapshot=on,if=virtio");
    expect_uefi(&["-drive", &drive], "isopod: the machine has too little memory: the image alone takes 10")
}

#[test]
fn too_little_memory_is_told() -> Result<()> {
    let folder = tempfile::tempdir()?;
    build(folder.path(), "raw,qcow2")?;
    let drive = format!("file={}/app.raw,format=raw,snapshot=on", folder.path().display());
    let mut command = Command::new("qemu-system-x86_64");
    command.args(PLAIN).args(["-M", "q35", "-m", "4M", "-drive", &drive]);
    // The machine stands still then, so its words are waited for and not its end.
    let mut child =
        command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::piped()).spawn()?;
    let mut out = std::io::BufReader::new(child.stdout.take().context("it is piped")?);
    let found = std::thread::spawn(move || -> Result<String> {
        let mut line = Vec::new();
        while std::io::BufRead::read_until(&mut out, b'\n', &mut line)? > 0 {
            let text = String::from_utf8_lossy(&line).into_owned();
            if text.contains("too little memory") && text.contains("MiB") {
                return Ok(text);
            }
            line.clear();
        }
        anyhow::bail!("the machine ended without a word")
    });
    let begun = std::time::Instant::now();
    while !found.is_finished() && begun.elapsed() < LIMIT {
        std::thread::sleep(Duration::from_millis(50));
    }
    child.kill()?;
    child.wait()?;
    let line = found.join().expect("it does not panic")?;
    assert!(line.contains("isopod: the machine has too little memory: the image alone takes"), "{line}");
    Ok(())
}

#[test]
fn the_commands_that_are_printed_start_the_image() -> Result<()> {
    let folder = tempfile::tempdir()?;
    for format in ["elf", "efi", "raw"] {
        let output = folder.path().join(format!("my {format}"));
        let output = output.to_str().context("a path is text")?;
        let built = Isopod::shared().run(&[
            "build",
            "--target",
            "qemu",
            "-f",
            format,
            "-o",
            output,
            &source()?,
            "--",
            "a disk",
        ])?;
        built.expect_status(0);
        let script = built.stdout;
        let finished = run_limited(Command::new("sh").args(["-c", &script]), b"", LIMIT)?;
        let text = String::from_utf8_lossy(&finished.stdout).replace('\r', "");
        assert!(text.contains("argument a disk\n"), "{script}: {text}");
    }
    Ok(())
}
