//! Path resolution: `path_resolution(7)`.

use alloc::borrow::Cow;
use core::ops::Range;

use bitflags::bitflags;

use super::dentry::Name;
use super::path::Path;
use super::permission::{Access, check_inode};
use super::view::View;
use crate::inode::Target;
use crate::metadata::FileType;
use crate::{Errno, Error, Result};

/// Longest path, with its final NUL.
const PATH_MAX: usize = 4096;
/// Longest name of a component.
const NAME_MAX: usize = 255;
/// How many symbolic links one resolution follows.
const LINKS_MAX: u32 = 40;

bitflags! {
    /// How a name is resolved.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Resolve: u32 {
        /// Follow a symbolic link that is the last component.
        const FOLLOW = 1;
        /// ENOTDIR unless it leads to a directory.
        const DIRECTORY = 2;
        /// The empty name means the start: `AT_EMPTY_PATH`.
        const EMPTY = 4;
        /// EXDEV at the border of a mount: `RESOLVE_NO_XDEV` of openat2(2).
        const NO_XDEV = 8;
        /// ELOOP at a link that leads straight to a file: `RESOLVE_NO_MAGICLINKS`.
        const NO_MAGICLINKS = 16;
        /// ELOOP at any symbolic link: `RESOLVE_NO_SYMLINKS`.
        const NO_SYMLINKS = 32;
        /// EXDEV when the way leaves the start: `RESOLVE_BENEATH`.
        const BENEATH = 64;
        /// The start is the root directory: `RESOLVE_IN_ROOT`.
        const IN_ROOT = 128;
    }
}

/// The last component of a path, not yet looked up.
#[derive(Debug)]
pub(super) enum Last {
    /// A name, and whether slashes follow it.
    Name { name: Range<usize>, slash: bool },
    /// `.`
    Dot,
    /// `..`
    DotDot,
    /// There is none: the path was the root directory.
    Root,
}

/// A resolution on its way.
pub(super) struct Walk<'a> {
    view: &'a View<'a>,
    /// How far it has come.
    pub(super) at: Path,
    /// What `/` means and `..` does not leave.
    root: Path,
    /// The path; what lies before `offset` is done.
    text: Cow<'a, [u8]>,
    offset: usize,
    links: u32,
    flags: Resolve,
}

impl<'a> Walk<'a> {
    pub(super) fn new(view: &'a View<'a>, start: &Path, name: &'a [u8], flags: Resolve) -> Result<Self> {
        if name.is_empty() {
            return Err(Errno::ENOENT.into());
        }
        if name.len() >= PATH_MAX {
            return Err(Errno::ENAMETOOLONG.into());
        }
        view.namespace.trim();
        let scoped = flags.intersects(Resolve::BENEATH | Resolve::IN_ROOT);
        let root = if scoped { start.clone() } else { view.root.clone() };
        let mut walk =
            Self { view, at: start.clone(), root, text: Cow::Borrowed(name), offset: 0, links: 0, flags };
        walk.start_text()?;
        Ok(walk)
    }

    /// Resolves the whole path.
    pub(super) fn end(mut self) -> Result<Path> {
        let mut directory = self.flags.contains(Resolve::DIRECTORY);
        loop {
            match self.last()? {
                Last::Root | Last::Dot => break,
                Last::DotDot => {
                    self.up()?;
                    break;
                }
                Last::Name { name, slash } => {
                    let child = self.look_up(name)?.ok_or(Errno::ENOENT)?;
                    directory |= slash;
                    let follow = slash || self.flags.contains(Resolve::FOLLOW);
                    if !follow || kind(&child)? != FileType::Symlink {
                        self.at = child;
                        break;
                    }
                    if self.follow(&child)? {
                        break;
                    }
                }
            }
        }
        if directory && kind(&self.at)? != FileType::Directory {
            return Err(Errno::ENOTDIR.into());
        }
        Ok(self.at)
    }

    /// Resolves all but the last component, and stands then in its directory, which may be searched.
    pub(super) fn last(&mut self) -> Result<Last> {
        loop {
            let Some(name) = self.next_name() else { return Ok(Last::Root) };
            let rest = &self.text[self.offset..];
            let (slash, last) = (!rest.is_empty(), rest.iter().all(|byte| *byte == b'/'));
            check_search(&self.at, self.view)?;
            let dots = match &self.text[name.clone()] {
                b"." => Some(Last::Dot),
                b".." => Some(Last::DotDot),
                _ => None,
            };
            match dots {
                Some(dots) if last => return Ok(dots),
                Some(Last::DotDot) => self.up()?,
                Some(_) => {}
                None if last => return Ok(Last::Name { name, slash }),
                None => {
                    let child = self.look_up(name)?.ok_or(Errno::ENOENT)?;
                    if kind(&child)? == FileType::Symlink {
                        self.follow(&child)?;
                    } else {
                        self.at = child;
                    }
                }
            }
        }
    }

    /// The bytes of a name that [`last`](Self::last) gave.
    pub(super) fn name(&self, name: &Range<usize>) -> &[u8] {
        &self.text[name.clone()]
    }

    /// The file called so in the present directory, if there is one.
    pub(super) fn look_up(&self, name: Range<usize>) -> Result<Option<Path>> {
        let child = look_up(self.view, &self.at, &self.text[name])?;
        if self.flags.contains(Resolve::NO_XDEV)
            && child.as_ref().is_some_and(|child| !child.same_mount(&self.at))
        {
            return Err(Errno::EXDEV.into());
        }
        Ok(child)
    }

