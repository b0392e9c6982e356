//! Connections: listen(2), connect(2), accept(2), shutdown(2), and the end of a socket.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use isopod_fs::{self as fs, Errno};

use super::name::check;
use super::{Address, Kind, Peer, Phase, Shutdown, State, UnixSocket, table, wake_each};
use crate::process::Thread;
use crate::socket::{AF_UNSPEC, limits};

/// Two sockets that are connected: socketpair(2).
pub fn pair(kind: Kind, caller: &Thread) -> (Arc<UnixSocket>, Arc<UnixSocket>) {
    let (first, second) = (UnixSocket::new(kind), UnixSocket::new(kind));
    for (socket, peer) in [(&first, &second), (&second, &first)] {
        let mut state = socket.state.lock();
        state.phase = Phase::Connected;
        state.peer = Some(Arc::clone(peer));
        state.peer_was = Some(Peer::of(caller));
    }
    (first, second)
}

impl UnixSocket {
    /// listen(2)
    pub(super) fn start_listening(&self, caller: &Thread, backlog: u32) -> Result<(), Errno> {
        if !matches!(self.kind(), Kind::Stream | Kind::Sequence) {
            return Err(Errno::EOPNOTSUPP);
        }
        let mut state = self.state.lock();
        if state.name.is_none() || state.phase == Phase::Connected {
            return Err(Errno::EINVAL);
        }
        state.phase = Phase::Listening;
        self.listening.store(true, Ordering::Release);
        state.backlog = u64::from(backlog).min(limits::BACKLOG_MAX.get()) as usize;
        state.peer_was = Some(Peer::of(caller));
        // There may be more room than before.
        let waiting = state.made_room(0);
        drop(state);
        wake_each(waiting);
        Ok(())
    }

    /// connect(2) of a stream: the listening socket gets the other end, already connected.
    pub(super) fn connect_to_listener(&self, caller: &Thread, address: &Address) -> fs::Result<()> {
        check(address)?;
        self.name_itself_to_send()?;
        let listener = self.find(caller, address)?;
        let arrival = Self::new(self.kind());
        let mut other = listener.state.lock();
        if other.dead || other.phase != Phase::Listening || other.shutdown.contains(Shutdown::RECEIVE) {
            return Err(Errno::ECONNREFUSED.into());
        }
        if other.arrivals.len() > other.backlog {
            other.await_room(self)?;
            return Err(Errno::EAGAIN.into());
        }
        // One that listens, such as this listener itself, connects nowhere: nobody who holds the lock of one that does waits for another's.
        if self.listening.load(Ordering::Acquire) {
            return Err(Errno::EINVAL.into());
        }
        other.arrivals.try_reserve(1)?;
        let mut state = self.state.lock();
        match state.phase {
            Phase::Alone => {}
            Phase::Connected => return Err(Errno::EISCONN.into()),
            Phase::Listening => return Err(Errno::EINVAL.into()),
        }
        *arrival.state.lock() = State {
            phase: Phase::Connected,
            name: other.name.clone(),
            peer: self.me.upgrade(),
            peer_was: Some(Peer::of(caller)),
            ..State::default()
        };
        arrival.common.options.inherit_received(&listener.common.options);
        state.phase = Phase::Connected;
        state.peer = Some(Arc::clone(&arrival));
        state.peer_was.clone_from(&other.peer_was);
        other.arrivals.push_back(arrival);
        drop(state);
        drop(other);
        // Each arrival is for one of those that accept.
        listener.common.changed.wake_one();
        self.wake();
        Ok(())
    }

