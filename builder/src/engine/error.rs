//! What can go wrong in running a machine.

use std::io;
use std::path::PathBuf;

use super::{NetworkError, ProtocolError};
use crate::store::StoreError;

/// Why a machine could not be run to its application's end.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// There is no QEMU.
    #[error("QEMU is not installed: there is no program {0} in PATH")]
    NoQemu(&'static str),
    /// QEMU is there but cannot be started.
    #[error("cannot start {}: {source}", program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// KVM was asked for and cannot be used.
    #[error("KVM cannot be used: {0}")]
    Kvm(String),
    /// The machine ended before its application did.
    #[error("the virtual machine ended before its application did ({status})")]
    Died {
        /// How QEMU ended.
        status: std::process::ExitStatus,
        /// What the machine said last, on its serial line or through QEMU.
        last_words: String,
    },
    /// The guest broke the rules of the control channel.
    #[error("the guest cannot be understood: {error}")]
    Protocol {
        /// How.
        error: ProtocolError,
        /// What the machine said last.
        last_words: String,
    },
    /// The machine's memory does not hold what is to be loaded.
    #[error("the image needs {} MiB of memory to be loaded, but the machine has {} MiB", mebibytes(*need), have >> 20)]
    Memory {
        /// How much it needs at least, in bytes.
        need: u64,
        /// How much the machine has, in bytes.
        have: u64,
    },
    /// The machine could not be brought to where a debugger can take over.
    #[error("the machine cannot be stopped for a debugger: {0}")]
    Debugger(io::Error),
    /// There is no such network.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The state or cache failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What the application writes cannot be written here.
    #[error("cannot pass on what the application writes: {0}")]
    Output(io::Error),
    /// The operating system refused something that has no better name.
    #[error("cannot {0}: {1}")]
    Io(&'static str, io::Error),
}

impl EngineError {
    /// What the user can do about it.
    pub fn hint(&self) -> String {
        let hint = match self {
            Self::NoQemu(_) => {
                "install QEMU (Debian and Ubuntu: apt install qemu-system-x86; Fedora: dnf install \
                 qemu-system-x86-core)"
            }
            Self::Start { .. } => "see whether it runs by itself; otherwise install QEMU again",
            Self::Kvm(_) => "--accel auto uses KVM where it works and emulation elsewhere",
            Self::Died { .. } => {
                "more memory (-m) may help; --print-cmd shows the command that starts the machine"
            }
            Self::Memory { need, .. } => {
                return format!("give it more with -m {}M", mebibytes(*need).next_power_of_two());
            }
            Self::Protocol { .. } => {
                "the image may have been linked by another version of Isopod: build it again"
            }
            Self::Debugger(_) => "see whether another QEMU does better, or run it without --gdb",
            Self::Network(error) => return error.hint(),
            Self::Store(error) => return error.hint(),
            Self::Output(error) => match error.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    "free some space where standard output leads, or lead it elsewhere"
                }
                _ => "see where standard output leads, and lead it elsewhere",
            },
            Self::Io(_, error) if !is_limit(error) => {
                "try again; if it stays so, report it with --print-cmd's line"
            }
            Self::Io(..) => "see whether this user may open more files and start more processes (ulimit -a)",
        };
        hint.to_owned()
    }

    /// What the machine said last, where that tells more; lines of text, or nothing.
    pub(crate) fn last_words(&self) -> &str {
        match self {
            Self::Died { last_words, .. } | Self::Protocol { last_words, .. } => last_words.trim(),
            _ => "",
        }
    }

    /// A machine that ended by itself, or never began because QEMU could not give it its network.
    pub(super) fn died(status: std::process::ExitStatus, last_words: String) -> Self {
        match of_network(&last_words) {
            Some(words) => NetworkError::Qemu(words.to_owned()).into(),
            None => Self::Died { status, last_words },
        }
    }

    /// For `map_err`: an [`EngineError::Io`] about `action`.
    pub(super) fn io(action: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::Io(action, error)
    }
}

/// What QEMU says of a network that it cannot set up: `PROGRAM: -netdev ARGUMENT: WHAT`.
fn of_network(last_words: &str) -> Option<&str> {
    let (_, argument) = last_words.lines().find_map(|line| line.split_once(": -netdev "))?;
    argument.split_once(": ").map(|(_, words)| words)
}

/// Whether more files, processes or memory were wanted than this user may have.
fn is_limit(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(errno, Some(Errno::MFILE | Errno::NFILE | Errno::AGAIN | Errno::NOMEM))
}

/// A need in mebibytes: a part of one counts, or the figures could be the same.
fn mebibytes(need: u64) -> u64 {
    need.div_ceil(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::of_network;

    #[test]
    fn what_qemu_says_of_the_network_is_found() {
        let said = "qemu-system-x86_64: -netdev tap,ifname=tap0,id=net0: could not configure /dev/net/tun (tap0): \
                    Operation not permitted\n";
        assert_eq!(
            of_network(said),
            Some("could not configure /dev/net/tun (tap0): Operation not permitted")
        );
        assert_eq!(of_network("the kernel panicked: -netdev\n"), None);
    }
}
