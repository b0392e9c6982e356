//! mmap(2) and its family.

use alloc::sync::Arc;
use core::ops::Range;
use core::sync::atomic::Ordering;

use bitflags::bitflags;
use isopod_fs::file::{Mapping, OpenFile};
use isopod_fs::vfs::MountFlags;
use isopod_fs::{Capabilities, Errno, Seals};
use isopod_hal::PAGE_SIZE;
use isopod_hal::paging::Access;

use super::argument::{Fd, Flags};
use super::unfinished::{self, Unfinished};
use crate::fail::{Attempt, Rest, Stop, SysResult};
use crate::kernel;
use crate::mm::{
    Advice, Backing, FaultKind, FileBacking, MapRequest, Move, Placement, READ_IMPLIES_EXEC, UserPtr,
    VmaFlags, page_down, page_up,
};
use crate::process::{Ctx, Resource};

bitflags! {
    /// `prot`
    #[derive(Debug, Clone, Copy)]
    struct Protection: u32 {
        const READ = 1;
        const WRITE = 2;
        const EXEC = 4;
        const SEM = 8;
        const GROWS_DOWN = 0x0100_0000;
        const GROWS_UP = 0x0200_0000;
    }

    /// `flags` of mmap
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    struct MapFlags: u32 {
        const SHARED = 0x01;
        const PRIVATE = 0x02;
        const FIXED = 0x10;
        const ANONYMOUS = 0x20;
        const BIT_32 = 0x40;
        const GROWS_DOWN = 0x100;
        const LOCKED = 0x2000;
        const NO_RESERVE = 0x4000;
        const POPULATE = 0x8000;
        const NON_BLOCKING = 0x1_0000;
        const STACK = 0x2_0000;
        const HUGE_TLB = 0x4_0000;
        const SYNC = 0x8_0000;
        const FIXED_NO_REPLACE = 0x10_0000;
        // Unknown and historic flags are ignored, as mmap(2) says.
        const _ = !0;
    }
}

/// `MAP_SHARED_VALIDATE`: shared, and unknown flags are errors.
const SHARED_VALIDATE: u32 = 3;

/// The flags that `MAP_SHARED_VALIDATE` accepts: `LEGACY_MAP_MASK`, which no later flag has been added to. `MAP_SYNC` is for storage that
/// keeps what a processor writes, which no file here is.
const KNOWN_FLAGS: u32 = 0x7c07_f9f3;

/// What the bits of `prot` allow. On x86 what can be written or executed can be read.
fn access(prot: Protection) -> Access {
    let mut access = Access::empty();
    access.set(Access::READ, prot.intersects(Protection::READ | Protection::WRITE | Protection::EXEC));
    access.set(Access::WRITE, prot.contains(Protection::WRITE));
    access.set(Access::EXEC, prot.contains(Protection::EXEC));
    access
}

/// Whether `READ_IMPLIES_EXEC` of personality(2) makes what is to be read executable.
fn reads_execute(ctx: &Ctx, prot: Protection) -> bool {
    prot.contains(Protection::READ) && ctx.thread.personality.load(Ordering::Relaxed) & READ_IMPLIES_EXEC != 0
}

