//! A machine on a TAP device, and clients beside it in the same network namespace, who reach it by IPv4 and IPv6.

use std::fs::File;
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::AsFd as _;
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::image::Layout;
use crate::isopod::Isopod;
use crate::linux::Unpacked;
use crate::run_limited;
use crate::server::{self, Response, Server};

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
    clients: Option<Unpacked>,
}

impl Neighbour {
    /// Starts an image with these options and this command, which clients of another image are to ask.
    pub fn start(image: &Layout, options: &[&str], command: &[&str], clients: &Layout) -> Result<Self> {
        let clients = Some(Unpacked::new(clients)?);
        Ok(Self { clients, ..Self::alone(image, options, command)? })
    }

    /// As [`Neighbour::start`], for clients that are this process's own.
    pub fn alone(image: &Layout, options: &[&str], command: &[&str]) -> Result<Self> {
        let reference = image.reference();
        let isopod =
            Isopod::shared().command(&[&["run"], &CARDS[..], options, &[&reference], command].concat());
        let mut network = Command::new("unshare");
        network.args(["-mn", "sh", "-c", ENTER, "sh"]).arg(isopod.get_program()).args(isopod.get_args());
        network.envs(isopod.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let mut server = Server::start(&mut network)?.limit(LIMIT);
        server.line("the network is there")?;
        Ok(Self { server, clients: None })
    }

    /// What `act` makes of a socket or a server of the neighbours. They stay in their network.
    pub fn beside<T: Send>(&self, act: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        beside(self.server.id(), act)
    }

    /// What connects to the machine.
    pub fn connector(
        &self,
        address: &str,
        port: u16,
    ) -> Result<impl Fn() -> Result<TcpStream> + Clone + Send + use<>> {
        let (process, to) = (self.server.id(), SocketAddr::new(address.parse()?, port));
        Ok(move || beside(process, || server::connect(to)))
    }

    /// As [`Server::ask`], at one of the machine's addresses.
    pub fn ask<T>(
        &mut self,
        address: &str,
        port: u16,
        ask: impl Fn(&mut TcpStream) -> Result<T>,
    ) -> Result<T> {
        let connect = self.connector(address, port)?;
        self.server.ask_by(connect, ask)
    }

    /// As [`Server::get`], at one of the machine's addresses.
    pub fn get(&mut self, address: &str, port: u16, path: &str) -> Result<Response> {
        self.ask(address, port, |stream| server::get(stream, path))
    }

    /// As [`Server::datagram`], at one of the machine's addresses.
    pub fn datagram(
        &mut self,
        address: &str,
        port: u16,
        bytes: &[u8],
        is_answer: impl Fn(&[u8]) -> bool,
    ) -> Result<Vec<u8>> {
        let to: IpAddr = address.parse()?;
        let any = if to.is_ipv6() { "[::]:0" } else { "0.0.0.0:0" };
        let socket = self.beside(|| {
            let socket = UdpSocket::bind(any)?;
            socket.connect((to, port))?;
            Ok(socket)
        })?;
        self.server.datagram_by(&socket, bytes, is_answer)
    }

    /// What a shell's line of a client prints, which must succeed.
    pub fn client(&self, line: &str) -> Result<String> {
        let mut shell = self.clients()?.command_beside(self.server.id(), &["/bin/sh", "-ec", line]);
        let finished = self.server.explain(run_limited(&mut shell, b"", LIMIT))?;
        let (out, err) =
            (String::from_utf8_lossy(&finished.stdout), String::from_utf8_lossy(&finished.stderr));
        let said = || format!("{} after\n{out}\nand\n{err}", finished.status);
        self.server.explain(finished.status.success().then_some(()).with_context(said))?;
        Ok(out.into_owned())
    }

    /// Starts a server beside the machine, of the image that its clients are in.
    pub fn serve(&self, command: &[&str]) -> Result<Server> {
        Server::start(&mut self.clients()?.command_beside(self.server.id(), command))
    }

    fn clients(&self) -> Result<&Unpacked> {
        self.clients.as_ref().context("the machine was started without an image of clients")
    }
}

/// What `act` makes in the network of the process with this number: a thread of its own enters it (`setns(2)`), which needs root.
fn beside<T: Send>(process: u32, act: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    thread::scope(|scope| {
        let entered = scope.spawn(|| {
            let network = File::open(format!("/proc/{process}/ns/net"))?;
            move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network))?;
            act()
        });
        entered.join().expect("what is done in another network does not panic")
    })
}
