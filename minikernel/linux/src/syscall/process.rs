//! Threads, processes, programs, scheduling parameters.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use isopod_fs::Errno;
use isopod_fs::file::OpenFlags;
use isopod_hal::cpu;
use zerocopy::IntoBytes;

use super::argument::{Fd, Flags, UserPath};
use super::path::at;
use crate::exec::{self, Program};
use crate::fail::{Attempt, Stop, SysResult};
use crate::mm::UserPtr;
use crate::process::{self, CloneFlags, CloneRequest, Ctx, ExitStatus, Process, Thread};
use crate::signal::Signal;
use crate::wait::retry;
use crate::{memory_pressure, sched};

/// getpid(2)
pub fn getpid(ctx: &mut Ctx) -> SysResult {
    Ok(ctx.thread.process().pid as usize)
}

/// gettid(2)
pub fn gettid(ctx: &mut Ctx) -> SysResult {
    Ok(ctx.thread.tid() as usize)
}

/// getppid(2): 0 for the first process, as in a PID namespace.
pub fn getppid(ctx: &mut Ctx) -> SysResult {
    Ok(ctx.thread.process().parent_pid.load(Ordering::Relaxed) as usize)
}

/// exit(2): ends the calling thread.
pub fn exit(ctx: &mut Ctx, status: i32) -> SysResult {
    ctx.exit_code = status as u8;
    ctx.thread.end();
    Ok(0)
}

/// `exit_group(2)`
pub fn exit_group(ctx: &mut Ctx, status: i32) -> SysResult {
    process::exit_group(ctx.thread.process(), ExitStatus::Exited(status as u8));
    Ok(0)
}

/// clone(2)
pub async fn clone(
    ctx: &mut Ctx,
    flags: u64,
    stack: usize,
    parent_tid: UserPtr<u32>,
    child_tid: UserPtr<u32>,
    tls: u64,
) -> SysResult {
    // The lowest byte is the signal to the parent at the child's end.
    let exit_signal = Signal::new((flags & 0xff) as u32);
    let flags = CloneFlags::from_bits_retain(flags & 0xffff_ff00);
    // One place cannot take both (clone(2), `CLONE_PIDFD`).
    if flags.contains(CloneFlags::PIDFD) && flags.intersects(CloneFlags::PARENT_SETTID | CloneFlags::DETACHED)
    {
        return Err(Errno::EINVAL.into());
    }
    let pidfd = UserPtr::new(parent_tid.address());
    let request = CloneRequest { flags, exit_signal, stack, parent_tid, child_tid, tls, pidfd };
    Ok(process::clone(ctx, request).await? as usize)
}

/// A child that shares nothing but what `flags` say, in the caller's place.
async fn make_child(ctx: &mut Ctx, flags: CloneFlags) -> SysResult {
    let request = CloneRequest {
        flags,
        exit_signal: Some(Signal::CHLD),
        stack: 0,
        parent_tid: UserPtr::new(0),
        child_tid: UserPtr::new(0),
        tls: 0,
        pidfd: UserPtr::new(0),
    };
    Ok(process::clone(ctx, request).await? as usize)
}

/// fork(2)
pub async fn fork(ctx: &mut Ctx) -> SysResult {
    make_child(ctx, CloneFlags::empty()).await
}

/// vfork(2)
pub async fn vfork(ctx: &mut Ctx) -> SysResult {
    make_child(ctx, CloneFlags::VM | CloneFlags::VFORK).await
}

/// The first version of `struct clone_args`, in words.
const CLONE_ARGS_WORDS: usize = 8;
/// The newest version's words: with `set_tid` and cgroup.
const CLONE_ARGS_MAX_WORDS: usize = 11;

/// Every flag of clone(2), and those that clone3(2) adds: `CLONE_CLEAR_SIGHAND` and `CLONE_INTO_CGROUP`.
const CLONE3_FLAGS: u64 = 0x3_ffff_ff00;

