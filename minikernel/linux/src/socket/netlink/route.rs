//! What a program can ask about interfaces, addresses and routes: rtnetlink(7).

use core::sync::atomic::Ordering;

use isopod_fs::Errno;
use isopod_net::address::{Address, V4_PREFIX, is_v4};
use isopod_net::interface::{FOREVER, Interface, InterfaceAddress};
use isopod_net::route::{Kind, Route};

use super::lookup;
use super::message::{Answer, DUMP, MULTI, Request, attribute, word};
use crate::socket::inet::{AF_INET, AF_INET6, interfaces, routes, stack, state};

/// `RTM_NEWLINK`
pub const NEW_LINK: u16 = 16;
const GET_LINK: u16 = 18;
/// `RTM_SETLINK`
pub const SET_LINK: u16 = 19;
/// `RTM_NEWADDR`
pub const NEW_ADDRESS: u16 = 20;
/// `RTM_DELADDR`
pub const DELETE_ADDRESS: u16 = 21;
const GET_ADDRESS: u16 = 22;
/// `RTM_NEWROUTE`
pub const NEW_ROUTE: u16 = 24;
/// `RTM_DELROUTE`
pub const DELETE_ROUTE: u16 = 25;
const GET_ROUTE: u16 = 26;
const NEW_NEIGHBOUR: u16 = 28;
const GET_NEIGHBOUR: u16 = 30;
const NEW_RULE: u16 = 32;
const GET_RULE: u16 = 34;
/// `RTM_MAX`, and the last bits of types that ask.
const KINDS: core::ops::RangeInclusive<u16> = 16..=123;
const GET: u16 = 2;

/// `IFA_F_PERMANENT`
const PERMANENT: u32 = 0x80;
/// `RT_TABLE_LOCAL`, `RT_TABLE_MAIN`
pub const TABLES: [u8; 2] = [255, 254];

/// Bytes of an address, the family's as many as it has.
fn octets(address: &Address) -> ([u8; 16], core::ops::Range<usize>) {
    (address.octets(), if is_v4(address) { 12..16 } else { 0..16 })
}

fn family_of(address: &Address) -> u8 {
    if is_v4(address) { AF_INET as u8 } else { AF_INET6 as u8 }
}

fn prefix_of(address: &Address, prefix: u8) -> u8 {
    if is_v4(address) { prefix - V4_PREFIX } else { prefix }
}

/// Adds an address to a message.
pub fn put_address(answer: &mut Answer, kind: u16, address: &Address) {
    let (bytes, range) = octets(address);
    answer.attribute(kind, &bytes[range]);
}

