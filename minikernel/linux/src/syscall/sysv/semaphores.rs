//! semget(2), semop(2), semctl(2).

use alloc::sync::Arc;
use alloc::vec::Vec;

use isopod_fs::Errno;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::{By, IPC_INFO, IPC_RMID, IPC_SET, IPC_STAT, object};
use crate::fail::{Attempt, Rest, Stop, SysResult};
use crate::ipc::sysv::semaphores::{
    OPERATIONS, Operation, PER_SET, SETS, SETS_MAX, TOTAL, VALUE_MAX, get, operate, remove, total,
};
use crate::ipc::sysv::{READ, UserPermission, WRITE, now};
use crate::mm::UserPtr;
use crate::process::Ctx;
use crate::syscall::argument::Flags;
use crate::time::Timespec;

/// semget(2)
pub fn semget(ctx: &mut Ctx, key: i32, count: i32, flags: Flags) -> SysResult {
    Ok(get(&ctx.thread.identity(), key, count, flags.0)? as usize)
}

/// semop(2)
pub fn semop(ctx: &mut Ctx, id: i32, operations: UserPtr<Operation>, count: u32) -> Attempt {
    semtimedop(ctx, id, operations, count, UserPtr::new(0))
}

/// semtimedop(2)
pub fn semtimedop(
    ctx: &mut Ctx,
    id: i32,
    operations: UserPtr<Operation>,
    count: u32,
    timeout: UserPtr<Timespec>,
) -> Attempt {
    let timeout = timeout.get_optional()?;
    if u64::from(count) > OPERATIONS.get() {
        return Err(Errno::E2BIG.into());
    }
    if count == 0 {
        return Err(Errno::EINVAL.into());
    }
    let operations = operations.get_array(count as usize)?;
    if id < 0 {
        return Err(Errno::EINVAL.into());
    }
    let deadline = timeout.map_or(Ok(u64::MAX), Timespec::deadline_from_now)?;
    let Some(waiting) = operate(&ctx.thread, id, operations)? else { return Ok(0) };
    let thread = Arc::clone(&ctx.thread);
    Err(Stop::Rest(Rest::new(async move {
        waiting.end(thread, deadline).await?;
        Ok(0)
    })))
}

/// `struct semid64_ds`
#[derive(Debug, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct Description {
    permission: UserPermission,
    operated: i64,
    unused: u64,
    changed: i64,
    unused_2: u64,
    count: u64,
    unused_3: [u64; 2],
}

const _: () = assert!(size_of::<Description>() == 104);

const GETPID: i32 = 11;
const GETVAL: i32 = 12;
const GETALL: i32 = 13;
const GETNCNT: i32 = 14;
const GETZCNT: i32 = 15;
const SETVAL: i32 = 16;
const SETALL: i32 = 17;
const STAT: i32 = 18;
const INFO: i32 = 19;
const STAT_ANY: i32 = 20;

/// semctl(2)
pub fn semctl(ctx: &mut Ctx, id: i32, index: i32, command: i32, argument: usize) -> Attempt {
    if id < 0 {
        return Err(Errno::EINVAL.into());
    }
    let identity = ctx.thread.identity();
    match command {
        IPC_INFO | INFO => info(command == INFO, UserPtr::new(argument)),
        IPC_STAT => describe(ctx, id, By::Number, UserPtr::new(argument)),
        STAT => describe(ctx, id, By::Place, UserPtr::new(argument)),
        STAT_ANY => describe(ctx, id, By::PlaceUnchecked, UserPtr::new(argument)),
        IPC_SET => {
            let wanted = UserPtr::<Description>::new(argument).get()?;
            let object = SETS.get(id)?;
            let mut state = object.get()?;
            state.permission.check_owner(&identity)?;
            state.permission.set(&wanted.permission)?;
            state.body.times[1] = now();
            Ok(0)
        }
        IPC_RMID => {
            let object = SETS.get(id)?;
            object.lock().permission.check_owner(&identity)?;
            remove(&object);
            Ok(0)
        }
        GETALL => get_all(ctx, id, UserPtr::new(argument)),
        SETALL => set_all(ctx, id, UserPtr::new(argument)),
        SETVAL => set_value(ctx, id, index, argument as i32),
        GETVAL | GETPID | GETNCNT | GETZCNT => {
            let object = SETS.get(id)?;
            let state = object.get()?;
            state.permission.check(&identity, READ)?;
            let set = &state.body;
            let index = usize::try_from(index).map_err(|_| Errno::EINVAL)?;
            let semaphore = set.semaphores.get(index).ok_or(Errno::EINVAL)?;
            Ok(match command {
                GETVAL => semaphore.value as usize,
                GETPID => semaphore.pid as usize,
                _ => set.waiting(index, command == GETZCNT),
            })
        }
        _ => Err(Errno::EINVAL.into()),
    }
}

