//! Routes: which interface leads to an address, and which address packets to it come from.

use alloc::vec::Vec;

use isopod_hal::sync::{RwSpinLock, SpinLock};

use crate::address::{Address, any_like, is_any, is_multicast, is_v4, v4};
use crate::error::{Error, Result};

/// All on the link (RFC 919).
pub const BROADCAST: Address = v4(255, 255, 255, 255);

/// What a route leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The link, or a gateway on it.
    Unicast,
    /// This machine.
    Local,
    /// All on the link.
    Broadcast,
}

/// A route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The addresses that it leads to begin as this one,
    pub destination: Address,
    /// with so many bits.
    pub prefix: u8,
    /// What it leads to.
    pub kind: Kind,
    /// By which interface.
    pub interface: u32,
    /// By which gateway.
    pub gateway: Option<Address>,
    /// From which address, if nobody says otherwise.
    pub source: Option<Address>,
    /// Of two routes with the same prefix, the one with less.
    pub metric: u32,
    /// Who made it (`RTPROT_*`).
    pub origin: u8,
}

/// The routes: those to this machine and to all on a link first, as in Linux' table of local ones, then those of the longest prefix.
#[derive(Debug)]
pub struct Routes {
    entries: RwSpinLock<Vec<Entry>>,
    /// What was asked lately: most packets go where others have gone. It is locked behind the entries, and empty after each change of those.
    recent: SpinLock<Recent>,
}

/// Answers, by the address that they are about.
#[derive(Debug)]
struct Recent {
    kinds: [Option<(Address, Kind)>; RECENT],
    /// The way to an address from another, by any interface.
    paths: [Option<(Address, Address, Path)>; RECENT],
}

/// How many of them are kept.
const RECENT: usize = 8;

impl Recent {
    const EMPTY: Self = Self { kinds: [None; RECENT], paths: [None; RECENT] };

    /// Where the answer about an address is, if it is there.
    fn place(address: &Address) -> usize {
        let last = address.octets()[15];
        usize::from(last ^ last >> 3) % RECENT
    }
}

/// A route, and what every packet is compared with.
#[derive(Debug)]
struct Entry {
    route: Route,
    v4: bool,
    /// Those bits of an address that count, and what they are, as they lie in memory.
    mask: u128,
    bits: u128,
}

/// An address that is looked for.
struct Sought {
    v4: bool,
    bits: u128,
}

impl Sought {
    fn new(address: &Address) -> Self {
        Self { v4: is_v4(address), bits: u128::from_ne_bytes(address.octets()) }
    }
}

impl Entry {
    fn new(route: Route) -> Self {
        let mask = !u128::MAX.checked_shr(route.prefix.into()).unwrap_or(0);
        let mask = u128::from_ne_bytes(mask.to_be_bytes());
        let Sought { v4, bits } = Sought::new(&route.destination);
        Self { route, v4, mask, bits: bits & mask }
    }

    fn leads_to(&self, sought: &Sought) -> bool {
        sought.bits & self.mask == self.bits && sought.v4 == self.v4
    }
}

/// Where a packet goes.
#[derive(Clone, Copy, Debug)]
pub struct Path {
    /// What is there.
    pub kind: Kind,
    /// By which interface.
    pub interface: u32,
    /// To which neighbour.
    pub next: Address,
    /// From which address.
    pub source: Address,
}

impl Routes {
    /// None.
    pub(crate) const fn new() -> Self {
        Self { entries: RwSpinLock::new(Vec::new()), recent: SpinLock::new(Recent::EMPTY) }
    }

    /// Adds a route, behind those that are as good. `Exists` if there is one to the same addresses with the same metric.
    pub(crate) fn add(&self, route: Route) -> Result<()> {
        let mut routes = self.entries.write();
        let rank = route.rank();
        let same = |Entry { route: known, .. }: &Entry| {
            known.rank() == rank
                && known.destination == route.destination
                // Several routers may tell that they are one.
                && (route.origin != Route::BY_ROUTER || known.gateway == route.gateway)
        };
        if routes.iter().any(same) {
            return Err(Error::Exists);
        }
        routes.try_reserve(1).map_err(|_| Error::OutOfMemory)?;
        let place = routes.partition_point(|known| known.route.rank() <= rank);
        routes.insert(place, Entry::new(route));
        *self.recent.lock() = Recent::EMPTY;
        Ok(())
    }

    /// Removes those of which `unwanted` says so. Returns how many that were.
    pub(crate) fn remove(&self, unwanted: &mut dyn FnMut(&Route) -> bool) -> usize {
        let mut routes = self.entries.write();
        let before = routes.len();
        routes.retain(|known| !unwanted(&known.route));
        *self.recent.lock() = Recent::EMPTY;
        before - routes.len()
    }

    /// All of them. `OutOfMemory`
    pub fn all(&self) -> Result<Vec<Route>> {
        let routes = self.entries.read();
        let mut all = Vec::new();
        all.try_reserve_exact(routes.len()).map_err(|_| Error::OutOfMemory)?;
        all.extend(routes.iter().map(|known| known.route.clone()));
        Ok(all)
    }

    /// What an address is to this machine: its own, everybody's on a link, or another's.
    pub fn kind_of(&self, address: &Address) -> Kind {
        if *address == BROADCAST {
            return Kind::Broadcast;
        }
        let place = Recent::place(address);
        if let Some((known, kind)) = self.recent.lock().kinds[place]
            && known == *address
        {
            return kind;
        }
        let (routes, sought) = (self.entries.read(), Sought::new(address));
        let mut special = routes.iter().take_while(|known| known.route.kind != Kind::Unicast);
        let found = special.find(|known| known.leads_to(&sought));
        let kind = found.map_or(Kind::Unicast, |known| known.route.kind);
        self.recent.lock().kinds[place] = Some((*address, kind));
        kind
    }

