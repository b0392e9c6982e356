//! Building segments: what every one of them says besides its payload.

use super::{Connection, State};
use crate::chunk::Chunks;
use crate::tcp::{
    CHALLENGE_INTERVAL, Flags, Flow, MILLISECOND, Options, Output, SegmentHeader, Seq, Timestamps,
};

impl Connection {
    /// Sends a segment. Every one but the first acknowledges what has come.
    pub(super) fn emit(
        &mut self,
        now: u64,
        flags: Flags,
        sequence: Seq,
        payload: Chunks,
        out: &mut dyn Output,
    ) {
        let syn = flags.contains(Flags::SYN);
        let mut flags = flags;
        if self.state != State::SynSent {
            flags |= Flags::ACK;
        }
        let urgent = self
            .snd
            .up
            .and_then(|up| u16::try_from(up.since(sequence)).ok())
            .filter(|&distance| distance > 0);
        flags.set(Flags::URG, urgent.is_some());
        let segment_size = self.segment_size();
        let header = SegmentHeader {
            source: self.flow.local.port,
            destination: self.flow.remote.port,
            sequence,
            acknowledgment: if flags.contains(Flags::ACK) { self.rcv.nxt } else { Seq::default() },
            flags,
            window: self.announce_window(syn),
            urgent: urgent.unwrap_or(0),
            options: self.options_for(now, syn),
            manner: self.options.manner(&self.flow),
            segment_size: if payload.len() > segment_size as usize { segment_size as u16 } else { 0 },
        };
        if flags.contains(Flags::ACK) {
            self.rcv.acknowledged = self.rcv.nxt;
            self.timers.acknowledged();
        }
        self.counts.segments_out = self.counts.segments_out.wrapping_add(1);
        out.segment(&self.flow, &header, payload);
    }

    fn options_for(&mut self, now: u64, syn: bool) -> Options {
        let echo = if self.state == State::SynSent { 0 } else { self.rcv.recent };
        let timestamps = self.snd.timestamps.then(|| Timestamps { value: self.timestamp(now), echo });
        if !syn {
            let sack = if self.snd.sack_permitted { self.sack.report() } else { [None; 3] };
            return Options { timestamps, sack, ..Options::default() };
        }
        Options {
            maximum_segment_size: Some(self.rcv.advertised_mss),
            // What the peer did not offer is not answered (RFC 7323, sections 2.2 and 3.2; RFC 2018, section 2).
            window_scale: (self.rcv.shift > 0).then_some(self.rcv.shift),
            sack_permitted: self.snd.sack_permitted,
            timestamps,
            sack: [None; 3],
        }
    }

    /// This end's clock for timestamps: milliseconds (RFC 7323, section 5.4).
    pub(super) fn timestamp(&self, now: u64) -> u32 {
        ((now / MILLISECOND) as u32).wrapping_add(self.snd.timestamp_offset)
    }

    /// An acknowledgment without data.
    pub(super) fn emit_acknowledgment(&mut self, now: u64, out: &mut dyn Output) {
        self.emit(now, Flags::ACK, self.snd.nxt, Chunks::new(), out);
    }

    /// Answers what may be forged with an acknowledgment: an honest peer then resets with the right number (RFC 5961, sections 3 to 5).
    pub(super) fn challenge(&mut self, now: u64, out: &mut dyn Output) {
        if now >= self.timers.next_challenge {
            self.timers.next_challenge = now + CHALLENGE_INTERVAL;
            self.emit_acknowledgment(now, out);
        }
    }

    /// Tells the peer that the connection is gone (RFC 9293, section 3.10.5).
    pub(super) fn emit_reset(&mut self, now: u64, out: &mut dyn Output) {
        self.emit(now, Flags::RST, self.snd.nxt, Chunks::new(), out);
    }
}

/// Answers a segment that belongs to no connection with a reset (RFC 9293, section 3.10.7.1), unless it is one itself. `flow` is seen from here.
pub fn reset_for(flow: &Flow, header: &SegmentHeader, payload: usize, out: &mut dyn Output) {
    if header.flags.contains(Flags::RST) {
        return;
    }
    let mut reset = SegmentHeader {
        source: flow.local.port,
        destination: flow.remote.port,
        flags: Flags::RST,
        ..SegmentHeader::default()
    };
    if header.flags.contains(Flags::ACK) {
        reset.sequence = header.acknowledgment;
    } else {
        reset.flags |= Flags::ACK;
        reset.acknowledgment = header.sequence + header.sequence_length(payload);
    }
    out.segment(flow, &reset, Chunks::new());
}
