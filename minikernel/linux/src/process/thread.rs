//! The thread: what the scheduler runs.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, AtomicI8, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use isopod_fs::file::OpenFile;
use isopod_fs::{Credentials, Errno, Subject};
use isopod_hal::clock;
use isopod_hal::sync::{Once, SpinLock};

use super::rseq::Rseq;
use super::{Charge, FileTable, FsContext, Identity, Process, Scheduling};
use crate::fail::Fail;
use crate::sched::TaskRef;
use crate::seccomp::Mode;
use crate::signal::{SharedActions, SigSet, Signal, ThreadSignals, retarget};
use crate::socket::inet::Lingering;
use crate::syscall::watch::FILTERED;
use crate::time::Used;
use crate::trace::{self, Breakpoints, Trace};

/// The longest name of a thread, in bytes (`prctl(2)`, `PR_SET_NAME`: 16 with the terminating NUL).
pub const NAME_MAX: usize = 15;

/// How late a thread's sleeps may end, in nanoseconds (prctl(2), `PR_SET_TIMERSLACK`). It is kept and told; no sleep ends late for it.
#[derive(Debug)]
pub struct TimerSlack {
    current: AtomicU64,
    /// What 0 sets it back to: the creator's when the thread was made.
    default: u64,
}

impl TimerSlack {
    /// That of a thread whose creator has `slack`.
    pub fn new(slack: u64) -> Self {
        Self { current: AtomicU64::new(slack), default: slack }
    }

    /// The slack now.
    pub fn get(&self) -> u64 {
        self.current.load(Ordering::Relaxed)
    }

    /// Sets it, or sets it back.
    pub fn set(&self, slack: u64) {
        self.current.store(if slack == 0 { self.default } else { slack }, Ordering::Relaxed);
    }
}

/// The first thread's timer slack.
const TIMER_SLACK: u64 = 50_000;

/// A thread.
#[derive(Debug)]
pub struct Thread {
    tid: AtomicU32,
    process: Arc<Process>,
    /// Open files; `CLONE_FILES` shares the table.
    pub files: SpinLock<Arc<FileTable>>,
    /// Root, working directory, umask; `CLONE_FS` shares them.
    pub fs: SpinLock<Arc<FsContext>>,
    /// Connections that it has closed, and waits for before it goes on with user code.
    pub(crate) lingering: SpinLock<Option<Box<Lingering>>>,
    /// What signals do; `CLONE_SIGHAND` shares it.
    pub actions: SpinLock<Arc<SharedActions>>,
    /// It is one of its real user's threads.
    pub(super) charge: SpinLock<Option<Charge>>,
    /// That one had too many threads when it became that user.
    pub(super) over_limit: AtomicBool,
    /// Who it acts for. Replaced as a whole when changed.
    identity: SpinLock<Arc<Identity>>,
    /// Its own pending signals, mask and alternate stack.
    pub signals: SpinLock<ThreadSignals>,
    /// `set_tid_address(2)`: cleared and woken as a futex when the thread ends; 0 for none.
    pub clear_child_tid: AtomicUsize,
    /// `set_robust_list(2)`: the head's address; 0 for none.
    pub robust_list: AtomicUsize,
    /// The owner of the futex that it waits to lock; 0 if it waits for none (`FUTEX_LOCK_PI`).
    pub awaited_owner: AtomicU32,
    /// See [`resume_until`](Self::resume_until).
    resume_until: AtomicU64,
    /// How it wants to be scheduled.
    scheduling: SpinLock<Scheduling>,
    /// `personality(2)`
    pub personality: AtomicU32,
    /// Mode and nodes (`set_mempolicy(2)`).
    pub memory_policy: SpinLock<(u32, u64)>,
    /// `prctl(PR_SET_PDEATHSIG)`; 0 for none.
    pub parent_death_signal: AtomicU8,
    /// `setpriority(2)`: -20 to 19.
    pub nice: AtomicI8,
    /// `prctl(PR_MCE_KILL)`; 2 is the system's.
    pub machine_check_policy: AtomicU8,
    /// See [`TimerSlack`].
    pub timer_slack: TimerSlack,
    /// See [`Rseq`].
    pub rseq: Rseq,
    /// Its debug registers.
    pub breakpoints: SpinLock<Breakpoints>,
    /// What may become of its calls. It is inherited, and never taken away.
    pub(crate) seccomp: SpinLock<Mode>,
    /// Who traces it.
    pub(crate) trace: Trace,
    /// Who watches its calls: bits of [`crate::syscall::watch`].
    pub(crate) watched: AtomicU8,
    /// How often it has been given a CPU, and how often it had to give one back while it had something to do.
    pub(super) switches: AtomicU64,
    pub(super) preemptions: AtomicU64,
    pub(super) run_ticks: AtomicU64,
    pub(super) user_ticks: AtomicU64,
    /// The time-stamp counter when it was given the CPU; 0 while it has none.
    pub(super) running_since: AtomicU64,
    name: SpinLock<([u8; NAME_MAX + 1], usize)>,
    exiting: AtomicBool,
    /// There may be something to do before it goes on with user code: a signal, a stop, its end. What all calls look at.
    work: AtomicBool,
    task: Once<TaskRef>,
}

