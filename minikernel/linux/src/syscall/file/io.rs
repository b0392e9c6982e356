//! read(2), write(2) and their variants, lseek(2), sendfile(2), sync(2).

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;

use isopod_fs::file::{OpenFile, Whence};
use isopod_fs::{Buffer, Bytes, Errno, FileType};
use isopod_hal::paging::USER_END;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::size;
use crate::fail::{Attempt, Fail, SysResult};
use crate::mm::{UserBuffers, UserPtr};
use crate::poll;
use crate::process::Ctx;
use crate::sched;
use crate::syscall::argument::{Fd, Flags, InBytes, OutBytes};
use crate::wait::{again, retry};

/// The most bytes one call transfers (`MAX_RW_COUNT`).
const COUNT_MAX: usize = 0x7fff_f000;
/// The most buffers of one call (`IOV_MAX`).
pub(in crate::syscall) const VECTORS_MAX: usize = 1024;

/// `struct iovec`
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct IoVec {
    pub(in crate::syscall) base: u64,
    pub(in crate::syscall) length: u64,
}

/// One buffer. `EFAULT` when it leaves the user half.
pub(in crate::syscall) fn single(base: usize, length: usize) -> Result<UserBuffers, Errno> {
    let end = base.checked_add(length).filter(|&end| end <= USER_END).ok_or(Errno::EFAULT)?;
    Ok(UserBuffers::one(base..end.min(base + COUNT_MAX)))
}

/// The buffers of an array of `struct iovec`.
pub(in crate::syscall) async fn vectors(
    ctx: &Ctx,
    array: UserPtr<IoVec>,
    count: usize,
) -> Result<Vec<Range<usize>>, Fail> {
    again(&ctx.memory, || get_vectors(array, count)).await
}

/// As [`vectors`], for an attempt.
pub(in crate::syscall) fn get_vectors(array: UserPtr<IoVec>, count: usize) -> Attempt<Vec<Range<usize>>> {
    if count > VECTORS_MAX {
        return Err(Errno::EINVAL.into());
    }
    let mut segments = Vec::new();
    segments.try_reserve_exact(count).map_err(|_| Errno::ENOMEM)?;
    let mut room = COUNT_MAX;
    for vector in array.get_array(count)? {
        let length = usize::try_from(vector.length as i64).map_err(|_| Errno::EINVAL)?;
        let base = vector.base as usize;
        if base.checked_add(length).is_none_or(|end| end > USER_END) {
            return Err(Errno::EFAULT.into());
        }
        let length = length.min(room);
        room -= length;
        segments.push(base..base + length);
    }
    Ok(segments)
}

/// Reads at `offset`, or at the file's position.
async fn read_into(ctx: &Ctx, file: &OpenFile, mut buffers: UserBuffers, offset: Option<u64>) -> SysResult {
    buffers.rewind(ctx.moved);
    poll::read(ctx, file, poll::patience(file, false), &mut buffers, &mut |buffers| match offset {
        None => file.read(buffers),
        Some(start) => file.read_at(start + buffers.position() as u64, buffers),
    })
    .await
}

/// Where a write goes.
#[derive(Clone, Copy)]
enum Target {
    /// To the file's position, which moves.
    Position,
    /// To this offset.
    Offset(u64),
    /// To the end (`RWF_APPEND`); the position follows if it is said.
    End { moving: bool },
}

/// Writes to where `target` says.
async fn write_from(ctx: &Ctx, file: &OpenFile, mut buffers: UserBuffers, target: Target) -> SysResult {
    buffers.rewind(ctx.moved);
    let offset = match target {
        Target::Offset(offset) => Some(offset),
        Target::Position | Target::End { .. } => None,
    };
    buffers.cut(size::room(ctx, file, offset, buffers.length()).await?);
    let thread = &*ctx.thread;
    poll::write(ctx, file, poll::patience(file, true), &mut buffers, &mut |buffers| match target {
        Target::Position => file.write(thread, buffers),
        Target::Offset(offset) => file.write_at(offset + buffers.position() as u64, thread, buffers),
        Target::End { moving } => file.append(moving, thread, buffers),
    })
    .await
}

/// The offset of pread and its kin.
pub(in crate::syscall) fn position(offset: i64) -> Result<Option<u64>, Errno> {
    u64::try_from(offset).map(Some).map_err(|_| Errno::EINVAL)
}

/// read(2)
pub async fn read(ctx: &mut Ctx, fd: Fd, buffer: OutBytes, count: usize) -> SysResult {
    let file = ctx.thread.files().get(fd.0)?;
    if !file.flags().readable() {
        return Err(Errno::EBADF.into());
    }
    read_into(ctx, &file, single(buffer.0.address(), count)?, None).await
}