/// clone3(2)
pub async fn clone3(ctx: &mut Ctx, arguments: UserPtr<u8>, size: usize) -> SysResult {
    if size < CLONE_ARGS_WORDS * 8 {
        return Err(Errno::EINVAL.into());
    }
    let mut words = [0u64; CLONE_ARGS_MAX_WORDS];
    let known = size.min(words.len() * 8);
    ctx.memory.check_zero_tail(arguments.address(), known, size).await?;
    ctx.memory.read_bytes(arguments.address(), &mut words.as_mut_bytes()[..known]).await?;
    let [
        flags,
        pidfd,
        child_tid,
        parent_tid,
        exit_signal,
        stack,
        stack_size,
        tls,
        set_tid,
        set_tid_size,
        cgroup,
    ] = words;
    let known_flags = flags & !CLONE3_FLAGS == 0;
    let flags = CloneFlags::from_bits_retain(flags);
    if !known_flags
        || exit_signal > 64
        || flags.bits() & 0xff != 0
        || (stack == 0) != (stack_size == 0)
        || flags.contains(CloneFlags::DETACHED)
        || exit_signal != 0 && flags.intersects(CloneFlags::THREAD | CloneFlags::PARENT)
    {
        return Err(Errno::EINVAL.into());
    }
    if (set_tid == 0) != (set_tid_size == 0) {
        return Err(Errno::EINVAL.into());
    }
    if set_tid != 0 {
        return Err(Errno::EPERM.into());
    }
    if flags.contains(CloneFlags::INTO_CGROUP) {
        // There is one group, of which no descriptor is to be had.
        let complete = size >= CLONE_ARGS_MAX_WORDS * 8 && i32::try_from(cgroup).is_ok();
        return Err(if complete { Errno::EBADF } else { Errno::EINVAL }.into());
    }
    let request = CloneRequest {
        flags,
        exit_signal: Signal::new(exit_signal as u32),
        stack: stack.checked_add(stack_size).ok_or(Errno::EINVAL)? as usize,
        parent_tid: UserPtr::new(parent_tid as usize),
        child_tid: UserPtr::new(child_tid as usize),
        tls,
        pidfd: UserPtr::new(pidfd as usize),
    };
    Ok(process::clone(ctx, request).await? as usize)
}

/// execve(2)
pub async fn execve(ctx: &mut Ctx, path: UserPath, argv: UserPtr<u64>, envp: UserPtr<u64>) -> SysResult {
    execveat(ctx, Fd::WORKING_DIR, path, argv, envp, Flags(0)).await
}

/// execveat(2)
pub async fn execveat(
    ctx: &mut Ctx,
    dirfd: Fd,
    path: UserPath,
    argv: UserPtr<u64>,
    envp: UserPtr<u64>,
    flags: Flags,
) -> SysResult {
    const EMPTY_PATH: u32 = 0x1000;
    const NO_FOLLOW: u32 = 0x100;
    let name = ctx.memory.read_string(path.0, super::PATH_MAX).await?;
    if name.is_empty() && flags.0 & EMPTY_PATH == 0 {
        return Err(Errno::ENOENT.into());
    }
    ctx.thread.check_may_execute()?;
    if flags.0 & !(EMPTY_PATH | NO_FOLLOW) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let start = at(ctx, dirfd, &name)?;
    let follow = if flags.0 & NO_FOLLOW != 0 { OpenFlags::NOFOLLOW } else { OpenFlags::empty() };
    let file = retry(|| exec::open(&ctx.thread, &start, &name, follow)).await?;
    let by_descriptor = dirfd != Fd::WORKING_DIR && name.first() != Some(&b'/');
    let closed = by_descriptor && ctx.thread.files().descriptor(dirfd.0)?.close_on_exec;
    // What a script's interpreter can open, as Linux names it.
    let shown = match (dirfd, name.first()) {
        (Fd::WORKING_DIR, _) | (_, Some(b'/')) => name,
        (Fd(fd), None) => alloc::format!("/dev/fd/{fd}").into_bytes(),
        (Fd(fd), Some(_)) => [alloc::format!("/dev/fd/{fd}/").as_bytes(), &name].concat(),
    };
    let mut room = exec::Room::of(&ctx.thread);
    let mut arguments = read_strings(ctx, argv, &mut room).await?;
    let environment = read_strings(ctx, envp, &mut room).await?;
    if arguments.is_empty() {
        // Since Linux 5.18 a program always has a name.
        arguments.push(Vec::new());
    }
    exec::execute(ctx, Program { file, path: shown, closed, arguments, environment }).await?;
    Ok(0)
}

