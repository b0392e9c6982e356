//! mount(2), umount2(2): tmpfs, proc, sysfs, bind mounts and changed restrictions.

use alloc::sync::Arc;
use alloc::vec::Vec;

use isopod_fs::tmpfs::{Options, Tmpfs};
use isopod_fs::vfs::MountFlags;
use isopod_fs::{Capabilities, Errno, FileSystem};
use isopod_hal::PAGE_SIZE;

use super::{AT_NO_FOLLOW, resolve};
use crate::fail::Attempt;
use crate::ipc::inotify;
use crate::kernel;
use crate::mm::UserPtr;
use crate::proc;
use crate::process::Ctx;
use crate::syscall::argument::{Fd, Flags, UserPath};
use crate::syscall::path::read;

const MS_REMOUNT: u32 = 0x20;
const MS_BIND: u32 = 0x1000;
const MS_MOVE: u32 = 0x2000;
/// Changes of propagation, which means nothing where there is one mount namespace.
const MS_PROPAGATION: u32 = 0x000e_0000 | 0x0010_0000;
/// The old magic number of the flags' upper half.
const MS_MAGIC: u32 = 0xc0ed_0000;

fn check_administrator(ctx: &Ctx) -> Result<(), Errno> {
    if ctx.thread.identity().capable(Capabilities::SYS_ADMIN) { Ok(()) } else { Err(Errno::EPERM) }
}

/// mount(2). ENODEV for file systems that cannot be mounted from inside.
pub fn mount(
    ctx: &mut Ctx,
    source: UserPath,
    target: UserPath,
    kind: UserPath,
    flags: Flags,
    data: UserPtr<u8>,
) -> Attempt {
    let flags = if flags.0 & 0xffff_0000 == MS_MAGIC { flags.0 & 0xffff } else { flags.0 };
    let data = match data.non_null() {
        Some(data) => data.get_string(PAGE_SIZE)?,
        None => Vec::new(),
    };
    let at = resolve(ctx, Fd::WORKING_DIR, target, 0)?;
    check_administrator(ctx)?;
    let restrictions = MountFlags::from_bits_truncate(flags);
    let namespace = kernel::namespace();
    if flags & MS_REMOUNT != 0 {
        namespace.remount(&at, restrictions)?;
    } else if flags & MS_BIND != 0 {
        let from = resolve(ctx, Fd::WORKING_DIR, source, 0)?;
        namespace.bind(&from, &at)?;
    } else if flags & MS_PROPAGATION != 0 {
        return Ok(0);
    } else if flags & MS_MOVE != 0 {
        let from = resolve(ctx, Fd::WORKING_DIR, source, 0)?;
        namespace.move_mount(&from, &at)?;
    } else {
        let source = if source.0.is_null() { b"none".to_vec() } else { read(source)? };
        let file_system: Arc<dyn FileSystem> = match &*read(kind)? {
            b"tmpfs" | b"ramfs" => Tmpfs::new(&options(&data)?)?,
            b"proc" => proc::proc(),
            b"sysfs" => proc::sys(),
            _ => return Err(Errno::ENODEV.into()),
        };
        namespace.mount(file_system, &at, restrictions, &source)?;
    }
    Ok(0)
}

/// umount2(2)
pub fn umount2(ctx: &mut Ctx, target: UserPath, flags: Flags) -> Attempt {
    const FORCE: u32 = 1;
    const DETACH: u32 = 2;
    const EXPIRE: u32 = 4;
    const NOFOLLOW: u32 = 8;
    if flags.0 & !(FORCE | DETACH | EXPIRE | NOFOLLOW) != 0 {
        return Err(Errno::EINVAL.into());
    }
    check_administrator(ctx)?;
    let follow = if flags.0 & NOFOLLOW != 0 { AT_NO_FOLLOW } else { 0 };
    let at = resolve(ctx, Fd::WORKING_DIR, target, follow)?;
    let device = at.inode().metadata()?.device;
    let namespace = kernel::namespace();
    namespace.unmount(&at, flags.0 & DETACH != 0)?;
    let shown_elsewhere =
        namespace.mounts().any(|mount| Arc::ptr_eq(mount.file_system(), at.mount().file_system()));
    if !shown_elsewhere {
        inotify::unmounted(device);
    }
    Ok(0)
}

/// The options of a tmpfs: `size`, `nr_blocks`, `nr_inodes`, `mode`; see tmpfs(5). Those on owners are not known.
fn options(data: &[u8]) -> Result<Options, Errno> {
    let mut options = Options::default();
    for option in data.split(|byte| *byte == b',').filter(|option| !option.is_empty()) {
        let text = core::str::from_utf8(option).map_err(|_| Errno::EINVAL)?;
        let (key, value) = text.split_once('=').ok_or(Errno::EINVAL)?;
        match key {
            "size" => options.pages = size(value, options.pages * 2)?.div_ceil(PAGE_SIZE as u64),
            "nr_blocks" => options.pages = size(value, 0)?,
            "nr_inodes" => options.inodes = size(value, 0)?,
            "mode" => options.mode = u16::from_str_radix(value, 8).map_err(|_| Errno::EINVAL)? & 0o7777,
            _ => return Err(Errno::EINVAL),
        }
        // 0 means no limit, and memory is the limit then.
        if options.pages == 0 {
            options.pages = Options::default().pages * 2;
        }
        if options.inodes == 0 {
            options.inodes = u64::MAX;
        }
    }
    Ok(options)
}

/// A number that `k`, `m` or `g` may follow, or a percentage of `frames` pages in bytes.
fn size(text: &str, frames: u64) -> Result<u64, Errno> {
    let digits = text.trim_end_matches(|last: char| !last.is_ascii_digit());
    let number: u64 = digits.parse().map_err(|_| Errno::EINVAL)?;
    let factor = match &text.as_bytes()[digits.len()..] {
        b"" => 1,
        b"k" | b"K" => 1 << 10,
        b"m" | b"M" => 1 << 20,
        b"g" | b"G" => 1 << 30,
        b"%" => frames * PAGE_SIZE as u64 / 100,
        _ => return Err(Errno::EINVAL),
    };
    number.checked_mul(factor).ok_or(Errno::EINVAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_tmpfs_are_understood() {
        let found = options(b"size=64k,mode=0755,nr_inodes=7").unwrap();
        assert_eq!((found.pages, found.mode, found.inodes), (16, 0o755, 7));
        let half = options(b"size=50%").unwrap();
        assert_eq!(half.pages, Options::default().pages);
        assert_eq!(options(b"size=x").unwrap_err(), Errno::EINVAL);
        assert_eq!(options(b"unknown=1").unwrap_err(), Errno::EINVAL);
    }
}
