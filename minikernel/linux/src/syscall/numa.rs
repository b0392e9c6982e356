//! Policies of memory on machines of several nodes, as one of a single node answers: `numa(7)`.
//!
//! All memory is of node 0, and every policy places a page there. A thread's own is kept and told; that of a range need not be.

use isopod_fs::{Capabilities, Errno};
use isopod_hal::PAGE_SIZE;

use super::argument::Flags;
use super::process::named_thread;
use super::unfinished::{self, Unfinished};
use crate::fail::{Attempt, Stop};
use crate::mm::{AddressSpace, FaultKind, UserPtr, page_down, page_up};
use crate::process::{Ctx, With};

const DEFAULT: u32 = 0;
const PREFERRED: u32 = 1;
const BIND: u32 = 2;
const INTERLEAVE: u32 = 3;
const LOCAL: u32 = 4;
const PREFERRED_MANY: u32 = 5;
const WEIGHTED_INTERLEAVE: u32 = 6;
/// May be added to a mode: `MPOL_F_STATIC_NODES`, `MPOL_F_RELATIVE_NODES`, `MPOL_F_NUMA_BALANCING`.
const STATIC: u32 = 1 << 15;
const RELATIVE: u32 = 1 << 14;
const BALANCING: u32 = 1 << 13;
/// `MPOL_MF_STRICT`, `MPOL_MF_MOVE`, `MPOL_MF_MOVE_ALL`
const MOVE_STRICT: u32 = 1;
const MOVE: u32 = 2;
const MOVE_ALL: u32 = 4;

/// Reads a set of nodes of `count - 1` bits; `EINVAL` for more than a page of them. Nodes that do not exist are left in it.
fn nodes(from: UserPtr<u64>, count: usize) -> Attempt<u64> {
    let bits = count.wrapping_sub(1);
    if bits == 0 || from.is_null() {
        return Ok(0);
    }
    if bits > PAGE_SIZE * 8 {
        return Err(Errno::EINVAL.into());
    }
    let mut first = 0;
    for (index, word) in from.get_array(bits.div_ceil(64))?.into_iter().enumerate() {
        let left = bits - index * 64;
        let word = if left < 64 { word & ((1 << left) - 1) } else { word };
        if index > 0 && word != 0 {
            return Err(Errno::EINVAL.into());
        }
        first |= word;
    }
    Ok(first)
}

/// The policy of a mode with its flags and nodes, as it is told; `EINVAL` for what makes no sense (`mpol_new`). The nodes are those that
/// there are, unless a flag says to keep what was asked for.
fn policy(mode: u32, nodes: u64) -> Result<(u32, u64), Errno> {
    let (flags, mode) = (mode & (STATIC | RELATIVE | BALANCING), mode & !(STATIC | RELATIVE | BALANCING));
    let placed = flags & (STATIC | RELATIVE) != 0;
    let makes_sense = match mode {
        _ if flags & (STATIC | RELATIVE) == STATIC | RELATIVE => false,
        _ if flags & BALANCING != 0 && !matches!(mode, BIND | PREFERRED_MANY) => false,
        DEFAULT => nodes == 0,
        LOCAL => nodes == 0 && !placed,
        PREFERRED if nodes == 0 => !placed,
        PREFERRED | BIND | INTERLEAVE | PREFERRED_MANY | WEIGHTED_INTERLEAVE => {
            // Nodes that are counted from those there are wrap around.
            nodes & 1 != 0 || nodes != 0 && flags & RELATIVE != 0
        }
        _ => false,
    };
    match mode {
        _ if !makes_sense => Err(Errno::EINVAL),
        PREFERRED if nodes == 0 => Ok((LOCAL | flags, 0)),
        mode => Ok((mode | flags, if flags == 0 { nodes & 1 } else { nodes })),
    }
}

/// `set_mempolicy(2)`
pub fn set_mempolicy(ctx: &mut Ctx, mode: u32, mask: UserPtr<u64>, count: usize) -> Attempt {
    check_mode(mode)?;
    *ctx.thread.memory_policy.lock() = policy(mode, nodes(mask, count)?)?;
    Ok(0)
}

/// What is wrong with a mode is said before its nodes are read.
fn check_mode(mode: u32) -> Result<(), Errno> {
    let some = u64::from(!matches!(mode & !(STATIC | RELATIVE | BALANCING), DEFAULT | LOCAL));
    policy(mode, some).map(drop)
}

/// `get_mempolicy(2)`
pub fn get_mempolicy(
    ctx: &mut Ctx,
    mode: UserPtr<u32>,
    mask: UserPtr<u64>,
    count: usize,
    address: usize,
    flags: Flags,
) -> Attempt {
    const NODE: u32 = 1;
    const ADDRESS: u32 = 2;
    const ALLOWED: u32 = 4;
    let flags = flags.0;
    let mask = mask.non_null();
    if mask.is_some() && count == 0 || flags & !(NODE | ADDRESS | ALLOWED) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let own = *ctx.thread.memory_policy.lock();
    let (told, set) = match flags {
        ALLOWED => (0, 1),
        _ if flags & ALLOWED != 0 => return Err(Errno::EINVAL.into()),
        NODE if own.0 == INTERLEAVE => (0, own.1),
        NODE => return Err(Errno::EINVAL.into()),
        0 if address != 0 => return Err(Errno::EINVAL.into()),
        0 => own,
        // Ranges have the default, and their pages lie on node 0.
        _ => {
            ctx.memory.area_at(address).ok_or(Errno::EFAULT)?;
            (DEFAULT, 0)
        }
    };
    if flags == NODE | ADDRESS && ctx.memory.frame_at(page_down(address)).is_none() {
        return Err(Stop::Fault(isopod_hal::uaccess::Fault { address, write: false }));
    }
    if let Some(mode) = mode.non_null() {
        mode.put(&told)?;
    }
    if let Some(mask) = mask {
        let words = (count - 1).div_ceil(64);
        if words * size_of::<u64>() > PAGE_SIZE {
            return Err(Errno::EINVAL.into());
        }
        for word in 0..words {
            mask.element(word).put(if word == 0 { &set } else { &0 })?;
        }
    }
    Ok(0)
}

