//! Configuration: interfaces, their addresses and the routes that follow from these, as Linux makes them.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use crate::address::{Address, LOOPBACK, LOOPBACK_V4, V4_PREFIX, any_like, is_v4, v4};
use crate::error::{Error, Result};
use crate::interface::{Interface, InterfaceAddress, LOOPBACK_INDEX};
use crate::link::ndp;
use crate::link::port::Port;
use crate::packet::Outbox;
use crate::route::{Kind, Route};
use crate::stack::Stack;

/// The metric of routes of IPv6 to the networks of its addresses (`IP6_RT_PRIO_ADDRCONF`).
const METRIC_NETWORK_V6: u32 = 256;

impl Stack {
    /// The routes of the loopback interface.
    pub(crate) fn begin_loopback(&self) {
        let to = |destination, prefix, kind, source| Route {
            destination,
            prefix,
            kind,
            interface: LOOPBACK_INDEX,
            gateway: None,
            source: Some(source),
            metric: 0,
            origin: Route::BY_KERNEL,
        };
        let routes = [
            to(LOOPBACK_V4, 128, Kind::Local, LOOPBACK_V4),
            to(v4(127, 255, 255, 255), 128, Kind::Broadcast, LOOPBACK_V4),
            to(LOOPBACK, 128, Kind::Local, LOOPBACK),
            to(v4(127, 0, 0, 0), V4_PREFIX + 8, Kind::Local, LOOPBACK_V4),
        ];
        for route in routes {
            // Where memory is short at the start nothing else works, either.
            let _ = self.routes.add(route);
        }
    }

    /// Adds an interface with a card behind it. It is not in use before [`set_up`](Self::set_up).
    pub fn add_interface(&self, name: &str, port: Arc<dyn Port>) -> Result<Arc<Interface>> {
        for (place, free) in self.interfaces.iter().enumerate() {
            match free.get() {
                Some(known) if &*known.name == name => return Err(Error::Exists),
                Some(_) => {}
                None => {
                    let index = place as u32 + LOOPBACK_INDEX;
                    let interface = Interface::of_port((index, name), port, self.random, &self.watchers);
                    // Cards are added one after the other.
                    free.set(Arc::clone(&interface)).map_err(|_| Error::Exists)?;
                    return Ok(interface);
                }
            }
        }
        Err(Error::OutOfMemory)
    }

    /// Takes an interface into use, or out of it: then the routes by it are gone, and its addresses of IPv6.
    pub fn set_up(&self, index: u32, up: bool, out: &mut Outbox) -> Result<()> {
        let interface = self.interface(index).ok_or(Error::NoInterface)?;
        if interface.up.swap(up, Ordering::Relaxed) == up {
            return Ok(());
        }
        if !up {
            self.routes.remove(&mut |route| route.interface == index);
            for known in interface.addresses()?.iter().filter(|known| !is_v4(&known.address)) {
                // Somebody else may have removed it.
                let _ = self.remove_address(index, &known.address);
            }
            return Ok(());
        }
        for known in interface.addresses()? {
            self.enter(&interface, &known, out)?;
        }
        if let Some(link) = &interface.link {
            let local = InterfaceAddress::new(link.local_address(), 64);
            match self.add_address(index, local, out) {
                Ok(()) | Err(Error::Exists) => {}
                Err(error) => return Err(error),
            }
            link.seek_routers(self, out);
        }
        Ok(())
    }

    /// Sets the longest packet of an interface. `Invalid` if its card does not take as much.
    pub fn set_mtu(&self, index: u32, mtu: u32) -> Result<()> {
        let interface = self.at(index).ok_or(Error::NoInterface)?;
        if interface.link.as_ref().is_some_and(|link| mtu > link.port.mtu()) {
            return Err(Error::Invalid);
        }
        interface.mtu.store(mtu, Ordering::Relaxed);
        Ok(())
    }

    /// Gives an interface an address, and makes the routes that follow from it. `Exists` if it has it.
    pub fn add_address(&self, index: u32, address: InterfaceAddress, out: &mut Outbox) -> Result<()> {
        let interface = self.interface(index).ok_or(Error::NoInterface)?;
        check_prefix(&address.address, address.prefix)?;
        {
            let mut addresses = interface.addresses.write();
            if addresses
                .iter()
                .any(|known| known.address == address.address && known.prefix == address.prefix)
            {
                return Err(Error::Exists);
            }
            addresses.try_reserve(1).map_err(|_| Error::OutOfMemory)?;
            addresses.push(address);
        }
        if interface.is_up() { self.enter(&interface, &address, out) } else { Ok(()) }
    }

    /// Has an address that an interface has be good for as long as `address` says. `AddressNotAvailable` if it does not have it.
    pub fn prolong_address(&self, index: u32, address: &InterfaceAddress) -> Result<()> {
        let interface = self.interface(index).ok_or(Error::NoInterface)?;
        let mut addresses = interface.addresses.write();
        let known = addresses
            .iter_mut()
            .find(|known| known.address == address.address && known.prefix == address.prefix)
            .ok_or(Error::AddressNotAvailable)?;
        (known.preferred_until, known.valid_until) = (address.preferred_until, address.valid_until);
        Ok(())
    }

