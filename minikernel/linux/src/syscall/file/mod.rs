//! Calls on files, by family. What they do is in `fs`, as methods of [`View`](isopod_fs::vfs::View) and
//! [`OpenFile`](isopod_fs::file::OpenFile); here arguments become those methods' words.

pub(super) mod attributes;
pub(super) mod descriptors;
pub(super) mod directory;
pub(super) mod io;
pub(super) mod locks;
pub(super) mod memfd;
pub(super) mod mount;
pub(super) mod names;
pub(super) mod open;
mod size;
pub(super) mod stat;
pub(super) mod xattr;

use isopod_fs::Errno;
use isopod_fs::vfs::{Path, Resolve, View};

use super::argument::{Fd, UserPath};
use super::path::{self, Viewpoint};
use crate::process::Ctx;
use crate::wait::retry;

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
pub(super) async fn resolve(ctx: &Ctx, dirfd: Fd, path: UserPath, flags: u32) -> Result<Path, Errno> {
    let name = path::read(ctx, path).await?;
    let mut how = Resolve::empty();
    how.set(Resolve::FOLLOW, flags & AT_NO_FOLLOW == 0);
    how.set(Resolve::EMPTY, flags & AT_EMPTY != 0);
    if name.is_empty() && flags & AT_EMPTY == 0 {
        return Err(Errno::ENOENT);
    }
    let start = path::at(ctx, dirfd, &name)?;
    with(ctx, |view| view.resolve(&start, &name, how)).await
}

/// Does an operation of the tree as the calling thread sees it, waiting for the disk as often as it needs.
pub(super) async fn with<T>(
    ctx: &Ctx,
    mut operation: impl FnMut(&View<'_>) -> isopod_fs::Result<T>,
) -> Result<T, Errno> {
    let viewpoint = Viewpoint::of(&ctx.thread);
    retry(|| operation(&viewpoint.view())).await
}
