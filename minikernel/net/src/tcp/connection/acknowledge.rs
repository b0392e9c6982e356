//! The acknowledgment of a segment (RFC 9293, section 3.10.7.4, fifth step): what it removes from the retransmission queue, what it says about
//! the path, and how far the window opens.

use super::{Connection, Events, State};
use crate::tcp::congestion::Acknowledged;
use crate::tcp::memory::Pressure;
use crate::tcp::queue::Marks;
use crate::tcp::sack::reports_duplicate;
use crate::tcp::{MILLISECOND, Output, SegmentHeader, Seq};

/// What an acknowledgment tells.
#[derive(Debug, Default)]
pub(super) struct Delivery {
    /// Numbers that it acknowledges for good.
    pub acknowledged: u32,
    /// Numbers of which it is new that the peer has them.
    pub delivered: u32,
    /// The round trip of the first of them that was sent only once.
    pub round_trip: Option<u64>,
    /// Whether the peer reports that it got something twice.
    pub duplicate_reported: bool,
    /// A duplicate acknowledgment (RFC 5681, section 2).
    pub repeated: bool,
    /// The timestamp that it echoes.
    pub echo: Option<u32>,
}

impl Connection {
    /// Takes the acknowledgment; false where the segment ends with it.
    pub(super) fn acknowledge(
        &mut self,
        now: u64,
        header: &SegmentHeader,
        payload: usize,
        out: &mut dyn Output,
    ) -> bool {
        let acknowledgment = header.acknowledgment;
        if acknowledgment > self.snd.nxt || acknowledgment < self.snd.una - self.snd.max_wnd {
            // Nothing that was ever sent (RFC 5961, section 5.2).
            self.challenge(now, out);
            return false;
        }
        if acknowledgment < self.snd.una {
            return true;
        }
        let window_moved = self.update_window(header);
        let nothing_new = acknowledgment == self.snd.una;
        if nothing_new && self.sent.is_empty() {
            self.timers.answered();
            if self.snd.wnd > 0 {
                self.rtt.backoff = 0;
            }
            return true;
        }
        let flight = self.pipe();
        let mut delivery = self.remove_delivered(now, header);
        delivery.repeated = nothing_new && payload == 0 && !window_moved;
        if let Some(sample) = delivery.round_trip.or_else(|| self.echoed_round_trip(now, &delivery)) {
            self.rtt.measure(now, sample);
        }
        if delivery.acknowledged > 0 {
            self.progressed(now, acknowledgment);
        }
        self.examine_loss(now, &delivery);
        if delivery.acknowledged > 0 && self.recovery.window_may_grow() && self.is_limited(flight) {
            let segment = self.segment_size();
            let round_trip = self.rtt.smoothed().unwrap_or(0);
            self.congestion.acknowledged(Acknowledged {
                now,
                bytes: delivery.acknowledged,
                segment,
                round_trip,
            });
            if !self.pressure.contains(Pressure::HIGH) {
                self.buffers.grow_send(&self.options, self.congestion.window);
            }
        }
        self.close_if_acknowledged(now);
        true
    }

    /// Takes the window where the segment is newer than the one that set it (RFC 9293, section 3.10.7.4). True when it differs.
    fn update_window(&mut self, header: &SegmentHeader) -> bool {
        let newer = header.acknowledgment > self.snd.una
            || header.sequence > self.snd.wl1
            || header.sequence == self.snd.wl1 && header.acknowledgment >= self.snd.wl2;
        if !newer {
            return false;
        }
        (self.snd.wl1, self.snd.wl2) = (header.sequence, header.acknowledgment);
        let window = self.snd.scaled(header.window);
        let moved = window != self.snd.wnd;
        self.set_peer_window(window);
        moved
    }

    /// Notes what the peer has, by the acknowledgment and the selective ones.
    fn remove_delivered(&mut self, now: u64, header: &SegmentHeader) -> Delivery {
        let echo =
            header.options.timestamps.filter(|_| self.snd.timestamps).map(|timestamps| timestamps.echo);
        let mut delivery = Delivery { echo, ..Delivery::default() };
        let (min_rtt, segment) = (self.rtt.min(), self.full_segment());
        let clock = ((now / MILLISECOND) as u32).wrapping_add(self.snd.timestamp_offset);
        let Self { sent, rack, snd, .. } = self;
        let mut round_trip = None;
        let mut delivered = 0;
        let mut arrived = |entry: &crate::tcp::queue::Sent, count: u32| {
            delivered += count;
            let age = now.saturating_sub(entry.at);
            if !entry.marks.contains(Marks::REPEATED) {
                round_trip.get_or_insert(age);
            }
            let stamp = clock.wrapping_sub((age / MILLISECOND) as u32);
            rack.delivered(entry, now, min_rtt, echo.map(|echo| (echo.wrapping_sub(stamp) as i32) >= 0));
        };
        if snd.sack_permitted && header.options.sack[0].is_some() {
            delivery.duplicate_reported = reports_duplicate(&header.options.sack, header.acknowledgment);
            for (start, end) in header.options.sack.into_iter().flatten() {
                // A block that makes no sense is skipped: what lies outside of what is outstanding.
                if start < end && start >= snd.una && end <= snd.nxt {
                    sent.sack(start, end, segment, &mut arrived);
                }
            }
        }
        sent.acknowledge(header.acknowledgment, &mut arrived);
        delivery.acknowledged = header.acknowledgment - snd.una;
        (delivery.round_trip, delivery.delivered) = (round_trip, delivered);
        delivery
    }

    /// The round trip by the echoed timestamp, where nothing that was sent once is acknowledged (RFC 7323, section 4.1).
    fn echoed_round_trip(&self, now: u64, delivery: &Delivery) -> Option<u64> {
        let echo = delivery.echo.filter(|&echo| echo != 0 && delivery.acknowledged > 0)?;
        let age = self.timestamp(now).wrapping_sub(echo);
        (age < i32::MAX as u32).then(|| u64::from(age.max(1)) * MILLISECOND)
    }

    /// SND.UNA advances.
    fn progressed(&mut self, now: u64, acknowledgment: Seq) {
        self.counts.bytes_acknowledged += u64::from(acknowledgment - self.snd.una);
        self.snd.una = acknowledgment;
        self.snd.small = self.snd.small.max(acknowledgment);
        if self.snd.up.is_some_and(|up| up <= acknowledgment) {
            self.snd.up = None;
        }
        self.rtt.backoff = 0;
        self.timers.progress(now);
        self.recovery.soft_error = None;
    }

    /// What follows when the peer has our FIN.
    fn close_if_acknowledged(&mut self, now: u64) {
        if !self.snd.fin_sent || self.snd.una != self.snd.nxt {
            return;
        }
        match self.state {
            State::FinWait1 => {
                self.enter(State::FinWait2);
                self.await_fin(now);
            }
            State::Closing => self.events |= Events::TIME_WAIT,
            State::LastAck => self.finish(None),
            _ => {}
        }
    }
}
