//! open(2), openat2(2), creat(2).

use alloc::sync::Arc;

use isopod_fs::Errno;
use isopod_fs::file::{OpenFile, OpenFlags};
use isopod_fs::vfs::{OpenHow, Resolve};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::with;
use crate::fail::SysResult;
use crate::mm::UserPtr;
use crate::poll;
use crate::process::{Ctx, Resource};
use crate::syscall::argument::{Fd, Flags, Mode, UserPath};
use crate::syscall::path;
use crate::wait::again;

/// open(2)
pub async fn open(ctx: &mut Ctx, name: UserPath, flags: Flags, mode: Mode) -> SysResult {
    openat(ctx, Fd::WORKING_DIR, name, flags, mode).await
}

/// creat(2)
pub async fn creat(ctx: &mut Ctx, name: UserPath, mode: Mode) -> SysResult {
    let flags = OpenFlags::CREAT | OpenFlags::WRONLY | OpenFlags::TRUNC;
    openat(ctx, Fd::WORKING_DIR, name, Flags(flags.bits()), mode).await
}

/// openat(2). Unknown flags are ignored.
pub async fn openat(ctx: &mut Ctx, dirfd: Fd, name: UserPath, flags: Flags, mode: Mode) -> SysResult {
    let how = OpenHow::new(OpenFlags::from_bits_truncate(flags.0), mode.0 as u16 & 0o7777);
    open_with(ctx, dirfd, name, &how).await
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
pub async fn openat2(
    ctx: &mut Ctx,
    dirfd: Fd,
    name: UserPath,
    how: UserPtr<UserOpenHow>,
    size: usize,
) -> SysResult {
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
    ctx.memory.check_zero_tail(how.address(), size_of::<UserOpenHow>(), size).await?;
    let user = ctx.memory.read(how).await?;
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
    open_with(ctx, dirfd, name, &request).await
}

async fn open_with(ctx: &Ctx, dirfd: Fd, name: UserPath, how: &OpenHow) -> SysResult {
    let open = || {
        let name = path::read(name)?;
        let start = path::at_name(ctx, dirfd, &name)?;
        Ok(with(ctx, |view| view.open(&start, &name, how))?)
    };
    let file = again(&ctx.memory, open).await?;
    poll::finish_open(&ctx.thread, &file).await?;
    install(ctx, file, how.flags.contains(OpenFlags::CLOEXEC))
}

/// Gives an open file the lowest free descriptor.
pub fn install(ctx: &Ctx, file: Arc<OpenFile>, close_on_exec: bool) -> SysResult {
    let limit = ctx.thread.process().limits.lock().get(Resource::OpenFiles).soft;
    Ok(ctx.thread.files().insert(file, close_on_exec, 0, limit)? as usize)
}
