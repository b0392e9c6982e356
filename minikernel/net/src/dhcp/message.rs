//! Messages (RFC 2131, section 2) and their options (RFC 2132), as far as a client writes and reads them.

use alloc::string::String;
use alloc::vec::Vec;

use smoltcp::wire::{ArpHardware, DhcpFlags, DhcpOpCode, DhcpPacket, EthernetAddress};

use super::{Lease, names};
use crate::address::{ANY_V4, Address, V4_PREFIX, is_any, is_multicast};
use crate::link::Hardware;

/// Bytes before the options.
const HEADER: usize = 240;
/// What says that options follow.
const MAGIC: u32 = 0x6382_5363;
/// Relays drop what is shorter (RFC 1542, section 2.1).
const LEAST: usize = 300;
const SECOND: u64 = 1_000_000_000;
/// The longest message that servers are to send.
const LONGEST: u16 = 1500;
/// So many routes are heeded.
const ROUTES_MOST: usize = 64;
/// No time of a lease is shorter than this, or than half of the lease.
const TIME_LEAST: u64 = 60 * SECOND;

/// The options' numbers.
mod option {
    pub const MASK: u8 = 1;
    pub const ROUTERS: u8 = 3;
    pub const SERVERS: u8 = 6;
    pub const HOST_NAME: u8 = 12;
    pub const DOMAIN: u8 = 15;
    pub const MTU: u8 = 26;
    pub const REQUESTED: u8 = 50;
    pub const LEASE_TIME: u8 = 51;
    pub const OVERLOAD: u8 = 52;
    pub const KIND: u8 = 53;
    pub const SERVER: u8 = 54;
    pub const WANTED: u8 = 55;
    pub const LONGEST: u8 = 57;
    pub const RENEWAL: u8 = 58;
    pub const REBINDING: u8 = 59;
    pub const CLIENT: u8 = 61;
    pub const SEARCH: u8 = 119;
    pub const ROUTES: u8 = 121;
}

/// What is asked for: the routes before the routers (RFC 3442).
const WANTED: [u8; 11] = [
    option::MASK,
    option::ROUTES,
    option::ROUTERS,
    option::SERVERS,
    option::HOST_NAME,
    option::DOMAIN,
    option::MTU,
    option::RENEWAL,
    option::REBINDING,
    option::SEARCH,
    option::LEASE_TIME,
];

/// The kinds of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Discover = 1,
    Offer = 2,
    Request = 3,
    Ack = 5,
    Nak = 6,
}

/// A message that a client sends.
#[derive(Debug)]
pub struct Question {
    pub kind: Kind,
    pub hardware: Hardware,
    pub transaction: u32,
    /// Since when it tries, in seconds.
    pub seconds: u16,
    /// The address that it has.
    pub own: Address,
    /// The one that it would have.
    pub requested: Option<Address>,
    /// The server whose offer it takes.
    pub server: Option<Address>,
}

/// Bytes of an address of IPv4.
fn octets(address: &Address) -> [u8; 4] {
    address.to_ipv4_mapped().map_or([0; 4], |address| address.octets())
}

impl Question {
    /// Its bytes. `None` without memory.
    pub fn emit(&self) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(HEADER + 128).ok()?;
        bytes.resize(HEADER, 0);
        let mut packet = DhcpPacket::new_unchecked(&mut bytes[..]);
        packet.set_opcode(DhcpOpCode::Request);
        packet.set_hardware_type(ArpHardware::Ethernet);
        packet.set_hardware_len(6);
        packet.set_transaction_id(self.transaction);
        packet.set_secs(self.seconds);
        packet.set_flags(DhcpFlags::empty());
        packet.set_client_ip(octets(&self.own).into());
        packet.set_client_hardware_address(EthernetAddress(self.hardware));
        packet.set_magic_number(MAGIC);
        let mut put = |kind: u8, value: &[u8]| {
            bytes.extend_from_slice(&[kind, value.len() as u8]);
            bytes.extend_from_slice(value);
        };
        put(option::KIND, &[self.kind as u8]);
        // The card's address is what does not change (RFC 4361, section 6.1: an identity association, and a DUID of the third sort).
        let [a, b, rest @ ..] = self.hardware;
        let mut client = [255, 0, 0, 0, 0, 0, 3, 0, 1, a, b, 0, 0, 0, 0];
        client[1..5].copy_from_slice(&rest);
        client[11..].copy_from_slice(&rest);
        put(option::CLIENT, &client);
        if let Some(requested) = &self.requested {
            put(option::REQUESTED, &octets(requested));
        }
        if let Some(server) = &self.server {
            put(option::SERVER, &octets(server));
        }
        put(option::WANTED, &WANTED);
        put(option::LONGEST, &LONGEST.to_be_bytes());
        bytes.push(255);
        if bytes.len() < LEAST {
            bytes.resize(LEAST, 0);
        }
        Some(bytes)
    }
}

/// A message that a server sends.
#[derive(Debug)]
pub struct Answer {
    pub kind: Kind,
    pub transaction: u32,
    pub server: Option<Address>,
    /// What it gives, and when that is to be renewed, of this server and of any, in nanoseconds from now. A refusal gives nothing.
    pub lease: Option<(Lease, u64, u64)>,
}

/// Calls `visit` for each option of a message. The fields that options may lie in besides come last (RFC 2131, section 4.1).
fn each<'a>(bytes: &'a [u8], visit: &mut dyn FnMut(u8, &'a [u8])) {
    const FILE: core::ops::Range<usize> = 108..236;
    const SERVER_NAME: core::ops::Range<usize> = 44..108;
    let overload = walk(&bytes[HEADER..], visit);
    if overload & 1 != 0 {
        walk(&bytes[FILE], visit);
    }
    if overload & 2 != 0 {
        walk(&bytes[SERVER_NAME], visit);
    }
}

