//! The block device (virtio 1.2, 5.2).

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::queue::Queue;
use super::{Driver, StartError, Transport, Violation};
use crate::Place;
use crate::block::{BlockError, Name};
use crate::disk::{Command, Controller, Disk, Geometry, Hardware, Kind, Outcome};
use crate::segment::Segment;

/// Descriptors of the queue. A request takes two and one for each run of contiguous pages.
const QUEUE_SIZE: u16 = 128;
/// Each request in flight takes three descriptors at least.
const MOST_IN_FLIGHT: usize = QUEUE_SIZE as usize / 3;
/// Type, reserved and first sector.
const HEADER: usize = 16;
const NAME: &str = "virtio-blk";

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

/// The queue, with a header and a status for each request.
struct Requests {
    transport: Arc<dyn Transport>,
    queue: Queue,
    /// Built anew for each request; kept for its memory.
    segments: Vec<Segment>,
}

/// Starts the device behind `transport`.
pub fn start(transport: Box<dyn Transport>, place: Place) -> Result<Arc<Disk>, StartError> {
    let wanted = feature::SEGMENTS_MAX | feature::READ_ONLY | feature::FLUSH;
    let mut geometry = Geometry { sectors: 0, block: 1, read_only: false, can_flush: false };
    let controller = super::start(
        transport,
        |_| wanted,
        1,
        |transport, features| {
            // Two reads of a number that could change between them only if the host resized the disk across 2 TiB
            // right now; requests behind its true end fail at the device.
            let low = u64::from(transport.config(config::CAPACITY));
            let high = u64::from(transport.config(config::CAPACITY + 4));
            geometry.sectors = high << 32 | low;
            geometry.read_only = features & feature::READ_ONLY != 0;
            // A device without the feature writes through (5.2.5.1).
            geometry.can_flush = features & feature::FLUSH != 0;
            let status = MOST_IN_FLIGHT * HEADER;
            let queue = Queue::new(&*transport, 0, QUEUE_SIZE, status + MOST_IN_FLIGHT, features)?;
            if queue.size() < 3 {
                return Err(StartError::Queue);
            }
            let mut part_pages = usize::from(queue.size()) - 2;
            if features & feature::SEGMENTS_MAX != 0 {
                part_pages = part_pages.min(transport.config(config::SEGMENTS_MAX) as usize).max(1);
            }
            let mut segments = Vec::new();
            segments.try_reserve_exact(part_pages + 2).map_err(|_| StartError::OutOfMemory)?;
            let requests = Box::new(Requests { transport, queue, segments });
            Ok(Controller::new((NAME, place), requests, MOST_IN_FLIGHT, part_pages)?)
        },
    )?;
    Ok(Disk::new(controller, Name { controller: NAME, place, number: 0 }, geometry))
}

impl Requests {
    /// Offset in the queue's memory of the header of the request in `slot`.
    fn header(&self, slot: usize) -> usize {
        self.queue.spare() + slot * HEADER
    }

    /// Offset in the queue's memory of the status byte of the request in `slot`.
    fn status(&self, slot: usize) -> usize {
        self.queue.spare() + MOST_IN_FLIGHT * HEADER + slot
    }
}

impl Hardware for Requests {
    fn submit(&mut self, slot: usize, command: &Command<'_>) -> bool {
        let (header, status) = (self.header(slot), self.status(slot));
        let (kind, written) = match command.kind {
            Kind::Read => (0, command.data.len()),
            Kind::Write => (1, 0),
            Kind::Flush => (4, 0),
            // No kind that there is: the device says that it does not know it.
            Kind::Scsi(_) => (u32::MAX, command.data.len()),
        };
        let memory = self.queue.memory();
        memory.write_u32(header, kind);
        memory.write_u32(header + 4, 0);
        memory.write_u64(header + 8, command.sector);
        memory.write_u8(status, STATUS_UNWRITTEN);
        self.segments.clear();
        self.segments.push(Segment { address: self.queue.address(header), len: HEADER as u32 });
        self.segments.extend_from_slice(command.data);
        self.segments.push(Segment { address: self.queue.address(status), len: 1 });
        self.queue.push(slot as u16, &self.segments, written + 1)
    }

    fn kick(&mut self) {
        self.queue.kick(&*self.transport);
    }

    fn next_done(&mut self) -> Result<Option<(usize, Outcome)>, &'static str> {
        loop {
            if let Some(completion) = self.queue.pop().map_err(Violation::text)? {
                let slot = usize::from(completion.token);
                return Ok(Some((slot, outcome(self.queue.memory().read_u8(self.status(slot))))));
            }
            if self.queue.listen() {
                return Ok(None);
            }
        }
    }

    fn acknowledge(&mut self) {
        self.transport.acknowledge_interrupt(false);
    }

    fn stop(&mut self) {
        self.transport.reset();
    }
}

/// What a status byte says (5.2.6).
fn outcome(status: u8) -> Outcome {
    match status {
        0 => Outcome::Done,
        2 => Outcome::Failed(BlockError::Unsupported),
        _ => Outcome::Failed(BlockError::Io),
    }
}

/// No status that a device writes.
const STATUS_UNWRITTEN: u8 = 0xff;

impl Driver for Controller {
    fn on_interrupt(&self, _: Option<u16>) {
        Self::on_interrupt(self);
    }
}

#[cfg(test)]
mod tests;
