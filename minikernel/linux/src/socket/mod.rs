//! Sockets: socket(7).
//!
//! A [`Socket`] is what a family makes of one. Its operations never block: what cannot be done now is `EAGAIN`, and the queue in its
//! [`Common`] part is woken when that may have changed, also if what was missing is another socket's to give. Waiting, time-outs, signals and
//! descriptors are written once, in the system calls ([`crate::syscall`]) and in [`crate::poll`]; [`SocketFile`] makes an open file of a socket.

mod address;
pub mod control;
pub mod credentials;
mod filter;
pub mod inet;
pub mod limits;
mod message;
pub mod netlink;
pub mod options;
pub mod packet;
mod ring;
pub mod unix;
pub mod vsock;

use alloc::boxed::Box;
use alloc::format;
use alloc::sync::Arc;
use core::any::Any;
use core::sync::atomic::{AtomicU64, Ordering};

use isopod_fs::file::{FileOps, Mapping, OpenFile, OpenFlags, Ready, Seeking, UserMemory};
use isopod_fs::{self as fs, DetachedInode, Errno, FileType, Sink, Source};
use isopod_hal::sync::wait::WaitQueue;

pub use address::{ADDRESS_MAX, Address};
use message::copy_out;
pub use message::{Incoming, MessageFlags, Outgoing};
use options::{OptionValue, Options};

use crate::ipc::FIONREAD;
use crate::kernel;
use crate::process::Thread;

/// `AF_UNSPEC`
pub const AF_UNSPEC: u16 = 0;
/// `AF_UNIX`
pub const AF_UNIX: u16 = 1;

/// How a socket transfers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A stream of bytes (`SOCK_STREAM`).
    Stream = 1,
    /// Messages, each with its own address (`SOCK_DGRAM`).
    Datagram = 2,
    /// Packets of a lower layer (`SOCK_RAW`).
    Raw = 3,
    /// Messages of a connection, in order (`SOCK_SEQPACKET`).
    Sequence = 5,
}

bitflags::bitflags! {
    /// The directions that shutdown(2) ends.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct Shutdown: u8 {
        /// Nothing is received any more.
        const RECEIVE = 1;
        /// Nothing is sent any more.
        const SEND = 2;
    }
}

/// What all sockets have.
#[derive(Debug)]
pub struct Common {
    /// `SO_DOMAIN`
    pub family: u16,
    /// `SO_TYPE`
    pub kind: Kind,
    /// `SO_PROTOCOL`
    pub protocol: u32,
    /// The inode's number; 0 before there is a file.
    pub inode: AtomicU64,
    /// What setsockopt(2) set.
    pub options: Options,
    /// Woken when readiness may have changed.
    pub changed: Arc<WaitQueue>,
}

impl Common {
    /// That of a new socket.
    pub fn new(family: u16, kind: Kind, protocol: u32) -> Self {
        let (inode, changed) = (AtomicU64::new(0), Arc::default());
        Self { family, kind, protocol, inode, options: Options::default(), changed }
    }
}

/// A socket of some family.
///
/// Nothing here blocks. Addresses come as programs gave them; what is wrong with them is the family's to say.
pub trait Socket: Any + Send + Sync {
    /// What it has in common with all others.
    fn common(&self) -> &Common;

    /// bind(2)
    fn bind(&self, caller: &Thread, address: &Address) -> fs::Result<()>;

    /// listen(2)
    fn listen(&self, caller: &Thread, backlog: u32) -> Result<(), Errno>;

    /// accept(2): the next connection. It is asked again after a wait only if `waiting`.
    fn accept(&self, waiting: bool) -> Result<Arc<dyn Socket>, Errno>;

    /// connect(2): `EAGAIN` as long as the other side has no room, or has not answered; the latter only if the caller is `waiting` for that.
    fn connect(&self, caller: &Thread, address: &Address, waiting: bool) -> fs::Result<()>;

    /// Whether connect(2) has begun a connection of which it has not told yet what became of it.
    fn is_connecting(&self) -> bool {
        false
    }

    /// getsockname(2)
    fn name(&self) -> Result<Address, Errno>;

    /// getpeername(2)
    fn peer_name(&self) -> Result<Address, Errno>;

    /// shutdown(2)
    fn shut_down(&self, how: Shutdown) -> Result<(), Errno>;

    /// send(2): how many bytes of `source` went. A message goes as a whole: 0 when its copy was cut.
    fn send(&self, message: &mut Outgoing, source: &mut dyn Source) -> fs::Result<usize>;

    /// recv(2): how many bytes came. A message comes as a whole: 0 when its copy was cut.
    fn receive(&self, message: &mut Incoming, sink: &mut dyn Sink) -> Result<usize, Errno>;

    /// poll(2)
    fn ready(&self) -> Ready;

    /// How many bytes can be received (`FIONREAD`).
    fn readable_bytes(&self) -> Result<usize, Errno>;

    /// How many bytes have been sent and not yet received (`SIOCOUTQ`).
    fn unsent_bytes(&self) -> Result<usize, Errno>;

    /// The error that it has met (`SO_ERROR`), which is then forgotten.
    fn take_error(&self) -> Option<Errno>;

    /// True of one that listens (`SO_ACCEPTCONN`).
    fn listens(&self) -> bool;

    /// An option that not all sockets have: the rest of getsockopt(2).
    fn option(&self, level: u32, name: u32) -> Result<OptionValue, Errno>;

