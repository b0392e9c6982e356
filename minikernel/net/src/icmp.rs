//! ICMP (RFC 792) and ICMPv6 (RFC 4443): echoes, and errors both ways.

use alloc::vec::Vec;

use crate::address::{Address, SocketAddress, is_any, is_link_local, is_multicast, is_v4};
use crate::checksum::Sum;
use crate::chunk::{Chunk, Chunks};
use crate::error::{Error, Result};
use crate::interface::Interface;
use crate::ip;
use crate::link::{membership, ndp};
use crate::packet::{IpHeader, Outbox, Packet, Payload, UdpHeader, protocol};
use crate::raw::{self, Raw};
use crate::route::Kind;
use crate::segments::{self, of_tcp};
use crate::stack::{HOP_LIMIT, Stack};
use crate::tcp;

/// Bytes of a message's fixed part.
pub const HEADER: usize = 8;
/// Bytes of the longest error, with its IP header (RFC 1812, section 4.3.2.3; RFC 4443, section 2.4).
const ERROR_MAX_V4: usize = 576;
/// See [`ERROR_MAX_V4`].
const ERROR_MAX_V6: usize = 1280;

/// The types and codes of a version.
struct Version {
    protocol: u8,
    echo: u8,
    reply: u8,
    /// The types of errors.
    errors: &'static [core::ops::RangeInclusive<u8>],
    /// Type and code for a port at which nobody is.
    port_unreachable: (u8, u8),
    /// Type, code and pointer for a protocol that nobody knows.
    protocol_unreachable: (u8, u8),
    /// Type and code for a host that does not answer.
    host_unreachable: (u8, u8),
    /// Type and code for fragments without the rest.
    late: (u8, u8),
}

static V4: Version = Version {
    protocol: protocol::ICMP,
    echo: 8,
    reply: 0,
    errors: &[3..=5, 11..=12],
    port_unreachable: (3, 3),
    protocol_unreachable: (3, 2),
    host_unreachable: (3, 1),
    late: (11, 1),
};
static V6: Version = Version {
    protocol: protocol::ICMPV6,
    echo: 128,
    reply: 129,
    errors: &[1..=127],
    port_unreachable: (1, 4),
    protocol_unreachable: (4, 1),
    host_unreachable: (1, 3),
    late: (3, 1),
};

impl Version {
    fn is_error(&self, kind: u8) -> bool {
        self.errors.iter().any(|errors| errors.contains(&kind))
    }

    /// What an error says.
    fn of(&self, why: Unreachable) -> (u8, u8, u32) {
        let (kind, code) = match why {
            Unreachable::Port => self.port_unreachable,
            Unreachable::Protocol => self.protocol_unreachable,
            Unreachable::Host => self.host_unreachable,
            Unreachable::Late => self.late,
        };
        (kind, code, 0)
    }
}

fn version_of(address: &Address) -> &'static Version {
    if is_v4(address) { &V4 } else { &V6 }
}

/// Why a packet is answered with an error.
#[derive(Clone, Copy, Debug)]
pub enum Unreachable {
    /// Nobody is at the port.
    Port,
    /// Nobody knows the protocol.
    Protocol,
    /// The neighbour that it is to go to does not answer.
    Host,
    /// The rest of its fragments has not come.
    Late,
}

/// Who says that something went wrong (`SO_EE_ORIGIN_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// This machine.
    Local = 1,
    /// An ICMP message.
    Icmp = 2,
    /// An ICMPv6 message.
    IcmpV6 = 3,
}

/// What became of something that an endpoint sent.
#[derive(Debug)]
pub struct Report {
    /// What that means.
    pub error: Error,
    /// Nothing else can be expected.
    pub fatal: bool,
    /// Who says so.
    pub origin: Origin,
    /// The message's type and code.
    pub kind: (u8, u8),
    /// More, such as the size that would have fitted.
    pub info: u32,
    /// Who sent the message.
    pub offender: Address,
    /// What it is about was sent there.
    pub destination: SocketAddress,
    /// How that began.
    pub data: Chunks,
    /// The interface that the message came by.
    pub interface: u32,
}

impl Report {
    /// Whether it is about IPv4.
    pub fn is_v4(&self) -> bool {
        is_v4(&self.destination.address)
    }
}

