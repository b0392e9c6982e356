//! When memory runs out (design, decision 10).

mod victim;

use alloc::boxed::Box;
use core::pin::Pin;

use isopod_hal::sync::SpinLock;
use isopod_hal::{OutOfMemory, PAGE_SIZE, clock, heap, memory_stats};

use crate::process::{self, Ctx, kill_process, processes};
use crate::signal::Signal;
use crate::{report, sched};
pub use victim::{footprint, points};

/// Calls that a program must be able to make to end, and that need no memory: `close`, `rt_sigreturn`, `exit`, `exit_group`.
const ALWAYS: [u64; 4] = [3, 15, 60, 231];
/// Calls that give memory back, but may first split an area: `munmap`, `brk`, `madvise`, `shmdt`. They may use half of the reserve, and go on
/// once they have begun.
const GIVING: [u64; 4] = [11, 12, 28, 67];

/// Called before each system call: false when the heap's reserve is used up and cannot be filled again, so that the call must
/// fail with `ENOMEM` rather than fail in the middle. A thread that is about to end may always go on.
pub fn may_proceed(ctx: &Ctx, number: u64) -> bool {
    if !heap::reserve_low() || ctx.thread.must_end() || ALWAYS.contains(&number) {
        return true;
    }
    let memory = memory_stats();
    if GIVING.contains(&number) && (ctx.moved > 0 || memory.free_frames > memory.reserve_frames / 2) {
        return true;
    }
    reclaim() || heap::refill_reserve()
}

/// What somebody waits for who needs a page of a program's memory, and finds none. Pages are won back, or the largest process ends with a
/// reason on the console and status 137.
#[derive(Debug, Default)]
pub struct Shortage {
    /// So often it has been waited in vain since a victim was chosen, the last of so many.
    tries: u32,
    victims: u32,
}

impl Shortage {
    /// From then on free memory is no reason to hope: it may be in too small pieces (`MAX_RECLAIM_RETRIES`).
    const HOPEFUL: u32 = 16;
    /// From then on one that ends is no reason either: what it waits for before it does may be held by who waits here. That is after a second,
    /// as Linux' `oom_reaper` gives up one whose memory it cannot have.
    const PATIENT: u32 = 1000;
    /// How long a try lasts at least when others have had their turn and that has not helped, in nanoseconds.
    const PAUSE: u64 = 1_000_000;

    /// Sees to it that there will be memory, and lets others run. False when the process is to end, and its threads therefore get none.
    ///
    /// The future is boxed: every page fault would otherwise carry its states.
    pub fn wait(&mut self) -> Pin<Box<dyn Future<Output = bool> + Send + '_>> {
        Box::pin(async {
            self.choose();
            let hopeless = match process::current() {
                Some(thread) => thread.process().is_ending(),
                // The kernel's own work cannot be chosen, and may have no others to be chosen either.
                None => self.tries > Self::PATIENT,
            };
            if hopeless {
                return false;
            }
            if self.tries <= Self::HOPEFUL {
                sched::yield_now().await;
            } else {
                sched::sleep_until(clock::monotonic_ns() + Self::PAUSE).await;
            }
            true
        })
    }

    /// Chooses a process that ends, if nothing else gives reason to hope.
    fn choose(&mut self) {
        /// How many victims there have been. Held while one is chosen, so that several CPUs without memory choose one.
        static VICTIMS: SpinLock<u32> = SpinLock::new(0);
        let mut victims = VICTIMS.lock();
        if self.victims != *victims {
            *self = Self { tries: 0, victims: *victims };
        }
        // Since the fault another victim may have given back what it had.
        let there = self.tries < Self::HOPEFUL && afford(PAGE_SIZE).is_ok();
        let patient = self.tries < Self::PATIENT;
        self.tries = self.tries.saturating_add(1);
        // One who is about to end gives back what it has; it must come to that first.
        if there || reclaim() || patient && processes().any(|process| victim::ends(&process)) {
            return;
        }
        if let Some(victim) = victim::choose() {
            *victims = victims.wrapping_add(1);
            report::out_of_memory(&victim);
            // Of what happens to its threads only SIGKILL ends a stop for their tracer where they end.
            victim.pending.lock().mark(Signal::KILL);
            kill_process(&victim, Signal::KILL);
        }
    }
}

/// Fails unless `bytes` of small kernel objects, whose number a program decides, can be had without the reserve.
pub fn afford(bytes: usize) -> Result<(), OutOfMemory> {
    let memory = memory_stats();
    let wanted = memory.reserve_frames + bytes.div_ceil(PAGE_SIZE);
    if memory.free_frames >= wanted { Ok(()) } else { Err(OutOfMemory) }
}

/// Wins back memory from caches. True when there was something.
pub fn reclaim() -> bool {
    const BATCH: usize = 256;
    crate::kernel::shrink(BATCH) > 0
}

#[cfg(test)]
mod tests {
    use alloc::sync::Arc;
    use core::sync::atomic::Ordering;

    use super::*;
    use crate::process::{ExitStatus, Thread, WaitFor};
    use crate::signal::{SI_USER, SigInfo};
    use crate::time::{Clock, Notice, Target};
    use crate::{testing, trace};
    use isopod_hal::hosted::exhaust;
    use isopod_hal::user::UserContext;

    /// More than have room in 16 KiB as pointers: larger objects are not to be had any more.
    const MANY: usize = 2100;
    /// What may be taken nevertheless.
    const RESERVE: usize = 128 << 10;

    fn enlisted(thread: Arc<Thread>) -> Arc<Thread> {
        process::enlist(&thread);
        thread
    }

