//! Routes: which interface leads to an address, and which address packets to it come from.

use alloc::vec::Vec;

use isopod_hal::sync::RwSpinLock;

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
pub struct Routes(RwSpinLock<Vec<Entry>>);

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
        Self(RwSpinLock::new(Vec::new()))
    }

    /// Adds a route, behind those that are as good. `Exists` if there is one to the same addresses with the same metric.
    pub(crate) fn add(&self, route: Route) -> Result<()> {
        let mut routes = self.0.write();
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
        Ok(())
    }

    /// Removes those of which `unwanted` says so. Returns how many that were.
    pub(crate) fn remove(&self, unwanted: &mut dyn FnMut(&Route) -> bool) -> usize {
        let mut routes = self.0.write();
        let before = routes.len();
        routes.retain(|known| !unwanted(&known.route));
        before - routes.len()
    }

    /// All of them. `OutOfMemory`
    pub fn all(&self) -> Result<Vec<Route>> {
        let routes = self.0.read();
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
        let (routes, sought) = (self.0.read(), Sought::new(address));
        let mut special = routes.iter().take_while(|known| known.route.kind != Kind::Unicast);
        special.find(|known| known.leads_to(&sought)).map_or(Kind::Unicast, |known| known.route.kind)
    }

    /// The way to `destination`, by `interface` and from `source` if those are given (0 and any address are not). The source of what nobody has
    /// named one for is any.
    pub(crate) fn find(&self, destination: &Address, source: &Address, interface: u32) -> Result<Path> {
        let (routes, sought) = (self.0.read(), Sought::new(destination));
        let fits = |known: &&Entry| {
            let route = &known.route;
            known.leads_to(&sought)
                && (interface == 0 || interface == route.interface || route.kind == Kind::Local)
        };
        let route = &routes.iter().find(fits).ok_or(Error::NetworkUnreachable)?.route;
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

    /// The best has the least.
    fn rank(&self) -> (bool, u8, u32) {
        (self.kind == Kind::Unicast, 128 - self.prefix, self.metric)
    }
}
