//! Calls on sockets, the same for all families. What a family does is behind [`Socket`]; here arguments become its words, and what cannot be
//! done at once waits.

mod options;
mod receive;
mod send;

use alloc::sync::Arc;

use isopod_fs::file::{OpenFile, OpenFlags};
use isopod_fs::{Errno, Error};

pub use options::{getsockopt, setsockopt};
pub use receive::{recvfrom, recvmmsg, recvmsg};
pub use send::{sendmmsg, sendmsg, sendto};

use super::argument::{Fd, Flags};
use super::file::io::IoVec;
use super::file::open::{insert_two, install};
use super::unfinished::{Delivery, Transfer, attempt};
use crate::fail::{Attempt, Later, Stop, SysResult};
use crate::mm::UserPtr;
use crate::process::{Ctx, Resource};
use crate::socket::inet::{self, is_inet};
use crate::socket::netlink::{self, AF_NETLINK};
use crate::socket::packet::{self, AF_PACKET};
use crate::socket::unix::{self, UnixSocket};
use crate::socket::vsock::{self, AF_VSOCK};
use crate::socket::{AF_UNIX, Address, Kind, Shutdown, Socket, new_file, socket_of};

/// One more than the largest family and type (`NPROTO`, `SOCK_MAX`).
const FAMILIES: u32 = 46;
const TYPES: u32 = 11;
/// The bits of a type that are not flags (`SOCK_TYPE_MASK`).
const TYPE: u32 = 0xf;

/// The most messages of one call (`UIO_MAXIOV`).
const MESSAGES_MAX: usize = 1024;
/// How many bytes of a stream one step moves at the most.
const STEP: usize = 1 << 20;

/// `struct msghdr`
#[derive(Debug, Clone, Copy, zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable)]
#[repr(C)]
pub struct MessageHeader {
    name: u64,
    name_length: i32,
    _pad: u32,
    vectors: u64,
    vector_count: u64,
    control: u64,
    control_length: u64,
    flags: u32,
    _pad_flags: u32,
}

/// `struct mmsghdr`
#[derive(Debug, Clone, Copy, zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable)]
#[repr(C)]
pub struct MessageOfMany {
    header: MessageHeader,
    length: u32,
    _pad: u32,
}

impl MessageHeader {
    /// The most buffers of a message (`UIO_MAXIOV`).
    const VECTORS_MAX: u64 = 1024;

    /// The buffers' array and its length. EMSGSIZE for too many.
    fn vectors(&self) -> Result<(UserPtr<IoVec>, usize), Errno> {
        if self.vector_count > Self::VECTORS_MAX {
            return Err(Errno::EMSGSIZE);
        }
        Ok((UserPtr::new(self.vectors as usize), self.vector_count as usize))
    }
}

impl MessageOfMany {
    /// Where the length of a message stands.
    fn length_of(message: UserPtr<Self>) -> UserPtr<u32> {
        UserPtr::new(message.address() + core::mem::offset_of!(Self, length))
    }
}

impl Transfer {
    /// Transfers messages by `transfer`, which says whether there should be more, as far as there are: how many; an error only if none was.
    fn each_message(
        &mut self,
        count: u32,
        ctx: &Ctx,
        transfer: &mut dyn FnMut(&mut Self, usize) -> Attempt<bool>,
    ) -> Attempt {
        let mut done = *self.messages.get_or_insert(0);
        while done < (count as usize).min(MESSAGES_MAX) && !self.over {
            let more = match transfer(self, done).and_then(|more| self.deliver().map(|()| more)) {
                Ok(more) => more,
                Err(Stop::Fail(_)) if done > 0 => break,
                Err(stop) => return Err(stop),
            };
            done += 1;
            *self = Self { messages: Some(done), until: self.until, ..Self::new(Arc::clone(&self.file)) };
            if !more || ctx.thread.must_end() {
                break;
            }
        }
        Ok(done)
    }
}

/// ENOTSOCK for what is no socket.
fn check_socket(file: &OpenFile) -> Result<(), Errno> {
    socket_of(file).map(drop)
}

/// The socket that `fd` is. EBADF, ENOTSOCK
fn socket_at(ctx: &Ctx, fd: Fd) -> Result<Arc<dyn Socket>, Errno> {
    Ok(Arc::clone(socket_of(&*ctx.thread.files().get(fd.0)?)?))
}

