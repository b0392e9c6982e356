//! The timers of a connection: one for the retransmission queue, one for a delayed acknowledgment, one for silence.

use super::{Connection, State};
use crate::tcp::{MILLISECOND, Output, SocketOptions};

/// A deadline that does not come.
pub(super) const NEVER: u64 = u64::MAX;
/// How long an acknowledgment waits for data to go with (Linux' `TCP_DELACK_MIN`; at most 500 ms by RFC 9293, section 3.8.6.3).
const ACK_DELAY: u64 = 40 * MILLISECOND;
/// Segments at the beginning that are acknowledged at once, for the peer's slow start (Linux' `TCP_MAX_QUICKACKS`).
const QUICK_ACKS: u8 = 16;

/// What the timer of the retransmission queue is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Purpose {
    #[default]
    Retransmission,
    /// A tail loss probe (RFC 8985, section 7).
    TailLoss,
    /// To look again for losses (RFC 8985, section 6.3).
    Reordering,
    /// The window is closed, or too small (RFC 9293, section 3.8.6.1).
    Persist,
}

/// Deadlines, and what they depend on.
#[derive(Debug)]
pub(super) struct Timers {
    transmit: u64,
    purpose: Purpose,
    acknowledge: u64,
    pub idle: u64,
    /// Since when the retransmission timer runs.
    pub started: u64,
    /// When the first of the timeouts in a row happened, or the first of the probes.
    pub failing_since: Option<u64>,
    /// Timeouts in a row, and probes that were not answered: of a closed window or of a silent peer.
    pub attempts: u8,
    pub probes: u8,
    /// Acknowledgments that are still not delayed.
    quick: u8,
    /// The program answers what it reads (`pingpong` in Linux), so an acknowledgment finds data to go with.
    interactive: bool,
    pub next_challenge: u64,
}

impl Default for Timers {
    fn default() -> Self {
        Self {
            transmit: NEVER,
            purpose: Purpose::Retransmission,
            acknowledge: NEVER,
            idle: NEVER,
            started: 0,
            failing_since: None,
            attempts: 0,
            probes: 0,
            quick: QUICK_ACKS,
            interactive: false,
            next_challenge: 0,
        }
    }
}

impl Timers {
    /// The connection is established.
    pub fn begin(&mut self, now: u64, options: &SocketOptions) {
        if options.keep_alive {
            self.idle = now + options.keep_alive_idle;
        }
    }

    /// Data was acknowledged.
    pub fn progress(&mut self, now: u64) {
        (self.started, self.attempts, self.probes, self.failing_since) = (now, 0, 0, None);
    }

    /// The peer answered a probe.
    pub fn answered(&mut self) {
        (self.probes, self.failing_since) = (0, None);
    }

    /// An acknowledgment was sent.
    pub fn acknowledged(&mut self) {
        if self.acknowledge != NEVER {
            self.quick = self.quick.saturating_sub(1);
        }
        self.acknowledge = NEVER;
    }

    /// Data in order arrived: it is acknowledged at once if it is the second full segment (RFC 9293, section 3.8.6.3), else later.
    pub fn data_arrived(&mut self, now: u64, owed: u32, segment: u16) {
        let at_once = owed > u32::from(segment) || self.quick > 0 && !self.interactive;
        self.acknowledge = if at_once { 0 } else { self.acknowledge.min(now + ACK_DELAY) };
    }

    /// The acknowledgment must not wait.
    pub fn acknowledge_at_once(&mut self) {
        self.acknowledge = 0;
    }

    /// The peer may have lost its way, and slow start begins again: no delays for a while.
    pub fn quick(&mut self) {
        (self.quick, self.interactive) = (QUICK_ACKS, false);
    }

    /// Data was sent, soon after some had come or not.
    pub fn answer_sent(&mut self, now: u64, received: u64) {
        if now.saturating_sub(received) < ACK_DELAY {
            self.interactive = true;
        }
    }

    pub fn acknowledgment_due(&self, now: u64) -> bool {
        self.acknowledge <= now
    }

    /// Whether an acknowledgment waits that no answer is likely to carry.
    pub fn owes_prompt_acknowledgment(&self) -> bool {
        self.acknowledge != NEVER && !self.interactive
    }

    pub fn owes_acknowledgment(&self) -> bool {
        self.acknowledge != NEVER
    }
}

impl Connection {
    /// When [`expire`](Self::expire) is to be called next. It may have moved after each call to the connection.
    pub fn deadline(&self) -> Option<u64> {
        let timers = &self.timers;
        Some(timers.transmit.min(timers.acknowledge).min(timers.idle)).filter(|&deadline| deadline != NEVER)
    }

    /// Does what is due.
    pub fn expire(&mut self, now: u64, out: &mut dyn Output) {
        if self.timers.acknowledgment_due(now) {
            // The program does not answer: its peer may as well know early.
            self.timers.interactive = false;
            self.emit_acknowledgment(now, out);
        }
        if self.timers.transmit <= now {
            self.timers.transmit = NEVER;
            match self.timers.purpose {
                Purpose::TailLoss => self.send_probe(now, out),
                Purpose::Reordering => self.look_again(now, out),
                Purpose::Persist => self.persist(now, out),
                Purpose::Retransmission => self.retransmission_due(now, out),
            }
        }
        if self.timers.idle <= now {
            self.timers.idle = NEVER;
            self.silence(now, out);
        }
    }

    /// Sets the timer of the retransmission queue to what is to be watched now.
    pub(super) fn arm(&mut self, now: u64) {
        if self.state == State::Closed {
            return;
        }
        let timers = &self.timers;
        let (purpose, deadline) = if self.sent.is_empty() {
            if self.unsent.is_empty() && (!self.snd.fin || self.snd.fin_sent) {
                (Purpose::Retransmission, NEVER)
            } else if timers.purpose == Purpose::Persist && timers.transmit != NEVER {
                return;
            } else {
                (Purpose::Persist, now + self.persist_interval())
            }
        } else {
            // The timer starts anew when the first entry is sent again (RFC 6298, section 5.6).
            let sent_again = self.sent.first().map_or(0, |first| first.at);
            let timeout = timers.started.max(sent_again) + self.rtt.timeout();
            let probe = self.probe_timeout().map(|wait| self.snd.last.max(timers.started) + wait);
            match (self.recovery.reorder_at, probe) {
                (Some(again), _) if again < timeout => (Purpose::Reordering, again),
                (None, Some(probe)) if probe < timeout => (Purpose::TailLoss, probe),
                _ => (Purpose::Retransmission, timeout),
            }
        };
        (self.timers.purpose, self.timers.transmit) = (purpose, deadline);
    }

    fn look_again(&mut self, now: u64, out: &mut dyn Output) {
        self.recovery.reorder_at = None;
        self.examine_loss(now, &super::acknowledge::Delivery::default());
        self.transmit(now, out);
    }

    /// The options have changed: those that concern a timer or hold data back take effect.
    pub fn options_changed(&mut self, now: u64, out: &mut dyn Output) {
        if self.options.congestion != self.congestion.algorithm() {
            self.congestion.set_algorithm(self.options.congestion);
        }
        self.buffers.options_changed(&self.options);
        if self.state.is_synchronized() {
            let waiting_for_fin = self.state == State::FinWait2 && self.orphan;
            if !waiting_for_fin {
                self.timers.idle = NEVER;
                self.timers.begin(self.rcv.last, &self.options);
            }
            self.transmit(now, out);
            self.acknowledge_if_due(now, out);
        }
    }
}
