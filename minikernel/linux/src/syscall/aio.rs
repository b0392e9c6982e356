//! `io_setup(2)`, `io_destroy(2)`, `io_submit(2)`, `io_cancel(2)`, `io_getevents(2)`, `io_pgetevents(2)`.

use alloc::sync::Arc;

use isopod_fs::file::{FileOps, OpenFile, Ready};
use isopod_fs::{Errno, FileType};
use isopod_hal::clock;
use isopod_hal::uaccess::Fault;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::file::io;
use super::poll::get_mask;
use crate::aio::{Context, Event, Waiting, wait_for};
use crate::fail::{Attempt, Fail, Rest, Restart, Stop, SysResult};
use crate::ipc::eventfd;
use crate::mm::{AddressSpace, UserBuffers, UserPtr};
use crate::poll::{Deed, FOREVER, NEVER};
use crate::process::{Ctx, Thread};
use crate::sched;
use crate::signal::SigSet;
use crate::time::Timespec;
use crate::wait::{again, interruptible};

/// `struct iocb`
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct Control {
    data: u64,
    key: u32,
    rw_flags: u32,
    opcode: u16,
    priority: i16,
    fd: i32,
    buffer: u64,
    count: u64,
    offset: i64,
    reserved: u64,
    flags: u32,
    tell: i32,
}

/// `io_setup(2)`
pub fn io_setup(ctx: &mut Ctx, requests: u32, id: UserPtr<u64>) -> Attempt {
    if id.get()? != 0 || requests == 0 {
        return Err(Errno::EINVAL.into());
    }
    // What has been made can be told.
    id.put(&0)?;
    let context = ctx.memory.aio.make(&ctx.memory, requests)?;
    if let Err(fault) = id.put(&context.id()) {
        ctx.memory.aio.destroy(&ctx.memory, context.id())?;
        return Err(fault.into());
    }
    Ok(0)
}

/// `io_destroy(2)`
pub fn io_destroy(ctx: &mut Ctx, id: u64) -> SysResult {
    ctx.memory.aio.destroy(&ctx.memory, id)?;
    Ok(0)
}

/// `io_submit(2)`: how many of the requests have begun. An error is told only of the first.
pub fn io_submit(ctx: &mut Ctx, id: u64, count: i64, requests: UserPtr<u64>) -> Attempt {
    /// So many are begun before others get their turn.
    const TURN: usize = 64;
    let count = usize::try_from(count).map_err(|_| Errno::EINVAL)?;
    let context = ctx.memory.aio.find(id)?;
    let count = count.min(context.slots());
    let (thread, memory) = (Arc::clone(&ctx.thread), Arc::clone(&ctx.memory));
    Err(Stop::Rest(Rest::new(async move {
        for begun in 0..count {
            // Most of them wait for nothing, and there may be many.
            if begun % TURN == TURN - 1 {
                sched::give_way().await;
                if thread.must_end() {
                    return Ok(begun);
                }
            }
            let outcome = match memory.read(requests.element(begun)).await {
                Ok(place) => submit(&thread, &memory, &context, place).await,
                Err(errno) => Err(errno),
            };
            if let Err(errno) = outcome {
                return if begun == 0 { Err(errno.into()) } else { Ok(begun) };
            }
        }
        Ok(count)
    })))
}

