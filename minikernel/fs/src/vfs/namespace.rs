//! The mounts that make up the tree.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::iter;
use core::sync::atomic::{AtomicU32, Ordering};

use isopod_hal::sync::SpinLock;

use super::dentry::{Dentry, DentryCache};
use super::mount::{Mount, MountFlags};
use super::path::Path;
use super::special::SpecialFiles;
use crate::detached::Detached;
use crate::inode::{FileSystem, Inode};
use crate::{Errno, Result};

/// How many names are remembered, at least and at most. Between them it is one for 4 frames of RAM: with the inode that it keeps a name takes up
/// to a kilobyte, and gives it back when memory is short.
const NAMES: core::ops::RangeInclusive<usize> = 512..=1 << 20;
const FRAMES_PER_NAME: usize = 4;

/// How many mounts there can be (`fs.mount-max`): a tenth of Linux's, as they are looked through one by one.
const MOUNTS_MAX: usize = 10_000;

/// The tree of files.
#[derive(Debug)]
pub struct Namespace {
    mounts: SpinLock<Vec<Arc<Mount>>>,
    next_id: AtomicU32,
    /// The mount of everything that is in no directory: pipes, sockets, memory files.
    detached: Arc<Mount>,
    pub(super) names: DentryCache,
    name_limit: usize,
    /// Held while directories are moved, so that no two of them end up within one another.
    pub(super) moving: SpinLock<()>,
    special: SpecialFiles,
}

impl Namespace {
    /// A tree whose root is that of `root`, mounted from `source`.
    pub fn new(root: Arc<dyn FileSystem>, source: &[u8], special: SpecialFiles) -> Self {
        let detached: Arc<dyn FileSystem> = Arc::new(Detached);
        let frames = isopod_hal::memory_stats().total_frames as usize;
        Self {
            mounts: SpinLock::new([Self::make_mount(1, root, None, MountFlags::empty(), source)].into()),
            next_id: AtomicU32::new(2),
            detached: Self::make_mount(0, detached, None, MountFlags::empty(), b"none"),
            names: DentryCache::default(),
            name_limit: (frames / FRAMES_PER_NAME).clamp(*NAMES.start(), *NAMES.end()),
            moving: SpinLock::new(()),
            special,
        }
    }

    fn make_mount(
        id: u32,
        file_system: Arc<dyn FileSystem>,
        place: Option<Path>,
        flags: MountFlags,
        source: &[u8],
    ) -> Arc<Mount> {
        let root = Dentry::root(file_system.root(), b"/");
        Mount::new(id, file_system, root, place, flags, source)
    }

    /// The root directory.
    pub fn root(&self) -> Path {
        let first = self.mounts.lock()[0].clone();
        let root = first.root().clone();
        self.topmost(Path::new(first, root))
    }

    /// What opens devices and FIFOs.
    pub fn special(&self) -> &SpecialFiles {
        &self.special
    }

    /// A place outside of the tree for `inode`, shown as `name`, such as `pipe:[7]`.
    pub fn detached(&self, inode: Arc<dyn Inode>, name: &[u8]) -> Path {
        Path::new(self.detached.clone(), Dentry::root(inode, name))
    }

    /// All mounts, in the order in which they were made. Each is looked for when it is its turn.
    pub fn mounts(&self) -> impl Iterator<Item = Arc<Mount>> {
        let mut from = 0;
        iter::from_fn(move || {
            let mounts = self.mounts.lock();
            let mount = mounts.get(mounts.partition_point(|mount| mount.id() < from))?;
            from = mount.id() + 1;
            Some(mount.clone())
        })
    }

    /// Whether none of the mounts made before `mount` shows the same file system.
    pub fn is_first(&self, mount: &Mount) -> bool {
        let shows = |other: &&Arc<Mount>| Arc::ptr_eq(other.file_system(), mount.file_system());
        self.mounts.lock().iter().find(shows).is_none_or(|first| first.id() >= mount.id())
    }

