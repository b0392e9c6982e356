//! Sockets between processes of this machine: unix(7).
//!
//! A message lies in the queue of the socket that is to receive it, and counts against the buffer of the one that sent it. Of a connection, each side
//! knows the other; a side that is closed or shut down says so in the other's state, so that whoever sends or receives looks at one lock at a time.
//! Only connect(2) takes two: the listening socket's, then the connecting one's.

mod collect;
mod connect;
mod name;
mod packet;
mod rights;
mod stream;
pub mod table;

use alloc::collections::VecDeque;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use isopod_fs::file::{OpenFile, Ready};
use isopod_fs::vfs::Path;
use isopod_fs::{self as fs, Errno, Sink, Source};
use isopod_hal::sync::SpinLock;

use super::credentials::{Peer, Sender};
use super::options::{self, OptionValue};
use super::ring::Ring;
use super::{
    AF_UNIX, Address, Common, Incoming, Kind, MessageFlags, Outgoing, Shutdown, Socket, limits, socket_of,
};
use crate::process::Thread;
pub use connect::pair;
pub use rights::{FILES_MAX, Rights};

/// A socket of `AF_UNIX`.
#[derive(Debug)]
pub struct UnixSocket {
    common: Common,
    me: Weak<Self>,
    state: SpinLock<State>,
    /// It listens, for whoever must not take its lock to ask.
    listening: AtomicBool,
    /// What it has sent and nobody has received, in bytes and what goes with them.
    charged: AtomicUsize,
    /// One more than where it stands in the list of sockets in flight; 0 if it does not. That list's lock guards it.
    flight: AtomicUsize,
}

/// How far a socket has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Phase {
    #[default]
    Alone,
    Listening,
    Connected,
}

#[derive(Debug, Default)]
struct State {
    phase: Phase,
    /// No descriptor refers to it any more.
    dead: bool,
    shutdown: Shutdown,
    /// For the next call that asks.
    error: Option<Errno>,
    name: Option<Arc<Address>>,
    /// The place of its name in the tree; with it, what leads from there to this socket.
    path: Option<Path>,
    /// The other side, to which messages without an address go.
    peer: Option<Arc<UnixSocket>>,
    /// Who the other side was when it became so; of a listening socket, itself.
    peer_was: Option<Peer>,
    bytes: Ring,
    messages: VecDeque<Message>,
    /// Connections that wait for accept(2).
    arrivals: VecDeque<Arc<UnixSocket>>,
    /// How many messages or arrivals may wait before others have to.
    backlog: usize,
    /// Sockets that wait for room here.
    waiting: VecDeque<Weak<UnixSocket>>,
    /// Where the next peek begins (`SO_PEEK_OFF`), if that is wanted.
    peek_offset: Option<usize>,
}

/// A message that waits; of a stream, bytes that were sent alike.
#[derive(Debug)]
struct Message {
    length: usize,
    /// Who sent it, where that is not the peer, and what it is charged.
    from: Option<(Arc<UnixSocket>, usize)>,
    sender: Option<Sender>,
    rights: Rights,
    /// Nothing joins it, even once its files have been received.
    closed: bool,
}

impl UnixSocket {
    /// A new socket.
    pub fn new(kind: Kind) -> Arc<Self> {
        // There are no packets of a lower layer.
        let kind = if kind == Kind::Raw { Kind::Datagram } else { kind };
        let state = State { backlog: limits::MESSAGES_MAX.get() as usize, ..State::default() };
        let socket = Arc::new_cyclic(|me| Self {
            common: Common::new(AF_UNIX, kind, 0),
            me: Weak::clone(me),
            state: SpinLock::new(state),
            listening: AtomicBool::new(false),
            charged: AtomicUsize::new(0),
            flight: AtomicUsize::new(0),
        });
        table::enter(&socket);
        socket
    }

    /// The socket that `file` is, if it is one of this family.
    fn of(file: &OpenFile) -> Option<&Self> {
        let any: &dyn core::any::Any = &**socket_of(file).ok()?;
        any.downcast_ref()
    }

    fn is(&self, other: &Arc<Self>) -> bool {
        core::ptr::eq(self, Arc::as_ptr(other))
    }

    fn kind(&self) -> Kind {
        self.common.kind
    }

    fn wake(&self) {
        self.common.changed.wake_all();
    }

    /// Whether poll(2) calls it writable with so much on its way: not before three quarters of that are free again, so that who waits is not
    /// woken for each message (`unix_writable`).
    fn has_room(&self, charged: usize) -> bool {
        charged * 4 <= self.common.options.send_buffer()
    }

