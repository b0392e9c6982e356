//! What tests on the host need: a kernel with an empty tree, threads that run nothing, futures polled by hand.

use alloc::boxed::Box;
use alloc::sync::{Arc, Weak};
use alloc::task::Wake;
use alloc::vec::Vec;
use core::future::Future;
use core::pin::Pin;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::task::{Context, Poll, Waker};

use isopod_drivers::entropy::Random;
use isopod_fs::tmpfs::{Options, Tmpfs};
use isopod_fs::vfs::{Namespace, SpecialFiles};
use isopod_hal::PAGE_SIZE;
use isopod_hal::paging::Access;

use crate::ipc::pipe::Fifos;
use crate::kernel::{self, Kernel};
use crate::mm::{AddressSpace, Backing, Layout, MapRequest, Placement, VmaFlags};
use crate::process::{self, FileTable, FsContext, Identity, Limits, Process, Thread};
use crate::signal::SharedActions;

/// Puts a kernel in place whose tree is an empty tmpfs.
pub fn install_kernel() {
    let root = Tmpfs::new(&Options::default()).unwrap();
    kernel::install(Kernel {
        namespace: Namespace::new(root, b"tmpfs", SpecialFiles::new(Arc::new(Fifos))),
        page_cache: None,
        random: Arc::new(Random::new(Some(&[4; 32]))),
        log: |_| {},
        hostname: b"test".to_vec(),
        command_line: b"console=ttyS0",
        trace: false,
    });
}

/// The only thread of a new process.
pub fn thread() -> Arc<Thread> {
    child(Weak::new())
}

/// The only thread of a new child of `parent`.
pub fn child(parent: Weak<Process>) -> Arc<Thread> {
    // Never the first process, which ignores signals that it does not handle.
    let pid = core::iter::repeat_with(|| process::allocate_pid().unwrap()).find(|&pid| pid != 1).unwrap();
    numbered(pid, parent)
}

/// The only thread of a new process `pid`.
pub fn numbered(pid: u32, parent: Weak<Process>) -> Arc<Thread> {
    install_kernel();
    let limits = Limits::new(1024);
    let memory =
        AddressSpace::new(Layout::random(&mut kernel::random_u64, 8 << 20), limits.of_memory()).unwrap();
    let process = Arc::new(Process::new(pid, parent, Arc::new(memory), limits));
    let thread = Thread::new(
        None,
        pid,
        process,
        Arc::new(FileTable::new()),
        Arc::new(FsContext::new(kernel::root())),
        Arc::new(SharedActions::default()),
        Arc::new(Identity::first(0, 0, Vec::new())),
    );
    thread.process().enter(Arc::clone(&thread)).unwrap();
    thread
}

/// A second thread of the same process.
#[cfg(test)]
pub fn sibling(thread: &Arc<Thread>) -> Arc<Thread> {
    let sibling = Thread::new(
        Some(thread),
        process::allocate_pid().unwrap(),
        Arc::clone(thread.process()),
        thread.files(),
        thread.fs(),
        Arc::clone(&thread.actions.lock()),
        thread.identity(),
    );
    thread.process().enter(Arc::clone(&sibling)).unwrap();
    sibling
}

/// Maps so many pages at `address` in the memory of `thread`, and makes that memory the current one.
pub fn map_pages(thread: &Thread, address: usize, pages: usize) -> Arc<AddressSpace> {
    let memory = thread.process().memory();
    let request = MapRequest {
        placement: Placement::Fixed(address),
        length: pages * PAGE_SIZE,
        access: Access::READ | Access::WRITE,
        max_access: Access::all(),
        flags: VmaFlags::empty(),
        backing: Backing::Anonymous,
    };
    memory.map(request).unwrap();
    memory.activate();
    memory
}

/// Counts its wake-ups.
#[derive(Default)]
pub struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A future that a test polls by hand.
pub struct Task<'a, T> {
    future: Pin<Box<dyn Future<Output = T> + 'a>>,
    wakes: Arc<Wakes>,
}

impl<'a, T> Task<'a, T> {
    pub fn new(future: impl Future<Output = T> + 'a) -> Self {
        Self { future: Box::pin(future), wakes: Arc::default() }
    }

    pub fn poll(&mut self) -> Poll<T> {
        self.future.as_mut().poll(&mut Context::from_waker(&Waker::from(Arc::clone(&self.wakes))))
    }

    /// How often it was woken so far.
    #[cfg(test)]
    pub fn wakes(&self) -> usize {
        self.wakes.0.load(Ordering::SeqCst)
    }
}
