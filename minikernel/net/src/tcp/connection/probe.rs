//! Tail loss probes (RFC 8985, section 7): the end of a flight has nothing behind it to show that it was lost.

use super::Connection;
use super::acknowledge::Delivery;
use super::loss::Phase;
use crate::tcp::{MILLISECOND, Output, SECOND};

/// How long a peer may hold back its acknowledgment of a single segment (RFC 8985, section 7.2; Linux takes its minimal timeout).
const MAX_ACK_DELAY: u64 = 200 * MILLISECOND;
/// The least time to a tail loss probe beyond two round trips (Linux' `TCP_TIMEOUT_MIN`).
const MIN_PROBE: u64 = 2 * MILLISECOND;

impl Connection {
    /// How long after the last segment a tail loss probe is sent (RFC 8985, section 7.2); `None` where something else finds the loss.
    pub(super) fn probe_timeout(&self) -> Option<u64> {
        let recovery = &self.recovery;
        let usable =
            recovery.phase == Phase::Open && recovery.probe.is_none() && self.state.is_synchronized();
        if !usable || !self.snd.sack_permitted || self.sent.sacked() > 0 {
            return None;
        }
        let Some(rtt) = self.rtt.smoothed() else { return Some(SECOND) };
        let alone = self.snd.nxt - self.snd.una <= self.full_segment();
        Some(2 * rtt + if alone { MAX_ACK_DELAY } else { MIN_PROBE })
    }

    /// Sends the probe: new data, else the last segment again (RFC 8985, section 7.3).
    pub(super) fn send_probe(&mut self, now: u64, out: &mut dyn Output) {
        if self.send_regardless(now, out) {
            self.recovery.probe = Some((self.snd.nxt, false));
        } else if let Some(mut index) = self.sent.len().checked_sub(1) {
            let segment = self.full_segment();
            let last = self.sent.get(index).map(|last| (last.payload.len() as u32, last.start));
            if let Some((length, start)) = last.filter(|last| last.0 > segment) {
                let middle = start + (length - 1) / segment * segment;
                index += usize::from(self.sent.split(index, middle).is_ok());
            }
            self.retransmit(index, segment, now, out);
            self.recovery.probe = Some((self.snd.nxt, true));
        }
        self.timers.started = now;
        self.counts.probes = self.counts.probes.wrapping_add(1);
        self.arm(now);
    }

    /// Whether the probe repaired a loss that nothing else would show, which counts as congestion (RFC 8985, section 7.4.2).
    pub(super) fn end_probe(&mut self, delivery: &Delivery) {
        let Some((end, retransmission)) = self.recovery.probe else { return };
        if self.snd.una < end {
            return;
        }
        if !retransmission || delivery.duplicate_reported {
            self.recovery.probe = None;
        } else if self.snd.una > end && self.recovery.phase == Phase::Open {
            self.recovery.probe = None;
            self.congestion.lost(self.snd.nxt - self.snd.una, self.full_segment());
            self.congestion.window = self.congestion.threshold;
            self.recovery.point = self.snd.una;
        } else if delivery.repeated {
            self.recovery.probe = None;
        }
    }
}
