//! Tells routers and switches which groups this machine is in: IGMP (RFC 3376, RFC 2236), MLD (RFC 3810, RFC 2710).

use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use super::{Link, ethernet, ndp};
use crate::address::{ANY_V4, Address, any_like, is_any, is_v4, v4};
use crate::checksum::Sum;
use crate::chunk::Chunk;
use crate::icmp;
use crate::interface::Interface;
use crate::packet::{IpHeader, Outbox, Packet, Payload, protocol};
use crate::stack::Stack;

/// All machines, all routers, and those that understand the latest version.
pub const ALL_HOSTS: Address = v4(224, 0, 0, 1);
/// See [`ALL_HOSTS`].
const ALL_ROUTERS: Address = v4(224, 0, 0, 2);
/// See [`ALL_HOSTS`].
const REPORTS: Address = v4(224, 0, 0, 22);
/// See [`ALL_HOSTS`].
const REPORTS_V6: Address = Address::new(0xff02, 0, 0, 0, 0, 0, 0, 0x16);

/// Messages of IGMP.
mod igmp {
    pub const QUERY: u8 = 0x11;
    pub const REPORT: u8 = 0x16;
    pub const LEAVE: u8 = 0x17;
    pub const REPORT_V3: u8 = 0x22;
}

/// Messages of MLD, which are ICMPv6's.
pub const QUERY_V6: u8 = 130;
const REPORT_V6: u8 = 131;
const DONE_V6: u8 = 132;
const REPORT_V6_V2: u8 = 143;

/// What a record says: this is so, or this is so from now on (RFC 3376, section 4.2.12).
const IS_EXCLUDE: u8 = 2;
const TO_INCLUDE: u8 = 3;
const TO_EXCLUDE: u8 = 4;

/// A router that asks in an older way is answered so for this long (RFC 3376, section 8.12).
const OLDER: u64 = 260_000_000_000;
/// A unit of the times that IGMP and MLD tell.
const TENTH: u64 = 100_000_000;
/// See [`TENTH`].
const MILLISECOND: u64 = 1_000_000;

/// Until when routers of an older sort are on the link: of IPv4 and of IPv6.
#[derive(Debug)]
pub struct Older([AtomicU64; 2]);

impl Older {
    pub const fn new() -> Self {
        Self([const { AtomicU64::new(0) }; 2])
    }

    fn of(&self, group: &Address) -> &AtomicU64 {
        &self.0[usize::from(!is_v4(group))]
    }
}

/// Whether routers are told of a group: not of those in which everybody is (RFC 3376, section 6), or that end at the machine.
fn is_told(group: &Address) -> bool {
    *group != ALL_HOSTS && *group != ndp::ALL_NODES && (is_v4(group) || group.octets()[1] & 0xf > 1)
}

/// A time in the form that has room for long ones: a mantissa of so many bits, and an exponent (RFC 3376, section 4.1.1).
fn long(code: u32, bits: u32) -> u64 {
    let mantissa = code & ((1 << bits) - 1) | 1 << bits;
    let exponent = code >> bits & 7;
    u64::from(mantissa) << (exponent + 3)
}

impl Link {
    /// Tells routers that this machine is in a group, has entered it, or has left it.
    fn tell_of(&self, interface: &Interface, group: &Address, record: u8, out: &mut Outbox) {
        if !is_told(group) || !interface.is_up() {
            return;
        }
        let older = self.older.of(group).load(Ordering::Relaxed) > out.now;
        let leaves = record == TO_INCLUDE;
        let v4 = is_v4(group);
        let octets = group.octets();
        let group_bytes = if v4 { &octets[12..] } else { &octets[..] };
        let mut message = Vec::new();
        if message.try_reserve_exact(40).is_err() {
            return;
        }
        // The header that says that routers are to look into this (RFC 2711).
        if !v4 {
            message.extend_from_slice(&[protocol::ICMPV6, 0, 5, 2, 0, 0, 1, 0]);
        }
        let start = message.len();
        let destination = if older {
            let kind = match (v4, leaves) {
                (true, false) => igmp::REPORT,
                (true, true) => igmp::LEAVE,
                (false, false) => REPORT_V6,
                (false, true) => DONE_V6,
            };
            let length = if v4 { 4 } else { 8 };
            message.extend_from_slice(&[kind, 0, 0, 0, 0, 0, 0, 0][..length]);
            match (v4, leaves) {
                (true, true) => ALL_ROUTERS,
                (false, true) => ndp::ALL_ROUTERS,
                _ => *group,
            }
        } else {
            let kind = if v4 { igmp::REPORT_V3 } else { REPORT_V6_V2 };
            message.extend_from_slice(&[kind, 0, 0, 0, 0, 0, 0, 1, record, 0, 0, 0]);
            if v4 { REPORTS } else { REPORTS_V6 }
        };
        message.extend_from_slice(group_bytes);
        let source = if v4 { interface.address_for(&ANY_V4) } else { Some(self.local_address()) };
        let source = source.filter(|source| !interface.doubts(source, out.now));
        let header = IpHeader {
            traffic_class: if v4 { 0xc0 } else { 0 },
            interface: interface.index,
            ..IpHeader::new(source.unwrap_or(any_like(group)), destination, 1)
        };
        let body = &mut message[start..];
        let sum = if v4 {
            let mut sum = Sum::default();
            sum.add(body);
            sum.finish()
        } else {
            icmp::sum(&header, body)
        };
        body[2..4].copy_from_slice(&sum.to_be_bytes());
        let protocol = if v4 { protocol::IGMP } else { protocol::HOP_BY_HOP };
        let mut packet = Packet { header, payload: Payload::Other(protocol, Chunk::from(message).into()) };
        self.emit(&mut packet, ethernet::of_group(&destination), out);
    }

