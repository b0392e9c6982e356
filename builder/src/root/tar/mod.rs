//! Layers are tar archives. [`Reader`] tells what is in one, and where, in one pass that never reads contents.
//!
//! The archive's framing is read here rather than by `tar::Archive`, which does not tell where the parts of a sparse file lie, splits
//! PAX records at newlines (extended attributes are binary), and truncates numbers of more than 64 bits, so that another
//! reader would see another archive. The fields of a header are the `tar` crate's. Where archives are ambiguous we
//! do as Go's `archive/tar` does, which all container engines use: what passes there means the same here.

mod error;
mod header;
mod pax;
mod sparse;

use std::io::{self, BufReader, Read, Seek, SeekFrom};

use ::tar::{EntryType, Header};

use super::content::Extent;
use super::printable;
use super::tree::{Device, Meta};
pub use error::{TarError, TarProblem};
use pax::Pax;

/// Headers and contents begin at multiples of this.
const BLOCK: u64 = 512;
/// The most bytes that the extensions of one header may have: names are at most 4096 bytes, extended attributes 64 KiB.
const EXTENSION_MAX: u64 = 1 << 20;
/// As long as most small files together with their headers, so that they are skipped without a system call.
const BUFFER: usize = 64 * 1024;

/// One entry of an archive, as it stands there: nothing is resolved or checked but the form.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name, of any bytes but NUL.
    pub path: Vec<u8>,
    /// Owner, permissions, times, extended attributes.
    pub meta: Meta,
    /// What it is.
    pub kind: EntryKind,
}

/// What an entry is.
#[derive(Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File {
        /// Where the contents begin in the archive.
        offset: u64,
        /// Size of the file, holes included.
        len: u64,
        /// The data of a sparse file, counted from `offset`; `None` where all is data.
        extents: Option<Box<[Extent]>>,
    },
    /// One more name of the file with this name.
    HardLink(Vec<u8>),
    /// A symbolic link to this.
    Symlink(Vec<u8>),
    /// A character device.
    CharDevice(Device),
    /// A block device.
    BlockDevice(Device),
    /// A directory.
    Directory,
    /// A named pipe.
    Fifo,
}

/// Reads the headers of a tar archive, one after the other.
#[derive(Debug)]
pub struct Reader<R> {
    input: BufReader<R>,
    position: u64,
    len: u64,
    /// Where the last header began.
    header: u64,
    /// The name of the entry being read, once it is known.
    name: Vec<u8>,
    /// Where the contents of that entry end.
    contents_end: u64,
    /// Where the next header begins.
    next: u64,
}

impl<R: Read + Seek> Reader<R> {
    /// Begins at the start of `input`.
    ///
    /// # Errors
    /// `input` cannot be sought in.
    pub fn new(mut input: R) -> io::Result<Self> {
        let len = input.seek(SeekFrom::End(0))?;
        input.rewind()?;
        let input = BufReader::with_capacity(BUFFER, input);
        Ok(Self { input, position: 0, len, header: 0, name: Vec::new(), contents_end: 0, next: 0 })
    }

