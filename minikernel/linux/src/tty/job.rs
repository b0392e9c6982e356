//! Job control: which session a terminal belongs to, and what only its foreground may do (`credentials(7)`, "Sessions").
//!
//! A process remembers its terminal, children inherit it, and it counts as long as the terminal knows the same session: a terminal
//! that forgets its session has thereby left every process of it.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use isopod_fs::{Capabilities, Errno, Result};
use isopod_hal::number_map::NumberMap;

use super::Terminal;
use crate::process::{self, Process, Thread};
use crate::signal::{SigInfo, Signal, send_to_process};

fn session_of(process: &Process) -> u32 {
    process.session.load(Ordering::Relaxed)
}

fn group_of(process: &Process) -> u32 {
    process.group.load(Ordering::Relaxed)
}

/// The controlling terminal of a process.
pub fn controlling(process: &Process) -> Option<Arc<Terminal>> {
    let terminal = process.terminal.lock().clone()?;
    let session = terminal.lock().session;
    (session != 0 && session == session_of(process)).then_some(terminal)
}

/// Whether `terminal` is the controlling terminal of `process`.
pub(super) fn controls(terminal: &Terminal, process: &Process) -> bool {
    controlling(process).is_some_and(|own| core::ptr::eq(&raw const *own, terminal))
}

/// Sends a signal to every process of a group. 0 is no group.
pub(super) fn signal_group(group: u32, signal: Signal) {
    let _groups = process::hold_groups();
    for process in process::processes() {
        if group != 0 && group_of(&process) == group {
            // Only queues of real-time signals can be full.
            let _ = send_to_process(&process, signal, SigInfo::kernel(signal));
        }
    }
}

/// Tells the leader of a session that its terminal was hung up. 0 is no session.
pub(super) fn tell_leader(session: u32) {
    if let Some(leader) = process::find_process(session) {
        for signal in [Signal::HUP, Signal::CONT] {
            let _ = send_to_process(&leader, signal, SigInfo::kernel(signal));
        }
    }
}

/// A process in the background may not go on with what `signal` stands for: its group is stopped, and the caller tries again
/// (`ERESTART`) when it has been continued. `EIO` where nobody could continue it, or where SIGTTIN would do nothing.
pub(super) fn check_foreground(terminal: &Terminal, signal: Signal) -> Result<()> {
    let Some(thread) = process::current() else { return Ok(()) };
    let process = thread.process();
    if !controls(terminal, process) {
        return Ok(());
    }
    let foreground = terminal.lock().foreground;
    let group = group_of(process);
    if foreground == 0 || foreground == group {
        return Ok(());
    }
    if does_nothing(&thread, signal) {
        return if signal == Signal::TTIN { Err(Errno::EIO.into()) } else { Ok(()) };
    }
    if is_in_orphaned_group(process) {
        return Err(Errno::EIO.into());
    }
    signal_group(group, signal);
    Err(Errno::ERESTART.into())
}

/// Whether the signal is blocked or ignored.
fn does_nothing(thread: &Thread, signal: Signal) -> bool {
    let actions = Arc::clone(&thread.actions.lock());
    thread.signals.lock().mask.contains(signal) || actions.ignores(signal)
}

/// Whether `process` runs and has a parent who could continue it.
fn is_kept(process: &Process) -> bool {
    let parent = process.parent.lock().upgrade();
    process.thread_count() != 0 && parent.is_some_and(|parent| could_continue(&parent, process))
}

/// Whether nobody could continue the process if the terminal stopped it: no member of its group has a parent in another group of the session.
pub fn is_in_orphaned_group(process: &Process) -> bool {
    let (group, session) = (group_of(process), session_of(process));
    !process::processes()
        .any(|other| group_of(&other) == group && session_of(&other) == session && is_kept(&other))
}

/// Whether `parent` is one who keeps the group of its child from being orphaned: of the same session and another group.
pub fn could_continue(parent: &Process, child: &Process) -> bool {
    group_of(parent) != group_of(child) && session_of(parent) == session_of(child)
}

/// What is known of a group that may be orphaned; a word, as a number's value must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Orphaned {
    /// Nobody could continue a member that the terminal stops, for all that is known.
    Runs,
    /// And one is stopped.
    Stopped,
    /// Somebody could.
    Not,
}

