//! Sockets of TCP: tcp(7).

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use isopod_fs::file::{Ready, UserMemory};
use isopod_fs::{self as fs, Errno, Sink, Source};
use isopod_hal::clock;
use isopod_hal::sync::SpinLock;
use isopod_hal::sync::wait::WaitQueue;
use isopod_net::address::{
    ANY, ANY_V4, Address as IpAddress, LOOPBACK, LOOPBACK_V4, SocketAddress, is_any, is_multicast, is_v4,
};
use isopod_net::chunk::Chunk;
use isopod_net::route::Kind as RouteKind;
use isopod_net::segments::{Below, of_tcp, to_packets};
use isopod_net::tcp::{
    self, Binding, Claim, Connection, Endpoint, Events, Flow, Listener, Observer, Scope, SocketOptions,
    State as Stage, Stream,
};

use super::address::{self, Given, shown};
use super::options::{self as names, IpOptions, SOL_IP, SOL_IPV6};
use super::tcp_options::Noted;
use super::{AF_INET, AF_INET6, check_port, errno, limits, stack, table, tcp_options, with_stack};
use crate::kernel;
use crate::process::Thread;
use crate::socket::options::{self, OptionValue};
use crate::socket::{
    AF_UNSPEC, Address, Common, Incoming, Kind, MessageFlags, Outgoing, Shutdown, Socket,
    limits as socket_limits,
};

/// How many bytes are taken from a program at once.
const PIECE: usize = 64 << 10;
/// The sizes of buffers before there is a connection (`tcp_wmem`, `tcp_rmem`).
const BUFFERS: (u32, u32) = (16_384, 131_072);
/// Is the next byte the urgent one?
const SIOCATMARK: u32 = 0x8905;
/// How many bytes have not been sent?
const SIOCOUTQNSD: u32 = 0x894b;

/// A socket of TCP.
#[derive(Debug)]
pub struct StreamSocket {
    common: Common,
    ip: IpOptions,
    owner: u32,
    observer: Arc<Wakes>,
    state: SpinLock<State>,
}

/// Wakes who waits for the socket.
#[derive(Debug)]
struct Wakes(Arc<WaitQueue>);

impl Observer for Wakes {
    fn notify(&self, _: Events) {
        self.0.wake_all();
    }
}

#[derive(Debug)]
struct State {
    phase: Phase,
    local: SocketAddress,
    binding: Option<Arc<Binding>>,
    /// What shutdown(2) has ended where there is no connection.
    ended: Shutdown,
    /// What was set and is only told again.
    noted: Noted,
    /// What happened to a connection that is gone.
    error: Option<Errno>,
    options: SocketOptions,
}

/// How far a socket has come.
#[derive(Debug, Clone)]
enum Phase {
    /// Neither connected nor listening.
    Idle,
    /// connect(2) has not told yet what became of it.
    Connecting(Arc<Stream>),
    Connected(Arc<Stream>),
    Listening(Arc<Listener>),
}

/// The number of an error of TCP's.
fn tcp_errno(error: tcp::Error) -> Errno {
    use tcp::Error;
    match error {
        Error::WouldBlock => Errno::EAGAIN,
        Error::Refused => Errno::ECONNREFUSED,
        Error::Reset => Errno::ECONNRESET,
        Error::TimedOut => Errno::ETIMEDOUT,
        Error::Pipe => Errno::EPIPE,
        Error::NotConnected => Errno::ENOTCONN,
        Error::HostUnreachable => Errno::EHOSTUNREACH,
        Error::NetworkUnreachable => Errno::ENETUNREACH,
        Error::Aborted => Errno::ECONNABORTED,
        Error::AddressInUse => Errno::EADDRINUSE,
        Error::AddressNotAvailable => Errno::EADDRNOTAVAIL,
        Error::Invalid => Errno::EINVAL,
        Error::OutOfMemory => Errno::ENOMEM,
    }
}

/// Does something with a connection that may send.
fn with<T>(stream: &Stream, action: impl FnOnce(&mut Connection, u64, &mut dyn tcp::Output) -> T) -> T {
    with_stack(|stack, out| {
        let now = out.now;
        let mut below = Below { stack, out };
        stream.with(&stack.tcp, now, |connection| action(connection, now, &mut below))
    })
}

