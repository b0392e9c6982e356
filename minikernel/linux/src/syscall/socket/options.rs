//! getsockopt(2), setsockopt(2).

use alloc::sync::Arc;

use isopod_fs::Errno;
use isopod_fs::file::OpenFlags;
use isopod_hal::uaccess::{self, Fault};
use zerocopy::IntoBytes;

use super::socket_at;
use crate::bpf::{Instruction, Program, Use};
use crate::fail::Attempt;
use crate::ipc::pidfd::new_pidfd;
use crate::mm::UserPtr;
use crate::process::Ctx;
use crate::socket::Socket;
use crate::socket::inet::is_inet;
use crate::socket::netlink::AF_NETLINK;
use crate::socket::options::{self, OptionValue};
use crate::socket::packet::{self, AF_PACKET};
use crate::socket::vsock::AF_VSOCK;
use crate::syscall::argument::Fd;
use crate::syscall::file::open::install;

/// As much of an option's value as any has (`struct group_req`).
const VALUE_MAX: usize = 136;

/// getsockopt(2)
pub fn getsockopt(
    ctx: &mut Ctx,
    fd: Fd,
    level: u32,
    name: u32,
    value: UserPtr<u8>,
    length: UserPtr<i32>,
) -> Attempt {
    let socket = socket_at(ctx, fd)?;
    let family = socket.common().family;
    let known = level == options::SOL_SOCKET || is_inet(family) || matches!(family, AF_PACKET | AF_VSOCK);
    let room = if known { length.get()? } else { 0 };
    let room = usize::try_from(room).map_err(|_| Errno::EINVAL)?;
    if level == options::SOL_SOCKET && name == options::PEER_PIDFD {
        return peer_pidfd(ctx, &*socket, value, length, room);
    }
    if level == options::SOL_SOCKET && name == options::ATTACH_FILTER {
        return tell_filter(&*socket, value.cast(), length, room);
    }
    if family == AF_PACKET && (level, name) == (packet::SOL_PACKET, packet::HEADER_LENGTH) {
        // It is asked with a version.
        if room < size_of::<i32>() || !packet::knows_ring(value.cast().get()?) {
            return Err(Errno::EINVAL.into());
        }
    }
    let found: OptionValue = options::get(&*socket, level, name)?;
    let lacks = options::lacks_room(name, found.len(), room);
    if let Some(errno) = lacks.filter(|_| level == options::SOL_SOCKET) {
        if errno == Errno::ERANGE {
            length.put(&(found.len() as i32))?;
        }
        return Err(errno.into());
    }
    if level == AF_VSOCK.into() && room < found.len() {
        return Err(Errno::EINVAL.into());
    }
    let found = if level == options::SOL_SOCKET { options::fit(name, found, room) } else { found };
    let told = room.min(found.len());
    // Some are gone once they were asked for: all that can fail comes first.
    value.put_bytes(&found[..told])?;
    length.put(&(told as i32))?;
    Ok(0)
}

/// `SO_GET_FILTER`: a filter's instructions, or without room how many they are. The length counts these (`sk_get_filter`).
fn tell_filter(socket: &dyn Socket, to: UserPtr<Instruction>, length: UserPtr<i32>, room: usize) -> Attempt {
    let filter = socket.common().options.filter();
    let instructions = filter.as_ref().map_or(&[][..], |filter| filter.instructions());
    if room > 0 {
        let fits = room >= instructions.len();
        to.cast().put_bytes(if fits { instructions.as_bytes() } else { return Err(Errno::EINVAL.into()) })?;
    }
    length.put(&(instructions.len() as i32))?;
    Ok(0)
}

/// What `SO_ATTACH_FILTER` is given: `struct sock_fprog`, and what that refers to.
fn attach_filter(socket: &dyn Socket, value: UserPtr<[u64; 2]>, length: usize) -> Attempt {
    if length != size_of::<[u64; 2]>() {
        return Err(Errno::EINVAL.into());
    }
    let [count, address] = value.get()?;
    let count = usize::from(count as u16);
    let list: UserPtr<Instruction> = UserPtr::new(address as usize).non_null().ok_or(Errno::EINVAL)?;
    if count == 0 || count > Program::LENGTH_MAX {
        return Err(Errno::EINVAL.into());
    }
    let program = Program::new(list.get_array(count)?, Use::Packets)?;
    options::attach(socket, Some(Arc::new(program)))?;
    Ok(0)
}

/// `SO_PEERPIDFD`: a new descriptor for the process at the other end.
fn peer_pidfd(
    ctx: &Ctx,
    socket: &dyn Socket,
    value: UserPtr<u8>,
    length: UserPtr<i32>,
    room: usize,
) -> Attempt {
    let peer = socket.peer().ok_or(Errno::ENODATA)?;
    let process = peer.process.upgrade().ok_or(Errno::ESRCH)?;
    let fd = install(ctx, new_pidfd(&process, OpenFlags::empty())?, true)? as i32;
    let told = room.min(size_of::<i32>());
    let given = value.put_bytes(&fd.to_le_bytes()[..told]).and_then(|()| length.put(&(told as i32)));
    if let Err(fault) = given {
        ctx.thread.files().remove(fd)?;
        return Err(fault.into());
    }
    Ok(0)
}

/// setsockopt(2)
pub fn setsockopt(ctx: &mut Ctx, fd: Fd, level: u32, name: u32, value: UserPtr<u8>, length: i32) -> Attempt {
    let socket = socket_at(ctx, fd)?;
    let length = usize::try_from(length).map_err(|_| Errno::EINVAL)?.min(VALUE_MAX);
    if level == options::SOL_SOCKET && name == options::ATTACH_FILTER {
        return attach_filter(&*socket, value.cast(), length);
    }
    let mut bytes = [0; VALUE_MAX];
    let known = length >= size_of::<i32>() || name == options::BIND_TO_DEVICE;
    let family = socket.common().family;
    if level == options::SOL_SOCKET && known
        || is_inet(family)
        || matches!(family, AF_NETLINK | AF_PACKET | AF_VSOCK)
    {
        uaccess::copy_from_user(&mut bytes[..length], value.address()).map_err(Fault::from)?;
    }
    options::set(&ctx.thread, &*socket, level, name, &bytes[..length])?;
    Ok(0)
}
