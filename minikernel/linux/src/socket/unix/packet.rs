//! Messages that stay whole: datagrams, and those of `SOCK_SEQPACKET`.
//!
//! Their bytes lie in the receiver's ring, one message behind the other, with their lengths beside. A datagram socket that nobody in particular is
//! connected to takes only a few, and lets senders wait; all else is bounded by the senders' buffers.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use isopod_fs::{self as fs, Errno, Sink, Source};
use isopod_hal::PAGE_SIZE;
use isopod_hal::sync::SpinLockGuard;

use super::name::check;
use super::{Incoming, Kind, Message, Outgoing, Phase, Shutdown, State, UnixSocket, wake_each};
use crate::process;
use crate::socket::MessageFlags;

/// What a message must leave free of its sender's buffer.
const OVERHEAD: usize = 32;
/// Longer ones are never taken, whatever the buffer: a message is copied in one step.
const LENGTH_MAX: usize = 4 << 20;

/// What a message of so many bytes counts against its sender's buffer: as much as Linux's buffers for it are large (`SKB_TRUESIZE`).
fn charge(length: usize) -> usize {
    const DESCRIPTION: usize = 256;
    const TAIL: usize = 320;
    const HEAD_MAX: usize = 16_064;
    let head = length.min(HEAD_MAX).next_multiple_of(64) + TAIL;
    DESCRIPTION + head.next_power_of_two() + length.saturating_sub(HEAD_MAX).next_multiple_of(PAGE_SIZE)
}

impl UnixSocket {
    /// send(2)
    pub(super) fn send_packet(&self, message: &mut Outgoing, source: &mut dyn Source) -> fs::Result<usize> {
        let connects = self.kind() == Kind::Sequence;
        if connects {
            let mut state = self.state.lock();
            if let Some(error) = state.error.take() {
                return Err(error.into());
            }
            if state.phase != Phase::Connected {
                return Err(Errno::ENOTCONN.into());
            }
        }
        if message.flags.contains(MessageFlags::OUT_OF_BAND) {
            return Err(Errno::EOPNOTSUPP.into());
        }
        let to = message.to.as_ref().filter(|_| !connects);
        if let Some(to) = to {
            check(to)?;
        }
        self.name_itself_to_send()?;
        let (length, buffer) = (source.remaining(), self.common.options.send_buffer());
        if length > buffer - OVERHEAD || length >= LENGTH_MAX {
            return Err(Errno::EMSGSIZE.into());
        }
        let mut state = self.state.lock();
        state.check_sending()?;
        let peer = state.peer.clone();
        drop(state);
        if self.charged.load(Ordering::Acquire) >= buffer {
            return Err(Errno::EAGAIN.into());
        }
        let other = match to {
            Some(to) => self.find(&*process::current().ok_or(Errno::ECONNREFUSED)?, to)?,
            None => peer.ok_or(Errno::ENOTCONN)?,
        };
        let count = self.put_packet(&other, message, source, length);
        if count == Err(Errno::ECONNREFUSED) {
            self.forget_peer(&other);
        }
        Ok(count?)
    }

    /// Puts a message into the queue of `other`. ECONNREFUSED if that is closed.
    fn put_packet(
        &self,
        other: &Arc<Self>,
        message: &mut Outgoing,
        source: &mut dyn Source,
        length: usize,
    ) -> Result<usize, Errno> {
        let sender = self.sender_to(other, message);
        let mut target = other.state.lock();
        let mine = target.peer.as_ref().is_some_and(|peer| self.is(peer));
        if target.dead {
            let connects = self.kind() == Kind::Sequence;
            return Err(if connects { Errno::EPIPE } else { Errno::ECONNREFUSED });
        }
        if target.peer.is_some() && !mine {
            return Err(Errno::EPERM);
        }
        if target.shutdown.contains(Shutdown::RECEIVE) {
            return Err(Errno::EPIPE);
        }
        if message.rights.is_some() && !other.passes_rights() {
            return Err(Errno::EPERM);
        }
        if !mine && !self.is(other) && target.is_full() {
            target.await_room(self)?;
            return Err(Errno::EAGAIN);
        }
        target.messages.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        let written = target.bytes.write(source, length).map_err(|_| Errno::ENOMEM)?;
        if written < length {
            target.bytes.take_back(written);
            return Ok(0);
        }
        let me = self.me.upgrade().ok_or(Errno::EPIPE)?;
        let charge = charge(length);
        self.charged.fetch_add(charge, Ordering::AcqRel);
        let rights = core::mem::take(&mut message.rights);
        target.messages.push_back(Message { length, from: Some((me, charge)), sender, rights, closed: true });
        drop(target);
        other.wake();
        Ok(length)
    }

