//! `process_vm_readv(2)`, `process_vm_writev(2)`.

use alloc::sync::Arc;
use core::ops::Range;

use isopod_fs::{Errno, Sink, Source};
use isopod_hal::PAGE_SIZE;

use super::file::io::{IoVec, VECTORS_MAX, get_vectors};
use crate::fail::{Attempt, Rest, Stop};
use crate::mm::{AddressSpace, FaultKind, UserBuffers, UserPtr, page_down};
use crate::process::{Ctx, Thread, With, find_thread};
use crate::sched;

/// `process_vm_readv(2)`
pub fn process_vm_readv(
    ctx: &mut Ctx,
    pid: u32,
    local: UserPtr<IoVec>,
    local_count: usize,
    remote: UserPtr<IoVec>,
    remote_count: usize,
    flags: u64,
) -> Attempt {
    transfer(ctx, pid, (local, local_count), (remote, remote_count), flags, FaultKind::Read)
}

/// `process_vm_writev(2)`
pub fn process_vm_writev(
    ctx: &mut Ctx,
    pid: u32,
    local: UserPtr<IoVec>,
    local_count: usize,
    remote: UserPtr<IoVec>,
    remote_count: usize,
    flags: u64,
) -> Attempt {
    transfer(ctx, pid, (local, local_count), (remote, remote_count), flags, FaultKind::Write)
}

/// Copies between the caller's buffers and another process's; `kind` is what is done to the latter.
fn transfer(
    ctx: &Ctx,
    pid: u32,
    (local, local_count): (UserPtr<IoVec>, usize),
    (remote, remote_count): (UserPtr<IoVec>, usize),
    flags: u64,
    kind: FaultKind,
) -> Attempt {
    if flags != 0 {
        return Err(Errno::EINVAL.into());
    }
    let mut buffers = UserBuffers::new(get_vectors(local, local_count)?);
    if buffers.is_used_up() {
        return Ok(0);
    }
    if remote_count > VECTORS_MAX {
        return Err(Errno::EINVAL.into());
    }
    let segments = remote.get_array(remote_count)?;
    if segments.iter().any(|segment| (segment.length as i64) < 0) {
        return Err(Errno::EINVAL.into());
    }
    if segments.iter().all(|segment| segment.length == 0) {
        return Ok(0);
    }
    let target = find_thread(pid).ok_or(Errno::ESRCH)?;
    if !ctx.thread.may_inspect(&target, With::RealIds) {
        return Err(Errno::EPERM.into());
    }
    let (thread, own, memory) = (Arc::clone(&ctx.thread), Arc::clone(&ctx.memory), target.process().memory());
    Err(Stop::Rest(Rest::new(async move {
        for segment in segments {
            // What lies beyond the end of all memory is not there.
            let start = segment.base as usize;
            let segment = start..start.saturating_add(segment.length as usize);
            if let Err(errno) = copy(&thread, &own, &memory, segment, &mut buffers, kind).await {
                // What has been copied counts.
                return if buffers.position() > 0 { Ok(buffers.position()) } else { Err(errno.into()) };
            }
            if buffers.is_used_up() {
                break;
            }
        }
        Ok(buffers.position())
    })))
}

/// Copies one segment of the other process, page by page.
async fn copy(
    thread: &Thread,
    own: &AddressSpace,
    memory: &AddressSpace,
    segment: Range<usize>,
    buffers: &mut UserBuffers,
    kind: FaultKind,
) -> Result<(), Errno> {
    let mut at = segment.start;
    while at < segment.end && !buffers.is_used_up() && !thread.must_end() {
        let offset = at % PAGE_SIZE;
        let length = (PAGE_SIZE - offset).min(segment.end - at);
        let copied = memory.with_page(page_down(at), kind, &mut |frame| match kind {
            FaultKind::Write => buffers.take_frame(frame, offset, length),
            _ => buffers.put_frame(frame, offset, length),
        });
        match (copied, buffers.take_fault()) {
            (Some(count), None) => at += count,
            (Some(count), Some(fault)) => {
                at += count;
                own.resolve(fault).await?;
            }
            (None, _) => memory.fault_in(at..at + 1, kind).await.map_err(|_| Errno::EFAULT)?,
        }
        sched::give_way().await;
    }
    Ok(())
}
