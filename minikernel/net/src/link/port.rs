//! The border to a network card: what the link layer wants of one, and the frames that pass it.

use crate::chunk::Chunks;

bitflags::bitflags! {
    /// What a card does in the link layer's place.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Offloads: u8 {
        /// It completes the checksums of TCP and UDP, over both versions of IP.
        const SUMS = 1;
        /// It cuts TCP segments over IPv4 that are longer than the MSS.
        const CUTS_V4 = 1 << 1;
        /// The same over IPv6.
        const CUTS_V6 = 1 << 2;
    }
}

/// A network card, as the link layer sees it.
///
/// Locks: it may be called with any lock of this crate held, and calls nothing of it from within. What it has to tell, its interrupt's task tells:
/// [`Stack::receive`](crate::stack::Stack::receive), [`Stack::room`](crate::stack::Stack::room), [`Stack::set_carrier`](crate::stack::Stack::set_carrier),
/// [`Stack::announce`](crate::stack::Stack::announce).
pub trait Port: Send + Sync {
    /// Its address on the link.
    fn hardware_address(&self) -> [u8; 6];

    /// The longest packet that it takes, without the frame's header.
    fn mtu(&self) -> u32;

    /// Whether the link is there.
    fn is_up(&self) -> bool;

    /// What it does in the link layer's place. This does not change.
    fn offloads(&self) -> Offloads;

    /// Takes what a frame lends, to send it. The card need not know of it before [`flush`](Self::flush). False without room: then the frame is as it was, and once
    /// there is room the card's interrupt calls [`Stack::room`](crate::stack::Stack::room): the port has asked for that interrupt, and looked for room again after that.
    fn transmit(&self, frame: &mut Frame) -> bool;

    /// The batch is complete: the card is to know of all frames.
    fn flush(&self);
}

/// The longest headers of a frame: Ethernet, IPv6 with a fragment header or IPv4, TCP with all options.
pub const HEADERS_MAX: usize = 128;

/// A frame that is sent.
#[derive(Debug)]
pub struct Frame {
    pub(super) headers: [u8; HEADERS_MAX],
    pub(super) length: u8,
    /// What follows the headers. The bytes are lent to the card until it has sent them.
    pub payload: Chunks,
    /// A sum that the card is to complete.
    pub checksum: Option<PartialSum>,
    /// How the card is to cut it.
    pub segment: Option<Segments>,
}

/// A checksum of which the sum of the pseudo-header is in its place already: the card adds up the bytes from `start` to the frame's end and puts the result
/// `offset` bytes behind `start`, as `struct virtio_net_hdr` has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartialSum {
    /// Where what is summed up begins, from the frame's first byte.
    pub start: u16,
    /// Where in that the sum stands.
    pub offset: u16,
}

/// A TCP segment that is longer than the MSS. There is a [`PartialSum`] with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segments {
    /// It is one over IPv6.
    pub v6: bool,
    /// The longest payload of the pieces.
    pub size: u16,
}

impl Frame {
    /// The headers of Ethernet, IP and what it carries.
    #[inline]
    pub fn headers(&self) -> &[u8] {
        &self.headers[..usize::from(self.length)]
    }

    /// Moves it to where it is to wait.
    pub(crate) fn take(&mut self) -> Self {
        Self { payload: core::mem::take(&mut self.payload), ..*self }
    }

    /// How many bytes it is.
    #[expect(clippy::len_without_is_empty, reason = "there is a header")]
    pub fn len(&self) -> usize {
        usize::from(self.length) + self.payload.len()
    }
}

/// What a card says about the checksums of TCP and UDP in a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksum {
    /// Nothing.
    Unknown,
    /// They are right, or the frame never left the host and has only the sum of a pseudo-header (`VIRTIO_NET_HDR_F_NEEDS_CSUM`).
    Verified,
}

/// A frame that came in.
#[derive(Debug)]
pub struct Received {
    /// All of it, from the header of Ethernet on. The payload stays in these chunks until a program reads it.
    pub data: Chunks,
    /// What the card says about its checksums.
    pub checksum: Checksum,
    /// The MSS, where the card has glued TCP segments together; else 0.
    pub segment_size: u16,
}
