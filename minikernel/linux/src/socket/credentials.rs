//! Who is at the other end: `SCM_CREDENTIALS`, `SO_PEERCRED` (unix(7)).

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;

use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::process::{Process, Thread, current};

/// `struct ucred`
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct Sender {
    /// Process; 0 if nobody said.
    pub pid: u32,
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

impl Sender {
    /// Of a message with which nobody said who sent it (the overflow ids of credentials(7)).
    pub const UNKNOWN: Self = Self { pid: 0, uid: 65_534, gid: 65_534 };
    /// The peer of a socket that never had one.
    pub const NOBODY: Self = Self { pid: 0, uid: u32::MAX, gid: u32::MAX };

    /// Who makes this call, by its real ids.
    pub fn current() -> Self {
        current().map_or(Self::UNKNOWN, |thread| Self::of(&thread))
    }

    /// A thread by its real ids.
    pub fn of(thread: &Thread) -> Self {
        let identity = thread.identity();
        Self { pid: thread.process().pid, uid: identity.users.real, gid: identity.groups.real }
    }
}

/// Who connected, listened or made a pair: what stays true of a peer whatever it becomes.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Its process and its effective ids.
    pub sender: Sender,
    /// Its supplementary groups.
    pub groups: Arc<Vec<u32>>,
    /// Its process.
    pub process: Weak<Process>,
}

impl Peer {
    /// A thread as it is now.
    pub fn of(thread: &Thread) -> Self {
        let identity = thread.identity();
        let (uid, gid) = (identity.users.effective, identity.groups.effective);
        Self {
            sender: Sender { pid: thread.process().pid, uid, gid },
            groups: Arc::clone(&identity.supplementary),
            process: Arc::downgrade(thread.process()),
        }
    }
}
