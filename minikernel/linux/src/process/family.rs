//! Parents and children: who learns of a process's end, and who takes in its children (wait(2), under "NOTES").

use alloc::sync::{Arc, Weak};
use core::sync::atomic::Ordering::Relaxed;

use isopod_hal::number_map::NumberMap;
use isopod_hal::sync::{SpinLock, SpinLockGuard};

use super::{Change, Process, Thread, pids};
use crate::signal::{ActionFlags, Disposition, SigInfo, Signal, send_to_process};
use crate::{trace, tty};

/// Who is whose child changes only under this lock, together with what follows from it: a parent that finds no child has none, and a child
/// that has ended is told of once. Taken before all other locks.
static FAMILIES: SpinLock<()> = SpinLock::new(());

/// Holds all families as they are.
pub(crate) fn hold() -> SpinLockGuard<'static, ()> {
    FAMILIES.lock()
}

/// Makes `child`, which nobody knows yet, a child of its parent. Families are held. One that has ended by now, as the maker's own may have (`CLONE_PARENT`), is
/// replaced by who takes in its children.
pub(super) fn enter(child: &Arc<Process>) {
    let Some(mut parent) = child.parent.lock().upgrade() else { return };
    if parent.status().is_some()
        && let Some(heir) = heir_of(&parent)
    {
        child.set_parent(&heir);
        parent = heir;
    }
    parent.children.lock().insert(child.pid.into(), Arc::clone(child));
}

/// Takes `child` out of its family and out of the table of processes: it was waited for, or nobody will. Families are held.
pub(super) fn forget(parent: &Process, child: &Arc<Process>) {
    let mut used = child.used();
    used.add(&child.children_used.lock());
    parent.children_used.lock().add(&used);
    let resident = child.resident_peak.load(Relaxed).max(child.children_resident_peak.load(Relaxed));
    parent.children_resident_peak.fetch_max(resident, Relaxed);
    let gone = parent.children.lock().remove(&child.pid.into());
    drop(gone);
    trace::forget(child);
    child.charge.lock().take();
    pids::forget_process(child.pid);
}

/// Ends a process, with the status that `code` stands for if nothing else has ended it: its children get another parent, then its own is told.
pub(super) fn dissolve(process: &Arc<Process>, code: u8) {
    let _families = hold();
    let parent = process.parent.lock().upgrade();
    // Whom it could have continued, its parent may not be able to, and nobody its children (POSIX, `_exit`).
    let mut groups = NumberMap::new();
    let mut remember = |process: &Process| {
        let group = process.group.load(Relaxed);
        groups.insert(group.into(), tty::Orphaned::Runs);
    };
    if parent.as_ref().is_some_and(|parent| tty::could_continue(parent, process)) {
        remember(process);
    }
    let continued = |child: &&Arc<Process>| tty::could_continue(process, child);
    process.children.lock().values().filter(continued).for_each(|child| remember(child));
    hand_over_children(process);
    if !groups.is_empty() {
        tty::hang_up_orphaned(&mut groups, process.session.load(Relaxed));
    }
    process.finish(code);
    let first_the_tracer = process.status().is_some_and(|status| trace::end_of_process(process, status));
    if let Some(parent) = parent
        && !first_the_tracer
    {
        tell_of_child(&parent, process);
    }
}

/// Makes the children that `thread` has made another thread's of its process, as it ends before that.
pub(super) fn hand_on_children(thread: &Thread) {
    let _families = hold();
    let process = thread.process();
    // Without one the process ends, and with it all that is told.
    let Some(heir) = process.first_thread() else { return };
    for child in process.children.lock().values() {
        if child.parent_thread.load(Relaxed) == thread.tid() {
            child.parent_thread.store(heir.tid(), Relaxed);
            tell_of_maker(child, process);
        }
    }
}

/// Tells `child` that the thread of `parent` that made it has ended, if it wants to know (`PR_SET_PDEATHSIG`).
fn tell_of_maker(child: &Process, parent: &Process) {
    for thread in child.threads() {
        if let Some(signal) = Signal::new(u32::from(thread.parent_death_signal.load(Relaxed))) {
            let info = SigInfo::user(signal, crate::signal::SI_USER, parent.pid, parent.real_uid());
            // Only queues of real-time signals can be full.
            let _ = send_to_process(child, signal, info);
        }
    }
}

