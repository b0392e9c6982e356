//! What sockets of messages have in common: where they are bound, what waits to be received, what has gone wrong.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use isopod_hal::sync::wait::WaitQueue;
use isopod_hal::sync::{SpinLock, SpinLockGuard};

use crate::address::{Address, Binding, SocketAddress, is_any, is_v4};
use crate::chunk::Chunks;
use crate::error::{Error, Result};
use crate::icmp::{Origin, Report};
use crate::packet::{IpHeader, UdpHeader, protocol};
use crate::raw::Raw;

bitflags::bitflags! {
    /// What can be set of an endpoint.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Switches: u32 {
        /// Others that have this may use the same address.
        const REUSE_ADDRESS = 1;
        /// Others of the same user that have this share what comes to the same address.
        const REUSE_PORT = 1 << 1;
        /// IPv6 only.
        const ONLY_V6 = 1 << 2;
        /// It may send to everybody on a link.
        const BROADCAST = 1 << 3;
        /// Errors are reported as messages (`IP_RECVERR`, `IPV6_RECVERR`).
        const REPORTS = 1 << 4;
        /// See [`REPORTS`](Self::REPORTS).
        const REPORTS_V6 = 1 << 5;
        /// It receives what comes to groups that others have joined.
        const ALL_GROUPS = 1 << 6;
        /// It has a [`Sieve`].
        const SIEVED = 1 << 7;
    }
}

/// How many reports wait at the most: as many as a receive buffer of Linux' default size holds (212,992 bytes, 768 for one).
const REPORTS_MAX: usize = 277;

/// How many groups of IPv4 one can be in (`igmp_max_memberships`).
const GROUPS_MAX: usize = 20;
/// How many groups of IPv6: as many entries of 56 bytes as a socket of Linux may hold beside its data (`net.core.optmem_max`).
const GROUPS_MAX_V6: usize = 365;

/// A message that waits.
#[derive(Debug)]
pub struct Datagram {
    /// The header it came with.
    pub header: IpHeader,
    /// The ports it came from and to; 0 where there are none.
    pub ports: (u16, u16),
    /// Its bytes.
    pub data: Chunks,
    /// When it came.
    pub at: u64,
    /// So many before it found no room.
    pub dropped: u32,
    /// So much memory it takes.
    charge: Charge,
}

/// Where an endpoint is.
#[derive(Clone, Copy, Debug)]
pub struct Names {
    /// What it receives at; the port is 0 before it has one.
    pub local: SocketAddress,
    /// What it sends from, unless that is any address.
    pub source: Address,
    /// Whom it is connected to.
    pub peer: Option<SocketAddress>,
    /// Any address, of the socket's version.
    any: Address,
    /// The address is one that was asked for.
    own_address: bool,
    /// So is the port.
    own_port: bool,
}

/// What waits in an endpoint.
#[derive(Debug, Default)]
pub struct Inbox {
    /// Messages.
    pub messages: VecDeque<Datagram>,
    /// Errors that were reported as messages.
    pub reports: VecDeque<Report>,
    /// The error for the next call.
    pub error: Option<Error>,
    /// Nothing is received any more.
    pub ended: bool,
    /// Nothing is sent any more.
    pub silent: bool,
    /// So many messages found no room.
    pub dropped: u32,
    charged: usize,
    closed: bool,
    /// Groups that it has joined, each with its interface.
    groups: Vec<(Address, u32)>,
}

/// A socket of messages, as far as the network is concerned.
#[derive(Debug)]
pub struct Endpoint {
    switches: AtomicU32,
    /// How many bytes may wait.
    pub room: AtomicUsize,
    /// The only interface that it uses; 0 for any.
    pub interface: AtomicU32,
    /// Its protocol: UDP, or ICMP of a version for echoes; any of one that takes whole packets.
    pub protocol: u8,
    /// What one has that takes whole packets.
    pub raw: Option<Raw>,
    /// Whose it is.
    pub owner: u32,
    /// Woken when readiness may have changed.
    changed: Arc<WaitQueue>,
    /// Locked before a table of ports.
    names: SpinLock<Names>,
    inbox: SpinLock<Inbox>,
    sieve: SpinLock<Option<Arc<dyn Sieve>>>,
}

