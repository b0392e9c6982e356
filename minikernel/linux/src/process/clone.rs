//! clone(2): new threads, and, where their address space is their own, new processes.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use bitflags::bitflags;
use isopod_fs::Errno;

use super::run::start_child;
use super::{Ctx, Held, Process, Thread, allocate_pid, fork};
use crate::fail::Fail;
use crate::mm::UserPtr;
use crate::signal::{AlternateStack, Signal};
use crate::{memory_pressure, trace};

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
        /// Not traced, whoever traces the caller.
        const UNTRACED = 0x80_0000;
        /// The caller waits until the child ends or executes.
        const VFORK = 0x4000;
        /// The child's parent is the caller's.
        const PARENT = 0x8000;
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
        /// Namespaces of its own: cgroups, UTS, IPC, users, PIDs, network.
        const NEWCGROUP = 0x200_0000;
        /// See `NEWCGROUP`.
        const NEWUTS = 0x400_0000;
        /// See `NEWCGROUP`.
        const NEWIPC = 0x800_0000;
        /// See `NEWCGROUP`.
        const NEWUSER = 0x1000_0000;
        /// See `NEWCGROUP`.
        const NEWPID = 0x2000_0000;
        /// See `NEWCGROUP`.
        const NEWNET = 0x4000_0000;
        /// No effect.
        const DETACHED = 0x40_0000;
        /// Write the id to the child's memory.
        const CHILD_SETTID = 0x100_0000;
        /// All signal actions back to the default (clone3 only).
        const CLEAR_SIGHAND = 0x1_0000_0000;
        /// Begin in another control group (clone3 only).
        const INTO_CGROUP = 0x2_0000_0000;
        const _ = !0;
    }
}

impl CloneFlags {
    /// Every flag that asks for a namespace.
    pub const NAMESPACES: Self = Self::NEWNS
        .union(Self::NEWCGROUP)
        .union(Self::NEWUTS)
        .union(Self::NEWIPC)
        .union(Self::NEWUSER)
        .union(Self::NEWPID)
        .union(Self::NEWNET);
}

/// More than a new thread and its process take of the kernel's heap, in bytes.
const KERNEL_BYTES: usize = 32 << 10;

/// A new thread or process.
#[derive(Debug)]
pub struct CloneRequest {
    /// What it shares.
    pub flags: CloneFlags,
    /// What the parent of a new process gets at its end.
    pub exit_signal: Option<Signal>,
    /// Its stack pointer; 0 for the caller's.
    pub stack: usize,
    /// Where the parent's memory gets the id.
    pub parent_tid: UserPtr<u32>,
    /// Where the child's memory gets the id.
    pub child_tid: UserPtr<u32>,
    /// The base of its thread-local storage.
    pub tls: u64,
    /// Where the parent's memory gets a descriptor of the new process.
    pub pidfd: UserPtr<i32>,
}

