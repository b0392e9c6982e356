//! What can go wrong between layers, directories and a finished root.

use std::io;
use std::path::PathBuf;

use super::tar::TarError;
use crate::store::Digest;

/// Why there is no root.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    /// A layer is no tar archive that can be read.
    #[error("layer {layer}: {error}")]
    Tar {
        /// The layer, by the digest of its uncompressed tar.
        layer: Digest,
        /// What is wrong, and where.
        #[source]
        error: TarError,
    },
    /// An entry of a layer cannot be merged.
    #[error("layer {layer}, entry `{entry}`: {problem}")]
    Entry {
        /// The layer, by the digest of its uncompressed tar.
        layer: Digest,
        /// The entry's name.
        entry: String,
        /// What is wrong.
        problem: NodeProblem,
    },
    /// Something cannot be part of a tree.
    #[error("`{path}`: {problem}")]
    Node {
        /// Where in the tree.
        path: String,
        /// What is wrong.
        problem: NodeProblem,
    },
    /// A file of the host cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The contents of a file in the tree cannot be read.
    #[error("cannot read the contents of `{path}`: {source}")]
    Content {
        /// Where in the tree.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The root cannot be written.
    #[error("cannot write the root file system: {0}")]
    Write(#[source] io::Error),
    /// The root would be larger than EROFS can address.
    #[error("the root file system would be larger than 16 TiB")]
    TooLarge,
}

/// Why something cannot be part of a tree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NodeProblem {
    /// The path begins with a slash.
    #[error("the name is absolute")]
    Absolute,
    /// The path has more `..` than directories before them.
    #[error("the name climbs out of the root")]
    Climbs,
    /// `.`, `..`, nothing, or with a NUL.
    #[error("this is not a name a file can have")]
    Name,
    /// More than 255 bytes.
    #[error("a name in it is longer than 255 bytes")]
    NameTooLong,
    /// More than 4095 bytes.
    #[error("the name is longer than 4095 bytes")]
    PathTooLong,
    /// A whiteout that names no file.
    #[error("the whiteout names no file")]
    Whiteout,
    /// Something other than a directory in place of the root.
    #[error("the root must stay a directory")]
    RootNotDirectory,
    /// Empty, longer than 4095 bytes, or with a NUL.
    #[error("the target of the symbolic link is empty, longer than 4095 bytes, or has a NUL in it")]
    LinkTarget,
    /// A hard link to what is not there.
    #[error("the hard link's target `{0}` does not exist")]
    LinkMissing(String),
    /// A hard link to a directory.
    #[error("the hard link's target is a directory")]
    LinkToDirectory,
    /// Symbolic links that lead nowhere.
    #[error("more than 40 symbolic links lead to it")]
    TooManyLinks,
    /// See `DEVICES_MAX` of the tree.
    #[error("there are more than {0} device nodes")]
    TooManyDevices(usize),
    /// See `NAMES_MAX` of the tree.
    #[error("there are more than {0} files")]
    TooManyNames(usize),
    /// More than 65,535 layers.
    #[error("there are too many layers")]
    TooManyLayers,
    /// Linux numbers devices with 12 and 20 bits.
    #[error("there is no device {0}:{1}")]
    Device(u64, u64),
    /// An attribute outside the namespaces of xattr(7), or too large.
    #[error("the extended attribute `{0}` cannot be stored")]
    Xattr(String),
    /// See `XATTRS_MAX` of the tree.
    #[error("its extended attributes take {0} bytes, more than {max}", max = super::tree::XATTRS_MAX)]
    Xattrs(usize),
    /// See `ALL_XATTRS_MAX` of the tree.
    #[error("the extended attributes of all files take more than {} MiB", super::tree::ALL_XATTRS_MAX >> 20)]
    AllXattrs,
    /// Data is scattered over too large files.
    #[error(
        "its data, with that of other sparse files, is so scattered that {0} bytes more would be needed to store it"
    )]
    Scattered(u64),
}

impl RootError {
    /// What the user can do about it.
    pub fn hint(&self) -> String {
        let hint = match self {
            Self::Tar { .. } | Self::Entry { .. } => {
                "the image is broken or was made to do harm; build or pull it again from a source you trust"
            }
            Self::Read { source, .. } | Self::Content { source, .. } => match source.kind() {
                io::ErrorKind::PermissionDenied => "run as a user who may read all of it",
                io::ErrorKind::UnexpectedEof => "the file shrank while it was read; try again",
                io::ErrorKind::NotFound => {
                    "name a directory or a file that is there; a relative path starts here"
                }
                io::ErrorKind::NotADirectory => "rootfs: takes the directory that is to be the root",
                _ => "look whether the disk it is on is sound, and try again",
            },
            Self::Write(source)
                if matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) =>
            {
                "make room on the file system of the cache, or set ISOPOD_HOME to another"
            }
            Self::Node { problem: NodeProblem::Scattered(_), .. } => {
                "remove the sparse file from the source, or fill its holes"
            }
            Self::Node { .. } => "leave it out of the source, or mend it there",
            Self::Write(_) => "look whether the disk of the cache is sound, or set ISOPOD_HOME to another",
            Self::TooLarge => "leave out what the application does not need",
        };
        hint.to_owned()
    }
}
