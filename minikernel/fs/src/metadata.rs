//! What is known of a file besides its contents: inode(7).

use bitflags::bitflags;
use isopod_hal::clock;

/// A point in time: seconds and nanoseconds (below 1,000,000,000) since 1970-01-01 00:00 UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp {
    /// Whole seconds, negative before 1970.
    pub seconds: i64,
    /// Nanoseconds after `seconds`.
    pub nanoseconds: u32,
}

impl Timestamp {
    /// The wall clock's present time. Not inlined: every change of a file asks for it, and the divisions are long.
    #[inline(never)]
    pub fn now() -> Self {
        let nanoseconds = clock::realtime_ns();
        Self {
            seconds: (nanoseconds / 1_000_000_000) as i64,
            nanoseconds: (nanoseconds % 1_000_000_000) as u32,
        }
    }
}

/// The number of a device, as in `st_dev` and `st_rdev`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeviceId {
    /// The class of device, 12 bits.
    pub major: u32,
    /// Which one of its class, 20 bits.
    pub minor: u32,
}

impl DeviceId {
    /// The device with these numbers.
    pub const fn new(major: u32, minor: u32) -> Self {
        Self { major, minor }
    }

    /// The 32-bit form in which the kernel takes and gives it: mknod(2), stat(2), and EROFS's `rdev`.
    pub const fn encode(self) -> u32 {
        (self.minor & 0xff) | ((self.major & 0xfff) << 8) | ((self.minor & 0xf_ff00) << 12)
    }

    /// The reverse of [`encode`](Self::encode).
    pub const fn decode(encoded: u32) -> Self {
        Self { major: (encoded >> 8) & 0xfff, minor: (encoded & 0xff) | ((encoded >> 12) & 0xf_ff00) }
    }
}

/// What kind of file an inode is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileType {
    /// A file with contents.
    Regular,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A device of bytes.
    CharacterDevice,
    /// A device of blocks.
    BlockDevice,
    /// A named pipe.
    Fifo,
    /// A Unix-domain socket's name.
    Socket,
}

impl FileType {
    /// The type's bits of `st_mode` (`S_IFMT`).
    pub const fn mode_bits(self) -> u32 {
        match self {
            Self::Fifo => 0o010_000,
            Self::CharacterDevice => 0o020_000,
            Self::Directory => 0o040_000,
            Self::BlockDevice => 0o060_000,
            Self::Regular => 0o100_000,
            Self::Symlink => 0o120_000,
            Self::Socket => 0o140_000,
        }
    }

    /// The type that `st_mode` names, if it names one.
    pub const fn from_mode(mode: u32) -> Option<Self> {
        Some(match mode & 0o170_000 {
            0o010_000 => Self::Fifo,
            0o020_000 => Self::CharacterDevice,
            0o040_000 => Self::Directory,
            0o060_000 => Self::BlockDevice,
            0o100_000 => Self::Regular,
            0o120_000 => Self::Symlink,
            0o140_000 => Self::Socket,
            _ => return None,
        })
    }

    /// `d_type` of getdents64(2).
    pub const fn dirent_type(self) -> u8 {
        (self.mode_bits() >> 12) as u8
    }
}

/// Set-user-ID bit of a mode.
pub const S_ISUID: u16 = 0o4000;
/// Set-group-ID bit of a mode.
pub const S_ISGID: u16 = 0o2000;
/// Sticky bit of a mode.
pub const S_ISVTX: u16 = 0o1000;
/// Group-execute bit of a mode.
pub const S_IXGRP: u16 = 0o010;

