//! A place in the tree.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::dentry::Dentry;
use super::mount::Mount;
use crate::inode::Inode;

/// A name on a mount: what a descriptor, a working directory or a root directory refers to.
#[derive(Clone, Debug)]
pub struct Path {
    pub(super) mount: Arc<Mount>,
    pub(super) dentry: Arc<Dentry>,
}

impl Path {
    pub(super) fn new(mount: Arc<Mount>, dentry: Arc<Dentry>) -> Self {
        Self { mount, dentry }
    }

    /// The inode at this place.
    pub fn inode(&self) -> &Arc<dyn Inode> {
        self.dentry.inode()
    }

    /// The mount it is on.
    pub fn mount(&self) -> &Arc<Mount> {
        &self.mount
    }

    /// The last component of its name.
    pub fn name(&self) -> Arc<[u8]> {
        self.dentry.name()
    }

    /// Whether its name has been removed, or it never had one.
    pub fn is_unlinked(&self) -> bool {
        self.dentry.is_unlinked()
    }

    /// The directory on the same file system that it has its name in; `None` at a root.
    pub(crate) fn directory(&self) -> Option<Arc<dyn Inode>> {
        Some(self.dentry.parent()?.inode().clone())
    }

    /// `..` of it, through mounts; a root is its own parent.
    pub(crate) fn parent(&self) -> Self {
        let mut place = self.clone();
        while place.is_mount_root() {
            match place.mount.place() {
                Some(above) => place = above,
                None => return self.clone(),
            }
        }
        match place.dentry.parent() {
            Some(dentry) => Self::new(place.mount, dentry),
            None => self.clone(),
        }
    }

    /// Its absolute name as seen from `root`, and whether it is within `root` at all. What is not on any mount,
    /// such as a pipe, is named without a slash. A removed name ends with ` (deleted)`.
    pub fn text(&self, root: &Self) -> (Vec<u8>, bool) {
        let mut names: Vec<Arc<[u8]>> = Vec::new();
        let mut place = self.clone();
        let reachable = loop {
            if place == *root {
                break true;
            }
            if place.is_mount_root() {
                match place.mount.place() {
                    Some(above) => place = above,
                    None => break false,
                }
            } else if let Some(parent) = place.dentry.parent() {
                names.push(place.dentry.name());
                place.dentry = parent;
            } else {
                return (place.dentry.name().to_vec(), false);
            }
        };
        let mut text = joined(&names);
        if self.is_unlinked() {
            text.extend_from_slice(b" (deleted)");
        }
        (text, reachable)
    }

    /// Its name on the file system it belongs to, wherever that is mounted.
    pub fn text_on_file_system(&self) -> Vec<u8> {
        let mut names = Vec::new();
        let mut dentry = self.dentry.clone();
        while let Some(parent) = dentry.parent() {
            names.push(dentry.name());
            dentry = parent;
        }
        joined(&names)
    }

    /// Whether it is the root of its mount.
    pub fn is_mount_root(&self) -> bool {
        Arc::ptr_eq(&self.dentry, self.mount.root())
    }

    pub(super) fn same_mount(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.mount, &other.mount)
    }

    /// Whether something is mounted here.
    pub(super) fn is_mount_point(&self) -> bool {
        self.dentry.mounts.load(core::sync::atomic::Ordering::Acquire) > 0
    }
}

/// An absolute name of these components, the last of which comes first.
fn joined(names: &[Arc<[u8]>]) -> Vec<u8> {
    let mut text = Vec::new();
    for name in names.iter().rev() {
        text.push(b'/');
        text.extend_from_slice(name);
    }
    if text.is_empty() {
        text.push(b'/');
    }
    text
}

impl PartialEq for Path {
    fn eq(&self, other: &Self) -> bool {
        self.same_mount(other) && Arc::ptr_eq(&self.dentry, &other.dentry)
    }
}

impl Eq for Path {}
