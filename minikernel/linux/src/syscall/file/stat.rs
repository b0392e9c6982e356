//! stat(2), statx(2), access(2), readlink(2), statfs(2).

use isopod_fs::vfs::{Access, Path};
use isopod_fs::{Errno, Error, FileType, Metadata, Timestamp};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::{AT_EMPTY, AT_NO_AUTOMOUNT, AT_NO_FOLLOW, resolve, with};
use crate::fail::Attempt;
use crate::mm::UserPtr;
use crate::process::Ctx;
use crate::syscall::argument::{Fd, Flags, OutBytes, UserPath};
use crate::syscall::path::{self, Viewpoint};

/// `struct stat`
#[derive(Debug, Clone, Copy, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct Stat {
    device: u64,
    inode: u64,
    links: u64,
    mode: u32,
    uid: u32,
    gid: u32,
    padding: u32,
    special: u64,
    size: i64,
    block_size: i64,
    blocks: i64,
    accessed: [i64; 2],
    modified: [i64; 2],
    changed: [i64; 2],
    reserved: [i64; 3],
}

fn pair(time: Timestamp) -> [i64; 2] {
    [time.seconds, i64::from(time.nanoseconds)]
}

impl From<&Metadata> for Stat {
    fn from(about: &Metadata) -> Self {
        Self {
            device: u64::from(about.device.encode()),
            inode: about.inode,
            links: u64::from(about.links),
            mode: about.st_mode(),
            uid: about.uid,
            gid: about.gid,
            special: u64::from(about.special.encode()),
            size: about.size as i64,
            block_size: i64::from(about.block_size),
            blocks: about.blocks as i64,
            accessed: pair(about.accessed),
            modified: pair(about.modified),
            changed: pair(about.changed),
            ..Self::default()
        }
    }
}

/// stat(2)
pub fn stat(ctx: &mut Ctx, name: UserPath, buffer: UserPtr<Stat>) -> Attempt {
    newfstatat(ctx, Fd::WORKING_DIR, name, buffer, Flags(0))
}

/// lstat(2)
pub fn lstat(ctx: &mut Ctx, name: UserPath, buffer: UserPtr<Stat>) -> Attempt {
    newfstatat(ctx, Fd::WORKING_DIR, name, buffer, Flags(AT_NO_FOLLOW))
}

/// fstat(2)
pub fn fstat(ctx: &mut Ctx, fd: Fd, buffer: UserPtr<Stat>) -> Attempt {
    let file = ctx.thread.files().get_or_place(fd.0)?;
    let about = file.inode().metadata()?;
    buffer.put(&Stat::from(&about))?;
    Ok(0)
}

/// fstatat(2)
pub fn newfstatat(ctx: &mut Ctx, dirfd: Fd, name: UserPath, buffer: UserPtr<Stat>, flags: Flags) -> Attempt {
    if flags.0 & !(AT_NO_FOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let place = resolve(ctx, dirfd, name, flags.0)?;
    let about = place.inode().metadata()?;
    buffer.put(&Stat::from(&about))?;
    Ok(0)
}

/// `struct statx_timestamp`
#[derive(Debug, Clone, Copy, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct StatxTime {
    seconds: i64,
    nanoseconds: u32,
    reserved: i32,
}

impl From<Timestamp> for StatxTime {
    fn from(time: Timestamp) -> Self {
        Self { seconds: time.seconds, nanoseconds: time.nanoseconds, reserved: 0 }
    }
}

/// `struct statx`
#[derive(Debug, Clone, Copy, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct Statx {
    mask: u32,
    block_size: u32,
    attributes: u64,
    links: u32,
    uid: u32,
    gid: u32,
    mode: u16,
    padding: u16,
    inode: u64,
    size: u64,
    blocks: u64,
    attributes_mask: u64,
    accessed: StatxTime,
    born: StatxTime,
    changed: StatxTime,
    modified: StatxTime,
    special_major: u32,
    special_minor: u32,
    device_major: u32,
    device_minor: u32,
    mount_id: u64,
    alignment: [u32; 2],
    reserved: [u64; 12],
}

