//! A machine on a TAP device, and clients beside it in the same network namespace, who reach it by IPv4 and IPv6.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::image::Layout;
use crate::isopod::Isopod;
use crate::linux::Unpacked;
use crate::run_limited;
use crate::server::Server;

/// Long enough for a database that is made on a slow machine without hardware virtualisation.
const LIMIT: Duration = Duration::from_mins(10);

/// Where its neighbours reach the machine.
pub const ADDRESSES: [&str; 2] = ["10.1.0.2", "fd00::2"];

/// Where the machine reaches its neighbours.
pub const NEIGHBOURS: [&str; 2] = ["10.1.0.1", "fd00::1"];

/// The machine's cards: one on the device, and one by which QEMU leads to the neighbours as it leads others to this host.
const CARDS: [&str; 4] = ["--network", "tap=tap0,ip=10.1.0.2/24,ip6=fd00::2/64", "--network", "user"];

/// Makes the network, and becomes the program.
const ENTER: &str = r#"mount -t sysfs sysfs /sys &&
ip link set lo up &&
ip tuntap add tap0 mode tap &&
ip address add 10.1.0.1/24 dev tap0 &&
ip address add fd00::1/64 dev tap0 nodad &&
ip link set tap0 up &&
echo the network is there &&
exec "$@""#;

/// A machine with its neighbours.
#[derive(Debug)]
pub struct Neighbour {
    /// The machine, which runs a server.
    pub server: Server,
    clients: Unpacked,
}

impl Neighbour {
    /// Starts an image with these options and this command, which clients of another image are to ask.
    pub fn start(image: &Layout, options: &[&str], command: &[&str], clients: &Layout) -> Result<Self> {
        let clients = Unpacked::new(clients)?;
        let reference = image.reference();
        let isopod =
            Isopod::shared().command(&[&["run"], &CARDS[..], options, &[&reference], command].concat());
        let mut network = Command::new("unshare");
        network.args(["-mn", "sh", "-c", ENTER, "sh"]).arg(isopod.get_program()).args(isopod.get_args());
        network.envs(isopod.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let mut server = Server::start(&mut network)?.limit(LIMIT);
        server.line("the network is there")?;
        Ok(Self { server, clients })
    }

    /// What a shell's line of a client prints, which must succeed.
    pub fn client(&self, line: &str) -> Result<String> {
        let mut shell = self.clients.command_beside(self.server.id(), &["/bin/sh", "-ec", line]);
        let finished = self.server.explain(run_limited(&mut shell, b"", LIMIT))?;
        let (out, err) =
            (String::from_utf8_lossy(&finished.stdout), String::from_utf8_lossy(&finished.stderr));
        let said = || format!("{} after\n{out}\nand\n{err}", finished.status);
        self.server.explain(finished.status.success().then_some(()).with_context(said))?;
        Ok(out.into_owned())
    }

    /// Starts a server beside the machine, of the image that its clients are in.
    pub fn serve(&self, command: &[&str]) -> Result<Server> {
        Server::start(&mut self.clients.command_beside(self.server.id(), command))
    }
}
