//! Open files: descriptions, what devices and pipes do behind them, locks.

mod flags;
mod locks;
mod open_file;
mod operations;
mod waits;
mod write_denied;

pub use flags::{OpenFlags, Whence};
pub use locks::{Conflict, LockKind, LockOwner, LockRange, LockTable};
pub(crate) use open_file::MAX_OFFSET;
pub use open_file::OpenFile;
pub use operations::{FileOps, Mapping, OpenRequest, Ready, Seeking, UserMemory};
pub use waits::LockWait;
pub use write_denied::WriteDenied;
