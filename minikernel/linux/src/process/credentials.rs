//! Who a thread is: `credentials(7)`, `capabilities(7)`.

use alloc::sync::Arc;
use alloc::vec::Vec;

use isopod_fs::{Capabilities, Credentials};

/// Every capability there is (`CAP_LAST_CAP` is 40, `CAP_CHECKPOINT_RESTORE`).
pub const ALL_CAPABILITIES: Capabilities = Capabilities::from_bits_retain((1 << 41) - 1);

/// Real, effective and saved id, and the one that counts for files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdSet {
    /// Real.
    pub real: u32,
    /// Effective.
    pub effective: u32,
    /// Saved set-user-ID or set-group-ID.
    pub saved: u32,
    /// For access to files (`setfsuid(2)`).
    pub file: u32,
}

impl IdSet {
    /// All four alike.
    pub const fn all(id: u32) -> Self {
        Self { real: id, effective: id, saved: id, file: id }
    }

    /// True when `id` is the real, effective or saved one: what an unprivileged process may change to.
    pub fn has(self, id: u32) -> bool {
        [self.real, self.effective, self.saved].contains(&id)
    }
}

/// The capability sets of a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CapabilitySets {
    /// What is in force.
    pub effective: Capabilities,
    /// What may be put in force.
    pub permitted: Capabilities,
    /// What execve keeps, if the file agrees.
    pub inheritable: Capabilities,
    /// The most that execve can grant.
    pub bounding: Capabilities,
    /// What execve keeps for unprivileged files.
    pub ambient: Capabilities,
}

/// The identity of a thread. Immutable: a change makes a new one.
#[derive(Debug, Clone)]
pub struct Identity {
    /// User ids.
    pub users: IdSet,
    /// Group ids.
    pub groups: IdSet,
    /// Supplementary groups, sorted.
    pub supplementary: Arc<[u32]>,
    /// Capabilities.
    pub capabilities: CapabilitySets,
    /// `PR_SET_NO_NEW_PRIVS`
    pub no_new_privileges: bool,
    /// `PR_SET_KEEPCAPS`
    pub keep_capabilities: bool,
}

impl Identity {
    /// The identity of the first process. User 0 has every capability: the machine is its own.
    pub fn first(uid: u32, gid: u32, mut groups: Vec<u32>) -> Self {
        groups.sort_unstable();
        groups.dedup();
        let held = if uid == 0 { ALL_CAPABILITIES } else { Capabilities::from_bits_retain(0) };
        Self {
            users: IdSet::all(uid),
            groups: IdSet::all(gid),
            supplementary: groups.into(),
            capabilities: CapabilitySets {
                effective: held,
                permitted: held,
                inheritable: Capabilities::from_bits_retain(0),
                bounding: ALL_CAPABILITIES,
                ambient: Capabilities::from_bits_retain(0),
            },
            no_new_privileges: false,
            keep_capabilities: false,
        }
    }

    /// What file systems check.
    pub fn for_files(&self) -> Credentials {
        Credentials {
            uid: self.users.file,
            gid: self.groups.file,
            groups: Arc::clone(&self.supplementary),
            capabilities: self.capabilities.effective,
        }
    }

    /// What `access(2)` checks: the real ids, and the capabilities that go with them.
    pub fn real_for_files(&self) -> Credentials {
        let held = if self.users.real == 0 {
            self.capabilities.permitted
        } else {
            Capabilities::from_bits_retain(0)
        };
        Credentials {
            uid: self.users.real,
            gid: self.groups.real,
            groups: Arc::clone(&self.supplementary),
            capabilities: held,
        }
    }

    /// True with all of `capabilities` in force.
    pub fn capable(&self, capabilities: Capabilities) -> bool {
        self.capabilities.effective.contains(capabilities)
    }

    /// The capabilities after the user ids changed from `before` (capabilities(7), "Effect of user ID changes on capabilities").
    pub fn adjust_capabilities(&mut self, before: IdSet) {
        let none = Capabilities::from_bits_retain(0);
        let sets = &mut self.capabilities;
        let had_root = before.has(0);
        if had_root && !self.users.has(0) {
            if !self.keep_capabilities {
                sets.permitted = none;
            }
            sets.ambient = none;
        }
        match (before.effective == 0, self.users.effective == 0) {
            (true, false) => sets.effective = none,
            (false, true) => sets.effective = sets.permitted,
            _ => {}
        }
        sets.effective = sets.effective.intersection(sets.permitted);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropping_root_for_good_drops_all_capabilities() {
        let mut identity = Identity::first(0, 0, alloc::vec![]);
        let before = identity.users;
        identity.users = IdSet::all(33);
        identity.adjust_capabilities(before);
        assert!(identity.capabilities.permitted.is_empty() && identity.capabilities.effective.is_empty());
    }

    #[test]
    fn a_temporary_change_keeps_what_is_permitted() {
        let mut identity = Identity::first(0, 0, alloc::vec![]);
        let before = identity.users;
        identity.users.effective = 33;
        identity.adjust_capabilities(before);
        assert!(identity.capabilities.effective.is_empty());
        let before = identity.users;
        identity.users.effective = 0;
        identity.adjust_capabilities(before);
        assert_eq!(identity.capabilities.effective, ALL_CAPABILITIES);
    }
}
