//! One file of any type in memory.

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::cmp::Ordering;
use core::ops::Range;

use isopod_hal::{PAGE_SIZE, frame::Frame, sync::SpinLock};

use super::contents::{Contents, Found};
use super::directory::{Directory, Entry};
use super::shared::Shared;
use super::xattrs::Xattrs;
use crate::inode::{AllocateMode, DirEntry, Extent, Inode, NewNode, NodeKind, downcast};
use crate::inode_state::InodeState;
use crate::metadata::{
    DeviceId, FileType, Metadata, RenameFlags, Seals, SetAttributes, Timestamp, XattrFlags,
};
use crate::transfer::{Sink, Source, page_of};
use crate::vfs::Process;
use crate::{Errno, Error, Result};

/// What a name adds to the size of its directory, as on Linux.
const SIZE_OF_NAME: u64 = 20;
/// After this time an access time is renewed even if nothing changed: relatime of mount(8).
const RELATIME_SECONDS: i64 = 24 * 60 * 60;

/// The seals that forbid write(2).
const WRITES: Seals = Seals::WRITE.union(Seals::FUTURE_WRITE);

/// An inode of [`Tmpfs`](super::Tmpfs).
#[derive(Debug)]
pub(super) struct Node {
    shared: Arc<Shared>,
    this: Weak<Node>,
    number: u64,
    kind: FileType,
    special: DeviceId,
    state: InodeState,
    /// The inode that this one is a changed version of.
    lower: Option<Arc<dyn Inode>>,
    inner: SpinLock<Inner>,
}

#[derive(Debug)]
struct Inner {
    attributes: Attributes,
    body: Body,
    /// `None` for those of the lower inode.
    xattrs: Option<Xattrs>,
    /// Whether it differs from its lower inode; always true without one.
    changed: bool,
    seals: Seals,
}

#[derive(Debug)]
struct Attributes {
    mode: u16,
    uid: u32,
    gid: u32,
    links: u32,
    /// Size that does not follow from the body: of the lower inode.
    size: u64,
    /// As `size`, in units of 512 bytes.
    blocks: u64,
    accessed: Timestamp,
    modified: Timestamp,
    changed: Timestamp,
    born: Option<Timestamp>,
}

#[derive(Debug)]
enum Body {
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
    fn change(&self, inner: &mut Inner, now: Timestamp) {
        inner.attributes.changed = now;
        if !inner.changed
            && let Some(this) = self.this.upgrade()
        {
            inner.changed = true;
            self.shared.keep(self.number, this);
        }
    }

    /// As [`change`](Self::change), for the contents.
    fn modify(&self, inner: &mut Inner, now: Timestamp) {
        inner.attributes.modified = now;
        self.change(inner, now);
    }