    /// Takes an address from an interface, and the routes that followed from it. `AddressNotAvailable` if it does not have it.
    pub fn remove_address(&self, index: u32, address: &Address) -> Result<()> {
        let interface = self.interface(index).ok_or(Error::NoInterface)?;
        let mut addresses = interface.addresses.write();
        let place = addresses.iter().position(|known| known.address == *address);
        let known = addresses.remove(place.ok_or(Error::AddressNotAvailable)?);
        let (still, network) =
            (addresses.iter().any(|other| other.address == *address), route_to_network(index, &known));
        let shared =
            addresses.iter().any(|other| route_to_network(index, other).destination == network.destination);
        drop(addresses);
        if !is_v4(address) && !still {
            // Routers find out when they ask.
            self.groups.leave(&ndp::solicited_node(address), index);
        }
        self.routes.remove(&mut |route| {
            let of_address = route.origin == Route::BY_KERNEL
                && route.interface == index
                && route.source == Some(*address);
            (of_address || route.interface == index && route.source == Some(*address)) && !still
                || *route == network && !shared
        });
        Ok(())
    }

    /// Adds a route. `Exists` if there is one like it.
    pub fn add_route(&self, route: Route) -> Result<()> {
        let interface = self.interface(route.interface).ok_or(Error::NoInterface)?;
        check_prefix(&route.destination, route.prefix)?;
        if !interface.is_up() {
            return Err(Error::NetworkDown);
        }
        // A gateway is reached without another.
        if let Some(gateway) = &route.gateway {
            let way = self.routes.find(gateway, &any_like(gateway), route.interface);
            let near = way.is_ok_and(|way| way.kind == Kind::Unicast && way.next == *gateway);
            if !near && !gateway.is_unicast_link_local() {
                return Err(Error::NetworkUnreachable);
            }
        }
        self.routes.add(route)
    }

    /// Removes the first route that is this one as far as both say. `NoRoute` if there is none.
    pub fn remove_route(&self, route: &Route) -> Result<()> {
        let mut left = 1;
        let removed = self.routes.remove(&mut |known| {
            let same = known.destination == route.destination
                && known.prefix == route.prefix
                && known.kind == route.kind
                && (route.interface == 0 || known.interface == route.interface)
                && (route.gateway.is_none() || known.gateway == route.gateway)
                && (route.metric == 0 || known.metric == route.metric);
            let removes = same && left > 0;
            left -= u32::from(removes);
            removes
        });
        if removed == 0 { Err(Error::NoRoute) } else { Ok(()) }
    }

    /// An address of an interface that is in use comes to life.
    fn enter(&self, interface: &Interface, known: &InterfaceAddress, out: &mut Outbox) -> Result<()> {
        let address = known.address;
        let here = |destination, kind| Route {
            destination,
            prefix: 128,
            kind,
            interface: interface.index,
            gateway: None,
            source: Some(address),
            metric: 0,
            origin: Route::BY_KERNEL,
        };
        let mut routes = [Some(here(address, Kind::Local)), None, None];
        // What a router said tells by itself what is on the link.
        if known.prefix < 128 && !known.from_router {
            routes[1] = Some(route_to_network(interface.index, known));
        }
        routes[2] = known.broadcast().map(|all| here(all, Kind::Broadcast));
        for route in routes.into_iter().flatten() {
            match self.routes.add(route) {
                // Of several addresses of a network the first is used.
                Ok(()) | Err(Error::Exists) => {}
                Err(error) => return Err(error),
            }
        }
        if let Some(link) = &interface.link {
            link.enter(self, interface, &address, out);
        }
        Ok(())
    }
}

/// No address has more bits, and all of those before one of IPv4 count.
fn check_prefix(address: &Address, prefix: u8) -> Result<()> {
    let least = if is_v4(address) { V4_PREFIX } else { 0 };
    if (least..=128).contains(&prefix) { Ok(()) } else { Err(Error::Invalid) }
}

/// The route to the network of an address.
fn route_to_network(interface: u32, known: &InterfaceAddress) -> Route {
    let others = u128::MAX.checked_shr(known.prefix.into()).unwrap_or(0);
    let v4 = is_v4(&known.address);
    Route {
        destination: Address::from_bits(known.address.to_bits() & !others),
        prefix: known.prefix,
        // All of them are this machine, by its loopback interface (`fib_add_ifaddr`).
        kind: if v4 && interface == LOOPBACK_INDEX { Kind::Local } else { Kind::Unicast },
        interface,
        gateway: None,
        source: v4.then_some(known.address),
        metric: if v4 { 0 } else { METRIC_NETWORK_V6 },
        origin: Route::BY_KERNEL,
    }
}
