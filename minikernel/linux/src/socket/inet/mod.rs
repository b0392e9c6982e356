//! Sockets of the Internet: ip(7), ipv6(7), udp(7), tcp(7).
//!
//! The protocols are in [`isopod_net`], which knows addresses of one kind: here they become those that programs give and take, and what a socket
//! wants becomes how its packets are sent. The network begins when the first socket is made.

mod address;
pub mod configuring;
mod control;
mod cork;
mod datagram;
mod interfaces;
pub mod limits;
mod options;
mod raw;
pub mod state;
mod stream;
pub mod table;
pub mod tcp_options;
mod timers;

use alloc::boxed::Box;
use alloc::sync::Arc;

use isopod_fs::{Capabilities, Errno};
use isopod_hal::clock;
use isopod_hal::sync::{Once, SpinLock};
use isopod_net::address::{Address, is_any, is_multicast, is_v4};
use isopod_net::error::Error;
use isopod_net::packet::Outbox;
use isopod_net::stack::{Counters, Stack};

use super::{Kind, Socket};
use crate::kernel;
use crate::process::Thread;
pub use control::{IpControl, tell_time, understand};
use datagram::DatagramSocket;
pub use interfaces::{index_of, interfaces, ioctl, routes};
pub use stream::Lingering;
use stream::StreamSocket;

/// `AF_INET`
pub const AF_INET: u16 = 2;
/// `AF_INET6`
pub const AF_INET6: u16 = 10;

/// `IPPROTO_ICMP`
const ICMP: i32 = 1;
/// `IPPROTO_ICMPV6`
const ICMPV6: i32 = 58;
/// `IPPROTO_TCP`
const TCP: i32 = 6;
/// `IPPROTO_UDP`
const UDP: i32 = 17;
/// The protocols that can be asked for (`IPPROTO_MAX`).
pub const PROTOCOLS: core::ops::Range<i32> = 0..263;

/// Whether a family is one of these.
pub fn is_inet(family: u16) -> bool {
    matches!(family, AF_INET | AF_INET6)
}

static STACK: Once<Stack> = Once::new();
/// What is to be done when the network begins.
static BEGIN: SpinLock<Option<Begin>> = SpinLock::new(None);

/// What gives a network its interfaces. It must not ask for the [`stack`] itself.
pub type Begin = Box<dyn FnOnce(&Stack, &mut Outbox) + Send>;

/// Has the network begin so.
pub fn begin_with(begin: Begin) {
    *BEGIN.lock() = Some(begin);
}

/// The network of this machine, which begins when it is first asked for.
#[inline]
pub fn stack() -> &'static Stack {
    STACK.get().unwrap_or_else(first_stack)
}

#[cold]
#[inline(never)]
fn first_stack() -> &'static Stack {
    // Who comes second waits here.
    let mut begin = BEGIN.lock();
    let stack = STACK.get_or_init(|| new_stack(begin.take()));
    drop(begin);
    timers::look(stack);
    stack
}

fn new_stack(begin: Option<Begin>) -> Stack {
    let (stack, mut out) = (Stack::new(kernel::random_u64), Outbox::new(clock::monotonic_ns()));
    limits::apply(&stack.tcp);
    if let Some(begin) = begin {
        begin(&stack, &mut out);
    }
    stack.deliver(&mut out);
    stack
}

/// The limits of all sockets together have changed.
pub fn limits_changed() {
    limits::apply(&stack().tcp);
}

/// What the network counts.
pub fn counters() -> &'static Counters {
    &stack().counters
}

