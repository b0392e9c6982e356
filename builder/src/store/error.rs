//! What can go wrong in the store.

use std::io;
use std::path::{Path, PathBuf};

/// Why the store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No environment variable says where the store is.
    #[error("cannot tell where to keep the cache: neither ISOPOD_HOME nor HOME is set")]
    NoHome,
    /// The file system is as full as the cache may make it.
    #[error(
        "no room left for the cache in {}: {} MiB are free, {} MiB are needed, and {} MiB must stay free",
        path.display(), free >> 20, bytes.div_ceil(1 << 20), super::RESERVE >> 20
    )]
    Full {
        /// The cache.
        path: PathBuf,
        /// What is free, in bytes.
        free: u64,
        /// What was to be written, in bytes.
        bytes: u64,
    },
    /// The operating system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried, as a verb: "write".
        action: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

impl StoreError {
    /// For `map_err`: an [`StoreError::Io`] about `path`.
    pub fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }

    /// What the user can do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::NoHome => "set ISOPOD_HOME to a directory that can be written to".to_owned(),
            Self::Full { path, .. } => make_room(path),
            Self::Io { source, path, .. } => match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => make_room(path),
                io::ErrorKind::PermissionDenied
                | io::ErrorKind::ReadOnlyFilesystem
                | io::ErrorKind::NotADirectory => {
                    "set ISOPOD_HOME to a directory that can be written to".to_owned()
                }
                _ => {
                    "check the file system it is on, or set ISOPOD_HOME to a directory on another".to_owned()
                }
            },
        }
    }
}

fn make_room(path: &Path) -> String {
    format!(
        "free some space on the file system of {}, or set ISOPOD_HOME to a directory on another",
        path.display()
    )
}
