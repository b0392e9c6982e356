//! Where files are looked at: the host's own tree, or the root of an image.

use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::InspectError;
use crate::foreign::open_regular;
use crate::root::erofs::{Found, RootImage};

/// The bits of a mode that tell the type, and those of a regular file.
const TYPE: u32 = 0o170_000;
const REGULAR: u32 = 0o100_000;

/// A file tree.
pub trait Files {
    /// Finds the file at an absolute path, following symbolic links within the tree.
    ///
    /// # Errors
    /// Where there is no file, or not one that can be read.
    fn open(&self, path: &[u8]) -> io::Result<Entry>;
}

/// The bytes of a file.
pub trait ReadAt {
    /// Reads up to `buffer.len()` bytes that start at `offset`; fewer only at the end of the file.
    ///
    /// # Errors
    /// What the file system says.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
}

/// A file found.
pub struct Entry {
    /// Its path without symbolic links.
    pub path: Vec<u8>,
    /// Type and permissions (`st_mode`, inode(7)).
    pub mode: u32,
    /// Its size in bytes.
    pub size: u64,
    /// Its bytes.
    pub data: Box<dyn ReadAt>,
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let path = String::from_utf8_lossy(&self.path);
        f.debug_struct("Entry").field("path", &path).field("mode", &self.mode).finish_non_exhaustive()
    }
}

impl Entry {
    /// A regular file that somebody may execute.
    pub fn is_executable(&self) -> bool {
        self.mode & TYPE == REGULAR && self.mode & 0o111 != 0
    }

    /// Up to `length` bytes that start at `offset`.
    pub(super) fn read(&self, offset: u64, length: usize) -> Result<Vec<u8>, InspectError> {
        let left = self.size.saturating_sub(offset).min(length as u64);
        let mut bytes = vec![0; left as usize];
        let mut filled = 0;
        while filled < bytes.len() {
            let count = self.data.read_at(&mut bytes[filled..], offset + filled as u64);
            match count.map_err(|error| InspectError::Io { path: self.path.clone(), error })? {
                0 => break,
                count => filled += count,
            }
        }
        bytes.truncate(filled);
        Ok(bytes)
    }
}

/// The host's own files.
#[derive(Debug, Clone, Copy, Default)]
pub struct Host;

impl Files for Host {
    fn open(&self, path: &[u8]) -> io::Result<Entry> {
        let path = Path::new(std::ffi::OsStr::from_bytes(path)).canonicalize()?;
        let data = Box::new(open_regular(&path)?);
        let about = data.metadata()?;
        let path = path.into_os_string().as_bytes().to_vec();
        Ok(Entry { path, mode: about.mode(), size: about.len(), data })
    }
}

impl ReadAt for File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(self, buffer, offset)
    }
}

impl Files for RootImage {
    fn open(&self, path: &[u8]) -> io::Result<Entry> {
        let (path, found) = self.find(path)?;
        let mode = u32::from(found.mode);
        if mode & TYPE != REGULAR {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        Ok(Entry { path, mode, size: found.size, data: Box::new(found) })
    }
}

impl ReadAt for Found {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        Self::read_at(self, buffer, offset)
    }
}
