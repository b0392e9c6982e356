//! The end of threads and processes.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use super::{ExitStatus, Process, Thread, family, pids};
use crate::ipc::sysv::semaphores;
use crate::mm::AddressSpace;
use crate::signal::{SigSet, Signal, retarget};
use crate::syscall::print;
use crate::{futex, kernel, trace, tty};

/// Ends the whole process with `status` (`exit_group(2)`): every thread leaves at its next return to user code or wait.
pub fn exit_group(process: &Process, status: ExitStatus) {
    process.begin_end(status);
    for thread in process.threads() {
        thread.notice();
    }
}

/// Ends the process as `signal` does by default.
pub fn kill_process(process: &Process, signal: Signal) {
    exit_group(process, ExitStatus::Killed(signal));
}

/// What a thread does last: lets go of its robust futexes, tells who joins it, closes files, and ends the process if it was the last.
/// `code` is the argument of its own `exit(2)`.
pub(super) async fn finish(thread: Arc<Thread>, code: u8) {
    let process = Arc::clone(thread.process());
    let memory = process.memory();
    futex::release_robust(&thread, &memory).await;
    pids::forget_thread(thread.tid());
    futex::release_claimed(&thread);
    // In a process that ends as a whole nobody is left to join it, unless another shares its memory.
    if !process.is_ending() || memory.is_shared() {
        let address = thread.clear_child_tid.load(Ordering::Relaxed);
        if address != 0 {
            futex::clear_and_wake(&memory, address).await;
        }
    }
    let last = process.leave(&thread);
    let status = process.end_status().unwrap_or(ExitStatus::Exited(code));
    trace::end_of_thread(&thread, status);
    if kernel::tracing() {
        print::end(&thread, status);
    }
    if last && process.pid == 1 {
        // The machine ends with the first process: nothing of it need be given back.
        process.finish(code);
        return core::future::pending().await;
    }
    retarget(&thread, SigSet::from_bits(!0));
    if !last {
        family::hand_on_children(&thread);
    }
    if last {
        semaphores::undo_all(process.pid);
        close_all(&thread);
    }
    // The last reference to the file table closes the files, whose work may wait for nothing: it happens before the status is seen.
    let files = core::mem::take(&mut *thread.files.lock());
    drop(files);
    // Whoever exits waits for no peer (`inet_release`).
    let lingering = thread.lingering.lock().take();
    drop(lingering);
    if last {
        trace::detach_all(&process);
        process.timers.clear();
        // Its file may be written to again.
        let executable = process.executable.lock().take();
        drop(executable);
        tty::leave_session(&process);
        process.last_uid.store(thread.identity().users.real, Ordering::Relaxed);
        process.resident_peak.store(memory.report().resident_peak, Ordering::Relaxed);
        drop(memory);
        if let Ok(none) = AddressSpace::none() {
            process.replace_memory(none).release().await;
        }
        family::dissolve(&process, code);
    }
}

/// Has the process close all its descriptors, whoever else has the files open: what is its own about them ends with it.
fn close_all(thread: &Thread) {
    let files = thread.files();
    for number in files.numbers() {
        if let Ok(file) = files.get(number) {
            file.closed_by(thread.process().pid);
        }
    }
}
