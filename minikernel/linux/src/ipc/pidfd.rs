//! `pidfd_open(2)`: a file that stands for a process, and becomes readable when that has ended.

use alloc::boxed::Box;
use alloc::sync::Arc;

use isopod_fs::Errno;
use isopod_fs::file::{FileOps, OpenFile, OpenFlags, Ready, Seeking};
use isopod_hal::sync::wait::WaitQueue;

use crate::process::Process;

#[derive(Debug)]
struct ProcessFile {
    process: Arc<Process>,
}

/// A new file for `process`. `flags` can be `O_NONBLOCK`.
pub fn new_pidfd(process: &Arc<Process>, flags: OpenFlags) -> Result<Arc<OpenFile>, Errno> {
    let ops = ProcessFile { process: Arc::clone(process) };
    super::anonymous_file("[pidfd]", OpenFlags::RDWR | flags, Box::new(ops))
}

/// The process that `file` stands for; `EBADF` if it is no such file.
pub fn process_of(file: &OpenFile) -> Result<Arc<Process>, Errno> {
    let ops: Option<&ProcessFile> = file.ops().and_then(|ops| ops.downcast_ref());
    ops.map(|ops| Arc::clone(&ops.process)).ok_or(Errno::EBADF)
}

impl FileOps for ProcessFile {
    fn ready(&self, _file: &OpenFile) -> Ready {
        if self.process.status().is_some() { Ready::READ } else { Ready::empty() }
    }

    fn wait_queue(&self) -> Option<Arc<WaitQueue>> {
        Some(Arc::clone(&self.process.ended))
    }

    fn seeking(&self) -> Seeking {
        Seeking::ZeroButStream
    }
}
