//! Sending signals.

use isopod_fs::Errno;

use super::action::DefaultEffect;
use super::{Disposition, PendingSignals, SI_USER, SigInfo, SigSet, Signal};
use crate::process::{Account, Change, Process, Resource, Thread, kill_process, report_job};
use crate::{kernel, trace};

/// How many signals are queued for each real user's processes (`RLIMIT_SIGPENDING`), and POSIX timers, which will need one each.
pub static QUEUED: Account = Account::new();

/// Sends a signal to a process: the first of its threads that does not block it will take it.
/// `EAGAIN` when too many real-time signals wait.
pub fn send_to_process(process: &Process, signal: Signal, info: SigInfo) -> Result<(), Errno> {
    send(process, None, signal, info, false)
}

/// Sends a signal to one thread. `EAGAIN` when too many real-time signals wait.
pub fn send_to_thread(thread: &Thread, signal: Signal, info: SigInfo) -> Result<(), Errno> {
    send(thread.process(), Some(thread), signal, info, false)
}

/// Sends the signal of a POSIX timer to `thread`, or else to the process. It has a place of its own in the queue, which was counted when the
/// timer was made, and so it also waits beside another of its number (`posixtimer_send_sigqueue`).
pub fn send_of_timer(process: &Process, thread: Option<&Thread>, signal: Signal, info: SigInfo) {
    // Nothing can be refused to it but memory, and then it is tried again at the timer's next expiry.
    let _ = send(process, thread, signal, info, true);
}

fn send(
    process: &Process,
    thread: Option<&Thread>,
    signal: Signal,
    info: SigInfo,
    reserved: bool,
) -> Result<(), Errno> {
    let first = process.first_thread();
    let Some(about) = thread.or(first.as_deref()) else { return Ok(()) };
    prepare(process, signal);
    if is_immune(about, signal, &info) || is_pointless(about, signal) {
        return Ok(());
    }
    with_pending(process, thread, |pending| {
        if reserved {
            return if pending.push(signal, info, None) { Ok(()) } else { Err(Errno::EAGAIN) };
        }
        // Of a standard signal one is enough.
        if !signal.is_real_time() && pending.set().contains(signal) {
            return Ok(());
        }
        // The kernel itself and kill(2) can send standard signals whatever the limit says (`__send_signal_locked`).
        let limited = signal.is_real_time() || info.code < SI_USER;
        let limit = if limited { limit(about) } else { u64::MAX };
        let queued = QUEUED
            .charge(about.identity().users.real, 1, limit)
            .is_some_and(|charge| pending.push(signal, info, Some(charge)));
        if queued {
            return Ok(());
        }
        if signal.is_real_time() && info.code != SI_USER {
            return Err(Errno::EAGAIN);
        }
        // It is sent all the same, but by whom and why is lost.
        pending.mark(signal);
        Ok(())
    })?;
    notice(process, thread, about, signal, &info);
    process.signalled.wake_all();
    Ok(())
}

/// Tells whoever is to take a signal that waits: `thread`, or else `first` or another thread of the process.
fn notice(process: &Process, thread: Option<&Thread>, first: &Thread, signal: Signal, info: &SigInfo) {
    let another;
    let taker = match thread {
        Some(thread) => thread,
        // Whichever thread is stopped must hear of it.
        None if signal == Signal::KILL => {
            return process.threads().for_each(|thread| thread.notice());
        }
        None if wants(first, SigSet::only(signal)) => first,
        None => {
            another = process.threads().find(|thread| wants(thread, SigSet::only(signal)));
            let Some(taker) = &another else { return };
            taker
        }
    };
    if is_fatal(taker, signal, info) {
        kill_process(process, signal);
    } else {
        taker.notice();
    }
}

/// True when the signal ends the process as soon as it is sent, whatever `taker` does: also while it waits for nothing but the child that
/// it made by vfork(2). One that dumps core is taken first, and so is one that a tracer is to see (`complete_signal`). SIGKILL is found by
/// those who wait for it. The first process has no default actions but for what the host sends, whichever of its threads takes the signal.
fn is_fatal(taker: &Thread, signal: Signal, info: &SigInfo) -> bool {
    let process = taker.process();
    signal != Signal::KILL
        && (process.pid != 1 || info.is_from_host())
        && signal.default_effect() == DefaultEffect::Terminate
        && taker.actions.lock().get(signal).disposition == Disposition::Default
        && !taker.signals.lock().mask.contains(signal)
        && !is_shown(taker, signal)
        && !process.job.is_stopped()
        && !taker.must_end()
}

