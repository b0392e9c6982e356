//! ARP (RFC 826, RFC 5227).

use smoltcp::wire::{ArpOperation, ArpPacket, ArpRepr, EthernetAddress};

use super::Link;
use super::ethernet::{ARP, EVERYBODY};
use super::neighbour::{Hardware, Word};
use super::port::Frame;
use crate::address::{Address, is_any, is_multicast};
use crate::packet::Outbox;
use crate::route::Kind;
use crate::stack::Stack;

/// Bytes of a message.
const LENGTH: usize = 28;

/// A message with its frame, if the addresses are those of IPv4. `to` is whom it is for, or everybody.
fn message(
    operation: ArpOperation,
    (own, source): (Hardware, &Address),
    (to, target): (Option<Hardware>, &Address),
) -> Option<Frame> {
    let frame_for = if operation == ArpOperation::Request { to.unwrap_or(EVERYBODY) } else { to? };
    let repr = ArpRepr::EthernetIpv4 {
        operation,
        source_hardware_addr: EthernetAddress(own),
        source_protocol_addr: source.to_ipv4_mapped()?,
        target_hardware_addr: EthernetAddress(to.unwrap_or_default()),
        target_protocol_addr: target.to_ipv4_mapped()?,
    };
    let mut frame = Frame::new(frame_for, own, ARP);
    repr.emit(&mut ArpPacket::new_unchecked(frame.extend(LENGTH)));
    Some(frame)
}

impl Link {
    /// Asks who has `target`, everybody or, to see that it is still there, whoever had it.
    pub(super) fn ask_v4(
        &self,
        source: &Address,
        target: &Address,
        whom: Option<Hardware>,
        out: &mut Outbox,
    ) {
        if let Some(mut frame) = message(ArpOperation::Request, (self.hardware, source), (whom, target)) {
            self.send(&mut frame, out);
        }
    }

    /// Tells everybody where `address` is (RFC 5227, section 3).
    pub(super) fn announce_v4(&self, address: &Address, out: &mut Outbox) {
        self.ask_v4(address, address, None, out);
    }
}

/// Takes in a message.
pub(super) fn input(stack: &Stack, link: &Link, bytes: &[u8], out: &mut Outbox) {
    let parsed = ArpPacket::new_checked(bytes).and_then(|packet| ArpRepr::parse(&packet));
    let Ok(ArpRepr::EthernetIpv4 {
        operation,
        source_hardware_addr,
        source_protocol_addr,
        target_protocol_addr,
        ..
    }) = parsed
    else {
        return;
    };
    let (sender, hardware) = (source_protocol_addr.to_ipv6_mapped(), source_hardware_addr.0);
    let target = target_protocol_addr.to_ipv6_mapped();
    if is_multicast(&target) || target_protocol_addr.is_loopback() || hardware[0] & 1 != 0 {
        return;
    }
    let answers = operation == ArpOperation::Reply;
    // Any of this machine's addresses is answered for, as in Linux (`arp_ignore` 0).
    let for_us = stack.routes.kind_of(&target) == Kind::Local;
    // Who asks without an address wants to know whether somebody has this one (RFC 5227, section 2.1.1).
    let own = is_any(&sender) || stack.routes.kind_of(&sender) != Kind::Unicast || is_multicast(&sender);
    if !own {
        let creates = for_us && operation == ArpOperation::Request;
        let word = Word { solicited: answers && for_us, overrides: true, creates };
        let waited = link.neighbours.learn(&sender, hardware, word, out.now);
        link.release(waited, hardware, out);
    }
    if operation == ArpOperation::Request && for_us && (!own || is_any(&sender)) {
        let us = (link.hardware, &target);
        if let Some(mut frame) = message(ArpOperation::Reply, us, (Some(hardware), &sender)) {
            link.send(&mut frame, out);
        }
    }
}
