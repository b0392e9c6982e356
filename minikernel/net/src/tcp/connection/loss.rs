//! Loss: how it is found and repaired (RFC 8985 with SACK, RFC 6582 without), how much is sent meanwhile (RFC 6937), and how a
//! mistake is taken back (RFC 4015).

use super::acknowledge::Delivery;
use super::{Connection, State};
use crate::tcp::queue::Marks;
use crate::tcp::{Error, Output, Seq};

/// Duplicate acknowledgments that make a loss (RFC 5681, section 3.2).
const DUPLICATES: u32 = 3;

/// No marks to add, none to remove.
const NOTHING: (Marks, Marks) = (Marks::empty(), Marks::empty());

/// Whether losses are being repaired, and by which sign they were found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Open,
    /// Fast recovery.
    Fast,
    /// After a retransmission timeout.
    Timeout,
}

/// The state of loss recovery.
#[derive(Debug)]
pub(super) struct Recovery {
    pub phase: Phase,
    /// SND.NXT when the loss was found: the recovery ends when all before it is acknowledged (RFC 6582, `recover`).
    pub point: Seq,
    /// Duplicate acknowledgments in a row, where the peer has no SACK.
    pub duplicates: u32,
    /// The window and the threshold before, and the timestamp of the first retransmission (RFC 4015).
    undo: Option<(u32, u32)>,
    first_repeat: Option<u32>,
    /// Numbers delivered and sent in this recovery, and the flight at its beginning (RFC 6937, `prr_delivered`, `prr_out`, `RecoverFS`).
    delivered: u32,
    sent: u32,
    flight: u32,
    /// When to look again whether something is lost (RFC 8985, section 6.3).
    pub reorder_at: Option<u64>,
    /// SND.NXT when the tail loss probe was sent, and whether it was a retransmission (RFC 8985, section 7.1).
    pub probe: Option<(Seq, bool)>,
    /// What an ICMP message said; the error if the connection is given up.
    pub soft_error: Option<Error>,
}

impl Recovery {
    pub fn new(start: Seq) -> Self {
        Self {
            phase: Phase::Open,
            point: start,
            duplicates: 0,
            undo: None,
            first_repeat: None,
            delivered: 0,
            sent: 0,
            flight: 0,
            reorder_at: None,
            probe: None,
            soft_error: None,
        }
    }

    /// In fast recovery it is proportional rate reduction that moves the window.
    pub fn window_may_grow(&self) -> bool {
        self.phase != Phase::Fast
    }

    /// So many numbers were sent; they count only in a recovery, which begins with none.
    pub fn count_sent(&mut self, count: u32) {
        if self.phase != Phase::Open {
            self.sent = self.sent.saturating_add(count);
        }
    }

    /// Something was sent again.
    pub fn repeated(&mut self, timestamp: u32) {
        self.first_repeat.get_or_insert(timestamp);
    }
}

impl Connection {
    /// Draws the conclusions from an acknowledgment.
    pub(super) fn examine_loss(&mut self, now: u64, delivery: &Delivery) {
        if delivery.duplicate_reported {
            self.rack.duplicate_reported(self.snd.una, self.snd.nxt);
        }
        self.end_probe(delivery);
        self.count_duplicates(delivery);
        if self.was_spurious(delivery) {
            self.undo_recovery();
        }
        let past = self.snd.una >= self.recovery.point;
        if past && self.recovery.phase != Phase::Open {
            self.end_recovery();
        }
        self.find_losses(now);
        match self.recovery.phase {
            Phase::Open if self.sent.lost() > 0 => self.begin_fast_recovery(delivery.delivered),
            Phase::Fast => self.reduce_rate(delivery.delivered),
            _ => {}
        }
    }

    /// Marks what is lost.
    pub(super) fn find_losses(&mut self, now: u64) {
        let in_recovery = self.recovery.phase != Phase::Open;
        if self.snd.sack_permitted {
            let segment = self.full_segment();
            let wait = self.rack.detect(&mut self.sent, now, &self.rtt, segment, in_recovery);
            self.recovery.reorder_at = wait.map(|wait| now + wait);
            return;
        }
        // RFC 6582, section 3.2: the third duplicate, and each acknowledgment that ends before the recovery does.
        let third =
            !in_recovery && self.recovery.duplicates >= DUPLICATES && self.snd.una > self.recovery.point;
        let partial = in_recovery && self.snd.una < self.recovery.point;
        if (third || partial)
            && self.sent.first().is_some_and(|first| !first.marks.contains(Marks::RETRANSMITTED))
        {
            self.mark_first_segment();
        }
    }

    /// The first segment is lost, if not all that was sent with it.
    fn mark_first_segment(&mut self) {
        let segment = self.full_segment();
        let Some(first) = self.sent.first() else { return };
        let middle = first.start + segment;
        if first.payload.len() > segment as usize && self.sent.split(0, middle).is_err() {
            return;
        }
        self.sent.set(0, Marks::LOST, Marks::empty());
    }

    fn count_duplicates(&mut self, delivery: &Delivery) {
        if self.snd.sack_permitted {
            return;
        }
        if delivery.repeated {
            self.recovery.duplicates = self.recovery.duplicates.saturating_add(1);
        } else if delivery.acknowledged > 0 {
            // The segment that closed the gap was none of those that the duplicates stood for.
            let segments = delivery.acknowledged.div_ceil(self.full_segment());
            let left = self.recovery.duplicates.saturating_sub(segments.saturating_sub(1));
            self.recovery.duplicates = if self.recovery.phase == Phase::Fast { left } else { 0 };
        }
    }