    /// connect(2) of datagrams: where those without an address go, and from where alone some are taken. `AF_UNSPEC` undoes it.
    pub(super) fn connect_datagrams(&self, caller: &Thread, address: &Address) -> fs::Result<()> {
        let peer = if address.family().ok_or(Errno::EINVAL)? == AF_UNSPEC {
            None
        } else {
            check(address)?;
            self.name_itself_to_send()?;
            let peer = self.find(caller, address)?;
            if !peer.takes_from(self) {
                return Err(Errno::EPERM.into());
            }
            Some(peer)
        };
        let mut state = self.state.lock();
        state.phase = if peer.is_some() { Phase::Connected } else { Phase::Alone };
        let same = matches!((&state.peer, &peer), (Some(old), Some(new)) if Arc::ptr_eq(old, new));
        let before = core::mem::replace(&mut state.peer, peer);
        // What the one before has sent is lost, and it hears of that.
        let Some(before) = before.filter(|_| !same) else { return Ok(()) };
        let messages = core::mem::take(&mut state.messages);
        state.bytes.clear();
        let waiting = state.made_room(0);
        drop(state);
        wake_each(waiting);
        if !messages.is_empty() {
            let mut other = before.state.lock();
            if !other.dead && other.peer.as_ref().is_some_and(|peer| self.is(peer)) {
                other.error = Some(Errno::ECONNRESET);
                drop(other);
                before.wake();
            }
        }
        for message in messages {
            message.settle();
        }
        Ok(())
    }

    /// accept(2)
    pub(super) fn next_arrival(&self, waiting: bool) -> Result<Arc<Self>, Errno> {
        if !matches!(self.kind(), Kind::Stream | Kind::Sequence) {
            return Err(Errno::EOPNOTSUPP);
        }
        let mut state = self.state.lock();
        if state.phase != Phase::Listening {
            return Err(Errno::EINVAL);
        }
        let Some(arrival) = state.arrivals.pop_front() else {
            let over = waiting && state.shutdown.contains(Shutdown::RECEIVE);
            return Err(if over { Errno::EINVAL } else { Errno::EAGAIN });
        };
        let left = state.arrivals.len();
        let room = state.made_room(left);
        drop(state);
        wake_each(room);
        Ok(arrival)
    }

    /// shutdown(2): what one side no longer sends, the other no longer receives.
    pub(super) fn end_directions(&self, how: Shutdown) {
        let mut state = self.state.lock();
        state.shutdown |= how;
        let connects = matches!(self.kind(), Kind::Stream | Kind::Sequence);
        let peer = state.peer.clone().filter(|_| connects);
        drop(state);
        self.wake();
        if let Some(peer) = peer {
            let mut theirs = Shutdown::empty();
            theirs.set(Shutdown::SEND, how.contains(Shutdown::RECEIVE));
            theirs.set(Shutdown::RECEIVE, how.contains(Shutdown::SEND));
            peer.state.lock().shutdown |= theirs;
            peer.wake();
        }
    }

    /// close(2) of the last descriptor. What it has not received is lost: the other side of a connection hears of that.
    pub(super) fn end(&self) {
        let mut state = self.state.lock();
        state.dead = true;
        state.shutdown = Shutdown::all();
        let peer = state.peer.take();
        let messages = core::mem::take(&mut state.messages);
        let unread = state.bytes.len();
        state.bytes.clear();
        let arrivals = core::mem::take(&mut state.arrivals);
        let waiting = state.made_room(0);
        let (name, path) = (state.name.clone(), state.path.take());
        drop(state);
        if let Some(name) = name.filter(|name| name.bytes().get(2) == Some(&0)) {
            table::unname(self, &name);
        }
        drop(path);
        wake_each(waiting);
        for arrival in arrivals {
            // Whoever has connected learns that nobody came.
            let client = arrival.state.lock().peer.clone();
            if let Some(client) = client {
                client.state.lock().error = Some(Errno::ECONNRESET);
            }
            arrival.end();
        }
        if let Some(peer) = peer.filter(|_| matches!(self.kind(), Kind::Stream | Kind::Sequence)) {
            let mut other = peer.state.lock();
            other.shutdown = Shutdown::all();
            if !messages.is_empty() {
                other.error = Some(Errno::ECONNRESET);
            }
            drop(other);
            if self.kind() == Kind::Stream {
                peer.charged.fetch_sub(unread, Ordering::AcqRel);
            }
            peer.wake();
        }
        for message in messages {
            message.settle();
        }
    }

    /// Whether messages of `sender` are taken: by one that is connected, only those of its peer.
    pub(super) fn takes_from(&self, sender: &Self) -> bool {
        self.state.lock().peer.as_ref().is_none_or(|peer| sender.is(peer))
    }
}
