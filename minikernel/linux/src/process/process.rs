//! The process: what all threads of a thread group share.

use alloc::sync::{Arc, Weak};
use core::iter;
use core::sync::atomic::{AtomicBool, AtomicI16, AtomicU32, AtomicUsize, Ordering};
use isopod_hal::number_map::NumberMap;

use isopod_fs::Errno;
use isopod_fs::file::WriteDenied;
use isopod_hal::clock;
use isopod_hal::sync::SpinLock;
use isopod_hal::sync::wait::WaitQueue;

use super::gate::Gate;
use super::job::Job;
use super::{Charge, Limits, Thread};
use crate::core_dump::Gathering;
use crate::mm::AddressSpace;
use crate::signal::{ActionFlags, Disposition, PendingSignals, Signal};
use crate::time::{ProcessTimers, Used};
use crate::trace;
use crate::tty::Terminal;

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitStatus {
    /// It called exit.
    Exited(u8),
    /// A signal ended it.
    Killed(Signal),
    /// A signal ended it, and it has left a core file.
    Dumped(Signal),
}

impl ExitStatus {
    /// The status as wait4(2) gives it: `WIFEXITED(3)` and its kin take it apart.
    pub fn word(self) -> u32 {
        match self {
            Self::Exited(code) => u32::from(code) << 8,
            Self::Killed(signal) => u32::from(signal.number()),
            // `WCOREFLAG`
            Self::Dumped(signal) => u32::from(signal.number()) | 0x80,
        }
    }

    /// The status as a shell and container engines report it: 128 + n for signal n.
    pub fn code(self) -> u8 {
        match self {
            Self::Exited(code) => code,
            Self::Killed(signal) | Self::Dumped(signal) => 128 + signal.number(),
        }
    }
}

#[derive(Debug, Default)]
struct Threads {
    /// Those that have not ended, by id.
    running: NumberMap<Arc<Thread>>,
    /// No other may start: one of them executes a program.
    sealed: bool,
    /// What those that have ended have used.
    past: Used,
}

