//! Who may do what: the checks that the operations share.

use alloc::sync::Arc;

use bitflags::bitflags;

use super::path::Path;
use super::view::View;
use crate::credentials::{Capabilities, Credentials};
use crate::inode::Inode;
use crate::metadata::{FileType, Metadata, S_ISGID, S_ISUID, S_ISVTX, S_IXGRP, SetAttributes};
use crate::watch::{self, Events};
use crate::{Errno, Error, Result};

bitflags! {
    /// What is to be done with a file, with the numbers of access(2).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Access: u32 {
        /// Execute a file, search a directory.
        const EXEC = 1;
        /// Write.
        const WRITE = 2;
        /// Read.
        const READ = 4;
    }
}

/// EACCES unless the mode of the inode, or a capability, grants all of `access`.
pub fn check_inode(metadata: &Metadata, credentials: &Credentials, access: Access) -> Result<()> {
    let shift = if credentials.uid == metadata.uid {
        6
    } else if credentials.in_group(metadata.gid) {
        3
    } else {
        0
    };
    let granted = Access::from_bits_truncate(u32::from(metadata.mode >> shift));
    if granted.contains(access) {
        return Ok(());
    }
    let reading = !access.contains(Access::WRITE) && (metadata.is_directory() || access == Access::READ);
    if reading && credentials.capable(Capabilities::DAC_READ_SEARCH) {
        return Ok(());
    }
    let executable = metadata.is_directory() || metadata.mode & 0o111 != 0 || !access.contains(Access::EXEC);
    if executable && credentials.capable(Capabilities::DAC_OVERRIDE) {
        return Ok(());
    }
    Err(Errno::EACCES.into())
}

/// As [`check_inode`], and EROFS for a write to a file system that never changes.
pub(super) fn check(
    path: &Path,
    metadata: &Metadata,
    credentials: &Credentials,
    access: Access,
) -> Result<()> {
    let stored = matches!(metadata.kind, FileType::Regular | FileType::Directory | FileType::Symlink);
    if access.contains(Access::WRITE) && stored && path.mount().file_system().read_only() {
        return Err(Errno::EROFS.into());
    }
    check_inode(metadata, credentials, access)
}

/// ENOENT if the directory was removed, EACCES unless names can be added to it.
pub(super) fn check_create(directory: &Path, credentials: &Credentials, dead: bool) -> Result<()> {
    if dead {
        return Err(Errno::ENOENT.into());
    }
    check(directory, &directory.inode().metadata()?, credentials, Access::WRITE | Access::EXEC)
}

/// Whether `victim` may be taken out of `directory`, and is a directory or not as `as_directory` wants.
///
/// EACCES without write permission, EPERM in a sticky directory of others, ENOTDIR, EISDIR, EBUSY for the root of a
/// file system, ENOENT if the directory was removed.
pub(super) fn check_remove(
    directory: &Path,
    victim: &Metadata,
    credentials: &Credentials,
    as_directory: bool,
    dead: bool,
) -> Result<()> {
    let parent = directory.inode().metadata()?;
    check(directory, &parent, credentials, Access::WRITE | Access::EXEC)?;
    let sticky = parent.mode & S_ISVTX != 0 && credentials.uid != parent.uid && !credentials.owns(victim.uid);
    if sticky {
        return Err(Errno::EPERM.into());
    }
    match (as_directory, victim.is_directory()) {
        (true, false) => Err(Errno::ENOTDIR.into()),
        (false, true) => Err(Errno::EISDIR.into()),
        _ if dead => Err(Errno::ENOENT.into()),
        _ => Ok(()),
    }
}

/// Whether the set-group-ID bit of a file with this mode and group stays when `credentials` change the file.
pub(super) fn keeps_sgid(mode: u16, gid: u32, credentials: &Credentials) -> bool {
    mode & S_ISGID != 0
        && mode & S_IXGRP == 0
        && (credentials.in_group(gid) || credentials.capable(Capabilities::FSETID))
}

/// The set-id bits that a write or change of owner takes away.
pub(super) fn set_id_bits(metadata: &Metadata, credentials: &Credentials) -> u16 {
    let sgid = if keeps_sgid(metadata.mode, metadata.gid, credentials) { 0 } else { S_ISGID };
    metadata.mode & (S_ISUID | sgid)
}

/// Takes set-id bits and file capabilities away before `credentials` write to a regular file.
pub(crate) fn clear_privileges(path: &Path, credentials: &Credentials) -> Result<()> {
    let inode = path.inode();
    let metadata = inode.metadata()?;
    if metadata.kind != FileType::Regular {
        return Ok(());
    }
    remove_capability(inode)?;
    let bits = set_id_bits(&metadata, credentials);
    if bits != 0 && !credentials.capable(Capabilities::FSETID) {
        let mode = Some(metadata.mode & !bits);
        inode.set_attributes(&SetAttributes { mode, ..SetAttributes::default() })?;
        watch::file(path, Events::ATTRIB);
    }
    Ok(())
}

/// Removes the file capability, which no change of the file survives.
pub(super) fn remove_capability(inode: &Arc<dyn Inode>) -> Result<()> {
    match inode.remove_xattr(b"security.capability") {
        Ok(()) | Err(Error::Errno(Errno::ENODATA | Errno::EOPNOTSUPP)) => Ok(()),
        Err(error) => Err(error),
    }
}

impl View<'_> {
    /// EACCES unless this view's credentials grant `access` to the file.
    pub(super) fn check(&self, path: &Path, access: Access) -> Result<()> {
        check(path, &path.inode().metadata()?, self.credentials, access)
    }
}
