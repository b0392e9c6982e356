//! `inotify_init(2)`, `inotify_add_watch(2)`, `inotify_rm_watch(2)`.

use isopod_fs::Errno;
use isopod_fs::file::OpenFlags;
use isopod_fs::vfs::{Access, Resolve};

use super::argument::{Fd, Flags, UserPath};
use super::file::open::install;
use super::file::with;
use super::path;
use crate::fail::{Attempt, SysResult};
use crate::ipc::inotify::{ALL_EVENTS, EXCL_UNLINK, Existing, Inotify, ONESHOT, new_inotify};
use crate::process::Ctx;

/// `inotify_init(2)`
pub fn inotify_init(ctx: &mut Ctx) -> SysResult {
    inotify_init1(ctx, Flags(0))
}

/// `inotify_init1(2)`
pub fn inotify_init1(ctx: &mut Ctx, flags: Flags) -> SysResult {
    let flags = OpenFlags::from_bits_retain(flags.0);
    if !(OpenFlags::CLOEXEC | OpenFlags::NONBLOCK).contains(flags) {
        return Err(Errno::EINVAL.into());
    }
    let user = ctx.thread.identity().users.effective;
    let file = new_inotify(user, flags & OpenFlags::NONBLOCK)?;
    install(ctx, file, flags.contains(OpenFlags::CLOEXEC))
}

/// `inotify_add_watch(2)`
pub fn inotify_add_watch(ctx: &mut Ctx, fd: Fd, name: UserPath, mask: Flags) -> Attempt {
    const ONLYDIR: u32 = 0x0100_0000;
    const DONT_FOLLOW: u32 = 0x0200_0000;
    const MASK_CREATE: u32 = 0x1000_0000;
    const MASK_ADD: u32 = 0x2000_0000;
    const ISDIR: u32 = 0x4000_0000;
    /// `IN_UNMOUNT`, `IN_Q_OVERFLOW`, `IN_IGNORED`: sent whether or not they are asked for.
    const ALWAYS: u32 = 0xe000;
    const KNOWN: u32 =
        ALL_EVENTS | ALWAYS | ONLYDIR | DONT_FOLLOW | EXCL_UNLINK | MASK_CREATE | MASK_ADD | ISDIR | ONESHOT;
    let mask = mask.0;
    if mask & !KNOWN != 0 || mask == 0 {
        return Err(Errno::EINVAL.into());
    }
    let file = ctx.thread.files().get(fd.0)?;
    let existing = match (mask & MASK_ADD != 0, mask & MASK_CREATE != 0) {
        (true, true) => return Err(Errno::EINVAL.into()),
        (true, false) => Existing::Add,
        (false, true) => Existing::Refuse,
        (false, false) => Existing::Replace,
    };
    let instance = Inotify::of(&file).ok_or(Errno::EINVAL)?;
    let name = path::read(name)?;
    let start = path::at_name(ctx, Fd::WORKING_DIR, &name)?;
    let mut how = Resolve::empty();
    how.set(Resolve::FOLLOW, mask & DONT_FOLLOW == 0);
    how.set(Resolve::DIRECTORY, mask & ONLYDIR != 0);
    let watched = with(ctx, |view| {
        let path = view.resolve(&start, &name, how)?;
        view.access(&path, Access::READ)?;
        Ok(path)
    })?;
    Ok(instance.add(watched.inode(), mask & (ALL_EVENTS | EXCL_UNLINK | ONESHOT), existing)? as usize)
}

/// `inotify_rm_watch(2)`
pub fn inotify_rm_watch(ctx: &mut Ctx, fd: Fd, number: i32) -> SysResult {
    let file = ctx.thread.files().get(fd.0)?;
    Inotify::of(&file).ok_or(Errno::EINVAL)?.remove(number)?;
    Ok(0)
}