/// A process.
#[derive(Debug)]
pub struct Process {
    /// Its id, which is also its first thread's.
    pub pid: u32,
    /// Who gets its status; PID 1 has none.
    pub parent: SpinLock<Weak<Process>>,
    /// Its id, for those who ask no more; 0 for the first process.
    pub parent_pid: AtomicU32,
    /// The thread of the parent that made it, or another one if that has ended.
    pub(crate) parent_thread: AtomicU32,
    /// Children by id, ended ones included until they are waited for; see [`super::family`].
    pub children: SpinLock<NumberMap<Arc<Process>>>,
    /// Woken when a child has ended, stopped, gone on, or been handed over.
    pub child_changed: WaitQueue,
    /// The signal that its parent gets at its end, if any. A parent that is not the one that made it gets SIGCHLD.
    pub exit_signal: SpinLock<Option<Signal>>,
    /// Orphans among its descendants become its children (`PR_SET_CHILD_SUBREAPER`).
    pub adopts_orphans: AtomicBool,
    /// It has executed a program since it was made.
    pub has_executed: AtomicBool,
    /// Its real user id, once it has ended.
    pub(super) last_uid: AtomicU32,
    /// The most it had resident, in bytes, once it has ended.
    pub resident_peak: AtomicUsize,
    /// Its stops and continuations.
    pub job: Job,
    /// What children that were waited for have used, and theirs.
    pub children_used: SpinLock<Used>,
    /// The largest resident set of any of them, in bytes.
    pub children_resident_peak: AtomicUsize,
    /// Process group and session (`setpgid(2)`, `setsid(2)`).
    pub group: AtomicU32,
    /// See `group`.
    pub session: AtomicU32,
    /// Its controlling terminal, as long as that knows the session; see [`crate::tty::controlling`].
    pub terminal: SpinLock<Option<Arc<Terminal>>>,
    /// Replaced by execve.
    pub memory: SpinLock<Arc<AddressSpace>>,
    /// It no longer uses the memory that it was made with: what its maker waits for after vfork(2).
    released_memory: AtomicBool,
    /// Woken when that is so.
    memory_release: WaitQueue,
    /// The file that runs, for `/proc/self/exe`.
    pub executable: SpinLock<Option<WriteDenied>>,
    /// Held by one of its threads that executes another program.
    pub(super) exec_gate: Gate,
    /// Its first thread, which has ended, is still one of its user's.
    pub(super) charge: SpinLock<Option<Charge>>,
    /// Resource limits.
    pub limits: SpinLock<Limits>,
    /// Signals sent to the process, for whichever thread takes them first.
    pub pending: SpinLock<PendingSignals>,
    /// Woken when a signal comes, blocked or not: what reads of a signalfd wait for.
    pub signalled: Arc<WaitQueue>,
    /// Interval timers and POSIX timers.
    pub timers: ProcessTimers,
    /// Woken when a thread has left.
    pub left: WaitQueue,
    /// Woken when the process has ended.
    pub ended: Arc<WaitQueue>,
    /// Threads that it traces, in the order in which it began to.
    pub tracees: SpinLock<NumberMap<Arc<Thread>>>,
    /// Who traces its first thread, and hears of its end before its parent does.
    pub tracer: SpinLock<Weak<Process>>,
    /// Woken by SIGCONT.
    pub continued: WaitQueue,
    /// Which of its memory belongs into a core file (`/proc/PID/coredump_filter`).
    pub core_filter: AtomicU32,
    /// `prctl(PR_SET_DUMPABLE)`
    pub dumpable: AtomicBool,
    /// `prctl(PR_SET_THP_DISABLE)`
    pub small_pages: AtomicBool,
    /// Makes it more or less likely to be chosen when memory runs out: -1000 to 1000 (`proc_pid_oom_score_adj(5)`).
    pub oom_score_adj: AtomicI16,
    /// Nanoseconds since boot when it started.
    pub started: u64,
    threads: SpinLock<Threads>,
    /// Where its threads meet while its core is written.
    core: SpinLock<Option<Arc<Gathering>>>,
    /// Set once: all threads are to end, with this status for the process.
    ending: SpinLock<Option<ExitStatus>>,
    /// Fast look at `ending`.
    is_ending: AtomicBool,
    status: SpinLock<Option<ExitStatus>>,
}

impl Process {
    /// A process without threads yet.
    pub fn new(pid: u32, parent: Weak<Process>, memory: Arc<AddressSpace>, limits: Limits) -> Self {
        memory.join();
        let (group, session, terminal) = parent.upgrade().map_or((pid, pid, None), |parent| {
            let terminal = parent.terminal.lock().clone();
            (parent.group.load(Ordering::Relaxed), parent.session.load(Ordering::Relaxed), terminal)
        });
        Self {
            pid,
            parent_pid: AtomicU32::new(parent.upgrade().map_or(0, |parent| parent.pid)),
            parent_thread: AtomicU32::new(0),
            parent: SpinLock::new(parent),
            children: SpinLock::default(),
            child_changed: WaitQueue::new(),
            exit_signal: SpinLock::default(),
            adopts_orphans: AtomicBool::new(false),
            has_executed: AtomicBool::new(false),
            last_uid: AtomicU32::new(0),
            resident_peak: AtomicUsize::new(0),
            job: Job::default(),
            children_used: SpinLock::default(),
            children_resident_peak: AtomicUsize::new(0),
            group: AtomicU32::new(group),
            session: AtomicU32::new(session),
            terminal: SpinLock::new(terminal),
            memory: SpinLock::new(memory),
            released_memory: AtomicBool::new(false),
            memory_release: WaitQueue::new(),
            executable: SpinLock::default(),
            exec_gate: Gate::default(),
            charge: SpinLock::default(),
            limits: SpinLock::new(limits),
            pending: SpinLock::default(),
            signalled: Arc::default(),
            timers: ProcessTimers::default(),
            left: WaitQueue::new(),
            ended: Arc::default(),
            tracees: SpinLock::default(),
            tracer: SpinLock::default(),
            continued: WaitQueue::new(),
            core_filter: AtomicU32::new(0x33),
            dumpable: AtomicBool::new(true),
            small_pages: AtomicBool::new(false),
            oom_score_adj: AtomicI16::new(0),
            started: clock::monotonic_ns(),
            threads: SpinLock::default(),
            core: SpinLock::default(),
            ending: SpinLock::default(),
            is_ending: AtomicBool::new(false),
            status: SpinLock::default(),
        }
    }

