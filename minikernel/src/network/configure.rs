//! What the manifest says about an interface.

use core::net::IpAddr;
use core::sync::atomic::Ordering;

use isopod_manifest::{InterfaceConfig, Method};
use isopod_net::address::{ANY, ANY_V4, Address, V4_PREFIX, is_v4};
use isopod_net::error::Result;
use isopod_net::interface::{Interface, InterfaceAddress};
use isopod_net::packet::Outbox;
use isopod_net::route::{Kind, Route};
use isopod_net::segments::to_packets;
use isopod_net::stack::Stack;

/// `RTPROT_BOOT`
const BY_BOOT: u8 = 3;
/// The metric of a route of IPv6 that somebody gave without one (`IP6_RT_PRIO_USER`).
const METRIC_V6: u32 = 1024;

/// Takes an interface into use, with the addresses that it is to have or in search of them.
pub fn interface(
    stack: &Stack,
    interface: &Interface,
    config: &InterfaceConfig,
    out: &mut Outbox,
) -> Result<()> {
    if let Some(mtu) = config.mtu {
        interface.mtu.fetch_min(mtu.into(), Ordering::Relaxed);
    }
    stack.set_up(interface.index, true, out)?;
    for method in [config.ipv4, config.ipv6] {
        if let Method::Static { address, prefix, gateway } = method {
            give(stack, interface.index, address, prefix, gateway, out)?;
        }
    }
    if config.ipv4 == Method::Automatic {
        stack.set_dhcp(interface.index, true, out)?;
    }
    stack.set_autoconfiguration(interface.index, config.ipv6 == Method::Automatic, out)
}

fn give(
    stack: &Stack,
    interface: u32,
    address: IpAddr,
    prefix: u8,
    gateway: Option<IpAddr>,
    out: &mut Outbox,
) -> Result<()> {
    let before = if address.is_ipv4() { V4_PREFIX } else { 0 };
    stack.add_address(interface, InterfaceAddress::new(to_packets(address), before + prefix), out)?;
    match gateway {
        Some(gateway) => stack.add_route(default_route(interface, to_packets(gateway))),
        None => Ok(()),
    }
}

/// The route to all that no other leads to.
fn default_route(interface: u32, gateway: Address) -> Route {
    let v4 = is_v4(&gateway);
    Route {
        destination: if v4 { ANY_V4 } else { ANY },
        prefix: if v4 { V4_PREFIX } else { 0 },
        kind: Kind::Unicast,
        interface,
        gateway: Some(gateway),
        source: None,
        metric: if v4 { 0 } else { METRIC_V6 },
        origin: BY_BOOT,
    }
}
