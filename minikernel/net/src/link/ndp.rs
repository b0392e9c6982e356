//! Neighbour discovery of IPv6 (RFC 4861): who has which address, and whether anybody else has this machine's (RFC 4862, section 5.4).
//!
//! Addresses are optimistic (RFC 4429): they are used while that is found out, so that a machine that has just started waits for nothing. Until then no
//! neighbour is told to forget what it knew of the address, and who turns out to be second gives it up.

use super::neighbour::{Hardware, Question, Word};
use super::{Link, autoconfiguration, ethernet};
use crate::address::{Address, is_any};
use crate::chunk::Chunk;
use crate::icmp;
use crate::interface::{Interface, InterfaceAddress};
use crate::packet::{IpHeader, Outbox, Packet, Payload, protocol};
use crate::stack::Stack;

/// The types of messages.
pub const ROUTER_SOLICITATION: u8 = 133;
/// See [`ROUTER_SOLICITATION`].
const ROUTER_ADVERTISEMENT: u8 = 134;
/// See [`ROUTER_SOLICITATION`].
const NEIGHBOUR_SOLICITATION: u8 = 135;
/// See [`ROUTER_SOLICITATION`].
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
/// All of them, the last of which tells of better ways (redirects), which nobody heeds here.
pub const TYPES: core::ops::RangeInclusive<u8> = 133..=137;
/// Options: the sender's address on the link, and the target's.
pub const SOURCE_ADDRESS: u8 = 1;
/// See [`SOURCE_ADDRESS`].
const TARGET_ADDRESS: u8 = 2;
/// An option of those who doubt an address: a number by which they know their own question when a link brings it back (RFC 7527, section 4.1).
const NONCE: u8 = 14;
/// Flags of an advertisement: it is an answer, and overrides what was known.
const SOLICITED: u8 = 0x40;
/// See [`SOLICITED`].
const OVERRIDES: u8 = 0x20;
/// The hop limit of what has crossed no router.
const NEAR: u8 = 255;
/// Bytes before the options of messages about neighbours.
const LENGTH: usize = 24;
/// How long another machine has to object to an address (`RETRANS_TIMER`).
pub const DOUBT: u64 = 1_000_000_000;

/// All machines on the link.
pub const ALL_NODES: Address = Address::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// All its routers.
pub const ALL_ROUTERS: Address = Address::new(0xff02, 0, 0, 0, 0, 0, 0, 2);

/// The group in which whoever has an address is (RFC 4291, section 2.7.1).
pub fn solicited_node(address: &Address) -> Address {
    let [.., high, low] = address.segments();
    Address::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | high & 0xff, low)
}

/// The options of a message: their types and what follows the two bytes before that. What makes no sense ends them.
pub fn options(bytes: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut rest = bytes;
    core::iter::from_fn(move || {
        let length = usize::from(*rest.get(1)?) * 8;
        let (option, others) = rest.split_at_checked(length).filter(|_| length > 0)?;
        rest = others;
        Some((option[0], &option[2..]))
    })
}

/// The address on the link that one of the options tells.
fn hardware_in(bytes: &[u8], kind: u8) -> Option<Hardware> {
    let mut found = options(bytes).filter(|option| option.0 == kind);
    found.next()?.1.first_chunk().copied().filter(|hardware| hardware[0] & 1 == 0)
}

impl Link {
    /// Sends a message: its type, what follows the checksum, and an option if there is to be one: [`NONCE`], or one with this machine's address on
    /// the link.
    pub(super) fn tell(
        &self,
        (source, destination): (&Address, &Address),
        (kind, body): (u8, &[u8]),
        option: Option<u8>,
        to: Option<Hardware>,
        out: &mut Outbox,
    ) {
        let mut message = [0; LENGTH + 8];
        let mut length = 4 + body.len();
        message[0] = kind;
        message[4..length].copy_from_slice(body);
        if let Some(option) = option {
            message[length..length + 2].copy_from_slice(&[option, 1]);
            let value = if option == NONCE { self.nonce } else { self.hardware };
            message[length + 2..length + 8].copy_from_slice(&value);
            length += 8;
        }
        let header = IpHeader::new(*source, *destination, NEAR);
        let message = &mut message[..length];
        let sum = icmp::sum(&header, message);
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        let Ok(data) = Chunk::copy_of(message) else { return };
        let mut packet = Packet { header, payload: Payload::Other(protocol::ICMPV6, data.into()) };
        self.emit(&mut packet, to.unwrap_or_else(|| ethernet::of_group(destination)), out);
    }

    /// Asks who has an address, or whoever had it.
    pub(super) fn ask_v6(&self, interface: &Interface, (target, whom): Question, out: &mut Outbox) {
        let Some(source) = interface.source_for(&target, &target, out.now) else { return };
        let all = solicited_node(&target);
        let destination = if whom.is_some() { &target } else { &all };
        let option = (!interface.doubts(&source, out.now)).then_some(SOURCE_ADDRESS);
        self.tell((&source, destination), question(&target).about(), option, whom, out);
    }

    /// Asks whether anybody else has an address of this machine.
    pub(super) fn doubt(&self, address: &Address, out: &mut Outbox) {
        let nobody = Address::UNSPECIFIED;
        self.tell((&nobody, &solicited_node(address)), question(address).about(), Some(NONCE), None, out);
    }

