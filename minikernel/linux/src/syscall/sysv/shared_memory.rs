//! shmget(2), shmat(2), shmdt(2), shmctl(2).

use isopod_fs::{Capabilities, Errno};
use isopod_hal::PAGE_SIZE;
use isopod_hal::paging::Access;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::{By, IPC_INFO, IPC_RMID, IPC_SET, IPC_STAT, object};
use crate::fail::{Attempt, SysResult};
use crate::ipc::sysv::memory::{
    Attach, BYTES_MAX, LOCKED, PAGES_MAX, SEGMENTS, SEGMENTS_MAX, attach, detach, get, pages, remove,
};
use crate::ipc::sysv::{UserPermission, now};
use crate::mm::UserPtr;
use crate::process::{Ctx, Resource};
use crate::syscall::argument::Flags;
use crate::syscall::memory::in_steps;

/// shmget(2)
pub fn shmget(ctx: &mut Ctx, key: i32, size: usize, flags: Flags) -> SysResult {
    let pid = ctx.thread.process().pid;
    Ok(get(&ctx.thread.identity(), pid, key, size as u64, flags.0)? as usize)
}

/// shmat(2)
pub fn shmat(ctx: &mut Ctx, id: i32, address: usize, flags: Flags) -> SysResult {
    const RDONLY: u32 = 0o10_000;
    const RND: u32 = 0o20_000;
    const REMAP: u32 = 0o40_000;
    const EXEC: u32 = 0o100_000;
    let replace = flags.0 & REMAP != 0;
    let aligned = if flags.0 & RND != 0 { crate::mm::page_down(address) } else { address };
    if id < 0 || !aligned.is_multiple_of(PAGE_SIZE) || aligned == 0 && replace {
        return Err(Errno::EINVAL.into());
    }
    let mut access = Access::READ;
    access.set(Access::WRITE, flags.0 & RDONLY == 0);
    access.set(Access::EXEC, flags.0 & EXEC != 0);
    let at = (address != 0).then_some(aligned);
    Ok(attach(&ctx.memory, &ctx.thread.identity(), id, Attach { at, replace, access })?)
}

/// shmdt(2)
pub fn shmdt(ctx: &mut Ctx, address: usize) -> Attempt {
    let begun = core::mem::take(&mut ctx.moved) > 0;
    let (found, done) = detach(&ctx.memory, address);
    if found || begun { in_steps(ctx, done) } else { Err(Errno::EINVAL.into()) }
}

/// `struct shmid64_ds`
#[derive(Debug, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct Description {
    permission: UserPermission,
    size: u64,
    times: [i64; 3],
    creator: u32,
    last: u32,
    attached: u64,
    unused: [u64; 2],
}

const _: () = assert!(size_of::<Description>() == 112);

/// `struct shminfo64`
#[derive(Debug, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct Limits {
    bytes_max: u64,
    bytes_min: u64,
    segments_max: u64,
    segments_of_process: u64,
    pages_max: u64,
    unused: [u64; 4],
}

/// `struct shm_info`
#[derive(Debug, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct Usage {
    segments: u64,
    pages: u64,
    resident: u64,
    swapped: u64,
    unused: [u64; 2],
}

/// shmctl(2)
pub fn shmctl(ctx: &mut Ctx, id: i32, command: i32, buffer: UserPtr<u8>) -> Attempt {
    const LOCK: i32 = 11;
    const UNLOCK: i32 = 12;
    const STAT: i32 = 13;
    const INFO: i32 = 14;
    const STAT_ANY: i32 = 15;
    if id < 0 {
        return Err(Errno::EINVAL.into());
    }
    let identity = ctx.thread.identity();
    match command {
        IPC_INFO => {
            let limits = Limits {
                bytes_max: BYTES_MAX.get(),
                bytes_min: 1,
                segments_max: SEGMENTS_MAX.get(),
                segments_of_process: SEGMENTS_MAX.get(),
                pages_max: PAGES_MAX.get(),
                unused: [0; 4],
            };
            buffer.cast().put(&limits)?;
            Ok(SEGMENTS.extent().1)
        }
        INFO => {
            let (segments, highest) = SEGMENTS.extent();
            let resident = SEGMENTS.all()?.iter().map(|object| object.lock().body.resident()).sum();
            let (segments, pages) = (segments as u64, pages()?);
            buffer.cast().put(&Usage { segments, pages, resident, swapped: 0, unused: [0; 2] })?;
            Ok(highest)
        }
        IPC_STAT => describe(ctx, id, By::Number, buffer.cast()),
        STAT => describe(ctx, id, By::Place, buffer.cast()),
        STAT_ANY => describe(ctx, id, By::PlaceUnchecked, buffer.cast()),
        IPC_SET => {
            let wanted = buffer.cast::<Description>().get()?;
            let object = SEGMENTS.get(id)?;
            let mut state = object.get()?;
            state.permission.check_owner(&identity)?;
            state.permission.set(&wanted.permission)?;
            state.body.times[2] = now();
            Ok(0)
        }
        IPC_RMID => {
            let object = SEGMENTS.get(id)?;
            object.lock().permission.check_owner(&identity)?;
            remove(&object);
            Ok(0)
        }
        LOCK | UNLOCK => {
            let object = SEGMENTS.get(id)?;
            let mut state = object.get()?;
            let limit = ctx.thread.process().limits.lock().get(Resource::LockedMemory).soft;
            let may = state.permission.is_owned(&identity) && (command == UNLOCK || limit > 0);
            if !may && !identity.capable(Capabilities::IPC_LOCK) {
                return Err(Errno::EPERM.into());
            }
            // There is no swap: it is only told.
            let mode = &mut state.permission.mode;
            *mode = if command == LOCK { *mode | LOCKED } else { *mode & !LOCKED };
            Ok(0)
        }
        _ => Err(Errno::EINVAL.into()),
    }
}

fn describe(ctx: &Ctx, id: i32, by: By, buffer: UserPtr<Description>) -> Attempt {
    let (object, result) = object(ctx, &SEGMENTS, id, by)?;
    let description = {
        let state = object.get()?;
        let body = &state.body;
        Description {
            permission: state.permission.shown(),
            size: body.size,
            times: body.times,
            creator: body.creator,
            last: body.last,
            attached: body.attached,
            unused: [0; 2],
        }
    };
    buffer.put(&description)?;
    Ok(result)
}
