//! Names that move: rename(2).

use alloc::sync::Arc;
use core::ops::Range;

use isopod_hal::sync::SpinLockGuard;

use super::dentry::{Dentry, Names};
use super::path::Path;
use super::permission::{Access, check_create, check_remove};
use super::view::View;
use super::walk::{Last, Resolve, Walk, look_up_covered};
use crate::metadata::RenameFlags;
use crate::watch;
use crate::{Errno, Result};

/// One of the two names of a rename.
struct Side<'a> {
    walk: Walk<'a>,
    last: Last,
}

impl<'a> Side<'a> {
    fn new(view: &'a View<'a>, start: &Path, name: &'a [u8]) -> Result<Self> {
        let mut walk = Walk::new(view, start, name, Resolve::empty())?;
        let last = walk.last()?;
        Ok(Self { walk, last })
    }

    /// The last component and whether slashes follow it; `errno` for `.`, `..` and `/`.
    fn last(&self, errno: Errno) -> Result<(Range<usize>, bool)> {
        match &self.last {
            Last::Name { name, slash } => Ok((name.clone(), *slash)),
            _ => Err(errno.into()),
        }
    }

    fn directory(&self) -> &Path {
        &self.walk.at
    }
}

impl View<'_> {
    /// renameat2(2) of `name` to `new_name`.
    pub fn rename(
        &self,
        start: &Path,
        name: &[u8],
        new_start: &Path,
        new_name: &[u8],
        flags: RenameFlags,
    ) -> Result<()> {
        let exchange = flags.contains(RenameFlags::EXCHANGE);
        if exchange && flags.intersects(RenameFlags::NOREPLACE | RenameFlags::WHITEOUT)
            || flags.bits() & !RenameFlags::all().bits() != 0
        {
            return Err(Errno::EINVAL.into());
        }
        let old = Side::new(self, start, name)?;
        let new = Side::new(self, new_start, new_name)?;
        let (old_directory, new_directory) = (old.directory(), new.directory());
        if !old_directory.same_mount(new_directory) {
            return Err(Errno::EXDEV.into());
        }
        let (old_range, old_slash) = old.last(Errno::EBUSY)?;
        let no_replace = flags.contains(RenameFlags::NOREPLACE);
        let (new_range, new_slash) = new.last(if no_replace { Errno::EEXIST } else { Errno::EBUSY })?;
        old_directory.mount.check_writable()?;
        let (name, new_name) = (old.walk.name(&old_range), new.walk.name(&new_range));

        let _moving = self.namespace.moving.lock();
        // Nothing is removed or moved from here on, but names can still be created: where there is no target, it is looked for until that is
        // known of the locked directory.
        while !self.rename_between(
            (old_directory, name, old_slash),
            (new_directory, new_name, new_slash),
            flags,
        )? {}
        Ok(())
    }

    /// Renames under the lock on moving. False when a file came to where none was.
    fn rename_between(
        &self,
        (old_directory, name, old_slash): (&Path, &[u8], bool),
        (new_directory, new_name, new_slash): (&Path, &[u8], bool),
        flags: RenameFlags,
    ) -> Result<bool> {
        let exchange = flags.contains(RenameFlags::EXCHANGE);
        let source = look_up_covered(self, old_directory, name)?.ok_or(Errno::ENOENT)?;
        let target = look_up_covered(self, new_directory, new_name)?;
        if flags.contains(RenameFlags::NOREPLACE) && target.is_some() {
            return Err(Errno::EEXIST.into());
        }
        let moved = source.inode().metadata()?;
        let replaced = target.as_ref().map(|target| target.inode().metadata()).transpose()?;
        if exchange {
            let replaced = replaced.as_ref().ok_or(Errno::ENOENT)?;
            if new_slash && !replaced.is_directory() {
                return Err(Errno::ENOTDIR.into());
            }
        }
        if !moved.is_directory() && (old_slash || !exchange && new_slash) {
            return Err(Errno::ENOTDIR.into());
        }
        if new_directory.dentry.is_within(&source.dentry) {
            return Err(Errno::EINVAL.into());
        }
        if target.as_ref().is_some_and(|target| old_directory.dentry.is_within(&target.dentry)) {
            return Err(if exchange { Errno::EINVAL } else { Errno::ENOTEMPTY }.into());
        }
        if target.as_ref().is_some_and(|target| Arc::ptr_eq(target.inode(), source.inode())) {
            return Ok(true);
        }

        let mut names = LockedNames::new(&old_directory.dentry, &new_directory.dentry);
        if !names.source().holds(name, &source.dentry) {
            return Err(Errno::ENOENT.into());
        }
        if target.is_none() && !names.target().lacks(new_name) {
            return Ok(false);
        }
        check_remove(old_directory, &moved, self.credentials, moved.is_directory(), names.source().dead)?;
        match &replaced {
            None => check_create(new_directory, self.credentials, names.target().dead)?,
            Some(replaced) => {
                let as_directory = if exchange { replaced.is_directory() } else { moved.is_directory() };
                check_remove(new_directory, replaced, self.credentials, as_directory, names.target().dead)?;
            }
        }
        if !Arc::ptr_eq(&old_directory.dentry, &new_directory.dentry) {
            // `..` of a directory that gets a new parent is written to.
            if moved.is_directory() {
                self.check(&source, Access::WRITE)?;
            }
            if let (true, Some(replaced), Some(target)) = (exchange, &replaced, &target)
                && replaced.is_directory()
            {
                self.check(target, Access::WRITE)?;
            }
        }
        if source.is_mount_point() || target.as_ref().is_some_and(Path::is_mount_point) {
            return Err(Errno::EBUSY.into());
        }

        // Whoever creates something in a directory to be replaced holds its lock, and sees afterwards that it is dead.
        let doomed = target.as_ref().filter(|_| !exchange);
        let mut inner = doomed.map(|target| target.dentry.names.lock());
        old_directory.inode().rename(name, new_directory.inode(), new_name, flags)?;
        if let Some(inner) = &mut inner {
            inner.dead = true;
        }
        drop(inner);

        let cache = &self.namespace.names;
        let replaced = doomed.map(Path::inode);
        watch::moved((old_directory, name), (new_directory, new_name), source.inode(), replaced);
        if let Some(target) = target.as_ref().filter(|_| exchange) {
            watch::moved((new_directory, new_name), (old_directory, name), target.inode(), None);
        }
        names.source().forget(name);
        names.target().forget(new_name);
        cache.put_moved(&new_directory.dentry, names.target(), new_name, source.dentry);
        match target {
            Some(target) if exchange => {
                cache.put_moved(&old_directory.dentry, names.source(), name, target.dentry);
            }
            Some(target) => target.dentry.set_unlinked(),
            None => {}
        }
        Ok(true)
    }
}

/// The locked names of two directories, which may be one.
struct LockedNames<'a> {
    old: SpinLockGuard<'a, Names>,
    new: Option<SpinLockGuard<'a, Names>>,
}

impl<'a> LockedNames<'a> {
    /// The order is free: who locks the names of two directories holds the lock on moving.
    fn new(old: &'a Arc<Dentry>, new: &'a Arc<Dentry>) -> Self {
        Self { old: old.names.lock(), new: (!Arc::ptr_eq(old, new)).then(|| new.names.lock()) }
    }

    fn source(&mut self) -> &mut Names {
        &mut self.old
    }

    fn target(&mut self) -> &mut Names {
        self.new.as_mut().unwrap_or(&mut self.old)
    }
}
