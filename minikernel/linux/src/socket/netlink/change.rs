//! What a privileged program changes about interfaces, addresses and routes: rtnetlink(7).

use isopod_fs::Errno;
use isopod_net::address::{ANY, ANY_V4, Address, V4_PREFIX, is_v4, same_prefix, v4};
use isopod_net::interface::{InterfaceAddress, LOOPBACK_INDEX};
use isopod_net::route::{Kind, Route};

use super::message::{Answer, Request, attribute, word};
use super::route::{self, DELETE_ADDRESS, DELETE_ROUTE, NEW_ADDRESS, NEW_LINK, NEW_ROUTE, SET_LINK};
use crate::socket::inet::{AF_INET, AF_INET6, errno, index_of, routes, stack, with_stack};

/// `NLM_F_REPLACE`, `NLM_F_EXCL`, `NLM_F_CREATE`
const REPLACE: u16 = 0x100;
const EXCLUSIVE: u16 = 0x200;
const CREATE: u16 = 0x400;
/// The groups of who wants to hear of links, and of addresses and routes of a version (`RTNLGRP_*`), as bits.
pub const LINKS: u32 = 1;
const ADDRESSES: [u32; 2] = [1 << 4, 1 << 8];
const ROUTES: [u32; 2] = [1 << 6, 1 << 10];
/// `RT_TABLE_MAIN`, `RTN_UNICAST`
const MAIN: u32 = 254;
const UNICAST: u8 = 1;
/// The metric of a route of IPv6 that somebody gave without one (`IP6_RT_PRIO_USER`).
const METRIC_V6: u32 = 1024;
/// The shortest packet that each link of IPv6 takes (RFC 8200), which all have, and the longest of the loopback interface.
const MTU_MIN: u32 = 1280;
const MTU_MAX: u32 = 65_536;

/// Whether a request changes something that can be changed.
pub fn is_change(kind: u16) -> bool {
    [NEW_LINK, SET_LINK, NEW_ADDRESS, DELETE_ADDRESS, NEW_ROUTE, DELETE_ROUTE].contains(&kind)
}

/// Does what is asked for. What there is to tell of it is in `notice` then, for the groups that are returned.
pub fn make(request: &Request<'_>, notice: &mut Answer) -> Result<u32, Errno> {
    match request.kind {
        NEW_LINK | SET_LINK => link(request, notice),
        NEW_ADDRESS | DELETE_ADDRESS => address(request, notice),
        _ => change_route(request, notice),
    }
}

/// The address of a family that an attribute is. ERANGE if that has another length.
fn address_in(family: u16, rest: &[u8], kind: u16) -> Result<Option<Address>, Errno> {
    let Some(bytes) = attribute(rest, kind) else { return Ok(None) };
    match (family, bytes) {
        (AF_INET, &[a, b, c, d]) => Ok(Some(v4(a, b, c, d))),
        (AF_INET6, bytes) => {
            let octets: [u8; 16] = bytes.try_into().map_err(|_| Errno::ERANGE)?;
            Ok(Some(Address::from(octets)))
        }
        _ => Err(Errno::ERANGE),
    }
}

/// The family that a request is about, and its bits before a prefix. EOPNOTSUPP for others.
fn family_of(body: &[u8]) -> Result<(u16, u8), Errno> {
    match body.first().map(|family| u16::from(*family)) {
        Some(AF_INET) => Ok((AF_INET, V4_PREFIX)),
        Some(AF_INET6) => Ok((AF_INET6, 0)),
        _ => Err(Errno::EOPNOTSUPP),
    }
}

/// A prefix of a family's, as packets have it. EINVAL
fn prefix_in(length: u8, before: u8) -> Result<u8, Errno> {
    length.checked_add(before).filter(|length| *length <= 128).ok_or(Errno::EINVAL)
}

