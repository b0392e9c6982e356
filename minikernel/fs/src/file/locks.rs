//! Advisory locks: fcntl(2), flock(2).

use alloc::sync::Arc;
use alloc::vec::Vec;

use isopod_hal::sync::{SpinLock, wait::WaitQueue};

use crate::{Errno, Result};

/// Who holds a lock: a process (its descriptor table), or an open file description.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LockOwner(Kind, usize);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Process,
    Description,
}

impl LockOwner {
    /// The process with this number: POSIX locks.
    pub fn process(id: u32) -> Self {
        Self(Kind::Process, id as usize)
    }

    pub(super) fn description(address: usize) -> Self {
        Self(Kind::Description, address)
    }

    /// The process, as `l_pid` tells it; `None` for a description (-1).
    pub fn process_id(self) -> Option<u32> {
        (self.0 == Kind::Process).then_some(self.1 as u32)
    }
}

/// Shared or exclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockKind {
    /// Any number of owners (`F_RDLCK`, `LOCK_SH`).
    Read,
    /// One owner (`F_WRLCK`, `LOCK_EX`).
    Write,
}

/// Bytes that a lock covers: from `start` up to and including `last` (`u64::MAX` for all that may come).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockRange {
    /// First byte.
    pub start: u64,
    /// Last byte.
    pub last: u64,
}

impl LockRange {
    /// `length` bytes from `start`; 0 means up to the end whatever it will be, a negative length the bytes before
    /// `start`. EINVAL if it reaches before 0, EOVERFLOW beyond the largest offset.
    pub fn new(start: i64, length: i64) -> Result<Self> {
        let (first, last) = match length {
            0 => (start, i64::MAX),
            1.. => (start, start.checked_add(length - 1).ok_or(Errno::EOVERFLOW)?),
            _ => (start.checked_add(length).ok_or(Errno::EINVAL)?, start - 1),
        };
        if start < 0 || first < 0 {
            return Err(Errno::EINVAL.into());
        }
        let last = if last == i64::MAX { u64::MAX } else { last as u64 };
        Ok(Self { start: first as u64, last })
    }

    fn overlaps(&self, other: &Self) -> bool {
        self.start <= other.last && other.start <= self.last
    }

    /// Whether the two can be one range.
    fn touches(&self, other: &Self) -> bool {
        self.start <= other.last.saturating_add(1) && other.start <= self.last.saturating_add(1)
    }
}

/// A lock that stands in the way: what `F_GETLK` tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// Who holds it.
    pub owner: LockOwner,
    /// How.
    pub kind: LockKind,
    /// On which bytes.
    pub range: LockRange,
}

/// The locks on an inode.
#[derive(Debug, Default)]
pub struct LockTable(SpinLock<Option<Arc<Locks>>>);

#[derive(Debug, Default)]
struct Locks {
    ranges: SpinLock<Vec<Conflict>>,
    whole: SpinLock<Vec<(LockOwner, LockKind)>>,
    released: Arc<WaitQueue>,
}

impl LockTable {
    fn locks(&self) -> Arc<Locks> {
        self.0.lock().get_or_insert_default().clone()
    }

    /// What is woken when a lock is released: whoever met EAGAIN and wants to wait tries again then.
    pub fn released(&self) -> Arc<WaitQueue> {
        self.locks().released.clone()
    }

    /// The lock that keeps `owner` from locking `range` so: `F_GETLK`.
    pub fn conflict(&self, owner: LockOwner, kind: LockKind, range: LockRange) -> Option<Conflict> {
        let locks = self.0.lock().clone()?;
        let ranges = locks.ranges.lock();
        find_conflict(&ranges, owner, kind, range)
    }

    /// Locks `range`, in place of what `owner` has there, or with `None` releases it: `F_SETLK`. EAGAIN if another
    /// owner's lock stands in the way.
    pub fn set(&self, owner: LockOwner, kind: Option<LockKind>, range: LockRange) -> Result<()> {
        let locks = self.locks();
        let mut ranges = locks.ranges.lock();
        if let Some(kind) = kind
            && find_conflict(&ranges, owner, kind, range).is_some()
        {
            return Err(Errno::EAGAIN.into());
        }
        // Each change can split one lock in two and add one.
        ranges.try_reserve(2).map_err(|_| Errno::ENOLCK)?;
        replace(&mut ranges, owner, kind, range);
        drop(ranges);
        locks.released.wake_all();
        Ok(())
    }

    /// Locks the whole file for `owner`, or with `None` releases it: flock(2). EAGAIN if another owner's lock stands
    /// in the way; an old lock of another kind is lost then, as on Linux.
    pub fn flock(&self, owner: LockOwner, kind: Option<LockKind>) -> Result<()> {
        let locks = self.locks();
        let mut whole = locks.whole.lock();
        if whole.iter().any(|(holder, held)| *holder == owner && Some(*held) == kind) {
            return Ok(());
        }
        whole.try_reserve(1).map_err(|_| Errno::ENOLCK)?;
        let before = whole.len();
        let held = whole.iter().any(|(holder, _)| *holder == owner);
        whole.retain(|(holder, _)| *holder != owner);
        let mut result = Ok(());
        if let Some(kind) = kind {
            if whole.iter().any(|(_, held)| kind == LockKind::Write || *held == LockKind::Write) {
                result = Err(Errno::EAGAIN.into());
            } else {
                whole.push((owner, kind));
            }
        }
        // An own lock that went, or was exclusive and is now shared, may let others in. Who was refused and held nothing wakes
        // nobody, least of all itself.
        let released = whole.len() < before || (held && result.is_ok());
        drop(whole);
        if released {
            locks.released.wake_all();
        }
        result
    }

