//! A network of its own with a TAP device, as a wire to one guest.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use isopod_e2e::disk;

/// Makes the device and holds the network until its input ends.
const HOLD: &str = r"
mount -t sysfs sysfs /sys
ip link set lo up
ip tuntap add tap0 mode tap
ip address add 10.0.2.2/24 dev tap0
ip link set tap0 up
sysctl -qw net.ipv4.ip_local_port_range='10000 65000'
echo ready
read -r end
";

/// The namespaces of a process that holds them.
pub struct Wire {
    holder: Child,
    as_root: bool,
}

impl Wire {
    /// Where the guest is reached.
    pub const GUEST: &str = "10.0.2.15";

    /// What has `isopod run` put a guest there.
    pub const OPTIONS: [&str; 6] = ["--network", "tap=tap0", "--ip", "10.0.2.15/24", "--gateway", "10.0.2.2"];

    /// Makes one.
    pub fn new() -> Result<Self> {
        let as_root = disk::is_root()?;
        let mut unshare = Command::new("unshare");
        // Without root, as the root of a user namespace.
        unshare.arg(if as_root { "-mn" } else { "-rmn" }).args(["bash", "-ec", HOLD]);
        let mut holder = unshare.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(holder.stdout.take().context("a pipe")?).read_line(&mut line)?;
        ensure!(line == "ready\n", "no network with a TAP device can be made");
        Ok(Self { holder, as_root })
    }

    /// What runs a command on this side of the wire.
    pub fn enter(&self, command: &Command) -> Command {
        let mut nsenter = Command::new("nsenter");
        nsenter.args(["-t", &self.holder.id().to_string(), "-m", "-n"]);
        if !self.as_root {
            nsenter.args(["-U", "--preserve-credentials"]);
        }
        nsenter.arg("--").arg(command.get_program()).args(command.get_args());
        nsenter
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        // Fails only when it has ended already.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
