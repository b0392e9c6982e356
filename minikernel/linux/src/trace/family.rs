//! Tracers and their tracees: who finds whom, and who is told of what.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::iter;
use core::sync::atomic::Ordering::Relaxed;

use isopod_fs::Errno;
use isopod_hal::sync::atomic::Ordering;
use isopod_hal::user::UserContext;

use super::stop::TRAP_FLAG;
use super::{Event, Options, Resume, Tracee};
use crate::kernel;
use crate::process::{Change, ExitStatus, Found, Process, Thread, WaitFor, hold_families, tell_of_child};
use crate::signal::{SI_USER, SigInfo, Signal, send_to_process, send_to_thread};
use crate::syscall::watch::TRACED;

/// Makes `tracer` the tracer of `thread`. `EPERM` when it has one, or one of them ends.
fn link(thread: &Arc<Thread>, tracer: &Arc<Process>, seized: bool, options: Options) -> Result<(), Errno> {
    let user = UserContext::new(0, 0).map_err(|_| Errno::ENOMEM)?;
    let mut tracees = tracer.tracees.lock();
    // Without a thread it has let go of its tracees, or is about to: nobody would let go of one that comes later.
    if tracer.thread_count() == 0 {
        return Err(Errno::EPERM);
    }
    let mut state = thread.trace.state.lock();
    if thread.trace.is_traced() || thread.must_end() {
        return Err(Errno::EPERM);
    }
    let place = tracees.range(..).next_back().map_or(0, |(place, _)| place + 1);
    let fresh = Tracee {
        tracer: Arc::downgrade(tracer),
        options,
        seized,
        resume: Resume::Continue,
        signal: None,
        interrupt: false,
        joined: 0,
        stop: None,
        message: 0,
        user,
        call: 0,
        parked: false,
        forced_trap: false,
        shown: None,
        ended: None,
    };
    match state.as_deref_mut() {
        // It was let go by another tracer, and has not yet taken its registers back.
        Some(old) => {
            let Tracee { user, parked, .. } = core::mem::replace(old, fresh);
            (old.user, old.parked) = (user, parked);
        }
        None => *state = Some(Box::new(fresh)),
    }
    thread.trace.traced.store(true, Ordering::Release);
    kernel::watch();
    tracees.insert(place, Arc::clone(thread));
    drop(state);
    drop(tracees);
    if thread.tid() == thread.process().pid {
        *thread.process().tracer.lock() = Arc::downgrade(tracer);
    }
    Ok(())
}

/// Starts to trace `thread`.
pub fn attach(
    thread: &Arc<Thread>,
    tracer: &Arc<Process>,
    seized: bool,
    options: Options,
) -> Result<(), Errno> {
    link(thread, tracer, seized, options)?;
    // One that waits for SIGCONT waits for its tracer from now on.
    thread.process().continued.wake_all();
    thread.notice();
    Ok(())
}

/// Has the new thread `child`, which does not run yet, traced as its maker is, if the tracer wants to hear of such children; it stops first of
/// all. True when it wants to. The child does not run one instruction at a time, as its maker may.
pub fn inherit(maker: &Thread, child: &Arc<Thread>, flags: &mut u64, kind: Event) -> bool {
    let known = maker.trace.with(|tracee| {
        if tracee.forced_trap {
            *flags &= !TRAP_FLAG;
        }
        let wanted = tracee.options.bits() & 1 << kind as u32 != 0;
        (wanted, tracee.seized, tracee.options)
    });
    let (Some((true, seized, options)), Some(tracer)) = (known, maker.trace.tracer()) else { return false };
    // Without memory it runs untraced, of which the tracer's next request tells.
    if link(child, &tracer, seized, options).is_err() {
        return true;
    }
    if seized {
        let _ = child.trace.running(|tracee| tracee.interrupt = true);
    } else {
        let _ = send_to_thread(child, Signal::STOP, SigInfo::user(Signal::STOP, SI_USER, 0, 0));
    }
    true
}

/// Lets a thread go, while families are held; its registers are its own again when it runs.
fn unlink(thread: &Arc<Thread>) {
    {
        let mut state = thread.trace.state.lock();
        thread.trace.traced.store(false, Ordering::Release);
        match state.as_deref_mut() {
            Some(tracee) if tracee.parked => {
                tracee.stop = None;
                tracee.resume = Resume::Continue;
            }
            _ => {
                let gone = state.take();
                drop(state);
                drop(gone);
            }
        }
    }
    thread.watched.fetch_and(!TRACED, Relaxed);
    thread.trace.resumed.wake_all();
    thread.notice();
    let process = thread.process();
    if thread.tid() == process.pid {
        *process.tracer.lock() = alloc::sync::Weak::new();
        // Who waits for it has not been told of an end that its tracer was to know first.
        if let (Some(_), Some(parent)) = (process.status(), process.parent.lock().upgrade()) {
            tell_of_child(&parent, process);
        }
    }
}

/// Takes `thread` from the tracees of `tracer`. False when it was none of them.
fn take(tracer: &Process, thread: &Arc<Thread>) -> bool {
    let mut tracees = tracer.tracees.lock();
    let found = tracees.range(..).find(|(_, tracee)| Arc::ptr_eq(tracee, thread)).map(|(place, _)| *place);
    let gone = found.and_then(|place| tracees.remove(&place));
    drop(tracees);
    gone.is_some()
}

