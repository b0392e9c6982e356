//! Runs one virtual machine with QEMU: starts it, carries its streams, signals and exit status, and sees to its end.

mod accelerator;
mod child;
mod conversation;
mod debugger;
mod error;
mod network;
mod outlet;
mod probe;
mod qemu;
mod relay;
mod signals;
mod terminal;

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::fs::MemfdFlags;

pub use accelerator::{Acceleration, Accelerator};
pub use conversation::{Conversation, Event, ProtocolError};
pub use debugger::{Debugger, Stopped};
pub use error::EngineError;
pub use network::{Backend, Claim, Forward, MacAddress, NetworkError, Nic, Proxy, Transport, UserNetwork};
pub use qemu::CommandLine;
pub use relay::Streams;

use child::Leashed;
use qemu::{Console, Guest};
use relay::{End, Relay};
use terminal::RawMode;

/// 128 plus the signal's number, as shells report a program that a signal ended.
const KILLED: u8 = 128 + 9;
const BROKEN_PIPE: u8 = 128 + 13;

/// The kind of machine that QEMU plays.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Machine {
    /// The smallest and fastest: virtio over MMIO, no PCI, no ACPI.
    #[default]
    Microvm,
    /// A PC with PCI Express and ACPI.
    Q35,
}

/// A machine to be run.
#[derive(Debug)]
pub struct Vm {
    /// Its kind.
    pub machine: Machine,
    /// What runs it.
    pub acceleration: Acceleration,
    /// Its memory in bytes.
    pub memory: u64,
    /// How many CPUs it has.
    pub cpus: u32,
    /// The guest kernel's ELF.
    pub kernel: PathBuf,
    /// The EROFS image for its disk; `None` where the kernel carries its root.
    pub root: Option<PathBuf>,
    /// Its network cards.
    pub nics: Vec<Nic>,
    /// Ports of the host that lead to others, where QEMU listens for its cards.
    pub proxies: Vec<Proxy>,
}

impl Vm {
    /// Runs the machine until its application ends, and returns the application's exit status.
    ///
    /// `manifest` is the encoded manifest; it reaches QEMU in memory, as it may hold secrets. `state` is the directory that keeps
    /// what was learnt of KVM. A machine with a debugger stops at its program's first instruction. To be called from the main thread: the machine dies with the thread that started it.
    ///
    /// # Errors
    /// Whatever keeps the machine from running or lets it end before its application.
    pub fn run(
        &self,
        manifest: &[u8],
        streams: Streams,
        state: &Path,
        debugger: Option<Debugger>,
    ) -> Result<u8, EngineError> {
        let qemu = find_qemu()?;
        let accelerator = self.acceleration.choose(&qemu, state)?;
        let manifest =
            in_memory("manifest", manifest).map_err(EngineError::io("keep the manifest in memory"))?;
        let (channel, far_end) = UnixStream::pair().map_err(EngineError::io("make the control channel"))?;
        let (machine, words) = io::pipe().map_err(EngineError::io("make a pipe"))?;
        let words_too = words.try_clone().map_err(EngineError::io("make a pipe"))?;

        let manifest_path = inherited(&manifest);
        let console = Console::Socket(far_end.as_raw_fd());
        let mut guest = self.guest(accelerator, &manifest_path, console);
        guest.debug_socket = debugger.as_ref().map(Debugger::socket);
        let line = guest.command_line(&qemu);
        let mut command = line.command();
        command.stdin(Stdio::null()).stdout(words).stderr(words_too);

        let mut inherited = vec![manifest.into(), far_end.into()];
        let mut misled = None;
        if let Some(debugger) = debugger {
            let started = channel.try_clone().and_then(|machine| debugger.start(machine));
            let (failure, socket) = started.map_err(EngineError::Debugger)?;
            inherited.push(socket);
            misled = Some(failure);
        }
        let mut relay = Relay::new(channel, machine, streams).map_err(EngineError::io("catch signals"))?;
        // Without input of its own the application cannot hear Ctrl-C: then it keeps its meaning for us.
        let raw = (streams.terminal && streams.stdin).then(RawMode::enter);
        let _restored = raw.transpose().map_err(|errno| EngineError::Io("set the terminal", errno.into()))?;
        let mut child = Leashed::spawn(command, inherited)
            .map_err(|source| EngineError::Start { program: qemu, source })?;
        network::serve(&self.proxies).map_err(EngineError::io("serve on IPv6 addresses"))?;
        network::lengthen(child.id(), self.nics.iter().flat_map(Nic::listeners).collect());
        let end = relay.run().map_err(EngineError::Output)?;
        if let Some(Ok(error)) = misled.map(|failure| failure.try_recv()) {
            child.kill().map_err(EngineError::io("stop QEMU"))?;
            return Err(EngineError::Debugger(error));
        }
        // Once the application has ended nothing in the machine is worth waiting for: its disk is read-only.
        match end {
            End::Exit(status) => Ok(status),
            End::Impatience => Ok(KILLED),
            End::BrokenPipe => Ok(BROKEN_PIPE),
            End::Silence => {
                let status = child.wait().map_err(EngineError::io("wait for QEMU"))?;
                Err(EngineError::died(status, last_words(relay)?))
            }
            End::Protocol(error) => {
                child.kill().map_err(EngineError::io("stop QEMU"))?;
                Err(EngineError::Protocol { error, last_words: last_words(relay)? })
            }
        }
    }

    /// The command line by which a user can start this machine by hand: its console is the user's terminal, as plain text.
    /// `manifest` is the file that holds the encoded manifest.
    ///
    /// # Errors
    /// Without QEMU, or without the acceleration asked for.
    pub fn command_line(&self, manifest: &Path, state: &Path) -> Result<CommandLine, EngineError> {
        let accelerator = self.acceleration.choose(&find_qemu()?, state)?;
        Ok(self.guest(accelerator, manifest, Console::Stdio).command_line(Path::new(qemu::PROGRAM)))
    }

    fn guest<'a>(&'a self, accelerator: Accelerator, manifest: &'a Path, console: Console) -> Guest<'a> {
        Guest {
            machine: self.machine,
            accelerator,
            memory: self.memory,
            cpus: self.cpus,
            kernel: &self.kernel,
            manifest,
            root: self.root.as_deref(),
            nics: &self.nics,
            console,
            debug_socket: None,
        }
    }
}

impl CommandLine {
    fn command(&self) -> Command {
        let mut command = Command::new(&self.0[0]);
        command.args(&self.0[1..]);
        command
    }
}

fn last_words(relay: Relay) -> Result<String, EngineError> {
    let words = relay.last_words().map_err(EngineError::io("read what the machine said"))?;
    Ok(String::from_utf8_lossy(&words).into_owned())
}

/// QEMU's program in `PATH`.
fn find_qemu() -> Result<PathBuf, EngineError> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let candidates = std::env::split_paths(&path).map(|dir| dir.join(qemu::PROGRAM));
    let is_program = |file: &PathBuf| rustix::fs::access(file, rustix::fs::Access::EXEC_OK).is_ok();
    candidates.filter(|file| file.is_file()).find(is_program).ok_or(EngineError::NoQemu(qemu::PROGRAM))
}

/// A file that exists in memory only (`memfd_create(2)`).
fn in_memory(name: &str, bytes: &[u8]) -> io::Result<File> {
    let mut file = File::from(rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC)?);
    file.write_all(bytes)?;
    Ok(file)
}

/// The path by which a child that inherits `file` opens it.
fn inherited(file: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}
