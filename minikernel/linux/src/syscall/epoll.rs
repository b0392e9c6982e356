//! `epoll_create(2)`, `epoll_ctl(2)`, `epoll_wait(2)` and their kin.

use alloc::sync::Arc;

use isopod_fs::Errno;
use isopod_fs::file::{OpenFile, OpenFlags};
use isopod_hal::paging::USER_END;
use isopod_hal::uaccess::Fault;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::argument::{Fd, Flags};
use super::file::open::install;
use super::poll::{deadline_in, deadline_in_ms, get_mask};
use crate::fail::{Attempt, Fail, Rest, Stop, SysResult};
use crate::mm::{AddressSpace, UserPtr};
use crate::poll::{Epoll, Interest, NEVER, Told, new_epoll};
use crate::process::{Ctx, Thread};
use crate::sched;
use crate::signal::SigSet;
use crate::time::Timespec;
use crate::wait::interruptible;

/// `struct epoll_event`, which is packed on x86-64.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable)]
#[repr(C, packed)]
pub struct EpollEvent {
    events: u32,
    data: u64,
}

/// `epoll_create(2)`. The size says nothing, but must be above zero.
pub fn epoll_create(ctx: &mut Ctx, size: i32) -> SysResult {
    if size <= 0 {
        return Err(Errno::EINVAL.into());
    }
    epoll_create1(ctx, Flags(0))
}

/// `epoll_create1(2)`
pub fn epoll_create1(ctx: &mut Ctx, flags: Flags) -> SysResult {
    if flags.0 & !OpenFlags::CLOEXEC.bits() != 0 {
        return Err(Errno::EINVAL.into());
    }
    install(ctx, new_epoll()?, flags.0 != 0)
}

/// `epoll_ctl(2)`
pub fn epoll_ctl(ctx: &mut Ctx, instance: Fd, operation: i32, fd: Fd, event: UserPtr<EpollEvent>) -> Attempt {
    const ADD: i32 = 1;
    const DELETE: i32 = 2;
    const MODIFY: i32 = 3;
    let interest = if operation == DELETE {
        Interest { events: 0, data: 0 }
    } else {
        let EpollEvent { events, data } = event.get()?;
        Interest { events, data }
    };
    let files = ctx.thread.files();
    let watcher = files.get(instance.0)?;
    let file = files.get(fd.0)?;
    watcher.check_not_path().and_then(|()| file.check_not_path()).map_err(|_| Errno::EBADF)?;
    if file.wait_queue().is_none() {
        return Err(Errno::EPERM.into());
    }
    let epoll = Epoll::of(&watcher).filter(|_| !Arc::ptr_eq(&watcher, &file)).ok_or(Errno::EINVAL)?;
    match operation {
        ADD => epoll.add(fd.0, &file, interest)?,
        DELETE => epoll.delete(fd.0, &file)?,
        MODIFY => epoll.modify(fd.0, &file, interest)?,
        _ => return Err(Errno::EINVAL.into()),
    }
    Ok(0)
}

/// `epoll_wait(2)`
pub fn epoll_wait(
    ctx: &mut Ctx,
    instance: Fd,
    events: UserPtr<EpollEvent>,
    limit: i32,
    timeout: i32,
) -> Attempt {
    wait(ctx, instance, events, limit, deadline_in_ms(timeout), None)
}

/// `epoll_pwait(2)`
pub fn epoll_pwait(
    ctx: &mut Ctx,
    instance: Fd,
    events: UserPtr<EpollEvent>,
    limit: i32,
    timeout: i32,
    mask: UserPtr<u64>,
    size: usize,
) -> Attempt {
    let mask = get_mask(mask, size)?;
    wait(ctx, instance, events, limit, deadline_in_ms(timeout), mask)
}

/// `epoll_pwait2(2)`
pub fn epoll_pwait2(
    ctx: &mut Ctx,
    instance: Fd,
    events: UserPtr<EpollEvent>,
    limit: i32,
    timeout: UserPtr<Timespec>,
    mask: UserPtr<u64>,
    size: usize,
) -> Attempt {
    let deadline = deadline_in(timeout.get_optional()?)?;
    let mask = get_mask(mask, size)?;
    wait(ctx, instance, events, limit, deadline, mask)
}

