//! What is known of a file and who may change it: stat(2), access(2), chmod(2), chown(2), utimensat(2), truncate(2).

use alloc::vec::Vec;

use super::mount::MountFlags;
use super::path::Path;
use super::permission::{Access, check, check_inode, keeps_sgid, remove_capability, set_id_bits};
use super::view::View;
use crate::credentials::Capabilities;
use crate::metadata::{FileType, Metadata, S_ISGID, S_IXGRP, SetAttributes, Statistics, Timestamp};
use crate::watch::{self, Events};
use crate::{Errno, Result};

/// One of the two times of utimensat(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetTime {
    /// `UTIME_NOW`
    Now,
    /// `UTIME_OMIT`
    Omit,
    /// This time.
    To(Timestamp),
}

impl SetTime {
    fn resolve(self, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Now => Some(now),
            Self::Omit => None,
            Self::To(time) => Some(time),
        }
    }
}

impl View<'_> {
    /// stat(2).
    pub fn metadata(&self, path: &Path) -> Result<Metadata> {
        path.inode().metadata()
    }

    /// statfs(2): the file system, and the restrictions of the mount.
    pub fn statistics(&self, path: &Path) -> Result<(Statistics, MountFlags)> {
        let mut flags = path.mount().flags();
        flags.set(MountFlags::RDONLY, path.mount().check_writable().is_err());
        Ok((path.mount().file_system().statistics()?, flags))
    }

    /// readlink(2). EINVAL if it is no symbolic link.
    pub fn read_link(&self, path: &Path) -> Result<Vec<u8>> {
        let text = path.inode().read_link(self.process)?;
        if !path.mount.flags().contains(MountFlags::NOATIME) {
            path.inode().touch_accessed();
        }
        Ok(text)
    }

    /// access(2), asked with the credentials of this view; empty `access` asks only whether the file exists.
    pub fn access(&self, path: &Path, access: Access) -> Result<()> {
        let metadata = path.inode().metadata()?;
        let regular = metadata.kind == FileType::Regular;
        if regular && access.contains(Access::EXEC) && path.mount.flags().contains(MountFlags::NOEXEC) {
            return Err(Errno::EACCES.into());
        }
        check(path, &metadata, self.credentials, access)?;
        let stored = matches!(metadata.kind, FileType::Regular | FileType::Directory | FileType::Symlink);
        if stored && access.contains(Access::WRITE) {
            path.mount.check_writable()?;
        }
        Ok(())
    }

    /// EACCES unless `path` may become the working or root directory; ENOTDIR: chdir(2).
    pub fn check_directory(&self, path: &Path) -> Result<()> {
        super::walk::check_search(path, self)
    }

    /// chmod(2). EPERM unless the owner; EOPNOTSUPP for a symbolic link.
    pub fn chmod(&self, path: &Path, mode: u16) -> Result<()> {
        path.mount.check_writable()?;
        let metadata = path.inode().metadata()?;
        if metadata.kind == FileType::Symlink {
            return Err(Errno::EOPNOTSUPP.into());
        }
        if !self.credentials.owns(metadata.uid) {
            return Err(Errno::EPERM.into());
        }
        let mut mode = mode & 0o7777;
        if !keeps_sgid(S_ISGID, metadata.gid, self.credentials) {
            mode &= !S_ISGID;
        }
        set(path, &SetAttributes { mode: Some(mode), ..SetAttributes::default() })
    }

    /// chown(2); `None` leaves the owner or the group. EPERM unless `CAP_CHOWN` is held, or the owner gives the file
    /// to one of his own groups.
    pub fn chown(&self, path: &Path, uid: Option<u32>, gid: Option<u32>) -> Result<()> {
        path.mount.check_writable()?;
        let metadata = path.inode().metadata()?;
        let (credentials, owner) = (self.credentials, self.credentials.uid == metadata.uid);
        let uid_allowed = uid.is_none_or(|uid| owner && uid == metadata.uid);
        let gid_allowed = gid.is_none_or(|gid| owner && (gid == metadata.gid || credentials.in_group(gid)));
        if !(uid_allowed && gid_allowed || credentials.capable(Capabilities::CHOWN)) {
            return Err(Errno::EPERM.into());
        }
        let mut change = SetAttributes { uid, gid, ..SetAttributes::default() };
        if !metadata.is_directory() {
            remove_capability(path.inode())?;
            // Even the superuser's change takes the set-id bits away.
            let mut bits = set_id_bits(&metadata, credentials);
            if metadata.mode & (S_ISGID | S_IXGRP) == S_ISGID | S_IXGRP {
                bits |= S_ISGID;
            }
            change.mode = (bits != 0).then_some(metadata.mode & !bits);
        }
        set(path, &change)
    }

    /// utimensat(2). EPERM for times that are not the present unless the owner; EACCES for the present unless the
    /// owner or someone who may write.
    pub fn set_times(&self, path: &Path, accessed: SetTime, modified: SetTime) -> Result<()> {
        if (accessed, modified) == (SetTime::Omit, SetTime::Omit) {
            return Ok(());
        }
        path.mount.check_writable()?;
        let metadata = path.inode().metadata()?;
        if !self.credentials.owns(metadata.uid) {
            if (accessed, modified) != (SetTime::Now, SetTime::Now) {
                return Err(Errno::EPERM.into());
            }
            check_inode(&metadata, self.credentials, Access::WRITE)?;
        }
        let now = Timestamp::now();
        let (accessed, modified) = (accessed.resolve(now), modified.resolve(now));
        set(path, &SetAttributes { accessed, modified, ..SetAttributes::default() })
    }

    /// truncate(2). EISDIR for a directory, EINVAL for what else is no regular file.
    pub fn truncate(&self, path: &Path, size: u64) -> Result<()> {
        let metadata = path.inode().metadata()?;
        match metadata.kind {
            FileType::Regular => {}
            FileType::Directory => return Err(Errno::EISDIR.into()),
            _ => return Err(Errno::EINVAL.into()),
        }
        path.mount.check_writable()?;
        check(path, &metadata, self.credentials, Access::WRITE)?;
        path.inode().state().check_writable()?;
        super::clear_privileges(path, self.credentials)?;
        path.inode().truncate(size)?;
        watch::file(path, Events::MODIFY);
        Ok(())
    }
}

/// Changes attributes, and tells of it.
fn set(path: &Path, change: &SetAttributes) -> Result<()> {
    path.inode().set_attributes(change)?;
    watch::attributes(path, change);
    Ok(())
}
