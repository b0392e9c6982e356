//! poll(2), ppoll(2), select(2), pselect6(2).

use alloc::sync::Arc;
use alloc::vec::Vec;

use isopod_fs::Errno;
use isopod_fs::file::{OpenFile, Ready};
use isopod_hal::clock;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::signals::check_size;
use crate::fail::{Fail, Restart, SysResult};
use crate::mm::UserPtr;
use crate::poll::bitmap::{self, DescriptorSet, Sets};
use crate::poll::{FOREVER, NEVER, wait_for_any};
use crate::process::{Ctx, FileTable, Resource};
use crate::signal::SigSet;
use crate::time::{Timespec, Timeval};

/// `POLLNVAL`: not open.
const INVALID: u16 = 0x20;

/// `struct pollfd`
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct PollFd {
    fd: i32,
    events: u16,
    revents: u16,
}

/// Milliseconds as poll and epoll take them, as a deadline; a negative number is for ever.
pub(super) fn deadline_in_ms(timeout: i32) -> u64 {
    match u64::try_from(timeout) {
        Err(_) => FOREVER,
        Ok(0) => NEVER,
        Ok(ms) => clock::monotonic_ns() + ms * 1_000_000,
    }
}

/// A duration as a deadline; none is for ever.
pub(super) fn deadline_in(timeout: Option<Timespec>) -> Result<u64, Errno> {
    Ok(match timeout.map(Timespec::to_ns).transpose()? {
        None => FOREVER,
        Some(0) => NEVER,
        Some(ns) => clock::monotonic_ns().saturating_add(ns),
    })
}

/// Reads what may be null.
pub(super) async fn optional<T: FromBytes + IntoBytes>(
    ctx: &Ctx,
    from: UserPtr<T>,
) -> Result<Option<T>, Errno> {
    match from.non_null() {
        Some(from) => ctx.memory.read(from).await.map(Some),
        None => Ok(None),
    }
}

/// Blocks `mask`, if there is one, for the length of a wait.
pub(super) async fn replace_mask(ctx: &Ctx, mask: UserPtr<u64>, size: usize) -> Result<(), Errno> {
    if let Some(mask) = mask.non_null() {
        check_size(size)?;
        ctx.replace_mask(SigSet::from_bits(ctx.memory.read(mask).await?));
    }
    Ok(())
}

/// poll(2)
pub async fn poll(ctx: &mut Ctx, fds: UserPtr<PollFd>, count: usize, timeout: i32) -> SysResult {
    let deadline = ctx.resume_until.take().unwrap_or_else(|| deadline_in_ms(timeout));
    match poll_until(ctx, fds, count, deadline).await {
        Err(Fail::Restart(_)) => Err(Fail::Restart(Restart::Until(deadline))),
        outcome => outcome,
    }
}

/// ppoll(2)
pub async fn ppoll(
    ctx: &mut Ctx,
    fds: UserPtr<PollFd>,
    count: usize,
    timeout: UserPtr<Timespec>,
    mask: UserPtr<u64>,
    size: usize,
) -> SysResult {
    let deadline = deadline_in(optional(ctx, timeout).await?)?;
    replace_mask(ctx, mask, size).await?;
    let outcome = poll_until(ctx, fds, count, deadline).await;
    finish(ctx, outcome, deadline, async |ctx, rest| ctx.memory.write(timeout, &rest).await).await
}

/// What follows a wait that may have had a mask of its own: the mask goes back unless a signal ended the wait, and the program is told what
/// is left of its time-out. If it cannot be told, the call cannot be made again (`poll_select_finish()` of Linux).
async fn finish(
    ctx: &Ctx,
    outcome: SysResult,
    deadline: u64,
    tell: impl AsyncFnOnce(&Ctx, Timespec) -> Result<(), Errno>,
) -> SysResult {
    let interrupted = matches!(outcome, Err(Fail::Restart(_)));
    if !interrupted {
        ctx.restore_mask();
    }
    if deadline == FOREVER || deadline == NEVER {
        return outcome;
    }
    let rest = Timespec::from_ns(deadline.saturating_sub(clock::monotonic_ns()));
    match tell(ctx, rest).await {
        Err(_) if interrupted => Err(Errno::EINTR.into()),
        _ => outcome,
    }
}

