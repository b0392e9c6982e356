//! One file of any type in memory.

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::cmp::Ordering;

use isopod_hal::sync::SpinLock;

use super::contents::Contents;
use super::directory::Directory;
use super::shared::Shared;
use super::xattrs::Xattrs;
use crate::inode::{Inode, NewNode, NodeKind, downcast};
use crate::inode_state::InodeState;
use crate::metadata::{DeviceId, FileType, Metadata, Seals, Timestamp, XattrFlags};
use crate::{Errno, Error, Result};

/// What a name adds to the size of its directory, as on Linux.
pub(super) const SIZE_OF_NAME: u64 = 20;

/// An inode of [`Tmpfs`](super::Tmpfs).
#[derive(Debug)]
pub(super) struct Node {
    pub(super) shared: Arc<Shared>,
    pub(super) this: Weak<Node>,
    pub(super) number: u64,
    pub(super) kind: FileType,
    pub(super) special: DeviceId,
    pub(super) state: InodeState,
    /// The inode that this one is a changed version of.
    pub(super) lower: Option<Arc<dyn Inode>>,
    pub(super) inner: SpinLock<Inner>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) attributes: Attributes,
    pub(super) body: Body,
    /// `None` for those of the lower inode.
    pub(super) xattrs: Option<Xattrs>,
    /// Whether it differs from its lower inode; always true without one.
    pub(super) changed: bool,
    pub(super) seals: Seals,
}

#[derive(Debug)]
pub(super) struct Attributes {
    pub(super) mode: u16,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) links: u32,
    /// Size that does not follow from the body: of the lower inode.
    pub(super) size: u64,
    /// As `size`, in units of 512 bytes.
    pub(super) blocks: u64,
    pub(super) accessed: Timestamp,
    pub(super) modified: Timestamp,
    pub(super) changed: Timestamp,
    pub(super) born: Option<Timestamp>,
}

#[derive(Debug)]
pub(super) enum Body {
    Regular(Contents),
    Directory(Directory),
    Symlink(alloc::boxed::Box<[u8]>),
    /// A special file, or a symbolic link whose text is the lower inode's.
    Other,
}

impl Node {
    /// A new inode with so many names.
    pub(super) fn create(
        shared: &Arc<Shared>,
        node: &NewNode<'_>,
        links: u32,
        now: Timestamp,
    ) -> Result<Arc<Self>> {
        let number = shared.take_inode()?;
        let (body, special) = match node.kind {
            NodeKind::Regular => (Body::Regular(Contents::new(None)), DeviceId::default()),
            NodeKind::Directory => (Body::Directory(Directory::new(false)), DeviceId::default()),
            NodeKind::Symlink(target) => (Body::Symlink(target.into()), DeviceId::default()),
            NodeKind::Special(_, device) => (Body::Other, device),
        };
        let attributes = Attributes {
            mode: node.mode,
            uid: node.uid,
            gid: node.gid,
            links,
            // `.` and `..`, as on Linux.
            size: if matches!(node.kind, NodeKind::Directory) { 2 * SIZE_OF_NAME } else { 0 },
            blocks: 0,
            accessed: now,
            modified: now,
            changed: now,
            born: Some(now),
        };
        Ok(Arc::new_cyclic(|this| Self {
            shared: shared.clone(),
            this: this.clone(),
            number,
            kind: node.kind.file_type(),
            special,
            state: InodeState::default(),
            lower: None,
            inner: SpinLock::new(Inner {
                attributes,
                body,
                xattrs: Some(Xattrs::default()),
                changed: true,
                seals: Seals::SEAL,
            }),
        }))
    }

    /// An inode that is as `lower` until it is changed.
    pub(super) fn over(shared: &Arc<Shared>, lower: Arc<dyn Inode>, metadata: &Metadata) -> Arc<Self> {
        let body = match metadata.kind {
            FileType::Regular => Body::Regular(Contents::new(Some((lower.clone(), metadata.size)))),
            FileType::Directory => Body::Directory(Directory::new(true)),
            _ => Body::Other,
        };
        let attributes = Attributes {
            mode: metadata.mode,
            uid: metadata.uid,
            gid: metadata.gid,
            links: metadata.links,
            size: metadata.size,
            blocks: metadata.blocks,
            accessed: metadata.accessed,
            modified: metadata.modified,
            changed: metadata.changed,
            born: metadata.born,
        };
        Arc::new_cyclic(|this| Self {
            shared: shared.clone(),
            this: this.clone(),
            number: metadata.inode,
            kind: metadata.kind,
            special: metadata.special,
            state: InodeState::default(),
            lower: Some(lower),
            inner: SpinLock::new(Inner {
                attributes,
                body,
                xattrs: None,
                changed: false,
                seals: Seals::SEAL,
            }),
        })
    }

    /// Lets a new file be sealed: `MFD_ALLOW_SEALING`.
    pub(super) fn allow_seals(&self) {
        self.inner.lock().seals = Seals::empty();
    }

    /// Notes that the inode differs from its lower one from now on, and when its metadata changed.
    pub(super) fn change(&self, inner: &mut Inner, now: Timestamp) {
        inner.attributes.changed = now;
        if !inner.changed
            && let Some(this) = self.this.upgrade()
        {
            inner.changed = true;
            self.shared.keep(self.number, this);
        }
    }

    /// As [`change`](Self::change), for the contents.
    pub(super) fn modify(&self, inner: &mut Inner, now: Timestamp) {
        inner.attributes.modified = now;
        self.change(inner, now);
    }

