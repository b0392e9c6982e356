//! msgget(2), msgsnd(2), msgrcv(2), msgctl(2).

use alloc::vec::Vec;

use isopod_fs::{Capabilities, Errno};
use isopod_hal::sync::wait::WaitQueue;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::{By, IPC_INFO, IPC_RMID, IPC_SET, IPC_STAT, object};
use crate::fail::{Attempt, Fail, Interrupted, Restart, SysResult};
use crate::ipc::sysv::messages::{
    Message, QUEUE_MAX, QUEUES, QUEUES_MAX, SIZE_MAX, Wanted, get, receive, remove, send,
};
use crate::ipc::sysv::{UserPermission, now};
use crate::mm::UserPtr;
use crate::process::{Ctx, Thread};
use crate::syscall::argument::{Flags, InBytes, OutBytes};
use crate::wait::interruptible;

/// `IPC_NOWAIT`
const NO_WAIT: u32 = 0o4000;

/// msgget(2)
pub fn msgget(ctx: &mut Ctx, key: i32, flags: Flags) -> SysResult {
    Ok(get(&ctx.thread.identity(), key, flags.0)? as usize)
}

/// Tries until the outcome is not `later`, after each change that `queue` tells of.
async fn until<T>(
    thread: &Thread,
    queue: &WaitQueue,
    (later, patient): (Errno, bool),
    mut attempt: impl FnMut() -> Result<T, Errno>,
) -> Result<T, Fail> {
    let mut settled = || match attempt() {
        Err(errno) if errno == later && patient => None,
        outcome => Some(outcome),
    };
    match interruptible(thread, queue.until(&mut settled)).await {
        Ok(outcome) => Ok(outcome?),
        Err(Interrupted) => Err(Fail::Restart(Restart::WithoutHandler)),
    }
}

/// msgsnd(2)
pub async fn msgsnd(ctx: &mut Ctx, id: i32, message: InBytes, size: usize, flags: Flags) -> SysResult {
    let kind = ctx.memory.read(message.0.cast::<i64>()).await?;
    if size as u64 > SIZE_MAX.get() || id < 0 || kind < 1 {
        return Err(Errno::EINVAL.into());
    }
    let mut text = Vec::new();
    text.try_reserve_exact(size).map_err(|_| Errno::ENOMEM)?;
    text.resize(size, 0);
    ctx.memory.read_bytes(message.0.address().wrapping_add(size_of::<i64>()), &mut text).await?;
    let object = QUEUES.get(id)?;
    let (_, writable) = object.get()?.body.waits();
    let mut message = Some(Message { kind, text });
    let patience = (Errno::EAGAIN, flags.0 & NO_WAIT == 0);
    until(&ctx.thread, &writable, patience, || send(&ctx.thread, &object, &mut message)).await?;
    Ok(0)
}

/// msgrcv(2). A message that cannot be copied to the program is lost, as on Linux.
pub async fn msgrcv(
    ctx: &mut Ctx,
    id: i32,
    buffer: OutBytes,
    size: usize,
    kind: i64,
    flags: Flags,
) -> SysResult {
    const NO_ERROR: u32 = 0o10_000;
    const EXCEPT: u32 = 0o20_000;
    const COPY: u32 = 0o40_000;
    if id < 0 || (size as isize) < 0 {
        return Err(Errno::EINVAL.into());
    }
    let wanted = match kind {
        _ if flags.0 & COPY != 0 => {
            if flags.0 & EXCEPT != 0 || flags.0 & NO_WAIT == 0 {
                return Err(Errno::EINVAL.into());
            }
            Wanted::Copy(kind)
        }
        0 => Wanted::Any,
        ..0 => Wanted::UpTo(kind.checked_neg().unwrap_or(i64::MAX)),
        _ if flags.0 & EXCEPT != 0 => Wanted::Except(kind),
        _ => Wanted::Kind(kind),
    };
    let object = QUEUES.get(id)?;
    let (readable, _) = object.get()?.body.waits();
    let patience = (Errno::ENOMSG, flags.0 & NO_WAIT == 0);
    let take = || receive(&ctx.thread, &object, wanted, size, flags.0 & NO_ERROR != 0);
    let message = until(&ctx.thread, &readable, patience, take).await?;
    ctx.memory.write(buffer.0.cast(), &message.kind).await?;
    let text = &message.text[..message.text.len().min(size)];
    ctx.memory.write_bytes(buffer.0.address().wrapping_add(size_of::<i64>()), text).await?;
    Ok(text.len())
}

