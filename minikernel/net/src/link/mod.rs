//! Between packets and frames of Ethernet.
//!
//! # Locks
//!
//! A packet may leave with TCP's locks held, so nothing here calls TCP: what has failed is told by packets of this machine to itself, which lie in the
//! [`Outbox`]. A bucket of neighbours, the queue and a card's own lock are each the innermost.

mod arp;
mod autoconfiguration;
pub(crate) mod ethernet;
mod extensions;
mod input;
pub(crate) mod membership;
pub(crate) mod ndp;
mod neighbour;
mod output;
pub mod port;
mod reassembly;

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use isopod_hal::sync::SpinLock;

use crate::address::{Address, is_multicast, is_v4};
use crate::chunk::Chunks;
use crate::dhcp::Dhcp;
use crate::icmp::{self, Unreachable};
use crate::interface::{Interface, Traffic};
use crate::packet::{Outbox, Packet};
use crate::route::{Kind, Path};
use crate::stack::Stack;
use crate::watch::Watchers;
use autoconfiguration::Autoconfiguration;
use membership::Older;
pub(crate) use neighbour::Hardware;
use neighbour::{Neighbours, Outcome, Question};
use port::{Frame, Offloads, Port};
use reassembly::Reassembly;

/// How many counters tell fragments apart.
const IDENTIFICATIONS: usize = 64;
/// So many frames wait for room in a card (`txqueuelen`).
const QUEUE: usize = 1000;

/// The link behind an interface.
pub(crate) struct Link {
    pub port: Arc<dyn Port>,
    /// The port's address.
    pub hardware: Hardware,
    pub neighbours: Neighbours,
    autoconfiguration: Autoconfiguration,
    offloads: Offloads,
    queue: SpinLock<VecDeque<Frame>>,
    /// So many frames are in the queue.
    waiting: AtomicUsize,
    /// Frames for which there was no room.
    dropped: AtomicU32,
    reassembly: Reassembly,
    pub dhcp: Dhcp,
    older: Older,
    /// What the interface has sent.
    sent: Arc<Traffic>,
    /// What tells fragments of packets apart, by where they go.
    identifications: [AtomicU32; IDENTIFICATIONS],
    random: fn() -> u64,
    /// Nobody outside knows it.
    secret: u64,
    /// By this it knows its own questions about addresses.
    nonce: Hardware,
    /// Who sees what is sent by this interface.
    index: u32,
    watchers: Arc<Watchers>,
}

impl Link {
    pub fn new(
        (index, port): (u32, Arc<dyn Port>),
        sent: Arc<Traffic>,
        random: fn() -> u64,
        watchers: Arc<Watchers>,
    ) -> Self {
        Self {
            offloads: port.offloads(),
            hardware: port.hardware_address(),
            port,
            neighbours: Neighbours::new(),
            autoconfiguration: Autoconfiguration::new(),
            queue: SpinLock::new(VecDeque::new()),
            waiting: AtomicUsize::new(0),
            dropped: AtomicU32::new(0),
            reassembly: Reassembly::new(),
            dhcp: Dhcp::new(),
            older: Older::new(),
            sent,
            identifications: core::array::from_fn(|_| AtomicU32::new(random() as u32)),
            random,
            secret: random() | 1,
            nonce: core::array::from_fn(|_| random() as u8),
            index,
            watchers,
        }
    }

    /// A number that tells fragments of packets apart. That of IPv4 is short: it counts for each destination, or few; that of IPv6 is any (RFC 7739).
    fn identification(&self, to: &Address) -> u32 {
        if !is_v4(to) {
            return (self.random)() as u32;
        }
        let hash = (to.to_bits() as u64).wrapping_mul(self.secret) >> 32;
        self.identifications[hash as usize % IDENTIFICATIONS].fetch_add(1, Ordering::Relaxed)
    }

    /// Sends a packet on its way.
    pub fn transmit(
        &self,
        stack: &Stack,
        interface: &Interface,
        packet: &mut Packet,
        path: &Path,
        out: &mut Outbox,
    ) {
        if path.kind == Kind::Broadcast {
            let to =
                if is_multicast(&path.next) { ethernet::of_group(&path.next) } else { ethernet::EVERYBODY };
            return self.emit(packet, to, out);
        }
        if let Some((hardware, due)) = self.neighbours.find(&path.next, out.now) {
            if let Some(due) = due {
                stack.arm(due);
            }
            return self.emit(packet, hardware, out);
        }
        match self.neighbours.wait(&path.next, packet.take(), out.now) {
            Outcome::Known(mut packet, hardware) => self.emit(&mut packet, hardware, out),
            Outcome::Waits(false) => {}
            Outcome::Waits(true) => {
                stack.arm(out.now + neighbour::INTERVAL);
                self.ask(interface, (path.next, None), out);
            }
            Outcome::Full(packet) => icmp::report(stack, &packet, Unreachable::Host, out),
        }
    }

    /// Asks for a neighbour.
    fn ask(&self, interface: &Interface, (target, whom): Question, out: &mut Outbox) {
        if is_v4(&target) {
            let Some(source) = interface.address_near(&target) else { return };
            self.ask_v4(&source, &target, whom, out);
        } else {
            self.ask_v6(interface, (target, whom), out);
        }
    }

