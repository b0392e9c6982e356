//! read(2), write(2) and their variants, lseek(2), sendfile(2), sync(2).

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;

use isopod_fs::file::{OpenFile, OpenFlags, Whence};
use isopod_fs::{Buffer, Bytes, Errno, FileType};
use isopod_hal::paging::USER_END;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::size;
use crate::fail::{Attempt, Rest, Stop, SysResult, errno};
use crate::ipc::pipe::Pipe;
use crate::mm::{AddressSpace, UserBuffers, UserPtr};
use crate::poll::{self, Deed, Transfer};
use crate::process::{Ctx, Thread};
use crate::sched;
use crate::syscall::argument::{Fd, Flags, InBytes, OutBytes};
use crate::wait::again;

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

/// The transfer that a call asks for, of which what [has been moved](Ctx::moved) is done. Of a write it is as much as `RLIMIT_FSIZE` allows.
fn transfer(ctx: &Ctx, file: Arc<OpenFile>, mut buffers: UserBuffers, deed: Deed) -> Attempt<Transfer> {
    if deed.writes() {
        let offset = if let Deed::WriteAt(offset) = deed { Some(offset) } else { None };
        let room = match size::room(&ctx.thread, &file, offset, buffers.length() - ctx.moved) {
            Ok(room) => room,
            // What has been written is the result.
            Err(_) if ctx.moved > 0 => 0,
            Err(stop) => return Err(stop),
        };
        buffers.cut(ctx.moved + room);
    }
    let deadline = poll::patience(&file, deed.writes());
    Ok(Transfer { file, buffers, deed, deadline })
}

/// Transfers until no more is to be had, as far as `RLIMIT_FSIZE` allows.
pub(in crate::syscall) async fn transfer_all(
    thread: &Arc<Thread>,
    memory: &Arc<AddressSpace>,
    file: Arc<OpenFile>,
    mut buffers: UserBuffers,
    deed: Deed,
) -> SysResult {
    if deed.writes() {
        let offset = if let Deed::WriteAt(offset) = deed { Some(offset) } else { None };
        let room = again(memory, || size::room(thread, &file, offset, buffers.length())).await?;
        buffers.cut(room);
    }
    let deadline = poll::patience(&file, deed.writes());
    Transfer { file, buffers, deed, deadline }.finish(Arc::clone(thread), Arc::clone(memory)).await
}

/// Makes a call with several buffers.
fn vectored(ctx: &mut Ctx, file: Arc<OpenFile>, array: UserPtr<IoVec>, count: usize, deed: Deed) -> Attempt {
    let buffers = UserBuffers::new(get_vectors(array, count)?);
    transfer(ctx, file, buffers, deed)?.make(ctx)
}

/// The offset of pread and its kin.
pub(in crate::syscall) fn position(offset: i64) -> Result<Option<u64>, Errno> {
    u64::try_from(offset).map(Some).map_err(|_| Errno::EINVAL)
}

/// read(2)
pub fn read(ctx: &mut Ctx, fd: Fd, buffer: OutBytes, count: usize) -> Attempt {
    match read_at_once(ctx, fd, buffer, count) {
        Some(done) => Ok(done?),
        None => read_or_wait(ctx, fd, buffer, count),
    }
}

// Not inlined: most reads are done at once.
#[inline(never)]
fn read_or_wait(ctx: &Ctx, fd: Fd, buffer: OutBytes, count: usize) -> Attempt {
    let file = ctx.thread.file(fd.0)?;
    if !file.flags().readable() {
        return Err(Errno::EBADF.into());
    }
    Err(transfer(ctx, file, single(buffer.0.address(), count)?, Deed::Read)?.rest(ctx))
}

/// read(2) of what is there.
fn read_at_once(ctx: &mut Ctx, fd: Fd, buffer: OutBytes, count: usize) -> Option<SysResult> {
    let file = ctx.thread.file(fd.0).ok()?;
    let mut buffers = single(buffer.0.address(), count).ok()?;
    let (step, whole) = (poll::step_of(&file), file.ops().is_none());
    poll::at_once(&mut ctx.moved, step, whole, &mut buffers, &mut |buffers| file.read(buffers))
}

