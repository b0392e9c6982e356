//! Options at the level of sockets (`SOL_SOCKET`): socket(7), with what `sk_getsockopt` and `sk_setsockopt` of Linux say.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering};

use isopod_fs::{Capabilities, Errno};
use isopod_hal::sync::SpinLock;
use zerocopy::FromBytes;

use super::inet::{self, is_inet};
use super::packet::AF_PACKET;
use super::{Kind, Socket, limits};
use crate::bpf::Program;
use crate::process::Thread;
use crate::time::Timeval;

/// The level.
pub const SOL_SOCKET: u32 = 1;

const DEBUG: u32 = 1;
/// `SO_REUSEADDR`
pub const REUSE_ADDRESS: u32 = 2;
const TYPE: u32 = 3;
const ERROR: u32 = 4;
/// `SO_BROADCAST`
pub const BROADCAST: u32 = 6;
/// `SO_SNDBUF`
pub const SEND_BUFFER: u32 = 7;
/// `SO_KEEPALIVE`
pub const KEEP_ALIVE: u32 = 9;
/// `SO_OOBINLINE`
pub const URGENT_INLINE: u32 = 10;
/// `SO_RCVBUF`
pub const RECEIVE_BUFFER: u32 = 8;
const PRIORITY: u32 = 12;
const LINGER: u32 = 13;
/// `SO_REUSEPORT`
pub const REUSE_PORT: u32 = 15;
/// `SO_PASSCRED`
pub const PASS_CREDENTIALS: u32 = 16;
/// `SO_PEERCRED`
pub const PEER_CREDENTIALS: u32 = 17;
/// `SO_RCVLOWAT`
pub const RECEIVE_LOW_WATER: u32 = 18;
const SEND_LOW_WATER: u32 = 19;
const RECEIVE_TIMEOUT: u32 = 20;
const SEND_TIMEOUT: u32 = 21;
const PEER_NAME: u32 = 28;
const ACCEPTS: u32 = 30;
/// `SO_SNDBUFFORCE`
pub const SEND_BUFFER_FORCE: u32 = 32;
/// `SO_RCVBUFFORCE`
pub const RECEIVE_BUFFER_FORCE: u32 = 33;
/// `SO_BINDTODEVICE`
pub const BIND_TO_DEVICE: u32 = 25;
/// `SO_BINDTOIFINDEX`
pub const BIND_TO_INDEX: u32 = 62;
/// Bytes of an interface's name (`IFNAMSIZ`).
const NAME: usize = 16;
/// `SO_ATTACH_FILTER`, `SO_GET_FILTER`
pub const ATTACH_FILTER: u32 = 26;
const DETACH_FILTER: u32 = 27;
const LOCK_FILTER: u32 = 44;
const FILTER_EXTENSIONS: u32 = 48;
/// `SO_TIMESTAMP`
pub const TIMESTAMP: u32 = 29;
/// `SO_TIMESTAMPNS`
pub const TIMESTAMP_NS: u32 = 35;
/// `SO_RXQ_OVFL`
pub const OVERFLOW: u32 = 40;
const MARK: u32 = 36;
const PROTOCOL: u32 = 38;
const DOMAIN: u32 = 39;
/// `SO_PEEK_OFF`
pub const PEEK_OFFSET: u32 = 42;
const COOKIE: u32 = 57;
const BUSY_POLL: u32 = 46;
/// `SO_MAX_PACING_RATE`
const PACING_RATE: u32 = 47;
/// `SO_PEERGROUPS`
pub const PEER_GROUPS: u32 = 59;
const RECEIVE_TIMEOUT_NEW: u32 = 66;
const SEND_TIMEOUT_NEW: u32 = 67;
/// `SO_PASSPIDFD`
pub const PASS_PIDFD: u32 = 76;
/// `SO_PEERPIDFD`
pub const PEER_PIDFD: u32 = 77;
/// `SO_PASSRIGHTS`
pub const PASS_RIGHTS: u32 = 83;

