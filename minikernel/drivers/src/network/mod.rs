//! Network cards: frames as they go in and out.

mod buffers;
mod e1000;
mod outgoing;
mod slot;

use alloc::vec::Vec;

use isopod_hal::sync::wait::WaitQueue;

pub use slot::Slot;

pub(crate) use buffers::{Buffers, append};
pub(crate) use outgoing::Outgoing;

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

/// A card that was started, and sends payloads of one kind.
pub trait Card<P>: Send + Sync {
    /// Its address on the link.
    fn address(&self) -> [u8; 6];

    /// The longest packet that it takes.
    fn mtu(&self) -> u16;

    /// What it does with frames that are sent.
    fn abilities(&self) -> Abilities;

    /// Whether the link is there.
    fn is_up(&self) -> bool;

    /// How many pairs of queues it has. Each wants to be looked after, as [`Self::is_due`] says.
    fn pairs(&self) -> usize {
        1
    }

    /// Whether the addresses behind it are to be announced, which is then told no more.
    fn takes_announcement(&self) -> bool {
        false
    }

    /// They have been announced.
    fn announced(&self) {}

    /// Queues a frame: its headers, of at most 128 bytes, and its payload, which is lent to the device until that has sent it. The payload comes
    /// back if there is no room; then [`Self::is_due`] when there is.
    fn transmit(&self, head: &[u8], payload: P, work: &Work) -> Result<(), P>;

    /// Shows the device what this processor has queued.
    fn flush(&self);

    /// Takes frames that came in by a pair until there are `limit` in `frames`; true if there may be more.
    fn receive(&self, pair: usize, limit: usize, frames: &mut Vec<Incoming>) -> bool;

    /// Takes back what has been sent by a pair. True if somebody found no room there, and now there is some.
    fn collect(&self, pair: usize) -> bool;

    /// Who waits for a pair until it is due.
    fn attention(&self, pair: usize) -> &WaitQueue;

    /// Whether there may be something to do about a pair: frames that came in, room for those that are to be sent, or, at the first pair, something
    /// about the card. If there is not, an interrupt comes when there is, and wakes who waits.
    fn is_due(&self, pair: usize) -> bool;
}

#[cfg(test)]
pub(crate) mod tests;
