//! Asynchronous I/O as programs with libaio use it: `io_submit(2)`, `fs/aio.c` of Linux.
//!
//! A [`Context`] belongs to an address space. What is submitted to it is done at once, as Linux does for all that goes through the page cache or
//! waits for nothing but memory; only a wait for readiness (`IOCB_CMD_POLL`) goes on by itself. What has been done stands in a [ring](ring::Ring)
//! in memory that the program shares and may read by itself.

mod poll;
mod ring;

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use isopod_fs::Errno;
use isopod_fs::file::OpenFile;
use isopod_hal::paging::Access;
use isopod_hal::sync::SpinLock;
use isopod_hal::sync::wait::WaitQueue;
use isopod_hal::uaccess::Fault;
use zerocopy::{Immutable, IntoBytes};

use crate::ipc::eventfd;
use crate::mm::{AddressSpace, Backing, FileBacking, MapRequest, Placement, VmaFlags};
use crate::tunable::Tunable;
use poll::Poll;
use ring::Ring;

/// `/proc/sys/fs/aio-max-nr`: how many requests all contexts may be made for.
pub static REQUESTS_MAX: Tunable = Tunable::new(|| 0x1_0000, 0, u64::MAX - 1);

/// How many they are made for.
static REQUESTS: AtomicU64 = AtomicU64::new(0);

/// `/proc/sys/fs/aio-nr`
pub fn requests() -> u64 {
    REQUESTS.load(Ordering::Relaxed)
}

/// `struct io_event`: what became of a request.
#[derive(Debug, Clone, Copy, IntoBytes, Immutable)]
#[repr(C)]
pub struct Event {
    /// What the program gave with it.
    pub data: u64,
    /// Where its `struct iocb` lies.
    pub object: u64,
    /// What the call would have returned, or a negative error number.
    pub result: i64,
    /// Always 0.
    pub second: i64,
}

/// Copies an event of this number to a program.
type Tell<'a> = &'a mut dyn FnMut(usize, &[u8]) -> Result<(), Fault>;

/// The contexts of an address space, which end with it.
#[derive(Debug, Default)]
pub struct Contexts(SpinLock<Vec<Arc<Context>>>);

/// A context.
#[derive(Debug)]
pub struct Context {
    /// Where the ring lies in the address space. That is what the program calls it by.
    ring_at: Range<usize>,
    ring: SpinLock<Ring>,
    /// For how many requests it was made.
    asked: u64,
    /// Woken when a request is done, and at the end.
    changed: WaitQueue,
    ended: AtomicBool,
    polls: SpinLock<Vec<Arc<Poll>>>,
}

impl Contexts {
    /// `io_setup(2)`: a context for `asked` requests at a time. `EINVAL`, `EAGAIN`, `ENOMEM`
    pub fn make(&self, space: &Arc<AddressSpace>, asked: u32) -> Result<Arc<Context>, Errno> {
        /// Bytes of a ring, at most.
        const MAX: u64 = 0x1000_0000;
        let slots = Ring::slots_for(asked);
        if u64::from(slots) > MAX / size_of::<Event>() as u64 {
            return Err(Errno::EINVAL);
        }
        let asked = u64::from(asked);
        let fits = |used: u64| used.checked_add(asked).filter(|&sum| sum <= REQUESTS_MAX.get());
        REQUESTS.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).map_err(|_| Errno::EAGAIN)?;
        let made = Context::new(space, slots, asked).inspect_err(|_| give_back(asked))?;
        let mut all = self.0.lock();
        if all.try_reserve(1).is_err() {
            drop(all);
            made.unmap(space);
            return Err(Errno::ENOMEM);
        }
        all.push(Arc::clone(&made));
        Ok(made)
    }

    /// The context that the program calls `id`. `EINVAL`
    pub fn find(&self, id: u64) -> Result<Arc<Context>, Errno> {
        let all = self.0.lock();
        all.iter().find(|context| context.id() == id).map(Arc::clone).ok_or(Errno::EINVAL)
    }

    /// `io_destroy(2)`: ends it. `EINVAL`
    pub fn destroy(&self, space: &AddressSpace, id: u64) -> Result<(), Errno> {
        let gone = {
            let mut all = self.0.lock();
            let place = all.iter().position(|context| context.id() == id).ok_or(Errno::EINVAL)?;
            all.swap_remove(place)
        };
        gone.end();
        gone.unmap(space);
        Ok(())
    }
}