/// Options that are on or off, with their bits: `SO_DEBUG`, `REUSEADDR`, `DONTROUTE`, `BROADCAST`, `KEEPALIVE`, `OOBINLINE`, `REUSEPORT`, `PASSCRED`,
/// `TIMESTAMP`, `PASSSEC`, `TIMESTAMPNS`, `RXQ_OVFL`, `WIFI_STATUS`, `NOFCS`, `LOCK_FILTER`, `SELECT_ERR_QUEUE`, `PASSPIDFD`, `PASSRIGHTS`.
const SWITCHES: [u32; 18] = [1, 2, 5, 6, 9, 10, 15, 16, 29, 34, 35, 40, 41, 43, LOCK_FILTER, 45, 76, 83];

/// No time-out.
const NO_LIMIT: u64 = u64::MAX;

/// What getsockopt(2) tells.
pub type OptionValue = Vec<u8>;

/// What setsockopt(2) has set.
#[derive(Debug)]
pub struct Options {
    switches: AtomicU32,
    send_buffer: AtomicU32,
    receive_buffer: AtomicU32,
    /// In nanoseconds.
    send_timeout: AtomicU64,
    receive_timeout: AtomicU64,
    low_water: AtomicU32,
    priority: AtomicU32,
    mark: AtomicU32,
    /// On or off, and seconds.
    linger: [AtomicU32; 2],
    /// `SO_COOKIE`, once somebody has asked.
    cookie: AtomicU64,
    /// The only interface that it uses; 0 for any.
    interface: AtomicU32,
    /// In microseconds; nobody polls a device.
    busy_poll: AtomicU32,
    /// In bytes a second, which is told and not kept to.
    pacing_rate: AtomicU64,
    /// Where the next peek begins (`SO_PEEK_OFF`) of a socket of the Internet; less than 0 if that is not wanted.
    peek_offset: AtomicI32,
    /// When came what was received last, in nanoseconds; 0 before.
    stamp: AtomicU64,
    /// What chooses what it receives.
    filter: SpinLock<Option<Arc<Program>>>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            switches: AtomicU32::new(bit_of(PASS_RIGHTS)),
            send_buffer: AtomicU32::new(limits::SEND_BUFFER.get() as u32),
            receive_buffer: AtomicU32::new(limits::RECEIVE_BUFFER.get() as u32),
            send_timeout: AtomicU64::new(NO_LIMIT),
            receive_timeout: AtomicU64::new(NO_LIMIT),
            low_water: AtomicU32::new(1),
            priority: AtomicU32::new(0),
            mark: AtomicU32::new(0),
            linger: [AtomicU32::new(0), AtomicU32::new(0)],
            cookie: AtomicU64::new(0),
            interface: AtomicU32::new(0),
            busy_poll: AtomicU32::new(0),
            pacing_rate: AtomicU64::new(u64::MAX),
            peek_offset: AtomicI32::new(-1),
            stamp: AtomicU64::new(0),
            filter: SpinLock::new(None),
        }
    }
}

/// The bit of a switch; 0 for what is none.
fn bit_of(name: u32) -> u32 {
    SWITCHES.iter().position(|&known| known == name).map_or(0, |index| 1 << index)
}

/// The first number of a value. `EINVAL` when it is shorter.
pub fn number(value: &[u8]) -> Result<i32, Errno> {
    value.first_chunk().map(|bytes| i32::from_le_bytes(*bytes)).ok_or(Errno::EINVAL)
}

/// The value of an option that is a number.
pub fn value_of(number: u32) -> OptionValue {
    number.to_le_bytes().to_vec()
}

impl Options {
    /// Whether a switch is on.
    pub fn has(&self, switch: u32) -> bool {
        self.switches.load(Ordering::Relaxed) & bit_of(switch) != 0
    }

    /// Sets the switches about what is received as those of another socket.
    pub fn inherit_received(&self, other: &Self) {
        for switch in [PASS_CREDENTIALS, PASS_PIDFD, PASS_RIGHTS] {
            self.set_switch(switch, other.has(switch));
        }
    }

    fn set_switch(&self, switch: u32, on: bool) {
        if on {
            self.switches.fetch_or(bit_of(switch), Ordering::Relaxed);
        } else {
            self.switches.fetch_and(!bit_of(switch), Ordering::Relaxed);
        }
    }

