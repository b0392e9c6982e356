//! A generated file as an inode.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use super::file::OpenText;
use super::{Entry, Listed};
use crate::file::{FileOps, OpenRequest};
use crate::inode::{DirEntry, FIRST_COOKIE, Inode, Target};
use crate::inode_state::InodeState;
use crate::metadata::{DeviceId, FileType, Metadata, SetAttributes, Timestamp};
use crate::vfs::Process;
use crate::{Errno, Result};

/// Number of the root; the others are made of their names.
const ROOT: u64 = 1;

/// What all nodes of a file system share.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) device: DeviceId,
}

/// A name that was looked up.
pub(super) struct Node {
    frame: Arc<Frame>,
    number: u64,
    entry: Entry,
    born: Timestamp,
    state: InodeState,
}

impl Node {
    pub(super) fn root(frame: Arc<Frame>, entry: Entry) -> Arc<Self> {
        Self::new(frame, ROOT, entry)
    }

    fn new(frame: Arc<Frame>, number: u64, entry: Entry) -> Arc<Self> {
        Arc::new(Self { frame, number, entry, born: Timestamp::now(), state: InodeState::default() })
    }

    /// What it stands for.
    pub(super) fn entry(&self) -> Entry {
        self.entry.clone()
    }

    /// The number of what is called `name` here: the same at each look-up, though no table is kept. FNV-1a.
    fn number_of(&self, name: &[u8]) -> u64 {
        let bytes = self.number.to_le_bytes().into_iter().chain(name.iter().copied());
        let hash = bytes.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        // Programs that were built for small inode numbers exist.
        (hash ^ (hash >> 32)) & 0xffff_ffff | 2
    }
}

impl Inode for Node {
    fn metadata(&self) -> Result<Metadata> {
        let attributes = self.entry.attributes();
        Ok(Metadata {
            device: self.frame.device,
            inode: self.number,
            kind: self.entry.file_type(),
            mode: attributes.mode,
            links: if self.entry.file_type() == FileType::Directory { 2 } else { 1 },
            uid: attributes.uid,
            gid: attributes.gid,
            special: DeviceId::default(),
            size: 0,
            block_size: 1024,
            blocks: 0,
            accessed: self.born,
            modified: self.born,
            changed: self.born,
            born: None,
        })
    }

    fn state(&self) -> &InodeState {
        &self.state
    }

    fn volatile(&self) -> bool {
        true
    }

    fn set_attributes(&self, _change: &SetAttributes) -> Result<()> {
        Err(Errno::EPERM.into())
    }

    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>> {
        match &self.entry {
            Entry::Directory(directory) => {
                Ok(Self::new(self.frame.clone(), self.number_of(name), directory.lookup(name)?))
            }
            _ => Err(Errno::ENOTDIR.into()),
        }
    }

    fn read_dir(&self, cookie: u64, visit: &mut dyn FnMut(&DirEntry<'_>) -> bool) -> Result<()> {
        let Entry::Directory(directory) = &self.entry else {
            return Err(Errno::ENOTDIR.into());
        };
        directory.list(cookie.saturating_sub(FIRST_COOKIE), &mut |&Listed { key, name, kind }| {
            visit(&DirEntry { name, inode: self.number_of(name), kind, next: key + 1 + FIRST_COOKIE })
        })
    }

    fn read_link(&self, process: Process) -> Result<Vec<u8>> {
        match &self.entry {
            Entry::Link(link) => link.text(process),
            _ => Err(Errno::EINVAL.into()),
        }
    }

    fn follow_link(&self, process: Process) -> Result<Target> {
        match &self.entry {
            Entry::Link(link) => link.follow(process),
            _ => Err(Errno::EINVAL.into()),
        }
    }

    fn open(&self, request: &OpenRequest<'_>) -> Result<Option<Box<dyn FileOps>>> {
        match &self.entry {
            Entry::File(file) => {
                file.check_open(request)?;
                if let Some(opened) = file.open()? {
                    return Ok(Some(opened));
                }
                Ok(Some(Box::new(OpenText::new(file.clone(), request.process))))
            }
            _ => Ok(None),
        }
    }

    /// A file that is opened with `O_TRUNC` to be written to: there is nothing to cut off.
    fn truncate(&self, _size: u64) -> Result<()> {
        match &self.entry {
            Entry::File(_) => Ok(()),
            _ => Err(Errno::EINVAL.into()),
        }
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("number", &self.number).finish_non_exhaustive()
    }
}
