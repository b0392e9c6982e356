//! `--init`: a process 1 that is the kernel's own. It has no program and no memory: it passes on the signals that it gets, takes in orphans,
//! and ends as the application does, which is its child (as `docker run --init`, whose program is tini).

use alloc::sync::{Arc, Weak};
use core::sync::atomic::Ordering::Relaxed;

use isopod_fs::Errno;

use super::first::new_process;
use super::{Change, Process, Thread, WaitFor, exit, family, pids, run};
use crate::mm::AddressSpace;
use crate::signal::{self, SI_USER, SigInfo, SigSet, Signal, send_to_process};

/// What `ps` shows it as, in brackets, for there is no command line.
const NAME: &[u8] = b"isopod-init";

/// Signals that it does not pass on when they come from inside: those of faults and of terminals, which can only be meant for itself, as tini
/// has it; and SIGCHLD.
const OWN: SigSet = SigSet::SYNCHRONOUS
    .union(SigSet::only(Signal::ABRT))
    .union(SigSet::only(Signal::TTIN))
    .union(SigSet::only(Signal::TTOU))
    .union(SigSet::only(Signal::CHLD));

/// All others wait until they are passed on, or the first process would throw them away.
const PASSED_ON: SigSet = SigSet::from_bits(!0).difference(OWN);

/// Makes the first process, which does nothing before [`start`].
pub(super) fn new() -> Result<Arc<Thread>, Errno> {
    let thread = new_process(Weak::new(), AddressSpace::none().map_err(|_| Errno::ENOMEM)?, 0)?;
    thread.set_name(NAME);
    thread.set_mask(PASSED_ON);
    thread.signals.lock().awaited = PASSED_ON;
    // It has nothing that could be won back.
    thread.process().oom_score_adj.store(-1000, Relaxed);
    Ok(thread)
}

/// Makes `application`, which has not started, the child of `init`. It leads a session of its own, as it does without `--init`.
pub(super) fn adopt(init: &Thread, application: &Arc<Process>) {
    application.group.store(application.pid, Relaxed);
    application.session.store(application.pid, Relaxed);
    application.set_parent(init.process());
    let _families = family::hold();
    family::enter(application);
}

/// Starts it. It ends with `application`.
pub(super) fn start(thread: &Arc<Thread>, application: Arc<Process>) {
    pids::register(thread);
    run::spawn(thread, live(Arc::clone(thread), application));
}

async fn live(thread: Arc<Thread>, application: Arc<Process>) {
    let process = thread.process();
    let status = process.child_changed.until(|| {
        pass_on(&thread, &application);
        // reboot(2) ends it, too.
        if thread.must_end() { Some(0) } else { reap(process, &application) }
    });
    let status = status.await;
    exit::finish(thread, status).await;
}

/// Passes on the signals that have come.
fn pass_on(thread: &Thread, application: &Process) {
    while let Some((signal, _)) = signal::take(thread, SigSet::from_bits(!0)) {
        // Of real-time signals only so many can wait, whoever sends them.
        let _ = send_to_process(application, signal, SigInfo::user(signal, SI_USER, thread.tid(), 0));
    }
}

/// Lets go of the children that have ended; the status of `application`, if it is among them.
fn reap(process: &Process, application: &Arc<Process>) -> Option<u8> {
    let ended = WaitFor::any_end();
    while let Ok(Some(found)) = ended.look(process) {
        if let Change::Ended(status) = found.change
            && Arc::ptr_eq(&found.child, application)
        {
            return Some(status.code());
        }
    }
    None
}
