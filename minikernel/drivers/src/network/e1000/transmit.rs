//! Frames on their way out: the ring of transmit descriptors (3.3).

use alloc::vec::Vec;

use isopod_hal::OutOfMemory;
use isopod_hal::dma::{Dma, fence};
use isopod_hal::mmio::Mmio;

use super::{RING, place_ring, register, ring};
use crate::Refusal;
use crate::network::{Outgoing, Payload, Work};
use crate::segment::Segment;

/// Transmit control (13.4.33): on, short frames padded, and what half duplex would need.
const ON: u32 = 1 << 1 | 1 << 3 | 0x10 << 4 | 0x40 << 12;
/// Between frames on copper (13.4.34).
const GAP: u32 = 8 | 8 << 10 | 6 << 20;

/// Above a descriptor's length: its kind, and what the card does (3.3.3, 3.3.6 and 3.3.7).
mod command {
    /// Of other kinds than the oldest: a context, or data.
    pub const CONTEXT: u32 = 1 << 29;
    pub const DATA: u32 = 1 << 29 | 1 << 20;
    /// The frame ends, with its checksum, and the card says when it was sent.
    pub const END: u32 = 1 << 24 | 1 << 25 | 1 << 27;
}

/// The sum that the context tells of is put in.
const SUM: u32 = 1 << 9;
/// The card has sent it.
const DONE: u8 = 1;
const STATUS: usize = 12;

/// Descriptors that any frame can do with: a context, what lies in its slot, and its payload.
const FRAME: u16 = 3;

#[derive(Debug)]
pub(super) struct Transmit<P> {
    ring: Dma,
    frames: Outgoing<P>,
    /// The slot of the frame that ends with each descriptor.
    ends: Vec<Option<u16>>,
    /// The oldest descriptor that is the card's, and the first that is not.
    head: u16,
    tail: u16,
    /// The tail that the card knows.
    told: u16,
    /// Where the card sums up from, and how far behind that it puts the result: it was told and keeps it.
    context: Option<(u16, u16)>,
    /// Somebody found no room.
    awaited: bool,
}

impl<P: Payload> Transmit<P> {
    pub fn start(registers: &Mmio) -> Result<Self, Refusal> {
        let ring = Dma::pages(1)?;
        let mut ends = Vec::new();
        ends.try_reserve_exact(usize::from(RING)).map_err(|_| OutOfMemory)?;
        ends.resize(usize::from(RING), None);
        // One descriptor stays free, and one may be the context.
        let most = usize::from(RING) - 2;
        let frames = Outgoing::new(usize::from(RING), most, 0)?;
        place_ring(registers, register::TRANSMIT_RING, ring.phys());
        registers.write32(register::GAP, GAP);
        registers.write32(register::TRANSMIT, ON);
        Ok(Self { ring, frames, ends, head: 0, tail: 0, told: 0, context: None, awaited: false })
    }

    /// Descriptors that are the card's.
    fn used(&self) -> u16 {
        self.tail.wrapping_sub(self.head) % RING
    }

    fn has_room(&self, descriptors: usize) -> bool {
        usize::from(self.used()) + descriptors < usize::from(RING)
    }

    /// The descriptor with which the oldest frame that the card has ends.
    fn oldest_end(&self) -> Option<u16> {
        (0..self.used())
            .map(|index| (self.head + index) % RING)
            .find(|at| self.ends[usize::from(*at)].is_some())
    }

    /// Whether the oldest frame that the card has was sent.
    pub fn has_sent(&self) -> bool {
        self.oldest_end().is_some_and(|at| self.ring.read_u8(16 * usize::from(at) + STATUS) & DONE != 0)
    }

    /// Takes back what has been sent.
    pub fn collect(&mut self) {
        while let Some(end) = self.oldest_end().filter(|_| self.has_sent()) {
            if let Some(slot) = self.ends[usize::from(end)].take() {
                self.frames.release(slot);
            }
            self.head = (end + 1) % RING;
        }
    }

    /// Whether somebody waits for room.
    pub fn is_awaited(&self) -> bool {
        self.awaited
    }

    /// Whether somebody found no room and there is some again, which is then told no more.
    pub fn has_room_again(&mut self) -> bool {
        self.awaited && self.has_room(usize::from(RING) / 2) && core::mem::take(&mut self.awaited)
    }

    /// Puts a frame into the ring, unless there is no room. One for which there is no memory is lost.
    pub fn push(&mut self, head: &[u8], payload: P, work: &Work) -> Result<(), P> {
        self.collect();
        if !self.has_room(usize::from(FRAME)) {
            self.awaited = true;
            return Err(payload);
        }
        let Some(frame) = self.frames.prepare(head, payload, |_, _| {}) else { return Ok(()) };
        let count = self.frames.segments().len();
        let context = work.checksum.filter(|sum| self.context != Some(*sum));
        if !self.has_room(count + usize::from(context.is_some())) {
            self.awaited = true;
            return Outgoing::take_back(frame).map_or(Ok(()), Err);
        }
        if let Some((start, offset)) = context {
            self.context = Some((start, offset));
            // Where it starts, where the sum goes, and no end before the frame's.
            let sum = u64::from(start) | u64::from(start + offset) << 8;
            self.write(sum << 32, command::CONTEXT, 0);
        }
        let options = if work.checksum.is_some() { SUM } else { 0 };
        for index in 0..count {
            let Segment { address, len } = self.frames.segments()[index];
            let end = if index + 1 == count { command::END } else { 0 };
            self.write(address.as_u64(), command::DATA | end | len, options);
        }
        let last = self.tail.wrapping_sub(1) % RING;
        self.ends[usize::from(last)] = Some(frame.slot);
        self.frames.keep(frame);
        Ok(())
    }

    /// Writes the next descriptor.
    fn write(&mut self, first: u64, command: u32, options: u32) {
        let at = 16 * usize::from(self.tail);
        self.ring.write_u64(at, first);
        self.ring.write_u64(at + 8, u64::from(command) | u64::from(options) << 32);
        self.tail = (self.tail + 1) % RING;
    }

    /// Shows the card what was queued.
    pub fn kick(&mut self, registers: &Mmio) {
        if core::mem::replace(&mut self.told, self.tail) != self.tail {
            fence();
            registers.write32(register::TRANSMIT_RING + ring::TAIL, self.tail.into());
        }
    }
}
