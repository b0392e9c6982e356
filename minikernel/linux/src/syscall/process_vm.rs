//! `process_vm_readv(2)`, `process_vm_writev(2)`.

use core::ops::Range;

use isopod_fs::{Errno, Sink, Source};
use isopod_hal::PAGE_SIZE;

use super::file::io::{IoVec, VECTORS_MAX, vectors};
use crate::fail::SysResult;
use crate::mm::{AddressSpace, FaultKind, UserBuffers, UserPtr, page_down};
use crate::process::{Ctx, With, find_thread};
use crate::sched;

/// `process_vm_readv(2)`
pub async fn process_vm_readv(
    ctx: &mut Ctx,
    pid: u32,
    local: UserPtr<IoVec>,
    local_count: usize,
    remote: UserPtr<IoVec>,
    remote_count: usize,
    flags: u64,
) -> SysResult {
    transfer(ctx, pid, (local, local_count), (remote, remote_count), flags, FaultKind::Read).await
}

/// `process_vm_writev(2)`
pub async fn process_vm_writev(
    ctx: &mut Ctx,
    pid: u32,
    local: UserPtr<IoVec>,
    local_count: usize,
    remote: UserPtr<IoVec>,
    remote_count: usize,
    flags: u64,
) -> SysResult {
    transfer(ctx, pid, (local, local_count), (remote, remote_count), flags, FaultKind::Write).await
}

/// Copies between the caller's buffers and another process's; `kind` is what is done to the latter.
async fn transfer(
    ctx: &Ctx,
    pid: u32,
    (local, local_count): (UserPtr<IoVec>, usize),
    (remote, remote_count): (UserPtr<IoVec>, usize),
    flags: u64,
    kind: FaultKind,
) -> SysResult {
    if flags != 0 {
        return Err(Errno::EINVAL.into());
    }
    let mut buffers = UserBuffers::new(vectors(ctx, local, local_count).await?);
    if buffers.is_used_up() {
        return Ok(0);
    }
    if remote_count > VECTORS_MAX {
        return Err(Errno::EINVAL.into());
    }
    let segments = ctx.memory.read_array(remote, remote_count).await?;
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
    let memory = target.process().memory();
    for segment in segments {
        // What lies beyond the end of all memory is not there.
        let start = segment.base as usize;
        let segment = start..start.saturating_add(segment.length as usize);
        if let Err(errno) = copy(ctx, &memory, segment, &mut buffers, kind).await {
            // What has been copied counts.
            return if buffers.position() > 0 { Ok(buffers.position()) } else { Err(errno.into()) };
        }
        if buffers.is_used_up() {
            break;
        }
    }
    Ok(buffers.position())
}

/// Copies one segment of the other process, page by page.
async fn copy(
    ctx: &Ctx,
    memory: &AddressSpace,
    segment: Range<usize>,
    buffers: &mut UserBuffers,
    kind: FaultKind,
) -> Result<(), Errno> {
    let mut at = segment.start;
    while at < segment.end && !buffers.is_used_up() && !ctx.thread.must_end() {
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
                ctx.memory.resolve(fault).await?;
            }
            (None, _) => memory.fault_in(at..at + 1, kind).await.map_err(|_| Errno::EFAULT)?,
        }
        sched::give_way().await;
    }
    Ok(())
}
