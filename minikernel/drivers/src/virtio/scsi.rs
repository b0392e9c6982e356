//! The SCSI host adapter (virtio 1.2, 5.6): of its queues the first for requests.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::queue::Queue;
use super::{StartError, Transport, Violation};
use crate::Place;
use crate::block::BlockError;
use crate::disk::scsi::{self, Bus, lun, target};
use crate::disk::{Command, Controller, Hardware, Kind, Outcome};
use crate::segment::Segment;

const NAME: &str = "virtio-scsi";
/// The first queue of requests, behind those for control and for events, which nothing is asked of.
const REQUESTS: u16 = 2;
const QUEUE_SIZE: u16 = 128;
const SLOTS: usize = 32;
/// A request: the unit, a tag, its kind, and the command (5.6.6.1).
const REQUEST: usize = 51;
/// The answer: how long the sense is, what was not transferred, a qualifier, the status, the adapter's response, and the sense.
const ANSWER: usize = 108;
/// What each slot has of the queue's memory: a request, and an answer at the next round place.
const SLOT: usize = 64 + 112;
const ANSWER_AT: usize = 64;

/// Offsets in the device's configuration (5.6.4).
mod config {
    pub const SEGMENTS_MAX: usize = 4;
    pub const SECTORS_MAX: usize = 8;
    /// In the upper half; the highest channel is in the lower one.
    pub const TARGET_MAX: usize = 28;
}

/// The queue, with a request and an answer for each slot.
struct Requests {
    transport: Arc<dyn Transport>,
    queue: Queue,
    /// Built anew for each request; kept for its memory.
    segments: Vec<Segment>,
}

/// Starts the device behind `transport`; its disks are not known yet.
pub(crate) fn start(transport: Box<dyn Transport>, place: Place) -> Result<Bus, StartError> {
    let mut targets = 0;
    let controller = super::start(
        transport,
        |_| 0,
        1,
        |transport, features| {
            targets = (transport.config(config::TARGET_MAX) >> 16).min(u8::MAX.into()) + 1;
            let queue = Queue::new(&*transport, REQUESTS, QUEUE_SIZE, SLOTS * SLOT, features)?;
            if queue.size() < 3 {
                return Err(StartError::Queue);
            }
            // Both limits may be those of a device without one.
            let most = [config::SEGMENTS_MAX, config::SECTORS_MAX].map(|at| transport.config(at) as usize);
            let part_pages = (usize::from(queue.size()) - 2).min(most[0]).min(most[1] / 8).max(1);
            let mut segments = Vec::new();
            segments.try_reserve_exact(part_pages + 2).map_err(|_| StartError::OutOfMemory)?;
            let requests = Box::new(Requests { transport, queue, segments });
            Ok(Controller::new((NAME, place), requests, SLOTS, part_pages)?)
        },
    )?;
    Ok(Bus { controller, name: NAME, place, targets, known: Vec::new() })
}

impl Hardware for Requests {
    fn submit(&mut self, slot: usize, command: &Command<'_>) -> bool {
        let request = self.queue.spare() + slot * SLOT;
        let answer = request + ANSWER_AT;
        let memory = self.queue.memory();
        let mut bytes = [0; REQUEST];
        let [high, low] = lun(command.unit).to_be_bytes();
        bytes[..4].copy_from_slice(&[1, target(command.unit), 0x40 | high, low]);
        bytes[8] = slot as u8;
        bytes[19..35].copy_from_slice(&scsi::bytes(command));
        memory.write(request, &bytes);
        memory.write(answer, &[0xff; 12]);
        let segment = |at: usize, len: usize| Segment { address: self.queue.address(at), len: len as u32 };
        let (read, written) =
            if command.kind == Kind::Write { (command.data, &[][..]) } else { (&[][..], command.data) };
        self.segments.clear();
        self.segments.push(segment(request, REQUEST));
        self.segments.extend_from_slice(read);
        self.segments.push(segment(answer, ANSWER));
        self.segments.extend_from_slice(written);
        self.queue.push(slot as u16, &self.segments, 1 + written.len())
    }

    fn kick(&mut self) {
        self.queue.kick(&*self.transport);
    }

    fn next_done(&mut self) -> Result<Option<(usize, Outcome)>, &'static str> {
        loop {
            // QEMU counts what it has read as written, too.
            if let Some((completion, _)) = self.queue.take().map_err(Violation::text)? {
                let slot = usize::from(completion.token);
                return Ok(Some((slot, self.outcome(slot))));
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

impl Requests {
    /// What the answer in a slot says.
    fn outcome(&self, slot: usize) -> Outcome {
        const OK: u8 = 0;
        const RESET: u8 = 4;
        const BUSY: u8 = 5;
        let answer = self.queue.spare() + slot * SLOT + ANSWER_AT;
        let memory = self.queue.memory();
        match memory.read_u8(answer + 11) {
            OK => {
                let mut sense = [0; 4];
                memory.read(answer + 12, &mut sense);
                scsi::outcome(memory.read_u8(answer + 10), sense)
            }
            RESET | BUSY => Outcome::Again,
            _ => Outcome::Failed(BlockError::Io),
        }
    }
}

#[cfg(test)]
mod tests;
