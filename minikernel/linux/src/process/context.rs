//! What paths and new files depend on: root, working directory, umask.

use isopod_fs::vfs::Path;
use isopod_hal::sync::SpinLock;

/// The part of a process that `CLONE_FS` shares.
#[derive(Debug)]
pub struct FsContext {
    inner: SpinLock<Inner>,
}

#[derive(Debug, Clone)]
struct Inner {
    root: Path,
    working_dir: Path,
    umask: u32,
}

impl FsContext {
    /// A context that starts at `root`, with the umask 022.
    pub fn new(root: Path) -> Self {
        Self { inner: SpinLock::new(Inner { working_dir: root.clone(), root, umask: 0o022 }) }
    }

    /// An independent copy, as fork makes it.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        Self { inner: SpinLock::new(self.inner.lock().clone()) }
    }

    /// Where `/` leads.
    pub fn root(&self) -> Path {
        self.inner.lock().root.clone()
    }

    /// Where relative paths start.
    pub fn working_dir(&self) -> Path {
        self.inner.lock().working_dir.clone()
    }

    /// `chdir(2)`
    pub fn set_working_dir(&self, path: Path) {
        let old = core::mem::replace(&mut self.inner.lock().working_dir, path);
        drop(old);
    }

    /// `chroot(2)`
    pub fn set_root(&self, path: Path) {
        let old = core::mem::replace(&mut self.inner.lock().root, path);
        drop(old);
    }

    /// Permission bits that new files do not get.
    pub fn umask(&self) -> u32 {
        self.inner.lock().umask
    }

    /// `umask(2)`: returns the old one.
    pub fn set_umask(&self, umask: u32) -> u32 {
        core::mem::replace(&mut self.inner.lock().umask, umask & 0o777)
    }
}
