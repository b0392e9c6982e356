//! There is one namespace of each kind, and nobody may make or enter another: namespaces(7), as a container without privileges sees it.

use alloc::sync::Arc;

use isopod_fs::Errno;

use super::argument::{Fd, Flags, UserPath};
use crate::fail::SysResult;
use crate::ipc::pidfd;
use crate::process::{CloneFlags, Ctx};

/// `CLONE_NEWTIME`, which clone(2) does not know.
const NEW_TIME: CloneFlags = CloneFlags::from_bits_retain(0x80);

/// unshare(2)
pub fn unshare(ctx: &mut Ctx, flags: u64) -> SysResult {
    let namespaces = CloneFlags::NAMESPACES | NEW_TIME;
    let alone = CloneFlags::THREAD | CloneFlags::SIGHAND | CloneFlags::VM;
    let copied = CloneFlags::FS | CloneFlags::FILES | CloneFlags::SYSVSEM;
    let mut flags = CloneFlags::from_bits_retain(flags);
    if !(namespaces | alone | copied).contains(flags) {
        return Err(Errno::EINVAL.into());
    }
    if flags.contains(CloneFlags::NEWUSER) {
        flags |= CloneFlags::THREAD;
    }
    // What all threads of a process share cannot be parted from them.
    if flags.intersects(alone) && ctx.thread.process().thread_count() > 1 {
        return Err(Errno::EINVAL.into());
    }
    if flags.intersects(namespaces) {
        return Err(Errno::EPERM.into());
    }
    let files = if flags.contains(CloneFlags::FILES) { Some(ctx.thread.files().duplicate()?) } else { None };
    if flags.contains(CloneFlags::FS) {
        let own = Arc::new(ctx.thread.fs().duplicate());
        let shared = core::mem::replace(&mut *ctx.thread.fs.lock(), own);
        drop(shared);
    }
    if let Some(files) = files {
        let shared = core::mem::replace(&mut *ctx.thread.files.lock(), Arc::new(files));
        drop(shared);
    }
    Ok(0)
}

/// setns(2). Only the descriptor of a process can be one of a namespace here.
pub fn setns(ctx: &mut Ctx, fd: Fd, kind: Flags) -> SysResult {
    let file = ctx.thread.files().get(fd.0)?;
    let wanted = CloneFlags::from_bits_retain(u64::from(kind.0));
    let known = wanted != CloneFlags::empty() && (CloneFlags::NAMESPACES | NEW_TIME).contains(wanted);
    if pidfd::process_of(&file).is_err() || !known {
        return Err(Errno::EINVAL.into());
    }
    Err(Errno::EPERM.into())
}

/// `pivot_root(2)`
pub fn pivot_root(_: &mut Ctx, _: UserPath, _: UserPath) -> SysResult {
    Err(Errno::EPERM.into())
}