/// The flags that a new descriptor can have. EINVAL for others.
fn descriptor_flags(flags: u32) -> Result<OpenFlags, Errno> {
    let flags = OpenFlags::from_bits_retain(flags);
    if (OpenFlags::CLOEXEC | OpenFlags::NONBLOCK).contains(flags) { Ok(flags) } else { Err(Errno::EINVAL) }
}

/// The flags of a new socket, and its kind, as far as the type says. EINVAL for a type that no family has, EAFNOSUPPORT for a family that there is
/// not, EPROTONOSUPPORT and ESOCKTNOSUPPORT for what this one does not have.
fn requested(family: u32, kind: u32, protocol: i32) -> Result<(OpenFlags, Kind), Errno> {
    let flags = descriptor_flags(kind & !TYPE)?;
    if family >= FAMILIES {
        return Err(Errno::EAFNOSUPPORT);
    }
    if kind & TYPE >= TYPES {
        return Err(Errno::EINVAL);
    }
    let inet = u16::try_from(family).is_ok_and(is_inet);
    // They look at their protocols themselves.
    let other = [AF_NETLINK, AF_PACKET, AF_VSOCK].map(u32::from).contains(&family);
    if family != AF_UNIX.into() && !inet && !other {
        return Err(Errno::EAFNOSUPPORT);
    }
    if !inet && !other && protocol != 0 && protocol != AF_UNIX.into() {
        return Err(Errno::EPROTONOSUPPORT);
    }
    if inet && !inet::PROTOCOLS.contains(&protocol) {
        return Err(Errno::EINVAL);
    }
    let kinds = [Kind::Stream, Kind::Datagram, Kind::Raw, Kind::Sequence];
    let found = kinds.into_iter().find(|known| *known as u32 == kind & TYPE);
    Ok((flags, found.ok_or(Errno::ESOCKTNOSUPPORT)?))
}

fn install_socket(ctx: &Ctx, socket: Arc<dyn Socket>, flags: OpenFlags) -> SysResult {
    let file = new_file(socket, flags & OpenFlags::NONBLOCK, &ctx.thread)?;
    install(ctx, file, flags.contains(OpenFlags::CLOEXEC))
}

/// socket(2)
pub fn socket(ctx: &mut Ctx, family: u32, kind: u32, protocol: i32) -> SysResult {
    let (flags, kind) = requested(family, kind, protocol)?;
    let socket: Arc<dyn Socket> = if family == AF_UNIX.into() {
        UnixSocket::new(kind)
    } else if family == AF_NETLINK.into() {
        netlink::new(kind, protocol)?
    } else if family == AF_PACKET.into() {
        packet::new(&ctx.thread, kind, protocol)?
    } else if family == AF_VSOCK.into() {
        vsock::new(kind, protocol)?
    } else {
        inet::new(&ctx.thread, family as u16, kind, protocol)?
    };
    install_socket(ctx, socket, flags)
}

/// socketpair(2)
pub fn socketpair(ctx: &mut Ctx, family: u32, kind: u32, protocol: i32, fds: UserPtr<[i32; 2]>) -> Attempt {
    let flags = descriptor_flags(kind & !TYPE)?;
    let files = pair(ctx, family, kind, protocol);
    // Where the numbers cannot be told, nothing else matters (`__sys_socketpair`).
    insert_two(ctx, files, flags.contains(OpenFlags::CLOEXEC), fds)
}

fn pair(ctx: &Ctx, family: u32, kind: u32, protocol: i32) -> Result<[Arc<OpenFile>; 2], Errno> {
    let (flags, kind) = requested(family, kind, protocol)?;
    if family != AF_UNIX.into() {
        return Err(Errno::EOPNOTSUPP);
    }
    let flags = flags & OpenFlags::NONBLOCK;
    let (first, second) = unix::pair(kind, &ctx.thread);
    // Each is closed with its file, even when that finds no place.
    Ok([new_file(first, flags, &ctx.thread)?, new_file(second, flags, &ctx.thread)?])
}

/// bind(2)
pub fn bind(ctx: &mut Ctx, fd: Fd, address: UserPtr<u8>, length: i32) -> Attempt {
    let socket = socket_at(ctx, fd)?;
    socket.bind(&ctx.thread, &Address::read(address, length)?)?;
    Ok(0)
}