/// mmap(2)
pub fn mmap(
    ctx: &mut Ctx,
    address: usize,
    length: usize,
    prot: Flags,
    flags: Flags,
    fd: Fd,
    offset: u64,
) -> Attempt {
    let prot = Protection::from_bits_truncate(prot.0);
    let flags = MapFlags::from_bits_retain(flags.0);
    if !offset.is_multiple_of(PAGE_SIZE as u64) {
        return Err(Errno::EINVAL.into());
    }
    let file = if flags.contains(MapFlags::ANONYMOUS) { None } else { Some(ctx.thread.files().get(fd.0)?) };
    if flags.contains(MapFlags::HUGE_TLB) && file.is_none() {
        // No huge pages are reserved, which is how a Linux without them answers.
        return Err(Errno::ENOMEM.into());
    }
    if flags.contains(MapFlags::HUGE_TLB) {
        return Err(Errno::EINVAL.into());
    }
    let shared = match flags.bits() & SHARED_VALIDATE {
        SHARED_VALIDATE if file.is_none() => return Err(Errno::EINVAL.into()),
        SHARED_VALIDATE if flags.bits() & !KNOWN_FLAGS != 0 => return Err(Errno::EOPNOTSUPP.into()),
        1 | SHARED_VALIDATE => true,
        2 => false,
        _ => return Err(Errno::EINVAL.into()),
    };
    let placement = match (flags.contains(MapFlags::FIXED), flags.contains(MapFlags::FIXED_NO_REPLACE)) {
        (_, true) => Placement::FixedNoReplace(address),
        (true, _) => Placement::Fixed(address),
        _ if flags.contains(MapFlags::BIT_32) => Placement::Low,
        _ => Placement::Hint(address),
    };
    let mut wanted = access(prot);
    if reads_execute(ctx, prot) {
        let nowhere =
            file.as_ref().is_some_and(|file| file.path().mount().flags().contains(MountFlags::NOEXEC));
        wanted.set(Access::EXEC, wanted.contains(Access::EXEC) || !nowhere);
    }
    let mut max_access = Access::all();
    let reserved = !flags.contains(MapFlags::NO_RESERVE);
    let shared_memory = || kernel::shared_memory(&ctx.memory, length, reserved);
    let backing = match file {
        Some(file) => {
            max_access = allowed(&file, shared, wanted)?;
            if wanted.contains(Access::EXEC) && !max_access.contains(Access::EXEC) {
                return Err(Errno::EPERM.into());
            }
            if !max_access.contains(wanted) {
                return Err(Errno::EACCES.into());
            }
            let pages = page_up(length).ok_or(Errno::ENOMEM)? as u64;
            offset.checked_add(pages).ok_or(Errno::EOVERFLOW)?;
            match file.mapping()? {
                Mapping::Inode(inode) => Backing::File(FileBacking::new(&ctx.memory, file, inode, offset)?),
                Mapping::Anonymous if shared => Backing::File(shared_memory()?),
                Mapping::Anonymous => Backing::Anonymous,
            }
        }
        None if shared => Backing::File(shared_memory()?),
        None => Backing::Anonymous,
    };
    let mut area = VmaFlags::empty();
    area.set(VmaFlags::SHARED, shared);
    area.set(VmaFlags::GROWS_DOWN, flags.contains(MapFlags::GROWS_DOWN) && !shared);
    area.set(VmaFlags::NO_RESERVE, !reserved);
    if flags.contains(MapFlags::LOCKED) {
        check_may_lock(ctx)?;
    }
    let locked = flags.contains(MapFlags::LOCKED) || ctx.memory.locks_future();
    area.set(VmaFlags::LOCKED, locked);
    if locked && !may_lock(ctx, length, &(0..0)) {
        return Err(Errno::EAGAIN.into());
    }
    let request = MapRequest { placement, length, access: wanted, max_access, flags: area, backing };
    let start = ctx.memory.map(request)?;
    if (locked || flags.contains(MapFlags::POPULATE)) && !wanted.is_empty() {
        let kind = if wanted.contains(Access::WRITE) && !shared { FaultKind::Write } else { FaultKind::Read };
        // What cannot be had now is had, or fails, when it is touched.
        return provide(ctx, start..start + length, kind, start, None);
    }
    Ok(start)
}

/// Provides all pages of a range now. If that cannot be, it may be a failure.
fn provide(
    ctx: &Ctx,
    range: Range<usize>,
    kind: FaultKind,
    result: usize,
    failure: Option<Errno>,
) -> Attempt {
    let memory = Arc::clone(&ctx.memory);
    Err(Stop::Rest(Rest::new(async move {
        let outcome = memory.fault_in(range, kind).await;
        match failure {
            Some(errno) if outcome.is_err() => Err(errno.into()),
            _ => Ok(result),
        }
    })))
}

