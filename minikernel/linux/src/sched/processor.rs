//! What each CPU has to do, and who does what: the run queues.
//!
//! A task that is woken goes to a CPU that sleeps, best to the one it ran on last; if none does, to the CPU that woke it. A CPU with nothing
//! to do takes from the queues of others. So a task waits only while all CPUs that it may run on work.

use alloc::sync::Arc;

use isopod_hal::cpu;
use isopod_hal::sync::SpinLock;
use isopod_hal::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};

use super::queue::Queue;
use super::real_time::{self, Budget, CUT_SHORT};
use super::task::Task;
use super::timers::Timers;

/// One CPU. What others look at comes first.
#[repr(align(64))]
pub(super) struct Processor {
    queue: SpinLock<Queue>,
    /// How many tasks are in the queue, for a look without the lock.
    waiting: AtomicUsize,
    /// It waits for an interrupt, or is about to.
    sleeps: AtomicBool,
    /// A task or a timer has come, or the timer may have to be armed for another reason, since this was last looked at.
    pub(super) changed: AtomicBool,
    /// The running task must not stay on this CPU.
    pub(super) must_move: AtomicBool,
    /// When the slice of the running task ends; 0 while nobody has asked.
    pub(super) slice_end: AtomicU64,
    /// How long the slice of the running task is. Only the CPU itself looks at it.
    pub(super) slice: core::sync::atomic::AtomicU64,
    /// What the running task, or the last one, wants of it ([`Share::number`](super::real_time::Share::number)).
    pub(super) running: core::sync::atomic::AtomicU32,
    pub(super) budget: Budget,
    pub(super) timers: Timers,
}

/// One with nothing to do. Not a constant in models.
macro_rules! idle {
    () => {
        Processor {
            queue: SpinLock::new(Queue::new()),
            waiting: AtomicUsize::new(0),
            sleeps: AtomicBool::new(false),
            changed: AtomicBool::new(false),
            must_move: AtomicBool::new(false),
            slice_end: AtomicU64::new(0),
            slice: core::sync::atomic::AtomicU64::new(0),
            running: core::sync::atomic::AtomicU32::new(0),
            budget: Budget::new(),
            timers: Timers::new(),
        }
    };
}

#[cfg(not(loom))]
static PROCESSORS: [Processor; cpu::MOST] = [const { idle!() }; cpu::MOST];

#[cfg(loom)]
loom::lazy_static! {
    static ref PROCESSORS: [Processor; cpu::MOST] = core::array::from_fn(|_| idle!());
}

/// The CPUs that take tasks, a bit each.
static TAKING: core::sync::atomic::AtomicU64 = core::sync::atomic::AtomicU64::new(1);

/// The CPUs that there are, a bit each.
pub fn cpus() -> u64 {
    TAKING.load(Ordering::Relaxed)
}

/// Those of a mask that there are; all of them where none of it is, as on Linux.
pub fn present(mask: u64) -> u64 {
    let there = cpus();
    if mask & there == 0 { there } else { mask & there }
}

/// The CPU that runs this.
#[inline]
pub(super) fn this() -> &'static Processor {
    &PROCESSORS[cpu::id()]
}

/// The CPU of this number.
pub(super) fn number(cpu: usize) -> &'static Processor {
    &PROCESSORS[cpu]
}

/// Has these CPUs take tasks, as far as who gets them is concerned.
#[cfg(test)]
pub(super) fn pretend(cpus: u64) {
    TAKING.store(cpus, Ordering::Relaxed);
}

/// This CPU takes tasks from now on.
pub(super) fn begin() {
    TAKING.fetch_or(1 << cpu::id(), Ordering::Relaxed);
}

/// Puts a task that was woken into a run queue.
pub(super) fn enqueue(task: Arc<Task>) {
    let here = cpu::id();
    let target = place_for(&task, here, |_| false);
    put(task, target, here, false);
}

/// Puts a task into a run queue that has run and wants to go on. It changes to another CPU if it would not wait longer there: so all tasks get
/// their share where there are more of them than CPUs.
pub(super) fn enqueue_again(task: Arc<Task>) {
    let here = cpu::id();
    let waiting = this().waiting.load(Ordering::Relaxed);
    let target = place_for(&task, here, |other| other.waiting.load(Ordering::Relaxed) < waiting);
    let stays_first = task.priority() > 0 && this().budget.stays_first(task.share());
    put(task, target, here, stays_first);
}

/// The CPU for a task: one that sleeps; else, if it is of real time, the one with the lowest priority; else one that is `better`; else this one, if it may be; else whichever it may run on.
fn place_for(task: &Task, here: usize, better: impl Fn(&Processor) -> bool) -> usize {
    if cpus() == 1 {
        return here;
    }
    let allowed = present(task.affinity());
    let cpus = || (0..cpu::MOST).filter(|cpu| allowed >> cpu & 1 == 1);
    let last = task.last_cpu();
    if allowed >> last & 1 == 1 && last != here && PROCESSORS[last].sleeps.load(Ordering::Relaxed) {
        return last;
    }
    if allowed == 1 << here {
        return here;
    }
    let lowest = || cpus().min_by_key(|&cpu| (PROCESSORS[cpu].priority(), cpu != here));
    sleeper(allowed)
        .or_else(|| if task.priority() > 0 { lowest() } else { None })
        .or_else(|| cpus().find(|&cpu| cpu != here && better(&PROCESSORS[cpu])))
        .or_else(|| (allowed >> here & 1 == 1).then_some(here))
        .or_else(|| cpus().min_by_key(|&cpu| PROCESSORS[cpu].waiting.load(Ordering::Relaxed)))
        .unwrap_or(here)
}

