//! New names: mkdir(2), mknod(2), symlink(2), link(2).

use alloc::sync::Arc;

use isopod_hal::sync::SpinLockGuard;

use super::dentry::{Name, Names};
use super::path::Path;
use super::permission::check_create;
use super::view::View;
use super::walk::{Last, Resolve, Walk, look_up_covered};
use crate::credentials::Capabilities;
use crate::inode::{Inode, NewNode, NodeKind};
use crate::metadata::{DeviceId, FileType, S_ISGID, S_IXGRP};
use crate::watch::{self, Events};
use crate::{Errno, Error, Result};

/// The longest target of a symbolic link, with its final NUL.
const TARGET_MAX: usize = 4096;
/// The most names an inode has; that of ext4, as Linux's tmpfs sets no limit.
const LINK_MAX: u32 = 65_000;

impl View<'_> {
    /// mkdir(2).
    pub fn mkdir(&self, start: &Path, name: &[u8], mode: u16) -> Result<()> {
        self.create(start, name, NodeKind::Directory, mode & 0o1777 & !self.umask).map(drop)
    }

    /// mknod(2) of a regular file, FIFO, socket or device; its place. EPERM for a device without `CAP_MKNOD`, and for
    /// a directory; EINVAL for what mknod does not make.
    pub fn mknod(
        &self,
        start: &Path,
        name: &[u8],
        kind: FileType,
        mode: u16,
        device: DeviceId,
    ) -> Result<Path> {
        let node = match kind {
            FileType::Directory => return Err(Errno::EPERM.into()),
            FileType::Symlink => return Err(Errno::EINVAL.into()),
            FileType::Regular => NodeKind::Regular,
            kind => NodeKind::Special(kind, device),
        };
        self.create(start, name, node, mode & 0o7777 & !self.umask)
    }

    /// symlink(2) to `target`, which is not looked at. ENOENT if it is empty.
    pub fn symlink(&self, target: &[u8], start: &Path, name: &[u8]) -> Result<()> {
        if target.is_empty() {
            return Err(Errno::ENOENT.into());
        }
        if target.len() >= TARGET_MAX {
            return Err(Errno::ENAMETOOLONG.into());
        }
        self.create(start, name, NodeKind::Symlink(target), 0o777).map(drop)
    }

    /// link(2): gives the file at `old` a further name. EXDEV on another mount, EPERM for a directory, ENOENT for a
    /// file whose last name was removed.
    pub fn link(&self, old: &Path, start: &Path, name: &[u8]) -> Result<()> {
        let place = self.new_place(start, name, false)?;
        let directory = &place.directory;
        if !old.same_mount(directory) {
            return Err(Errno::EXDEV.into());
        }
        let mut names = place.lock();
        check_create(directory, self.credentials, names.dead)?;
        let metadata = old.inode().metadata()?;
        if metadata.is_directory() {
            return Err(Errno::EPERM.into());
        }
        if metadata.links == 0 && !old.inode().state().is_linkable() {
            return Err(Errno::ENOENT.into());
        }
        if metadata.links >= LINK_MAX {
            return Err(Errno::EMLINK.into());
        }
        place.check_absent(&names)?;
        directory.inode().link(place.name(), old.inode())?;
        watch::inode(old.inode(), Events::ATTRIB);
        place.remember(self, &mut names, old.inode().clone());
        Ok(())
    }

    fn create(&self, start: &Path, name: &[u8], kind: NodeKind<'_>, mode: u16) -> Result<Path> {
        let place = self.new_place(start, name, matches!(kind, NodeKind::Directory))?;
        let mut names = place.lock();
        self.create_at(&place, &mut names, kind, mode)
    }

    /// Makes the inode at a place whose directory's names are locked.
    pub(super) fn create_at(
        &self,
        place: &NewPlace<'_>,
        names: &mut SpinLockGuard<'_, Names>,
        kind: NodeKind<'_>,
        mode: u16,
    ) -> Result<Path> {
        let directory = &place.directory;
        check_create(directory, self.credentials, names.dead)?;
        if let NodeKind::Special(FileType::CharacterDevice | FileType::BlockDevice, _) = kind
            && !self.credentials.capable(Capabilities::MKNOD)
        {
            return Err(Errno::EPERM.into());
        }
        place.check_absent(names)?;
        let inode = directory.inode().create(place.name(), &self.new_node(directory, kind, mode)?)?;
        Ok(place.remember(self, names, inode))
    }

    /// A new inode's owner and mode, as a directory with the set-group-ID bit passes on its group.
    pub(super) fn new_node<'n>(
        &self,
        directory: &Path,
        kind: NodeKind<'n>,
        mut mode: u16,
    ) -> Result<NewNode<'n>> {
        let parent = directory.inode().metadata()?;
        let mut gid = self.credentials.gid;
        if parent.mode & S_ISGID != 0 {
            gid = parent.gid;
            if matches!(kind, NodeKind::Directory) {
                mode |= S_ISGID;
            } else if mode & (S_ISGID | S_IXGRP) == S_ISGID | S_IXGRP
                && !self.credentials.in_group(gid)
                && !self.credentials.capable(Capabilities::FSETID)
            {
                mode &= !S_ISGID;
            }
        }
        Ok(NewNode { kind, mode, uid: self.credentials.uid, gid })
    }

    /// The place for a new name. EEXIST if it is taken; ENOENT if slashes follow what will be no directory; EROFS.
    fn new_place<'w>(&'w self, start: &Path, name: &'w [u8], directory: bool) -> Result<NewPlace<'w>> {
        let mut walk = Walk::new(self, start, name, Resolve::empty())?;
        let Last::Name { name, slash } = walk.last()? else {
            return Err(Errno::EEXIST.into());
        };
        if look_up_covered(self, &walk.at, walk.name(&name))?.is_some() {
            return Err(Errno::EEXIST.into());
        }
        if slash && !directory {
            return Err(Errno::ENOENT.into());
        }
        walk.at.mount.check_writable()?;
        Ok(NewPlace { directory: walk.at.clone(), walk, name })
    }
}