/// Reads a NULL-terminated array of strings. `E2BIG` beyond `room`, `ENOMEM` before what is left is what others cannot do without.
async fn read_strings(ctx: &Ctx, list: UserPtr<u64>, room: &mut exec::Room) -> Result<Vec<Vec<u8>>, Errno> {
    /// After so many bytes it looks whether there are as many more, and others get their turn.
    const STEP: usize = 64 << 10;
    let mut strings = Vec::new();
    let mut taken = 0;
    if list.is_null() {
        return Ok(strings);
    }
    loop {
        if taken >= STEP {
            taken = 0;
            while memory_pressure::afford(STEP).is_err() {
                if !memory_pressure::reclaim() {
                    return Err(Errno::ENOMEM);
                }
            }
            sched::give_way().await;
        }
        let pointer = ctx.memory.read(list.element(strings.len())).await?;
        if pointer == 0 {
            return Ok(strings);
        }
        let string = ctx.memory.read_string(UserPtr::new(pointer as usize), exec::STRING_MAX).await;
        let string =
            string.map_err(|errno| if errno == Errno::ENAMETOOLONG { Errno::E2BIG } else { errno })?;
        room.take(&string)?;
        // The heap's smallest piece, and the vector's own words.
        taken += string.capacity().max(16) + size_of::<Vec<u8>>();
        strings.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        strings.push(string);
    }
}

/// `set_tid_address(2)`
pub fn set_tid_address(ctx: &mut Ctx, address: usize) -> SysResult {
    ctx.thread.clear_child_tid.store(address, Ordering::Relaxed);
    Ok(ctx.thread.tid() as usize)
}

/// `arch_prctl(2)`
pub fn arch_prctl(ctx: &mut Ctx, code: u32, address: u64) -> Attempt {
    const SET_GS: u32 = 0x1001;
    const SET_FS: u32 = 0x1002;
    const GET_FS: u32 = 0x1003;
    const GET_GS: u32 = 0x1004;
    let allowed = match code {
        SET_FS => ctx.user.set_fs_base(address),
        SET_GS => ctx.user.set_gs_base(address),
        GET_FS | GET_GS => {
            let base = if code == GET_FS { ctx.user.fs_base() } else { ctx.user.gs_base() };
            UserPtr::new(address as usize).put(&base)?;
            true
        }
        _ => return Err(Errno::EINVAL.into()),
    };
    if allowed { Ok(0) } else { Err(Errno::EPERM.into()) }
}

/// The process that `pid` names, or that has a thread of that name; 0 is the caller's.
fn named_process(ctx: &Ctx, pid: u32) -> Result<Arc<Process>, Errno> {
    if pid == 0 {
        return Ok(Arc::clone(ctx.thread.process()));
    }
    process::find_process_of(pid).ok_or(Errno::ESRCH)
}

/// The thread that `tid` names; 0 is the caller.
pub(super) fn named_thread(ctx: &Ctx, tid: u32) -> Result<Arc<Thread>, Errno> {
    if tid == 0 {
        return Ok(Arc::clone(&ctx.thread));
    }
    process::find_thread(tid).ok_or(Errno::ESRCH)
}

/// getpgrp(2)
pub fn getpgrp(ctx: &mut Ctx) -> SysResult {
    Ok(ctx.thread.process().group.load(Ordering::Relaxed) as usize)
}

/// getpgid(2)
pub fn getpgid(ctx: &mut Ctx, pid: u32) -> SysResult {
    Ok(named_process(ctx, pid)?.group.load(Ordering::Relaxed) as usize)
}

/// getsid(2)
pub fn getsid(ctx: &mut Ctx, pid: u32) -> SysResult {
    Ok(named_process(ctx, pid)?.session.load(Ordering::Relaxed) as usize)
}

