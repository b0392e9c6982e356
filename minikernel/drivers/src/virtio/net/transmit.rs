//! Frames on their way out.

use isopod_hal::dma::Dma;

use super::HEADER;
use crate::network::{Outgoing, Payload, Work};
use crate::virtio::queue::Queue;
use crate::virtio::{StartError, Violation};

/// Descriptors that any frame can do with: one for what lies in its slot, and one for a payload that does not, if need be as a copy.
const FRAME: usize = 2;

/// The header that comes before each frame (5.1.6).
mod header {
    pub const NEEDS_SUM: u8 = 1;
    pub const CUT_V4: u8 = 1;
    pub const CUT_V6: u8 = 4;
}

/// One queue of frames to send. The device is not asked for interrupts: what it has sent is collected when there is more to send, or when somebody
/// looks.
#[derive(Debug)]
pub(super) struct Transmit<P> {
    pub queue: Queue,
    frames: Outgoing<P>,
    /// Somebody found no room.
    awaited: bool,
}

impl<P: Payload> Transmit<P> {
    pub fn new(mut queue: Queue) -> Result<Self, StartError> {
        queue.silence();
        let size = usize::from(queue.size());
        if size < FRAME {
            return Err(StartError::Queue);
        }
        Ok(Self { queue, frames: Outgoing::new(size, size, HEADER)?, awaited: false })
    }

    /// Takes back what has been sent.
    pub fn collect(&mut self) -> Result<(), Violation> {
        while let Some(done) = self.queue.pop()? {
            self.frames.release(done.token);
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

    fn try_push(&mut self, head: &[u8], payload: P, work: &Work) -> Result<(), P> {
        // Each frame has a descriptor at least, so that there are slots where there is room.
        if !self.queue.has_room(if self.frames.is_short(head, &payload) { 1 } else { FRAME }) {
            return Err(payload);
        }
        let write = |page: &Dma, at| write_header(page, at, head.len(), work);
        let Some(frame) = self.frames.prepare(head, payload, write) else { return Ok(()) };
        if self.queue.push(frame.slot, self.frames.segments(), 0) {
            self.frames.keep(frame);
            return Ok(());
        }
        Outgoing::take_back(frame).map_or(Ok(()), Err)
    }
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
