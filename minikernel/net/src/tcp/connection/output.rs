//! What is sent, and when (RFC 9293, sections 3.7.4 and 3.8.6.2.1; RFC 5681; RFC 6675).

use super::Connection;
use crate::tcp::congestion::INITIAL_SEGMENTS;
use crate::tcp::queue::{Marks, Sent};
use crate::tcp::{Flags, Output};

impl Connection {
    /// Sends all that may be sent: first what was lost, then new data, then the FIN.
    pub(super) fn transmit(&mut self, now: u64, out: &mut dyn Output) {
        if !self.state.is_synchronized() {
            return;
        }
        self.retransmit_lost(now, out);
        self.restart_after_silence(now);
        while let Some(count) = self.sendable() {
            if !self.send_new(count, now, out) {
                break;
            }
        }
        self.arm(now);
    }

    /// How many new bytes the next segment carries; `None` while nothing may be sent. Zero stands for a FIN alone.
    fn sendable(&self) -> Option<usize> {
        let queued = self.unsent.len();
        if queued == 0 {
            return (self.snd.fin && !self.snd.fin_sent).then_some(0);
        }
        let full = self.full_segment() as usize;
        let first = queued.min(full);
        let window = (self.snd.una + self.snd.wnd).since(self.snd.nxt) as usize;
        // The sender's part of silly window avoidance: a segment that does not fit waits (RFC 9293, section 3.8.6.2.1).
        if first > window {
            return None;
        }
        let room = self.congestion.window.saturating_sub(self.pipe()) as usize;
        if room < first && !self.sent.is_empty() {
            return None;
        }
        let mut allowed = queued.min(window).min(room.max(first));
        let mut partial = allowed;
        // Divisions take their time, and most of what is sent is short.
        if allowed >= full {
            allowed = allowed.min(self.burst(full));
            partial = allowed % full;
        }
        let allowed =
            if allowed == queued && self.may_send_partial(partial) { allowed } else { allowed - partial };
        (allowed > 0).then_some(allowed)
    }

    /// A segment is at most half of the largest window that the peer ever offered, so that two are in flight (RFC 9293, section 3.8.6.2.1).
    pub(super) fn full_segment(&self) -> u32 {
        let half = if self.snd.max_wnd > 536 { self.snd.max_wnd / 2 } else { self.snd.max_wnd };
        self.segment_size().min(half.max(1))
    }

    /// The longest payload given to the device: whole segments.
    fn burst(&self, full: usize) -> usize {
        let burst = self.snd.burst as usize;
        (burst - burst % full).max(full)
    }

    /// Nagle's algorithm (RFC 9293, section 3.7.4), as Minshall changed it: a short segment waits only for the acknowledgment of another.
    fn may_send_partial(&self, partial: usize) -> bool {
        if partial == 0 || self.snd.fin || self.snd.up.is_some_and(|up| up > self.snd.nxt) {
            return true;
        }
        if self.options.cork || self.snd.more {
            return false;
        }
        self.options.no_delay || self.snd.small <= self.snd.una
    }

    /// Sends `count` new bytes, with the FIN where they are the last. False where memory is short.
    fn send_new(&mut self, count: usize, now: u64, out: &mut dyn Output) -> bool {
        if self.sent.reserve().is_err() {
            return false;
        }
        let Ok(payload) = self.unsent.split_to(count) else { return false };
        let mut marks = Marks::empty();
        if self.unsent.is_empty() {
            marks |= Marks::PUSH;
            self.unsent.release();
            if self.snd.fin {
                marks |= Marks::FIN;
                self.snd.fin_sent = true;
            }
        }
        let start = self.snd.nxt;
        self.snd.nxt += payload.len() as u32 + u32::from(marks.contains(Marks::FIN));
        let full = self.full_segment() as usize;
        if count < full || !count.is_multiple_of(full) {
            self.snd.small = self.snd.nxt;
        }
        if self.sent.is_empty() {
            self.timers.started = now;
        }
        self.recovery.count_sent(payload.len() as u32);
        self.counts.bytes_sent += count as u64;
        if count > 0 {
            self.data_sent(now);
        }
        let copy = payload.try_clone();
        self.sent.push(Sent { start, end: self.snd.nxt, at: now, marks, payload });
        // What memory does not suffice for counts as lost on the way.
        if let Ok(copy) = copy {
            self.emit(now, flags_of(marks), start, copy, out);
        }
        true
    }

