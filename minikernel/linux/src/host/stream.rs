//! Standard input, output and error as open files.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;

use isopod_fs::file::{FileOps, OpenFile, OpenFlags, Ready};
use isopod_fs::{DetachedInode, Errno, FileType, Inode, Result, Sink, Source};
use isopod_hal::sync::wait::WaitQueue;
use isopod_manifest::channel::Kind;

use super::Host;
use crate::kernel;

/// Which of the three.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard input.
    Input,
    /// Standard output.
    Output,
    /// Standard error.
    Error,
}

/// One of the streams, as an inode refers to it while it is open: by that it can be opened again, by `/dev/stdout` or
/// `/proc/self/fd/1`.
#[derive(Debug, Clone, Copy)]
pub struct HostEnd(Stream);

/// A standard stream: the program sees a pipe, as a container without a terminal does.
pub struct HostStream {
    host: Arc<dyn Host>,
    stream: Stream,
    /// What the inode is attached to.
    _end: Option<Arc<HostEnd>>,
}

impl fmt::Debug for HostStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HostStream({:?})", self.stream)
    }
}

impl HostStream {
    /// A stream without an inode of its own.
    pub fn new(host: &Arc<dyn Host>, stream: Stream) -> Self {
        Self { host: Arc::clone(host), stream, _end: None }
    }

    /// Opens the stream for a program that runs as `uid` and `gid`, who own the pipe.
    pub fn open(host: &Arc<dyn Host>, stream: Stream, uid: u32, gid: u32) -> Result<Arc<OpenFile>> {
        let inode = DetachedInode::new(FileType::Fifo, 0o600, uid, gid);
        let end = inode.state().attach(|| Ok(Arc::new(HostEnd(stream))))?;
        let name = alloc::format!("pipe:[{}]", inode.number());
        let flags = if stream == Stream::Input { OpenFlags::empty() } else { OpenFlags::WRONLY };
        let ops = Self { _end: Some(end), ..Self::new(host, stream) };
        OpenFile::anonymous(kernel::namespace().detached(inode, name.as_bytes()), flags, Some(Box::new(ops)))
    }

    /// Opens the stream again that stands behind an inode, if one does.
    pub fn reopen(inode: &Arc<dyn Inode>) -> Option<Self> {
        let end = inode.state().attached::<HostEnd>()?;
        Some(Self { _end: Some(Arc::clone(&end)), ..Self::new(super::current()?, end.0) })
    }

    fn kind(&self) -> Kind {
        if self.stream == Stream::Error { Kind::Stderr } else { Kind::Stdout }
    }
}

impl FileOps for HostStream {
    fn read(&self, _: &OpenFile, _: u64, sink: &mut dyn Sink) -> Result<usize> {
        self.host.read_input(sink)
    }

    fn write(&self, _: &OpenFile, _: u64, source: &mut dyn Source) -> Result<usize> {
        let mut done = 0;
        while source.remaining() > 0 {
            if !self.host.can_send() {
                return if done == 0 { Err(Errno::EAGAIN.into()) } else { Ok(done) };
            }
            let mut bytes = [0; 1024];
            let wanted = source.remaining().min(bytes.len());
            let taken = source.take(&mut bytes[..wanted]);
            if !self.host.send(self.kind(), &bytes[..taken]) {
                return if done == 0 { Err(Errno::ENOMEM.into()) } else { Ok(done) };
            }
            done += taken;
            if taken < wanted {
                break;
            }
        }
        Ok(done)
    }

    fn ready(&self, _: &OpenFile) -> Ready {
        match self.stream {
            Stream::Input => match self.host.available_input() {
                None => Ready::HANG_UP,
                Some(0) => Ready::empty(),
                Some(_) => Ready::READABLE,
            },
            _ if self.host.can_send() => Ready::WRITABLE,
            _ => Ready::empty(),
        }
    }

    fn wait_queue(&self) -> Option<Arc<WaitQueue>> {
        Some(Arc::clone(match self.stream {
            Stream::Input => self.host.input_arrived(),
            _ => self.host.sendable(),
        }))
    }
}
