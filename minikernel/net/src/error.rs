//! Why something cannot be done, or what an ICMP message says of a packet.

/// An error. Its name in Linux stands behind it where it has one of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// No memory.
    OutOfMemory,
    /// It makes no sense.
    Invalid,
    /// It may not be done.
    Forbidden,
    /// Another has the address.
    AddressInUse,
    /// The address is not this machine's.
    AddressNotAvailable,
    /// No port is left.
    NoPort,
    /// There is no such interface.
    NoInterface,
    /// No route leads there.
    NetworkUnreachable,
    /// The interface is not in use.
    NetworkDown,
    /// Nobody answers there.
    HostUnreachable,
    /// The host is not known there.
    HostDown,
    /// The host is isolated.
    HostIsolated,
    /// The protocol is not known there.
    ProtocolUnreachable,
    /// Nobody listens.
    Refused,
    /// Too long for the path.
    TooLong,
    /// A source route failed.
    NotSupported,
    /// A header makes no sense to somebody.
    BadHeader,
    /// Nothing is sent any more.
    Closed,
    /// No address to send to.
    NoDestination,
    /// There is one already.
    Exists,
    /// There is no such route.
    NoRoute,
    /// There are as many as there may be.
    TooMany,
}

impl From<isopod_hal::OutOfMemory> for Error {
    fn from(_: isopod_hal::OutOfMemory) -> Self {
        Self::OutOfMemory
    }
}

/// What comes of an operation.
pub type Result<T> = core::result::Result<T, Error>;
