//! Files that must not change while they run: `ETXTBSY` of open(2) and execve(2).

use alloc::sync::Arc;
use core::ops::Deref;

use super::OpenFile;
use crate::Result;

/// An open file that nobody can open for writing or truncate as long as this is kept.
#[derive(Debug)]
pub struct WriteDenied(Arc<OpenFile>);

impl WriteDenied {
    /// Forbids writing to `file`; ETXTBSY if it is open for writing.
    pub fn new(file: Arc<OpenFile>) -> Result<Self> {
        file.inode().state().deny_write()?;
        Ok(Self(file))
    }
}

impl Clone for WriteDenied {
    fn clone(&self) -> Self {
        self.0.inode().state().deny_write_again();
        Self(Arc::clone(&self.0))
    }
}

impl Deref for WriteDenied {
    type Target = Arc<OpenFile>;

    fn deref(&self) -> &Arc<OpenFile> {
        &self.0
    }
}

impl Drop for WriteDenied {
    fn drop(&mut self) {
        self.0.inode().state().end_deny_write();
    }
}
