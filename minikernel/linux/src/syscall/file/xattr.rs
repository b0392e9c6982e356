//! Extended attributes: setxattr(2), getxattr(2), listxattr(2), removexattr(2), each for a path, a link and a descriptor.

use alloc::vec::Vec;

use isopod_fs::vfs::Path;
use isopod_fs::{Errno, XattrFlags};

use super::{AT_NO_FOLLOW, opened, resolve, with};
use crate::fail::{Attempt, Fail, Stop};
use crate::process::Ctx;
use crate::syscall::argument::{Fd, Flags, InBytes, OutBytes, UserPath};

/// Longest name with its NUL, and longest value.
const NAME_MAX: usize = 256;
const SIZE_MAX: usize = 65_536;

fn link(ctx: &Ctx, path: UserPath) -> Attempt<Path> {
    resolve(ctx, Fd::WORKING_DIR, path, AT_NO_FOLLOW)
}

/// The name of an attribute; ERANGE if it is empty or too long.
fn name(name: UserPath) -> Attempt<Vec<u8>> {
    match name.0.get_string(NAME_MAX) {
        Ok(name) if name.is_empty() => Err(Errno::ERANGE.into()),
        Err(Stop::Fail(Fail::Errno(Errno::ENAMETOOLONG))) => Err(Errno::ERANGE.into()),
        outcome => outcome,
    }
}

fn set(ctx: &Ctx, path: &Path, key: UserPath, value: InBytes, size: usize, flags: Flags) -> Attempt {
    let flags = XattrFlags::from_bits(flags.0).ok_or(Errno::EINVAL)?;
    let key = name(key)?;
    if size > SIZE_MAX {
        return Err(Errno::E2BIG.into());
    }
    let value = value.0.get_array(size)?;
    with(ctx, |view| view.set_xattr(path, &key, &value, flags))?;
    Ok(0)
}

fn get(ctx: &Ctx, path: &Path, key: UserPath, buffer: OutBytes, size: usize) -> Attempt {
    let key = name(key)?;
    let value = with(ctx, |view| view.xattr(path, &key))?;
    give(&value, buffer, size)
}

fn list(ctx: &Ctx, path: &Path, buffer: OutBytes, size: usize) -> Attempt {
    let names = with(ctx, |view| view.xattr_names(path))?;
    give(&names, buffer, size)
}

fn remove(ctx: &Ctx, path: &Path, key: UserPath) -> Attempt {
    let key = name(key)?;
    with(ctx, |view| view.remove_xattr(path, &key))?;
    Ok(0)
}

/// Returns the length, and the bytes unless `size` is 0. ERANGE if they do not fit.
fn give(bytes: &[u8], buffer: OutBytes, size: usize) -> Attempt {
    if size > 0 {
        if bytes.len() > size {
            return Err(Errno::ERANGE.into());
        }
        buffer.0.put_bytes(bytes)?;
    }
    Ok(bytes.len())
}

/// setxattr(2)
pub fn setxattr(
    ctx: &mut Ctx,
    path: UserPath,
    name: UserPath,
    value: InBytes,
    size: usize,
    flags: Flags,
) -> Attempt {
    let path = resolve(ctx, Fd::WORKING_DIR, path, 0)?;
    set(ctx, &path, name, value, size, flags)
}

/// lsetxattr(2)
pub fn lsetxattr(
    ctx: &mut Ctx,
    path: UserPath,
    name: UserPath,
    value: InBytes,
    size: usize,
    flags: Flags,
) -> Attempt {
    let path = link(ctx, path)?;
    set(ctx, &path, name, value, size, flags)
}

/// fsetxattr(2)
pub fn fsetxattr(
    ctx: &mut Ctx,
    fd: Fd,
    name: UserPath,
    value: InBytes,
    size: usize,
    flags: Flags,
) -> Attempt {
    let path = opened(ctx, fd)?;
    set(ctx, &path, name, value, size, flags)
}

/// getxattr(2)
pub fn getxattr(ctx: &mut Ctx, path: UserPath, name: UserPath, value: OutBytes, size: usize) -> Attempt {
    let path = resolve(ctx, Fd::WORKING_DIR, path, 0)?;
    get(ctx, &path, name, value, size)
}

/// lgetxattr(2)
pub fn lgetxattr(ctx: &mut Ctx, path: UserPath, name: UserPath, value: OutBytes, size: usize) -> Attempt {
    let path = link(ctx, path)?;
    get(ctx, &path, name, value, size)
}

/// fgetxattr(2)
pub fn fgetxattr(ctx: &mut Ctx, fd: Fd, name: UserPath, value: OutBytes, size: usize) -> Attempt {
    let path = opened(ctx, fd)?;
    get(ctx, &path, name, value, size)
}

/// listxattr(2)
pub fn listxattr(ctx: &mut Ctx, path: UserPath, names: OutBytes, size: usize) -> Attempt {
    let path = resolve(ctx, Fd::WORKING_DIR, path, 0)?;
    list(ctx, &path, names, size)
}

/// llistxattr(2)
pub fn llistxattr(ctx: &mut Ctx, path: UserPath, names: OutBytes, size: usize) -> Attempt {
    let path = link(ctx, path)?;
    list(ctx, &path, names, size)
}

/// flistxattr(2)
pub fn flistxattr(ctx: &mut Ctx, fd: Fd, names: OutBytes, size: usize) -> Attempt {
    let path = opened(ctx, fd)?;
    list(ctx, &path, names, size)
}

/// removexattr(2)
pub fn removexattr(ctx: &mut Ctx, path: UserPath, name: UserPath) -> Attempt {
    let path = resolve(ctx, Fd::WORKING_DIR, path, 0)?;
    remove(ctx, &path, name)
}

/// lremovexattr(2)
pub fn lremovexattr(ctx: &mut Ctx, path: UserPath, name: UserPath) -> Attempt {
    let path = link(ctx, path)?;
    remove(ctx, &path, name)
}

/// fremovexattr(2)
pub fn fremovexattr(ctx: &mut Ctx, fd: Fd, name: UserPath) -> Attempt {
    let path = opened(ctx, fd)?;
    remove(ctx, &path, name)
}