/// Tells of what is ready; waits if nothing is, and where a page is missing.
fn wait(
    ctx: &mut Ctx,
    instance: Fd,
    events: UserPtr<EpollEvent>,
    limit: i32,
    deadline: u64,
    mask: Option<SigSet>,
) -> Attempt {
    let limit = checked(events, limit)?;
    let watcher = ctx.thread.file(instance.0)?;
    let mut told = 0;
    let outcome = tell(Epoll::of(&watcher).ok_or(Errno::EINVAL)?, events, limit, &mut told);
    if outcome.is_ok() && (told > 0 || deadline == NEVER) {
        return Ok(told);
    }
    if let Some(mask) = mask {
        ctx.replace_mask(mask);
    }
    Err(Stop::Rest(rest(ctx, watcher, events, limit, deadline, told)))
}

// Not inlined: mostly something is ready.
#[inline(never)]
fn rest(
    ctx: &Ctx,
    watcher: Arc<OpenFile>,
    events: UserPtr<EpollEvent>,
    limit: usize,
    deadline: u64,
    told: usize,
) -> Rest {
    let (thread, memory) = (Arc::clone(&ctx.thread), Arc::clone(&ctx.memory));
    Rest::new(async move {
        let outcome = wait_until(&thread, &memory, &watcher, events, limit, deadline, told).await;
        // The mask goes back at once unless a signal ended the wait.
        if outcome != Err(Fail::Errno(Errno::EINTR)) {
            thread.restore_mask();
        }
        outcome
    })
}

async fn wait_until(
    thread: &Thread,
    memory: &AddressSpace,
    watcher: &OpenFile,
    events: UserPtr<EpollEvent>,
    limit: usize,
    deadline: u64,
    mut told: usize,
) -> SysResult {
    let epoll = Epoll::of(watcher).ok_or(Errno::EINVAL)?;
    loop {
        match tell(epoll, events, limit, &mut told) {
            Err(fault) => match memory.resolve(fault).await {
                Err(errno) if told == 0 => return Err(errno.into()),
                Err(_) => return Ok(told),
                Ok(()) => {}
            },
            Ok(()) if told == 0 && deadline != NEVER => {
                let wait = sched::timeout_at(deadline, epoll.wait());
                // Never made again, whatever the handler's flags (signal(7)).
                if interruptible(thread, wait).await.map_err(|_| Errno::EINTR)?.is_none() {
                    return Ok(0);
                }
            }
            Ok(()) => return Ok(told),
        }
    }
}

/// How many events there is room for. `EINVAL`, `EFAULT`.
fn checked(events: UserPtr<EpollEvent>, limit: i32) -> Result<usize, Errno> {
    const LIMIT_MAX: usize = i32::MAX as usize / size_of::<EpollEvent>();
    let limit = usize::try_from(limit).ok().filter(|limit| (1..=LIMIT_MAX).contains(limit));
    let limit = limit.ok_or(Errno::EINVAL)?;
    if events.element(limit).address() > USER_END { Err(Errno::EFAULT) } else { Ok(limit) }
}

/// Tells the program of events that are ready, up to `limit`, behind the `told` ones that it knows, until a page is missing.
fn tell(epoll: &Epoll, events: UserPtr<EpollEvent>, limit: usize, told: &mut usize) -> Result<(), Fault> {
    let mut failed = None;
    epoll.collect(&mut |Interest { events: ready, data }| {
        match events.element(*told).put(&EpollEvent { events: ready, data }) {
            Ok(()) => *told += 1,
            Err(fault) => failed = Some(fault),
        }
        if failed.is_some() {
            Told::Not
        } else if *told < limit {
            Told::GoOn
        } else {
            Told::Enough
        }
    });
    failed.map_or(Ok(()), Err)
}