    /// Tells everybody where an address is (RFC 4861, section 7.2.6).
    pub(super) fn announce_v6(&self, interface: &Interface, address: &Address, out: &mut Outbox) {
        self.advertise(interface, address, None, out);
    }

    fn advertise(
        &self,
        interface: &Interface,
        target: &Address,
        asker: Option<(&Address, Option<Hardware>)>,
        out: &mut Outbox,
    ) {
        let overrides = if interface.doubts(target, out.now) { 0 } else { OVERRIDES };
        let solicited = if asker.is_some() { SOLICITED } else { 0 };
        let mut body = [0; LENGTH - 4];
        body[0] = overrides | solicited;
        body[4..].copy_from_slice(&target.octets());
        let (to, hardware) = asker.unwrap_or((&ALL_NODES, None));
        self.tell((target, to), (NEIGHBOUR_ADVERTISEMENT, &body), Some(TARGET_ADDRESS), hardware, out);
    }
}

/// A question for an address.
struct Asked([u8; LENGTH - 4]);

fn question(target: &Address) -> Asked {
    let mut body = [0; LENGTH - 4];
    body[4..].copy_from_slice(&target.octets());
    Asked(body)
}

impl Asked {
    fn about(&self) -> (u8, &[u8]) {
        (NEIGHBOUR_SOLICITATION, &self.0)
    }
}

/// Takes in a message whose checksum is right.
pub fn input(stack: &Stack, header: &IpHeader, message: &[u8], out: &mut Outbox) {
    let Some(interface) = stack.at(header.interface) else { return };
    let Some(link) = &interface.link else { return };
    // Nobody beyond a router speaks here (RFC 4861, section 6.1.2, 7.1).
    if header.hop_limit != NEAR || message[1] != 0 {
        return;
    }
    match message[0] {
        NEIGHBOUR_SOLICITATION => {
            solicited(stack, (interface, link), header, message, out);
        }
        NEIGHBOUR_ADVERTISEMENT => {
            advertised(stack, (interface, link), header, message, out);
        }
        ROUTER_ADVERTISEMENT => autoconfiguration::input(stack, interface, link, header, message, out),
        _ => {}
    }
}

fn target_of(message: &[u8]) -> Option<Address> {
    let target: [u8; 16] = message.get(8..LENGTH)?.try_into().ok()?;
    Some(Address::from(target)).filter(|target| !target.is_multicast())
}

/// Somebody asks who has an address.
fn solicited(
    stack: &Stack,
    (interface, link): (&Interface, &Link),
    header: &IpHeader,
    message: &[u8],
    out: &mut Outbox,
) -> Option<()> {
    let target = target_of(message)?;
    let hardware = hardware_in(&message[LENGTH..], SOURCE_ADDRESS);
    if !interface.has(&target) {
        return None;
    }
    if is_any(&header.source) {
        if options(&message[LENGTH..]).any(|(kind, value)| kind == NONCE && value == link.nonce) {
            return None;
        }
        // Whoever wants the same address at the same time gets it as little as this machine (RFC 4862, section 5.4.3).
        if interface.doubts(&target, out.now) {
            stack.lose(interface, &target);
        } else if hardware.is_none() && header.destination == solicited_node(&target) {
            link.advertise(interface, &target, None, out);
        }
        return None;
    }
    let known = match hardware {
        Some(hardware) => {
            let word = Word { solicited: false, overrides: true, creates: true };
            let waited = link.neighbours.learn(&header.source, hardware, word, out.now);
            link.release(waited, hardware, out);
            hardware
        }
        None => link.neighbours.find(&header.source, out.now)?.0,
    };
    link.advertise(interface, &target, Some((&header.source, Some(known))), out);
    Some(())
}

/// Somebody says that it has an address.
fn advertised(
    stack: &Stack,
    (interface, link): (&Interface, &Link),
    header: &IpHeader,
    message: &[u8],
    out: &mut Outbox,
) -> Option<()> {
    let target = target_of(message)?;
    let hardware = hardware_in(&message[LENGTH..], TARGET_ADDRESS);
    if interface.has(&target) {
        // What this machine has answered itself may come back.
        let is_own = hardware == Some(link.hardware);
        if !is_own && interface.doubts(&target, out.now) {
            stack.lose(interface, &target);
        }
        return None;
    }
    let hardware = hardware?;
    let solicited = message[4] & SOLICITED != 0 && !header.destination.is_multicast();
    let word = Word { solicited, overrides: message[4] & OVERRIDES != 0, creates: false };
    let waited = link.neighbours.learn(&target, hardware, word, out.now);
    link.release(waited, hardware, out);
    Some(())
}

impl Interface {
    /// Whether another machine may still say that it has an address of this one.
    pub(crate) fn doubts(&self, address: &Address, now: u64) -> bool {
        let doubted = |known: &InterfaceAddress| known.address == *address && known.doubtful_until > now;
        self.addresses.read().iter().any(doubted)
    }
}

impl Stack {
    /// An address is another machine's.
    fn lose(&self, interface: &Interface, address: &Address) {
        // It may be gone already.
        let _ = self.remove_address(interface.index, address);
        self.tell(crate::event::Event::Duplicate { interface: interface.index, address: *address });
    }
}
