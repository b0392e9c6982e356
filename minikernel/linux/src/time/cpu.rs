//! CPU time: how long threads and processes have had a CPU.

use isopod_hal::clock::ticks_to_ns;

use crate::process::{self, Process, Thread};

/// What threads have used: ticks of the time-stamp counter with a CPU, how many of these in user code, how often they gave the CPU up, and how often
/// they had to.
#[derive(Debug, Clone, Copy, Default)]
pub struct Used(pub [u64; 4]);

impl Used {
    /// Adds what others have used.
    pub fn add(&mut self, more: &Self) {
        self.0.iter_mut().zip(more.0).for_each(|(sum, more)| *sum = sum.wrapping_add(more));
    }
}

/// CPU time in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CpuTime {
    /// In user code.
    pub user: u64,
    /// In the kernel.
    pub system: u64,
}

impl CpuTime {
    /// The times of what has been used.
    pub fn of(Used([run, user, ..]): Used) -> Self {
        Self { user: ticks_to_ns(user), system: ticks_to_ns(run.saturating_sub(user)) }
    }

    /// Of a thread until now.
    pub fn of_thread(thread: &Thread) -> Self {
        Self::of(thread.used())
    }

    /// Of all threads that CPU `cpu` has worked for.
    pub fn of_cpu(cpu: usize) -> Self {
        let (run, user) = process::work_of(cpu);
        Self::of(Used([run, user, 0, 0]))
    }

    /// Of a process until now, threads that have ended included.
    pub fn of_process(process: &Process) -> Self {
        Self::of(process.used())
    }

    /// Of the children that `process` has waited for, and of those that they had waited for.
    pub fn of_children(process: &Process) -> Self {
        Self::of(*process.children_used.lock())
    }

    /// Both together.
    pub fn total(self) -> u64 {
        self.user.saturating_add(self.system)
    }
}
