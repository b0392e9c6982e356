//! What keeps a machine from its network.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use super::Transport;

/// Why a machine cannot be given the network that was asked for.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// A port of the host cannot be listened on.
    #[error("{}", port(*transport, *host, source))]
    Port {
        /// Of which protocol.
        transport: Transport,
        /// Which.
        host: SocketAddr,
        /// What the operating system said.
        source: io::Error,
    },
    /// No device of that name.
    #[error("this host has no TAP device {0}")]
    NoTap(String),
    /// A device, but no TAP device.
    #[error("{0} is no TAP device")]
    NotATap(String),
    /// TAP devices cannot be used.
    #[error("you may not open /dev/net/tun")]
    Tun,
    /// No device of that name.
    #[error("this host has no bridge {0}")]
    NoBridge(String),
    /// A device, but no bridge.
    #[error("{0} is no bridge")]
    NotABridge(String),
    /// QEMU's program for bridges is not there.
    #[error("QEMU's program qemu-bridge-helper is not installed")]
    NoHelper,
    /// QEMU could not set it up; the field has its words.
    #[error("QEMU cannot set up the network: {0}")]
    Qemu(String),
}

fn port(transport: Transport, host: SocketAddr, source: &io::Error) -> String {
    let (ip, port) = (host.ip(), host.port());
    match source.kind() {
        ErrorKind::AddrInUse => format!("the port {port}/{transport} of {ip} is taken on this host"),
        ErrorKind::PermissionDenied => {
            format!("you may not listen on the port {port}/{transport} of this host")
        }
        ErrorKind::AddrNotAvailable => {
            format!("this host has no address {ip} to publish the port {port}/{transport} on")
        }
        _ => format!("cannot listen on the port {port}/{transport} of {ip}: {source}"),
    }
}

impl NetworkError {
    /// What the user can do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Port { transport, host, source } => match source.kind() {
                ErrorKind::AddrInUse => {
                    let table = if *transport == Transport::Tcp { "-ltnp" } else { "-lunp" };
                    format!("publish another one; ss {table} 'sport = :{}' shows who has it", host.port())
                }
                ErrorKind::PermissionDenied => "ports below 1024 are the superuser's: publish one above, \
                                                as in -p 8080:80"
                    .to_owned(),
                ErrorKind::AddrNotAvailable => "ip address lists those that it has".to_owned(),
                _ => "publish another one".to_owned(),
            },
            Self::NoTap(name) | Self::NotATap(name) => format!(
                "the superuser makes one for you: ip tuntap add {name} mode tap user $USER; ip link set {name} up"
            ),
            Self::Tun => "the superuser gives the right to it: chmod 666 /dev/net/tun".to_owned(),
            Self::NoBridge(name) | Self::NotABridge(name) => {
                format!("the superuser makes one: ip link add {name} type bridge; ip link set {name} up")
            }
            Self::NoHelper => "install it (Debian and Ubuntu: apt install qemu-system-common), or use --network tap=NAME"
                .to_owned(),
            Self::Qemu(words) if words.contains("helper") => {
                "the superuser lets users attach machines by a line `allow BRIDGE` in /etc/qemu/bridge.conf, and by \
                 the right to do so: chmod u+s on qemu-bridge-helper"
                    .to_owned()
            }
            Self::Qemu(words) if words.contains("tun") => {
                "a TAP device serves one machine, and one user: ip tuntap add NAME mode tap user $USER".to_owned()
            }
            Self::Qemu(_) => "--network user needs no rights, --network none no network".to_owned(),
        }
    }
}