fn put(task: Arc<Task>, target: usize, here: usize, stays_first: bool) {
    let processor = &PROCESSORS[target];
    let affinity = task.affinity();
    let is_first = task.priority() > 0 && task.priority() > processor.priority();
    let mut queue = processor.queue.lock();
    queue.push(task, stays_first);
    processor.waiting.store(queue.len(), Ordering::Relaxed);
    drop(queue);
    if is_first {
        processor.slice_end.store(CUT_SHORT, Ordering::Relaxed);
    }
    processor.note_change();
    if target != here {
        // Awake or asleep: user code must be left there, so that its time slice begins.
        rouse(target);
    } else if cpus() != 1 {
        // One that has fallen asleep since the look at it has not seen the task.
        fence(Ordering::SeqCst);
        if let Some(other) = sleeper(affinity) {
            rouse(other);
        }
    }
}

fn rouse(cpu: usize) {
    PROCESSORS[cpu].sleeps.store(false, Ordering::Relaxed);
    cpu::interrupt(cpu);
}

/// A CPU of these that sleeps.
fn sleeper(cpus: u64) -> Option<usize> {
    let mut left = present(cpus);
    while left != 0 {
        let cpu = left.trailing_zeros() as usize;
        if PROCESSORS[cpu].sleeps.load(Ordering::Relaxed) {
            return Some(cpu);
        }
        left &= left - 1;
    }
    None
}

/// The running task's CPUs have changed: has it leave the one it runs on, if that is none of them.
pub(super) fn move_away(task: &Task, place: usize) {
    let Some(processor) = PROCESSORS.get(place) else { return };
    if !task.may_run_on(place) {
        processor.must_move.store(true, Ordering::Relaxed);
        if place != cpu::id() {
            cpu::interrupt(place);
        }
    }
}

/// Has the task that runs on CPU `place` give way to who comes first, if somebody does.
pub(super) fn cut_short(place: usize) {
    let Some(processor) = PROCESSORS.get(place) else { return };
    processor.slice_end.store(CUT_SHORT, Ordering::Relaxed);
    processor.note_change();
    if place != cpu::id() {
        cpu::interrupt(place);
    }
}

/// The next task for this CPU: its own, or one that waits elsewhere.
pub(super) fn next() -> Option<Arc<Task>> {
    let here = cpu::id();
    // Its CPUs have changed while it waited, and those that it may run on now need not run out of tasks and look here.
    while let Some(stray) = PROCESSORS[here].take(here, Queue::take_stray) {
        enqueue(stray);
    }
    PROCESSORS[here].take(here, Queue::take).or_else(|| {
        let others = cpus() & !(1 << here);
        if others == 0 {
            return None;
        }
        let from_here = (here + 1..cpu::MOST).chain(0..here);
        from_here
            .filter(|other| others >> other & 1 == 1)
            .find_map(|other| PROCESSORS[other].take(here, Queue::take))
    })
}

impl Processor {
    /// Takes a task out for CPU `cpu`, which `choose` finds.
    fn take(&self, cpu: usize, choose: fn(&mut Queue, usize) -> Option<Arc<Task>>) -> Option<Arc<Task>> {
        if self.waiting.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let mut queue = self.queue.lock();
        let task = choose(&mut queue, cpu);
        self.waiting.store(queue.len(), Ordering::Relaxed);
        task
    }

    /// The priority of the running task, or of the last one.
    fn priority(&self) -> u8 {
        real_time::priority(self.running.load(Ordering::Relaxed))
    }

    /// How many tasks wait for this CPU.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// True when a task waits for this CPU.
    pub(super) fn has_ready(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) != 0
    }

    /// Has [`super::before_user`] look at what there is.
    pub(super) fn note_change(&self) {
        self.changed.store(true, Ordering::Release);
    }

    /// About to sleep: others interrupt it from now on when they give it something to do. The caller must look once more whether they have.
    pub(super) fn prepare_sleep(&self) {
        self.sleeps.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// Awake.
    pub(super) fn end_sleep(&self) {
        self.sleeps.store(false, Ordering::Relaxed);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_task_whose_cpus_change_while_it_waits_goes_where_it_may_run() {
        pretend(0b11);
        let task = Task::new(async {});
        task.set_affinity(0b01);
        enqueue(Arc::clone(&task));
        task.set_affinity(0b10);
        assert!(next().is_none());
        let waits = [0, 1].map(|cpu| PROCESSORS[cpu].waiting.load(Ordering::Relaxed));
        assert_eq!(waits, [0, 1]);
        assert!(PROCESSORS[1].take(1, Queue::take).is_some_and(|found| Arc::ptr_eq(&found, &task)));
    }
}
