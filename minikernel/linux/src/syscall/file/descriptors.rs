//! Descriptors: close(2), dup(2), fcntl(2).

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use isopod_fs::file::{OpenFile, OpenFlags};
use isopod_fs::{Capabilities, Errno, Seals};

use super::owner;
use crate::fail::{Attempt, SysResult};
use crate::ipc::pipe::Pipe;
use crate::mm::UserPtr;
use crate::process::{Ctx, Resource};
use crate::syscall::argument::{Fd, Flags};

/// close(2)
pub fn close(ctx: &mut Ctx, fd: Fd) -> SysResult {
    let file = ctx.thread.files().remove(fd.0)?;
    file.closed_by(ctx.thread.process().pid);
    Ok(0)
}

/// `close_range(2)`
pub fn close_range(ctx: &mut Ctx, first: u32, last: u32, flags: Flags) -> SysResult {
    const UNSHARE: u32 = 2;
    const CLOEXEC: u32 = 4;
    if flags.0 & !(UNSHARE | CLOEXEC) != 0 || first > last {
        return Err(Errno::EINVAL.into());
    }
    if flags.0 & UNSHARE != 0 {
        let own = Arc::new(ctx.thread.files().duplicate()?);
        *ctx.thread.files.lock() = own;
    }
    let (mut first, last) = (first as usize, last as usize);
    let files = ctx.thread.files();
    if flags.0 & CLOEXEC != 0 {
        files.set_close_on_exec_range(first..=last);
        return Ok(0);
    }
    while let Some((number, file)) = files.take_where(first..=last, |_| true) {
        first = number;
        file.closed_by(ctx.thread.process().pid);
    }
    Ok(0)
}

fn limit(ctx: &Ctx) -> u64 {
    ctx.thread.process().limits.lock().get(Resource::OpenFiles).soft
}

/// dup(2)
pub fn dup(ctx: &mut Ctx, fd: Fd) -> SysResult {
    let files = ctx.thread.files();
    Ok(files.insert(files.get_or_place(fd.0)?, false, 0, limit(ctx))? as usize)
}

/// dup2(2)
pub fn dup2(ctx: &mut Ctx, old: Fd, new: Fd) -> SysResult {
    if old == new {
        ctx.thread.files().get_or_place(old.0)?;
        return Ok(new.0 as usize);
    }
    replace(ctx, old, new, false)
}

/// dup3(2)
pub fn dup3(ctx: &mut Ctx, old: Fd, new: Fd, flags: Flags) -> SysResult {
    if flags.0 & !OpenFlags::CLOEXEC.bits() != 0 || old == new {
        return Err(Errno::EINVAL.into());
    }
    replace(ctx, old, new, flags.0 != 0)
}

fn replace(ctx: &Ctx, old: Fd, new: Fd, close_on_exec: bool) -> SysResult {
    let files = ctx.thread.files();
    let file = files.get_or_place(old.0)?;
    if let Some(gone) = files.replace(new.0, file, close_on_exec, limit(ctx))? {
        gone.closed_by(ctx.thread.process().pid);
    }
    Ok(new.0 as usize)
}