const _: () = assert!(size_of::<Stat>() == 144 && size_of::<Statx>() == 256);

/// statx(2)
pub fn statx(
    ctx: &mut Ctx,
    dirfd: Fd,
    name: UserPath,
    flags: Flags,
    mask: Flags,
    buffer: UserPtr<Statx>,
) -> Attempt {
    /// `AT_STATX_FORCE_SYNC` and `AT_STATX_DONT_SYNC`, which exclude each other.
    const SYNC: u32 = 0x6000;
    const RESERVED: u32 = 0x8000_0000;
    const BASIC_STATS: u32 = 0x7ff;
    const BIRTH_TIME: u32 = 0x800;
    const MOUNT_ID: u32 = 0x1000;
    const ATTRIBUTE_MOUNT_ROOT: u64 = 0x2000;
    if mask.0 & RESERVED != 0
        || flags.0 & SYNC == SYNC
        || flags.0 & !(AT_NO_FOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY | SYNC) != 0
    {
        return Err(Errno::EINVAL.into());
    }
    let place = resolve(ctx, dirfd, name, flags.0)?;
    let about = place.inode().metadata()?;
    let found = Statx {
        mask: BASIC_STATS | MOUNT_ID | if about.born.is_some() { BIRTH_TIME } else { 0 },
        block_size: about.block_size,
        attributes: if place.is_mount_root() { ATTRIBUTE_MOUNT_ROOT } else { 0 },
        attributes_mask: ATTRIBUTE_MOUNT_ROOT,
        links: about.links,
        uid: about.uid,
        gid: about.gid,
        mode: about.st_mode() as u16,
        inode: about.inode,
        size: about.size,
        blocks: about.blocks,
        accessed: about.accessed.into(),
        born: about.born.map_or_else(StatxTime::default, Into::into),
        changed: about.changed.into(),
        modified: about.modified.into(),
        special_major: about.special.major,
        special_minor: about.special.minor,
        device_major: about.device.major,
        device_minor: about.device.minor,
        mount_id: u64::from(place.mount().id()),
        ..Statx::default()
    };
    buffer.put(&found)?;
    Ok(0)
}

/// access(2)
pub fn access(ctx: &mut Ctx, name: UserPath, mode: Flags) -> Attempt {
    faccessat2(ctx, Fd::WORKING_DIR, name, mode, Flags(0))
}

/// faccessat(2); the system call has no flags.
pub fn faccessat(ctx: &mut Ctx, dirfd: Fd, name: UserPath, mode: Flags) -> Attempt {
    faccessat2(ctx, dirfd, name, mode, Flags(0))
}

/// faccessat2(2)
pub fn faccessat2(ctx: &mut Ctx, dirfd: Fd, name: UserPath, mode: Flags, flags: Flags) -> Attempt {
    const EFFECTIVE_IDS: u32 = 0x200;
    let access = Access::from_bits(mode.0).ok_or(Errno::EINVAL)?;
    if flags.0 & !(EFFECTIVE_IDS | AT_NO_FOLLOW | AT_EMPTY) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let name = path::read(name)?;
    if name.is_empty() && flags.0 & AT_EMPTY == 0 {
        return Err(Errno::ENOENT.into());
    }
    let start = path::at(ctx, dirfd, &name)?;
    let identity = ctx.thread.identity();
    let credentials =
        if flags.0 & EFFECTIVE_IDS != 0 { identity.for_files() } else { identity.real_for_files() };
    let mut how = isopod_fs::vfs::Resolve::empty();
    how.set(isopod_fs::vfs::Resolve::FOLLOW, flags.0 & AT_NO_FOLLOW == 0);
    how.set(isopod_fs::vfs::Resolve::EMPTY, flags.0 & AT_EMPTY != 0);
    let viewpoint = Viewpoint::with_rights(&ctx.thread, credentials);
    let view = viewpoint.view();
    view.access(&view.resolve(&start, &name, how)?, access)?;
    Ok(0)
}

