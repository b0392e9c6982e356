//! prctl(2): one call for many small things.

mod capabilities;
mod memory;

use core::sync::atomic::Ordering;

use isopod_fs::Errno;

use super::{identity, seccomp};
use crate::fail::{Attempt, Fail, Stop, SysResult};
use crate::mm::UserPtr;
use crate::process::{Ctx, Identity, SecureBits};
use crate::signal::Signal;

const SET_PDEATHSIG: i32 = 1;
const GET_PDEATHSIG: i32 = 2;
const GET_DUMPABLE: i32 = 3;
const SET_DUMPABLE: i32 = 4;
const GET_KEEPCAPS: i32 = 7;
const SET_KEEPCAPS: i32 = 8;
const SET_NAME: i32 = 15;
const GET_NAME: i32 = 16;
const GET_TIMING: i32 = 13;
const SET_TIMING: i32 = 14;
const GET_SECCOMP: i32 = 21;
const SET_SECCOMP: i32 = 22;
const CAPBSET_READ: i32 = 23;
const CAPBSET_DROP: i32 = 24;
const GET_TSC: i32 = 25;
const SET_TSC: i32 = 26;
const GET_SECUREBITS: i32 = 27;
const SET_SECUREBITS: i32 = 28;
const SET_TIMERSLACK: i32 = 29;
const GET_TIMERSLACK: i32 = 30;
const TASK_PERF_EVENTS_DISABLE: i32 = 31;
const TASK_PERF_EVENTS_ENABLE: i32 = 32;
const MCE_KILL: i32 = 33;
const MCE_KILL_GET: i32 = 34;
const SET_MM: i32 = 35;
const SET_CHILD_SUBREAPER: i32 = 36;
const GET_CHILD_SUBREAPER: i32 = 37;
const SET_NO_NEW_PRIVS: i32 = 38;
const GET_NO_NEW_PRIVS: i32 = 39;
const GET_TID_ADDRESS: i32 = 40;
const SET_THP_DISABLE: i32 = 41;
const GET_THP_DISABLE: i32 = 42;
const CAP_AMBIENT: i32 = 47;
const GET_SPECULATION_CTRL: i32 = 52;
const SET_SPECULATION_CTRL: i32 = 53;
const GET_AUXV: i32 = 0x4155_5856;