    /// The peer is closed: there is none any more.
    fn forget_peer(&self, other: &Arc<Self>) {
        let mut state = self.state.lock();
        if state.peer.as_ref().is_some_and(|peer| Arc::ptr_eq(peer, other)) {
            state.phase = Phase::Alone;
            let peer = state.peer.take();
            drop(state);
            drop(peer);
        }
    }

    /// recv(2)
    pub(super) fn receive_packet(&self, message: &mut Incoming, sink: &mut dyn Sink) -> Result<usize, Errno> {
        let mut state = self.state.lock();
        let connects = self.kind() == Kind::Sequence;
        if connects && state.phase != Phase::Connected {
            return Err(Errno::ENOTCONN);
        }
        if let Some(error) = state.error.take() {
            return Err(error);
        }
        let offset = if message.peeks() { state.peek_offset.unwrap_or(0) } else { 0 };
        let Some((index, start, skip)) = state.find_packet(offset) else {
            let ended = state.shutdown.contains(Shutdown::RECEIVE)
                && (connects || !message.flags.contains(MessageFlags::DONT_WAIT));
            return if ended { Ok(0) } else { Err(Errno::EAGAIN) };
        };
        let Some(first) = state.messages.get(index) else { return Err(Errno::EAGAIN) };
        let (whole, room) = (first.length - skip, sink.remaining());
        let wanted = whole.min(room);
        if state.bytes.peek(start + skip, sink, wanted) < wanted {
            return Ok(0);
        }
        message.found.set(MessageFlags::CUT, room < whole);
        message.sender = first.sender;
        let count = if message.flags.contains(MessageFlags::CUT) { whole } else { wanted };
        let from = first.from.as_ref().map(|(from, _)| Arc::clone(from)).filter(|_| message.wants_name);
        if message.peeks() {
            message.peeked = first.rights.duplicate()?;
            if let Some(offset) = &mut state.peek_offset {
                *offset += wanted;
            }
            drop(state);
        } else {
            take_first(state, message);
        }
        message.from = from.and_then(|from| from.state.lock().name.as_deref().copied());
        Ok(count)
    }

    /// Whether a datagram to `peer` would have to wait for others to be received; then this socket is woken when it need not any more.
    pub(super) fn must_wait_for(&self, peer: &Arc<Self>) -> bool {
        let mut other = peer.state.lock();
        let mine = other.peer.as_ref().is_some_and(|peer| self.is(peer));
        // Without memory to be woken it is called writable: whoever tries meets that again, and is told.
        !mine && other.is_full() && other.await_room(self).is_ok()
    }
}

/// Takes the first message out of a queue. Its bytes have been copied.
fn take_first(mut state: SpinLockGuard<'_, State>, message: &mut Incoming) {
    let Some(mut first) = state.messages.pop_front() else { return };
    state.bytes.consume(first.length);
    if let Some(offset) = &mut state.peek_offset {
        *offset = offset.saturating_sub(first.length);
    }
    let left = state.messages.len();
    let room = state.made_room(left);
    drop(state);
    message.rights = core::mem::take(&mut first.rights);
    first.settle();
    wake_each(room);
}

impl State {
    /// True when those who are not its peer have to wait before they send.
    fn is_full(&self) -> bool {
        self.messages.len() > self.backlog
    }

    /// The message that a peek from `offset` on looks at, where its bytes begin, and how many of them it leaves out.
    fn find_packet(&self, offset: usize) -> Option<(usize, usize, usize)> {
        let (mut start, mut skip) = (0, offset);
        for (index, message) in self.messages.iter().enumerate() {
            if skip == 0 || skip < message.length {
                return Some((index, start, skip));
            }
            start += message.length;
            skip -= message.length;
        }
        None
    }
}

impl Message {
    /// It is no longer on its way: what it was charged is given back.
    pub(super) fn settle(self) {
        if let Some((from, charge)) = &self.from {
            from.discharge(*charge);
        }
    }
}
