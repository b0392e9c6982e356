//! splice(2), tee(2), vmsplice(2).
//!
//! Between pipes, pages change hands. A file's bytes are copied into pages of the pipe, and back.

use alloc::sync::Arc;

use isopod_fs::file::{OpenFile, OpenFlags, Seeking};
use isopod_fs::{Errno, Error};
use isopod_hal::PAGE_SIZE;

use super::argument::{Fd, Flags};
use super::file::io::{IoVec, get_vectors, position};
use crate::fail::{Attempt, Fail, Rest, Stop, SysResult};
use crate::ipc::pipe::{Pages, Pipe};
use crate::mm::{UserBuffers, UserPtr};
use crate::poll::{self, Deed, NEVER, Transfer, until_ready};
use crate::process::{Ctx, Thread};
use crate::sched;

/// `SPLICE_F_NONBLOCK`; the other three flags are hints.
const NONBLOCK: u32 = 2;
const ALL: u32 = 15;

/// How many pages go to or come from a file at once.
const PAGES: usize = 256;

/// How long to wait for a pipe.
fn patience(pipe: &OpenFile, flags: Flags) -> u64 {
    if flags.0 & NONBLOCK != 0 { NEVER } else { poll::patience(pipe, false) }
}

/// A file, and where in it; `None` is its position.
#[derive(Debug, Clone, Copy)]
struct Place<'a> {
    file: &'a Arc<OpenFile>,
    offset: Option<u64>,
}

/// splice(2)
pub fn splice(
    ctx: &mut Ctx,
    in_fd: Fd,
    in_offset: UserPtr<i64>,
    out_fd: Fd,
    out_offset: UserPtr<i64>,
    length: usize,
    flags: Flags,
) -> Attempt {
    if length == 0 {
        return Ok(0);
    }
    if flags.0 & !ALL != 0 {
        return Err(Errno::EINVAL.into());
    }
    let files = ctx.thread.files();
    let (input, output) = (files.get(in_fd.0)?, files.get(out_fd.0)?);
    let pipes = (Pipe::of(&input).is_some(), Pipe::of(&output).is_some());
    if pipes.0 && !in_offset.is_null() || pipes.1 && !out_offset.is_null() {
        return Err(Errno::ESPIPE.into());
    }
    let offsets = [offset(in_offset)?, offset(out_offset)?];
    if !input.flags().readable() || !output.flags().writable() {
        return Err(Errno::EBADF.into());
    }
    let (thread, memory) = (Arc::clone(&ctx.thread), Arc::clone(&ctx.memory));
    Err(Stop::Rest(Rest::new(async move {
        let from = Place { file: &input, offset: offsets[0] };
        let to = Place { file: &output, offset: offsets[1] };
        let done = match (Pipe::of(&input), Pipe::of(&output)) {
            (Some(source), Some(target)) => {
                between_pipes(&thread, (&input, source), (&output, target), length, flags, false).await
            }
            (Some(source), None) => from_pipe(&thread, (&input, source), to, length, flags).await,
            (None, Some(target)) => to_pipe(&thread, from, (&output, target), length, flags).await,
            (None, None) => Err(Errno::EINVAL.into()),
        };
        let done = told(&thread, done)?;
        for (pointer, offset) in [in_offset, out_offset].into_iter().zip(offsets) {
            if let Some(offset) = offset {
                memory.write(pointer, &((offset + done as u64) as i64)).await?;
            }
        }
        Ok(done)
    })))
}

fn offset(pointer: UserPtr<i64>) -> Attempt<Option<u64>> {
    Ok(pointer.get_optional()?.map_or(Ok(None), position)?)
}

/// `EPIPE` comes with SIGPIPE.
fn told(thread: &Thread, outcome: SysResult) -> SysResult {
    if outcome == Err(Fail::Errno(Errno::EPIPE)) {
        poll::broken_pipe(thread)?;
    }
    outcome
}

/// tee(2)
pub fn tee(ctx: &mut Ctx, in_fd: Fd, out_fd: Fd, length: usize, flags: Flags) -> Attempt {
    if flags.0 & !ALL != 0 {
        return Err(Errno::EINVAL.into());
    }
    if length == 0 {
        return Ok(0);
    }
    let files = ctx.thread.files();
    let (input, output) = (files.get(in_fd.0)?, files.get(out_fd.0)?);
    if !input.flags().readable() || !output.flags().writable() {
        return Err(Errno::EBADF.into());
    }
    let thread = Arc::clone(&ctx.thread);
    Err(Stop::Rest(Rest::new(async move {
        let (Some(source), Some(target)) = (Pipe::of(&input), Pipe::of(&output)) else {
            return Err(Errno::EINVAL.into());
        };
        let moved = between_pipes(&thread, (&input, source), (&output, target), length, flags, true).await;
        told(&thread, moved)
    })))
}