    /// So much of what it sent has been received.
    fn discharge(&self, amount: usize) {
        let before = self.charged.fetch_sub(amount, Ordering::AcqRel);
        match (self.has_room(before), self.has_room(before - amount)) {
            (_, false) => {}
            (false, true) => self.wake(),
            (true, true) => self.common.changed.wake_for_room(),
        }
    }

    /// Whether messages tell this socket who sent them.
    fn passes_credentials(&self) -> bool {
        let options = &self.common.options;
        options.has(options::PASS_CREDENTIALS) || options.has(options::PASS_PIDFD)
    }

    /// Whether it takes files.
    fn passes_rights(&self) -> bool {
        self.common.options.has(options::PASS_RIGHTS)
    }

    /// Who sends: as the message says, or as one of the two sockets wants to know.
    fn sender_to(&self, other: &Self, message: &Outgoing) -> Option<Sender> {
        if message.sender.is_none() && (self.passes_credentials() || other.passes_credentials()) {
            return Some(Sender::current());
        }
        message.sender
    }

    /// Calls `visit` for each file in its queue, and in those of its arrivals.
    fn for_each_file(&self, visit: &mut dyn FnMut(&Arc<OpenFile>)) {
        let state = self.state.lock();
        state.messages.iter().flat_map(|message| message.rights.files()).for_each(&mut *visit);
        for arrival in &state.arrivals {
            arrival.for_each_file(visit);
        }
    }

    /// Moves all files out of its queue, and out of those of its arrivals, as far as there is room for the list of them.
    fn take_rights(&self, into: &mut Vec<Rights>) {
        let mut state = self.state.lock();
        for message in state.messages.iter_mut().filter(|message| message.rights.is_some()) {
            if into.try_reserve(1).is_err() {
                return;
            }
            into.push(core::mem::take(&mut message.rights));
        }
        for arrival in &state.arrivals {
            arrival.take_rights(into);
        }
    }
}

impl State {
    /// EPIPE, or what happened to the connection, for one who wants to send.
    fn check_sending(&mut self) -> Result<(), Errno> {
        match self.error.take() {
            Some(error) => Err(error),
            None if self.shutdown.contains(Shutdown::SEND) => Err(Errno::EPIPE),
            None => Ok(()),
        }
    }

    /// Lets `socket` wait for room here. `ENOMEM`
    fn await_room(&mut self, socket: &UnixSocket) -> Result<(), Errno> {
        if !self.waiting.iter().any(|known| core::ptr::eq(known.as_ptr(), socket)) {
            self.waiting.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
            self.waiting.push_back(Weak::clone(&socket.me));
        }
        Ok(())
    }

    /// Those to be woken when one of the messages or arrivals that wait has gone, so that `left` do: the one that came first, and all when there is nothing
    /// left, for some may have ceased to wait.
    fn made_room(&mut self, left: usize) -> VecDeque<Weak<UnixSocket>> {
        if left == 0 {
            return core::mem::take(&mut self.waiting);
        }
        self.waiting.pop_front().into_iter().collect()
    }
}

/// Wakes sockets that waited for room at another.
fn wake_each(sockets: VecDeque<Weak<UnixSocket>>) {
    for socket in sockets {
        if let Some(socket) = socket.upgrade() {
            socket.wake();
        }
    }
}

impl Socket for UnixSocket {
    fn common(&self) -> &Common {
        &self.common
    }

    fn bind(&self, caller: &Thread, address: &Address) -> fs::Result<()> {
        self.bind_to(caller, address)
    }

    fn listen(&self, caller: &Thread, backlog: u32) -> Result<(), Errno> {
        self.start_listening(caller, backlog)
    }

    fn accept(&self, waiting: bool) -> Result<Arc<dyn Socket>, Errno> {
        Ok(self.next_arrival(waiting)?)
    }

    fn connect(&self, caller: &Thread, address: &Address, _: bool) -> fs::Result<()> {
        match self.kind() {
            Kind::Stream | Kind::Sequence => self.connect_to_listener(caller, address),
            _ => self.connect_datagrams(caller, address),
        }
    }

    fn name(&self) -> Result<Address, Errno> {
        let name = self.state.lock().name.clone();
        Ok(name.map_or_else(|| Address::new(AF_UNIX, &[]), |name| *name))
    }

    fn peer_name(&self) -> Result<Address, Errno> {
        let peer = self.state.lock().peer.clone();
        peer.ok_or(Errno::ENOTCONN)?.name()
    }

