//! Who a thread is: `credentials(7)`, `capabilities(7)`.

use alloc::collections::BinaryHeap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bitflags::bitflags;
use isopod_fs::{Capabilities, Credentials};

/// Every capability there is (`CAP_LAST_CAP` is 40, `CAP_CHECKPOINT_RESTORE`).
pub const ALL_CAPABILITIES: Capabilities = Capabilities::from_bits_retain((1 << 41) - 1);

/// What the superuser may do with files (`CAP_FS_SET`).
const FILE_CAPABILITIES: Capabilities = Capabilities::CHOWN
    .union(Capabilities::DAC_OVERRIDE)
    .union(Capabilities::DAC_READ_SEARCH)
    .union(Capabilities::FOWNER)
    .union(Capabilities::FSETID)
    .union(Capabilities::LINUX_IMMUTABLE)
    .union(Capabilities::MKNOD)
    .union(Capabilities::MAC_OVERRIDE);

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

bitflags! {
    /// How user 0 and its capabilities hang together (capabilities(7), "The securebits flags"). The bit above each of the four locks it.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct SecureBits: u32 {
        /// Being user 0 gives no capabilities at execve.
        const NO_ROOT = 1 << 0;
        /// Changes of user change no capabilities.
        const NO_SETUID_FIXUP = 1 << 2;
        /// The permitted ones stay when the last of the user ids is no longer 0.
        const KEEP_CAPS = 1 << 4;
        /// No capability can become ambient.
        const NO_CAP_AMBIENT_RAISE = 1 << 6;
    }
}

impl SecureBits {
    /// The four locks.
    pub const LOCKS: Self = Self::from_bits_retain(0xaa);
    /// All bits that there are.
    pub const EVERY: Self = Self::from_bits_retain(0xff);

    /// What is locked.
    #[must_use]
    pub const fn locked(self) -> Self {
        Self::from_bits_retain(self.intersection(Self::LOCKS).bits() >> 1)
    }
}

/// The identity of a thread. Immutable: a change makes a new one.
#[derive(Debug, Clone)]
pub struct Identity {
    /// User ids.
    pub users: IdSet,
    /// Group ids.
    pub groups: IdSet,
    /// Supplementary groups, sorted.
    pub supplementary: Arc<Vec<u32>>,
    /// Capabilities.
    pub capabilities: CapabilitySets,
    /// `PR_SET_NO_NEW_PRIVS`
    pub no_new_privileges: bool,
    /// `PR_SET_SECUREBITS`
    pub secure_bits: SecureBits,
}

/// Groups as they are kept, sorted. A heap does that with a tenth of the code of `sort_unstable`.
pub fn in_order(groups: Vec<u32>) -> Vec<u32> {
    BinaryHeap::from(groups).into_sorted_vec()
}