impl Subject for Thread {
    fn credentials(&self) -> Credentials {
        self.identity().for_files()
    }
}

impl Thread {
    /// A thread of `process` that has neither entered it nor started. It has its creator's nice value and timer slack; what it
    /// shares with it is up to the caller.
    pub fn new(
        creator: Option<&Self>,
        tid: u32,
        process: Arc<Process>,
        files: Arc<FileTable>,
        fs: Arc<FsContext>,
        actions: Arc<SharedActions>,
        identity: Arc<Identity>,
    ) -> Arc<Self> {
        Arc::new(Self {
            tid: AtomicU32::new(tid),
            process,
            files: SpinLock::new(files),
            fs: SpinLock::new(fs),
            lingering: SpinLock::default(),
            actions: SpinLock::new(actions),
            charge: SpinLock::default(),
            over_limit: AtomicBool::new(false),
            identity: SpinLock::new(identity),
            signals: SpinLock::default(),
            clear_child_tid: AtomicUsize::new(0),
            robust_list: AtomicUsize::new(0),
            awaited_owner: AtomicU32::new(0),
            resume_until: AtomicU64::new(0),
            scheduling: SpinLock::new(
                creator.map(|creator| creator.scheduling().inherited()).unwrap_or_default(),
            ),
            personality: AtomicU32::new(
                creator.map_or(0, |creator| creator.personality.load(Ordering::Relaxed)),
            ),
            memory_policy: SpinLock::new(creator.map_or((0, 0), |creator| *creator.memory_policy.lock())),
            parent_death_signal: AtomicU8::new(0),
            nice: AtomicI8::new(creator.map_or(0, Self::inherited_nice)),
            machine_check_policy: AtomicU8::new(
                creator.map_or(2, |creator| creator.machine_check_policy.load(Ordering::Relaxed)),
            ),
            timer_slack: TimerSlack::new(creator.map_or(TIMER_SLACK, |creator| creator.timer_slack.get())),
            rseq: Rseq::default(),
            breakpoints: SpinLock::new(
                creator.map(|creator| creator.breakpoints.lock().of_child()).unwrap_or_default(),
            ),
            seccomp: SpinLock::default(),
            trace: Trace::default(),
            watched: AtomicU8::new(0),
            switches: AtomicU64::new(0),
            preemptions: AtomicU64::new(0),
            run_ticks: AtomicU64::new(0),
            user_ticks: AtomicU64::new(0),
            running_since: AtomicU64::new(0),
            name: SpinLock::new(([0; NAME_MAX + 1], 0)),
            exiting: AtomicBool::new(false),
            work: AtomicBool::new(true),
            task: Once::new(),
        })
    }

    /// Takes over the filters of `creator`, unless another thread has just given it more.
    pub(super) fn inherit_filters(&self, creator: &Self) {
        let mode = creator.seccomp.lock().clone();
        if !matches!(mode, Mode::Disabled) {
            self.watched.fetch_or(FILTERED, Ordering::Relaxed);
        }
        let mut own = self.seccomp.lock();
        if matches!(*own, Mode::Disabled) {
            *own = mode;
        }
        drop(own);
        // Whoever gave the creator its filters meanwhile has bound it, too.
        if creator.identity().no_new_privileges && !self.identity().no_new_privileges {
            self.forbid_new_privileges();
        }
    }

    /// How it wants to be scheduled.
    pub fn scheduling(&self) -> Scheduling {
        *self.scheduling.lock()
    }

    /// Changes how it wants to be scheduled.
    pub fn set_scheduling(&self, scheduling: Scheduling) {
        *self.scheduling.lock() = scheduling;
        self.heed_wishes();
    }

    /// Changes its nice value.
    pub fn set_nice(&self, nice: i8) {
        self.nice.store(nice, Ordering::Relaxed);
        self.heed_wishes();
    }

    /// Has its task get the share of a CPU that it wants.
    fn heed_wishes(&self) {
        if let Some(task) = self.task.get() {
            task.set_share(self.scheduling().share(self.nice.load(Ordering::Relaxed)));
        }
    }

    /// The nice value of a thread that it makes: priorities beyond the usual may end with it (`SCHED_RESET_ON_FORK`).
    fn inherited_nice(&self) -> i8 {
        let nice = self.nice.load(Ordering::Relaxed);
        if self.scheduling().reset_on_fork { nice.max(0) } else { nice }
    }

