//! The process half of clone(2): what a child has of its own, and how it becomes known.

use alloc::sync::Arc;
use core::sync::atomic::Ordering::Relaxed;

use isopod_fs::Errno;
use isopod_fs::file::OpenFlags;

use super::{CloneFlags, Ctx, Process, Resource, Thread, family, groups, pids};
use crate::fail::Fail;
use crate::ipc::pidfd;
use crate::mm::{AddressSpace, UserPtr};
use crate::signal::Signal;

/// A child of the caller's, not known to anybody yet.
pub(super) async fn process(
    ctx: &Ctx,
    pid: u32,
    flags: CloneFlags,
    exit_signal: Option<Signal>,
) -> Result<Arc<Process>, Errno> {
    let maker = ctx.thread.process();
    // Its end must not fail for want of memory.
    AddressSpace::none().map_err(|_| Errno::ENOMEM)?;
    let memory = if flags.contains(CloneFlags::VM) {
        Arc::clone(&ctx.memory)
    } else {
        ctx.memory.fork().await.map_err(|_| Errno::ENOMEM)?
    };
    let parent = family::parent_for(maker, flags.contains(CloneFlags::PARENT));
    let limits = maker.limits.lock().clone();
    let child = Process::new(pid, parent, memory, limits);
    let signal = if flags.contains(CloneFlags::PARENT) { *maker.exit_signal.lock() } else { exit_signal };
    *child.exit_signal.lock() = signal;
    let executable = maker.executable.lock().clone();
    *child.executable.lock() = executable;
    child.core_filter.store(maker.core_filter.load(Relaxed), Relaxed);
    child.dumpable.store(maker.dumpable.load(Relaxed), Relaxed);
    child.small_pages.store(maker.small_pages.load(Relaxed), Relaxed);
    child.oom_score_adj.store(maker.oom_score_adj.load(Relaxed), Relaxed);
    Ok(Arc::new(child))
}

/// Opens a descriptor of `process` and writes its number to `place` (`CLONE_PIDFD`).
pub(super) async fn descriptor(ctx: &Ctx, process: &Arc<Process>, place: UserPtr<i32>) -> Result<i32, Errno> {
    let file = pidfd::new_pidfd(process, OpenFlags::empty())?;
    let limit = ctx.thread.process().limits.lock().get(Resource::OpenFiles).soft;
    let fd = ctx.thread.files().insert(file, true, 0, limit)?;
    if let Err(errno) = ctx.memory.write(place, &fd).await {
        drop(ctx.thread.files().remove(fd));
        return Err(errno);
    }
    Ok(fd)
}

/// Makes a thread a thread of its process, and a new process, made by `maker`, a child of its parent. From here on it is there for everybody.
pub(super) fn enter(maker: &Thread, process: &Arc<Process>, thread: &Arc<Thread>) -> Result<(), Fail> {
    if thread.tid() != process.pid {
        process.enter(Arc::clone(thread))?;
        pids::register(thread);
        return Ok(());
    }
    let _families = family::hold();
    let _groups = groups::hold();
    // A signal to the caller's whole group must reach the child as well: what came meanwhile is dealt with first.
    if maker.is_interrupted() {
        return Err(Fail::RestartAlways);
    }
    // Whoever its parent is, it stays where its maker is.
    let of = maker.process();
    process.group.store(of.group.load(Relaxed), Relaxed);
    process.session.store(of.session.load(Relaxed), Relaxed);
    let terminal = of.terminal.lock().clone();
    *process.terminal.lock() = terminal;
    process.enter(Arc::clone(thread))?;
    let siblings = process.parent_pid.load(Relaxed) != of.pid;
    let parent_thread = if siblings { of.parent_thread.load(Relaxed) } else { maker.tid() };
    process.parent_thread.store(parent_thread, Relaxed);
    family::enter(process);
    pids::register(thread);
    // Its timers keep it until its end, which comes only to one that has entered.
    let processor = process.limits.lock().get(Resource::Cpu);
    process.timers.limit(process, processor);
    Ok(())
}