/// All bytes of `data` in one chunk.
pub(crate) fn flat(data: &Chunks) -> Option<Chunk> {
    let mut chunks = data.iter();
    match (chunks.next(), chunks.next()) {
        (None, _) => Chunk::copy_of(&[]).ok(),
        (Some(only), None) => Some(only.clone()),
        _ => {
            let mut whole = Chunk::with_capacity(&[], data.len()).ok()?;
            data.iter().for_each(|chunk| {
                whole.extend(chunk);
            });
            Some(whole)
        }
    }
}

/// The sum over a message, which is 0 if its checksum is right.
pub(crate) fn sum(header: &IpHeader, data: &[u8]) -> u16 {
    let mut sum = if is_v4(&header.source) {
        Sum::default()
    } else {
        Sum::of_pseudo_header(&header.source, &header.destination, protocol::ICMPV6, data.len())
    };
    sum.add(data);
    sum.finish()
}

/// The header of an answer to a packet.
fn answer(header: &IpHeader) -> IpHeader {
    IpHeader {
        whole: false,
        interface: header.interface,
        ..IpHeader::new(header.destination, header.source, HOP_LIMIT)
    }
}

/// Sends a message with its checksum to where `header` says.
fn send(stack: &Stack, header: IpHeader, message: &mut [u8], out: &mut Outbox) {
    message[2..4].fill(0);
    let checksum = sum(&header, message);
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
    let Ok(data) = Chunk::copy_of(message) else { return };
    let protocol = version_of(&header.source).protocol;
    let packet = Packet { header, payload: Payload::Other(protocol, data.into()) };
    // What holds on one link only goes back where it came from.
    let interface = if is_link_local(&header.destination) { header.interface } else { 0 };
    if let Ok(path) = stack.route(&header.destination, &header.source, interface, out.now) {
        // Nobody waits for an answer that cannot be sent.
        let _ = stack.output(&path, packet, out);
    }
}

/// An echo request as a program gives it, with its own identifier. `Invalid` if it is none.
pub(crate) fn echo(header: &IpHeader, identifier: u16, data: &Chunks) -> Result<Chunks> {
    let message = flat(data).ok_or(Error::OutOfMemory)?;
    let asks = message.len() >= HEADER && message[..2] == [version_of(&header.source).echo, 0];
    if !asks {
        return Err(Error::Invalid);
    }
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(message.len()).map_err(|_| Error::OutOfMemory)?;
    bytes.extend_from_slice(&message);
    bytes[2..4].fill(0);
    bytes[4..6].copy_from_slice(&identifier.to_be_bytes());
    let checksum = sum(header, &bytes);
    bytes[2..4].copy_from_slice(&checksum.to_be_bytes());
    Ok(Chunk::from(bytes).into())
}

/// Takes in a message.
pub fn input(stack: &Stack, header: &IpHeader, data: &Chunks, out: &mut Outbox) {
    let version = version_of(&header.source);
    let Some(message) = flat(data).filter(|message| message.len() >= HEADER) else { return };
    if sum(header, &message) != 0 {
        return;
    }
    let kind = message[0];
    if kind == version.echo {
        // Broadcasts are not answered (`icmp_echo_ignore_broadcasts`).
        if !is_multicast(&header.destination) && stack.routes.kind_of(&header.destination) == Kind::Local {
            let mut echo = Vec::new();
            // It is lost where there is no memory for it.
            if echo.try_reserve_exact(message.len()).is_err() {
                return;
            }
            echo.extend_from_slice(&message);
            echo[0] = version.reply;
            send(stack, answer(header), &mut echo, out);
        }
    } else if kind == version.reply {
        let identifier = u16::from_be_bytes([message[4], message[5]]);
        let place = |address| SocketAddress { address, port: identifier };
        let (from, to) = (place(header.source), place(header.destination));
        let from = SocketAddress { port: 0, ..from };
        if let Some(endpoint) = stack.pings.find(&from, &to, header.interface, 0) {
            endpoint.deliver(header, (0, identifier), message.into(), out.now);
        }
    } else if version.protocol == protocol::ICMPV6 && kind == membership::QUERY_V6 {
        membership::input_v6(stack, header, &message, out);
    } else if version.protocol == protocol::ICMPV6 && ndp::TYPES.contains(&kind) {
        ndp::input(stack, header, &message, out);
    } else if version.is_error(kind) {
        error(stack, header, &message, out);
    }
}