/// read(2) of what is there.
pub fn read_at_once(ctx: &mut Ctx, fd: Fd, buffer: OutBytes, count: usize) -> Option<SysResult> {
    let file = ctx.thread.file(fd.0).ok()?;
    let mut buffers = single(buffer.0.address(), count).ok()?;
    let (step, whole) = (poll::step_of(&file), file.ops().is_none());
    poll::at_once(&mut ctx.moved, step, whole, &mut buffers, &mut |buffers| file.read(buffers))
}

/// write(2) for which there is room.
pub fn write_at_once(ctx: &mut Ctx, fd: Fd, buffer: InBytes, count: usize) -> Option<SysResult> {
    let file = ctx.thread.file(fd.0).ok()?;
    let mut buffers = single(buffer.0.address(), count).ok()?;
    if size::is_limited(ctx, &file) {
        return None;
    }
    let step = poll::step_of(&file);
    // What is no stream takes a message or nothing.
    let whole = step < usize::MAX;
    let thread = &*ctx.thread;
    poll::at_once(&mut ctx.moved, step, whole, &mut buffers, &mut |buffers| file.write(thread, buffers))
}

/// write(2)
pub async fn write(ctx: &mut Ctx, fd: Fd, buffer: InBytes, count: usize) -> SysResult {
    let file = ctx.thread.files().get(fd.0)?;
    if !file.flags().writable() {
        return Err(Errno::EBADF.into());
    }
    write_from(ctx, &file, single(buffer.0.address(), count)?, Target::Position).await
}

/// pread64(2)
pub async fn pread64(ctx: &mut Ctx, fd: Fd, buffer: OutBytes, count: usize, offset: i64) -> SysResult {
    let offset = position(offset)?;
    let file = ctx.thread.files().get(fd.0)?;
    read_into(ctx, &file, single(buffer.0.address(), count)?, offset).await
}

/// pwrite64(2)
pub async fn pwrite64(ctx: &mut Ctx, fd: Fd, buffer: InBytes, count: usize, offset: i64) -> SysResult {
    let offset = u64::try_from(offset).map_err(|_| Errno::EINVAL)?;
    let file = ctx.thread.files().get(fd.0)?;
    write_from(ctx, &file, single(buffer.0.address(), count)?, Target::Offset(offset)).await
}

/// readv(2)
pub async fn readv(ctx: &mut Ctx, fd: Fd, array: UserPtr<IoVec>, count: usize) -> SysResult {
    let file = ctx.thread.files().get(fd.0)?;
    if !file.flags().readable() {
        return Err(Errno::EBADF.into());
    }
    let segments = vectors(ctx, array, count).await?;
    if file.ops().is_some_and(|ops| !ops.transfers()) {
        return Err(Errno::EINVAL.into());
    }
    // Unlike read(2), it does not ask the file when there is nothing to read.
    if segments.iter().all(|segment| segment.start == segment.end) {
        return Ok(0);
    }
    read_into(ctx, &file, UserBuffers::new(segments), None).await
}

/// writev(2)
pub async fn writev(ctx: &mut Ctx, fd: Fd, array: UserPtr<IoVec>, count: usize) -> SysResult {
    let file = ctx.thread.files().get(fd.0)?;
    if !file.flags().writable() {
        return Err(Errno::EBADF.into());
    }
    write_from(ctx, &file, UserBuffers::new(vectors(ctx, array, count).await?), Target::Position).await
}

/// preadv(2)
pub async fn preadv(ctx: &mut Ctx, fd: Fd, array: UserPtr<IoVec>, count: usize, offset: i64) -> SysResult {
    let offset = position(offset)?;
    let file = ctx.thread.files().get(fd.0)?;
    read_into(ctx, &file, UserBuffers::new(vectors(ctx, array, count).await?), offset).await
}

/// pwritev(2)
pub async fn pwritev(ctx: &mut Ctx, fd: Fd, array: UserPtr<IoVec>, count: usize, offset: i64) -> SysResult {
    let offset = u64::try_from(offset).map_err(|_| Errno::EINVAL)?;
    let file = ctx.thread.files().get(fd.0)?;
    write_from(ctx, &file, UserBuffers::new(vectors(ctx, array, count).await?), Target::Offset(offset)).await
}

/// Flags of preadv2 and pwritev2 that ask for nothing but haste or safety, which files in memory have anyway
/// (`RWF_HIPRI`, `RWF_DSYNC`, `RWF_SYNC`).
const HARMLESS: u32 = 1 | 2 | 4;

