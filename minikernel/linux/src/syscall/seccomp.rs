//! seccomp(2), and the same by prctl(2).

use alloc::sync::Arc;
use core::sync::atomic::Ordering::Relaxed;

use bitflags::bitflags;
use isopod_fs::{Capabilities, Errno};
use isopod_hal::sync::SpinLock;

use super::argument::Flags;
use super::watch::FILTERED;
use crate::bpf::{Instruction, Program};
use crate::fail::Attempt;
use crate::kernel;
use crate::mm::UserPtr;
use crate::process::{Ctx, Held, Thread};
use crate::seccomp::{CallData, Filter, Mode, action};

const SET_MODE_STRICT: u32 = 0;
const SET_MODE_FILTER: u32 = 1;
const GET_ACTION_AVAIL: u32 = 2;

/// Held while filters are added, so that none is lost between two threads. Outside of a thread's own locks.
static ADDING: SpinLock<()> = SpinLock::new(());

bitflags! {
    /// `SECCOMP_FILTER_FLAG_`. Notifying a supervisor is not offered, and its flags are unknown.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    struct FilterFlags: u32 {
        /// All threads of the process get the filters.
        const TSYNC = 1;
        /// What is not allowed is logged.
        const LOG = 2;
        /// Nothing is done against speculation that this could leave out.
        const SPEC_ALLOW = 4;
        /// A thread that cannot get them is `ESRCH`, and not its id.
        const TSYNC_ESRCH = 16;
    }
}

/// seccomp(2)
pub fn seccomp(ctx: &mut Ctx, operation: u32, flags: Flags, arguments: usize) -> Attempt {
    match operation {
        SET_MODE_STRICT if flags.0 == 0 && arguments == 0 => set_strict(ctx),
        SET_MODE_FILTER => set_filter(ctx, flags.0, UserPtr::new(arguments)),
        GET_ACTION_AVAIL if flags.0 == 0 => is_available(UserPtr::new(arguments)),
        _ => Err(Errno::EINVAL.into()),
    }
}

/// `PR_SET_SECCOMP`
pub(super) fn set(ctx: &mut Ctx, mode: u64, filter: u64) -> Attempt {
    match mode {
        1 => set_strict(ctx),
        2 => set_filter(ctx, 0, UserPtr::new(filter as usize)),
        _ => Err(Errno::EINVAL.into()),
    }
}

/// Gives a thread a mode, and has its calls looked at.
fn put(thread: &Thread, mode: Mode) {
    let old = core::mem::replace(&mut *thread.seccomp.lock(), mode);
    drop(old);
    thread.watched.fetch_or(FILTERED, Relaxed);
    kernel::watch();
}

fn set_strict(ctx: &Ctx) -> Attempt {
    if ctx.thread.seccomp.lock().filters().is_some() {
        return Err(Errno::EINVAL.into());
    }
    put(&ctx.thread, Mode::Strict);
    Ok(0)
}

/// Adds a filter, whose `struct sock_fprog` is a length and an address.
fn set_filter(ctx: &Ctx, flags: u32, place: UserPtr<[u64; 2]>) -> Attempt {
    let flags = FilterFlags::from_bits(flags).ok_or(Errno::EINVAL)?;
    let [length, address] = place.get()?;
    let length = usize::from(length as u16);
    if length == 0 || length > Program::LENGTH_MAX {
        return Err(Errno::EINVAL.into());
    }
    let identity = ctx.thread.identity();
    if !identity.no_new_privileges && !identity.capable(Capabilities::SYS_ADMIN) {
        return Err(Errno::EACCES.into());
    }
    // Who executes a program meanwhile would not be bound.
    let shared = flags.contains(FilterFlags::TSYNC);
    let _held = if shared { Some(Held::or_later(ctx.thread.process())?) } else { None };
    let list: UserPtr<Instruction> = UserPtr::new(address as usize).non_null().ok_or(Errno::EINVAL)?;
    let program = Program::new(list.get_array(length)?, CallData::USE)?;
    let _adding = ADDING.lock();
    let before = match &*ctx.thread.seccomp.lock() {
        Mode::Strict => return Err(Errno::EINVAL.into()),
        mode => mode.filters().map(Arc::clone),
    };
    let filter = Filter::new(program, flags.contains(FilterFlags::LOG), before.clone())?;
    if !shared {
        put(&ctx.thread, Mode::Filter(filter));
        return Ok(0);
    }
    if let Some(refusing) = share(&ctx.thread, before.as_deref(), &filter) {
        let silent = flags.contains(FilterFlags::TSYNC_ESRCH);
        return if silent { Err(Errno::ESRCH.into()) } else { Ok(refusing as usize) };
    }
    Ok(0)
}

/// Gives `filter`, which grew from `before`, to all threads of the process. A thread whose filters are no part of the caller's is in the way:
/// its id.
fn share(caller: &Arc<Thread>, before: Option<&Filter>, filter: &Arc<Filter>) -> Option<u32> {
    let refuses = |thread: &Arc<Thread>| match &*thread.seccomp.lock() {
        _ if Arc::ptr_eq(thread, caller) || thread.must_end() => false,
        Mode::Disabled => false,
        Mode::Strict => true,
        Mode::Filter(own) => !before.is_some_and(|before| own.is_part_of(before)),
    };
    if let Some(thread) = caller.process().threads().find(|thread| refuses(thread)) {
        return Some(thread.tid());
    }
    let bound = caller.identity().no_new_privileges;
    for thread in caller.process().threads() {
        if bound && !thread.identity().no_new_privileges {
            thread.forbid_new_privileges();
        }
        put(&thread, Mode::Filter(Arc::clone(filter)));
    }
    None
}

/// `SECCOMP_GET_ACTION_AVAIL`
fn is_available(place: UserPtr<u32>) -> Attempt {
    const AVAILABLE: [u32; 7] = [
        action::KILL_PROCESS,
        action::KILL_THREAD,
        action::TRAP,
        action::ERRNO,
        action::TRACE,
        action::LOG,
        action::ALLOW,
    ];
    let asked = place.get()?;
    if AVAILABLE.contains(&asked) { Ok(0) } else { Err(Errno::EOPNOTSUPP.into()) }
}