/// Does what `option` asks for.
pub(super) fn control(ctx: &mut Ctx, option: i32, arguments: [u64; 4]) -> Attempt {
    let [first, second, third, fourth] = arguments;
    let no_more = second == 0 && third == 0 && fourth == 0;
    match option {
        SET_NAME => {
            let mut name = [0; 16];
            let at = UserPtr::<u8>::new(first as usize);
            match at.get_string(name.len()) {
                Ok(short) => ctx.thread.set_name(&short),
                // Longer names are cut.
                Err(Stop::Fail(Fail::Errno(Errno::ENAMETOOLONG))) => {
                    at.get_bytes(&mut name)?;
                    ctx.thread.set_name(&name);
                }
                Err(stop) => return Err(stop),
            }
            Ok(0)
        }
        GET_NAME => {
            let mut name = [0; 16];
            let current = ctx.thread.name();
            name[..current.len()].copy_from_slice(&current);
            UserPtr::<u8>::new(first as usize).put_bytes(&name)?;
            Ok(0)
        }
        SET_CHILD_SUBREAPER => {
            ctx.thread.process().adopts_orphans.store(first != 0, Ordering::Relaxed);
            Ok(0)
        }
        GET_CHILD_SUBREAPER => {
            let adopts = ctx.thread.process().adopts_orphans.load(Ordering::Relaxed);
            UserPtr::new(first as usize).put(&i32::from(adopts))?;
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
            UserPtr::new(first as usize).put(&signal)?;
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
        GET_KEEPCAPS => Ok(usize::from(ctx.thread.identity().secure_bits.contains(SecureBits::KEEP_CAPS))),
        SET_KEEPCAPS => Ok(capabilities::keep(ctx, first)?),
        GET_SECUREBITS => Ok(ctx.thread.identity().secure_bits.bits() as usize),
        SET_SECUREBITS => Ok(capabilities::set_secure_bits(ctx, first)?),
        SET_NO_NEW_PRIVS if first == 1 && no_more => {
            Ok(change(ctx, &mut |identity| identity.no_new_privileges = true)?)
        }
        GET_NO_NEW_PRIVS if first == 0 && no_more => Ok(usize::from(ctx.thread.identity().no_new_privileges)),
        GET_SECCOMP => Ok(ctx.thread.seccomp.lock().number() as usize),
        SET_SECCOMP => seccomp::set(ctx, first, second),
        // Statistical timing alone, and nobody counts events.
        GET_TIMING | TASK_PERF_EVENTS_DISABLE | TASK_PERF_EVENTS_ENABLE => Ok(0),
        SET_TIMING if first == 0 => Ok(0),
        GET_TSC => {
            UserPtr::new(first as usize).put(&TSC_ENABLE)?;
            Ok(0)
        }
        SET_TSC if first == TSC_ENABLE as u64 => Ok(0),
        GET_SPECULATION_CTRL if no_more => Ok(speculation(first)?),
        SET_SPECULATION_CTRL if third == 0 && fourth == 0 => Ok(set_speculation(first, second)?),
        // Pages are of one size, and the hardware's errors end the machine; what is wished for is kept and told.
        GET_THP_DISABLE if first == 0 && no_more => {
            Ok(usize::from(ctx.thread.process().small_pages.load(Ordering::Relaxed)))
        }
        SET_THP_DISABLE if no_more => {
            ctx.thread.process().small_pages.store(first != 0, Ordering::Relaxed);
            Ok(0)
        }
        MCE_KILL if third == 0 && fourth == 0 => Ok(machine_check(ctx, first, second)?),
        MCE_KILL_GET if first == 0 && no_more => {
            Ok(usize::from(ctx.thread.machine_check_policy.load(Ordering::Relaxed)))
        }
        SET_MM => Ok(memory::set(ctx, first, second, [third, fourth])?),
        GET_AUXV => memory::auxiliary(ctx, first, second, [third, fourth]),
        SET_TIMERSLACK => {
            ctx.thread.timer_slack.set(first);
            Ok(0)
        }
        GET_TIMERSLACK => Ok(ctx.thread.timer_slack.get() as usize),
        GET_TID_ADDRESS => {
            let address = ctx.thread.clear_child_tid.load(Ordering::Relaxed) as u64;
            UserPtr::new(first as usize).put(&address)?;
            Ok(0)
        }
        CAPBSET_READ => Ok(capabilities::bounding(ctx, first)?),
        CAPBSET_DROP => Ok(capabilities::drop_bounding(ctx, first)?),
        CAP_AMBIENT => Ok(capabilities::ambient(ctx, first, second, [third, fourth])?),
        _ => Err(Errno::EINVAL.into()),
    }
}

/// `PR_TSC_ENABLE`
const TSC_ENABLE: i32 = 1;

/// Ways of speculation that can be asked for (`PR_SPEC_STORE_BYPASS`, `PR_SPEC_INDIRECT_BRANCH`, `PR_SPEC_L1D_FLUSH`).
const STORE_BYPASS: u64 = 0;
const INDIRECT_BRANCH: u64 = 1;
const L1D_FLUSH: u64 = 2;
/// `PR_SPEC_ENABLE`
const SPECULATES: u64 = 1 << 1;
/// `PR_SPEC_FORCE_DISABLE`
const NEVER: u64 = 1 << 3;

/// `PR_GET_SPECULATION_CTRL`: processors speculate as they do by themselves, and their caches are not flushed for anybody.
fn speculation(which: u64) -> SysResult {
    match which {
        STORE_BYPASS | INDIRECT_BRANCH => Ok(SPECULATES as usize),
        L1D_FLUSH => Ok(NEVER as usize),
        _ => Err(Errno::ENODEV.into()),
    }
}

/// `PR_SET_SPECULATION_CTRL`: with the errors of Linux without mitigations.
fn set_speculation(which: u64, wanted: u64) -> SysResult {
    const DISABLE: u64 = 1 << 2;
    Err(match (which, wanted) {
        (STORE_BYPASS, _) => Errno::ENXIO,
        (INDIRECT_BRANCH, SPECULATES) => return Ok(0),
        (INDIRECT_BRANCH, DISABLE | NEVER) | (L1D_FLUSH, _) => Errno::EPERM,
        (INDIRECT_BRANCH, _) => Errno::ERANGE,
        _ => Errno::ENODEV,
    }
    .into())
}

/// `PR_MCE_KILL`
fn machine_check(ctx: &Ctx, operation: u64, policy: u64) -> SysResult {
    const CLEAR: u64 = 0;
    const SET: u64 = 1;
    const DEFAULT: u64 = 2;
    let policy = match (operation, policy) {
        (CLEAR, 0) => DEFAULT,
        (SET, 0..=DEFAULT) => policy,
        _ => return Err(Errno::EINVAL.into()),
    };
    ctx.thread.machine_check_policy.store(policy as u8, Ordering::Relaxed);
    Ok(0)
}

/// As [`identity::change`], for what cannot fail.
fn change(ctx: &Ctx, change: &mut dyn FnMut(&mut Identity)) -> SysResult {
    identity::change(ctx, &mut |identity| {
        change(identity);
        Ok(())
    })
}