/// Answers a request; how it could not be done. True if it asked for all there is, so that an end is to be told.
pub fn answer(request: &Request<'_>, privileged: bool, answer: &mut Answer) -> Result<bool, Errno> {
    let dumps = request.flags & DUMP != 0;
    let family = request.body.first().copied().unwrap_or(0);
    let wanted = |found: u8| family == 0 || family == found;
    if !KINDS.contains(&request.kind) {
        return Err(Errno::EOPNOTSUPP);
    }
    if request.kind & 3 != GET && !privileged {
        return Err(Errno::EPERM);
    }
    match request.kind {
        GET_LINK if dumps => {
            for interface in interfaces()? {
                link(&interface, MULTI, answer);
            }
        }
        GET_LINK => {
            /// `IFLA_IFNAME`, and `struct ifinfomsg`
            const NAME: u16 = 3;
            const INFO: usize = 16;
            let index = word(request.body, 4).ok_or(Errno::EINVAL)?;
            let name = request.body.get(INFO..).and_then(|rest| attribute(rest, NAME));
            let name = name.and_then(|name| name.split(|byte| *byte == 0).next());
            if index == 0 && name.is_none() {
                return Err(Errno::EINVAL);
            }
            let found = interfaces()?.into_iter().find(|interface| {
                interface.index == index || index == 0 && name == Some(interface.name.as_bytes())
            });
            link(&*found.ok_or(Errno::ENODEV)?, 0, answer);
        }
        GET_ADDRESS if dumps => {
            for v4 in [true, false] {
                for interface in interfaces()? {
                    addresses(&interface, v4, &wanted, answer)?;
                }
            }
        }
        GET_ROUTE if dumps => {
            for v4 in [true, false] {
                let mut all = routes()?;
                all.retain(|route| is_v4(&route.destination) == v4 && wanted(family_of(&route.destination)));
                if v4 {
                    all.sort_unstable_by_key(Route::place_in_dump);
                }
                for found in &all {
                    route(found, (NEW_ROUTE, MULTI), answer);
                }
            }
        }
        GET_ROUTE => lookup::answer(request, answer)?,
        GET_NEIGHBOUR if dumps => stack().neighbours(&mut |interface, address, hardware, fresh| {
            if wanted(family_of(address)) {
                neighbour(interface, address, *hardware, fresh, answer);
            }
        }),
        GET_RULE if dumps => {
            for family in [AF_INET as u8, AF_INET6 as u8].into_iter().filter(|family| wanted(*family)) {
                rules(family, answer);
            }
        }
        kind if dumps && kind & 3 == GET => {}
        _ => return Err(Errno::EOPNOTSUPP),
    }
    Ok(dumps)
}

/// Tells of an interface.
pub fn link(interface: &Interface, flags: u16, answer: &mut Answer) {
    let mut fixed = [0; 16];
    fixed[2..4].copy_from_slice(&state::kind(interface).to_ne_bytes());
    fixed[4..8].copy_from_slice(&interface.index.to_ne_bytes());
    fixed[8..12].copy_from_slice(&state::flags(interface).to_ne_bytes());
    answer.message(NEW_LINK, flags, &fixed);
    answer.text(3, &interface.name);
    answer.number(13, state::QUEUE_LENGTH);
    answer.attribute(16, &[state::operational(interface) as u8]);
    answer.attribute(17, &[0]);
    answer.number(4, interface.mtu.load(Ordering::Relaxed));
    for (kind, value) in [(27, 0), (30, 0), (31, 1), (32, 1)] {
        answer.number(kind, value);
    }
    answer.attribute(33, &[interface.has_carrier().into()]);
    answer.attribute(1, &interface.hardware_address().unwrap_or_default());
    answer.attribute(2, &state::broadcast(interface));
    let traffic = [
        &interface.received.packets,
        &interface.sent.packets,
        &interface.received.bytes,
        &interface.sent.bytes,
    ];
    let traffic = traffic.map(|number| number.load(Ordering::Relaxed));
    let (mut long, mut short) = ([0; 25 * 8], [0; 24 * 4]);
    for (index, number) in traffic.iter().enumerate() {
        long[index * 8..][..8].copy_from_slice(&number.to_ne_bytes());
        short[index * 4..][..4].copy_from_slice(&(*number as u32).to_ne_bytes());
    }
    answer.attribute(23, &long);
    answer.attribute(7, &short);
    answer.text(6, state::discipline(interface));
}

fn addresses(
    interface: &Interface,
    v4: bool,
    wanted: &dyn Fn(u8) -> bool,
    answer: &mut Answer,
) -> Result<(), Errno> {
    let all = interface.addresses().map_err(|_| Errno::ENOMEM)?;
    for found in all.iter().filter(|found| is_v4(&found.address) == v4 && wanted(family_of(&found.address))) {
        address(interface, found, (NEW_ADDRESS, MULTI), answer);
    }
    Ok(())
}

