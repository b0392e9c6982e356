//! Ports of this host that lead to the machine's.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4};

use isopod_manifest::{Port, Protocol};

use super::values::Publish;
use crate::cli::{Failure, say};
use crate::engine::{Claim, EngineError, Forward, NetworkError, Proxy, Transport};

/// How often a port that is free by IPv4 and by IPv6 is looked for.
const LOOKS: u32 = 32;

/// The ports that are published, and the claims on them.
#[derive(Debug, Default)]
pub(super) struct Published {
    pub forwards: Vec<Forward>,
    pub claims: Vec<Claim>,
    pub proxies: Vec<Proxy>,
    taken: Vec<(Transport, Option<IpAddr>, u16)>,
}

impl Published {
    /// Those that were named, and those of `exposed` that were not. Those that were found are told.
    pub fn new(by_hand: &[Publish], exposed: &[Port]) -> Result<Self, Failure> {
        let mut wanted = by_hand.to_vec();
        let is_published = |port: &Publish| {
            let mut by_hand = by_hand.iter().filter(|publish| publish.transport == port.transport);
            by_hand.any(|publish| publish.guest.contains(port.guest.start()))
        };
        wanted.extend(exposed.iter().copied().filter_map(of_image).filter(|port| !is_published(port)));
        let mut published = Self::default();
        // Those that are named come first: none of them is to be found for another.
        let (named, open): (Vec<_>, Vec<_>) = wanted.iter().partition(|publish| publish.is_named());
        for publish in named {
            for (guest, port) in publish.guest.clone().zip(publish.host.clone().into_iter().flatten()) {
                if published.has(publish, port) {
                    return Err(Failure::new(
                        format!("the port {port}/{} of this host is published twice", publish.transport),
                        "give each port of the machine one of its own",
                    ));
                }
                published.open(publish, port, guest).map_err(EngineError::from)?;
            }
        }
        for publish in open {
            for guest in publish.guest.clone() {
                let host = published.find(publish, guest)?;
                say(format_args!("port {guest}/{} of the machine is {host} here", publish.transport));
            }
        }
        Ok(published)
    }

    /// Whether a port is published already, on addresses that are some of these.
    fn has(&self, publish: &Publish, port: u16) -> bool {
        self.taken.iter().any(|(transport, ip, taken)| {
            *transport == publish.transport && *taken == port && overlap(*ip, publish.ip)
        })
    }

    /// Publishes a port of the machine on a port of this host, or on one that is free if that is 0.
    fn open(&mut self, publish: &Publish, port: u16, guest: u16) -> Result<SocketAddr, NetworkError> {
        let Publish { ip, transport, .. } = *publish;
        let (claim, proxy) = match ip {
            Some(IpAddr::V4(ip)) => (Claim::new(transport, SocketAddrV4::new(ip, port))?, None),
            Some(IpAddr::V6(ip)) => {
                let claim = Claim::new(transport, SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0))?;
                let proxy = Proxy::new(transport, ip, port, claim.host)?;
                (claim, Some(proxy))
            }
            None => both(transport, port)?,
        };
        let host: SocketAddr = match (&proxy, ip) {
            (Some(proxy), Some(_)) => proxy.host.into(),
            _ => claim.host.into(),
        };
        self.taken.push((transport, ip, host.port()));
        self.forwards.push(Forward { transport, host: claim.host, guest });
        self.claims.push(claim);
        self.proxies.extend(proxy);
        Ok(host)
    }

    /// Publishes a port on one that is free: one of those that may be, or any at all.
    fn find(&mut self, publish: &Publish, guest: u16) -> Result<SocketAddr, Failure> {
        let mut refusal = None;
        for port in publish.host.clone().unwrap_or(0..=0) {
            if self.has(publish, port) {
                continue;
            }
            match self.open(publish, port, guest) {
                Ok(host) => return Ok(host),
                Err(error) => refusal = Some(error),
            }
        }
        Err(refusal.map_or_else(
            || Failure::new("all ports of a range are published already", "name a longer one"),
            |error| EngineError::from(error).into(),
        ))
    }
}

/// A port of all addresses of both families; of IPv4 alone where this host has no IPv6.
fn both(transport: Transport, port: u16) -> Result<(Claim, Option<Proxy>), NetworkError> {
    let mut looks = if port == 0 { LOOKS } else { 1 };
    loop {
        let claim = Claim::new(transport, SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port))?;
        let to = SocketAddrV4::new(Ipv4Addr::LOCALHOST, claim.host.port());
        looks -= 1;
        match Proxy::new(transport, Ipv6Addr::UNSPECIFIED, to.port(), to) {
            Ok(proxy) => return Ok((claim, Some(proxy))),
            Err(NetworkError::Port { source, .. }) if is_without_ipv6(&source) => return Ok((claim, None)),
            Err(error) if looks == 0 => return Err(error),
            Err(_) => {}
        }
    }
}

/// Whether it is for want of IPv6 that there is no socket (`socket(2)`), or no address (`ip(7)`).
fn is_without_ipv6(error: &std::io::Error) -> bool {
    error.kind() == ErrorKind::AddrNotAvailable
        || error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error())
}

/// Whether a port of some addresses is a port of the others, too. None stands for all.
fn overlap(a: Option<IpAddr>, b: Option<IpAddr>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => {
            a == b || a.is_ipv6() == b.is_ipv6() && (a.is_unspecified() || b.is_unspecified())
        }
        _ => true,
    }
}

/// A port that the image exposes, published where one is free; none of a protocol that QEMU does not carry.
fn of_image(port: Port) -> Option<Publish> {
    let transport = match port.protocol {
        Protocol::Tcp => Transport::Tcp,
        Protocol::Udp => Transport::Udp,
        Protocol::Sctp => return None,
    };
    Some(Publish { ip: None, host: None, guest: port.number..=port.number, transport })
}
