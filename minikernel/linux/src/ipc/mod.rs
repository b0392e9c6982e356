//! What programs talk to each other through, and how the kernel talks to them: pipes, FIFOs, eventfd, inotify, dnotify and SIGIO, signalfd, pidfd, System V IPC, POSIX message
//! queues.

pub mod eventfd;
pub mod inotify;
pub mod mqueue;
pub mod pidfd;
pub mod pipe;
pub mod sigio;
pub mod signalfd;
pub mod sysv;

use alloc::boxed::Box;
use alloc::sync::Arc;

use isopod_fs::file::{FileOps, OpenFile, OpenFlags, UserMemory};
use isopod_fs::{DetachedInode, Errno, Error};

use crate::fail::errno;
use crate::kernel;

/// `FIONREAD` (`ioctl_tty(2)`, `pipe(7)`, `inotify(7)`): how many bytes can be read.
pub const FIONREAD: u32 = 0x541b;

/// The ioctl of a file that knows `FIONREAD` alone; `waiting` tells the bytes.
fn bytes_waiting(
    request: u32,
    argument: usize,
    memory: &mut dyn UserMemory,
    waiting: impl FnOnce() -> usize,
) -> Result<usize, Error> {
    if request != FIONREAD {
        return Err(Errno::ENOTTY.into());
    }
    memory.write(argument, &(waiting() as i32).to_le_bytes())?;
    Ok(0)
}

/// An open file without a place in the tree, such as `anon_inode:[eventfd]`, of which `kind` is what follows the colon.
pub fn anonymous_file(kind: &str, flags: OpenFlags, ops: Box<dyn FileOps>) -> Result<Arc<OpenFile>, Errno> {
    let inode = DetachedInode::anonymous();
    let path = kernel::namespace().detached(inode, alloc::format!("anon_inode:{kind}").as_bytes());
    OpenFile::anonymous(path, flags, Some(ops)).map_err(errno)
}
