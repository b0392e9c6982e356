//! Bytes of a stream.
//!
//! They lie in the receiver's ring, whatever writes they came by. Runs that differ in more than their bytes, in who sent them or in what files came
//! along, are known by their lengths: one call receives from one such run (unix(7), "Ancillary messages").

use core::sync::atomic::Ordering;

use isopod_fs::{Errno, Sink, Source};

use super::{Incoming, Message, Outgoing, Phase, Sender, Shutdown, State, UnixSocket};
use crate::socket::MessageFlags;

impl UnixSocket {
    /// send(2)
    pub(super) fn send_bytes(&self, message: &mut Outgoing, source: &mut dyn Source) -> Result<usize, Errno> {
        if message.flags.contains(MessageFlags::OUT_OF_BAND) {
            return Err(Errno::EOPNOTSUPP);
        }
        let mut state = self.state.lock();
        if message.to.is_some() {
            let connected = state.phase == Phase::Connected;
            return Err(if connected { Errno::EISCONN } else { Errno::EOPNOTSUPP });
        }
        let peer = state.peer.clone().ok_or(Errno::ENOTCONN)?;
        if state.shutdown.contains(Shutdown::SEND) {
            return Err(Errno::EPIPE);
        }
        if source.remaining() == 0 {
            return Ok(0);
        }
        state.check_sending()?;
        drop(state);
        let mut other = peer.state.lock();
        if other.shutdown.contains(Shutdown::RECEIVE) {
            return Err(Errno::EPIPE);
        }
        if message.rights.is_some() && !peer.passes_rights() {
            return Err(Errno::EPERM);
        }
        let charged = self.charged.load(Ordering::Acquire);
        let room = self.common.options.send_buffer().saturating_sub(charged);
        if room == 0 {
            return Err(Errno::EAGAIN);
        }
        let sender = self.sender_to(&peer, message);
        let count = other.put_bytes(message, sender, source, room)?;
        self.charged.fetch_add(count, Ordering::AcqRel);
        drop(other);
        if count > 0 {
            peer.wake();
        }
        Ok(count)
    }

    /// recv(2)
    pub(super) fn receive_bytes(&self, message: &mut Incoming, sink: &mut dyn Sink) -> Result<usize, Errno> {
        if message.ended {
            return Ok(0);
        }
        let mut state = self.state.lock();
        if state.phase != Phase::Connected {
            return Err(Errno::EINVAL);
        }
        if state.messages.is_empty() {
            return match state.error.take() {
                Some(error) => Err(error),
                None if state.shutdown.contains(Shutdown::RECEIVE) => Ok(0),
                None => Err(Errno::EAGAIN),
            };
        }
        let checks_sender = self.passes_credentials();
        if message.peeks() {
            let count = state.peek_bytes(message, sink, checks_sender);
            drop(state);
            self.tell_peer_name(message);
            return count;
        }
        let count = state.take_bytes(message, sink, checks_sender);
        // Only the peer can have sent them. It is not asked for unless it is to be told.
        let peer = (count > 0).then(|| state.peer.clone()).flatten();
        drop(state);
        if let Some(peer) = peer {
            peer.discharge(count);
        }
        self.tell_peer_name(message);
        Ok(count)
    }

    fn tell_peer_name(&self, message: &mut Incoming) {
        if message.wants_name && message.from.is_none() {
            let peer = self.state.lock().peer.clone();
            message.from = peer.and_then(|peer| peer.state.lock().name.as_deref().copied());
        }
    }
}

impl State {
    /// Takes at most `room` bytes of `source`. What goes with them goes with the first.
    fn put_bytes(
        &mut self,
        message: &mut Outgoing,
        sender: Option<Sender>,
        source: &mut dyn Source,
        room: usize,
    ) -> Result<usize, Errno> {
        let joins = |last: &Message| {
            !message.rights.is_some() && !last.rights.is_some() && !last.closed && last.sender == sender
        };
        let joins = self.messages.back().is_some_and(joins);
        if !joins {
            self.messages.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        }
        let length = self.bytes.write(source, room).map_err(|_| Errno::ENOMEM)?;
        match self.messages.back_mut().filter(|_| joins) {
            Some(last) => last.length += length,
            None if length > 0 => {
                let rights = core::mem::take(&mut message.rights);
                let closed = rights.is_some();
                self.messages.push_back(Message { length, from: None, sender, rights, closed });
            }
            None => {}
        }
        Ok(length)
    }

    /// Moves bytes out, and what came with them. A copy that was cut before its first byte leaves all as it was.
    fn take_bytes(&mut self, message: &mut Incoming, sink: &mut dyn Sink, checks_sender: bool) -> usize {
        let mut done = 0;
        while let Some(first) = self.messages.front_mut() {
            if checks_sender && !message.matches(first.sender) {
                message.ended = true;
                break;
            }
            let wanted = first.length.min(sink.remaining());
            let put = self.bytes.peek(0, sink, wanted);
            if put == 0 {
                break;
            }
            self.bytes.consume(put);
            first.length -= put;
            done += put;
            (message.sender, message.begun) = (first.sender, true);
            if first.rights.is_some() {
                message.rights = core::mem::take(&mut first.rights);
            }
            if first.length > 0 || put < wanted {
                break;
            }
            self.messages.pop_front();
            if message.rights.is_some() {
                message.ended = true;
                break;
            }
        }
        if let Some(offset) = &mut self.peek_offset {
            *offset = offset.saturating_sub(done);
        }
        done
    }

    /// Copies bytes, from where the last peek ended if that is wanted, and what came with them. EAGAIN beyond the last.
    fn peek_bytes(
        &mut self,
        message: &mut Incoming,
        sink: &mut dyn Sink,
        checks_sender: bool,
    ) -> Result<usize, Errno> {
        let start = self.peek_offset.unwrap_or(message.looked_at);
        let (mut skip, mut end, mut done) = (start, 0, 0);
        for waiting in &self.messages {
            end += waiting.length;
            let left = waiting.length.saturating_sub(skip);
            skip = skip.saturating_sub(waiting.length);
            if left == 0 {
                continue;
            }
            if checks_sender && !message.matches(waiting.sender) {
                message.ended = true;
                break;
            }
            let wanted = left.min(sink.remaining());
            let put = self.bytes.peek(start + done, sink, wanted);
            if put == 0 {
                break;
            }
            done += put;
            (message.sender, message.begun) = (waiting.sender, true);
            if waiting.rights.is_some() {
                message.peeked = waiting.rights.duplicate()?;
                message.ended = true;
                break;
            }
            if put < left {
                break;
            }
        }
        if start >= end {
            return if self.shutdown.contains(Shutdown::RECEIVE) { Ok(0) } else { Err(Errno::EAGAIN) };
        }
        message.looked_at += done;
        if let Some(offset) = &mut self.peek_offset {
            *offset += done;
        }
        Ok(done)
    }
}
