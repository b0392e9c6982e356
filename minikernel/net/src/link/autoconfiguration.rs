//! What routers tell (RFC 4861, section 6.3), and the addresses that follow from it (RFC 4862).

use alloc::vec::Vec;
use isopod_hal::sync::SpinLock;

use super::Link;
use super::membership::ALL_HOSTS;
use super::ndp::{ALL_NODES, ALL_ROUTERS, ROUTER_SOLICITATION, SOURCE_ADDRESS, options};
use super::neighbour::Hardware;
use super::neighbour::Word;
use crate::address::{ANY, Address, is_v4};
use crate::error::{Error, Result};
use crate::event::Event;
use crate::interface::{FOREVER, Interface, InterfaceAddress};
use crate::packet::{IpHeader, Outbox};
use crate::route::{Kind, Route};
use crate::stack::Stack;

const SECOND: u64 = 1_000_000_000;
/// How often, and how long apart, routers are asked (`MAX_RTR_SOLICITATIONS`, `RTR_SOLICITATION_INTERVAL`).
const QUESTIONS: u8 = 3;
/// See [`QUESTIONS`].
const INTERVAL: u64 = 4 * SECOND;
/// What nobody has proven to be a router's cannot shorten a lifetime to less than this (RFC 4862, section 5.5.3).
const LEAST: u64 = 2 * 3600 * SECOND;
/// An interface has at most so many addresses from routers (`max_addresses`), and as many routes.
const MOST: usize = 16;
/// Bytes of an advertisement before its options.
const HEADER: usize = 16;
/// The options: a prefix, the MTU of the link, name servers (RFC 8106, section 5.1).
const PREFIX: u8 = 3;
/// See [`PREFIX`].
const MTU: u8 = 5;
/// See [`PREFIX`].
const SERVERS: u8 = 25;
/// No link of IPv6 takes less (RFC 8200, section 5).
const LEAST_MTU: u32 = 1280;
/// The metric of a default route.
const METRIC: u32 = 1024;
/// The metric of a route to the link.
const METRIC_LINK: u32 = 256;

/// What an interface knows from routers.
#[derive(Debug)]
pub struct Autoconfiguration(SpinLock<Known>);

#[derive(Debug)]
struct Known {
    /// It is wanted at all.
    wanted: bool,
    /// Routers are asked so often yet,
    questions: u8,
    /// the next time then.
    at: u64,
    /// Routes, and until when they hold.
    routes: Vec<(Route, u64)>,
}

impl Autoconfiguration {
    pub const fn new() -> Self {
        Self(SpinLock::new(Known { wanted: false, questions: 0, at: FOREVER, routes: Vec::new() }))
    }
}

/// The end of a lifetime in seconds.
fn until(now: u64, seconds: u32) -> u64 {
    if seconds == u32::MAX { FOREVER } else { now + u64::from(seconds) * SECOND }
}

/// The address of an interface in a network (RFC 2464, section 4). One that says nothing of the card would have to be kept from start to start
/// (RFC 7217); this one is the same each time, and a virtual card's address tells nothing of anybody.
fn address_in(prefix: &Address, hardware: Hardware) -> Address {
    let [first, .., last] = hardware.as_chunks::<3>().0 else { return *prefix };
    let own = u64::from_be_bytes([first[0] ^ 2, first[1], first[2], 0xff, 0xfe, last[0], last[1], last[2]]);
    Address::from_bits(prefix.to_bits() & !u128::from(u64::MAX) | u128::from(own))
}

impl Link {
    /// The address of this link alone (RFC 4291, section 2.5.6).
    pub fn local_address(&self) -> Address {
        address_in(&Address::from_bits(0xfe80 << 112), self.hardware)
    }

    /// Asks who is a router, if that is wanted.
    pub fn seek_routers(&self, stack: &Stack, out: &Outbox) {
        let mut known = self.autoconfiguration.0.lock();
        if known.wanted {
            (known.questions, known.at) = (QUESTIONS, out.now);
            stack.arm(out.now);
        }
    }

