//! Raw sockets: raw(7), the part of ipv6(7) about them, RFC 3542. They are messages' sockets whose messages are packets.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use isopod_fs::{self as fs, Capabilities, Errno, Source};
use isopod_net::address::{is_link_local, is_v4};
use isopod_net::raw::{ANYTHING, Raw};

use super::address::{Given, v4_of, v6_of};
use super::datagram::{DatagramSocket, take_all};
use super::options::{self as names, Name, SOL_IP, SOL_IPV6, number_or_byte};
use super::{AF_INET, AF_INET6, ICMP, ICMPV6, configuring, errno, stack, with_stack};
use crate::process::Thread;
use crate::socket::options::{OptionValue, number, value_of};
use crate::socket::{Address, MessageFlags, Outgoing, Socket};

/// `SOL_RAW`
const SOL_RAW: u32 = 255;
/// `SOL_ICMPV6`
const SOL_ICMPV6: u32 = 58;
/// `ICMP_FILTER`, `ICMPV6_FILTER`
const FILTER: u32 = 1;
/// `IPV6_CHECKSUM`, at two levels
const CHECKSUM: u32 = 7;
/// `IP_HDRINCL`, `IPV6_HDRINCL`
const HEADER: Name = (SOL_IP, 3);
const HEADER_V6: Name = (SOL_IPV6, 36);
/// The longest message that is looked at.
const LENGTH_MAX: usize = 0xffff;

/// A new socket (`inet_create`). EPROTONOSUPPORT, EPERM
pub fn new(caller: &Thread, family: u16, protocol: i32) -> Result<Arc<dyn Socket>, Errno> {
    if protocol == 0 {
        return Err(Errno::EPROTONOSUPPORT);
    }
    if !caller.identity().capable(Capabilities::NET_RAW) {
        return Err(Errno::EPERM);
    }
    // No packet has a number that is longer than a byte.
    let number = u8::try_from(protocol).unwrap_or(ANYTHING);
    let socket = DatagramSocket::new_raw(caller, family, protocol, number);
    if let Some(raw) = &socket.endpoint.raw {
        raw.header.store(protocol == i32::from(ANYTHING), Ordering::Relaxed);
    }
    stack().open_raw(&socket.endpoint).map_err(errno)?;
    Ok(socket)
}

/// bind(2) (`raw_bind`, `rawv6_bind`)
pub fn bind(socket: &DatagramSocket, address: &Address) -> fs::Result<()> {
    let endpoint = &socket.endpoint;
    let v4 = socket.common.family == AF_INET;
    let Given { at, scope } = if v4 { v4_of(address)? } else { v6_of(address)? };
    if !v4 && address.family() != Some(AF_INET6) {
        return Err(Errno::EINVAL.into());
    }
    if !v4 && is_v4(&at.address) {
        return Err(Errno::EADDRNOTAVAIL.into());
    }
    if endpoint.names().peer.is_some() {
        return Err(Errno::EINVAL.into());
    }
    if !v4 && is_link_local(&at.address) {
        let interface = if scope != 0 { scope } else { endpoint.interface.load(Ordering::Relaxed) };
        if interface == 0 {
            return Err(Errno::EINVAL.into());
        }
        stack().interface(interface).ok_or(Errno::ENODEV)?;
        endpoint.interface.store(interface, Ordering::Relaxed);
    }
    if !stack().can_bind(&at.address) && !socket.ip.has(names::FREE_BIND) {
        return Err(Errno::EADDRNOTAVAIL.into());
    }
    Ok(stack().bind_raw(endpoint, at.address).map_err(errno)?)
}

/// To whom a message goes, unless to the peer, and by which protocol (`raw_sendmsg`, `rawv6_sendmsg`).
fn target(socket: &DatagramSocket, message: &Outgoing) -> Result<(Option<Given>, u8), Errno> {
    let own = socket.endpoint.protocol;
    let Some(to) = &message.to else { return Ok((None, own)) };
    let family = to.family().ok_or(Errno::EINVAL)?;
    if socket.common.family == AF_INET {
        let given = v4_of(to)?;
        return if matches!(family, AF_INET | 0) { Ok((Some(given), own)) } else { Err(Errno::EAFNOSUPPORT) };
    }
    let given = v6_of(to)?;
    if !matches!(family, AF_INET6 | 0) {
        return Err(Errno::EAFNOSUPPORT);
    }
    // The port of an address of IPv6 is a protocol.
    let protocol = match given.at.port {
        0 => own,
        port if port == u16::from(own) || own == ANYTHING => u8::try_from(port).map_err(|_| Errno::EINVAL)?,
        _ => return Err(Errno::EINVAL),
    };
    // IPv4 does not travel by it.
    if is_v4(&given.at.address) { Err(Errno::ENETUNREACH) } else { Ok((Some(given), protocol)) }
}

