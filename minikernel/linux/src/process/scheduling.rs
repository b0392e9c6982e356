//! How a thread wants to be scheduled: `sched(7)`, `ioprio_set(2)`.
//!
//! It is kept, told and inherited. Threads share the CPUs alike: to be first is a wish here, as it is for a virtual machine on its host.

/// `SCHED_OTHER`: the usual.
pub const OTHER: u32 = 0;
/// `SCHED_FIFO`: real time, until it waits.
pub const FIFO: u32 = 1;
/// `SCHED_RR`: real time, in turns.
pub const ROUND_ROBIN: u32 = 2;
/// `SCHED_BATCH`: never in haste.
pub const BATCH: u32 = 3;
/// `SCHED_IDLE`: when there is nothing else to do.
pub const IDLE: u32 = 5;
/// `SCHED_DEADLINE`: so much time in each period.
pub const DEADLINE: u32 = 6;

/// The wishes of a thread.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Scheduling {
    /// One of the policies.
    pub policy: u32,
    /// 1 to 99 for real time, otherwise 0.
    pub priority: u32,
    /// What is beyond the usual is not inherited.
    pub reset_on_fork: bool,
    /// Class and priority of its transfers; 0 if it has not said.
    pub transfers: u16,
}

impl Scheduling {
    /// True for a policy with priorities.
    pub fn is_real_time(self) -> bool {
        matches!(self.policy, FIFO | ROUND_ROBIN)
    }

    /// Those of a thread that it makes.
    #[must_use]
    pub fn inherited(self) -> Self {
        let real_time = self.is_real_time();
        match self.reset_on_fork {
            false => self,
            true if real_time => Self { policy: OTHER, priority: 0, reset_on_fork: false, ..self },
            true => Self { reset_on_fork: false, ..self },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn real_time_may_end_with_its_owner() {
        let first = Scheduling { policy: FIFO, priority: 5, reset_on_fork: false, transfers: 7 };
        assert_eq!(first.inherited(), first);
        let reset = Scheduling { reset_on_fork: true, ..first };
        assert_eq!(reset.inherited(), Scheduling { transfers: 7, ..Scheduling::default() });
        let batch = Scheduling { policy: BATCH, reset_on_fork: true, ..Scheduling::default() };
        assert_eq!(batch.inherited(), Scheduling { policy: BATCH, ..Scheduling::default() });
    }
}
