//! What can be wrong with an archive.

use std::fmt;
use std::io;

/// Where an archive cannot be read, and why.
#[derive(Debug)]
pub struct TarError {
    /// Where the header lies, in bytes.
    pub offset: u64,
    /// The entry's name, printable; empty where it is not known.
    pub entry: String,
    /// What is wrong.
    pub problem: TarProblem,
}

impl std::error::Error for TarError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.problem.source()
    }
}

impl fmt::Display for TarError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.entry.is_empty() {
            write!(f, "entry `{}`: ", self.entry)?;
        }
        write!(f, "{} (header at byte {} of the uncompressed tar)", self.problem, self.offset)
    }
}

/// Why a tar archive cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum TarProblem {
    /// The file cannot be read.
    #[error("cannot read the archive: {0}")]
    Io(#[from] io::Error),
    /// The archive ends too early.
    #[error("the archive ends in the middle of an entry")]
    Truncated,
    /// The checksum of a header is not that of its bytes.
    #[error("this is no tar header (wrong checksum)")]
    Checksum,
    /// A number that is none, or too large.
    #[error("the {0} is not a number that fits")]
    Number(&'static str),
    /// A PAX header that is not made of `length key=value` lines.
    #[error("the extended header is malformed")]
    Pax,
    /// An extended header of more than a mebibyte.
    #[error("the extended header is larger than 1 MiB")]
    ExtensionTooLarge,
    /// An extended header at the end of the archive.
    #[error("an extended header is followed by no entry")]
    ExtensionAlone,
    /// Overlapping data, or data outside the file.
    #[error("the map of the sparse file is malformed")]
    Sparse,
    /// A map of more than a mebibyte.
    #[error("the map of the sparse file is larger than 1 MiB")]
    MapTooLarge,
    /// Entries that no layer has: volume labels, multi-volume parts, ..
    #[error("entries of the type {0:?} are not known")]
    Type(char),
    /// An entry of which the archive has fewer bytes than it says.
    #[error("it claims {claimed} bytes, but the archive has only {left} more")]
    Size {
        /// By the header.
        claimed: u64,
        /// Until the end of the archive.
        left: u64,
    },
}