fn place(at: &Endpoint) -> SocketAddress {
    SocketAddress { address: to_packets(at.address), port: at.port }
}

impl StreamSocket {
    fn with_parts(common: Common, ip: IpOptions, owner: u32, state: State) -> Arc<Self> {
        let observer = Arc::new(Wakes(Arc::clone(&common.changed)));
        let socket = Arc::new(Self { common, ip, owner, observer, state: SpinLock::new(state) });
        table::STREAMS.enter(&socket);
        socket
    }

    /// A new one.
    pub fn new(caller: &Thread, family: u16) -> Arc<Self> {
        let common = Common::new(family, Kind::Stream, super::TCP.cast_unsigned());
        let ip = IpOptions::default();
        if limits::ONLY_V6.get() != 0 && family == AF_INET6 {
            ip.store(names::ONLY_V6, 1);
        }
        let any = if family == AF_INET { ANY_V4 } else { ANY };
        let state = State {
            phase: Phase::Idle,
            local: SocketAddress { address: any, port: 0 },
            binding: None,
            ended: Shutdown::empty(),
            error: None,
            noted: Noted::default(),
            options: SocketOptions::default(),
        };
        Self::with_parts(common, ip, caller.identity().users.file, state)
    }

    /// The socket of a connection that came to this one.
    fn accepted(&self, stream: &Arc<Stream>) -> Arc<Self> {
        let mut common = Common::new(self.common.family, Kind::Stream, self.common.protocol);
        common.options = self.common.options.duplicate();
        let state = State {
            local: place(&stream.flow().local),
            binding: None,
            ended: Shutdown::empty(),
            error: None,
            noted: Noted::default(),
            options: stream.look(|connection| connection.options().clone()),
            phase: Phase::Connected(Arc::clone(stream)),
        };
        let socket = Self::with_parts(common, self.ip.duplicate(), self.owner, state);
        stream.observe(Some(Arc::clone(&socket.observer) as Arc<dyn Observer>));
        socket
    }

    fn only_v6(&self) -> bool {
        self.ip.has(names::ONLY_V6)
    }

    fn any(&self) -> IpAddress {
        if self.common.family == AF_INET { ANY_V4 } else { ANY }
    }

    /// Its connection, made or under way.
    fn stream(&self) -> Option<Arc<Stream>> {
        match &self.state.lock().phase {
            Phase::Connecting(stream) | Phase::Connected(stream) => Some(Arc::clone(stream)),
            _ => None,
        }
    }

    fn scope(&self, address: &IpAddress) -> Scope {
        match *address {
            ANY if self.only_v6() => Scope::Ipv6,
            ANY => Scope::Any,
            ANY_V4 => Scope::Ipv4,
            address => Scope::Address(of_tcp(&address)),
        }
    }

    fn claim(&self, address: &IpAddress) -> Claim {
        let options = &self.common.options;
        Claim {
            scope: self.scope(address),
            reuse_address: options.has(options::REUSE_ADDRESS),
            reuse_port: options.has(options::REUSE_PORT),
            user: self.owner,
        }
    }

    /// Takes a port, or with 0 one that is free.
    fn take_port(&self, at: &SocketAddress) -> Result<Arc<Binding>, Errno> {
        let claim = self.claim(&at.address);
        if at.port != 0 {
            return stack().tcp.bind(at.port, claim).map_err(tcp_errno);
        }
        let ports = limits::local_ports();
        let count = u64::from(ports.end().saturating_sub(*ports.start())) + 1;
        let random = kernel::random_u64();
        let strict = Claim { reuse_address: false, ..claim };
        let found = (0..count).find_map(|step| {
            stack().tcp.bind(ports.start() + (random.wrapping_add(step) % count) as u16, strict).ok()
        });
        let binding = found.ok_or(Errno::EADDRINUSE)?;
        binding.set_reuse(claim.reuse_address, claim.reuse_port);
        Ok(binding)
    }

