//! The mounts that make up the tree.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::iter;
use core::sync::atomic::{AtomicU32, Ordering};

use isopod_hal::sync::{SpinLock, SpinLockGuard};

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

/// When a mount may be taken out of the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unmounting {
    /// When nothing uses it.
    Idle,
    /// At once; what uses it keeps it (`MNT_DETACH`).
    Lazy,
    /// When nothing uses it, nor has since it was last asked (`MNT_EXPIRE`).
    Expired,
}

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
    ) -> Result<()> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let mount = Self::make_mount(id, file_system, Some(at.clone()), flags, source);
        check_kinds(&mount.root_path(), at)?;
        self.remember(&at.dentry);
        Self::insert(self.mounts.lock(), at, Vec::from([mount]))
    }

    /// Shows `from` at `at` too: `MS_BIND`; if `recursive`, with all that is mounted below it (`MS_REC`). What is shown keeps the flags of the mounts it
    /// comes from. EINVAL if `from` is outside of the tree.
    pub fn bind(&self, from: &Path, at: &Path, recursive: bool) -> Result<()> {
        check_kinds(from, at)?;
        self.remember(&at.dentry);
        let mounts = self.mounts.lock();
        if !contains(&mounts, &from.mount) {
            return Err(Errno::EINVAL.into());
        }
        let mut originals = Vec::from([from.mount.clone()]);
        let mut copies = Vec::from([self.copy(&from.mount, &from.dentry, at.clone())]);
        let mut next = 0;
        while recursive && next < originals.len() {
            for mount in mounts.iter() {
                let Some(place) = mount.place() else { continue };
                let below = next > 0 || place.dentry.is_within(&from.dentry);
                if below && Arc::ptr_eq(&place.mount, &originals[next]) {
                    originals.try_reserve(1)?;
                    copies.try_reserve(1)?;
                    copies.push(self.copy(
                        mount,
                        mount.root(),
                        Path::new(copies[next].clone(), place.dentry),
                    ));
                    originals.push(mount.clone());
                }
            }
            next += 1;
        }
        Self::insert(mounts, at, copies)
    }

    /// What `mount` shows at `root`, at another place.
    fn copy(&self, mount: &Arc<Mount>, root: &Arc<Dentry>, place: Path) -> Arc<Mount> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let file_system = mount.file_system().clone();
        Mount::new(id, file_system, root.clone(), Some(place), mount.flags(), mount.source())
    }

    /// Takes in mounts whose places are set, the first at `at`, the others on that. ENOENT if `at` is no longer in the tree.
    fn insert(mut mounts: SpinLockGuard<'_, Vec<Arc<Mount>>>, at: &Path, new: Vec<Arc<Mount>>) -> Result<()> {
        if at.is_unlinked() || !contains(&mounts, &at.mount) {
            return Err(Errno::ENOENT.into());
        }
        if mounts.len() + new.len() > MOUNTS_MAX {
            return Err(Errno::ENOSPC.into());
        }
        mounts.try_reserve(new.len())?;
        for mount in new {
            if let Some(place) = mount.place() {
                place.dentry.mounts.fetch_add(1, Ordering::Release);
            }
            // Ids rise along the list, whoever was first to get here.
            let index = mounts.partition_point(|other| other.id() < mount.id());
            mounts.insert(index, mount);
        }
        Ok(())
    }

    /// Puts the mount whose root `from` is at another place: `MS_MOVE`. EINVAL if it is no mount's root or the first, ELOOP if the place lies on it.
    pub fn move_mount(&self, from: &Path, to: &Path) -> Result<()> {
        if !from.is_mount_root() || from.mount.place().is_none() {
            return Err(Errno::EINVAL.into());
        }
        check_kinds(from, to)?;
        self.remember(&to.dentry);
        let mounts = self.mounts.lock();
        if !contains(&mounts, &from.mount) || !contains(&mounts, &to.mount) {
            return Err(Errno::EINVAL.into());
        }
        if to.mount.lies_on(&from.mount) {
            return Err(Errno::ELOOP.into());
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

    /// Changes the restrictions of the mount whose root `at` is, and the `options` of its file system: `MS_REMOUNT`. EINVAL if it is no mount's root.
    pub fn remount(&self, at: &Path, flags: MountFlags, options: Option<&[u8]>) -> Result<()> {
        if !at.is_mount_root() || !contains(&self.mounts.lock(), &at.mount) {
            return Err(Errno::EINVAL.into());
        }
        if let Some(options) = options {
            at.mount.file_system().reconfigure(options)?;
        }
        at.mount.set_flags(flags);
        Ok(())
    }

    /// Takes the mount whose root `at` is out of the tree, and, if `how` is lazy, all that lies on it. Returns what it took. EINVAL if it is no
    /// mount's root or the first; EBUSY if mounts lie on it or something still refers to a place on it besides `at`, unless lazy; EAGAIN if it was
    /// to expire and has been used.
    pub fn unmount(&self, at: &Path, how: Unmounting) -> Result<Vec<Arc<Mount>>> {
        let mut mounts = self.mounts.lock();
        if !at.is_mount_root() || Arc::ptr_eq(&mounts[0], &at.mount) || !contains(&mounts, &at.mount) {
            return Err(Errno::EINVAL.into());
        }
        let covers = |mount: &Arc<Mount>| mount.lies_on(&at.mount);
        let count = mounts.iter().filter(|mount| covers(mount)).count();
        // One reference is the list's, one is `at`.
        if how != Unmounting::Lazy && (count > 1 || Arc::strong_count(&at.mount) > 2) {
            return Err(Errno::EBUSY.into());
        }
        if how == Unmounting::Expired && !at.mount.expires() {
            return Err(Errno::EAGAIN.into());
        }
        let mut removed = Vec::new();
        removed.try_reserve_exact(count)?;
        removed.extend(mounts.extract_if(.., |mount| covers(mount)));
        drop(mounts);
        for place in removed.iter().filter_map(|mount| mount.replace_place(None)) {
            place.dentry.mounts.fetch_sub(1, Ordering::Release);
        }
        Ok(removed)
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
            over.note_use();
            path = Path::new(over.clone(), over.root().clone());
        }
        path
    }
}

/// ENOTDIR unless both are directories, or neither is.
fn check_kinds(source: &Path, target: &Path) -> Result<()> {
    let alike = source.inode().metadata()?.is_directory() == target.inode().metadata()?.is_directory();
    if alike { Ok(()) } else { Err(Errno::ENOTDIR.into()) }
}

fn contains(mounts: &[Arc<Mount>], mount: &Arc<Mount>) -> bool {
    mounts.iter().any(|other| Arc::ptr_eq(other, mount))
}