/// write(2) for which there is room.
fn write_at_once(ctx: &mut Ctx, fd: Fd, buffer: InBytes, count: usize) -> Option<SysResult> {
    let file = ctx.thread.file(fd.0).ok()?;
    let mut buffers = single(buffer.0.address(), count).ok()?;
    if size::is_limited(&ctx.thread, &file) {
        return None;
    }
    let step = poll::step_of(&file);
    // What is no stream takes a message or nothing.
    let whole = step < usize::MAX;
    let thread = &*ctx.thread;
    poll::at_once(&mut ctx.moved, step, whole, &mut buffers, &mut |buffers| file.write(thread, buffers))
}

/// write(2)
pub fn write(ctx: &mut Ctx, fd: Fd, buffer: InBytes, count: usize) -> Attempt {
    match write_at_once(ctx, fd, buffer, count) {
        Some(done) => Ok(done?),
        None => write_or_wait(ctx, fd, buffer, count),
    }
}

// Not inlined: most writes are done at once.
#[inline(never)]
fn write_or_wait(ctx: &Ctx, fd: Fd, buffer: InBytes, count: usize) -> Attempt {
    let file = match ctx.thread.file(fd.0) {
        Ok(file) if file.flags().writable() => file,
        // Closed, or another one by now, of which nothing more is written.
        _ if ctx.moved > 0 => return Ok(ctx.moved),
        _ => return Err(Errno::EBADF.into()),
    };
    Err(transfer(ctx, file, single(buffer.0.address(), count)?, Deed::Write)?.rest(ctx))
}

/// pread64(2)
pub fn pread64(ctx: &mut Ctx, fd: Fd, buffer: OutBytes, count: usize, offset: i64) -> Attempt {
    let offset = u64::try_from(offset).map_err(|_| Errno::EINVAL)?;
    let file = ctx.thread.file(fd.0)?;
    transfer(ctx, file, single(buffer.0.address(), count)?, Deed::ReadAt(offset))?.make(ctx)
}

/// pwrite64(2)
pub fn pwrite64(ctx: &mut Ctx, fd: Fd, buffer: InBytes, count: usize, offset: i64) -> Attempt {
    let offset = u64::try_from(offset).map_err(|_| Errno::EINVAL)?;
    let file = ctx.thread.file(fd.0)?;
    transfer(ctx, file, single(buffer.0.address(), count)?, Deed::WriteAt(offset))?.make(ctx)
}

/// readv(2)
pub fn readv(ctx: &mut Ctx, fd: Fd, array: UserPtr<IoVec>, count: usize) -> Attempt {
    let file = ctx.thread.file(fd.0)?;
    if !file.flags().readable() {
        return Err(Errno::EBADF.into());
    }
    let segments = get_vectors(array, count)?;
    if file.ops().is_some_and(|ops| !ops.transfers()) {
        return Err(Errno::EINVAL.into());
    }
    // Unlike read(2), it does not ask the file when there is nothing to read.
    if segments.iter().all(|segment| segment.start == segment.end) {
        return Ok(0);
    }
    transfer(ctx, file, UserBuffers::new(segments), Deed::Read)?.make(ctx)
}

/// writev(2)
pub fn writev(ctx: &mut Ctx, fd: Fd, array: UserPtr<IoVec>, count: usize) -> Attempt {
    let file = ctx.thread.file(fd.0)?;
    if !file.flags().writable() {
        return Err(Errno::EBADF.into());
    }
    vectored(ctx, file, array, count, Deed::Write)
}

/// preadv(2)
pub fn preadv(ctx: &mut Ctx, fd: Fd, array: UserPtr<IoVec>, count: usize, offset: i64) -> Attempt {
    let offset = u64::try_from(offset).map_err(|_| Errno::EINVAL)?;
    let file = ctx.thread.file(fd.0)?;
    vectored(ctx, file, array, count, Deed::ReadAt(offset))
}

