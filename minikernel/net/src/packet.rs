//! Packets between the layers: an IP header and what it carries, both as values.
//!
//! They become bytes where a device takes them, and come of bytes where one gives them. Between sockets of this machine nothing is written, read
//! or summed up.

use alloc::boxed::Box;
use alloc::collections::VecDeque;

use crate::address::Address;
use crate::chunk::Chunks;
use crate::tcp::SegmentHeader;

/// The protocols, by their numbers (RFC 5237).
pub mod protocol {
    /// The header before all others of IPv6 that every router reads.
    pub const HOP_BY_HOP: u8 = 0;
    /// ICMP of IPv4.
    pub const ICMP: u8 = 1;
    /// IGMP
    pub const IGMP: u8 = 2;
    /// TCP
    pub const TCP: u8 = 6;
    /// UDP
    pub const UDP: u8 = 17;
    /// ICMPv6
    pub const ICMPV6: u8 = 58;
}

/// What there is to say about an IP packet besides what it carries.
#[derive(Clone, Copy, Debug)]
pub struct IpHeader {
    /// From whom.
    pub source: Address,
    /// To whom; of the same version.
    pub destination: Address,
    /// Hop limit, time to live.
    pub hop_limit: u8,
    /// Traffic class, type of service.
    pub traffic_class: u8,
    /// Nobody may fragment it.
    pub whole: bool,
    /// The interface that it leaves by, or came by.
    pub interface: u32,
    /// Its frame was for more than this machine.
    pub to_many: bool,
    /// It is to a group, and not for this machine itself (`IP_MULTICAST_LOOP` is off).
    pub alone: bool,
    /// It is sent in fragments of at most this; 0 if it need not be.
    pub cut_to: u32,
}

impl IpHeader {
    /// One with nothing but its addresses: in no class, never to be fragmented.
    pub fn new(source: Address, destination: Address, hop_limit: u8) -> Self {
        Self {
            source,
            destination,
            hop_limit,
            traffic_class: 0,
            whole: true,
            interface: 0,
            to_many: false,
            alone: false,
            cut_to: 0,
        }
    }
}

/// What an IP packet carries.
#[derive(Debug)]
pub enum Payload {
    /// A segment, perhaps longer than one may be on the wire.
    Tcp(SegmentHeader, Chunks),
    /// A datagram.
    Udp(UdpHeader, Chunks),
    /// What another protocol has to say, in its bytes.
    Other(u8, Chunks),
    /// A whole packet with the header of IP that a program gave it.
    Verbatim(u8, Chunks),
}

/// The ports of a datagram (RFC 768).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UdpHeader {
    /// The sender's.
    pub source: u16,
    /// The receiver's.
    pub destination: u16,
}

impl UdpHeader {
    /// Its length.
    pub const LEN: usize = 8;
}

/// An IP packet.
#[derive(Debug)]
pub struct Packet {
    /// Its header.
    pub header: IpHeader,
    /// What it carries.
    pub payload: Payload,
}

impl Packet {
    /// Moves it out, and leaves one without data.
    pub(crate) fn take(&mut self) -> Self {
        Self { header: self.header, payload: self.payload.take() }
    }
}

impl Payload {
    fn take(&mut self) -> Self {
        let take = core::mem::take::<Chunks>;
        match self {
            Self::Tcp(header, data) => Self::Tcp(header.clone(), take(data)),
            Self::Udp(ports, data) => Self::Udp(*ports, take(data)),
            Self::Other(protocol, data) => Self::Other(*protocol, take(data)),
            Self::Verbatim(protocol, data) => Self::Verbatim(*protocol, take(data)),
        }
    }

    /// The protocol's number.
    pub fn protocol(&self) -> u8 {
        match self {
            Self::Tcp(..) => protocol::TCP,
            Self::Udp(..) => protocol::UDP,
            Self::Other(protocol, _) | Self::Verbatim(protocol, _) => *protocol,
        }
    }

    /// How many bytes it is on the wire behind the header of IP, if that is not part of it.
    pub fn wire_len(&self) -> usize {
        match self {
            Self::Tcp(header, data) => header.encoded_len() + data.len(),
            Self::Udp(_, data) => UdpHeader::LEN + data.len(),
            Self::Other(_, data) | Self::Verbatim(_, data) => data.len(),
        }
    }
}

/// Packets of this machine for itself, in order: what an operation leaves to be done once it holds no lock.
#[derive(Debug)]
pub struct Outbox {
    /// The time, in nanoseconds of the monotonic clock.
    pub now: u64,
    /// Mostly there are none.
    #[expect(clippy::box_collection, reason = "without them it is dropped in one step")]
    packets: Option<Box<VecDeque<Packet>>>,
    /// Cards have been given frames.
    touched: bool,
}

impl Outbox {
    /// An empty one.
    pub const fn new(now: u64) -> Self {
        Self { now, packets: None, touched: false }
    }

    /// Adds a packet. One for which there is no memory is lost, as on any link.
    pub fn push(&mut self, packet: Packet) {
        let packets = self.packets.get_or_insert_default();
        if packets.try_reserve(1).is_ok() {
            packets.push_back(packet);
        }
    }

    /// A card has been given a frame, and is to know of it.
    pub(crate) fn touch(&mut self) {
        self.touched = true;
    }

    /// Whether a card has been given a frame since this was asked.
    pub(crate) fn take_touched(&mut self) -> bool {
        core::mem::take(&mut self.touched)
    }

    /// Takes the first packet.
    pub fn pop(&mut self) -> Option<Packet> {
        self.packets.as_mut()?.pop_front()
    }
}
