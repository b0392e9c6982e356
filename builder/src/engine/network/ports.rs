//! Ports of the host that lead to the machine.

use std::fmt;
use std::io;
use std::net::{SocketAddrV4, UdpSocket};
use std::os::fd::OwnedFd;

use rustix::net::sockopt::set_socket_reuseaddr;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, getsockname, socket_with};

use super::NetworkError;

/// What a port belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// TCP
    Tcp,
    /// UDP
    Udp,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// A port of the host that leads to one of the machine's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forward {
    /// Of which protocol.
    pub transport: Transport,
    /// Where the host listens.
    pub host: SocketAddrV4,
    /// The machine's port.
    pub guest: u16,
}

/// A port of the host that QEMU can have.
///
/// While it is held nobody is given a TCP port by chance. QEMU can listen on it all the same: it binds with `SO_REUSEADDR`, as we do, and
/// we do not listen (`socket(7)`). UDP knows no such difference: a claim on one of its ports must end before QEMU begins.
#[derive(Debug)]
pub struct Claim {
    /// Of which protocol.
    pub transport: Transport,
    /// Which it is.
    pub host: SocketAddrV4,
    _held: OwnedFd,
}

impl Claim {
    /// Claims a port; 0 stands for any that is free.
    ///
    /// # Errors
    /// When it cannot be had.
    pub fn new(transport: Transport, host: SocketAddrV4) -> Result<Self, NetworkError> {
        let claimed = match transport {
            Transport::Tcp => tcp(host),
            Transport::Udp => UdpSocket::bind(host).map(OwnedFd::from),
        };
        let claim = claimed.and_then(|held| {
            let host = SocketAddrV4::try_from(getsockname(&held)?)?;
            Ok(Self { transport, host, _held: held })
        });
        claim.map_err(|source| NetworkError::Port { transport, host: host.into(), source })
    }
}

fn tcp(host: SocketAddrV4) -> io::Result<OwnedFd> {
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    set_socket_reuseaddr(&socket, true)?;
    bind(&socket, &host)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, SocketAddr, TcpListener};

    fn any() -> SocketAddrV4 {
        SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)
    }

    #[test]
    fn a_claimed_port_can_be_listened_on_once() {
        let claim = Claim::new(Transport::Tcp, any()).unwrap();
        assert_ne!(claim.host.port(), 0);
        let _qemus = TcpListener::bind(claim.host).unwrap();
        let refused = Claim::new(Transport::Tcp, claim.host).unwrap_err();
        let text = format!("{refused}; {}", refused.hint());
        assert!(text.contains(&format!("{}/tcp of 127.0.0.1 is taken", claim.host.port())), "{text}");
    }

    #[test]
    fn a_port_of_udp_that_is_taken_is_told() {
        let taken = UdpSocket::bind(any()).unwrap();
        let SocketAddr::V4(host) = taken.local_addr().unwrap() else { panic!("an address of IPv4") };
        assert!(Claim::new(Transport::Udp, host).is_err());
        drop(taken);
        assert_eq!(Claim::new(Transport::Udp, host).unwrap().host, host);
    }

    #[test]
    fn an_address_of_another_host_is_told() {
        // 192.0.2.0/24 is nobody's (RFC 5737).
        let elsewhere = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 8080);
        let refused = Claim::new(Transport::Tcp, elsewhere).unwrap_err();
        assert_eq!(refused.to_string(), "this host has no address 192.0.2.1 to publish the port 8080/tcp on");
    }
}
