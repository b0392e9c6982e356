//! EROFS, the read-only file system of the root image.
//!
//! See the [on-disk format](https://docs.kernel.org/filesystems/erofs.html). Everything uncompressed that Linux
//! reads is read: compact and extended inodes, contiguous, inline and chunked data, inline and shared extended
//! attributes. The image is not trusted: whatever does not fit together ends with EUCLEAN, as on Linux.

mod data;
mod directory;
mod inode;
mod node;
mod superblock;
mod xattr;

#[cfg(test)]
mod tests;

use alloc::sync::{Arc, Weak};
use core::fmt;
use isopod_hal::number_map::NumberMap;

use isopod_hal::sync::SpinLock;

use crate::inode::{FileSystem, Inode};
use crate::metadata::{DeviceId, Statistics};
use crate::pages::{PageSource, read_exact};
use crate::{Errno, Error, Result, Wait, allocate_device};
use node::Node;
use superblock::Superblock;

/// What an image that does not fit the format is answered with.
const CORRUPT: Error = Error::Errno(Errno::EUCLEAN);

/// Why an image cannot be mounted.
#[derive(Clone, Debug)]
pub enum OpenError {
    /// Its first page is still being read: await this and try again.
    Wait(Wait),
    /// It could not be read.
    Unreadable(Errno),
    /// It does not begin with a superblock.
    NotErofs,
    /// Blocks have 2 to the power of this bytes; 512 to 4096 bytes are supported.
    BlockSize(u8),
    /// It needs these features (`feature_incompat`), compression for example, that are not supported.
    Features(u32),
    /// Its root is no directory, or cannot be found.
    NoRoot,
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wait(_) => f.write_str("the superblock is still being read"),
            Self::Unreadable(errno) => write!(f, "cannot read the image: {}", errno.description()),
            Self::NotErofs => f.write_str("not an EROFS image"),
            Self::BlockSize(bits) => write!(f, "blocks of 2^{bits} bytes are not supported"),
            Self::Features(features) => {
                write!(
                    f,
                    "the image uses compression or other features that are not supported ({features:#x})"
                )
            }
            Self::NoRoot => f.write_str("the image has no root directory"),
        }
    }
}

impl From<Error> for OpenError {
    fn from(error: Error) -> Self {
        match error {
            Error::Wait(wait) => Self::Wait(wait),
            Error::Errno(errno) => Self::Unreadable(errno),
        }
    }
}

/// A mounted image.
#[derive(Debug)]
pub struct Erofs {
    image: Arc<Image>,
    root: Arc<Node>,
}

/// What all inodes of an image share.
#[derive(Debug)]
struct Image {
    source: Arc<dyn PageSource>,
    superblock: Superblock,
    device: DeviceId,
    /// The inodes in use, by number.
    nodes: SpinLock<NumberMap<Weak<Node>>>,
}

impl Erofs {
    /// Mounts the image in `source`.
    pub fn open(source: Arc<dyn PageSource>) -> core::result::Result<Arc<Self>, OpenError> {
        let mut bytes = [0; superblock::SIZE];
        match read_exact(&*source, superblock::OFFSET, &mut bytes) {
            Ok(()) => {}
            Err(Error::Errno(Errno::EUCLEAN)) => return Err(OpenError::NotErofs),
            Err(error) => return Err(error.into()),
        }
        let superblock = Superblock::parse(&bytes)?;
        let root = superblock.root;
        let image =
            Arc::new(Image { source, superblock, device: allocate_device(), nodes: SpinLock::default() });
        let root = match image.node(root) {
            Ok(node) if node.is_directory() => node,
            Ok(_) | Err(Error::Errno(Errno::EUCLEAN)) => return Err(OpenError::NoRoot),
            Err(error) => return Err(error.into()),
        };
        Ok(Arc::new(Self { image, root }))
    }
}

impl FileSystem for Erofs {
    fn name(&self) -> &'static str {
        "erofs"
    }

    fn root(&self) -> Arc<dyn Inode> {
        self.root.clone()
    }

    fn statistics(&self) -> Result<Statistics> {
        let superblock = &self.image.superblock;
        Ok(Statistics {
            magic: superblock::MAGIC,
            block_size: superblock.block_size() as u32,
            blocks: superblock.blocks,
            blocks_free: 0,
            inodes: superblock.inodes,
            inodes_free: 0,
            name_max: 255,
        })
    }

    fn read_only(&self) -> bool {
        true
    }
}

impl Image {
    /// The bytes from `offset` on; EUCLEAN if they are not all within the image.
    fn read<const N: usize>(&self, offset: u64) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.read_into(offset, &mut bytes)?;
        Ok(bytes)
    }

    fn read_into(&self, offset: u64, bytes: &mut [u8]) -> Result<()> {
        read_exact(&*self.source, offset, bytes)
    }

    /// The inode with this number: always the same object while it is in use.
    fn node(self: &Arc<Self>, number: u64) -> Result<Arc<Node>> {
        let known = self.nodes.lock().get(&number).and_then(Weak::upgrade);
        if let Some(node) = known {
            return Ok(node);
        }
        let node = Node::read(self, number)?;
        let mut nodes = self.nodes.lock();
        // Another one may have read it in the meantime.
        if let Some(known) = nodes.get(&number).and_then(Weak::upgrade) {
            drop(nodes);
            return Ok(known);
        }
        nodes.insert(number, Arc::downgrade(&node));
        Ok(node)
    }

    /// Forgets an inode that is dropped, unless another object has taken its place.
    fn forget(&self, number: u64) {
        let mut nodes = self.nodes.lock();
        if nodes.get(&number).is_some_and(|node| node.strong_count() == 0) {
            nodes.remove(&number);
        }
    }
}

/// The little-endian numbers of the format; the offset lies within the array, whose size is known.
fn u16_at(bytes: &[u8], offset: usize) -> u16 {
    u16::from_le_bytes(core::array::from_fn(|index| bytes[offset + index]))
}

fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    u32::from_le_bytes(core::array::from_fn(|index| bytes[offset + index]))
}

fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    u64::from_le_bytes(core::array::from_fn(|index| bytes[offset + index]))
}
