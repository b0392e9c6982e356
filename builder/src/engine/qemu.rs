//! QEMU's command line.
//!
//! What each machine gets is the least that serves: every device costs the guest a probe, and every probe VM exits.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::fd::RawFd;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;

use super::{Accelerator, Machine, Nic};

/// The program's usual name.
pub(super) const PROGRAM: &str = "qemu-system-x86_64";

/// One virtual machine to be started.
#[derive(Debug)]
pub(super) struct Guest<'a> {
    pub machine: Machine,
    pub accelerator: Accelerator,
    /// In bytes; QEMU takes whole MiB.
    pub memory: u64,
    pub cpus: u32,
    pub kernel: &'a Path,
    /// Passed as a PVH module.
    pub manifest: &'a Path,
    /// The EROFS image for the read-only disk; `None` where the kernel carries its root.
    pub root: Option<&'a Path>,
    pub nics: &'a [Nic],
    pub console: Console,
    /// A listening socket that QEMU inherits, where debuggers find the machine, which does not run before one tells it to.
    pub debug_socket: Option<RawFd>,
}

/// Where the guest's first console port leads.
#[derive(Debug, Clone, Copy)]
pub(super) enum Console {
    /// To a connected socket that QEMU inherits, for the framed protocol.
    Socket(RawFd),
    /// To QEMU's own standard streams, as plain text.
    Stdio,
}

/// A program and its arguments. Displayed, it is a line for a POSIX shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandLine(pub(super) Vec<OsString>);

impl Guest<'_> {
    /// The command line, beginning with the program.
    pub fn command_line(&self, qemu: &Path) -> CommandLine {
        let mut line = CommandLine(vec![qemu.into()]);
        line.add(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
        line.machine(self.machine);
        line.accelerator(self.accelerator);
        line.add(["-smp", &self.cpus.to_string(), "-m", &format!("{}M", self.memory >> 20)]);
        // Memory is the host's only where the guest has touched it; a machine may be given more than is free.
        let size = self.memory >> 20;
        line.add(["-object", &format!("memory-backend-ram,id=memory,size={size}M,reserve=off")]);
        line.add(["-machine", "memory-backend=memory"]);
        line.add(["-kernel".as_ref(), self.kernel.as_os_str()]);
        line.add(["-initrd".as_ref(), self.manifest.as_os_str()]);

        // The first virtio device is the one whose console the kernel may need to tell of trouble with the others.
        let serial = self.machine.device("virtio-serial");
        match self.console {
            Console::Socket(fd) => {
                // A `virtconsole` drops what the host does not take at once; a `virtserialport`, on port 1 of two, waits for it.
                line.add(["-device", &format!("{serial},id=ports,max_ports=2")]);
                line.add(["-chardev", &format!("socket,id=channel,fd={fd}")]);
                line.add(["-device", "virtserialport,bus=ports.0,nr=1,chardev=channel"]);
                // The serial line is for a kernel that can no longer use its channel.
                line.add(["-chardev", "stdio,id=serial,signal=off", "-serial", "chardev:serial"]);
            }
            Console::Stdio => {
                // Shared with the serial line, on which a port would never count as connected.
                line.add(["-device", &format!("{serial},max_ports=1")]);
                line.add(["-chardev", "stdio,id=console,mux=on", "-serial", "chardev:console"]);
                line.add(["-device", "virtconsole,chardev=console"]);
            }
        }
        line.add(["-device", &self.machine.device("virtio-rng")]);
        if let Some(root) = self.root {
            // Without locks any number of machines share the file, and with it the host's page cache.
            let mut blockdev =
                OsString::from("driver=file,node-name=root,read-only=on,locking=off,filename=");
            blockdev.push(comma_doubled(root.as_os_str()));
            line.add(["-blockdev".as_ref(), blockdev.as_os_str()]);
            line.add(["-device", &format!("{},drive=root", self.machine.device("virtio-blk"))]);
        }
        for (number, nic) in self.nics.iter().enumerate() {
            line.add(nic.arguments(number, self.machine, self.cpus, self.accelerator));
        }
        if let Some(fd) = self.debug_socket {
            line.add(["-chardev", &format!("socket,id=debugger,fd={fd},server=on,wait=off")]);
            line.add(["-gdb", "chardev:debugger", "-S"]);
        }
        line
    }
}

