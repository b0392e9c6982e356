//! Whether a process is stopped, and what a parent can learn of that: `WUNTRACED` and `WCONTINUED` of waitpid(2).

use isopod_hal::sync::SpinLock;
use isopod_hal::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::Change;
use crate::signal::Signal;

/// Stops and continuations. They happen one at a time, each together with what is to be told of it.
#[derive(Debug, Default)]
pub struct Job {
    /// What has happened last, until the parent has asked for it.
    last: SpinLock<Option<Change>>,
    stopped: AtomicBool,
    /// How often it was stopped, and from bit 32 on by which signal at last.
    stops: AtomicU64,
    /// How often SIGCONT has come.
    continuations: AtomicU64,
}

impl Job {
    /// Stopped by a signal, until SIGCONT.
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// While it is stopped how often it was, which is never 0, and by which signal: what tracees tell.
    pub fn stop_state(&self) -> Option<(u32, Signal)> {
        let stops = if self.is_stopped() { self.stops.load(Ordering::Relaxed) } else { 0 };
        Signal::new((stops >> 32) as u32).map(|signal| (stops as u32, signal))
    }

    /// How often SIGCONT has come: to be asked before a signal is taken that may stop the process.
    pub fn continuations(&self) -> u64 {
        self.continuations.load(Ordering::Acquire)
    }

    /// The process stops by `signal`, unless SIGCONT has come since there were so many `continuations`: what has been taken can no longer be
    /// thrown away by it (`JOBCTL_STOP_DEQUEUED`). Whether it stops.
    pub fn stop(&self, signal: Signal, continuations: u64) -> bool {
        let mut last = self.last.lock();
        if self.continuations() != continuations {
            return false;
        }
        let count = (self.stops.load(Ordering::Relaxed) as u32).wrapping_add(1).max(1);
        self.stops.store(u64::from(count) | u64::from(signal.number()) << 32, Ordering::Relaxed);
        self.stopped.store(true, Ordering::Release);
        *last = Some(Change::Stopped(signal));
        true
    }

    /// SIGCONT has come, and has thrown away the stopping signals that waited. Whether the process was stopped.
    pub fn go_on(&self) -> bool {
        let mut last = self.last.lock();
        self.continuations.fetch_add(1, Ordering::AcqRel);
        let stopped = self.stopped.swap(false, Ordering::AcqRel);
        if stopped {
            *last = Some(Change::Continued);
        }
        stopped
    }

    /// What has happened, if it was not told before and is `wanted`. It is not told again unless it is kept.
    pub(super) fn take(&self, wanted: impl FnOnce(Change) -> bool, keep: bool) -> Option<Change> {
        let mut last = self.last.lock();
        let change = (*last).filter(|change| wanted(*change))?;
        if !keep {
            *last = None;
        }
        Some(change)
    }
}

#[cfg(all(test, loom))]
mod models;

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_stop_that_was_taken_before_a_continuation_comes_to_nothing() {
        let job = Job::default();
        let before = job.continuations();
        assert!(!job.go_on());
        assert!(!job.stop(Signal::STOP, before) && !job.is_stopped());
        assert_eq!(job.take(|_| true, false), None);
        assert!(job.stop(Signal::STOP, job.continuations()) && job.is_stopped());
        assert_eq!(job.take(|_| true, true), Some(Change::Stopped(Signal::STOP)));
        assert!(job.go_on() && !job.is_stopped());
        assert_eq!(job.take(|_| true, false), Some(Change::Continued));
    }
}
