//! The client of DHCP (RFC 2131).
//!
//! It takes no part in what comes of a lease: that is an [event](crate::event::Event), and whoever configures the machine gives the interface its
//! address, its routes and what else was told. Nothing waits for it.

mod client;
mod message;
mod names;

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use isopod_hal::sync::SpinLock;

use crate::address::{ANY_V4, Address, is_v4};
use crate::chunk::{Chunk, Chunks};
use crate::error::{Error, Result};
use crate::event::Event;
use crate::icmp;
use crate::interface::{FOREVER, Interface};
use crate::link::Link;
use crate::packet::{IpHeader, Outbox, Packet, Payload, UdpHeader};
use crate::route::{BROADCAST, Path};
use crate::stack::{HOP_LIMIT, Stack};
use client::{Asks, Change, Client};

/// The ports of clients and servers.
pub(crate) const CLIENT_PORT: u16 = 68;
/// See [`CLIENT_PORT`].
const SERVER_PORT: u16 = 67;

/// What is under way on an interface.
#[derive(Debug)]
pub(crate) struct Dhcp(SpinLock<Option<Box<Client>>>);

/// What a server has given (RFC 2132). Names are as the server wrote them, without a dot at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The address.
    pub address: Address,
    /// Its network's bits, with those before an address of IPv4.
    pub prefix: u8,
    /// The server.
    pub server: Address,
    /// Routers, the best first.
    pub routers: Vec<Address>,
    /// Networks, their bits as above, and the routers to them (RFC 3442): if there are any, the routers count no more. One without a router is on the link.
    pub routes: Vec<(Address, u8, Option<Address>)>,
    /// Name servers.
    pub dns: Vec<Address>,
    /// Where names are looked for (RFC 3397); the domain, if nothing else was said.
    pub search: Vec<String>,
    /// The machine's domain.
    pub domain: Option<String>,
    /// The machine's name.
    pub hostname: Option<String>,
    /// The longest packet.
    pub mtu: Option<u16>,
    /// Until when it holds, in nanoseconds of the monotonic clock.
    pub until: u64,
}

impl Dhcp {
    pub const fn new() -> Self {
        Self(SpinLock::new(None))
    }

    /// Whether answers of servers are awaited.
    pub fn is_active(&self) -> bool {
        self.0.lock().is_some()
    }

    /// The link has come.
    pub fn link_came(&self, stack: &Stack, now: u64) {
        if let Some(client) = &mut *self.0.lock() {
            client.link_came(now);
            stack.arm(now);
        }
    }
}

impl Stack {
    /// Looks for a DHCP server by an interface, or gives up; what comes of it are [events](Event).
    pub fn set_dhcp(&self, index: u32, wanted: bool, out: &mut Outbox) -> Result<()> {
        let interface = self.at(index).ok_or(Error::NoInterface)?;
        let link = interface.link.as_ref().ok_or(Error::Invalid)?;
        let client = wanted.then(|| Box::new(Client::new(out.now)));
        let before = core::mem::replace(&mut *link.dhcp.0.lock(), client);
        if before.is_some_and(|client| client.has_lease()) {
            self.tell(Event::Lease { interface: index, lease: None });
        }
        self.arm(out.now);
        Ok(())
    }

    /// Whether a first answer of a DHCP server is still awaited: who finds no route may wait for it.
    pub fn is_configuring(&self) -> bool {
        let awaits = |link: &Link| link.dhcp.0.lock().as_ref().is_some_and(|client| client.fresh);
        self.all().any(|interface| interface.is_up() && interface.link.as_ref().is_some_and(awaits))
    }

    /// Does what is due for an interface's client. Returns when the next is.
    pub(crate) fn expire_dhcp(&self, interface: &Interface, link: &Link, out: &mut Outbox) -> u64 {
        let ((asks, change), at) = {
            let mut client = link.dhcp.0.lock();
            let Some(client) = &mut *client else { return FOREVER };
            if !interface.is_up() || !link.port.is_up() {
                // It goes on when the link comes.
                return FOREVER;
            }
            (client.expire(link.port.hardware_address(), out.now, (self.random)()), client.at)
        };
        self.changed(interface, change);
        if let Some(asks) = asks {
            self.ask(interface, link, asks, out);
        }
        at
    }

    fn ask(&self, interface: &Interface, link: &Link, (question, server): Asks, out: &mut Outbox) {
        // Without memory it is asked again later.
        let Some(bytes) = question.emit() else { return };
        let source = if server.is_some() { question.own } else { ANY_V4 };
        let destination = server.unwrap_or(BROADCAST);
        let header = IpHeader {
            whole: false,
            interface: interface.index,
            ..IpHeader::new(source, destination, HOP_LIMIT)
        };
        let ports = UdpHeader { source: CLIENT_PORT, destination: SERVER_PORT };
        let mut packet = Packet { header, payload: Payload::Udp(ports, Chunks::from(Chunk::from(bytes))) };
        let path = match server {
            Some(server) => self.route(&server, &source, interface.index, out.now),
            None => Ok(Path::by_interface(interface.index, &destination, &source)),
        };
        if let Ok(path) = path {
            link.transmit(self, interface, &mut packet, &path, out);
        }
    }

    /// Takes in what may be an answer; false if nobody awaits one.
    pub(crate) fn receive_dhcp(
        &self,
        header: &IpHeader,
        ports: UdpHeader,
        data: &Chunks,
        out: &Outbox,
    ) -> bool {
        let Some(interface) = self.at(header.interface) else { return false };
        let Some(link) = &interface.link else { return false };
        if ports.destination != CLIENT_PORT || !is_v4(&header.source) || !link.dhcp.is_active() {
            return false;
        }
        let Some(bytes) = icmp::flat(data) else { return true };
        let Some(answer) = message::parse(&bytes, link.port.hardware_address(), out.now) else { return true };
        let change = match &mut *link.dhcp.0.lock() {
            Some(client) => {
                let change = client.receive(answer, out.now);
                self.arm(client.at);
                change
            }
            None => return false,
        };
        self.changed(interface, change);
        true
    }

    fn changed(&self, interface: &Interface, change: Change) {
        let lease = match change {
            Change::None => return,
            Change::Leased(lease) => Some(lease),
            Change::Lost => None,
        };
        self.tell(Event::Lease { interface: interface.index, lease });
    }
}

#[cfg(test)]
mod tests;
