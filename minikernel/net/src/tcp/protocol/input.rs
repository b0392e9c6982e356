//! Where segments come in: to a connection, to a handshake, to what is left of a connection, or to a listener.

use alloc::boxed::Box;
use alloc::sync::Arc;

use super::Tcp;
use crate::chunk::Chunks;
use crate::tcp::cookie;
use crate::tcp::deadlines::Entry;
use crate::tcp::flows::Target;
use crate::tcp::listen::Admission;
use crate::tcp::request::{self, Request};
use crate::tcp::time_wait;
use crate::tcp::{
    Connection, Flags, Flow, Handshake, Listener, MILLISECOND, Options, Output, SegmentHeader, Seq, Stream,
    reset_for,
};

impl Tcp {
    /// Takes a segment from `flow.remote` to `flow.local`, whose checksum was verified.
    pub fn receive(
        &self,
        now: u64,
        flow: &Flow,
        header: &SegmentHeader,
        payload: Chunks,
        out: &mut dyn Output,
    ) {
        let hash = self.secrets.spread.spread(flow);
        let mut shard = self.flows.shard(hash);
        let place = shard.find(hash, flow);
        let stream = match place {
            Some(Target::Stream(stream)) => Some(stream.clone()),
            Some(place @ Target::Request(_)) => {
                let Target::Request(request) = place else { return };
                let (id, verdict) = (request.id, request.receive(now, header, payload.len(), out));
                match verdict {
                    request::Verdict::Stays => return,
                    request::Verdict::Ends => {
                        self.forget(&mut shard, hash, id);
                        return;
                    }
                    request::Verdict::Completes if !request.listener.has_room() => return,
                    request::Verdict::Completes => {
                        let listener = request.listener.clone();
                        let stream = self.stream_of(now, hash, &listener, &request.handshake);
                        // In its place, without a gap: another processor may have the next segment already.
                        *place = Target::Stream(stream.clone());
                        drop(shard);
                        listener.forget_request();
                        return self.establish(now, &listener, &stream, header, payload, out);
                    }
                }
            }
            Some(Target::TimeWait(wait)) => {
                let id = wait.id;
                match wait.receive(now, header, payload.len(), out) {
                    time_wait::Verdict::Stays => return,
                    time_wait::Verdict::Ends => {
                        self.forget(&mut shard, hash, id);
                        return;
                    }
                    time_wait::Verdict::Reopens => {
                        let after = wait.snd_nxt + 65535 + 2;
                        self.forget(&mut shard, hash, id);
                        drop(shard);
                        return self.begun_by_peer(now, hash, flow, header, payload.len(), Some(after), out);
                    }
                }
            }
            None => None,
        };
        drop(shard);
        match stream {
            Some(stream) => {
                stream.with(self, now, |connection| connection.receive(now, header, payload, out));
            }
            None if header.flags & (Flags::SYN | Flags::ACK | Flags::RST | Flags::FIN) == Flags::SYN => {
                self.begun_by_peer(now, hash, flow, header, payload.len(), None, out);
            }
            None => self.unexpected(now, hash, flow, header, payload, out),
        }
    }

