//! Who is to end when memory runs out.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use isopod_hal::{PAGE_SIZE, memory_stats};

use crate::process::{Process, Thread, processes};

/// The process that has the most points. The first one, with which the machine ends, is chosen only if it has more than all others together.
pub(super) fn choose() -> Option<Arc<Process>> {
    let candidates = processes().filter(|process| process.status().is_none() && !ends(process));
    let (mut most, mut sum, mut first) = (None, 0_i64, None);
    for process in candidates {
        let points = points(&process);
        if process.pid == 1 {
            first = Some((points, process));
            continue;
        }
        sum = sum.saturating_add(points.unwrap_or(0).max(0));
        // The latest of several.
        if most.as_ref().is_none_or(|&(most, _)| points >= most) {
            most = Some((points, process));
        }
    }
    let ends_all = match (&first, &most) {
        (Some((Some(points), _)), Some((Some(_), _))) => *points > sum,
        (Some((points, _)), Some((None, _))) => points.is_some(),
        (_, others) => others.is_none(),
    };
    let (_, process) = if ends_all { first } else { most }?;
    Some(process)
}

/// Whether a process gives back what it has before long. One whose tracer holds it where it ends (`PTRACE_EVENT_EXIT`) does so when that
/// pleases.
pub(super) fn ends(process: &Process) -> bool {
    let held = |thread: Arc<Thread>| thread.trace.is_held_at_end() && !thread.has_kill();
    process.is_ending() && process.status().is_none() && !process.threads().any(held)
}

/// How many bytes a process has in memory: its pages with their tables and areas, and what the kernel holds for its open files.
pub fn footprint(process: &Process) -> usize {
    let files = process.first_thread().map_or(0, |thread| thread.files().footprint());
    process.memory().footprint() + files
}

/// How much a process has in memory, in pages, and a thousandth of all memory more or less for each point of its adjustment; `None` for one
/// with the lowest adjustment, which is spared as long as there is any other (`proc_pid_oom_score_adj(5)`, `oom_badness`).
pub fn points(process: &Process) -> Option<i64> {
    const SPARED: i16 = -1000;
    let adjustment = process.oom_score_adj.load(Ordering::Relaxed);
    if adjustment == SPARED {
        return None;
    }
    let pages = footprint(process) / PAGE_SIZE;
    Some(pages as i64 + i64::from(adjustment) * memory_stats().total_frames as i64 / 1000)
}

#[cfg(test)]
mod tests {
    use alloc::sync::Weak;

    use isopod_fs::file::{OpenFile, OpenFlags};

    use super::*;
    use crate::mm::FaultKind;
    use crate::{kernel, process, testing};

    fn enlisted(pid: Option<u32>) -> Arc<Thread> {
        let thread = pid.map_or_else(testing::thread, |pid| testing::numbered(pid, Weak::new()));
        process::enlist(&thread);
        thread
    }

    fn touch(thread: &Thread, pages: usize) {
        const PLACE: usize = 0x20_0000;
        let memory = testing::map_pages(thread, PLACE, pages);
        (0..pages).for_each(|page| memory.fault(PLACE + page * PAGE_SIZE, FaultKind::Write).unwrap());
    }

    fn open(thread: &Thread) -> Arc<OpenFile> {
        let file = OpenFile::anonymous(kernel::root(), OpenFlags::empty(), None).unwrap();
        thread.files().insert(Arc::clone(&file), false, 0, 1 << 20).unwrap();
        file
    }

    fn chosen() -> u32 {
        choose().unwrap().pid
    }

    #[test]
    fn what_the_kernel_holds_for_files_counts() {
        let [opener, idle] = core::array::from_fn(|_| enlisted(None));
        touch(&idle, 4);
        touch(&opener, 1);
        assert_eq!(chosen(), idle.tid());
        (0..500).for_each(|_| drop(open(&opener)));
        assert_eq!(chosen(), opener.tid());
    }

    #[test]
    fn files_that_others_have_open_do_not_come_back() {
        let [parent, child] = core::array::from_fn(|_| enlisted(None));
        let before = footprint(child.process());
        for _ in 0..500 {
            child.files().insert(open(&parent), false, 0, 1 << 20).unwrap();
        }
        let entries = footprint(child.process()) - before;
        assert!(entries < 500 * size_of::<OpenFile>(), "{entries}");
        parent.files().take_where(0..=400, |_| true);
        while parent.files().take_where(0..=usize::MAX, |_| true).is_some() {}
        assert_eq!(footprint(child.process()) - before, entries + 500 * size_of::<OpenFile>());
    }

    #[test]
    fn page_tables_count() {
        let [sparse, dense] = core::array::from_fn(|_| enlisted(None));
        touch(&dense, 4);
        for part in 1..=4 {
            let at = part << 30;
            testing::map_pages(&sparse, at, 1).fault(at, FaultKind::Write).unwrap();
        }
        assert_eq!(chosen(), sparse.tid());
    }

    #[test]
    fn the_first_process_ends_only_if_it_has_most_of_all() {
        let first = enlisted(Some(1));
        assert_eq!(chosen(), 1);
        let others: [_; 2] = core::array::from_fn(|_| enlisted(None));
        for other in &others {
            touch(other, 20);
        }
        touch(&first, 30);
        assert_eq!(chosen(), others[1].tid());
        // Its adjustment counts, as in a container.
        first.process().oom_score_adj.store(1000, Ordering::Relaxed);
        assert_eq!(chosen(), 1);
        // Who is spared comes after it, and it comes after those if it is spared itself.
        first.process().oom_score_adj.store(0, Ordering::Relaxed);
        for other in &others {
            other.process().oom_score_adj.store(-1000, Ordering::Relaxed);
        }
        assert_eq!(chosen(), 1);
        first.process().oom_score_adj.store(-1000, Ordering::Relaxed);
        assert_eq!(chosen(), others[1].tid());
    }
}
