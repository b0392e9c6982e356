//! What can go wrong in writing a disk.

use std::io;

use super::Format;

/// Why there is no disk.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// The contents do not fit the size that was asked for.
    #[error("a disk of {} MiB is too small: its contents need {} MiB", asked >> 20, needed.div_ceil(1 << 20))]
    TooSmall {
        /// Bytes that are needed.
        needed: u64,
        /// Bytes that were asked for.
        asked: u64,
    },
    /// The format ends below the disk's size.
    #[error("a disk of {} MiB is too large for {format}, which ends at {} MiB", size.div_ceil(1 << 20), limit >> 20)]
    TooLarge {
        /// The format.
        format: Format,
        /// The disk's size.
        size: u64,
        /// The largest that the format has room for.
        limit: u64,
    },
    /// The files for UEFI do not fit a FAT16.
    #[error(
        "the files for the firmware take {} MiB, and its partition holds {} MiB",
        needed.div_ceil(1 << 20),
        limit >> 20
    )]
    EfiTooLarge {
        /// Bytes that they have.
        needed: u64,
        /// Bytes that there is room for.
        limit: u64,
    },
    /// A file for UEFI has a name that FAT has no room for without extensions.
    #[error(
        "`{0}` is no name for a file that firmware reads: eight capital letters or digits, and three behind a dot"
    )]
    EfiName(String),
    /// The root is larger than what a BIOS can load into memory.
    #[error("the root takes {} MiB, more than can be loaded into memory", size.div_ceil(1 << 20))]
    RootTooLarge {
        /// Bytes that it has.
        size: u64,
    },
    /// The root or another part cannot be read.
    #[error("cannot read what goes onto the disk: {0}")]
    Read(#[source] io::Error),
    /// A format cannot be written.
    #[error("cannot write the disk as {format}: {source}")]
    Write {
        /// The format.
        format: Format,
        /// Why.
        source: io::Error,
    },
}

impl DiskError {
    /// What the user can do about it.
    pub fn hint(&self) -> String {
        let hint = match self {
            Self::TooSmall { needed, .. } => {
                return format!(
                    "ask for {} MiB or more, or leave the size to Isopod",
                    needed.div_ceil(1 << 20)
                );
            }
            Self::TooLarge { .. } => "choose qcow2 or vhdx, which hold larger disks, or a smaller size",
            Self::EfiTooLarge { .. } => "leave the root on a partition of its own",
            Self::RootTooLarge { .. } => {
                "`isopod run SOURCE` keeps the root on a disk, where it can be larger"
            }
            Self::EfiName(_) => "report this: it is a fault of Isopod",
            Self::Read(_) => "see whether the disk of the cache is sound, and build the image again",
            Self::Write { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                "free some space there, or choose another place"
            }
            Self::Write { .. } => "see whether the disk of the output is sound and has room",
        };
        hint.to_owned()
    }
}
