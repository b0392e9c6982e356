//! Sockets between this machine and its host, and within this machine: vsock(7), with what `net/vmw_vsock` of Linux says.
//!
//! Packets that come in change a socket's state ([`connection`]), and so do calls, each under its lock; what they send goes to [`link`] under the same
//! lock. The table's lock, and a way's, are taken after it.

mod connection;
mod device;
pub mod link;
mod options;
mod packet;
mod table;

use alloc::collections::VecDeque;
use alloc::sync::{Arc, Weak};

use isopod_fs::file::Ready;
use isopod_fs::{self as fs, Capabilities, Errno, Sink, Source};
use isopod_hal::clock;
use isopod_hal::sync::SpinLock;
use zerocopy::{FromBytes, IntoBytes};

use super::options::OptionValue;
use super::ring::Ring;
use super::{Address, Common, Incoming, Kind, MessageFlags, Outgoing, Shutdown, Socket, limits};
use crate::process::Thread;
use crate::sched;
use connection::{Credit, Message};
pub use device::Device;
use link::Way;
use options::Settings;
use packet::{Place, operation};

/// `AF_VSOCK`
pub const AF_VSOCK: u16 = 40;
/// `VMADDR_CID_ANY`
const CID_ANY: u32 = u32::MAX;
/// `VMADDR_CID_LOCAL`
const CID_LOCAL: u32 = 1;
/// `VMADDR_PORT_ANY`
const PORT_ANY: u32 = u32::MAX;
/// The last port that only privileged programs may have (`LAST_RESERVED_PORT`).
const LAST_RESERVED: u32 = 1023;
/// How long a socket that was closed waits for its peer to be done with it, in nanoseconds (`VSOCK_CLOSE_TIMEOUT`).
const CLOSE_TIME: u64 = 8_000_000_000;

/// No place.
const NOWHERE: Place = Place { port: PORT_ANY, cid: CID_ANY };

/// A socket of `AF_VSOCK`.
pub struct VsockSocket {
    common: Common,
    me: Weak<Self>,
    state: SpinLock<State>,
}

/// How far a socket has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Phase {
    #[default]
    Idle,
    Listening,
    Connecting,
    Connected,
    /// The connection has ended, and all that came by it was received.
    Over,
}

struct State {
    phase: Phase,
    local: Place,
    remote: Place,
    way: Option<Way>,
    /// A caller of connect(2) waits to hear how that went.
    awaited: bool,
    /// shutdown(2) was called.
    left: bool,
    /// No descriptor refers to it any more.
    closed: bool,
    /// The connection has ended.
    done: bool,
    shutdown: Shutdown,
    /// What the peer will not do any more.
    peer_shutdown: Shutdown,
    error: Option<Errno>,
    /// Connections that wait for accept(2), and how many may.
    arrivals: VecDeque<Arc<VsockSocket>>,
    backlog: usize,
    bytes: Ring,
    /// Of one that receives messages: those that are whole, and bytes of the one that is not.
    messages: VecDeque<Message>,
    unfinished: usize,
    credit: Credit,
    settings: Settings,
}

/// A new socket. ENODEV for datagrams, which no way takes; EPROTONOSUPPORT, ESOCKTNOSUPPORT
pub fn new(kind: Kind, protocol: i32) -> Result<Arc<VsockSocket>, Errno> {
    if protocol != 0 && protocol != i32::from(AF_VSOCK) {
        return Err(Errno::EPROTONOSUPPORT);
    }
    match kind {
        Kind::Stream | Kind::Sequence => Ok(VsockSocket::new(kind, Settings::default())),
        Kind::Datagram => Err(Errno::ENODEV),
        Kind::Raw => Err(Errno::ESOCKTNOSUPPORT),
    }
}

