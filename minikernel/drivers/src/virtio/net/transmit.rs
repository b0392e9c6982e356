//! Frames on their way out.

use alloc::vec::Vec;

use isopod_hal::dma::{Dma, address_of};
use isopod_hal::{PAGE_SIZE, PhysAddr};

use super::HEADER;
use crate::network::{Payload, Work};
use crate::virtio::queue::{Direction, Queue, Segment};
use crate::virtio::{StartError, Violation};

/// Memory for the headers of one frame, and for a payload that is not worth a descriptor.
const SLOT: usize = 256;
const SLOTS_PER_PAGE: usize = PAGE_SIZE / SLOT;
/// A payload in more pieces than this is copied. 64 KiB of small writes are gathered in no more.
const PIECES_MAX: usize = 40;

/// Descriptors that any frame can do with: one for what lies in its slot, and one for a payload that does not, if need be as a copy.
const FRAME: usize = 2;

/// The header that comes before each frame (5.1.6).
mod header {
    pub const NEEDS_SUM: u8 = 1;
    pub const CUT_V4: u8 = 1;
    pub const CUT_V6: u8 = 4;
}

/// A payload as long as the device may read it.
#[derive(Debug)]
enum Lent<P> {
    /// Where it lies.
    There(P),
    /// In one piece.
    Copied(#[expect(dead_code, reason = "kept for its memory")] Vec<u8>),
}

/// One queue of frames to send. The device is not asked for interrupts: what it has sent is collected when there is more to send, or when somebody
/// looks.
#[derive(Debug)]
pub(super) struct Transmit<P> {
    pub queue: Queue,
    /// Memory of the slots that have ever been used.
    pages: Vec<Dma>,
    /// Those of them that the device does not have. The last is taken first, so that few pages serve a quiet card.
    free: Vec<u16>,
    /// What each of them lends to the device.
    in_flight: Vec<Option<Lent<P>>>,
    /// Built anew for each frame; kept for its memory.
    segments: Vec<Segment>,
    /// The most pieces of a payload.
    pieces_max: usize,
    /// Somebody found no room.
    awaited: bool,
}

impl<P: Payload> Transmit<P> {
    pub fn new(mut queue: Queue) -> Result<Self, StartError> {
        queue.silence();
        let size = usize::from(queue.size());
        let pieces_max =
            size.checked_sub(1).filter(|pieces| *pieces > 0).ok_or(StartError::Queue)?.min(PIECES_MAX);
        let (mut free, mut in_flight, mut segments) = (Vec::new(), Vec::new(), Vec::new());
        let out_of_memory = |_| StartError::OutOfMemory;
        free.try_reserve_exact(size).map_err(out_of_memory)?;
        in_flight.try_reserve_exact(size).map_err(out_of_memory)?;
        segments.try_reserve_exact(PIECES_MAX + 1).map_err(out_of_memory)?;
        Ok(Self { queue, pages: Vec::new(), free, in_flight, segments, pieces_max, awaited: false })
    }

    /// Takes back what has been sent.
    pub fn collect(&mut self) -> Result<(), Violation> {
        while let Some(done) = self.queue.pop()? {
            self.in_flight[usize::from(done.token)] = None;
            self.free.push(done.token);
        }
        Ok(())
    }

    /// Whether somebody found no room and there is some again, which is then told no more.
    pub fn has_room_again(&mut self) -> bool {
        self.awaited && self.queue.has_room(FRAME) && core::mem::take(&mut self.awaited)
    }

    /// Whether somebody waits for room and some frames have been sent.
    pub fn is_due(&self) -> bool {
        self.awaited && self.queue.has_used()
    }

    /// Puts a frame into the queue, unless there is no room. One for which there is no memory is lost.
    pub fn push(&mut self, head: &[u8], payload: P, work: &Work) -> Result<Result<(), P>, Violation> {
        self.collect()?;
        let mut payload = payload;
        loop {
            payload = match self.try_push(head, payload, work) {
                Ok(()) => return Ok(Ok(())),
                Err(payload) => payload,
            };
            self.awaited = true;
            // When a half of them has been sent there is room for a batch.
            if self.queue.listen_for(self.queue.outstanding() / 2) {
                return Ok(Err(payload));
            }
            self.collect()?;
        }
    }