impl CommandLine {
    /// One argument, as it would be displayed.
    pub fn word(word: &OsStr) -> String {
        Quoted(word.as_bytes()).to_string()
    }

    pub(super) fn add<S: AsRef<OsStr>>(&mut self, args: impl IntoIterator<Item = S>) {
        self.0.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
    }

    pub(super) fn machine(&mut self, machine: Machine) {
        match machine {
            // Without ACPI the virtio devices are named on the kernel's command line: no tables to build, nor to parse. qboot
            // enters a PVH kernel itself, so no option ROM is needed. The RTC tells the wall clock.
            Machine::Microvm => {
                self.add(["-M", "microvm,acpi=off,x-option-roms=off,rtc=on"]);
                self.add(["-global", "virtio-mmio.force-legacy=false"]);
            }
            Machine::Q35 => self.add(["-M", "q35,smm=off,vmport=off"]),
        }
    }

    pub(super) fn accelerator(&mut self, accelerator: Accelerator) {
        match accelerator {
            Accelerator::Kvm => self.add(["-accel", "kvm", "-cpu", "host"]),
            Accelerator::Tcg => self.add(["-accel", "tcg", "-cpu", "max"]),
        }
    }
}

impl Machine {
    /// A virtio device's name on this machine's bus.
    pub(super) fn device(self, name: &str) -> String {
        match self {
            Self::Microvm => format!("{name}-device"),
            Self::Q35 => format!("{name}-pci,disable-legacy=on"),
        }
    }
}

/// A value in QEMU's comma-separated options: a comma in it is written twice (`-blockdev` in qemu(1)).
pub(super) fn comma_doubled(value: &OsStr) -> OsString {
    let mut out = Vec::with_capacity(value.len());
    for &byte in value.as_bytes() {
        out.extend(std::iter::repeat_n(byte, if byte == b',' { 2 } else { 1 }));
    }
    OsString::from_vec(out)
}

impl fmt::Display for CommandLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, arg) in self.0.iter().enumerate() {
            let space = if index == 0 { "" } else { " " };
            write!(f, "{space}{}", Quoted(arg.as_bytes()))?;
        }
        Ok(())
    }
}

/// A word for a POSIX shell, quoted where it must be. Bytes that are not UTF-8 become U+FFFD, as a line of text cannot hold them.
struct Quoted<'a>(&'a [u8]);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = String::from_utf8_lossy(self.0);
        let plain = |c: char| c.is_ascii_alphanumeric() || "/-_.,:=+@%".contains(c);
        if !text.is_empty() && text.chars().all(plain) {
            return f.write_str(&text);
        }
        write!(f, "'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn guest(machine: Machine, root: &Path) -> CommandLine {
        Guest {
            machine,
            accelerator: Accelerator::Tcg,
            memory: 512 << 20,
            cpus: 2,
            kernel: Path::new("/k"),
            manifest: Path::new("/m"),
            root: Some(root),
            nics: &[],
            console: Console::Stdio,
            debug_socket: None,
        }
        .command_line(Path::new(PROGRAM))
    }

    #[test]
    fn each_machine_gets_devices_of_its_bus() {
        let line = guest(Machine::Microvm, Path::new("/a,b")).to_string();
        assert!(line.contains("-device virtio-blk-device,drive=root"), "{line}");
        assert!(line.contains("filename=/a,,b"), "{line}");
        let line = guest(Machine::Q35, Path::new("/r")).to_string();
        assert!(line.contains("-device virtio-serial-pci,disable-legacy=on,max_ports=1"), "{line}");
    }

    proptest! {
        /// What is displayed, a shell takes apart into the same arguments.
        #[test]
        fn a_shell_reads_back_the_arguments(args in prop::collection::vec("[^\0]{0,12}", 0..5)) {
            let line = CommandLine(args.iter().map(OsString::from).collect());
            let script = format!("for a in {line}; do printf '%s\\0' \"$a\"; done");
            let output = std::process::Command::new("sh").arg("-c").arg(script).output().unwrap();
            let read: Vec<&[u8]> = output.stdout.split_inclusive(|byte| *byte == 0).collect();
            let expected: Vec<Vec<u8>> = args.iter().map(|arg| [arg.as_bytes(), b"\0"].concat()).collect();
            prop_assert_eq!(read, expected);
        }
    }
}
