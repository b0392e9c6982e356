//! UDP (RFC 768), and echoes by ICMP, whose identifiers are ports of their own.

use alloc::sync::Arc;
use core::ops::RangeInclusive;
use core::sync::atomic::Ordering;

use crate::address::{ANY_V4, Address, LOOPBACK, LOOPBACK_V4, SocketAddress, is_any, is_multicast, is_v4};
use crate::chunk::Chunks;
use crate::endpoint::{Endpoint, Names, Switches};
use crate::error::{Error, Result};
use crate::icmp::{self, Unreachable};
use crate::ip;
use crate::packet::{IpHeader, Outbox, Packet, Payload, UdpHeader, protocol};
use crate::ports::Ports;
use crate::route::{Kind, Path};
use crate::stack::Stack;

/// The longest datagram's bytes.
const LENGTH_MAX: usize = 0xffff - UdpHeader::LEN;
/// The same by IPv4, whose header counts.
const LENGTH_MAX_V4: usize = LENGTH_MAX - crate::ip::V4_HEADER;

/// How a message is sent.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// From which address, unless that is any.
    pub source: Address,
    /// By which interface; 0 for whichever leads there.
    pub interface: u32,
    /// The same for groups.
    pub group_interface: u32,
    /// Hop limit.
    pub hop_limit: u8,
    /// The same for groups.
    pub group_hop_limit: u8,
    /// Traffic class.
    pub traffic_class: u8,
    /// What goes to a group that this machine is in comes back to it (`IP_MULTICAST_LOOP`).
    pub loops: bool,
    /// What becomes of messages that are too long for the path (`IP_PMTUDISC_*`).
    pub discovery: u8,
}

/// `IP_PMTUDISC_DONT`: anybody may fragment them.
pub const FRAGMENTED: u8 = 0;
/// `IP_PMTUDISC_WANT`: this machine does, if it has to.
pub const DISCOVERED: u8 = 1;
/// `IP_PMTUDISC_DO`: nobody may.
pub const WHOLE: u8 = 2;
/// `IP_PMTUDISC_PROBE`: nobody may, and what was learned of the path does not count.
pub const PROBED: u8 = 3;
/// `IP_PMTUDISC_OMIT`: as `FRAGMENTED`, and what was learned of the path does not count.
const OMITTED: u8 = 5;

/// Where a datagram goes.
#[derive(Clone, Copy, Debug)]
pub struct Course {
    path: Path,
    /// To whom.
    pub to: SocketAddress,
    /// From which port.
    from: u16,
}

impl Manner {
    /// Whether a packet goes as it is, in fragments, or not at all (`ip_sk_ignore_df`, `ip_sk_use_pmtu`), and whether others may fragment it.
    fn is_whole(
        &self,
        stack: &Stack,
        path: &Path,
        to: &Address,
        length: usize,
    ) -> core::result::Result<bool, u32> {
        let known = if self.discovery < PROBED { stack.mtu_to(to) } else { None };
        let mtu = known.or_else(|| Some(stack.at(path.interface)?.mtu_to(to))).unwrap_or(u32::MAX);
        let fits = path.kind == Kind::Local || length <= mtu as usize;
        if !fits && !matches!(self.discovery, FRAGMENTED | DISCOVERED | OMITTED) {
            return Err(mtu);
        }
        Ok(matches!(self.discovery, WHOLE | PROBED) || self.discovery == DISCOVERED && fits)
    }
}

/// The address that is meant by one: any is this machine.
pub(crate) fn meant(address: &Address, local: &Address) -> Address {
    match *address {
        ANY_V4 => LOOPBACK_V4,
        _ if is_any(address) && is_v4(local) && *local != ANY_V4 => LOOPBACK_V4,
        _ if is_any(address) => LOOPBACK,
        address => address,
    }
}

impl Stack {
    /// Where endpoints of the same protocol have their ports.
    pub(crate) fn ports(&self, endpoint: &Endpoint) -> &Ports {
        match (&endpoint.raw, endpoint.protocol) {
            (Some(_), _) => &self.raws,
            (None, protocol::UDP) => &self.udp,
            _ => &self.pings,
        }
    }

