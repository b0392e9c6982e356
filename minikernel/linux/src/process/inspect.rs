//! Who may look into another process: `ptrace(2)`, "Ptrace access mode checking".

use alloc::sync::Arc;
use core::sync::atomic::Ordering::Relaxed;

use isopod_fs::Capabilities;

use super::Thread;

/// With which of the caller's ids it is decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum With {
    /// Those that count for files (`PTRACE_MODE_FSCREDS`).
    FileIds,
    /// The real ones (`PTRACE_MODE_REALCREDS`).
    RealIds,
}

impl Thread {
    /// Whether this thread may look into `target`.
    pub fn may_inspect(&self, target: &Self, with: With) -> bool {
        if Arc::ptr_eq(self.process(), target.process()) {
            return true;
        }
        let (own, other) = (self.identity(), target.identity());
        let (user, group) = match with {
            With::FileIds => (own.users.file, own.groups.file),
            With::RealIds => (own.users.real, own.groups.real),
        };
        let (users, groups) = (other.users, other.groups);
        let alike = [users.real, users.effective, users.saved].iter().all(|id| *id == user)
            && [groups.real, groups.effective, groups.saved].iter().all(|id| *id == group)
            && own.capabilities.effective.contains(other.capabilities.permitted)
            && target.process().dumpable.load(Relaxed);
        alike || own.capable(Capabilities::SYS_PTRACE)
    }
}