async fn poll_until(ctx: &Ctx, fds: UserPtr<PollFd>, count: usize, deadline: u64) -> SysResult {
    let limit = ctx.thread.process().limits.lock().get(Resource::OpenFiles).soft;
    if count as u64 > limit {
        return Err(Errno::EINVAL.into());
    }
    let mut entries = ctx.memory.read_array(fds, count).await?;
    let table = ctx.thread.files();
    let files = watched(&table, entries.iter().map(|entry| entry.fd))?;
    let outcome = wait_for_any(&ctx.thread, &files, deadline, || {
        for (entry, file) in entries.iter_mut().zip(&files) {
            entry.revents = match file {
                Some(file) => {
                    let asked = Ready::from_bits_truncate(entry.events.into());
                    (file.ready() & (asked | Ready::ERROR | Ready::HANG_UP)).bits() as u16
                }
                None if entry.fd < 0 => 0,
                None => INVALID,
            };
        }
        entries.iter().filter(|entry| entry.revents != 0).count()
    })
    .await;
    for (index, entry) in entries.iter().enumerate() {
        let revents = fds.element(index).address() + core::mem::offset_of!(PollFd, revents);
        ctx.memory.write(UserPtr::new(revents), &entry.revents).await?;
    }
    outcome
}

/// The files behind as many descriptors as a program says, but for those that only name a place.
fn watched(
    table: &FileTable,
    descriptors: impl ExactSizeIterator<Item = i32>,
) -> Result<Vec<Option<Arc<OpenFile>>>, Errno> {
    let mut watched = Vec::new();
    watched.try_reserve_exact(descriptors.len()).map_err(|_| Errno::ENOMEM)?;
    table.get_each(descriptors, &mut watched);
    Ok(watched)
}

/// select(2)
pub async fn select(
    ctx: &mut Ctx,
    count: i32,
    read: UserPtr<u64>,
    write: UserPtr<u64>,
    except: UserPtr<u64>,
    timeout: UserPtr<Timeval>,
) -> SysResult {
    let duration = match optional(ctx, timeout).await? {
        // More than a million microseconds are taken for what they are.
        Some(Timeval { seconds, microseconds }) => {
            let seconds = seconds.checked_add(microseconds / 1_000_000).ok_or(Errno::EINVAL)?;
            Some(Timespec { seconds, nanoseconds: microseconds % 1_000_000 * 1000 })
        }
        None => None,
    };
    let deadline = deadline_in(duration)?;
    let outcome = select_until(ctx, count, [read, write, except], deadline).await;
    let tell = async |ctx: &Ctx, rest: Timespec| {
        let rest = Timeval { seconds: rest.seconds, microseconds: rest.nanoseconds / 1000 };
        ctx.memory.write(timeout, &rest).await
    };
    finish(ctx, outcome, deadline, tell).await
}

/// pselect6(2). The last argument points to a mask's address and its size.
pub async fn pselect6(
    ctx: &mut Ctx,
    count: i32,
    read: UserPtr<u64>,
    write: UserPtr<u64>,
    except: UserPtr<u64>,
    timeout: UserPtr<Timespec>,
    mask: UserPtr<[u64; 2]>,
) -> SysResult {
    let [mask, size] = optional(ctx, mask).await?.unwrap_or_default();
    let deadline = deadline_in(optional(ctx, timeout).await?)?;
    replace_mask(ctx, UserPtr::new(mask as usize), size as usize).await?;
    let outcome = select_until(ctx, count, [read, write, except], deadline).await;
    finish(ctx, outcome, deadline, async |ctx, rest| ctx.memory.write(timeout, &rest).await).await
}

async fn select_until(ctx: &Ctx, count: i32, pointers: [UserPtr<u64>; 3], deadline: u64) -> SysResult {
    let table = ctx.thread.files();
    let count = usize::try_from(count).map_err(|_| Errno::EINVAL)?.min(table_size(&table));
    let mut sets: Sets = [None, None, None];
    for (set, pointer) in sets.iter_mut().zip(pointers) {
        if let Some(pointer) = pointer.non_null() {
            let words = ctx.memory.read_array(pointer, DescriptorSet::words(count)).await?;
            *set = Some(DescriptorSet::new(words, count));
        }
    }
    let descriptors = bitmap::all(&sets)?;
    let files = watched(&table, descriptors.iter().copied())?;
    if files.iter().any(Option::is_none) {
        return Err(Errno::EBADF.into());
    }
    let mut found: Sets = [None, None, None];
    for (found, set) in found.iter_mut().zip(&sets) {
        *found = set.as_ref().map(DescriptorSet::cleared).transpose()?;
    }
    let count = wait_for_any(&ctx.thread, &files, deadline, || {
        let ready = files.iter().flatten().map(|file| file.ready());
        bitmap::ready(&sets, descriptors.iter().copied().zip(ready), &mut found)
    })
    .await?;
    for (set, pointer) in found.iter().zip(pointers) {
        if let Some(set) = set {
            ctx.memory.write_bytes(pointer.address(), set.as_words().as_bytes()).await?;
        }
    }
    Ok(count)
}

/// How many descriptors Linux's table would have room for: those beyond are not looked at, whatever the program says.
fn table_size(table: &FileTable) -> usize {
    match table.highest() {
        Some(highest) if highest >= 64 => (highest + 1).next_power_of_two().max(256),
        _ => 64,
    }
}
