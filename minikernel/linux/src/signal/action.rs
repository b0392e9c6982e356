//! What a process does about each signal: `sigaction(2)`.

use bitflags::bitflags;
use isopod_hal::sync::SpinLock;

use super::{SigSet, Signal};

bitflags! {
    /// `sa_flags`
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct ActionFlags: u64 {
        /// Children that stop send no SIGCHLD.
        const NO_CHILD_STOP = 0x1;
        /// Children leave no zombies.
        const NO_CHILD_WAIT = 0x2;
        /// The handler takes a siginfo and a ucontext.
        const SIGINFO = 0x4;
        /// `sa_restorer` is set.
        const RESTORER = 0x0400_0000;
        /// Run on the alternate stack.
        const ON_STACK = 0x0800_0000;
        /// Interrupted calls are made again.
        const RESTART = 0x1000_0000;
        /// The signal is not blocked while its handler runs.
        const NO_DEFER = 0x4000_0000;
        /// Back to the default once the handler has been entered.
        const RESET_HAND = 0x8000_0000;
        // Unknown bits are kept and given back, as Linux does.
        const _ = !0;
    }
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Disposition {
    /// `SIG_DFL`
    #[default]
    Default,
    /// `SIG_IGN`
    Ignore,
    /// The handler at this address.
    Handler(usize),
}

/// A signal's action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Action {
    /// What to do.
    pub disposition: Disposition,
    /// How.
    pub flags: ActionFlags,
    /// Where the handler returns to; it makes the call `rt_sigreturn`.
    pub restorer: usize,
    /// What is blocked while the handler runs.
    pub mask: SigSet,
}

impl Action {
    /// True when it lets `signal` do nothing at all.
    pub fn ignores(&self, signal: Signal) -> bool {
        match self.disposition {
            Disposition::Ignore => true,
            Disposition::Default => signal.default_effect() == DefaultEffect::Ignore,
            Disposition::Handler(_) => false,
        }
    }
}

/// What a signal does by default (`signal(7)`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DefaultEffect {
    /// Ends the process.
    Terminate,
    /// Ends the process, which leaves a core file (`core(5)`) if it may.
    Core,
    /// Nothing.
    Ignore,
    /// Stops the process.
    Stop,
    /// Continues it if it was stopped.
    Continue,
}

impl Signal {
    /// What it does by default.
    pub fn default_effect(self) -> DefaultEffect {
        match self {
            Self::CHLD | Self::URG | Self::WINCH => DefaultEffect::Ignore,
            Self::CONT => DefaultEffect::Continue,
            _ if SigSet::STOPPING.contains(self) => DefaultEffect::Stop,
            Self::QUIT | Self::ABRT | Self::XCPU | Self::XFSZ => DefaultEffect::Core,
            _ if SigSet::SYNCHRONOUS.contains(self) => DefaultEffect::Core,
            _ => DefaultEffect::Terminate,
        }
    }
}

/// The actions of all signals; `CLONE_SIGHAND` shares them.
#[derive(Debug)]
pub struct SharedActions {
    table: SpinLock<[Action; Signal::COUNT]>,
}

impl Default for SharedActions {
    fn default() -> Self {
        Self { table: SpinLock::new([Action::default(); Signal::COUNT]) }
    }
}

impl SharedActions {
    /// An independent copy, as fork makes it.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        Self { table: SpinLock::new(*self.table.lock()) }
    }

    /// What is done about `signal`.
    pub fn get(&self, signal: Signal) -> Action {
        self.table.lock()[signal.index()]
    }

    /// Changes it; returns the old action.
    pub fn set(&self, signal: Signal, action: Action) -> Action {
        core::mem::replace(&mut self.table.lock()[signal.index()], action)
    }

    /// True when the signal does nothing at all.
    pub fn ignores(&self, signal: Signal) -> bool {
        self.get(signal).ignores(signal)
    }

    /// What execve does, and `CLONE_CLEAR_SIGHAND`: handlers go back to the default, ignored signals stay ignored.
    pub fn reset_handlers(&self) {
        for action in self.table.lock().iter_mut() {
            let disposition = match action.disposition {
                Disposition::Ignore => Disposition::Ignore,
                _ => Disposition::Default,
            };
            *action = Action { disposition, ..Action::default() };
        }
    }
}