    /// One name less, or for a directory none at all.
    fn drop_link(&self, now: Timestamp) {
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

    fn add_link(&self, now: Timestamp) {
        let mut inner = self.inner.lock();
        self.change(&mut inner, now);
        inner.attributes.links += 1;
    }

    /// Lets `name` stand for `node` in this directory.
    fn insert(&self, name: &[u8], node: Arc<Self>, now: Timestamp) -> Result<()> {
        let mut inner = self.inner.lock();
        self.modify(&mut inner, now);
        inner.attributes.links += u32::from(node.kind == FileType::Directory);
        inner.directory()?.insert(name, node);
        Ok(())
    }

    /// Removes a name of this directory that stands for an inode of type `kind`.
    fn remove(&self, name: &[u8], kind: FileType, in_lower: bool, now: Timestamp) -> Result<()> {
        let mut inner = self.inner.lock();
        self.modify(&mut inner, now);
        let subdirectory = u32::from(kind == FileType::Directory);
        inner.attributes.links = inner.attributes.links.saturating_sub(subdirectory);
        inner.directory()?.remove(name, in_lower);
        Ok(())
    }

    /// The node called `name` in this directory.
    fn find(&self, name: &[u8]) -> Result<Arc<Self>> {
        match self.inner.lock().directory()?.get(name) {
            Some(Entry::Present { node, .. }) => return Ok(node.clone()),
            Some(Entry::Whiteout) => return Err(Errno::ENOENT.into()),
            None => {}
        }
        let lower = self.lower.as_ref().ok_or(Errno::ENOENT)?;
        self.shared.node_over(lower.lookup(name)?)
    }

    /// Whether the lower directory has this name, so that it must be hidden.
    fn in_lower(&self, name: &[u8]) -> Result<bool> {
        match self.lower.as_ref().map(|lower| lower.lookup(name)) {
            None | Some(Err(Error::Errno(Errno::ENOENT))) => Ok(false),
            Some(Ok(_)) => Ok(true),
            Some(Err(error)) => Err(error),
        }
    }

    /// ENOTEMPTY if this is a directory with names.
    fn check_empty(&self) -> Result<()> {
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
    fn sibling(&self, inode: &Arc<dyn Inode>) -> Result<Arc<Self>> {
        let node = downcast::<Self>(inode).ok_or(Errno::EXDEV)?;
        if Arc::ptr_eq(&node.shared, &self.shared) { Ok(node) } else { Err(Errno::EXDEV.into()) }
    }

    /// Runs `change` on the extended attributes, which are copied from the lower inode first.
    fn change_xattrs(&self, change: impl FnOnce(&mut Xattrs) -> Result<()>) -> Result<()> {
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
    fn directory(&mut self) -> Result<&mut Directory> {
        match &mut self.body {
            Body::Directory(directory) => Ok(directory),
            _ => Err(Errno::ENOTDIR.into()),
        }
    }

    fn contents(&mut self) -> Result<&mut Contents> {
        match &mut self.body {
            Body::Regular(contents) => Ok(contents),
            _ => Err(Errno::EINVAL.into()),
        }
    }

    /// EPERM if a seal forbids what `seals` name.
    fn check_unsealed(&self, seals: Seals) -> Result<()> {
        if self.seals.intersects(seals) { Err(Errno::EPERM.into()) } else { Ok(()) }
    }

    /// EPERM if a seal forbids the size.
    fn check_size(&mut self, size: u64) -> Result<()> {
        match size.cmp(&self.contents()?.size()) {
            Ordering::Less => self.check_unsealed(Seals::SHRINK),
            Ordering::Equal => Ok(()),
            Ordering::Greater => self.check_unsealed(Seals::GROW),
        }
    }
}

impl Inode for Node {
    fn metadata(&self) -> Result<Metadata> {
        let inner = self.inner.lock();
        let attributes = &inner.attributes;
        let (size, blocks) = match &inner.body {
            Body::Regular(contents) if inner.changed => {
                (contents.size(), contents.data_pages() * (PAGE_SIZE / 512) as u64)
            }
            Body::Directory(directory) => {
                (attributes.size + directory.len() as u64 * SIZE_OF_NAME, attributes.blocks)
            }
            Body::Symlink(target) => (target.len() as u64, 0),
            Body::Regular(_) | Body::Other => (attributes.size, attributes.blocks),
        };
        Ok(Metadata {
            device: self.shared.device,
            inode: self.number,
            kind: self.kind,
            mode: attributes.mode,
            links: attributes.links,
            uid: attributes.uid,
            gid: attributes.gid,
            special: self.special,
            size,
            block_size: PAGE_SIZE as u32,
            blocks,
            accessed: attributes.accessed,
            modified: attributes.modified,
            changed: attributes.changed,
            born: attributes.born,
        })
    }

    fn state(&self) -> &InodeState {
        &self.state
    }

    fn set_attributes(&self, change: &SetAttributes) -> Result<()> {
        let mut inner = self.inner.lock();
        self.change(&mut inner, Timestamp::now());
        let attributes = &mut inner.attributes;
        attributes.mode = change.mode.unwrap_or(attributes.mode);
        attributes.uid = change.uid.unwrap_or(attributes.uid);
        attributes.gid = change.gid.unwrap_or(attributes.gid);
        attributes.accessed = change.accessed.unwrap_or(attributes.accessed);
        attributes.modified = change.modified.unwrap_or(attributes.modified);
        Ok(())
    }

    fn touch_accessed(&self) {
        let now = Timestamp::now();
        let mut inner = self.inner.lock();
        let unchanged = !inner.changed;
        let attributes = &mut inner.attributes;
        let last = attributes.accessed;
        let renew = last <= attributes.modified
            || last <= attributes.changed
            || now.seconds.saturating_sub(last.seconds) >= RELATIME_SECONDS;
        // As on Linux's overlayfs, a read is not noted for what lies below.
        if renew && !unchanged {
            attributes.accessed = now;
        }
    }

    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>> {
        Ok(self.find(name)?)
    }

    fn create(&self, name: &[u8], node: &NewNode<'_>) -> Result<Arc<dyn Inode>> {
        let now = Timestamp::now();
        let links = if matches!(node.kind, NodeKind::Directory) { 2 } else { 1 };
        let node = Self::create(&self.shared, node, links, now)?;
        self.insert(name, node.clone(), now)?;
        Ok(node)
    }

    fn create_unnamed(&self, node: &NewNode<'_>) -> Result<Arc<dyn Inode>> {
        Ok(Self::create(&self.shared, node, 0, Timestamp::now())?)
    }

    fn link(&self, name: &[u8], inode: &Arc<dyn Inode>) -> Result<()> {
        let (node, now) = (self.sibling(inode)?, Timestamp::now());
        node.add_link(now);
        self.insert(name, node, now)
    }

    fn unlink(&self, name: &[u8]) -> Result<()> {
        let (node, in_lower, now) = (self.find(name)?, self.in_lower(name)?, Timestamp::now());
        self.remove(name, node.kind, in_lower, now)?;
        node.drop_link(now);
        Ok(())
    }

    fn rmdir(&self, name: &[u8]) -> Result<()> {
        self.find(name)?.check_empty()?;
        self.unlink(name)
    }

    fn rename(
        &self,
        name: &[u8],
        new_parent: &Arc<dyn Inode>,
        new_name: &[u8],
        flags: RenameFlags,
    ) -> Result<()> {
        let new_parent = self.sibling(new_parent)?;
        let (moved, in_lower) = (self.find(name)?, self.in_lower(name)?);
        let replaced = match new_parent.find(new_name) {
            Ok(node) => Some(node),
            Err(Error::Errno(Errno::ENOENT)) => None,
            Err(error) => return Err(error),
        };
        let now = Timestamp::now();
        if flags.contains(RenameFlags::EXCHANGE) {
            let other = replaced.ok_or(Errno::ENOENT)?;
            // Each takes the other's place: one entry is there before and after.
            new_parent.remove(new_name, other.kind, new_parent.in_lower(new_name)?, now)?;
            self.remove(name, moved.kind, in_lower, now)?;
            new_parent.insert(new_name, moved.clone(), now)?;
            self.insert(name, other.clone(), now)?;
            other.change(&mut other.inner.lock(), now);
        } else {
            let whiteout = NewNode {
                kind: NodeKind::Special(FileType::CharacterDevice, DeviceId::default()),
                mode: 0,
                uid: 0,
                gid: 0,
            };
            let whiteout = flags
                .contains(RenameFlags::WHITEOUT)
                .then(|| Self::create(&self.shared, &whiteout, 1, now))
                .transpose()?;
            if let Some(replaced) = replaced {
                replaced.check_empty()?;
                new_parent.remove(new_name, replaced.kind, false, now)?;
                replaced.drop_link(now);
            }
            self.remove(name, moved.kind, in_lower, now)?;
            new_parent.insert(new_name, moved.clone(), now)?;
            if let Some(whiteout) = whiteout {
                self.insert(name, whiteout, now)?;
            }
        }
        moved.change(&mut moved.inner.lock(), now);
        Ok(())
    }

    fn read_dir(&self, cookie: u64, visit: &mut dyn FnMut(&DirEntry<'_>) -> bool) -> Result<()> {
        let mut inner = self.inner.lock();
        let directory = inner.directory()?;
        if let Some(lower) = &self.lower {
            let mut more = true;
            lower.read_dir(cookie, &mut |entry| {
                more = directory.get(entry.name).is_some() || visit(entry);
                more
            })?;
            if !more {
                return Ok(());
            }
        }
        for (cookie, name, node) in directory.from(cookie) {
            let entry = DirEntry { name, inode: node.number, kind: node.kind, next: cookie + 1 };
            if !visit(&entry) {
                break;
            }
        }
        Ok(())
    }

    fn read_link(&self, process: Process) -> Result<Vec<u8>> {
        match (&self.inner.lock().body, &self.lower) {
            (Body::Symlink(target), _) => Ok(target.to_vec()),
            (_, Some(lower)) => lower.read_link(process),
            _ => Err(Errno::EINVAL.into()),
        }
    }

    fn read_at(&self, offset: u64, sink: &mut dyn Sink) -> Result<usize> {
        let mut done = 0;
        let wanted = sink.remaining() as u64;
        loop {
            let position = offset.saturating_add(done as u64);
            let (index, start) = page_of(position);
            let (found, length) = {
                let mut inner = self.inner.lock();
                let contents = inner.contents()?;
                let left = contents.size().saturating_sub(position);
                let length = left.min((PAGE_SIZE - start).min(sink.remaining()) as u64) as usize;
                if length == 0 {
                    return Ok(done);
                }
                if done == 0 && wanted > PAGE_SIZE as u64 {
                    contents.prefetch(index..offset.saturating_add(wanted).div_ceil(PAGE_SIZE as u64));
                }
                (contents.find(index), length)
            };
            let put = match found {
                Ok(Found::Frame(frame)) => sink.put_frame(&frame, start, length),
                Ok(Found::Hole) => sink.put_zeros(length),
                Err(error) if done == 0 => return Err(error),
                Err(_) => return Ok(done),
            };
            done += put;
            if put < length {
                return Ok(done);
            }
        }
    }

    fn write_at(&self, offset: u64, source: &mut dyn Source) -> Result<usize> {
        let mut inner = self.inner.lock();
        self.write_locked(&mut inner, offset, source).map(|(written, replaced)| {
            drop(inner);
            self.state.invalidate(replaced);
            written
        })
    }

    fn append(&self, source: &mut dyn Source) -> Result<(u64, usize)> {
        let mut inner = self.inner.lock();
        let end = inner.contents()?.size();
        self.write_locked(&mut inner, end, source).map(|(written, replaced)| {
            drop(inner);
            self.state.invalidate(replaced);
            (end, written)
        })
    }

    fn page(&self, index: u64) -> Result<Frame> {
        let mut inner = self.inner.lock();
        let contents = inner.contents()?;
        if index >= contents.size().div_ceil(PAGE_SIZE as u64) {
            return Err(Errno::ENXIO.into());
        }
        match contents.find(index)? {
            Found::Frame(frame) => Ok(frame),
            // Whoever maps a hole must see what is written there later.
            Found::Hole => Ok(contents.own(index, &self.shared)?.0),
        }
    }

    fn page_for_write(&self, index: u64) -> Result<Frame> {
        let mut inner = self.inner.lock();
        inner.check_unsealed(Seals::WRITE)?;
        let contents = inner.contents()?;
        if index >= contents.size().div_ceil(PAGE_SIZE as u64) {
            return Err(Errno::ENXIO.into());
        }
        let (frame, replaced) = contents.own(index, &self.shared)?;
        self.modify(&mut inner, Timestamp::now());
        drop(inner);
        if replaced {
            self.state.invalidate(index..index + 1);
        }
        Ok(frame)
    }

    fn prefetch(&self, pages: Range<u64>) {
        if let Ok(contents) = self.inner.lock().contents() {
            contents.prefetch(pages);
        }
    }

    fn truncate(&self, size: u64) -> Result<()> {
        let mut inner = self.inner.lock();
        inner.check_size(size)?;
        let gone = inner.contents()?.truncate(size, &self.shared)?;
        self.modify(&mut inner, Timestamp::now());
        drop(inner);
        self.state.invalidate(gone);
        Ok(())
    }

    fn allocate(&self, mode: AllocateMode, range: Range<u64>) -> Result<()> {
        let mut inner = self.inner.lock();
        match mode {
            AllocateMode::PunchHole => inner.check_unsealed(WRITES)?,
            AllocateMode::Reserve if range.end > inner.contents()?.size() => {
                inner.check_unsealed(Seals::GROW)?;
            }
            AllocateMode::Reserve | AllocateMode::ReserveKeepSize => {}
        }
        let gone = inner.contents()?.allocate(mode, range, &self.shared)?;
        self.modify(&mut inner, Timestamp::now());
        drop(inner);
        self.state.invalidate(gone);
        Ok(())
    }

    fn seek_extent(&self, offset: u64, extent: Extent) -> Result<u64> {
        self.inner.lock().contents()?.seek_extent(offset, extent)
    }

    fn seals(&self) -> Result<Seals> {
        let mut inner = self.inner.lock();
        inner.contents()?;
        if self.shared.is_overlay() { Err(Errno::EINVAL.into()) } else { Ok(inner.seals) }
    }

    fn add_seals(&self, seals: Seals) -> Result<()> {
        if self.seals()?.contains(Seals::SEAL) {
            return Err(Errno::EPERM.into());
        }
        self.inner.lock().seals |= seals;
        Ok(())
    }

    fn xattr(&self, name: &[u8]) -> Result<Vec<u8>> {
        match (&self.inner.lock().xattrs, &self.lower) {
            (Some(xattrs), _) => xattrs.get(name),
            (None, Some(lower)) => lower.xattr(name),
            (None, None) => Err(Errno::ENODATA.into()),
        }
    }

    fn set_xattr(&self, name: &[u8], value: &[u8], flags: XattrFlags) -> Result<()> {
        self.change_xattrs(|xattrs| xattrs.set(name, value, flags))
    }

    fn remove_xattr(&self, name: &[u8]) -> Result<()> {
        // What is not there is not worth a copy of the others.
        self.xattr(name)?;
        self.change_xattrs(|xattrs| xattrs.remove(name))
    }

    fn xattr_names(&self) -> Result<Vec<u8>> {
        match (&self.inner.lock().xattrs, &self.lower) {
            (Some(xattrs), _) => Ok(xattrs.names()),
            (None, Some(lower)) => lower.xattr_names(),
            (None, None) => Ok(Vec::new()),
        }
    }
}

impl Node {
    /// Writes to the locked inode. Returns how much, and which pages mappings must let go of.
    fn write_locked(
        &self,
        inner: &mut Inner,
        offset: u64,
        source: &mut dyn Source,
    ) -> Result<(usize, Range<u64>)> {
        inner.check_unsealed(WRITES)?;
        if inner.seals.contains(Seals::GROW) {
            let end = offset.saturating_add(source.remaining() as u64);
            let size = inner.contents()?.size().max(end);
            inner.check_size(size)?;
        }
        let (written, replaced) = inner.contents()?.write(offset, source, &self.shared)?;
        if written > 0 || !replaced.is_empty() {
            self.modify(inner, Timestamp::now());
        }
        Ok((written, replaced))
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