/// pwritev(2)
pub fn pwritev(ctx: &mut Ctx, fd: Fd, array: UserPtr<IoVec>, count: usize, offset: i64) -> Attempt {
    let offset = u64::try_from(offset).map_err(|_| Errno::EINVAL)?;
    let file = ctx.thread.file(fd.0)?;
    vectored(ctx, file, array, count, Deed::WriteAt(offset))
}

/// Flags of preadv2 and pwritev2 that ask for nothing but haste or safety, which files in memory have anyway
/// (`RWF_HIPRI`, `RWF_DSYNC`, `RWF_SYNC`).
const HARMLESS: u32 = 1 | 2 | 4;

/// `RWF_APPEND`
const APPEND: u32 = 16;

/// preadv2(2); the upper half of the offset is always zero on 64-bit machines.
pub fn preadv2(
    ctx: &mut Ctx,
    fd: Fd,
    array: UserPtr<IoVec>,
    count: usize,
    offset: i64,
    _upper: u64,
    flags: Flags,
) -> Attempt {
    check_flags(flags)?;
    match offset {
        -1 => readv(ctx, fd, array, count),
        offset => preadv(ctx, fd, array, count, offset),
    }
}

/// pwritev2(2)
pub fn pwritev2(
    ctx: &mut Ctx,
    fd: Fd,
    array: UserPtr<IoVec>,
    count: usize,
    offset: i64,
    _upper: u64,
    flags: Flags,
) -> Attempt {
    check_flags(Flags(flags.0 & !APPEND))?;
    if flags.0 & APPEND != 0 {
        if offset < -1 {
            return Err(Errno::EINVAL.into());
        }
        let file = ctx.thread.file(fd.0)?;
        return vectored(ctx, file, array, count, Deed::Append { moving: offset == -1 });
    }
    match offset {
        -1 => writev(ctx, fd, array, count),
        offset => pwritev(ctx, fd, array, count, offset),
    }
}

fn check_flags(flags: Flags) -> Result<(), Errno> {
    if flags.0 & !HARMLESS == 0 { Ok(()) } else { Err(Errno::EOPNOTSUPP) }
}

/// Checks the flags of one transfer: whether it goes to the end of the file.
pub(in crate::syscall) fn check_transfer_flags(flags: u32, writes: bool) -> Result<bool, Errno> {
    check_flags(Flags(flags & !APPEND))?;
    Ok(writes && flags & APPEND != 0)
}

/// lseek(2)
pub fn lseek(ctx: &mut Ctx, fd: Fd, offset: i64, whence: u32) -> Attempt {
    let file = ctx.thread.files().get(fd.0)?;
    let whence = Whence::from_raw(whence).ok_or(Errno::EINVAL)?;
    Ok(file.seek(offset, whence)? as usize)
}

/// One side of a copy: a file, where in it, and where the program is told how far it has come. Without an offset it is the file's position.
struct End {
    file: Arc<OpenFile>,
    offset: Option<u64>,
    place: UserPtr<i64>,
}

impl End {
    fn new(file: Arc<OpenFile>, place: UserPtr<i64>) -> Attempt<Self> {
        let offset = place.get_optional()?.map_or(Ok(None), position)?;
        Ok(Self { file, offset, place })
    }
}

/// sendfile(2)
pub fn sendfile(ctx: &mut Ctx, out_fd: Fd, in_fd: Fd, offset: UserPtr<i64>, count: usize) -> Attempt {
    let files = ctx.thread.files();
    let (input, output) = (files.get(in_fd.0)?, files.get(out_fd.0)?);
    if !input.flags().readable() || !output.flags().writable() {
        return Err(Errno::EBADF.into());
    }
    let from = End::new(input, offset)?;
    // Where its bytes go would not be what the caller was told (`do_splice_direct`).
    let appends = output.flags().contains(OpenFlags::APPEND) && Pipe::of(&output).is_none();
    if appends || !matches!(from.file.kind(), FileType::Regular | FileType::BlockDevice) {
        return Err(Errno::EINVAL.into());
    }
    Err(copy(ctx, from, End::new(output, UserPtr::new(0))?, count))
}