    /// The address space as it is now.
    pub fn memory(&self) -> Arc<AddressSpace> {
        Arc::clone(&self.memory.lock())
    }

    /// Gives it other memory; returns what it had.
    pub fn replace_memory(&self, memory: Arc<AddressSpace>) -> Arc<AddressSpace> {
        memory.join();
        let old = core::mem::replace(&mut *self.memory.lock(), memory);
        old.leave();
        self.released_memory.store(true, Ordering::Release);
        self.memory_release.wake_all();
        old
    }

    /// Waits until it no longer uses the memory that it was made with, or until `waiter` is to end.
    pub async fn wait_for_release(&self, waiter: &Thread) {
        let over = || self.released_memory.load(Ordering::Acquire) || waiter.is_dying();
        self.memory_release.until(|| over().then_some(())).await;
    }

    /// The threads that have not ended, by rising id, each looked for when it is its turn; see [`processes`](super::processes).
    pub fn threads(&self) -> impl Iterator<Item = Arc<Thread>> {
        let mut from = 0;
        iter::from_fn(move || {
            let threads = self.threads.lock();
            let (tid, thread) = threads.running.range(from..).next()?;
            from = tid + 1;
            Some(Arc::clone(thread))
        })
    }

    /// The first of them.
    pub fn first_thread(&self) -> Option<Arc<Thread>> {
        self.threads.lock().running.first().map(Arc::clone)
    }

    /// How many threads have not ended.
    pub fn thread_count(&self) -> usize {
        self.threads.lock().running.len()
    }

    /// The thread `tid` of this process.
    pub fn thread(&self, tid: u32) -> Option<Arc<Thread>> {
        self.threads.lock().running.get(&tid.into()).cloned()
    }

    /// Adds a thread. `EAGAIN` once the process ends or one of its threads executes a program.
    pub fn enter(&self, thread: Arc<Thread>) -> Result<(), Errno> {
        let mut threads = self.threads.lock();
        if threads.sealed || self.is_ending() {
            return Err(Errno::EAGAIN);
        }
        threads.running.insert(thread.tid().into(), thread);
        Ok(())
    }

    /// `thread` is to be the only one: no other can start any more, and those that run end. `EAGAIN` when another thread was first.
    pub fn begin_exec(&self, thread: &Thread) -> Result<(), Errno> {
        if core::mem::replace(&mut self.threads.lock().sealed, true) {
            return Err(Errno::EAGAIN);
        }
        for other in self.threads().filter(|other| other.tid() != thread.tid()) {
            other.end();
        }
        Ok(())
    }

    /// The only thread that is left takes the id of the first, and others may start again (execve(2), under "Effect on process attributes").
    pub fn take_leadership(&self, thread: &Arc<Thread>) {
        if thread.tid() != self.pid {
            trace::replace_leader(thread);
            self.charge.lock().take();
            for child in self.children.lock().values() {
                let made = &child.parent_thread;
                let _ = made.compare_exchange(thread.tid(), self.pid, Ordering::Relaxed, Ordering::Relaxed);
            }
        }
        let mut threads = self.threads.lock();
        threads.running.remove(&thread.tid().into());
        super::pids::take_id(thread, self.pid);
        threads.running.insert(self.pid.into(), Arc::clone(thread));
        threads.sealed = false;
    }

