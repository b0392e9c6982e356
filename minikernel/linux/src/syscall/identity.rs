//! Who the caller is: credentials(7), capabilities(7).

use alloc::sync::Arc;

use isopod_fs::{Capabilities, Errno};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::fail::{Attempt, Stop, SysResult};
use crate::mm::UserPtr;
use crate::process::{Ctx, IdSet, Identity, in_order};

/// "Leave it as it is" in the setre and setres calls.
const KEEP: u32 = u32::MAX;
/// The most supplementary groups (`NGROUPS_MAX`).
const GROUPS_MAX: usize = 65_536;

/// Replaces the caller's identity with what `change` makes of it.
pub(super) fn change(ctx: &Ctx, change: &mut dyn FnMut(&mut Identity) -> Result<(), Errno>) -> SysResult {
    let mut identity = (*ctx.thread.identity()).clone();
    change(&mut identity)?;
    ctx.thread.set_identity(identity);
    Ok(0)
}

/// getuid(2)
pub fn getuid(ctx: &mut Ctx) -> SysResult {
    Ok(ctx.thread.identity().users.real as usize)
}

/// geteuid(2)
pub fn geteuid(ctx: &mut Ctx) -> SysResult {
    Ok(ctx.thread.identity().users.effective as usize)
}

/// getgid(2)
pub fn getgid(ctx: &mut Ctx) -> SysResult {
    Ok(ctx.thread.identity().groups.real as usize)
}

/// getegid(2)
pub fn getegid(ctx: &mut Ctx) -> SysResult {
    Ok(ctx.thread.identity().groups.effective as usize)
}

/// setuid(2)
pub fn setuid(ctx: &mut Ctx, uid: u32) -> SysResult {
    valid(uid)?;
    change(ctx, &mut |identity| {
        let users = set_effective(identity.users, identity.capable(Capabilities::SETUID), uid)?;
        identity.set_users(users);
        Ok(())
    })
}

/// setgid(2)
pub fn setgid(ctx: &mut Ctx, gid: u32) -> SysResult {
    valid(gid)?;
    change(ctx, &mut |identity| {
        identity.groups = set_effective(identity.groups, identity.capable(Capabilities::SETGID), gid)?;
        Ok(())
    })
}

/// `(uid_t) -1` names nobody.
fn valid(id: u32) -> Result<(), Errno> {
    if id == KEEP { Err(Errno::EINVAL) } else { Ok(()) }
}

/// The rule of setuid(2) and setgid(2).
fn set_effective(before: IdSet, privileged: bool, id: u32) -> Result<IdSet, Errno> {
    if privileged {
        return Ok(IdSet::all(id));
    }
    if id != before.real && id != before.saved {
        return Err(Errno::EPERM);
    }
    Ok(IdSet { effective: id, file: id, ..before })
}

/// The rule of setreuid(2) and setregid(2).
fn set_real_effective(before: IdSet, privileged: bool, real: u32, effective: u32) -> Result<IdSet, Errno> {
    let mut ids = before;
    if real != KEEP {
        if !privileged && real != before.real && real != before.effective {
            return Err(Errno::EPERM);
        }
        ids.real = real;
    }
    if effective != KEEP {
        if !privileged && !before.has(effective) {
            return Err(Errno::EPERM);
        }
        ids.effective = effective;
    }
    if real != KEEP || (effective != KEEP && effective != before.real) {
        ids.saved = ids.effective;
    }
    ids.file = ids.effective;
    Ok(ids)
}

/// The rule of setresuid(2) and setresgid(2).
fn set_all(before: IdSet, privileged: bool, wanted: [u32; 3]) -> Result<IdSet, Errno> {
    let mut ids = before;
    if !privileged && wanted.iter().any(|&id| id != KEEP && !before.has(id)) {
        return Err(Errno::EPERM);
    }
    for (slot, id) in [&mut ids.real, &mut ids.effective, &mut ids.saved].into_iter().zip(wanted) {
        if id != KEEP {
            *slot = id;
        }
    }
    ids.file = ids.effective;
    Ok(ids)
}

