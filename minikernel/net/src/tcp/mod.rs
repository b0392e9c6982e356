//! TCP (RFC 9293), without a clock, a device or a thread of its own.
//!
//! # How it is driven
//!
//! There is one [`Tcp`] for each network namespace. The layer below gives it what arrives ([`Tcp::receive`]) and, when [`Tcp::deadline`] has
//! come, the time ([`Tcp::expire`]); it sends through an [`Output`], which every call that may send takes. Since the deadline moves with
//! each call, it is looked at after each.
//!
//! A socket begins with a [`Tcp::bind`] or without, and becomes a [`Listener`] ([`Tcp::listen`]), which hands out connections
//! ([`Listener::accept`]), or a [`Stream`] ([`Tcp::connect`]). What a program does with a connection happens in [`Stream::with`], which locks it
//! and then sees to timers, the table and the [`Observer`]:
//!
//! ```ignore
//! stream.with(tcp, now, |connection| connection.send(now, chunk, Send::default(), out))?;
//! stream.with(tcp, now, |connection| connection.read(now, &mut |bytes| user.put(bytes), out))?;
//! stream.look(Connection::readiness)
//! ```
//!
//! Nothing blocks: an operation that would answers [`Error::WouldBlock`], and the caller waits until the observer is notified, having
//! registered before it looked. A socket that is closed calls [`Connection::close`] and forgets its stream; the connection goes on in the
//! table until the peer has everything.
//!
//! # Locks
//!
//! A stream is locked before a shard of the table, that before a listener's queue or a shard of the ports, and the deadlines last. The output is called with any
//! of them held, so it takes only locks that come after all of these and never calls back: a loopback device queues what it is given. Observers
//! are notified with none of them held.

mod congestion;
mod connection;
mod cookie;
mod deadlines;
mod error;
mod flow;
mod flows;
mod hash;
mod header;
mod listen;
mod listeners;
mod memory;
mod options;
mod ports;
mod protocol;
mod queue;
mod rack;
mod reassembly;
mod request;
mod rtt;
mod sack;
mod secrets;
mod seq;
mod stream;
mod time_wait;

#[cfg(test)]
mod tests;
#[cfg(test)]
use tests::step;

/// Something in a table of all connections is looked at, or moved: tests count that.
#[cfg(not(test))]
const fn step() {}

use connection::WINDOW_SHIFT;

pub use congestion::Algorithm;
pub use connection::{Connection, Events, Handshake, Info, Path, Readiness, Secret, Send, State, reset_for};
pub use error::Error;
pub use flow::{Endpoint, Flow, Output};
pub use header::{Flags, Options, SegmentHeader, Timestamps};
pub use listen::Listener;
pub use memory::Memory;
pub use options::{Manner, SocketOptions};
pub use ports::{Binding, Claim, Scope};
pub use protocol::{Seen, Tcp};
pub use seq::Seq;
pub use stream::{Observer, Stream};

/// Nanoseconds, in which all times are.
const MILLISECOND: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MILLISECOND;
/// At most one answer in this time to segments that nobody in good order sends (Linux' `tcp_invalid_ratelimit`; RFC 5961, section 7).
const CHALLENGE_INTERVAL: u64 = 500 * MILLISECOND;
