//! Timers: what is to be woken at which time.
//!
//! One ordered map serves every sleep of the kernel: nanosleep, time-outs of poll and futex, interval timers. The hardware
//! timer is armed once, for the first of them, right before the CPU goes idle or back to user code.

use alloc::collections::BTreeMap;
use core::future::Future;
use core::pin::{Pin, pin};
use core::sync::atomic::{AtomicU64, Ordering};
use core::task::{Context, Poll, Waker};

use isopod_hal::sync::SpinLock;
use isopod_hal::{clock, timer};

use super::preempt;

/// Deadline in nanoseconds since boot, then a number that tells timers of one deadline apart.
type Key = (u64, u64);

static TIMERS: SpinLock<BTreeMap<Key, Waker>> = SpinLock::new(BTreeMap::new());
static NEXT_ID: AtomicU64 = AtomicU64::new(0);
/// What the hardware timer is armed for; `u64::MAX` when it is not. Arming costs a VM exit on most hypervisors.
static ARMED: AtomicU64 = AtomicU64::new(u64::MAX);

/// A sleep until a point of time; see [`sleep_until`].
#[derive(Debug)]
pub struct Sleep {
    deadline: u64,
    key: Option<Key>,
}

/// Sleeps until `deadline`, in nanoseconds since boot. A deadline of `u64::MAX` never comes.
pub fn sleep_until(deadline: u64) -> Sleep {
    Sleep { deadline, key: None }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if clock::monotonic_ns() >= self.deadline {
            self.cancel();
            return Poll::Ready(());
        }
        if self.deadline != u64::MAX {
            let deadline = self.deadline;
            let key = *self.key.get_or_insert_with(|| (deadline, NEXT_ID.fetch_add(1, Ordering::Relaxed)));
            // Entered anew at each poll: the waker may have changed, and an early wake-up may have taken the entry.
            TIMERS.lock().insert(key, context.waker().clone());
            preempt::note_change();
        }
        Poll::Pending
    }
}

impl Sleep {
    fn cancel(&mut self) {
        if let Some(key) = self.key.take() {
            let waker = TIMERS.lock().remove(&key);
            drop(waker);
        }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.cancel();
    }
}

/// Waits for `future`, but not beyond `deadline` (nanoseconds since boot): `None` when the time came first.
pub async fn timeout_at<F: Future>(deadline: u64, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut sleep = pin!(sleep_until(deadline));
    core::future::poll_fn(|context| {
        if let Poll::Ready(output) = future.as_mut().poll(context) {
            return Poll::Ready(Some(output));
        }
        sleep.as_mut().poll(context).map(|()| None)
    })
    .await
}

/// The earliest deadline, if any.
pub fn next_deadline() -> Option<u64> {
    TIMERS.lock().first_key_value().map(|(&(deadline, _), _)| deadline)
}

/// The hardware timer has interrupted: wakes everything whose time has come. It may have been early, and is not armed any more in any case.
pub fn timer_interrupt() {
    ARMED.store(u64::MAX, Ordering::Relaxed);
    preempt::note_change();
    expire();
}

/// Wakes everything whose time has come.
pub fn expire() {
    let now = clock::monotonic_ns();
    while let Some(waker) = take_due(now) {
        waker.wake();
    }
}

fn take_due(now: u64) -> Option<Waker> {
    let mut timers = TIMERS.lock();
    let entry = timers.first_entry().filter(|entry| entry.key().0 <= now)?;
    Some(entry.remove())
}

/// Arms the hardware timer for the next deadline or the end of the time slice, unless it already is armed for it.
pub(super) fn arm_next() {
    let Some(next) = next_deadline().into_iter().chain(preempt::deadline()).min() else { return };
    // A timer armed too early costs one idle interrupt; moving it later would cost a VM exit each time.
    let armed = ARMED.load(Ordering::Relaxed);
    // One whose time has come without an interrupt so far is armed anew, lest everything wait for it.
    if next < armed || armed <= clock::monotonic_ns() {
        ARMED.store(next, Ordering::Relaxed);
        timer::arm(next);
    }
}