/// How many signals may wait for the thread's user.
pub fn limit(thread: &Thread) -> u64 {
    thread.process().limits.lock().get(Resource::PendingSignals).soft
}

/// Calls `act` with the signals that wait for `thread`, or else for the process.
pub fn with_pending<T>(
    process: &Process,
    thread: Option<&Thread>,
    act: impl FnOnce(&mut PendingSignals) -> T,
) -> T {
    match thread {
        Some(thread) => act(&mut thread.signals.lock().pending),
        None => act(&mut process.pending.lock()),
    }
}

/// True when the thread goes on and takes any of the signals now: they are not blocked, or it waits for them.
fn wants(thread: &Thread, signals: SigSet) -> bool {
    let state = thread.signals.lock();
    !thread.must_end() && !signals.difference(state.mask.difference(state.awaited)).is_empty()
}

/// What `thread` will not take of `signals` any more, as it ends or has blocked them, and waits for the whole process, is for other threads
/// (`retarget_shared_pending`).
pub fn retarget(thread: &Thread, signals: SigSet) {
    let mut left = signals.intersection(thread.process().pending.lock().set());
    if left.is_empty() {
        return;
    }
    for other in thread.process().threads() {
        if !core::ptr::eq(&raw const *other, thread) && wants(&other, left) {
            other.notice();
            let state = other.signals.lock();
            left = left.intersection(state.mask.difference(state.awaited));
        }
    }
}

/// SIGCONT and the stopping signals cancel each other, whatever their dispositions (POSIX, "Signal Generation and Delivery").
fn prepare(process: &Process, signal: Signal) {
    let cancelled = match signal {
        Signal::CONT => SigSet::STOPPING,
        _ if SigSet::STOPPING.contains(signal) => SigSet::only(Signal::CONT),
        _ => return,
    };
    for other in cancelled.iter() {
        discard(process, other);
    }
    if signal == Signal::CONT && process.job.go_on() {
        process.continued.wake_all();
        trace::notice_stop(process);
        report_job(process, Change::Continued);
    }
}

/// Throws away every `signal` that waits for the process or one of its threads.
pub fn discard(process: &Process, signal: Signal) {
    process.pending.lock().discard(signal);
    for thread in process.threads() {
        thread.signals.lock().pending.discard(signal);
    }
}

/// Stops the process: all its threads, each as soon as it is about to go on with user code (`do_signal_stop`). Before the signal was taken SIGCONT
/// had come `continuations` times; if it has come since, nothing stops.
pub(super) fn stop(process: &Process, signal: Signal, continuations: u64) {
    if !process.job.stop(signal, continuations) {
        return;
    }
    trace::notice_stop(process);
    for thread in process.threads() {
        thread.notice();
    }
    report_job(process, Change::Stopped(signal));
}

/// True when the signal would be thrown away at once: it is ignored, nobody waits for it with it blocked, and no tracer wants to see it.
fn is_pointless(thread: &Thread, signal: Signal) -> bool {
    !is_shown(thread, signal)
        && !thread.signals.lock().mask.contains(signal)
        && thread.actions.lock().ignores(signal)
}

/// True for a signal that a tracer will see, whatever the thread does about it (`sig_ignored`), or that is printed.
fn is_shown(thread: &Thread, signal: Signal) -> bool {
    (thread.trace.is_traced() || kernel::tracing()) && signal != Signal::KILL
}

