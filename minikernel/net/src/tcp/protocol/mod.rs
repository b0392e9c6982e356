//! All of TCP on this machine: its ports, listeners and connections, and what is due among them.

mod input;

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::ops::RangeInclusive;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use super::deadlines::{Deadlines, Entry};
use super::flows::{Flows, Shard, Target};
use super::listeners::Listeners;
use super::memory::{Charge, Memory};
use super::ports::Ports;
use super::secrets::Secrets;
use super::time_wait::TimeWait;
use super::{
    Binding, Claim, Connection, Endpoint, Error, Flow, Listener, Observer, Output, Scope, Seq, SocketOptions,
    Stream,
};

/// Deadlines looked at in one call of [`Tcp::expire`].
const STEPS: usize = 64;

/// The flows, the listeners, the ports and the deadlines of one network namespace.
#[derive(Debug)]
pub struct Tcp {
    /// What all connections together may hold.
    pub memory: Arc<Memory>,
    deadlines: Arc<Deadlines>,
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
            memory: Arc::new(Memory::new()),
            deadlines: Arc::new(Deadlines::new()),
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

    /// Takes a port for a socket (bind(2)).
    pub fn bind(&self, port: u16, claim: Claim) -> Result<Arc<Binding>, Error> {
        self.ports.bind(port, claim)
    }

    /// Takes any of `local_ports` that is free.
    pub fn bind_anywhere(
        &self,
        claim: Claim,
        local_ports: RangeInclusive<u16>,
    ) -> Result<Arc<Binding>, Error> {
        let anywhere = Endpoint::new(core::net::Ipv4Addr::UNSPECIFIED.into(), 0);
        let mut ports = self.secrets.ports(&Flow { local: anywhere, remote: anywhere }, local_ports);
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
        match self.listeners.add(listener.clone()) {
            Ok(()) => Ok(listener),
            Err(short) => {
                listener.shut();
                Err(short.into())
            }
        }
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
        let opened = stream.with(self, now, |connection| {
            connection.open(now, out).inspect_err(|_| connection.abort(now, out))
        });
        opened.map(|()| stream)
    }

    fn begin_anywhere(
        &self,
        mut flow: Flow,
        options: &SocketOptions,
        now: u64,
        out: &mut dyn Output,
    ) -> Result<Arc<Stream>, Error> {
        for port in self.secrets.ports(&flow, options.local_ports.clone()) {
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
        let id = self.next_id();
        let alarm = self.deadlines.alarm(hash, id)?;
        let mut shard = self.flows.shard(hash);
        shard.reserve()?;
        match shard.find(hash, &flow) {
            None => {}
            Some(Target::TimeWait(wait)) if wait.may_be_reused(now, options.reuse_time_wait) => {
                // Beyond all that the connection before could have sent (RFC 6191, section 2).
                secret.sequence = wait.snd_nxt + 65535 + 2;
                let id = wait.id;
                self.forget(&mut shard, hash, id);
            }
            Some(_) => return Ok(None),
        }
        let connection = Connection::connect(flow, options.clone(), out.path(&flow), secret, now);
        let stream = Arc::new(Stream::new(id, hash, connection, alarm, Charge::new(&self.memory), binding));
        shard.insert(hash, Target::Stream(stream.clone()));
        Ok(Some(stream))
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
        let stays = match shard.find_id(hash, id) {
            None => true,
            Some(Target::Stream(stream)) => {
                let stream = stream.clone();
                drop(shard);
                return stream.expire(self, now, at, out);
            }
            Some(Target::Request(request)) => {
                let stays = !request.alarm.came(at) || request.due > now || request.expire(now, out);
                request.alarm.watch(Some(request.due));
                stays
            }
            Some(Target::TimeWait(wait)) => {
                let stays = !wait.alarm.came(at) || wait.until > now;
                wait.alarm.watch(Some(wait.until));
                stays
            }
        };
        if !stays {
            self.forget(&mut shard, hash, id);
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
        if self.time_waits.fetch_add(1, Ordering::Relaxed) >= self.memory.time_waits_max() {
            self.time_waits.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        // Where the connection was there is room.
        shard.insert(hash, Target::TimeWait(Box::new(successor)));
    }

    /// Shows everything there is to `visit`, shard by shard, for `/proc/net/tcp` and netlink.
    pub fn each(&self, visit: &mut dyn FnMut(Seen<'_>)) {
        for shard in 0..super::flows::SHARDS {
            let shard = self.flows.shard(shard as u32);
            for target in shard.iter() {
                match target {
                    Target::Stream(stream) => visit(Seen::Stream(stream)),
                    Target::Request(request) => {
                        visit(Seen::Request(&request.handshake.flow, request.listener.options().v6));
                    }
                    Target::TimeWait(wait) => visit(Seen::TimeWait(&wait.flow, wait.v6, wait.until)),
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
    /// A handshake that a peer began, and whether the listener's socket is one of IPv6.
    Request(&'a Flow, bool),
    /// What is left of a connection, whether its socket was one of IPv6, and until when.
    TimeWait(&'a Flow, bool, u64),
}
