//! What calls with paths have in common.

use alloc::vec::Vec;

use isopod_fs::vfs::{self, Path, View};
use isopod_fs::{Credentials, Errno};

use super::argument::{Fd, UserPath};
use crate::fail::Attempt;
use crate::kernel;
use crate::process::{Ctx, Thread};

/// The longest path, its NUL included (`path_resolution(7)`).
pub const PATH_MAX: usize = 4096;

/// Reads a path. `ENAMETOOLONG` from 4096 bytes on, the NUL included.
pub fn read(path: UserPath) -> Attempt<Vec<u8>> {
    path.0.get_string(PATH_MAX)
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

/// What a thread's [`View`] borrows.
pub struct Viewpoint {
    credentials: Credentials,
    root: Path,
    directory: Path,
    umask: u16,
    process: vfs::Process,
}

impl Viewpoint {
    /// The tree as the thread sees it.
    // Not inlined: a hundred callers want the same.
    #[inline(never)]
    pub fn of(thread: &Thread) -> Self {
        Self::with_rights(thread, thread.identity().for_files())
    }

    /// As [`Viewpoint::of`], with other rights than the thread's: `access(2)` asks for the real ids.
    #[inline(never)]
    pub fn with_rights(thread: &Thread, credentials: Credentials) -> Self {
        let fs = thread.fs();
        Self {
            credentials,
            root: fs.root(),
            directory: fs.working_dir(),
            umask: fs.umask() as u16,
            process: vfs::Process { id: thread.process().pid, thread: thread.tid() },
        }
    }

    /// The view itself.
    pub fn view(&self) -> View<'_> {
        View {
            namespace: kernel::namespace(),
            credentials: &self.credentials,
            root: &self.root,
            directory: &self.directory,
            umask: self.umask,
            process: self.process,
        }
    }
}

/// Calls `act` with the tree as the thread sees it.
pub fn with_view<T>(thread: &Thread, act: impl FnOnce(&View<'_>) -> T) -> T {
    act(&Viewpoint::of(thread).view())
}
