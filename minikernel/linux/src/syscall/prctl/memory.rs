//! What prctl(2) knows of a process's memory: where its arguments lie, and the auxiliary vector.

use alloc::vec::Vec;

use isopod_fs::{Capabilities, Errno};
use isopod_hal::paging::USER_END;

use crate::fail::{Attempt, SysResult};
use crate::mm::{LOWEST, UserPtr};
use crate::process::Ctx;

/// `PR_SET_MM`: lets a program that rewrites its title say where it is. Only the places that are shown to others can be changed.
pub(super) fn set(ctx: &Ctx, what: u64, address: u64, rest: [u64; 2]) -> SysResult {
    const ARG_START: u64 = 8;
    const ARG_END: u64 = 9;
    const ENV_START: u64 = 10;
    const ENV_END: u64 = 11;
    if rest != [0; 2] {
        return Err(Errno::EINVAL.into());
    }
    if !ctx.thread.identity().capable(Capabilities::SYS_RESOURCE) {
        return Err(Errno::EPERM.into());
    }
    let address = address as usize;
    if !(LOWEST..USER_END).contains(&address) {
        return Err(Errno::EINVAL.into());
    }
    let mut start = ctx.memory.start();
    match what {
        ARG_START => start.arguments.start = address,
        ARG_END => start.arguments.end = address,
        ENV_START => start.environment.start = address,
        ENV_END => start.environment.end = address,
        _ => return Err(Errno::EINVAL.into()),
    }
    if start.arguments.start > start.arguments.end || start.environment.start > start.environment.end {
        return Err(Errno::EINVAL.into());
    }
    if ctx.memory.area_at(address).is_none() {
        return Err(Errno::EFAULT.into());
    }
    ctx.memory.set_start(start);
    Ok(0)
}

/// `PR_GET_AUXV`: writes as much of the auxiliary vector as fits; returns its size.
pub(super) fn auxiliary(ctx: &Ctx, to: u64, room: u64, rest: [u64; 2]) -> Attempt {
    if rest != [0; 2] {
        return Err(Errno::EINVAL.into());
    }
    let vector = ctx.memory.start().auxiliary;
    let bytes: Vec<u8> =
        vector.iter().flat_map(|(kind, value)| [*kind, *value]).flat_map(u64::to_le_bytes).collect();
    let length = bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX));
    UserPtr::<u8>::new(to as usize).put_bytes(&bytes[..length])?;
    Ok(bytes.len())
}
