//! What calls with paths have in common.

use alloc::sync::Arc;
use alloc::vec::Vec;

use isopod_fs::Errno;
use isopod_fs::vfs::{self, Path, View};

use super::argument::{Fd, UserPath};
use crate::kernel;
use crate::process::{Ctx, Thread};

/// The longest path, its NUL included (`path_resolution(7)`).
pub const PATH_MAX: usize = 4096;

/// Reads a path. `ENAMETOOLONG` from 4096 bytes on, the NUL included.
pub async fn read(ctx: &Ctx, path: UserPath) -> Result<Vec<u8>, Errno> {
    ctx.memory.read_string(path.0, PATH_MAX).await
}

/// Where a relative path starts: the directory `fd` refers to. An absolute path does not look at it.
pub fn at(ctx: &Ctx, fd: Fd, path: &[u8]) -> Result<Path, Errno> {
    if fd == Fd::WORKING_DIR || path.first() == Some(&b'/') {
        return Ok(ctx.thread.fs().working_dir());
    }
    Ok(ctx.thread.files().get_or_place(fd.0)?.path().clone())
}

/// As [`at`], for a call that needs a name: an empty one is `ENOENT`, whatever the descriptor.
pub fn at_name(ctx: &Ctx, fd: Fd, path: &[u8]) -> Result<Path, Errno> {
    if path.is_empty() { Err(Errno::ENOENT) } else { at(ctx, fd, path) }
}

/// Calls `act` with the tree as the thread sees it.
pub fn with_view<T>(thread: &Arc<Thread>, act: impl FnOnce(&View<'_>) -> T) -> T {
    let credentials = thread.identity().for_files();
    with_view_as(thread, &credentials, act)
}

/// As [`with_view`], with other rights than the thread's: `access(2)` asks for the real ids.
pub fn with_view_as<T>(
    thread: &Arc<Thread>,
    credentials: &isopod_fs::Credentials,
    act: impl FnOnce(&View<'_>) -> T,
) -> T {
    let fs = thread.fs();
    let (root, directory) = (fs.root(), fs.working_dir());
    act(&View {
        namespace: kernel::namespace(),
        credentials,
        root: &root,
        directory: &directory,
        umask: fs.umask() as u16,
        process: vfs::Process { id: thread.process().pid, thread: thread.tid() },
    })
}
