//! All of TCP on this machine: where segments come in and connections begin.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use super::cookie;
use super::deadlines::{Deadlines, Entry};
use super::flows::{Flows, Shard, Target};
use super::listen::Admission;
use super::listeners::Listeners;
use super::ports::Ports;
use super::request::{self, Request};
use super::secrets::Secrets;
use super::time_wait::{self, TimeWait};
use super::{
    Binding, Claim, Connection, Endpoint, Error, Flags, Flow, Handshake, Listener, MILLISECOND, Observer,
    Options, Output, Scope, SegmentHeader, Seq, SocketOptions, Stream, reset_for,
};
use crate::chunk::Chunks;

/// TIME-WAIT is skipped beyond this many (`tcp_max_tw_buckets`).
const MAX_TIME_WAITS: usize = 8192;
/// Deadlines looked at in one call of [`Tcp::expire`].
const STEPS: usize = 64;

/// The flows, the listeners, the ports and the deadlines of one network namespace.
#[derive(Debug)]
pub struct Tcp {
    pub(super) deadlines: Deadlines,
    pub(super) listeners: Listeners,
    flows: Flows,
    ports: Arc<Ports>,
    secrets: Secrets,
    ids: AtomicU32,
    time_waits: AtomicUsize,
}

impl Tcp {
    /// TCP without a connection; `random` are the keys of what peers must not guess.
    pub fn new(random: [u64; 10]) -> Self {
        Self {
            deadlines: Deadlines::new(),
            listeners: Listeners::new(),
            flows: Flows::new(),
            ports: Arc::new(Ports::new()),
            secrets: Secrets::new(random),
            ids: AtomicU32::new(0),
            time_waits: AtomicUsize::new(0),
        }
    }

    pub(super) fn next_id(&self) -> u32 {
        self.ids.fetch_add(1, Ordering::Relaxed)
    }

    /// Takes a port for a socket (bind(2)); zero for any that is free.
    pub fn bind(&self, port: u16, claim: Claim) -> Result<Arc<Binding>, Error> {
        if port != 0 {
            return self.ports.bind(port, claim);
        }
        let anywhere = Endpoint::new(core::net::Ipv4Addr::UNSPECIFIED.into(), 0);
        let mut ports = self.secrets.ports(&Flow { local: anywhere, remote: anywhere });
        let found =
            ports.find_map(|port| self.ports.bind(port, Claim { reuse_address: false, ..claim }).ok());
        let binding = found.ok_or(Error::AddressInUse)?;
        binding.set_reuse(claim.reuse_address, claim.reuse_port);
        Ok(binding)
    }

    /// Makes a bound socket listen (listen(2)); `scope` is that of its claim.
    pub fn listen(
        &self,
        binding: Arc<Binding>,
        scope: Scope,
        backlog: usize,
        options: SocketOptions,
        observer: Arc<dyn Observer>,
    ) -> Result<Arc<Listener>, Error> {
        binding.listen()?;
        let listener = Arc::new(Listener::new(scope, binding, backlog, options, observer));
        self.listeners.add(listener.clone())?;
        Ok(listener)
    }

    /// Begins a connection (connect(2)) from a bound port, or from one that is chosen where `flow.local.port` is zero. It is established, or
    /// has failed, when the observer is told.
    pub fn connect(
        &self,
        flow: Flow,
        binding: Option<Arc<Binding>>,
        options: &SocketOptions,
        observer: Arc<dyn Observer>,
        now: u64,
        out: &mut dyn Output,
    ) -> Result<Arc<Stream>, Error> {
        let stream = match binding {
            Some(binding) => {
                self.begin(flow, binding, options, now, out)?.ok_or(Error::AddressNotAvailable)?
            }
            None => self.begin_anywhere(flow, options, now, out)?,
        };
        stream.observe(Some(observer));
        stream.with(self, now, |connection| connection.open(now, out))?;
        Ok(stream)
    }