/// Gives the children of `process` to the nearest ancestor that adopts orphans, at last to the first process.
fn hand_over_children(process: &Arc<Process>) {
    let children = core::mem::take(&mut *process.children.lock());
    if children.is_empty() {
        return;
    }
    let Some(heir) = heir_of(process) else { return };
    for child in children.into_values() {
        child.set_parent(&heir);
        child.exit_signal.lock().replace(Signal::CHLD);
        tell_of_maker(&child, process);
        heir.children.lock().insert(child.pid.into(), Arc::clone(&child));
        if child.status().is_some() && child.tracer.lock().upgrade().is_none() {
            tell_of_child(&heir, &child);
        }
    }
    // One that stops just now may have told the parent that it had.
    heir.child_changed.wake_all();
}

/// Who takes in the children of `process`.
fn heir_of(process: &Process) -> Option<Arc<Process>> {
    let mut ancestor = process.parent.lock().upgrade();
    while let Some(candidate) = ancestor {
        if candidate.pid == 1 || candidate.adopts_orphans.load(Relaxed) && !candidate.is_ending() {
            return Some(candidate);
        }
        ancestor = candidate.parent.lock().upgrade();
    }
    pids::find_process(1)
}

/// Tells `parent` that `child` has ended. Families are held. One that does not care for its children leaves no zombies.
pub(crate) fn tell_of_child(parent: &Arc<Process>, child: &Arc<Process>) {
    let signal = *child.exit_signal.lock();
    let action = parent.first_thread().map(|thread| thread.actions.lock().get(Signal::CHLD));
    let unwanted = signal == Some(Signal::CHLD)
        && action.is_some_and(|action| {
            action.disposition == Disposition::Ignore || action.flags.contains(ActionFlags::NO_CHILD_WAIT)
        });
    if let (Some(signal), Some(status)) = (signal, child.status()) {
        let _ = send_to_process(
            parent,
            signal,
            SigInfo::child(signal, child.pid, child.real_uid(), Change::Ended(status)),
        );
    }
    if unwanted {
        forget(parent, child);
    }
    parent.child_changed.wake_all();
}

/// Tells the parent that its child was stopped or goes on, as it can learn by waiting.
pub(crate) fn report_job(child: &Process, change: Change) {
    let Some(parent) = child.parent.lock().upgrade() else { return };
    let tracer = child.tracer.lock().upgrade();
    if tracer.is_some_and(|tracer| Arc::ptr_eq(&tracer, &parent)) {
        // It hears of it as the tracer.
        return;
    }
    if parent.wants_child_stops() {
        let info = SigInfo::child(Signal::CHLD, child.pid, child.real_uid(), change);
        let _ = send_to_process(&parent, Signal::CHLD, info);
    }
    parent.child_changed.wake_all();
}

/// The parent of a child that is made by `maker`: that one, or its own parent (`CLONE_PARENT`).
pub(super) fn parent_for(maker: &Arc<Process>, siblings: bool) -> Weak<Process> {
    if siblings { maker.parent.lock().clone() } else { Arc::downgrade(maker) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn many_children_are_handed_over_without_memory() {
        const MANY: usize = 2100;
        let heir = testing::thread();
        heir.process().adopts_orphans.store(true, Relaxed);
        let parent = testing::child(Arc::downgrade(heir.process()));
        let children: alloc::vec::Vec<_> =
            (0..MANY).map(|_| testing::child(Arc::downgrade(parent.process()))).collect();
        // Each in a group of its own, of which its parent's end may have to tell.
        for child in &children {
            child.process().group.store(child.tid(), Relaxed);
            enter(child.process());
        }
        let exhausted = isopod_hal::hosted::exhaust(128 << 10);
        dissolve(parent.process(), 0);
        drop(exhausted);
        assert_eq!(heir.process().children.lock().len(), MANY);
        assert!(children.iter().all(|child| child.process().parent_pid.load(Relaxed) == heir.tid()));
    }
}
