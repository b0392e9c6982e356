//! `mq_open(2)`, `mq_unlink(2)`, `mq_timedsend(2)`, `mq_timedreceive(2)`, `mq_notify(2)`, `mq_getsetattr(2)`.

use alloc::sync::Arc;
use alloc::vec;

use isopod_fs::Errno;
use isopod_fs::file::{OpenFile, OpenFlags};
use isopod_hal::clock;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::argument::{Fd, Flags, InBytes, Mode, OutBytes, UserPath};
use super::file::open::install;
use super::timers::SigEvent;
use super::unfinished::Reply;
use super::when::when;
use crate::fail::{Attempt, Fail, Later, Restart, errno};
use crate::ipc::mqueue::{self, Message, Notify, PRIORITIES, Queue};
use crate::mm::UserPtr;
use crate::poll::{FOREVER, NEVER, patience};
use crate::process::{Ctx, Resource};
use crate::signal::Signal;
use crate::time::Timespec;

/// `struct mq_attr`
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct Attributes {
    flags: i64,
    messages_max: i64,
    size_max: i64,
    messages: i64,
    reserved: [i64; 4],
}

/// `mq_open(2)`. The descriptor is always closed by an execve.
pub fn mq_open(
    ctx: &mut Ctx,
    name: UserPath,
    flags: Flags,
    mode: Mode,
    attributes: UserPtr<Attributes>,
) -> Attempt {
    let limits = match attributes.non_null() {
        Some(attributes) => {
            let wanted = attributes.get()?;
            Some((wanted.messages_max, wanted.size_max))
        }
        None => None,
    };
    let name = super::path::read(name)?;
    let flags = OpenFlags::from_bits_truncate(flags.0);
    let mode = mode.0 as u16 & 0o7777 & !(ctx.thread.fs().umask() as u16);
    let room = ctx.thread.process().limits.lock().get(Resource::MessageQueue).soft;
    let file = mqueue::open(&ctx.thread.identity(), room, &name, flags, mode, limits)?;
    Ok(install(ctx, file, true)?)
}

/// `mq_unlink(2)`
pub fn mq_unlink(ctx: &mut Ctx, name: UserPath) -> Attempt {
    let name = super::path::read(name)?;
    mqueue::unlink(&ctx.thread.identity(), &name)?;
    Ok(0)
}

/// The queue that is open as `fd`, and its description. `EBADF` if it is none.
fn queue(ctx: &Ctx, fd: Fd) -> Result<(Arc<OpenFile>, Arc<Queue>), Errno> {
    let file = ctx.thread.files().get(fd.0)?;
    let queue = Queue::of(&file).map(Arc::clone).ok_or(Errno::EBADF)?;
    Ok((file, queue))
}

/// The wait of a call that was given `timeout`, a time of `CLOCK_REALTIME`, until the queue changes.
fn change_of(queue: &Queue, timeout: Option<u64>) -> Later {
    let deadline = timeout.map_or(FOREVER, |time| {
        clock::monotonic_ns().saturating_add(time.saturating_sub(clock::realtime_ns()))
    });
    Later {
        late: Errno::ETIMEDOUT.into(),
        interrupted: Restart::UnlessHandled.into(),
        ..Later::new(Arc::clone(queue.changed()) as _, deadline)
    }
}

/// `mq_timedsend(2)`
pub fn mq_timedsend(
    ctx: &mut Ctx,
    fd: Fd,
    message: InBytes,
    size: usize,
    priority: u32,
    timeout: UserPtr<Timespec>,
) -> Attempt {
    let timeout = timeout.get_optional()?.map(Timespec::to_ns).transpose()?;
    if priority >= PRIORITIES {
        return Err(Errno::EINVAL.into());
    }
    let (file, queue) = queue(ctx, fd)?;
    if !file.flags().writable() {
        return Err(Errno::EBADF.into());
    }
    if size > queue.size_max {
        return Err(Errno::EMSGSIZE.into());
    }
    let text = message.0.get_array(size)?;
    let mut message = Some(Message { priority, text });
    let (sender, pid) = (ctx.thread.identity(), ctx.thread.process().pid);
    let patient = patience(&file, false) != NEVER;
    when(ctx, change_of(&queue, timeout), move || {
        match queue.send(&sender, pid, &mut message).map_err(errno) {
            Err(Errno::EAGAIN) if patient => None,
            outcome => Some(Ok(Reply::from(outcome.map(|()| 0).map_err(Fail::Errno)))),
        }
    })
}