/// `struct seminfo`, and what of it tells of what is in use (`SEM_INFO`).
fn info(used: bool, buffer: UserPtr<[u32; 10]>) -> Attempt {
    const UNDO_SIZE: u32 = 20;
    let (sets, highest) = SETS.extent();
    let (sum, per_call) = (TOTAL.get() as u32, OPERATIONS.get() as u32);
    let (size, last) = if used { (sets as u32, total()? as u32) } else { (UNDO_SIZE, VALUE_MAX as u32) };
    // semmap, semmni, semmns, semmnu, semmsl, semopm, semume, semusz, semvmx, semaem: only some are limits of anything.
    let (sets_max, per_set) = (SETS_MAX.get() as u32, PER_SET.get() as u32);
    buffer.put(&[sum, sets_max, sum, sum, per_set, per_call, per_call, size, VALUE_MAX as u32, last])?;
    Ok(highest)
}

fn describe(ctx: &Ctx, id: i32, by: By, buffer: UserPtr<Description>) -> Attempt {
    let (object, result) = object(ctx, &SETS, id, by)?;
    let description = {
        let state = object.get()?;
        let [operated, changed] = state.body.times;
        Description {
            permission: state.permission.shown(),
            operated,
            unused: 0,
            changed,
            unused_2: 0,
            count: state.body.semaphores.len() as u64,
            unused_3: [0; 2],
        }
    };
    buffer.put(&description)?;
    Ok(result)
}

fn get_all(ctx: &Ctx, id: i32, buffer: UserPtr<u8>) -> Attempt {
    let object = SETS.get(id)?;
    let mut values = Vec::new();
    {
        let state = object.get()?;
        state.permission.check(&ctx.thread.identity(), READ)?;
        let semaphores = &state.body.semaphores;
        values.try_reserve_exact(semaphores.len()).map_err(|_| Errno::ENOMEM)?;
        values.extend(semaphores.iter().map(|semaphore| semaphore.value as u16));
    }
    buffer.put_bytes(values.as_slice().as_bytes())?;
    Ok(0)
}

fn set_all(ctx: &Ctx, id: i32, buffer: UserPtr<u16>) -> Attempt {
    let object = SETS.get(id)?;
    let count = {
        let state = object.get()?;
        state.permission.check(&ctx.thread.identity(), WRITE)?;
        state.body.semaphores.len()
    };
    let values = buffer.get_array(count)?;
    if values.iter().any(|&value| i32::from(value) > VALUE_MAX) {
        return Err(Errno::ERANGE.into());
    }
    let mut state = object.get()?;
    let set = &mut state.body;
    for (index, value) in values.into_iter().enumerate() {
        set.set(index, value.into(), ctx.thread.process().pid);
    }
    set.times[1] = now();
    set.serve();
    Ok(0)
}

fn set_value(ctx: &Ctx, id: i32, index: i32, value: i32) -> Attempt {
    if !(0..=VALUE_MAX).contains(&value) {
        return Err(Errno::ERANGE.into());
    }
    let object = SETS.get(id)?;
    let mut state = object.get()?;
    let index = usize::try_from(index).ok().filter(|&index| index < state.body.semaphores.len());
    let index = index.ok_or(Errno::EINVAL)?;
    state.permission.check(&ctx.thread.identity(), WRITE)?;
    let set = &mut state.body;
    set.set(index, value, ctx.thread.process().pid);
    set.times[1] = now();
    set.serve();
    Ok(0)
}
