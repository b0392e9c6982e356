//! The block device (virtio 1.2, 5.2).

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;

use isopod_hal::frame::Frame;
use isopod_hal::sync::SpinLock;
use isopod_hal::{PAGE_SIZE, log};

use super::queue::{Direction, Queue, Segment};
use super::{Driver, StartError, Transport, start};
use crate::block::{Block, BlockError, BlockRequest, SECTOR_SIZE};

/// Descriptors of the queue. A request takes two and one for each run of contiguous pages.
const QUEUE_SIZE: u16 = 128;
/// Each request in flight takes three descriptors at least.
const MOST_IN_FLIGHT: usize = QUEUE_SIZE as usize / 3;
/// Type, reserved and first sector.
const HEADER: usize = 16;
const SECTORS_PER_PAGE: u64 = PAGE_SIZE as u64 / SECTOR_SIZE;

mod feature {
    pub const SEGMENTS_MAX: u64 = 1 << 2;
    pub const READ_ONLY: u64 = 1 << 5;
    pub const FLUSH: u64 = 1 << 9;
}

/// Offsets in the device's configuration (5.2.4).
mod config {
    pub const CAPACITY: usize = 0;
    pub const SEGMENTS_MAX: usize = 12;
}

/// What a part asks for, as the device numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Read = 0,
    Write = 1,
    Flush = 4,
}

/// As much of a request as the device takes at once.
#[derive(Debug)]
struct Part {
    request: Arc<BlockRequest>,
    kind: Kind,
    sector: u64,
    /// Which of the request's pages.
    pages: Range<usize>,
    /// Bytes that lie on the device; the last page may end behind it.
    len: usize,
}

#[derive(Debug)]
struct Requests {
    queue: Queue,
    /// The parts that the device has, each at the place of its header and its status.
    in_flight: Vec<Option<Part>>,
    /// Parts that did not fit into the queue, in their order.
    waiting: VecDeque<Part>,
    /// Built anew for each part; kept for its memory.
    segments: Vec<Segment>,
    /// The device broke the rules.
    dead: bool,
}

/// A virtio disk.
pub struct VirtioBlock {
    transport: Arc<dyn Transport>,
    sectors: u64,
    read_only: bool,
    can_flush: bool,
    /// Most pages of one part.
    part_pages: usize,
    requests: SpinLock<Requests>,
}

impl VirtioBlock {
    /// Starts the device behind `transport`.
    pub fn start(transport: Box<dyn Transport>) -> Result<Arc<Self>, StartError> {
        let wanted = feature::SEGMENTS_MAX | feature::READ_ONLY | feature::FLUSH;
        start(
            transport,
            |_| wanted,
            1,
            |transport, features| {
                // Two reads of a number that could change between them only if the host resized the disk across 2 TiB
                // right now; requests behind its true end fail at the device.
                let low = u64::from(transport.config(config::CAPACITY));
                let high = u64::from(transport.config(config::CAPACITY + 4));
                let status = MOST_IN_FLIGHT * HEADER;
                let queue = Queue::new(&*transport, 0, QUEUE_SIZE, status + MOST_IN_FLIGHT, features)?;
                if queue.size() < 3 {
                    return Err(StartError::Queue);
                }
                let mut part_pages = usize::from(queue.size()) - 2;
                if features & feature::SEGMENTS_MAX != 0 {
                    part_pages = part_pages.min(transport.config(config::SEGMENTS_MAX) as usize).max(1);
                }
                let mut in_flight = Vec::new();
                in_flight.try_reserve_exact(MOST_IN_FLIGHT).map_err(|_| StartError::OutOfMemory)?;
                in_flight.resize_with(MOST_IN_FLIGHT, || None);
                let mut segments = Vec::new();
                segments.try_reserve_exact(part_pages + 2).map_err(|_| StartError::OutOfMemory)?;
                let requests = Requests { queue, in_flight, waiting: VecDeque::new(), segments, dead: false };
                Ok(Self {
                    transport,
                    // So that sizes in bytes are numbers.
                    sectors: (high << 32 | low).min(u64::MAX / SECTOR_SIZE),
                    read_only: features & feature::READ_ONLY != 0,
                    can_flush: features & feature::FLUSH != 0,
                    part_pages,
                    requests: SpinLock::new(requests),
                })
            },
        )
    }