/// `struct sockaddr_vm`. EINVAL for what is none.
fn parse(address: &Address) -> Result<Place, Errno> {
    /// `VMADDR_FLAG_TO_HOST`
    const TO_HOST: u8 = 1;
    let rest: &[u8; 14] = address.rest().first_chunk().ok_or(Errno::EINVAL)?;
    if address.family() != Some(AF_VSOCK) || rest[10] & !TO_HOST != 0 {
        return Err(Errno::EINVAL);
    }
    Place::read_from_bytes(&rest[2..10]).map_err(|_| Errno::EINVAL)
}

fn shown(place: Place) -> Address {
    let mut rest = [0; 14];
    rest[2..10].copy_from_slice(place.as_bytes());
    Address::new(AF_VSOCK, &rest)
}

impl VsockSocket {
    fn new(kind: Kind, settings: Settings) -> Arc<Self> {
        let state = State {
            phase: Phase::Idle,
            local: NOWHERE,
            remote: NOWHERE,
            way: None,
            awaited: false,
            left: false,
            closed: false,
            done: false,
            shutdown: Shutdown::empty(),
            peer_shutdown: Shutdown::empty(),
            error: None,
            arrivals: VecDeque::new(),
            backlog: 0,
            bytes: Ring::default(),
            messages: VecDeque::new(),
            unfinished: 0,
            credit: Credit::new(settings.size),
            settings,
        };
        Arc::new_cyclic(|me| Self {
            common: Common::new(AF_VSOCK, kind, 0),
            me: Weak::clone(me),
            state: SpinLock::new(state),
        })
    }

    fn is_stream(&self) -> bool {
        self.common.kind == Kind::Stream
    }

    /// Readiness may have changed.
    fn wake(&self) {
        self.common.changed.wake_all();
    }

    /// Begins to connect (`vsock_connect`). EINVAL, ENODEV, ESOCKTNOSUPPORT, EADDRNOTAVAIL
    fn begin(&self, state: &mut State, address: &Address) -> Result<u64, Errno> {
        let remote = parse(address)?;
        let way = if remote.cid == CID_LOCAL || Some(remote.cid) == link::own_cid() {
            Way::Local
        } else {
            let knows_messages = link::host().ok_or(Errno::ENODEV)?;
            if !self.is_stream() && !knows_messages {
                return Err(Errno::ESOCKTNOSUPPORT);
            }
            Way::Host
        };
        if state.local.port == PORT_ANY {
            state.local = table::bind(&self.me, NOWHERE)?;
        }
        table::connect(&self.me, state.local.port, remote, way)?;
        (state.remote, state.way, state.phase, state.error) = (remote, Some(way), Phase::Connecting, None);
        self.tell(state, operation::REQUEST, 0);
        Ok(clock::monotonic_ns().saturating_add(state.settings.connect_time))
    }

    /// Waits for the peer to answer, or to be done with a socket that was closed, but not for ever.
    async fn expect(self: Arc<Self>, closed: bool, deadline: u64) {
        let settled = || {
            let state = self.state.lock();
            let settled = if closed { state.done } else { state.phase != Phase::Connecting };
            settled.then_some(())
        };
        if sched::timeout_at(deadline, self.common.changed.until(settled)).await.is_none() {
            let mut state = self.state.lock();
            if state.phase == Phase::Connecting {
                self.fail(&mut state, Errno::ETIMEDOUT);
            } else if closed && !state.done {
                self.tell(&mut state, operation::RESET, 0);
                state.end();
            }
            drop(state);
            self.wake();
        }
        if closed {
            table::remove(&self, true);
        }
    }
}

impl Socket for VsockSocket {
    fn common(&self) -> &Common {
        &self.common
    }

    fn bind(&self, caller: &Thread, address: &Address) -> fs::Result<()> {
        let at = parse(address)?;
        let mut state = self.state.lock();
        if state.local.port != PORT_ANY {
            return Err(Errno::EINVAL.into());
        }
        if ![CID_ANY, CID_LOCAL].contains(&at.cid) && Some(at.cid) != link::own_cid() {
            return Err(Errno::EADDRNOTAVAIL.into());
        }
        if at.port <= LAST_RESERVED && !caller.identity().capable(Capabilities::NET_BIND_SERVICE) {
            return Err(Errno::EACCES.into());
        }
        state.local = table::bind(&self.me, at)?;
        Ok(())
    }

