//! Sockets of UDP, udp(7), and those that send echo requests, icmp(7).

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use isopod_fs::file::Ready;
use isopod_fs::{self as fs, Errno, Sink, Source};
use isopod_hal::clock;
use isopod_net::address::{ANY, ANY_V4, Address as IpAddress, SocketAddress, any_like, is_multicast, is_v4};
use isopod_net::chunk::{Chunk, Chunks};
use isopod_net::endpoint::{Datagram, Endpoint, Sieve, Switches};
use isopod_net::udp::Manner;

use super::address::{self, Given, shown};
use super::cork::{Cork, Letter};
use super::options::{self as names, IpOptions, SOL_IP, SOL_IPV6, SOL_UDP};
use super::{
    AF_INET, AF_INET6, check_interface, check_port, configuring, control, errno, limits, raw, stack, table,
    with_stack,
};
use crate::process::Thread;
use crate::socket::filter::Chosen;
use crate::socket::options::{self, OptionValue};
use crate::socket::{
    AF_UNSPEC, Address, Common, Incoming, Kind, MessageFlags, Outgoing, Shutdown, Socket, copy_out,
};

/// The longest message that is looked at: `EMSGSIZE` needs no copy.
const LENGTH_MAX: usize = 0xffff;

/// Into so many messages one may be cut (`UDP_MAX_SEGMENTS`).
pub(super) const SEGMENTS_MAX: usize = 128;

/// A socket of messages.
#[derive(Debug)]
pub struct DatagramSocket {
    pub(super) common: Common,
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) ip: IpOptions,
    pub(super) cork: Cork,
    _place: Option<table::Place>,
}

/// All bytes of `source`; none if the copy was cut.
pub(super) fn take_all(source: &mut dyn Source) -> Result<Option<Chunks>, Errno> {
    let length = source.remaining();
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(length).map_err(|_| Errno::ENOMEM)?;
    bytes.resize(length, 0);
    let taken = source.take(&mut bytes);
    Ok((taken == length).then(|| Chunk::from(bytes).into()))
}

impl DatagramSocket {
    /// A new one.
    pub fn new(caller: &Thread, family: u16, protocol: u8) -> Arc<Self> {
        Self::make(caller, Common::new(family, Kind::Datagram, protocol.into()), protocol)
    }

    /// A new one of packets, which have this number of those that can be asked for.
    pub(super) fn new_raw(caller: &Thread, family: u16, protocol: i32, number: u8) -> Arc<Self> {
        Self::make(caller, Common::new(family, Kind::Raw, protocol.cast_unsigned()), number)
    }

    fn make(caller: &Thread, common: Common, protocol: u8) -> Arc<Self> {
        let family = common.family;
        let any = if family == AF_INET { ANY_V4 } else { ANY };
        let room = common.options.receive_buffer();
        let owner = caller.identity().users.file;
        let is_raw = common.kind == Kind::Raw;
        let make = if is_raw { Endpoint::new_raw } else { Endpoint::new };
        let endpoint = make(protocol, any, owner, room, Arc::clone(&common.changed));
        if limits::ONLY_V6.get() != 0 && family == AF_INET6 {
            endpoint.set(Switches::ONLY_V6, true);
        }
        Arc::new_cyclic(|socket: &Weak<Self>| {
            let all = match i32::from(protocol) {
                _ if is_raw => Some(&table::RAWS),
                super::UDP => Some(&table::DATAGRAMS),
                _ => None,
            };
            let place = all.map(|all| all.enter(Weak::clone(socket) as Weak<dyn table::Listed>));
            let cork = Cork::new(None);
            Self { common, endpoint, ip: IpOptions::default(), cork, _place: place }
        })
    }

    fn is_udp(&self) -> bool {
        self.endpoint.is_udp()
    }

    /// Whether more follows what is sent now.
    fn corks(&self, message: &Outgoing) -> bool {
        self.is_udp() && (message.flags.contains(MessageFlags::MORE) || self.ip.has(names::CORK))
    }

