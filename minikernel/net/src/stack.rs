//! What belongs together: interfaces, routes, and who receives.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use isopod_hal::sync::wait::WaitQueue;
use isopod_hal::sync::{Once, SpinLock};

use crate::address::{ANY, ANY_V4, Address, any_like, is_multicast, is_v4};
use crate::endpoint::Endpoint;
use crate::error::{Error, Result};
use crate::event::Event;
use crate::groups::Groups;
use crate::interface::{FOREVER, Interface, LOOPBACK_INDEX};
use crate::ip;
use crate::limit::Limit;
use crate::link::membership;
use crate::packet::{IpHeader, Outbox, Packet, Payload, UdpHeader, protocol};
use crate::path_mtu::PathMtus;
use crate::ports::Ports;
use crate::route::{BROADCAST, Kind, Path, Routes};
use crate::tcp::Tcp;
use crate::watch::{Watchers, Whose};
use crate::{icmp, raw, segments, udp};

/// How many interfaces there can be.
const INTERFACES: usize = 32;
/// The hop limit of who does not say (RFC 1700).
pub const HOP_LIMIT: u8 = 64;

/// What happened so often.
#[derive(Debug, Default)]
pub struct Counters {
    /// Datagrams received.
    pub udp_received: AtomicU64,
    /// Datagrams for which there was no room.
    pub udp_dropped: AtomicU64,
    /// Datagrams that nobody wanted.
    pub udp_refused: AtomicU64,
    /// Datagrams sent.
    pub udp_sent: AtomicU64,
}

/// The network of a machine.
#[derive(Debug)]
pub struct Stack {
    /// The routes.
    pub routes: Routes,
    /// Connections and who listens for them.
    pub tcp: Tcp,
    /// The endpoints of UDP.
    pub udp: Ports,
    /// Those that wait for answers to echoes.
    pub pings: Ports,
    /// Those that take whole packets, by their protocols.
    pub raws: Ports,
    /// The groups that somebody has joined.
    pub groups: Groups,
    /// Who sees all frames.
    pub watchers: Arc<Watchers>,
    /// What happened.
    pub counters: Counters,
    /// How long packets may be on paths.
    pub(crate) path_mtus: PathMtus,
    /// How many errors are sent.
    pub(crate) limit: Limit,
    /// What happened that nobody has heard of.
    pub(crate) events: SpinLock<VecDeque<Event>>,
    /// Woken when there is an event.
    pub happened: WaitQueue,
    /// A random number.
    pub(crate) random: fn() -> u64,
    /// Nobody outside knows it.
    pub(crate) secret: u64,
    /// By their numbers; the first is the loopback interface.
    pub(crate) interfaces: [Once<Arc<Interface>>; INTERFACES],
    /// When something besides TCP is due.
    due: AtomicU64,
}

impl Stack {
    /// That of a machine with nothing but itself.
    pub fn new(random: fn() -> u64) -> Self {
        let stack = Self {
            routes: Routes::new(),
            tcp: Tcp::new(core::array::from_fn(|_| random())),
            udp: Ports::new(),
            pings: Ports::new(),
            raws: Ports::new(),
            groups: Groups::new(),
            watchers: Arc::new(Watchers::new()),
            counters: Counters::default(),
            path_mtus: PathMtus::new(),
            limit: Limit::new(),
            events: SpinLock::new(VecDeque::new()),
            happened: WaitQueue::new(),
            random,
            secret: random() | 1,
            interfaces: [const { Once::new() }; INTERFACES],
            due: AtomicU64::new(FOREVER),
        };
        stack.interfaces[0].get_or_init(Interface::loopback);
        stack.begin_loopback();
        stack
    }

    /// An interface by its number.
    pub fn interface(&self, index: u32) -> Option<Arc<Interface>> {
        self.at(index).cloned()
    }

