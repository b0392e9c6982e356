//! The machine's network cards, and what each leads to.

mod backlog;
mod error;
mod ports;
mod proxy;

use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};
use rustix::net::netdevice::name_to_index;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

pub(super) use backlog::lengthen;
pub use error::NetworkError;
pub use ports::{Claim, Forward, Transport};
pub use proxy::Proxy;
pub(super) use proxy::serve;

use super::{Accelerator, Machine};

/// Where devices of the host's network stand (`sysfs-class-net`).
const CLASS: &str = "/sys/class/net";

/// `IFF_MULTI_QUEUE` in `tun_flags` (`linux/if_tun.h`).
const MULTI_QUEUE: u32 = 0x100;

/// Pairs of queues that are of use at the most.
const QUEUES_MAX: u32 = 8;

/// QEMU's program that attaches machines to bridges for users who may not, where distributions put it.
const BRIDGE_HELPERS: [&str; 3] = [
    "/usr/lib/qemu/qemu-bridge-helper",
    "/usr/libexec/qemu-bridge-helper",
    "/usr/lib64/qemu/qemu-bridge-helper",
];

/// A network card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nic {
    /// What it leads to.
    pub backend: Backend,
    /// Its hardware address, if it is not to be QEMU's choice, which is the same for every machine.
    pub mac: Option<MacAddress>,
}

/// What a network card leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Backend {
    /// A network of the machine's own, within QEMU, which opens the host's sockets for it. It needs no rights.
    User(UserNetwork),
    /// A TAP device of the host that is there already.
    Tap(String),
    /// A new port of a bridge of the host.
    Bridge(String),
    /// A network of those machines of this host that send their packets to the same multicast group, and to nobody else. It needs no rights.
    Socket(SocketAddrV4),
}

/// QEMU's user network. The machine finds its router at host 2 of it and a name server at host 3, in IPv4 and in IPv6.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserNetwork {
    /// Which it is of the machine's: each has addresses of its own.
    pub index: u8,
    /// The machine's address.
    pub guest: Ipv4Addr,
    /// What the host listens on for it.
    pub forwards: Vec<Forward>,
}

/// An Ethernet address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MacAddress(pub [u8; 6]);

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.map(|byte| format!("{byte:02x}")).join(":"))
    }
}

impl MacAddress {
    /// An address that no other machine has but by bad luck, of those that QEMU's machines take.
    ///
    /// # Errors
    /// When the host has no random numbers.
    pub fn random() -> io::Result<Self> {
        let mut own = [0; 3];
        io::Read::read_exact(&mut File::open("/dev/urandom")?, &mut own)?;
        let [a, b, c] = own;
        Ok(Self([0x52, 0x54, 0, a, b, c]))
    }
}

impl Nic {
    /// Looks whether what it leads to is there, as far as that can be known before QEMU tries.
    ///
    /// # Errors
    /// A [`NetworkError`] that names what is missing.
    pub fn check(&self) -> Result<(), NetworkError> {
        match &self.backend {
            Backend::User(_) | Backend::Socket(_) => Ok(()),
            Backend::Tap(name) => check_tap(name),
            Backend::Bridge(name) => check_bridge(name),
        }
    }

    /// Where QEMU listens for it by TCP.
    pub(super) fn listeners(&self) -> Vec<SocketAddrV4> {
        let Backend::User(UserNetwork { forwards, .. }) = &self.backend else { return Vec::new() };
        let is_tcp = |forward: &&Forward| forward.transport == Transport::Tcp;
        forwards.iter().filter(is_tcp).map(|forward| forward.host).collect()
    }

