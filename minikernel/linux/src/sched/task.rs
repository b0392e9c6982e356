//! A future on its way to completion.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::task::Wake;
use core::future::Future;
use core::pin::Pin;
use core::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize};
use core::task::{Context, Waker};

use isopod_hal::sync::SpinLock;
use isopod_hal::sync::atomic::{AtomicU8, Ordering};
use isopod_hal::{clock, cpu};

use super::preempt::SLICE_NS;
use super::processor;
use super::real_time::{self, Share};

type BoxedFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

/// State of a task: it is in a run queue, or a CPU polls it, or it is complete.
const BUSY: u8 = 1;
/// It has been woken since its last poll began.
const WOKEN: u8 = 2;

/// No CPU polls the task.
const NOWHERE: usize = usize::MAX;

pub(super) struct Task {
    /// Empty once the future is complete. Only the CPU that polls takes the lock.
    future: SpinLock<Option<BoxedFuture>>,
    state: AtomicU8,
    /// Behind it in its run queue.
    pub(super) next: SpinLock<Option<Arc<Task>>>,
    /// The CPUs it may run on, a bit each.
    affinity: AtomicU64,
    /// The CPU that polls it.
    place: AtomicUsize,
    /// The CPU that polled it last.
    last_cpu: AtomicUsize,
    /// Its share of a CPU that others want too ([`Share::number`]).
    share: AtomicU32,
    /// Others come first until then, in nanoseconds since boot. Only of one of less than the usual weight, or of real time.
    due: AtomicU64,
}

/// The weight of who has not wished for more or less.
const USUAL: u32 = 1024;

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Not a mere look: it must follow the changes that it tells of, or it could see the marks that a poll is about to clear.
        if self.state.fetch_or(BUSY | WOKEN, Ordering::AcqRel) & BUSY == 0 {
            processor::enqueue(Arc::clone(self));
        }
    }
}

impl Task {
    pub(super) fn new(future: impl Future<Output = ()> + Send + 'static) -> Arc<Self> {
        Arc::new(Self {
            future: SpinLock::new(Some(Box::pin(future))),
            state: AtomicU8::new(0),
            next: SpinLock::new(None),
            affinity: AtomicU64::new(u64::MAX),
            place: AtomicUsize::new(NOWHERE),
            last_cpu: AtomicUsize::new(cpu::id()),
            share: AtomicU32::new(USUAL),
            due: AtomicU64::new(0),
        })
    }

    /// The CPU that polled it last, whose caches may still hold what it needs.
    pub(super) fn last_cpu(&self) -> usize {
        self.last_cpu.load(Ordering::Relaxed)
    }

    /// When it is its turn, in nanoseconds since boot.
    pub(super) fn due(&self) -> u64 {
        self.due.load(Ordering::Relaxed)
    }

    pub(super) fn set_due(&self, due: u64) {
        self.due.store(due, Ordering::Relaxed);
    }

    /// What it wants of a CPU, as [`Share::number`] has it.
    pub(super) fn share(&self) -> u32 {
        self.share.load(Ordering::Relaxed)
    }

    /// Its place before others; 0 without any.
    pub(super) fn priority(&self) -> u8 {
        real_time::priority(self.share())
    }

    /// How long it may run while others wait, in nanoseconds. One of little weight runs as long as others, but less often.
    pub(super) fn slice(&self) -> u64 {
        match self.share() {
            ..=USUAL => SLICE_NS,
            share if real_time::priority(share) > 0 => processor::this().budget.begin(share),
            weight => SLICE_NS * u64::from(weight) / u64::from(USUAL),
        }
    }

    /// One of less than the usual weight, or of real time, has run since `began`, and `others` have waited: these come first now for as long as it
    /// makes up for.
    #[cold]
    fn let_others(&self, began: u64, share: u32, others: usize) {
        /// Nobody waits longer, however many others there are.
        const LONGEST: u64 = 10_000_000_000;
        if real_time::priority(share) > 0 {
            return self.set_due(processor::this().budget.spend(began));
        }
        let now = clock::monotonic_ns();
        let theirs = now.saturating_sub(began) * u64::from(USUAL) / u64::from(share);
        self.set_due(now + theirs.saturating_mul(others as u64).min(LONGEST));
    }

