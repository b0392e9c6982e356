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
    /// such as a pipe, is named without a slash. A removed name ends with ` (deleted)`. Of a name that is longer than any
    /// path can be only the end is told.
    pub fn text(&self, root: &Self) -> (Vec<u8>, bool) {
        let mut text = Reversed::default();
        if self.is_unlinked() {
            text.push(b" (deleted)");
        }
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
                text.push_component(&place.dentry.name());
                place.dentry = parent;
            } else {
                return (place.dentry.name().to_vec(), false);
            }
        };
        (text.finish(), reachable)
    }

    /// Its name on the file system it belongs to, wherever that is mounted.
    pub fn text_on_file_system(&self) -> Vec<u8> {
        let mut text = Reversed::default();
        let mut dentry = self.dentry.clone();
        while let Some(parent) = dentry.parent() {
            text.push_component(&dentry.name());
            dentry = parent;
        }
        text.finish()
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

/// An absolute name, from its end, whose components a program can have made as many of as it likes.
#[derive(Default)]
struct Reversed {
    bytes: Vec<u8>,
    named: bool,
}

impl Reversed {
    /// Twice as long as a path can be.
    const LONGEST: usize = 8192;

    fn push(&mut self, bytes: &[u8]) {
        if self.bytes.len() < Self::LONGEST {
            self.bytes.extend(bytes.iter().rev());
        }
    }

    fn push_component(&mut self, name: &[u8]) {
        self.push(name);
        self.push(b"/");
        self.named = true;
    }

    fn finish(mut self) -> Vec<u8> {
        if !self.named {
            self.push(b"/");
        }
        self.bytes.reverse();
        self.bytes
    }
}

impl PartialEq for Path {
    fn eq(&self, other: &Self) -> bool {
        self.same_mount(other) && Arc::ptr_eq(&self.dentry, &other.dentry)
    }
}

impl Eq for Path {}
