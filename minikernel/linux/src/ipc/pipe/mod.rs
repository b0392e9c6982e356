//! Pipes and FIFOs: pipe(7), fifo(7).

mod end;
mod pages;
mod ring;

use alloc::boxed::Box;
use alloc::sync::Arc;

use isopod_fs::file::{FileOps, OpenFile, OpenFlags, OpenRequest};
use isopod_fs::vfs::Device;
use isopod_fs::{DetachedInode, Errno, FileType, Inode, Result};
use isopod_hal::PAGE_SIZE;
use isopod_hal::sync::SpinLock;
use isopod_hal::sync::wait::WaitQueue;

use crate::kernel;
use end::End;
pub use pages::Pages;
use ring::Ring;

/// The largest capacity in bytes that an unprivileged process may ask for (`/proc/sys/fs/pipe-max-size`).
const MAX_CAPACITY: usize = 1 << 20;

/// A pipe: bytes on their way from its writers to its readers.
#[derive(Debug)]
pub struct Pipe {
    state: SpinLock<State>,
    /// An open of one end waits until the other is open.
    is_fifo: bool,
    /// Woken when there is more to read, or no more writers.
    readable: Arc<WaitQueue>,
    /// Woken when there is room again, or no more readers.
    writable: Arc<WaitQueue>,
    /// Woken with each of them, for who reads and writes through one description.
    either: Arc<WaitQueue>,
}

#[derive(Debug, Default)]
struct State {
    ring: Ring,
    readers: Openers,
    writers: Openers,
    /// How many have taken pages that may come back: until then an empty pipe has not ended.
    takers: usize,
}

/// The descriptions of one end.
#[derive(Debug, Default)]
struct Openers {
    /// How many there are.
    count: usize,
    /// How many there have ever been: one who waits for somebody at the other end must notice even who has left again.
    ever: u64,
}

impl State {
    /// True when nothing can come any more.
    fn has_ended(&self) -> bool {
        self.ring.is_empty() && self.writers.count == 0 && self.takers == 0
    }

    fn peek(&mut self, length: usize, pages: usize) -> Result<Pages> {
        if self.ring.is_empty() && !self.has_ended() {
            return Err(Errno::EAGAIN.into());
        }
        self.ring.share(length, pages)
    }
}

/// Pages that were taken out of a pipe. What is left of them goes back to its front.
#[derive(Debug)]
pub struct Taken<'a> {
    pipe: &'a Pipe,
    /// What is left.
    pub pages: Pages,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let mut state = self.pipe.state.lock();
        state.ring.put_back(core::mem::take(&mut self.pages));
        state.takers -= 1;
        let (filled, room) = (!state.ring.is_empty() || state.has_ended(), !state.ring.is_full());
        drop(state);
        if filled {
            self.pipe.wake_readers();
        }
        if room {
            self.pipe.wake_writers();
        }
    }
}

impl Openers {
    fn enter(&mut self) {
        self.count += 1;
        self.ever += 1;
    }
}

impl Pipe {
    fn new(is_fifo: bool) -> Arc<Self> {
        Arc::new(Self {
            state: SpinLock::default(),
            is_fifo,
            readable: Arc::default(),
            writable: Arc::default(),
            either: Arc::default(),
        })
    }

    /// The pipe that `file` is an end of, if it is one.
    pub fn of(file: &OpenFile) -> Option<&Self> {
        file.ops()?.downcast_ref::<End>().map(End::pipe)
    }

    /// Bytes of memory that it takes with what is in it.
    pub fn footprint(&self) -> usize {
        size_of::<Self>() + self.state.lock().ring.footprint()
    }

    /// `F_GETPIPE_SZ`: capacity in bytes.
    pub fn capacity(&self) -> usize {
        self.state.lock().ring.capacity()
    }

    /// `F_SETPIPE_SZ`: changes the capacity to the next power of two of pages; returns it. `EINVAL` beyond 2 GiB, `EPERM` beyond 1 MiB without
    /// `CAP_SYS_RESOURCE` (`privileged`) unless it shrinks, `EBUSY` when more is in use.
    pub fn set_capacity(&self, bytes: u32, privileged: bool) -> Result<usize> {
        let bytes = bytes as usize;
        if bytes > 1 << 31 {
            return Err(Errno::EINVAL.into());
        }
        let rounded = bytes.max(PAGE_SIZE).next_power_of_two();
        let mut state = self.state.lock();
        if rounded > MAX_CAPACITY && rounded > state.ring.capacity() && !privileged {
            return Err(Errno::EPERM.into());
        }
        state.ring.resize(rounded / PAGE_SIZE)?;
        drop(state);
        self.wake_writers();
        Ok(rounded)
    }