    /// Begins to connect. EADDRNOTAVAIL, ENETUNREACH
    fn begin(&self, state: &mut State, Given { at, .. }: Given) -> Result<(), Errno> {
        let to_v4 = is_v4(&at.address) || is_v4(&state.local.address) && !is_any(&state.local.address);
        let address = match at.address {
            address if !is_any(&address) => address,
            _ if to_v4 => LOOPBACK_V4,
            _ => LOOPBACK,
        };
        let found = stack().routes.find(&address, &state.local.address, 0).map_err(errno)?;
        if found.kind == RouteKind::Broadcast || is_multicast(&address) {
            return Err(Errno::ENETUNREACH);
        }
        let flow = Flow {
            local: Endpoint::new(of_tcp(&found.source), state.local.port),
            remote: Endpoint::new(of_tcp(&address), at.port),
        };
        let (binding, options) = (state.binding.clone(), state.options.clone());
        let observer = Arc::clone(&self.observer) as Arc<dyn Observer>;
        let stream = with_stack(|stack, out| {
            let now = out.now;
            stack.tcp.connect(flow, binding, &options, observer, now, &mut Below { stack, out })
        })
        .map_err(tcp_errno)?;
        state.phase = Phase::Connecting(stream);
        state.error = None;
        Ok(())
    }

    /// What has become of a connection that was begun: EAGAIN as long as that is open.
    fn outcome(&self, state: &mut State, stream: &Arc<Stream>) -> Result<(), Errno> {
        match stream.look(Connection::state) {
            Stage::SynSent | Stage::SynReceived => Err(Errno::EAGAIN),
            Stage::Closed => {
                let error = with(stream, |connection, _, _| connection.take_error());
                state.phase = Phase::Idle;
                if state.binding.is_none() {
                    state.local.address = self.any();
                }
                Err(error.map_or(Errno::ECONNABORTED, tcp_errno))
            }
            _ => {
                state.phase = Phase::Connected(Arc::clone(stream));
                Ok(())
            }
        }
    }

    /// connect(2) with `AF_UNSPEC`: there is no connection any more, and nobody listens.
    fn disconnect(&self) {
        let mut state = self.state.lock();
        let phase = core::mem::replace(&mut state.phase, Phase::Idle);
        state.ended = Shutdown::empty();
        if state.binding.is_none() {
            state.local.address = self.any();
        }
        if let Phase::Connecting(stream) | Phase::Connected(stream) = &phase {
            use Stage::{CloseWait, Established, FinWait1, FinWait2, SynReceived, SynSent};
            let stage = stream.look(Connection::state);
            let open = matches!(stage, Established | CloseWait | FinWait1 | FinWait2 | SynReceived | SynSent);
            state.error = open.then_some(Errno::ECONNRESET);
        }
        drop(state);
        end(&phase, true);
    }

    /// Changes options here and in the connection.
    fn change(
        &self,
        change: &mut dyn FnMut(&mut SocketOptions, &mut Noted) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        let mut state = self.state.lock();
        let State { options, noted, .. } = &mut *state;
        change(options, noted)?;
        let (options, phase) = (state.options.clone(), state.phase.clone());
        drop(state);
        match phase {
            Phase::Connecting(stream) | Phase::Connected(stream) => {
                with(&stream, |connection, now, out| {
                    *connection.options_mut() = options;
                    connection.options_changed(now, out);
                });
            }
            Phase::Listening(listener) => listener.set_options(options),
            Phase::Idle => {}
        }
        Ok(())
    }
}

/// The urgent byte.
fn receive_urgent(stream: &Stream, message: &mut Incoming, sink: &mut dyn Sink) -> Result<usize, Errno> {
    let peek = message.peeks() || sink.remaining() == 0;
    let ended = || stream.look(|connection| connection.readiness().peer_closed);
    let byte = match with(stream, |connection, _, _| connection.read_urgent(true)) {
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
        let _ = with(stream, |connection, _, _| connection.read_urgent(false));
    }
    Ok(count)
}