/// setreuid(2)
pub fn setreuid(ctx: &mut Ctx, real: u32, effective: u32) -> SysResult {
    change(ctx, &mut |identity| {
        let privileged = identity.capable(Capabilities::SETUID);
        identity.set_users(set_real_effective(identity.users, privileged, real, effective)?);
        Ok(())
    })
}

/// setregid(2)
pub fn setregid(ctx: &mut Ctx, real: u32, effective: u32) -> SysResult {
    change(ctx, &mut |identity| {
        let privileged = identity.capable(Capabilities::SETGID);
        identity.groups = set_real_effective(identity.groups, privileged, real, effective)?;
        Ok(())
    })
}

/// setresuid(2)
pub fn setresuid(ctx: &mut Ctx, real: u32, effective: u32, saved: u32) -> SysResult {
    change(ctx, &mut |identity| {
        let privileged = identity.capable(Capabilities::SETUID);
        identity.set_users(set_all(identity.users, privileged, [real, effective, saved])?);
        Ok(())
    })
}

/// setresgid(2)
pub fn setresgid(ctx: &mut Ctx, real: u32, effective: u32, saved: u32) -> SysResult {
    change(ctx, &mut |identity| {
        let privileged = identity.capable(Capabilities::SETGID);
        identity.groups = set_all(identity.groups, privileged, [real, effective, saved])?;
        Ok(())
    })
}

/// getresuid(2)
pub fn getresuid(ctx: &mut Ctx, real: UserPtr<u32>, effective: UserPtr<u32>, saved: UserPtr<u32>) -> Attempt {
    let ids = ctx.thread.identity().users;
    write_three([real, effective, saved], [ids.real, ids.effective, ids.saved])
}

/// getresgid(2)
pub fn getresgid(ctx: &mut Ctx, real: UserPtr<u32>, effective: UserPtr<u32>, saved: UserPtr<u32>) -> Attempt {
    let ids = ctx.thread.identity().groups;
    write_three([real, effective, saved], [ids.real, ids.effective, ids.saved])
}

fn write_three(to: [UserPtr<u32>; 3], ids: [u32; 3]) -> Attempt {
    for (to, id) in to.into_iter().zip(ids) {
        to.put(&id)?;
    }
    Ok(0)
}

/// setfsuid(2): returns the old value, also when nothing changed.
pub fn setfsuid(ctx: &mut Ctx, uid: u32) -> SysResult {
    let old = ctx.thread.identity().users.file;
    change(ctx, &mut |identity| {
        if uid != KEEP && (identity.users.has(uid) || identity.capable(Capabilities::SETUID)) {
            identity.set_file_user(uid);
        }
        Ok(())
    })?;
    Ok(old as usize)
}

/// setfsgid(2): returns the old value, also when nothing changed.
pub fn setfsgid(ctx: &mut Ctx, gid: u32) -> SysResult {
    let old = ctx.thread.identity().groups.file;
    change(ctx, &mut |identity| {
        if gid != KEEP && (identity.groups.has(gid) || identity.capable(Capabilities::SETGID)) {
            identity.groups.file = gid;
        }
        Ok(())
    })?;
    Ok(old as usize)
}

/// getgroups(2)
pub fn getgroups(ctx: &mut Ctx, size: i32, list: UserPtr<u32>) -> Attempt {
    let groups = Arc::clone(&ctx.thread.identity().supplementary);
    let size = usize::try_from(size).map_err(|_| Errno::EINVAL)?;
    if size == 0 {
        return Ok(groups.len());
    }
    if size < groups.len() {
        return Err(Errno::EINVAL.into());
    }
    list.cast::<u8>().put_bytes(groups.as_bytes())?;
    Ok(groups.len())
}