    fn is_ping(&self) -> bool {
        !self.is_udp() && self.endpoint.raw.is_none()
    }

    fn any(&self) -> IpAddress {
        if self.common.family == AF_INET { ANY_V4 } else { ANY }
    }

    fn only_v6(&self) -> bool {
        self.endpoint.has(Switches::ONLY_V6)
    }

    /// How a message to `to` is sent.
    pub(super) fn manner(&self, to: &IpAddress, scope: u32, message: &Outgoing) -> Manner {
        let v4 = is_v4(to);
        let (hop_limit, traffic_class) = self.ip.of_packets(v4, false);
        let (group_hop_limit, _) = self.ip.of_packets(v4, true);
        let said = &message.ip;
        let group = if v4 { names::GROUP_INTERFACE } else { names::GROUP_INTERFACE_V6 };
        Manner {
            source: said.source,
            interface: if said.interface != 0 { said.interface } else { scope },
            group_interface: self.group_interface(group),
            hop_limit: said.hop_limit.unwrap_or(hop_limit),
            group_hop_limit: said.hop_limit.unwrap_or(group_hop_limit),
            traffic_class: said.traffic_class.unwrap_or(traffic_class),
            loops: self.ip.has(if v4 { names::GROUP_LOOP } else { names::GROUP_LOOP_V6 }),
            discovery: self.ip.get(if v4 { names::MTU_DISCOVER } else { names::MTU_DISCOVER_V6 }) as u8,
        }
    }

    fn group_interface(&self, name: names::Name) -> u32 {
        self.ip.get(name).cast_unsigned()
    }

    /// An error that was reported as a message.
    fn receive_report(&self, message: &mut Incoming, sink: &mut dyn Sink) -> Result<usize, Errno> {
        let mut inbox = self.endpoint.inbox();
        let first = inbox.reports.front().ok_or(Errno::EAGAIN)?;
        let Some(count) = copy_out(&first.data, 0, message, sink) else { return Ok(0) };
        let Some(report) = inbox.take_report() else { return Err(Errno::EAGAIN) };
        drop(inbox);
        let family = self.common.family;
        message.parts.push(control::of_report(&report, family));
        message.found |= MessageFlags::ERROR_QUEUE;
        message.from = Some(shown(family, &report.destination, report.interface));
        Ok(count)
    }

    /// Who sent a message, and what else there is to say of it.
    fn describe(&self, datagram: &Datagram, message: &mut Incoming) {
        let family = self.common.family;
        if message.wants_name {
            let from = SocketAddress { address: datagram.header.source, port: datagram.ports.0 };
            message.from = Some(shown(family, &from, datagram.header.interface));
        }
        control::about_arrival(datagram, &self.common.options, &mut message.parts);
        control::about(datagram, family, &self.ip, &mut message.parts);
    }

    /// `IP_ADD_MEMBERSHIP` and its kin: the group and the interface that are meant (`struct ip_mreqn`, `ip_mreq`, `ipv6_mreq`).
    fn change_membership(&self, name: names::Name, value: &[u8]) -> Result<(), Errno> {
        let word = |at: usize| value.get(at..at + 4).and_then(|bytes| <[u8; 4]>::try_from(bytes).ok());
        let (group, interface) = if name.1 == names::JOIN_GROUP || name.1 == names::LEAVE_GROUP {
            group_request(name.0, value)?
        } else if name.0 == SOL_IP {
            let (group, local) = (word(0).ok_or(Errno::EINVAL)?, word(4).ok_or(Errno::EINVAL)?);
            let index = word(8).map_or(0, u32::from_ne_bytes);
            let v4 = |[a, b, c, d]: [u8; 4]| isopod_net::address::v4(a, b, c, d);
            (v4(group), if index != 0 { index } else { interface_with(&v4(local)) })
        } else {
            let group: [u8; 16] =
                value.get(..16).and_then(|bytes| bytes.try_into().ok()).ok_or(Errno::EINVAL)?;
            (IpAddress::from(group), u32::from_ne_bytes(word(16).ok_or(Errno::EINVAL)?))
        };
        if !is_multicast(&group) {
            return Err(Errno::EINVAL);
        }
        let joins = matches!(name, names::JOIN | names::JOIN_V6) || name.1 == names::JOIN_GROUP;
        if joins {
            // Who names no interface means the one that leads there (`ip_mc_find_dev`).
            let any = any_like(&group);
            let interface = match interface {
                0 => stack().route(&group, &any, 0, clock::monotonic_ns()).map_or(0, |path| path.interface),
                interface => interface,
            };
            stack().interface(interface).ok_or(Errno::ENODEV)?;
            return with_stack(|stack, out| stack.join(&self.endpoint, &group, interface, out))
                .map_err(errno);
        }
        with_stack(|stack, out| stack.leave(&self.endpoint, &group, interface, out)).map_err(errno)
    }