/// Somebody says that a packet of this machine's did not arrive.
fn error(stack: &Stack, header: &IpHeader, message: &Chunk, out: &mut Outbox) {
    let quoted = &message[HEADER..];
    let Some((about, protocol, payload)) = ip::parse(quoted, header.interface) else { return };
    let (kind, code) = (message[0], message[1]);
    let Some((error, fatal)) = meaning(is_v4(&header.source), kind, code) else { return };
    let mut data = message.clone();
    data.advance(HEADER + payload.start);
    let port =
        |place: usize| data.get(place..place + 2).map_or(0, |bytes| u16::from_be_bytes([bytes[0], bytes[1]]));
    let (source, destination) = (port(0), port(2));
    let endpoint = |address, port| SocketAddress { address, port };
    let info = u32::from_be_bytes([message[4], message[5], message[6], message[7]]);
    let report = |port, skip, mut data: Chunk| {
        data.advance(skip);
        Report {
            error,
            fatal,
            origin: if is_v4(&header.source) { Origin::Icmp } else { Origin::IcmpV6 },
            kind: (kind, code),
            info: if error == Error::TooLong { info & mtu_mask(&header.source) } else { 0 },
            offender: header.source,
            destination: endpoint(about.destination, port),
            data: data.into(),
            interface: header.interface,
        }
    };
    if !stack.raws.is_empty() {
        let (from, to) = (about.destination, about.source);
        raw::matching(stack, protocol, (&from, &to), header.interface, &mut |endpoint| {
            let skip = if endpoint.raw.as_ref().is_some_and(Raw::has_header) { 0 } else { payload.start };
            let mut quoted = message.clone();
            quoted.advance(HEADER + skip);
            endpoint.fail(report(0, 0, quoted));
        });
    }
    match protocol {
        protocol::UDP if data.len() >= UdpHeader::LEN => {
            let from = endpoint(about.destination, destination);
            let to = endpoint(about.source, source);
            if let Some(endpoint) = stack.udp.find(&from, &to, header.interface, 0) {
                if error == Error::TooLong {
                    stack.learn_mtu(&about.destination, info & mtu_mask(&header.source), out.now);
                }
                endpoint.fail(report(destination, UdpHeader::LEN, data));
            }
        }
        protocol if protocol == version_of(&about.source).protocol && data.len() >= HEADER => {
            let identifier = u16::from_be_bytes([data[4], data[5]]);
            let (from, to) = (endpoint(about.destination, 0), endpoint(about.source, identifier));
            if let Some(endpoint) = stack.pings.find(&from, &to, header.interface, 0) {
                endpoint.fail(report(0, 0, data));
            }
        }
        protocol::TCP if data.len() >= 8 => {
            let place = |address, port| tcp::Endpoint::new(of_tcp(&address), port);
            let flow = tcp::Flow {
                local: place(about.source, source),
                remote: place(about.destination, destination),
            };
            let quoted = tcp::Seq(u32::from_be_bytes([data[4], data[5], data[6], data[7]]));
            let error = match error {
                Error::NetworkUnreachable => tcp::Error::NetworkUnreachable,
                Error::Refused | Error::ProtocolUnreachable => tcp::Error::Refused,
                Error::TooLong => {
                    let mtu = info & mtu_mask(&header.source);
                    return segments::path_changed(stack, &flow, quoted, (about.destination, mtu), out);
                }
                _ => tcp::Error::HostUnreachable,
            };
            stack.tcp.unreachable(out.now, &flow, quoted, error);
        }
        _ => {}
    }
}

/// The message tells a size in all of its last four bytes, or in two of them.
fn mtu_mask(source: &Address) -> u32 {
    if is_v4(source) { 0xffff } else { u32::MAX }
}

