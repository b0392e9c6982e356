//! What programs talk to each other through, and how the kernel talks to them: pipes, FIFOs, eventfd, signalfd.

pub mod eventfd;
pub mod pipe;
pub mod signalfd;

use alloc::boxed::Box;
use alloc::sync::Arc;

use isopod_fs::file::{FileOps, OpenFile, OpenFlags};
use isopod_fs::{DetachedInode, Errno, Error};

use crate::kernel;

/// An open file without a place in the tree, such as `anon_inode:[eventfd]`; `kind` is what stands in the brackets.
pub fn anonymous_file(kind: &str, flags: OpenFlags, ops: Box<dyn FileOps>) -> Result<Arc<OpenFile>, Errno> {
    let inode = DetachedInode::anonymous();
    let path = kernel::namespace().detached(inode, alloc::format!("anon_inode:[{kind}]").as_bytes());
    OpenFile::anonymous(path, flags, Some(ops)).map_err(errno)
}

/// The error number of an operation that waits for no disk.
#[expect(clippy::needless_pass_by_value, reason = "its only use is as the function of a map_err")]
pub(crate) fn errno(error: Error) -> Errno {
    match error {
        Error::Errno(errno) => errno,
        Error::Wait(_) => Errno::EIO,
    }
}