    /// What `IP_MULTICAST_IF` is set to: an address of the interface's, or with two more words its number.
    fn set_group_interface(&self, value: &[u8]) -> Result<(), Errno> {
        let words = value.as_chunks::<4>().0;
        let (address, index) = match words {
            [] => return Err(Errno::EINVAL),
            [address] | [_, address] => (*address, 0),
            [_, address, index, ..] => (*address, u32::from_ne_bytes(*index)),
        };
        let [a, b, c, d] = address;
        let address = isopod_net::address::v4(a, b, c, d);
        let index = match index {
            0 if address == ANY_V4 => 0,
            0 => Some(interface_with(&address)).filter(|index| *index != 0).ok_or(Errno::EADDRNOTAVAIL)?,
            index => stack().interface(index).ok_or(Errno::EADDRNOTAVAIL)?.index,
        };
        self.ip.store(names::GROUP_INTERFACE, index.cast_signed());
        Ok(())
    }
}

/// `struct group_req`: a group and the number of an interface. EINVAL, EADDRNOTAVAIL
fn group_request(level: u32, value: &[u8]) -> Result<(IpAddress, u32), Errno> {
    const LENGTH: usize = 136;
    const ADDRESS: usize = 8;
    let value = value.first_chunk::<LENGTH>().ok_or(Errno::EINVAL)?;
    let interface = u32::from_ne_bytes([value[0], value[1], value[2], value[3]]);
    let family = u16::from_ne_bytes([value[ADDRESS], value[ADDRESS + 1]]);
    let byte = |at: usize| value[ADDRESS + at];
    match (level, family) {
        (SOL_IP, AF_INET) => Ok((isopod_net::address::v4(byte(4), byte(5), byte(6), byte(7)), interface)),
        (SOL_IP, _) => Err(Errno::EINVAL),
        (_, AF_INET6) => {
            Ok((IpAddress::from(core::array::from_fn::<u8, 16, _>(|index| byte(8 + index))), interface))
        }
        _ => Err(Errno::EADDRNOTAVAIL),
    }
}

/// Whether a message of UDP goes in one packet.
pub(super) fn fits(to: &IpAddress, length: usize) -> bool {
    let headers = if is_v4(to) { 28 } else { 48 };
    stack().mtu_to(to).is_none_or(|mtu| length + headers <= mtu as usize)
}

/// The interface with an address; 0 if there is none.
fn interface_with(address: &IpAddress) -> u32 {
    let interfaces = stack().interfaces().unwrap_or_default();
    interfaces.iter().find(|interface| interface.has(address)).map_or(0, |interface| interface.index)
}

impl table::Listed for DatagramSocket {
    fn shown(&self) -> Option<table::Shown> {
        /// `TCP_ESTABLISHED`
        const CONNECTED: u8 = 1;
        let names = self.endpoint.names();
        let (receiving, dropped, ended) = {
            let inbox = self.endpoint.inbox();
            let waiting = inbox.messages.iter().map(|message| message.data.len()).sum();
            (waiting, inbox.dropped, u8::from(inbox.ended) | u8::from(inbox.silent) << 1)
        };
        (names.local.port != 0).then(|| table::Shown {
            family: self.common.family,
            local: names.local,
            remote: names.peer.unwrap_or(SocketAddress { address: self.any(), port: 0 }),
            state: if names.peer.is_some() { CONNECTED } else { super::tcp_options::CLOSED },
            sending: 0,
            receiving,
            owner: self.endpoint.owner,
            inode: self.common.inode.load(Ordering::Relaxed),
            dropped,
            room: 0,
            ended,
            only_v6: self.only_v6(),
        })
    }
}

