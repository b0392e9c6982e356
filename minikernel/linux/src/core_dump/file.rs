//! The file that a core is written to.

use alloc::sync::Arc;

use isopod_fs::file::{OpenFile, OpenFlags};
use isopod_fs::vfs::OpenHow;
use isopod_fs::{Bytes, Errno, FileType};

use crate::process::Thread;
use crate::syscall::with_view;
use crate::wait::retry;

/// A file that is written from its beginning to its end.
pub(super) struct CoreFile<'a> {
    thread: &'a Arc<Thread>,
    file: Arc<OpenFile>,
    /// Where it goes on.
    at: u64,
    /// `RLIMIT_CORE`
    limit: u64,
}

impl<'a> CoreFile<'a> {
    /// A new file in place of what is there. It must be a regular file, the thread's own and nobody else's to read (`do_coredump`).
    pub(super) async fn create(thread: &'a Arc<Thread>, path: &[u8], limit: u64) -> Result<Self, Errno> {
        let start = thread.fs().working_dir();
        let flags = OpenFlags::CREAT | OpenFlags::EXCL | OpenFlags::WRONLY | OpenFlags::NOFOLLOW;
        let how = OpenHow::new(flags, 0o600);
        match retry(|| with_view(thread, |view| view.unlink(&start, path))).await {
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(errno) => return Err(errno),
        }
        let file = retry(|| with_view(thread, |view| view.open(&start, path, &how))).await?;
        let about = retry(|| file.inode().metadata()).await?;
        let safe = about.kind == FileType::Regular
            && about.links == 1
            && about.uid == thread.identity().users.file
            && about.mode & 0o677 == 0o600;
        if safe { Ok(Self { thread, file, at: 0, limit }) } else { Err(Errno::EPERM) }
    }

    /// Writes bytes. `EFBIG` at the limit.
    pub(super) async fn put(&mut self, bytes: &[u8]) -> Result<(), Errno> {
        if self.at + bytes.len() as u64 > self.limit {
            return Err(Errno::EFBIG);
        }
        let mut done = 0;
        while done < bytes.len() {
            let (file, thread, at) = (&self.file, &**self.thread, self.at);
            let count = retry(|| file.write_at(at, thread, &mut Bytes::new(&bytes[done..]))).await?;
            if count == 0 {
                return Err(Errno::ENOSPC);
            }
            done += count;
            self.at += count as u64;
        }
        Ok(())
    }

    /// Leaves a hole up to `at`.
    pub(super) fn skip_to(&mut self, at: u64) {
        self.at = self.at.max(at);
    }

    /// A hole at the end belongs to the file as well.
    pub(super) async fn finish(self) -> Result<(), Errno> {
        let size = self.at.min(self.limit);
        if retry(|| self.file.inode().metadata()).await?.size < size {
            let credentials = self.thread.identity().for_files();
            retry(|| self.file.truncate(size, &credentials)).await?;
        }
        Ok(())
    }
}
