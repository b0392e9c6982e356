//! A wait for a file to be ready, which goes on while the program does something else (`IOCB_CMD_POLL`).

use alloc::sync::Arc;
use core::fmt;
use core::future::poll_fn;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::{self, Waker};

use isopod_fs::Errno;
use isopod_fs::file::{OpenFile, Ready};
use isopod_hal::sync::wait::{Listener, WaitQueue};

use super::{Event, Request};
use crate::sched;

/// A wait under way, as others know it.
#[derive(Debug)]
pub struct Poll {
    object: u64,
    cancelled: AtomicBool,
    cancelling: Arc<WaitQueue>,
}

impl Poll {
    /// What the program calls it by.
    pub fn object(&self) -> u64 {
        self.object
    }

    /// Ends it.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Release);
        self.cancelling.wake_all();
    }
}

/// A wait, as it is asked for.
pub struct Waiting {
    /// The file.
    pub file: Arc<OpenFile>,
    /// For what of it; errors and hanging up come of themselves.
    pub events: Ready,
    /// The request.
    pub request: Request,
    /// What is told of it; the result comes in.
    pub event: Event,
    /// What is told, too.
    pub tell: Option<Arc<OpenFile>>,
}

impl fmt::Debug for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiting")
            .field("events", &self.events)
            .field("event", &self.event)
            .finish_non_exhaustive()
    }
}

impl Waiting {
    fn ready(&self) -> Ready {
        self.file.ready() & (self.events | Ready::ERROR | Ready::HANG_UP)
    }

    fn complete(mut self, ready: Ready) {
        self.event.result = ready.bits().into();
        self.request.complete(&self.event, self.tell.as_deref());
    }
}

/// Begins a wait. `EINVAL` for a file that is not ready and will not tell when it is, `ENOMEM`
pub fn wait_for(waiting: Waiting) -> Result<(), Errno> {
    let ready = waiting.ready();
    if !ready.is_empty() {
        waiting.complete(ready);
        return Ok(());
    }
    let queue = waiting.file.wait_queue().ok_or(Errno::EINVAL)?;
    let context = Arc::clone(&waiting.request.context);
    let poll = Arc::new(Poll {
        object: waiting.event.object,
        cancelled: AtomicBool::new(false),
        cancelling: Arc::default(),
    });
    {
        let mut polls = context.polls.lock();
        polls.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        polls.push(Arc::clone(&poll));
    }
    if context.has_ended() {
        poll.cancel();
    }
    sched::spawn(async move {
        let mut ears = None;
        let ready = poll_fn(|task| look(&waiting, &poll, &queue, &mut ears, task.waker())).await;
        drop(ears);
        context.polls.lock().retain(|other| !Arc::ptr_eq(other, &poll));
        waiting.complete(ready);
    });
    Ok(())
}

type Ears = (Waker, [Listener<Arc<WaitQueue>>; 2]);

/// Listens at both queues, then looks, so that no change falls between. A wait whose task has no memory to listen ends as one that was cancelled.
fn look(
    waiting: &Waiting,
    poll: &Poll,
    queue: &Arc<WaitQueue>,
    ears: &mut Option<Ears>,
    waker: &Waker,
) -> task::Poll<Ready> {
    if !ears.as_ref().is_some_and(|(known, _)| known.will_wake(waker)) {
        let listen = |queue: &Arc<WaitQueue>| Arc::clone(queue).listen_owned(waker);
        match (listen(queue), listen(&poll.cancelling)) {
            (Ok(file), Ok(cancel)) => *ears = Some((waker.clone(), [file, cancel])),
            _ => return task::Poll::Ready(Ready::empty()),
        }
    }
    let ready = waiting.ready();
    if !ready.is_empty() || poll.cancelled.load(Ordering::Acquire) {
        return task::Poll::Ready(ready);
    }
    task::Poll::Pending
}
