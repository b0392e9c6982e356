//! Why a connection ended or an operation is refused.

use isopod_hal::OutOfMemory;

/// Named after the error number that Linux answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// `EAGAIN`: nothing to read or no room to write; wait until the connection is ready.
    WouldBlock,
    /// `ECONNREFUSED`: nobody listens there.
    Refused,
    /// `ECONNRESET`: the peer reset the connection.
    Reset,
    /// `ETIMEDOUT`: the peer does not answer.
    TimedOut,
    /// `EPIPE`: this end, or the connection, is closed for writing.
    Pipe,
    /// `EHOSTUNREACH`: an ICMP message says so.
    HostUnreachable,
    /// `ENETUNREACH`: an ICMP message says so.
    NetworkUnreachable,
    /// `EADDRINUSE`.
    AddressInUse,
    /// `EADDRNOTAVAIL`: no port is free.
    AddressNotAvailable,
    /// `EINVAL`.
    Invalid,
    /// `ENOMEM`.
    OutOfMemory,
}

impl From<OutOfMemory> for Error {
    fn from(_: OutOfMemory) -> Self {
        Self::OutOfMemory
    }
}