    /// Its id. Only execve changes it.
    pub fn tid(&self) -> u32 {
        self.tid.load(Ordering::Relaxed)
    }

    pub(super) fn set_tid(&self, tid: u32) {
        self.tid.store(tid, Ordering::Relaxed);
    }

    /// The process it belongs to.
    pub fn process(&self) -> &Arc<Process> {
        &self.process
    }

    /// The file table it uses now.
    pub fn files(&self) -> Arc<FileTable> {
        Arc::clone(&self.files.lock())
    }

    /// Its open file `fd`; see [`FileTable::get`].
    pub fn file(&self, fd: i32) -> Result<Arc<OpenFile>, Errno> {
        self.files.lock().get(fd)
    }

    /// The file-system context it uses now.
    pub fn fs(&self) -> Arc<FsContext> {
        Arc::clone(&self.fs.lock())
    }

    /// Lets it act for another. What the process has in memory may then be more than those it now acts for should see, and its parent's
    /// death is none of their business (`commit_creds`; prctl(2), `PR_SET_DUMPABLE` and `PR_SET_PDEATHSIG`).
    pub fn set_identity(&self, mut identity: Identity) {
        let before = {
            let mut current = self.identity.lock();
            // Another thread may have seen to that since the caller looked.
            identity.no_new_privileges |= current.no_new_privileges;
            core::mem::replace(&mut *current, Arc::new(identity))
        };
        let now = self.identity();
        if now.users.real != before.users.real || self.charge.lock().is_none() {
            self.count_as(now.users.real);
        }
        if now.changes_sides(&before) {
            self.process.dumpable.store(false, Ordering::Relaxed);
            self.parent_death_signal.store(0, Ordering::Relaxed);
        }
    }

    /// It, which may be another's thread, gains no privileges by executing a program any more (`PR_SET_NO_NEW_PRIVS`).
    pub fn forbid_new_privileges(&self) {
        let mut current = self.identity.lock();
        let bound = Identity { no_new_privileges: true, ..(**current).clone() };
        *current = Arc::new(bound);
    }

    /// Who it acts for now.
    pub fn identity(&self) -> Arc<Identity> {
        Arc::clone(&self.identity.lock())
    }

    /// What it has used until now.
    pub fn used(&self) -> Used {
        let current = match self.running_since.load(Ordering::Relaxed) {
            0 => 0,
            since => clock::tsc().saturating_sub(since),
        };
        let run = self.run_ticks.load(Ordering::Relaxed).saturating_add(current);
        let (given_up, preempted) = self.switches();
        Used([run, self.user_ticks(), given_up, preempted])
    }

    /// How long it has been in user code, in ticks of the time-stamp counter.
    pub(super) fn user_ticks(&self) -> u64 {
        self.user_ticks.load(Ordering::Relaxed)
    }

    /// Counts time in user code. Only the thread itself does, so that no other count can come between.
    #[inline]
    pub(super) fn add_user_ticks(&self, ticks: u64) {
        self.user_ticks.store(self.user_ticks.load(Ordering::Relaxed).wrapping_add(ticks), Ordering::Relaxed);
    }

    /// Until when the call that a signal has just ended waits if it is made again, in nanoseconds on the call's clock (`restart_block` of Linux).
    pub fn resume_until(&self) -> u64 {
        self.resume_until.load(Ordering::Relaxed)
    }

    /// How a call fails that waits no longer than until `deadline` when it is made again.
    pub fn resume_at(&self, deadline: u64) -> Fail {
        self.resume_until.store(deadline, Ordering::Relaxed);
        Fail::RestartUntil
    }

    /// It gives the CPU to others, though it has something to do.
    pub fn note_preemption(&self) {
        self.preemptions.fetch_add(1, Ordering::Relaxed);
    }

    /// How often it has given up the CPU by itself, and how often it had to.
    pub fn switches(&self) -> (u64, u64) {
        let preemptions = self.preemptions.load(Ordering::Relaxed);
        // Having it now is no giving up.
        let given_up = self.switches.load(Ordering::Relaxed).saturating_sub(1);
        (given_up.saturating_sub(preemptions), preemptions)
    }

    /// True while it has a CPU, or waits for one.
    pub fn is_ready(&self) -> bool {
        self.has_cpu() || self.task.get().is_some_and(TaskRef::is_ready)
    }

    /// True while it has a CPU.
    pub fn has_cpu(&self) -> bool {
        self.running_since.load(Ordering::Relaxed) != 0
    }

    /// Its name, at most [`NAME_MAX`] bytes.
    pub fn name(&self) -> alloc::vec::Vec<u8> {
        let name = self.name.lock();
        name.0[..name.1].to_vec()
    }

