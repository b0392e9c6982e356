//! Descriptors of processes: `pidfd_open(2)`, `pidfd_send_signal(2)`, `pidfd_getfd(2)`.

use isopod_fs::Errno;
use isopod_fs::file::OpenFlags;

use super::argument::{Fd, Flags, SignalNumber};
use super::file::open::install;
use super::signals;
use crate::fail::{Attempt, SysResult};
use crate::ipc::pidfd::{new_pidfd, process_of};
use crate::mm::UserPtr;
use crate::proc;
use crate::process::{self, Ctx, With};
use crate::signal::SigInfo;

/// `pidfd_open(2)`
pub fn pidfd_open(ctx: &mut Ctx, pid: i32, flags: Flags) -> SysResult {
    let flags = OpenFlags::from_bits_retain(flags.0);
    if !OpenFlags::NONBLOCK.contains(flags) || pid <= 0 {
        return Err(Errno::EINVAL.into());
    }
    let Some(process) = process::find_process(pid as u32) else {
        // A thread that is not its process's first is not to be had.
        let is_thread = process::find_thread(pid as u32).is_some();
        return Err(if is_thread { Errno::EINVAL } else { Errno::ESRCH }.into());
    };
    install(ctx, new_pidfd(&process, flags)?, true)
}

/// `pidfd_send_signal(2)`
pub fn pidfd_send_signal(
    ctx: &mut Ctx,
    fd: Fd,
    number: SignalNumber,
    info: UserPtr<SigInfo>,
    flags: Flags,
) -> Attempt {
    if flags.0 != 0 {
        return Err(Errno::EINVAL.into());
    }
    let file = ctx.thread.files().get(fd.0)?;
    let target = match proc::process_of(file.inode()) {
        Some(found) => found?,
        None => process_of(&file)?,
    };
    if target.status().is_some() && process::find_process(target.pid).is_none() {
        return Err(Errno::ESRCH.into());
    }
    signals::send_through_descriptor(ctx, &target, number, info)
}

/// `pidfd_getfd(2)`
pub fn pidfd_getfd(ctx: &mut Ctx, pidfd: Fd, target: Fd, flags: Flags) -> SysResult {
    if flags.0 != 0 {
        return Err(Errno::EINVAL.into());
    }
    let process = process_of(&*ctx.thread.files().get(pidfd.0)?)?;
    let thread = process.first_thread().ok_or(Errno::ESRCH)?;
    if !ctx.thread.may_inspect(&thread, With::RealIds) {
        return Err(Errno::EPERM.into());
    }
    let file = thread.files().get_or_place(target.0)?;
    install(ctx, file, true)
}
