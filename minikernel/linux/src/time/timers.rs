//! Interval timers and POSIX timers of a process.

/// The timers of a process.
#[derive(Debug, Default)]
pub struct ProcessTimers {}

impl ProcessTimers {
    /// Stops all: the process ends.
    pub fn clear(&self) {}

    /// Deletes the POSIX timers; interval timers survive an execve (execve(2)).
    pub fn forget_posix(&self) {}
}
