//! Looking for a child that has something to tell: what wait4(2) and waitid(2) have in common.

use alloc::sync::Arc;
use core::sync::atomic::Ordering::Relaxed;

use isopod_fs::Errno;
use isopod_hal::sync::wait::WaitQueue;

use super::{ExitStatus, Process, family};
use crate::fail::Changing;
use crate::signal::Signal;
use crate::trace;

/// Which children are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whom {
    /// All.
    Any,
    /// The one with this id.
    Process(u32),
    /// Those of this process group.
    Group(u32),
}

/// What is waited for.
#[derive(Debug, Clone, Copy)]
pub struct WaitFor {
    /// Which children.
    pub whom: Whom,
    /// Those whose end is told by something else than SIGCHLD (`__WCLONE`), and not the others.
    pub clones: bool,
    /// Both kinds (`__WALL`).
    pub all: bool,
    /// That one has ended (`WEXITED`).
    pub exited: bool,
    /// That one has been stopped (`WSTOPPED`).
    pub stopped: bool,
    /// That one has been continued (`WCONTINUED`).
    pub continued: bool,
    /// What is found can be found again (`WNOWAIT`).
    pub keep: bool,
}

/// What has happened to a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It has ended.
    Ended(ExitStatus),
    /// It was stopped by this signal.
    Stopped(Signal),
    /// It was continued.
    Continued,
    /// It has stopped for its tracer, with this signal and, from bit 8 on, this event.
    Trapped(u32),
}

/// A child that has something to tell.
#[derive(Debug)]
pub struct Found {
    /// Its id: the child's, or that of a thread that is traced.
    pub id: u32,
    /// The child; when it has ended, and was not kept, it is known nowhere else any more.
    pub child: Arc<Process>,
    /// What has happened.
    pub change: Change,
}

impl Changing for Process {
    /// A child has changed.
    fn queue(&self) -> &WaitQueue {
        &self.child_changed
    }
}

impl WaitFor {
    /// Any child of any kind that has ended.
    pub fn any_end() -> Self {
        Self {
            whom: Whom::Any,
            clones: false,
            all: true,
            exited: true,
            stopped: false,
            continued: false,
            keep: false,
        }
    }

    /// Whether `id`, of `child` or one of its threads, is among those that are waited for.
    pub fn means(&self, id: u32, child: &Process) -> bool {
        match self.whom {
            Whom::Any => true,
            Whom::Process(pid) => id == pid,
            Whom::Group(group) => child.group.load(Relaxed) == group,
        }
    }

    fn is_meant(&self, child: &Process, traced: bool) -> bool {
        let is_clone = *child.exit_signal.lock() != Some(Signal::CHLD);
        self.means(child.pid, child) && (traced || self.all || self.clones == is_clone)
    }

    /// What `child` has to tell, if it is wanted. It is told once, unless it is kept. Of its end a tracer who is not its parent hears first,
    /// and of its stops one who is its parent hears as a tracer.
    fn take(&self, child: &Process, tracer: Option<bool>) -> Option<Change> {
        if let Some(status) = child.status() {
            return (self.exited && tracer != Some(false)).then_some(Change::Ended(status));
        }
        if tracer == Some(true) {
            return None;
        }
        let wanted = |change| match change {
            Change::Stopped(_) => self.stopped,
            Change::Continued => self.continued,
            Change::Ended(_) | Change::Trapped(_) => false,
        };
        child.job.take(wanted, self.keep)
    }

    /// A child of `parent` that has something to tell; nothing yet; or `ECHILD` when there is no such child.
    pub fn look(&self, parent: &Process) -> Result<Option<Found>, Errno> {
        let mut any = false;
        let _families = family::hold();
        if let Some(found) = trace::look(self, parent, &mut any) {
            return Ok(Some(found));
        }
        let found = {
            let children = parent.children.lock();
            children.values().find_map(|child| {
                let tracer = child.tracer.lock().upgrade();
                let traced = tracer.map(|tracer| core::ptr::eq(&raw const *tracer, parent));
                if !self.is_meant(child, traced == Some(true)) {
                    return None;
                }
                // One that has ended has nothing else to tell any more.
                any |= self.exited || child.status().is_none();
                let change = self.take(child, traced)?;
                Some(Found { id: child.pid, child: Arc::clone(child), change })
            })
        };
        if let Some(found) = &found
            && matches!(found.change, Change::Ended(_))
            && !self.keep
        {
            family::forget(parent, &found.child);
        }
        match found {
            None if !any => Err(Errno::ECHILD),
            found => Ok(found),
        }
    }
}
