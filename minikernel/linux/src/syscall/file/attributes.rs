//! chmod(2), chown(2), utimensat(2), truncate(2), fallocate(2), umask(2).

use isopod_fs::vfs::{Path, SetTime};
use isopod_fs::{AllocateMode, Errno, FileType, Timestamp};

use super::{AT_EMPTY, AT_NO_FOLLOW, opened, resolve, size, with};
use crate::fail::{Attempt, SysResult};
use crate::mm::UserPtr;
use crate::process::Ctx;
use crate::syscall::argument::{Fd, Flags, Mode, UserPath};
use crate::time::{Timespec, Timeval};

/// umask(2)
pub fn umask(ctx: &mut Ctx, mask: Mode) -> SysResult {
    Ok(ctx.thread.fs().set_umask(mask.0) as usize)
}

/// chmod(2)
pub fn chmod(ctx: &mut Ctx, name: UserPath, mode: Mode) -> Attempt {
    fchmodat(ctx, Fd::WORKING_DIR, name, mode)
}

/// fchmodat(2); the system call has no flags.
pub fn fchmodat(ctx: &mut Ctx, dirfd: Fd, name: UserPath, mode: Mode) -> Attempt {
    fchmodat2(ctx, dirfd, name, mode, Flags(0))
}

/// fchmodat2(2). A symbolic link has no mode that could be changed.
pub fn fchmodat2(ctx: &mut Ctx, dirfd: Fd, name: UserPath, mode: Mode, flags: Flags) -> Attempt {
    if flags.0 & !(AT_NO_FOLLOW | AT_EMPTY) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let place = resolve(ctx, dirfd, name, flags.0)?;
    if place.inode().metadata()?.kind == FileType::Symlink {
        return Err(Errno::EOPNOTSUPP.into());
    }
    with(ctx, |view| view.chmod(&place, mode.0 as u16 & 0o7777))?;
    Ok(0)
}

/// fchmod(2)
pub fn fchmod(ctx: &mut Ctx, fd: Fd, mode: Mode) -> Attempt {
    let place = opened(ctx, fd)?;
    with(ctx, |view| view.chmod(&place, mode.0 as u16 & 0o7777))?;
    Ok(0)
}

fn change_owner(ctx: &Ctx, place: &Path, uid: u32, gid: u32) -> Attempt {
    let given = |id: u32| (id != u32::MAX).then_some(id);
    with(ctx, |view| view.chown(place, given(uid), given(gid)))?;
    Ok(0)
}

/// chown(2)
pub fn chown(ctx: &mut Ctx, name: UserPath, uid: u32, gid: u32) -> Attempt {
    fchownat(ctx, Fd::WORKING_DIR, name, uid, gid, Flags(0))
}

/// lchown(2)
pub fn lchown(ctx: &mut Ctx, name: UserPath, uid: u32, gid: u32) -> Attempt {
    fchownat(ctx, Fd::WORKING_DIR, name, uid, gid, Flags(AT_NO_FOLLOW))
}

/// fchown(2)
pub fn fchown(ctx: &mut Ctx, fd: Fd, uid: u32, gid: u32) -> Attempt {
    let place = opened(ctx, fd)?;
    change_owner(ctx, &place, uid, gid)
}

/// fchownat(2)
pub fn fchownat(ctx: &mut Ctx, dirfd: Fd, name: UserPath, uid: u32, gid: u32, flags: Flags) -> Attempt {
    if flags.0 & !(AT_NO_FOLLOW | AT_EMPTY) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let place = resolve(ctx, dirfd, name, flags.0)?;
    change_owner(ctx, &place, uid, gid)
}

/// One of the two times of utimensat(2), as the program gives it.
fn requested(time: Timespec) -> Result<SetTime, Errno> {
    const NOW: i64 = (1 << 30) - 1;
    const OMIT: i64 = (1 << 30) - 2;
    match time.nanoseconds {
        NOW => Ok(SetTime::Now),
        OMIT => Ok(SetTime::Omit),
        ns @ 0..1_000_000_000 => Ok(SetTime::To(Timestamp { seconds: time.seconds, nanoseconds: ns as u32 })),
        _ => Err(Errno::EINVAL),
    }
}

/// utimensat(2). Without a path it changes the file that the descriptor refers to (futimens(3)).
pub fn utimensat(
    ctx: &mut Ctx,
    dirfd: Fd,
    name: UserPath,
    times: UserPtr<[Timespec; 2]>,
    flags: Flags,
) -> Attempt {
    let (accessed, modified) = match times.non_null() {
        Some(times) => {
            let [accessed, modified] = times.get()?;
            (requested(accessed)?, requested(modified)?)
        }
        None => (SetTime::Now, SetTime::Now),
    };
    if (accessed, modified) == (SetTime::Omit, SetTime::Omit) {
        return Ok(0);
    }
    set_times(ctx, dirfd, name, (accessed, modified), flags)
}

