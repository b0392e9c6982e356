//! Sending signals.

use core::sync::atomic::Ordering;

use isopod_fs::Errno;

use super::{Disposition, SigInfo, SigSet, Signal};
use crate::process::{Process, Thread};

/// Sends a signal to a process: the first of its threads that does not block it will take it.
/// `EAGAIN` when too many real-time signals wait.
pub fn send_to_process(process: &Process, signal: Signal, info: SigInfo) -> Result<(), Errno> {
    let threads = process.threads();
    let Some(first) = threads.first() else { return Ok(()) };
    if is_immune(first, signal, &info) {
        return Ok(());
    }
    prepare(process, signal);
    if is_pointless(first, signal) {
        return Ok(());
    }
    if !process.pending.lock().push(signal, info) {
        return Err(Errno::EAGAIN);
    }
    let takes_it = |thread: &&alloc::sync::Arc<Thread>| {
        let signals = thread.signals.lock();
        signals.awaited.contains(signal) || !signals.mask.contains(signal)
    };
    if signal == Signal::KILL {
        // Whichever thread is stopped must hear of it.
        for thread in &threads {
            thread.kick();
        }
    } else if let Some(thread) = threads.iter().find(takes_it) {
        thread.kick();
    }
    process.signalled.wake_all();
    Ok(())
}

/// Sends a signal to one thread. `EAGAIN` when too many real-time signals wait.
pub fn send_to_thread(thread: &Thread, signal: Signal, info: SigInfo) -> Result<(), Errno> {
    if is_immune(thread, signal, &info) {
        return Ok(());
    }
    prepare(thread.process(), signal);
    if is_pointless(thread, signal) {
        return Ok(());
    }
    if !thread.signals.lock().pending.push(signal, info) {
        return Err(Errno::EAGAIN);
    }
    thread.kick();
    thread.process().signalled.wake_all();
    Ok(())
}

/// SIGCONT and the stopping signals cancel each other, whatever their dispositions (POSIX, "Signal Generation and Delivery").
fn prepare(process: &Process, signal: Signal) {
    let cancelled = match signal {
        Signal::CONT => SigSet::STOPPING,
        _ if SigSet::STOPPING.contains(signal) => SigSet::only(Signal::CONT),
        _ => return,
    };
    if signal == Signal::CONT && process.stopped.swap(false, Ordering::AcqRel) {
        process.continued.wake_all();
    }
    for other in cancelled.iter() {
        process.pending.lock().discard(other);
        for thread in process.threads() {
            thread.signals.lock().pending.discard(other);
        }
    }
}

/// True when the signal would be thrown away at once: it is ignored and nobody waits for it with it blocked.
fn is_pointless(thread: &Thread, signal: Signal) -> bool {
    let blocked = thread.signals.lock().mask.contains(signal);
    let actions = alloc::sync::Arc::clone(&thread.actions.lock());
    !blocked && actions.ignores(signal)
}

/// True for a signal from inside to the first process, which has no default actions (`pid_namespaces(7)`, "The namespace init process").
fn is_immune(thread: &Thread, signal: Signal, info: &SigInfo) -> bool {
    let actions = alloc::sync::Arc::clone(&thread.actions.lock());
    // A blocked signal waits all the same: the program may take it by sigwait(3) or signalfd(2), or catch it by then.
    let blocked = thread.signals.lock().mask.contains(signal);
    thread.process().pid == 1
        && !blocked
        && !info.is_from_host()
        && actions.get(signal).disposition == Disposition::Default
}
