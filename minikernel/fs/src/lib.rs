//! File systems of the guest kernel: one tree of names over tmpfs, EROFS, overlay, and generated files.
//!
//! No operation blocks. What has to be read first ends with [`Error::Wait`]; the caller awaits it and calls the
//! same operation again. The system calls of Linux are the methods of [`vfs::View`] and [`file::OpenFile`].
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod credentials;
mod detached;
pub mod erofs;
mod errno;
mod error;
pub mod file;
pub mod generated;
mod inode;
mod inode_state;
mod metadata;
mod name_map;
pub mod pages;
pub mod tmpfs;
mod transfer;
pub mod vfs;
mod watch;

pub use credentials::{Capabilities, Credentials, Subject};
pub use detached::DetachedInode;
pub use errno::Errno;
pub use error::{Error, Pending, Result, Wait};
pub use inode::{AllocateMode, DirEntry, Extent, FIRST_COOKIE, FileSystem, Inode, NewNode, NodeKind, Target};
pub use inode_state::{InodeState, MappingObserver, PageLoss};
pub use metadata::{
    DeviceId, FileType, Metadata, RenameFlags, S_ISGID, S_ISUID, S_ISVTX, Seals, SetAttributes, Statistics,
    Timestamp, XattrFlags,
};
pub use transfer::{Buffer, Bytes, Sink, Source, drain, next_bytes};
pub use watch::{Event, Events, Watcher};

/// A device number for a file system without a device, as Linux gives them out: 0:1, 0:2, ...
pub fn allocate_device() -> DeviceId {
    use core::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(1);
    DeviceId::new(0, NEXT.fetch_add(1, Ordering::Relaxed))
}
