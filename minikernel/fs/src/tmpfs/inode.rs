//! What can be done with an inode in memory.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;

use isopod_hal::{PAGE_SIZE, frame::Frame};

use super::contents::Found;
use super::node::{Body, Inner, Node, SIZE_OF_NAME};
use crate::inode::{AllocateMode, DirEntry, Extent, Inode, NewNode, NodeKind};
use crate::inode_state::{InodeState, PageLoss};
use crate::metadata::{
    DeviceId, FileType, Metadata, RenameFlags, Seals, SetAttributes, Timestamp, XattrFlags,
};
use crate::transfer::{Sink, Source, page_of};
use crate::vfs::Process;
use crate::{Errno, Error, Result};

/// The seals that forbid write(2).
const WRITES: Seals = Seals::WRITE.union(Seals::FUTURE_WRITE);

/// After this time an access time is renewed even if nothing changed: relatime of mount(8).
const RELATIME_SECONDS: i64 = 24 * 60 * 60;

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
        let node = Node::create(&self.shared, node, links, now)?;
        self.insert(name, node.clone(), now)?;
        Ok(node)
    }

    fn create_unnamed(&self, node: &NewNode<'_>) -> Result<Arc<dyn Inode>> {
        Ok(Node::create(&self.shared, node, 0, Timestamp::now())?)
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
                .then(|| Node::create(&self.shared, &whiteout, 1, now))
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
            self.state.invalidate(replaced, PageLoss::Replaced);
            written
        })
    }

    fn append(&self, source: &mut dyn Source) -> Result<(u64, usize)> {
        let mut inner = self.inner.lock();
        let end = inner.contents()?.size();
        self.write_locked(&mut inner, end, source).map(|(written, replaced)| {
            drop(inner);
            self.state.invalidate(replaced, PageLoss::Replaced);
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

    fn resident(&self, first: u64, frames: &mut [Option<Frame>]) {
        if let Ok(contents) = self.inner.lock().contents() {
            contents.resident(first, frames);
        }
    }

    fn page_for_write(&self, index: u64) -> Result<Frame> {
        let mut inner = self.inner.lock();
        // It may have been sealed since it was mapped.
        inner.check_unsealed(Seals::WRITE)?;
        let contents = inner.contents()?;
        if index >= contents.size().div_ceil(PAGE_SIZE as u64) {
            return Err(Errno::ENXIO.into());
        }
        let (frame, replaced) = contents.own(index, &self.shared)?;
        self.modify(&mut inner, Timestamp::now());
        drop(inner);
        if replaced {
            self.state.invalidate(index..index + 1, PageLoss::Replaced);
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
        self.state.invalidate(gone, PageLoss::CutOff);
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
        self.state.invalidate(gone, PageLoss::Replaced);
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
        let mut inner = self.inner.lock();
        let before = inner.seals;
        inner.seals |= seals;
        drop(inner);
        // Looked for after it is sealed: who maps it from now on gets no page to write to.
        if seals.contains(Seals::WRITE) && self.state.is_mapped_to_write() {
            self.inner.lock().seals = before;
            return Err(Errno::EBUSY.into());
        }
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
            (Some(xattrs), _) => xattrs.names(),
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