    /// A SYN for a flow that is not known.
    #[expect(clippy::too_many_arguments, reason = "a segment and its circumstances")]
    fn begun_by_peer(
        &self,
        now: u64,
        hash: u32,
        flow: &Flow,
        header: &SegmentHeader,
        payload: usize,
        sequence: Option<Seq>,
        out: &mut dyn Output,
    ) {
        let Some(listener) = self.listeners.find(flow, hash) else {
            return reset_for(flow, header, payload, out);
        };
        let mut secret = self.secrets.begin(flow, now);
        secret.sequence = sequence.unwrap_or(secret.sequence);
        let offered = Options { sack: [None; 3], ..header.options.clone() };
        let mut handshake = Handshake {
            flow: *flow,
            path: out.path(flow),
            secret,
            irs: header.sequence,
            offered,
            answered: None,
        };
        match listener.admit(now) {
            Admission::Refused => {}
            Admission::Cookie => {
                let clock = (now / MILLISECOND) as u32;
                let Handshake { secret, offered, irs, .. } = &mut handshake;
                secret.sequence = cookie::sequence(self.secrets.cookie, flow, *irs, offered, now);
                if offered.timestamps.is_none() {
                    // There is nowhere to keep them.
                    (offered.window_scale, offered.sack_permitted) = (None, false);
                }
                secret.timestamp_offset = cookie::timestamp_offset(secret.timestamp_offset, clock, offered);
                let answer = handshake.answer(now);
                out.segment(flow, &answer, Chunks::new());
            }
            Admission::Request => {
                let id = self.next_id();
                let mut request = Box::new(Request {
                    id,
                    handshake,
                    listener: listener.clone(),
                    created: now,
                    due: 0,
                    answers: 0,
                });
                request.answer(now, out);
                let due = request.due;
                let mut shard = self.flows.shard(hash);
                let known = shard.find(hash, flow).is_some();
                if known || shard.insert(hash, Target::Request(request)).is_err() {
                    listener.forget_request();
                } else {
                    self.deadlines.add(Entry { at: due, hash, id });
                }
            }
        }
    }

    /// A segment for a flow that is not known, and no SYN: the end of a handshake by cookie, or a mistake.
    fn unexpected(
        &self,
        now: u64,
        hash: u32,
        flow: &Flow,
        header: &SegmentHeader,
        payload: Chunks,
        out: &mut dyn Output,
    ) {
        let opened = self.open_cookie(now, hash, flow, header, out);
        match opened {
            Some((listener, handshake)) if listener.has_room() => {
                let stream = self.stream_of(now, hash, &listener, &handshake);
                let mut shard = self.flows.shard(hash);
                let known = shard.find(hash, flow).is_some();
                if known || shard.insert(hash, Target::Stream(stream.clone())).is_err() {
                    return;
                }
                drop(shard);
                self.establish(now, &listener, &stream, header, payload, out);
            }
            // The peer tries again.
            Some(_) => {}
            None => reset_for(flow, header, payload.len(), out),
        }
    }

    fn open_cookie(
        &self,
        now: u64,
        hash: u32,
        flow: &Flow,
        header: &SegmentHeader,
        out: &mut dyn Output,
    ) -> Option<(Arc<Listener>, Handshake)> {
        if header.flags & (Flags::SYN | Flags::ACK | Flags::RST) != Flags::ACK {
            return None;
        }
        let listener = self
            .listeners
            .find(flow, hash)
            .filter(|listener| listener.expects_cookies(now, cookie::LIFETIME))?;
        let offset = self.secrets.timestamp_offset(flow);
        let (secret, offered) = cookie::open(self.secrets.cookie, flow, header, now, offset)?;
        let irs = header.sequence - 1;
        Some((
            listener,
            Handshake { flow: *flow, path: out.path(flow), secret, irs, offered, answered: None },
        ))
    }

    /// The connection that a complete handshake leads to.
    fn stream_of(&self, now: u64, hash: u32, listener: &Listener, handshake: &Handshake) -> Arc<Stream> {
        let connection = Connection::accept(handshake, listener.options(), now);
        Arc::new(Stream::new(self.next_id(), hash, connection, Some(listener.binding.clone())))
    }

    /// A connection, which is in the table, begins with the segment that completed its handshake.
    fn establish(
        &self,
        now: u64,
        listener: &Arc<Listener>,
        stream: &Arc<Stream>,
        header: &SegmentHeader,
        payload: Chunks,
        out: &mut dyn Output,
    ) {
        stream.with(self, now, |connection| connection.receive(now, header, payload, out));
        if listener.offer(stream.clone()) {
            listener.tell();
        } else {
            stream.with(self, now, |connection| connection.abort(now, out));
        }
    }
}
