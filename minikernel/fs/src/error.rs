//! How an operation that never blocks ends early: with an error number, or with something to wait for.

use alloc::sync::Arc;
use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};

use isopod_hal::frame::Frame;

use crate::Errno;

/// The outcome of every operation of this crate.
pub type Result<T> = core::result::Result<T, Error>;

/// Why an operation did not succeed now.
#[derive(Clone, Debug)]
pub enum Error {
    /// It failed.
    Errno(Errno),
    /// It needs data that is still being read. Await the [`Wait`] and call the same operation again: nothing
    /// has changed so far, and what has been found is cached.
    Wait(Wait),
}

impl Error {
    /// The error number, unless this is a [`Wait`].
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Errno(errno) => Some(*errno),
            Self::Wait(_) => None,
        }
    }
}

impl From<Errno> for Error {
    fn from(errno: Errno) -> Self {
        Self::Errno(errno)
    }
}

impl From<isopod_hal::OutOfMemory> for Error {
    fn from(_: isopod_hal::OutOfMemory) -> Self {
        Self::Errno(Errno::ENOMEM)
    }
}

impl From<alloc::collections::TryReserveError> for Error {
    fn from(_: alloc::collections::TryReserveError) -> Self {
        Self::Errno(Errno::ENOMEM)
    }
}

/// Something that will be over, such as a page being read from a disk.
pub trait Pending: Send + Sync {
    /// Whether it is over, in success or failure; the retried operation learns which.
    fn is_done(&self) -> bool;

    /// Wakes `waker` once it is over; at once if it already is.
    fn register(&self, waker: &Waker);
}

/// A future that is ready when the operation which returned it can be tried again.
///
/// It keeps what it waits for alive, so that the next try finds it.
#[derive(Clone)]
pub struct Wait(Arc<Awaited>);

struct Awaited {
    pending: Arc<dyn Pending>,
    _page: Option<Frame>,
}

impl Wait {
    /// Waits for `pending`. A `page` that it fills stays in its cache until it was seen.
    pub fn new(pending: Arc<dyn Pending>, page: Option<Frame>) -> Self {
        Self(Arc::new(Awaited { pending, _page: page }))
    }
}

impl Future for Wait {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.0.pending.is_done() {
            return Poll::Ready(());
        }
        self.0.pending.register(context.waker());
        // It may have ended between the check and the registration.
        if self.0.pending.is_done() { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl fmt::Debug for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Wait").field(&self.0.pending.is_done()).finish()
    }
}
