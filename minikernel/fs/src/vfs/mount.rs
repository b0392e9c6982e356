//! A file system, or a part of one, at a place in the tree.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU32, Ordering};

use bitflags::bitflags;
use isopod_hal::sync::SpinLock;

use super::dentry::Dentry;
use super::path::Path;
use crate::inode::FileSystem;
use crate::{Errno, Result};

bitflags! {
    /// Restrictions of a mount, with the numbers of mount(2) and `f_flags` of statfs(2).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct MountFlags: u32 {
        /// Nothing can be changed.
        const RDONLY = 1;
        /// Set-id bits have no effect.
        const NOSUID = 2;
        /// Device nodes cannot be opened.
        const NODEV = 4;
        /// Programs cannot be executed.
        const NOEXEC = 8;
        /// Access times are not updated.
        const NOATIME = 1 << 10;
    }
}

/// A mounted file system.
#[derive(Debug)]
pub struct Mount {
    id: u32,
    file_system: Arc<dyn FileSystem>,
    root: Arc<Dentry>,
    place: SpinLock<Option<Path>>,
    flags: AtomicU32,
    /// How often a lookup has come to it.
    uses: AtomicU32,
    /// How often that was when it was last asked whether it has expired.
    uses_at_expiry: AtomicU32,
    source: Box<[u8]>,
}

impl Mount {
    pub(super) fn new(
        id: u32,
        file_system: Arc<dyn FileSystem>,
        root: Arc<Dentry>,
        place: Option<Path>,
        flags: MountFlags,
        source: &[u8],
    ) -> Arc<Self> {
        Arc::new(Self {
            id,
            file_system,
            root,
            place: SpinLock::new(place),
            flags: AtomicU32::new(flags.bits()),
            uses: AtomicU32::new(0),
            uses_at_expiry: AtomicU32::new(u32::MAX),
            source: source.into(),
        })
    }

    /// Its number, as in `/proc/self/mountinfo` and `stx_mnt_id`.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// What is mounted.
    pub fn file_system(&self) -> &Arc<dyn FileSystem> {
        &self.file_system
    }

    /// What the one who mounted it called the source, such as a device's name.
    pub fn source(&self) -> &[u8] {
        &self.source
    }

    /// Its restrictions.
    pub fn flags(&self) -> MountFlags {
        MountFlags::from_bits_retain(self.flags.load(Ordering::Relaxed))
    }

    pub(super) fn set_flags(&self, flags: MountFlags) {
        self.flags.store(flags.bits(), Ordering::Relaxed);
    }

    /// A lookup has come to it.
    pub(super) fn note_use(&self) {
        self.uses.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether no lookup but that of the caller has come to it since this was last asked.
    pub(super) fn expires(&self) -> bool {
        let uses = self.uses.load(Ordering::Relaxed);
        self.uses_at_expiry.swap(uses, Ordering::Relaxed).wrapping_add(1) == uses
    }

    /// Where it is mounted; `None` for the first one and for one that was unmounted.
    pub fn place(&self) -> Option<Path> {
        self.place.lock().clone()
    }

    pub(super) fn replace_place(&self, place: Option<Path>) -> Option<Path> {
        core::mem::replace(&mut *self.place.lock(), place)
    }

    /// Whether it is `other` or mounted somewhere on that.
    pub(super) fn lies_on(self: &Arc<Self>, other: &Arc<Self>) -> bool {
        let mut mount = self.clone();
        while !Arc::ptr_eq(&mount, other) {
            let Some(place) = mount.place() else { return false };
            mount = place.mount;
        }
        true
    }

    /// Its root directory.
    pub fn root_path(self: &Arc<Self>) -> Path {
        Path::new(self.clone(), self.root.clone())
    }

    pub(super) fn root(&self) -> &Arc<Dentry> {
        &self.root
    }

    /// EROFS unless files on it can be changed.
    pub fn check_writable(&self) -> Result<()> {
        if self.flags().contains(MountFlags::RDONLY) || self.file_system.read_only() {
            return Err(Errno::EROFS.into());
        }
        Ok(())
    }
}
