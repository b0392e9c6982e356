//! Waiting in system calls: for a disk, without regard to signals; for anything else, until a signal.

use core::future::{Future, poll_fn};
use core::pin::pin;
use core::task::Poll;

use isopod_fs as fs;
use isopod_fs::Errno;

use crate::fail::Interrupted;
use crate::memory_pressure;
use crate::process::Thread;

/// Does a file-system operation, again after each wait for the disk. Such waits are short and end by themselves; signals do not
/// interrupt them (Linux's uninterruptible sleep).
pub async fn retry<T>(mut operation: impl FnMut() -> fs::Result<T>) -> Result<T, Errno> {
    // What was waited for is kept until the next try has succeeded, so that it still finds the page.
    let mut waited;
    loop {
        match operation() {
            Ok(value) => return Ok(value),
            // Caches give way before a call fails (design, decision 10).
            Err(fs::Error::Errno(Errno::ENOMEM)) if memory_pressure::reclaim() => {}
            Err(fs::Error::Errno(errno)) => return Err(errno),
            Err(fs::Error::Wait(wait)) => {
                waited = wait;
                (&mut waited).await;
            }
        }
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
