//! Watching and steering other threads: ptrace(2).
//!
//! A traced thread has a [`Tracee`]: who traces it, how it is to go on, and, while it is stopped, its registers, which it has put there itself
//! ([`stop`]) so that the tracer can look at them and change them without it. The tracer is a process; any of its threads may ask.
//!
//! Locks: families, a process's list of tracees, a thread's tracee, its debug registers, then nothing else.

mod breakpoints;
mod events;
mod family;
mod registers;
mod stop;

use alloc::boxed::Box;
use alloc::sync::{Arc, Weak};

use bitflags::bitflags;
use isopod_fs::Errno;
use isopod_hal::sync::SpinLock;
use isopod_hal::sync::atomic::{AtomicBool, Ordering};
use isopod_hal::sync::wait::WaitQueue;
use isopod_hal::user::UserContext;

use crate::process::{ExitStatus, Process};
use crate::signal::{SigInfo, Signal};

pub use breakpoints::{Breakpoints, debug_exception};
pub use events::{Event, after_call, before_call, child_of, executed, exiting, filtered, released};
pub use family::{
    attach, detach, detach_all, end_of_process, end_of_thread, forget, inherit, look, replace_leader,
};
pub use registers::{
    FLOATING, GENERAL, floating, floating_of, general, general_of, set_floating, set_general,
};
pub use stop::{deliver, entered_handler, hold, interrupt, notice_stop, step_into_handler, stops};

bitflags! {
    /// `PTRACE_O_`. An event's option is the bit of its number.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct Options: u32 {
        /// Stops at system calls are told from others.
        const SYSGOOD = 1;
        /// Events, by their numbers.
        const EVENTS = 0xfe;
        /// The tracee is killed with the tracer.
        const EXITKILL = 1 << 20;
    }
}

/// How a tracee goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Resume {
    /// Until something happens.
    #[default]
    Continue,
    /// Until its next system call, or the end of this one.
    Call,
    /// For one instruction.
    Step,
    /// Until its next system call, which is not made.
    Emulate,
    /// For one instruction, and system calls are not made.
    EmulateStep,
}

impl Resume {
    fn steps(self) -> bool {
        matches!(self, Self::Step | Self::EmulateStep)
    }

    fn emulates(self) -> bool {
        matches!(self, Self::Emulate | Self::EmulateStep)
    }
}

/// Why a tracee is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// A signal, an event, a stop of the whole process.
    Other,
    /// A system call has not been made yet.
    Entry,
    /// A system call has been made.
    Exit,
    /// A filter wants the tracer to decide about a system call; its data.
    Filter(u16),
}

/// A stop.
#[derive(Debug)]
pub struct Stop {
    /// The signal, and from bit 8 on the event: what wait4(2) tells above the low byte.
    pub code: u32,
    /// Why.
    pub reason: Reason,
    /// What `PTRACE_GETSIGINFO` gives.
    pub info: Option<SigInfo>,
    /// wait4(2) has told it.
    told: bool,
    /// The tracer only listens to what comes next (`PTRACE_LISTEN`).
    pub listening: bool,
}

impl Stop {
    fn is_exit(&self) -> bool {
        self.code >> 8 == Event::Exit as u32
    }
}

/// What tracing means to a thread.
#[derive(Debug)]
pub struct Tracee {
    tracer: Weak<Process>,
    /// `PTRACE_SETOPTIONS`
    pub options: Options,
    /// By `PTRACE_SEIZE`.
    pub seized: bool,
    /// How it goes on.
    pub resume: Resume,
    /// The signal with which it goes on.
    pub signal: Option<Signal>,
    /// It is to stop as soon as it can (`PTRACE_INTERRUPT`).
    pub interrupt: bool,
    /// The stop of the process in which it took part last; see `Job::stop_state`.
    joined: u32,
    /// It is stopped.
    pub stop: Option<Stop>,
    /// `PTRACE_GETEVENTMSG`
    pub message: u64,
    /// While it is stopped its registers, else of no meaning.
    pub user: UserContext,
    /// While it is stopped the number of the system call that it makes; negative for none.
    pub call: u64,
    /// Its registers are in `user`, until it takes them back.
    parked: bool,
    /// The trap flag is set by the tracer's wish, and not by the program.
    forced_trap: bool,
    /// What the tracer has made of the siginfo of the stop that is over.
    shown: Option<SigInfo>,
    /// How it ended.
    ended: Option<ExitStatus>,
}

/// A thread's place for its [`Tracee`].
#[derive(Debug, Default)]
pub struct Trace {
    state: SpinLock<Option<Box<Tracee>>>,
    traced: AtomicBool,
    resumed: WaitQueue,
}

impl Trace {
    /// True while somebody traces the thread.
    #[inline]
    pub fn is_traced(&self) -> bool {
        self.traced.load(Ordering::Acquire)
    }

    /// The tracer.
    pub fn tracer(&self) -> Option<Arc<Process>> {
        if !self.is_traced() {
            return None;
        }
        self.state.lock().as_ref().and_then(|tracee| tracee.tracer.upgrade())
    }

    /// True while it is stopped for its tracer.
    pub fn is_stopped(&self) -> bool {
        self.is_traced() && self.state.lock().as_ref().is_some_and(|tracee| tracee.stop.is_some())
    }

    /// True while it is stopped where it ends (`PTRACE_EVENT_EXIT`).
    pub fn is_held_at_end(&self) -> bool {
        let at_end = |tracee: &mut Tracee| tracee.stop.as_ref().is_some_and(Stop::is_exit);
        self.with(at_end) == Some(true)
    }

    /// Calls `act` with the tracee, if there is one.
    fn with<T>(&self, act: impl FnOnce(&mut Tracee) -> T) -> Option<T> {
        if !self.is_traced() {
            return None;
        }
        self.state.lock().as_deref_mut().map(act)
    }

    /// Calls `act` with the tracee that is stopped; `ESRCH` when it is not, or only listens.
    pub fn stopped<T>(&self, act: impl FnOnce(&mut Tracee) -> Result<T, Errno>) -> Result<T, Errno> {
        let mut state = self.state.lock();
        let tracee = state.as_deref_mut().filter(|_| self.is_traced()).ok_or(Errno::ESRCH)?;
        if !tracee.parked || tracee.stop.as_ref().is_none_or(|stop| stop.listening) {
            return Err(Errno::ESRCH);
        }
        act(tracee)
    }

    /// Changes the tracee whether or not it is stopped.
    pub fn running<T>(&self, act: impl FnOnce(&mut Tracee) -> T) -> Result<T, Errno> {
        self.with(act).ok_or(Errno::ESRCH)
    }

    /// Lets it go on, as `tracee.resume` says.
    pub fn go_on(&self, resume: Resume, signal: Option<Signal>) -> Result<(), Errno> {
        self.stopped(|tracee| {
            tracee.resume = resume;
            tracee.signal = signal;
            tracee.shown = tracee.stop.take().and_then(|stop| stop.info);
            Ok(())
        })?;
        self.resumed.wake_all();
        Ok(())
    }
}