/// Creates and starts a thread or a process; returns its id.
pub async fn clone(ctx: &mut Ctx, request: CloneRequest) -> Result<u32, Fail> {
    let flags = request.flags;
    check(ctx, flags)?;
    let mut user = ctx.user.try_clone().map_err(|_| Errno::ENOMEM)?;
    user.regs.rax = 0;
    if request.stack != 0 {
        user.regs.rsp = request.stack as u64;
    }
    if flags.contains(CloneFlags::SETTLS) && !user.set_fs_base(request.tls) {
        return Err(Errno::EPERM.into());
    }
    let charge = ctx.thread.charge_for_another()?;
    let tid = allocate_pid()?;
    let process = if flags.contains(CloneFlags::THREAD) {
        Arc::clone(ctx.thread.process())
    } else {
        fork::process(ctx, tid, flags, request.exit_signal).await?
    };
    // A program that gains rights must not share what it finds its files by (`check_unsafe_exec`).
    let shares = flags.contains(CloneFlags::FS) && !flags.contains(CloneFlags::THREAD);
    let held = if shares { Some(Held::wait(&ctx.thread).await?) } else { None };
    let thread = child(&ctx.thread, tid, Arc::clone(&process), flags)?;
    thread.charge.lock().replace(charge);
    let pidfd = if flags.contains(CloneFlags::PIDFD) {
        Some(fork::descriptor(ctx, &process, request.pidfd).await?)
    } else {
        None
    };
    // What fork has waited for may have used up the reserve.
    let ready = memory_pressure::afford(KERNEL_BYTES).map_err(Fail::from);
    if let Err(fail) = ready.and_then(|()| fork::enter(&ctx.thread, &process, &thread)) {
        if let Some(fd) = pidfd {
            drop(ctx.thread.files().remove(fd));
        }
        return Err(fail);
    }
    drop(held);
    // Once it is known, so that nobody gives all threads of the process others in between.
    thread.inherit_filters(&ctx.thread);
    if flags.contains(CloneFlags::PARENT_SETTID) {
        // As on Linux (`kernel_clone`, `schedule_tail`) a bad address is no error.
        let _ = ctx.memory.write(request.parent_tid, &tid).await;
    }
    if flags.contains(CloneFlags::CHILD_CLEARTID) {
        thread.clear_child_tid.store(request.child_tid.address(), Ordering::Relaxed);
    }
    let set_tid = flags.contains(CloneFlags::CHILD_SETTID).then_some(request.child_tid);
    if ctx.thread.trace.is_traced() && !flags.contains(CloneFlags::UNTRACED) {
        let kind = match request.exit_signal {
            _ if flags.contains(CloneFlags::VFORK) => trace::Event::Vfork,
            Some(Signal::CHLD) => trace::Event::Fork,
            _ => trace::Event::Clone,
        };
        let traced = trace::inherit(&ctx.thread, &thread, &mut user.regs.rflags, kind);
        start_child(&thread, user, set_tid);
        if traced {
            trace::child_of(ctx, tid, kind).await;
        }
    } else {
        start_child(&thread, user, set_tid);
    }
    if flags.contains(CloneFlags::VFORK) && !flags.contains(CloneFlags::THREAD) {
        process.wait_for_release(&ctx.thread).await;
        if ctx.thread.trace.is_traced() {
            trace::released(ctx, tid).await;
        }
    }
    Ok(tid)
}

/// Refuses flags that contradict each other, as `copy_process` does and in its order; and namespaces, since there is one of each.
fn check(ctx: &Ctx, flags: CloneFlags) -> Result<(), Errno> {
    let contradicts =
        |needs: CloneFlags, without: CloneFlags| flags.contains(needs) && !flags.contains(without);
    if flags.contains(CloneFlags::SIGHAND | CloneFlags::CLEAR_SIGHAND)
        || flags.contains(CloneFlags::FS | CloneFlags::NEWNS)
        || flags.contains(CloneFlags::FS | CloneFlags::NEWUSER)
        || contradicts(CloneFlags::THREAD, CloneFlags::SIGHAND)
        || contradicts(CloneFlags::SIGHAND, CloneFlags::VM)
        || flags.contains(CloneFlags::PARENT) && ctx.thread.process().pid == 1
        || flags.contains(CloneFlags::THREAD)
            && flags.intersects(CloneFlags::NEWUSER | CloneFlags::NEWPID | CloneFlags::PIDFD)
    {
        return Err(Errno::EINVAL);
    }
    // As in a container that may not make any.
    if flags.intersects(CloneFlags::NAMESPACES) {
        return Err(Errno::EPERM);
    }
    Ok(())
}

/// The structures of a new thread of `process`, shared or copied as the flags say.
fn child(
    parent: &Arc<Thread>,
    tid: u32,
    process: Arc<Process>,
    flags: CloneFlags,
) -> Result<Arc<Thread>, Errno> {
    let files = parent.files();
    let fs = parent.fs();
    let actions = Arc::clone(&parent.actions.lock());
    let thread = Thread::new(
        Some(parent),
        tid,
        process,
        if flags.contains(CloneFlags::FILES) { files } else { Arc::new(files.duplicate()?) },
        if flags.contains(CloneFlags::FS) { fs } else { Arc::new(fs.duplicate()) },
        if flags.contains(CloneFlags::SIGHAND) { actions } else { Arc::new(actions.duplicate()) },
        parent.identity(),
    );
    if flags.contains(CloneFlags::CLEAR_SIGHAND) {
        thread.actions.lock().reset_handlers();
    }
    if !flags.contains(CloneFlags::VM) {
        thread.rseq.register(parent.rseq.registration());
    }
    thread.set_name(&parent.name());
    let (mask, stack) = {
        let signals = parent.signals.lock();
        (signals.mask, signals.stack)
    };
    let mut signals = thread.signals.lock();
    signals.mask = mask;
    // One who runs beside its maker in the same memory starts without an alternate stack (sigaltstack(2)).
    let beside = flags.contains(CloneFlags::VM) && !flags.contains(CloneFlags::VFORK);
    signals.stack = if beside { AlternateStack::default() } else { stack };
    drop(signals);
    Ok(thread)
}
