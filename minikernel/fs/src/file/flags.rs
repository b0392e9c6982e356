//! How a file is open: open(2).

use bitflags::bitflags;

bitflags! {
    /// Flags of open(2), with Linux's numbers on x86-64.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct OpenFlags: u32 {
        /// Open for writing only.
        const WRONLY = 0o1;
        /// Open for reading and writing.
        const RDWR = 0o2;
        /// Create the file if there is none.
        const CREAT = 0o100;
        /// With `CREAT`: fail with EEXIST if it exists.
        const EXCL = 0o200;
        /// Never make it the controlling terminal.
        const NOCTTY = 0o400;
        /// Cut a regular file to length 0.
        const TRUNC = 0o1000;
        /// Every write goes to the end.
        const APPEND = 0o2000;
        /// Never block.
        const NONBLOCK = 0o4000;
        /// Writes end when the data has been stored.
        const DSYNC = 0o10_000;
        /// Send SIGIO.
        const ASYNC = 0o20_000;
        /// Bypass the cache.
        const DIRECT = 0o40_000;
        /// Offsets of 64 bits; always so here.
        const LARGEFILE = 0o100_000;
        /// Fail with ENOTDIR unless it is a directory.
        const DIRECTORY = 0o200_000;
        /// Fail with ELOOP if the last component is a symbolic link.
        const NOFOLLOW = 0o400_000;
        /// Leave the access time.
        const NOATIME = 0o1_000_000;
        /// Close the descriptor at execve; a matter of the descriptor table.
        const CLOEXEC = 0o2_000_000;
        /// Writes end when data and metadata have been stored (with `DSYNC`).
        const SYNC = 0o4_000_000;
        /// Only the place, not the contents.
        const PATH = 0o10_000_000;
        /// Create a file without a name (with `DIRECTORY`).
        const TMPFILE = 0o20_000_000;
    }
}

impl OpenFlags {
    /// Both bits of the access mode. Both set opens for neither reading nor writing, only for ioctl(2).
    pub const ACCESS_MODE: Self = Self::WRONLY.union(Self::RDWR);

    /// What `F_SETFL` of fcntl(2) can change.
    pub const CHANGEABLE: Self =
        Self::APPEND.union(Self::NONBLOCK).union(Self::ASYNC).union(Self::DIRECT).union(Self::NOATIME);

    /// Whether read(2) is allowed.
    pub fn readable(self) -> bool {
        !self.contains(Self::PATH) && !self.intersects(Self::ACCESS_MODE) || self.access() == Self::RDWR
    }

    /// Whether write(2) is allowed.
    pub fn writable(self) -> bool {
        self.access() == Self::WRONLY || self.access() == Self::RDWR
    }

    fn access(self) -> Self {
        if self.contains(Self::PATH) { Self::empty() } else { self & Self::ACCESS_MODE }
    }
}

/// What the offset of lseek(2) counts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whence {
    /// The start of the file.
    Set,
    /// The present position.
    Current,
    /// The end of the file.
    End,
    /// Not a place: the next data at or after the offset.
    Data,
    /// Not a place: the next hole at or after the offset.
    Hole,
}

impl Whence {
    /// The meaning of lseek(2)'s third argument.
    pub fn from_raw(raw: u32) -> Option<Self> {
        Some(match raw {
            0 => Self::Set,
            1 => Self::Current,
            2 => Self::End,
            3 => Self::Data,
            4 => Self::Hole,
            _ => return None,
        })
    }
}
