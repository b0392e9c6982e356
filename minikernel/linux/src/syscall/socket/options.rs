//! getsockopt(2), setsockopt(2).

use isopod_fs::Errno;
use isopod_fs::file::OpenFlags;
use isopod_hal::uaccess::{self, Fault};

use super::socket_at;
use crate::fail::Attempt;
use crate::ipc::pidfd::new_pidfd;
use crate::mm::UserPtr;
use crate::process::Ctx;
use crate::socket::Socket;
use crate::socket::inet::is_inet;
use crate::socket::options::{self, OptionValue};
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
    let known = level == options::SOL_SOCKET || is_inet(socket.common().family);
    let room = if known { length.get()? } else { 0 };
    let room = usize::try_from(room).map_err(|_| Errno::EINVAL)?;
    if level == options::SOL_SOCKET && name == options::PEER_PIDFD {
        return peer_pidfd(ctx, &*socket, value, length, room);
    }
    let found: OptionValue = options::get(&*socket, level, name)?;
    if let Some(errno) = options::lacks_room(name, found.len(), room) {
        if errno == Errno::ERANGE {
            length.put(&(found.len() as i32))?;
        }
        return Err(errno.into());
    }
    let told = room.min(found.len());
    // Some are gone once they were asked for: all that can fail comes first.
    value.put_bytes(&found[..told])?;
    length.put(&(told as i32))?;
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
    let mut bytes = [0; VALUE_MAX];
    if level == options::SOL_SOCKET && length >= size_of::<i32>() || is_inet(socket.common().family) {
        uaccess::copy_from_user(&mut bytes[..length], value.address()).map_err(Fault::from)?;
    }
    options::set(&ctx.thread, &*socket, level, name, &bytes[..length])?;
    Ok(0)
}
