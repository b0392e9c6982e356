//! open(2), openat2(2).

use alloc::sync::Arc;

use super::create::NewPlace;
use super::mount::MountFlags;
use super::path::Path;
use super::permission::{Access, check, check_inode};
use super::view::View;
use super::walk::{Last, Resolve, Walk, kind};
use crate::file::{OpenFile, OpenFlags, OpenRequest};
use crate::inode::NodeKind;
use crate::metadata::{FileType, Metadata};
use crate::watch::{self, Events};
use crate::{Errno, Error, Result};

/// How to open a file: the arguments of open(2) and `struct open_how` of openat2(2).
#[derive(Clone, Copy, Debug)]
pub struct OpenHow {
    /// `O_` flags.
    pub flags: OpenFlags,
    /// Mode of a file that is created, before the umask.
    pub mode: u16,
    /// `RESOLVE_` flags; [`Resolve::FOLLOW`] and [`Resolve::DIRECTORY`] come from `flags`.
    pub resolve: Resolve,
    /// Whether it is opened to be executed: it must be a regular file with execute permission.
    pub execute: bool,
}

impl OpenHow {
    /// As open(2) with these flags and mode.
    pub fn new(flags: OpenFlags, mode: u16) -> Self {
        Self { flags, mode, resolve: Resolve::empty(), execute: false }
    }

    /// To execute a file: execve(2).
    pub fn execute() -> Self {
        Self { execute: true, ..Self::new(OpenFlags::empty(), 0) }
    }

    /// The flags that count, after the contradictions among them: `build_open_flags()` of Linux.
    fn normalized(mut self) -> Result<Self> {
        let flags = &mut self.flags;
        if flags.contains(OpenFlags::CREAT | OpenFlags::DIRECTORY) {
            return Err(Errno::EINVAL.into());
        }
        if flags.contains(OpenFlags::TMPFILE) {
            if !flags.contains(OpenFlags::DIRECTORY) || !flags.writable() {
                return Err(Errno::EINVAL.into());
            }
        } else if flags.contains(OpenFlags::PATH) {
            *flags &= OpenFlags::PATH | OpenFlags::DIRECTORY | OpenFlags::NOFOLLOW | OpenFlags::CLOEXEC;
        }
        if !flags.contains(OpenFlags::PATH) {
            *flags |= OpenFlags::LARGEFILE;
        }
        if flags.contains(OpenFlags::DIRECTORY) && !flags.contains(OpenFlags::TMPFILE) {
            self.resolve |= Resolve::DIRECTORY;
        }
        let exclusive = flags.contains(OpenFlags::CREAT | OpenFlags::EXCL);
        if !flags.contains(OpenFlags::NOFOLLOW) && !exclusive {
            self.resolve |= Resolve::FOLLOW;
        }
        Ok(self)
    }

    /// What the mode of an existing file must grant.
    fn access(&self) -> Access {
        let flags = self.flags;
        if flags.contains(OpenFlags::PATH) {
            return Access::empty();
        }
        let mut access = match (flags & OpenFlags::ACCESS_MODE).bits() {
            0 => Access::READ,
            1 => Access::WRITE,
            _ => Access::READ | Access::WRITE,
        };
        if flags.contains(OpenFlags::TRUNC) {
            access |= Access::WRITE;
        }
        if self.execute { Access::EXEC } else { access }
    }
}

