//! Timers: what is to be woken at which time.
//!
//! One ordered map for each CPU serves every sleep of the kernel: nanosleep, time-outs of poll and futex, interval timers. The hardware
//! timer is armed once, for the first of them, right before the CPU goes idle or back to user code.

use alloc::collections::BTreeMap;
use core::future::Future;
use core::pin::{Pin, pin};
use core::sync::atomic::{AtomicU64, Ordering};
use core::task::{Context, Poll, Waker};

use isopod_hal::sync::SpinLock;
use isopod_hal::{clock, cpu, timer};

use super::processor;

/// Deadline in nanoseconds since boot, then a number that tells timers of one deadline apart.
type Key = (u64, u64);

/// No deadline: the clock was not there yet.
const UNARMED: u64 = 0;

static NEXT_ID: AtomicU64 = AtomicU64::new(0);

/// The timers of one CPU.
pub(super) struct Timers {
    map: SpinLock<BTreeMap<Key, Waker>>,
    /// What the hardware timer is armed for; [`UNARMED`] when it is not. Arming costs a VM exit on most hypervisors.
    armed: AtomicU64,
}

/// A sleep until a point of time; see [`sleep_until`].
#[derive(Debug)]
pub struct Sleep {
    deadline: u64,
    entry: Option<Entry>,
}

/// Where a sleep is entered.
#[derive(Debug, Clone, Copy)]
struct Entry {
    cpu: usize,
    key: Key,
}

/// Sleeps until `deadline`, in nanoseconds since boot. A deadline of `u64::MAX` never comes.
pub fn sleep_until(deadline: u64) -> Sleep {
    Sleep { deadline, entry: None }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if clock::monotonic_ns() >= self.deadline {
            self.cancel();
            return Poll::Ready(());
        }
        if self.deadline != u64::MAX {
            self.enter(context.waker());
        }
        Poll::Pending
    }
}

impl Sleep {
    /// Enters it with this CPU. Anew at each poll: the waker may have changed, an early wake-up may have taken the entry, and the task may have
    /// come to another CPU.
    fn enter(&mut self, waker: &Waker) {
        let cpu = cpu::id();
        if self.entry.is_some_and(|entry| entry.cpu != cpu) {
            self.cancel();
        }
        let entry = self.entry.get_or_insert_with(|| Entry {
            cpu,
            key: (self.deadline, NEXT_ID.fetch_add(1, Ordering::Relaxed)),
        });
        let processor = processor::this();
        let old = processor.timers.map.lock().insert(entry.key, waker.clone());
        drop(old);
        processor.note_change();
    }

    fn cancel(&mut self) {
        if let Some(Entry { cpu, key }) = self.entry.take() {
            let waker = processor::number(cpu).timers.map.lock().remove(&key);
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

/// The hardware timer has interrupted: wakes everything whose time has come. It may have been early, and is not armed any more in any case.
pub fn timer_interrupt() {
    let processor = processor::this();
    processor.timers.armed.store(UNARMED, Ordering::Relaxed);
    processor.note_change();
    expire();
}

/// Wakes everything of this CPU's whose time has come.
pub fn expire() {
    let now = clock::monotonic_ns();
    let timers = &processor::this().timers;
    while let Some(waker) = timers.take_due(now) {
        waker.wake();
    }
}

impl Timers {
    pub(super) const fn new() -> Self {
        Self { map: SpinLock::new(BTreeMap::new()), armed: AtomicU64::new(UNARMED) }
    }

    fn take_due(&self, now: u64) -> Option<Waker> {
        let mut timers = self.map.lock();
        let entry = timers.first_entry().filter(|entry| entry.key().0 <= now)?;
        Some(entry.remove())
    }

    /// The earliest deadline, if any.
    fn next_deadline(&self) -> Option<u64> {
        self.map.lock().first_key_value().map(|(&(deadline, _), _)| deadline)
    }

    /// Arms the hardware timer, which must be this CPU's, for the next deadline or the end of the time slice, unless it already is armed
    /// for it.
    pub(super) fn arm_next(&self, slice_end: Option<u64>) {
        let Some(next) = self.next_deadline().into_iter().chain(slice_end).min() else { return };
        // A timer armed too early costs one idle interrupt; moving it later would cost a VM exit each time.
        let armed = self.armed.load(Ordering::Relaxed);
        // One whose time has come without an interrupt so far is armed anew, lest everything wait for it.
        if armed == UNARMED || next < armed || armed <= clock::monotonic_ns() {
            self.armed.store(next, Ordering::Relaxed);
            timer::arm(next);
        }
    }
}