    /// Releases all locks of `owner`: at the close of a description, and of any descriptor of a process.
    pub fn release(&self, owner: LockOwner) {
        let Some(locks) = self.0.lock().clone() else { return };
        locks.ranges.lock().retain(|lock| lock.owner != owner);
        locks.whole.lock().retain(|(holder, _)| *holder != owner);
        locks.released.wake_all();
    }
}

fn find_conflict(
    ranges: &[Conflict],
    owner: LockOwner,
    kind: LockKind,
    range: LockRange,
) -> Option<Conflict> {
    let conflicts = |lock: &&Conflict| {
        lock.owner != owner
            && lock.range.overlaps(&range)
            && (kind == LockKind::Write || lock.kind == LockKind::Write)
    };
    ranges.iter().filter(conflicts).min_by_key(|lock| lock.range.start).copied()
}

/// Gives `owner` the lock `kind`, or none, on `range`: splits and joins what it has.
fn replace(ranges: &mut Vec<Conflict>, owner: LockOwner, kind: Option<LockKind>, mut range: LockRange) {
    if let Some(kind) = kind {
        // Locks of the same kind that touch become one.
        ranges.retain(|lock| {
            let joined = lock.owner == owner && lock.kind == kind && lock.range.touches(&range);
            if joined {
                range.start = range.start.min(lock.range.start);
                range.last = range.last.max(lock.range.last);
            }
            !joined
        });
    }
    let mut tail = None;
    ranges.retain_mut(|lock| {
        if lock.owner != owner || !lock.range.overlaps(&range) {
            return true;
        }
        let old = lock.range;
        if old.last > range.last {
            let rest = Conflict { range: LockRange { start: range.last + 1, last: old.last }, ..*lock };
            if old.start < range.start {
                tail = Some(rest);
            } else {
                *lock = rest;
                return true;
            }
        }
        if old.start < range.start {
            lock.range.last = range.start - 1;
            return true;
        }
        false
    });
    ranges.extend(tail);
    if let Some(kind) = kind {
        ranges.push(Conflict { owner, kind, range });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;

    fn owner(id: u32) -> LockOwner {
        LockOwner::process(id)
    }

    fn range(start: u64, last: u64) -> LockRange {
        LockRange { start, last }
    }

    fn held(table: &LockTable) -> Vec<(u64, u64, LockKind)> {
        let locks = table.locks();
        let mut held: Vec<_> =
            locks.ranges.lock().iter().map(|lock| (lock.range.start, lock.range.last, lock.kind)).collect();
        held.sort_by_key(|lock| lock.0);
        held
    }

    #[test]
    fn ranges_follow_fcntl() {
        assert_eq!(LockRange::new(10, 5).unwrap(), range(10, 14));
        assert_eq!(LockRange::new(10, -5).unwrap(), range(5, 9));
        assert_eq!(LockRange::new(10, 0).unwrap(), range(10, u64::MAX));
        assert!(matches!(LockRange::new(3, -4), Err(Error::Errno(Errno::EINVAL))));
        assert!(matches!(LockRange::new(i64::MAX, 2), Err(Error::Errno(Errno::EOVERFLOW))));
    }

    #[test]
    fn an_unlock_in_the_middle_splits() {
        let table = LockTable::default();
        table.set(owner(1), Some(LockKind::Write), range(0, 99)).unwrap();
        table.set(owner(1), None, range(40, 59)).unwrap();
        assert_eq!(held(&table), [(0, 39, LockKind::Write), (60, 99, LockKind::Write)]);
        table.set(owner(1), Some(LockKind::Write), range(40, 59)).unwrap();
        assert_eq!(held(&table), [(0, 99, LockKind::Write)]);
        table.set(owner(1), Some(LockKind::Read), range(0, 9)).unwrap();
        assert_eq!(held(&table), [(0, 9, LockKind::Read), (10, 99, LockKind::Write)]);
        table.set(owner(1), None, range(0, u64::MAX)).unwrap();
        assert_eq!(held(&table), []);
    }

    #[test]
    fn readers_share_and_writers_do_not() {
        let table = LockTable::default();
        table.set(owner(1), Some(LockKind::Read), range(0, 9)).unwrap();
        table.set(owner(2), Some(LockKind::Read), range(5, 15)).unwrap();
        let refused = table.set(owner(2), Some(LockKind::Write), range(9, 20));
        assert!(matches!(refused, Err(Error::Errno(Errno::EAGAIN))));
        assert_eq!(table.conflict(owner(3), LockKind::Write, range(12, 12)).unwrap().owner, owner(2));
        assert_eq!(table.conflict(owner(3), LockKind::Read, range(0, 99)), None);
        table.release(owner(1));
        table.set(owner(2), Some(LockKind::Write), range(0, 20)).unwrap();
    }

    #[test]
    fn flock_converts_and_loses_the_old_lock_when_refused() {
        let table = LockTable::default();
        table.flock(owner(1), Some(LockKind::Read)).unwrap();
        table.flock(owner(2), Some(LockKind::Read)).unwrap();
        assert!(table.flock(owner(1), Some(LockKind::Write)).is_err());
        table.flock(owner(2), Some(LockKind::Write)).unwrap();
        table.flock(owner(2), None).unwrap();
        table.flock(owner(1), Some(LockKind::Write)).unwrap();
    }
}
