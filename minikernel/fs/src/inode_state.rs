//! What the kernel keeps with an inode in use, whatever its file system.

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::any::Any;
use core::fmt;
use core::ops::Range;
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

use isopod_hal::sync::SpinLock;

use crate::file::LockTable;
use crate::watch::Watchers;
use crate::{Errno, Result};

/// What has happened to pages of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageLoss {
    /// The file has others in their place. What a private mapping has changed stays its own.
    Replaced,
    /// The file ends before them: a private mapping loses its changed copies, too (mmap(2), SIGBUS).
    CutOff,
}

/// Someone who has pages of a file mapped, and must let go of them when the file's contents move.
pub trait MappingObserver: Send + Sync {
    /// A number that tells observers of one inode apart.
    fn id(&self) -> u64;

    /// The pages with these indexes were cut off or replaced: unmap them; the next touch asks for them again.
    ///
    /// Called without any lock of the file system held.
    fn invalidate(&self, pages: Range<u64>, loss: PageLoss);

    /// Whether what the file holds can be written through it, now or after mprotect(2).
    fn may_write(&self) -> bool;
}

#[derive(Default)]
struct Observers {
    known: Vec<Weak<dyn MappingObserver>>,
    /// How many there have ever been.
    ever: u64,
}

/// Locks, mappings and attached objects of an inode. Every [`Inode`](crate::Inode) has one.
#[derive(Default)]
pub struct InodeState {
    /// Locks of fcntl(2) and flock(2).
    pub locks: LockTable,
    /// Above zero: how many descriptions may write. Below: how many users forbid that.
    writers: SpinLock<i32>,
    /// Whether an inode without a name may get one: made by `O_TMPFILE` without `O_EXCL`.
    linkable: AtomicBool,
    /// How long what is written is expected to live: `F_SET_RW_HINT` of fcntl(2).
    pub write_hint: AtomicU8,
    attached: SpinLock<Option<Weak<dyn Any + Send + Sync>>>,
    observers: SpinLock<Observers>,
    /// See [`InodeState::losses`].
    losses: AtomicU64,
    pub(crate) watchers: Watchers,
}

impl InodeState {
    /// Counts one more description that can write; ETXTBSY while a running program forbids it.
    pub fn allow_write(&self) -> Result<()> {
        let mut writers = self.writers.lock();
        if *writers < 0 {
            return Err(Errno::ETXTBSY.into());
        }
        *writers += 1;
        Ok(())
    }

    /// Ends what [`allow_write`](Self::allow_write) began.
    pub fn end_write(&self) {
        *self.writers.lock() -= 1;
    }

    /// Forbids writing while a program runs from this inode; ETXTBSY if it is open for writing. Balanced by
    /// [`end_deny_write`](Self::end_deny_write).
    pub fn deny_write(&self) -> Result<()> {
        let mut writers = self.writers.lock();
        if *writers > 0 {
            return Err(Errno::ETXTBSY.into());
        }
        *writers -= 1;
        Ok(())
    }

    /// As [`deny_write`](Self::deny_write), by one who has done it already and so cannot be refused.
    pub fn deny_write_again(&self) {
        *self.writers.lock() -= 1;
    }

    /// Ends what [`deny_write`](Self::deny_write) began.
    pub fn end_deny_write(&self) {
        *self.writers.lock() += 1;
    }

    /// ETXTBSY while a running program forbids writing: truncate(2).
    pub(crate) fn check_writable(&self) -> Result<()> {
        if *self.writers.lock() < 0 { Err(Errno::ETXTBSY.into()) } else { Ok(()) }
    }

    /// Whether link(2) may give the inode a name although it has none.
    pub(crate) fn is_linkable(&self) -> bool {
        self.linkable.load(Ordering::Relaxed)
    }

    /// Lets link(2) give the inode its first name.
    pub(crate) fn set_linkable(&self) {
        self.linkable.store(true, Ordering::Relaxed);
    }

    /// The object of type `T` that belongs to this inode while anyone holds it: the pipe behind a FIFO, the
    /// socket behind a name. `make` makes it where there is none.
    pub fn attach<T: Any + Send + Sync>(&self, make: impl FnOnce() -> Result<Arc<T>>) -> Result<Arc<T>> {
        let mut attached = self.attached.lock();
        if let Some(object) = attached.as_ref().and_then(Weak::upgrade).and_then(|any| any.downcast().ok()) {
            return Ok(object);
        }
        let object = make()?;
        let any: Arc<dyn Any + Send + Sync> = object.clone();
        *attached = Some(Arc::downgrade(&any));
        Ok(object)
    }

    /// The object that [`attach`](Self::attach) keeps, if there is one of this type.
    pub fn attached<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        self.attached.lock().as_ref().and_then(Weak::upgrade).and_then(|any| any.downcast().ok())
    }

    /// The observer with the number `id`, which `make` makes where there is none: it is told of moved pages for as long as it lives.
    pub fn observe(
        &self,
        id: u64,
        make: impl FnOnce() -> Arc<dyn MappingObserver>,
    ) -> Result<Arc<dyn MappingObserver>> {
        let mut observers = self.observers.lock();
        let known = observers.known.iter().filter_map(Weak::upgrade).find(|known| known.id() == id);
        if let Some(known) = known {
            return Ok(known);
        }
        observers.known.retain(|known| known.strong_count() > 0);
        observers.known.try_reserve(1)?;
        let observer = make();
        observers.known.push(Arc::downgrade(&observer));
        observers.ever += 1;
        Ok(observer)
    }

    /// Whether somebody has the file mapped who may write to it. The caller holds no lock of the inode.
    pub(crate) fn is_mapped_to_write(&self) -> bool {
        let mut found = false;
        self.for_each_observer(&mut |observer| found |= observer.may_write());
        found
    }

    /// How often the file has lost pages. Who asks for a page without a lock that keeps [`MappingObserver::invalidate`] waiting has got one that
    /// may be mapped only if this has not changed, under that lock, since before the page was asked for.
    pub fn losses(&self) -> u64 {
        self.losses.load(Ordering::Acquire)
    }

    /// Has every observer let go of `pages`, which the file has no longer. The caller holds no lock of the inode.
    pub(crate) fn invalidate(&self, pages: Range<u64>, loss: PageLoss) {
        if !pages.is_empty() {
            self.losses.fetch_add(1, Ordering::AcqRel);
            self.for_each_observer(&mut |observer| observer.invalidate(pages.clone(), loss));
        }
    }

    fn for_each_observer(&self, act: &mut dyn FnMut(&dyn MappingObserver)) {
        loop {
            // One after the other, from the last: who goes meanwhile needs no word.
            let (mut next, ever) = {
                let observers = self.observers.lock();
                (observers.known.len(), observers.ever)
            };
            while let Some(index) = next.checked_sub(1) {
                next = index;
                let observer = self.observers.lock().known.get(index).and_then(Weak::upgrade);
                if let Some(observer) = observer {
                    act(&*observer);
                }
            }
            // Who has come meanwhile may have pages of one who had not been told yet, by a fork.
            if self.observers.lock().ever == ever {
                break;
            }
        }
    }
}

impl fmt::Debug for InodeState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InodeState").finish_non_exhaustive()
    }
}
