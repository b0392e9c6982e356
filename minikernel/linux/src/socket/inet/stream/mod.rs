//! Sockets of TCP: tcp(7).

mod closing;
mod connect;
mod settings;
mod transfer;

use alloc::sync::{Arc, Weak};
use core::sync::atomic::Ordering;

use isopod_fs::file::{OpenFile, Ready, UserMemory};
use isopod_fs::{self as fs, Errno, Sink, Source};
use isopod_hal::sync::SpinLock;
use isopod_hal::sync::wait::WaitQueue;
use isopod_net::address::{ANY, ANY_V4, Address as IpAddress, SocketAddress};
use isopod_net::segments::{Below, to_packets};
use isopod_net::tcp::{
    self, Binding, Connection, Endpoint, Events, Listener, Observer, SocketOptions, State as Stage, Stream,
};

pub use closing::Lingering;

use super::address::shown;
use super::options::{self as names, IpOptions};
use super::tcp_options::Noted;
use super::{AF_INET, AF_INET6, limits, table, tcp_options, with_stack};
use crate::ipc::sigio::Owner;
use crate::process::Thread;
use crate::socket::options::OptionValue;
use crate::socket::{Address, Common, Incoming, Kind, Outgoing, Shutdown, Socket};

/// A socket of TCP.
#[derive(Debug)]
pub struct StreamSocket {
    common: Common,
    ip: IpOptions,
    owner: u32,
    observer: Arc<Wakes>,
    /// It is locked after a connection, never before one.
    state: SpinLock<State>,
    _place: table::Place,
}

/// Wakes who waits for the socket, and tells the owner of its file of urgent data.
#[derive(Debug)]
struct Wakes(Arc<WaitQueue>, SpinLock<Weak<OpenFile>>);

impl Observer for Wakes {
    fn notify(&self, events: Events) {
        self.0.wake_all();
        if events.contains(Events::URGENT) {
            let file = self.1.lock().upgrade();
            if let Some(file) = file {
                Owner::tell_urgent(&file);
            }
        }
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
    /// Options were set while a connection was begun with those before.
    outdated: bool,
}

/// How far a socket has come.
#[derive(Debug, Clone)]
enum Phase {
    /// Neither connected nor listening.
    Idle,
    /// A connection is being made, without the lock.
    Beginning,
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
        Error::HostUnreachable => Errno::EHOSTUNREACH,
        Error::NetworkUnreachable => Errno::ENETUNREACH,
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
        let observer = Arc::new(Wakes(Arc::clone(&common.changed), SpinLock::new(Weak::new())));
        Arc::new_cyclic(|socket: &Weak<Self>| {
            let place = table::STREAMS.enter(Weak::clone(socket) as Weak<dyn table::Listed>);
            Self { common, ip, owner, observer, state: SpinLock::new(state), _place: place }
        })
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
            options: SocketOptions { manners: settings::manners(&ip, 0), ..limits::stream_options(family) },
            outdated: false,
        };
        Self::with_parts(common, ip, caller.identity().users.file, state)
    }

    /// The socket of a connection that came to this one.
    fn accepted(&self, stream: &Arc<Stream>) -> Arc<Self> {
        let mut common = Common::new(self.common.family, Kind::Stream, self.common.protocol);
        common.options = self.common.options.duplicate();
        let (noted, ended) = {
            let state = self.state.lock();
            (state.noted.inherited(), state.ended)
        };
        take_over_ends(ended, stream);
        let state = State {
            local: place(&stream.flow().local),
            binding: None,
            ended,
            error: None,
            noted,
            outdated: false,
            options: stream.look(|connection| connection.options().clone()),
            phase: Phase::Connected(Arc::clone(stream)),
        };
        let socket = Self::with_parts(common, self.ip.duplicate(), self.owner, state);
        stream.observe(Some(Arc::clone(&socket.observer) as Arc<dyn Observer>));
        socket
    }

    fn is_idle(&self) -> bool {
        matches!(self.state.lock().phase, Phase::Idle)
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
}

/// A connection has what shutdown(2) did to its socket, or to the one that listened, before (`sk_shutdown` in Linux).
fn take_over_ends(ended: Shutdown, stream: &Stream) {
    if !ended.is_empty() {
        let (read, write) = (ended.contains(Shutdown::RECEIVE), ended.contains(Shutdown::SEND));
        stream.touch(|connection| connection.begin_shut_down(read, write));
    }
}