    /// All interfaces, by their numbers.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Interface>> {
        // There is no number behind the first that nobody has.
        self.interfaces.iter().map_while(Once::get)
    }

    /// The same, for the moment.
    pub(crate) fn at(&self, index: u32) -> Option<&Arc<Interface>> {
        self.interfaces.get(index.wrapping_sub(LOOPBACK_INDEX) as usize)?.get()
    }

    /// All interfaces. `OutOfMemory`
    pub fn interfaces(&self) -> Result<Vec<Arc<Interface>>> {
        let mut all = Vec::new();
        all.try_reserve_exact(INTERFACES).map_err(|_| Error::OutOfMemory)?;
        all.extend(self.all().cloned());
        Ok(all)
    }

    /// Whether a socket can be bound to an address: it is this machine's, or stands for many.
    pub fn can_bind(&self, address: &Address) -> bool {
        matches!(*address, ANY | ANY_V4)
            || *address == BROADCAST
            || is_multicast(address)
            || self.routes.kind_of(address) != Kind::Unicast
    }

    /// The longest packet to an address.
    pub fn mtu_to(&self, address: &Address) -> Option<u32> {
        let path = self.routes.find(address, &any_like(address), 0).ok()?;
        let link = self.at(path.interface)?.mtu_to(address);
        Some(self.path_mtus.find(address).map_or(link, |path| path.min(link)))
    }

    /// A router says that the path to an address takes no more than `mtu`.
    pub(crate) fn learn_mtu(&self, address: &Address, mtu: u32, now: u64) {
        if let Some(before) = self.mtu_to(address)
            && let Some(until) = self.path_mtus.learn(address, mtu, before, now)
        {
            self.arm(until);
        }
    }

    /// Sends a packet on its way.
    pub fn output(&self, path: &Path, mut packet: Packet, out: &mut Outbox) -> Result<()> {
        // What is for this machine does not leave it, whatever interface has the address.
        let index = if path.kind == Kind::Local { LOOPBACK_INDEX } else { path.interface };
        packet.header.interface = index;
        let interface = self.at(index).ok_or(Error::NoInterface)?;
        if !interface.is_up() {
            return Err(Error::NetworkDown);
        }
        if let Payload::Udp(..) = packet.payload {
            self.counters.udp_sent.fetch_add(1, Ordering::Relaxed);
        }
        let Some(link) = &interface.link else {
            interface.sent.count(packet.wire_len());
            if !self.watchers.is_empty() {
                self.watchers.show_looped(&packet, Whose::Sent);
            }
            out.push(packet);
            return Ok(());
        };
        // TCP asks for the path's MTU itself, and segments that are longer are cut below.
        if !matches!(packet.payload, Payload::Tcp(..)) {
            let (to, length) = (packet.header.destination, packet.wire_len());
            let link = interface.mtu_to(&to);
            // Who wants it whole has seen to what the path takes.
            let path = if packet.header.whole { None } else { self.path_mtus.find(&to) };
            let mtu = path.map_or(link, |path| path.min(link));
            if length > mtu as usize {
                if packet.header.whole {
                    return Err(Error::TooLong);
                }
                packet.header.cut_to = mtu;
            }
        }
        if path.kind == Kind::Broadcast {
            self.loop_back(&packet, out);
        }
        link.transmit(self, interface, &mut packet, path, out);
        Ok(())
    }

    /// What is for many is for this machine, too, if it is among them and the sender does not mind (`ip_mc_output`).
    fn loop_back(&self, packet: &Packet, out: &mut Outbox) {
        let header = packet.header;
        let group = is_multicast(&header.destination);
        if group && (header.alone || !self.groups.has(&header.destination, header.interface)) {
            return;
        }
        // Without memory it is lost.
        let payload = match &packet.payload {
            Payload::Udp(ports, data) => data.try_clone().map(|data| Payload::Udp(*ports, data)),
            Payload::Other(protocol, data) => data.try_clone().map(|data| Payload::Other(*protocol, data)),
            Payload::Verbatim(protocol, data) => {
                data.try_clone().map(|data| Payload::Verbatim(*protocol, data))
            }
            Payload::Tcp(..) => return,
        };
        if let Ok(payload) = payload {
            out.push(Packet { header: IpHeader { cut_to: 0, ..header }, payload });
        }
    }

    /// Takes in what an operation has sent to this machine itself, and what that leads to. The caller holds no lock.
    pub fn deliver(&self, out: &mut Outbox) {
        while let Some(packet) = out.pop() {
            if let Some(interface) = self.at(packet.header.interface) {
                interface.received.count(packet.wire_len());
            }
            if packet.header.interface == LOOPBACK_INDEX && !self.watchers.is_empty() {
                self.watchers.show_looped(&packet, Whose::Ours);
            }
            self.input(packet, out);
        }
        if out.take_touched() {
            self.all().filter_map(|known| known.link.as_ref()).for_each(|link| link.port.flush());
        }
    }

    /// When [`expire`](Self::expire) is to be called next. Every other call may bring it forward.
    #[inline]
    pub fn deadline(&self) -> Option<u64> {
        let due = Some(self.due.load(Ordering::Relaxed)).filter(|&due| due != FOREVER);
        match (self.tcp.deadline(), due) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        }
    }

    /// Something is due at this time.
    pub(crate) fn arm(&self, at: u64) {
        self.due.fetch_min(at, Ordering::Relaxed);
    }

    /// Does what is due, in steps: false when some of it is left.
    pub fn expire(&self, out: &mut Outbox) -> bool {
        let now = out.now;
        if self.due.load(Ordering::Relaxed) <= now {
            self.due.store(FOREVER, Ordering::Relaxed);
            for interface in self.all() {
                if let Some(link) = &interface.link {
                    self.arm(link.expire(self, interface, out));
                }
            }
            self.arm(self.path_mtus.expire(now));
        }
        self.tcp.expire(now, &mut segments::Below { stack: self, out })
    }

    /// Takes in a packet.
    pub(crate) fn input(&self, mut packet: Packet, out: &mut Outbox) {
        let header = packet.header;
        // What a program has put together is looked at as if it came from a link.
        if raw::is_read_again(&packet) {
            raw::read_again(self, packet, out);
            return;
        }
        let (to, at) = (&header.destination, header.interface);
        if is_multicast(to)
            && !self.groups.has(to, at)
            && !self.at(at).is_some_and(|interface| interface.listens(to))
        {
            return;
        }
        let taken = !self.raws.is_empty() && raw::input(self, &packet, out.now);
        match &mut packet.payload {
            Payload::Tcp(..) if is_multicast(&header.destination) => {}
            Payload::Tcp(segment, data) => {
                segments::input(self, &header, segment, core::mem::take(data), out);
            }
            Payload::Udp(..) => udp::input(self, packet, out),
            Payload::Other(protocol::ICMP, data) if is_v4(&header.source) => {
                icmp::input(self, &header, data, out);
            }
            Payload::Other(protocol::IGMP, data) if is_v4(&header.source) => {
                membership::input_v4(self, &header, data.front(), out);
            }
            Payload::Other(protocol::ICMPV6, data) if !is_v4(&header.source) => {
                icmp::input(self, &header, data, out);
            }
            Payload::Other(..) | Payload::Verbatim(..) if taken => {}
            Payload::Other(..) | Payload::Verbatim(..) => {
                icmp::refuse(self, &packet, icmp::Unreachable::Protocol, out);
            }
        }
    }

    /// An endpoint joins a group on an interface. `AddressInUse` if it has, `TooMany` if it is in as many as one may be.
    pub fn join(&self, endpoint: &Endpoint, group: &Address, interface: u32, out: &mut Outbox) -> Result<()> {
        endpoint.enter_group(*group, interface)?;
        self.enter_group(group, interface, out).inspect_err(|_| {
            // It was entered a moment ago; if it is not there any more, somebody was faster.
            let _ = endpoint.leave_group(*group, interface);
        })
    }

    /// An endpoint leaves a group. `AddressNotAvailable` if it is not in it.
    pub fn leave(
        &self,
        endpoint: &Endpoint,
        group: &Address,
        interface: u32,
        out: &mut Outbox,
    ) -> Result<()> {
        let (group, interface) = endpoint.leave_group(*group, interface)?;
        self.leave_group(&group, interface, out);
        Ok(())
    }
}