/// send(2)
pub fn send(socket: &DatagramSocket, message: &Outgoing, source: &mut dyn Source) -> fs::Result<usize> {
    let v4 = socket.common.family == AF_INET;
    let long = source.remaining() > LENGTH_MAX;
    if v4 && long {
        return Err(Errno::EMSGSIZE.into());
    }
    if message.flags.contains(MessageFlags::OUT_OF_BAND) {
        return Err(Errno::EOPNOTSUPP.into());
    }
    let (to, protocol) = target(socket, message)?;
    let peer = socket.endpoint.names().peer;
    let target = to.map(|to| to.at).or(peer).ok_or(Errno::EDESTADDRREQ)?;
    if long {
        return Err(Errno::EMSGSIZE.into());
    }
    let how = socket.manner(&target.address, to.map_or(0, |to| to.scope), message);
    let Some(data) = take_all(source)? else { return Ok(0) };
    let length = data.len();
    let to = to.map(|to| to.at.address);
    with_stack(|stack, out| stack.send_raw(&socket.endpoint, (to, protocol), &how, data, out))
        .map_err(configuring::failure)?;
    socket.endpoint.has_sent();
    Ok(length)
}

/// An option that only raw sockets have; `None` for others.
pub fn option(socket: &DatagramSocket, raw: &Raw, name: Name) -> Option<Result<OptionValue, Errno>> {
    let family = socket.common.family;
    Some(match name {
        HEADER => Ok(value_of(raw.has_header().into())),
        HEADER_V6 if family == AF_INET6 => Ok(value_of(raw.has_header().into())),
        (SOL_RAW, _) | (SOL_IPV6, CHECKSUM) if family == AF_INET6 => match name.1 {
            CHECKSUM => Ok(value_of(raw.checksum.load(Ordering::Relaxed).max(-1).cast_unsigned())),
            _ => Err(Errno::ENOPROTOOPT),
        },
        (SOL_RAW | SOL_ICMPV6, _) => filter(socket, name).map(|words| {
            let words = raw.blocked[..words].iter();
            words.flat_map(|word| word.load(Ordering::Relaxed).to_ne_bytes()).collect()
        }),
        _ => return None,
    })
}

/// How many words the filter of a socket has. EOPNOTSUPP if it is for something else than ICMP, ENOPROTOOPT for what is no filter.
fn filter(socket: &DatagramSocket, (level, name): Name) -> Result<usize, Errno> {
    let protocol = i32::from(socket.endpoint.protocol);
    match (level, socket.common.family) {
        (SOL_RAW, AF_INET) if name != FILTER => Err(Errno::ENOPROTOOPT),
        (SOL_RAW, AF_INET) if protocol == ICMP => Ok(1),
        (SOL_ICMPV6, AF_INET6) if protocol != ICMPV6 => Err(Errno::EOPNOTSUPP),
        (SOL_ICMPV6, AF_INET6) if name == FILTER => Ok(8),
        (SOL_RAW, AF_INET) => Err(Errno::EOPNOTSUPP),
        _ => Err(Errno::ENOPROTOOPT),
    }
}

/// Sets an option that only raw sockets have; `None` for others.
pub fn set_option(socket: &DatagramSocket, raw: &Raw, name: Name, value: &[u8]) -> Option<Result<(), Errno>> {
    let v6 = socket.common.family == AF_INET6;
    let number = number(value);
    match name {
        HEADER => raw.header.store(number_or_byte(value) != 0, Ordering::Relaxed),
        HEADER_V6 if v6 => match number {
            Ok(on) => raw.header.store(on != 0, Ordering::Relaxed),
            Err(errno) => return Some(Err(errno)),
        },
        (SOL_RAW, _) | (SOL_IPV6, CHECKSUM) if v6 => {
            let is_icmp = i32::from(socket.endpoint.protocol) == ICMPV6;
            match number {
                Err(errno) => return Some(Err(errno)),
                _ if name.1 != CHECKSUM => return Some(Err(Errno::ENOPROTOOPT)),
                // That of ICMPv6 is always written (RFC 3542, section 3.1), and none stands at an odd place.
                Ok(at) if is_icmp && name.0 == SOL_IPV6 || at > 0 && at % 2 != 0 => {
                    return Some(Err(Errno::EINVAL));
                }
                Ok(at) => raw.checksum.store(at.max(-1), Ordering::Relaxed),
            }
        }
        (SOL_RAW | SOL_ICMPV6, _) => match filter(socket, name) {
            Err(errno) => return Some(Err(errno)),
            Ok(words) => {
                for (word, bytes) in raw.blocked[..words].iter().zip(value.chunks(4)) {
                    // What is not given stays.
                    let mut whole = word.load(Ordering::Relaxed).to_ne_bytes();
                    whole[..bytes.len()].copy_from_slice(bytes);
                    word.store(u32::from_ne_bytes(whole), Ordering::Relaxed);
                }
            }
        },
        _ => return None,
    }
    Some(Ok(()))
}
