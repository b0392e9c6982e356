//! What the manifest says about an interface.

use core::net::IpAddr;
use core::sync::atomic::Ordering;

use isopod_manifest::{InterfaceConfig, Method};
use isopod_net::address::{ANY, ANY_V4, V4_PREFIX, is_v4, same_prefix};
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
    let prefix = if address.is_ipv4() { V4_PREFIX } else { 0 } + prefix;
    let address = to_packets(address);
    stack.add_address(interface, InterfaceAddress::new(address, prefix), out)?;
    let Some(gateway) = gateway.map(to_packets) else { return Ok(()) };
    let v4 = is_v4(&gateway);
    let route = |destination, prefix, gateway| Route {
        destination,
        prefix,
        kind: Kind::Unicast,
        interface,
        gateway,
        source: None,
        metric: if v4 { 0 } else { METRIC_V6 },
        origin: BY_BOOT,
    };
    // A gateway may lie outside of the network, as with an address that is alone in its own: then it is on the link nevertheless.
    if !same_prefix(&address, &gateway, prefix) && !gateway.is_unicast_link_local() {
        stack.add_route(route(gateway, 128, None))?;
    }
    let (all, prefix) = if v4 { (ANY_V4, V4_PREFIX) } else { (ANY, 0) };
    stack.add_route(route(all, prefix, Some(gateway)))
}
