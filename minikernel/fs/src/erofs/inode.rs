//! Inodes on disk: `struct erofs_inode_compact` and `struct erofs_inode_extended`.

use super::{CORRUPT, Image, u16_at, u32_at, u64_at};
use crate::metadata::{DeviceId, FileType};
use crate::{Result, Timestamp};

/// Size of a compact and of an extended inode.
const COMPACT: usize = 32;
const EXTENDED: usize = 64;

/// An inode as it is on disk.
#[derive(Debug)]
pub(super) struct DiskInode {
    pub(super) kind: FileType,
    /// Permission, set-id and sticky bits.
    pub(super) mode: u16,
    pub(super) links: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) size: u64,
    pub(super) modified: Timestamp,
    pub(super) layout: Layout,
    pub(super) special: DeviceId,
    /// Where its extended attributes begin, right behind it.
    pub(super) xattrs: u64,
    /// How many bytes they take.
    pub(super) xattrs_size: u64,
}

/// How its data is laid out; block numbers as on disk.
#[derive(Clone, Copy, Debug)]
pub(super) enum Layout {
    /// From this block on.
    Plain(u32),
    /// From this block on, but what does not fill a block is behind the inode.
    Inline(u32),
    /// In chunks of 2 to the power of `bits` bytes, each with an entry in a table behind the inode.
    Chunks { bits: u32, indexes: bool },
}

impl DiskInode {
    pub(super) fn read(image: &Image, number: u64) -> Result<Self> {
        let superblock = &image.superblock;
        let offset = superblock.inode(number).ok_or(CORRUPT)?;
        let compact: [u8; COMPACT] = image.read(offset)?;
        let format = u16_at(&compact, 0);
        let extended = format & 1 != 0;
        let mode = u16_at(&compact, 4);
        let kind = FileType::from_mode(u32::from(mode)).ok_or(CORRUPT)?;
        let data = u32_at(&compact, 16);
        let layout = match format >> 1 {
            0 => Layout::Plain(data),
            2 => Layout::Inline(data),
            4 => Layout::Chunks {
                bits: superblock.block_bits() + (data & 0x1f),
                indexes: match data & 0xffe0 {
                    0 => false,
                    0x20 => true,
                    _ => return Err(CORRUPT),
                },
            },
            // Compressed, though the superblock does not say so, or not known at all.
            _ => return Err(CORRUPT),
        };
        let xattrs_size = match u64::from(u16_at(&compact, 2)) {
            0 => 0,
            count => 12 + (count - 1) * 4,
        };
        let (links, uid, gid, size, modified);
        if extended {
            let bytes: [u8; EXTENDED] = image.read(offset)?;
            (links, uid, gid) = (u32_at(&bytes, 44), u32_at(&bytes, 24), u32_at(&bytes, 28));
            size = u64_at(&bytes, 8);
            let nanoseconds = u32_at(&bytes, 40).min(999_999_999);
            modified = Timestamp { seconds: u64_at(&bytes, 32) as i64, nanoseconds };
        } else {
            links = u32::from(u16_at(&compact, 6));
            (uid, gid) = (u32::from(u16_at(&compact, 24)), u32::from(u16_at(&compact, 26)));
            size = u64::from(u32_at(&compact, 8));
            modified = superblock.time;
        }
        if size > i64::MAX as u64 {
            return Err(CORRUPT);
        }
        let device = matches!(kind, FileType::CharacterDevice | FileType::BlockDevice);
        Ok(Self {
            kind,
            mode: mode & 0o7777,
            links,
            uid,
            gid,
            size,
            modified,
            layout,
            special: if device { DeviceId::decode(data) } else { DeviceId::default() },
            xattrs: offset + if extended { EXTENDED } else { COMPACT } as u64,
            xattrs_size,
        })
    }
}
