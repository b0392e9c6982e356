//! signalfd(2)

use isopod_fs::Errno;
use isopod_fs::file::OpenFlags;

use super::argument::{Fd, Flags};
use super::file::open::install;
use crate::fail::Attempt;
use crate::ipc::signalfd::{SignalFile, new_signalfd};
use crate::mm::UserPtr;
use crate::process::Ctx;
use crate::signal::SigSet;

/// signalfd(2)
pub fn signalfd(ctx: &mut Ctx, fd: Fd, mask: UserPtr<u64>, size: usize) -> Attempt {
    signalfd4(ctx, fd, mask, size, Flags(0))
}

/// signalfd4(2)
pub fn signalfd4(ctx: &mut Ctx, fd: Fd, mask: UserPtr<u64>, size: usize, flags: Flags) -> Attempt {
    /// A new file is wanted.
    const NEW: Fd = Fd(-1);
    if size != size_of::<u64>() {
        return Err(Errno::EINVAL.into());
    }
    let wanted = SigSet::from_bits(mask.get()?);
    let flags = OpenFlags::from_bits_retain(flags.0);
    if !(OpenFlags::CLOEXEC | OpenFlags::NONBLOCK).contains(flags) {
        return Err(Errno::EINVAL.into());
    }
    if fd == NEW {
        let file = new_signalfd(wanted, flags & OpenFlags::NONBLOCK)?;
        return Ok(install(ctx, file, flags.contains(OpenFlags::CLOEXEC))?);
    }
    let file = ctx.thread.files().get(fd.0)?;
    SignalFile::of(&file).ok_or(Errno::EINVAL)?.set_wanted(wanted);
    Ok(fd.0 as usize)
}
