//! Waiting for any of several files: what poll(2) and select(2) share.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::task::Waker;

use isopod_fs::Errno;
use isopod_fs::file::OpenFile;
use isopod_hal::sync::wait::{Listener, WaitQueue};

use crate::fail::{Fail, SysResult};
use crate::process::Thread;
use crate::wait::{Until, Waited};

/// Files, but for descriptors that only name a place.
pub type Files = Vec<Option<Arc<OpenFile>>>;

/// Waits until `look` counts something, at most until `deadline` (nanoseconds since boot), and returns its last count. `look` is asked at
/// first and after each change of one of `files`. A call that a signal ends is made again only if no handler ran. `ENOMEM`.
pub async fn wait_for_any(
    thread: &Thread,
    files: &Files,
    deadline: u64,
    look: &mut (dyn FnMut() -> usize + Send),
) -> SysResult {
    let mut ears = Ears::default();
    let mut found = Ok(0);
    let waited = Until::new(thread, deadline, &mut |context| {
        // First listen, then look, so that no change falls between.
        found = ears.listen(files, context.waker()).map(|()| look());
        found != Ok(0)
    })
    .await;
    match waited {
        Waited::Woken => Ok(found?),
        // A signal that came with the time counts.
        Waited::TimedOut if !thread.is_interrupted() => Ok(found?),
        Waited::TimedOut | Waited::Interrupted => Err(Fail::RestartWithoutHandler),
    }
}

/// Listeners at the queues of files.
#[derive(Default)]
struct Ears {
    waker: Option<Waker>,
    listeners: Vec<Listener<Arc<WaitQueue>>>,
}

impl Ears {
    /// Has `waker` woken when one of `files` changes.
    fn listen(&mut self, files: &Files, waker: &Waker) -> Result<(), Errno> {
        if self.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            return Ok(());
        }
        self.listeners.clear();
        self.listeners.try_reserve_exact(files.len()).map_err(|_| Errno::ENOMEM)?;
        for queue in files.iter().flatten().filter_map(|file| file.wait_queue()) {
            self.listeners.push(queue.listen_owned(waker).map_err(|_| Errno::ENOMEM)?);
        }
        self.waker = Some(waker.clone());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipc::eventfd::new_eventfd;
    use crate::poll::FOREVER;
    use crate::testing::{self, Task};
    use core::task::Poll;
    use isopod_fs::Bytes;
    use isopod_fs::file::{OpenFlags, Ready};

    #[test]
    fn any_of_the_files_ends_the_wait() {
        let thread = testing::thread();
        let files: Vec<_> =
            (0..3).map(|_| Some(new_eventfd(0, false, OpenFlags::empty()).unwrap())).collect();
        let mut look = || files.iter().flatten().filter(|file| file.ready().contains(Ready::READ)).count();
        let mut task = Task::new(wait_for_any(&thread, &files, FOREVER, &mut look));
        assert!(task.poll().is_pending());
        let credentials = thread.identity().for_files();
        files[1].as_ref().unwrap().write(&credentials, &mut Bytes::new(&1u64.to_le_bytes())).unwrap();
        assert_eq!((task.wakes(), task.poll()), (1, Poll::Ready(Ok(1))));
    }

    #[test]
    fn a_deadline_ends_it_with_nothing() {
        let thread = testing::thread();
        let deadline = isopod_hal::clock::monotonic_ns() + 1000;
        let (files, mut look) = (Files::new(), || 0);
        let mut task = Task::new(wait_for_any(&thread, &files, deadline, &mut look));
        let outcome = loop {
            if let Poll::Ready(outcome) = task.poll() {
                break outcome;
            }
        };
        assert_eq!(outcome, Ok(0));
    }
}
