//! Memory for frames on their way out, and what is lent to the device for them.

use alloc::vec::Vec;

use isopod_hal::dma::{Dma, address_of};
use isopod_hal::{OutOfMemory, PAGE_SIZE, PhysAddr};

use super::Payload;
use crate::segment::Segment;

/// Memory for the headers of one frame, and for a payload that is not worth a descriptor.
const SLOT: usize = 256;
const SLOTS_PER_PAGE: usize = PAGE_SIZE / SLOT;
/// A payload in more pieces than this is copied. 64 KiB of small writes are gathered in no more.
const PIECES_MAX: usize = 40;

/// A payload as long as the device may read it.
#[derive(Debug)]
enum Lent<P> {
    /// Where it lies.
    There(P),
    /// In one piece.
    Copied(#[expect(dead_code, reason = "kept for its memory")] Vec<u8>),
}

/// A frame that is ready to be given to the device.
#[derive(Debug)]
pub(crate) struct Prepared<P> {
    pub slot: u16,
    lent: Option<Lent<P>>,
}

/// What lies in the slots.
#[derive(Debug)]
pub(crate) struct Outgoing<P> {
    /// Memory of the slots that have ever been used.
    pages: Vec<Dma>,
    /// Those of them that the device does not have. The last is taken first, so that few pages serve a quiet card.
    free: Vec<u16>,
    /// What each of them lends to the device.
    in_flight: Vec<Option<Lent<P>>>,
    /// Where the prepared frame lies: headers first. Built anew for each frame; kept for its memory.
    segments: Vec<Segment>,
    /// The most pieces of a payload.
    pieces_max: usize,
    /// Bytes in a slot for what the device wants before each frame.
    before: usize,
}

impl<P: Payload> Outgoing<P> {
    /// For a device that takes at most `size` frames at a time, each in at most `segments_max` segments, two at least, with so many bytes before each.
    pub fn new(size: usize, segments_max: usize, before: usize) -> Result<Self, OutOfMemory> {
        let (mut free, mut in_flight, mut segments) = (Vec::new(), Vec::new(), Vec::new());
        free.try_reserve_exact(size).map_err(|_| OutOfMemory)?;
        in_flight.try_reserve_exact(size).map_err(|_| OutOfMemory)?;
        segments.try_reserve_exact(PIECES_MAX + 1).map_err(|_| OutOfMemory)?;
        let pieces_max = (segments_max - 1).min(PIECES_MAX);
        Ok(Self { pages: Vec::new(), free, in_flight, segments, pieces_max, before })
    }

    /// Whether headers and payload together take no more than one segment.
    pub fn is_short(&self, head: &[u8], payload: &P) -> bool {
        payload.len() <= SLOT - self.before - head.len()
    }

    /// Puts a frame into a slot, its headers at most 128 bytes; `write_before` writes what comes before it. `None` without memory for it.
    ///
    /// There is a slot when the device has fewer frames than it takes.
    pub fn prepare(
        &mut self,
        head: &[u8],
        payload: P,
        write_before: impl FnOnce(&Dma, usize),
    ) -> Option<Prepared<P>> {
        if self.free.is_empty() && !self.add_slot() {
            return None;
        }
        let slot = *self.free.last()?;
        let short = self.is_short(head, &payload);
        let page = &self.pages[usize::from(slot) / SLOTS_PER_PAGE];
        let at = usize::from(slot) % SLOTS_PER_PAGE * SLOT;
        let mut end = at + self.before + head.len();
        write_before(page, at);
        page.write(at + self.before, head);
        self.segments.clear();
        let address = PhysAddr::new(page.phys().as_u64() + at as u64);
        self.segments.push(Segment { address, len: 0 });
        let mut lent = None;
        if short {
            payload.pieces(&mut |piece| {
                page.write(end, piece);
                end += piece.len();
            });
        } else {
            lent = Some(lend(payload, &mut self.segments, self.pieces_max)?);
        }
        self.segments[0].len = (end - at) as u32;
        Some(Prepared { slot, lent })
    }

    /// Where the prepared frame lies.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The device has the prepared frame.
    pub fn keep(&mut self, frame: Prepared<P>) {
        self.free.pop();
        self.in_flight[usize::from(frame.slot)] = frame.lent;
    }

    /// The device has no room for the prepared frame: its payload, unless that was copied and the frame is lost.
    pub fn take_back(frame: Prepared<P>) -> Option<P> {
        match frame.lent {
            Some(Lent::There(payload)) => Some(payload),
            _ => None,
        }
    }

    /// The device has sent the frame of a slot.
    pub fn release(&mut self, slot: u16) {
        self.in_flight[usize::from(slot)] = None;
        self.free.push(slot);
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
        // There is room for as many as the device takes.
        self.in_flight.push(None);
        self.free.push(slot as u16);
        true
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
        _ => segments.push(Segment { address, len }),
    }
    true
}