    /// Sends at once what the window takes, whatever else argues against it; false when it takes nothing. For timers.
    pub(super) fn send_regardless(&mut self, now: u64, out: &mut dyn Output) -> bool {
        let window = (self.snd.una + self.snd.wnd).since(self.snd.nxt) as usize;
        let count = self.unsent.len().min(window).min(self.full_segment() as usize);
        count > 0 && self.send_new(count, now, out)
    }

    /// Sends again what is believed lost, as far as the congestion window allows (RFC 6675, section 5, C).
    fn retransmit_lost(&mut self, now: u64, out: &mut dyn Output) {
        let mut index = 0;
        while self.sent.lost() > self.sent.retransmitted() {
            let Some(sent) = self.sent.get(index) else { return };
            if sent.marks & (Marks::LOST | Marks::RETRANSMITTED) != Marks::LOST {
                index += 1;
                continue;
            }
            let least = sent.len().min(self.full_segment());
            let room = self.congestion.window.saturating_sub(self.pipe());
            let beyond_window = sent.end > self.snd.una + self.snd.wnd && index > 0;
            if room < least || beyond_window || !self.retransmit(index, room, now, out) {
                return;
            }
            index += 1;
        }
    }

    /// Sends the first `limit` bytes of an entry again, at least a segment. False where memory is short.
    pub(super) fn retransmit(&mut self, index: usize, limit: u32, now: u64, out: &mut dyn Output) -> bool {
        let Some(sent) = self.sent.get(index) else { return false };
        let full = self.full_segment();
        let limit = (limit - limit % full).clamp(full, self.burst(full as usize) as u32);
        let start = sent.start;
        if sent.payload.len() > limit as usize && self.sent.split(index, start + limit).is_err() {
            return false;
        }
        let Some(sent) = self.sent.get(index) else { return false };
        let Ok(payload) = sent.payload.try_clone() else { return false };
        let flags = flags_of(sent.marks);
        let segments = sent.len().div_ceil(full);
        self.recovery.count_sent(sent.len());
        self.recovery.repeated(self.timestamp(now));
        self.counts.retransmitted = self.counts.retransmitted.wrapping_add(segments);
        self.sent.repeat(index, now);
        self.emit(now, flags, start, payload, out);
        true
    }

    /// What is believed to be in the network. Without SACK each duplicate acknowledgment stands for a segment that has left it (RFC 6582).
    #[inline]
    pub(super) fn pipe(&self) -> u32 {
        let pipe = self.sent.pipe();
        match self.recovery.duplicates {
            0 => pipe,
            duplicates => pipe.saturating_sub(duplicates.saturating_mul(self.full_segment())),
        }
    }

    /// The congestion window says nothing about a path that was silent for longer than a timeout (RFC 5681, section 4.1).
    fn restart_after_silence(&mut self, now: u64) {
        let silence = now.saturating_sub(self.snd.last);
        if self.sent.is_empty() && !self.unsent.is_empty() && silence > self.rtt.timeout() {
            let segment = self.segment_size();
            if self.congestion.window > INITIAL_SEGMENTS * segment {
                self.congestion.idle(silence / self.rtt.timeout(), segment);
            }
        }
    }

    /// Whether the congestion window is what holds the sender back; only then may it grow (RFC 7661). In slow start half of it in use is enough.
    pub(super) fn is_limited(&self, flight: u32) -> bool {
        let window = self.congestion.window;
        if self.congestion.in_slow_start() {
            window < 2 * flight.min(u32::MAX / 2)
        } else {
            flight + self.full_segment() > window
        }
    }

    /// A pure acknowledgment, window update, probe or FIN is no data; this is.
    fn data_sent(&mut self, now: u64) {
        self.timers.answer_sent(now, self.rcv.last);
        self.snd.last = now;
    }
}

fn flags_of(marks: Marks) -> Flags {
    let mut flags = Flags::empty();
    flags.set(Flags::SYN, marks.contains(Marks::SYN));
    flags.set(Flags::FIN, marks.contains(Marks::FIN));
    flags.set(Flags::PSH, marks.contains(Marks::PUSH));
    flags
}