    /// What its threads have used, those that have ended included.
    pub fn used(&self) -> Used {
        let threads = self.threads.lock();
        let mut sum = threads.past;
        threads.running.values().for_each(|thread| sum.add(&thread.used()));
        sum
    }

    /// Takes a thread out. True when it was the last.
    pub(super) fn leave(&self, thread: &Thread) -> bool {
        let mut threads = self.threads.lock();
        threads.past.add(&thread.used());
        let gone = threads.running.remove(&thread.tid().into());
        let last = threads.running.is_empty();
        drop(threads);
        drop(gone);
        let charge = thread.charge.lock().take();
        if thread.tid() == self.pid {
            *self.charge.lock() = charge;
        }
        self.left.wake_all();
        last
    }

    /// Makes it the child of `parent`. Families are held, or nobody knows it yet.
    pub(super) fn set_parent(&self, parent: &Arc<Self>) {
        self.parent_pid.store(parent.pid, Ordering::Relaxed);
        let thread = parent.first_thread().map_or(parent.pid, |thread| thread.tid());
        self.parent_thread.store(thread, Ordering::Relaxed);
        *self.parent.lock() = Arc::downgrade(parent);
    }

    /// Begins the end of the process: the first status given stays. Threads notice at their next return to user code or wait.
    pub(super) fn begin_end(&self, status: ExitStatus) {
        self.ending.lock().get_or_insert(status);
        self.is_ending.store(true, Ordering::Release);
    }

    /// As [`begin_end`](Self::begin_end) by `signal`, with threads that wait until the core is written; nothing if it ends already.
    pub fn begin_core(&self, signal: Signal) -> Option<Arc<Gathering>> {
        let gathering = Arc::<Gathering>::default();
        let mut ending = self.ending.lock();
        if ending.is_some() {
            return None;
        }
        *self.core.lock() = Some(Arc::clone(&gathering));
        *ending = Some(ExitStatus::Killed(signal));
        self.is_ending.store(true, Ordering::Release);
        Some(gathering)
    }

    /// Its core is written.
    pub fn has_left_core(&self, signal: Signal) {
        *self.ending.lock() = Some(ExitStatus::Dumped(signal));
    }

    /// Where its threads meet that end while its core is written.
    pub fn gathering(&self) -> Option<Arc<Gathering>> {
        if self.is_ending() { self.core.lock().clone() } else { None }
    }

    /// The status with which all threads are to end, if they are.
    pub fn end_status(&self) -> Option<ExitStatus> {
        *self.ending.lock()
    }

    /// True when it wants SIGCHLD for stops of its children (`SA_NOCLDSTOP`).
    pub fn wants_child_stops(&self) -> bool {
        let action = self.first_thread().map(|thread| thread.actions.lock().get(Signal::CHLD));
        action.is_some_and(|action| {
            action.disposition != Disposition::Ignore && !action.flags.contains(ActionFlags::NO_CHILD_STOP)
        })
    }

    /// True once all threads are to end.
    pub fn is_ending(&self) -> bool {
        self.is_ending.load(Ordering::Acquire)
    }

    /// Records the end. `last` is the status of the last thread's own exit, used when no `exit_group` came first.
    pub(super) fn finish(&self, last: u8) {
        let status = self.ending.lock().unwrap_or(ExitStatus::Exited(last));
        *self.status.lock() = Some(status);
        self.ended.wake_all();
    }

    /// The real user id that it has, or had at last.
    pub fn real_uid(&self) -> u32 {
        let first = self.threads.lock().running.first().cloned();
        first.map_or_else(|| self.last_uid.load(Ordering::Relaxed), |thread| thread.identity().users.real)
    }

    /// How it ended, once it has.
    pub fn status(&self) -> Option<ExitStatus> {
        *self.status.lock()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.memory.get_mut().leave();
    }
}
