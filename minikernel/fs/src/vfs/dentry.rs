//! The cache of names: which inode is called what in which directory.
//!
//! An entry holds its parent, and a directory holds the names that were looked up in it, absent ones too. What
//! nobody uses is forgotten again by [`DentryCache`]. The lock of a directory's names is held over a look-up and
//! over each change of the directory, so that both are seen in one order.

use alloc::boxed::Box;
use alloc::sync::{Arc, Weak};
use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use isopod_hal::number_map::NumberMap;

use isopod_hal::sync::SpinLock;

use crate::inode::Inode;
use crate::name_map::NameMap;
use crate::watch;

/// A name in the tree of a file system, and the inode it stands for.
pub struct Dentry {
    inode: Arc<dyn Inode>,
    place: SpinLock<Place>,
    pub(super) names: SpinLock<Names>,
    /// How many mounts lie over it.
    pub(super) mounts: AtomicU32,
    /// Whether it was looked up since the cache last thought of forgetting it.
    used: AtomicBool,
}

/// Where a dentry is.
struct Place {
    /// `None` at the root of a file system.
    parent: Option<Arc<Dentry>>,
    name: Arc<[u8]>,
    unlinked: bool,
}

/// What is known of the names in a directory.
#[derive(Default)]
pub(super) struct Names {
    known: NameMap<Name>,
    /// The directory has been removed: nothing can be created in it.
    pub(super) dead: bool,
}

/// What a name stands for.
#[derive(Clone)]
pub(super) enum Name {
    Present(Arc<Dentry>),
    Absent,
}

impl Dentry {
    /// The root of a file system, or something outside of any tree that is shown as `name`.
    pub(super) fn root(inode: Arc<dyn Inode>, name: &[u8]) -> Arc<Self> {
        Self::at(inode, None, name.into())
    }

    fn at(inode: Arc<dyn Inode>, parent: Option<Arc<Self>>, name: Arc<[u8]>) -> Arc<Self> {
        Arc::new(Self {
            inode,
            place: SpinLock::new(Place { parent, name, unlinked: false }),
            names: SpinLock::default(),
            mounts: AtomicU32::new(0),
            used: AtomicBool::new(true),
        })
    }

    /// An entry that the cache does not know: a name that may vanish by itself.
    pub(super) fn unremembered(self: &Arc<Self>, name: &[u8], inode: Arc<dyn Inode>) -> Arc<Self> {
        Self::at(inode, Some(self.clone()), name.into())
    }

    /// A file that never had a name in `self`, the directory on whose file system it lives: `O_TMPFILE`.
    pub(super) fn unnamed(self: &Arc<Self>, name: &[u8], inode: Arc<dyn Inode>) -> Arc<Self> {
        let dentry = Self::at(inode, Some(self.clone()), name.into());
        dentry.place.lock().unlinked = true;
        dentry
    }

    pub(super) fn inode(&self) -> &Arc<dyn Inode> {
        &self.inode
    }

    /// The directory it is in; `None` at a root.
    pub(super) fn parent(&self) -> Option<Arc<Self>> {
        self.place.lock().parent.clone()
    }

    pub(super) fn name(&self) -> Arc<[u8]> {
        self.place.lock().name.clone()
    }

    /// Whether the name has been removed.
    pub(super) fn is_unlinked(&self) -> bool {
        self.place.lock().unlinked
    }

    /// Whether `self` is `other` or lies below it.
    pub(super) fn is_within(self: &Arc<Self>, other: &Arc<Self>) -> bool {
        let mut place = self.clone();
        loop {
            if Arc::ptr_eq(&place, other) {
                return true;
            }
            match place.parent() {
                Some(parent) => place = parent,
                None => return false,
            }
        }
    }

    /// Marks the name as removed.
    pub(super) fn set_unlinked(&self) {
        self.place.lock().unlinked = true;
    }

    /// Notes that it has moved. The caller holds the names of both directories.
    pub(super) fn set_place(&self, parent: &Arc<Self>, name: &[u8]) {
        let old = {
            let mut place = self.place.lock();
            place.name = name.into();
            place.parent.replace(parent.clone())
        };
        drop(old);
    }
}

impl fmt::Debug for Dentry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dentry({:?})", self.name().escape_ascii())
    }
}

impl Drop for Dentry {
    fn drop(&mut self) {
        if self.place.get_mut().unlinked {
            watch::gone(&self.inode);
        }
        // A chain of directories of any depth must not end in a recursion of that depth.
        let mut next = self.place.get_mut().parent.take();
        while let Some(mut parent) = next.take().and_then(Arc::into_inner) {
            next = parent.place.get_mut().parent.take();
        }
    }
}

