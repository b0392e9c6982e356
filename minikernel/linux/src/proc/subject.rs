//! What a directory is about: a process, a thread, or the machine.

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::Ordering::Relaxed;

use isopod_fs::generated::Attributes;
use isopod_fs::vfs::Path;
use isopod_fs::{Errno, Result};

use crate::kernel;
use crate::process::{self, Process, Thread, With};

/// A process or one of its threads, which may end while someone still has its files open; or the machine.
#[derive(Clone)]
pub(super) struct Subject {
    process: Weak<Process>,
    tid: Option<u32>,
}

impl Subject {
    /// The machine.
    pub(super) const MACHINE: Self = Self { process: Weak::new(), tid: None };

    /// A process.
    pub(super) fn of_process(process: &Arc<Process>) -> Self {
        Self { process: Arc::downgrade(process), tid: None }
    }

    /// The thread `tid` of the same process.
    pub(super) fn of_thread(&self, tid: u32) -> Self {
        Self { process: Weak::clone(&self.process), tid: Some(tid) }
    }

    /// True in a thread's own directory.
    pub(super) fn is_thread(&self) -> bool {
        self.tid.is_some()
    }

    /// The process; ESRCH when it is gone.
    pub(super) fn process(&self) -> Result<Arc<Process>> {
        self.process.upgrade().ok_or_else(|| Errno::ESRCH.into())
    }

    /// The thread, or the process's first that still runs; ESRCH when it is gone.
    pub(super) fn thread(&self) -> Result<Arc<Thread>> {
        let process = self.process()?;
        let found = match self.tid {
            Some(tid) => process.thread(tid),
            None => process.first_thread(),
        };
        found.ok_or_else(|| Errno::ESRCH.into())
    }

    /// The number that stands for it.
    pub(super) fn id(&self) -> Result<u32> {
        Ok(match self.tid {
            Some(tid) => tid,
            None => self.process()?.pid,
        })
    }

    /// Mode and owner of what is about it. The files of a process that must not be dumped belong to the superuser, but its directories
    /// do not (`task_dump_owner`).
    pub(super) fn attributes(&self, mode: u16) -> Attributes {
        let owner =
            self.thread().ok().filter(|thread| mode == 0o555 || thread.process().dumpable.load(Relaxed));
        owner.map_or(Attributes::root(mode), |thread| {
            let identity = thread.identity();
            Attributes { mode, uid: identity.users.effective, gid: identity.groups.effective }
        })
    }

    /// EACCES unless the caller may look into the process's memory: `ptrace(2)`, "Ptrace access mode checking", with
    /// `PTRACE_MODE_READ_FSCREDS`.
    pub(super) fn check_access(&self) -> Result<()> {
        let Some(caller) = process::current() else { return Ok(()) };
        let allowed = caller.may_inspect(&*self.thread()?, With::FileIds);
        if allowed { Ok(()) } else { Err(Errno::EACCES.into()) }
    }
}

/// The root directory of who asks.
pub(super) fn callers_root() -> Path {
    process::current().map_or_else(kernel::root, |caller| caller.fs().root())
}

/// A path as who asks sees it.
pub(super) fn shown(path: &Path) -> Vec<u8> {
    path.text(&callers_root()).0
}
