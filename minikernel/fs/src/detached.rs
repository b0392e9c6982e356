//! Inodes that are in no directory: what stands behind pipes, sockets and other anonymous files.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};

use isopod_hal::sync::SpinLock;

use crate::inode::{FileSystem, Inode};
use crate::inode_state::InodeState;
use crate::metadata::{DeviceId, FileType, Metadata, SetAttributes, Statistics, Timestamp};
use crate::{Errno, Result, allocate_device};

/// The file system that detached inodes count as part of.
#[derive(Debug)]
pub(crate) struct Detached;

impl FileSystem for Detached {
    fn name(&self) -> &'static str {
        "anon_inodefs"
    }

    fn root(&self) -> Arc<dyn Inode> {
        DetachedInode::new(FileType::Directory, 0, 0, 0)
    }

    fn statistics(&self) -> Result<Statistics> {
        // ANON_INODE_FS_MAGIC of magic.h.
        Ok(Statistics { magic: 0x0904_1934, block_size: 4096, name_max: 255, ..Statistics::default() })
    }
}

/// An inode without contents of its own; a [`FileOps`](crate::file::FileOps) gives it meaning.
#[derive(Debug)]
pub struct DetachedInode {
    number: u64,
    kind: FileType,
    attributes: SpinLock<Attributes>,
    /// Nobody can change mode, owner or times.
    fixed: bool,
    state: InodeState,
}

#[derive(Debug)]
struct Attributes {
    mode: u16,
    uid: u32,
    gid: u32,
    accessed: Timestamp,
    modified: Timestamp,
    changed: Timestamp,
}

impl DetachedInode {
    /// A new inode of this type, mode and owner.
    pub fn new(kind: FileType, mode: u16, uid: u32, gid: u32) -> Arc<Self> {
        Self::make(kind, (mode, uid, gid), false)
    }

    /// The inode of an anonymous file such as an eventfd: the superuser's, and its attributes cannot be changed.
    pub fn anonymous() -> Arc<Self> {
        Self::make(FileType::CharacterDevice, (0o600, 0, 0), true)
    }

    /// The inode of a namespace, which has a number of its own and can be read by all.
    pub fn namespace(number: u64) -> Arc<Self> {
        Self::numbered(number, FileType::Regular, (0o444, 0, 0), true)
    }

    fn make(kind: FileType, (mode, uid, gid): (u16, u32, u32), fixed: bool) -> Arc<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self::numbered(NEXT.fetch_add(1, Ordering::Relaxed), kind, (mode, uid, gid), fixed)
    }

    fn numbered(number: u64, kind: FileType, (mode, uid, gid): (u16, u32, u32), fixed: bool) -> Arc<Self> {
        let now = Timestamp::now();
        Arc::new(Self {
            number,
            kind,
            fixed,
            attributes: SpinLock::new(Attributes {
                mode,
                uid,
                gid,
                accessed: now,
                modified: now,
                changed: now,
            }),
            state: InodeState::default(),
        })
    }

    /// Its inode number, as in `pipe:[7]`.
    pub fn number(&self) -> u64 {
        self.number
    }
}

impl Inode for DetachedInode {
    fn metadata(&self) -> Result<Metadata> {
        let attributes = self.attributes.lock();
        Ok(Metadata {
            device: detached_device(),
            inode: self.number,
            kind: self.kind,
            mode: attributes.mode,
            links: 1,
            uid: attributes.uid,
            gid: attributes.gid,
            special: DeviceId::default(),
            size: 0,
            block_size: 4096,
            blocks: 0,
            accessed: attributes.accessed,
            modified: attributes.modified,
            changed: attributes.changed,
            born: None,
        })
    }

    fn state(&self) -> &InodeState {
        &self.state
    }

    fn set_attributes(&self, change: &SetAttributes) -> Result<()> {
        if self.fixed {
            return Err(Errno::EOPNOTSUPP.into());
        }
        let mut attributes = self.attributes.lock();
        attributes.mode = change.mode.unwrap_or(attributes.mode);
        attributes.uid = change.uid.unwrap_or(attributes.uid);
        attributes.gid = change.gid.unwrap_or(attributes.gid);
        attributes.accessed = change.accessed.unwrap_or(attributes.accessed);
        attributes.modified = change.modified.unwrap_or(attributes.modified);
        attributes.changed = Timestamp::now();
        Ok(())
    }
}

fn detached_device() -> DeviceId {
    static DEVICE: isopod_hal::sync::Once<DeviceId> = isopod_hal::sync::Once::new();
    *DEVICE.get_or_init(allocate_device)
}