/// `ip link set`
fn link(request: &Request<'_>, notice: &mut Answer) -> Result<u32, Errno> {
    /// `struct ifinfomsg`; `IFLA_ADDRESS`, `IFLA_IFNAME`, `IFLA_MTU`; `IFF_UP`
    const FIXED: usize = 16;
    const HARDWARE: u16 = 1;
    const NAME: u16 = 3;
    const MTU: u16 = 4;
    const UP: u32 = 1;
    let field = |at| word(request.body, at).ok_or(Errno::EINVAL);
    let (index, flags, change) = (field(4)?, field(8)?, field(12)?);
    let rest = request.body.get(FIXED..).unwrap_or_default();
    let name = attribute(rest, NAME).and_then(|name| name.split(|byte| *byte == 0).next());
    let index = match (index, name) {
        (0, None) => return Err(Errno::ENODEV),
        (0, Some(name)) => match index_of(name) {
            // Others than those of cards cannot be made.
            Err(Errno::ENODEV) if request.flags & CREATE != 0 => return Err(Errno::EOPNOTSUPP),
            found => found?,
        },
        (index, _) => index,
    };
    let interface = stack().interface(index).ok_or(Errno::ENODEV)?;
    if name.is_some_and(|name| name != interface.name.as_bytes()) || attribute(rest, HARDWARE).is_some() {
        return Err(Errno::EOPNOTSUPP);
    }
    if let Some(mtu) = attribute(rest, MTU) {
        let mtu = word(mtu, 0).filter(|mtu| (MTU_MIN..=MTU_MAX).contains(mtu)).ok_or(Errno::EINVAL)?;
        stack().set_mtu(index, mtu).map_err(errno)?;
    }
    let wanted = if change & UP != 0 { flags & UP != 0 } else { interface.is_up() };
    if index == LOOPBACK_INDEX && !wanted {
        return Err(Errno::EOPNOTSUPP);
    }
    with_stack(|stack, out| stack.set_up(index, wanted, out)).map_err(errno)?;
    route::link(&interface, 0, notice);
    Ok(LINKS)
}

/// `ip address add`, `ip address del`
fn address(request: &Request<'_>, notice: &mut Answer) -> Result<u32, Errno> {
    /// `struct ifaddrmsg`; `IFA_ADDRESS`, `IFA_LOCAL`
    const FIXED: usize = 8;
    const ADDRESS: u16 = 1;
    const LOCAL: u16 = 2;
    let (family, before) = family_of(request.body)?;
    let index = word(request.body, 4).ok_or(Errno::EINVAL)?;
    let (length, scope) = (request.body[1], request.body[3]);
    let rest = request.body.get(FIXED..).unwrap_or_default();
    let local = address_in(family, rest, LOCAL)?;
    let given = address_in(family, rest, ADDRESS)?;
    let found = if family == AF_INET { local } else { local.or(given) };
    let found = found.ok_or(Errno::EINVAL)?;
    let interface = stack().interface(index).ok_or(Errno::ENODEV)?;
    let prefix = prefix_in(length, before)?;
    let mut known = InterfaceAddress::new(found, prefix);
    // That of addresses of IPv6 follows from them.
    known.scope = if family == AF_INET { scope } else { known.scope };
    if request.kind == DELETE_ADDRESS {
        let all = interface.addresses().map_err(errno)?;
        let there = |known: &&InterfaceAddress| known.address == found && known.prefix == prefix;
        known = *all.iter().find(there).ok_or(Errno::EADDRNOTAVAIL)?;
        stack().remove_address(index, &found).map_err(errno)?;
    } else {
        if found == ANY || family == AF_INET6 && found.is_multicast() {
            return Err(Errno::EADDRNOTAVAIL);
        }
        let has = family == AF_INET6 && interface.has(&found);
        let added = if has {
            Err(Errno::EEXIST)
        } else {
            with_stack(|stack, out| stack.add_address(index, known, out)).map_err(errno)
        };
        match added {
            Err(Errno::EEXIST) if request.flags & (REPLACE | EXCLUSIVE) == REPLACE => {}
            outcome => outcome?,
        }
    }
    route::address(&interface, &known, (request.kind, 0), notice);
    Ok(ADDRESSES[usize::from(family == AF_INET6)])
}