impl Identity {
    /// The identity of the first process. User 0 has every capability: the machine is its own.
    pub fn first(uid: u32, gid: u32, groups: Vec<u32>) -> Self {
        let mut groups = in_order(groups);
        groups.dedup();
        let held = if uid == 0 { ALL_CAPABILITIES } else { Capabilities::empty() };
        Self {
            users: IdSet::all(uid),
            groups: IdSet::all(gid),
            supplementary: Arc::new(groups),
            capabilities: CapabilitySets {
                effective: held,
                permitted: held,
                inheritable: Capabilities::empty(),
                bounding: ALL_CAPABILITIES,
                ambient: Capabilities::empty(),
            },
            no_new_privileges: false,
            secure_bits: SecureBits::empty(),
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
        let held = match self.users.real {
            _ if self.secure_bits.contains(SecureBits::NO_SETUID_FIXUP) => self.capabilities.effective,
            0 => self.capabilities.permitted,
            _ => Capabilities::empty(),
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

    /// Changes the real, effective or saved user, and the capabilities with them (capabilities(7), "Effect of user ID changes on
    /// capabilities").
    pub fn set_users(&mut self, users: IdSet) {
        let before = core::mem::replace(&mut self.users, users);
        if self.secure_bits.contains(SecureBits::NO_SETUID_FIXUP) {
            return;
        }
        let sets = &mut self.capabilities;
        if before.has(0) && !users.has(0) {
            if !self.secure_bits.contains(SecureBits::KEEP_CAPS) {
                sets.permitted = Capabilities::empty();
                sets.effective = Capabilities::empty();
            }
            sets.ambient = Capabilities::empty();
        }
        match (before.effective == 0, users.effective == 0) {
            (true, false) => sets.effective = Capabilities::empty(),
            (false, true) => sets.effective = sets.permitted,
            _ => {}
        }
    }

    /// Changes the user that counts for files. Whoever is the superuser for files has the capabilities that concern them, as far as they are
    /// permitted; whoever no longer is has none of them (setfsuid(2); capabilities(7), as above).
    pub fn set_file_user(&mut self, user: u32) {
        let before = core::mem::replace(&mut self.users.file, user);
        if self.secure_bits.contains(SecureBits::NO_SETUID_FIXUP) {
            return;
        }
        let sets = &mut self.capabilities;
        match (before == 0, user == 0) {
            (true, false) => sets.effective -= FILE_CAPABILITIES,
            (false, true) => sets.effective |= sets.permitted & FILE_CAPABILITIES,
            _ => {}
        }
    }

    /// True when a process that acted as `before` and now acts as this must hide what it has in memory (`commit_creds`): it acts as another,
    /// or may do more.
    pub fn changes_sides(&self, before: &Self) -> bool {
        let ids = |identity: &Self| {
            let (users, groups) = (identity.users, identity.groups);
            [users.effective, users.file, groups.effective, groups.file]
        };
        ids(self) != ids(before) || !before.capabilities.permitted.contains(self.capabilities.permitted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropping_root_for_good_drops_all_capabilities() {
        let mut identity = Identity::first(0, 0, alloc::vec![]);
        identity.set_users(IdSet::all(33));
        assert!(identity.capabilities.permitted.is_empty() && identity.capabilities.effective.is_empty());
    }

    #[test]
    fn a_temporary_change_keeps_what_is_permitted() {
        let mut identity = Identity::first(0, 0, alloc::vec![]);
        identity.set_users(IdSet { effective: 33, ..identity.users });
        assert!(identity.capabilities.effective.is_empty());
        identity.set_users(IdSet { effective: 0, ..identity.users });
        assert_eq!(identity.capabilities.effective, ALL_CAPABILITIES);
    }

    #[test]
    fn secure_bits_part_capabilities_from_users() {
        let mut identity = Identity::first(0, 0, alloc::vec![]);
        identity.secure_bits = SecureBits::KEEP_CAPS;
        identity.set_users(IdSet::all(33));
        assert!(identity.capabilities.effective.is_empty());
        assert_eq!(identity.capabilities.permitted, ALL_CAPABILITIES);
        let mut identity = Identity::first(0, 0, alloc::vec![]);
        identity.secure_bits = SecureBits::NO_SETUID_FIXUP;
        identity.set_users(IdSet::all(33));
        identity.set_file_user(33);
        assert_eq!(identity.capabilities.effective, ALL_CAPABILITIES);
        assert_eq!(identity.real_for_files().capabilities, ALL_CAPABILITIES);
    }

    #[test]
    fn the_user_for_files_takes_their_capabilities_along() {
        let mut identity = Identity::first(0, 0, alloc::vec![]);
        identity.set_file_user(33);
        assert_eq!(identity.capabilities.effective, ALL_CAPABILITIES - FILE_CAPABILITIES);
        identity.capabilities.permitted -= Capabilities::CHOWN;
        identity.set_file_user(0);
        assert_eq!(identity.capabilities.effective, ALL_CAPABILITIES - Capabilities::CHOWN);
    }
}