    /// Tells routers what they are to know now. Returns when the next is due.
    pub(super) fn expire_groups(&self, stack: &Stack, interface: &Interface, out: &mut Outbox) -> u64 {
        let (due, next) = stack.groups.expire(interface.index, out.now);
        for (group, new) in due {
            self.tell_of(interface, &group, if new { TO_EXCLUDE } else { IS_EXCLUDE }, out);
        }
        next
    }
}

impl Stack {
    /// One more on this machine wants what comes to a group.
    pub(crate) fn enter_group(
        &self,
        group: &Address,
        index: u32,
        out: &mut Outbox,
    ) -> crate::error::Result<()> {
        let Some(at) = self.groups.join(group, index, out.now, (self.random)())? else { return Ok(()) };
        if let Some(interface) = self.at(index)
            && let Some(link) = &interface.link
        {
            link.tell_of(interface, group, TO_EXCLUDE, out);
            self.arm(at);
        }
        Ok(())
    }

    /// One less.
    pub(crate) fn leave_group(&self, group: &Address, index: u32, out: &mut Outbox) {
        if self.groups.leave(group, index)
            && let Some(interface) = self.at(index)
            && let Some(link) = &interface.link
        {
            link.tell_of(interface, group, TO_INCLUDE, out);
        }
    }
}

/// A router asks: about a group, if not about all; it wants answers within `delay`, and is of an older sort.
fn asked(stack: &Stack, index: u32, group: Address, delay: u64, older: bool, out: &Outbox) {
    let Some(link) = stack.at(index).and_then(|interface| interface.link.as_ref()) else { return };
    if older {
        link.older.of(&group).store(out.now + OLDER, Ordering::Relaxed);
    }
    let about = Some(group).filter(|group| !is_any(group));
    stack.arm(stack.groups.ask(about, is_v4(&group), index, out.now, delay, (stack.random)()));
}

/// Takes in a message of IGMP.
pub fn input_v4(stack: &Stack, header: &IpHeader, message: &[u8], out: &Outbox) {
    let mut sum = Sum::default();
    sum.add(message);
    let &[igmp::QUERY, code, _, _, a, b, c, d, ref more @ ..] = message else { return };
    if sum.finish() != 0 {
        return;
    }
    // The first version tells no time; the third has more to say.
    let older = more.len() < 4;
    let delay = match code {
        0 => 100,
        code if code < 128 || older => code.into(),
        code => long(code.into(), 4),
    };
    asked(stack, header.interface, v4(a, b, c, d), delay * TENTH, older, out);
}

/// Takes in a question of MLD, whose checksum is right.
pub fn input_v6(stack: &Stack, header: &IpHeader, message: &[u8], out: &Outbox) {
    let Some(Ok(group)) = message.get(8..24).map(<[u8; 16]>::try_from) else { return };
    // Nobody asks from beyond the link (RFC 3810, section 5.1.14).
    if !header.source.is_unicast_link_local() || header.hop_limit != 1 || is_v4(&Address::from(group)) {
        return;
    }
    let code = u16::from_be_bytes([message[4], message[5]]);
    let older = message.len() < 28;
    let delay = if code < 0x8000 || older { code.into() } else { long(code.into(), 12) };
    asked(stack, header.interface, Address::from(group), delay * MILLISECOND, older, out);
}
