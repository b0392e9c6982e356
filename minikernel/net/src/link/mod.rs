//! Between packets and frames of Ethernet.

pub mod port;

use alloc::sync::Arc;

use crate::address::Address;
use crate::packet::{Outbox, Packet};
use port::{Port, Received};

/// The link behind an interface.
pub(crate) struct Link {
    pub port: Arc<dyn Port>,
}

impl Link {
    pub fn new(port: Arc<dyn Port>) -> Self {
        Self { port }
    }

    /// Sends a packet to the neighbour `next`.
    pub fn transmit(&self, _: Packet, _: &Address, _: &mut Outbox) {
        self.port.flush();
    }
}

impl crate::stack::Stack {
    /// Takes in a frame that came by an interface. What is to be answered at once lies in `out` after that; a batch of frames is followed by
    /// [`deliver`](Self::deliver).
    pub fn receive(&self, _: u32, _: Received, _: &mut Outbox) {}

    /// A card has room for frames again.
    pub fn room(&self, _: u32) {}

    /// The link of an interface has come or gone ([`Port::is_up`] says which).
    pub fn set_carrier(&self, _: u32, _: &mut Outbox) {}

    /// Tells the neighbours where the addresses of an interface are (`VIRTIO_NET_S_ANNOUNCE`).
    pub fn announce(&self, _: u32, _: &mut Outbox) {}

    /// Looks for a DHCP server by an interface, or gives up; what comes of it are [events](crate::event::Event).
    pub fn set_dhcp(&self, _: u32, _: bool, _: &mut Outbox) -> crate::error::Result<()> {
        Ok(())
    }

    /// Takes addresses of IPv6, routes and servers from routers, or not (`accept_ra`); a link-local address it has whenever it is in use.
    pub fn set_autoconfiguration(&self, _: u32, _: bool, _: &mut Outbox) -> crate::error::Result<()> {
        Ok(())
    }

    /// Whether a first answer of a DHCP server is still awaited: who finds no route may wait for it.
    pub fn is_configuring(&self) -> bool {
        false
    }

    /// The next event. [`happened`](Self::happened) is woken when there is one.
    pub fn next_event(&self) -> Option<crate::event::Event> {
        None
    }

    /// When [`expire`](Self::expire) is to be called next. Every other call may bring it forward.
    pub fn deadline(&self) -> Option<u64> {
        self.tcp.deadline()
    }
}
