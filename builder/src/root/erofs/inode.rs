//! Inodes (`struct erofs_inode_compact`, `struct erofs_inode_extended`).

use super::super::tree::{Device, Kind, Meta, Timestamp};
use super::xattr;

/// Bytes of the two forms.
pub(super) const COMPACT: u64 = 32;
pub(super) const EXTENDED: u64 = 64;

/// How data is laid out (`EROFS_INODE_*`).
#[derive(Debug, Clone, Copy)]
pub(super) enum Layout {
    FlatPlain = 0,
    FlatInline = 2,
    ChunkBased = 4,
}

/// One inode before it becomes bytes.
#[derive(Debug)]
pub(super) struct Inode<'a> {
    pub(super) number: u32,
    pub(super) meta: &'a Meta,
    /// Type and permissions.
    pub(super) mode: u16,
    pub(super) links: u32,
    pub(super) size: u64,
    pub(super) layout: Layout,
    /// First block, device number or chunk format, as layout and mode say (`i_u`).
    pub(super) data: u32,
    pub(super) xattr_count: u16,
}

/// Whether 32 bytes suffice. Compact inodes have the superblock's time.
pub(super) fn is_compact(meta: &Meta, links: u32, size: u64, epoch: Timestamp) -> bool {
    u16::try_from(meta.uid).is_ok()
        && u16::try_from(meta.gid).is_ok()
        && u16::try_from(links).is_ok()
        && u32::try_from(size).is_ok()
        && meta.mtime == epoch
}

/// The file type bits of a mode (`S_IF*`).
pub(super) fn type_bits(kind: &Kind) -> u16 {
    match kind {
        Kind::Fifo => 0o010_000,
        Kind::CharDevice(_) => 0o020_000,
        Kind::Directory(_) => 0o040_000,
        Kind::BlockDevice(_) => 0o060_000,
        Kind::File(_) => 0o100_000,
        Kind::Symlink(_) => 0o120_000,
        Kind::Socket => 0o140_000,
    }
}

/// A device number as the kernel stores it (`new_encode_dev`).
pub(super) fn device(device: Device) -> u32 {
    (device.minor & 0xff) | device.major << 8 | (device.minor & !0xff) << 12
}

impl Inode<'_> {
    /// Appends the inode in the form `compact` says.
    pub(super) fn encode(&self, compact: bool, bytes: &mut Vec<u8>) {
        let format = u16::from(!compact) | (self.layout as u16) << 1;
        bytes.extend(format.to_le_bytes());
        bytes.extend(self.xattr_count.to_le_bytes());
        bytes.extend(self.mode.to_le_bytes());
        if compact {
            bytes.extend((self.links as u16).to_le_bytes());
            bytes.extend((self.size as u32).to_le_bytes());
            bytes.extend([0; 4]);
            bytes.extend(self.data.to_le_bytes());
            bytes.extend(self.number.to_le_bytes());
            bytes.extend((self.meta.uid as u16).to_le_bytes());
            bytes.extend((self.meta.gid as u16).to_le_bytes());
            bytes.extend([0; 4]);
        } else {
            bytes.extend([0; 2]);
            bytes.extend(self.size.to_le_bytes());
            bytes.extend(self.data.to_le_bytes());
            bytes.extend(self.number.to_le_bytes());
            bytes.extend(self.meta.uid.to_le_bytes());
            bytes.extend(self.meta.gid.to_le_bytes());
            bytes.extend(self.meta.mtime.seconds.to_le_bytes());
            bytes.extend(self.meta.mtime.nanos.to_le_bytes());
            bytes.extend(self.links.to_le_bytes());
            bytes.extend([0; 16]);
        }
    }
}

/// What a reader needs of an inode.
#[derive(Debug)]
pub(super) struct Head {
    /// Type and permissions.
    pub(super) mode: u16,
    pub(super) size: u64,
    pub(super) layout: Layout,
    /// As in [`Inode::data`].
    pub(super) data: u32,
    /// Bytes of the inode and of its attributes.
    pub(super) len: u64,
}

/// Reads the bytes that both forms have; `None` where the layout is not one of ours.
pub(super) fn decode(bytes: &[u8; COMPACT as usize]) -> Option<Head> {
    let half = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
    let word = |at: usize| u32::from(half(at)) | u32::from(half(at + 2)) << 16;
    let (inode, size) = match half(0) & 1 {
        0 => (COMPACT, u64::from(word(8))),
        _ => (EXTENDED, u64::from(word(8)) | u64::from(word(12)) << 32),
    };
    let layouts = [Layout::FlatPlain, Layout::FlatInline, Layout::ChunkBased];
    let layout = layouts.into_iter().find(|layout| *layout as u16 == half(0) >> 1 & 7)?;
    Some(Head { mode: half(4), size, layout, data: word(16), len: inode + xattr::bytes(half(2)) })
}