    /// One name less, or for a directory none at all.
    pub(super) fn drop_link(&self, now: Timestamp) {
        let mut inner = self.inner.lock();
        self.change(&mut inner, now);
        let links = &mut inner.attributes.links;
        *links = if self.kind == FileType::Directory { 0 } else { links.saturating_sub(1) };
        let gone = *links == 0;
        drop(inner);
        if gone && self.lower.is_some() {
            self.shared.release(self.number);
        }
    }

    pub(super) fn add_link(&self, now: Timestamp) {
        let mut inner = self.inner.lock();
        self.change(&mut inner, now);
        inner.attributes.links += 1;
    }

    /// Lets `name` stand for `node` in this directory.
    pub(super) fn insert(&self, name: &[u8], node: Arc<Self>, now: Timestamp) -> Result<()> {
        let mut inner = self.inner.lock();
        self.modify(&mut inner, now);
        inner.attributes.links += u32::from(node.kind == FileType::Directory);
        inner.directory()?.insert(name, node);
        Ok(())
    }

    /// Removes a name of this directory that stands for an inode of type `kind`.
    pub(super) fn remove(&self, name: &[u8], kind: FileType, in_lower: bool, now: Timestamp) -> Result<()> {
        let mut inner = self.inner.lock();
        self.modify(&mut inner, now);
        let subdirectory = u32::from(kind == FileType::Directory);
        inner.attributes.links = inner.attributes.links.saturating_sub(subdirectory);
        inner.directory()?.remove(name, in_lower);
        Ok(())
    }

    /// The node called `name` in this directory.
    pub(super) fn find(&self, name: &[u8]) -> Result<Arc<Self>> {
        if let Some(entry) = self.inner.lock().directory()?.get(name) {
            return entry.node.clone().ok_or_else(|| Errno::ENOENT.into());
        }
        let lower = self.lower.as_ref().ok_or(Errno::ENOENT)?;
        self.shared.node_over(lower.lookup(name)?)
    }

    /// Whether the lower directory has this name, so that it must be hidden.
    pub(super) fn in_lower(&self, name: &[u8]) -> Result<bool> {
        match self.lower.as_ref().map(|lower| lower.lookup(name)) {
            None | Some(Err(Error::Errno(Errno::ENOENT))) => Ok(false),
            Some(Ok(_)) => Ok(true),
            Some(Err(error)) => Err(error),
        }
    }

    /// ENOTEMPTY if this is a directory with names.
    pub(super) fn check_empty(&self) -> Result<()> {
        if self.kind != FileType::Directory {
            return Ok(());
        }
        let mut empty = true;
        self.read_dir(crate::FIRST_COOKIE, &mut |_| {
            empty = false;
            false
        })?;
        if empty { Ok(()) } else { Err(Errno::ENOTEMPTY.into()) }
    }

    /// `inode` as a node of this file system.
    pub(super) fn sibling(&self, inode: &Arc<dyn Inode>) -> Result<Arc<Self>> {
        let node = downcast::<Self>(inode).ok_or(Errno::EXDEV)?;
        if Arc::ptr_eq(&node.shared, &self.shared) { Ok(node) } else { Err(Errno::EXDEV.into()) }
    }

    /// Runs `change` on the extended attributes, which are copied from the lower inode first.
    pub(super) fn change_xattrs(&self, change: impl FnOnce(&mut Xattrs) -> Result<()>) -> Result<()> {
        let mut copied = None;
        if let Some(lower) = &self.lower
            && self.inner.lock().xattrs.is_none()
        {
            let mut xattrs = Xattrs::default();
            for name in lower.xattr_names()?.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
                xattrs.set(name, &lower.xattr(name)?, XattrFlags::empty())?;
            }
            copied = Some(xattrs);
        }
        let mut inner = self.inner.lock();
        if inner.xattrs.is_none() {
            inner.xattrs = copied;
        }
        change(inner.xattrs.get_or_insert_default())?;
        self.change(&mut inner, Timestamp::now());
        Ok(())
    }
}

impl Inner {
    pub(super) fn directory(&mut self) -> Result<&mut Directory> {
        match &mut self.body {
            Body::Directory(directory) => Ok(directory),
            _ => Err(Errno::ENOTDIR.into()),
        }
    }

    pub(super) fn contents(&mut self) -> Result<&mut Contents> {
        match &mut self.body {
            Body::Regular(contents) => Ok(contents),
            _ => Err(Errno::EINVAL.into()),
        }
    }

    /// EPERM if a seal forbids what `seals` name.
    pub(super) fn check_unsealed(&self, seals: Seals) -> Result<()> {
        if self.seals.intersects(seals) { Err(Errno::EPERM.into()) } else { Ok(()) }
    }

    /// EPERM if a seal forbids the size.
    pub(super) fn check_size(&mut self, size: u64) -> Result<()> {
        match size.cmp(&self.contents()?.size()) {
            Ordering::Less => self.check_unsealed(Seals::SHRINK),
            Ordering::Equal => Ok(()),
            Ordering::Greater => self.check_unsealed(Seals::GROW),
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let inner = self.inner.get_mut();
        if let Body::Regular(contents) = &inner.body {
            self.shared.give_pages(contents.own_pages());
        }
        if self.lower.is_some() {
            self.shared.forget(self.number);
        } else {
            self.shared.give_inode();
        }
        // A tree of any depth must not end in a recursion of that depth.
        let mut rest: Vec<Arc<Self>> =
            inner.directory().map(|directory| directory.drain().collect()).unwrap_or_default();
        while let Some(node) = rest.pop() {
            if let Some(mut node) = Arc::into_inner(node)
                && let Ok(directory) = node.inner.get_mut().directory()
            {
                rest.extend(directory.drain());
            }
        }
    }
}