/// `mq_timedreceive(2)`. A message that cannot be copied to the program is lost, as on Linux.
pub fn mq_timedreceive(
    ctx: &mut Ctx,
    fd: Fd,
    buffer: OutBytes,
    size: usize,
    priority: UserPtr<u32>,
    timeout: UserPtr<Timespec>,
) -> Attempt {
    let timeout = timeout.get_optional()?.map(Timespec::to_ns).transpose()?;
    let (file, queue) = queue(ctx, fd)?;
    if !file.flags().readable() {
        return Err(Errno::EBADF.into());
    }
    if size < queue.size_max {
        return Err(Errno::EMSGSIZE.into());
    }
    let patient = patience(&file, false) != NEVER;
    let mut waiting = Some(queue.expect());
    when(ctx, change_of(&queue, timeout), move || {
        let message = match queue.receive().map_err(errno) {
            Err(Errno::EAGAIN) if patient => return None,
            Err(errno) => return Some(Err(errno.into())),
            Ok(message) => message,
        };
        drop(waiting.take());
        let result = Ok(message.text.len());
        let mut parts = vec![(buffer.0.address(), message.text)];
        if let Some(place) = priority.non_null() {
            parts.insert(0, (place.address(), message.priority.to_le_bytes().to_vec()));
        }
        Some(Ok(Reply { parts, result }))
    })
}

/// `mq_notify(2)`
pub fn mq_notify(ctx: &mut Ctx, fd: Fd, event: UserPtr<SigEvent>) -> Attempt {
    const SIGNAL: i32 = 0;
    const NONE: i32 = 1;
    const THREAD: i32 = 2;
    const COOKIE: usize = 32;
    const SIGNAL_MAX: i32 = 64;
    let how = match event.non_null().map(UserPtr::get).transpose()? {
        None => None,
        Some(SigEvent { notify: NONE, .. }) => Some(Notify::Nothing),
        Some(SigEvent { notify: SIGNAL, signal, value, .. }) if (0..=SIGNAL_MAX).contains(&signal) => {
            Some(Notify::Signal(Signal::new(signal as u32), value))
        }
        Some(SigEvent { notify: THREAD, signal, value, .. }) => {
            // A cookie comes back through a netlink socket, which is named in place of a signal. No file here is one.
            UserPtr::<[u8; COOKIE]>::new(value as usize).get()?;
            ctx.thread.files().get(signal)?;
            return Err(Errno::ENOTSOCK.into());
        }
        Some(_) => return Err(Errno::EINVAL.into()),
    };
    let (_, queue) = queue(ctx, fd)?;
    match how {
        Some(how) => queue.notify(ctx.thread.process(), how)?,
        None => queue.forget(ctx.thread.process().pid),
    }
    Ok(0)
}

/// `mq_getsetattr(2)`: only `O_NONBLOCK` can be changed.
pub fn mq_getsetattr(ctx: &mut Ctx, fd: Fd, new: UserPtr<Attributes>, old: UserPtr<Attributes>) -> Attempt {
    let non_block = i64::from(OpenFlags::NONBLOCK.bits());
    let new = new.non_null().map(UserPtr::get).transpose()?;
    if new.is_some_and(|new| new.flags & !non_block != 0) {
        return Err(Errno::EINVAL.into());
    }
    let (file, queue) = queue(ctx, fd)?;
    let found = Attributes {
        flags: i64::from(file.flags().bits()) & non_block,
        messages_max: queue.messages_max as i64,
        size_max: queue.size_max as i64,
        messages: queue.count() as i64,
        reserved: [0; 4],
    };
    // First, as the call may be made again for it.
    if let Some(old) = old.non_null() {
        old.put(&found)?;
    }
    if let Some(new) = new {
        let mut flags = file.flags();
        flags.set(OpenFlags::NONBLOCK, new.flags != 0);
        file.set_flags(flags, &ctx.thread.identity().for_files()).map_err(errno)?;
    }
    Ok(0)
}
