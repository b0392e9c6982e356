//! A close that waits for what was written to arrive: `SO_LINGER`, socket(7).

use alloc::sync::Arc;

use isopod_hal::clock;
use isopod_hal::sync::wait::WaitQueue;
use isopod_net::tcp::{Connection, Stream};

use super::{Phase, end, with};
use crate::process::{Thread, current};
use crate::sched;
use crate::wait::interruptible;

/// A connection that a thread has closed and waits for. It is nobody's once this is dropped.
#[derive(Debug)]
pub struct Lingering {
    stream: Arc<Stream>,
    changed: Arc<WaitQueue>,
    seconds: u32,
}

impl Lingering {
    /// Closes both directions, and has the thread that runs wait before it goes on with its program. False where there is nothing to wait for, or
    /// nobody who could; the connection is then still to be closed.
    pub(super) fn begin(stream: &Arc<Stream>, changed: &Arc<WaitQueue>, seconds: u32) -> bool {
        let Some(thread) = current() else { return false };
        // Nobody else adds to it.
        let room = thread.lingering.lock().try_reserve(1);
        if room.is_err() || !with(stream, Connection::linger) {
            return false;
        }
        let (stream, changed) = (Arc::clone(stream), Arc::clone(changed));
        thread.lingering.lock().push(Self { stream, changed, seconds });
        thread.set_work();
        true
    }

    /// Waits until the peer has all, the time is over, or a signal comes, which does not make the close fail (`sk_stream_wait_close`).
    async fn wait(self, thread: &Thread) {
        let deadline = clock::monotonic_ns() + u64::from(self.seconds) * 1_000_000_000;
        let over = self.changed.until(|| (!self.stream.look(Connection::is_closing)).then_some(()));
        // Whichever it was, the connection goes on by itself.
        let _ = interruptible(thread, sched::timeout_at(deadline, over)).await;
    }

    /// Waits for what `thread` has closed since it last ran its program, one after the other. What interrupts that is still marked as work.
    pub async fn wait_for_all(thread: &Thread) {
        let all = core::mem::take(&mut *thread.lingering.lock());
        for closed in all {
            closed.wait(thread).await;
        }
    }
}

impl Drop for Lingering {
    fn drop(&mut self) {
        end(&Phase::Connected(Arc::clone(&self.stream)), false);
    }
}
