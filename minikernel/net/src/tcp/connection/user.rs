//! What a program does with an open connection: it writes and reads (RFC 9293, sections 3.10.2 and 3.10.3).

use super::{Connection, State};
use crate::chunk::Chunk;
use crate::tcp::{Error, Output};

/// How a write is meant.
#[derive(Clone, Copy, Debug, Default)]
pub struct Send {
    /// More follows soon: a short segment may wait for it (`MSG_MORE`).
    pub more: bool,
    /// The last byte is urgent (`MSG_OOB`).
    pub urgent: bool,
}

impl Connection {
    /// Queues all of `bytes` and sends what may be sent. Whoever writes asks first whether there is any [`room`](Self::room), and with much to
    /// say offers no more than that, in pieces.
    pub fn send(&mut self, now: u64, bytes: Chunk, how: Send, out: &mut dyn Output) -> Result<(), Error> {
        self.may_write()?;
        let length = bytes.len() as u32;
        self.unsent.gather(bytes)?;
        self.snd.more = how.more;
        if how.urgent && length > 0 {
            self.snd.up = Some(self.snd.nxt + self.unsent.len() as u32);
        }
        self.transmit(now, out);
        Ok(())
    }

    /// Whether a write would be refused, and why.
    #[inline]
    pub fn may_write(&mut self) -> Result<(), Error> {
        if let Some(error) = self.error.take() {
            return Err(error);
        }
        match self.state {
            _ if self.snd.fin || self.mute => Err(Error::Pipe),
            state if state.may_send() => Ok(()),
            State::SynSent | State::SynReceived => Err(Error::WouldBlock),
            _ => Err(Error::Pipe),
        }
    }

    /// Gives what has come to `sink`, in pieces, until it takes fewer bytes than it is offered; returns how many it took. Zero is the end.
    /// A read ends at the urgent mark.
    pub fn read(
        &mut self,
        now: u64,
        sink: &mut dyn FnMut(&[u8]) -> usize,
        out: &mut dyn Output,
    ) -> Result<usize, Error> {
        self.pass_mark();
        if self.received.is_empty() {
            return self.nothing_to_read();
        }
        let taken = self.copy_out(0, sink);
        self.received.advance(taken);
        self.received.release();
        if self.state.may_receive() {
            self.tune_receive(taken, now);
            // Who has read all may wait for more that is held back until this is acknowledged (`tcp_cleanup_rbuf` in Linux).
            let awaited = self.received.is_empty() && self.timers.owes_prompt_acknowledgment();
            if awaited || self.window_update_due() {
                self.emit_acknowledgment(now, out);
            }
        }
        Ok(taken)
    }

    /// As [`read`](Self::read), from `offset` on and leaving everything where it is (`MSG_PEEK`, `SO_PEEK_OFF`).
    pub fn peek(&mut self, offset: usize, sink: &mut dyn FnMut(&[u8]) -> usize) -> Result<usize, Error> {
        let out_of_band = usize::from(self.at_mark() && !self.options.urgent_inline);
        if self.received.len() <= offset + out_of_band {
            return self.nothing_to_read();
        }
        Ok(self.copy_out(offset + out_of_band, sink))
    }

    fn copy_out(&self, offset: usize, sink: &mut dyn FnMut(&[u8]) -> usize) -> usize {
        let mut left = self.readable_before_mark().saturating_sub(offset);
        self.received.copy_to(offset, &mut |bytes| {
            let part = &bytes[..bytes.len().min(left)];
            // An empty offer would look to the sink like an end of its own.
            let taken = if part.is_empty() { 0 } else { sink(part).min(part.len()) };
            left -= taken;
            taken
        })
    }

    /// What a read finds where there is no data. Behind the peer's FIN that is the end, whatever happened to the connection afterwards
    /// (`SOCK_DONE` in Linux).
    fn nothing_to_read(&mut self) -> Result<usize, Error> {
        if self.rcv.finished {
            return Ok(0);
        }
        if let Some(error) = self.error.take() {
            return Err(error);
        }
        let open = self.state.may_receive() || matches!(self.state, State::SynSent | State::SynReceived);
        if open && !self.deaf { Err(Error::WouldBlock) } else { Ok(0) }
    }

    /// Bytes that can be read now (`FIONREAD`).
    pub fn readable(&self) -> usize {
        let out_of_band = usize::from(self.at_mark() && !self.options.urgent_inline);
        self.readable_before_mark().saturating_sub(out_of_band)
    }
}