    /// The next entry; `None` at the archive's end.
    ///
    /// # Errors
    /// What is wrong, and where. Nothing can be read behind it.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, TarError> {
        self.name.clear();
        self.entry().map_err(|problem| TarError {
            offset: self.header,
            entry: printable(&self.name),
            problem,
        })
    }

    fn entry(&mut self) -> Result<Option<Entry>, TarProblem> {
        let mut local = Pax::default();
        let (mut long_path, mut long_link) = (None, None);
        let mut extended = false;
        loop {
            self.seek(self.next)?;
            let Some(header) = self.header()? else {
                return if extended { Err(TarProblem::ExtensionAlone) } else { Ok(None) };
            };
            match header.entry_type() {
                EntryType::XHeader => local = Pax::parse(&self.extension(&header)?)?,
                // What it says of all entries behind it, container engines ignore (git writes a comment so). As in Go, it is an
                // entry of its own, which takes the extensions before it.
                EntryType::XGlobalHeader => {
                    Pax::parse(&self.extension(&header)?)?;
                    (local, long_path, long_link, extended) = (Pax::default(), None, None, false);
                    continue;
                }
                EntryType::GNULongName => long_path = Some(until_nul(self.extension(&header)?)),
                EntryType::GNULongLink => long_link = Some(until_nul(self.extension(&header)?)),
                _ => return self.member(&header, &local, long_path, long_link).map(Some),
            }
            extended = true;
        }
    }

    /// The header at the current position; `None` where the archive ends: at a block of zeros or the end of the file.
    fn header(&mut self) -> Result<Option<Header>, TarProblem> {
        if self.position >= self.len {
            return Ok(None);
        }
        self.header = self.position;
        let mut header = Header::new_old();
        self.read(header.as_mut_bytes())?;
        if header.as_bytes().iter().all(|&byte| byte == 0) {
            return Ok(None);
        }
        if !header::has_checksum(&header) {
            return Err(TarProblem::Checksum);
        }
        Ok(Some(header))
    }

    /// The contents of a header that extends another.
    fn extension(&mut self, header: &Header) -> Result<Vec<u8>, TarProblem> {
        let size = header::size(header)?;
        if size > EXTENSION_MAX {
            return Err(TarProblem::ExtensionTooLarge);
        }
        self.end_at(self.position, size)?;
        let mut bytes = vec![0; size as usize];
        self.read(&mut bytes)?;
        Ok(bytes)
    }

    fn member(
        &mut self,
        header: &Header,
        pax: &Pax,
        long_path: Option<Vec<u8>>,
        long_link: Option<Vec<u8>>,
    ) -> Result<Entry, TarProblem> {
        let mut path =
            long_path.or_else(|| pax.get(b"path").map(Vec::from)).unwrap_or_else(|| header::path(header));
        self.name.clone_from(&path);
        let link = || {
            long_link.or_else(|| pax.get(b"linkpath").map(Vec::from)).unwrap_or_else(|| header::link(header))
        };
        let device = || {
            let (major, minor) = header::device(header)?;
            Device::new(major, minor).ok_or(TarProblem::Number("device number"))
        };
        let meta = pax::meta(header, pax)?;
        // What is no file has no contents, whatever its size field says.
        let kind = match header.entry_type() {
            EntryType::Link => EntryKind::HardLink(link()),
            EntryType::Symlink => EntryKind::Symlink(link()),
            EntryType::Char => EntryKind::CharDevice(device()?),
            EntryType::Block => EntryKind::BlockDevice(device()?),
            EntryType::Directory => EntryKind::Directory,
            EntryType::Fifo => EntryKind::Fifo,
            // Before POSIX, a directory was a file whose name ends with a slash.
            EntryType::Regular if header.as_old().linkflag == [0] && path.ends_with(b"/") => {
                EntryKind::Directory
            }
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                return self.file(header, pax, &mut path).map(|kind| Entry { path, meta, kind });
            }
            other => return Err(TarProblem::Type(char::from(other.as_byte()))),
        };
        self.next = self.position;
        Ok(Entry { path, meta, kind })
    }

    /// A regular file, of which the header was read.
    fn file(&mut self, header: &Header, pax: &Pax, path: &mut Vec<u8>) -> Result<EntryKind, TarProblem> {
        let stored = pax.number(b"size", "size")?.map_or_else(|| header::size(header), Ok)?;
        let Some(format) = sparse::format(header, pax)? else {
            let offset = self.position;
            self.end_at(offset, stored)?;
            return Ok(EntryKind::File { offset, len: stored, extents: None });
        };
        if let Some(name) = pax.get(b"GNU.sparse.name") {
            *path = name.to_vec();
        }
        let map = match format {
            sparse::Format::Old => {
                let map = sparse::old(header, || self.block())?;
                self.end_at(self.position, stored)?;
                map
            }
            sparse::Format::Pax0 { len } => {
                self.end_at(self.position, stored)?;
                sparse::pax0(pax, len)?
            }
            // The map is part of the contents, and of their size.
            sparse::Format::Pax1 { len } => {
                self.end_at(self.position, stored)?;
                let end = self.next;
                sparse::pax1(
                    len,
                    || if self.position < end { self.block() } else { Err(TarProblem::Sparse) },
                )?
            }
        };
        let offset = self.position;
        let len = map.len;
        let extents = map.extents(self.contents_end.saturating_sub(offset))?;
        Ok(EntryKind::File { offset, len, extents })
    }

    /// The contents of the entry begin at `start` and are `size` bytes long; the next header follows them.
    fn end_at(&mut self, start: u64, size: u64) -> Result<(), TarProblem> {
        let left = self.len.saturating_sub(start);
        if size > left {
            return Err(TarProblem::Size { claimed: size, left });
        }
        self.contents_end = start + size;
        self.next = self.contents_end.next_multiple_of(BLOCK);
        Ok(())
    }

    fn block(&mut self) -> Result<[u8; BLOCK as usize], TarProblem> {
        let mut block = [0; BLOCK as usize];
        self.read(&mut block)?;
        Ok(block)
    }

    fn seek(&mut self, to: u64) -> Result<(), TarProblem> {
        self.input.seek_relative(to.wrapping_sub(self.position).cast_signed())?;
        self.position = to;
        Ok(())
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<(), TarProblem> {
        self.input.read_exact(buffer).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => TarProblem::Truncated,
            _ => TarProblem::Io(error),
        })?;
        self.position += buffer.len() as u64;
        Ok(())
    }
}

/// The bytes before the first NUL.
fn until_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.truncate(bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len()));
    bytes
}

#[cfg(test)]
mod tests;