    /// The way to `destination`, by `interface` and from `source` if those are given (0 and any address are not). The source of what nobody has
    /// named one for is any.
    pub(crate) fn find(&self, destination: &Address, source: &Address, interface: u32) -> Result<Path> {
        let place = Recent::place(destination);
        if interface == 0
            && let Some((to, from, path)) = self.recent.lock().paths[place]
            && to == *destination
            && from == *source
        {
            return Ok(path);
        }
        let routes = self.entries.read();
        let path = Self::find_among(&routes, destination, source, interface)?;
        if interface == 0 {
            self.recent.lock().paths[place] = Some((*destination, *source, path));
        }
        Ok(path)
    }

    /// The route to `destination`, by `interface` if that is given.
    pub fn leading_to(&self, destination: &Address, interface: u32) -> Result<Route> {
        Self::among(&self.entries.read(), destination, interface).cloned()
    }

    fn among<'a>(routes: &'a [Entry], destination: &Address, interface: u32) -> Result<&'a Route> {
        let sought = Sought::new(destination);
        let fits = |known: &&Entry| {
            let route = &known.route;
            known.leads_to(&sought)
                && (interface == 0 || interface == route.interface || route.kind == Kind::Local)
        };
        Ok(&routes.iter().find(fits).ok_or(Error::NetworkUnreachable)?.route)
    }

    fn find_among(routes: &[Entry], destination: &Address, source: &Address, interface: u32) -> Result<Path> {
        let route = Self::among(routes, destination, interface)?;
        let own = || match route.kind {
            Kind::Local => *destination,
            _ => any_like(destination),
        };
        let source = if is_any(source) { route.source.unwrap_or_else(own) } else { *source };
        // What is for all on a link does not go to a gateway.
        if *destination == BROADCAST || is_multicast(destination) {
            return Ok(Path { source, ..Path::by_interface(route.interface, destination, &source) });
        }
        let next = route.gateway.unwrap_or(*destination);
        Ok(Path { kind: route.kind, interface: route.interface, next, source })
    }
}

impl Path {
    /// To a group or to everybody, by an interface.
    pub(crate) fn by_interface(interface: u32, destination: &Address, source: &Address) -> Self {
        Self { kind: Kind::Broadcast, interface, next: *destination, source: *source }
    }
}

impl Route {
    /// `RTPROT_KERNEL`
    pub const BY_KERNEL: u8 = 2;

    /// `RTPROT_BOOT`, by who configures the machine
    pub const BY_BOOT: u8 = 3;
    /// `RTPROT_RA`
    pub const BY_ROUTER: u8 = 9;

    /// Where Linux tells of it among the routes of IPv4: those of the table `main` before those of `local`, by their destinations as in its trie
    /// (`fib_table_dump`).
    pub fn place_in_dump(&self) -> (bool, u128, core::cmp::Reverse<u8>, u32) {
        let others = self.kind == Kind::Unicast;
        (!others, self.destination.to_bits(), core::cmp::Reverse(self.prefix), self.metric)
    }

    /// The best has the least.
    fn rank(&self) -> (bool, u8, u32) {
        (self.kind == Kind::Unicast, 128 - self.prefix, self.metric)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(kind: Kind, destination: Address, prefix: u8, interface: u32) -> Route {
        Route { destination, prefix, kind, interface, gateway: None, source: None, metric: 0, origin: 2 }
    }

    #[test]
    fn a_change_outdates_what_was_asked_before() {
        let (routes, to, any) = (Routes::new(), v4(10, 0, 0, 7), v4(0, 0, 0, 0));
        assert_eq!(routes.find(&to, &any, 0).unwrap_err(), Error::NetworkUnreachable);
        routes.add(route(Kind::Unicast, v4(10, 0, 0, 0), 96 + 8, 2)).unwrap();
        for _ in 0..2 {
            assert_eq!(routes.find(&to, &any, 0).unwrap().interface, 2);
            assert_eq!(routes.kind_of(&to), Kind::Unicast);
        }
        routes.add(route(Kind::Local, to, 128, 3)).unwrap();
        for _ in 0..2 {
            assert_eq!(routes.find(&to, &any, 0).unwrap().kind, Kind::Local);
            assert_eq!(routes.kind_of(&to), Kind::Local);
        }
        assert_eq!(routes.remove(&mut |known| known.interface == 3), 1);
        assert_eq!(routes.kind_of(&to), Kind::Unicast);
        assert_eq!(routes.find(&to, &any, 0).unwrap().interface, 2);
    }

    #[test]
    fn addresses_that_share_a_place_are_told_apart() {
        let (routes, any) = (Routes::new(), v4(0, 0, 0, 0));
        routes.add(route(Kind::Unicast, v4(0, 0, 0, 0), 96, 2)).unwrap();
        routes.add(route(Kind::Local, v4(10, 0, 0, 1), 128, 3)).unwrap();
        let all = (0..=255).map(|last| v4(10, 0, 0, last));
        for address in all.clone().chain(all) {
            let local = address == v4(10, 0, 0, 1);
            assert_eq!(routes.kind_of(&address) == Kind::Local, local, "{address}");
            let path = routes.find(&address, &any, 0).unwrap();
            assert_eq!((path.interface, path.next), (if local { 3 } else { 2 }, address));
        }
    }
}