    /// Sets an option that not all sockets have: the rest of setsockopt(2).
    fn set_option(&self, level: u32, name: u32, value: &[u8]) -> Result<(), Errno>;

    /// An option that all sockets have was set.
    fn option_was_set(&self, _name: u32) {}

    /// The sizes of its buffers, to send and to receive, where they are not those of its options.
    fn buffer_sizes(&self) -> Option<(u32, u32)> {
        None
    }

    /// ioctl(2), but what all sockets know: `ENOTTY` for an unknown request.
    fn ioctl(&self, _request: u32, _argument: usize, _memory: &mut dyn UserMemory) -> fs::Result<usize> {
        Err(Errno::ENOTTY.into())
    }

    /// What mmap(2) maps. ENODEV for what has no pages.
    fn mapping(&self) -> fs::Result<Mapping> {
        Err(Errno::ENODEV.into())
    }

    /// Who is at the other end, for options that are about that.
    fn peer(&self) -> Option<credentials::Peer> {
        None
    }

    /// It is this file now.
    fn opened(&self, _file: &Arc<OpenFile>) {}

    /// No descriptor refers to it any more.
    fn close(&self);
}

/// An open socket.
pub struct SocketFile {
    socket: Arc<dyn Socket>,
}

/// A file that is `socket`, which is closed with it. `flags` can be `O_NONBLOCK`.
pub fn new_file(socket: Arc<dyn Socket>, flags: OpenFlags, owner: &Thread) -> Result<Arc<OpenFile>, Errno> {
    let identity = owner.identity();
    let inode = DetachedInode::new(FileType::Socket, 0o777, identity.users.file, identity.groups.file);
    socket.common().inode.store(inode.number(), Ordering::Relaxed);
    let name = format!("socket:[{}]", inode.number());
    let path = kernel::namespace().detached(inode, name.as_bytes());
    let ops = Box::new(SocketFile { socket });
    let file = OpenFile::anonymous(path, OpenFlags::RDWR | flags, Some(ops)).map_err(crate::fail::errno)?;
    socket_of(&file)?.opened(&file);
    Ok(file)
}

/// The socket that `file` is; `ENOTSOCK` if it is none.
pub fn socket_of(file: &OpenFile) -> Result<&Arc<dyn Socket>, Errno> {
    let ops: Option<&SocketFile> = file.ops().and_then(|ops| ops.downcast_ref());
    ops.map(|ops| &ops.socket).ok_or(Errno::ENOTSOCK)
}

impl core::fmt::Debug for SocketFile {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("SocketFile").field(self.socket.common()).finish()
    }
}

impl SocketFile {
    fn is_stream(&self) -> bool {
        self.socket.common().kind == Kind::Stream
    }
}

impl FileOps for SocketFile {
    fn read(&self, file: &OpenFile, _offset: u64, sink: &mut dyn Sink) -> fs::Result<usize> {
        if sink.remaining() == 0 {
            // Only recv(2) takes an empty message (`sock_read_iter`).
            return Ok(0);
        }
        let mut message = Incoming::default();
        message.flags.set(MessageFlags::DONT_WAIT, file.flags().contains(OpenFlags::NONBLOCK));
        Ok(self.socket.receive(&mut message, sink)?)
    }

    fn write(&self, _file: &OpenFile, _offset: u64, source: &mut dyn Source) -> fs::Result<usize> {
        self.socket.send(&mut Outgoing::default(), source)
    }

    fn writes_stream(&self) -> bool {
        self.is_stream()
    }

    fn breaks_loudly(&self, done: usize) -> bool {
        self.is_stream() && done == 0
    }

    fn time_limit(&self, writing: bool) -> Option<u64> {
        self.socket.common().options.time_limit(writing)
    }

    fn ready(&self, _file: &OpenFile) -> Ready {
        self.socket.ready()
    }

    fn wait_queue(&self) -> Option<Arc<WaitQueue>> {
        Some(Arc::clone(&self.socket.common().changed))
    }

    fn ioctl(
        &self,
        _file: &OpenFile,
        request: u32,
        argument: usize,
        memory: &mut dyn UserMemory,
    ) -> fs::Result<usize> {
        /// `TIOCOUTQ`, too.
        const SIOCOUTQ: u32 = 0x5411;
        const SIOCGSTAMP: u32 = 0x8906;
        const SIOCGSTAMPNS: u32 = 0x8907;
        let common = self.socket.common();
        let count = match request {
            SIOCGSTAMP | SIOCGSTAMPNS if inet::is_inet(common.family) => {
                let stamp = common.options.stamp()?;
                let fraction = stamp % 1_000_000_000 / if request == SIOCGSTAMP { 1000 } else { 1 };
                memory.write(
                    argument,
                    [stamp / 1_000_000_000, fraction].map(u64::to_le_bytes).as_flattened(),
                )?;
                return Ok(0);
            }
            FIONREAD => self.socket.readable_bytes()?,
            SIOCOUTQ => self.socket.unsent_bytes()?,
            _ => {
                return match self.socket.ioctl(request, argument, memory) {
                    Err(fs::Error::Errno(Errno::ENOTTY)) => {
                        inet::ioctl(common.family, request, argument, memory)
                    }
                    outcome => outcome,
                };
            }
        };
        memory.write(argument, &(count as u32).to_le_bytes())?;
        Ok(0)
    }

    fn seeking(&self) -> Seeking {
        Seeking::Never
    }

    fn mapping(&self) -> fs::Result<Mapping> {
        self.socket.mapping()
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        self.socket.close();
    }
}
