//! A handshake that a peer began, until it is completed (RFC 9293, section 3.10.7.4 in SYN-RECEIVED). It costs little, since anybody can begin one.

use alloc::sync::Arc;

use super::deadlines::Alarm;
use super::listen::Listener;
use super::{
    CHALLENGE_INTERVAL, Flags, Handshake, MILLISECOND, Options, Output, SECOND, SegmentHeader, Timestamps,
    reset_for,
};
use crate::chunk::Chunks;

/// The longest time between two answers (`TCP_RTO_MAX`).
const LONGEST: u64 = 120 * SECOND;

/// A SYN that was answered.
#[derive(Debug)]
pub(super) struct Request {
    pub id: u32,
    pub handshake: Handshake,
    pub listener: Arc<Listener>,
    pub created: u64,
    /// When the answer is repeated.
    pub due: u64,
    pub alarm: Alarm,
    /// Answers that brought nothing in time.
    pub timeouts: u8,
    /// When it was last answered.
    pub answered: u64,
}

/// What a segment does to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Stays,
    Ends,
    /// The handshake is complete.
    Completes,
}

impl Request {
    /// Answers the SYN. It does not change when that is done next, or a peer that repeats itself could keep the request for ever.
    pub fn answer(&mut self, now: u64, out: &mut dyn Output) {
        // Karn: an acknowledgment of one of several answers gives no round trip.
        self.handshake.answered = (self.answered == 0).then_some(now);
        self.answered = now;
        let header = self.handshake.answer(now);
        out.segment(&self.handshake.flow, &header, Chunks::new());
    }

    /// It is due; false when that is all.
    pub fn expire(&mut self, now: u64, out: &mut dyn Output) -> bool {
        if self.timeouts >= self.listener.options().answer_retries || !self.listener.is_open() {
            return false;
        }
        self.timeouts += 1;
        self.due = now + (SECOND << self.timeouts.min(7)).min(LONGEST);
        self.answer(now, out);
        true
    }

    /// Takes a segment from the peer.
    pub fn receive(
        &mut self,
        now: u64,
        header: &SegmentHeader,
        payload: usize,
        out: &mut dyn Output,
    ) -> Verdict {
        let Handshake { flow, secret, irs, offered, window, .. } = &mut self.handshake;
        let expected = *irs + 1;
        if header.flags & (Flags::SYN | Flags::RST | Flags::ACK) == Flags::SYN && header.sequence == *irs {
            // The peer did not get the answer.
            if now - self.answered >= CHALLENGE_INTERVAL {
                self.answer(now, out);
            }
            return Verdict::Stays;
        }
        let outside = header.sequence < expected || header.sequence > expected + u32::from(*window);
        if let Some((seen, new)) = offered.timestamps.as_mut().zip(header.options.timestamps) {
            let older = (new.value.wrapping_sub(seen.value) as i32) < 0;
            if older && !header.flags.contains(Flags::RST) {
                return Verdict::Stays;
            }
            if header.sequence == expected {
                seen.value = new.value;
            }
        }
        if header.flags.contains(Flags::RST) {
            return if header.sequence == expected { Verdict::Ends } else { Verdict::Stays };
        }
        if outside || header.flags.contains(Flags::SYN) || !header.flags.contains(Flags::ACK) {
            return Verdict::Stays;
        }
        if header.acknowledgment != secret.sequence + 1 {
            reset_for(flow, header, payload, out);
            return Verdict::Stays;
        }
        self.complete(now, header, payload)
    }

    /// The acknowledgment is right. With `TCP_DEFER_ACCEPT` it is not enough without data, for a time.
    fn complete(&mut self, now: u64, header: &SegmentHeader, payload: usize) -> Verdict {
        let until = self.created + self.listener.options().defer_accept;
        if payload == 0 && !header.flags.contains(Flags::FIN) && now < until {
            self.due = until;
            self.alarm.watch(Some(until));
            return Verdict::Stays;
        }
        Verdict::Completes
    }
}

impl Handshake {
    /// SYN, ACK.
    pub(super) fn answer(&self, now: u64) -> SegmentHeader {
        let clock = ((now / MILLISECOND) as u32).wrapping_add(self.secret.timestamp_offset);
        SegmentHeader {
            source: self.flow.local.port,
            destination: self.flow.remote.port,
            sequence: self.secret.sequence,
            acknowledgment: self.irs + 1,
            flags: Flags::SYN | Flags::ACK,
            window: self.window,
            manner: self.manner,
            options: Options {
                maximum_segment_size: Some(self.mss),
                window_scale: self.offered.window_scale.map(|_| super::WINDOW_SHIFT),
                sack_permitted: self.offered.sack_permitted,
                timestamps: self.offered.timestamps.map(|peer| Timestamps { value: clock, echo: peer.value }),
                sack: [None; 3],
            },
            ..SegmentHeader::default()
        }
    }
}