    /// QEMU's arguments for the card with this number.
    pub(super) fn arguments(
        &self,
        number: usize,
        machine: Machine,
        cpus: u32,
        accelerator: Accelerator,
    ) -> [String; 4] {
        let mut queues = 1;
        let mut netdev = match &self.backend {
            Backend::User(network) => network.netdev(),
            Backend::Tap(name) => {
                queues = queues_of(tun_flags(name), cpus);
                let ifname = format!("ifname={}", comma_doubled(name));
                let queues = (queues > 1).then(|| format!("queues={queues}"));
                let own = ["tap".to_owned(), ifname, "script=no".to_owned(), "downscript=no".to_owned()];
                own.into_iter().chain(queues).collect()
            }
            Backend::Bridge(name) => {
                let helper = bridge_helper().unwrap_or_else(|| BRIDGE_HELPERS[0].into());
                let helper = format!("helper={}", helper.display());
                vec!["tap".to_owned(), format!("br={}", comma_doubled(name)), helper]
            }
            // The loopback interface carries them, so that they stay on this host.
            Backend::Socket(group) => {
                vec!["socket".to_owned(), format!("mcast={group}"), "localaddr=127.0.0.1".to_owned()]
            }
        };
        netdev.push(format!("id=net{number}"));
        // The host's kernel moves the packets where it can; it signals the machine through KVM.
        let is_the_hosts = matches!(self.backend, Backend::Tap(_) | Backend::Bridge(_));
        if is_the_hosts && accelerator == Accelerator::Kvm && may_open("/dev/vhost-net") {
            netdev.push("vhost=on".to_owned());
        }
        let mut device = vec![machine.device("virtio-net"), format!("netdev=net{number}")];
        if machine == Machine::Q35 {
            // No boot from the network: its ROM would be loaded and run by the firmware.
            device.push("romfile=".to_owned());
        }
        device.extend(self.mac.map(|mac| format!("mac={mac}")));
        if queues > 1 {
            device.push("mq=on".to_owned());
            if machine == Machine::Q35 {
                // One for each queue, one for the control queue, one for changes of the configuration.
                device.push(format!("vectors={}", 2 * queues + 2));
            }
        }
        ["-netdev".to_owned(), netdev.join(","), "-device".to_owned(), device.join(",")]
    }
}

impl UserNetwork {
    fn netdev(&self) -> Vec<String> {
        let mut netdev = vec!["user".to_owned()];
        if self.index > 0 {
            let Self { index, .. } = self;
            netdev.push(format!("net=10.0.{}.0/24", 2 + index));
            netdev.push(format!("ipv6-prefix=fec0:0:0:{index:x}::,ipv6-prefixlen=64"));
        }
        let forward = |Forward { transport, host, guest }: &Forward| {
            format!("hostfwd={transport}:{}:{}-{}:{guest}", host.ip(), host.port(), self.guest)
        };
        netdev.extend(self.forwards.iter().map(forward));
        netdev
    }
}

fn check_tap(name: &str) -> Result<(), NetworkError> {
    if !exists(name) {
        return Err(NetworkError::NoTap(name.to_owned()));
    }
    if is_shown(name) && tun_flags(name).is_none() {
        return Err(NetworkError::NotATap(name.to_owned()));
    }
    if may_open("/dev/net/tun") { Ok(()) } else { Err(NetworkError::Tun) }
}

fn check_bridge(name: &str) -> Result<(), NetworkError> {
    if !exists(name) {
        return Err(NetworkError::NoBridge(name.to_owned()));
    }
    if is_shown(name) && !Path::new(CLASS).join(name).join("bridge").is_dir() {
        return Err(NetworkError::NotABridge(name.to_owned()));
    }
    if bridge_helper().is_some() { Ok(()) } else { Err(NetworkError::NoHelper) }
}

/// Whether there is a network device of this name.
fn exists(name: &str) -> bool {
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None);
    // The longest name of a device has 15 bytes (`IFNAMSIZ`).
    is_name(name) && name.len() < 16 && socket.is_ok_and(|socket| name_to_index(socket, name).is_ok())
}

/// Whether what is known of a device can be read: in a network namespace of its own, `/sys` may tell of another.
fn is_shown(name: &str) -> bool {
    Path::new(CLASS).join(name).exists()
}

/// Whether a device could have this name: it must not lead elsewhere in the file system.
fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains('/') && name != "." && name != ".."
}

/// With which flags a TAP device was made; `None` if it is no such device.
fn tun_flags(name: &str) -> Option<u32> {
    let text = fs::read_to_string(Path::new(CLASS).join(name).join("tun_flags")).ok()?;
    u32::from_str_radix(text.trim().trim_start_matches("0x"), 16).ok()
}

