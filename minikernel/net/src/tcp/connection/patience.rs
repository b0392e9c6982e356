//! How long to try: what is not acknowledged, a window that stays closed, a peer that is silent (RFC 9293, sections 3.8.3, 3.8.4 and 3.8.6.1).

use super::{Connection, State};
use crate::chunk::Chunks;
use crate::tcp::{Error, Flags, MILLISECOND, Output};

/// How long a cork holds (tcp(7)), and with it any short segment that nothing else would release.
const CORK: u64 = 200 * MILLISECOND;
/// Probes of a closed window before a connection that nobody has open is given up, answered or not: its memory is needed.
const ORPHAN_PROBES: u8 = 8;

impl Connection {
    /// How long to wait where something is to be sent and nothing outstanding will ask for it.
    pub(super) fn persist_interval(&self) -> u64 {
        // Held back by cork or Nagle, not by the peer.
        let fits = (self.snd.una + self.snd.wnd).since(self.snd.nxt) as usize
            >= self.unsent.len().min(self.full_segment() as usize);
        if fits && self.snd.wnd > 0 { CORK } else { self.rtt.timeout() }
    }

    /// Since when nothing is answered; the first time it is asked, since now.
    fn failing_since(&mut self, now: u64) -> u64 {
        *self.timers.failing_since.get_or_insert(now)
    }

    /// The retransmission timer has run out (RFC 9293, section 3.8.3).
    pub(super) fn retransmission_due(&mut self, now: u64, out: &mut dyn Output) {
        self.timers.attempts = self.timers.attempts.saturating_add(1);
        let handshake = matches!(self.state, State::SynSent | State::SynReceived);
        let since = self.failing_since(now);
        let hopeless = if handshake {
            self.timers.attempts > self.options.syn_retries
        } else {
            now.saturating_sub(since) >= self.patience()
        };
        if hopeless || self.user_timeout_passed(now) {
            self.give_up(now, out);
        } else {
            self.time_out(now, out);
        }
    }

    /// How long to try: so many doublings of 200 ms (R2 of RFC 9293, section 3.8.3; `tcp_model_timeout` in Linux).
    fn patience(&self) -> u64 {
        /// The longest time between two (`TCP_RTO_MAX`).
        const LONGEST: u64 = 120_000 * MILLISECOND;
        let retries = if self.orphan { self.options.orphan_retries } else { self.options.retries };
        (0..=retries).map(|retry| ((200 * MILLISECOND) << retry.min(10)).min(LONGEST)).sum()
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
    pub(super) fn persist(&mut self, now: u64, out: &mut dyn Output) {
        if self.unsent.is_empty() {
            self.transmit(now, out);
            return;
        }
        if self.send_regardless(now, out) {
            self.arm(now);
            return;
        }
        let since = self.failing_since(now);
        let forgotten = self.orphan && self.rtt.backoff >= ORPHAN_PROBES;
        let unanswered = self.timers.probes > 0
            && (now.saturating_sub(since) >= self.patience() || self.user_timeout_passed(now));
        if forgotten || unanswered {
            self.give_up(now, out);
            return;
        }
        self.timers.probes = self.timers.probes.saturating_add(1);
        self.rtt.backoff = self.rtt.backoff.saturating_add(1);
        self.emit(now, Flags::ACK, self.snd.una - 1, Chunks::new(), out);
        self.arm(now);
    }

    /// The peer was silent for as long as the program allows: asks whether it is there (RFC 9293, section 3.8.4), or gives it up.
    pub(super) fn silence(&mut self, now: u64, out: &mut dyn Output) {
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
        self.timers.probes = self.timers.probes.saturating_add(1);
        self.emit(now, Flags::ACK, self.snd.una - 1, Chunks::new(), out);
        self.timers.idle = now + self.options.keep_alive_interval;
    }
}