/// What chooses the messages that an endpoint gets.
pub trait Sieve: Send + Sync + core::fmt::Debug {
    /// How many bytes of a message stay, those of the header before its data included; none if it is not wanted.
    fn keeps(&self, header: &IpHeader, head: &[u8], data: &Chunks) -> usize;
}

/// What all messages together hold.
static HELD: AtomicUsize = AtomicUsize::new(0);
/// What they may hold at the most, in bytes (`udp_mem`); one of each endpoint is taken all the same.
pub static HELD_MAX: AtomicUsize = AtomicUsize::new(usize::MAX);

/// A part of that, which is given back.
#[derive(Debug)]
pub struct Charge(usize);

impl Charge {
    fn new(bytes: usize) -> Self {
        HELD.fetch_add(bytes, Ordering::Relaxed);
        Self(bytes)
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        HELD.fetch_sub(self.0, Ordering::Relaxed);
    }
}

/// What a message of so many bytes counts against the room for it: as much as Linux's buffers for it are large (`SKB_TRUESIZE`).
fn charge(length: usize) -> usize {
    const DESCRIPTION: usize = 256;
    const ENDS: usize = 448;
    let whole = length + ENDS;
    DESCRIPTION + if whole <= 4096 { whole.next_power_of_two() } else { whole.next_multiple_of(4096) }
}

impl Endpoint {
    /// One that is not bound, at any address of a version, which is the one of `any`.
    pub fn new(protocol: u8, any: Address, owner: u32, room: usize, changed: Arc<WaitQueue>) -> Arc<Self> {
        Self::make((protocol, None), any, owner, room, changed)
    }

    /// One that takes whole packets of a protocol.
    pub fn new_raw(
        protocol: u8,
        any: Address,
        owner: u32,
        room: usize,
        changed: Arc<WaitQueue>,
    ) -> Arc<Self> {
        let raw = Some(Raw::new(protocol));
        let endpoint = Self::make((protocol, raw), any, owner, room, changed);
        // It hears nothing of IPv4 packets by an address of IPv6.
        endpoint.set(Switches::ONLY_V6, !is_v4(&any));
        endpoint
    }

    fn make(
        (protocol, raw): (u8, Option<Raw>),
        any: Address,
        owner: u32,
        room: usize,
        changed: Arc<WaitQueue>,
    ) -> Arc<Self> {
        let names = Names {
            local: SocketAddress { address: any, port: 0 },
            source: any,
            peer: None,
            any,
            own_address: false,
            own_port: false,
        };
        Arc::new(Self {
            switches: AtomicU32::new(Switches::ALL_GROUPS.bits()),
            room: AtomicUsize::new(room),
            interface: AtomicU32::new(0),
            protocol,
            raw,
            owner,
            changed,
            names: SpinLock::new(names),
            inbox: SpinLock::new(Inbox::default()),
            sieve: SpinLock::new(None),
        })
    }

    /// Whether its messages are UDP's.
    pub fn is_udp(&self) -> bool {
        self.protocol == protocol::UDP && self.raw.is_none()
    }

    /// Whether something is set.
    pub fn has(&self, switch: Switches) -> bool {
        self.switches.load(Ordering::Relaxed) & switch.bits() != 0
    }

    /// Sets something, or not.
    pub fn set(&self, switch: Switches, on: bool) {
        if on {
            self.switches.fetch_or(switch.bits(), Ordering::Relaxed);
        } else {
            self.switches.fetch_and(!switch.bits(), Ordering::Relaxed);
        }
    }

    /// Where it is.
    pub fn names(&self) -> Names {
        *self.names.lock()
    }

