//! Names that go: unlink(2), rmdir(2).

use alloc::sync::Arc;

use super::path::Path;
use super::permission::check_remove;
use super::view::View;
use super::walk::{Last, Resolve, Walk, look_up_covered};
use crate::watch::{self, Events};
use crate::{Errno, Result};

impl View<'_> {
    /// unlink(2). EISDIR for a directory.
    pub fn unlink(&self, start: &Path, name: &[u8]) -> Result<()> {
        let mut walk = Walk::new(self, start, name, Resolve::empty())?;
        let Last::Name { name, slash } = walk.last()? else {
            return Err(Errno::EISDIR.into());
        };
        walk.at.mount.check_writable()?;
        let victim = look_up_covered(self, &walk.at, walk.name(&name))?.ok_or(Errno::ENOENT)?;
        if slash {
            let directory = victim.inode().metadata()?.is_directory();
            return Err(if directory { Errno::EISDIR } else { Errno::ENOTDIR }.into());
        }
        self.remove(&walk.at, walk.name(&name), &victim, false)
    }

    /// rmdir(2). EINVAL for `.`, ENOTEMPTY for `..`, EBUSY for a root or a mount.
    pub fn rmdir(&self, start: &Path, name: &[u8]) -> Result<()> {
        let mut walk = Walk::new(self, start, name, Resolve::empty())?;
        let name = match walk.last()? {
            Last::Name { name, .. } => name,
            Last::Dot => return Err(Errno::EINVAL.into()),
            Last::DotDot => return Err(Errno::ENOTEMPTY.into()),
            Last::Root => return Err(Errno::EBUSY.into()),
        };
        walk.at.mount.check_writable()?;
        let victim = look_up_covered(self, &walk.at, walk.name(&name))?.ok_or(Errno::ENOENT)?;
        self.remove(&walk.at, walk.name(&name), &victim, true)
    }

    /// Removes `victim`, that was found as `name` in `directory`.
    fn remove(&self, directory: &Path, name: &[u8], victim: &Path, as_directory: bool) -> Result<()> {
        // No directory may move below the victim between the check that it is empty and its end.
        let _moving = self.namespace.moving.lock();
        let mut names = directory.dentry.names.lock();
        if !names.holds(name, &victim.dentry) && !directory.inode().volatile() {
            return Err(Errno::ENOENT.into());
        }
        check_remove(directory, &victim.inode().metadata()?, self.credentials, as_directory, names.dead)?;
        if victim.is_mount_point() {
            return Err(Errno::EBUSY.into());
        }
        if as_directory {
            // Whoever creates something in it holds this lock, and sees afterwards that it is dead.
            let mut inner = victim.dentry.names.lock();
            directory.inode().rmdir(name)?;
            inner.dead = true;
        } else {
            directory.inode().unlink(name)?;
        }
        names.forget(name);
        victim.dentry.set_unlinked();
        if !as_directory {
            watch::inode(victim.inode(), Events::ATTRIB);
        }
        // Whoever else holds it is told when he lets go.
        if Arc::strong_count(&victim.dentry) == 1 {
            watch::gone(victim.inode());
        }
        watch::name(directory, Events::DELETE, name, victim.inode());
        Ok(())
    }
}