/// A directory, and a name in it that was free.
pub(super) struct NewPlace<'a> {
    pub(super) directory: Path,
    walk: Walk<'a>,
    name: core::ops::Range<usize>,
}

impl<'a> NewPlace<'a> {
    /// The place where `walk` stands and its last component.
    pub(super) fn new(walk: Walk<'a>, name: core::ops::Range<usize>) -> Self {
        Self { directory: walk.at.clone(), walk, name }
    }

    pub(super) fn name(&self) -> &[u8] {
        self.walk.name(&self.name)
    }

    pub(super) fn lock(&self) -> SpinLockGuard<'_, Names> {
        self.directory.dentry.names.lock()
    }

    /// EEXIST if someone else took the name before the directory was locked.
    fn check_absent(&self, names: &Names) -> Result<()> {
        match names.get(self.name()) {
            Some(Name::Present(_)) => Err(Errno::EEXIST.into()),
            Some(Name::Absent) => Ok(()),
            // Forgotten meanwhile.
            None => match self.directory.inode().lookup(self.name()) {
                Ok(_) => Err(Errno::EEXIST.into()),
                Err(Error::Errno(Errno::ENOENT)) => Ok(()),
                Err(error) => Err(error),
            },
        }
    }

    /// Caches that the name stands for `inode` now.
    fn remember(&self, view: &View<'_>, names: &mut Names, inode: Arc<dyn Inode>) -> Path {
        let directory = &self.directory.dentry;
        watch::name(&self.directory, Events::CREATE, self.name(), &inode);
        let dentry = view.namespace.names.put(directory, names, self.name(), inode);
        Path::new(self.directory.mount.clone(), dentry)
    }
}
