//! A close that waits for what was written to arrive: `SO_LINGER`, socket(7).

use alloc::sync::Arc;
use alloc::vec::Vec;

use isopod_hal::clock;
use isopod_hal::sync::wait::WaitQueue;
use isopod_net::tcp::{Connection, Stream};

use super::{Phase, end, with};
use crate::process::{Thread, current};
use crate::sched;
use crate::wait::interruptible;

/// The connections that a thread has closed since it last ran its program, and waits for before it does so again.
#[derive(Debug, Default)]
pub struct Lingering(Vec<Closed>);

/// One of them. It is nobody's once this is dropped.
#[derive(Debug)]
struct Closed {
    stream: Arc<Stream>,
    changed: Arc<WaitQueue>,
    seconds: u32,
}

impl Lingering {
    /// Closes both directions, and has the thread that runs wait. False where there is nothing to wait for, or nobody who could; the connection
    /// is then still to be closed.
    pub(super) fn begin(stream: &Arc<Stream>, changed: &Arc<WaitQueue>, seconds: u32) -> bool {
        let Some(thread) = current() else { return false };
        // Nobody else adds to it.
        let room = thread.lingering.lock().get_or_insert_default().0.try_reserve(1);
        if room.is_err() || !with(stream, Connection::linger) {
            return false;
        }
        let closed = Closed { stream: Arc::clone(stream), changed: Arc::clone(changed), seconds };
        thread.lingering.lock().get_or_insert_default().0.push(closed);
        thread.set_work();
        true
    }

    /// Waits for all, one after the other. What interrupts that is still marked as work.
    pub async fn wait(self, thread: &Thread) {
        for closed in self.0 {
            closed.wait(thread).await;
        }
    }
}

impl Closed {
    /// Waits until the peer has all, the time is over, or a signal comes, which does not make the close fail (`sk_stream_wait_close`).
    async fn wait(self, thread: &Thread) {
        let deadline = clock::monotonic_ns() + u64::from(self.seconds) * 1_000_000_000;
        let over = self.changed.until(|| (!self.stream.look(Connection::is_closing)).then_some(()));
        // Whichever it was, the connection goes on by itself.
        let _ = interruptible(thread, sched::timeout_at(deadline, over)).await;
    }
}

impl Drop for Closed {
    fn drop(&mut self) {
        end(&Phase::Connected(Arc::clone(&self.stream)), false);
    }
}
