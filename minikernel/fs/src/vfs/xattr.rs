//! Extended attributes: xattr(7).

use alloc::vec::Vec;

use super::path::Path;
use super::permission::{Access, check};
use super::view::View;
use crate::credentials::Capabilities;
use crate::metadata::{FileType, S_ISVTX, XattrFlags};
use crate::watch::{self, Events};
use crate::{Errno, Result};

/// Longest name of an attribute.
const NAME_MAX: usize = 255;
/// Longest value of an attribute, and longest list of names.
const SIZE_MAX: usize = 65_536;

/// True for file capabilities of a version that can be set: 2 or 3, which has a user behind them (`validheader` of Linux).
fn is_capability(value: &[u8]) -> bool {
    matches!((value.get(3), value.len()), (Some(2), 20) | (Some(3), 24))
}

impl View<'_> {
    /// getxattr(2). ENODATA if there is no such attribute, or it is not for this caller.
    pub fn xattr(&self, path: &Path, name: &[u8]) -> Result<Vec<u8>> {
        self.check_xattr(path, name, Access::READ)?;
        path.inode().xattr(name)
    }

    /// setxattr(2). E2BIG for a value of more than 64 KiB.
    pub fn set_xattr(&self, path: &Path, name: &[u8], value: &[u8], flags: XattrFlags) -> Result<()> {
        if value.len() > SIZE_MAX {
            return Err(Errno::E2BIG.into());
        }
        if name == b"security.capability" && !is_capability(value) {
            return Err(Errno::EINVAL.into());
        }
        self.check_xattr(path, name, Access::WRITE)?;
        path.inode().set_xattr(name, value, flags)?;
        watch::file(path, Events::ATTRIB);
        Ok(())
    }

    /// removexattr(2).
    pub fn remove_xattr(&self, path: &Path, name: &[u8]) -> Result<()> {
        self.check_xattr(path, name, Access::WRITE)?;
        path.inode().remove_xattr(name)?;
        watch::file(path, Events::ATTRIB);
        Ok(())
    }

    /// listxattr(2): the names, each ended by a NUL; `trusted.` ones only for the administrator.
    pub fn xattr_names(&self, path: &Path) -> Result<Vec<u8>> {
        let mut names = path.inode().xattr_names()?;
        if !self.credentials.capable(Capabilities::SYS_ADMIN) {
            let mut visible = Vec::new();
            visible.try_reserve_exact(names.len())?;
            let all = names.split_inclusive(|byte| *byte == 0);
            all.filter(|name| !name.starts_with(b"trusted."))
                .for_each(|name| visible.extend_from_slice(name));
            names = visible;
        }
        if names.len() > SIZE_MAX {
            return Err(Errno::E2BIG.into());
        }
        Ok(names)
    }

    /// Whether the attribute may be read or written: `xattr_permission()` of Linux.
    fn check_xattr(&self, path: &Path, name: &[u8], access: Access) -> Result<()> {
        if name.is_empty() || name.len() > NAME_MAX {
            return Err(Errno::ERANGE.into());
        }
        let writing = access == Access::WRITE;
        if writing {
            path.mount.check_writable()?;
        }
        let refused = |errno| if writing { Err(errno) } else { Err(Errno::ENODATA) };
        let (credentials, metadata) = (self.credentials, path.inode().metadata()?);
        if name.starts_with(b"trusted.") {
            if !credentials.capable(Capabilities::SYS_ADMIN) {
                refused(Errno::EPERM)?;
            }
        } else if name.starts_with(b"user.") {
            if !matches!(metadata.kind, FileType::Regular | FileType::Directory) {
                refused(Errno::EPERM)?;
            }
            let sticky = metadata.is_directory() && metadata.mode & S_ISVTX != 0;
            if writing && sticky && !credentials.owns(metadata.uid) {
                return Err(Errno::EPERM.into());
            }
            check(path, &metadata, credentials, access)?;
        } else if name.starts_with(b"security.") {
            let needed =
                if name == b"security.capability" { Capabilities::SETFCAP } else { Capabilities::SYS_ADMIN };
            if writing && !credentials.capable(needed) {
                return Err(Errno::EPERM.into());
            }
        } else {
            // `system.` attributes, POSIX access control lists among them, are not kept.
            return Err(Errno::EOPNOTSUPP.into());
        }
        // A prefix alone names nothing.
        if name.iter().position(|byte| *byte == b'.') == Some(name.len() - 1) {
            return Err(Errno::EINVAL.into());
        }
        Ok(())
    }
}