/// listen(2)
pub fn listen(ctx: &mut Ctx, fd: Fd, backlog: u32) -> Attempt {
    let socket = socket_at(ctx, fd)?;
    socket.listen(&ctx.thread, backlog)?;
    Ok(0)
}

/// connect(2)
pub fn connect(ctx: &mut Ctx, fd: Fd, address: UserPtr<u8>, length: i32) -> Attempt {
    attempt(ctx, fd, |_| Ok(()), &mut |ctx, call| {
        let waiting = !call.file.flags().contains(OpenFlags::NONBLOCK);
        connect_to(ctx, call, &Address::read(address, length)?, waiting)
    })
}

/// Connects, or waits for that.
fn connect_to(ctx: &Ctx, call: &mut Transfer, address: &Address, waiting: bool) -> Attempt {
    let socket = Arc::clone(socket_of(&call.file)?);
    let family = socket.common().family;
    // What an earlier call has begun is not begun by this one.
    let late = if socket.is_connecting() { Errno::EALREADY } else { Errno::EINPROGRESS };
    match socket.connect(&ctx.thread, address, waiting) {
        Ok(()) => Ok(0),
        Err(Error::Errno(Errno::EAGAIN)) => call.not_yet(true, true).map_err(|stop| match stop {
            // The connection goes on being made when nobody waits for it any more.
            Stop::Later(later) if is_inet(family) || family == AF_VSOCK => {
                Later { late: late.into(), ..*later }.into()
            }
            stop => stop,
        }),
        Err(error) => Err(error.into()),
    }
}

/// accept(2)
pub fn accept(ctx: &mut Ctx, fd: Fd, address: UserPtr<u8>, length: UserPtr<i32>) -> Attempt {
    accept4(ctx, fd, address, length, Flags(0))
}

/// accept4(2). Nothing is accepted without a descriptor to be had for it.
pub fn accept4(ctx: &mut Ctx, fd: Fd, address: UserPtr<u8>, length: UserPtr<i32>, flags: Flags) -> Attempt {
    attempt(ctx, fd, |_| Ok(()), &mut |ctx, call| {
        let flags = descriptor_flags(flags.0)?;
        if call.accepted.is_none() {
            let limit = ctx.thread.process().limits.lock().get(Resource::OpenFiles).soft;
            ctx.thread.files().check_room(limit)?;
            let waits = !call.file.flags().contains(OpenFlags::NONBLOCK);
            let arrival = match socket_of(&call.file)?.accept(waits) {
                Ok(arrival) => arrival,
                Err(Errno::EAGAIN) => return call.not_yet(true, false),
                Err(error) => return Err(error.into()),
            };
            let peer = arrival.peer_name();
            call.accepted = Some(new_file(arrival, flags & OpenFlags::NONBLOCK, &ctx.thread)?);
            if !address.is_null() {
                let name = Some((Some(peer.map_err(|_| Errno::ECONNABORTED)?), address, length));
                call.delivery = Some(Delivery { name, ..Delivery::default() });
            }
        }
        call.deliver()?;
        let file = call.accepted.take().ok_or(Errno::ECONNABORTED)?;
        Ok(install(ctx, file, flags.contains(OpenFlags::CLOEXEC))?)
    })
}

/// getsockname(2)
pub fn getsockname(ctx: &mut Ctx, fd: Fd, address: UserPtr<u8>, length: UserPtr<i32>) -> Attempt {
    let socket = socket_at(ctx, fd)?;
    Address::give(Some(&socket.name()?), address, length)?;
    Ok(0)
}

/// getpeername(2)
pub fn getpeername(ctx: &mut Ctx, fd: Fd, address: UserPtr<u8>, length: UserPtr<i32>) -> Attempt {
    let socket = socket_at(ctx, fd)?;
    Address::give(Some(&socket.peer_name()?), address, length)?;
    Ok(0)
}

/// shutdown(2)
pub fn shutdown(ctx: &mut Ctx, fd: Fd, how: i32) -> Attempt {
    let socket = socket_at(ctx, fd)?;
    socket.shut_down(match how {
        0 => Shutdown::RECEIVE,
        1 => Shutdown::SEND,
        2 => Shutdown::all(),
        _ => return Err(Errno::EINVAL.into()),
    })?;
    Ok(0)
}
