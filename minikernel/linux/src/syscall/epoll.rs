//! `epoll_create(2)`, `epoll_ctl(2)`, `epoll_wait(2)` and their kin.

use alloc::sync::Arc;

use isopod_fs::Errno;
use isopod_fs::file::OpenFlags;
use isopod_hal::paging::USER_END;
use isopod_hal::uaccess::Fault;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::argument::{Fd, Flags};
use super::file::open::install;
use super::poll::{deadline_in, deadline_in_ms, optional, replace_mask};
use crate::fail::{Fail, SysResult};
use crate::mm::UserPtr;
use crate::poll::{Epoll, Interest, NEVER, Told, new_epoll};
use crate::process::Ctx;
use crate::sched;
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
pub async fn epoll_ctl(
    ctx: &mut Ctx,
    instance: Fd,
    operation: i32,
    fd: Fd,
    event: UserPtr<EpollEvent>,
) -> SysResult {
    const ADD: i32 = 1;
    const DELETE: i32 = 2;
    const MODIFY: i32 = 3;
    let interest = if operation == DELETE {
        Interest { events: 0, data: 0 }
    } else {
        let EpollEvent { events, data } = ctx.memory.read(event).await?;
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
pub async fn epoll_wait(
    ctx: &mut Ctx,
    instance: Fd,
    events: UserPtr<EpollEvent>,
    limit: i32,
    timeout: i32,
) -> SysResult {
    wait_until(ctx, instance, events, limit, deadline_in_ms(timeout)).await
}

/// `epoll_wait(2)` of what is ready.
pub fn epoll_wait_at_once(
    ctx: &mut Ctx,
    instance: Fd,
    events: UserPtr<EpollEvent>,
    limit: i32,
    timeout: i32,
) -> Option<SysResult> {
    let limit = checked(events, limit).ok()?;
    let watcher = ctx.thread.file(instance.0).ok()?;
    match tell(Epoll::of(&watcher)?, events, limit, &mut ctx.moved) {
        Ok(()) if ctx.moved > 0 || timeout == 0 => Some(Ok(core::mem::take(&mut ctx.moved))),
        _ => None,
    }
}

/// `epoll_pwait(2)`
pub async fn epoll_pwait(
    ctx: &mut Ctx,
    instance: Fd,
    events: UserPtr<EpollEvent>,
    limit: i32,
    timeout: i32,
    mask: UserPtr<u64>,
    size: usize,
) -> SysResult {
    replace_mask(ctx, mask, size).await?;
    let outcome = wait_until(ctx, instance, events, limit, deadline_in_ms(timeout)).await;
    finish(ctx, outcome)
}

/// `epoll_pwait2(2)`
pub async fn epoll_pwait2(
    ctx: &mut Ctx,
    instance: Fd,
    events: UserPtr<EpollEvent>,
    limit: i32,
    timeout: UserPtr<Timespec>,
    mask: UserPtr<u64>,
    size: usize,
) -> SysResult {
    let deadline = deadline_in(optional(ctx, timeout).await?)?;
    replace_mask(ctx, mask, size).await?;
    let outcome = wait_until(ctx, instance, events, limit, deadline).await;
    finish(ctx, outcome)
}

/// The mask goes back at once unless a signal ended the wait.
fn finish(ctx: &Ctx, outcome: SysResult) -> SysResult {
    if outcome != Err(Fail::Errno(Errno::EINTR)) {
        ctx.thread.restore_mask();
    }
    outcome
}

async fn wait_until(
    ctx: &Ctx,
    instance: Fd,
    events: UserPtr<EpollEvent>,
    limit: i32,
    deadline: u64,
) -> SysResult {
    let limit = checked(events, limit)?;
    let watcher = ctx.thread.files().get(instance.0)?;
    watcher.check_not_path().map_err(|_| Errno::EBADF)?;
    let epoll = Epoll::of(&watcher).ok_or(Errno::EINVAL)?;
    let mut told = ctx.moved;
    loop {
        match tell(epoll, events, limit, &mut told) {
            Err(fault) => match ctx.memory.resolve(fault).await {
                Err(errno) if told == 0 => return Err(errno.into()),
                Err(_) => return Ok(told),
                Ok(()) => {}
            },
            Ok(()) if told == 0 && deadline != NEVER => {
                let wait = sched::timeout_at(deadline, epoll.wait());
                // Never made again, whatever the handler's flags (signal(7)).
                if interruptible(&ctx.thread, wait).await.map_err(|_| Errno::EINTR)?.is_none() {
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
