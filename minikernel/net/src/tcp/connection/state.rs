//! States (RFC 9293, section 3.3.2), and what whoever waits learns of them.

use super::Connection;

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

/// What a program may do without waiting, for `poll`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// A read gives bytes, the end, or an error.
    pub readable: bool,
    /// A write takes bytes or fails.
    pub writable: bool,
    /// There is urgent data that was not read (`POLLPRI`).
    pub urgent: bool,
    /// The peer sends no more (`POLLRDHUP`).
    pub peer_closed: bool,
    /// Neither direction is open (`POLLHUP`).
    pub hung_up: bool,
    /// There is an error to fetch (`POLLERR`).
    pub error: bool,
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
        let closed_for_writing = self.snd.fin || self.state == State::Closed;
        Readiness {
            readable: !self.received.is_empty() || peer_closed || self.error.is_some(),
            writable: !connecting && (closed_for_writing || self.has_room()) || self.error.is_some(),
            urgent: self.urgent_unread(),
            peer_closed,
            hung_up: self.state == State::Closed || peer_closed && closed_for_writing,
            error: self.error.is_some(),
        }
    }
}
