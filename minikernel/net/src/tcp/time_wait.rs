//! TIME-WAIT (RFC 9293, sections 3.3.2 and 3.10.7.4): what is left of a connection for a minute, so that its last acknowledgment can be
//! repeated and none of its segments is taken for one of the next connection's. Few numbers suffice.

use alloc::sync::Arc;

use super::deadlines::Alarm;
use super::ports::Binding;
use super::{
    CHALLENGE_INTERVAL, Connection, Flags, Flow, MILLISECOND, Manner, Options, Output, SECOND, SegmentHeader,
    Seq, Timestamps,
};
use crate::chunk::Chunks;

/// How long it lasts (Linux' `TCP_TIMEWAIT_LEN`).
pub(super) const DURATION: u64 = 60 * SECOND;

/// The end of a connection.
#[derive(Debug)]
pub(super) struct TimeWait {
    pub(super) id: u32,
    pub(super) flow: Flow,
    pub(super) v6: bool,
    manner: Manner,
    pub(super) until: u64,
    pub(super) alarm: Alarm,
    /// When a segment was last answered.
    answered: Option<u64>,
    pub(super) snd_nxt: Seq,
    pub(super) rcv_nxt: Seq,
    pub(super) window: u16,
    /// TS.Recent and what is added to the clock, where timestamps were in use.
    pub(super) timestamps: Option<(u32, u32)>,
    /// The port stays in use.
    pub(super) _binding: Option<Arc<Binding>>,
}

/// What a segment does to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Stays,
    /// It is over, by a reset.
    Ends,
    /// A new connection may take its place.
    Reopens,
}

impl TimeWait {
    /// What follows a connection, whose place among the deadlines it takes.
    pub fn new(
        id: u32,
        connection: &Connection,
        now: u64,
        mut alarm: Alarm,
        binding: Option<Arc<Binding>>,
    ) -> Self {
        let (snd_nxt, rcv_nxt, window, timestamps) = connection.last_words();
        let until = now + DURATION;
        alarm.pass_on(id, until);
        Self {
            id,
            flow: *connection.flow(),
            v6: connection.options().v6,
            manner: connection.options().manner(connection.flow()),
            until,
            alarm,
            answered: None,
            snd_nxt,
            rcv_nxt,
            window,
            timestamps,
            _binding: binding,
        }
    }

    /// How much newer than the last one the timestamp of a segment is.
    fn newer(&self, header: &SegmentHeader) -> Option<i32> {
        let pair = self.timestamps.zip(header.options.timestamps);
        pair.map(|(own, its)| its.value.wrapping_sub(own.0) as i32)
    }

    /// Whether a segment begins a new connection in its place (RFC 6191, section 2; by the sequence number where there are no timestamps,
    /// RFC 9293, section 3.10.7.4).
    pub fn reopens(&self, header: &SegmentHeader) -> bool {
        let later = header.sequence > self.rcv_nxt;
        header.flags & (Flags::SYN | Flags::RST | Flags::ACK) == Flags::SYN
            && self.newer(header).map_or(later, |newer| newer > 0 || newer == 0 && later)
    }

    /// Takes a segment that came for the connection.
    pub fn receive(
        &mut self,
        now: u64,
        header: &SegmentHeader,
        payload: usize,
        out: &mut dyn Output,
    ) -> Verdict {
        let old = self.newer(header).is_some_and(|newer| newer < 0);
        if self.reopens(header) {
            return Verdict::Reopens;
        }
        if header.flags.contains(Flags::RST) {
            // As Linux with `tcp_rfc1337` off, but only with the exact number (RFC 5961, section 3.2).
            return if !old && header.sequence == self.rcv_nxt { Verdict::Ends } else { Verdict::Stays };
        }
        if header.flags.contains(Flags::FIN) && !old {
            self.until = now + DURATION;
        }
        let recently = self.answered.is_some_and(|answered| now - answered < CHALLENGE_INTERVAL);
        if !recently && (header.sequence_length(payload) > 0 || header.sequence != self.rcv_nxt) {
            self.answered = Some(now);
            self.acknowledge(now, out);
        }
        Verdict::Stays
    }

    fn acknowledge(&self, now: u64, out: &mut dyn Output) {
        let timestamps = self.timestamps.map(|(echo, offset)| {
            let value = ((now / MILLISECOND) as u32).wrapping_add(offset);
            Timestamps { value, echo }
        });
        let header = SegmentHeader {
            source: self.flow.local.port,
            destination: self.flow.remote.port,
            sequence: self.snd_nxt,
            acknowledgment: self.rcv_nxt,
            flags: Flags::ACK,
            window: self.window,
            manner: self.manner,
            options: Options { timestamps, ..Options::default() },
            ..SegmentHeader::default()
        };
        out.segment(&self.flow, &header, Chunks::new());
    }

    /// Whether this end may begin a new connection in its place (`tcp_tw_reuse`, as in [`SocketOptions`](super::SocketOptions)): its timestamps
    /// have moved on, so nothing old can be mistaken.
    pub fn may_be_reused(&self, now: u64, reuse: u8) -> bool {
        let age = DURATION - self.until.saturating_sub(now).min(DURATION);
        let allowed = reuse == 1 || reuse == 2 && self.flow.remote.address.is_loopback();
        allowed && self.timestamps.is_some() && age > SECOND
    }
}
