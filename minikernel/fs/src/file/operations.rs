//! What a device, a pipe, a socket or a generated file does when it is open.

use alloc::sync::Arc;
use core::any::Any;
use core::fmt;

use bitflags::bitflags;
use isopod_hal::sync::wait::WaitQueue;

use super::{OpenFile, OpenFlags};
use crate::credentials::Credentials;
use crate::inode::Inode;
use crate::transfer::{Sink, Source};
use crate::vfs::Process;
use crate::{Errno, Result};

bitflags! {
    /// What can be done without blocking, with the numbers of poll(2).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Ready: u32 {
        /// There is data, or the end of it.
        const READ = 0x001;
        /// There is urgent data.
        const PRIORITY = 0x002;
        /// A write would take data.
        const WRITE = 0x004;
        /// There was an error.
        const ERROR = 0x008;
        /// The other end hung up.
        const HANG_UP = 0x010;
        /// As `READ`.
        const READ_NORMAL = 0x040;
        /// As `WRITE`.
        const WRITE_NORMAL = 0x100;
        /// As `WRITE`, of sockets.
        const WRITE_BAND = 0x200;
        /// The other end will send no more.
        const READ_HANG_UP = 0x2000;
    }
}

impl Ready {
    /// Readable, in both of poll's words for it.
    pub const READABLE: Self = Self::READ.union(Self::READ_NORMAL);
    /// Writable, in both of poll's words for it.
    pub const WRITABLE: Self = Self::WRITE.union(Self::WRITE_NORMAL);
}

/// How lseek(2) treats a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seeking {
    /// It has no position: ESPIPE, also for pread(2) and pwrite(2).
    Never,
    /// It has no position, but pretends to be at 0.
    AlwaysZero,
    /// As [`AlwaysZero`](Self::AlwaysZero) for lseek(2), but pread(2) and pwrite(2) are refused with ESPIPE.
    ZeroButStream,
    /// It has one.
    Position,
    /// It has one, but its end is not known before it is reached: EINVAL for `SEEK_END` and beyond.
    WithoutEnd,
}

impl Seeking {
    /// Whether reads and writes go on where the last one ended.
    pub(super) fn has_position(self) -> bool {
        matches!(self, Self::Position | Self::WithoutEnd)
    }
}

/// What an mmap(2) of a file maps.
#[derive(Clone, Debug)]
pub enum Mapping {
    /// The pages of an inode.
    Inode(Arc<dyn Inode>),
    /// Fresh zero pages: `/dev/zero`.
    Anonymous,
}

/// The memory of the process that called ioctl(2).
pub trait UserMemory {
    /// Copies from the process; EFAULT where there is no memory to read.
    fn read(&mut self, address: usize, bytes: &mut [u8]) -> Result<()>;

    /// Copies to the process; EFAULT where there is no memory to write.
    fn write(&mut self, address: usize, bytes: &[u8]) -> Result<()>;
}

/// Who opens an inode, and how.
#[derive(Clone, Copy, Debug)]
pub struct OpenRequest<'a> {
    /// The inode.
    pub inode: &'a Arc<dyn Inode>,
    /// Flags given to open(2).
    pub flags: OpenFlags,
    /// Rights of the caller.
    pub credentials: &'a Credentials,
    /// The calling process.
    pub process: Process,
}

/// An open file that is more than the bytes of an inode.
///
/// Nothing here blocks: what cannot be done now is EAGAIN, and [`wait_queue`](Self::wait_queue) is woken when
/// [`ready`](Self::ready) may have changed. Dropping the value closes the file.
pub trait FileOps: Any + Send + Sync {
    /// Reads at `offset`, which files without a position ignore. 0 is the end.
    fn read(&self, _file: &OpenFile, _offset: u64, _sink: &mut dyn Sink) -> Result<usize> {
        Err(Errno::EINVAL.into())
    }

    /// How long a read waits at most before it ends with 0, in nanoseconds; `None` for one that waits until there is
    /// something. Only terminals know such a time (termios(3), `VTIME`).
    fn read_timeout(&self) -> Option<u64> {
        None
    }

    /// How long a read or a write waits at most before it fails with EAGAIN, in nanoseconds; `None` for as long as it takes. Only sockets
    /// know such a time (socket(7), `SO_RCVTIMEO` and `SO_SNDTIMEO`).
    fn time_limit(&self, _writing: bool) -> Option<u64> {
        None
    }

    /// Writes at `offset`, which files without a position ignore.
    fn write(&self, _file: &OpenFile, _offset: u64, _source: &mut dyn Source) -> Result<usize> {
        Err(Errno::EINVAL.into())
    }

    /// Whether a write(2) that took only some bytes goes on with the rest. Not so where each write stands for itself:
    /// a datagram, the number of an eventfd.
    fn writes_stream(&self) -> bool {
        true
    }

    /// Whether EPIPE comes with SIGPIPE to one who had already written `done` bytes.
    fn breaks_loudly(&self, _done: usize) -> bool {
        true
    }

    /// What would not block.
    fn ready(&self, _file: &OpenFile) -> Ready {
        Ready::READABLE | Ready::WRITABLE
    }

    /// What is woken when [`ready`](Self::ready) changes; `None` if it never does.
    fn wait_queue(&self) -> Option<Arc<WaitQueue>> {
        None
    }

    /// What open(2) must still wait for before it returns, such as the other end of a FIFO: EAGAIN until it
    /// has come. Not asked with `O_NONBLOCK`.
    fn finish_open(&self, _file: &OpenFile) -> Result<()> {
        Ok(())
    }

    /// ioctl(2).
    fn ioctl(
        &self,
        _file: &OpenFile,
        _request: u32,
        _argument: usize,
        _memory: &mut dyn UserMemory,
    ) -> Result<usize> {
        Err(Errno::ENOTTY.into())
    }

    /// A process has closed one of its descriptors of the file.
    fn closed_by(&self, _process: u32) {}

    /// Whether there is anything to read or write; what is only waited for answers every read and write with EINVAL.
    fn transfers(&self) -> bool {
        true
    }

    /// Whether the file has a position.
    fn seeking(&self) -> Seeking {
        Seeking::Never
    }

    /// What mmap(2) maps.
    fn mapping(&self) -> Result<Mapping> {
        Err(Errno::ENODEV.into())
    }
}

// Not a supertrait: every type behind a table of methods would bring the code that prints it into the kernel.
impl fmt::Debug for dyn FileOps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FileOps")
    }
}

impl dyn FileOps {
    /// The value as the type `T`, if it is one.
    pub fn downcast_ref<T: FileOps>(&self) -> Option<&T> {
        let any: &dyn Any = self;
        any.downcast_ref()
    }
}