/// What a mapping of `file` may ever be allowed to do. A file must be readable to be mapped at all; a shared mapping can be written only if
/// the file can.
fn allowed(file: &OpenFile, shared: bool, wanted: Access) -> Result<Access, Errno> {
    let flags = file.flags();
    if !flags.readable() {
        return Err(Errno::EACCES);
    }
    let mut allowed = Access::all();
    if shared && !flags.writable() {
        allowed.remove(Access::WRITE);
    }
    // What cannot be sealed is not sealed.
    let seals = if shared { file.inode().seals().unwrap_or(Seals::empty()) } else { Seals::empty() };
    if seals.intersects(Seals::WRITE | Seals::FUTURE_WRITE) {
        if wanted.contains(Access::WRITE) {
            return Err(Errno::EPERM);
        }
        allowed.remove(Access::WRITE);
    }
    if file.path().mount().flags().contains(MountFlags::NOEXEC) {
        allowed.remove(Access::EXEC);
    }
    Ok(allowed)
}

/// munmap(2)
pub fn munmap(ctx: &mut Ctx, address: usize, length: usize) -> Attempt {
    let done = core::mem::take(&mut ctx.moved);
    let done = ctx.memory.unmap(address, length, done)?;
    in_steps(ctx, done)
}

/// What has been done of a call that gives back much memory lets others have their turn; nothing is all.
pub(super) fn in_steps(ctx: &mut Ctx, done: Option<usize>) -> Attempt {
    match done {
        Some(done) => {
            ctx.moved = done;
            Err(Stop::Turn)
        }
        None => Ok(0),
    }
}

/// mprotect(2)
pub fn mprotect(ctx: &mut Ctx, address: usize, length: usize, prot: Flags) -> SysResult {
    let prot = Protection::from_bits(prot.0).ok_or(Errno::EINVAL)?;
    if prot.intersects(Protection::GROWS_DOWN | Protection::GROWS_UP) {
        return Err(Errno::EINVAL.into());
    }
    let mut access = access(prot);
    access.set(Access::EXEC, access.contains(Access::EXEC) || reads_execute(ctx, prot));
    ctx.memory.protect(address, length, access)?;
    Ok(0)
}

/// brk(2): the system call returns the new end, or the old one when it could not be moved.
pub fn brk(ctx: &mut Ctx, address: usize) -> Attempt {
    let limit = ctx.thread.process().limits.lock().get(Resource::Data).soft;
    let refused = ctx.memory.locks_future() && !may_lock(ctx, ctx.memory.heap_growth(address), &(0..0));
    let address = if refused { 0 } else { address };
    match ctx.memory.set_brk(address, limit) {
        Ok(end) => Ok(end),
        Err(more) => in_steps(ctx, Some(more)),
    }
}

/// mremap(2)
pub fn mremap(
    ctx: &mut Ctx,
    old: usize,
    old_size: usize,
    new_size: usize,
    flags: Flags,
    new: usize,
) -> SysResult {
    const MAY_MOVE: u32 = 1;
    const FIXED: u32 = 2;
    const DONT_UNMAP: u32 = 4;
    let known = flags.0 & !(MAY_MOVE | FIXED | DONT_UNMAP) == 0;
    let how = match (flags.0 & MAY_MOVE != 0, flags.0 & FIXED != 0) {
        (true, true) => Move::To(new),
        (true, false) => Move::May,
        (false, false) if flags.0 & DONT_UNMAP == 0 => Move::No,
        _ => return Err(Errno::EINVAL.into()),
    };
    if !known {
        return Err(Errno::EINVAL.into());
    }
    Ok(ctx.memory.remap(old, old_size, new_size, how, flags.0 & DONT_UNMAP != 0)?)
}

/// `remap_file_pages(2)`: as Linux does since 4.0, by a mapping of its own for each part.
pub fn remap_file_pages(
    ctx: &mut Ctx,
    start: usize,
    size: usize,
    prot: Flags,
    first_page: usize,
    flags: Flags,
) -> Attempt {
    let (start, size) = (page_down(start), page_down(size));
    let end = start.checked_add(size).filter(|&end| end > start).ok_or(Errno::EINVAL)?;
    let last_page = first_page.checked_add(size / PAGE_SIZE).ok_or(Errno::EINVAL)?;
    if prot.0 != 0 {
        return Err(Errno::EINVAL.into());
    }
    let fits = last_page <= i64::MAX as usize / PAGE_SIZE;
    ctx.memory.show_other_pages(&(start..end), fits.then(|| (first_page * PAGE_SIZE) as u64))?;
    if MapFlags::from_bits_retain(flags.0).contains(MapFlags::NON_BLOCKING) {
        return Ok(0);
    }
    provide(ctx, start..end, FaultKind::Read, 0, None)
}

