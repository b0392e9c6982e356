//! On whose behalf an operation runs: credentials(7), capabilities(7).

use alloc::sync::Arc;
use alloc::vec::Vec;

use bitflags::bitflags;

bitflags! {
    /// A set of capabilities; bit n is capability number n.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Capabilities: u64 {
        /// Change owner and group of any file.
        const CHOWN = 1 << 0;
        /// Pass read, write and execute checks.
        const DAC_OVERRIDE = 1 << 1;
        /// Pass read checks, and read and search checks of directories.
        const DAC_READ_SEARCH = 1 << 2;
        /// Do what only a file's owner may.
        const FOWNER = 1 << 3;
        /// Keep set-id bits over changes.
        const FSETID = 1 << 4;
        /// Send signals to anybody.
        const KILL = 1 << 5;
        /// Take any group.
        const SETGID = 1 << 6;
        /// Take any user's id.
        const SETUID = 1 << 7;
        /// Give capabilities away.
        const SETPCAP = 1 << 8;
        /// Lock memory.
        const IPC_LOCK = 1 << 14;
        /// Pass the checks of System V IPC objects.
        const IPC_OWNER = 1 << 15;
        /// Change what is append-only or immutable.
        const LINUX_IMMUTABLE = 1 << 9;
        /// Bind sockets to ports that are reserved.
        const NET_BIND_SERVICE = 1 << 10;
        /// Use protocols of lower layers.
        const NET_RAW = 1 << 13;
        /// Administer the network, mark what goes out.
        const NET_ADMIN = 1 << 12;
        /// Ask where on a device a file lies.
        const SYS_RAWIO = 1 << 17;
        /// Change the root directory.
        const SYS_CHROOT = 1 << 18;
        /// Look into other processes.
        const SYS_PTRACE = 1 << 19;
        /// Administer: mounts, `trusted.` attributes.
        const SYS_ADMIN = 1 << 21;
        /// Restart the machine.
        const SYS_BOOT = 1 << 22;
        /// Raise priorities.
        const SYS_NICE = 1 << 23;
        /// Exceed resource limits.
        const SYS_RESOURCE = 1 << 24;
        /// Set the clock.
        const SYS_TIME = 1 << 25;
        /// Read and empty the kernel's log.
        const SYSLOG = 1 << 34;
        /// Create device nodes.
        const MKNOD = 1 << 27;
        /// Set file capabilities.
        const SETFCAP = 1 << 31;
        /// Pass mandatory access control.
        const MAC_OVERRIDE = 1 << 32;
        /// Wake the machine by a timer.
        const WAKE_ALARM = 1 << 35;
        // Capabilities that files do not ask for are held as well.
        const _ = !0;
    }
}

/// Who acts, as the file systems see it.
///
/// access(2) is answered by a value that holds the real identifiers.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// User for access to files (`fsuid`).
    pub uid: u32,
    /// Group for access to files and of new files (`fsgid`).
    pub gid: u32,
    /// Supplementary groups, sorted.
    pub groups: Arc<Vec<u32>>,
    /// Effective capabilities.
    pub capabilities: Capabilities,
}

/// Who can be asked for credentials, where it depends on the file whether anybody needs them.
pub trait Subject {
    /// As whom it acts now.
    fn credentials(&self) -> Credentials;
}

impl Subject for Credentials {
    fn credentials(&self) -> Credentials {
        self.clone()
    }
}

impl Credentials {
    /// The superuser with every capability.
    pub fn root() -> Self {
        Self { uid: 0, gid: 0, groups: Arc::default(), capabilities: Capabilities::all() }
    }

    /// Whether all of `capabilities` are held.
    pub fn capable(&self, capabilities: Capabilities) -> bool {
        self.capabilities.contains(capabilities)
    }

    /// Whether `gid` is the group or one of the supplementary groups.
    pub fn in_group(&self, gid: u32) -> bool {
        self.gid == gid || self.groups.binary_search(&gid).is_ok()
    }

    /// Whether the owner of `uid`'s files, or allowed to act as such (`CAP_FOWNER`).
    pub fn owns(&self, uid: u32) -> bool {
        self.uid == uid || self.capable(Capabilities::FOWNER)
    }
}