/// `PTRACE_DETACH`
pub fn detach(tracer: &Process, thread: &Arc<Thread>, signal: Option<Signal>) -> Result<(), Errno> {
    thread.trace.stopped(|tracee| {
        tracee.signal = signal;
        Ok(())
    })?;
    let _families = hold_families();
    if take(tracer, thread) {
        unlink(thread);
    }
    Ok(())
}

/// The tracer ends: its tracees are free, or end with it.
pub fn detach_all(tracer: &Process) {
    let tracees = core::mem::take(&mut *tracer.tracees.lock());
    if tracees.is_empty() {
        return;
    }
    let _families = hold_families();
    for thread in tracees.into_values() {
        if thread.trace.with(|tracee| tracee.options.contains(Options::EXITKILL)) == Some(true) {
            let _ = send_to_thread(&thread, Signal::KILL, SigInfo::kernel(Signal::KILL));
        }
        unlink(&thread);
    }
}

/// Tells the tracer of `thread` that it has stopped with `code`.
pub(super) fn tell(thread: &Thread, code: u32) {
    if let Some(tracer) = thread.trace.tracer() {
        let user = thread.identity().users.real;
        tell_of(&tracer, SigInfo::child(Signal::CHLD, thread.tid(), user, Change::Trapped(code)));
    }
}

fn tell_of(tracer: &Arc<Process>, info: SigInfo) {
    if tracer.wants_child_stops() {
        let _ = send_to_process(tracer, Signal::CHLD, info);
    }
    tracer.child_changed.wake_all();
}

/// A thread that is not its process's first has ended.
pub fn end_of_thread(thread: &Thread, status: ExitStatus) {
    let Some(tracer) = thread.trace.tracer() else { return };
    if thread.tid() != thread.process().pid {
        let _ = thread.trace.with(|tracee| tracee.ended = Some(status));
        let user = thread.identity().users.real;
        tell_of(&tracer, SigInfo::child(Signal::CHLD, thread.tid(), user, Change::Ended(status)));
    }
}

/// A process has ended whose first thread is traced: true when its tracer, who is not its parent, is to know before that.
pub fn end_of_process(process: &Arc<Process>, status: ExitStatus) -> bool {
    let Some(tracer) = process.tracer.lock().upgrade() else { return false };
    let parent = process.parent.lock().upgrade();
    if parent.is_some_and(|parent| Arc::ptr_eq(&parent, &tracer)) {
        return false;
    }
    let leader = tracer.tracees.lock().values().find(|thread| thread.tid() == process.pid).cloned();
    let Some(leader) = leader else { return false };
    let _ = leader.trace.with(|tracee| tracee.ended = Some(status));
    tell_of(&tracer, SigInfo::child(Signal::CHLD, process.pid, process.real_uid(), Change::Ended(status)));
    true
}

/// A child that was waited for is nobody's tracee any more.
pub fn forget(process: &Process) {
    let Some(tracer) = process.tracer.lock().upgrade() else { return };
    tracer.tracees.lock().retain(|thread| !core::ptr::eq(&raw const **thread.process(), process));
}

/// `thread`, which is not its process's first, is about to be: what traced that one, if it was traced, is over.
pub fn replace_leader(thread: &Thread) {
    let process = thread.process();
    if let Some(tracer) = process.tracer.lock().upgrade() {
        let is_leader =
            |other: &Arc<Thread>| Arc::ptr_eq(other.process(), process) && other.tid() == process.pid;
        tracer.tracees.lock().retain(|other| !is_leader(other));
    }
    let tracer = thread.trace.tracer().map_or_else(alloc::sync::Weak::new, |tracer| Arc::downgrade(&tracer));
    *process.tracer.lock() = tracer;
}

/// The tracees of `tracer`, each looked for when it is its turn.
fn tracees(tracer: &Process) -> impl Iterator<Item = Arc<Thread>> {
    let mut from = 0;
    iter::from_fn(move || {
        let tracees = tracer.tracees.lock();
        let (place, thread) = tracees.range(from..).next()?;
        from = place + 1;
        Some(Arc::clone(thread))
    })
}

/// A tracee of `tracer` that has something to tell. `any` is set when there is one that is meant.
pub fn look(wanted: &WaitFor, tracer: &Process, any: &mut bool) -> Option<Found> {
    for thread in tracees(tracer).filter(|thread| wanted.means(thread.tid(), thread.process())) {
        *any = true;
        let change = thread.trace.with(|tracee| match (tracee.ended, &mut tracee.stop) {
            (Some(status), _) => wanted.exited.then_some(Change::Ended(status)),
            (None, Some(stop)) if !stop.told && !stop.listening => {
                stop.told = !wanted.keep;
                Some(Change::Trapped(stop.code))
            }
            _ => None,
        });
        let Some(Some(change)) = change else { continue };
        let (id, child) = (thread.tid(), Arc::clone(thread.process()));
        if matches!(change, Change::Ended(_)) && !wanted.keep && take(tracer, &thread) {
            unlink(&thread);
        }
        return Some(Found { id, child, change });
    }
    None
}