    /// How many bytes may be on their way (`SO_SNDBUF`).
    pub fn send_buffer(&self) -> usize {
        self.send_buffer.load(Ordering::Relaxed) as usize
    }

    /// How many bytes may wait to be received (`SO_RCVBUF`).
    pub fn receive_buffer(&self) -> usize {
        self.receive_buffer.load(Ordering::Relaxed) as usize
    }

    /// How long an operation waits (`SO_SNDTIMEO`, `SO_RCVTIMEO`), in nanoseconds; `None` for as long as it takes.
    pub fn time_limit(&self, writing: bool) -> Option<u64> {
        let limit = self.timeout(writing).load(Ordering::Relaxed);
        (limit != NO_LIMIT).then_some(limit)
    }

    fn timeout(&self, writing: bool) -> &AtomicU64 {
        if writing { &self.send_timeout } else { &self.receive_timeout }
    }

    /// The same options for another socket.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        let copy = |number: &AtomicU32| AtomicU32::new(number.load(Ordering::Relaxed));
        let copy_long = |number: &AtomicU64| AtomicU64::new(number.load(Ordering::Relaxed));
        Self {
            switches: copy(&self.switches),
            send_buffer: copy(&self.send_buffer),
            receive_buffer: copy(&self.receive_buffer),
            send_timeout: copy_long(&self.send_timeout),
            receive_timeout: copy_long(&self.receive_timeout),
            low_water: copy(&self.low_water),
            priority: copy(&self.priority),
            mark: copy(&self.mark),
            linger: [copy(&self.linger[0]), copy(&self.linger[1])],
            cookie: AtomicU64::new(0),
            interface: copy(&self.interface),
            busy_poll: copy(&self.busy_poll),
            pacing_rate: copy_long(&self.pacing_rate),
            peek_offset: AtomicI32::new(self.peek_offset.load(Ordering::Relaxed)),
            stamp: AtomicU64::new(0),
            filter: SpinLock::new(self.filter()),
        }
    }

    /// The only interface that it uses; 0 for any.
    pub fn interface(&self) -> u32 {
        self.interface.load(Ordering::Relaxed)
    }

    /// What chooses what it receives.
    pub fn filter(&self) -> Option<Arc<Program>> {
        self.filter.lock().clone()
    }

    /// With how many bytes a read is content that waits (`SO_RCVLOWAT`).
    pub fn receive_low_water(&self) -> usize {
        self.low_water.load(Ordering::Relaxed) as usize
    }

    /// No read waits for more bytes than this.
    pub fn limit_low_water(&self, most: u32) {
        self.low_water.fetch_min(most, Ordering::Relaxed);
    }

    /// For how many seconds a connection that is closed may be kept from ending (`SO_LINGER`), if that is said.
    pub fn linger(&self) -> Option<u32> {
        let [on, seconds] = &self.linger;
        (on.load(Ordering::Relaxed) != 0).then(|| seconds.load(Ordering::Relaxed))
    }

    /// Where the next peek begins (`SO_PEEK_OFF`), if that is wanted of a socket of the Internet.
    pub fn peek_offset(&self) -> Option<usize> {
        usize::try_from(self.peek_offset.load(Ordering::Relaxed)).ok()
    }

    /// So many bytes were looked at, or received: the next peek begins behind them (`sk_peek_offset_fwd`, `sk_peek_offset_bwd`).
    pub fn move_peek(&self, count: usize, peeked: bool) {
        if let Some(offset) = self.peek_offset() {
            let offset = if peeked { offset + count } else { offset.saturating_sub(count) };
            self.peek_offset.store(i32::try_from(offset).unwrap_or(i32::MAX), Ordering::Relaxed);
        }
    }

    /// When came what was received last (`SIOCGSTAMP`), in nanoseconds since 1970. ENOENT
    pub fn stamp(&self) -> Result<u64, Errno> {
        Some(self.stamp.load(Ordering::Relaxed)).filter(|stamp| *stamp != 0).ok_or(Errno::ENOENT)
    }

    /// Something was received that came then.
    pub fn set_stamp(&self, at: u64) {
        self.stamp.store(at, Ordering::Relaxed);
    }

    fn cookie(&self) -> u64 {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        if self.cookie.load(Ordering::Relaxed) == 0 {
            let new = NEXT.fetch_add(1, Ordering::Relaxed);
            // Who was first has told it already.
            let _ = self.cookie.compare_exchange(0, new, Ordering::Relaxed, Ordering::Relaxed);
        }
        self.cookie.load(Ordering::Relaxed)
    }
}