    /// Sets its name; longer ones are cut.
    pub fn set_name(&self, name: &[u8]) {
        let length = name.len().min(NAME_MAX);
        let mut slot = self.name.lock();
        slot.0[..length].copy_from_slice(&name[..length]);
        slot.1 = length;
    }

    /// Remembers the task that is the thread's life.
    pub(super) fn set_task(&self, task: TaskRef) {
        let _ = self.task.set(task);
        self.heed_wishes();
    }

    /// The task that is the thread's life; `None` before it has begun.
    pub fn task(&self) -> Option<&TaskRef> {
        self.task.get()
    }

    /// The thread, which is the caller's, has something to do before it goes on with user code.
    pub fn set_work(&self) {
        self.work.store(true, Ordering::Release);
    }

    /// True when there may be something to do.
    #[inline]
    pub fn has_work(&self) -> bool {
        self.work.load(Ordering::Acquire)
    }

    /// Takes the mark that there may be something to do, and returns it.
    pub fn take_work(&self) -> bool {
        self.has_work() && self.work.swap(false, Ordering::AcqRel)
    }

    /// The CPUs it may run on, a bit each (`sched_setaffinity(2)`).
    pub fn affinity(&self) -> u64 {
        self.task.get().map_or(u64::MAX, TaskRef::affinity)
    }

    /// Makes the thread notice what has been changed about it or its process: its wait ends, or user code is left, if that is to be.
    pub fn notice(&self) {
        self.set_work();
        if let Some(task) = self.task.get() {
            task.call();
        }
    }

    /// The signals that it blocks.
    pub fn mask(&self) -> SigSet {
        self.signals.lock().mask
    }

    /// Changes which signals it blocks; returns which it blocked before. What it no longer blocks may wait for it already, and what it
    /// blocks now is for others to take.
    pub fn set_mask(&self, mask: SigSet) -> SigSet {
        let mask = mask.difference(SigSet::UNSTOPPABLE);
        let (before, own) = {
            let mut signals = self.signals.lock();
            (core::mem::replace(&mut signals.mask, mask), signals.pending.set())
        };
        let unblocked = before.difference(mask);
        // Who sends one after this has been looked at finds the new mask.
        if !unblocked.is_empty()
            && !own.union(self.process.pending.lock().set()).intersection(unblocked).is_empty()
        {
            self.set_work();
        }
        let blocked = mask.difference(before);
        if !blocked.is_empty() {
            retarget(self, blocked);
        }
        before
    }

    /// True when a wait must end: a signal that is not blocked is pending, or the thread is to stop or end.
    pub fn is_interrupted(&self) -> bool {
        if !self.has_work() {
            return false;
        }
        if self.must_end() || self.stops() {
            return true;
        }
        let (own, mask) = {
            let signals = self.signals.lock();
            (signals.pending.set(), signals.mask)
        };
        let waiting = own.union(self.process.pending.lock().set());
        let deliverable = waiting.difference(mask);
        !deliverable.is_empty() && self.heeds(deliverable)
    }

    /// True when it is to stop, with its process or for its tracer.
    fn stops(&self) -> bool {
        if self.trace.is_traced() { trace::stops(self) } else { self.process.job.is_stopped() }
    }

    /// True when one of the signals would do something to this thread, or its tracer is to see it; ignored ones wake nobody.
    fn heeds(&self, set: SigSet) -> bool {
        if self.trace.is_traced() {
            return true;
        }
        let actions = Arc::clone(&self.actions.lock());
        set.iter().any(|signal| !actions.ignores(signal))
    }

    /// Waits until the process is continued, or ends, or the thread has a tracer to wait for.
    pub async fn wait_for_continue(&self) {
        let process = &self.process;
        let over = || !process.job.is_stopped() || self.is_dying() || self.trace.is_traced();
        process.continued.until(|| over().then_some(())).await;
    }

    /// True when nothing may hold it up any more: it is to end, or SIGKILL waits, which neither a mask nor a stop holds up.
    pub fn is_dying(&self) -> bool {
        self.must_end() || self.has_kill()
    }

    /// True while SIGKILL waits.
    pub fn has_kill(&self) -> bool {
        self.process.pending.lock().set().contains(Signal::KILL)
            || self.signals.lock().pending.set().contains(Signal::KILL)
    }

    /// True when the thread is to end at its next return to user code.
    pub fn must_end(&self) -> bool {
        self.exiting.load(Ordering::Acquire) || self.process.is_ending()
    }

    /// The thread is to end; it notices at its next return to user code or wait.
    pub fn end(&self) {
        self.exiting.store(true, Ordering::Release);
        self.notice();
    }
}