/// `copy_file_range(2)`
pub fn copy_file_range(
    ctx: &mut Ctx,
    in_fd: Fd,
    in_offset: UserPtr<i64>,
    out_fd: Fd,
    out_offset: UserPtr<i64>,
    count: usize,
    flags: Flags,
) -> Attempt {
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
    let (from, to) = (End::new(input, in_offset)?, End::new(output, out_offset)?);
    if Arc::ptr_eq(from.file.inode(), to.file.inode()) {
        let start = |end: &End| end.offset.map_or_else(|| end.file.seek(0, Whence::Current), Ok);
        if let (Ok(from), Ok(to)) = (start(&from), start(&to))
            && from.abs_diff(to) < count as u64
        {
            return Err(Errno::EINVAL.into());
        }
    }
    Err(copy(ctx, from, to, count))
}

/// Copies up to `count` bytes from one file to another, and tells the program how far that went.
fn copy(ctx: &Ctx, from: End, to: End, count: usize) -> Stop {
    let (thread, memory) = (Arc::clone(&ctx.thread), Arc::clone(&ctx.memory));
    Stop::Rest(Rest::new(async move {
        let done = copy_bytes(&thread, &from, &to, count.min(COUNT_MAX)).await?;
        for End { offset, place, .. } in [from, to] {
            if let Some(start) = offset {
                memory.write(place, &((start + done as u64) as i64)).await?;
            }
        }
        Ok(done)
    }))
}

/// Copies. The input's position moves only by what the output took.
async fn copy_bytes(thread: &Thread, from: &End, to: &End, count: usize) -> SysResult {
    const CHUNK: usize = 64 << 10;
    let (input, output) = (&from.file, &to.file);
    let mut chunk = Vec::new();
    chunk.try_reserve_exact(CHUNK.min(count)).map_err(|_| Errno::ENOMEM)?;
    chunk.resize(CHUNK.min(count), 0);
    let mut begin = from.offset.unwrap_or(0);
    let mut done = 0;
    let outcome = loop {
        if done == count {
            break Ok(());
        }
        let wanted = chunk.len().min(count - done);
        let mut there = 0;
        // No regular file says EAGAIN.
        let read = poll::ready(thread, input, poll::NEVER, &mut || {
            if from.offset.is_none() && done == 0 {
                begin = input.seek(0, Whence::Current)?;
            }
            there = input.read_at(begin + done as u64, &mut Buffer::new(&mut chunk[..wanted]))?;
            Ok(())
        })
        .await;
        if let Err(fail) = read {
            break Err(fail);
        }
        if there == 0 {
            break Ok(());
        }
        let mut written = 0;
        let patience = if done == 0 { poll::patience(output, true) } else { poll::NEVER };
        let write = poll::ready(thread, output, patience, &mut || {
            let mut bytes = Bytes::new(&chunk[..there]);
            written = match to.offset {
                Some(offset) => output.write_at(offset + done as u64, thread, &mut bytes),
                None => output.write(thread, &mut bytes),
            }?;
            Ok(())
        })
        .await;
        if let Err(fail) = write {
            poll::told(thread, output, done, fail)?;
            break Err(fail);
        }
        done += written;
        if written < there || thread.must_end() {
            break Ok(());
        }
        sched::give_way().await;
    };
    if from.offset.is_none() && done > 0 {
        input.seek((begin + done as u64) as i64, Whence::Set).map_err(errno)?;
    }
    match outcome {
        Err(fail) if done == 0 => Err(fail),
        _ => Ok(done),
    }
}

/// fsync(2) and fdatasync(2): no file system here keeps anything back from a disk.
pub fn fsync(ctx: &mut Ctx, fd: Fd) -> SysResult {
    let file = ctx.thread.files().get(fd.0)?;
    file.check_not_path().map_err(|_| Errno::EBADF)?;
    check_syncs(&file)?;
    Ok(0)
}

/// `EINVAL` for what keeps nothing.
pub(in crate::syscall) fn check_syncs(file: &OpenFile) -> Result<(), Errno> {
    match file.kind() {
        FileType::Fifo | FileType::Socket | FileType::CharacterDevice => Err(Errno::EINVAL),
        _ => Ok(()),
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