/// readlink(2)
pub fn readlink(ctx: &mut Ctx, name: UserPath, buffer: OutBytes, size: i32) -> Attempt {
    readlinkat(ctx, Fd::WORKING_DIR, name, buffer, size)
}

/// readlinkat(2). The text is cut to the buffer and gets no NUL.
pub fn readlinkat(ctx: &mut Ctx, dirfd: Fd, name: UserPath, buffer: OutBytes, size: i32) -> Attempt {
    let size = usize::try_from(size).ok().filter(|&size| size > 0).ok_or(Errno::EINVAL)?;
    // An empty path names the link that a descriptor opened with O_PATH refers to.
    let named = path::read(name)?;
    let place = if named.is_empty() {
        if dirfd == Fd::WORKING_DIR {
            return Err(Errno::ENOENT.into());
        }
        ctx.thread.files().get_or_place(dirfd.0)?.path().clone()
    } else {
        resolve(ctx, dirfd, name, AT_NO_FOLLOW)?
    };
    let text = with(ctx, |view| view.read_link(&place));
    let text = match text {
        Err(Error::Errno(Errno::EINVAL)) if named.is_empty() => return Err(Errno::ENOENT.into()),
        outcome => outcome?,
    };
    let length = text.len().min(size);
    buffer.0.put_bytes(&text[..length])?;
    Ok(length)
}

/// `struct statfs`
#[derive(Debug, Clone, Copy, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct StatFs {
    magic: i64,
    block_size: i64,
    blocks: u64,
    blocks_free: u64,
    blocks_available: u64,
    inodes: u64,
    inodes_free: u64,
    id: [i32; 2],
    name_max: i64,
    fragment_size: i64,
    flags: i64,
    spare: [i64; 4],
}

/// statfs(2)
pub fn statfs(ctx: &mut Ctx, name: UserPath, buffer: UserPtr<StatFs>) -> Attempt {
    let place = resolve(ctx, Fd::WORKING_DIR, name, 0)?;
    write_statfs(ctx, &place, buffer)
}

/// fstatfs(2)
pub fn fstatfs(ctx: &mut Ctx, fd: Fd, buffer: UserPtr<StatFs>) -> Attempt {
    let place = ctx.thread.files().get_or_place(fd.0)?.path().clone();
    write_statfs(ctx, &place, buffer)
}

fn write_statfs(ctx: &Ctx, place: &Path, buffer: UserPtr<StatFs>) -> Attempt {
    /// `ST_VALID`: the flags mean something.
    const VALID: i64 = 0x20;
    const ANON_INODE_FS: u32 = 0x0904_1934;
    let (found, flags) = with(ctx, |view| view.statistics(place))?;
    let size = i64::from(found.block_size);
    // What stands behind pipes, sockets and shared memory has file systems of its own on Linux (magic.h).
    let magic = match (found.magic, place.inode().metadata()?.kind) {
        (ANON_INODE_FS, FileType::Fifo) => 0x5049_5045,
        (ANON_INODE_FS, FileType::Socket) => 0x534f_434b,
        (ANON_INODE_FS, FileType::Regular) => 0x0102_1994,
        (magic, _) => magic,
    };
    let about = StatFs {
        magic: i64::from(magic),
        block_size: size,
        blocks: found.blocks,
        blocks_free: found.blocks_free,
        blocks_available: found.blocks_free,
        inodes: found.inodes,
        inodes_free: found.inodes_free,
        id: [place.mount().id() as i32, 0],
        name_max: i64::from(found.name_max),
        fragment_size: size,
        flags: i64::from(flags.bits()) | VALID,
        spare: [0; 4],
    };
    buffer.put(&about)?;
    Ok(0)
}
