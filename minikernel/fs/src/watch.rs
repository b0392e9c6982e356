//! Who wants to hear what happens to files: inotify(7).
//!
//! An inode holds its watchers, and a watcher its inode. What happens is told where the tree is changed, under the lock of the directory's
//! names, so that events come in the order of the changes; a file's own events are told by its description. Where nobody watches
//! anything, all of it is one load.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering};

use bitflags::bitflags;
use isopod_hal::sync::SpinLock;

use crate::inode::Inode;
use crate::metadata::SetAttributes;
use crate::vfs::Path;
use crate::{InodeState, Result};

bitflags! {
    /// What has happened, with the numbers of inotify(7).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Events: u32 {
        /// It was read.
        const ACCESS = 0x1;
        /// Its contents were changed.
        const MODIFY = 0x2;
        /// Its attributes were changed.
        const ATTRIB = 0x4;
        /// A description that could write was closed.
        const CLOSE_WRITE = 0x8;
        /// A description that could not write was closed.
        const CLOSE_NOWRITE = 0x10;
        /// It was opened.
        const OPEN = 0x20;
        /// A name was moved out of the directory.
        const MOVED_FROM = 0x40;
        /// A name was moved into the directory.
        const MOVED_TO = 0x80;
        /// A name was made in the directory.
        const CREATE = 0x100;
        /// A name was removed from the directory.
        const DELETE = 0x200;
        /// It is gone: no name, no user.
        const DELETE_SELF = 0x400;
        /// It was moved.
        const MOVE_SELF = 0x800;
        /// Its file system was unmounted.
        const UNMOUNT = 0x2000;
        /// It is about a directory.
        const ISDIR = 0x4000_0000;
    }
}

/// An event as a watcher hears it.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// What has happened.
    pub what: Events,
    /// Not 0 for the two halves of a move, which have the same.
    pub cookie: u32,
    /// The name in the watched directory; empty for what happened to the watched inode itself.
    pub name: &'a [u8],
    /// It happened through a description whose name has been removed.
    pub unlinked: bool,
}

/// One who watches an inode.
pub trait Watcher: Send + Sync {
    /// The instance that it belongs to, and its number there.
    fn identity(&self) -> (u64, i32);

