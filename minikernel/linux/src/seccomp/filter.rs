//! The filters of a thread: a chain that only grows, shared with the threads and processes that it makes.

use alloc::sync::Arc;

use isopod_fs::Errno;

use super::{CallData, action};
use crate::bpf::Program;

/// The most instructions of all filters of a thread, each filter counting for four more (`MAX_INSNS_PER_PATH`).
const INSTRUCTIONS_MAX: usize = 32_768;
const PER_FILTER: usize = 4;

/// A filter, and those that were there before.
#[derive(Debug)]
pub struct Filter {
    program: Program,
    /// Calls that it does not allow are to be logged (`SECCOMP_FILTER_FLAG_LOG`).
    log: bool,
    before: Option<Arc<Filter>>,
    /// How many there are, and the instructions of all.
    count: u32,
    cost: usize,
}

/// What the filters say of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// One of [`action`].
    pub action: u32,
    /// The action's data.
    pub data: u16,
    /// The filter that decided wants it logged.
    pub log: bool,
}

impl Filter {
    /// Adds a program to the filters `before`. `ENOMEM` when they are too many.
    pub fn new(program: Program, log: bool, before: Option<Arc<Self>>) -> Result<Arc<Self>, Errno> {
        let cost = before.as_ref().map_or(0, |before| before.cost + PER_FILTER) + program.length();
        if cost > INSTRUCTIONS_MAX {
            return Err(Errno::ENOMEM);
        }
        let count = before.as_ref().map_or(0, |before| before.count) + 1;
        Ok(Arc::new(Self { program, log, before, count, cost }))
    }

    /// How many filters there are.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// This filter and those before it.
    fn all(&self) -> impl Iterator<Item = &Self> {
        core::iter::successors(Some(self), |filter| filter.before.as_deref())
    }

    /// True when `other` is this chain, or grew from it.
    pub fn is_part_of(&self, other: &Self) -> bool {
        other.all().any(|filter| core::ptr::eq(filter, self))
    }

    /// What all filters say of a call: that which takes precedence, and of those alike the newest (`seccomp_run_filters`).
    pub fn judge(&self, data: &CallData) -> Verdict {
        let mut verdict = Verdict { action: action::ALLOW, data: 0, log: false };
        for filter in self.all() {
            let result = filter.program.run(data);
            let found = result & action::FULL;
            if found.cast_signed() < verdict.action.cast_signed() {
                verdict = Verdict { action: found, data: result as u16, log: filter.log };
            }
        }
        verdict
    }
}

impl Drop for Filter {
    /// One after the other: a chain may be longer than a stack is deep.
    fn drop(&mut self) {
        let mut next = self.before.take();
        while let Some(mut filter) = next.and_then(Arc::into_inner) {
            next = filter.before.take();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bpf::Instruction;
    use alloc::vec;

    const DATA: CallData = CallData { number: 1, arch: 2, instruction_pointer: 3, arguments: [0; 6] };

    fn add(before: Option<Arc<Filter>>, length: usize, result: u32) -> Result<Arc<Filter>, Errno> {
        let instruction = Instruction { code: 6, jump_true: 0, jump_false: 0, k: result };
        Filter::new(
            Program::new(vec![instruction; length], CallData::USE).unwrap(),
            result == action::LOG,
            before,
        )
    }

    #[test]
    fn the_strictest_result_counts_and_the_newest_of_those_alike() {
        let first = add(None, 1, action::ERRNO | 5).unwrap();
        let verdict = |filter: &Filter| (filter.judge(&DATA).action, filter.judge(&DATA).data);
        let second = add(Some(Arc::clone(&first)), 1, action::ALLOW).unwrap();
        assert_eq!(verdict(&second), (action::ERRNO, 5));
        let third = add(Some(second), 1, action::ERRNO | 7).unwrap();
        assert_eq!(verdict(&third), (action::ERRNO, 7));
        let fourth = add(Some(Arc::clone(&third)), 1, action::KILL_THREAD).unwrap();
        assert_eq!(verdict(&add(Some(fourth), 1, action::KILL_PROCESS).unwrap()), (action::KILL_PROCESS, 0));
        assert!(first.is_part_of(&third) && !third.is_part_of(&first));
        assert!(add(None, 1, action::LOG).unwrap().judge(&DATA).log);
    }

    #[test]
    fn a_chain_is_limited_and_goes_without_recursion() {
        let mut chain = None;
        let mut count = 0;
        while let Ok(longer) = add(chain.clone(), 1, action::ALLOW) {
            chain = Some(longer);
            count += 1;
        }
        // 1 + 4 each, without the four of the last.
        assert_eq!(count, 6554);
        assert_eq!(chain.as_ref().unwrap().count(), 6554);
        drop(chain);
    }
}