/// fcntl(2); its lock commands are in [`locks`](super::locks).
pub fn fcntl(ctx: &mut Ctx, fd: Fd, command: i32, argument: u64) -> Attempt {
    const DUPFD: i32 = 0;
    const GETFD: i32 = 1;
    const SETFD: i32 = 2;
    const GETFL: i32 = 3;
    const SETFL: i32 = 4;
    const DUPFD_CLOEXEC: i32 = 1030;
    const SETPIPE_SZ: i32 = 1031;
    const GETPIPE_SZ: i32 = 1032;
    const OWNER: [i32; 7] = [8, 9, 10, 11, 15, 16, 1026];
    const GETLEASE: i32 = 1025;
    const ADD_SEALS: i32 = 1033;
    const GET_SEALS: i32 = 1034;
    const GET_RW_HINT: i32 = 1035;
    const SET_RW_HINT: i32 = 1036;
    const FD_CLOEXEC: u64 = 1;
    let files = ctx.thread.files();
    let descriptor = files.descriptor(fd.0)?;
    let file = descriptor.file;
    let path_only = file.flags().contains(OpenFlags::PATH);
    match command {
        DUPFD | DUPFD_CLOEXEC => {
            let limit = limit(ctx);
            let from = argument as i32;
            if from < 0 || from as u64 >= limit {
                return Err(Errno::EINVAL.into());
            }
            Ok(files.insert(file, command == DUPFD_CLOEXEC, from as usize, limit)? as usize)
        }
        GETFD => Ok(usize::from(descriptor.close_on_exec)),
        SETFD => {
            files.set_close_on_exec(fd.0, argument & FD_CLOEXEC != 0)?;
            Ok(0)
        }
        GETFL => Ok(file.flags().bits() as usize),
        _ if path_only => Err(Errno::EBADF.into()),
        SETFL => {
            let credentials = ctx.thread.identity().for_files();
            let mut flags = OpenFlags::from_bits_truncate(argument as u32);
            match owner::set_async(&file, fd, flags.contains(OpenFlags::ASYNC)) {
                // What never changes does not keep the flag.
                Err(Errno::ENOTTY) => flags.remove(OpenFlags::ASYNC),
                outcome => outcome?,
            }
            file.set_flags(flags, &credentials)?;
            Ok(0)
        }
        _ if OWNER.contains(&command) => owner::fcntl(ctx, fd, &file, command, argument),
        ADD_SEALS | GET_SEALS => seal(&file, command == ADD_SEALS, argument),
        GETPIPE_SZ => Ok(Pipe::of(&file).ok_or(Errno::EBADF)?.capacity()),
        SETPIPE_SZ => {
            let pipe = Pipe::of(&file).ok_or(Errno::EBADF)?;
            let privileged = ctx.thread.identity().capable(Capabilities::SYS_RESOURCE);
            Ok(pipe.set_capacity(argument as u32, privileged)?)
        }
        GET_RW_HINT | SET_RW_HINT => {
            rw_hint(ctx, &file, command == SET_RW_HINT, UserPtr::new(argument as usize))
        }
        // `F_UNLCK`: nobody has a lease, for no file system here gives any (`F_SETLEASE` is EINVAL, as with `simple_nosetlease`).
        GETLEASE => Ok(2),
        _ => super::locks::fcntl(ctx, fd, &file, command, argument),
    }
}

/// `F_ADD_SEALS` and `F_GET_SEALS`. EPERM to who cannot write.
fn seal(file: &OpenFile, add: bool, argument: u64) -> Attempt {
    if !add {
        return Ok(file.inode().seals()?.bits() as usize);
    }
    if !file.flags().writable() {
        return Err(Errno::EPERM.into());
    }
    let seals = u32::try_from(argument).ok().and_then(Seals::from_bits).ok_or(Errno::EINVAL)?;
    file.inode().add_seals(seals)?;
    Ok(0)
}

/// `F_GET_RW_HINT` and `F_SET_RW_HINT`, which belong to the inode. EPERM to who does not own it.
fn rw_hint(ctx: &Ctx, file: &OpenFile, set: bool, place: UserPtr<u64>) -> Attempt {
    /// `RWH_WRITE_LIFE_EXTREME`
    const LONGEST: u8 = 5;
    let hint = &file.inode().state().write_hint;
    if !set {
        place.put(&u64::from(hint.load(Ordering::Relaxed)))?;
        return Ok(0);
    }
    if !ctx.thread.identity().for_files().owns(file.inode().metadata()?.uid) {
        return Err(Errno::EPERM.into());
    }
    let wanted = u8::try_from(place.get()?).ok().filter(|hint| *hint <= LONGEST).ok_or(Errno::EINVAL)?;
    hint.store(wanted, Ordering::Relaxed);
    Ok(0)
}