    /// Where it is, to be changed.
    pub(crate) fn lock_names(&self) -> SpinLockGuard<'_, Names> {
        self.names.lock()
    }

    /// What waits in it.
    pub fn inbox(&self) -> SpinLockGuard<'_, Inbox> {
        self.inbox.lock()
    }

    /// Something may have changed.
    pub fn wake(&self) {
        self.changed.wake_all();
    }

    /// What it has sent is gone, and leaves room (`sock_def_write_space`).
    pub fn has_sent(&self) {
        self.changed.wake_for_room();
    }

    /// Whether packets by `interface` may be for it.
    pub(crate) fn uses(&self, interface: u32) -> bool {
        matches!(self.interface.load(Ordering::Relaxed), bound if bound == 0 || bound == interface)
    }

    /// Its address, and whether it takes IPv6 only.
    pub(crate) fn binding(&self, local: &Address) -> Binding {
        (*local, self.has(Switches::ONLY_V6))
    }

    /// Has something choose the messages that it gets, or nothing.
    pub fn set_sieve(&self, sieve: Option<Arc<dyn Sieve>>) {
        let is_there = sieve.is_some();
        let old = core::mem::replace(&mut *self.sieve.lock(), sieve);
        drop(old);
        self.set(Switches::SIEVED, is_there);
    }

    /// As much of a message as it wants; nothing if it does not want it.
    #[cold]
    fn sieved(&self, header: &IpHeader, (from, to): (u16, u16), mut data: Chunks) -> Option<Chunks> {
        let Some(sieve) = self.sieve.lock().clone() else { return Some(data) };
        let length = (UdpHeader::LEN + data.len()) as u16;
        let words = [from, to, length, 0].map(u16::to_be_bytes);
        let head = if self.is_udp() { words.as_flattened() } else { &[] };
        let kept = sieve.keeps(header, head, &data);
        data.truncate(kept.saturating_sub(head.len()));
        (kept > 0).then_some(data)
    }

    /// Takes in a message. False if it is closed, or does not want it, or has no room for it.
    pub fn deliver(&self, header: &IpHeader, ports: (u16, u16), mut data: Chunks, now: u64) -> bool {
        if self.has(Switches::SIEVED) {
            let Some(kept) = self.sieved(header, ports, data) else {
                self.inbox.lock().dropped += u32::from(self.is_udp());
                return false;
            };
            data = kept;
        }
        let charge = charge(data.len());
        let room = self.room.load(Ordering::Relaxed);
        let mut inbox = self.inbox.lock();
        // A single message always finds room (`__udp_enqueue_schedule_skb`).
        let full = inbox.charged + charge > room && inbox.charged > 0;
        let everywhere = HELD.load(Ordering::Relaxed) + charge > HELD_MAX.load(Ordering::Relaxed);
        let full = full || everywhere && inbox.charged > 0;
        if inbox.closed || full || inbox.messages.try_reserve(1).is_err() {
            inbox.dropped = inbox.dropped.wrapping_add(1);
            return false;
        }
        inbox.charged += charge;
        let (charge, dropped) = (Charge::new(charge), inbox.dropped);
        inbox.messages.push_back(Datagram { header: *header, ports, data, at: now, dropped, charge });
        drop(inbox);
        self.wake();
        true
    }

    /// An ICMP message, or this machine, says that something it sent did not arrive. Only one that is connected, or asks for reports, is told, as in Linux
    /// (`__udp4_lib_err`).
    pub(crate) fn fail(&self, report: Report) {
        let connected = self.names.lock().peer.is_some();
        let reports = if report.is_v4() { Switches::REPORTS } else { Switches::REPORTS_V6 };
        let mut inbox = self.inbox.lock();
        if self.has(reports) {
            inbox.error = Some(report.error);
            if inbox.reports.len() < REPORTS_MAX && inbox.reports.try_reserve(1).is_ok() {
                inbox.reports.push_back(report);
            }
        } else if report.fatal && connected {
            inbox.error = Some(report.error);
        } else {
            return;
        }
        drop(inbox);
        self.wake();
    }

    /// A message was too long for the path: one that asks for reports gets one (`ip_local_error`).
    pub(crate) fn tell_too_long(&self, destination: SocketAddress, mtu: u32, source: Address) {
        let reports = if is_v4(&destination.address) { Switches::REPORTS } else { Switches::REPORTS_V6 };
        if !self.has(reports) {
            return;
        }
        let report = Report {
            error: Error::TooLong,
            fatal: true,
            origin: Origin::Local,
            kind: (0, 0),
            info: mtu,
            offender: source,
            destination,
            data: Chunks::new(),
            interface: 0,
        };
        let mut inbox = self.inbox.lock();
        if inbox.reports.len() < REPORTS_MAX && inbox.reports.try_reserve(1).is_ok() {
            inbox.reports.push_back(report);
        }
        drop(inbox);
        self.wake();
    }

    /// What happened to something it sent, which is then forgotten, or `Closed`, for one who wants to send.
    pub(crate) fn check_sending(&self) -> Result<()> {
        let mut inbox = self.inbox.lock();
        match inbox.error.take() {
            Some(error) => Err(error),
            None if inbox.silent => Err(Error::Closed),
            None => Ok(()),
        }
    }

    /// Ends directions.
    pub fn shut_down(&self, receive: bool, send: bool) {
        let mut inbox = self.inbox.lock();
        inbox.ended |= receive;
        inbox.silent |= send;
        drop(inbox);
        self.wake();
    }

    /// Nothing reaches it any more; what waits is dropped, and the groups are left, which are returned.
    pub(crate) fn close(&self) -> Vec<(Address, u32)> {
        let mut inbox = self.inbox.lock();
        let left = core::mem::replace(&mut *inbox, Inbox { closed: true, ..Inbox::default() });
        drop(inbox);
        left.groups
    }

    /// Whether it receives what comes to a group by an interface: it has joined, or takes what comes to all.
    pub(crate) fn is_member(&self, group: &Address, interface: u32) -> bool {
        let inbox = self.inbox.lock();
        let joined = inbox.groups.contains(&(*group, interface));
        joined || self.has(Switches::ALL_GROUPS) && !inbox.groups.iter().any(|(known, _)| known == group)
    }

    /// Notes a group. `AddressInUse` if it is known, `TooMany`, `OutOfMemory`.
    pub(crate) fn enter_group(&self, group: Address, interface: u32) -> Result<()> {
        let mut inbox = self.inbox.lock();
        if inbox.groups.contains(&(group, interface)) {
            return Err(Error::AddressInUse);
        }
        let count = inbox.groups.iter().filter(|known| is_v4(&known.0) == is_v4(&group)).count();
        if is_v4(&group) && count >= GROUPS_MAX {
            return Err(Error::TooMany);
        }
        // Those of IPv6 are limited by what a socket may hold.
        if count >= GROUPS_MAX_V6 {
            return Err(Error::OutOfMemory);
        }
        inbox.groups.try_reserve(1).map_err(|_| Error::OutOfMemory)?;
        inbox.groups.push((group, interface));
        Ok(())
    }

    /// Forgets a group, which is returned; by any interface if that is 0. `AddressNotAvailable` if it is not known.
    pub(crate) fn leave_group(&self, group: Address, interface: u32) -> Result<(Address, u32)> {
        let mut inbox = self.inbox.lock();
        let place = inbox
            .groups
            .iter()
            .position(|known| known.0 == group && (interface == 0 || known.1 == interface));
        Ok(inbox.groups.swap_remove(place.ok_or(Error::AddressNotAvailable)?))
    }
}