    /// Sends what waited for a neighbour.
    fn release(&self, waited: VecDeque<Packet>, to: Hardware, out: &mut Outbox) {
        for mut packet in waited {
            self.emit(&mut packet, to, out);
        }
    }

    /// Gives a frame to the card, or has it wait for room there.
    fn send(&self, frame: &mut Frame, out: &mut Outbox) {
        self.sent.count(frame.len());
        if !self.watchers.is_empty() {
            self.watchers.show_sent(self.index, frame);
        }
        if self.waiting.load(Ordering::Relaxed) == 0 && self.port.transmit(frame) {
            return out.touch();
        }
        let mut queue = self.queue.lock();
        // There may be room since; if there is none now, the card will say when there is.
        if queue.is_empty() && self.port.transmit(frame) {
            return out.touch();
        }
        if queue.len() < QUEUE && queue.try_reserve(1).is_ok() {
            queue.push_back(frame.take());
            self.waiting.store(queue.len(), Ordering::Relaxed);
        } else {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Sends a frame with a header that somebody has made.
    pub fn send_as_is(&self, header: [u8; ethernet::HEADER], data: Chunks, out: &mut Outbox) {
        let mut frame = Frame::new(Hardware::default(), Hardware::default(), 0);
        frame.headers[..ethernet::HEADER].copy_from_slice(&header);
        frame.payload = data;
        self.send(&mut frame, out);
    }

    /// The card has room.
    fn room(&self) {
        let mut queue = self.queue.lock();
        while queue.front_mut().is_some_and(|frame| self.port.transmit(frame)) {
            queue.pop_front();
        }
        self.waiting.store(queue.len(), Ordering::Relaxed);
        drop(queue);
        self.port.flush();
    }

    /// Does what is due. Returns when the next is.
    pub fn expire(&self, stack: &Stack, interface: &Interface, out: &mut Outbox) -> u64 {
        let (mut questions, mut lost) = (Vec::new(), VecDeque::new());
        let next = self.neighbours.expire(out.now, &mut questions, &mut lost);
        for question in questions {
            self.ask(interface, question, out);
        }
        for packet in lost {
            icmp::report(stack, &packet, Unreachable::Host, out);
        }
        let mut late = Vec::new();
        let next = next.min(self.reassembly.expire(out.now, &mut late));
        for packet in late {
            icmp::refuse(stack, &packet, Unreachable::Late, out);
        }
        let next = next.min(self.expire_routers(stack, interface, out));
        let next = next.min(self.expire_groups(stack, interface, out));
        next.min(stack.expire_dhcp(interface, self, out))
    }

    /// Tells the neighbours where an address is.
    pub fn announce(&self, interface: &Interface, address: &Address, out: &mut Outbox) {
        if is_v4(address) {
            self.announce_v4(address, out);
        } else {
            self.announce_v6(interface, address, out);
        }
    }

    /// An address comes to life: everybody is told, or, of IPv6, asked first.
    pub fn enter(&self, stack: &Stack, interface: &Interface, address: &Address, out: &mut Outbox) {
        if is_v4(address) {
            return self.announce_v4(address, out);
        }
        if let Some(known) = interface.addresses.write().iter_mut().find(|known| known.address == *address) {
            known.doubtful_until = out.now + ndp::DOUBT;
        }
        // Without memory nobody asks for it with success.
        let _ = stack.enter_group(&ndp::solicited_node(address), interface.index, out);
        self.doubt(address, out);
    }
}

/// What is shown of a neighbour: its interface, its addresses, and whether it has answered lately.
pub type ShowNeighbour<'a> = &'a mut dyn FnMut(&Interface, &Address, &[u8; 6], bool);

impl Stack {
    /// A card has room for frames again.
    pub fn room(&self, index: u32) {
        if let Some(link) = self.at(index).and_then(|interface| interface.link.as_ref()) {
            link.room();
        }
    }

    /// The link of an interface has come or gone ([`Port::is_up`] says which).
    pub fn set_carrier(&self, index: u32, out: &mut Outbox) {
        let Some(interface) = self.at(index) else { return };
        let Some(link) = &interface.link else { return };
        if link.port.is_up() {
            self.announce(index, out);
            link.seek_routers(self, out);
            link.dhcp.link_came(self, out.now);
        } else {
            link.neighbours.clear();
        }
    }

    /// Shows `visit` the neighbours that are known.
    pub fn neighbours(&self, visit: ShowNeighbour<'_>) {
        for interface in self.all() {
            if let Some(link) = &interface.link {
                link.neighbours
                    .each(&mut |address, hardware, fresh| visit(interface, address, hardware, fresh));
            }
        }
    }

    /// Tells the neighbours where the addresses of an interface are (`VIRTIO_NET_S_ANNOUNCE`).
    pub fn announce(&self, index: u32, out: &mut Outbox) {
        let Some(interface) = self.at(index).filter(|interface| interface.is_up()) else { return };
        let Some(link) = &interface.link else { return };
        // Where memory is short they find out when they ask.
        for known in interface.addresses().unwrap_or_default() {
            link.announce(interface, &known.address, out);
        }
    }
}

#[cfg(test)]
mod tests;
