//! Frames on their way in: the ring of receive descriptors (3.2).

use alloc::vec::Vec;

use isopod_hal::OutOfMemory;
use isopod_hal::dma::{Dma, fence};
use isopod_hal::mmio::Mmio;

use super::{RING, place_ring, register, ring};
use crate::Refusal;
use crate::network::{Buffers, Incoming, append};

/// Bytes of a buffer, as the card is told (13.4.22): none of its frames is longer.
const BUFFER: usize = 2048;
/// Buffers at a time: the card owns all descriptors when head and tail are the same, so one stays free.
const MOST: u16 = RING - 1;

/// Receive control (13.4.22): on, all multicast and broadcast, without the checksum at a frame's end.
const ON: u32 = 1 << 1 | 1 << 4 | 1 << 15 | 1 << 26;
/// Which checksums it looks at (13.4.60): IP's, TCP's and UDP's.
const SUMS: u32 = 1 << 8 | 1 << 9;

/// Of a descriptor: its length, what the card says of the frame, and what was wrong with it.
const LENGTH: usize = 8;
const STATUS: usize = 12;
const ERRORS: usize = 13;

mod status {
    pub const DONE: u8 = 1;
    pub const END: u8 = 1 << 1;
    /// Nothing is said of sums.
    pub const NO_SUMS: u8 = 1 << 2;
    /// TCP's or UDP's was looked at.
    pub const SUM: u8 = 1 << 5;
}

/// What is wrong with its sums, and no reason to drop a frame: IP's, and TCP's or UDP's.
const WRONG_SUMS: u8 = 0b11 << 5;

#[derive(Debug)]
pub(super) struct Receive {
    ring: Dma,
    buffers: Buffers,
    /// Which buffer each descriptor has.
    held: Vec<u16>,
    /// The descriptor that is filled next, and the one that gets a buffer next.
    next: u16,
    tail: u16,
    /// The tail that the card knows.
    told: u16,
    /// The frame before did not end in its buffer: what goes on is dropped.
    broken: bool,
}

impl Receive {
    pub fn start(registers: &Mmio) -> Result<Self, Refusal> {
        let ring = Dma::pages(1)?;
        let mut held = Vec::new();
        held.try_reserve_exact(usize::from(RING)).map_err(|_| OutOfMemory)?;
        held.resize(usize::from(RING), 0);
        place_ring(registers, register::RECEIVE_RING, ring.phys());
        let buffers = Buffers::new(BUFFER, MOST);
        let mut receive = Self { ring, buffers, held, next: 0, tail: 0, told: 0, broken: false };
        if !receive.grow() {
            return Err(OutOfMemory.into());
        }
        registers.write32(register::RECEIVE_SUMS, SUMS);
        registers.write32(register::RECEIVE, ON);
        receive.kick(registers);
        Ok(receive)
    }

    /// Adds some buffers; false without memory for them.
    fn grow(&mut self) -> bool {
        let Some(new) = self.buffers.grow() else { return false };
        new.for_each(|buffer| self.offer(buffer));
        true
    }

    /// Gives a buffer to the card.
    fn offer(&mut self, buffer: u16) {
        let at = 16 * usize::from(self.tail);
        self.ring.write_u64(at, self.buffers.address(buffer).as_u64());
        self.ring.write_u64(at + LENGTH, 0);
        self.held[usize::from(self.tail)] = buffer;
        self.tail = (self.tail + 1) % RING;
    }

    /// Shows the card its new buffers.
    pub fn kick(&mut self, registers: &Mmio) {
        if core::mem::replace(&mut self.told, self.tail) != self.tail {
            fence();
            registers.write32(register::RECEIVE_RING + ring::TAIL, self.tail.into());
        }
    }

    /// Whether a frame came in.
    pub fn has_frame(&self) -> bool {
        self.ring.read_u8(16 * usize::from(self.next) + STATUS) & status::DONE != 0
    }

    /// Takes frames until there are `limit` in `frames`; true if there may be more. The error says which rule the card broke.
    pub fn take(&mut self, limit: usize, frames: &mut Vec<Incoming>) -> Result<bool, &'static str> {
        let mut taken = 0;
        let more = loop {
            if frames.len() >= limit {
                break true;
            }
            if !self.has_frame() {
                break false;
            }
            fence();
            self.take_one(frames)?;
            taken += 1;
        };
        // A card that fills half of the buffers before anybody looks could use more of them.
        if taken * 2 >= self.buffers.count() {
            self.grow();
        }
        Ok(more)
    }

    /// Takes what lies in the next buffer. A frame for which there is no memory is lost, and one that the card found damaged.
    fn take_one(&mut self, frames: &mut Vec<Incoming>) -> Result<(), &'static str> {
        let at = 16 * usize::from(self.next);
        let length = usize::from(self.ring.read_u16(at + LENGTH));
        let (status, errors) = (self.ring.read_u8(at + STATUS), self.ring.read_u8(at + ERRORS));
        if length > BUFFER {
            return Err("a frame is longer than its buffer");
        }
        let buffer = self.held[usize::from(self.next)];
        let ends = status & status::END != 0;
        let goes_on = core::mem::replace(&mut self.broken, !ends);
        if ends && !goes_on && errors & !WRONG_SUMS == 0 {
            let verified = status & (status::NO_SUMS | status::SUM) == status::SUM && errors == 0;
            let mut frame = Incoming { first: Vec::new(), rest: Vec::new(), verified, segment_size: 0 };
            let (block, at) = self.buffers.place(buffer);
            if append(block, at, length, &mut frame, 0) && frames.try_reserve(1).is_ok() {
                frames.push(frame);
            }
        }
        self.next = (self.next + 1) % RING;
        self.offer(buffer);
        Ok(())
    }
}
