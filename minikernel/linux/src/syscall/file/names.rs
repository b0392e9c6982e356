//! Names: mkdir(2), unlink(2), rename(2), link(2), symlink(2), mknod(2).

use isopod_fs::{DeviceId, Errno, FileType, RenameFlags};

use super::{AT_EMPTY, AT_FOLLOW, AT_NO_FOLLOW, resolve, with};
use crate::fail::SysResult;
use crate::process::Ctx;
use crate::syscall::argument::{Fd, Flags, Mode, UserPath};
use crate::syscall::path;

/// `AT_REMOVEDIR`
const REMOVE_DIR: u32 = 0x200;

/// mkdir(2)
pub async fn mkdir(ctx: &mut Ctx, name: UserPath, mode: Mode) -> SysResult {
    mkdirat(ctx, Fd::WORKING_DIR, name, mode).await
}

/// mkdirat(2)
pub async fn mkdirat(ctx: &mut Ctx, dirfd: Fd, name: UserPath, mode: Mode) -> SysResult {
    let name = path::read(ctx, name).await?;
    let start = path::at_name(ctx, dirfd, &name)?;
    with(ctx, |view| view.mkdir(&start, &name, mode.0 as u16 & 0o7777)).await?;
    Ok(0)
}

/// mknod(2)
pub async fn mknod(ctx: &mut Ctx, name: UserPath, mode: Mode, device: u32) -> SysResult {
    mknodat(ctx, Fd::WORKING_DIR, name, mode, device).await
}

/// mknodat(2). Without a type it makes a regular file.
pub async fn mknodat(ctx: &mut Ctx, dirfd: Fd, name: UserPath, mode: Mode, device: u32) -> SysResult {
    const TYPE: u32 = 0o170_000;
    let kind = match mode.0 & TYPE {
        0 => FileType::Regular,
        _ => FileType::from_mode(mode.0).ok_or(Errno::EINVAL)?,
    };
    let name = path::read(ctx, name).await?;
    let start = path::at_name(ctx, dirfd, &name)?;
    let device = DeviceId::decode(device);
    with(ctx, |view| view.mknod(&start, &name, kind, mode.0 as u16 & 0o7777, device)).await?;
    Ok(0)
}

/// unlink(2)
pub async fn unlink(ctx: &mut Ctx, name: UserPath) -> SysResult {
    unlinkat(ctx, Fd::WORKING_DIR, name, Flags(0)).await
}

/// rmdir(2)
pub async fn rmdir(ctx: &mut Ctx, name: UserPath) -> SysResult {
    unlinkat(ctx, Fd::WORKING_DIR, name, Flags(REMOVE_DIR)).await
}

/// unlinkat(2)
pub async fn unlinkat(ctx: &mut Ctx, dirfd: Fd, name: UserPath, flags: Flags) -> SysResult {
    if flags.0 & !REMOVE_DIR != 0 {
        return Err(Errno::EINVAL.into());
    }
    let name = path::read(ctx, name).await?;
    let start = path::at_name(ctx, dirfd, &name)?;
    with(ctx, |view| match flags.0 {
        0 => view.unlink(&start, &name),
        _ => view.rmdir(&start, &name),
    })
    .await?;
    Ok(0)
}

/// rename(2)
pub async fn rename(ctx: &mut Ctx, old: UserPath, new: UserPath) -> SysResult {
    renameat2(ctx, Fd::WORKING_DIR, old, Fd::WORKING_DIR, new, Flags(0)).await
}

/// renameat(2)
pub async fn renameat(ctx: &mut Ctx, old_dir: Fd, old: UserPath, new_dir: Fd, new: UserPath) -> SysResult {
    renameat2(ctx, old_dir, old, new_dir, new, Flags(0)).await
}

/// renameat2(2)
pub async fn renameat2(
    ctx: &mut Ctx,
    old_dir: Fd,
    old: UserPath,
    new_dir: Fd,
    new: UserPath,
    flags: Flags,
) -> SysResult {
    let flags = RenameFlags::from_bits(flags.0).ok_or(Errno::EINVAL)?;
    let (old, new) = (path::read(ctx, old).await?, path::read(ctx, new).await?);
    let (from, to) = (path::at_name(ctx, old_dir, &old)?, path::at_name(ctx, new_dir, &new)?);
    with(ctx, |view| view.rename(&from, &old, &to, &new, flags)).await?;
    Ok(0)
}

/// link(2)
pub async fn link(ctx: &mut Ctx, old: UserPath, new: UserPath) -> SysResult {
    linkat(ctx, Fd::WORKING_DIR, old, Fd::WORKING_DIR, new, Flags(0)).await
}

/// linkat(2)
pub async fn linkat(
    ctx: &mut Ctx,
    old_dir: Fd,
    old: UserPath,
    new_dir: Fd,
    new: UserPath,
    flags: Flags,
) -> SysResult {
    if flags.0 & !(AT_FOLLOW | AT_EMPTY) != 0 {
        return Err(Errno::EINVAL.into());
    }
    // Here links are followed only when asked for, unlike elsewhere.
    let how = if flags.0 & AT_FOLLOW == 0 { AT_NO_FOLLOW } else { 0 };
    let source = resolve(ctx, old_dir, old, how | flags.0 & AT_EMPTY).await?;
    let new = path::read(ctx, new).await?;
    let to = path::at_name(ctx, new_dir, &new)?;
    with(ctx, |view| view.link(&source, &to, &new)).await?;
    Ok(0)
}

/// symlink(2)
pub async fn symlink(ctx: &mut Ctx, target: UserPath, name: UserPath) -> SysResult {
    symlinkat(ctx, target, Fd::WORKING_DIR, name).await
}

/// symlinkat(2)
pub async fn symlinkat(ctx: &mut Ctx, target: UserPath, dirfd: Fd, name: UserPath) -> SysResult {
    let target = path::read(ctx, target).await?;
    let name = path::read(ctx, name).await?;
    let start = path::at_name(ctx, dirfd, &name)?;
    with(ctx, |view| view.symlink(&target, &start, &name)).await?;
    Ok(0)
}
