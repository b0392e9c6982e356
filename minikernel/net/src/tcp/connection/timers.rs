//! The timers of a connection: one for the retransmission queue, one for a delayed acknowledgment, one for silence.

use super::{Connection, State};
use crate::chunk::Chunks;
use crate::tcp::{Error, Flags, MILLISECOND, Output, SocketOptions};

/// A deadline that does not come.
pub(super) const NEVER: u64 = u64::MAX;
/// How long an acknowledgment waits for data to go with (Linux' `TCP_DELACK_MIN`; at most 500 ms by RFC 9293, section 3.8.6.3).
const ACK_DELAY: u64 = 40 * MILLISECOND;
/// Segments at the beginning that are acknowledged at once, for the peer's slow start (Linux' `TCP_MAX_QUICKACKS`).
const QUICK_ACKS: u8 = 16;
/// How long a cork holds (tcp(7)), and with it any short segment that nothing else would release.
const CORK: u64 = 200 * MILLISECOND;
/// When an established connection is given up: `tcp_retries2` = 15 doublings of 200 ms (R2 of RFC 9293, section 3.8.3).
const GIVE_UP: u64 = 924_600 * MILLISECOND;
/// The same for one that nobody has open: `tcp_orphan_retries` = 8.
const GIVE_UP_ORPHAN: u64 = 102_200 * MILLISECOND;

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
    failing_since: Option<u64>,
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

    fn persist_interval(&self) -> u64 {
        // Held back by cork or Nagle, not by the peer.
        let fits = (self.snd.una + self.snd.wnd).since(self.snd.nxt) as usize
            >= self.unsent.len().min(self.full_segment() as usize);
        if fits && self.snd.wnd > 0 { CORK } else { self.rtt.timeout() }
    }

    fn look_again(&mut self, now: u64, out: &mut dyn Output) {
        self.recovery.reorder_at = None;
        self.examine_loss(now, &super::acknowledge::Delivery::default());
        self.transmit(now, out);
    }

    /// Since when nothing is answered; the first time it is asked, since now.
    fn failing_since(&mut self, now: u64) -> u64 {
        *self.timers.failing_since.get_or_insert(now)
    }

    fn retransmission_due(&mut self, now: u64, out: &mut dyn Output) {
        self.timers.attempts = self.timers.attempts.saturating_add(1);
        let handshake = matches!(self.state, State::SynSent | State::SynReceived);
        let since = self.failing_since(now);
        let hopeless = if handshake {
            self.timers.attempts > self.options.syn_retries
        } else {
            now - since >= self.patience()
        };
        if hopeless || self.user_timeout_passed(now) {
            self.give_up(now, out);
        } else {
            self.time_out(now, out);
        }
    }

    /// How long to try.
    fn patience(&self) -> u64 {
        if self.orphan { GIVE_UP_ORPHAN } else { GIVE_UP }
    }

    /// Whether what was sent has been waiting for longer than the program allows (RFC 5482, `TCP_USER_TIMEOUT`).
    fn user_timeout_passed(&self, now: u64) -> bool {
        let waiting =
            self.timers.failing_since.map_or(0, |since| now.saturating_sub(since.min(self.snd.last)));
        self.options.user_timeout != 0 && waiting >= self.options.user_timeout
    }

    fn give_up(&mut self, now: u64, out: &mut dyn Output) {
        if self.state.is_synchronized() {
            self.emit_reset(now, out);
        }
        let error = self.recovery.soft_error.unwrap_or(Error::TimedOut);
        self.finish(Some(error));
    }

    /// The window has been too small for too long (RFC 9293, section 3.8.6.1): sends what fits, or asks.
    fn persist(&mut self, now: u64, out: &mut dyn Output) {
        if self.unsent.is_empty() {
            self.transmit(now, out);
            return;
        }
        if self.send_regardless(now, out) {
            self.arm(now);
            return;
        }
        let since = self.failing_since(now);
        if self.timers.probes > 0 && (now - since >= self.patience() || self.user_timeout_passed(now)) {
            self.give_up(now, out);
            return;
        }
        self.timers.probes = self.timers.probes.saturating_add(1);
        self.rtt.backoff = self.rtt.backoff.saturating_add(1);
        self.emit(now, Flags::ACK, self.snd.una - 1, Chunks::new(), out);
        self.arm(now);
    }

    /// The peer was silent for as long as the program allows: asks whether it is there (RFC 9293, section 3.8.4), or gives it up.
    fn silence(&mut self, now: u64, out: &mut dyn Output) {
        if self.state == State::FinWait2 && self.orphan {
            self.finish(None);
            return;
        }
        if !self.options.keep_alive || !self.state.is_synchronized() {
            return;
        }
        let silent = now.saturating_sub(self.rcv.last);
        let busy = !self.sent.is_empty() || !self.unsent.is_empty();
        if busy || silent < self.options.keep_alive_idle {
            let rest = if busy { 0 } else { silent };
            self.timers.probes = 0;
            self.timers.idle = now + self.options.keep_alive_idle - rest;
            return;
        }
        let limit = self.options.user_timeout;
        let hopeless = if limit == 0 {
            self.timers.probes >= self.options.keep_alive_count
        } else {
            self.timers.probes > 0 && silent >= limit
        };
        if hopeless {
            self.give_up(now, out);
            return;
        }
        self.timers.probes += 1;
        self.emit(now, Flags::ACK, self.snd.una - 1, Chunks::new(), out);
        self.timers.idle = now + self.options.keep_alive_interval;
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