/// getsockopt(2)
pub fn get(socket: &dyn Socket, level: u32, name: u32) -> Result<OptionValue, Errno> {
    let (common, options) = (socket.common(), &socket.common().options);
    let load = |number: &AtomicU32| Ok(value_of(number.load(Ordering::Relaxed)));
    match name {
        _ if level != SOL_SOCKET => socket.option(level, name),
        TYPE => Ok(value_of(common.kind as u32)),
        DOMAIN => Ok(value_of(common.family.into())),
        PROTOCOL => Ok(value_of(common.protocol)),
        ERROR => Ok(value_of(socket.take_error().map_or(0, |errno| errno.number().into()))),
        ACCEPTS => Ok(value_of(socket.listens().into())),
        SEND_BUFFER | RECEIVE_BUFFER => {
            let sizes = || (options.send_buffer() as u32, options.receive_buffer() as u32);
            let (send, receive) = socket.buffer_sizes().unwrap_or_else(sizes);
            Ok(value_of(if name == SEND_BUFFER { send } else { receive }))
        }
        PRIORITY => load(&options.priority),
        MARK => load(&options.mark),
        RECEIVE_LOW_WATER => load(&options.low_water),
        SEND_LOW_WATER => Ok(value_of(1)),
        LINGER => {
            let [on, seconds] = &options.linger;
            Ok([load(on)?, load(seconds)?].concat())
        }
        RECEIVE_TIMEOUT | SEND_TIMEOUT | RECEIVE_TIMEOUT_NEW | SEND_TIMEOUT_NEW => {
            let writing = matches!(name, SEND_TIMEOUT | SEND_TIMEOUT_NEW);
            let Timeval { seconds, microseconds } =
                Timeval::from_ns(options.time_limit(writing).unwrap_or(0));
            Ok([seconds.to_le_bytes(), microseconds.to_le_bytes()].concat())
        }
        COOKIE => Ok(options.cookie().to_le_bytes().to_vec()),
        BIND_TO_INDEX => load(&options.interface),
        BUSY_POLL => load(&options.busy_poll),
        PACING_RATE => Ok(options.pacing_rate.load(Ordering::Relaxed).to_le_bytes().to_vec()),
        PEEK_OFFSET if is_inet(common.family) => match common.kind {
            Kind::Raw => Err(Errno::EOPNOTSUPP),
            _ => Ok(value_of(options.peek_offset.load(Ordering::Relaxed).cast_unsigned())),
        },
        BIND_TO_DEVICE => {
            let index = options.interface();
            if index == 0 {
                return Ok(Vec::new());
            }
            let interface = inet::stack().interface(index).ok_or(Errno::ENODEV)?;
            Ok([interface.name.as_bytes(), &[0]].concat())
        }
        FILTER_EXTENSIONS => Ok(value_of(crate::bpf::EXTENSIONS)),
        PASS_CREDENTIALS if is_inet(common.family) => Err(Errno::EOPNOTSUPP),
        PEER_NAME => match socket.peer_name() {
            Ok(address) => Ok(address.bytes().to_vec()),
            Err(_) => Err(Errno::ENOTCONN),
        },
        _ if bit_of(name) != 0 => Ok(value_of(options.has(name).into())),
        _ => socket.option(level, name),
    }
}

