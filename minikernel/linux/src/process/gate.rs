//! What keeps apart an execve(2) and those who would change what it decides by (`cred_guard_mutex` of Linux).
//!
//! What a program may do is decided when it is opened, by who its caller is, who watches it and what it shares; it is in force only once the old
//! program has gone, much later. Until then nobody may begin to watch, bind or share it.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, Ordering};

use isopod_fs::Errno;
use isopod_hal::sync::wait::WaitQueue;

use super::{Process, Thread};
use crate::fail::{Fail, Later, Restart};
use crate::poll::FOREVER;

/// One for each process.
#[derive(Debug, Default)]
pub struct Gate {
    held: AtomicBool,
    free: Arc<WaitQueue>,
}

/// Holds the gate of a process until it is dropped.
#[derive(Debug)]
pub struct Held(Arc<Process>);

impl Held {
    /// Holds that of `process` if nobody does.
    pub fn now(process: &Arc<Process>) -> Option<Self> {
        let gate = &process.exec_gate;
        (!gate.held.swap(true, Ordering::Acquire)).then(|| Self(Arc::clone(process)))
    }

    /// Holds that of `process`, or has the call made again once it is free.
    pub fn or_later(process: &Arc<Process>) -> Result<Self, Later> {
        Self::now(process).ok_or_else(|| {
            let interrupted: Fail = Restart::Always.into();
            Later { interrupted, ..Later::new(Arc::clone(&process.exec_gate.free) as _, FOREVER) }
        })
    }

    /// Holds that of the process of `thread` as soon as it is free. `EAGAIN` when the thread is to end before.
    pub async fn wait(thread: &Thread) -> Result<Self, Errno> {
        let process = thread.process();
        let free = process.exec_gate.free.until(|| match Self::now(process) {
            None if thread.must_end() => Some(None),
            None => None,
            held => Some(held),
        });
        free.await.ok_or(Errno::EAGAIN)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.exec_gate.held.store(false, Ordering::Release);
        self.0.exec_gate.free.wake_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, Task};

    #[test]
    fn one_holds_it_and_the_next_waits_until_it_is_free_or_ends() {
        let thread = testing::thread();
        let held = Held::now(thread.process()).unwrap();
        assert!(Held::now(thread.process()).is_none() && Held::or_later(thread.process()).is_err());
        let mut next = Task::new(Held::wait(&thread));
        assert!(next.poll().is_pending());
        drop(held);
        assert_eq!(next.wakes(), 1);
        let core::task::Poll::Ready(Ok(held)) = next.poll() else { panic!("it is free") };
        let mut last = Task::new(Held::wait(&thread));
        assert!(last.poll().is_pending());
        thread.end();
        assert!(last.poll().is_ready());
        drop(held);
    }
}