    /// Does what is due. Returns when the next is.
    pub(super) fn expire_routers(&self, stack: &Stack, interface: &Interface, out: &mut Outbox) -> u64 {
        let mut asks = false;
        let (mut next, mut gone) = (FOREVER, Vec::new());
        {
            let mut known = self.autoconfiguration.0.lock();
            if known.at <= out.now {
                asks = true;
                known.questions = known.questions.saturating_sub(1);
                known.at = if known.questions > 0 { out.now + INTERVAL } else { FOREVER };
            }
            next = next.min(known.at);
            known.routes.retain(|(route, end)| {
                let over = *end <= out.now;
                if over {
                    gone.push(route.clone());
                } else {
                    next = next.min(*end);
                }
                !over
            });
        }
        for route in gone {
            stack.routes.remove(&mut |known| *known == route);
        }
        if asks && interface.is_up() {
            let source = self.local_address();
            let option = (!interface.doubts(&source, out.now)).then_some(SOURCE_ADDRESS);
            self.tell((&source, &ALL_ROUTERS), (ROUTER_SOLICITATION, &[0; 4]), option, None, out);
        }
        next.min(stack.expire_addresses(interface, out.now))
    }

    /// A route holds until some time, which may be over.
    fn note(&self, stack: &Stack, route: Route, end: u64, now: u64) {
        let mut known = self.autoconfiguration.0.lock();
        let place = known.routes.iter().position(|(known, _)| *known == route);
        if end <= now {
            if let Some(place) = place {
                known.routes.swap_remove(place);
                stack.routes.remove(&mut |known| *known == route);
            }
        } else if let Some(place) = place {
            known.routes[place].1 = end;
            stack.arm(end);
        } else if known.routes.len() < MOST
            && known.routes.try_reserve(1).is_ok()
            && stack.routes.add(route.clone()).is_ok()
        {
            known.routes.push((route, end));
            stack.arm(end);
        }
    }
}

impl Stack {
    /// Takes addresses of IPv6, routes and servers from routers, or not (`accept_ra`); a link-local address it has whenever it is in use.
    pub fn set_autoconfiguration(&self, index: u32, wanted: bool, out: &mut Outbox) -> Result<()> {
        let interface = self.at(index).ok_or(Error::NoInterface)?;
        let link = interface.link.as_ref().ok_or(Error::Invalid)?;
        link.autoconfiguration.0.lock().wanted = wanted;
        if interface.is_up() {
            link.seek_routers(self, out);
        }
        Ok(())
    }

    /// Removes addresses of IPv6 that are not valid any more. Returns when the next ceases to be.
    fn expire_addresses(&self, interface: &Interface, now: u64) -> u64 {
        loop {
            let old = {
                let addresses = interface.addresses.read();
                let ours = || addresses.iter().filter(|known| !is_v4(&known.address));
                match ours().find(|known| known.valid_until <= now) {
                    Some(old) => old.address,
                    None => return ours().map(|known| known.valid_until).min().unwrap_or(FOREVER),
                }
            };
            // Somebody else may have removed it.
            let _ = self.remove_address(interface.index, &old);
        }
    }
}