/// It uses one interface only, or any (`sock_bindtoindex_locked`).
fn bind_to(caller: &Thread, socket: &dyn Socket, index: i32) -> Result<(), Errno> {
    let common = socket.common();
    if common.options.interface() != 0 && !caller.identity().capable(Capabilities::NET_RAW) {
        return Err(Errno::EPERM);
    }
    let index = u32::try_from(index).map_err(|_| Errno::EINVAL)?;
    common.options.interface.store(index, Ordering::Relaxed);
    socket.option_was_set(BIND_TO_INDEX);
    Ok(())
}

/// `SO_ATTACH_FILTER`: a program chooses what a socket receives from now on. EPERM if that may not change any more, ENOPROTOOPT where nothing
/// would heed it: streams have no packets, and those between processes of this machine are not looked at.
pub fn attach(socket: &dyn Socket, program: Option<Arc<Program>>) -> Result<(), Errno> {
    let common = socket.common();
    let options = &common.options;
    if options.has(LOCK_FILTER) {
        return Err(Errno::EPERM);
    }
    let heeds = is_inet(common.family) && common.kind != Kind::Stream || common.family == AF_PACKET;
    if !heeds {
        return Err(Errno::ENOPROTOOPT);
    }
    let ends = program.is_none();
    let old = core::mem::replace(&mut *options.filter.lock(), program);
    socket.option_was_set(ATTACH_FILTER);
    if ends && old.is_none() { Err(Errno::ENOENT) } else { Ok(()) }
}

/// Whether an answer is all or nothing: `EINVAL`, or `ERANGE` with the length told, where there is no room for it.
pub fn lacks_room(name: u32, length: usize, room: usize) -> Option<Errno> {
    match name {
        PEER_NAME if length < room => Some(Errno::EINVAL),
        COOKIE if room < length => Some(Errno::EINVAL),
        BIND_TO_DEVICE if length > 0 && room < NAME => Some(Errno::EINVAL),
        PEER_GROUPS if room < length => Some(Errno::ERANGE),
        _ => None,
    }
}

/// A value as it is told where there is `room` for so many bytes: a rate has eight or four.
pub fn fit(name: u32, value: OptionValue, room: usize) -> OptionValue {
    match value.first_chunk() {
        Some(rate) if name == PACING_RATE && room < rate.len() => {
            value_of(u32::try_from(u64::from_le_bytes(*rate)).unwrap_or(u32::MAX))
        }
        _ => value,
    }
}

