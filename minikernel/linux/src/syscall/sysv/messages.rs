//! msgget(2), msgsnd(2), msgrcv(2), msgctl(2).

use alloc::sync::Arc;
use alloc::vec;

use isopod_fs::{Capabilities, Errno};
use isopod_hal::sync::wait::WaitQueue;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::{By, IPC_INFO, IPC_RMID, IPC_SET, IPC_STAT, object};
use crate::fail::{Attempt, Fail, Later, SysResult};
use crate::ipc::sysv::messages::{
    Message, QUEUE_MAX, QUEUES, QUEUES_MAX, SIZE_MAX, Wanted, get, receive, remove, send,
};
use crate::ipc::sysv::{UserPermission, now};
use crate::mm::UserPtr;
use crate::poll::FOREVER;
use crate::process::Ctx;
use crate::syscall::argument::{Flags, InBytes, OutBytes};
use crate::syscall::unfinished::Reply;
use crate::syscall::when::when;

/// `IPC_NOWAIT`
const NO_WAIT: u32 = 0o4000;

/// msgget(2)
pub fn msgget(ctx: &mut Ctx, key: i32, flags: Flags) -> SysResult {
    Ok(get(&ctx.thread.identity(), key, flags.0)? as usize)
}

/// A wait for a change of a queue.
fn change_of(queue: Arc<WaitQueue>) -> Later {
    Later { interrupted: Fail::RestartWithoutHandler, ..Later::new(queue, FOREVER) }
}

/// msgsnd(2)
pub fn msgsnd(ctx: &mut Ctx, id: i32, message: InBytes, size: usize, flags: Flags) -> Attempt {
    let kind = message.0.cast::<i64>().get()?;
    if size as u64 > SIZE_MAX.get() || id < 0 || kind < 1 {
        return Err(Errno::EINVAL.into());
    }
    let text = UserPtr::<u8>::new(message.0.address().wrapping_add(size_of::<i64>())).get_array(size)?;
    let object = QUEUES.get(id)?;
    let (_, writable) = object.get()?.body.waits();
    let mut message = Some(Message { kind, text });
    let (thread, patient) = (Arc::clone(&ctx.thread), flags.0 & NO_WAIT == 0);
    when(ctx, change_of(writable), move || match send(&thread, &object, &mut message) {
        Err(Errno::EAGAIN) if patient => None,
        outcome => Some(Ok(Reply::from(outcome.map(|()| 0).map_err(Fail::Errno)))),
    })
}

/// msgrcv(2). A message that cannot be copied to the program is lost, as on Linux.
pub fn msgrcv(ctx: &mut Ctx, id: i32, buffer: OutBytes, size: usize, kind: i64, flags: Flags) -> Attempt {
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
    let (thread, patient) = (Arc::clone(&ctx.thread), flags.0 & NO_WAIT == 0);
    when(ctx, change_of(readable), move || {
        let Message { kind, mut text } =
            match receive(&thread, &object, wanted, size, flags.0 & NO_ERROR != 0) {
                Err(Errno::ENOMSG) if patient => return None,
                Err(errno) => return Some(Err(errno.into())),
                Ok(message) => message,
            };
        text.truncate(size);
        let result = Ok(text.len());
        let behind = buffer.0.address().wrapping_add(size_of::<i64>());
        let parts = vec![(buffer.0.address(), kind.to_le_bytes().to_vec()), (behind, text)];
        Some(Ok(Reply { parts, result }))
    })
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
