//! Trees written as EROFS file systems, and looked into again,
//! [on-disk format](https://docs.kernel.org/filesystems/erofs.html#on-disk-details).
//!
//! # Layout
//!
//! ```text
//! block 0     1024 bytes of zeros, the superblock (128 bytes), and from byte 1152 on the metadata area
//! ..          metadata area: inodes in breadth-first order, the root first, each in a slot of 32 bytes
//! ..          directory blocks: those that do not fit behind their inodes, and long link targets
//! ..          file data, each file at a block of its own, in the order of the inodes
//! ```
//!
//! What a reader may rely on, beyond the format itself:
//!
//! - Blocks have 4 KiB, nothing is compressed, there is one device and no shared extended attribute. A node id is the inode's offset
//!   in the image divided by 32; the root's is in the superblock.
//! - The data of a regular file without large holes is `FLAT_PLAIN`: it begins at a block boundary and is contiguous, and the rest of its last
//!   block is zeros, so that its pages can be mapped as they are.
//! - A regular file with large holes is `CHUNK_BASED` with a map of 4-byte block addresses, `!0` for a hole. A chunk is one or more blocks.
//! - Directories and symbolic links are `FLAT_INLINE` where the rest of their data fits behind the inode into the same block, else
//!   `FLAT_PLAIN`.
//! - No inode crosses a block boundary, nor do its inline data or, unless they are larger than a block, its extended attributes.
//! - Names in directories are sorted by bytes, `.` and `..` included. Link counts of directories are 2 and one for each directory in them.
//! - Compact inodes (32 bytes) are for nodes whose time is the superblock's, the commonest time of the tree.
//!
//! The same tree gives the same bytes: nothing depends on time or place, and the UUID is zero.

mod chunks;
mod dirent;
mod inode;
mod output;
mod plan;
mod reader;
mod superblock;
mod xattr;

use std::fs::File;
use std::io;

use super::content::Content;
use super::error::RootError;
use super::tree::{Kind, Tree};
use output::{CopyError, Output};
use plan::{Body, Plan};
pub use reader::{Found, RootImage};
pub(super) use xattr::can_store as can_store_xattr;

/// Bytes in a block.
pub const BLOCK: u64 = 4096;
const BLOCK_BITS: u32 = BLOCK.trailing_zeros();
/// Inodes begin at multiples of this.
const SLOT: u64 = 32;

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// Size of the file system, a multiple of [`BLOCK`].
    pub bytes: u64,
    /// Of these, what lies before the first file's data.
    pub metadata_bytes: u64,
    /// Files, directories and other nodes; hard links count once.
    pub inodes: u64,
}

/// A file system that is planned: its size is known, and its bytes follow from the tree.
#[derive(Debug)]
pub struct Image<'t> {
    tree: &'t Tree,
    plan: Plan<'t>,
}

impl<'t> Image<'t> {
    /// Decides where everything will lie.
    ///
    /// # Errors
    /// A tree that is too large for the format.
    pub fn plan(tree: &'t Tree) -> Result<Self, RootError> {
        Ok(Self { tree, plan: Plan::new(tree)? })
    }

    /// How many bytes it will have, a multiple of [`BLOCK`].
    pub fn size(&self) -> u64 {
        self.plan.blocks() * BLOCK
    }

    /// Writes it to `out`, front to back, from its current position on.
    ///
    /// # Errors
    /// Contents that cannot be read, or an output that cannot be written.
    pub fn write(&self, out: &File) -> Result<Stats, RootError> {
        output::write(out, |out| {
            write_metadata(&self.plan, out).map_err(RootError::Write)?;
            for &id in self.plan.order() {
                if let Kind::File(content) = &self.tree.node(id).kind {
                    write_data(content, self.plan.body(id), out).map_err(|error| match error {
                        CopyError::Read(source) => RootError::Content { path: self.plan.path(id), source },
                        CopyError::Write(error) => RootError::Write(error),
                    })?;
                }
            }
            Ok(())
        })?;
        Ok(Stats {
            bytes: self.size(),
            metadata_bytes: self.plan.data_start() * BLOCK,
            inodes: self.plan.order().len() as u64,
        })
    }
}

/// Writes all that lies before the files' data.
fn write_metadata(plan: &Plan, out: &mut Output) -> io::Result<()> {
    out.zeros_until(superblock::START)?;
    out.write(&superblock::encode(plan, &first_inodes(plan)))?;
    let mut bytes = Vec::new();
    for (number, &id) in plan.order().iter().enumerate() {
        bytes.clear();
        plan.encode(number, id, &mut bytes);
        out.zeros_until(plan.offset(id))?;
        out.write(&bytes)?;
    }
    for &id in plan.order() {
        if let (Body::Blocks { start, .. }, Some(data)) = (plan.body(id), plan.metadata_blocks(id)) {
            out.zeros_until(u64::from(*start) * BLOCK)?;
            out.write(&data)?;
        }
    }
    out.zeros_until(plan.data_start() * BLOCK)
}

/// What follows the superblock in its block, over which its checksum goes too.
fn first_inodes(plan: &Plan) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (number, &id) in plan.order().iter().enumerate() {
        let at = plan.offset(id);
        if at >= BLOCK {
            break;
        }
        bytes.resize((at - superblock::END) as usize, 0);
        plan.encode(number, id, &mut bytes);
    }
    bytes.resize((BLOCK - superblock::END) as usize, 0);
    bytes
}

/// Writes the data of a regular file.
fn write_data(content: &Content, body: &Body, out: &mut Output) -> Result<(), CopyError> {
    let (start, chunks) = match body {
        Body::Blocks { start, .. } => (*start, None),
        Body::Chunks { start, chunks } => (*start, Some(chunks)),
        Body::None | Body::Inline => return Ok(()),
    };
    let start = u64::from(start) * BLOCK;
    let opened = content.open().map_err(CopyError::Read)?;
    let Some(chunks) = chunks else {
        for extent in content.extents() {
            out.zeros_until(start + extent.logical).map_err(CopyError::Write)?;
            out.copy(&opened, extent.physical, extent.len)?;
        }
        return out.zeros_until(start + content.len().next_multiple_of(BLOCK)).map_err(CopyError::Write);
    };
    for (at, extent) in chunks.pieces(content) {
        out.zeros_until(start + at).map_err(CopyError::Write)?;
        out.copy(&opened, extent.physical, extent.len)?;
    }
    out.zeros_until(start + chunks.stored_blocks * BLOCK).map_err(CopyError::Write)
}