/// Begins one, and ends it unless it waits. `EINVAL`, `EAGAIN`, `EBADF`, `EFAULT`, ... in Linux's order (`io_submit_one()`)
async fn submit(
    thread: &Arc<Thread>,
    memory: &Arc<AddressSpace>,
    context: &Arc<Context>,
    place: u64,
) -> Result<(), Errno> {
    /// `IOCB_FLAG_RESFD`
    const TELL: u32 = 1;
    let at = UserPtr::<Control>::new(place as usize);
    let control = memory.read(at).await?;
    if control.reserved != 0 || i64::try_from(control.count).is_err() {
        return Err(Errno::EINVAL);
    }
    let request = context.begin()?;
    let file = thread.file(control.fd)?;
    let mut tell = None;
    if control.flags & TELL != 0 {
        let counter = thread.file(control.tell)?;
        tell = Some(if eventfd::is_one(&counter) { counter } else { return Err(Errno::EINVAL) });
    }
    // What io_cancel(2) expects there.
    memory.write(UserPtr::<u32>::new(at.address() + size_of::<u64>()), &0).await?;
    let mut event = Event { data: control.data, object: place, result: 0, second: 0 };
    let outcome = match control.work(&file)? {
        Work::Poll(events) => return wait_for(Waiting { file, events, request, event, tell }),
        Work::Nothing => Ok(0),
        Work::Transfer(deed) => {
            let buffers = control.buffers(memory).await?;
            io::transfer_all(thread, memory, file, buffers, deed).await
        }
    };
    event.result = match outcome {
        Ok(count) => count as i64,
        Err(Fail::Errno(errno)) => -i64::from(errno.number()),
        // It is not made again.
        Err(_) => -i64::from(Errno::EINTR.number()),
    };
    request.complete(&event, tell.as_deref());
    Ok(())
}

/// What a request asks for.
enum Work {
    Transfer(Deed),
    /// A file here keeps nothing back.
    Nothing,
    Poll(Ready),
}

impl Control {
    const READ: u16 = 0;
    const WRITE: u16 = 1;
    const SYNC: u16 = 2;
    const DATA_SYNC: u16 = 3;
    const POLL: u16 = 5;
    const READ_VECTOR: u16 = 7;
    const WRITE_VECTOR: u16 = 8;

    /// What it asks for.
    fn work(&self, file: &OpenFile) -> Result<Work, Errno> {
        let idle = self.offset == 0 && self.count == 0 && self.rw_flags == 0;
        let writes = match self.opcode {
            Self::READ | Self::READ_VECTOR => false,
            Self::WRITE | Self::WRITE_VECTOR => true,
            Self::SYNC | Self::DATA_SYNC if idle && self.buffer == 0 => {
                io::check_syncs(file)?;
                return Ok(Work::Nothing);
            }
            Self::POLL if idle && self.buffer <= u16::MAX.into() => {
                return Ok(Work::Poll(Ready::from_bits_truncate(self.buffer as u32)));
            }
            _ => return Err(Errno::EINVAL),
        };
        let appends = io::check_transfer_flags(self.rw_flags, writes)?;
        if !(if writes { file.flags().writable() } else { file.flags().readable() }) {
            return Err(Errno::EBADF);
        }
        let transfers = file.ops().map_or(file.kind() != FileType::Directory, FileOps::transfers);
        let offset = u64::try_from(self.offset).ok().filter(|_| transfers).ok_or(Errno::EINVAL)?;
        let placed = matches!(file.kind(), FileType::Regular | FileType::BlockDevice);
        Ok(Work::Transfer(match writes {
            true if appends => Deed::Append { moving: false },
            true if placed => Deed::WriteAt(offset),
            true => Deed::Write,
            false if placed => Deed::ReadAt(offset),
            false => Deed::Read,
        }))
    }

    /// Where the bytes are.
    async fn buffers(&self, memory: &AddressSpace) -> Result<UserBuffers, Errno> {
        let (base, count) = (self.buffer as usize, self.count as usize);
        if matches!(self.opcode, Self::READ | Self::WRITE) {
            return io::single(base, count);
        }
        let vectors = again(memory, || io::get_vectors(UserPtr::new(base), count)).await;
        vectors
            .map(UserBuffers::new)
            .map_err(|fail| if let Fail::Errno(errno) = fail { errno } else { Errno::EINTR })
    }
}

/// `io_cancel(2)`. What becomes of the request is told as of all others, and not here.
pub fn io_cancel(ctx: &mut Ctx, id: u64, request: UserPtr<Control>, _result: UserPtr<u64>) -> Attempt {
    let key = UserPtr::<u32>::new(request.address().wrapping_add(size_of::<u64>())).get()?;
    if key != 0 {
        return Err(Errno::EINVAL.into());
    }
    ctx.memory.aio.find(id)?.cancel(request.address() as u64)?;
    Err(Errno::EINPROGRESS.into())
}

