//! A finished root, looked into without mounting it. It may have been changed since: nothing in it is trusted.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use super::inode::{self, Layout};
use super::{BLOCK, SLOT, chunks, dirent, superblock};

/// Linux follows as many symbolic links on one path (`MAXSYMLINKS`).
const LINKS_MAX: usize = 40;
/// The largest directory or link that is read, in bytes.
const METADATA_MAX: u64 = 16 << 20;

const TYPE: u16 = 0o170_000;
const DIRECTORY: u16 = 0o040_000;
const SYMLINK: u16 = 0o120_000;

/// An EROFS image, as this room writes it, whose files can be opened.
#[derive(Debug)]
pub struct RootImage {
    file: Arc<File>,
    /// Where the EROFS image starts in the file, in bytes.
    start: u64,
    /// Where node ids count from.
    nodes: u64,
    root: u64,
}

/// Something in a [`RootImage`].
#[derive(Debug, Clone)]
pub struct Found {
    image: Arc<File>,
    /// Type and permissions (`st_mode`, inode(7)).
    pub mode: u16,
    /// Its size in bytes.
    pub size: u64,
    data: Data,
}

/// Where the bytes of a node lie in the file.
#[derive(Debug, Clone, Copy)]
enum Data {
    Flat {
        /// Where its whole blocks start.
        blocks: u64,
        /// Where the bytes behind the last whole block are: beside the inode, or else in one more block.
        tail: u64,
    },
    /// A map of block addresses, one for each chunk; a hole has none.
    Chunks {
        map: u64,
        /// Bytes of a chunk, and where the image starts.
        size: u64,
        start: u64,
    },
}

impl RootImage {
    /// Opens the image that starts at the byte `start` of `file`.
    ///
    /// # Errors
    /// What the file system says, and [`io::ErrorKind::InvalidData`] for anything but EROFS.
    pub fn open(file: File, start: u64) -> io::Result<Self> {
        let file = Arc::new(file);
        let bytes = read_array(&file, start.checked_add(superblock::START).ok_or_else(damaged)?)?;
        let (root, nodes) = superblock::decode(&bytes).ok_or_else(damaged)?;
        let nodes = start.checked_add(nodes).ok_or_else(damaged)?;
        Ok(Self { file, start, nodes, root })
    }

    fn node(&self, id: u64) -> io::Result<Found> {
        let at =
            id.checked_mul(SLOT).and_then(|offset| offset.checked_add(self.nodes)).ok_or_else(damaged)?;
        let inode = inode::decode(&read_array(&self.file, at)?).ok_or_else(damaged)?;
        let behind = at.checked_add(inode.len).ok_or_else(damaged)?;
        let blocks = self.start.checked_add(u64::from(inode.data) * BLOCK).ok_or_else(damaged)?;
        let data = match inode.layout {
            Layout::FlatPlain => {
                let whole = inode.size / BLOCK * BLOCK;
                Data::Flat { blocks, tail: blocks.checked_add(whole).ok_or_else(damaged)? }
            }
            Layout::FlatInline => Data::Flat { blocks, tail: behind },
            Layout::ChunkBased => {
                Data::Chunks { map: behind, size: chunks::size(inode.data), start: self.start }
            }
        };
        Ok(Found { image: self.file.clone(), mode: inode.mode, size: inode.size, data })
    }

    /// The node behind `name` in a directory.
    fn child(&self, directory: &Found, name: &[u8]) -> io::Result<Found> {
        for block in directory.all()?.chunks(BLOCK as usize) {
            if let Some(id) = dirent::find(block, name).map_err(|dirent::Damaged| damaged())? {
                return self.node(id);
            }
        }
        Err(io::ErrorKind::NotFound.into())
    }

    /// What `path` leads to, as `path_resolution(7)` tells, and its path without symbolic links. The root is its own parent.
    ///
    /// # Errors
    /// Those of `open(2)`, and [`io::ErrorKind::InvalidData`] for a damaged image.
    pub fn find(&self, path: &[u8]) -> io::Result<(Vec<u8>, Found)> {
        let root = self.node(self.root)?;
        let mut at: Vec<(Vec<u8>, Found)> = Vec::new();
        let mut left: Vec<Vec<u8>> = names(path).rev().collect();
        let mut links = 0;
        while let Some(name) = left.pop() {
            if name == b".." {
                at.pop();
                continue;
            }
            let directory = at.last().map_or(&root, |(_, inode)| inode);
            if directory.mode & TYPE != DIRECTORY {
                return Err(io::ErrorKind::NotADirectory.into());
            }
            let inode = self.child(directory, &name)?;
            if inode.mode & TYPE != SYMLINK {
                at.push((name, inode));
                continue;
            }
            links += 1;
            if links > LINKS_MAX {
                return Err(io::Error::from_raw_os_error(rustix::io::Errno::LOOP.raw_os_error()));
            }
            let target = inode.all()?;
            if target.starts_with(b"/") {
                at.clear();
            }
            left.extend(names(&target).rev());
        }
        let real = at.iter().flat_map(|(name, _)| [&b"/"[..], name]).collect::<Vec<_>>().concat();
        Ok((real, at.pop().map_or(root, |(_, inode)| inode)))
    }
}

impl Found {
    /// The whole of a directory or link.
    fn all(&self) -> io::Result<Vec<u8>> {
        if self.size > METADATA_MAX {
            return Err(damaged());
        }
        let mut bytes = vec![0; self.size as usize];
        let mut filled = 0;
        while filled < bytes.len() {
            match self.read_at(&mut bytes[filled..], filled as u64)? {
                0 => return Err(damaged()),
                count => filled += count,
            }
        }
        Ok(bytes)
    }

    /// Reads up to `buffer.len()` bytes that start at `offset`; fewer at the end of the file and where its pieces meet.
    ///
    /// # Errors
    /// What the file system of the image says.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let (from, end) = self.piece(offset)?;
        let length = buffer.len().min(end.min(self.size).saturating_sub(offset) as usize);
        let buffer = &mut buffer[..length];
        let Some(from) = from else {
            buffer.fill(0);
            return Ok(length);
        };
        self.image.read_at(buffer, from)
    }

    /// Where the byte at `offset` lies in the file, `None` in a hole, and up to which offset the bytes behind it follow.
    fn piece(&self, offset: u64) -> io::Result<(Option<u64>, u64)> {
        let whole = self.size / BLOCK * BLOCK;
        match self.data {
            Data::Flat { blocks, .. } if offset < whole => Ok((blocks.checked_add(offset), whole)),
            Data::Flat { tail, .. } => Ok((tail.checked_add(offset - whole), self.size)),
            Data::Chunks { map, size, start } => {
                let chunk = offset / size;
                let address = chunk.checked_mul(chunks::ADDRESS).and_then(|entry| entry.checked_add(map));
                let address = u32::from_le_bytes(read_array(&self.image, address.ok_or_else(damaged)?)?);
                let from =
                    (address != chunks::HOLE).then(|| start + u64::from(address) * BLOCK + offset % size);
                Ok((from, (chunk + 1).saturating_mul(size)))
            }
        }
    }
}

fn names(path: &[u8]) -> impl DoubleEndedIterator<Item = Vec<u8>> {
    let parts = path.split(|byte| *byte == b'/');
    parts.filter(|name| !matches!(*name, b"" | b".")).map(<[u8]>::to_vec)
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the root is not a whole EROFS image")
}

fn read_array<const N: usize>(file: &File, at: u64) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    file.read_exact_at(&mut bytes, at)?;
    Ok(bytes)
}