/// preadv2(2); the upper half of the offset is always zero on 64-bit machines.
pub async fn preadv2(
    ctx: &mut Ctx,
    fd: Fd,
    array: UserPtr<IoVec>,
    count: usize,
    offset: i64,
    _upper: u64,
    flags: Flags,
) -> SysResult {
    check_flags(flags)?;
    match offset {
        -1 => readv(ctx, fd, array, count).await,
        offset => preadv(ctx, fd, array, count, offset).await,
    }
}

/// pwritev2(2)
pub async fn pwritev2(
    ctx: &mut Ctx,
    fd: Fd,
    array: UserPtr<IoVec>,
    count: usize,
    offset: i64,
    _upper: u64,
    flags: Flags,
) -> SysResult {
    const APPEND: u32 = 16;
    check_flags(Flags(flags.0 & !APPEND))?;
    if flags.0 & APPEND != 0 {
        if offset < -1 {
            return Err(Errno::EINVAL.into());
        }
        let file = ctx.thread.files().get(fd.0)?;
        let buffers = UserBuffers::new(vectors(ctx, array, count).await?);
        return write_from(ctx, &file, buffers, Target::End { moving: offset == -1 }).await;
    }
    match offset {
        -1 => writev(ctx, fd, array, count).await,
        offset => pwritev(ctx, fd, array, count, offset).await,
    }
}

fn check_flags(flags: Flags) -> Result<(), Errno> {
    if flags.0 & !HARMLESS == 0 { Ok(()) } else { Err(Errno::EOPNOTSUPP) }
}

/// lseek(2)
pub fn lseek(ctx: &mut Ctx, fd: Fd, offset: i64, whence: u32) -> Attempt {
    let file = ctx.thread.files().get(fd.0)?;
    let whence = Whence::from_raw(whence).ok_or(Errno::EINVAL)?;
    Ok(file.seek(offset, whence)? as usize)
}

/// sendfile(2)
pub async fn sendfile(ctx: &mut Ctx, out_fd: Fd, in_fd: Fd, offset: UserPtr<i64>, count: usize) -> SysResult {
    let files = ctx.thread.files();
    let (input, output) = (files.get(in_fd.0)?, files.get(out_fd.0)?);
    if !input.flags().readable() || !output.flags().writable() {
        return Err(Errno::EBADF.into());
    }
    let start = match offset.non_null() {
        Some(offset) => position(ctx.memory.read(offset).await?)?,
        None => None,
    };
    if !matches!(input.kind(), FileType::Regular | FileType::BlockDevice) {
        return Err(Errno::EINVAL.into());
    }
    let done = copy(ctx, (&input, start), (&output, None), count.min(COUNT_MAX)).await?;
    if let (Some(offset), Some(start)) = (offset.non_null(), start) {
        ctx.memory.write(offset, &((start + done as u64) as i64)).await?;
    }
    Ok(done)
}

/// `copy_file_range(2)`
pub async fn copy_file_range(
    ctx: &mut Ctx,
    in_fd: Fd,
    in_offset: UserPtr<i64>,
    out_fd: Fd,
    out_offset: UserPtr<i64>,
    count: usize,
    flags: Flags,
) -> SysResult {
    if flags.0 != 0 {
        return Err(Errno::EINVAL.into());
    }
    let files = ctx.thread.files();
    let (input, output) = (files.get(in_fd.0)?, files.get(out_fd.0)?);
    for file in [&input, &output] {
        match file.kind() {
            FileType::Regular => {}
            FileType::Directory => return Err(Errno::EISDIR.into()),
            _ => return Err(Errno::EINVAL.into()),
        }
    }
    let appends = output.flags().contains(isopod_fs::file::OpenFlags::APPEND);
    if !input.flags().readable() || !output.flags().writable() || appends {
        return Err(Errno::EBADF.into());
    }
    let mut starts = [None, None];
    for (start, offset) in starts.iter_mut().zip([in_offset, out_offset]) {
        if let Some(offset) = offset.non_null() {
            *start = position(ctx.memory.read(offset).await?)?;
        }
    }
    if Arc::ptr_eq(input.inode(), output.inode()) {
        let from = starts[0].map_or_else(|| input.seek(0, Whence::Current), Ok);
        let to = starts[1].map_or_else(|| output.seek(0, Whence::Current), Ok);
        if let (Ok(from), Ok(to)) = (from, to)
            && from.abs_diff(to) < count as u64
        {
            return Err(Errno::EINVAL.into());
        }
    }
    let done = copy(ctx, (&input, starts[0]), (&output, starts[1]), count.min(COUNT_MAX)).await?;
    for (start, offset) in starts.into_iter().zip([in_offset, out_offset]) {
        if let (Some(start), Some(offset)) = (start, offset.non_null()) {
            ctx.memory.write(offset, &((start + done as u64) as i64)).await?;
        }
    }
    Ok(done)
}