    /// Makes one slot more, a free one; false without memory for it.
    fn add_slot(&mut self) -> bool {
        let slot = self.in_flight.len();
        if slot == self.pages.len() * SLOTS_PER_PAGE {
            let Ok(page) = Dma::pages(1) else { return false };
            if self.pages.try_reserve(1).is_err() {
                return false;
            }
            self.pages.push(page);
        }
        // There is room for as many as the queue has descriptors.
        self.in_flight.push(None);
        self.free.push(slot as u16);
        true
    }

    fn try_push(&mut self, head: &[u8], payload: P, work: &Work) -> Result<(), P> {
        debug_assert!(HEADER + head.len() <= SLOT, "headers are short");
        let short = payload.len() <= SLOT - HEADER - head.len();
        // Each frame has a descriptor at least, so that there are slots where there is room.
        if !self.queue.has_room(if short { 1 } else { FRAME }) {
            return Err(payload);
        }
        if self.free.is_empty() && !self.add_slot() {
            return Ok(());
        }
        let Some(&slot) = self.free.last() else { return Ok(()) };
        let page = &self.pages[usize::from(slot) / SLOTS_PER_PAGE];
        let at = usize::from(slot) % SLOTS_PER_PAGE * SLOT;
        let mut end = at + HEADER + head.len();
        write_header(page, at, head.len(), work);
        page.write(at + HEADER, head);
        self.segments.clear();
        let address = PhysAddr::new(page.phys().as_u64() + at as u64);
        self.segments.push(Segment { address, len: 0, direction: Direction::ToDevice });
        let mut lent = None;
        if short {
            payload.pieces(&mut |piece| {
                page.write(end, piece);
                end += piece.len();
            });
        } else if let Some(kept) = lend(payload, &mut self.segments, self.pieces_max) {
            lent = Some(kept);
        } else {
            return Ok(());
        }
        self.segments[0].len = (end - at) as u32;
        if !self.queue.push(slot, &self.segments) {
            return match lent {
                Some(Lent::There(payload)) => Err(payload),
                _ => Ok(()),
            };
        }
        self.free.pop();
        self.in_flight[usize::from(slot)] = lent;
        Ok(())
    }
}

/// Adds the pieces of a payload; where they are too many, or cannot be lent, those of a copy. `None` without memory for that.
fn lend<P: Payload>(payload: P, segments: &mut Vec<Segment>, most: usize) -> Option<Lent<P>> {
    let mut fits = true;
    payload.pieces(&mut |piece| fits = fits && add(segments, most, piece));
    if fits {
        return Some(Lent::There(payload));
    }
    segments.truncate(1);
    let mut copy = Vec::new();
    copy.try_reserve_exact(payload.len()).ok()?;
    payload.pieces(&mut |piece| copy.extend_from_slice(piece));
    add(segments, most, &copy).then_some(Lent::Copied(copy))
}

/// Adds a piece behind the headers and at most so many of the payload; one that continues the one before makes that longer.
fn add(segments: &mut Vec<Segment>, most: usize, piece: &[u8]) -> bool {
    let Some(address) = address_of(piece) else { return false };
    let len = piece.len() as u32;
    let full = segments.len() > most;
    match segments[1..].last_mut() {
        Some(last) if last.address.checked_add(u64::from(last.len)) == Some(address) => last.len += len,
        _ if full => return false,
        _ => segments.push(Segment { address, len, direction: Direction::ToDevice }),
    }
    true
}

fn write_header(page: &Dma, at: usize, head: usize, work: &Work) {
    let kind = work.cut.map_or(0, |cut| if cut.v6 { header::CUT_V6 } else { header::CUT_V4 });
    let (start, offset) = work.checksum.unwrap_or_default();
    let flags = if work.checksum.is_some() { header::NEEDS_SUM } else { 0 };
    page.write_u16(at, u16::from_le_bytes([flags, kind]));
    page.write_u16(at + 2, if work.cut.is_some() { head as u16 } else { 0 });
    page.write_u16(at + 4, work.cut.map_or(0, |cut| cut.size));
    page.write_u16(at + 6, start);
    page.write_u16(at + 8, offset);
    page.write_u16(at + 10, 0);
}