    /// The way from an endpoint to an address.
    pub(crate) fn way(&self, endpoint: &Endpoint, to: &Address, how: &Manner, now: u64) -> Result<Path> {
        let mut interface =
            if how.interface != 0 { how.interface } else { endpoint.interface.load(Ordering::Relaxed) };
        if interface == 0 && is_multicast(to) {
            interface = how.group_interface;
        }
        let path = self.route(to, &how.source, interface, now)?;
        // Nobody answers what seems to come from elsewhere.
        if !is_any(&how.source) && self.routes.kind_of(&how.source) != Kind::Local {
            return Err(Error::NetworkUnreachable);
        }
        if path.kind == Kind::Broadcast
            && is_v4(to)
            && !is_multicast(to)
            && !endpoint.has(Switches::BROADCAST)
        {
            return Err(Error::Forbidden);
        }
        Ok(path)
    }

    /// Gives an endpoint an address and a port, or with 0 one of `automatic`. `Invalid` if it has one.
    pub fn bind(
        &self,
        endpoint: &Arc<Endpoint>,
        to: SocketAddress,
        automatic: RangeInclusive<u16>,
    ) -> Result<()> {
        let mut names = endpoint.lock_names();
        if names.local.port != 0 {
            return Err(Error::Invalid);
        }
        let ports = self.ports(endpoint);
        ports.bind(endpoint, &mut names, (to.address, to.port), (automatic, (self.random)()))?;
        self.mend_source(&mut names);
        Ok(())
    }

    /// Nothing is sent from an address that stands for many.
    pub(crate) fn mend_source(&self, names: &mut Names) {
        let source = &names.source;
        if is_multicast(source) || !is_any(source) && self.routes.kind_of(source) == Kind::Broadcast {
            names.send_from_any();
        }
    }

    /// Gives it a port if it has none.
    pub fn bind_to_any(&self, endpoint: &Arc<Endpoint>, automatic: RangeInclusive<u16>) -> Result<()> {
        let mut names = endpoint.lock_names();
        if names.local.port != 0 {
            return Ok(());
        }
        let address = names.local.address;
        self.ports(endpoint)
            .bind(endpoint, &mut names, (address, 0), (automatic, (self.random)()))
            .map_err(|_| Error::NoPort)
    }

    /// Connects an endpoint that has a port: it receives only from there.
    pub fn connect(&self, endpoint: &Arc<Endpoint>, to: SocketAddress, how: &Manner, now: u64) -> Result<()> {
        let mut names = endpoint.lock_names();
        let address = meant(&to.address, &names.local.address);
        let how = Manner { source: names.source, ..*how };
        let path = self.way(endpoint, &address, &how, now)?;
        if is_any(&names.source) {
            names.source = path.source;
        }
        if is_any(&names.local.address) {
            names.local.address = path.source;
        }
        let port = if endpoint.is_udp() { to.port } else { 0 };
        names.peer = Some(SocketAddress { address, port });
        self.ports(endpoint).update(endpoint, &names);
        Ok(())
    }

    /// It is connected to nobody any more, and loses what it got by that.
    pub fn disconnect(&self, endpoint: &Arc<Endpoint>) {
        let mut names = endpoint.lock_names();
        if names.disconnect() {
            self.ports(endpoint).remove(endpoint, &names);
            names.local.port = 0;
        } else {
            self.ports(endpoint).update(endpoint, &names);
        }
    }

    /// Sends a datagram, to its peer if not `to` somebody.
    pub fn send(
        &self,
        endpoint: &Arc<Endpoint>,
        to: Option<SocketAddress>,
        how: &Manner,
        data: Chunks,
        out: &mut Outbox,
    ) -> Result<()> {
        let course = self.course(endpoint, to, how, out.now)?;
        self.send_along(endpoint, &course, how, data, out)
    }

    /// Where a datagram goes, to the peer if not `to` somebody. What happened to others is told first.
    pub fn course(
        &self,
        endpoint: &Endpoint,
        to: Option<SocketAddress>,
        how: &Manner,
        now: u64,
    ) -> Result<Course> {
        let names = endpoint.names();
        let to = to.or(names.peer).ok_or(Error::NoDestination)?;
        let address = meant(&to.address, &names.source);
        let source = if is_any(&how.source) { names.source } else { how.source };
        let path = self.way(endpoint, &address, &Manner { source, ..*how }, now)?;
        endpoint.check_sending()?;
        Ok(Course { path, to: SocketAddress { address, port: to.port }, from: names.local.port })
    }