    /// Goes on where `link` leads. True if that is the end already, for a link straight to a file.
    pub(super) fn follow(&mut self, link: &Path) -> Result<bool> {
        self.links += 1;
        if self.links > LINKS_MAX || self.flags.contains(Resolve::NO_SYMLINKS) {
            return Err(Errno::ELOOP.into());
        }
        let scoped = self.flags.intersects(Resolve::BENEATH | Resolve::IN_ROOT);
        match link.inode().follow_link(self.view.process)? {
            Target::Path(_) if self.flags.contains(Resolve::NO_MAGICLINKS) => Err(Errno::ELOOP.into()),
            Target::Path(_) if scoped => Err(Errno::EXDEV.into()),
            Target::Path(path) => {
                if self.flags.contains(Resolve::NO_XDEV) && !path.same_mount(&self.at) {
                    return Err(Errno::EXDEV.into());
                }
                self.at = path;
                Ok(self.text[self.offset..].iter().all(|byte| *byte == b'/'))
            }
            Target::Text(mut text) => {
                if text.is_empty() {
                    return Err(Errno::ENOENT.into());
                }
                let rest = &self.text[self.offset..];
                text.try_reserve(rest.len())?;
                text.extend_from_slice(rest);
                self.text = Cow::Owned(text);
                self.offset = 0;
                self.start_text()?;
                Ok(false)
            }
        }
    }

    /// Goes to the root directory if the path is absolute.
    fn start_text(&mut self) -> Result<()> {
        if self.text.first() != Some(&b'/') {
            return Ok(());
        }
        if self.flags.contains(Resolve::BENEATH) {
            return Err(Errno::EXDEV.into());
        }
        if self.flags.contains(Resolve::NO_XDEV) && !self.root.same_mount(&self.at) {
            return Err(Errno::EXDEV.into());
        }
        self.at = self.root.clone();
        Ok(())
    }

    /// The place of the next component, which is done then.
    fn next_name(&mut self) -> Option<Range<usize>> {
        let rest = &self.text[self.offset..];
        let start = self.offset + rest.iter().position(|byte| *byte != b'/')?;
        let length = self.text[start..].iter().position(|byte| *byte == b'/');
        self.offset = length.map_or(self.text.len(), |length| start + length);
        Some(start..self.offset)
    }

    /// `..`
    pub(super) fn up(&mut self) -> Result<()> {
        if self.at == self.root {
            return if self.flags.contains(Resolve::BENEATH) { Err(Errno::EXDEV.into()) } else { Ok(()) };
        }
        let parent = self.view.namespace.topmost(self.at.parent());
        if self.flags.contains(Resolve::NO_XDEV) && !parent.same_mount(&self.at) {
            return Err(Errno::EXDEV.into());
        }
        self.at = parent;
        Ok(())
    }
}

/// The type of the file at `path`.
pub(super) fn kind(path: &Path) -> Result<FileType> {
    Ok(path.inode().metadata()?.kind)
}

/// ENOTDIR unless `path` is a directory, EACCES unless it may be searched.
pub(super) fn check_search(path: &Path, view: &View<'_>) -> Result<()> {
    let metadata = path.inode().metadata()?;
    if !metadata.is_directory() {
        return Err(Errno::ENOTDIR.into());
    }
    check_inode(&metadata, view.credentials, Access::EXEC)
}

/// What is called `name` in the directory `at`, mounts considered.
fn look_up(view: &View<'_>, at: &Path, name: &[u8]) -> Result<Option<Path>> {
    Ok(look_up_covered(view, at, name)?.map(|path| view.namespace.topmost(path)))
}

/// What is called `name` in the directory `at`, even if something is mounted over it.
pub(super) fn look_up_covered(view: &View<'_>, at: &Path, name: &[u8]) -> Result<Option<Path>> {
    if name.len() > NAME_MAX {
        return Err(Errno::ENAMETOOLONG.into());
    }
    let namespace = view.namespace;
    let directory = at.inode();
    let find = || match directory.lookup(name) {
        Ok(inode) => Ok(Some(inode)),
        Err(Error::Errno(Errno::ENOENT)) => Ok(None),
        Err(error) => Err(error),
    };
    let dentry = if directory.volatile() {
        // That nothing is called so is an error here, even to whoever wants to create it: as in Linux's procfs.
        // Only names over which something is mounted, or below which, are remembered.
        match at.dentry.names.lock().get(name) {
            Some(Name::Present(dentry)) => Some(dentry),
            _ => Some(at.dentry.unremembered(name, find()?.ok_or(Errno::ENOENT)?)),
        }
    } else {
        let mut names = at.dentry.names.lock();
        match names.get(name) {
            Some(Name::Present(dentry)) => Some(dentry),
            Some(Name::Absent) => None,
            None => {
                let inode = find()?;
                if inode.is_none() {
                    namespace.names.put_absent(&at.dentry, &mut names, name);
                }
                inode.map(|inode| namespace.names.put(&at.dentry, &mut names, name, inode))
            }
        }
    };
    Ok(dentry.map(|dentry| Path::new(at.mount.clone(), dentry)))
}