/// Tells those of `groups` whose last such parent has just gone, if a member is stopped: nobody else could continue it (POSIX, `_exit`).
pub fn hang_up_orphaned(groups: &mut NumberMap<Orphaned>, session: u32) {
    // Each process is looked at once, however many groups there are.
    for process in process::processes() {
        if let Some(group) = groups.get_mut(&group_of(&process).into()) {
            if session_of(&process) == session && is_kept(&process) {
                *group = Orphaned::Not;
            } else if *group == Orphaned::Runs && process.job.is_stopped() {
                *group = Orphaned::Stopped;
            }
        }
    }
    groups.retain(|group| *group == Orphaned::Stopped);
    if groups.is_empty() {
        return;
    }
    let _groups = process::hold_groups();
    for process in process::processes().filter(|process| groups.contains_key(&group_of(process).into())) {
        for signal in [Signal::HUP, Signal::CONT] {
            // As for a group.
            let _ = send_to_process(&process, signal, SigInfo::kernel(signal));
        }
    }
}

/// Whether the process leads its session.
fn leads(process: &Process) -> bool {
    session_of(process) == process.pid
}

/// Makes `terminal` the caller's controlling terminal if it leads a session without one and the terminal has no session: open(2)
/// without `O_NOCTTY`.
pub(super) fn acquire(terminal: &Arc<Terminal>) {
    if let Some(thread) = process::current()
        && leads(thread.process())
        && controlling(thread.process()).is_none()
    {
        set(terminal, thread.process(), 0);
    }
}

/// Makes `terminal`, if it still is that of the session `before`, the controlling terminal of the session that `process` leads. 0 is no session.
pub(super) fn set(terminal: &Arc<Terminal>, process: &Process, before: u32) {
    let mut state = terminal.lock();
    if state.session != before {
        return;
    }
    (state.session, state.foreground) = (session_of(process), group_of(process));
    drop(state);
    let old = process.terminal.lock().replace(Arc::clone(terminal));
    drop(old);
}

/// `TIOCSCTTY`: `EPERM` unless the caller leads a session without a terminal; `steal` takes one from another session.
pub(super) fn acquire_explicitly(terminal: &Arc<Terminal>, steal: bool, readable: bool) -> Result<usize> {
    let thread = process::current().ok_or(Errno::EPERM)?;
    let process = thread.process();
    let session = terminal.lock().session;
    if leads(process) && session == session_of(process) {
        return Ok(0);
    }
    let privileged = thread.identity().capable(Capabilities::SYS_ADMIN);
    if !leads(process)
        || controlling(process).is_some()
        || session != 0 && !(steal && privileged)
        || !readable && !privileged
    {
        return Err(Errno::EPERM.into());
    }
    set(terminal, process, session);
    Ok(0)
}

/// `TIOCNOTTY`: `ENOTTY` unless it is the caller's controlling terminal.
pub(super) fn give_up(terminal: &Terminal) -> Result<usize> {
    let thread = process::current().ok_or(Errno::ENOTTY)?;
    let process = thread.process();
    if !controls(terminal, process) {
        return Err(Errno::ENOTTY.into());
    }
    if leads(process) {
        signal_group(forget_session(terminal), Signal::CONT);
    }
    let own = process.terminal.lock().take();
    drop(own);
    Ok(0)
}

/// Takes the terminal from its session, whose foreground hears of it; returns that group.
fn forget_session(terminal: &Terminal) -> u32 {
    let mut state = terminal.lock();
    state.session = 0;
    let foreground = core::mem::take(&mut state.foreground);
    drop(state);
    signal_group(foreground, Signal::HUP);
    foreground
}

/// What the end of a process means to its terminal: when a leader ends, its session has none any more.
pub fn leave_session(process: &Process) {
    let Some(terminal) = process.terminal.lock().take() else { return };
    let session = terminal.lock().session;
    if !leads(process) || session != 0 && session != process.pid {
        return;
    }
    let foreground = forget_session(&terminal);
    if session == 0 {
        // It was hung up before: who is stopped in the foreground must hear of that, too.
        signal_group(foreground, Signal::CONT);
    }
}

/// `TIOCGPGRP`: the group in the foreground.
pub(super) fn foreground(terminal: &Terminal, master: bool) -> Result<u32> {
    let controls = process::current().is_some_and(|thread| controls(terminal, thread.process()));
    if master || controls { Ok(terminal.lock().foreground) } else { Err(Errno::ENOTTY.into()) }
}

/// `TIOCSPGRP`: puts a group of the caller's session into the foreground.
pub(super) fn set_foreground(terminal: &Terminal, group: i32) -> Result<()> {
    let thread = process::current().ok_or(Errno::ENOTTY)?;
    let session = session_of(thread.process());
    let group = u32::try_from(group).map_err(|_| Errno::EINVAL)?;
    let member = process::processes().find(|process| group_of(process) == group).ok_or(Errno::ESRCH)?;
    if session_of(&member) != session {
        return Err(Errno::EPERM.into());
    }
    terminal.lock().foreground = group;
    Ok(())
}