/// Does something that may send packets, and takes in what it has sent to this machine itself.
pub fn with_stack<T>(work: impl FnOnce(&'static Stack, &mut Outbox) -> T) -> T {
    let (stack, mut out) = (stack(), Outbox::new(clock::monotonic_ns()));
    let outcome = work(stack, &mut out);
    stack.deliver(&mut out);
    timers::look(stack);
    outcome
}

/// The number of an error.
pub fn errno(error: Error) -> Errno {
    match error {
        Error::OutOfMemory => Errno::ENOMEM,
        Error::Invalid => Errno::EINVAL,
        Error::Forbidden => Errno::EACCES,
        Error::AddressInUse => Errno::EADDRINUSE,
        Error::AddressNotAvailable => Errno::EADDRNOTAVAIL,
        Error::NoPort => Errno::EAGAIN,
        Error::NoInterface => Errno::ENODEV,
        Error::NetworkUnreachable => Errno::ENETUNREACH,
        Error::NetworkDown => Errno::ENETDOWN,
        Error::HostUnreachable => Errno::EHOSTUNREACH,
        Error::HostDown => Errno::EHOSTDOWN,
        Error::HostIsolated => Errno::ENONET,
        Error::ProtocolUnreachable => Errno::ENOPROTOOPT,
        Error::Refused => Errno::ECONNREFUSED,
        Error::TooLong => Errno::EMSGSIZE,
        Error::NotSupported => Errno::EOPNOTSUPP,
        Error::BadHeader => Errno::EPROTO,
        Error::Closed => Errno::EPIPE,
        Error::NoDestination => Errno::EDESTADDRREQ,
        Error::Exists => Errno::EEXIST,
        Error::NoRoute => Errno::ESRCH,
        Error::TooMany => Errno::ENOBUFS,
    }
}

/// EACCES if a port is only for privileged programs, and the caller is none.
fn check_port(caller: &Thread, port: u16) -> Result<(), Errno> {
    let reserved = port != 0 && u64::from(port) < limits::UNPRIVILEGED_PORT_START.get();
    if reserved && !caller.identity().capable(Capabilities::NET_BIND_SERVICE) {
        return Err(Errno::EACCES);
    }
    Ok(())
}

/// Whether a socket that uses one interface only, if that is not 0, can be bound to an address: one of IPv6 must be that interface's (`__inet6_bind`).
/// ENODEV, EADDRNOTAVAIL
fn check_interface(index: u32, address: &Address) -> Result<(), Errno> {
    if index == 0 || is_v4(address) || is_any(address) {
        return Ok(());
    }
    let interface = stack().interface(index).ok_or(Errno::ENODEV)?;
    if is_multicast(address) || interface.has(address) { Ok(()) } else { Err(Errno::EADDRNOTAVAIL) }
}

/// A socket for echo requests: EACCES unless the caller's groups may have one (icmp(7)).
fn ping(caller: &Thread, family: u16, protocol: i32) -> Result<Arc<dyn Socket>, Errno> {
    let [first, last] = &limits::PING_GROUPS;
    let allowed = first.get()..=last.get();
    let identity = caller.identity();
    let mut groups = identity.supplementary.iter().chain([&identity.groups.effective]);
    if !groups.any(|group| allowed.contains(&u64::from(*group))) {
        return Err(Errno::EACCES);
    }
    Ok(DatagramSocket::new(caller, family, protocol as u8))
}

/// A new socket of one of these families (`inet_create`).
pub fn new(caller: &Thread, family: u16, kind: Kind, protocol: i32) -> Result<Arc<dyn Socket>, Errno> {
    match (kind, protocol) {
        (Kind::Stream, 0 | TCP) => Ok(StreamSocket::new(caller, family)),
        (Kind::Datagram, 0 | UDP) => Ok(DatagramSocket::new(caller, family, UDP as u8)),
        (Kind::Datagram, ICMP) if family == AF_INET => ping(caller, family, protocol),
        (Kind::Datagram, ICMPV6) if family == AF_INET6 => ping(caller, family, protocol),
        (Kind::Raw, _) => raw::new(caller, family, protocol),
        (Kind::Sequence, _) => Err(Errno::ESOCKTNOSUPPORT),
        _ => Err(Errno::EPROTONOSUPPORT),
    }
}