/// `ip route add`, `ip route del`
fn change_route(request: &Request<'_>, notice: &mut Answer) -> Result<u32, Errno> {
    /// `struct rtmsg`; `RTA_DST`, `RTA_OIF`, `RTA_GATEWAY`, `RTA_PRIORITY`, `RTA_PREFSRC`, `RTA_TABLE`
    const FIXED: usize = 12;
    const DESTINATION: u16 = 1;
    const INTERFACE: u16 = 4;
    const GATEWAY: u16 = 5;
    const METRIC: u16 = 6;
    const SOURCE: u16 = 7;
    const TABLE: u16 = 15;
    let (family, before) = family_of(request.body)?;
    let body: &[u8; FIXED] = request.body.first_chunk().ok_or(Errno::EINVAL)?;
    let rest = &request.body[FIXED..];
    let number = |kind| attribute(rest, kind).and_then(|value| word(value, 0));
    let (length, table, origin, kind) = (body[1], number(TABLE).unwrap_or(body[4].into()), body[5], body[7]);
    let adds = request.kind == NEW_ROUTE;
    // There is one table to change, and no rule that leads to others.
    if !matches!(table, 0 | MAIN) || body[2] != 0 || !(kind == UNICAST || kind == 0 && !adds) {
        return Err(Errno::EOPNOTSUPP);
    }
    let any = if family == AF_INET { ANY_V4 } else { ANY };
    let prefix = prefix_in(length, before)?;
    let destination = address_in(family, rest, DESTINATION)?.unwrap_or(any);
    let network =
        Address::from_bits(destination.to_bits() & !u128::MAX.checked_shr(prefix.into()).unwrap_or(0));
    if family == AF_INET && network != destination {
        return Err(Errno::EINVAL);
    }
    let gateway = address_in(family, rest, GATEWAY)?;
    let source = address_in(family, rest, SOURCE)?;
    let interface = number(INTERFACE).unwrap_or(0);
    let metric = number(METRIC).unwrap_or(0);
    let metric = if adds && metric == 0 && family == AF_INET6 { METRIC_V6 } else { metric };
    let mut route = Route {
        destination: network,
        prefix,
        kind: Kind::Unicast,
        interface,
        gateway,
        source,
        metric,
        origin,
    };
    if adds {
        route.interface = way_out(interface, gateway.as_ref())?;
        add(&route, request.flags)?;
    } else {
        stack().remove_route(&route).map_err(errno)?;
    }
    route::route(&route, (request.kind, 0), notice);
    Ok(ROUTES[usize::from(family == AF_INET6)])
}

/// The interface that a route leads by: the one that is named, or that by which its gateway is reached. ENODEV, ENETUNREACH
fn way_out(named: u32, gateway: Option<&Address>) -> Result<u32, Errno> {
    if named != 0 {
        return stack().interface(named).map(|interface| interface.index).ok_or(Errno::ENODEV);
    }
    let gateway = gateway.ok_or(Errno::ENODEV)?;
    let leads = |route: &Route| {
        let same = is_v4(&route.destination) == is_v4(gateway);
        route.kind == Kind::Unicast
            && route.gateway.is_none()
            && same
            && same_prefix(&route.destination, gateway, route.prefix)
    };
    routes()?.iter().find(|route| leads(route)).map(|route| route.interface).ok_or(Errno::ENETUNREACH)
}

/// Adds a route, in place of one to the same addresses if that is wanted (`fib_table_insert`).
fn add(route: &Route, flags: u16) -> Result<(), Errno> {
    let all = routes()?;
    let like = |known: &&Route| {
        known.kind == Kind::Unicast
            && (known.destination, known.prefix, known.metric)
                == (route.destination, route.prefix, route.metric)
            && is_v4(&known.destination) == is_v4(&route.destination)
    };
    match all.iter().find(like) {
        None if flags & CREATE == 0 => return Err(Errno::ENOENT),
        Some(_) if flags & EXCLUSIVE != 0 || flags & REPLACE == 0 => return Err(Errno::EEXIST),
        Some(before) => {
            stack().remove_route(before).map_err(errno)?;
            // What was there comes back if the other cannot be.
            return stack().add_route(route.clone()).map_err(|error| {
                let _ = stack().add_route(before.clone());
                errno(error)
            });
        }
        None => {}
    }
    stack().add_route(route.clone()).map_err(errno)
}
