//! Packets between sockets (virtio 1.2, 5.10.6).

use alloc::vec::Vec;

use isopod_drivers::virtio::vsock::HEADER;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// What a packet says (`VIRTIO_VSOCK_OP_*`).
pub mod operation {
    /// A connection is asked for.
    pub const REQUEST: u16 = 1;
    /// It is there.
    pub const RESPONSE: u16 = 2;
    /// There is none, or none any more.
    pub const RESET: u16 = 3;
    /// One side will not receive, or send, any more.
    pub const SHUTDOWN: u16 = 4;
    /// Bytes.
    pub const DATA: u16 = 5;
    /// How much there is room for.
    pub const CREDIT: u16 = 6;
    /// Asks for that.
    pub const CREDIT_REQUEST: u16 = 7;
}

/// Bytes of a message end with this packet (`VIRTIO_VSOCK_SEQ_EOM`).
pub const END_OF_MESSAGE: u32 = 1;
/// And so does a record (`VIRTIO_VSOCK_SEQ_EOR`).
pub const END_OF_RECORD: u32 = 2;

/// A socket's place: the machine's address, and a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct Place {
    /// `svm_port`
    pub port: u32,
    /// `svm_cid`
    pub cid: u32,
}

/// `struct virtio_vsock_hdr`. The upper halves of addresses are 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct Header {
    pub from_cid: u32,
    pub from_high: u32,
    pub to_cid: u32,
    pub to_high: u32,
    pub from_port: u32,
    pub to_port: u32,
    /// Bytes that follow.
    pub length: u32,
    /// `VIRTIO_VSOCK_TYPE_*`
    pub kind: u16,
    pub operation: u16,
    pub flags: u32,
    /// How many bytes may wait with the sender of this packet.
    pub room: u32,
    /// How many have been received there, ever.
    pub forwarded: u32,
}

const _: () = assert!(size_of::<Header>() == HEADER);

impl Header {
    /// The header of a packet, and its bytes; nothing of one that is not whole.
    pub fn split(packet: &[u8]) -> Option<(Self, &[u8])> {
        let (header, rest) = Self::read_from_prefix(packet).ok()?;
        Some((header, rest.get(..header.length as usize)?))
    }

    /// A packet without bytes.
    pub fn packet(&self) -> Vec<u8> {
        self.as_bytes().to_vec()
    }

    /// What tells the sender that there is no such connection. Nothing answers that itself.
    pub fn refusal(&self) -> Option<Vec<u8>> {
        let refusal = Self {
            from_cid: self.to_cid,
            to_cid: self.from_cid,
            from_port: self.to_port,
            to_port: self.from_port,
            kind: self.kind,
            operation: operation::RESET,
            ..Self::default()
        };
        (self.operation != operation::RESET).then(|| refusal.packet())
    }
}