    /// Takes an event. Called with locks of the tree held: it may do no more than take a note and wake its readers.
    fn hear(&self, event: &Event<'_>);

    /// The inode is gone, and with it the watch. Called as [`hear`](Self::hear).
    fn end(&self);
}

/// How many watches there are, on all inodes.
static WATCHES: AtomicUsize = AtomicUsize::new(0);

/// The watchers of an inode.
#[derive(Default)]
pub(crate) struct Watchers(SpinLock<Vec<Arc<dyn Watcher>>>);

impl InodeState {
    /// Tells `watcher` of all that happens from now on.
    pub fn watch(&self, watcher: Arc<dyn Watcher>) -> Result<()> {
        let mut watchers = self.watchers.0.lock();
        watchers.try_reserve(1)?;
        watchers.push(watcher);
        WATCHES.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Ends what [`watch`](Self::watch) began, for the watcher with this identity. Returns it.
    pub fn unwatch(&self, identity: (u64, i32)) -> Option<Arc<dyn Watcher>> {
        let mut watchers = self.watchers.0.lock();
        let index = watchers.iter().position(|watcher| watcher.identity() == identity)?;
        WATCHES.fetch_sub(1, Ordering::Relaxed);
        Some(watchers.remove(index))
    }

    /// The number of the watch that an instance has here.
    pub fn watch_of(&self, instance: u64) -> Option<i32> {
        let watchers = self.watchers.0.lock();
        let identities = watchers.iter().map(|watcher| watcher.identity());
        identities.filter(|identity| identity.0 == instance).map(|identity| identity.1).next()
    }

    /// Calls `act` for each watcher, from the last: it may take itself out.
    fn for_each_watcher(&self, act: &dyn Fn(&dyn Watcher)) {
        let mut next = self.watchers.0.lock().len();
        while let Some(index) = next.checked_sub(1) {
            next = index;
            let watcher = self.watchers.0.lock().get(index).cloned();
            if let Some(watcher) = watcher {
                act(&*watcher);
            }
        }
    }
}

/// Whether anything at all is watched.
#[inline]
fn is_used() -> bool {
    WATCHES.load(Ordering::Relaxed) != 0
}

fn is_directory(inode: &Arc<dyn Inode>) -> bool {
    inode.metadata().is_ok_and(|about| about.is_directory())
}

fn tell(inode: &Arc<dyn Inode>, event: &Event<'_>) {
    inode.state().for_each_watcher(&|watcher| watcher.hear(event));
}

/// Tells of what happened to an inode whatever its name (`fsnotify_inode`).
pub(crate) fn inode(inode: &Arc<dyn Inode>, what: Events) {
    if is_used() {
        tell_inode(inode, what);
    }
}

#[cold]
fn tell_inode(inode: &Arc<dyn Inode>, mut what: Events) {
    // Those two never said what they were about (`inotify_handle_inode_event`).
    if !what.intersects(Events::MOVE_SELF | Events::DELETE_SELF) {
        what.set(Events::ISDIR, is_directory(inode));
    }
    tell(inode, &Event { what, cookie: 0, name: b"", unlinked: false });
}

/// Tells of what happened to the file at a place: first who watches its directory, then who watches itself (`fsnotify_parent`).
pub(crate) fn file(path: &Path, what: Events) {
    if is_used() {
        tell_file(path, what, false);
    }
}

/// As [`file`], through a description: who does not want to hear of files without a name does not (`IN_EXCL_UNLINK`).
pub(crate) fn open_file(path: &Path, what: Events) {
    if is_used() {
        tell_file(path, what, path.is_unlinked());
    }
}

#[cold]
fn tell_file(path: &Path, mut what: Events, unlinked: bool) {
    what.set(Events::ISDIR, is_directory(path.inode()));
    let cookie = 0;
    if let Some(directory) = path.directory() {
        tell(&directory, &Event { what, cookie, name: &path.name(), unlinked });
    }
    tell(path.inode(), &Event { what, cookie, name: b"", unlinked });
}

/// Tells of changed attributes (`fsnotify_change`).
pub(crate) fn attributes(path: &Path, change: &SetAttributes) {
    let mut what = Events::empty();
    match (change.accessed, change.modified) {
        (Some(_), Some(_)) => what |= Events::ATTRIB,
        (Some(_), None) => what |= Events::ACCESS,
        (None, Some(_)) => what |= Events::MODIFY,
        (None, None) => {}
    }
    if change.mode.is_some() || change.uid.is_some() || change.gid.is_some() {
        what |= Events::ATTRIB;
    }
    if !what.is_empty() {
        file(path, what);
    }
}

/// Tells of a name that came into a directory or went (`fsnotify_name`).
pub(crate) fn name(directory: &Path, what: Events, name: &[u8], about: &Arc<dyn Inode>) {
    if is_used() {
        tell_name(directory, what, name, about, 0);
    }
}

#[cold]
fn tell_name(directory: &Path, mut what: Events, name: &[u8], about: &Arc<dyn Inode>, cookie: u32) {
    what.set(Events::ISDIR, is_directory(about));
    tell(directory.inode(), &Event { what, cookie, name, unlinked: false });
}

/// Tells of a name that moved, and of the inode that it replaced (`fsnotify_move`).
pub(crate) fn moved(
    (from, old): (&Path, &[u8]),
    (to, new): (&Path, &[u8]),
    about: &Arc<dyn Inode>,
    replaced: Option<&Arc<dyn Inode>>,
) {
    static COOKIES: AtomicUsize = AtomicUsize::new(1);
    if !is_used() {
        return;
    }
    let cookie = COOKIES.fetch_add(1, Ordering::Relaxed) as u32;
    tell_name(from, Events::MOVED_FROM, old, about, cookie);
    tell_name(to, Events::MOVED_TO, new, about, cookie);
    if let Some(replaced) = replaced {
        tell_inode(replaced, Events::ATTRIB);
    }
    tell_inode(about, Events::MOVE_SELF);
}

/// Tells that nothing refers to an inode under its last name any more, if that is so: the watches end (`fsnotify_inoderemove`).
pub(crate) fn gone(inode: &Arc<dyn Inode>) {
    if is_used() && inode.metadata().is_ok_and(|about| about.links == 0) {
        tell_inode(inode, Events::DELETE_SELF);
        inode.state().for_each_watcher(&|watcher| watcher.end());
    }
}