    pub(super) fn affinity(&self) -> u64 {
        self.affinity.load(Ordering::Relaxed)
    }

    pub(super) fn set_affinity(&self, cpus: u64) {
        self.affinity.store(cpus, Ordering::Relaxed);
    }

    pub(super) fn may_run_on(&self, cpu: usize) -> bool {
        processor::present(self.affinity()) >> cpu & 1 == 1
    }

    /// Polls it; it came from a run queue. What wakes it meanwhile makes it run again.
    pub(super) fn poll(self: Arc<Self>) {
        let here = cpu::id();
        self.last_cpu.store(here, Ordering::Relaxed);
        self.place.store(here, Ordering::Relaxed);
        // By an exchange, so that the poll sees what came before a wake-up that found the task busy, and whoever has set something
        // that the poll does not see yet sees where it is polled.
        self.state.swap(BUSY, Ordering::AcqRel);
        let share = self.share();
        // One comparison for less than the usual and for real time, of which the numbers are negative.
        let is_special = share.cast_signed() < USUAL.cast_signed();
        let began = if is_special { clock::monotonic_ns() } else { 0 };
        let waker = Waker::from(Arc::clone(&self));
        let mut slot = self.future.lock();
        let Some(future) = slot.as_mut() else { return };
        if future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
            let finished = slot.take();
            // What the future still owns is dropped outside the lock. The task stays busy: nothing queues it any more.
            drop(slot);
            drop(finished);
            self.place.store(NOWHERE, Ordering::Relaxed);
            return;
        }
        drop(slot);
        self.place.store(NOWHERE, Ordering::Relaxed);
        if is_special {
            self.let_others(began, share, processor::this().waiting());
        }
        if self.state.compare_exchange(BUSY, 0, Ordering::AcqRel, Ordering::Relaxed).is_err() {
            processor::enqueue_again(self);
        }
    }
}

/// A task that others know, and may call.
#[derive(Clone)]
pub struct TaskRef(pub(super) Arc<Task>);

impl TaskRef {
    /// Makes it run; and if user code of its runs on another CPU, has it leave that and look at what there is to do.
    pub fn call(&self) {
        self.0.wake_by_ref();
        let place = self.0.place.load(Ordering::Relaxed);
        if place != NOWHERE && place != cpu::id() {
            cpu::interrupt(place);
        }
    }

    /// The CPUs it may run on, a bit each.
    pub fn affinity(&self) -> u64 {
        self.0.affinity()
    }

    /// Changes them. It leaves a CPU that is none of them at its next chance to give way.
    pub fn set_affinity(&self, cpus: u64) {
        self.0.set_affinity(cpus);
        processor::move_away(&self.0, self.0.place.load(Ordering::Relaxed));
    }

    /// Changes its share of a CPU that others want too.
    pub fn set_share(&self, share: Share) {
        let before = self.0.share.swap(share.number(), Ordering::Relaxed);
        if share.number() >= USUAL {
            self.0.set_due(0);
        }
        // One that runs may not be the first any more, nor for so long.
        if real_time::priority(before) > 0 || self.0.priority() > 0 {
            processor::cut_short(self.0.place.load(Ordering::Relaxed));
        }
    }

    /// True while it runs, or waits for a CPU.
    pub fn is_ready(&self) -> bool {
        self.0.state.load(Ordering::Relaxed) & BUSY != 0
    }

    /// The CPU that it runs on, or ran on last.
    pub fn cpu(&self) -> usize {
        self.0.last_cpu()
    }
}

impl core::fmt::Debug for TaskRef {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("TaskRef").field("cpu", &self.cpu()).finish_non_exhaustive()
    }
}