/// Moves pages from one pipe to another, or with `keep` shares them.
async fn between_pipes(
    thread: &Thread,
    (input, source): (&OpenFile, &Pipe),
    (output, target): (&OpenFile, &Pipe),
    length: usize,
    flags: Flags,
    keep: bool,
) -> SysResult {
    if core::ptr::eq(source, target) {
        return Err(Errno::EINVAL.into());
    }
    let patience = patience(input, flags).min(patience(output, flags));
    loop {
        until_ready(thread, output, patience, || target.room()).await?;
        let moved = until_ready(thread, input, patience, || {
            let Some(room) = room_left(target)? else { return Ok(None) };
            if keep {
                let mut pages = source.peek(length, room)?;
                let count = pages.len();
                target.append(&mut pages)?;
                return Ok(Some(count));
            }
            let mut taken = source.take(length, room)?;
            let count = taken.pages.len();
            target.append(&mut taken.pages)?;
            Ok(Some(count))
        });
        if let Some(count) = moved.await? {
            return Ok(count);
        }
    }
}

/// How many pages a pipe has room for; none when the wait for the other file has cost it.
fn room_left(pipe: &Pipe) -> isopod_fs::Result<Option<usize>> {
    match pipe.room() {
        Ok(pages) => Ok(Some(pages)),
        Err(Error::Errno(Errno::EAGAIN)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Writes what a pipe holds to a file. What the file does not take stays.
async fn from_pipe(
    thread: &Thread,
    (input, pipe): (&OpenFile, &Pipe),
    to: Place<'_>,
    length: usize,
    flags: Flags,
) -> SysResult {
    if to.offset.is_some() && to.file.seeking() == Seeking::Never
        || to.file.flags().contains(OpenFlags::APPEND)
    {
        return Err(Errno::EINVAL.into());
    }
    until_ready(thread, input, patience(input, flags), || pipe.peek(0, 0)).await?;
    let mut done = 0;
    let mut outcome = Ok(0);
    while done < length {
        outcome = until_ready(thread, to.file, poll::patience(to.file, true), || {
            // Another reader may have been here.
            let mut taken = match pipe.take(length - done, PAGES) {
                Ok(taken) if !taken.pages.is_empty() => taken,
                Ok(_) | Err(Error::Errno(Errno::EAGAIN)) => return Ok(0),
                Err(error) => return Err(error),
            };
            let mut bytes = taken.pages.try_clone()?;
            let count = match to.offset {
                Some(offset) => to.file.write_at(offset + done as u64, thread, &mut bytes)?,
                None => to.file.write(thread, &mut bytes)?,
            };
            taken.pages.advance(count);
            Ok(count)
        })
        .await;
        match outcome {
            Ok(count) if count > 0 => done += count,
            _ => break,
        }
        sched::give_way().await;
    }
    if done > 0 { Ok(done) } else { outcome }
}

/// Fills a pipe from a file, as far as there is room.
async fn to_pipe(
    thread: &Thread,
    from: Place<'_>,
    (output, pipe): (&OpenFile, &Pipe),
    length: usize,
    flags: Flags,
) -> SysResult {
    if from.offset.is_some() && from.file.seeking() == Seeking::Never {
        return Err(Errno::EINVAL.into());
    }
    loop {
        until_ready(thread, output, patience(output, flags), || pipe.room()).await?;
        let moved = until_ready(thread, from.file, poll::patience(from.file, false), || {
            // All that can fail comes before the file gives its bytes.
            let Some(room) = room_left(pipe)? else { return Ok(None) };
            let mut pages = Pages::new(length.min(room.min(PAGES) * PAGE_SIZE))?;
            pipe.reserve(pages.pages())?;
            let count = match from.offset {
                Some(offset) => from.file.read_at(offset, &mut pages.fill())?,
                None => from.file.read(&mut pages.fill())?,
            };
            pages.truncate(count);
            pipe.append(&mut pages)?;
            Ok(Some(count))
        });
        if let Some(count) = moved.await? {
            return Ok(count);
        }
    }
}

/// vmsplice(2): as writev(2) or readv(2), for a pipe.
pub fn vmsplice(ctx: &mut Ctx, fd: Fd, array: UserPtr<IoVec>, count: usize, flags: Flags) -> Attempt {
    if flags.0 & !ALL != 0 {
        return Err(Errno::EINVAL.into());
    }
    let file = ctx.thread.files().get(fd.0)?;
    if Pipe::of(&file).is_none() {
        return Err(Errno::EBADF.into());
    }
    let buffers = UserBuffers::new(get_vectors(array, count)?);
    let deadline = patience(&file, flags);
    let deed = if file.flags().writable() { Deed::Write } else { Deed::Read };
    Transfer { file, buffers, deed, deadline }.make(ctx)
}