/// What an error means, and whether it is final (`icmp_err_convert`, `icmpv6_err_convert`). `None` for those that nobody heeds.
fn meaning(v4: bool, kind: u8, code: u8) -> Option<(Error, bool)> {
    use Error::{
        BadHeader, Forbidden, HostDown, HostIsolated, HostUnreachable, NetworkUnreachable, NotSupported,
        ProtocolUnreachable, Refused, TooLong,
    };
    const UNREACHABLE_V4: [(Error, bool); 16] = [
        (NetworkUnreachable, false),
        (HostUnreachable, false),
        (ProtocolUnreachable, true),
        (Refused, true),
        (TooLong, true),
        (NotSupported, false),
        (NetworkUnreachable, true),
        (HostDown, true),
        (HostIsolated, true),
        (NetworkUnreachable, true),
        (HostUnreachable, true),
        (NetworkUnreachable, false),
        (HostUnreachable, false),
        (HostUnreachable, true),
        (HostUnreachable, true),
        (HostUnreachable, true),
    ];
    const UNREACHABLE_V6: [(Error, bool); 7] = [
        (NetworkUnreachable, false),
        (Forbidden, true),
        (HostUnreachable, false),
        (HostUnreachable, false),
        (Refused, true),
        (Forbidden, true),
        (Forbidden, true),
    ];
    match (v4, kind) {
        (true, 3) => Some(*UNREACHABLE_V4.get(usize::from(code)).unwrap_or(&(HostUnreachable, true))),
        (false, 1) => Some(*UNREACHABLE_V6.get(usize::from(code)).unwrap_or(&(HostUnreachable, true))),
        (true, 11) | (false, 3) => Some((HostUnreachable, false)),
        (true, 12) | (false, 4) => Some((BadHeader, true)),
        (false, 2) => Some((TooLong, true)),
        _ => None,
    }
}

/// Tells the sender of a packet that nobody takes it, unless it was for many, or an error itself (RFC 1122, section 3.2.2; RFC 4443, section 2.4).
pub fn refuse(stack: &Stack, packet: &Packet, why: Unreachable, out: &mut Outbox) {
    let header = &packet.header;
    if header.to_many || stack.routes.kind_of(&header.destination) != Kind::Local {
        return;
    }
    tell(stack, packet, answer(header), version_of(&header.source).of(why), out);
}

/// Tells this machine that a packet of its own cannot be sent (`dst_link_failure`).
pub fn report(stack: &Stack, packet: &Packet, why: Unreachable, out: &mut Outbox) {
    let source = packet.header.source;
    if stack.routes.kind_of(&source) == Kind::Local {
        let header = IpHeader { source, ..answer(&packet.header) };
        tell(stack, packet, header, version_of(&source).of(why), out);
    }
}

/// Tells the sender of a packet of IPv6 that a header of it cannot be heeded: the code, and where; of what was for many only if that is `always` told
/// (RFC 4443, section 3.4).
pub fn object(
    stack: &Stack,
    interface: &Interface,
    packet: &Packet,
    (code, pointer): (u8, u32),
    always: bool,
    out: &mut Outbox,
) {
    const PARAMETER: u8 = 4;
    let mut header = answer(&packet.header);
    if packet.header.to_many || is_multicast(&header.source) {
        let own = interface.source_for(&header.destination, &header.destination, out.now);
        let Some(own) = own.filter(|_| always) else { return };
        header.source = own;
    }
    tell(stack, packet, header, (PARAMETER, code, pointer), out);
}

/// Sends an error, its type, code and what stands behind them, unless it would be about one, or there have been too many.
fn tell(
    stack: &Stack,
    packet: &Packet,
    header: IpHeader,
    (kind, code, more): (u8, u8, u32),
    out: &mut Outbox,
) {
    let v4 = is_v4(&header.source);
    let version = version_of(&header.source);
    let is_error = match &packet.payload {
        Payload::Other(protocol, data) if *protocol == version.protocol => {
            data.front().first().is_some_and(|kind| version.is_error(*kind))
        }
        _ => false,
    };
    let to = &header.destination;
    if is_error || is_any(to) || is_multicast(to) || is_multicast(&header.source) {
        return;
    }
    // This machine may tell itself whatever there is.
    if stack.routes.kind_of(to) != Kind::Local && !stack.limit.allows(to, out.now, (stack.random)()) {
        return;
    }
    let most = if v4 { ERROR_MAX_V4 - ip::V4_HEADER } else { ERROR_MAX_V6 - ip::V6_HEADER };
    let mut message = [0; ERROR_MAX_V6];
    message[..2].copy_from_slice(&[kind, code]);
    message[4..HEADER].copy_from_slice(&more.to_be_bytes());
    let length = HEADER + packet.emit(&mut message[HEADER..most]);
    send(stack, header, &mut message[..length], out);
}
