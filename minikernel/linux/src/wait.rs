//! Waiting in system calls: for a disk, without regard to signals; for anything else, until a signal.

use alloc::boxed::Box;
use core::future::{Future, poll_fn};
use core::pin::{Pin, pin};
use core::task::{Context, Poll, Waker};

use isopod_fs as fs;
use isopod_fs::Errno;
use isopod_hal::sync::SpinLock;

use crate::fail::{Attempt, Fail, Interrupted, Stop};
use crate::memory_pressure;
use crate::mm::AddressSpace;
use crate::process::Thread;
use crate::sched;

/// Makes `attempt` until nothing stops it that passes: a page that has to be provided, data on its way from a disk, memory that caches
/// can give. Such waits are short and end by themselves; signals do not interrupt them (Linux's uninterruptible sleep).
pub async fn again<T>(memory: &AddressSpace, mut attempt: impl FnMut() -> Attempt<T>) -> Result<T, Fail> {
    // What was waited for is kept until the next try has succeeded, so that it still finds the page.
    let mut _waited;
    loop {
        match attempt() {
            Ok(value) => return Ok(value),
            Err(Stop::Fail(fail)) => return Err(fail),
            Err(stop) => _waited = pass(memory, stop).await?,
        }
    }
}

/// What [`pass`] returns: something to keep until the next try.
type Passing<'a> = Pin<Box<dyn Future<Output = Result<Option<fs::Wait>, Fail>> + Send + 'a>>;

/// Waits until what stopped an attempt has passed. It is boxed: it is rare, and every call would otherwise carry its states.
pub fn pass(memory: &AddressSpace, stop: Stop) -> Passing<'_> {
    Box::pin(async move {
        match stop {
            Stop::Fail(fail) => return Err(fail),
            Stop::Fault(fault) => memory.resolve(fault).await?,
            // Caches give way before a call fails (design, decision 10).
            Stop::Memory if memory_pressure::reclaim() => {}
            Stop::Memory => return Err(Errno::ENOMEM.into()),
            Stop::Turn => sched::give_way().await,
            // Only whole calls wait so (`syscall::handle`).
            Stop::Later(_) | Stop::Rest(_) | Stop::Dispatch => return Err(Errno::EAGAIN.into()),
            Stop::Wait(mut wait) => {
                (&mut wait).await;
                return Ok(Some(wait));
            }
        }
        Ok(None)
    })
}

/// Does a file-system operation, again after each wait for the disk, as [`again`].
pub async fn retry<T>(mut operation: impl FnMut() -> fs::Result<T>) -> Result<T, Errno> {
    let mut _waited;
    loop {
        match operation() {
            Ok(value) => return Ok(value),
            Err(fs::Error::Errno(Errno::ENOMEM)) if memory_pressure::reclaim() => {}
            Err(fs::Error::Errno(errno)) => return Err(errno),
            Err(fs::Error::Wait(mut wait)) => {
                (&mut wait).await;
                _waited = wait;
            }
        }
    }
}

/// What somebody waits to be handed by whoever makes it possible.
#[derive(Debug)]
pub struct Handover<T> {
    state: SpinLock<(Option<T>, Option<Waker>)>,
}

impl<T> Default for Handover<T> {
    fn default() -> Self {
        Self { state: SpinLock::new((None, None)) }
    }
}

impl<T> Handover<T> {
    /// Hands it over and wakes who waits.
    pub fn give(&self, value: T) {
        let waker = {
            let mut state = self.state.lock();
            state.0 = Some(value);
            state.1.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// What was handed over, if it has been.
    pub fn take(&self) -> Option<T> {
        self.state.lock().0.take()
    }

    /// What was handed over; if nothing has been yet, the task will be told.
    pub fn poll(&self, context: &Context<'_>) -> Option<T> {
        let mut state = self.state.lock();
        let value = state.0.take();
        if value.is_none() {
            state.1 = Some(context.waker().clone());
        }
        value
    }
}

/// How a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waited {
    /// What was waited for has come.
    Woken,
    /// A signal came first.
    Interrupted,
    /// The time came first.
    TimedOut,
}

/// A wait until something is over, a signal comes, or the time; see [`Until::new`].
#[expect(missing_debug_implementations, reason = "a future has nothing to show")]
pub struct Until<'a> {
    thread: &'a Thread,
    sleep: sched::Sleep,
    over: &'a mut (dyn FnMut(&Context<'_>) -> bool + Send),
}

impl<'a> Until<'a> {
    /// `over` is asked at first and after each wake-up. When it says no, it has seen to it that the waker is woken once that may have changed.
    pub fn new(
        thread: &'a Thread,
        deadline: u64,
        over: &'a mut (dyn FnMut(&Context<'_>) -> bool + Send),
    ) -> Self {
        Self { thread, sleep: sched::sleep_until(deadline), over }
    }
}

impl Future for Until<'_> {
    type Output = Waited;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Waited> {
        if (self.over)(context) {
            return Poll::Ready(Waited::Woken);
        }
        if Pin::new(&mut self.sleep).poll(context).is_ready() {
            return Poll::Ready(Waited::TimedOut);
        }
        // As in `interruptible`.
        if self.thread.is_interrupted() { Poll::Ready(Waited::Interrupted) } else { Poll::Pending }
    }
}

/// Waits for `future` unless a signal that is not blocked comes first. Only the wait is dropped: what the caller did before it stays.
pub async fn interruptible<F: Future>(thread: &Thread, future: F) -> Result<F::Output, Interrupted> {
    let mut future = pin!(future);
    poll_fn(|context| {
        if let Poll::Ready(output) = future.as_mut().poll(context) {
            return Poll::Ready(Ok(output));
        }
        // A sender marks the signal pending first and wakes the thread's task afterwards, which polls here again.
        if thread.is_interrupted() { Poll::Ready(Err(Interrupted)) } else { Poll::Pending }
    })
    .await
}