impl View<'_> {
    /// open(2): the description of the file called `name`, created if `how` wants that.
    ///
    /// After it, and without `O_NONBLOCK`, [`FileOps::finish_open`](crate::file::FileOps::finish_open) may have to be
    /// awaited.
    pub fn open(&self, start: &Path, name: &[u8], how: &OpenHow) -> Result<Arc<OpenFile>> {
        let how = how.normalized()?;
        if how.flags.contains(OpenFlags::TMPFILE) {
            return self.open_unnamed(start, name, &how);
        }
        if !how.flags.contains(OpenFlags::CREAT) {
            return self.open_path(self.resolve(start, name, how.resolve)?, &how);
        }
        let exclusive = how.flags.contains(OpenFlags::EXCL);
        loop {
            match self.open_or_create(start, name, &how) {
                // Somebody else has just made it.
                Err(Error::Errno(Errno::EEXIST)) if !exclusive => {}
                outcome => return outcome,
            }
        }
    }

    /// `O_CREAT`. EEXIST also where another was quicker to create it.
    fn open_or_create(&self, start: &Path, name: &[u8], how: &OpenHow) -> Result<Arc<OpenFile>> {
        let mut walk = Walk::new(self, start, name, how.resolve)?;
        loop {
            let exclusive = how.flags.contains(OpenFlags::EXCL);
            let Last::Name { name, slash } = walk.last()? else {
                return Err(if exclusive { Errno::EEXIST } else { Errno::EISDIR }.into());
            };
            if slash {
                return Err(Errno::EISDIR.into());
            }
            let Some(child) = walk.look_up(name.clone())? else {
                return self.open_new(&NewPlace::new(walk, name), how);
            };
            if exclusive {
                return Err(Errno::EEXIST.into());
            }
            if kind(&child)? != FileType::Symlink || !how.resolve.contains(Resolve::FOLLOW) {
                return self.open_path(child, how);
            }
            if walk.follow(&child)? {
                return self.open_path(walk.at, how);
            }
        }
    }

    /// Opens the existing file at `path`, such as one behind `/proc/self/fd`.
    pub fn open_path(&self, path: Path, how: &OpenHow) -> Result<Arc<OpenFile>> {
        let metadata = path.inode().metadata()?;
        let flags = how.flags;
        if flags.contains(OpenFlags::PATH) {
            return OpenFile::new(path, flags, None);
        }
        if flags.contains(OpenFlags::CREAT) && metadata.is_directory() {
            return Err(Errno::EISDIR.into());
        }
        let truncate = flags.contains(OpenFlags::TRUNC) && metadata.kind == FileType::Regular;
        if truncate {
            path.mount.check_writable()?;
        }
        self.check_open(&path, &metadata, how)?;
        if flags.writable() && metadata.kind == FileType::Regular {
            path.mount.check_writable()?;
        }
        if truncate {
            path.inode().state().check_writable()?;
            super::clear_privileges(&path, self.credentials)?;
            path.inode().truncate(0)?;
        }
        let file = self.describe(path, &metadata, flags)?;
        watch::open_file(file.path(), Events::OPEN);
        if truncate {
            watch::file(file.path(), Events::MODIFY);
        }
        Ok(file)
    }

    /// Type, permission and mount let the file be opened so: `may_open()` of Linux.
    fn check_open(&self, path: &Path, metadata: &Metadata, how: &OpenHow) -> Result<()> {
        let access = how.access();
        match metadata.kind {
            FileType::Symlink => return Err(Errno::ELOOP.into()),
            FileType::Directory if access.contains(Access::WRITE) => return Err(Errno::EISDIR.into()),
            FileType::CharacterDevice | FileType::BlockDevice
                if path.mount.flags().contains(MountFlags::NODEV) =>
            {
                return Err(Errno::EACCES.into());
            }
            kind if how.execute && kind != FileType::Regular => return Err(Errno::EACCES.into()),
            FileType::Regular if how.execute && path.mount.flags().contains(MountFlags::NOEXEC) => {
                return Err(Errno::EACCES.into());
            }
            _ => {}
        }
        check(path, metadata, self.credentials, access)?;
        if how.flags.contains(OpenFlags::NOATIME) && !self.credentials.owns(metadata.uid) {
            return Err(Errno::EPERM.into());
        }
        Ok(())
    }

    /// Creates a regular file at `place` and opens it; its mode does not restrict this description.
    fn open_new(&self, place: &NewPlace<'_>, how: &OpenHow) -> Result<Arc<OpenFile>> {
        place.directory.mount.check_writable()?;
        let path = {
            let mut names = place.lock();
            self.create_at(place, &mut names, NodeKind::Regular, how.mode & 0o7777 & !self.umask)?
        };
        let file = OpenFile::new(path, how.flags, None)?;
        watch::open_file(file.path(), Events::OPEN);
        Ok(file)
    }

    /// `O_TMPFILE`: a regular file in the file system of the directory `name`.
    fn open_unnamed(&self, start: &Path, name: &[u8], how: &OpenHow) -> Result<Arc<OpenFile>> {
        let directory = self.resolve(start, name, how.resolve | Resolve::DIRECTORY)?;
        directory.mount.check_writable()?;
        let metadata = directory.inode().metadata()?;
        check_inode(&metadata, self.credentials, Access::WRITE | Access::EXEC)?;
        let node = self.new_node(&directory, NodeKind::Regular, how.mode & 0o7777 & !self.umask)?;
        let inode = directory.inode().create_unnamed(&node)?;
        if !how.flags.contains(OpenFlags::EXCL) {
            inode.state().set_linkable();
        }
        let number = alloc::format!("#{}", inode.metadata()?.inode);
        let dentry = directory.dentry.unnamed(number.as_bytes(), inode);
        let file = OpenFile::new(Path::new(directory.mount.clone(), dentry), how.flags, None)?;
        watch::open_file(file.path(), Events::OPEN);
        Ok(file)
    }

    /// The description of a file that may be opened.
    fn describe(&self, path: Path, metadata: &Metadata, flags: OpenFlags) -> Result<Arc<OpenFile>> {
        let inode = path.inode();
        let request = OpenRequest { inode, flags, credentials: self.credentials, process: self.process };
        let ops = match inode.open(&request)? {
            Some(ops) => Some(ops),
            None => match metadata.kind {
                FileType::Regular | FileType::Directory | FileType::Symlink => None,
                kind => Some(self.namespace.special().open(kind, metadata.special, &request)?),
            },
        };
        OpenFile::new(path, flags, ops)
    }
}
