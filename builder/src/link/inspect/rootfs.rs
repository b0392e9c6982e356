//! A finished root, looked into without mounting it: as much of EROFS as Isopod writes (Documentation/filesystems/erofs.rst).

use std::fs::File;
use std::io;
use std::sync::Arc;

use super::{Entry, Files, ReadAt};

const BLOCK: u64 = 4096;
const SUPERBLOCK: u64 = 1024;
const MAGIC: u32 = 0xE0F5_E1E2;
const LINKS_MAX: usize = 40;
/// The largest directory or link that is read, in bytes.
const METADATA_MAX: u64 = 16 << 20;

const TYPE: u32 = 0o170_000;
const DIRECTORY: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;
const SYMLINK: u32 = 0o120_000;

/// An EROFS image whose files can be opened.
#[derive(Debug)]
pub struct RootImage {
    file: Arc<File>,
    /// Where the EROFS image starts in the file, in bytes.
    start: u64,
    inodes: u64,
    root: u64,
}

/// An inode and where its bytes lie.
#[derive(Debug, Clone)]
struct Inode {
    image: Arc<File>,
    mode: u32,
    size: u64,
    data: Data,
}

/// Where an inode's bytes lie in the file.
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

/// The address of a chunk that is a hole.
const HOLE: u32 = u32::MAX;

impl RootImage {
    /// Opens the image that starts at the byte `start` of `file`.
    ///
    /// # Errors
    /// What the file system says, and [`io::ErrorKind::InvalidData`] for anything but EROFS.
    pub fn open(file: File, start: u64) -> io::Result<Self> {
        let file = Arc::new(file);
        let block: [u8; 128] = read_array(&file, start.checked_add(SUPERBLOCK).ok_or_else(damaged)?)?;
        let (magic, block_bits, root, inodes) =
            (word(&block, 0), block[12], half(&block, 14), word(&block, 40));
        if magic != MAGIC || 1 << block_bits.min(63) != BLOCK {
            return Err(damaged());
        }
        let inodes = start.checked_add(u64::from(inodes) * BLOCK).ok_or_else(damaged)?;
        Ok(Self { file, start, inodes, root: u64::from(root) })
    }

    fn inode(&self, number: u64) -> io::Result<Inode> {
        let at =
            number.checked_mul(32).and_then(|offset| offset.checked_add(self.inodes)).ok_or_else(damaged)?;
        let head: [u8; 32] = read_array(&self.file, at)?;
        let format = half(&head, 0);
        let xattrs = match u64::from(half(&head, 2)) {
            0 => 0,
            count => 12 + 4 * (count - 1),
        };
        let (length, size) = match format & 1 {
            0 => (32, u64::from(word(&head, 8))),
            _ => (64, u64::from(word(&head, 8)) | u64::from(word(&head, 12)) << 32),
        };
        let address = word(&head, 16);
        let behind = at.checked_add(length + xattrs).ok_or_else(damaged)?;
        let blocks = self.start.checked_add(u64::from(address) * BLOCK).ok_or_else(damaged)?;
        let data = match format >> 1 & 7 {
            0 => Data::Flat { blocks, tail: blocks.checked_add(size / BLOCK * BLOCK).ok_or_else(damaged)? },
            2 => Data::Flat { blocks, tail: behind },
            4 => Data::Chunks {
                map: behind.next_multiple_of(4),
                size: BLOCK << (address & 31),
                start: self.start,
            },
            _ => return Err(damaged()),
        };
        Ok(Inode { image: self.file.clone(), mode: u32::from(half(&head, 4)), size, data })
    }

    /// The inode number behind `name` in a directory.
    fn child(directory: &Inode, name: &[u8]) -> io::Result<u64> {
        let bytes = directory.all()?;
        for block in bytes.chunks(BLOCK as usize) {
            let names = usize::from(half_of(block, 8)?);
            for entry in 0..names / 12 {
                let start = usize::from(half_of(block, entry * 12 + 8)?);
                let end = if entry + 1 < names / 12 {
                    usize::from(half_of(block, (entry + 1) * 12 + 8)?)
                } else {
                    block.len()
                };
                let found = block.get(start..end).ok_or_else(damaged)?;
                let found = found.split(|byte| *byte == 0).next().unwrap_or_default();
                if found == name {
                    let number = block.get(entry * 12..).and_then(<[u8]>::first_chunk).ok_or_else(damaged)?;
                    return Ok(u64::from_le_bytes(*number));
                }
            }
        }
        Err(io::ErrorKind::NotFound.into())
    }

    /// Walks a path as `path_resolution(7)` tells; the root is its own parent.
    fn walk(&self, path: &[u8]) -> io::Result<(Vec<u8>, Inode)> {
        let root = self.inode(self.root)?;
        let mut at: Vec<(Vec<u8>, Inode)> = Vec::new();
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
            let inode = self.inode(Self::child(directory, &name)?)?;
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

impl Files for RootImage {
    fn open(&self, path: &[u8]) -> io::Result<Entry> {
        let (path, inode) = self.walk(path)?;
        if inode.mode & TYPE != REGULAR {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        Ok(Entry { path, mode: inode.mode, size: inode.size, data: Box::new(inode) })
    }
}

impl Inode {
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
}

impl ReadAt for Inode {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let (from, end) = self.piece(offset)?;
        let length = buffer.len().min(end.min(self.size).saturating_sub(offset) as usize);
        let buffer = &mut buffer[..length];
        let Some(from) = from else {
            buffer.fill(0);
            return Ok(length);
        };
        std::os::unix::fs::FileExt::read_at(&*self.image, buffer, from)
    }
}

impl Inode {
    /// Where the byte at `offset` lies in the file, `None` in a hole, and up to which offset the bytes behind it follow.
    fn piece(&self, offset: u64) -> io::Result<(Option<u64>, u64)> {
        let whole = self.size / BLOCK * BLOCK;
        match self.data {
            Data::Flat { blocks, .. } if offset < whole => Ok((blocks.checked_add(offset), whole)),
            Data::Flat { tail, .. } => Ok((tail.checked_add(offset - whole), self.size)),
            Data::Chunks { map, size, start } => {
                let chunk = offset / size;
                let address =
                    chunk.checked_mul(4).and_then(|entry| entry.checked_add(map)).ok_or_else(damaged)?;
                let address = u32::from_le_bytes(read_array(&self.image, address)?);
                let from = (address != HOLE).then(|| start + u64::from(address) * BLOCK + offset % size);
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
    std::os::unix::fs::FileExt::read_exact_at(file, &mut bytes, at)?;
    Ok(bytes)
}

fn half(bytes: &[u8], at: usize) -> u16 {
    half_of(bytes, at).unwrap_or(0)
}

fn half_of(bytes: &[u8], at: usize) -> io::Result<u16> {
    let bytes = bytes.get(at..).and_then(<[u8]>::first_chunk).ok_or_else(damaged)?;
    Ok(u16::from_le_bytes(*bytes))
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from(half(bytes, at)) | u32::from(half(bytes, at + 2)) << 16
}