/// msync(2): file pages are shared with read and write, and no file system here keeps them anywhere else.
pub fn msync(ctx: &mut Ctx, address: usize, length: usize, flags: Flags) -> SysResult {
    const ASYNC: u32 = 1;
    const INVALIDATE: u32 = 2;
    const SYNC: u32 = 4;
    let both = ASYNC | SYNC;
    if !address.is_multiple_of(PAGE_SIZE) || flags.0 & !(both | INVALIDATE) != 0 || flags.0 & both == both {
        return Err(Errno::EINVAL.into());
    }
    let length = page_up(length).ok_or(Errno::ENOMEM)?;
    if length != 0 && !ctx.memory.is_mapped(address, length) {
        return Err(Errno::ENOMEM.into());
    }
    Ok(0)
}

/// mincore(2)
pub fn mincore(ctx: &mut Ctx, address: usize, length: usize, vector: UserPtr<u8>) -> Attempt {
    /// After so many bytes others get a turn.
    const STEP: usize = 4096 * PAGE_SIZE;
    let done = unfinished::parts(ctx);
    if !address.is_multiple_of(PAGE_SIZE) {
        return Err(Errno::EINVAL.into());
    }
    let length = page_up(length).filter(|length| address.checked_add(*length).is_some());
    let left = length.ok_or(Errno::ENOMEM)?.saturating_sub(done);
    let pages = ctx.memory.resident_pages(address + done, left.min(STEP))?;
    let told = vector.element(done / PAGE_SIZE).put_bytes(&pages);
    ctx.unfinished = Some(Unfinished::Parts(done + if told.is_ok() { STEP } else { 0 }));
    told?;
    if left > STEP {
        return Err(Stop::Turn);
    }
    ctx.unfinished = None;
    Ok(0)
}

/// madvise(2)
pub fn madvise(ctx: &mut Ctx, address: usize, length: usize, advice: i32) -> Attempt {
    const POPULATE_READ: i32 = 22;
    const POPULATE_WRITE: i32 = 23;
    let kind = match advice {
        POPULATE_READ | POPULATE_WRITE => {
            let kind = if advice == POPULATE_READ { FaultKind::Read } else { FaultKind::Write };
            return populate(ctx, address, length, kind);
        }
        // NORMAL, RANDOM, SEQUENTIAL, WILLNEED; MERGEABLE, UNMERGEABLE; HUGEPAGE, NOHUGEPAGE; COLD, PAGEOUT; COLLAPSE
        0..=3 | 12..=15 | 20 | 21 | 25 => Advice::Hint,
        4 => Advice::Forget,
        8 => Advice::Free,
        24 => Advice::ForgetLocked,
        10 => Advice::Set(VmaFlags::DONT_FORK),
        11 => Advice::Clear(VmaFlags::DONT_FORK),
        16 => Advice::Set(VmaFlags::DONT_DUMP),
        17 => Advice::Clear(VmaFlags::DONT_DUMP),
        18 => Advice::Set(VmaFlags::WIPE_ON_FORK),
        19 => Advice::Clear(VmaFlags::WIPE_ON_FORK),
        _ => return Err(Errno::EINVAL.into()),
    };
    let done = core::mem::take(&mut ctx.moved);
    let done = ctx.memory.advise(address, length, kind, done)?;
    in_steps(ctx, done)
}

/// Provides all pages of a range now.
fn populate(ctx: &Ctx, address: usize, length: usize, kind: FaultKind) -> Attempt {
    let length = page_up(length).ok_or(Errno::EINVAL)?;
    let end = address.checked_add(length).ok_or(Errno::EINVAL)?;
    if !ctx.memory.is_mapped(address, length) {
        return Err(Errno::ENOMEM.into());
    }
    provide(ctx, address..end, kind, 0, Some(Errno::EFAULT))
}