impl Socket for DatagramSocket {
    fn common(&self) -> &Common {
        &self.common
    }

    fn bind(&self, caller: &Thread, address: &Address) -> fs::Result<()> {
        if self.endpoint.raw.is_some() {
            return raw::bind(self, address);
        }
        let Given { at, .. } = address::to_bind(self.common.family, self.only_v6(), address)?;
        let there = stack().can_bind(&at.address) || self.ip.has(names::FREE_BIND);
        let v4 = self.common.family == AF_INET;
        if v4 && !there {
            return Err(Errno::EADDRNOTAVAIL.into());
        }
        check_port(caller, at.port)?;
        if !v4 {
            if self.endpoint.names().local.port != 0 {
                return Err(Errno::EINVAL.into());
            }
            if !there {
                return Err(Errno::EADDRNOTAVAIL.into());
            }
            check_interface(self.common.options.interface(), &at.address)?;
        }
        Ok(stack().bind(&self.endpoint, at, limits::local_ports()).map_err(errno)?)
    }

    fn listen(&self, _: &Thread, _: u32) -> Result<(), Errno> {
        Err(Errno::EOPNOTSUPP)
    }

    fn accept(&self, _: bool) -> Result<Arc<dyn Socket>, Errno> {
        Err(Errno::EOPNOTSUPP)
    }

    fn connect(&self, _: &Thread, address: &Address, _: bool) -> fs::Result<()> {
        let family = address.family().ok_or(Errno::EINVAL)?;
        if family == AF_UNSPEC {
            stack().disconnect(&self.endpoint);
            return Ok(());
        }
        stack().bind_to_any(&self.endpoint, limits::local_ports()).map_err(errno)?;
        let Given { at, scope } = address::to_connect(self.common.family, self.only_v6(), address)?;
        let how = self.manner(&at.address, scope, &Outgoing::default());
        let now = clock::monotonic_ns();
        stack().connect(&self.endpoint, at, &how, now).map_err(configuring::failure)?;
        self.redirect();
        Ok(())
    }

    fn name(&self) -> Result<Address, Errno> {
        let found = self.endpoint.names();
        Ok(shown(self.common.family, &found.local, 0))
    }

    fn peer_name(&self) -> Result<Address, Errno> {
        let peer = self.endpoint.names().peer.filter(|peer| peer.port != 0).ok_or(Errno::ENOTCONN)?;
        Ok(shown(self.common.family, &peer, 0))
    }

    fn shut_down(&self, how: Shutdown) -> Result<(), Errno> {
        self.endpoint.shut_down(how.contains(Shutdown::RECEIVE), how.contains(Shutdown::SEND));
        // It ends all the same (`inet_shutdown`).
        if self.endpoint.names().peer.is_none() { Err(Errno::ENOTCONN) } else { Ok(()) }
    }

