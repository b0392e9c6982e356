//! Where the bytes of a file lie until they are written into a root.

use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::OFlags;

/// Data of a sparse file: what is in no extent reads as zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Where the bytes belong in the file.
    pub logical: u64,
    /// Where they lie in what holds them.
    pub physical: u64,
    /// How many they are.
    pub len: u64,
}

impl Extent {
    /// The bytes of the file that this is.
    pub(super) fn range(&self) -> Range<u64> {
        self.logical..self.logical + self.len
    }
}

/// What a regular file contains.
#[derive(Debug, Clone)]
pub struct Content {
    origin: Origin,
    len: u64,
    /// Sorted, apart from each other and within `len`; `None` where all is data.
    extents: Option<Box<[Extent]>>,
}

#[derive(Debug, Clone)]
enum Origin {
    Bytes(Box<[u8]>),
    /// A part of a larger file that stays open, as the tar of a layer does.
    Slice {
        file: Arc<File>,
        offset: u64,
    },
    /// A whole file, opened when its bytes are needed.
    HostFile(Box<Path>),
}

impl Content {
    /// Bytes in memory.
    pub fn bytes(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into().into_boxed_slice();
        Self { len: bytes.len() as u64, origin: Origin::Bytes(bytes), extents: None }
    }

    /// `len` bytes of `file` that begin at `offset`.
    pub fn slice(file: Arc<File>, offset: u64, len: u64) -> Self {
        Self { origin: Origin::Slice { file, offset }, len, extents: None }
    }

    /// The file at `path`, which has `len` bytes now and must still have them when it is read.
    pub fn host_file(path: PathBuf, len: u64) -> Self {
        Self { origin: Origin::HostFile(path.into_boxed_path()), len, extents: None }
    }

    /// The same, but only `extents` are data. They must be sorted, apart from each other and within the file.
    pub(super) fn with_extents(self, extents: Option<Box<[Extent]>>) -> Self {
        Self { extents, ..self }
    }

    /// Size of the file in bytes, holes included.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether the file has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The data, in order; the rest is holes.
    pub(super) fn extents(&self) -> Vec<Extent> {
        match &self.extents {
            Some(extents) => extents.to_vec(),
            None if self.len == 0 => Vec::new(),
            None => vec![Extent { logical: 0, physical: 0, len: self.len }],
        }
    }

    /// Whether the file has holes.
    pub(super) fn is_sparse(&self) -> bool {
        self.extents.is_some()
    }

    /// What holds the bytes, ready to be read.
    pub(super) fn open(&self) -> io::Result<Opened<'_>> {
        Ok(match &self.origin {
            Origin::Bytes(bytes) => Opened::Bytes(bytes),
            Origin::Slice { file, offset } => Opened::Shared { file, offset: *offset },
            // The path was found to be a regular file: neither a link nor a pipe that came since is followed or waited for.
            Origin::HostFile(path) => {
                let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits();
                Opened::Owned(OpenOptions::new().read(true).custom_flags(flags.cast_signed()).open(path)?)
            }
        })
    }

    /// Up to `limit` bytes from the beginning.
    pub fn read(&self, limit: u64) -> io::Result<Vec<u8>> {
        let opened = self.open()?;
        let end = self.len.min(limit);
        let len = usize::try_from(end).map_err(|_| io::ErrorKind::OutOfMemory)?;
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(len)?;
        bytes.resize(len, 0);
        for extent in self.extents().iter().filter(|extent| extent.logical < end) {
            let range = extent.logical as usize..extent.range().end.min(end) as usize;
            opened.read_exact_at(&mut bytes[range], extent.physical)?;
        }
        Ok(bytes)
    }
}

/// A [`Content`] whose bytes can be read.
#[derive(Debug)]
pub(super) enum Opened<'a> {
    Bytes(&'a [u8]),
    Shared { file: &'a File, offset: u64 },
    Owned(File),
}

impl Opened<'_> {
    /// Fills `buffer` with the bytes at `physical` (see [`Extent`]).
    pub(super) fn read_exact_at(&self, buffer: &mut [u8], physical: u64) -> io::Result<()> {
        let bytes = match self {
            Self::Shared { file, offset } => return file.read_exact_at(buffer, offset + physical),
            Self::Owned(file) => return file.read_exact_at(buffer, physical),
            Self::Bytes(bytes) => bytes,
        };
        let from = usize::try_from(physical).unwrap_or(usize::MAX);
        let part = bytes.get(from..).and_then(|rest| rest.get(..buffer.len()));
        buffer.copy_from_slice(part.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}