    /// The header of a datagram of so many bytes. `TooLong` if there is none.
    pub fn header_along(
        &self,
        endpoint: &Endpoint,
        course: &Course,
        how: &Manner,
        length: usize,
    ) -> Result<IpHeader> {
        let v4 = is_v4(&course.to.address);
        if length > if v4 { LENGTH_MAX_V4 } else { LENGTH_MAX } {
            return Err(Error::TooLong);
        }
        let whole = length + UdpHeader::LEN + if v4 { ip::V4_HEADER } else { ip::V6_HEADER };
        self.header_to(endpoint, &course.path, &course.to, how, whole)
    }

    /// Sends a datagram where one goes.
    pub fn send_along(
        &self,
        endpoint: &Endpoint,
        course: &Course,
        how: &Manner,
        data: Chunks,
        out: &mut Outbox,
    ) -> Result<()> {
        let header = self.header_along(endpoint, course, how, data.len())?;
        let (source, destination) = (course.from, course.to.port);
        let payload = match endpoint.protocol {
            protocol::UDP => Payload::Udp(UdpHeader { source, destination }, data),
            protocol => Payload::Other(protocol, icmp::echo(&header, source, &data)?),
        };
        self.output(&course.path, Packet { header, payload }, out)
    }

    /// The header of a packet of `length` bytes to somebody. `TooLong` if the path does not take it.
    pub(crate) fn header_to(
        &self,
        endpoint: &Endpoint,
        path: &Path,
        to: &SocketAddress,
        how: &Manner,
        length: usize,
    ) -> Result<IpHeader> {
        let address = to.address;
        let whole = how.is_whole(self, path, &address, length).map_err(|mtu| {
            endpoint.tell_too_long(*to, mtu, path.source);
            Error::TooLong
        })?;
        let hop_limit = if is_multicast(&address) { how.group_hop_limit } else { how.hop_limit };
        Ok(IpHeader {
            traffic_class: how.traffic_class,
            whole,
            interface: path.interface,
            alone: !how.loops,
            ..IpHeader::new(path.source, address, hop_limit)
        })
    }

    /// Nothing reaches an endpoint any more.
    pub fn close(&self, endpoint: &Arc<Endpoint>, out: &mut Outbox) {
        let mut names = endpoint.lock_names();
        if names.local.port != 0 {
            self.ports(endpoint).remove(endpoint, &names);
            names.local.port = 0;
        }
        drop(names);
        for (group, interface) in endpoint.close() {
            self.leave_group(&group, interface, out);
        }
    }
}

/// Takes in a datagram.
pub(crate) fn input(stack: &Stack, packet: Packet, out: &mut Outbox) {
    let Packet { header, payload: Payload::Udp(ports, data) } = packet else { return };
    let from = SocketAddress { address: header.source, port: ports.source };
    let to = SocketAddress { address: header.destination, port: ports.destination };
    let ports_seen = (ports.source, ports.destination);
    if stack.receive_dhcp(&header, ports, &data, out) {
        return;
    }
    if is_multicast(&to.address) || stack.routes.kind_of(&to.address) == Kind::Broadcast {
        let delivered = stack.udp.for_group(&from, &to, header.interface, &mut |endpoint| {
            let wanted = !is_multicast(&to.address) || endpoint.is_member(&to.address, header.interface);
            if wanted && let Ok(copy) = data.try_clone() {
                endpoint.deliver(&header, ports_seen, copy, out.now);
            }
        });
        // Without memory it is lost.
        return delivered.unwrap_or(());
    }
    let hash = u64::from(from.port) ^ (from.address.to_bits() as u64).rotate_left(16);
    let hash = hash.wrapping_mul(stack.secret) >> 32;
    let Some(endpoint) = stack.udp.find(&from, &to, header.interface, hash) else {
        stack.counters.udp_refused.fetch_add(1, Ordering::Relaxed);
        let packet = Packet { header, payload: Payload::Udp(ports, data) };
        return icmp::refuse(stack, &packet, Unreachable::Port, out);
    };
    let delivered = endpoint.deliver(&header, ports_seen, data, out.now);
    let counters = &stack.counters;
    let counter = if delivered { &counters.udp_received } else { &counters.udp_dropped };
    counter.fetch_add(1, Ordering::Relaxed);
}

#[cfg(test)]
mod tests;
