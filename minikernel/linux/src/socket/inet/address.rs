//! `struct sockaddr_in` and `struct sockaddr_in6`.

use isopod_fs::Errno;
use isopod_net::address::{ANY_V4, Address as IpAddress, SocketAddress, is_link_local, is_v4, v4};

use super::{AF_INET, AF_INET6};
use crate::socket::{AF_UNSPEC, Address};

/// Bytes behind the family of an address of IPv4, and how many of them matter.
const V4_REST: usize = 14;
/// The same of one of IPv6 as it first was (RFC 2133), without a scope.
const V6_REST: usize = 22;
/// And with one.
const V6_WHOLE: usize = 26;

/// An address as a program has given it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Given {
    /// The address.
    pub at: SocketAddress,
    /// The interface that an address of a link belongs to; 0 if that is not said.
    pub scope: u32,
}

/// An address of IPv4. EINVAL if it is too short.
pub fn v4_of(address: &Address) -> Result<Given, Errno> {
    let rest = address.rest();
    if rest.len() < V4_REST {
        return Err(Errno::EINVAL);
    }
    let port = u16::from_be_bytes([rest[0], rest[1]]);
    Ok(Given { at: SocketAddress { address: v4(rest[2], rest[3], rest[4], rest[5]), port }, scope: 0 })
}

/// An address of IPv6. EINVAL if it is too short.
pub fn v6_of(address: &Address) -> Result<Given, Errno> {
    let rest = address.rest();
    let bytes = rest.get(..V6_REST).ok_or(Errno::EINVAL)?;
    let port = u16::from_be_bytes([bytes[0], bytes[1]]);
    let octets: [u8; 16] = bytes[6..].try_into().map_err(|_| Errno::EINVAL)?;
    let scope =
        rest.get(V6_REST..V6_WHOLE).and_then(|scope| scope.try_into().ok()).map_or(0, u32::from_ne_bytes);
    let address = IpAddress::from(octets);
    let scope = if is_link_local(&address) { scope } else { 0 };
    Ok(Given { at: SocketAddress { address, port }, scope })
}

/// The address that bind(2) gets on a socket of `family` (`__inet_bind`, `__inet6_bind`).
pub fn to_bind(family: u16, only_v6: bool, address: &Address) -> Result<Given, Errno> {
    if family == AF_INET {
        let given = v4_of(address)?;
        return match address.family() {
            Some(AF_INET) => Ok(given),
            // As programs did once.
            Some(AF_UNSPEC) if given.at.address == ANY_V4 => Ok(given),
            _ => Err(Errno::EAFNOSUPPORT),
        };
    }
    let given = v6_of(address)?;
    if address.family() != Some(AF_INET6) {
        return Err(Errno::EAFNOSUPPORT);
    }
    if only_v6 && is_v4(&given.at.address) || is_link_local(&given.at.address) && given.scope == 0 {
        return Err(Errno::EINVAL);
    }
    Ok(given)
}

/// The address that connect(2) gets on a socket of `family` (`__ip4_datagram_connect`, `__ip6_datagram_connect`).
pub fn to_connect(family: u16, only_v6: bool, address: &Address) -> Result<Given, Errno> {
    match (family, address.family()) {
        (AF_INET, found) => {
            let given = v4_of(address)?;
            if found == Some(AF_INET) { Ok(given) } else { Err(Errno::EAFNOSUPPORT) }
        }
        (_, Some(AF_INET)) if only_v6 => Err(Errno::EAFNOSUPPORT),
        (_, Some(AF_INET)) => v4_of(address),
        (_, found) => {
            let given = v6_of(address)?;
            match found {
                Some(AF_INET6) if only_v6 && is_v4(&given.at.address) => Err(Errno::ENETUNREACH),
                Some(AF_INET6) if is_link_local(&given.at.address) && given.scope == 0 => Err(Errno::EINVAL),
                Some(AF_INET6) => Ok(given),
                _ => Err(Errno::EAFNOSUPPORT),
            }
        }
    }
}

/// The address that a message is sent to on a socket of `family`; none to its peer (`udp_sendmsg`, `udpv6_sendmsg`).
pub fn to_send(
    family: u16,
    only_v6: bool,
    address: &Address,
    has_port: bool,
) -> Result<Option<Given>, Errno> {
    let given = match (family, address.family().ok_or(Errno::EINVAL)?) {
        (AF_INET, found) => {
            let given = v4_of(address)?;
            if !matches!(found, AF_INET | AF_UNSPEC) {
                return Err(Errno::EAFNOSUPPORT);
            }
            given
        }
        (_, AF_UNSPEC) => return Ok(None),
        (_, AF_INET) if only_v6 => return Err(Errno::ENETUNREACH),
        (_, AF_INET) => v4_of(address)?,
        (_, AF_INET6) => v6_of(address)?,
        _ => return Err(Errno::EINVAL),
    };
    if has_port && given.at.port == 0 {
        return Err(Errno::EINVAL);
    }
    if only_v6 && is_v4(&given.at.address) {
        return Err(Errno::ENETUNREACH);
    }
    Ok(Some(given))
}

/// An address as a socket of `family` tells it.
pub fn shown(family: u16, at: &SocketAddress, interface: u32) -> Address {
    let port = at.port.to_be_bytes();
    if family == AF_INET {
        let mut rest = [0; V4_REST];
        rest[..2].copy_from_slice(&port);
        rest[2..6].copy_from_slice(&at.address.octets()[12..]);
        return Address::new(AF_INET, &rest);
    }
    let mut rest = [0; V6_WHOLE];
    rest[..2].copy_from_slice(&port);
    rest[6..V6_REST].copy_from_slice(&at.address.octets());
    if is_link_local(&at.address) {
        rest[V6_REST..].copy_from_slice(&interface.to_ne_bytes());
    }
    Address::new(AF_INET6, &rest)
}
