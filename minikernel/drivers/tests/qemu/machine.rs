//! The self test's image, and one run of QEMU with it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use std::{env, fs, thread};

const TARGET: &str = "x86_64-unknown-linux-gnu";
/// So long a machine may run.
const LIMIT: Duration = Duration::from_mins(2);

/// How the devices are attached.
#[derive(Clone, Copy, Debug)]
pub enum Bus {
    Mmio,
    LegacyMmio,
    /// With an option for each device.
    Pci(&'static str),
}

/// What the two disks are behind. The first one is read-only behind virtio-blk.
#[derive(Clone, Copy, Debug)]
pub enum Disks {
    /// virtio-blk, on the bus of all devices.
    Virtio,
    /// Other controllers and their disks, in QEMU's words.
    Other(&'static [&'static str]),
}

/// A virtual machine with two disks, two consoles and an entropy source.
#[derive(Clone, Copy, Debug)]
pub struct Machine {
    kind: &'static str,
    bus: Bus,
    disks: Disks,
}

impl Machine {
    pub fn new(kind: &'static str, bus: Bus) -> Self {
        Self { kind, bus, disks: Disks::Virtio }
    }

    pub fn with_disks(self, disks: Disks) -> Self {
        Self { disks, ..self }
    }

    /// Boots the self test until the machine is off, with `typed` at its first console; what came out of the serial
    /// port and of the console.
    pub fn boot(self, command_line: &str, typed: &str) -> (String, String) {
        let directory = tempfile::tempdir().unwrap();
        let mut child = self.command(directory.path(), command_line).spawn().expect("QEMU is installed");
        let mut stdin = child.stdin.take().unwrap();
        let typed = typed.to_owned();
        // QEMU takes it only as the guest does; a guest that takes nothing leaves a broken pipe. The pipe stays open to
        // the end: when it closes, QEMU throws away what the guest still prints.
        let typist = thread::spawn(move || {
            let _ = stdin.write_all(typed.as_bytes());
            stdin
        });
        let console = wait(child);
        drop(typist.join());
        (fs::read_to_string(directory.path().join("serial")).unwrap(), console)
    }

    /// How many accesses to registers of `device` it takes to boot.
    pub fn accesses(self, command_line: &str, device: &str) -> usize {
        let directory = tempfile::tempdir().unwrap();
        let trace = directory.path().join("trace");
        let mut command = self.command(directory.path(), command_line);
        command.args(["-trace", "memory_region_ops_*", "-D"]).arg(&trace);
        wait(command.spawn().expect("QEMU is installed"));
        let name = format!("name '{device}'");
        fs::read_to_string(trace).unwrap().lines().filter(|line| line.contains(&name)).count()
    }

    fn command(self, directory: &Path, command_line: &str) -> Command {
        let path = |name: &str| directory.join(name).display().to_string();
        let sectors = (0..3000u32).flat_map(|number| {
            let mut sector = [0; 512];
            sector[..4].copy_from_slice(&number.to_le_bytes());
            sector
        });
        fs::write(path("disk"), sectors.collect::<Vec<u8>>()).unwrap();
        fs::copy(path("disk"), path("writable")).unwrap();
        let mut command = Command::new("qemu-system-x86_64");
        command.args([
            "-machine",
            self.kind,
            "-m",
            "64M",
            "-accel",
            "tcg",
            "-nodefaults",
            "-display",
            "none",
        ]);
        command.args(["-no-reboot", "-append", command_line, "-kernel"]).arg(self_test());
        command.args(["-serial", &format!("file:{}", path("serial"))]);
        command.args(["-chardev", "stdio,id=typed,signal=off", "-chardev", "null,id=null"]);
        let drive =
            |id: &str, options: &str| format!("if=none,format=raw,id={id},file={}{options}", path(id));
        // Not all controllers have a way to say it of a disk.
        let read_only = if matches!(self.disks, Disks::Virtio) { ",readonly=on" } else { "" };
        command.args(["-drive", &drive("disk", read_only), "-drive", &drive("writable", "")]);
        let suffix = match self.bus {
            Bus::Mmio => {
                command.args(["-global", "virtio-mmio.force-legacy=false"]);
                "device".to_owned()
            }
            Bus::LegacyMmio => "device".to_owned(),
            Bus::Pci(option) => format!("pci,{option}"),
        };
        let devices = [
            format!("virtio-serial-{suffix},max_ports=2,id=first"),
            "virtserialport,bus=first.0,nr=1,chardev=typed".to_owned(),
            format!("virtio-rng-{suffix}"),
            format!("virtio-serial-{suffix},max_ports=1,id=second"),
            "virtconsole,bus=second.0,chardev=null".to_owned(),
        ];
        let disks = match self.disks {
            Disks::Virtio => {
                ["disk", "writable"].map(|drive| format!("virtio-blk-{suffix},drive={drive}")).to_vec()
            }
            Disks::Other(devices) => devices.iter().map(|device| (*device).to_owned()).collect(),
        };
        for device in devices.into_iter().chain(disks) {
            command.args(["-device", &device]);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        command
    }
}

/// Builds the self test, once; where it is.
fn self_test() -> &'static Path {
    static IMAGE: OnceLock<PathBuf> = OnceLock::new();
    IMAGE.get_or_init(|| {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        // A target directory of its own: the cargo that runs the tests may hold the lock of the usual one.
        let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("kernel-build");
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.current_dir(&workspace);
        cargo.args(["build", "--quiet", "--profile", "kernel", "--package", "isopod-drivers-selftest"]);
        cargo.args(["--target", TARGET, "--target-dir"]).arg(&target);
        for (name, _) in env::vars() {
            let foreign =
                ["CARGO_PROFILE_", "CARGO_CFG_", "CARGO_FEATURE_", "RUSTFLAGS", "RUSTC_W", "MAKEFLAGS"];
            if foreign.iter().any(|prefix| name.starts_with(prefix)) {
                cargo.env_remove(name);
            }
        }
        let flags: Vec<&str> = include_str!("../../../rustc-flags").lines().collect();
        cargo.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
        assert!(cargo.status().unwrap().success(), "the self test does not build");
        target.join(TARGET).join("kernel/isopod-drivers-selftest")
    })
}

/// Waits for the end of QEMU, or makes it; what it printed.
fn wait(mut child: Child) -> String {
    let mut stdout = child.stdout.take().unwrap();
    let reader = thread::spawn(move || std::io::read_to_string(&mut stdout));
    let start = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if start.elapsed() > LIMIT {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("the machine does not stop:\n{:?}", reader.join().unwrap());
        }
        thread::sleep(Duration::from_millis(5));
    }
    reader.join().unwrap().unwrap()
}
