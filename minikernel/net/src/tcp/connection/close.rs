//! How a connection ends from this side (RFC 9293, sections 3.6, 3.10.4 and 3.10.5).

use super::tuning::SEND_MIN;
use super::{Connection, Events, State};
use crate::chunk::Chunks;
use crate::tcp::memory::Pressure;
use crate::tcp::{Output, Seq};

impl Connection {
    /// Closes one direction or both, as shutdown(2) does: a FIN follows what was written. Who has closed the other reads what comes all the same, but does
    /// not wait for it.
    pub fn shut_down(&mut self, now: u64, read: bool, write: bool, out: &mut dyn Output) {
        if self.state == State::SynSent {
            return self.finish(None);
        }
        if read {
            self.deaf = true;
            self.events |= Events::READABLE;
        }
        if write && !self.snd.fin {
            self.finish_sending(now, out);
        }
    }

    /// Takes over what shutdown(2) did to the socket before it had a connection, of which a peer learns nothing.
    pub fn begin_shut_down(&mut self, read: bool, write: bool) {
        (self.deaf, self.mute) = (read, write);
    }

    /// Which directions have ended, the one that is read and the one that is written, by whomever it was (`sk_shutdown` in Linux).
    pub fn ended(&self) -> (bool, bool) {
        (self.deaf || self.rcv.finished, self.mute || self.snd.fin)
    }

    /// Closes both directions for a program that waits for what it wrote to arrive (`SO_LINGER`): whether there is anything to wait for.
    /// [`close`](Self::close) follows in any case.
    pub fn linger(&mut self, now: u64, out: &mut dyn Output) -> bool {
        let waits = self.received.is_empty();
        if waits {
            self.shut_down(now, true, true, out);
        }
        waits && self.is_closing()
    }

    /// Whether the peer has yet to acknowledge the FIN (`sk_stream_closing` in Linux).
    pub fn is_closing(&self) -> bool {
        matches!(self.state, State::FinWait1 | State::Closing | State::LastAck)
    }

    /// A FIN is to follow the last byte.
    fn finish_sending(&mut self, now: u64, out: &mut dyn Output) {
        match self.state {
            State::SynSent => return self.finish(None),
            State::SynReceived | State::Established => self.enter(State::FinWait1),
            State::CloseWait => self.enter(State::LastAck),
            _ => return,
        }
        self.snd.fin = true;
        self.events |= Events::WRITABLE;
        self.transmit(now, out);
    }

    /// The program has closed its last descriptor: the connection ends on its own from here. What it did not read it never will, and the
    /// peer must know (RFC 2525, section 2.17).
    pub fn close(&mut self, now: u64, out: &mut dyn Output) {
        (self.orphan, self.deaf) = (true, true);
        // Nor is there a place for it among too many of them, or where memory is short (`tcp_check_oom` in Linux).
        let too_many = self.pressure.contains(Pressure::ORPHANS)
            || self.pressure.contains(Pressure::FULL) && self.queued() > SEND_MIN as usize;
        if !self.received.is_empty() || too_many {
            self.received = Chunks::new();
            self.abort(now, out);
            return;
        }
        self.finish_sending(now, out);
        self.await_fin(now);
    }

    /// Whether it goes on though nobody has it open.
    pub(in crate::tcp) fn is_orphan(&self) -> bool {
        self.orphan && self.state != State::Closed
    }

    /// In FIN-WAIT-2 a peer that never closes would keep a connection that nobody has open.
    pub(super) fn await_fin(&mut self, now: u64) {
        if self.orphan && self.state == State::FinWait2 {
            self.timers.idle = now + self.options.fin_timeout;
        }
    }

    /// Ends the connection with a reset (RFC 9293, section 3.10.5): `SO_LINGER` with no time, or unread data at the close.
    pub fn abort(&mut self, now: u64, out: &mut dyn Output) {
        if self.state.is_synchronized() || self.state == State::SynReceived {
            self.emit_reset(now, out);
        }
        self.finish(None);
    }

    /// What TIME-WAIT keeps: SND.NXT, RCV.NXT, the window as it is on the wire, and TS.Recent with the clock's offset.
    pub(in crate::tcp) fn last_words(&self) -> (Seq, Seq, u16, Option<(u32, u32)>) {
        let window = (self.rcv.edge.since(self.rcv.nxt) >> self.rcv.shift).min(u32::from(u16::MAX)) as u16;
        let timestamps = self.snd.timestamps.then_some((self.rcv.recent, self.snd.timestamp_offset));
        (self.snd.nxt, self.rcv.nxt, window, timestamps)
    }
}
