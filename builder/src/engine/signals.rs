//! Signals as bytes in a pair of sockets, to be polled beside everything else.

use std::io::{self, Read as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{
    SIGALRM, SIGHUP, SIGINT, SIGIO, SIGPROF, SIGQUIT, SIGTERM, SIGURG, SIGUSR1, SIGUSR2, SIGVTALRM, SIGWINCH,
};
use signal_hook::{SigId, flag, low_level};

/// What has a meaning for the application alone. Left out is what stops and continues us (job control), what says that we failed
/// (`SIGABRT`, `SIGSEGV`, ..), and what our own children and pipes cause.
const APPLICATIONS: [i32; 9] =
    [SIGQUIT, SIGUSR1, SIGUSR2, SIGALRM, SIGVTALRM, SIGPROF, SIGURG, SIGIO, SIGWINCH];

/// Signals of one kind, counted as they arrive. Dropped, they have their old meaning again.
#[derive(Debug)]
pub(super) struct Signals {
    arrived: UnixStream,
    /// The other end, held open so that the stream has no end while no signal is caught.
    handler: UnixStream,
    registered: Vec<SigId>,
    /// Which ones arrived, where that counts.
    which: Vec<(i32, Arc<AtomicBool>)>,
}

impl Signals {
    /// Catches what asks a program to end: `SIGINT`, `SIGTERM` and `SIGHUP`. One that was ignored when we started stays ignored, as
    /// `nohup(1)` and shells without job control mean it.
    pub fn stop() -> io::Result<Self> {
        Self::catch(heeded([SIGINT, SIGTERM, SIGHUP]))
    }

    /// Catches what is the application's. The change of the window's size is, unless a `terminal` is passed, whose size is told otherwise.
    pub fn applications(terminal: bool) -> io::Result<Self> {
        let mut caught = Self::catch([])?;
        for signal in heeded(APPLICATIONS).filter(|&signal| !(terminal && signal == SIGWINCH)) {
            // First what arrived, then that something did: handlers run in the order in which they were added.
            let arrived = Arc::default();
            caught.registered.push(flag::register(signal, Arc::clone(&arrived))?);
            caught.which.push((signal, arrived));
            caught.add(signal)?;
        }
        Ok(caught)
    }

    /// Catches changes of the terminal's size.
    pub fn resize() -> io::Result<Self> {
        Self::catch([SIGWINCH])
    }

    fn catch(signals: impl IntoIterator<Item = i32>) -> io::Result<Self> {
        let (arrived, handler) = UnixStream::pair()?;
        arrived.set_nonblocking(true)?;
        let mut caught = Self { arrived, handler, registered: Vec::new(), which: Vec::new() };
        for signal in signals {
            caught.add(signal)?;
        }
        Ok(caught)
    }

    fn add(&mut self, signal: i32) -> io::Result<()> {
        let handler = self.handler.try_clone()?;
        self.registered.push(low_level::pipe::register(signal, handler)?);
        Ok(())
    }

    /// How many arrived since the last call, of more than 64 the first: the rest is there at the next call.
    pub fn take(&mut self) -> usize {
        let mut bytes = [0; 64];
        self.arrived.read(&mut bytes).unwrap_or(0)
    }

    /// Which of [`Self::applications`] arrived since the last call; one that arrived often arrived once, as signals do (signal(7)).
    pub fn take_numbers(&mut self) -> Vec<u8> {
        self.take();
        let arrived = self.which.iter().filter(|(_, arrived)| arrived.swap(false, Ordering::SeqCst));
        arrived.map(|(signal, _)| *signal as u8).collect()
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.arrived.as_fd()
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        for id in self.registered.drain(..) {
            low_level::unregister(id);
        }
    }
}

/// Those that this process does not ignore.
fn heeded<const N: usize>(signals: [i32; N]) -> impl Iterator<Item = i32> {
    let ignored = ignored();
    signals.into_iter().filter(move |signal| ignored >> (signal - 1) & 1 == 0)
}

/// The set of signals this process ignores, bit `n - 1` for signal `n` (`SigIgn` in `proc_pid_status(5)`).
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    field.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).unwrap_or(0)
}