/// setgroups(2)
pub fn setgroups(ctx: &mut Ctx, size: usize, list: UserPtr<u32>) -> Attempt {
    if !ctx.thread.identity().capable(Capabilities::SETGID) {
        return Err(Errno::EPERM.into());
    }
    if size > GROUPS_MAX {
        return Err(Errno::EINVAL.into());
    }
    let groups = Arc::new(in_order(list.get_array(size)?));
    Ok(change(ctx, &mut |identity| {
        identity.supplementary = Arc::clone(&groups);
        Ok(())
    })?)
}

/// `struct __user_cap_header_struct`
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct CapHeader {
    version: u32,
    pid: i32,
}

/// `_LINUX_CAPABILITY_VERSION_3`: two words for each set.
const VERSION_3: u32 = 0x2008_0522;
/// `_LINUX_CAPABILITY_VERSION_1`: one word.
const VERSION_1: u32 = 0x1998_0330;

/// How many words of each set the header's version has. An unknown version is answered with the preferred one and `EINVAL`.
fn capability_words(header: UserPtr<CapHeader>) -> Attempt<(CapHeader, usize)> {
    const VERSION_2: u32 = 0x2007_1026;
    let found = header.get()?;
    match found.version {
        VERSION_1 => Ok((found, 1)),
        VERSION_2 | VERSION_3 => Ok((found, 2)),
        _ => {
            header.cast::<u32>().put(&VERSION_3)?;
            Err(Errno::EINVAL.into())
        }
    }
}

/// capget(2)
pub fn capget(ctx: &mut Ctx, header: UserPtr<CapHeader>, data: UserPtr<[u32; 6]>) -> Attempt {
    let (found, words) = match capability_words(header) {
        // Asking which version is preferred, with no data, succeeds.
        Err(Stop::Fail(_)) if data.is_null() => return Ok(0),
        other => other?,
    };
    let pid = u32::try_from(found.pid).map_err(|_| Errno::EINVAL)?;
    let target = if pid == 0 { Some(Arc::clone(&ctx.thread)) } else { crate::process::find_thread(pid) };
    let sets = target.ok_or(Errno::ESRCH)?.identity().capabilities;
    if data.is_null() {
        return Ok(0);
    }
    let bits = [sets.effective.bits(), sets.permitted.bits(), sets.inheritable.bits()];
    let mut out = [0; 6];
    for word in 0..words {
        for (set, bits) in bits.into_iter().enumerate() {
            out[word * 3 + set] = (bits >> (32 * word)) as u32;
        }
    }
    data.cast::<u8>().put_bytes(&out.as_bytes()[..words * 12])?;
    Ok(0)
}

/// capset(2)
pub fn capset(ctx: &mut Ctx, header: UserPtr<CapHeader>, data: UserPtr<[u32; 6]>) -> Attempt {
    let (found, words) = capability_words(header)?;
    if found.pid != 0 && found.pid != ctx.thread.tid() as i32 {
        return Err(Errno::EPERM.into());
    }
    let mut raw = [0u32; 6];
    data.cast().get_bytes(&mut raw.as_mut_bytes()[..words * 12])?;
    let set = |index: usize| {
        Capabilities::from_bits_retain(u64::from(raw[index]) | u64::from(raw[index + 3]) << 32)
            .intersection(crate::process::ALL_CAPABILITIES)
    };
    let (effective, permitted, inheritable) = (set(0), set(1), set(2));
    Ok(change(ctx, &mut |identity| {
        let may_add = identity.capable(Capabilities::SETPCAP);
        let sets = &mut identity.capabilities;
        let added = inheritable.difference(sets.inheritable);
        if !sets.bounding.contains(added)
            || !may_add && !sets.permitted.contains(added)
            || !sets.permitted.contains(permitted)
            || !permitted.contains(effective)
        {
            return Err(Errno::EPERM);
        }
        sets.effective = effective;
        sets.permitted = permitted;
        sets.inheritable = inheritable;
        sets.ambient = sets.ambient.intersection(permitted).intersection(inheritable);
        Ok(())
    })?)
}
