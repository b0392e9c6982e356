//! Directories: chdir(2), getcwd(2), getdents64(2), chroot(2).

use alloc::vec;
use alloc::vec::Vec;

use isopod_fs::vfs::{Path, Resolve};
use isopod_fs::{Capabilities, DirEntry, Errno};

use super::with;
use crate::fail::Attempt;
use crate::process::Ctx;
use crate::syscall::argument::{Fd, OutBytes, UserPath};
use crate::syscall::unfinished::{Reply, tell};
use crate::syscall::{PATH_MAX, path};

/// The directory that `name` names, which the caller may enter.
fn directory(ctx: &Ctx, name: UserPath) -> Attempt<Path> {
    let name = path::read(name)?;
    let start = ctx.thread.fs().working_dir();
    Ok(with(ctx, |view| {
        let place = view.resolve(&start, &name, Resolve::FOLLOW | Resolve::DIRECTORY)?;
        view.check_directory(&place)?;
        Ok(place)
    })?)
}

/// chdir(2)
pub fn chdir(ctx: &mut Ctx, name: UserPath) -> Attempt {
    let place = directory(ctx, name)?;
    ctx.thread.fs().set_working_dir(place);
    Ok(0)
}

/// fchdir(2)
pub fn fchdir(ctx: &mut Ctx, fd: Fd) -> Attempt {
    let place = ctx.thread.files().get_or_place(fd.0)?.path().clone();
    with(ctx, |view| view.check_directory(&place))?;
    ctx.thread.fs().set_working_dir(place);
    Ok(0)
}

/// chroot(2)
pub fn chroot(ctx: &mut Ctx, name: UserPath) -> Attempt {
    let place = directory(ctx, name)?;
    if !ctx.thread.identity().capable(Capabilities::SYS_CHROOT) {
        return Err(Errno::EPERM.into());
    }
    ctx.thread.fs().set_root(place);
    Ok(0)
}

/// getcwd(2): the system call returns the length, NUL included.
pub fn getcwd(ctx: &mut Ctx, buffer: OutBytes, size: usize) -> Attempt {
    let here = ctx.thread.fs().working_dir();
    let mut name = with(ctx, |view| view.absolute_name(&here))?;
    name.push(0);
    if name.len() > PATH_MAX {
        return Err(Errno::ENAMETOOLONG.into());
    }
    if name.len() > size {
        return Err(Errno::ERANGE.into());
    }
    buffer.0.put_bytes(&name)?;
    Ok(name.len())
}

/// The most bytes of entries one call returns; a larger buffer is filled by the next calls.
const BATCH: usize = 32 << 10;

/// How a call lays out its entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// `struct linux_dirent64`: inode, next position, length, type, name.
    WithType,
    /// `struct linux_dirent`: the same, but the type is the last byte.
    TypeLast,
}

/// Appends an entry, padded to eight bytes. False when it does not fit.
fn push_entry(entries: &mut Vec<u8>, room: usize, layout: Layout, entry: &DirEntry<'_>) -> bool {
    /// Inode, next position and length; then come the type, the name and its NUL in either order.
    const FIXED: usize = 18;
    let length = (FIXED + entry.name.len() + 2).next_multiple_of(8);
    if entries.len() + length > room {
        return false;
    }
    let end = entries.len() + length;
    entries.extend(entry.inode.to_le_bytes());
    entries.extend(entry.next.to_le_bytes());
    entries.extend((length as u16).to_le_bytes());
    if layout == Layout::WithType {
        entries.push(entry.kind.dirent_type());
    }
    entries.extend(entry.name);
    entries.resize(end, 0);
    if layout == Layout::TypeLast {
        entries[end - 1] = entry.kind.dirent_type();
    }
    true
}

/// getdents64(2)
pub fn getdents64(ctx: &mut Ctx, fd: Fd, buffer: OutBytes, size: u32) -> Attempt {
    read_entries(ctx, fd, buffer, size, Layout::WithType)
}

/// getdents(2)
pub fn getdents(ctx: &mut Ctx, fd: Fd, buffer: OutBytes, size: u32) -> Attempt {
    read_entries(ctx, fd, buffer, size, Layout::TypeLast)
}

fn read_entries(ctx: &mut Ctx, fd: Fd, buffer: OutBytes, size: u32, layout: Layout) -> Attempt {
    let file = ctx.thread.files().get(fd.0)?;
    let room = (size as usize).min(BATCH);
    let mut entries = Vec::new();
    entries.try_reserve(room).map_err(|_| Errno::ENOMEM)?;
    let mut refused = false;
    file.read_dir(&mut |entry| {
        let fits = push_entry(&mut entries, room, layout, entry);
        refused |= !fits;
        fits
    })?;
    if entries.is_empty() && refused {
        // Not even one entry fits.
        return Err(Errno::EINVAL.into());
    }
    // The next call goes on behind them.
    let result = Ok(entries.len());
    tell(ctx, Reply { parts: vec![(buffer.0.address(), entries)], result })
}

#[cfg(test)]
mod tests {
    use super::*;
    use isopod_fs::FileType;

    #[test]
    fn entries_have_the_abis_layout() {
        let mut bytes = Vec::new();
        let entry = DirEntry { name: b"abc", inode: 7, kind: FileType::Regular, next: 9 };
        assert!(push_entry(&mut bytes, 24, Layout::WithType, &entry));
        assert_eq!(bytes.len(), 24);
        assert_eq!(bytes[16..], [24, 0, 8, b'a', b'b', b'c', 0, 0]);
        assert!(!push_entry(&mut bytes, 47, Layout::WithType, &entry));
        let mut bytes = Vec::new();
        assert!(push_entry(&mut bytes, 24, Layout::TypeLast, &entry));
        assert_eq!(bytes[16..], [24, 0, b'a', b'b', b'c', 0, 0, 8]);
    }
}
