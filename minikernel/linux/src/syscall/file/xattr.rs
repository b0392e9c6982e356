//! Extended attributes: setxattr(2), getxattr(2), listxattr(2), removexattr(2), each for a path, a link and a descriptor.

use alloc::vec::Vec;

use isopod_fs::vfs::Path;
use isopod_fs::{Errno, XattrFlags};

use super::{AT_NO_FOLLOW, resolve, with};
use crate::fail::SysResult;
use crate::process::Ctx;
use crate::syscall::argument::{Fd, Flags, InBytes, OutBytes, UserPath};

/// Longest name with its NUL, and longest value.
const NAME_MAX: usize = 256;
const SIZE_MAX: usize = 65_536;

async fn link(ctx: &Ctx, path: UserPath) -> Result<Path, Errno> {
    resolve(ctx, Fd::WORKING_DIR, path, AT_NO_FOLLOW).await
}

fn opened(ctx: &Ctx, fd: Fd) -> Result<Path, Errno> {
    let file = ctx.thread.files().get(fd.0)?;
    file.check_not_path().map_err(|error| error.errno().unwrap_or(Errno::EBADF))?;
    Ok(file.path().clone())
}

/// The name of an attribute; ERANGE if it is empty or too long.
async fn name(ctx: &Ctx, name: UserPath) -> Result<Vec<u8>, Errno> {
    match ctx.memory.read_string(name.0, NAME_MAX).await {
        Ok(name) if name.is_empty() => Err(Errno::ERANGE),
        Err(Errno::ENAMETOOLONG) => Err(Errno::ERANGE),
        outcome => outcome,
    }
}

async fn set(ctx: &Ctx, path: &Path, key: UserPath, value: InBytes, size: usize, flags: Flags) -> SysResult {
    let flags = XattrFlags::from_bits(flags.0).ok_or(Errno::EINVAL)?;
    let key = name(ctx, key).await?;
    if size > SIZE_MAX {
        return Err(Errno::E2BIG.into());
    }
    let value = ctx.memory.read_array(value.0, size).await?;
    with(ctx, |view| view.set_xattr(path, &key, &value, flags)).await?;
    Ok(0)
}

async fn get(ctx: &Ctx, path: &Path, key: UserPath, buffer: OutBytes, size: usize) -> SysResult {
    let key = name(ctx, key).await?;
    let value = with(ctx, |view| view.xattr(path, &key)).await?;
    give(ctx, &value, buffer, size).await
}

async fn list(ctx: &Ctx, path: &Path, buffer: OutBytes, size: usize) -> SysResult {
    let names = with(ctx, |view| view.xattr_names(path)).await?;
    give(ctx, &names, buffer, size).await
}

async fn remove(ctx: &Ctx, path: &Path, key: UserPath) -> SysResult {
    let key = name(ctx, key).await?;
    with(ctx, |view| view.remove_xattr(path, &key)).await?;
    Ok(0)
}

/// Returns the length, and the bytes unless `size` is 0. ERANGE if they do not fit.
async fn give(ctx: &Ctx, bytes: &[u8], buffer: OutBytes, size: usize) -> SysResult {
    if size > 0 {
        if bytes.len() > size {
            return Err(Errno::ERANGE.into());
        }
        ctx.memory.write_bytes(buffer.0.address(), bytes).await?;
    }
    Ok(bytes.len())
}

/// setxattr(2)
pub async fn setxattr(
    ctx: &mut Ctx,
    path: UserPath,
    name: UserPath,
    value: InBytes,
    size: usize,
    flags: Flags,
) -> SysResult {
    let path = resolve(ctx, Fd::WORKING_DIR, path, 0).await?;
    set(ctx, &path, name, value, size, flags).await
}

/// lsetxattr(2)
pub async fn lsetxattr(
    ctx: &mut Ctx,
    path: UserPath,
    name: UserPath,
    value: InBytes,
    size: usize,
    flags: Flags,
) -> SysResult {
    let path = link(ctx, path).await?;
    set(ctx, &path, name, value, size, flags).await
}

/// fsetxattr(2)
pub async fn fsetxattr(
    ctx: &mut Ctx,
    fd: Fd,
    name: UserPath,
    value: InBytes,
    size: usize,
    flags: Flags,
) -> SysResult {
    let path = opened(ctx, fd)?;
    set(ctx, &path, name, value, size, flags).await
}

/// getxattr(2)
pub async fn getxattr(
    ctx: &mut Ctx,
    path: UserPath,
    name: UserPath,
    value: OutBytes,
    size: usize,
) -> SysResult {
    let path = resolve(ctx, Fd::WORKING_DIR, path, 0).await?;
    get(ctx, &path, name, value, size).await
}

/// lgetxattr(2)
pub async fn lgetxattr(
    ctx: &mut Ctx,
    path: UserPath,
    name: UserPath,
    value: OutBytes,
    size: usize,
) -> SysResult {
    let path = link(ctx, path).await?;
    get(ctx, &path, name, value, size).await
}

/// fgetxattr(2)
pub async fn fgetxattr(ctx: &mut Ctx, fd: Fd, name: UserPath, value: OutBytes, size: usize) -> SysResult {
    let path = opened(ctx, fd)?;
    get(ctx, &path, name, value, size).await
}

/// listxattr(2)
pub async fn listxattr(ctx: &mut Ctx, path: UserPath, names: OutBytes, size: usize) -> SysResult {
    let path = resolve(ctx, Fd::WORKING_DIR, path, 0).await?;
    list(ctx, &path, names, size).await
}

/// llistxattr(2)
pub async fn llistxattr(ctx: &mut Ctx, path: UserPath, names: OutBytes, size: usize) -> SysResult {
    let path = link(ctx, path).await?;
    list(ctx, &path, names, size).await
}

/// flistxattr(2)
pub async fn flistxattr(ctx: &mut Ctx, fd: Fd, names: OutBytes, size: usize) -> SysResult {
    let path = opened(ctx, fd)?;
    list(ctx, &path, names, size).await
}

/// removexattr(2)
pub async fn removexattr(ctx: &mut Ctx, path: UserPath, name: UserPath) -> SysResult {
    let path = resolve(ctx, Fd::WORKING_DIR, path, 0).await?;
    remove(ctx, &path, name).await
}

/// lremovexattr(2)
pub async fn lremovexattr(ctx: &mut Ctx, path: UserPath, name: UserPath) -> SysResult {
    let path = link(ctx, path).await?;
    remove(ctx, &path, name).await
}

/// fremovexattr(2)
pub async fn fremovexattr(ctx: &mut Ctx, fd: Fd, name: UserPath) -> SysResult {
    let path = opened(ctx, fd)?;
    remove(ctx, &path, name).await
}