    fn send(&self, message: &mut Outgoing, source: &mut dyn Source) -> fs::Result<usize> {
        if self.endpoint.raw.is_some() {
            return raw::send(self, message, source);
        }
        stack().bind_to_any(&self.endpoint, limits::local_ports()).map_err(errno)?;
        let cork = self.cork.lock();
        let open = cork.as_ref().map(|letter| is_v4(&letter.course.to.address));
        let (v4, urgent) = (self.common.family == AF_INET, message.flags.contains(MessageFlags::OUT_OF_BAND));
        if source.remaining() > LENGTH_MAX && (v4 || open.is_none()) {
            return Err(Errno::EMSGSIZE.into());
        }
        if v4 && urgent {
            return Err(Errno::EOPNOTSUPP.into());
        }
        let (has_port, more) = (self.is_udp(), self.corks(message));
        let to = match &message.to {
            // What follows goes where the rest goes (`udp_sendmsg`, `udpv6_sendmsg`).
            Some(_) if v4 && open.is_some() => None,
            Some(to) => address::to_send(self.common.family, self.only_v6(), to, has_port && open.is_none())?,
            None => None,
        };
        if let Some(open_v4) = open {
            if !open_v4 && to.is_some_and(|to| is_v4(&to.at.address)) {
                return Err(Errno::EINVAL.into());
            }
            return self.append(cork, more, source);
        }
        drop(cork);
        let peer = self.endpoint.names().peer;
        let target = to.map(|to| to.at).or(peer).ok_or(Errno::EDESTADDRREQ)?;
        if urgent {
            return Err(Errno::EOPNOTSUPP.into());
        }
        if !is_v4(&message.ip.source) && !stack().can_bind(&message.ip.source) {
            return Err(Errno::EINVAL.into());
        }
        let how = self.manner(&target.address, to.map_or(0, |to| to.scope), message);
        let now = clock::monotonic_ns();
        let to = to.map(|to| to.at);
        let course = stack().course(&self.endpoint, to, &how, now).map_err(configuring::failure)?;
        let length = source.remaining();
        self.check_length(&course, &how, length)?;
        let Some(data) = take_all(source)? else { return Ok(0) };
        let segment = message.ip.segment.unwrap_or(self.ip.get(names::SEGMENT) as u16);
        let piece = if has_port { segment.into() } else { 0 };
        let letter = Letter { course, how, piece, data };
        if more {
            self.begin_letter(letter)?;
        } else {
            self.post(letter)?;
        }
        Ok(length)
    }

    fn receive(&self, message: &mut Incoming, sink: &mut dyn Sink) -> Result<usize, Errno> {
        if message.flags.contains(MessageFlags::OUT_OF_BAND) && !self.is_udp() {
            return Err(Errno::EOPNOTSUPP);
        }
        if message.flags.contains(MessageFlags::ERROR_QUEUE) {
            return self.receive_report(message, sink);
        }
        let mut inbox = self.endpoint.inbox();
        if let Some(error) = inbox.error.take() {
            return Err(errno(error));
        }
        // A peek with an offset looks into those behind the first, too (`__skb_try_recv_from_queue`).
        let options = &self.common.options;
        let mut start = options.peek_offset().filter(|_| message.peeks()).unwrap_or(0);
        let mut found = inbox.messages.iter().skip_while(|datagram| {
            let length = datagram.data.len();
            let passed = start > 0 && start >= length;
            start -= if passed { length } else { 0 };
            passed
        });
        let Some(first) = found.next() else {
            let ended = inbox.ended && !message.flags.contains(MessageFlags::DONT_WAIT);
            return if ended { Ok(0) } else { Err(Errno::EAGAIN) };
        };
        let Some(copied) = copy_out(&first.data, start, message, sink) else { return Ok(0) };
        // Echoes do not tell the whole length (`ping_recvmsg`).
        let whole = message.flags.contains(MessageFlags::CUT) && !self.is_ping();
        let count = if whole { first.data.len() } else { copied };
        if message.peeks() {
            options.move_peek(copied, true);
            self.describe(first, message);
            return Ok(count);
        }
        let datagram = inbox.take();
        drop(inbox);
        options.move_peek(count, false);
        if let Some(datagram) = datagram {
            self.describe(&datagram, message);
        }
        Ok(count)
    }

    fn ready(&self) -> Ready {
        let inbox = self.endpoint.inbox();
        let mut ready = Ready::WRITABLE | Ready::WRITE_BAND;
        ready.set(Ready::ERROR, inbox.error.is_some() || !inbox.reports.is_empty());
        ready.set(Ready::HANG_UP, inbox.ended && inbox.silent);
        ready.set(Ready::READ_HANG_UP, inbox.ended);
        ready.set(Ready::READABLE, inbox.ended || !inbox.messages.is_empty());
        ready
    }