    /// How many pages could be added. `EPIPE` without readers, `EAGAIN` for none.
    pub fn room(&self) -> Result<usize> {
        let state = self.state.lock();
        match state.ring.free_pages() {
            _ if state.readers.count == 0 => Err(Errno::EPIPE.into()),
            0 => Err(Errno::EAGAIN.into()),
            pages => Ok(pages),
        }
    }

    /// At most `length` bytes in at most `pages` pages from the front, which stay there. None at the end, `EAGAIN` before it.
    pub fn peek(&self, length: usize, pages: usize) -> Result<Pages> {
        self.state.lock().peek(length, pages)
    }

    /// As [`peek`](Self::peek), but they are nobody else's any more: what is left of them goes back when they are dropped.
    pub fn take(&self, length: usize, pages: usize) -> Result<Taken<'_>> {
        let mut state = self.state.lock();
        let pages = state.peek(length, pages)?;
        state.ring.consume(pages.len());
        state.takers += 1;
        Ok(Taken { pipe: self, pages })
    }

    /// Makes [`append`](Self::append) of so many pages succeed.
    pub fn reserve(&self, pages: usize) -> Result<()> {
        self.state.lock().ring.reserve(pages)
    }

    /// Takes `pages`, for which there is [`room`](Self::room): all or, without memory, none.
    pub fn append(&self, pages: &mut Pages) -> Result<()> {
        self.state.lock().ring.append(pages)?;
        self.wake_readers();
        Ok(())
    }

    fn wake_readers(&self) {
        self.readable.wake_all();
        self.either.wake_all();
    }

    fn wake_writers(&self) {
        self.writable.wake_all();
        self.either.wake_all();
    }

    /// Opens an end, or both.
    fn open(self: &Arc<Self>, flags: OpenFlags) -> Result<Box<dyn FileOps>> {
        let (reads, writes) = (flags.readable(), flags.writable());
        if !reads && !writes {
            return Err(Errno::EINVAL.into());
        }
        let mut state = self.state.lock();
        let alone = if writes { state.readers.count == 0 } else { state.writers.count == 0 };
        let waits = self.is_fifo && alone && !(reads && writes);
        if waits && writes && flags.contains(OpenFlags::NONBLOCK) {
            // Nobody would read it (fifo(7)).
            return Err(Errno::ENXIO.into());
        }
        if reads {
            state.readers.enter();
        }
        if writes {
            state.writers.enter();
        }
        let others = if writes { state.readers.ever } else { state.writers.ever };
        drop(state);
        if writes {
            self.wake_readers();
        }
        if reads {
            self.wake_writers();
        }
        Ok(Box::new(End::new(Arc::clone(self), reads, writes, waits.then_some(others))))
    }
}

/// pipe2(2): a new pipe's ends, to read and to write. `flags` are `O_NONBLOCK` and `O_DIRECT`; the owner is that of new files.
pub fn new_pipe(
    flags: OpenFlags,
    uid: u32,
    gid: u32,
) -> core::result::Result<(Arc<OpenFile>, Arc<OpenFile>), Errno> {
    let pipe = Pipe::new(false);
    let inode = DetachedInode::new(FileType::Fifo, 0o600, uid, gid);
    // Who opens /proc/self/fd/N comes to this pipe.
    inode.state().attach(|| Ok(Arc::clone(&pipe))).map_err(crate::fail::errno)?;
    let name = alloc::format!("pipe:[{}]", inode.number());
    let path = kernel::namespace().detached(inode, name.as_bytes());
    let open = |flags| {
        let ops = pipe.open(flags)?;
        OpenFile::anonymous(path.clone(), flags, Some(ops))
    };
    let reader = open(flags & OpenFlags::NONBLOCK).map_err(crate::fail::errno)?;
    let writer = open(OpenFlags::WRONLY | flags & (OpenFlags::NONBLOCK | OpenFlags::DIRECT));
    Ok((reader, writer.map_err(crate::fail::errno)?))
}

/// What every FIFO in the tree leads to.
#[derive(Debug)]
pub struct Fifos;

impl Device for Fifos {
    fn open(&self, request: &OpenRequest<'_>) -> Result<Box<dyn FileOps>> {
        // A pipe without a name is found attached.
        request.inode.state().attach(|| Ok(Pipe::new(true)))?.open(request.flags)
    }
}

#[cfg(test)]
mod tests;