/// setpgid(2)
pub fn setpgid(ctx: &mut Ctx, pid: u32, group: u32) -> SysResult {
    if group as i32 == i32::MIN || (group as i32) < 0 {
        return Err(Errno::EINVAL.into());
    }
    let caller = Arc::clone(ctx.thread.process());
    let target = named_process(ctx, pid)?;
    if pid != 0 && pid != target.pid {
        return Err(Errno::EINVAL.into());
    }
    let _groups = process::hold_groups();
    let is_child = target.parent.lock().upgrade().is_some_and(|parent| Arc::ptr_eq(&parent, &caller));
    if !Arc::ptr_eq(&target, &caller) && !is_child {
        return Err(Errno::ESRCH.into());
    }
    let session = target.session.load(Ordering::Relaxed);
    if is_child && session != caller.session.load(Ordering::Relaxed) {
        return Err(Errno::EPERM.into());
    }
    if is_child && target.has_executed.load(Ordering::Relaxed) {
        return Err(Errno::EACCES.into());
    }
    if session == target.pid {
        return Err(Errno::EPERM.into());
    }
    let group = if group == 0 { target.pid } else { group };
    let joins = group == target.pid
        || process::processes().any(|other| {
            other.group.load(Ordering::Relaxed) == group && other.session.load(Ordering::Relaxed) == session
        });
    if !joins {
        return Err(Errno::EPERM.into());
    }
    target.group.store(group, Ordering::Relaxed);
    Ok(0)
}

/// setsid(2)
pub fn setsid(ctx: &mut Ctx) -> SysResult {
    let caller = ctx.thread.process();
    let _groups = process::hold_groups();
    let leads = process::processes().any(|other| other.group.load(Ordering::Relaxed) == caller.pid);
    if leads {
        return Err(Errno::EPERM.into());
    }
    caller.group.store(caller.pid, Ordering::Relaxed);
    caller.session.store(caller.pid, Ordering::Relaxed);
    let terminal = caller.terminal.lock().take();
    drop(terminal);
    Ok(caller.pid as usize)
}

/// `sched_yield(2)`
pub async fn sched_yield(ctx: &mut Ctx) -> SysResult {
    ctx.thread.note_preemption();
    sched::yield_now().await;
    Ok(0)
}

/// `sched_getaffinity(2)`: the system call returns how many bytes it wrote.
pub fn sched_getaffinity(ctx: &mut Ctx, pid: u32, size: usize, mask: UserPtr<u8>) -> Attempt {
    if size.saturating_mul(8) < cpu::count() || !size.is_multiple_of(size_of::<u64>()) {
        return Err(Errno::EINVAL.into());
    }
    let cpus = sched::present(named_thread(ctx, pid)?.affinity());
    let bits = cpus.to_le_bytes();
    mask.cast::<u8>().put_bytes(&bits)?;
    Ok(bits.len())
}

/// `sched_setaffinity(2)`: a mask without any CPU that exists is refused. A thread that may not stay where it is leaves at once.
pub fn sched_setaffinity(ctx: &mut Ctx, pid: u32, size: usize, mask: UserPtr<u8>) -> Attempt {
    let mut bits = [0u8; 8];
    mask.get_bytes(&mut bits[..size.min(8)])?;
    let thread = named_thread(ctx, pid)?;
    super::priority::may_schedule(ctx, &thread)?;
    let wanted = u64::from_le_bytes(bits);
    if wanted & sched::cpus() == 0 {
        return Err(Errno::EINVAL.into());
    }
    if let Some(task) = thread.task() {
        let before = task.affinity();
        task.set_affinity(wanted);
        if before != task.affinity() {
            // Made again, wherever that is, it changes nothing.
            return Err(Stop::Turn);
        }
    }
    Ok(0)
}

/// getcpu(2)
pub fn getcpu(_: &mut Ctx, cpu: UserPtr<u32>, node: UserPtr<u32>) -> Attempt {
    if let Some(cpu) = cpu.non_null() {
        cpu.put(&(cpu::id() as u32))?;
    }
    if let Some(node) = node.non_null() {
        node.put(&0)?;
    }
    Ok(0)
}

/// prctl(2)
pub fn prctl(ctx: &mut Ctx, option: i32, arg2: u64, arg3: u64, arg4: u64, arg5: u64) -> Attempt {
    super::prctl::control(ctx, option, [arg2, arg3, arg4, arg5])
}