/// Ends what a socket was in the middle of, at once if need be.
fn end(phase: &Phase, abort: bool) {
    match phase {
        Phase::Idle => {}
        Phase::Connecting(stream) | Phase::Connected(stream) => {
            stream.observe(None);
            with(
                stream,
                |connection, now, out| {
                    if abort { connection.abort(now, out) } else { connection.close(now, out) }
                },
            );
        }
        Phase::Listening(listener) => with_stack(|stack, out| {
            let now = out.now;
            listener.close(&stack.tcp, now, &mut Below { stack, out });
        }),
    }
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

impl table::Listed for StreamSocket {
    fn shown(&self) -> Option<table::Shown> {
        let state = self.state.lock();
        let (phase, local) = (state.phase.clone(), state.local);
        drop(state);
        let mut shown = table::Shown {
            family: self.common.family,
            local,
            remote: SocketAddress { address: self.any(), port: 0 },
            state: tcp_options::CLOSED,
            sending: 0,
            receiving: 0,
            owner: self.owner,
            inode: self.common.inode.load(Ordering::Relaxed),
            dropped: 0,
        };
        match phase {
            // One that is bound is in no table (`tcp_seq_next`).
            Phase::Idle => return None,
            Phase::Listening(listener) => {
                shown.state = tcp_options::LISTENS;
                shown.receiving = listener.waiting().0;
            }
            Phase::Connecting(stream) | Phase::Connected(stream) => {
                shown.remote = place(&stream.flow().remote);
                let (stage, sending, receiving) = stream
                    .look(|connection| (connection.state(), connection.queued(), connection.readable()));
                if stage == Stage::Closed {
                    return None;
                }
                (shown.state, shown.sending, shown.receiving) =
                    (tcp_options::number_of(stage), sending, receiving);
            }
        }
        Some(shown)
    }
}

impl Socket for StreamSocket {
    fn common(&self) -> &Common {
        &self.common
    }

    fn bind(&self, caller: &Thread, address: &Address) -> fs::Result<()> {
        let Given { at, .. } = address::to_bind(self.common.family, self.only_v6(), address)?;
        let there = stack().can_bind(&at.address) || self.ip.has(names::FREE_BIND);
        let v4 = self.common.family == AF_INET;
        if v4 && !there {
            return Err(Errno::EADDRNOTAVAIL.into());
        }
        if !v4 && is_multicast(&at.address) {
            return Err(Errno::EINVAL.into());
        }
        check_port(caller, at.port)?;
        let mut state = self.state.lock();
        if state.binding.is_some() || !matches!(state.phase, Phase::Idle) {
            return Err(Errno::EINVAL.into());
        }
        if !there {
            return Err(Errno::EADDRNOTAVAIL.into());
        }
        let binding = self.take_port(&at)?;
        state.local = SocketAddress { address: at.address, port: binding.port() };
        state.binding = Some(binding);
        Ok(())
    }

    fn listen(&self, _: &Thread, backlog: u32) -> Result<(), Errno> {
        let backlog = u64::from(backlog).min(socket_limits::BACKLOG_MAX.get()) as usize;
        let mut state = self.state.lock();
        match &state.phase {
            Phase::Listening(listener) => listener.set_backlog(backlog),
            Phase::Idle => {
                let local = state.local;
                let binding = match &state.binding {
                    Some(binding) => Arc::clone(binding),
                    None => self.take_port(&local)?,
                };
                let observer = Arc::clone(&self.observer) as Arc<dyn Observer>;
                let scope = self.scope(&local.address);
                let options = state.options.clone();
                let listener = stack()
                    .tcp
                    .listen(Arc::clone(&binding), scope, backlog, options, observer)
                    .map_err(tcp_errno)?;
                state.local.port = binding.port();
                state.binding = Some(binding);
                state.phase = Phase::Listening(listener);
            }
            _ => return Err(Errno::EINVAL),
        }
        Ok(())
    }

    fn accept(&self, _: bool) -> Result<Arc<dyn Socket>, Errno> {
        let Phase::Listening(listener) = self.state.lock().phase.clone() else { return Err(Errno::EINVAL) };
        let stream = listener.accept().ok_or(Errno::EAGAIN)?;
        Ok(self.accepted(&stream))
    }

    fn connect(&self, _: &Thread, address: &Address, waiting: bool) -> fs::Result<()> {
        if address.family().ok_or(Errno::EINVAL)? == AF_UNSPEC {
            self.disconnect();
            return Ok(());
        }
        let mut state = self.state.lock();
        match state.phase.clone() {
            Phase::Listening(_) | Phase::Connected(_) => return Err(Errno::EISCONN.into()),
            Phase::Connecting(stream) => {
                return Err(match self.outcome(&mut state, &stream) {
                    Ok(()) => return Ok(()),
                    Err(Errno::EAGAIN) if !waiting => Errno::EALREADY.into(),
                    Err(error) => error.into(),
                });
            }
            Phase::Idle => {}
        }
        let family = self.common.family;
        if family == AF_INET6 {
            // Unlike a socket of UDP.
            let found = address::v6_of(address)?;
            if address.family() == Some(AF_INET) {
                return Err(Errno::EAFNOSUPPORT.into());
            }
            if is_multicast(&found.at.address) {
                return Err(Errno::ENETUNREACH.into());
            }
        }
        self.begin(&mut state, address::to_connect(family, self.only_v6(), address)?)?;
        let Phase::Connecting(stream) = state.phase.clone() else { return Ok(()) };
        state.local = place(&stream.flow().local);
        if waiting { Ok(self.outcome(&mut state, &stream)?) } else { Err(Errno::EINPROGRESS.into()) }
    }

    fn name(&self) -> Result<Address, Errno> {
        Ok(shown(self.common.family, &self.state.lock().local, 0))
    }

    fn peer_name(&self) -> Result<Address, Errno> {
        let stream = self.stream().ok_or(Errno::ENOTCONN)?;
        if matches!(stream.look(Connection::state), Stage::Closed | Stage::SynSent) {
            return Err(Errno::ENOTCONN);
        }
        Ok(shown(self.common.family, &place(&stream.flow().remote), 0))
    }

    fn shut_down(&self, how: Shutdown) -> Result<(), Errno> {
        let mut state = self.state.lock();
        let (read, write) = (how.contains(Shutdown::RECEIVE), how.contains(Shutdown::SEND));
        match state.phase.clone() {
            Phase::Idle => {
                state.ended |= how;
                drop(state);
                self.common.changed.wake_all();
                Err(Errno::ENOTCONN)
            }
            Phase::Listening(_) if !read => Ok(()),
            phase @ Phase::Listening(_) => {
                state.phase = Phase::Idle;
                drop(state);
                end(&phase, true);
                self.common.changed.wake_all();
                Ok(())
            }
            Phase::Connecting(stream) | Phase::Connected(stream) => {
                drop(state);
                let stage = stream.look(Connection::state);
                with(&stream, |connection, now, out| connection.shut_down(now, read, write, out));
                self.common.changed.wake_all();
                if stage == Stage::Closed { Err(Errno::ENOTCONN) } else { Ok(()) }
            }
        }
    }

    fn send(&self, message: &mut Outgoing, source: &mut dyn Source) -> fs::Result<usize> {
        let Some(stream) = self.stream() else {
            return Err(self.state.lock().error.take().unwrap_or(Errno::EPIPE).into());
        };
        let mut done = 0;
        loop {
            let room = with(&stream, |connection, _, _| connection.may_write().map(|()| connection.room()));
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
            let bytes = take(source, wanted)?;
            let taken = bytes.len();
            let last = source.remaining() == 0;
            // The next piece finds room.
            let goes_on = !last && taken == wanted && room > wanted;
            let how = tcp::Send {
                more: goes_on || message.flags.contains(MessageFlags::MORE),
                urgent: last && message.flags.contains(MessageFlags::OUT_OF_BAND),
            };
            if taken > 0 {
                with(&stream, |connection, now, out| connection.send(now, bytes, how, out))
                    .map_err(tcp_errno)?;
            }
            done += taken;
            if taken < wanted || source.remaining() == 0 {
                return Ok(done);
            }
        }
    }

    fn receive(&self, message: &mut Incoming, sink: &mut dyn Sink) -> Result<usize, Errno> {
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
        if !message.flags.contains(MessageFlags::DONT_WAIT) {
            let enough = self.common.options.receive_low_water().min(sink.remaining());
            let (found, ready) = stream.look(|connection| (connection.readable(), connection.readiness()));
            if found < enough && !ready.peer_closed && !ready.error {
                return Err(Errno::EAGAIN);
            }
        }
        let discards = message.flags.contains(MessageFlags::CUT);
        let mut room = sink.remaining();
        let mut give = |bytes: &[u8]| {
            let part = &bytes[..bytes.len().min(room)];
            let taken = if discards { part.len() } else { sink.put(part) };
            room -= taken;
            taken
        };
        let skip = message.looked_at;
        let outcome = if message.peeks() {
            with(&stream, |connection, _, _| connection.peek(skip, &mut give))
        } else {
            with(&stream, |connection, now, out| connection.read(now, &mut give, out))
        };
        if message.peeks() {
            message.looked_at += outcome.unwrap_or(0);
        }
        outcome.map_err(tcp_errno)
    }

    fn ready(&self) -> Ready {
        let state = self.state.lock();
        let phase = state.phase.clone();
        let ended = state.ended;
        let failed = state.error.is_some();
        drop(state);
        let mut ready = Ready::empty();
        ready.set(Ready::ERROR, failed);
        match phase {
            Phase::Idle => {
                ready |= Ready::WRITABLE | Ready::HANG_UP;
                if ended.contains(Shutdown::RECEIVE) {
                    ready |= Ready::READABLE | Ready::READ_HANG_UP;
                }
            }
            Phase::Listening(listener) => ready.set(Ready::READABLE, listener.waiting().0 > 0),
            Phase::Connecting(stream) | Phase::Connected(stream) => {
                let found = stream.look(Connection::readiness);
                ready.set(Ready::READABLE, found.readable);
                ready.set(Ready::WRITABLE, found.writable);
                ready.set(Ready::PRIORITY, found.urgent);
                ready.set(Ready::READ_HANG_UP, found.peer_closed);
                ready.set(Ready::HANG_UP, found.hung_up);
                ready.set(Ready::ERROR, failed || found.error);
            }
        }
        ready
    }

    fn readable_bytes(&self) -> Result<usize, Errno> {
        if self.listens() {
            return Err(Errno::EINVAL);
        }
        Ok(self.stream().map_or(0, |stream| stream.look(Connection::readable)))
    }

    fn unsent_bytes(&self) -> Result<usize, Errno> {
        if self.listens() {
            return Err(Errno::EINVAL);
        }
        Ok(self.stream().map_or(0, |stream| match stream.look(Connection::state) {
            Stage::SynSent | Stage::SynReceived => 0,
            _ => stream.look(Connection::queued),
        }))
    }

    fn take_error(&self) -> Option<Errno> {
        if let Some(error) = self.state.lock().error.take() {
            return Some(error);
        }
        with(&*self.stream()?, |connection, _, _| connection.take_error()).map(tcp_errno)
    }

    fn listens(&self) -> bool {
        matches!(self.state.lock().phase, Phase::Listening(_))
    }

    fn option(&self, level: u32, name: u32) -> Result<OptionValue, Errno> {
        match level {
            tcp_options::SOL_TCP => {}
            SOL_IP => return self.ip_option((level, name)),
            SOL_IPV6 if self.common.family == AF_INET6 => return self.ip_option((level, name)),
            _ if self.common.family == AF_INET => return Err(Errno::EOPNOTSUPP),
            _ => return Err(Errno::ENOPROTOOPT),
        }
        let stream = self.stream();
        if name == tcp_options::INFO {
            let Some(stream) = stream else {
                let mut bytes = alloc::vec![0; tcp_options::INFO_LENGTH];
                bytes[0] = if self.listens() { tcp_options::LISTENS } else { tcp_options::CLOSED };
                return Ok(bytes);
            };
            return Ok(tcp_options::told(&stream.look(|connection| connection.info(clock::monotonic_ns()))));
        }
        let segment = stream.map(|stream| stream.look(Connection::segment_size));
        let state = self.state.lock();
        tcp_options::get(&state.options, &state.noted, name, segment)
    }

    fn set_option(&self, level: u32, name: u32, value: &[u8]) -> Result<(), Errno> {
        match level {
            tcp_options::SOL_TCP => {
                self.change(&mut |options, noted| tcp_options::set(options, noted, name, value))
            }
            SOL_IP => self.set_ip_option((level, name), value),
            SOL_IPV6 if self.common.family == AF_INET6 => self.set_ip_option((level, name), value),
            _ => Err(Errno::ENOPROTOOPT),
        }
    }

    fn option_was_set(&self, name: u32) {
        let common = &self.common.options;
        let outcome = match name {
            options::REUSE_ADDRESS | options::REUSE_PORT => {
                if let Some(binding) = &self.state.lock().binding {
                    binding.set_reuse(common.has(options::REUSE_ADDRESS), common.has(options::REUSE_PORT));
                }
                Ok(())
            }
            options::KEEP_ALIVE | options::URGENT_INLINE => self.change(&mut |options, _| {
                options.keep_alive = common.has(options::KEEP_ALIVE);
                options.urgent_inline = common.has(options::URGENT_INLINE);
                Ok(())
            }),
            options::SEND_BUFFER | options::SEND_BUFFER_FORCE => self.change(&mut |options, _| {
                options.send_buffer = Some(common.send_buffer() as u32);
                Ok(())
            }),
            options::RECEIVE_BUFFER | options::RECEIVE_BUFFER_FORCE => self.change(&mut |options, _| {
                options.receive_buffer = Some(common.receive_buffer() as u32);
                Ok(())
            }),
            _ => Ok(()),
        };
        debug_assert_eq!(outcome, Ok(()), "these changes are always taken");
    }

    fn buffer_sizes(&self) -> Option<(u32, u32)> {
        let (sent, received) = {
            let state = self.state.lock();
            (state.options.send_buffer, state.options.receive_buffer)
        };
        let now = self.stream().map_or(BUFFERS, |stream| stream.look(Connection::buffer_sizes));
        Some((sent.unwrap_or(now.0), received.unwrap_or(now.1)))
    }

    fn ioctl(&self, request: u32, argument: usize, memory: &mut dyn UserMemory) -> fs::Result<usize> {
        let answer = match request {
            SIOCATMARK => self.stream().map_or(0, |stream| u32::from(stream.look(Connection::at_mark))),
            SIOCOUTQNSD if self.listens() => return Err(Errno::EINVAL.into()),
            SIOCOUTQNSD => self.stream().map_or(0, |stream| stream.look(Connection::unsent) as u32),
            _ => return Err(Errno::ENOTTY.into()),
        };
        memory.write(argument, &answer.to_ne_bytes())?;
        Ok(0)
    }

    fn close(&self) {
        let phase = core::mem::replace(&mut self.state.lock().phase, Phase::Idle);
        end(&phase, self.common.options.linger() == Some(0));
        self.state.lock().binding = None;
    }
}

impl StreamSocket {
    fn ip_option(&self, name: names::Name) -> Result<OptionValue, Errno> {
        if matches!(name, names::MTU | names::MTU_V6) {
            let stream = self.stream().ok_or(Errno::ENOTCONN)?;
            let mtu = stack().mtu_to(&to_packets(stream.flow().remote.address)).ok_or(Errno::ENOTCONN)?;
            return Ok(options::value_of(mtu));
        }
        self.ip.told(name)
    }

    fn set_ip_option(&self, name: names::Name, value: &[u8]) -> Result<(), Errno> {
        if matches!(name, names::GROUP_TTL | names::GROUP_INTERFACE) {
            return Err(Errno::EINVAL);
        }
        if name == names::ONLY_V6 && self.state.lock().binding.is_some() {
            return Err(Errno::EINVAL);
        }
        let set = self.ip.set(name, value)?;
        if name == names::TOS {
            // The last bits are the protocol's own (RFC 3168).
            self.ip.store(name, set & !3);
        }
        Ok(())
    }
}
