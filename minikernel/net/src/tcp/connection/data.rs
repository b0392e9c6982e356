//! The payload of what arrives, the peer's FIN, and when to acknowledge (RFC 9293, sections 3.8.6.3 and 3.10.7.4, seventh and eighth step).

use super::{Connection, Events, State};
use crate::chunk::Chunks;
use crate::tcp::memory::Pressure;
use crate::tcp::reassembly::compact;
use crate::tcp::{Flags, Output, SegmentHeader, Seq};

impl Connection {
    /// Takes the payload: to the program if it is next, else to the reassembly queue.
    pub(super) fn take_data(&mut self, now: u64, header: &SegmentHeader, mut payload: Chunks) {
        let end = header.sequence + payload.len() as u32;
        if header.flags.contains(Flags::FIN) && end <= self.rcv.edge {
            self.rcv.fin = Some(end);
        }
        if payload.is_empty() {
            return;
        }
        let mut start = header.sequence;
        self.note_segment_size(payload.len(), header);
        if start < self.rcv.nxt {
            self.note_duplicate(header, end);
            payload.advance((self.rcv.nxt - start) as usize);
            start = start.max(self.rcv.nxt);
        }
        // What lies beyond the window is not taken, and the peer learns at once where the window ends.
        let room = self.rcv.edge.since(start) as usize;
        if payload.len() > room {
            self.timers.acknowledge_at_once();
            payload.truncate(room);
        }
        // Where memory is short only what a program waits for is taken (`tcp_try_rmem_schedule` in Linux).
        let refused =
            self.pressure.contains(Pressure::FULL) && !(start == self.rcv.nxt && self.received.is_empty());
        if payload.is_empty() || refused {
            self.timers.acknowledge_at_once();
        } else if start == self.rcv.nxt {
            self.take_next(now, payload);
        } else {
            self.hold(start, payload);
        }
    }

    /// Data in order, and with it what was waiting for it.
    fn take_next(&mut self, now: u64, payload: Chunks) {
        if !self.append(payload) {
            return;
        }
        let filled_gap = !self.reassembly.is_empty();
        while let Some(waiting) = self.reassembly.take(self.rcv.nxt) {
            if !self.append(waiting) {
                break;
            }
        }
        if filled_gap {
            // RFC 5681, section 4.2: a segment that fills a gap is acknowledged at once.
            self.sack.advance(self.rcv.nxt);
            self.timers.acknowledge_at_once();
        } else {
            self.timers.data_arrived(now, self.rcv.nxt - self.rcv.acknowledged, self.rcv.mss);
        }
        self.events |= Events::READABLE;
    }

    /// Adds to what the program can read. Where memory is short the peer sends the rest again.
    fn append(&mut self, payload: Chunks) -> bool {
        let before = self.received.len();
        let offered = payload.len();
        // Many small payloads must not hold many large frames.
        let payload = if self.received.is_empty() { Ok(payload) } else { compact(payload) };
        let Ok(payload) = payload else { return false };
        let whole = self.received.append(payload).is_ok();
        let taken = self.received.len() - before;
        debug_assert!(!whole || taken == offered);
        self.take_urgent_byte(before, taken);
        self.rcv.nxt += taken as u32;
        self.counts.bytes_received += taken as u64;
        whole
    }

    /// Data behind a gap: held, reported, and acknowledged at once (RFC 5681, section 4.2; RFC 2018, section 4).
    fn hold(&mut self, start: Seq, payload: Chunks) {
        let end = start + payload.len() as u32;
        if self.reassembly.insert(start, payload).is_ok() && self.snd.sack_permitted {
            self.sack.add(start, end);
        }
        self.timers.acknowledge_at_once();
    }

    /// Something came twice (RFC 2883, section 4).
    fn note_duplicate(&mut self, header: &SegmentHeader, end: Seq) {
        if self.snd.sack_permitted {
            self.sack.add_duplicate(header.sequence, end.min(self.rcv.nxt));
        }
        self.timers.acknowledge_at_once();
    }

    /// The length of the peer's segments: it may be less than what was agreed on.
    fn note_segment_size(&mut self, length: usize, header: &SegmentHeader) {
        // A payload that a device has put together from several segments says nothing about their length.
        let length = if header.segment_size > 0 { usize::from(header.segment_size) } else { length };
        let agreed = self.rcv.advertised_mss.min(self.snd.mss);
        if length >= usize::from(self.rcv.mss) {
            self.rcv.mss = length.min(usize::from(agreed)) as u16;
        }
    }

    /// The peer's FIN, once all before it has come.
    pub(super) fn take_fin(&mut self) {
        if self.rcv.fin != Some(self.rcv.nxt) {
            return;
        }
        self.rcv.fin = None;
        self.rcv.finished = true;
        self.rcv.nxt += 1;
        self.rcv.edge = self.rcv.edge.max(self.rcv.nxt);
        self.events |= Events::PEER_CLOSED | Events::READABLE;
        self.timers.acknowledge_at_once();
        match self.state {
            State::Established => self.enter(State::CloseWait),
            State::FinWait1 => self.enter(State::Closing),
            State::FinWait2 => {
                self.timers.idle = super::timers::NEVER;
                self.events |= Events::TIME_WAIT;
            }
            _ => {}
        }
    }

    /// Sends the acknowledgment that is owed, if it is time and nothing that was sent has carried it.
    pub(super) fn acknowledge_if_due(&mut self, now: u64, out: &mut dyn Output) {
        if self.timers.acknowledgment_due(now) || self.options.quick_ack && self.timers.owes_acknowledgment()
        {
            self.emit_acknowledgment(now, out);
        }
    }
}
