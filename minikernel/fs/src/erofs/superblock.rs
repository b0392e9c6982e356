//! The superblock: `struct erofs_super_block`.

use super::{OpenError, u16_at, u32_at, u64_at};
use crate::Timestamp;

/// Where it is, and its size.
pub(super) const OFFSET: u64 = 1024;
pub(super) const SIZE: usize = 128;
/// `EROFS_SUPER_MAGIC_V1`
pub(super) const MAGIC: u32 = 0xe0f5_e1e2;

/// `LZ4_0PADDING`, which says how compressed data would be laid out, and `CHUNKED_FILE`.
const KNOWN_FEATURES: u32 = 0x1 | 0x4;
/// An inode number counts slots of this many bytes.
const SLOT: u64 = 32;

/// What is needed of it.
#[derive(Debug)]
pub(super) struct Superblock {
    block_bits: u8,
    metadata_block: u32,
    xattr_block: u32,
    /// Number of the root directory.
    pub(super) root: u64,
    /// Time of all compact inodes.
    pub(super) time: Timestamp,
    pub(super) blocks: u64,
    pub(super) inodes: u64,
}

impl Superblock {
    pub(super) fn parse(bytes: &[u8; SIZE]) -> Result<Self, OpenError> {
        if u32_at(bytes, 0) != MAGIC {
            return Err(OpenError::NotErofs);
        }
        let features = u32_at(bytes, 80) & !KNOWN_FEATURES;
        if features != 0 {
            return Err(OpenError::Features(features));
        }
        let block_bits = bytes[12];
        if !(9..=12).contains(&block_bits) {
            return Err(OpenError::BlockSize(block_bits));
        }
        // `dirblkbits`: directories have blocks of their own size in no image so far.
        if bytes[90] != 0 {
            return Err(OpenError::BlockSize(block_bits.saturating_add(bytes[90])));
        }
        let time =
            Timestamp { seconds: u64_at(bytes, 24) as i64, nanoseconds: u32_at(bytes, 32).min(999_999_999) };
        Ok(Self {
            block_bits,
            root: u64::from(u16_at(bytes, 14)),
            inodes: u64_at(bytes, 16),
            time,
            blocks: u64::from(u32_at(bytes, 36)),
            metadata_block: u32_at(bytes, 40),
            xattr_block: u32_at(bytes, 44),
        })
    }

    pub(super) fn block_bits(&self) -> u32 {
        u32::from(self.block_bits)
    }

    /// Bytes of a block: 512 to 4096.
    pub(super) fn block_size(&self) -> u64 {
        1 << self.block_bits
    }

    /// Where a block is.
    pub(super) fn block(&self, block: u32) -> u64 {
        u64::from(block) << self.block_bits
    }

    /// Where an inode is; `None` beyond all images.
    pub(super) fn inode(&self, number: u64) -> Option<u64> {
        self.block(self.metadata_block).checked_add(number.checked_mul(SLOT)?)
    }

    /// Where a shared extended attribute is.
    pub(super) fn shared_xattr(&self, index: u32) -> u64 {
        self.block(self.xattr_block) + u64::from(index) * 4
    }
}