    #[test]
    fn a_victim_is_found_among_more_processes_than_fit_in_a_list() {
        let threads: alloc::vec::Vec<_> = (0..MANY).map(|_| enlisted(testing::thread())).collect();
        threads[7].process().oom_score_adj.store(1000, Ordering::Relaxed);
        let exhausted = exhaust(RESERVE);
        Shortage::default().choose();
        drop(exhausted);
        let ending = |thread: &&Arc<Thread>| thread.process().is_ending();
        assert_eq!(threads.iter().filter(ending).count(), 1);
        assert!(threads[7].process().is_ending());
    }

    #[test]
    fn nobody_is_chosen_while_there_is_memory() {
        let thread = enlisted(testing::thread());
        let mut shortage = Shortage::default();
        shortage.choose();
        assert!(!thread.process().is_ending());
        // Unless that has not helped often enough.
        (0..Shortage::HOPEFUL).for_each(|_| shortage.choose());
        assert!(thread.process().is_ending());
    }

    /// A process ends and is held by its tracer there; another is larger, or it is itself the largest. Returns both, and whether the first has
    /// been let go.
    fn choose(held_is_largest: bool) -> [bool; 2] {
        let [tracer, held, other] = core::array::from_fn(|_| enlisted(testing::thread()));
        let exit = trace::Options::from_bits_truncate(1 << trace::Event::Exit as u32);
        trace::attach(&held, tracer.process(), true, exit).unwrap();
        process::exit_group(held.process(), ExitStatus::Exited(0));
        let mut ctx = Ctx::new(&held, UserContext::new(0, 0).unwrap());
        let mut end = testing::Task::new(trace::exiting(&mut ctx));
        assert!(end.poll().is_pending());
        let largest = if held_is_largest { &held } else { &other };
        largest.process().oom_score_adj.store(1000, Ordering::Relaxed);
        let exhausted = exhaust(RESERVE);
        let mut shortage = Shortage::default();
        shortage.choose();
        // Who has been chosen ends now.
        shortage.choose();
        drop(exhausted);
        assert!(!tracer.process().is_ending());
        [end.poll().is_ready(), other.process().is_ending()]
    }

    #[test]
    fn one_that_its_tracer_holds_at_its_end_is_not_waited_for() {
        assert_eq!(choose(false), [false, true]);
    }

    #[test]
    fn one_that_its_tracer_holds_at_its_end_can_be_chosen() {
        assert_eq!(choose(true), [true, false]);
    }

    #[test]
    fn one_that_does_not_come_to_its_end_is_not_waited_for_for_ever() {
        let [stuck, largest, other] = core::array::from_fn(|_| enlisted(testing::thread()));
        process::exit_group(stuck.process(), ExitStatus::Exited(0));
        largest.process().oom_score_adj.store(1000, Ordering::Relaxed);
        let ending = || [&largest, &other].map(|thread| thread.process().is_ending());
        let exhausted = exhaust(RESERVE);
        let [mut first, mut second] = [Shortage::default(), Shortage::default()];
        for _ in 0..Shortage::PATIENT {
            first.choose();
            second.choose();
        }
        let waited = ending();
        first.choose();
        let gave_up = ending();
        // A new victim is given as much time, by all.
        second.choose();
        let waited_again = ending();
        drop(exhausted);
        assert_eq!([waited, gave_up, waited_again], [[false, false], [true, false], [true, false]]);
    }

    #[test]
    fn a_process_of_many_threads_ends_without_memory() {
        let first = enlisted(testing::thread());
        let others: alloc::vec::Vec<_> = (0..MANY).map(|_| enlisted(testing::sibling(&first))).collect();
        let exhausted = exhaust(RESERVE);
        assert_eq!(process::threads().count(), MANY + 1);
        kill_process(first.process(), Signal::KILL);
        drop(exhausted);
        assert!(others.iter().all(|thread| thread.must_end()));
    }

    #[test]
    fn a_program_of_many_threads_executes_another_without_memory() {
        let first = testing::thread();
        let others: alloc::vec::Vec<_> = (0..MANY).map(|_| testing::sibling(&first)).collect();
        let exhausted = exhaust(RESERVE);
        first.process().begin_exec(&first).unwrap();
        drop(exhausted);
        assert!(others.iter().all(|thread| thread.must_end()) && !first.must_end());
    }

    #[test]
    fn a_signal_of_one_of_many_timers_is_taken_without_memory() {
        let thread = testing::thread();
        let timers = &thread.process().timers;
        for _ in 0..MANY {
            let charge = crate::signal::QUEUED.charge(0, 1, u64::MAX).unwrap();
            let notice = |_| Notice { target: Target::Nobody, signal: Signal::ALRM, posix: None };
            timers.create(Clock::Monotonic, charge, notice).unwrap();
        }
        let exhausted = exhaust(RESERVE);
        timers.taken(Signal::ALRM, &mut SigInfo::user(Signal::ALRM, SI_USER, 0, 0));
        drop(exhausted);
    }

    #[test]
    fn one_of_many_tracees_is_found_without_memory() {
        let tracer = testing::thread();
        let tracees: alloc::vec::Vec<_> = (0..MANY).map(|_| testing::thread()).collect();
        for tracee in &tracees {
            trace::attach(tracee, tracer.process(), true, trace::Options::default()).unwrap();
        }
        let status = ExitStatus::Killed(Signal::KILL);
        assert!(trace::end_of_process(tracees[MANY - 1].process(), status));
        let wanted = WaitFor::any_end();
        let exhausted = exhaust(RESERVE);
        let found = trace::look(&wanted, tracer.process(), &mut false);
        drop(exhausted);
        assert_eq!(found.map(|found| found.id), Some(tracees[MANY - 1].tid()));
    }
}
