//! States (RFC 9293, section 3.3.2), and what whoever waits learns of them.

use super::Connection;
use crate::tcp::memory::Pressure;

/// The states of RFC 9293, section 3.3.2. LISTEN is a [`Listener`](crate::tcp::Listener), TIME-WAIT a
/// smaller object that [`Tcp`](crate::tcp::Tcp) keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the RFC's")]
pub enum State {
    SynSent,
    SynReceived,
    Established,
    FinWait1,
    FinWait2,
    CloseWait,
    Closing,
    LastAck,
    Closed,
}

bitflags::bitflags! {
    /// What happened to a connection.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Events: u16 {
        /// There may be something to read, or the end of it.
        const READABLE = 1;
        /// There may be room to write.
        const WRITABLE = 2;
        /// The handshake is complete.
        const CONNECTED = 4;
        /// The peer sends no more.
        const PEER_CLOSED = 8;
        /// The connection has failed.
        const ERROR = 16;
        /// Urgent data is announced (`SIGURG`).
        const URGENT = 32;
        /// The connection is over: nothing but its error and unread data is left.
        const CLOSED = 64;
        /// It is over, and TIME-WAIT takes its place.
        const TIME_WAIT = 128;
        /// The state is another.
        const STATE = 256;
    }
}

bitflags::bitflags! {
    /// What a program may do without waiting, with the numbers of poll(2).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Readiness: u32 {
        /// A read gives bytes, the end, or an error (`POLLIN | POLLRDNORM`).
        const READABLE = 0x41;
        /// There is urgent data that was not read (`POLLPRI`).
        const URGENT = 0x2;
        /// A write takes bytes or fails (`POLLOUT | POLLWRNORM`).
        const WRITABLE = 0x104;
        /// There is an error to fetch (`POLLERR`).
        const ERROR = 0x8;
        /// Neither direction is open (`POLLHUP`).
        const HUNG_UP = 0x10;
        /// The peer sends no more (`POLLRDHUP`).
        const PEER_CLOSED = 0x2000;
    }
}

impl State {
    /// Whether the handshake is complete and the connection not yet over.
    pub fn is_synchronized(self) -> bool {
        !matches!(self, Self::SynSent | Self::SynReceived | Self::Closed)
    }

    /// Whether the program may still write.
    pub(super) fn may_send(self) -> bool {
        matches!(self, Self::Established | Self::CloseWait)
    }

    /// Whether the peer may still send.
    pub(super) fn may_receive(self) -> bool {
        matches!(self, Self::Established | Self::FinWait1 | Self::FinWait2)
    }
}

impl Connection {
    /// What a program may do now without waiting (`tcp_poll` in Linux).
    pub fn readiness(&self) -> Readiness {
        let connecting = matches!(self.state, State::SynSent | State::SynReceived);
        let peer_closed = self.deaf || !connecting && !self.state.may_receive();
        let closed_for_writing = self.snd.fin || self.mute || self.state == State::Closed;
        let mut ready = Readiness::empty();
        if self.has_enough() {
            ready |= Readiness::READABLE;
        }
        if !connecting && (closed_for_writing || self.has_room()) {
            ready |= Readiness::WRITABLE;
        }
        if peer_closed {
            ready |= Readiness::READABLE | Readiness::PEER_CLOSED;
        }
        if self.error.is_some() {
            ready |= Readiness::READABLE | Readiness::WRITABLE | Readiness::ERROR;
        }
        if self.urgent_unread() {
            ready |= Readiness::URGENT;
        }
        if self.state == State::Closed || peer_closed && closed_for_writing {
            ready |= Readiness::HUNG_UP;
        }
        ready
    }

    /// Whether so much has come that the program wants to know, or nearly all that there is room for (`tcp_epollin_ready` in Linux).
    fn has_enough(&self) -> bool {
        let skipped = self.at_mark() && !self.options.urgent_inline;
        let enough = self.options.receive_low_water as usize + usize::from(skipped);
        let room = self.rcv.edge.since(self.rcv.nxt);
        let full = room <= u32::from(self.rcv.mss).min(self.buffers.receive / 8);
        let scarce = full || self.pressure.intersects(Pressure::HIGH | Pressure::FULL);
        !self.received.is_empty() && (self.received.len() >= enough || scarce)
    }
}
