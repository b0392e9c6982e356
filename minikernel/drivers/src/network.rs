//! Network cards: frames as they go in and out.

use alloc::vec::Vec;

bitflags::bitflags! {
    /// What a card does in its driver's user's place.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Abilities: u8 {
        /// It completes checksums of frames that are sent.
        const SUMS = 1;
        /// It cuts long segments of TCP over IPv4.
        const CUTS_V4 = 1 << 1;
        /// It cuts long segments of TCP over IPv6.
        const CUTS_V6 = 1 << 2;
    }
}

/// The part of a frame that is sent from where it lies.
pub trait Payload: Send + 'static {
    /// How many bytes it is.
    fn len(&self) -> usize;

    /// Whether there is nothing.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Shows its pieces, in order.
    fn pieces(&self, each: &mut dyn FnMut(&[u8]));
}

/// What a card is to do with a frame before it sends it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Work {
    /// Sum up the bytes from the first number on, and put the result as many bytes behind that as the second says.
    pub checksum: Option<(u16, u16)>,
    /// Cut it.
    pub cut: Option<Cut>,
}

/// How a segment of TCP is cut.
#[derive(Clone, Copy, Debug)]
pub struct Cut {
    /// It is one over IPv6.
    pub v6: bool,
    /// The longest payload of a piece.
    pub size: u16,
}

/// A frame that came in.
#[derive(Debug)]
pub struct Incoming {
    /// Its beginning, and all of most frames.
    pub first: Vec<u8>,
    /// The rest of a long one.
    pub rest: Vec<Vec<u8>>,
    /// The card has seen that its checksums are right, or knows that it never left the host.
    pub verified: bool,
    /// The payload of each segment, if the card has glued several together; else 0.
    pub segment_size: u16,
}