    fn transfer(&self, kind: Kind, sector: u64, pages: &[Frame]) -> Result<Arc<BlockRequest>, BlockError> {
        let end = sector
            .checked_add((pages.len() as u64).saturating_mul(SECTORS_PER_PAGE))
            .filter(|_| sector < self.sectors || pages.is_empty())
            .ok_or(BlockError::OutOfRange)?
            .min(self.sectors);
        // Below the product of pages and page size, so it fits.
        let bytes = (end.saturating_sub(sector) * SECTOR_SIZE) as usize;
        if kind == Kind::Read {
            clear_behind(pages, bytes);
        }
        let part_bytes = self.part_pages * PAGE_SIZE;
        let parts = bytes.div_ceil(part_bytes);
        let request = BlockRequest::new(pages, parts)?;
        let parts = (0..parts).map(|index| {
            let start = index * part_bytes;
            let len = part_bytes.min(bytes - start);
            let first = index * self.part_pages;
            Part {
                request: Arc::clone(&request),
                kind,
                sector: sector + start as u64 / SECTOR_SIZE,
                pages: first..first + len.div_ceil(PAGE_SIZE),
                len,
            }
        });
        self.submit(parts)?;
        Ok(request)
    }

    /// Hands parts to the device, or to the list of those that wait for room.
    fn submit(&self, parts: impl ExactSizeIterator<Item = Part>) -> Result<(), BlockError> {
        let mut requests = self.requests.lock();
        if requests.dead {
            return Err(BlockError::Io);
        }
        requests.waiting.try_reserve(parts.len()).map_err(|_| BlockError::OutOfMemory)?;
        requests.waiting.extend(parts);
        requests.advance(&*self.transport);
        Ok(())
    }

    /// Takes back what the device has finished, and hands it what waited for room.
    fn harvest(&self) {
        loop {
            // Wakers run, and requests may be dropped, outside the lock.
            let done = self.requests.lock().next_done(&*self.transport);
            match done {
                Some((part, result)) => part.request.complete_part(result),
                None => break,
            }
        }
    }
}

impl Requests {
    /// Offset in the queue's memory of the header of the part at `slot`.
    fn header(&self, slot: usize) -> usize {
        self.queue.spare() + slot * HEADER
    }

    /// Offset in the queue's memory of the status byte of the part at `slot`.
    fn status(&self, slot: usize) -> usize {
        self.queue.spare() + MOST_IN_FLIGHT * HEADER + slot
    }

    /// Moves parts from the list to the queue as long as there is room.
    fn advance(&mut self, transport: &dyn Transport) {
        while let Some(part) = self.waiting.front() {
            let Some(slot) = self.in_flight.iter().position(Option::is_none) else { break };
            let (header, status) = (self.header(slot), self.status(slot));
            let memory = self.queue.memory();
            memory.write_u32(header, part.kind as u32);
            memory.write_u32(header + 4, 0);
            memory.write_u64(header + 8, part.sector);
            memory.write_u8(status, STATUS_UNWRITTEN);
            self.segments.clear();
            self.segments.push(Segment {
                address: self.queue.address(header),
                len: HEADER as u32,
                direction: Direction::ToDevice,
            });
            part.add_data(&mut self.segments);
            self.segments.push(Segment {
                address: self.queue.address(status),
                len: 1,
                direction: Direction::FromDevice,
            });
            if !self.queue.push(slot as u16, &self.segments) {
                break;
            }
            self.in_flight[slot] = self.waiting.pop_front();
        }
        self.queue.kick(transport);
    }

