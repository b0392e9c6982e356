//! Advisory locks: flock(2), and the lock commands of fcntl(2).

use alloc::sync::Arc;

use isopod_fs::file::{Conflict, LockKind, LockOwner, LockRange, LockWait, OpenFile, Whence};
use isopod_fs::{Errno, Error};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::fail::{Attempt, Fail, Later, errno};
use crate::mm::UserPtr;
use crate::poll::FOREVER;
use crate::process::Ctx;
use crate::syscall::argument::{Fd, Flags};
use crate::syscall::when::when;

/// The lock commands of fcntl(2); EINVAL for any other.
pub(super) fn fcntl(ctx: &mut Ctx, fd: Fd, file: &Arc<OpenFile>, command: i32, argument: u64) -> Attempt {
    const GETLK: i32 = 5;
    const SETLK: i32 = 6;
    const SETLKW: i32 = 7;
    const OFD_GETLK: i32 = 36;
    const OFD_SETLK: i32 = 37;
    const OFD_SETLKW: i32 = 38;
    let lock = UserPtr::<Flock>::new(argument as usize);
    let process = LockOwner::process(ctx.thread.process().pid);
    match command {
        GETLK => get_lock(file, process, lock),
        SETLK | SETLKW => set_lock(ctx, file, process, lock, command == SETLKW, Some(fd)),
        OFD_GETLK => get_lock(file, description(file, lock)?, lock),
        OFD_SETLK | OFD_SETLKW => {
            set_lock(ctx, file, description(file, lock)?, lock, command == OFD_SETLKW, None)
        }
        _ => Err(Errno::EINVAL.into()),
    }
}

/// flock(2)
pub fn flock(ctx: &mut Ctx, fd: Fd, operation: Flags) -> Attempt {
    const SHARED: u32 = 1;
    const EXCLUSIVE: u32 = 2;
    const NONBLOCK: u32 = 4;
    const UNLOCK: u32 = 8;
    let file = ctx.thread.files().get(fd.0)?;
    file.check_not_path().map_err(errno)?;
    let kind = match operation.0 & !NONBLOCK {
        SHARED => Some(LockKind::Read),
        EXCLUSIVE => Some(LockKind::Write),
        UNLOCK => None,
        _ => return Err(Errno::EINVAL.into()),
    };
    let patient = operation.0 & NONBLOCK == 0;
    when(ctx, release_of(&file), move || {
        let locked = file.inode().state().locks.flock(file.lock_owner(), kind);
        settled(locked, patient).map(|outcome| outcome.map(|()| Ok(0).into()))
    })
}

/// `struct flock`
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct Flock {
    kind: i16,
    whence: i16,
    padding: u32,
    start: i64,
    length: i64,
    pid: i32,
    padding_at_end: u32,
}

const F_RDLCK: i16 = 0;
const F_WRLCK: i16 = 1;
const F_UNLCK: i16 = 2;

impl Flock {
    /// What kind of lock, or none, and where.
    fn decode(&self, file: &OpenFile) -> Result<(Option<LockKind>, LockRange), Errno> {
        let whence = u32::try_from(self.whence).ok().and_then(Whence::from_raw);
        let base = match whence {
            Some(Whence::Set) => 0,
            Some(Whence::Current) => file.seek(0, Whence::Current).map_err(errno)? as i64,
            Some(Whence::End) => file.inode().metadata().map_err(errno)?.size as i64,
            _ => return Err(Errno::EINVAL),
        };
        let start = base.checked_add(self.start).ok_or(Errno::EOVERFLOW)?;
        let range = LockRange::new(start, self.length).map_err(errno)?;
        let kind = match self.kind {
            F_RDLCK => Some(LockKind::Read),
            F_WRLCK => Some(LockKind::Write),
            F_UNLCK => None,
            _ => return Err(Errno::EINVAL),
        };
        Ok((kind, range))
    }

    /// How `F_GETLK` shows a lock in the way.
    fn show(conflict: &Conflict) -> Self {
        let LockRange { start, last } = conflict.range;
        let length = if last == u64::MAX { 0 } else { (last - start + 1) as i64 };
        Self {
            kind: if conflict.kind == LockKind::Read { F_RDLCK } else { F_WRLCK },
            whence: 0,
            padding: 0,
            start: start as i64,
            length,
            pid: conflict.owner.process_id().map_or(-1, |pid| pid as i32),
            padding_at_end: 0,
        }
    }
}

/// The description as the owner of a lock; EINVAL unless `l_pid` is 0.
fn description(file: &Arc<OpenFile>, lock: UserPtr<Flock>) -> Attempt<LockOwner> {
    if lock.get()?.pid == 0 { Ok(file.lock_owner()) } else { Err(Errno::EINVAL.into()) }
}

fn get_lock(file: &OpenFile, owner: LockOwner, lock: UserPtr<Flock>) -> Attempt {
    let mut wanted = lock.get()?;
    let (kind, range) = wanted.decode(file)?;
    let kind = kind.ok_or(Errno::EINVAL)?;
    match file.inode().state().locks.conflict(owner, kind, range) {
        Some(conflict) => wanted = Flock::show(&conflict),
        None => wanted.kind = F_UNLCK,
    }
    lock.put(&wanted)?;
    Ok(0)
}

/// Locks, or releases what is locked; a process's lock needs its descriptor.
fn set_lock(
    ctx: &mut Ctx,
    file: &Arc<OpenFile>,
    owner: LockOwner,
    lock: UserPtr<Flock>,
    wait: bool,
    fd: Option<Fd>,
) -> Attempt {
    let (kind, range) = lock.get()?.decode(file)?;
    let flags = file.flags();
    let allowed = match kind {
        Some(LockKind::Read) => flags.readable(),
        Some(LockKind::Write) => flags.writable(),
        None => true,
    };
    if !allowed {
        return Err(Errno::EBADF.into());
    }
    let (thread, file) = (Arc::clone(&ctx.thread), Arc::clone(file));
    let waiting = LockWait::new();
    when(ctx, release_of(&file), move || {
        let locks = &file.inode().state().locks;
        let locked = match (locks.set(owner, kind, range), kind, owner.process_id()) {
            // Who waits for whom is known of processes only; a description has nobody who could wait.
            (Err(Error::Errno(Errno::EAGAIN)), Some(kind), Some(_)) if wait => locks
                .conflict(owner, kind, range)
                .map_or(Ok(()), |conflict| waiting.wait_for(owner, conflict.owner))
                .and(Err(Errno::EAGAIN.into())),
            (outcome, ..) => outcome,
        };
        let outcome = settled(locked, wait)?;
        // Another thread may have closed the descriptor, and with it all locks, just before: nothing would ever end this one
        // (`fcntl_setlk`).
        let is_open = |fd: Fd| thread.file(fd.0).is_ok_and(|now| Arc::ptr_eq(&now, &file));
        if outcome.is_ok() && !fd.is_none_or(is_open) {
            locks.release(owner);
            return Some(Err(Errno::EBADF.into()));
        }
        Some(outcome.map(|()| Ok(0).into()))
    })
}

/// What came of a lock: nothing yet if another stands in the way of one who waits.
fn settled(locked: isopod_fs::Result<()>, wait: bool) -> Option<Result<(), Fail>> {
    match locked {
        Err(Error::Errno(Errno::EAGAIN)) if wait => None,
        outcome => Some(outcome.map_err(|error| Fail::from(errno(error)))),
    }
}

/// A wait for a lock of `file` to be released.
fn release_of(file: &OpenFile) -> Later {
    Later::new(file.inode().state().locks.released(), FOREVER)
}
