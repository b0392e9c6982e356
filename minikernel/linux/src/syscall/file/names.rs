//! Names: mkdir(2), unlink(2), rename(2), link(2), symlink(2), mknod(2).

use isopod_fs::{DeviceId, Errno, FileType, RenameFlags};

use super::{AT_EMPTY, AT_FOLLOW, AT_NO_FOLLOW, resolve, with};
use crate::fail::Attempt;
use crate::process::Ctx;
use crate::syscall::argument::{Fd, Flags, Mode, UserPath};
use crate::syscall::path;

/// `AT_REMOVEDIR`
const REMOVE_DIR: u32 = 0x200;

/// mkdir(2)
pub fn mkdir(ctx: &mut Ctx, name: UserPath, mode: Mode) -> Attempt {
    mkdirat(ctx, Fd::WORKING_DIR, name, mode)
}

/// mkdirat(2)
pub fn mkdirat(ctx: &mut Ctx, dirfd: Fd, name: UserPath, mode: Mode) -> Attempt {
    let name = path::read(name)?;
    let start = path::at_name(ctx, dirfd, &name)?;
    with(ctx, |view| view.mkdir(&start, &name, mode.0 as u16 & 0o7777))?;
    Ok(0)
}

/// mknod(2)
pub fn mknod(ctx: &mut Ctx, name: UserPath, mode: Mode, device: u32) -> Attempt {
    mknodat(ctx, Fd::WORKING_DIR, name, mode, device)
}

/// mknodat(2). Without a type it makes a regular file.
pub fn mknodat(ctx: &mut Ctx, dirfd: Fd, name: UserPath, mode: Mode, device: u32) -> Attempt {
    const TYPE: u32 = 0o170_000;
    let kind = match mode.0 & TYPE {
        0 => FileType::Regular,
        _ => FileType::from_mode(mode.0).ok_or(Errno::EINVAL)?,
    };
    let name = path::read(name)?;
    let start = path::at_name(ctx, dirfd, &name)?;
    let device = DeviceId::decode(device);
    with(ctx, |view| view.mknod(&start, &name, kind, mode.0 as u16 & 0o7777, device))?;
    Ok(0)
}

/// unlink(2)
pub fn unlink(ctx: &mut Ctx, name: UserPath) -> Attempt {
    unlinkat(ctx, Fd::WORKING_DIR, name, Flags(0))
}

/// rmdir(2)
pub fn rmdir(ctx: &mut Ctx, name: UserPath) -> Attempt {
    unlinkat(ctx, Fd::WORKING_DIR, name, Flags(REMOVE_DIR))
}

/// unlinkat(2)
pub fn unlinkat(ctx: &mut Ctx, dirfd: Fd, name: UserPath, flags: Flags) -> Attempt {
    if flags.0 & !REMOVE_DIR != 0 {
        return Err(Errno::EINVAL.into());
    }
    let name = path::read(name)?;
    let start = path::at_name(ctx, dirfd, &name)?;
    with(ctx, |view| match flags.0 {
        0 => view.unlink(&start, &name),
        _ => view.rmdir(&start, &name),
    })?;
    Ok(0)
}

/// rename(2)
pub fn rename(ctx: &mut Ctx, old: UserPath, new: UserPath) -> Attempt {
    renameat2(ctx, Fd::WORKING_DIR, old, Fd::WORKING_DIR, new, Flags(0))
}

/// renameat(2)
pub fn renameat(ctx: &mut Ctx, old_dir: Fd, old: UserPath, new_dir: Fd, new: UserPath) -> Attempt {
    renameat2(ctx, old_dir, old, new_dir, new, Flags(0))
}

/// renameat2(2)
pub fn renameat2(
    ctx: &mut Ctx,
    old_dir: Fd,
    old: UserPath,
    new_dir: Fd,
    new: UserPath,
    flags: Flags,
) -> Attempt {
    let flags = RenameFlags::from_bits(flags.0).ok_or(Errno::EINVAL)?;
    let (old, new) = (path::read(old)?, path::read(new)?);
    let (from, to) = (path::at_name(ctx, old_dir, &old)?, path::at_name(ctx, new_dir, &new)?);
    with(ctx, |view| view.rename(&from, &old, &to, &new, flags))?;
    Ok(0)
}

/// link(2)
pub fn link(ctx: &mut Ctx, old: UserPath, new: UserPath) -> Attempt {
    linkat(ctx, Fd::WORKING_DIR, old, Fd::WORKING_DIR, new, Flags(0))
}

/// linkat(2)
pub fn linkat(
    ctx: &mut Ctx,
    old_dir: Fd,
    old: UserPath,
    new_dir: Fd,
    new: UserPath,
    flags: Flags,
) -> Attempt {
    if flags.0 & !(AT_FOLLOW | AT_EMPTY) != 0 {
        return Err(Errno::EINVAL.into());
    }
    // Here links are followed only when asked for, unlike elsewhere.
    let how = if flags.0 & AT_FOLLOW == 0 { AT_NO_FOLLOW } else { 0 };
    let source = resolve(ctx, old_dir, old, how | flags.0 & AT_EMPTY)?;
    let new = path::read(new)?;
    let to = path::at_name(ctx, new_dir, &new)?;
    with(ctx, |view| view.link(&source, &to, &new))?;
    Ok(0)
}

/// symlink(2)
pub fn symlink(ctx: &mut Ctx, target: UserPath, name: UserPath) -> Attempt {
    symlinkat(ctx, target, Fd::WORKING_DIR, name)
}

/// symlinkat(2)
pub fn symlinkat(ctx: &mut Ctx, target: UserPath, dirfd: Fd, name: UserPath) -> Attempt {
    let target = path::read(target)?;
    let name = path::read(name)?;
    let start = path::at_name(ctx, dirfd, &name)?;
    with(ctx, |view| view.symlink(&target, &start, &name))?;
    Ok(0)
}
