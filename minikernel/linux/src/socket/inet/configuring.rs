//! Waiting for the network's configuration: who needs what a first lease brings waits for it, for a bounded time. Nobody else does.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::Waker;

use isopod_fs::file::OpenFile;
use isopod_fs::{self as fs, DeviceId, Inode, Pending, Wait};
use isopod_hal::sync::SpinLock;
use isopod_net::error::Error;

/// Whether a first lease is awaited.
static UNDER_WAY: AtomicBool = AtomicBool::new(false);
static WAITING: SpinLock<Vec<Waker>> = SpinLock::new(Vec::new());
/// The file system and the number of the file that will name the servers.
static RESOLVERS: SpinLock<Option<(DeviceId, u64)>> = SpinLock::new(None);

struct Configuring;

impl Pending for Configuring {
    fn is_done(&self) -> bool {
        !UNDER_WAY.load(Ordering::Acquire)
    }

    fn register(&self, waker: &Waker) {
        let mut waiting = WAITING.lock();
        if self.is_done() || waiting.try_reserve(1).is_err() {
            drop(waiting);
            waker.wake_by_ref();
        } else if !waiting.iter().any(|other| other.will_wake(waker)) {
            waiting.push(waker.clone());
        }
    }
}

/// From now on a first lease is awaited, which tells what `resolvers` is to say.
pub fn begin(resolvers: Option<&dyn Inode>) {
    *RESOLVERS.lock() = resolvers.and_then(identity);
    UNDER_WAY.store(true, Ordering::Release);
}

/// It has come, or is awaited no more.
pub fn end() {
    UNDER_WAY.store(false, Ordering::Release);
    let waiting = core::mem::take(&mut *WAITING.lock());
    waiting.into_iter().for_each(Waker::wake);
}

fn identity(inode: &dyn Inode) -> Option<(DeviceId, u64)> {
    let metadata = inode.metadata().ok()?;
    Some((metadata.device, metadata.inode))
}

fn wait() -> Option<fs::Error> {
    UNDER_WAY.load(Ordering::Acquire).then(|| fs::Error::Wait(Wait::new(Arc::new(Configuring), None)))
}

/// Has who opens the list of name servers wait until it is known.
pub fn check_open(file: &OpenFile) -> fs::Result<()> {
    match wait() {
        Some(wait) if identity(&**file.inode()).is_some_and(|opened| *RESOLVERS.lock() == Some(opened)) => {
            Err(wait)
        }
        _ => Ok(()),
    }
}

/// Why nothing can be sent: that there is no route may change.
pub fn failure(error: Error) -> fs::Error {
    let wait = if error == Error::NetworkUnreachable { wait() } else { None };
    wait.unwrap_or_else(|| super::errno(error).into())
}