impl Packet {
    /// How many bytes it is on the wire.
    pub fn wire_len(&self) -> usize {
        let header = match &self.payload {
            Payload::Verbatim(..) => 0,
            _ if is_v4(&self.header.source) => ip::V4_HEADER,
            _ => ip::V6_HEADER,
        };
        header + self.payload.wire_len()
    }

    /// Writes as much of it as fits into `bytes`, with no checksum but that of the header of IPv4. Returns how much that is.
    pub fn emit(&self, bytes: &mut [u8]) -> usize {
        let mut header = [0; ip::V6_HEADER];
        let length = match &self.payload {
            Payload::Verbatim(..) => 0,
            payload => ip::emit(&self.header, payload.protocol(), payload.wire_len(), 0, &mut header),
        };
        let mut at = 0;
        let mut put = |part: &[u8]| {
            let count = part.len().min(bytes.len() - at);
            bytes[at..at + count].copy_from_slice(&part[..count]);
            at += count;
            count
        };
        put(&header[..length]);
        let data = match &self.payload {
            Payload::Tcp(segment, data) => {
                let mut head = [0; crate::tcp::SegmentHeader::MAX_LEN];
                let head = &mut head[..segment.encoded_len()];
                segment.emit(head);
                put(head);
                data
            }
            Payload::Udp(ports, data) => {
                let length = (UdpHeader::LEN + data.len()) as u16;
                let words = [ports.source, ports.destination, length, 0].map(u16::to_be_bytes);
                put(words.as_flattened());
                data
            }
            Payload::Other(_, data) | Payload::Verbatim(_, data) => data,
        };
        data.copy_to(0, &mut put);
        at
    }
}