/// Copies up to `count` bytes from one file to another, each at an offset or at its position. The input's position moves only by what
/// the output took.
async fn copy(
    ctx: &Ctx,
    (input, from): (&Arc<OpenFile>, Option<u64>),
    (output, to): (&Arc<OpenFile>, Option<u64>),
    count: usize,
) -> SysResult {
    const CHUNK: usize = 64 << 10;
    let mut chunk = Vec::new();
    chunk.try_reserve_exact(CHUNK.min(count)).map_err(|_| Errno::ENOMEM)?;
    chunk.resize(CHUNK.min(count), 0);
    let begin = match from {
        Some(offset) => offset,
        None => retry(|| input.seek(0, Whence::Current)).await?,
    };
    let mut done = 0;
    let outcome = loop {
        if done == count {
            break Ok(());
        }
        let wanted = chunk.len().min(count - done);
        let read = retry(|| input.read_at(begin + done as u64, &mut Buffer::new(&mut chunk[..wanted]))).await;
        let there = match read {
            Ok(0) => break Ok(()),
            Ok(length) => length,
            Err(errno) => break Err(errno.into()),
        };
        let mut written = 0;
        let patience = if done == 0 { poll::patience(output, true) } else { poll::NEVER };
        let write = poll::until_ready(&ctx.thread, output, patience, || {
            let mut bytes = Bytes::new(&chunk[..there]);
            match to {
                Some(offset) => output.write_at(offset + done as u64, &*ctx.thread, &mut bytes),
                None => output.write(&*ctx.thread, &mut bytes),
            }
        })
        .await;
        match write {
            Ok(length) => written += length,
            Err(fail) => {
                poll::told(&ctx.thread, output, done, fail)?;
                break Err(fail);
            }
        }
        done += written;
        if written < there || ctx.thread.must_end() {
            break Ok(());
        }
        sched::give_way().await;
    };
    if from.is_none() && done > 0 {
        retry(|| input.seek((begin + done as u64) as i64, Whence::Set)).await?;
    }
    match outcome {
        Err(fail) if done == 0 => Err(fail),
        _ => Ok(done),
    }
}

/// fsync(2) and fdatasync(2): no file system here keeps anything back from a disk.
pub fn fsync(ctx: &mut Ctx, fd: Fd) -> SysResult {
    let file = ctx.thread.files().get(fd.0)?;
    match (file.check_not_path(), file.kind()) {
        (Err(_), _) => Err(Errno::EBADF.into()),
        (_, FileType::Fifo | FileType::Socket | FileType::CharacterDevice) => Err(Errno::EINVAL.into()),
        _ => Ok(0),
    }
}

/// `sync_file_range(2)`, as [`fsync`].
pub fn sync_file_range(ctx: &mut Ctx, fd: Fd, offset: i64, length: i64, flags: Flags) -> SysResult {
    const ALL: u32 = 7;
    let file = ctx.thread.files().get(fd.0)?;
    let end = offset.checked_add(length);
    if flags.0 & !ALL != 0 || offset < 0 || end.is_none_or(|end| end < offset) {
        return Err(Errno::EINVAL.into());
    }
    match file.kind() {
        FileType::Regular | FileType::BlockDevice | FileType::Directory | FileType::Symlink => Ok(0),
        _ => Err(Errno::ESPIPE.into()),
    }
}

/// syncfs(2)
pub fn syncfs(ctx: &mut Ctx, fd: Fd) -> SysResult {
    ctx.thread.files().get(fd.0)?;
    Ok(0)
}

/// sync(2)
pub fn sync(_: &mut Ctx) -> SysResult {
    Ok(0)
}

/// fadvise64(2): nothing depends on it.
pub fn fadvise64(ctx: &mut Ctx, fd: Fd, _offset: i64, length: i64, advice: i32) -> SysResult {
    let file = ctx.thread.files().get(fd.0)?;
    match file.kind() {
        FileType::Fifo | FileType::Socket => Err(Errno::ESPIPE.into()),
        _ if length < 0 || !(0..=5).contains(&advice) => Err(Errno::EINVAL.into()),
        _ => Ok(0),
    }
}

/// readahead(2)
pub fn readahead(ctx: &mut Ctx, fd: Fd, _offset: i64, _count: usize) -> SysResult {
    let file = ctx.thread.files().get(fd.0)?;
    if !file.flags().readable() {
        return Err(Errno::EBADF.into());
    }
    if file.kind() != FileType::Regular {
        return Err(Errno::EINVAL.into());
    }
    Ok(0)
}
