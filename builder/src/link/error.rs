//! What can go wrong in linking.

use std::io;

use super::LIMIT;
use crate::root::RootError;
use crate::store::StoreError;

/// Why an image could not be linked.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The kernel is not one that Isopod can link with.
    #[error("the guest kernel cannot be linked with: {0}")]
    Kernel(String),
    /// The root does not fit below [`LIMIT`].
    #[error(
        "the root takes {} MiB, but an image that is loaded into memory can hold at most {} MiB with its kernel",
        size.div_ceil(1 << 20),
        LIMIT >> 20
    )]
    TooLarge {
        /// The root's size in bytes.
        size: u64,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The root cannot be made.
    #[error(transparent)]
    Root(#[from] RootError),
    /// Reading the root or writing the image failed.
    #[error(transparent)]
    Io(io::Error),
}

impl LinkError {
    /// What the user can do about it.
    pub fn hint(&self) -> String {
        let hint = match self {
            Self::Kernel(_) => "this build of Isopod is broken: build it again from clean sources",
            Self::TooLarge { .. } => "`isopod run SOURCE` keeps the root on a disk, where it can be larger",
            Self::Store(error) => return error.hint(),
            Self::Root(error) => return error.hint(),
            Self::Io(_) => "see whether the disks of the cache and of the output are sound and have room",
        };
        hint.to_owned()
    }
}