    fn shut_down(&self, how: Shutdown) -> Result<(), Errno> {
        self.end_directions(how);
        Ok(())
    }

    fn send(&self, message: &mut Outgoing, source: &mut dyn Source) -> fs::Result<usize> {
        match self.kind() {
            Kind::Stream => Ok(self.send_bytes(message, source)?),
            _ => self.send_packet(message, source),
        }
    }

    fn receive(&self, message: &mut Incoming, sink: &mut dyn Sink) -> Result<usize, Errno> {
        if message.flags.contains(MessageFlags::OUT_OF_BAND) {
            return Err(Errno::EOPNOTSUPP);
        }
        match self.kind() {
            Kind::Stream => self.receive_bytes(message, sink),
            _ => self.receive_packet(message, sink),
        }
    }

    fn ready(&self) -> Ready {
        let state = self.state.lock();
        let mut ready = Ready::empty();
        if state.error.is_some() {
            ready |= Ready::ERROR;
        }
        let connects = matches!(self.kind(), Kind::Stream | Kind::Sequence);
        if state.shutdown.is_all() || connects && state.phase == Phase::Alone {
            ready |= Ready::HANG_UP;
        }
        if state.shutdown.contains(Shutdown::RECEIVE) {
            ready |= Ready::READ_HANG_UP | Ready::READABLE;
        }
        if !state.messages.is_empty() || !state.arrivals.is_empty() {
            ready |= Ready::READABLE;
        }
        if state.phase != Phase::Listening && self.has_room(self.charged.load(Ordering::Acquire)) {
            ready |= Ready::WRITABLE | Ready::WRITE_BAND;
        }
        let peer = if connects { None } else { state.peer.clone() };
        drop(state);
        if let Some(peer) = peer
            && self.must_wait_for(&peer)
        {
            ready -= Ready::WRITABLE | Ready::WRITE_BAND;
        }
        ready
    }

    fn readable_bytes(&self) -> Result<usize, Errno> {
        let state = self.state.lock();
        match self.kind() {
            _ if state.phase == Phase::Listening => Err(Errno::EINVAL),
            Kind::Stream | Kind::Sequence => Ok(state.bytes.len()),
            _ => Ok(state.messages.front().map_or(0, |message| message.length)),
        }
    }

    fn unsent_bytes(&self) -> Result<usize, Errno> {
        Ok(self.charged.load(Ordering::Relaxed))
    }

    fn take_error(&self) -> Option<Errno> {
        self.state.lock().error.take()
    }

    fn listens(&self) -> bool {
        self.state.lock().phase == Phase::Listening
    }

    fn option(&self, level: u32, name: u32) -> Result<OptionValue, Errno> {
        if level != options::SOL_SOCKET {
            return Err(Errno::EOPNOTSUPP);
        }
        let peer = self.state.lock().peer_was.clone();
        match name {
            options::PEER_CREDENTIALS => {
                let Sender { pid, uid, gid } = peer.map_or(Sender::NOBODY, |peer| peer.sender);
                Ok([pid, uid, gid].map(u32::to_le_bytes).concat())
            }
            options::PEER_GROUPS => {
                let groups = peer.ok_or(Errno::ENODATA)?.groups;
                let mut value = Vec::new();
                value.try_reserve_exact(groups.len() * size_of::<u32>()).map_err(|_| Errno::ENOMEM)?;
                groups.iter().for_each(|group| value.extend_from_slice(&group.to_le_bytes()));
                Ok(value)
            }
            options::PEEK_OFFSET => {
                let offset = self.state.lock().peek_offset;
                Ok(options::value_of(offset.map_or(u32::MAX, |offset| offset as u32)))
            }
            _ => Err(Errno::ENOPROTOOPT),
        }
    }

    fn set_option(&self, level: u32, name: u32, value: &[u8]) -> Result<(), Errno> {
        match name {
            _ if level != options::SOL_SOCKET => Err(Errno::EOPNOTSUPP),
            options::PEEK_OFFSET => {
                let offset = options::number(value)?;
                self.state.lock().peek_offset = usize::try_from(offset).ok();
                Ok(())
            }
            _ => Err(Errno::ENOPROTOOPT),
        }
    }

    fn peer(&self) -> Option<Peer> {
        self.state.lock().peer_was.clone()
    }

    fn close(&self) {
        self.end();
        collect::after_close();
    }
}

#[cfg(test)]
mod tests;