/// Ends what a socket was in the middle of, at once if need be.
fn end(phase: &Phase, abort: bool) {
    match phase {
        // Whoever begins a connection sees that it is not wanted any more.
        Phase::Idle | Phase::Beginning => {}
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

impl table::Listed for StreamSocket {
    fn shown(&self) -> Option<table::Shown> {
        let state = self.state.lock();
        let (phase, local, ended) = (state.phase.clone(), state.local, state.ended.bits());
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
            room: 0,
            ended,
            only_v6: self.only_v6(),
        };
        match phase {
            // One that is bound is in no table (`tcp_seq_next`).
            Phase::Idle | Phase::Beginning => return None,
            Phase::Listening(listener) => {
                shown.state = tcp_options::LISTENS;
                (shown.receiving, shown.room) = listener.waiting();
            }
            Phase::Connecting(stream) | Phase::Connected(stream) => {
                shown.remote = place(&stream.flow().remote);
                let (stage, sending, receiving, (read, write)) = stream.look(|connection| {
                    (connection.state(), connection.queued(), connection.readable(), connection.ended())
                });
                if stage == Stage::Closed {
                    return None;
                }
                (shown.state, shown.sending, shown.receiving) =
                    (tcp_options::number_of(stage), sending, receiving);
                shown.ended = u8::from(read) | u8::from(write) << 1;
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
        self.take_place(caller, address)
    }

    fn listen(&self, caller: &Thread, backlog: u32) -> Result<(), Errno> {
        self.begin_to_listen(caller, backlog)
    }

    fn accept(&self, _: bool) -> Result<Arc<dyn Socket>, Errno> {
        let Phase::Listening(listener) = self.state.lock().phase.clone() else { return Err(Errno::EINVAL) };
        let stream = listener.accept().ok_or(Errno::EAGAIN)?;
        Ok(self.accepted(&stream))
    }

    fn connect(&self, caller: &Thread, address: &Address, waiting: bool) -> fs::Result<()> {
        self.connect_to(caller, address, waiting)
    }

    fn is_connecting(&self) -> bool {
        matches!(self.state.lock().phase, Phase::Connecting(_))
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
            Phase::Idle | Phase::Beginning => {
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
                if stage == Stage::SynSent {
                    // Nothing is left of it (`inet_shutdown`).
                    self.disconnect();
                } else {
                    with(&stream, |connection, now, out| connection.shut_down(now, read, write, out));
                }
                self.common.changed.wake_all();
                if stage == Stage::Closed { Err(Errno::ENOTCONN) } else { Ok(()) }
            }
        }
    }

    fn send(&self, message: &mut Outgoing, source: &mut dyn Source) -> fs::Result<usize> {
        self.send_from(message, source)
    }

    fn receive(&self, message: &mut Incoming, sink: &mut dyn Sink) -> Result<usize, Errno> {
        self.receive_to(message, sink)
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
            Phase::Beginning => {}
            Phase::Idle => {
                ready |= Ready::WRITABLE | Ready::HANG_UP;
                if ended.contains(Shutdown::RECEIVE) {
                    ready |= Ready::READABLE | Ready::READ_HANG_UP;
                }
            }
            Phase::Listening(listener) => ready.set(Ready::READABLE, listener.waiting().0 > 0),
            Phase::Connecting(stream) | Phase::Connected(stream) => {
                ready |= Ready::from_bits_truncate(stream.look(Connection::readiness).bits());
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
        self.stream()?.touch(Connection::take_error).map(tcp_errno)
    }

    fn listens(&self) -> bool {
        matches!(self.state.lock().phase, Phase::Listening(_))
    }

    fn option(&self, level: u32, name: u32) -> Result<OptionValue, Errno> {
        self.told(level, name)
    }

    fn set_option(&self, level: u32, name: u32, value: &[u8]) -> Result<(), Errno> {
        self.set(level, name, value)
    }

    fn option_was_set(&self, name: u32) {
        self.take_over(name);
    }

    fn buffer_sizes(&self) -> Option<(u32, u32)> {
        let (sent, received) = {
            let state = self.state.lock();
            (state.options.send_buffer, state.options.receive_buffer)
        };
        let first = || (limits::STREAM_SEND[1].get() as u32, limits::STREAM_RECEIVE[1].get() as u32);
        let now = self.stream().map_or_else(first, |stream| stream.look(Connection::buffer_sizes));
        Some((sent.unwrap_or(now.0), received.unwrap_or(now.1)))
    }

    fn ioctl(&self, request: u32, argument: usize, memory: &mut dyn UserMemory) -> fs::Result<usize> {
        self.answer(request, argument, memory)
    }

    fn opened(&self, file: &Arc<OpenFile>) {
        *self.observer.1.lock() = Arc::downgrade(file);
    }

    fn close(&self) {
        let phase = core::mem::replace(&mut self.state.lock().phase, Phase::Idle);
        let lingers = self.common.options.linger();
        let waited_for = match (&phase, lingers) {
            (Phase::Connecting(stream) | Phase::Connected(stream), Some(seconds @ 1..)) => {
                Lingering::begin(stream, &self.common.changed, seconds)
            }
            _ => false,
        };
        if !waited_for {
            end(&phase, lingers == Some(0));
        }
        self.state.lock().binding = None;
    }
}