/// Takes in what a router tells.
pub(super) fn input(
    stack: &Stack,
    interface: &Interface,
    link: &Link,
    header: &IpHeader,
    message: &[u8],
    out: &mut Outbox,
) {
    let Some(said) = message.get(HEADER..) else { return };
    {
        let mut known = link.autoconfiguration.0.lock();
        if !known.wanted || !header.source.is_unicast_link_local() {
            return;
        }
        known.at = FOREVER;
    }
    let now = out.now;
    let route = |destination, prefix, gateway, metric| Route {
        destination,
        prefix,
        kind: Kind::Unicast,
        interface: interface.index,
        gateway,
        source: None,
        metric,
        origin: Route::BY_ROUTER,
    };
    let lifetime = u16::from_be_bytes([message[6], message[7]]).into();
    link.note(stack, route(ANY, 0, Some(header.source), METRIC), until(now, lifetime), now);
    for (kind, body) in options(said) {
        let word = |at: usize| {
            body.get(at..at + 4)
                .map_or(0, |bytes| u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
        };
        match kind {
            SOURCE_ADDRESS => {
                let Some(hardware) = body.first_chunk() else { continue };
                let told = Word { solicited: false, overrides: true, creates: true };
                let waited = link.neighbours.learn(&header.source, *hardware, told, now);
                link.release(waited, *hardware, out);
            }
            MTU if (LEAST_MTU..=interface.mtu()).contains(&word(2)) => interface.set_mtu_v6(word(2)),
            SERVERS => resolvers(stack, interface, body, until(now, word(2))),
            PREFIX if body.len() == 30 => {
                const ON_LINK: u8 = 0x80;
                const AUTONOMOUS: u8 = 0x40;
                let (length, flags, valid, preferred) = (body[0], body[1], word(2), word(6));
                let Some(Ok(bytes)) = body.get(14..30).map(<[u8; 16]>::try_from) else { continue };
                let prefix = Address::from(bytes);
                if length > 128
                    || prefix.is_unicast_link_local()
                    || prefix.is_multicast()
                    // No router of IPv6 tells of IPv4.
                    || is_v4(&prefix)
                    || preferred > valid
                {
                    continue;
                }
                if flags & ON_LINK != 0 {
                    let others = u128::MAX.checked_shr(length.into()).unwrap_or(0);
                    let network = Address::from_bits(prefix.to_bits() & !others);
                    link.note(stack, route(network, length, None, METRIC_LINK), until(now, valid), now);
                }
                // Half of an address is the card's.
                if flags & AUTONOMOUS != 0 && length == 64 {
                    let address = address_in(&prefix, link.hardware);
                    let lifetimes = (until(now, preferred), until(now, valid));
                    take_address(stack, interface, address, lifetimes, out);
                }
            }
            _ => {}
        }
    }
}

/// A router says that there are addresses with a prefix, until some time (RFC 4862, section 5.5.3).
fn take_address(
    stack: &Stack,
    interface: &Interface,
    address: Address,
    (preferred, valid): (u64, u64),
    out: &mut Outbox,
) {
    let now = out.now;
    {
        let mut addresses = interface.addresses.write();
        if let Some(known) = addresses.iter_mut().find(|known| known.address == address) {
            if known.valid_until != FOREVER || known.from_router {
                let left = known.valid_until.saturating_sub(now);
                known.valid_until = valid.max(now.saturating_add(left.min(LEAST)));
                known.preferred_until = preferred;
                stack.arm(known.valid_until);
            }
            return;
        }
        let many = addresses.iter().filter(|known| known.from_router).count() >= MOST;
        if many || valid <= now {
            return;
        }
    }
    let known = InterfaceAddress {
        preferred_until: preferred,
        valid_until: valid,
        from_router: true,
        ..InterfaceAddress::new(address, 64)
    };
    // Without memory the next advertisement tells again.
    if stack.add_address(interface.index, known, out).is_ok() {
        stack.arm(valid);
    }
}

/// A router tells of name servers.
fn resolvers(stack: &Stack, interface: &Interface, body: &[u8], until: u64) {
    let (addresses, _) = body.get(6..).unwrap_or_default().as_chunks::<16>();
    let mut servers = Vec::new();
    if servers.try_reserve_exact(addresses.len()).is_ok() {
        servers.extend(addresses.iter().map(|bytes| Address::from(*bytes)));
        stack.tell(Event::Resolvers { interface: interface.index, servers, until });
    }
}

impl Interface {
    /// Whether it listens to a group without having been told to.
    pub(crate) fn listens(&self, group: &Address) -> bool {
        self.link.is_some() && matches!(*group, ALL_HOSTS | ALL_NODES)
    }
}