impl Drop for Contexts {
    fn drop(&mut self) {
        for context in self.0.get_mut() {
            context.end();
        }
    }
}

fn give_back(asked: u64) {
    REQUESTS.fetch_sub(asked, Ordering::Relaxed);
}

impl Drop for Context {
    fn drop(&mut self) {
        give_back(self.asked);
    }
}

impl Context {
    fn new(space: &Arc<AddressSpace>, slots: u32, asked: u64) -> Result<Arc<Self>, Errno> {
        let file = crate::dev::memory_file(b"/[aio] (deleted)", Ring::length(slots) as u64)?;
        let ring = Ring::new(Arc::clone(file.inode()), slots)?;
        let length = Ring::length(slots);
        let access = Access::READ | Access::WRITE;
        let inode = Arc::clone(file.inode());
        let start = space.map(MapRequest {
            placement: Placement::Hint(0),
            length,
            access,
            max_access: access,
            flags: VmaFlags::SHARED,
            backing: Backing::File(FileBacking::new(space, file, inode, 0)?),
        })?;
        Ok(Arc::new(Self {
            ring_at: start..start + length,
            ring: SpinLock::new(ring),
            asked,
            changed: WaitQueue::new(),
            ended: AtomicBool::new(false),
            polls: SpinLock::new(Vec::new()),
        }))
    }

    /// What the program calls it by.
    pub fn id(&self) -> u64 {
        self.ring_at.start as u64
    }

    /// For how many requests there is room, and for those that are done and have not been asked for.
    pub fn slots(&self) -> usize {
        self.ring.lock().slots() as usize
    }

    /// A request begins. `EAGAIN` where there is no room for what becomes of it.
    pub fn begin(self: &Arc<Self>) -> Result<Request, Errno> {
        self.ring.lock().reserve()?;
        Ok(Request { context: Arc::clone(self), done: false })
    }

    /// Tells of at most `most` requests that are done. They are told of once more if that fails, where a page is missing.
    pub fn collect(&self, most: usize, tell: Tell<'_>) -> Result<usize, Fault> {
        self.ring.lock().take(most, tell)
    }

    /// Waits until something is done, or the context has ended.
    pub async fn more(&self) {
        self.changed.until(|| (self.has_ended() || self.ring.lock().has_some()).then_some(())).await;
    }

    /// Whether it has ended: nothing more is done.
    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// `io_cancel(2)`: ends the wait that the program calls `object`; what becomes of it is told as of all. `EINVAL` if there is none.
    pub fn cancel(&self, object: u64) -> Result<(), Errno> {
        let found = self.polls.lock().iter().find(|poll| poll.object() == object).map(Arc::clone);
        found.ok_or(Errno::EINVAL)?.cancel();
        Ok(())
    }

    fn end(&self) {
        self.ended.store(true, Ordering::Release);
        let polls = core::mem::take(&mut *self.polls.lock());
        for poll in &polls {
            poll.cancel();
        }
        self.changed.wake_all();
    }

    fn unmap(&self, space: &AddressSpace) {
        let length = self.ring_at.len();
        let mut done = 0;
        // At most some megabytes; what the program has put in its place by now goes, as on Linux.
        while let Ok(Some(more)) = space.unmap(self.ring_at.start, length, done) {
            done = more;
        }
    }
}

/// A request under way. Dropped before it is done it has never been.
#[derive(Debug)]
pub struct Request {
    context: Arc<Context>,
    done: bool,
}

impl Request {
    /// It is done.
    pub fn complete(mut self, event: &Event, tell: Option<&OpenFile>) {
        self.done = true;
        self.context.ring.lock().put(event);
        if let Some(file) = tell {
            eventfd::signal(file);
        }
        self.context.changed.wake_all();
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        if !self.done {
            self.context.ring.lock().release();
        }
    }
}

pub use poll::{Waiting, wait_for};
