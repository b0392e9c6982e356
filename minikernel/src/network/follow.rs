//! What the network tells while the machine runs: leases, and the name servers that routers name.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use isopod_fs::Inode;
use isopod_hal::clock;
use isopod_linux::sched;
use isopod_linux::socket::inet::{configuring, stack, with_stack};
use isopod_manifest::Network;
use isopod_net::address::{ANY_V4, Address, V4_PREFIX, same_prefix};
use isopod_net::dhcp::Lease;
use isopod_net::event::Event;
use isopod_net::interface::InterfaceAddress;
use isopod_net::packet::Outbox;
use isopod_net::route::{Kind, Route};
use isopod_net::stack::Stack;

use super::files;

/// So long, in nanoseconds, a first lease is waited for by those who need it.
const PATIENCE: u64 = 10_000_000_000;
/// `RTPROT_DHCP`
const BY_DHCP: u8 = 16;

/// What is known of an interface.
struct Known {
    interface: u32,
    lease: Option<Box<Lease>>,
    /// The name servers that its routers name, and until when.
    resolvers: (Vec<Address>, u64),
}

/// Follows the network for good. The name servers that it tells of are written to `file`.
pub async fn follow(network: Network, file: Option<Arc<dyn Inode>>) {
    super::begin_late().await;
    let stack = stack();
    let mut all: Vec<Known> = Vec::new();
    let patience = clock::monotonic_ns() + PATIENCE;
    let mut first = true;
    loop {
        let next = stack.happened.until(|| stack.next_event());
        let limit = if first { patience } else { u64::MAX };
        let event = sched::timeout_at(limit, next).await;
        if let Some(event) = event {
            let changed = with_stack(|stack, out| take(stack, &mut all, event, out));
            if let Some(file) = file.as_ref().filter(|_| changed) {
                files::fill(file, &resolvers(&all, &network)).await;
            }
        }
        if first && (!stack.is_configuring() || clock::monotonic_ns() >= patience) {
            first = false;
            configuring::end();
        }
    }
}

/// Does what an event asks for. True if there may be other name servers now.
fn take(stack: &Stack, all: &mut Vec<Known>, event: Event, out: &mut Outbox) -> bool {
    let interface = match &event {
        Event::Lease { interface, .. } | Event::Resolvers { interface, .. } => *interface,
        Event::Duplicate { .. } => return false,
    };
    let place = all.iter().position(|known| known.interface == interface).unwrap_or_else(|| {
        all.push(Known { interface, lease: None, resolvers: (Vec::new(), 0) });
        all.len() - 1
    });
    let known = &mut all[place];
    match event {
        Event::Lease { lease, .. } => {
            let before = core::mem::replace(&mut known.lease, lease);
            let (old, new) = (before.as_deref(), known.lease.as_deref());
            apply(stack, interface, old, new, out);
            let servers =
                |lease: Option<&Lease>| lease.map(|lease| (lease.dns.clone(), lease.search.clone()));
            servers(old) != servers(new)
        }
        Event::Resolvers { servers, until, .. } => {
            let before = core::mem::replace(&mut known.resolvers, (servers, until));
            before.0 != known.resolvers.0
        }
        Event::Duplicate { .. } => false,
    }
}

/// Gives an interface what a lease says, in place of what the one before said. What cannot be given for lack of memory is given when the lease is renewed.
fn apply(stack: &Stack, interface: u32, old: Option<&Lease>, new: Option<&Lease>, out: &mut Outbox) {
    let wanted = new.map(|new| routes(interface, new)).unwrap_or_default();
    if let Some(old) = old {
        for route in routes(interface, old).iter().filter(|route| !wanted.contains(route)) {
            let _ = stack.remove_route(route);
        }
        if new.is_none_or(|new| (new.address, new.prefix) != (old.address, old.prefix)) {
            let _ = stack.remove_address(interface, &old.address);
        }
    }
    let Some(new) = new else { return };
    let address = InterfaceAddress {
        preferred_until: new.until,
        valid_until: new.until,
        ..InterfaceAddress::new(new.address, new.prefix)
    };
    // One that it has is there for longer, and all the while.
    if stack.prolong_address(interface, &address).is_err() {
        let _ = stack.add_address(interface, address, out);
    }
    if let (Some(mtu), Some(interface)) = (new.mtu, stack.interface(interface)) {
        interface.mtu.fetch_min(mtu.into(), Ordering::Relaxed);
    }
    for route in wanted {
        let _ = stack.add_route(route);
    }
}

/// The routes that a lease tells of.
fn routes(interface: u32, lease: &Lease) -> Vec<Route> {
    let source = Some(lease.address);
    let to = |destination, prefix, gateway| Route {
        destination,
        prefix,
        kind: Kind::Unicast,
        interface,
        gateway,
        source,
        metric: 0,
        origin: BY_DHCP,
    };
    if lease.routes.is_empty() {
        let Some(router) = lease.routers.first() else { return Vec::new() };
        // A router outside of the network is on the link nevertheless: some clouds give each machine a network of its own.
        let far = !same_prefix(&lease.address, router, lease.prefix);
        let link = far.then(|| to(*router, 128, None));
        return link.into_iter().chain([to(ANY_V4, V4_PREFIX, Some(*router))]).collect();
    }
    // What is on the link comes first: a gateway may be there.
    let on_link = lease.routes.iter().filter(|(_, _, gateway)| gateway.is_none());
    let beyond = lease.routes.iter().filter(|(_, _, gateway)| gateway.is_some());
    on_link.chain(beyond).map(|&(destination, prefix, gateway)| to(destination, prefix, gateway)).collect()
}

/// What is to be said of name servers.
fn resolvers(all: &[Known], network: &Network) -> String {
    let now = clock::monotonic_ns();
    let leases = || all.iter().filter_map(|known| known.lease.as_deref());
    let of_routers = all.iter().filter(|known| known.resolvers.1 > now).flat_map(|known| &known.resolvers.0);
    let mut servers = leases().flat_map(|lease| &lease.dns).chain(of_routers).map(Address::to_canonical);
    let found = leases().flat_map(|lease| &lease.search).filter(|_| network.search.is_empty());
    files::resolvers(&mut servers, &mut network.search.iter().chain(found).map(String::as_str))
}