    fn readable_bytes(&self) -> Result<usize, Errno> {
        Ok(self.endpoint.inbox().messages.front().map_or(0, |first| first.data.len()))
    }

    fn unsent_bytes(&self) -> Result<usize, Errno> {
        Ok(0)
    }

    fn take_error(&self) -> Option<Errno> {
        self.endpoint.inbox().error.take().map(errno)
    }

    fn listens(&self) -> bool {
        false
    }

    fn option(&self, level: u32, name: u32) -> Result<OptionValue, Errno> {
        let name = (level, name);
        if let Some(found) = self.endpoint.raw.as_ref().and_then(|raw| raw::option(self, raw, name)) {
            return found;
        }
        if level == SOL_UDP && self.is_udp() {
            return self.ip.told(name);
        }
        if !matches!(level, SOL_IP | options::SOL_SOCKET) && self.common.family == AF_INET {
            return Err(Errno::EOPNOTSUPP);
        }
        match name {
            names::GROUP_INTERFACE => {
                let found = stack().interface(self.group_interface(name));
                let address = found.and_then(|interface| interface.address_for(&ANY_V4)).unwrap_or(ANY_V4);
                Ok(address.octets()[12..].to_vec())
            }
            names::MTU | names::MTU_V6 => {
                let peer = self.endpoint.names().peer.ok_or(Errno::ENOTCONN)?;
                let mtu = stack().mtu_to(&peer.address).ok_or(Errno::ENOTCONN)?;
                Ok(options::value_of(mtu))
            }
            _ => self.ip.told(name),
        }
    }

    fn set_option(&self, level: u32, name: u32, value: &[u8]) -> Result<(), Errno> {
        let name = (level, name);
        if let Some(done) = self.endpoint.raw.as_ref().and_then(|raw| raw::set_option(self, raw, name, value))
        {
            return done;
        }
        if level == SOL_IPV6 && self.common.family == AF_INET || level == SOL_UDP && !self.is_udp() {
            return Err(Errno::ENOPROTOOPT);
        }
        match name {
            names::JOIN
            | names::LEAVE
            | names::JOIN_V6
            | names::LEAVE_V6
            | (SOL_IP | SOL_IPV6, names::JOIN_GROUP | names::LEAVE_GROUP) => {
                return self.change_membership(name, value);
            }
            names::GROUP_INTERFACE => return self.set_group_interface(value),
            names::ONLY_V6 if self.endpoint.names().local.port != 0 => return Err(Errno::EINVAL),
            _ => {}
        }
        let on = self.ip.set(name, value)? != 0;
        match name {
            names::ONLY_V6 => self.endpoint.set(Switches::ONLY_V6, on),
            names::RECEIVE_ERRORS => self.endpoint.set(Switches::REPORTS, on),
            names::RECEIVE_ERRORS_V6 => self.endpoint.set(Switches::REPORTS_V6, on),
            names::ALL_GROUPS => self.endpoint.set(Switches::ALL_GROUPS, on),
            names::CORK if !on => self.uncork(),
            _ => {}
        }
        Ok(())
    }

    fn option_was_set(&self, name: u32) {
        let options = &self.common.options;
        let switch = match name {
            options::REUSE_ADDRESS => Switches::REUSE_ADDRESS,
            options::REUSE_PORT => Switches::REUSE_PORT,
            options::BROADCAST => Switches::BROADCAST,
            options::RECEIVE_BUFFER | options::RECEIVE_BUFFER_FORCE => {
                return self.endpoint.room.store(options.receive_buffer(), Ordering::Relaxed);
            }
            options::BIND_TO_INDEX => {
                return self.endpoint.interface.store(options.interface(), Ordering::Relaxed);
            }
            options::ATTACH_FILTER => {
                let sieve = options.filter().map(|program| Arc::new(Chosen(program)) as Arc<dyn Sieve>);
                return self.endpoint.set_sieve(sieve);
            }
            _ => return,
        };
        self.endpoint.set(switch, options.has(name));
    }

    fn close(&self) {
        with_stack(|stack, out| stack.close(&self.endpoint, out));
    }
}
