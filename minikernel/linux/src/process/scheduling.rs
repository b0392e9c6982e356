//! How a thread wants to be scheduled: `sched(7)`, `ioprio_set(2)`.
//!
//! Those of real time come first, by their priorities. The others share a CPU by their nice values, and those of `SCHED_IDLE` take what others leave.

use crate::sched::Share;

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

/// The share of a CPU for each nice value from -20 on (`sched_prio_to_weight`).
const WEIGHTS: [u32; 40] = [
    88761, 71755, 56483, 46273, 36291, 29154, 23254, 18705, 14949, 11916, 9548, 7620, 6100, 4904, 3906, 3121,
    2501, 1991, 1586, 1277, 1024, 820, 655, 526, 423, 335, 272, 215, 172, 137, 110, 87, 70, 56, 45, 36, 29,
    23, 18, 15,
];
/// That of `SCHED_IDLE` (`WEIGHT_IDLEPRIO`).
const WEIGHT_OF_IDLE: u32 = 3;

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

    /// Its share of a CPU that others want too, with this nice value.
    pub fn share(self, nice: i8) -> Share {
        match self.policy {
            FIFO | ROUND_ROBIN => {
                Share::First { priority: self.priority as u8, in_turns: self.policy == ROUND_ROBIN }
            }
            IDLE => Share::Weight(WEIGHT_OF_IDLE),
            _ => Share::Weight(WEIGHTS[(i32::from(nice) + 20).clamp(0, 39) as usize]),
        }
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
