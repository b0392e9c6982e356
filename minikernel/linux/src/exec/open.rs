//! Opening what is to be executed.

use alloc::sync::Arc;

use isopod_fs::Errno;
use isopod_fs::file::{OpenFlags, WriteDenied};
use isopod_fs::vfs::{OpenHow, Path};

use crate::process::Thread;
use crate::syscall::with_view;
use crate::wait::retry;

/// Opens the file `name`, looked up from `start`, or `start` itself where there is no name. `flags` can be `O_NOFOLLOW`. Nobody can write to
/// the file as long as what is returned is kept; `ETXTBSY` if somebody does already.
pub async fn open(
    thread: &Arc<Thread>,
    start: &Path,
    name: &[u8],
    flags: OpenFlags,
) -> Result<WriteDenied, Errno> {
    let mut how = OpenHow::execute();
    how.flags |= flags;
    retry(|| {
        let file = with_view(thread, |view| match name {
            [] => view.open_path(start.clone(), &how),
            name => view.open(start, name, &how),
        })?;
        WriteDenied::new(file)
    })
    .await
}

/// Opens the program at `path`, as the thread sees it.
pub async fn open_path(thread: &Arc<Thread>, path: &[u8]) -> Result<WriteDenied, Errno> {
    if path.is_empty() {
        return Err(Errno::ENOENT);
    }
    open(thread, &thread.fs().working_dir(), path, OpenFlags::empty()).await
}
