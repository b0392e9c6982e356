//! `RTM_GETROUTE` for one destination: where a packet would go, as `ip route get` asks (`inet_rtm_getroute`, `inet6_rtm_getroute`).

use isopod_fs::Errno;
use isopod_hal::clock;
use isopod_net::address::{Address, LOOPBACK, LOOPBACK_V4, any_like, is_any, is_multicast, is_v4, v4};
use isopod_net::interface::LOOPBACK_INDEX;
use isopod_net::route::{Kind, Route};

use super::message::{Answer, Request, attribute, word};
use super::route::{self, NEW_ROUTE, TABLES, put_address};
use crate::process::current;
use crate::socket::inet::{AF_INET, AF_INET6, errno, stack};

/// `struct rtmsg`
const MESSAGE: usize = 12;
/// `RTM_F_CLONED`: it is about one address; `RTM_F_FIB_MATCH`: the route itself is wanted.
const CLONED: u32 = 0x200;
const FIB_MATCH: u32 = 0x2000;
/// `RTA_DST`, `RTA_SRC`, `RTA_IIF`, `RTA_OIF`, `RTA_PRIORITY`, `RTA_PREFSRC`, `RTA_GATEWAY`, `RTA_CACHEINFO`, `RTA_TABLE`, `RTA_PREF`, `RTA_UID`
const DESTINATION: u16 = 1;
const SOURCE: u16 = 2;
const INPUT: u16 = 3;
const OUTPUT: u16 = 4;
const GATEWAY: u16 = 5;
const PRIORITY: u16 = 6;
const PREFERRED: u16 = 7;
const CACHE: u16 = 12;
const TABLE: u16 = 15;
const PREFERENCE: u16 = 20;
const USER: u16 = 25;

/// Answers. EINVAL, ERANGE, ENODEV, ENETUNREACH, and EOPNOTSUPP for packets that come in, which are never passed on.
pub fn answer(request: &Request<'_>, answer: &mut Answer) -> Result<(), Errno> {
    let attributes = request.body.get(MESSAGE..).ok_or(Errno::EINVAL)?;
    let asks_v4 = match u16::from(request.body[0]) {
        AF_INET => true,
        AF_INET6 => false,
        _ => return Err(Errno::EOPNOTSUPP),
    };
    let flags = word(request.body, 8).unwrap_or(0);
    let any = if asks_v4 { any_like(&LOOPBACK_V4) } else { any_like(&LOOPBACK) };
    let address = |kind| attribute(attributes, kind).map_or(Ok(any), |bytes| address_of(asks_v4, bytes));
    let (asked, source) = (address(DESTINATION)?, address(SOURCE)?);
    let interface = attribute(attributes, OUTPUT).and_then(|bytes| word(bytes, 0)).unwrap_or(0);
    if attribute(attributes, INPUT).and_then(|bytes| word(bytes, 0)).is_some_and(|index| index != 0) {
        return Err(Errno::EOPNOTSUPP);
    }
    if asks_v4 && !is_any(&source) && stack().routes.kind_of(&source) != Kind::Local {
        return Err(Errno::ENETUNREACH);
    }
    let to = match is_any(&asked) {
        true if asks_v4 => LOOPBACK_V4,
        true => LOOPBACK,
        false => asked,
    };
    let path = stack().route(&to, &source, interface, clock::monotonic_ns()).map_err(errno)?;
    let route = stack().routes.leading_to(&to, interface).ok();
    if flags & FIB_MATCH != 0 {
        route::route(&route.ok_or(Errno::EHOSTUNREACH)?, (NEW_ROUTE, 0), answer);
        return Ok(());
    }
    // Of IPv4 both tables are looked up as one where there are no rules (`fib_lookup`).
    let special = !asks_v4 && route.as_ref().is_some_and(|route| route.kind != Kind::Unicast);
    let table = TABLES[usize::from(!special)];
    // `RTN_*`, and `RTCF_*` of IPv4.
    let (kind, traits) = match path.kind {
        Kind::Local => (2, 1 << 31),
        Kind::Broadcast if is_multicast(&to) => (5, 1 << 29),
        Kind::Broadcast => (3, 1 << 31 | 1 << 28),
        Kind::Unicast => (1, 0),
    };
    let traits = if asks_v4 { traits | CLONED } else { 0 };
    let length = if asks_v4 { 32 } else { 128 };
    let sent_from = if asks_v4 && is_any(&source) { 0 } else { length };
    let origin = if asks_v4 { 0 } else { route.as_ref().map_or(Route::BY_KERNEL, |route| route.origin) };
    let mut fixed = [request.body[0], length, sent_from, 0, table, origin, 0, kind, 0, 0, 0, 0];
    fixed[8..].copy_from_slice(&traits.to_ne_bytes());
    answer.message(NEW_ROUTE, 0, &fixed);
    answer.number(TABLE, table.into());
    put_address(answer, DESTINATION, &asked);
    if sent_from > 0 {
        put_address(answer, SOURCE, &source);
    }
    answer.number(OUTPUT, if path.kind == Kind::Local { LOOPBACK_INDEX } else { path.interface });
    if path.source != source {
        put_address(answer, PREFERRED, &path.source);
    }
    if path.next != to {
        put_address(answer, GATEWAY, &path.next);
    }
    if asks_v4 {
        answer.number(USER, current().map_or(0, |caller| caller.identity().users.real));
    } else {
        answer.number(PRIORITY, route.map_or(0, |route| route.metric));
    }
    // `struct rta_cacheinfo`: nothing is kept for it.
    answer.attribute(CACHE, &[0; 32]);
    if !asks_v4 {
        // `ICMPV6_ROUTER_PREF_MEDIUM`
        answer.attribute(PREFERENCE, &[0]);
    }
    Ok(())
}

/// ERANGE or EINVAL for what is too short.
fn address_of(asks_v4: bool, bytes: &[u8]) -> Result<Address, Errno> {
    if asks_v4 {
        let [a, b, c, d] = *bytes.first_chunk().ok_or(Errno::ERANGE)?;
        return Ok(v4(a, b, c, d));
    }
    let octets: [u8; 16] = *bytes.first_chunk().ok_or(Errno::EINVAL)?;
    let found = Address::from(octets);
    // IPv4 has a family of its own.
    if is_v4(&found) { Err(Errno::EINVAL) } else { Ok(found) }
}