fn set_times(
    ctx: &Ctx,
    dirfd: Fd,
    name: UserPath,
    (accessed, modified): (SetTime, SetTime),
    flags: Flags,
) -> Attempt {
    let place = if name.0.is_null() && dirfd != Fd::WORKING_DIR {
        if flags.0 != 0 {
            return Err(Errno::EINVAL.into());
        }
        opened(ctx, dirfd)?
    } else {
        if flags.0 & !(AT_NO_FOLLOW | AT_EMPTY) != 0 {
            return Err(Errno::EINVAL.into());
        }
        resolve(ctx, dirfd, name, flags.0)?
    };
    with(ctx, |view| view.set_times(&place, accessed, modified))?;
    Ok(0)
}

/// futimesat(2)
pub fn futimesat(ctx: &mut Ctx, dirfd: Fd, name: UserPath, times: UserPtr<[Timeval; 2]>) -> Attempt {
    let times = match times.non_null() {
        Some(times) => {
            let [accessed, modified] = times.get()?;
            (from_timeval(accessed)?, from_timeval(modified)?)
        }
        None => (SetTime::Now, SetTime::Now),
    };
    set_times(ctx, dirfd, name, times, Flags(0))
}

fn from_timeval(time: Timeval) -> Result<SetTime, Errno> {
    match time.microseconds {
        us @ 0..1_000_000 => {
            Ok(SetTime::To(Timestamp { seconds: time.seconds, nanoseconds: us as u32 * 1000 }))
        }
        _ => Err(Errno::EINVAL),
    }
}

/// utimes(2)
pub fn utimes(ctx: &mut Ctx, name: UserPath, times: UserPtr<[Timeval; 2]>) -> Attempt {
    futimesat(ctx, Fd::WORKING_DIR, name, times)
}

/// utime(2): whole seconds.
pub fn utime(ctx: &mut Ctx, name: UserPath, times: UserPtr<[i64; 2]>) -> Attempt {
    let whole = |seconds| SetTime::To(Timestamp { seconds, nanoseconds: 0 });
    let times = match times.non_null() {
        Some(times) => {
            let [accessed, modified] = times.get()?;
            (whole(accessed), whole(modified))
        }
        None => (SetTime::Now, SetTime::Now),
    };
    set_times(ctx, Fd::WORKING_DIR, name, times, Flags(0))
}

/// truncate(2)
pub fn truncate(ctx: &mut Ctx, name: UserPath, length: i64) -> Attempt {
    let length = u64::try_from(length).map_err(|_| Errno::EINVAL)?;
    let place = resolve(ctx, Fd::WORKING_DIR, name, 0)?;
    size::check(&ctx.thread, length)?;
    with(ctx, |view| view.truncate(&place, length))?;
    Ok(0)
}

/// ftruncate(2)
pub fn ftruncate(ctx: &mut Ctx, fd: Fd, length: i64) -> Attempt {
    let length = u64::try_from(length).map_err(|_| Errno::EINVAL)?;
    let file = ctx.thread.files().get(fd.0)?;
    size::check(&ctx.thread, length)?;
    let credentials = ctx.thread.identity().for_files();
    file.truncate(length, &credentials)?;
    Ok(0)
}

/// fallocate(2)
pub fn fallocate(ctx: &mut Ctx, fd: Fd, mode: Flags, offset: i64, length: i64) -> Attempt {
    const KEEP_SIZE: u32 = 1;
    /// A hole never changes the size: one flag without the other is refused.
    const PUNCH_HOLE_KEEP_SIZE: u32 = 3;
    let file = ctx.thread.files().get(fd.0)?;
    let mode = match mode.0 {
        0 => AllocateMode::Reserve,
        KEEP_SIZE => AllocateMode::ReserveKeepSize,
        PUNCH_HOLE_KEEP_SIZE => AllocateMode::PunchHole,
        _ => return Err(Errno::EOPNOTSUPP.into()),
    };
    if mode == AllocateMode::Reserve && offset >= 0 && length > 0 {
        size::check(&ctx.thread, offset.saturating_add(length).unsigned_abs())?;
    }
    let credentials = ctx.thread.identity().for_files();
    file.allocate(mode, offset, length, &credentials)?;
    Ok(0)
}