/// setsockopt(2)
pub fn set(caller: &Thread, socket: &dyn Socket, level: u32, name: u32, value: &[u8]) -> Result<(), Errno> {
    if level != SOL_SOCKET {
        return socket.set_option(level, name, value);
    }
    let options = &socket.common().options;
    let may = |capability| caller.identity().capable(capability);
    if name == BIND_TO_DEVICE {
        let name = value[..value.len().min(NAME - 1)].split(|byte| *byte == 0).next().unwrap_or_default();
        let index = if name.is_empty() { 0 } else { inet::index_of(name)? };
        return bind_to(caller, socket, index.cast_signed());
    }
    let first = number(value)?;
    match name {
        DEBUG if first != 0 && !may(Capabilities::NET_ADMIN) => return Err(Errno::EACCES),
        SEND_BUFFER => {
            let most = limits::SEND_BUFFER_MAX.get() as u32;
            set_buffer(&options.send_buffer, first.cast_unsigned().min(most), true);
        }
        RECEIVE_BUFFER => {
            let most = limits::RECEIVE_BUFFER_MAX.get() as u32;
            set_buffer(&options.receive_buffer, first.cast_unsigned().min(most), false);
        }
        SEND_BUFFER_FORCE | RECEIVE_BUFFER_FORCE if !may(Capabilities::NET_ADMIN) => {
            return Err(Errno::EPERM);
        }
        SEND_BUFFER_FORCE => set_buffer(&options.send_buffer, first.max(0).cast_unsigned(), true),
        RECEIVE_BUFFER_FORCE => set_buffer(&options.receive_buffer, first.max(0).cast_unsigned(), false),
        PRIORITY if !(0..=6).contains(&first) && !may(Capabilities::NET_ADMIN) => return Err(Errno::EPERM),
        PRIORITY => options.priority.store(first.cast_unsigned(), Ordering::Relaxed),
        BIND_TO_INDEX => return bind_to(caller, socket, first),
        BUSY_POLL => {
            let most = options.busy_poll.load(Ordering::Relaxed);
            let wanted = u32::try_from(first).map_err(|_| Errno::EINVAL)?;
            if wanted > most && !may(Capabilities::NET_ADMIN) {
                return Err(Errno::EPERM);
            }
            options.busy_poll.store(wanted, Ordering::Relaxed);
        }
        PACING_RATE => {
            let rate = match value.first_chunk() {
                Some(rate) => u64::from_le_bytes(*rate),
                None if first == -1 => u64::MAX,
                None => first.cast_unsigned().into(),
            };
            options.pacing_rate.store(rate, Ordering::Relaxed);
        }
        PEEK_OFFSET if is_inet(socket.common().family) => match socket.common().kind {
            Kind::Raw => return Err(Errno::EOPNOTSUPP),
            _ => options.peek_offset.store(first, Ordering::Relaxed),
        },
        DETACH_FILTER => return attach(socket, None),
        LOCK_FILTER if options.has(LOCK_FILTER) && first == 0 => return Err(Errno::EPERM),
        MARK if !may(Capabilities::NET_ADMIN) => return Err(Errno::EPERM),
        MARK => options.mark.store(first.cast_unsigned(), Ordering::Relaxed),
        RECEIVE_LOW_WATER => {
            let bytes = if first < 0 { i32::MAX } else { first.max(1) };
            options.low_water.store(bytes.cast_unsigned(), Ordering::Relaxed);
        }
        LINGER => {
            let seconds = number(value.get(4..).ok_or(Errno::EINVAL)?)?;
            options.linger[0].store(u32::from(first != 0), Ordering::Relaxed);
            if first != 0 {
                options.linger[1].store(seconds.cast_unsigned(), Ordering::Relaxed);
            }
        }
        REUSE_PORT | PASS_CREDENTIALS
            if first != 0 && is_inet(socket.common().family) != (name == REUSE_PORT) =>
        {
            return Err(Errno::EOPNOTSUPP);
        }
        RECEIVE_TIMEOUT | RECEIVE_TIMEOUT_NEW => set_timeout(options.timeout(false), value)?,
        SEND_TIMEOUT | SEND_TIMEOUT_NEW => set_timeout(options.timeout(true), value)?,
        TIMESTAMP | TIMESTAMP_NS => {
            // The time is told in one way (`__sock_set_timestamps`).
            options.set_switch(TIMESTAMP, first != 0 && name == TIMESTAMP);
            options.set_switch(TIMESTAMP_NS, first != 0 && name == TIMESTAMP_NS);
        }
        _ if bit_of(name) != 0 => options.set_switch(name, first != 0),
        TYPE | DOMAIN | PROTOCOL | ERROR | ACCEPTS | SEND_LOW_WATER | PEER_NAME | COOKIE => {
            return Err(Errno::ENOPROTOOPT);
        }
        _ => return socket.set_option(level, name, value),
    }
    socket.option_was_set(name);
    Ok(())
}

/// Twice as many bytes as asked for: half of them are thought to be the kernel's own (socket(7)).
fn set_buffer(buffer: &AtomicU32, bytes: u32, sends: bool) {
    let least = if sends { limits::SEND_BUFFER_MIN } else { limits::RECEIVE_BUFFER_MIN };
    buffer.store(bytes.min(i32::MAX.cast_unsigned() / 2).saturating_mul(2).max(least), Ordering::Relaxed);
}

fn set_timeout(limit: &AtomicU64, value: &[u8]) -> Result<(), Errno> {
    let (time, _) = Timeval::read_from_prefix(value).map_err(|_| Errno::EINVAL)?;
    if !(0..1_000_000).contains(&time.microseconds) {
        return Err(Errno::EDOM);
    }
    let ns = match (time.seconds, time.microseconds) {
        (0, 0) => NO_LIMIT,
        // A negative time has passed.
        (..0, _) => 0,
        _ => time.to_ns()?,
    };
    limit.store(ns, Ordering::Relaxed);
    Ok(())
}
