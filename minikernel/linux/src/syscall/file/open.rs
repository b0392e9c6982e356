//! open(2), openat2(2), creat(2).

use alloc::sync::Arc;

use isopod_fs::Errno;
use isopod_fs::file::{OpenFile, OpenFlags};
use isopod_fs::vfs::{OpenHow, Resolve};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::with;
use crate::fail::{Attempt, Later, SysResult};
use crate::mm::UserPtr;
use crate::poll::{self, FOREVER};
use crate::process::{Ctx, Resource, Thread};
use crate::socket::inet::configuring;
use crate::syscall::argument::{Fd, Flags, Mode, UserPath};
use crate::syscall::path;
use crate::syscall::when::when;

/// open(2)
pub fn open(ctx: &mut Ctx, name: UserPath, flags: Flags, mode: Mode) -> Attempt {
    openat(ctx, Fd::WORKING_DIR, name, flags, mode)
}

/// creat(2)
pub fn creat(ctx: &mut Ctx, name: UserPath, mode: Mode) -> Attempt {
    let flags = OpenFlags::CREAT | OpenFlags::WRONLY | OpenFlags::TRUNC;
    openat(ctx, Fd::WORKING_DIR, name, Flags(flags.bits()), mode)
}

/// openat(2). Unknown flags are ignored.
pub fn openat(ctx: &mut Ctx, dirfd: Fd, name: UserPath, flags: Flags, mode: Mode) -> Attempt {
    let how = OpenHow::new(OpenFlags::from_bits_truncate(flags.0), mode.0 as u16 & 0o7777);
    open_with(ctx, dirfd, name, &how)
}

/// `struct open_how`
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct UserOpenHow {
    flags: u64,
    mode: u64,
    resolve: u64,
}

/// openat2(2). Unknown flags are errors.
pub fn openat2(ctx: &mut Ctx, dirfd: Fd, name: UserPath, how: UserPtr<UserOpenHow>, size: usize) -> Attempt {
    const NO_XDEV: u64 = 1;
    const NO_MAGICLINKS: u64 = 2;
    const NO_SYMLINKS: u64 = 4;
    const BENEATH: u64 = 8;
    const IN_ROOT: u64 = 16;
    /// Only what is cached: a hint that may always be refused.
    const CACHED: u64 = 32;
    if size < size_of::<UserOpenHow>() {
        return Err(Errno::EINVAL.into());
    }
    how.cast::<u8>().has_zero_tail(size_of::<UserOpenHow>(), size)?;
    let user = how.get()?;
    let flags = u32::try_from(user.flags).ok().and_then(OpenFlags::from_bits).ok_or(Errno::EINVAL)?;
    let creates = flags.intersects(OpenFlags::CREAT | OpenFlags::TMPFILE);
    let known = NO_XDEV | NO_MAGICLINKS | NO_SYMLINKS | BENEATH | IN_ROOT | CACHED;
    if user.resolve & !known != 0
        || user.resolve & BENEATH != 0 && user.resolve & IN_ROOT != 0
        || user.mode & !0o7777 != 0
        || user.mode != 0 && !creates
    {
        return Err(Errno::EINVAL.into());
    }
    if user.resolve & CACHED != 0 {
        return Err(Errno::EAGAIN.into());
    }
    let mut request = OpenHow::new(flags, user.mode as u16);
    for (bit, meaning) in [
        (NO_XDEV, Resolve::NO_XDEV),
        (NO_MAGICLINKS, Resolve::NO_MAGICLINKS),
        (NO_SYMLINKS, Resolve::NO_SYMLINKS),
        (BENEATH, Resolve::BENEATH),
        (IN_ROOT, Resolve::IN_ROOT),
    ] {
        request.resolve.set(meaning, user.resolve & bit != 0);
    }
    open_with(ctx, dirfd, name, &request)
}

fn open_with(ctx: &mut Ctx, dirfd: Fd, name: UserPath, how: &OpenHow) -> Attempt {
    let name = path::read(name)?;
    let start = path::at_name(ctx, dirfd, &name)?;
    let file = with(ctx, |view| view.open(&start, &name, how))?;
    configuring::check_open(&file)?;
    let close_on_exec = how.flags.contains(OpenFlags::CLOEXEC);
    match poll::opens_later(&file)? {
        None => Ok(install(ctx, file, close_on_exec)?),
        // open(2) waits for something, such as the other end of a FIFO.
        Some(queue) => {
            let thread = Arc::clone(&ctx.thread);
            when(ctx, Later::new(queue, FOREVER), move || match poll::opens_later(&file) {
                Ok(Some(_)) => None,
                Ok(None) => Some(Ok(install_for(&thread, Arc::clone(&file), close_on_exec).into())),
                Err(errno) => Some(Err(errno.into())),
            })
        }
    }
}

/// Gives an open file the lowest free descriptor.
pub fn install(ctx: &Ctx, file: Arc<OpenFile>, close_on_exec: bool) -> SysResult {
    install_for(&ctx.thread, file, close_on_exec)
}

/// Gives two open files the lowest free descriptors; see [`FileTable::insert_two`](crate::process::FileTable::insert_two).
pub fn insert_two(
    ctx: &Ctx,
    files: Result<[Arc<OpenFile>; 2], Errno>,
    close_on_exec: bool,
    place: UserPtr<[i32; 2]>,
) -> Attempt {
    let limit = ctx.thread.process().limits.lock().get(Resource::OpenFiles).soft;
    ctx.thread.files().insert_two(files, close_on_exec, limit, place)
}

fn install_for(thread: &Thread, file: Arc<OpenFile>, close_on_exec: bool) -> SysResult {
    let limit = thread.process().limits.lock().get(Resource::OpenFiles).soft;
    Ok(thread.files().insert(file, close_on_exec, 0, limit)? as usize)
}
