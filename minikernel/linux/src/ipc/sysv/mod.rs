//! System V IPC: `sysvipc(7)`. Shared memory, semaphores and message queues, which processes find by key and use by number.
//!
//! The three have one kind of table ([`Registry`]) and one check of rights ([`Permission`]). Locks, in the order in which they are taken: a
//! table, an object of it. No memory of a program is mapped, unmapped or copied under either.

pub mod memory;
pub mod messages;
mod registry;
pub mod semaphores;

pub use registry::{Object, Registry, State};

use isopod_fs::{Capabilities, Errno};
use isopod_hal::clock;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::process::Identity;

/// `IPC_PRIVATE`: no key at all.
pub const PRIVATE: i32 = 0;
/// What reading an object asks for, in all three places of a mode.
pub const READ: u32 = 0o444;
/// What changing an object asks for.
pub const WRITE: u32 = 0o222;

/// Now, in seconds since 1970.
pub fn now() -> i64 {
    (clock::realtime_ns() / 1_000_000_000) as i64
}

/// Whose an object is and who may use it.
#[derive(Debug, Clone, Copy)]
pub struct Permission {
    /// Its key.
    pub key: i32,
    /// Its owner.
    pub uid: u32,
    /// Its owner's group.
    pub gid: u32,
    /// Who made it.
    pub creator_uid: u32,
    /// Of which group.
    pub creator_gid: u32,
    /// Who may do what, and what else a kind of object marks there.
    pub mode: u32,
    /// How often its place in the table has been used before.
    pub sequence: u16,
}

/// `struct ipc64_perm`
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct UserPermission {
    key: i32,
    uid: u32,
    gid: u32,
    creator_uid: u32,
    creator_gid: u32,
    mode: u32,
    sequence: u16,
    padding: [u16; 3],
    unused: [u64; 2],
}

impl Permission {
    fn new(caller: &Identity, key: i32, mode: u32) -> Self {
        let (uid, gid) = (caller.users.effective, caller.groups.effective);
        let mode = mode & 0o777;
        Self { key, uid, gid, creator_uid: uid, creator_gid: gid, mode, sequence: 0 }
    }

    /// `EACCES` unless `caller` may do what `wanted` says in any of the three places of a mode (`ipcperms`).
    pub fn check(&self, caller: &Identity, wanted: u32) -> Result<(), Errno> {
        let wanted = wanted >> 6 | wanted >> 3 | wanted;
        let credentials = caller.for_files();
        let granted = if self.is_owned(caller) {
            self.mode >> 6
        } else if credentials.in_group(self.creator_gid) || credentials.in_group(self.gid) {
            self.mode >> 3
        } else {
            self.mode
        };
        let lacking = wanted & !granted & 0o7;
        let allowed = lacking == 0 || caller.capable(Capabilities::IPC_OWNER);
        if allowed { Ok(()) } else { Err(Errno::EACCES) }
    }

    /// Whether `caller` made it or owns it.
    pub fn is_owned(&self, caller: &Identity) -> bool {
        [self.uid, self.creator_uid].contains(&caller.users.effective)
    }

    /// `EPERM` unless `caller` may remove it and give it away.
    pub fn check_owner(&self, caller: &Identity) -> Result<(), Errno> {
        let allowed = self.is_owned(caller) || caller.capable(Capabilities::SYS_ADMIN);
        if allowed { Ok(()) } else { Err(Errno::EPERM) }
    }

    /// Takes over owner and rights (`IPC_SET`). `EINVAL` for ids that nobody has.
    pub fn set(&mut self, from: &UserPermission) -> Result<(), Errno> {
        if from.uid == u32::MAX || from.gid == u32::MAX {
            return Err(Errno::EINVAL);
        }
        (self.uid, self.gid) = (from.uid, from.gid);
        self.mode = self.mode & !0o777 | from.mode & 0o777;
        Ok(())
    }

    /// As programs see it.
    pub fn shown(&self) -> UserPermission {
        let Self { key, uid, gid, creator_uid, creator_gid, mode, sequence } = *self;
        UserPermission {
            key,
            uid,
            gid,
            creator_uid,
            creator_gid,
            mode,
            sequence,
            padding: [0; 3],
            unused: [0; 2],
        }
    }
}