impl Names {
    /// What is known of `name`.
    pub(super) fn get(&self, name: &[u8]) -> Option<Name> {
        let known = self.known.get(name)?;
        if let Name::Present(dentry) = known {
            dentry.used.store(true, Ordering::Relaxed);
        }
        Some(known.clone())
    }

    /// Whether it is known that nothing is called `name`.
    pub(super) fn lacks(&self, name: &[u8]) -> bool {
        matches!(self.known.get(name), Some(Name::Absent))
    }

    /// Forgets `name`.
    pub(super) fn forget(&mut self, name: &[u8]) {
        self.known.remove(name);
    }

    /// Whether `name` stands for `dentry`.
    pub(super) fn holds(&self, name: &[u8], dentry: &Arc<Dentry>) -> bool {
        matches!(self.known.get(name), Some(Name::Present(known)) if Arc::ptr_eq(known, dentry))
    }
}

/// Bounds how many names are remembered, over all directories.
#[derive(Default)]
pub(super) struct DentryCache {
    queue: SpinLock<Queue>,
}

/// Remembered names by age; some may be gone already. A tree, as it grows by small pieces.
#[derive(Default)]
struct Queue {
    names: NumberMap<Box<Remembered>>,
    next: u64,
}

/// A name, and the directory that remembers it.
struct Remembered {
    directory: Weak<Dentry>,
    name: Arc<[u8]>,
}

impl Queue {
    fn push(&mut self, directory: Weak<Dentry>, name: Arc<[u8]>) {
        self.names.insert(self.next, Box::new(Remembered { directory, name }));
        self.next += 1;
    }
}

impl DentryCache {
    /// Remembers that `name` in `directory`, whose names the caller has locked, is absent.
    pub(super) fn put_absent(&self, directory: &Arc<Dentry>, names: &mut Names, name: &[u8]) {
        self.put_name(directory, names, name.into(), Name::Absent);
    }

    /// Remembers that `name` in `directory`, whose names the caller has locked, stands for `inode`.
    pub(super) fn put(
        &self,
        directory: &Arc<Dentry>,
        names: &mut Names,
        name: &[u8],
        inode: Arc<dyn Inode>,
    ) -> Arc<Dentry> {
        let name: Arc<[u8]> = name.into();
        let dentry = Dentry::at(inode, Some(directory.clone()), name.clone());
        self.put_name(directory, names, name, Name::Present(dentry.clone()));
        dentry
    }

    /// Remembers that `dentry` is called `new` in `directory` from now on, whose names the caller has locked.
    pub(super) fn put_moved(
        &self,
        directory: &Arc<Dentry>,
        names: &mut Names,
        new: &[u8],
        dentry: Arc<Dentry>,
    ) {
        dentry.set_place(directory, new);
        self.put_name(directory, names, new.into(), Name::Present(dentry));
    }

    fn put_name(&self, directory: &Arc<Dentry>, names: &mut Names, key: Arc<[u8]>, name: Name) {
        let known = names.known.insert(key.clone(), name);
        if known.is_none() {
            self.queue.lock().push(Arc::downgrade(directory), key);
        }
    }

    /// Forgets unused names, oldest first, until at most `limit` are remembered or `looks` were looked at.
    /// Returns how many were forgotten.
    pub(super) fn trim(&self, limit: usize, looks: usize) -> usize {
        let mut forgotten = 0;
        for _ in 0..looks {
            let oldest = {
                let mut queue = self.queue.lock();
                if queue.names.len() <= limit { None } else { queue.names.pop_first() }
            };
            let Some((_, oldest)) = oldest else { break };
            let Remembered { directory, name } = *oldest;
            if let Some(parent) = directory.upgrade() {
                if let Some(kept) = Self::forget_unused(&parent, &name) {
                    self.queue.lock().push(directory, kept);
                } else {
                    forgotten += 1;
                }
            }
        }
        forgotten
    }

    /// How many names are remembered.
    pub(super) fn len(&self) -> usize {
        self.queue.lock().names.len()
    }

    /// Forgets `name` in `parent` unless it is in use; then gives it back.
    fn forget_unused(parent: &Arc<Dentry>, name: &Arc<[u8]>) -> Option<Arc<[u8]>> {
        let mut names = parent.names.lock();
        let unused = match names.known.get(name)? {
            Name::Absent => true,
            // Only the directory's own reference is left, and it can be cloned only under its lock.
            Name::Present(dentry) => {
                Arc::strong_count(dentry) == 1 && !dentry.used.swap(false, Ordering::Relaxed)
            }
        };
        if !unused {
            return Some(name.clone());
        }
        let forgotten = names.known.remove(name);
        // Dropped without the lock: the last reference to an inode may free a whole file.
        drop(names);
        drop(forgotten);
        None
    }
}

impl fmt::Debug for DentryCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DentryCache").field("names", &self.len()).finish()
    }
}
