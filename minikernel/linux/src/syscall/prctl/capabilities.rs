//! The capability sets beside those of capset(2): bounding, ambient, and the securebits flags (capabilities(7)).

use isopod_fs::{Capabilities, Errno};

use super::change;
use crate::fail::SysResult;
use crate::process::{ALL_CAPABILITIES, Ctx, SecureBits};

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

/// `PR_CAPBSET_READ`
pub(super) fn bounding(ctx: &Ctx, number: u64) -> SysResult {
    Ok(usize::from(ctx.thread.identity().capabilities.bounding.contains(single(number)?)))
}

/// `PR_CAPBSET_DROP`
pub(super) fn drop_bounding(ctx: &Ctx, number: u64) -> SysResult {
    if !ctx.thread.identity().capable(Capabilities::SETPCAP) {
        return Err(Errno::EPERM.into());
    }
    let capability = single(number)?;
    change(ctx, &mut |identity| identity.capabilities.bounding -= capability)
}

/// `PR_SET_SECUREBITS`
pub(super) fn set_secure_bits(ctx: &Ctx, wanted: u64) -> SysResult {
    let identity = ctx.thread.identity();
    let before = identity.secure_bits;
    let wanted = u32::try_from(wanted).map(SecureBits::from_bits_retain);
    let allowed = wanted.ok().filter(|wanted| {
        let changes = before.symmetric_difference(*wanted);
        SecureBits::EVERY.contains(*wanted)
            && !changes.intersects(before.locked())
            && wanted.contains(before & SecureBits::LOCKS)
            && identity.capable(Capabilities::SETPCAP)
    });
    let bits = allowed.ok_or(Errno::EPERM)?;
    change(ctx, &mut |identity| identity.secure_bits = bits)
}

/// `PR_SET_KEEPCAPS`, which is one of the securebits.
pub(super) fn keep(ctx: &Ctx, wanted: u64) -> SysResult {
    if wanted > 1 {
        return Err(Errno::EINVAL.into());
    }
    if ctx.thread.identity().secure_bits.locked().contains(SecureBits::KEEP_CAPS) {
        return Err(Errno::EPERM.into());
    }
    change(ctx, &mut |identity| identity.secure_bits.set(SecureBits::KEEP_CAPS, wanted == 1))
}

/// `PR_CAP_AMBIENT`
pub(super) fn ambient(ctx: &Ctx, operation: u64, number: u64, rest: [u64; 2]) -> SysResult {
    const IS_SET: u64 = 1;
    const RAISE: u64 = 2;
    const LOWER: u64 = 3;
    const CLEAR_ALL: u64 = 4;
    if rest != [0; 2] || operation == CLEAR_ALL && number != 0 {
        return Err(Errno::EINVAL.into());
    }
    if operation == CLEAR_ALL {
        return change(ctx, &mut |identity| identity.capabilities.ambient = Capabilities::empty());
    }
    let capability = single(number)?;
    let identity = ctx.thread.identity();
    let sets = identity.capabilities;
    let may_raise = sets.permitted.intersection(sets.inheritable).contains(capability)
        && !identity.secure_bits.contains(SecureBits::NO_CAP_AMBIENT_RAISE);
    match operation {
        IS_SET => Ok(usize::from(sets.ambient.contains(capability))),
        RAISE if !may_raise => Err(Errno::EPERM.into()),
        RAISE => change(ctx, &mut |identity| identity.capabilities.ambient |= capability),
        LOWER => change(ctx, &mut |identity| identity.capabilities.ambient -= capability),
        _ => Err(Errno::EINVAL.into()),
    }
}