    fn listen(&self, _: &Thread, backlog: u32) -> Result<(), Errno> {
        let mut state = self.state.lock();
        if !matches!(state.phase, Phase::Idle | Phase::Listening) || state.local.port == PORT_ANY {
            return Err(Errno::EINVAL);
        }
        state.backlog = u64::from(backlog).min(limits::BACKLOG_MAX.get()) as usize;
        state.phase = Phase::Listening;
        Ok(())
    }

    fn accept(&self, _: bool) -> Result<Arc<dyn Socket>, Errno> {
        let mut state = self.state.lock();
        if state.phase != Phase::Listening {
            return Err(Errno::EINVAL);
        }
        Ok(state.arrivals.pop_front().ok_or(Errno::EAGAIN)?)
    }

    fn connect(&self, _: &Thread, address: &Address, waiting: bool) -> fs::Result<()> {
        let mut state = self.state.lock();
        let phase = state.phase;
        let awaited = phase != Phase::Connecting && core::mem::take(&mut state.awaited);
        let outcome = match phase {
            Phase::Connected | Phase::Over if state.left => Err(Errno::EINVAL),
            Phase::Connected | Phase::Over if awaited => Ok(()),
            Phase::Connected | Phase::Over => Err(Errno::EISCONN),
            Phase::Connecting => Err(if waiting { Errno::EAGAIN } else { Errno::EALREADY }),
            Phase::Listening => Err(Errno::EINVAL),
            Phase::Idle if awaited && state.error.is_some() => state.error.take().map_or(Ok(()), Err),
            Phase::Idle => {
                let deadline = self.begin(&mut state, address)?;
                state.awaited = waiting;
                if let Some(socket) = self.me.upgrade() {
                    sched::spawn(socket.expect(false, deadline));
                }
                Err(if waiting { Errno::EAGAIN } else { Errno::EINPROGRESS })
            }
        };
        Ok(outcome?)
    }

    fn name(&self) -> Result<Address, Errno> {
        Ok(shown(self.state.lock().local))
    }

    fn peer_name(&self) -> Result<Address, Errno> {
        let state = self.state.lock();
        let connected = matches!(state.phase, Phase::Connected | Phase::Over) && !state.left;
        connected.then(|| shown(state.remote)).ok_or(Errno::ENOTCONN)
    }

    fn shut_down(&self, how: Shutdown) -> Result<(), Errno> {
        let mut state = self.state.lock();
        if matches!(state.phase, Phase::Idle | Phase::Listening) {
            return Err(Errno::ENOTCONN);
        }
        state.left = true;
        state.shutdown |= how;
        self.tell(&mut state, operation::SHUTDOWN, how.bits().into());
        drop(state);
        self.wake();
        Ok(())
    }

    fn send(&self, message: &mut Outgoing, source: &mut dyn Source) -> fs::Result<usize> {
        if message.flags.contains(MessageFlags::OUT_OF_BAND) {
            return Err(Errno::EOPNOTSUPP.into());
        }
        let mut state = self.state.lock();
        if message.to.is_some() {
            let connected = matches!(state.phase, Phase::Connected | Phase::Over) && !state.left;
            return Err(if connected { Errno::EISCONN } else { Errno::EOPNOTSUPP }.into());
        }
        if state.shutdown.contains(Shutdown::SEND) || state.peer_shutdown.contains(Shutdown::RECEIVE) {
            return Err(Errno::EPIPE.into());
        }
        if state.phase != Phase::Connected {
            return Err(Errno::ENOTCONN.into());
        }
        if let Some(error) = state.error {
            return Err(error.into());
        }
        Ok(self.send_data(&mut state, message.flags, source)?)
    }

