//! The manifest itself.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use minicbor::Encode;

use crate::{DecodeError, Network};

/// What to run and how. A manifest that ends before a field was written by an Isopod that did not know it: the field then has the value that
/// [`Manifest::default`] gives it. New fields come at the end, here and in `body.rs`.
#[derive(Debug, Clone, PartialEq, Eq, Encode)]
pub struct Manifest {
    /// The command: the program's path or name (looked up in `PATH`), then its arguments. Never empty.
    #[cbor(n(0), with = "bytes_list")]
    pub args: Vec<Vec<u8>>,
    /// The environment, `KEY=VALUE` each.
    #[cbor(n(1), with = "bytes_list")]
    pub env: Vec<Vec<u8>>,
    /// The working directory, absolute. Created when the root does not have it, as container engines do.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub working_dir: Vec<u8>,
    /// Who runs it.
    #[n(3)]
    pub user: User,
    /// The signal that asks the application to end, 1 to 64 (`signal(7)`).
    #[n(4)]
    pub stop_signal: u8,
    /// The machine's name, at most 64 bytes (`sethostname(2)`).
    #[n(5)]
    pub hostname: String,
    /// Where the root file system is.
    #[n(6)]
    pub root: Root,
    /// How the guest talks to the host.
    #[n(7)]
    pub channel: Channel,
    /// Paths that hold data of their own, absolute. They are made where the root lacks them; what is written there stays in the
    /// machine's memory, as all that is written, and what the image has there is seen.
    #[cbor(n(8), with = "bytes_list")]
    pub volumes: Vec<Vec<u8>>,
    /// Ports that the image says it listens on.
    #[n(9)]
    pub ports: Vec<Port>,
    /// Print each system call, as strace does.
    #[n(10)]
    pub trace: bool,
    /// Standard input, output and error are one terminal.
    #[n(11)]
    pub terminal: bool,
    /// Standard input is passed; otherwise it is `/dev/null`.
    #[n(12)]
    pub stdin: bool,
    /// What the program may use.
    #[n(13)]
    pub resources: Resources,
    /// The kernel is process 1 itself: the command is process 2, and gets the signals that process 1 gets. Orphans are taken in and let go.
    #[n(14)]
    pub init: bool,
    /// A debugger of the machine waits for the program's first instruction. Addresses are not randomised, as under any debugger.
    #[n(15)]
    pub debug: bool,
    /// How the machine reaches others.
    #[cbor(n(16), with = "crate::network::records")]
    pub network: Network,
}

/// Numeric identity of the first process; names are resolved by the builder in the image's own passwd and group.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode)]
pub struct User {
    /// User id.
    #[n(0)]
    pub uid: u32,
    /// Primary group id.
    #[n(1)]
    pub gid: u32,
    /// Supplementary group ids.
    #[n(2)]
    pub groups: Vec<u32>,
}

/// Where the root file system is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode)]
pub enum Root {
    /// An EROFS image in memory: linked into the ELF behind the kernel.
    #[n(0)]
    Memory,
    /// An EROFS image that fills the first virtio block device.
    #[n(1)]
    #[default]
    Disk,
    /// An EROFS image at the beginning of the partition with this identifier, on whichever disk has it.
    #[n(2)]
    Partition(#[n(0)] PartitionId),
}

/// A partition's own identifier, in the order of bytes that a GUID partition table has it in: the first three of its five groups are
/// numbers, little endian (UEFI specification 2.10, appendix A).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode)]
#[cbor(transparent)]
pub struct PartitionId(#[cbor(n(0), with = "minicbor::bytes")] pub [u8; 16]);

impl fmt::Display for PartitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, index) in [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15].into_iter().enumerate() {
            let hyphen = if matches!(place, 4 | 6 | 8 | 10) { "-" } else { "" };
            write!(f, "{hyphen}{:02x}", self.0[index])?;
        }
        Ok(())
    }
}

/// How the guest talks to the host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode)]
pub enum Channel {
    /// Plain text: one console (virtio console if there is one, else the serial line) carries everything.
    #[n(0)]
    #[default]
    Console,
    /// The framed protocol of [`crate::channel`] on port 0 of the first virtio console.
    #[n(1)]
    Framed,
}

/// A port that the application listens on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode)]
pub struct Port {
    /// Number, 1 to 65535.
    #[n(0)]
    pub number: u16,
    /// Protocol.
    #[n(1)]
    pub protocol: Protocol,
}

/// Transport protocol of a [`Port`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode)]
pub enum Protocol {
    /// TCP
    #[n(0)]
    Tcp,
    /// UDP
    #[n(1)]
    Udp,
    /// SCTP
    #[n(2)]
    Sctp,
}

/// What the program may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode)]
pub struct Resources {
    /// Open files, soft and hard limit (`RLIMIT_NOFILE`). Docker's default is 1,048,576.
    #[n(0)]
    pub open_files: u32,
}

impl Default for Resources {
    fn default() -> Self {
        Self { open_files: 1 << 20 }
    }
}

impl Default for Manifest {
    fn default() -> Self {
        Self {
            args: alloc::vec![b"/bin/sh".to_vec()],
            env: Vec::new(),
            working_dir: b"/".to_vec(),
            user: User::default(),
            stop_signal: 15,
            hostname: String::from("isopod"),
            root: Root::default(),
            channel: Channel::default(),
            volumes: Vec::new(),
            ports: Vec::new(),
            trace: false,
            terminal: false,
            stdin: false,
            resources: Resources::default(),
            init: false,
            debug: false,
            network: Network::default(),
        }
    }
}

impl Manifest {
    /// Refuses values that decode but cannot be run.
    pub(crate) fn validate(&self) -> Result<(), DecodeError> {
        let no_nul = |list: &[Vec<u8>]| list.iter().all(|item| !item.contains(&0));
        let absolute = |path: &[u8]| path.first() == Some(&b'/') && path.len() < 4096 && !path.contains(&0);
        let checks = [
            ("args", self.args.first().is_some_and(|program| !program.is_empty()) && no_nul(&self.args)),
            ("env", no_nul(&self.env)),
            ("working_dir", absolute(&self.working_dir)),
            ("stop_signal", (1..=64).contains(&self.stop_signal)),
            ("hostname", self.hostname.len() <= 64),
            ("volumes", self.volumes.iter().all(|path| absolute(path))),
            ("ports", self.ports.iter().all(|port| port.number != 0)),
            ("network", self.network.is_valid()),
        ];
        match checks.iter().find(|(_, good)| !good) {
            Some((field, _)) => Err(DecodeError::Invalid(field)),
            None => Ok(()),
        }
    }
}

/// CBOR for lists of byte strings: `Vec<Vec<u8>>` would otherwise become arrays of numbers.
pub(crate) mod bytes_list {
    use alloc::vec::Vec;
    use minicbor::encode::{Encoder, Error as EncodeError, Write};

    pub fn encode<C, W: Write>(
        list: &[Vec<u8>],
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), EncodeError<W::Error>> {
        e.array(list.len() as u64)?;
        for item in list {
            e.bytes(item)?;
        }
        Ok(())
    }
}
