//! clone(2): new threads, and, where their address space is their own, new processes.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use bitflags::bitflags;
use isopod_fs::Errno;

use super::{Ctx, Thread, allocate_pid, start};
use crate::mm::UserPtr;
use crate::signal::AlternateStack;

bitflags! {
    /// `CLONE_` flags.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct CloneFlags: u64 {
        /// Share the address space.
        const VM = 0x100;
        /// Share root, working directory and umask.
        const FS = 0x200;
        /// Share the file table.
        const FILES = 0x400;
        /// Share the signal actions.
        const SIGHAND = 0x800;
        /// Give back a file descriptor that refers to the process.
        const PIDFD = 0x1000;
        /// The caller waits until the child ends or executes.
        const VFORK = 0x4000;
        /// A thread of the same process.
        const THREAD = 0x1_0000;
        /// Share System V semaphore adjustments.
        const SYSVSEM = 0x4_0000;
        /// Set the thread-local storage.
        const SETTLS = 0x8_0000;
        /// Write the id to the parent's memory.
        const PARENT_SETTID = 0x10_0000;
        /// Clear the id in the child's memory when it ends.
        const CHILD_CLEARTID = 0x20_0000;
        /// A mount namespace of its own.
        const NEWNS = 0x2_0000;
        /// No effect.
        const DETACHED = 0x40_0000;
        /// Write the id to the child's memory.
        const CHILD_SETTID = 0x100_0000;
        /// All signal actions back to the default (clone3 only).
        const CLEAR_SIGHAND = 0x1_0000_0000;
        const _ = !0;
    }
}

/// What every thread of a process shares with the others, as `pthread_create(3)` asks for it.
const SHARED_BY_THREADS: CloneFlags = CloneFlags::VM.union(CloneFlags::SIGHAND).union(CloneFlags::THREAD);

/// A new thread.
#[derive(Debug)]
pub struct CloneRequest {
    /// What it shares.
    pub flags: CloneFlags,
    /// Its stack pointer; 0 for the caller's.
    pub stack: usize,
    /// Where the parent's memory gets the id.
    pub parent_tid: UserPtr<u32>,
    /// Where the child's memory gets the id.
    pub child_tid: UserPtr<u32>,
    /// The base of its thread-local storage.
    pub tls: u64,
}

/// Creates and starts a thread; returns its id.
pub async fn clone(ctx: &mut Ctx, request: CloneRequest) -> Result<u32, Errno> {
    let flags = request.flags;
    let contradicts =
        |needs: CloneFlags, without: CloneFlags| flags.contains(needs) && !flags.contains(without);
    if contradicts(CloneFlags::SIGHAND, CloneFlags::VM)
        || contradicts(CloneFlags::THREAD, CloneFlags::SIGHAND)
        || flags.contains(CloneFlags::SIGHAND | CloneFlags::CLEAR_SIGHAND)
        || flags.contains(CloneFlags::FS | CloneFlags::NEWNS)
    {
        return Err(Errno::EINVAL);
    }
    if !flags.contains(SHARED_BY_THREADS) || flags.contains(CloneFlags::PIDFD) {
        // A second process: its structures are here, its life (wait, exit status, adoption) is not yet.
        return Err(Errno::ENOSYS);
    }
    let mut user = ctx.user.try_clone().map_err(|_| Errno::ENOMEM)?;
    user.regs.rax = 0;
    if request.stack != 0 {
        user.regs.rsp = request.stack as u64;
    }
    if flags.contains(CloneFlags::SETTLS) && !user.set_fs_base(request.tls) {
        return Err(Errno::EPERM);
    }
    let tid = allocate_pid()?;
    let thread = child(&ctx.thread, tid, flags)?;
    thread.process().enter(Arc::clone(&thread))?;
    for (flag, address) in
        [(CloneFlags::PARENT_SETTID, request.parent_tid), (CloneFlags::CHILD_SETTID, request.child_tid)]
    {
        if flags.contains(flag) {
            // The thread is there already: as on Linux (`kernel_clone`, `schedule_tail`) a bad address is no error.
            let _ = ctx.memory.write(address, &tid).await;
        }
    }
    if flags.contains(CloneFlags::CHILD_CLEARTID) {
        thread.clear_child_tid.store(request.child_tid.address(), Ordering::Relaxed);
    }
    start(&thread, user);
    Ok(tid)
}

/// The structures of a new thread of the same process, shared or copied as the flags say.
fn child(parent: &Arc<Thread>, tid: u32, flags: CloneFlags) -> Result<Arc<Thread>, Errno> {
    let files = parent.files();
    let fs = parent.fs();
    let actions = Arc::clone(&parent.actions.lock());
    let thread = Thread::new(
        Some(parent),
        tid,
        Arc::clone(parent.process()),
        if flags.contains(CloneFlags::FILES) { files } else { Arc::new(files.duplicate()?) },
        if flags.contains(CloneFlags::FS) { fs } else { Arc::new(fs.duplicate()) },
        actions,
        parent.identity(),
    );
    thread.set_name(&parent.name());
    let mut signals = thread.signals.lock();
    signals.mask = parent.signals.lock().mask;
    // A thread starts without an alternate stack (sigaltstack(2)).
    signals.stack = AlternateStack::default();
    drop(signals);
    Ok(thread)
}