/// `io_getevents(2)`
pub fn io_getevents(
    ctx: &mut Ctx,
    id: u64,
    least: i64,
    most: i64,
    events: UserPtr<Told>,
    timeout: UserPtr<Timespec>,
) -> Attempt {
    let deadline = deadline(timeout.get_optional()?);
    get_events(ctx, id, (least, most), events, deadline, None)
}

/// `io_pgetevents(2)`. The last argument points to a mask's address and its size.
pub fn io_pgetevents(
    ctx: &mut Ctx,
    id: u64,
    least: i64,
    most: i64,
    events: UserPtr<Told>,
    timeout: UserPtr<Timespec>,
    mask: UserPtr<[u64; 2]>,
) -> Attempt {
    let deadline = deadline(timeout.get_optional()?);
    let [mask, size] = mask.get_optional()?.unwrap_or_default();
    let mask = get_mask(UserPtr::new(mask as usize), size as usize)?;
    get_events(ctx, id, (least, most), events, deadline, mask)
}

/// `struct io_event`, as the program is told it.
pub type Told = [u64; 4];

/// Any duration will do, as on Linux, where one below nothing never ends (`ktime_add_safe()`).
fn deadline(timeout: Option<Timespec>) -> u64 {
    let Some(Timespec { seconds, nanoseconds }) = timeout else { return FOREVER };
    let duration = i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds);
    match u64::try_from(duration).unwrap_or(FOREVER) {
        0 => NEVER,
        duration => clock::monotonic_ns().saturating_add(duration),
    }
}

fn get_events(
    ctx: &mut Ctx,
    id: u64,
    (least, most): (i64, i64),
    events: UserPtr<Told>,
    deadline: u64,
    mask: Option<SigSet>,
) -> Attempt {
    let context = ctx.memory.aio.find(id)?;
    if least < 0 || least > most {
        return Err(Errno::EINVAL.into());
    }
    let (least, most) = (least as usize, most as usize);
    let done = tell(&context, events, most)?;
    if done >= least || deadline == NEVER {
        return Ok(done);
    }
    let restarts = mask.is_some();
    if let Some(mask) = mask {
        ctx.replace_mask(mask);
    }
    let (thread, memory) = (Arc::clone(&ctx.thread), Arc::clone(&ctx.memory));
    Err(Stop::Rest(Rest::new(async move {
        let outcome = gather(&thread, &memory, &context, (least, most), events, deadline, done).await;
        match outcome {
            Err(fail) if !fail.is_restart() => {}
            Err(_) if restarts => return Err(Restart::WithoutHandler.into()),
            Err(_) => return Err(Errno::EINTR.into()),
            Ok(_) => {}
        }
        thread.restore_mask();
        outcome
    })))
}

/// Tells of what has been done, behind `done` events, until there are enough.
async fn gather(
    thread: &Thread,
    memory: &AddressSpace,
    context: &Context,
    (least, most): (usize, usize),
    events: UserPtr<Told>,
    deadline: u64,
    mut done: usize,
) -> SysResult {
    let fail = loop {
        match interruptible(thread, sched::timeout_at(deadline, context.more())).await {
            Ok(Some(())) => {}
            Ok(None) => return Ok(done),
            Err(interrupted) => break interrupted.into(),
        }
        match again(memory, || Ok(tell(context, events.element(done), most - done)?)).await {
            Ok(more) => done += more,
            Err(fail) => break fail,
        }
        if done >= least {
            return Ok(done);
        }
        if context.has_ended() {
            break Errno::EINVAL.into();
        }
    };
    if done > 0 { Ok(done) } else { Err(fail) }
}

/// Tells of at most `most` events.
fn tell(context: &Context, events: UserPtr<Told>, most: usize) -> Result<usize, Fault> {
    context.collect(most, &mut |index, event| events.element(index).cast::<u8>().put_bytes(event))
}
