//! Opening what is to be executed.

use alloc::sync::Arc;

use isopod_fs::file::{OpenFlags, WriteDenied};
use isopod_fs::vfs::{OpenHow, Path};
use isopod_fs::{Errno, Result};

use crate::process::Thread;
use crate::syscall::with_view;

/// Opens the file `name`, looked up from `start`, or `start` itself where there is no name. `flags` can be `O_NOFOLLOW`. Nobody can write to
/// the file as long as what is returned is kept; `ETXTBSY` if somebody does already.
pub fn open(thread: &Arc<Thread>, start: &Path, name: &[u8], flags: OpenFlags) -> Result<WriteDenied> {
    let mut how = OpenHow::execute();
    how.flags |= flags;
    let file = with_view(thread, |view| match name {
        [] => view.open_path(start.clone(), &how),
        name => view.open(start, name, &how),
    })?;
    WriteDenied::new(file)
}

/// Opens the program at `path`, as the thread sees it.
pub fn open_path(thread: &Arc<Thread>, path: &[u8]) -> Result<WriteDenied> {
    if path.is_empty() {
        return Err(Errno::ENOENT.into());
    }
    open(thread, &thread.fs().working_dir(), path, OpenFlags::empty())
}