    /// A part that is done, and how it went. Before it says that there is none, it fills the queue again.
    fn next_done(&mut self, transport: &dyn Transport) -> Option<(Part, Result<(), BlockError>)> {
        while !self.dead {
            match self.queue.pop() {
                Ok(Some(completion)) => {
                    let slot = usize::from(completion.token);
                    let status = self.queue.memory().read_u8(self.status(slot));
                    let part = self.in_flight.get_mut(slot).and_then(Option::take);
                    return part.map(|part| (part, outcome(status)));
                }
                Ok(None) => {
                    if self.queue.listen() {
                        self.advance(transport);
                        return None;
                    }
                }
                Err(violation) => {
                    log!("virtio-blk: device given up: {violation}");
                    // From here on it no longer writes to the pages of requests.
                    transport.reset();
                    self.dead = true;
                }
            }
        }
        let part = self.in_flight.iter_mut().find_map(Option::take).or_else(|| self.waiting.pop_front());
        part.map(|part| (part, Err(BlockError::Io)))
    }
}

/// What a status byte says (5.2.6).
fn outcome(status: u8) -> Result<(), BlockError> {
    match status {
        0 => Ok(()),
        2 => Err(BlockError::Unsupported),
        _ => Err(BlockError::Io),
    }
}

/// No status that a device writes.
const STATUS_UNWRITTEN: u8 = 0xff;

impl Part {
    /// Appends its pages, contiguous ones as one segment.
    fn add_data(&self, segments: &mut Vec<Segment>) {
        let direction = if self.kind == Kind::Read { Direction::FromDevice } else { Direction::ToDevice };
        let header = segments.len();
        let mut left = self.len;
        for page in &self.request.pages()[self.pages.clone()] {
            let len = left.min(PAGE_SIZE) as u32;
            left -= len as usize;
            match segments[header..].last_mut() {
                Some(last) if last.address.checked_add(u64::from(last.len)) == Some(page.phys()) => {
                    last.len += len;
                }
                _ => segments.push(Segment { address: page.phys(), len, direction }),
            }
        }
    }
}

/// Fills the pages with zeros from byte `from` on.
fn clear_behind(pages: &[Frame], from: usize) {
    for (index, page) in pages.iter().enumerate().skip(from / PAGE_SIZE) {
        page.clear(from.saturating_sub(index * PAGE_SIZE)..PAGE_SIZE);
    }
}

impl Block for VirtioBlock {
    fn size(&self) -> u64 {
        self.sectors * SECTOR_SIZE
    }

    fn read_only(&self) -> bool {
        self.read_only
    }

    fn read(&self, sector: u64, pages: &[Frame]) -> Result<Arc<BlockRequest>, BlockError> {
        self.transfer(Kind::Read, sector, pages)
    }

    fn write(&self, sector: u64, pages: &[Frame]) -> Result<Arc<BlockRequest>, BlockError> {
        if self.read_only {
            return Err(BlockError::ReadOnly);
        }
        self.transfer(Kind::Write, sector, pages)
    }

    fn flush(&self) -> Result<Arc<BlockRequest>, BlockError> {
        // A device without the feature writes through: what is complete is durable (5.2.5.1).
        let parts = usize::from(self.can_flush);
        let request = BlockRequest::new(&[], parts)?;
        let part =
            || Part { request: Arc::clone(&request), kind: Kind::Flush, sector: 0, pages: 0..0, len: 0 };
        self.submit((0..parts).map(|_| part()))?;
        Ok(request)
    }

    fn poll(&self) {
        self.harvest();
    }
}

impl Driver for VirtioBlock {
    fn on_interrupt(&self, _: Option<u16>) {
        self.transport.acknowledge_interrupt(false);
        self.harvest();
    }
}

impl core::fmt::Debug for VirtioBlock {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Self { sectors, read_only, .. } = self;
        write!(f, "VirtioBlock {{ sectors: {sectors}, read_only: {read_only} }}")
    }
}

#[cfg(test)]
mod tests;