    fn receive(&self, message: &mut Incoming, sink: &mut dyn Sink) -> Result<usize, Errno> {
        let mut state = self.state.lock();
        if state.phase != Phase::Connected {
            return if state.done { Ok(0) } else { Err(Errno::ENOTCONN) };
        }
        if message.flags.contains(MessageFlags::OUT_OF_BAND) {
            return Err(Errno::EOPNOTSUPP);
        }
        if state.shutdown.contains(Shutdown::RECEIVE) || sink.remaining() == 0 {
            return Ok(0);
        }
        if !state.has_data(1) {
            return match state.error {
                Some(error) => Err(error),
                None if state.peer_shutdown.contains(Shutdown::SEND) => Ok(0),
                None => Err(Errno::EAGAIN),
            };
        }
        self.receive_data(&mut state, message, sink)
    }

    fn ready(&self) -> Ready {
        let state = self.state.lock();
        let (mine, theirs) = (state.shutdown, state.peer_shutdown);
        let mut ready = Ready::empty();
        ready.set(Ready::ERROR, state.error.is_some());
        ready.set(Ready::HANG_UP, mine.is_all() || (mine & theirs).contains(Shutdown::SEND));
        if mine.contains(Shutdown::RECEIVE) || theirs.contains(Shutdown::SEND) {
            ready |= Ready::READ_HANG_UP | Ready::READABLE;
        }
        if !state.arrivals.is_empty() || state.has_data(self.common.options.receive_low_water()) {
            ready |= Ready::READABLE;
        }
        let writable = match (state.phase, state.way) {
            (Phase::Connected, Some(way)) => state.credit.space() > 0 && link::has_room(way, &self.me),
            (Phase::Idle | Phase::Over, _) => true,
            _ => false,
        };
        ready.set(Ready::WRITABLE, writable && !mine.contains(Shutdown::SEND));
        ready
    }

    fn readable_bytes(&self) -> Result<usize, Errno> {
        let state = self.state.lock();
        if state.phase == Phase::Listening { Err(Errno::EINVAL) } else { Ok(state.bytes.len()) }
    }

    /// What was sent is on its way, or has arrived: nobody tells which.
    fn unsent_bytes(&self) -> Result<usize, Errno> {
        Err(Errno::EOPNOTSUPP)
    }

    fn take_error(&self) -> Option<Errno> {
        self.state.lock().error.take()
    }

    fn listens(&self) -> bool {
        self.state.lock().phase == Phase::Listening
    }

    fn option(&self, level: u32, name: u32) -> Result<OptionValue, Errno> {
        if level != AF_VSOCK.into() {
            return Err(Errno::ENOPROTOOPT);
        }
        self.state.lock().settings.get(name)
    }

    fn set_option(&self, level: u32, name: u32, value: &[u8]) -> Result<(), Errno> {
        if level != AF_VSOCK.into() {
            return Err(Errno::ENOPROTOOPT);
        }
        let mut state = self.state.lock();
        state.settings.set(name, value)?;
        let size = state.settings.size;
        if state.credit.offer(size) && state.phase == Phase::Connected {
            self.tell(&mut state, operation::CREDIT, 0);
        }
        Ok(())
    }

    fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        let arrivals = core::mem::take(&mut state.arrivals);
        let connected = state.phase == Phase::Connected && !state.done;
        if connected && state.peer_shutdown.is_all() {
            self.tell(&mut state, operation::RESET, 0);
        } else if connected && !state.shutdown.is_all() {
            self.tell(&mut state, operation::SHUTDOWN, Shutdown::all().bits().into());
        }
        let waits = connected && !state.peer_shutdown.is_all();
        if !waits {
            state.end();
        }
        state.shutdown = Shutdown::all();
        state.bytes.clear();
        drop(state);
        self.wake();
        if let Some(socket) = self.me.upgrade().filter(|_| waits) {
            sched::spawn(socket.expect(true, clock::monotonic_ns() + CLOSE_TIME));
        } else {
            table::remove(self, true);
        }
        for arrival in arrivals {
            arrival.close();
        }
    }
}

#[cfg(test)]
mod tests;