/// Pairs of queues for a TAP device: a pair for each CPU if it was made for several, and then two at the least, as Linux attaches no single one.
fn queues_of(tun_flags: Option<u32>, cpus: u32) -> u32 {
    if tun_flags.is_some_and(|flags| flags & MULTI_QUEUE != 0) { cpus.clamp(2, QUEUES_MAX) } else { 1 }
}

fn bridge_helper() -> Option<PathBuf> {
    BRIDGE_HELPERS.map(PathBuf::from).into_iter().find(|path| access(path, Access::EXEC_OK).is_ok())
}

fn may_open(device: &str) -> bool {
    File::options().read(true).write(true).open(device).is_ok()
}

fn comma_doubled(name: &str) -> String {
    super::qemu::comma_doubled(OsStr::new(name)).to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(nic: &Nic, machine: Machine) -> String {
        nic.arguments(0, machine, 4, Accelerator::Tcg).join(" ")
    }

    fn user(index: u8, forwards: Vec<Forward>) -> Nic {
        let network = UserNetwork { index, guest: Ipv4Addr::new(10, 0, 2 + index, 15), forwards };
        Nic { backend: Backend::User(network), mac: None }
    }

    #[test]
    fn each_machine_gets_a_card_of_its_bus() {
        let nic = user(0, Vec::new());
        assert_eq!(
            arguments(&nic, Machine::Microvm),
            "-netdev user,id=net0 -device virtio-net-device,netdev=net0"
        );
        assert_eq!(
            arguments(&nic, Machine::Q35),
            "-netdev user,id=net0 -device virtio-net-pci,disable-legacy=on,netdev=net0,romfile="
        );
    }

    #[test]
    fn ports_are_forwarded_to_the_machines_address() {
        let host = "127.0.0.1:8080".parse().unwrap();
        let mut nic = user(0, vec![Forward { transport: Transport::Udp, host, guest: 53 }]);
        nic.mac = Some(MacAddress([2, 0, 0, 0, 0, 0xab]));
        assert_eq!(
            arguments(&nic, Machine::Microvm),
            "-netdev user,hostfwd=udp:127.0.0.1:8080-10.0.2.15:53,id=net0 \
             -device virtio-net-device,netdev=net0,mac=02:00:00:00:00:ab"
        );
    }

    #[test]
    fn a_second_user_network_has_other_addresses() {
        let text = arguments(&user(1, Vec::new()), Machine::Microvm);
        assert!(
            text.contains("user,net=10.0.3.0/24,ipv6-prefix=fec0:0:0:1::,ipv6-prefixlen=64,id="),
            "{text}"
        );
    }

    #[test]
    fn a_tap_device_is_taken_as_it_is() {
        let nic = Nic { backend: Backend::Tap("no,such".to_owned()), mac: None };
        let text = arguments(&nic, Machine::Microvm);
        assert!(text.contains("-netdev tap,ifname=no,,such,script=no,downscript=no,id=net0"), "{text}");
        assert!(matches!(nic.check(), Err(NetworkError::NoTap(name)) if name == "no,such"));
        let nic = Nic { backend: Backend::Tap("lo".to_owned()), mac: None };
        assert!(matches!(nic.check(), Err(NetworkError::NotATap(_))));
        let nic = Nic { backend: Backend::Bridge("lo".to_owned()), mac: None };
        assert!(matches!(nic.check(), Err(NetworkError::NotABridge(_))));
        let nic = Nic { backend: Backend::Bridge("../net/lo".to_owned()), mac: None };
        assert!(matches!(nic.check(), Err(NetworkError::NoBridge(_))));
    }

    #[test]
    fn queues_are_as_many_as_cpus_where_the_device_has_several() {
        assert_eq!(queues_of(Some(0x1002), 4), 1);
        assert_eq!(queues_of(Some(0x1102), 1), 2);
        assert_eq!(queues_of(Some(0x1102), 4), 4);
        assert_eq!(queues_of(Some(0x1102), 64), QUEUES_MAX);
        assert_eq!(queues_of(None, 4), 1);
    }
}
