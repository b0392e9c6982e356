//! Advisory locks: flock(2), and the lock commands of fcntl(2).

use alloc::sync::Arc;

use isopod_fs::file::{Conflict, LockKind, LockOwner, LockRange, LockWait, OpenFile, Whence};
use isopod_fs::{Errno, Error};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::fail::{SysResult, errno};
use crate::mm::UserPtr;
use crate::process::Ctx;
use crate::syscall::argument::{Fd, Flags};
use crate::wait::interruptible;

/// The lock commands of fcntl(2); EINVAL for any other.
pub(super) async fn fcntl(ctx: &Ctx, fd: Fd, file: &Arc<OpenFile>, command: i32, argument: u64) -> SysResult {
    const GETLK: i32 = 5;
    const SETLK: i32 = 6;
    const SETLKW: i32 = 7;
    const OFD_GETLK: i32 = 36;
    const OFD_SETLK: i32 = 37;
    const OFD_SETLKW: i32 = 38;
    let lock = UserPtr::<Flock>::new(argument as usize);
    let process = LockOwner::process(ctx.thread.process().pid);
    match command {
        GETLK => get_lock(ctx, file, process, lock).await,
        SETLK | SETLKW => {
            let outcome = set_lock(ctx, file, process, lock, command == SETLKW).await?;
            // Another thread may have closed the descriptor, and with it all locks, just before: nothing would ever end this one
            // (`fcntl_setlk`).
            if !ctx.thread.file(fd.0).is_ok_and(|now| Arc::ptr_eq(&now, file)) {
                file.inode().state().locks.release(process);
                return Err(Errno::EBADF.into());
            }
            Ok(outcome)
        }
        OFD_GETLK => get_lock(ctx, file, description(ctx, file, lock).await?, lock).await,
        OFD_SETLK | OFD_SETLKW => {
            set_lock(ctx, file, description(ctx, file, lock).await?, lock, command == OFD_SETLKW).await
        }
        _ => Err(Errno::EINVAL.into()),
    }
}

/// flock(2)
pub async fn flock(ctx: &mut Ctx, fd: Fd, operation: Flags) -> SysResult {
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
    let (owner, locks) = (file.lock_owner(), &file.inode().state().locks);
    lock_when_free(ctx, &file, operation.0 & NONBLOCK == 0, || locks.flock(owner, kind)).await
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
async fn description(ctx: &Ctx, file: &Arc<OpenFile>, lock: UserPtr<Flock>) -> Result<LockOwner, Errno> {
    if ctx.memory.read(lock).await?.pid == 0 { Ok(file.lock_owner()) } else { Err(Errno::EINVAL) }
}

async fn get_lock(ctx: &Ctx, file: &OpenFile, owner: LockOwner, lock: UserPtr<Flock>) -> SysResult {
    let mut wanted = ctx.memory.read(lock).await?;
    let (kind, range) = wanted.decode(file)?;
    let kind = kind.ok_or(Errno::EINVAL)?;
    match file.inode().state().locks.conflict(owner, kind, range) {
        Some(conflict) => wanted = Flock::show(&conflict),
        None => wanted.kind = F_UNLCK,
    }
    ctx.memory.write(lock, &wanted).await?;
    Ok(0)
}

async fn set_lock(
    ctx: &Ctx,
    file: &OpenFile,
    owner: LockOwner,
    lock: UserPtr<Flock>,
    wait: bool,
) -> SysResult {
    let (kind, range) = ctx.memory.read(lock).await?.decode(file)?;
    let flags = file.flags();
    let allowed = match kind {
        Some(LockKind::Read) => flags.readable(),
        Some(LockKind::Write) => flags.writable(),
        None => true,
    };
    if !allowed {
        return Err(Errno::EBADF.into());
    }
    let locks = &file.inode().state().locks;
    let waiting = LockWait::new();
    let lock = || match (locks.set(owner, kind, range), kind, owner.process_id()) {
        // Who waits for whom is known of processes only; a description has nobody who could wait.
        (Err(Error::Errno(Errno::EAGAIN)), Some(kind), Some(_)) if wait => {
            if let Some(conflict) = locks.conflict(owner, kind, range) {
                waiting.wait_for(owner, conflict.owner)?;
            }
            Err(Errno::EAGAIN.into())
        }
        (outcome, ..) => outcome,
    };
    lock_when_free(ctx, file, wait, lock).await
}

/// Does `lock`, and while another lock stands in the way again at each release, if `wait`.
async fn lock_when_free(
    ctx: &Ctx,
    file: &OpenFile,
    wait: bool,
    mut lock: impl FnMut() -> isopod_fs::Result<()>,
) -> SysResult {
    let outcome = match lock() {
        Err(Error::Errno(Errno::EAGAIN)) if wait => {
            let released = file.inode().state().locks.released();
            let locked = released.until(|| match lock() {
                Err(Error::Errno(Errno::EAGAIN)) => None,
                outcome => Some(outcome),
            });
            interruptible(&ctx.thread, locked).await?
        }
        outcome => outcome,
    };
    outcome.map_err(errno)?;
    Ok(0)
}