/// True for a signal from inside to the first process, which has no default actions (`pid_namespaces(7)`, "The namespace init process").
fn is_immune(thread: &Thread, signal: Signal, info: &SigInfo) -> bool {
    // A blocked signal waits all the same: the program may take it by sigwait(3) or signalfd(2), or catch it by then.
    thread.process().pid == 1
        && !is_shown(thread, signal)
        && !info.is_from_host()
        && !thread.signals.lock().mask.contains(signal)
        && thread.actions.lock().get(signal).disposition == Disposition::Default
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::{Limit, enlist};
    use crate::testing;
    use alloc::sync::{Arc, Weak};

    const USR1: SigSet = SigSet::only(Signal::USR1);
    const RT: Signal = Signal::RT_MIN;

    fn send_usr1(thread: &Thread) {
        send_to_process(thread.process(), Signal::USR1, SigInfo::kernel(Signal::USR1)).unwrap();
    }

    /// Clears the mark that every new thread has.
    fn settled(thread: Arc<Thread>) -> Arc<Thread> {
        thread.take_work();
        enlist(&thread);
        thread
    }

    /// A process of two threads that handle SIGUSR1.
    fn two() -> (Arc<Thread>, Arc<Thread>) {
        let first = settled(testing::thread());
        let action = super::super::Action { disposition: Disposition::Handler(1), ..Default::default() };
        first.actions.lock().set(Signal::USR1, action);
        let second = settled(testing::sibling(&first));
        (first, second)
    }

    #[test]
    fn the_first_process_is_ended_by_the_host_alone() {
        let first = settled(testing::numbered(1, Weak::new()));
        let second = settled(testing::sibling(&first));
        // It waits for the one that blocks it, and the other one is not to end by it either.
        first.set_mask(SigSet::only(Signal::TERM));
        send_to_process(first.process(), Signal::TERM, SigInfo::user(Signal::TERM, SI_USER, 7, 0)).unwrap();
        assert!(!first.must_end() && !second.must_end());
        assert!(second.is_interrupted());
        first.process().pending.lock().discard(Signal::TERM);
        send_to_process(first.process(), Signal::TERM, SigInfo::host(Signal::TERM)).unwrap();
        assert!(first.must_end() && second.must_end());
    }

    #[test]
    fn a_signal_of_the_process_is_one_threads_until_that_blocks_it() {
        let (first, second) = two();
        send_usr1(&first);
        assert!(first.is_interrupted() && !second.is_interrupted());
        first.set_mask(USR1);
        assert!(!first.is_interrupted() && second.is_interrupted());
    }

    #[test]
    fn a_signal_of_the_process_outlives_the_thread_that_was_to_take_it() {
        let (first, second) = two();
        second.take_work();
        send_usr1(&first);
        first.end();
        retarget(&first, SigSet::from_bits(!0));
        assert!(second.is_interrupted());
    }

    #[test]
    fn all_threads_stop_and_go_on() {
        let (first, second) = two();
        stop(first.process(), Signal::STOP, 0);
        assert!(first.is_interrupted() && second.is_interrupted());
        let mut waits = [&first, &second].map(|thread| testing::Task::new(thread.wait_for_continue()));
        assert!(waits.iter_mut().all(|wait| wait.poll().is_pending()));
        send_to_process(first.process(), Signal::CONT, SigInfo::kernel(Signal::CONT)).unwrap();
        assert!(waits.iter_mut().all(|wait| wait.wakes() > 0 && wait.poll().is_ready()));
    }

    #[test]
    fn the_limit_refuses_queued_signals_but_not_the_kernels() {
        let thread = settled(testing::thread());
        thread.set_mask(SigSet::from_bits(!0));
        let mut identity = (*thread.identity()).clone();
        identity.users.real = 70_003;
        thread.set_identity(identity);
        let process = thread.process();
        process.limits.lock().set(Resource::PendingSignals as usize, Limit { soft: 1, hard: 1 });
        let queue = |code| send_to_process(process, RT, SigInfo::user(RT, code, 5, 6));
        assert_eq!([queue(-1), queue(-1), queue(SI_USER)], [Ok(()), Err(Errno::EAGAIN), Ok(())]);
        send_usr1(&thread);
        let taken = [Signal::USR1, RT].map(|signal| {
            process.pending.lock().take(SigSet::only(signal)).map(|(_, info)| info.fields[0] as u32)
        });
        assert_eq!(taken, [Some(0), Some(5)]);
        assert_eq!(queue(-1), Ok(()));
    }
}
