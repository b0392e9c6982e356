//! What arrives, step by step as RFC 9293, section 3.10.7.4 has it, with the precautions of RFC 5961 and RFC 7323.

use super::{Connection, Events, State, reset_for};
use crate::chunk::Chunks;
use crate::tcp::{Error, Flags, Output, SECOND, SegmentHeader, Seq};

/// A timestamp this old says nothing any more (RFC 7323, section 5.5).
const TIMESTAMP_LIFETIME: u64 = 24 * 24 * 3600 * SECOND;

impl Connection {
    /// Takes a segment of this connection. `payload` is what lies behind its header.
    pub fn receive(&mut self, now: u64, header: &SegmentHeader, payload: Chunks, out: &mut dyn Output) {
        self.counts.segments_in = self.counts.segments_in.wrapping_add(1);
        match self.state {
            State::Closed => reset_for(&self.flow, header, payload.len(), out),
            State::SynSent => self.receive_syn_sent(now, header, payload.len(), out),
            _ => {
                if self.check(now, header, payload.len(), out) {
                    self.rcv.last = now;
                    self.process(now, header, payload, out);
                }
            }
        }
    }

    /// The first four steps: whether the segment belongs to the connection as it stands.
    fn check(&mut self, now: u64, header: &SegmentHeader, payload: usize, out: &mut dyn Output) -> bool {
        let length = header.sequence_length(payload);
        let reset = header.flags.contains(Flags::RST);
        // Protection against wrapped sequence numbers (RFC 7323, section 5.3, R1).
        if let Some(timestamps) = header.options.timestamps.filter(|_| self.snd.timestamps && !reset) {
            let older = (timestamps.value.wrapping_sub(self.rcv.recent) as i32) < 0;
            if older && now.saturating_sub(self.rcv.recent_at) < TIMESTAMP_LIFETIME {
                self.refuse(now, header, length, out);
                return false;
            }
        }
        // First: the sequence number. As in Linux a segment may touch the window from either side.
        if header.sequence + length < self.rcv.nxt || header.sequence > self.rcv.edge {
            if !reset {
                self.refuse(now, header, length, out);
            }
            return false;
        }
        // Second: RST (RFC 5961, section 3.2).
        if reset {
            if header.sequence == self.rcv.nxt {
                self.reset_by_peer();
            } else {
                self.challenge(now, out);
            }
            return false;
        }
        // Section 4.3 of RFC 7323: the timestamp to echo is that of the segment at the left edge; of one that is acceptable, so that nobody who
        // guesses makes honest ones look old.
        if let Some(timestamps) = header.options.timestamps.filter(|_| self.snd.timestamps)
            && header.sequence <= self.rcv.acknowledged
        {
            (self.rcv.recent, self.rcv.recent_at) = (timestamps.value, now);
        }
        // Fourth: SYN (RFC 5961, section 4.2). In SYN-RECEIVED it is the peer's SYN again, and our answer was lost.
        if header.flags.contains(Flags::SYN) {
            if self.state == State::SynReceived && header.sequence == self.rcv.irs {
                self.retransmit(0, 1, now, out);
                return header.flags.contains(Flags::ACK);
            }
            self.challenge(now, out);
            return false;
        }
        header.flags.contains(Flags::ACK)
    }

    /// Answers a segment outside the window. One with data is acknowledged, with its duplicate (RFC 2883); others may be part of a loop
    /// between two ends that disagree, and are answered rarely.
    fn refuse(&mut self, now: u64, header: &SegmentHeader, length: u32, out: &mut dyn Output) {
        let end = header.sequence + length;
        if length == 0 || header.flags.contains(Flags::SYN) {
            self.challenge(now, out);
            return;
        }
        if self.snd.sack_permitted && end <= self.rcv.nxt {
            self.sack.add_duplicate(header.sequence, end);
        }
        self.timers.quick();
        self.emit_acknowledgment(now, out);
    }

    /// The fifth step and those that follow: the acknowledgment, urgent data, the payload, the FIN.
    fn process(&mut self, now: u64, header: &SegmentHeader, payload: Chunks, out: &mut dyn Output) {
        if self.state == State::SynReceived {
            if !(header.acknowledgment > self.snd.una && header.acknowledgment <= self.snd.nxt) {
                reset_for(&self.flow, header, payload.len(), out);
                return;
            }
            self.acknowledge_syn(now, header.acknowledgment);
            self.set_peer_window(self.snd.scaled(header.window));
            self.establish(now);
        }
        if !self.acknowledge(now, header, payload.len(), out) || self.state == State::Closed {
            return;
        }
        if self.refuses_data(header, payload.len()) {
            self.finish(Some(Error::Reset));
            reset_for(&self.flow, header, payload.len(), out);
            return;
        }
        if self.state.may_receive() {
            if header.flags.contains(Flags::URG) {
                self.urgent_announced(header.sequence + u32::from(header.urgent));
            }
            self.take_data(now, header, payload);
            self.take_fin();
        } else if !payload.is_empty() || header.flags.contains(Flags::FIN) {
            // The peer has not seen the acknowledgment of its FIN.
            self.timers.acknowledge_at_once();
        }
        if self.state == State::Closed {
            return;
        }
        self.transmit(now, out);
        self.acknowledge_if_due(now, out);
        if self.events.contains(Events::TIME_WAIT) {
            self.finish(None);
        }
    }

    /// Whether the segment brings data to an end that has closed both directions: the peer must learn that it is lost (RFC 1122, section
    /// 4.2.2.13; RFC 2525, section 2.17). Whoever only reads no more, or only writes no more, takes it.
    fn refuses_data(&self, header: &SegmentHeader, payload: usize) -> bool {
        let closed = self.deaf && matches!(self.state, State::FinWait1 | State::FinWait2);
        closed && payload > 0 && header.sequence + payload as u32 > self.rcv.nxt
    }

    fn reset_by_peer(&mut self) {
        let error = match self.state {
            State::SynReceived => Error::Refused,
            // Linux' `tcp_reset`.
            State::CloseWait => Error::Pipe,
            _ => Error::Reset,
        };
        self.finish(Some(error));
    }

    /// An ICMP message says that the peer cannot be reached; `quoted` is the sequence number of the segment that it returns. During the
    /// handshake that ends it, afterwards the timers decide (RFC 5461, section 3; RFC 5927, section 4.1).
    pub fn unreachable(&mut self, quoted: Seq, error: Error) {
        let outstanding = quoted >= self.snd.una && quoted < self.snd.nxt;
        if outstanding && matches!(self.state, State::SynSent | State::SynReceived) {
            self.finish(Some(error));
        } else if outstanding {
            self.recovery.soft_error = Some(error);
        }
    }
}