/// Does that for a part of a message. Returns what it says of options in other fields.
fn walk<'a>(part: &'a [u8], visit: &mut dyn FnMut(u8, &'a [u8])) -> u8 {
    let (mut overload, mut rest) = (0, part);
    loop {
        match rest {
            [0, others @ ..] => rest = others,
            [255, ..] | [] | [_] => return overload,
            [kind, length, others @ ..] => {
                let Some((value, others)) = others.split_at_checked((*length).into()) else {
                    return overload;
                };
                if let (option::OVERLOAD, [value, ..]) = (*kind, value) {
                    overload = *value;
                }
                visit(*kind, value);
                rest = others;
            }
        }
    }
}

/// An option's value; what is in pieces is joined (RFC 3396). Nothing without memory.
fn value(bytes: &[u8], wanted: u8) -> Vec<u8> {
    let mut whole = Vec::new();
    each(bytes, &mut |kind, value| {
        if kind == wanted && whole.try_reserve(value.len()).is_ok() {
            whole.extend_from_slice(value);
        }
    });
    whole
}

fn word(value: &[u8]) -> Option<u32> {
    value.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}

fn address(bytes: [u8; 4]) -> Address {
    core::net::Ipv4Addr::from(bytes).to_ipv6_mapped()
}

/// The addresses of machines in a value.
fn addresses(value: &[u8]) -> Vec<Address> {
    let all = value.as_chunks::<4>().0.iter().map(|bytes| address(*bytes));
    all.filter(|address| !is_any(address) && !is_multicast(address)).collect()
}

/// The prefix that a mask says, or else the one that the address has by its class (RFC 791).
fn prefix(mask: Option<u32>, own: [u8; 4]) -> u8 {
    let said = mask.filter(|mask| *mask != 0 && mask.leading_ones() + mask.trailing_zeros() == 32);
    let class = match own[0] {
        0..128 => 8,
        128..192 => 16,
        _ => 24,
    };
    V4_PREFIX + said.map_or(class, |mask| mask.leading_ones() as u8)
}

/// Networks and the routers to them (RFC 3442).
fn routes(value: &[u8]) -> Vec<(Address, u8, Option<Address>)> {
    let (mut all, mut rest) = (Vec::new(), value);
    while all.len() < ROUTES_MOST
        && let Some((&length, others)) = rest.split_first().filter(|(length, _)| **length <= 32)
    {
        let Some((network, others)) = others.split_at_checked(usize::from(length).div_ceil(8)) else { break };
        let Some((router, others)) = others.split_first_chunk() else { break };
        let mut bytes = [0; 4];
        bytes[..network.len()].copy_from_slice(network);
        let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
        let network = address((u32::from_be_bytes(bytes) & mask).to_be_bytes());
        let router = Some(address(*router)).filter(|router| *router != ANY_V4);
        all.push((network, V4_PREFIX + length, router));
        rest = others;
    }
    all
}

/// Reads a message to a client with this address on the link. `None` for what is none.
pub fn parse(bytes: &[u8], hardware: Hardware, now: u64) -> Option<Answer> {
    // Not longer than it was asked to be.
    let packet = DhcpPacket::new_checked(bytes).ok().filter(|_| bytes.len() <= LONGEST.into())?;
    let ours = packet.opcode() == DhcpOpCode::Reply
        && packet.magic_number() == MAGIC
        && packet.hardware_len() == 6
        && packet.client_hardware_address().0 == hardware;
    let kind = match value(bytes, option::KIND)[..] {
        [2] => Kind::Offer,
        [5] => Kind::Ack,
        [6] => Kind::Nak,
        _ => return None,
    };
    let transaction = packet.transaction_id();
    if !ours {
        return None;
    }
    let of = |kind| value(bytes, kind);
    let server = addresses(&of(option::SERVER)).first().copied();
    if kind == Kind::Nak {
        return Some(Answer { kind, transaction, server, lease: None });
    }
    let own = packet.your_ip();
    let (Some(server), Some(seconds)) = (server, word(&of(option::LEASE_TIME))) else { return None };
    if own.is_unspecified() || own.is_multicast() || own.is_loopback() || own.is_broadcast() || seconds == 0 {
        return None;
    }
    let duration = if seconds == u32::MAX { u64::MAX } else { u64::from(seconds) * SECOND };
    let time = |kind, usual: u64| word(&of(kind)).map_or(usual, |seconds| u64::from(seconds) * SECOND);
    // Who asks earlier than that asks without end.
    let least = TIME_LEAST.min(duration / 2);
    let rebinding = time(option::REBINDING, duration / 8 * 7).clamp(least, duration);
    let renewal = time(option::RENEWAL, duration / 2).clamp(least, rebinding);
    let domains: Vec<String> =
        of(option::DOMAIN).split(|byte| matches!(byte, b' ' | 0)).filter_map(names::plain).collect();
    let search = names::list(&of(option::SEARCH));
    let lease = Lease {
        address: own.to_ipv6_mapped(),
        prefix: prefix(word(&of(option::MASK)), own.octets()),
        server,
        routers: addresses(&of(option::ROUTERS)),
        routes: routes(&of(option::ROUTES)),
        dns: addresses(&of(option::SERVERS)),
        domain: domains.first().cloned(),
        search: if search.is_empty() { domains } else { search },
        hostname: names::plain(&of(option::HOST_NAME)),
        // No host takes less (RFC 791).
        mtu: of(option::MTU).first_chunk().map(|bytes| u16::from_be_bytes(*bytes)).filter(|mtu| *mtu >= 576),
        until: now.saturating_add(duration),
    };
    Some(Answer { kind, transaction, server: Some(server), lease: Some((lease, renewal, rebinding)) })
}