    fn begin_fast_recovery(&mut self, delivered: u32) {
        let flight = self.snd.nxt - self.snd.una;
        self.remember(flight);
        self.recovery.phase = Phase::Fast;
        self.congestion.lost(flight, self.full_segment());
        self.counts.recoveries = self.counts.recoveries.wrapping_add(1);
        self.reduce_rate(delivered);
    }

    /// Keeps what a mistake would have to restore.
    fn remember(&mut self, flight: u32) {
        let recovery = &mut self.recovery;
        recovery.point = self.snd.nxt;
        recovery.undo = Some((self.congestion.window, self.congestion.threshold));
        recovery.first_repeat = None;
        (recovery.delivered, recovery.sent, recovery.flight) = (0, 0, flight.max(1));
        recovery.probe = None;
    }

    /// Proportional rate reduction (RFC 6937, section 3): the window falls to the threshold in the course of a round trip.
    fn reduce_rate(&mut self, delivered: u32) {
        let (segment, pipe, threshold) = (self.full_segment(), self.pipe(), self.congestion.threshold);
        let recovery = &mut self.recovery;
        recovery.delivered = recovery.delivered.saturating_add(delivered);
        let send = if pipe > threshold {
            let share = u64::from(recovery.delivered) * u64::from(threshold);
            (share.div_ceil(u64::from(recovery.flight)) as u32).saturating_sub(recovery.sent)
        } else {
            // The slow start reduction bound.
            let limit = recovery.delivered.saturating_sub(recovery.sent).max(delivered) + segment;
            limit.min(threshold - pipe)
        };
        // The first retransmission goes at once.
        let send = if recovery.sent == 0 { send.max(segment) } else { send };
        self.congestion.window = pipe + send;
    }

    fn end_recovery(&mut self) {
        if self.recovery.phase == Phase::Fast {
            self.congestion.window = self.congestion.threshold;
        }
        self.leave_recovery();
        self.rack.recovered();
    }

    fn leave_recovery(&mut self) {
        self.recovery.phase = Phase::Open;
        self.recovery.undo = None;
        self.recovery.first_repeat = None;
        self.recovery.duplicates = 0;
    }

    /// Eifel (RFC 3522, section 3.2): the peer echoes a timestamp from before the first retransmission, so it was the original that arrived.
    fn was_spurious(&self, delivery: &Delivery) -> bool {
        let Some((first, echo)) = self.recovery.first_repeat.zip(delivery.echo) else { return false };
        self.recovery.undo.is_some()
            && self.recovery.phase != Phase::Open
            && delivery.acknowledged > 0
            && echo != 0
            && (echo.wrapping_sub(first) as i32) < 0
    }

    fn undo_recovery(&mut self) {
        if let Some((window, threshold)) = self.recovery.undo {
            self.congestion.undo(window, threshold);
        }
        self.sent.set_all(&mut |_| (Marks::empty(), Marks::LOST | Marks::RETRANSMITTED));
        self.leave_recovery();
    }

    /// The retransmission timer ran out (RFC 6298, section 5.4): everything outstanding is taken for lost (RFC 5681, section 3.1).
    pub(super) fn time_out(&mut self, now: u64, out: &mut dyn Output) {
        let handshake = matches!(self.state, State::SynSent | State::SynReceived);
        if self.recovery.phase != Phase::Timeout {
            let flight = self.snd.nxt - self.snd.una;
            self.remember(flight);
            self.congestion.lost(self.pipe().max(1), self.full_segment());
        }
        self.recovery.phase = Phase::Timeout;
        (self.recovery.duplicates, self.recovery.reorder_at) = (0, None);
        self.congestion.timed_out(self.full_segment());
        // A peer may drop what it has selectively acknowledged (RFC 2018, section 8); if the first is such, it did.
        let reneged = self.sent.first().is_some_and(|first| first.marks.contains(Marks::SACKED));
        self.sent.set_all(&mut |sent| {
            let arrived = sent.marks.contains(Marks::SACKED) && !reneged;
            if arrived { NOTHING } else { (Marks::LOST, Marks::RETRANSMITTED | Marks::SACKED) }
        });
        self.rtt.backoff = self.rtt.backoff.saturating_add(1);
        self.counts.timeouts = self.counts.timeouts.wrapping_add(1);
        self.timers.started = now;
        if handshake {
            self.retransmit(0, 1, now, out);
        } else {
            self.transmit(now, out);
        }
        self.arm(now);
    }

    /// The path takes no more than `mss` bytes in a segment (RFC 1191, section 6.4; `quoted` as in [`unreachable`](Self::unreachable)):
    /// what is longer is sent again in pieces, and nobody is to blame.
    pub fn path_changed(&mut self, now: u64, quoted: Seq, mss: u16, out: &mut dyn Output) {
        let mss = mss.max(super::handshake::MIN_MSS);
        if quoted < self.snd.una
            || quoted >= self.snd.nxt
            || mss >= self.snd.mss
            || !self.state.is_synchronized()
        {
            return;
        }
        self.snd.mss = mss;
        let segment = self.full_segment();
        self.sent.set_all(&mut |sent| {
            let fits = sent.payload.len() <= segment as usize || sent.marks.contains(Marks::SACKED);
            if fits { NOTHING } else { (Marks::LOST, Marks::RETRANSMITTED) }
        });
        self.transmit(now, out);
    }
}