/// `struct msqid64_ds`
#[derive(Debug, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct Description {
    permission: UserPermission,
    times: [i64; 3],
    bytes: u64,
    messages: u64,
    bytes_max: u64,
    pids: [u32; 2],
    unused: [u64; 2],
}

const _: () = assert!(size_of::<Description>() == 120);

/// msgctl(2)
pub fn msgctl(ctx: &mut Ctx, id: i32, command: i32, buffer: UserPtr<u8>) -> Attempt {
    const STAT: i32 = 11;
    const INFO: i32 = 12;
    const STAT_ANY: i32 = 13;
    if id < 0 {
        return Err(Errno::EINVAL.into());
    }
    let identity = ctx.thread.identity();
    match command {
        IPC_INFO | INFO => info(command == INFO, buffer.cast()),
        IPC_STAT => describe(ctx, id, By::Number, buffer.cast()),
        STAT => describe(ctx, id, By::Place, buffer.cast()),
        STAT_ANY => describe(ctx, id, By::PlaceUnchecked, buffer.cast()),
        IPC_SET => {
            let wanted = buffer.cast::<Description>().get()?;
            let object = QUEUES.get(id)?;
            let mut state = object.get()?;
            state.permission.check_owner(&identity)?;
            if wanted.bytes_max > QUEUE_MAX.get() && !identity.capable(Capabilities::SYS_RESOURCE) {
                return Err(Errno::EPERM.into());
            }
            state.permission.set(&wanted.permission)?;
            state.body.bytes_max = wanted.bytes_max as usize;
            state.body.times[2] = now();
            let (readable, writable) = state.body.waits();
            drop(state);
            // Who waits may have lost or won the right, or the room, to go on.
            readable.wake_all();
            writable.wake_all();
            Ok(0)
        }
        IPC_RMID => {
            let object = QUEUES.get(id)?;
            object.lock().permission.check_owner(&identity)?;
            remove(&object);
            Ok(0)
        }
        _ => Err(Errno::EINVAL.into()),
    }
}

/// `struct msginfo`, and what of it tells of what is in use (`MSG_INFO`).
fn info(used: bool, buffer: UserPtr<[u32; 8]>) -> Attempt {
    /// Sizes of a kernel of long ago, which are still told.
    const SEGMENT_SIZE: u32 = 16;
    const SEGMENTS: u32 = 0xffff;
    const POOL: u32 = 32_000 * 16_384 / 1024;
    const MAP: u32 = 16_384;
    let (queues, highest) = QUEUES.extent();
    let (mut pool, mut map, mut total) = (POOL, MAP, MAP);
    if used {
        (pool, map, total) = (queues as u32, 0, 0);
        for object in QUEUES.all()? {
            let state = object.lock();
            map += state.body.count() as u32;
            total += state.body.bytes as u32;
        }
    }
    // msgpool, msgmap, msgmax, msgmnb, msgmni, msgssz, msgtql, msgseg
    let [size, bytes, count] = [&SIZE_MAX, &QUEUE_MAX, &QUEUES_MAX].map(|limit| limit.get() as u32);
    buffer.put(&[pool, map, size, bytes, count, SEGMENT_SIZE, total, SEGMENTS])?;
    Ok(highest)
}

fn describe(ctx: &Ctx, id: i32, by: By, buffer: UserPtr<Description>) -> Attempt {
    let (object, result) = object(ctx, &QUEUES, id, by)?;
    let description = {
        let state = object.get()?;
        let body = &state.body;
        Description {
            permission: state.permission.shown(),
            times: body.times,
            bytes: body.bytes as u64,
            messages: body.count() as u64,
            bytes_max: body.bytes_max as u64,
            pids: body.pids,
            unused: [0; 2],
        }
    };
    buffer.put(&description)?;
    Ok(result)
}
