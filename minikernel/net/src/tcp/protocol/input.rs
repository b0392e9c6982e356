//! Where segments come in: to a connection, to a handshake, to what is left of a connection, or to a listener.

use alloc::boxed::Box;
use alloc::sync::Arc;

use super::Tcp;
use crate::chunk::Chunks;
use crate::tcp::cookie;
use crate::tcp::flows::Target;
use crate::tcp::listen::Admission;
use crate::tcp::memory::Charge;
use crate::tcp::request::{self, Request};
use crate::tcp::time_wait;
use crate::tcp::{
    Connection, Flags, Flow, Handshake, Listener, MILLISECOND, Options, Output, SECOND, SegmentHeader,
    Stream, reset_for,
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
        let begins = header.flags & (Flags::SYN | Flags::ACK | Flags::RST | Flags::FIN) == Flags::SYN;
        match place {
            Some(Target::Stream(stream)) => {
                let stream = stream.clone();
                drop(shard);
                stream.with(self, now, |connection| {
                    if connection.options().takes(flow, header) {
                        connection.receive(now, header, payload, out);
                    }
                });
                return;
            }
            // Its listener is gone; whoever listens now is asked.
            Some(Target::Request(request)) if !request.listener.is_open() => {
                let id = request.id;
                self.forget(&mut shard, hash, id);
            }
            Some(place @ Target::Request(_)) => {
                let Target::Request(request) = place else { return };
                match request.receive(now, header, payload.len(), out) {
                    request::Verdict::Stays => {}
                    request::Verdict::Ends => {
                        let id = request.id;
                        self.forget(&mut shard, hash, id);
                    }
                    request::Verdict::Completes => {
                        let listener = request.listener.clone();
                        let Some(stream) = self.accept(now, hash, &listener, &request.handshake) else {
                            return;
                        };
                        // In its place, without a gap: another processor may have the next segment already.
                        *place = Target::Stream(stream.clone());
                        drop(shard);
                        listener.forget_request();
                        self.establish(now, &listener, &stream, header, payload, out);
                    }
                }
                return;
            }
            Some(Target::TimeWait(wait)) => {
                let id = wait.id;
                match wait.receive(now, header, payload.len(), out) {
                    time_wait::Verdict::Stays => return,
                    time_wait::Verdict::Ends => return self.forget(&mut shard, hash, id),
                    time_wait::Verdict::Reopens => {}
                }
            }
            None => {}
        }
        drop(shard);
        if begins {
            self.begun_by_peer(now, hash, flow, header, payload.len(), out);
        } else {
            self.unexpected(now, hash, flow, header, payload, out);
        }
    }

    /// A SYN for a flow that is not known, or that may begin anew.
    fn begun_by_peer(
        &self,
        now: u64,
        hash: u32,
        flow: &Flow,
        header: &SegmentHeader,
        payload: usize,
        out: &mut dyn Output,
    ) {
        let interface = || out.arrival(flow, header.manner.interface);
        let Some(listener) = self.listeners.find(flow, hash, &interface) else {
            return reset_for(flow, header, payload, out);
        };
        if !listener.takes(flow, header) {
            return;
        }
        let mut secret = self.secrets.begin(flow, now);
        let mut shard = self.flows.shard(hash);
        let before = match shard.find(hash, flow) {
            None => None,
            Some(Target::TimeWait(wait)) if wait.reopens(header) => {
                // Beyond all that the connection before could have sent (RFC 6191, section 2).
                secret.sequence = wait.snd_nxt + 65535 + 2;
                Some(wait.id)
            }
            // Another processor was faster.
            Some(_) => return,
        };
        let offered = Options { sack: [None; 3], ..header.options.clone() };
        let mut handshake = listener.handshake(flow, out.path(flow), secret, header.sequence, offered);
        let admission = listener.admit(now);
        if let Some(id) = before.filter(|_| admission != Admission::Refused) {
            self.forget(&mut shard, hash, id);
        }
        match admission {
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
                let alarm = self.deadlines.alarm(hash, id).and_then(|alarm| shard.reserve().map(|()| alarm));
                let Ok(mut alarm) = alarm else { return listener.forget_request() };
                let due = now + SECOND;
                alarm.watch(Some(due));
                let mut request = Box::new(Request {
                    id,
                    handshake,
                    listener,
                    due,
                    alarm,
                    created: now,
                    timeouts: 0,
                    answered: 0,
                });
                // The shard is locked: what answers the answer finds the request.
                request.answer(now, out);
                shard.insert(hash, Target::Request(request));
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
            Some((listener, handshake)) => {
                // Where there is no room the peer tries again.
                let Some(stream) = self.accept(now, hash, &listener, &handshake) else { return };
                let mut shard = self.flows.shard(hash);
                if shard.find(hash, flow).is_some() || shard.reserve().is_err() {
                    return;
                }
                shard.insert(hash, Target::Stream(stream.clone()));
                drop(shard);
                self.establish(now, &listener, &stream, header, payload, out);
            }
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
            .find(flow, hash, &|| out.arrival(flow, header.manner.interface))
            .filter(|listener| listener.expects_cookies(now, cookie::LIFETIME))?;
        let offset = self.secrets.timestamp_offset(flow);
        let (secret, offered) = cookie::open(self.secrets.cookie, flow, header, now, offset)?;
        let irs = header.sequence - 1;
        let handshake = listener.handshake(flow, out.path(flow), secret, irs, offered);
        Some((listener, handshake))
    }

    /// The connection that a complete handshake leads to, if there is room for it.
    fn accept(&self, now: u64, hash: u32, listener: &Listener, handshake: &Handshake) -> Option<Arc<Stream>> {
        let binding = listener.binding().filter(|_| listener.has_room())?;
        let id = self.next_id();
        let alarm = self.deadlines.alarm(hash, id).ok()?;
        let connection = Connection::accept(handshake, listener.options(), now);
        Some(Arc::new(Stream::new(id, hash, connection, alarm, Charge::new(&self.memory), binding)))
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