/// mbind(2): a range of memory gets a policy, which changes nothing.
pub fn mbind(
    ctx: &mut Ctx,
    start: usize,
    length: usize,
    mode: u32,
    mask: UserPtr<u64>,
    count: usize,
    flags: Flags,
) -> Attempt {
    check_mode(mode)?;
    let nodes = nodes(mask, count)?;
    check_move(ctx, flags.0, MOVE_STRICT)?;
    if !start.is_multiple_of(PAGE_SIZE) {
        return Err(Errno::EINVAL.into());
    }
    let length =
        page_up(length).filter(|length| start.checked_add(*length).is_some()).ok_or(Errno::EINVAL)?;
    if length == 0 {
        return Ok(0);
    }
    policy(mode, nodes)?;
    if ctx.memory.is_mapped(start, length) { Ok(0) } else { Err(Errno::EFAULT.into()) }
}

/// `EINVAL` for flags that do not exist, `EPERM` to who wants to move what others use.
fn check_move(ctx: &Ctx, flags: u32, more: u32) -> Result<(), Errno> {
    if flags & !(MOVE | MOVE_ALL | more) != 0 {
        return Err(Errno::EINVAL);
    }
    let privileged = ctx.thread.identity().capable(Capabilities::SYS_NICE);
    if flags & MOVE_ALL != 0 && !privileged { Err(Errno::EPERM) } else { Ok(()) }
}

/// `migrate_pages(2)`: there is no other node to move anything to.
pub fn migrate_pages(ctx: &mut Ctx, pid: u32, count: usize, old: UserPtr<u64>, new: UserPtr<u64>) -> Attempt {
    nodes(old, count)?;
    let new = nodes(new, count)?;
    let target = named_thread(ctx, pid)?;
    if !ctx.thread.may_inspect(&target, With::RealIds) {
        return Err(Errno::EPERM.into());
    }
    if new & 1 == 0 { Err(Errno::EINVAL.into()) } else { Ok(0) }
}

/// `move_pages(2)`: tells where pages are, which is where they are to be.
pub fn move_pages(
    ctx: &mut Ctx,
    pid: u32,
    count: usize,
    pages: UserPtr<u64>,
    wanted: UserPtr<i32>,
    status: UserPtr<i32>,
    flags: Flags,
) -> Attempt {
    /// After so many pages others get a turn.
    const STEP: usize = 64;
    check_move(ctx, flags.0, 0)?;
    let target = named_thread(ctx, pid)?;
    if !ctx.thread.may_inspect(&target, With::RealIds) {
        return Err(Errno::EPERM.into());
    }
    let memory = target.process().memory();
    let from = unfinished::parts(ctx);
    for index in from..count {
        if index > from && index.is_multiple_of(STEP) {
            ctx.unfinished = Some(Unfinished::Parts(index));
            return Err(Stop::Turn);
        }
        let wanted = wanted.non_null().map(|wanted| wanted.element(index));
        if let Err(stop) = tell_node(&memory, pages.element(index), wanted, status.element(index)) {
            // What was stopped goes on there.
            ctx.unfinished = (!matches!(stop, Stop::Fail(_))).then_some(Unfinished::Parts(index));
            return Err(stop);
        }
    }
    Ok(0)
}

/// Tells where one page is.
fn tell_node(
    memory: &AddressSpace,
    page: UserPtr<u64>,
    wanted: Option<UserPtr<i32>>,
    status: UserPtr<i32>,
) -> Attempt<()> {
    let page = page_down(page.get()? as usize);
    if let Some(wanted) = wanted
        && wanted.get()? != 0
    {
        return Err(Errno::ENODEV.into());
    }
    let absent = |errno: Errno| -i32::from(errno.number());
    let there = match memory.area_at(page) {
        None => absent(Errno::EFAULT),
        Some(_) => memory.with_page(page, FaultKind::Read, &mut |_| 0).map_or(absent(Errno::ENOENT), |_| 0),
    };
    status.put(&there)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::syscall::unfinished::forget;
    use crate::testing;
    use isopod_hal::user::UserContext;

    #[test]
    fn pages_that_have_been_told_are_not_the_result() {
        const PLACE: usize = 0x20_0000;
        let thread = testing::thread();
        testing::map_pages(&thread, PLACE, 2);
        let mut ctx = Ctx::new(&thread, UserContext::new(0, 0).unwrap());
        let mut tell = || {
            let (pages, status) = (UserPtr::new(PLACE), UserPtr::new(PLACE + PAGE_SIZE));
            let outcome = move_pages(&mut ctx, 0, 65, pages, UserPtr::new(0), status, Flags(0));
            (outcome, ctx.moved, ctx.unfinished.take())
        };
        let mut outcome = tell();
        while let (Err(Stop::Fault(fault)), ..) = outcome {
            let memory = thread.process().memory();
            assert!(testing::Task::new(memory.resolve(fault)).poll().is_ready());
            outcome = tell();
        }
        assert!(matches!(outcome, (Err(Stop::Turn), 0, Some(Unfinished::Parts(64)))), "{outcome:?}");
        ctx.unfinished = outcome.2;
        assert_eq!(forget(&mut ctx), 0);
    }
}
