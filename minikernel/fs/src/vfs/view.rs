//! The tree as one thread sees it.

use alloc::vec::Vec;

use super::namespace::Namespace;
use super::path::Path;
use super::walk::{Resolve, Walk};
use crate::credentials::Credentials;
use crate::{Errno, Result};

/// Which thread asks; what `/proc/self` and `/proc/thread-self` depend on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Process {
    /// Process (thread group).
    pub id: u32,
    /// Thread.
    pub thread: u32,
}

/// What path resolution and permission checks need to know of a thread.
///
/// Names are resolved from a `start`: the directory that a descriptor refers to, or [`directory`](Self::directory).
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The mounts.
    pub namespace: &'a Namespace,
    /// The rights of the thread.
    pub credentials: &'a Credentials,
    /// Its root directory.
    pub root: &'a Path,
    /// Its working directory.
    pub directory: &'a Path,
    /// Permission bits that new files do not get.
    pub umask: u16,
    /// The thread.
    pub process: Process,
}

impl View<'_> {
    /// The file called `name`, as `path_resolution(7)` finds it from `start`.
    pub fn resolve(&self, start: &Path, name: &[u8], flags: Resolve) -> Result<Path> {
        if name.is_empty() && flags.contains(Resolve::EMPTY) {
            return Ok(start.clone());
        }
        Walk::new(self, start, name, flags)?.end()
    }

    /// getcwd(2): the absolute name of `path`. ENOENT if it was removed; `(unreachable)` leads a name outside of the
    /// root directory.
    pub fn absolute_name(&self, path: &Path) -> Result<Vec<u8>> {
        if path.is_unlinked() {
            return Err(Errno::ENOENT.into());
        }
        let (text, reachable) = path.text(self.root);
        Ok(if reachable { text } else { [b"(unreachable)", &text[..]].concat() })
    }
}