/// Tells of an address, or that it is no more.
pub fn address(
    interface: &Interface,
    found: &InterfaceAddress,
    (kind, message_flags): (u16, u16),
    answer: &mut Answer,
) {
    let v4 = is_v4(&found.address);
    {
        let family = family_of(&found.address);
        let flags = if found.valid_until == FOREVER { PERMANENT } else { 0 };
        let prefix = prefix_of(&found.address, found.prefix);
        let mut fixed = [family, prefix, flags as u8, found.scope, 0, 0, 0, 0];
        fixed[4..].copy_from_slice(&interface.index.to_ne_bytes());
        answer.message(kind, message_flags, &fixed);
        put_address(answer, 1, &found.address);
        if v4 {
            put_address(answer, 2, &found.address);
            if let Some(all) = &found.broadcast() {
                put_address(answer, 4, all);
            }
            answer.text(3, &interface.name);
        }
        answer.number(8, flags);
        // How long it is preferred and valid, and since when.
        let mut cache = [0; 16];
        cache[..4].copy_from_slice(&state::seconds_until(found.preferred_until).to_ne_bytes());
        cache[4..8].copy_from_slice(&state::seconds_until(found.valid_until).to_ne_bytes());
        answer.attribute(6, &cache);
    }
}

fn neighbour(interface: &Interface, address: &Address, hardware: [u8; 6], fresh: bool, answer: &mut Answer) {
    /// `NUD_REACHABLE`, `NUD_STALE`, `RTN_UNICAST`
    const REACHABLE: u8 = 2;
    const STALE: u8 = 4;
    const UNICAST: u8 = 1;
    let mut fixed = [family_of(address), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, UNICAST];
    fixed[4..8].copy_from_slice(&interface.index.to_ne_bytes());
    fixed[8] = if fresh { REACHABLE } else { STALE };
    answer.message(NEW_NEIGHBOUR, MULTI, &fixed);
    put_address(answer, 1, address);
    answer.attribute(2, &hardware);
}

/// Tells which tables are looked into, in which order: there are no rules but those that Linux begins with (`fib_nl_fill_rule`).
fn rules(family: u8, answer: &mut Answer) {
    /// `FR_ACT_TO_TBL`, `RT_TABLE_DEFAULT`
    const TO_TABLE: u8 = 1;
    const DEFAULT: u8 = 253;
    let all = [(0, TABLES[0]), (32_766, TABLES[1]), (32_767, DEFAULT)];
    // IPv6 has no table of that name.
    let count = if family == AF_INET as u8 { 3 } else { 2 };
    for (priority, table) in &all[..count] {
        answer.message(NEW_RULE, MULTI, &[family, 0, 0, 0, *table, 0, 0, TO_TABLE, 0, 0, 0, 0]);
        answer.number(15, (*table).into());
        answer.number(14, u32::MAX);
        answer.attribute(21, &[Route::BY_KERNEL]);
        if *priority != 0 {
            answer.number(6, *priority);
        }
    }
}

/// Tells of a route, or that it is no more.
pub fn route(found: &Route, (message, flags): (u16, u16), answer: &mut Answer) {
    let v4 = is_v4(&found.destination);
    // `RTN_*`, and `RT_SCOPE_*` of IPv4.
    let (kind, table, scope) = match found.kind {
        Kind::Unicast => (1, TABLES[1], if found.gateway.is_some() { 0 } else { 253 }),
        Kind::Local => (2, TABLES[0], 254),
        Kind::Broadcast => (3, TABLES[0], 253),
    };
    let scope = if v4 { scope } else { 0 };
    let length = prefix_of(&found.destination, found.prefix);
    let family = family_of(&found.destination);
    let fixed = [family, length, 0, 0, table, found.origin, scope, kind, 0, 0, 0, 0];
    answer.message(message, flags, &fixed);
    answer.number(15, table.into());
    if length > 0 {
        put_address(answer, 1, &found.destination);
    }
    if let Some(source) = found.source.filter(|_| v4) {
        put_address(answer, 7, &source);
    }
    if let Some(gateway) = &found.gateway {
        put_address(answer, 5, gateway);
    }
    if !v4 {
        answer.number(6, found.metric);
    }
    answer.number(4, found.interface);
}
