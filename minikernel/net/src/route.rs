//! Routes: which interface leads to an address, and which address packets to it come from.

use alloc::vec::Vec;

use isopod_hal::sync::RwSpinLock;

use crate::address::{Address, any_like, is_any, is_multicast, is_v4, same_prefix, v4};
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
pub struct Routes(RwSpinLock<Vec<Route>>);

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
        let same = |known: &Route| {
            known.rank() == rank
                && known.destination == route.destination
                // Several routers may tell that they are one.
                && (route.origin != Route::BY_ROUTER || known.gateway == route.gateway)
        };
        if routes.iter().any(same) {
            return Err(Error::Exists);
        }
        routes.try_reserve(1).map_err(|_| Error::OutOfMemory)?;
        let place = routes.partition_point(|known| known.rank() <= rank);
        routes.insert(place, route);
        Ok(())
    }

    /// Removes those of which `unwanted` says so. Returns how many that were.
    pub(crate) fn remove(&self, unwanted: &mut dyn FnMut(&Route) -> bool) -> usize {
        let mut routes = self.0.write();
        let before = routes.len();
        routes.retain(|route| !unwanted(route));
        before - routes.len()
    }

    /// All of them. `OutOfMemory`
    pub fn all(&self) -> Result<Vec<Route>> {
        let routes = self.0.read();
        let mut all = Vec::new();
        all.try_reserve_exact(routes.len()).map_err(|_| Error::OutOfMemory)?;
        all.extend(routes.iter().cloned());
        Ok(all)
    }

    /// What an address is to this machine: its own, everybody's on a link, or another's.
    pub fn kind_of(&self, address: &Address) -> Kind {
        if *address == BROADCAST {
            return Kind::Broadcast;
        }
        let routes = self.0.read();
        let special = routes.iter().take_while(|route| route.kind != Kind::Unicast);
        special.into_iter().find(|route| route.leads_to(address)).map_or(Kind::Unicast, |route| route.kind)
    }

    /// The way to `destination`, by `interface` and from `source` if those are given (0 and any address are not). The source of what nobody has
    /// named one for is any.
    pub(crate) fn find(&self, destination: &Address, source: &Address, interface: u32) -> Result<Path> {
        let routes = self.0.read();
        let fits = |route: &&Route| {
            route.leads_to(destination)
                && (interface == 0 || interface == route.interface || route.kind == Kind::Local)
        };
        let route = routes.iter().find(fits).ok_or(Error::NetworkUnreachable)?;
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

    fn leads_to(&self, address: &Address) -> bool {
        is_v4(address) == is_v4(&self.destination) && same_prefix(&self.destination, address, self.prefix)
    }
}
