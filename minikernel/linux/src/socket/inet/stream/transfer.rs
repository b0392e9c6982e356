//! Bytes that come and go: send(2), recv(2).

use alloc::vec::Vec;

use isopod_fs::{self as fs, Errno, Sink, Source};
use isopod_net::chunk::Chunk;
use isopod_net::tcp::{self, Connection, Readiness, Stream};

use super::{Phase, StreamSocket, tcp_errno, with};
use crate::socket::{Incoming, MessageFlags, Outgoing, Shutdown};

/// How many bytes are taken from a program, or given to it, at once.
const PIECE: usize = 64 << 10;

impl StreamSocket {
    /// send(2)
    pub(super) fn send_from(&self, message: &mut Outgoing, source: &mut dyn Source) -> fs::Result<usize> {
        let Some(stream) = self.stream() else {
            return Err(self.state.lock().error.take().unwrap_or(Errno::EPIPE).into());
        };
        let mut done = 0;
        loop {
            let room = stream.touch(|connection| connection.may_write().map(|()| connection.room()));
            let room = match room {
                Ok(0) | Err(tcp::Error::WouldBlock) if done == 0 && source.remaining() > 0 => {
                    return Err(Errno::EAGAIN.into());
                }
                Ok(0) => return Ok(done),
                Ok(room) => room,
                Err(_) if done > 0 => return Ok(done),
                Err(error) => return Err(tcp_errno(error).into()),
            };
            let wanted = source.remaining().min(room).min(PIECE);
            let bytes = match take(source, wanted) {
                // What has been sent is the result.
                Err(_) if done > 0 => return Ok(done),
                outcome => outcome?,
            };
            let taken = bytes.len();
            let last = source.remaining() == 0;
            // The next piece finds room.
            let goes_on = !last && taken == wanted && room > wanted;
            let how = tcp::Send {
                more: goes_on || message.flags.contains(MessageFlags::MORE),
                urgent: last && message.flags.contains(MessageFlags::OUT_OF_BAND),
            };
            if taken > 0 {
                match with(&stream, |connection, now, out| connection.send(now, bytes, how, out)) {
                    Ok(()) => done += taken,
                    Err(_) if done > 0 => return Ok(done),
                    Err(error) => return Err(tcp_errno(error).into()),
                }
            }
            if taken < wanted || source.remaining() == 0 {
                return Ok(done);
            }
        }
    }

    /// recv(2)
    pub(super) fn receive_to(&self, message: &mut Incoming, sink: &mut dyn Sink) -> Result<usize, Errno> {
        if message.flags.contains(MessageFlags::ERROR_QUEUE) {
            return Err(Errno::EAGAIN);
        }
        let Some(stream) = self.stream() else {
            let mut state = self.state.lock();
            let listens = matches!(state.phase, Phase::Listening(_));
            if message.flags.contains(MessageFlags::OUT_OF_BAND) && !listens {
                return Err(Errno::EINVAL);
            }
            if let Some(error) = state.error.take() {
                return Err(error);
            }
            let ended = state.ended.contains(Shutdown::RECEIVE);
            return if ended { Ok(0) } else { Err(Errno::ENOTCONN) };
        };
        if message.flags.contains(MessageFlags::OUT_OF_BAND) {
            return receive_urgent(&stream, message, sink);
        }
        let options = &self.common.options;
        if message.peeks() && message.looked_at == 0 {
            message.looked_at = options.peek_offset().unwrap_or(0);
        }
        if !message.flags.contains(MessageFlags::DONT_WAIT) {
            let enough = options.receive_low_water().min(sink.remaining());
            let (found, ready) = stream.look(|connection| (connection.readable(), connection.readiness()));
            if found.saturating_sub(message.looked_at) < enough && !ready.contains(Readiness::READABLE) {
                return Err(Errno::EAGAIN);
            }
        }
        let discards = message.flags.contains(MessageFlags::CUT);
        let mut room = sink.remaining();
        let mut done = 0;
        loop {
            // The connection is locked for no longer than this takes.
            let piece = room.min(PIECE);
            let mut left = piece;
            let mut give = |bytes: &[u8]| {
                let part = &bytes[..bytes.len().min(left)];
                let taken = if discards { part.len() } else { sink.put(part) };
                left -= taken;
                taken
            };
            let outcome = if message.peeks() {
                stream.touch(|connection| connection.peek(message.looked_at, &mut give))
            } else {
                with(&stream, |connection, now, out| connection.read(now, &mut give, out))
            };
            let count = match outcome {
                Err(_) if done > 0 => return Ok(done),
                outcome => outcome.map_err(tcp_errno)?,
            };
            done += count;
            room -= count;
            options.move_peek(count, message.peeks());
            if message.peeks() {
                message.looked_at += count;
            }
            let more =
                stream.look(Connection::readable) > if message.peeks() { message.looked_at } else { 0 };
            if count < piece || room == 0 || !more || stream.look(Connection::at_mark) {
                return Ok(done);
            }
        }
    }
}

/// The urgent byte.
fn receive_urgent(stream: &Stream, message: &mut Incoming, sink: &mut dyn Sink) -> Result<usize, Errno> {
    let peek = message.peeks() || sink.remaining() == 0;
    let ended = || stream.look(|connection| connection.readiness().contains(Readiness::PEER_CLOSED));
    let byte = match stream.touch(|connection| connection.read_urgent(true)) {
        Ok(byte) => byte,
        Err(tcp::Error::WouldBlock) if ended() => return Ok(0),
        Err(error) => return Err(tcp_errno(error)),
    };
    message.found |= MessageFlags::OUT_OF_BAND;
    if sink.remaining() == 0 {
        message.found |= MessageFlags::CUT;
        return Ok(0);
    }
    let count = sink.put(&[byte]);
    if count == 1 && !peek {
        // It is the one that was looked at.
        let _ = stream.touch(|connection| connection.read_urgent(false));
    }
    Ok(count)
}

/// Takes at most `most` bytes of `source`.
fn take(source: &mut dyn Source, most: usize) -> Result<Chunk, Errno> {
    let length = source.remaining().min(most);
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(length).map_err(|_| Errno::ENOMEM)?;
    bytes.resize(length, 0);
    let taken = source.take(&mut bytes);
    bytes.truncate(taken);
    Ok(Chunk::from(bytes))
}