/// Everything stat(2) and statx(2) tell of an inode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// The file system (`st_dev`).
    pub device: DeviceId,
    /// Number within the file system, constant as long as the inode lives (`st_ino`).
    pub inode: u64,
    /// Kind of file.
    pub kind: FileType,
    /// Permission, set-id and sticky bits: 0 to 0o7777.
    pub mode: u16,
    /// Names of the inode.
    pub links: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// For a device node, which device it names (`st_rdev`).
    pub special: DeviceId,
    /// Length of the contents in bytes; of a symbolic link, of its target.
    pub size: u64,
    /// Preferred size of reads and writes in bytes (`st_blksize`).
    pub block_size: u32,
    /// Storage used, in units of 512 bytes.
    pub blocks: u64,
    /// Last read.
    pub accessed: Timestamp,
    /// Last change of the contents.
    pub modified: Timestamp,
    /// Last change of contents or metadata.
    pub changed: Timestamp,
    /// Creation, where it is known.
    pub born: Option<Timestamp>,
}

impl Metadata {
    /// `st_mode`: type and permissions.
    pub fn st_mode(&self) -> u32 {
        self.kind.mode_bits() | u32::from(self.mode)
    }

    /// Whether this is a directory.
    pub fn is_directory(&self) -> bool {
        self.kind == FileType::Directory
    }
}

/// Attributes to change at once; `None` leaves one as it is. The change time is always set to now.
///
/// Nobody's permission is checked here: that is the work of the callers in [`vfs`](crate::vfs).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SetAttributes {
    /// New permission, set-id and sticky bits.
    pub mode: Option<u16>,
    /// New owner.
    pub uid: Option<u32>,
    /// New group.
    pub gid: Option<u32>,
    /// New time of the last read.
    pub accessed: Option<Timestamp>,
    /// New time of the last change.
    pub modified: Option<Timestamp>,
}

/// State and capacity of a file system: statfs(2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Magic number (`f_type`).
    pub magic: u32,
    /// Size of a block in bytes.
    pub block_size: u32,
    /// Blocks in all.
    pub blocks: u64,
    /// Free blocks.
    pub blocks_free: u64,
    /// Inodes in all; 0 where they are not counted.
    pub inodes: u64,
    /// Free inodes.
    pub inodes_free: u64,
    /// Longest name of a component in bytes.
    pub name_max: u32,
}

bitflags! {
    /// `XATTR_CREATE` and `XATTR_REPLACE` of setxattr(2).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct XattrFlags: u32 {
        /// Fail with EEXIST if the attribute exists.
        const CREATE = 1;
        /// Fail with ENODATA if it does not exist.
        const REPLACE = 2;
    }
}

bitflags! {
    /// What can no longer be done with a file in memory: `F_ADD_SEALS` of fcntl(2).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Seals: u32 {
        /// Add further seals.
        const SEAL = 1;
        /// Make it shorter.
        const SHRINK = 2;
        /// Make it longer.
        const GROW = 4;
        /// Write to it.
        const WRITE = 8;
        /// Write to it, except through what is mapped already.
        const FUTURE_WRITE = 16;
    }
}

bitflags! {
    /// Flags of renameat2(2).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct RenameFlags: u32 {
        /// Fail with EEXIST if the new name exists.
        const NOREPLACE = 1;
        /// Exchange the two names.
        const EXCHANGE = 2;
        /// Leave a whiteout (character device 0:0) at the old name.
        const WHITEOUT = 4;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_numbers_encode_as_glibc_makedev_low_word() {
        // Compared with `python3 -c 'import os; print(os.makedev(8, 300))'`.
        assert_eq!(DeviceId::new(8, 300).encode(), 1_050_668);
        assert_eq!(DeviceId::decode(1_050_668), DeviceId::new(8, 300));
        assert_eq!(DeviceId::new(1, 3).encode(), 0x103);
    }

    #[test]
    fn file_types_and_mode_bits_are_inverse() {
        for bits in 0..16 {
            if let Some(kind) = FileType::from_mode(bits << 12) {
                assert_eq!(kind.mode_bits(), bits << 12);
                assert_eq!(u32::from(kind.dirent_type()), bits);
            }
        }
    }
}
