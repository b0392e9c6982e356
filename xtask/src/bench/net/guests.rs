//! The same image in a guest of ours and in a Linux guest, in the same machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use isopod_e2e::image::{Image, Layout};
use isopod_e2e::server::Server;
use isopod_e2e::succeed;
use tempfile::TempDir;

use super::wire::Wire;
use crate::bench::{linux, machine};

/// Stands for QEMU. Emulating one processor of one, QEMU before 8.1 leaves out the barriers that Linux's drivers need, and its guest stops sooner or
/// later; where there could be two it does not. For the Linux guest the kernel, the archive and the kernel's line are in the environment, and
/// the firmware lists the devices in ACPI, where Debian's kernel looks for them.
const STAND_IN: &str = r#"#!/bin/sh
for word; do
    shift
    case $before in -smp) word=$word,maxcpus=2;; esac
    if [ -n "$LINUX_KERNEL" ]; then
        case $before in -kernel) word=$LINUX_KERNEL;; -initrd) word=$LINUX_ARCHIVE;; esac
        case $word in microvm,acpi=off*) word=microvm,acpi=on${word#microvm,acpi=off};; esac
    fi
    set -- "$@" "$word"
    before=$word
done
[ -z "$LINUX_KERNEL" ] || set -- "$@" -append "$LINUX_LINE"
exec "$REAL_QEMU" "$@"
"#;

/// How guests are reached.
enum Place {
    /// By a port of this host.
    Port(u16),
    /// By a TAP device for each, in a network of its own.
    Wires([Wire; 2]),
}

/// The same image in both guests.
pub struct Guests {
    folder: TempDir,
    layout: Layout,
    place: Place,
    command: Vec<String>,
}

impl Guests {
    /// Guests that serve on a port, reached as QEMU's user network has it.
    pub fn on_port(image: &Image, port: u16, command: &[&str]) -> Result<Self> {
        Self::new(image, Place::Port(port), command)
    }

    /// Guests with the address [`Wire::GUEST`], each on a wire of its own.
    pub fn on_wires(image: &Image, command: &[&str]) -> Result<Self> {
        Self::new(image, Place::Wires([Wire::new()?, Wire::new()?]), command)
    }

    fn new(image: &Image, place: Place, command: &[&str]) -> Result<Self> {
        let (folder, layout) = (tempfile::tempdir()?, image.cached()?);
        let archive = linux::archive_of(&layout.unpack(&folder.path().join("bundle"))?)?;
        fs::write(folder.path().join("archive"), archive)?;
        fs::create_dir(folder.path().join("programs"))?;
        let stand_in = folder.path().join("programs/qemu-system-x86_64");
        fs::write(&stand_in, STAND_IN)?;
        succeed(Command::new("chmod").arg("+x").arg(&stand_in))?;
        let words = command.iter().map(|word| (*word).to_owned()).collect();
        let guests = Self { folder, layout, place, command: words };
        // The root is made once, and not while time is taken.
        let reference = guests.layout.reference();
        let print = [&["run", "--accel", "tcg", "--print-cmd", &reference], command].concat();
        machine::run_isopod(&guests.home(), &print)?;
        Ok(guests)
    }

    fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    /// The command that starts one of them, with more options for `isopod run`.
    fn command(&self, number: usize, options: &[&str]) -> Result<Command> {
        let mut command = Command::new(machine::isopod());
        command.args(["run", "--accel", "tcg"]).args(options);
        match &self.place {
            Place::Port(port) => command.args(["-p", &format!("127.0.0.1::{port}")]),
            Place::Wires(_) => command.args(Wire::OPTIONS),
        };
        command.arg(self.layout.reference()).args(&self.command);
        if let Place::Wires(wires) = &self.place {
            command = wires[number].enter(&command);
        }
        let path = std::env::var("PATH")?;
        command.env("PATH", format!("{}:{path}", self.folder.path().join("programs").display()));
        command.env("ISOPOD_HOME", self.home()).env("REAL_QEMU", machine::qemu()?);
        Ok(command)
    }

    /// The command that starts ours.
    pub fn ours(&self) -> Result<Command> {
        self.ours_with(&[])
    }

    /// The same with more options for `isopod run`.
    pub fn ours_with(&self, options: &[&str]) -> Result<Command> {
        self.command(0, options)
    }

    /// The command that starts the Linux guest.
    pub fn theirs(&self) -> Result<Command> {
        let mut command = self.command(1, &[])?;
        let words: Vec<_> = self.command.iter().map(String::as_str).collect();
        let line = format!("tsc_early_khz={} {}", tsc_khz()?, linux::line(&words));
        command.env("LINUX_KERNEL", linux::kernel()?).env("LINUX_LINE", line);
        command.env("LINUX_ARCHIVE", self.folder.path().join("archive"));
        Ok(command)
    }

    /// Both, ours first.
    pub fn start(&self) -> Result<[Server; 2]> {
        Ok([Server::start(&mut self.ours()?)?, Server::start(&mut self.theirs()?)?])
    }

    /// What runs this command beside a guest: ours, 0, or the Linux guest, 1.
    pub fn beside(&self, number: usize, command: Command) -> Command {
        match &self.place {
            Place::Port(_) => command,
            Place::Wires(wires) => wires[number].enter(&command),
        }
    }
}

/// The rate of the guests' time-stamp counter, which is this host's under emulation. Debian's kernel measures it with the PIT, and hangs where
/// that fails because the host is busy (`tsc_early_khz` in the kernel's `kernel-parameters.txt`).
fn tsc_khz() -> Result<u64> {
    let about = fs::read_to_string("/proc/cpuinfo")?;
    let line = about.lines().find(|line| line.starts_with("cpu MHz")).context("a CPU's rate")?;
    let megahertz: f64 = line.rsplit(':').next().unwrap_or_default().trim().parse()?;
    Ok((megahertz * 1000.0) as u64)
}

/// Memory that QEMU holds, in megabytes.
pub fn resident(server: &Server) -> Result<f64> {
    let qemu = server.children()?.into_iter().next().context("isopod has started QEMU")?;
    let status = fs::read_to_string(Path::new("/proc").join(qemu).join("status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? * 1024.0 / 1e6)
}