impl Names {
    /// It is bound to an address and a port, as was asked for, as far as something was.
    pub(crate) fn bind(&mut self, address: Address, port: u16, asked: u16) {
        self.local = SocketAddress { address, port };
        self.source = address;
        self.own_address |= !is_any(&address);
        self.own_port |= asked != 0;
    }

    /// It is at another address, which it loses with its peer.
    pub(crate) fn move_to(&mut self, address: Address) {
        (self.local.address, self.source) = (address, address);
    }

    /// It sends from whichever address suits.
    pub(crate) fn send_from_any(&mut self) {
        self.source = self.any;
    }

    /// It has no peer any more. Returns whether it loses its port with it.
    pub(crate) fn disconnect(&mut self) -> bool {
        self.peer = None;
        if !self.own_address {
            self.source = self.any;
            self.local.address = self.source;
        }
        !self.own_port
    }
}

impl Inbox {
    /// Takes the first message out.
    pub fn take(&mut self) -> Option<Datagram> {
        let message = self.messages.pop_front()?;
        self.charged -= message.charge.0;
        Some(message)
    }

    /// Takes the first report out. The error for the next call is that of the one behind it.
    pub fn take_report(&mut self) -> Option<Report> {
        let report = self.reports.pop_front()?;
        self.error = self.reports.front().map(|next| next.error);
        Some(report)
    }
}