/// `EPERM` for who may lock nothing.
fn check_may_lock(ctx: &Ctx) -> Result<(), Errno> {
    if lock_limit(ctx) == 0 { Err(Errno::EPERM) } else { Ok(()) }
}

/// How many bytes the caller may lock (`RLIMIT_MEMLOCK`).
fn lock_limit(ctx: &Ctx) -> u64 {
    if ctx.thread.identity().capable(Capabilities::IPC_LOCK) {
        return u64::MAX;
    }
    ctx.thread.process().limits.lock().get(Resource::LockedMemory).soft
}

/// Whether it may lock so many bytes more, of which those in `range` may be locked already.
fn may_lock(ctx: &Ctx, more: usize, range: &Range<usize>) -> bool {
    let limit = lock_limit(ctx);
    limit == u64::MAX
        || page_up(more)
            .is_some_and(|more| ctx.memory.locked_outside(range).saturating_add(more) as u64 <= limit)
}

/// mlock(2). There is no swap: to be in memory is all that can be asked for.
pub fn mlock(ctx: &mut Ctx, address: usize, length: usize) -> Attempt {
    mlock2(ctx, address, length, Flags(0))
}

/// mlock2(2)
pub fn mlock2(ctx: &mut Ctx, address: usize, length: usize, flags: Flags) -> Attempt {
    const ON_FAULT: u32 = 1;
    if flags.0 & !ON_FAULT != 0 {
        return Err(Errno::EINVAL.into());
    }
    let start = page_down(address);
    let length = page_up(length.checked_add(address - start).ok_or(Errno::EINVAL)?).ok_or(Errno::EINVAL)?;
    check_may_lock(ctx)?;
    if !may_lock(ctx, length, &(start..start.saturating_add(length))) {
        return Err(Errno::ENOMEM.into());
    }
    ctx.memory.advise(start, length, Advice::Set(VmaFlags::LOCKED), 0)?;
    if flags.0 & ON_FAULT == 0 {
        // Areas without any right cannot be touched; Linux reports those pages as ENOMEM.
        return provide(ctx, start..start + length, FaultKind::Read, 0, Some(Errno::ENOMEM));
    }
    Ok(0)
}

/// munlock(2)
pub fn munlock(ctx: &mut Ctx, address: usize, length: usize) -> SysResult {
    let start = page_down(address);
    let length = length.checked_add(address - start).ok_or(Errno::EINVAL)?;
    ctx.memory.advise(start, length, Advice::Clear(VmaFlags::LOCKED), 0)?;
    Ok(0)
}

/// mlockall(2)
pub fn mlockall(ctx: &mut Ctx, flags: Flags) -> Attempt {
    const CURRENT: u32 = 1;
    const FUTURE: u32 = 2;
    const ON_FAULT: u32 = 4;
    if matches!(flags.0, 0 | ON_FAULT | 8..) {
        return Err(Errno::EINVAL.into());
    }
    check_may_lock(ctx)?;
    let now = flags.0 & CURRENT != 0;
    if now && ctx.memory.mapped() as u64 > lock_limit(ctx) {
        return Err(Errno::ENOMEM.into());
    }
    ctx.memory.set_locks_future(flags.0 & FUTURE != 0);
    if now {
        ctx.memory.lock_all(true);
    }
    if !now || flags.0 & ON_FAULT != 0 {
        return Ok(0);
    }
    let memory = Arc::clone(&ctx.memory);
    Err(Stop::Rest(Rest::new(async move {
        let mut next = 0;
        while let Some(area) = memory.area_from(next) {
            next = area.end;
            // What cannot be had now is had, or fails, when it is touched.
            let _ = memory.fault_in(area, FaultKind::Read).await;
        }
        Ok(0)
    })))
}

/// munlockall(2)
pub fn munlockall(ctx: &mut Ctx) -> SysResult {
    ctx.memory.set_locks_future(false);
    ctx.memory.lock_all(false);
    Ok(0)
}
