//! Process and thread ids.

use alloc::sync::{Arc, Weak};
use core::iter;
use core::sync::atomic::Ordering::Relaxed;
use isopod_hal::number_map::NumberMap;

use isopod_fs::Errno;
use isopod_hal::memory_stats;
use isopod_hal::sync::SpinLock;

use super::{Process, Thread};

/// One more than the largest id (`kernel.pid_max`, 64-bit default).
pub const PID_MAX: u32 = 4_194_304;

struct Ids {
    last: u32,
    /// All have been given out once.
    reused: bool,
    threads: NumberMap<Weak<Thread>>,
    processes: NumberMap<Arc<Process>>,
}

static IDS: SpinLock<Ids> =
    SpinLock::new(Ids { last: 0, reused: false, threads: NumberMap::new(), processes: NumberMap::new() });

impl Ids {
    /// A thread or a process has it, or it is a group's or session's whose first has ended.
    fn is_used(&self, id: u32) -> bool {
        let names =
            |process: &Process| process.group.load(Relaxed) == id || process.session.load(Relaxed) == id;
        self.threads.contains_key(&id.into())
            || self.processes.contains_key(&id.into())
            || self.reused && self.processes.values().any(|process| names(process))
    }
}

/// How many threads there may be, ended ones that were not waited for included: as many as use up an eighth of memory with a kernel stack of
/// 16 KiB each, as on Linux (`set_max_threads`). There are no such stacks here, but what else they need is of that size.
pub fn threads_max() -> usize {
    const FRAMES_PER_THREAD: u64 = 8 * 4;
    (memory_stats().total_frames as u64 / FRAMES_PER_THREAD).clamp(20, u64::from(PID_MAX)) as usize
}

/// Takes the next free id. `EAGAIN` when all are in use, or when there are too many threads.
pub fn allocate_pid() -> Result<u32, Errno> {
    let limit = threads_max();
    let mut ids = IDS.lock();
    if ids.threads.len().max(ids.processes.len()) >= limit {
        return Err(Errno::EAGAIN);
    }
    for _ in 0..PID_MAX {
        // After the first round small numbers stay with long-lived processes, as on Linux (RESERVED_PIDS).
        let over = ids.last + 1 >= PID_MAX;
        ids.last = if over { 300 } else { ids.last + 1 };
        ids.reused |= over;
        if !ids.is_used(ids.last) {
            return Ok(ids.last);
        }
    }
    Err(Errno::EAGAIN)
}

/// The id that was given out last.
pub fn last_pid() -> u32 {
    IDS.lock().last
}

/// Makes a thread and its process known by their ids.
pub fn register(thread: &Arc<Thread>) {
    let mut ids = IDS.lock();
    ids.threads.insert(thread.tid().into(), Arc::downgrade(thread));
    let process = thread.process();
    if !ids.processes.contains_key(&process.pid.into()) {
        ids.processes.insert(process.pid.into(), Arc::clone(process));
    }
}

/// Makes a thread known by another id than before.
pub(super) fn take_id(thread: &Arc<Thread>, id: u32) {
    let mut ids = IDS.lock();
    ids.threads.remove(&thread.tid().into());
    thread.set_tid(id);
    ids.threads.insert(id.into(), Arc::downgrade(thread));
}

pub(super) fn forget_thread(tid: u32) {
    IDS.lock().threads.remove(&tid.into());
}

pub(super) fn forget_process(pid: u32) {
    let gone = IDS.lock().processes.remove(&pid.into());
    drop(gone);
}

/// The process `pid`, ended but not waited for included.
pub fn find_process(pid: u32) -> Option<Arc<Process>> {
    IDS.lock().processes.get(&pid.into()).cloned()
}

/// The process that has the id `id`, or a thread with it.
pub fn find_process_of(id: u32) -> Option<Arc<Process>> {
    find_process(id).or_else(|| find_thread(id).map(|thread| Arc::clone(thread.process())))
}

/// The thread `tid`.
pub fn find_thread(tid: u32) -> Option<Arc<Thread>> {
    IDS.lock().threads.get(&tid.into()).and_then(Weak::upgrade)
}

/// All processes, by rising id. Each is looked for when it is its turn: a list of all may be too long for what memory is left.
pub fn processes() -> impl Iterator<Item = Arc<Process>> {
    let mut from = 0;
    iter::from_fn(move || {
        let ids = IDS.lock();
        let (pid, process) = ids.processes.range(from..).next()?;
        from = pid + 1;
        Some(Arc::clone(process))
    })
}

/// All threads that have not ended, in the same way.
pub fn threads() -> impl Iterator<Item = Arc<Thread>> {
    let mut from = 0;
    iter::from_fn(move || {
        let ids = IDS.lock();
        let mut rest = ids.threads.range(from..);
        let (tid, thread) = rest.find_map(|(tid, thread)| Some((tid, thread.upgrade()?)))?;
        from = tid + 1;
        Some(thread)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn the_id_of_a_group_comes_again_only_when_nobody_is_in_it() {
        let thread = testing::thread();
        register(&thread);
        let process = thread.process();
        IDS.lock().last = PID_MAX - 2;
        assert_eq!(allocate_pid(), Ok(PID_MAX - 1));
        process.group.store(300, Relaxed);
        process.session.store(301, Relaxed);
        assert_eq!(allocate_pid(), Ok(302));
        process.group.store(process.pid, Relaxed);
        IDS.lock().last = PID_MAX - 1;
        assert_eq!(allocate_pid(), Ok(300));
        assert_eq!(allocate_pid(), Ok(302));
    }
}
