//! mount(2), umount2(2): tmpfs, proc, sysfs, bind mounts and changed restrictions.

use alloc::sync::Arc;
use alloc::vec::Vec;

use isopod_fs::tmpfs::{Options, Tmpfs};
use isopod_fs::vfs::{MountFlags, Path, Unmounting};
use isopod_fs::{Capabilities, Errno, FileSystem};
use isopod_hal::PAGE_SIZE;

use super::{AT_NO_FOLLOW, resolve};
use crate::fail::{Attempt, Stop, errno};
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
const MS_REC: u32 = 0x4000;
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
        // With `MS_BIND` it is about this mount alone, and not about the file system.
        let options = (flags & MS_BIND == 0).then_some(&*data);
        namespace.remount(&at, restrictions, options)?;
    } else if flags & MS_BIND != 0 {
        namespace.bind(&origin(ctx, source)?, &at, flags & MS_REC != 0)?;
    } else if flags & MS_PROPAGATION != 0 {
        return Ok(0);
    } else if flags & MS_MOVE != 0 {
        namespace.move_mount(&origin(ctx, source)?, &at)?;
    } else {
        let source = if source.0.is_null() { b"none".to_vec() } else { read(source)? };
        let file_system: Arc<dyn FileSystem> = match &*read(kind)? {
            b"tmpfs" | b"ramfs" => tmpfs(ctx, &data)?,
            b"proc" => proc::proc(),
            b"sysfs" => proc::sys(),
            _ => return Err(Errno::ENODEV.into()),
        };
        namespace.mount(file_system, &at, restrictions, &source)?;
    }
    Ok(0)
}

/// The place that is bound or moved. EINVAL without a name.
fn origin(ctx: &Ctx, name: UserPath) -> Result<Path, Stop> {
    if name.0.is_null() || read(name)?.is_empty() {
        return Err(Errno::EINVAL.into());
    }
    resolve(ctx, Fd::WORKING_DIR, name, 0)
}

/// A new tmpfs, whose root belongs to the caller unless the options say otherwise.
fn tmpfs(ctx: &Ctx, data: &[u8]) -> Result<Arc<Tmpfs>, Errno> {
    let owner = ctx.thread.identity().for_files();
    let mut options = Options { uid: owner.uid, gid: owner.gid, ..Options::default() };
    options.parse(data).and_then(|()| Tmpfs::new(&options)).map_err(errno)
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
    let follow = if flags.0 & NOFOLLOW != 0 { AT_NO_FOLLOW } else { 0 };
    let at = resolve(ctx, Fd::WORKING_DIR, target, follow)?;
    check_administrator(ctx)?;
    let how = match flags.0 & (FORCE | DETACH | EXPIRE) {
        EXPIRE if Arc::ptr_eq(at.mount(), ctx.thread.fs().root().mount()) => return Err(Errno::EINVAL.into()),
        EXPIRE => Unmounting::Expired,
        all if all & EXPIRE != 0 => return Err(Errno::EINVAL.into()),
        all if all & DETACH != 0 => Unmounting::Lazy,
        _ => Unmounting::Idle,
    };
    let namespace = kernel::namespace();
    for mount in namespace.unmount(&at, how)? {
        let shown_elsewhere =
            namespace.mounts().any(|other| Arc::ptr_eq(other.file_system(), mount.file_system()));
        if !shown_elsewhere {
            inotify::unmounted(mount.root_path().inode().metadata()?.device);
        }
    }
    Ok(0)
}
