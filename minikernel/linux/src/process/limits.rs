//! Resource limits: `getrlimit(2)`.

use super::threads_max;
use crate::mm::SpaceLimits;

/// No limit.
pub const INFINITY: u64 = u64::MAX;

/// A soft limit, which is enforced, and the hard one up to which the process may raise it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// Enforced.
    pub soft: u64,
    /// Upper bound of the soft limit.
    pub hard: u64,
}

/// What is limited; the discriminants are the ABI's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
#[expect(missing_docs, reason = "the names are those of getrlimit(2)")]
pub enum Resource {
    Cpu = 0,
    FileSize = 1,
    Data = 2,
    Stack = 3,
    Core = 4,
    ResidentSet = 5,
    Processes = 6,
    OpenFiles = 7,
    LockedMemory = 8,
    AddressSpace = 9,
    Locks = 10,
    PendingSignals = 11,
    MessageQueue = 12,
    Nice = 13,
    RealTimePriority = 14,
    RealTimeTime = 15,
}

/// How many resources there are.
pub const COUNT: usize = 16;

/// All limits of a process.
#[derive(Debug, Clone)]
pub struct Limits([Limit; COUNT]);

impl Limits {
    /// Linux's defaults for the first process, with the given number of open files (`include/asm-generic/resource.h`), as containers get them.
    pub fn new(open_files: u64) -> Self {
        let mut limits = [Limit { soft: INFINITY, hard: INFINITY }; COUNT];
        limits[Resource::Stack as usize].soft = 8 << 20;
        limits[Resource::Core as usize].soft = 0;
        limits[Resource::OpenFiles as usize] = Limit { soft: open_files, hard: open_files };
        limits[Resource::LockedMemory as usize] = Limit { soft: 8 << 20, hard: 8 << 20 };
        // What `fork_init` of Linux gives a machine of this size.
        let half = Limit { soft: threads_max() as u64 / 2, hard: threads_max() as u64 / 2 };
        limits[Resource::Processes as usize] = half;
        limits[Resource::PendingSignals as usize] = half;
        limits[Resource::MessageQueue as usize] = Limit { soft: 819_200, hard: 819_200 };
        limits[Resource::Nice as usize] = Limit { soft: 0, hard: 0 };
        limits[Resource::RealTimePriority as usize] = Limit { soft: 0, hard: 0 };
        Self(limits)
    }

    /// The limit of one resource.
    pub fn get(&self, resource: Resource) -> Limit {
        self.0[resource as usize]
    }

    /// Those of the address space.
    pub fn of_memory(&self) -> SpaceLimits {
        let of = |resource| self.get(resource).soft;
        SpaceLimits { stack: of(Resource::Stack), size: of(Resource::AddressSpace), data: of(Resource::Data) }
    }

    /// Sets the soft limit of one resource to `most` where it is above.
    pub fn lower_soft(&mut self, resource: Resource, most: u64) {
        let soft = &mut self.0[resource as usize].soft;
        *soft = most.min(*soft);
    }

    /// The limit with the ABI's number, if there is one.
    pub fn by_number(&self, number: usize) -> Option<Limit> {
        self.0.get(number).copied()
    }

    /// Sets the limit with the ABI's number; does nothing for a number that does not exist.
    pub fn set(&mut self, number: usize, limit: Limit) {
        if let Some(slot) = self.0.get_mut(number) {
            *slot = limit;
        }
    }
}