    /// Mounts `file_system` over `at`. ENOTDIR unless both are directories, or neither is.
    pub fn mount(
        &self,
        file_system: Arc<dyn FileSystem>,
        at: &Path,
        flags: MountFlags,
        source: &[u8],
    ) -> Result<Arc<Mount>> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        self.attach(Self::make_mount(id, file_system, Some(at.clone()), flags, source), at)
    }

    /// Shows `from` at `at` too: `MS_BIND`. It keeps the flags of the mount it comes from.
    pub fn bind(&self, from: &Path, at: &Path) -> Result<Arc<Mount>> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let (mount, root) = (&from.mount, from.dentry.clone());
        let place = Some(at.clone());
        self.attach(
            Mount::new(id, mount.file_system().clone(), root, place, mount.flags(), mount.source()),
            at,
        )
    }

    fn attach(&self, mount: Arc<Mount>, at: &Path) -> Result<Arc<Mount>> {
        let source = mount.root().inode().metadata()?;
        let target = at.inode().metadata()?;
        if source.is_directory() != target.is_directory() {
            return Err(Errno::ENOTDIR.into());
        }
        if at.is_unlinked() {
            return Err(Errno::ENOENT.into());
        }
        self.remember(&at.dentry);
        let mut mounts = self.mounts.lock();
        if mounts.len() >= MOUNTS_MAX {
            return Err(Errno::ENOSPC.into());
        }
        mounts.try_reserve(1)?;
        // Ids rise along the list, whoever was first to get here.
        let place = mounts.partition_point(|other| other.id() < mount.id());
        mounts.insert(place, mount.clone());
        drop(mounts);
        at.dentry.mounts.fetch_add(1, Ordering::Release);
        Ok(mount)
    }

    /// Puts the mount whose root `from` is at another place: `MS_MOVE`. EINVAL if it is no mount's root or the first, ELOOP if the place lies on it.
    pub fn move_mount(&self, from: &Path, to: &Path) -> Result<()> {
        if !from.is_mount_root() || from.mount.place().is_none() {
            return Err(Errno::EINVAL.into());
        }
        if from.inode().metadata()?.is_directory() != to.inode().metadata()?.is_directory() {
            return Err(Errno::ENOTDIR.into());
        }
        self.remember(&to.dentry);
        let mounts = self.mounts.lock();
        let mut over = Some(to.clone());
        while let Some(place) = over {
            if Arc::ptr_eq(&place.mount, &from.mount) {
                return Err(Errno::ELOOP.into());
            }
            over = place.mount.place();
        }
        to.dentry.mounts.fetch_add(1, Ordering::Release);
        let before = from.mount.replace_place(Some(to.clone()));
        drop(mounts);
        if let Some(before) = before {
            before.dentry.mounts.fetch_sub(1, Ordering::Release);
        }
        Ok(())
    }

    /// Has lookups find this very dentry from now on, where names are not remembered by themselves.
    fn remember(&self, dentry: &Arc<Dentry>) {
        let mut dentry = dentry.clone();
        while let Some(parent) = dentry.parent() {
            if parent.inode().volatile() {
                self.names.put_moved(&parent, &mut parent.names.lock(), &dentry.name(), dentry.clone());
            }
            dentry = parent;
        }
    }

    /// Changes the restrictions of the mount whose root `at` is: `MS_REMOUNT`. EINVAL if it is no mount's root.
    pub fn remount(&self, at: &Path, flags: MountFlags) -> Result<()> {
        if !at.is_mount_root() {
            return Err(Errno::EINVAL.into());
        }
        at.mount.set_flags(flags);
        Ok(())
    }

    /// Takes the mount whose root `at` is out of the tree. EINVAL if it is no mount's root or the first; EBUSY if
    /// mounts lie on it, or, unless `lazy`, something still refers to a place on it besides `at`.
    pub fn unmount(&self, at: &Path, lazy: bool) -> Result<()> {
        let mut mounts = self.mounts.lock();
        let Some(index) = mounts.iter().position(|mount| Arc::ptr_eq(mount, &at.mount)) else {
            return Err(Errno::EINVAL.into());
        };
        if !at.is_mount_root() || index == 0 {
            return Err(Errno::EINVAL.into());
        }
        let covered = mounts
            .iter()
            .any(|mount| mount.place().is_some_and(|place| Arc::ptr_eq(&place.mount, &at.mount)));
        // One reference is the list's, one is `at`.
        if covered || !lazy && Arc::strong_count(&at.mount) > 2 {
            return Err(Errno::EBUSY.into());
        }
        let removed = mounts.remove(index);
        drop(mounts);
        if let Some(place) = removed.replace_place(None) {
            place.dentry.mounts.fetch_sub(1, Ordering::Release);
        }
        Ok(())
    }

    /// Forgets names that nobody uses, at most `want` of them, to win memory. Returns how many.
    pub fn shrink(&self, want: usize) -> usize {
        let names = self.names.len();
        self.names.trim(names.saturating_sub(want), names)
    }

    /// Keeps the number of remembered names within its limit; called at each resolution.
    pub(super) fn trim(&self) {
        // Each new name pays for more than one old one, so that a full cache shrinks again.
        self.names.trim(self.name_limit, 4);
    }

    /// The root of the topmost mount over `path`, or `path`.
    pub(super) fn topmost(&self, mut path: Path) -> Path {
        while path.is_mount_point() {
            let mounts = self.mounts.lock();
            let Some(over) =
                mounts.iter().rev().find(|mount| mount.place().is_some_and(|place| place == path))
            else {
                break;
            };
            path = Path::new(over.clone(), over.root().clone());
        }
        path
    }
}