    fn begin_anywhere(
        &self,
        mut flow: Flow,
        options: &SocketOptions,
        now: u64,
        out: &mut dyn Output,
    ) -> Result<Arc<Stream>, Error> {
        for port in self.secrets.ports(&flow) {
            let Ok(binding) = self.ports.take_outgoing(port, flow.local.address) else { continue };
            flow.local.port = port;
            if let Some(stream) = self.begin(flow, binding, options, now, out)? {
                return Ok(stream);
            }
        }
        Err(Error::AddressNotAvailable)
    }

    /// Enters a connection in the table, unless the flow is in use.
    fn begin(
        &self,
        flow: Flow,
        binding: Arc<Binding>,
        options: &SocketOptions,
        now: u64,
        out: &mut dyn Output,
    ) -> Result<Option<Arc<Stream>>, Error> {
        let hash = self.secrets.spread.spread(&flow);
        let mut secret = self.secrets.begin(&flow, now);
        let mut shard = self.flows.shard(hash);
        match shard.find(hash, &flow) {
            None => {}
            Some(Target::TimeWait(wait)) if wait.may_be_reused(now) => {
                // Beyond all that the connection before could have sent (RFC 6191, section 2).
                secret.sequence = wait.snd_nxt + 65535 + 2;
                let id = wait.id;
                self.forget(&mut shard, hash, id);
            }
            Some(_) => return Ok(None),
        }
        let connection = Connection::connect(flow, options.clone(), out.path(&flow), secret, now);
        let stream = Arc::new(Stream::new(self.next_id(), hash, connection, Some(binding)));
        shard.insert(hash, Target::Stream(stream.clone()))?;
        Ok(Some(stream))
    }

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
        let stream = match shard.find(hash, flow) {
            Some(Target::Stream(stream)) => Some(stream.clone()),
            Some(Target::Request(request)) => {
                let (id, verdict) = (request.id, request.receive(now, header, payload.len(), out));
                match verdict {
                    request::Verdict::Stays => return,
                    request::Verdict::Ends => {
                        self.forget(&mut shard, hash, id);
                        return;
                    }
                    request::Verdict::Completes if !request.listener.has_room() => return,
                    request::Verdict::Completes => {
                        let (listener, handshake) = (request.listener.clone(), request.handshake.clone());
                        self.forget(&mut shard, hash, id);
                        drop(shard);
                        return self.establish(now, hash, &listener, &handshake, header, payload, out);
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
                self.establish(now, hash, &listener, &handshake, header, payload, out);
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

    /// A handshake is complete: its connection begins with the segment that completed it.
    #[expect(clippy::too_many_arguments, reason = "a segment and its circumstances")]
    fn establish(
        &self,
        now: u64,
        hash: u32,
        listener: &Arc<Listener>,
        handshake: &Handshake,
        header: &SegmentHeader,
        payload: Chunks,
        out: &mut dyn Output,
    ) {
        let connection = Connection::accept(handshake, listener.options(), now);
        let stream = Arc::new(Stream::new(self.next_id(), hash, connection, Some(listener.binding.clone())));
        let mut shard = self.flows.shard(hash);
        let known = shard.find(hash, &handshake.flow).is_some();
        if known || shard.insert(hash, Target::Stream(stream.clone())).is_err() {
            return;
        }
        drop(shard);
        stream.with(self, now, |connection| connection.receive(now, header, payload, out));
        if listener.offer(stream.clone()) {
            listener.tell();
        } else {
            stream.with(self, now, |connection| connection.abort(now, out));
        }
    }

    /// An ICMP message about a segment of ours says that its destination cannot be reached.
    pub fn unreachable(&self, now: u64, flow: &Flow, quoted: Seq, error: Error) {
        if let Some(stream) = self.stream(flow) {
            stream.with(self, now, |connection| connection.unreachable(quoted, error));
        }
    }

    /// An ICMP message says that the path takes segments of at most `mss` bytes, without options.
    pub fn path_changed(&self, now: u64, flow: &Flow, quoted: Seq, mss: u16, out: &mut dyn Output) {
        if let Some(stream) = self.stream(flow) {
            stream.with(self, now, |connection| connection.path_changed(now, quoted, mss, out));
        }
    }

    /// The connection of a flow.
    pub fn stream(&self, flow: &Flow) -> Option<Arc<Stream>> {
        let hash = self.secrets.spread.spread(flow);
        match self.flows.shard(hash).find(hash, flow) {
            Some(Target::Stream(stream)) => Some(stream.clone()),
            _ => None,
        }
    }

    /// When [`expire`](Self::expire) is to be called next. Every other call may bring it forward.
    pub fn deadline(&self) -> Option<u64> {
        self.deadlines.next()
    }

    /// Does what is due, in steps: false when some of it is left and it is to be called again.
    pub fn expire(&self, now: u64, out: &mut dyn Output) -> bool {
        for _ in 0..STEPS {
            let Some(entry) = self.deadlines.take(now) else { return true };
            self.expire_one(now, entry, out);
        }
        false
    }

    fn expire_one(&self, now: u64, entry: Entry, out: &mut dyn Output) {
        let Entry { hash, id, at } = entry;
        let mut shard = self.flows.shard(hash);
        let again = match shard.find_id(hash, id) {
            None => None,
            Some(Target::Stream(stream)) => {
                let stream = stream.clone();
                drop(shard);
                return stream.expire(self, now, at, out);
            }
            Some(Target::Request(request)) if request.due > now => Some(request.due),
            Some(Target::Request(request)) => request.expire(now, out).then_some(request.due),
            Some(Target::TimeWait(wait)) => Some(wait.until).filter(|&until| until > now),
        };
        match again {
            Some(at) => {
                self.deadlines.add(Entry { at, hash, id });
            }
            None => self.forget(&mut shard, hash, id),
        }
    }

    /// Takes a flow out of the table.
    fn forget(&self, shard: &mut Shard, hash: u32, id: u32) {
        match shard.remove(hash, id) {
            Some(Target::Request(request)) => request.listener.forget_request(),
            Some(Target::TimeWait(_)) => {
                self.time_waits.fetch_sub(1, Ordering::Relaxed);
            }
            Some(Target::Stream(_)) | None => {}
        }
    }

    /// A connection is over; what follows it takes its place.
    pub(super) fn replace(&self, hash: u32, id: u32, successor: Option<TimeWait>) {
        let mut shard = self.flows.shard(hash);
        self.forget(&mut shard, hash, id);
        let Some(successor) = successor else { return };
        if self.time_waits.fetch_add(1, Ordering::Relaxed) >= MAX_TIME_WAITS {
            self.time_waits.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        let entry = Entry { at: successor.until, hash, id: successor.id };
        if shard.insert(hash, Target::TimeWait(Box::new(successor))).is_err() {
            self.time_waits.fetch_sub(1, Ordering::Relaxed);
        } else {
            drop(shard);
            self.deadlines.add(entry);
        }
    }

    /// Shows everything there is to `visit`, shard by shard, for `/proc/net/tcp` and netlink.
    pub fn each(&self, visit: &mut dyn FnMut(Seen<'_>)) {
        for shard in 0..super::flows::SHARDS {
            let shard = self.flows.shard(shard as u32);
            for target in shard.iter() {
                match target {
                    Target::Stream(stream) => visit(Seen::Stream(stream)),
                    Target::Request(request) => visit(Seen::Request(&request.handshake.flow)),
                    Target::TimeWait(wait) => visit(Seen::TimeWait(&wait.flow, wait.until)),
                }
            }
        }
    }
}

/// One of all the flows.
#[derive(Debug)]
pub enum Seen<'a> {
    /// A connection. It is not to be locked here.
    Stream(&'a Arc<Stream>),
    /// A handshake that a peer began.
    Request(&'a Flow),
    /// What is left of a connection, and until when.
    TimeWait(&'a Flow, u64),
}
