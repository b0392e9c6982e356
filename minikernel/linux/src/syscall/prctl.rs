//! prctl(2): one call for many small things.

use core::sync::atomic::Ordering;

use isopod_fs::{Capabilities, Errno};

use super::identity;
use crate::fail::SysResult;
use crate::mm::UserPtr;
use crate::process::{ALL_CAPABILITIES, Ctx, Identity};
use crate::signal::Signal;

const SET_PDEATHSIG: i32 = 1;
const GET_PDEATHSIG: i32 = 2;
const GET_DUMPABLE: i32 = 3;
const SET_DUMPABLE: i32 = 4;
const GET_KEEPCAPS: i32 = 7;
const SET_KEEPCAPS: i32 = 8;
const SET_NAME: i32 = 15;
const GET_NAME: i32 = 16;
const GET_SECCOMP: i32 = 21;
const CAPBSET_READ: i32 = 23;
const CAPBSET_DROP: i32 = 24;
const SET_TIMERSLACK: i32 = 29;
const GET_TIMERSLACK: i32 = 30;
const SET_CHILD_SUBREAPER: i32 = 36;
const GET_CHILD_SUBREAPER: i32 = 37;
const SET_NO_NEW_PRIVS: i32 = 38;
const GET_NO_NEW_PRIVS: i32 = 39;
const GET_TID_ADDRESS: i32 = 40;
const SET_THP_DISABLE: i32 = 41;
const GET_THP_DISABLE: i32 = 42;
const CAP_AMBIENT: i32 = 47;

/// Does what `option` asks for.
pub(super) async fn control(ctx: &mut Ctx, option: i32, arguments: [u64; 4]) -> SysResult {
    let [first, second, third, fourth] = arguments;
    let no_more = second == 0 && third == 0 && fourth == 0;
    match option {
        SET_NAME => {
            let mut name = [0; 16];
            let read = ctx.memory.read_string(UserPtr::new(first as usize), name.len()).await;
            match read {
                Ok(short) => ctx.thread.set_name(&short),
                // Longer names are cut.
                Err(Errno::ENAMETOOLONG) => {
                    ctx.memory.read_bytes(first as usize, &mut name).await?;
                    ctx.thread.set_name(&name);
                }
                Err(errno) => return Err(errno.into()),
            }
            Ok(0)
        }
        GET_NAME => {
            let mut name = [0; 16];
            let current = ctx.thread.name();
            name[..current.len()].copy_from_slice(&current);
            ctx.memory.write_bytes(first as usize, &name).await?;
            Ok(0)
        }
        SET_CHILD_SUBREAPER => {
            ctx.thread.process().adopts_orphans.store(first != 0, Ordering::Relaxed);
            Ok(0)
        }
        GET_CHILD_SUBREAPER => {
            let adopts = ctx.thread.process().adopts_orphans.load(Ordering::Relaxed);
            ctx.memory.write(UserPtr::new(first as usize), &i32::from(adopts)).await?;
            Ok(0)
        }
        SET_PDEATHSIG => {
            if first != 0 && Signal::new(first.min(u64::from(u32::MAX)) as u32).is_none() {
                return Err(Errno::EINVAL.into());
            }
            ctx.thread.parent_death_signal.store(first as u8, Ordering::Relaxed);
            Ok(0)
        }
        GET_PDEATHSIG => {
            let signal = i32::from(ctx.thread.parent_death_signal.load(Ordering::Relaxed));
            ctx.memory.write(UserPtr::new(first as usize), &signal).await?;
            Ok(0)
        }
        GET_DUMPABLE => Ok(usize::from(ctx.thread.process().dumpable.load(Ordering::Relaxed))),
        SET_DUMPABLE => match first {
            0 | 1 => {
                ctx.thread.process().dumpable.store(first == 1, Ordering::Relaxed);
                Ok(0)
            }
            _ => Err(Errno::EINVAL.into()),
        },
        GET_KEEPCAPS => Ok(usize::from(ctx.thread.identity().keep_capabilities)),
        SET_KEEPCAPS if first <= 1 => change(ctx, &mut |identity| identity.keep_capabilities = first == 1),
        SET_NO_NEW_PRIVS if first == 1 && no_more => {
            change(ctx, &mut |identity| identity.no_new_privileges = true)
        }
        GET_NO_NEW_PRIVS if first == 0 && no_more => Ok(usize::from(ctx.thread.identity().no_new_privileges)),
        GET_SECCOMP | GET_THP_DISABLE => Ok(0),
        SET_THP_DISABLE if no_more => Ok(0),
        SET_TIMERSLACK => {
            ctx.thread.timer_slack.set(first);
            Ok(0)
        }
        GET_TIMERSLACK => Ok(ctx.thread.timer_slack.get() as usize),
        GET_TID_ADDRESS => {
            let address = ctx.thread.clear_child_tid.load(Ordering::Relaxed) as u64;
            ctx.memory.write(UserPtr::new(first as usize), &address).await?;
            Ok(0)
        }
        CAPBSET_READ => {
            let capability = single(first)?;
            Ok(usize::from(ctx.thread.identity().capabilities.bounding.contains(capability)))
        }
        CAPBSET_DROP => {
            if !ctx.thread.identity().capable(Capabilities::SETPCAP) {
                return Err(Errno::EPERM.into());
            }
            let capability = single(first)?;
            change(ctx, &mut |identity| {
                identity.capabilities.bounding = identity.capabilities.bounding.difference(capability);
            })
        }
        CAP_AMBIENT => ambient(ctx, first, second),
        _ => Err(Errno::EINVAL.into()),
    }
}

/// The capability with this number.
fn single(number: u64) -> Result<Capabilities, Errno> {
    let capability = u32::try_from(number).ok().and_then(|number| 1u64.checked_shl(number)).unwrap_or(0);
    let capability = Capabilities::from_bits_retain(capability);
    if capability.is_empty() || !ALL_CAPABILITIES.contains(capability) {
        Err(Errno::EINVAL)
    } else {
        Ok(capability)
    }
}

/// As [`identity::change`], for what cannot fail.
fn change(ctx: &Ctx, change: &mut dyn FnMut(&mut Identity)) -> SysResult {
    identity::change(ctx, &mut |identity| {
        change(identity);
        Ok(())
    })
}

/// `PR_CAP_AMBIENT`
fn ambient(ctx: &Ctx, operation: u64, number: u64) -> SysResult {
    const IS_SET: u64 = 1;
    const RAISE: u64 = 2;
    const LOWER: u64 = 3;
    const CLEAR_ALL: u64 = 4;
    if operation == CLEAR_ALL {
        if number != 0 {
            return Err(Errno::EINVAL.into());
        }
        return change(ctx, &mut |identity| identity.capabilities.ambient = Capabilities::empty());
    }
    let capability = single(number)?;
    let sets = ctx.thread.identity().capabilities;
    match operation {
        IS_SET => Ok(usize::from(sets.ambient.contains(capability))),
        RAISE if !sets.permitted.intersection(sets.inheritable).contains(capability) => {
            Err(Errno::EPERM.into())
        }
        RAISE => change(ctx, &mut |identity| identity.capabilities.ambient |= capability),
        LOWER => change(ctx, &mut |identity| {
            identity.capabilities.ambient = identity.capabilities.ambient.difference(capability);
        }),
        _ => Err(Errno::EINVAL.into()),
    }
}
