//! CPU time: how long threads and processes have had a CPU.

use core::sync::atomic::Ordering::Relaxed;

use isopod_hal::clock::ticks_to_ns;

use crate::process::{self, Process, Thread};

/// CPU time in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CpuTime {
    /// In user code.
    pub user: u64,
    /// In the kernel.
    pub system: u64,
}

impl CpuTime {
    fn from_ticks(run: u64, user: u64) -> Self {
        Self { user: ticks_to_ns(user), system: ticks_to_ns(run.saturating_sub(user)) }
    }

    /// Of a thread until now.
    pub fn of_thread(thread: &Thread) -> Self {
        let (run, user) = thread.ticks();
        Self::from_ticks(run, user)
    }

    /// Of all threads that CPU `cpu` has worked for.
    pub fn of_cpu(cpu: usize) -> Self {
        let (run, user) = process::work_of(cpu);
        Self::from_ticks(run, user)
    }

    /// Of a process until now, threads that have ended included.
    pub fn of_process(process: &Process) -> Self {
        let mut run = process.past_run_ticks.load(Relaxed);
        let mut user = process.past_user_ticks.load(Relaxed);
        for thread in process.threads() {
            let (thread_run, thread_user) = thread.ticks();
            run += thread_run;
            user += thread_user;
        }
        Self::from_ticks(run, user)
    }

    /// Of the children that `process` has waited for, and of those that they had waited for.
    pub fn of_children(process: &Process) -> Self {
        Self::from_ticks(process.children_run_ticks.load(Relaxed), process.children_user_ticks.load(Relaxed))
    }

    /// Of a process and of those children.
    pub fn of_family(process: &Process) -> Self {
        let (own, children) = (Self::of_process(process), Self::of_children(process));
        Self { user: own.user + children.user, system: own.system + children.system }
    }

    /// Both together.
    pub fn total(self) -> u64 {
        self.user.saturating_add(self.system)
    }
}
