//! Calls on files, by family. What they do is in `fs`, as methods of [`View`](isopod_fs::vfs::View) and
//! [`OpenFile`](isopod_fs::file::OpenFile); here arguments become those methods' words.

pub(super) mod attributes;
pub(super) mod descriptors;
pub(super) mod directory;
pub(super) mod io;
pub(super) mod ioctl;
pub(super) mod locks;
pub(super) mod memfd;
pub(super) mod mount;
pub(super) mod names;
pub(super) mod open;
mod owner;
mod size;
pub(super) mod stat;
pub(super) mod xattr;

use isopod_fs::Errno;
use isopod_fs::vfs::{Path, Resolve, View};

use super::argument::{Fd, UserPath};
use super::path::{self, Viewpoint};
use crate::fail::Attempt;
use crate::process::Ctx;

/// `AT_SYMLINK_NOFOLLOW`
pub(super) const AT_NO_FOLLOW: u32 = 0x100;
/// `AT_SYMLINK_FOLLOW`
pub(super) const AT_FOLLOW: u32 = 0x400;
/// `AT_NO_AUTOMOUNT`: there are no automounts.
pub(super) const AT_NO_AUTOMOUNT: u32 = 0x800;
/// `AT_EMPTY_PATH`
pub(super) const AT_EMPTY: u32 = 0x1000;

/// The file that a directory descriptor and a path name. `flags` are `AT_` flags that were checked by the caller; symbolic links are
/// followed unless they say no.
pub(super) fn resolve(ctx: &Ctx, dirfd: Fd, path: UserPath, flags: u32) -> Attempt<Path> {
    let name = path::read(path)?;
    let mut how = Resolve::empty();
    how.set(Resolve::FOLLOW, flags & AT_NO_FOLLOW == 0);
    how.set(Resolve::EMPTY, flags & AT_EMPTY != 0);
    if name.is_empty() && flags & AT_EMPTY == 0 {
        return Err(Errno::ENOENT.into());
    }
    let start = path::at(ctx, dirfd, &name)?;
    Ok(with(ctx, |view| view.resolve(&start, &name, how))?)
}

/// The file a descriptor refers to.
pub(super) fn opened(ctx: &Ctx, fd: Fd) -> Result<Path, Errno> {
    Ok(ctx.thread.files().get(fd.0)?.path().clone())
}

/// Does an operation of the tree as the calling thread sees it.
pub(super) fn with<T>(
    ctx: &Ctx,
    operation: impl FnOnce(&View<'_>) -> isopod_fs::Result<T>,
) -> isopod_fs::Result<T> {
    operation(&Viewpoint::of(&ctx.thread).view())
}
