//! Signals as bytes in a pair of sockets, to be polled beside everything else.

use std::io::{self, Read as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use signal_hook::SigId;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGWINCH};
use signal_hook::low_level;

/// Signals of one kind, counted as they arrive. Dropped, they have their old meaning again.
#[derive(Debug)]
pub(super) struct Signals {
    arrived: UnixStream,
    /// The other end, held open so that the stream has no end while no signal is caught.
    handler: UnixStream,
    registered: Vec<SigId>,
}

impl Signals {
    /// Catches what asks a program to end: `SIGINT`, `SIGTERM` and `SIGHUP`. One that was ignored when we started stays ignored, as
    /// `nohup(1)` and shells without job control mean it.
    pub fn stop() -> io::Result<Self> {
        let ignored = ignored();
        let wanted = [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|signal| ignored >> (signal - 1) & 1 == 0);
        Self::catch(wanted)
    }

    /// Catches changes of the terminal's size.
    pub fn resize() -> io::Result<Self> {
        Self::catch([SIGWINCH])
    }

    fn catch(signals: impl IntoIterator<Item = i32>) -> io::Result<Self> {
        let (arrived, handler) = UnixStream::pair()?;
        arrived.set_nonblocking(true)?;
        let mut caught = Self { arrived, handler, registered: Vec::new() };
        for signal in signals {
            let handler = caught.handler.try_clone()?;
            caught.registered.push(low_level::pipe::register(signal, handler)?);
        }
        Ok(caught)
    }

    /// How many arrived since the last call, of more than 64 the first: the rest is there at the next call.
    pub fn take(&mut self) -> usize {
        let mut bytes = [0; 64];
        self.arrived.read(&mut bytes).unwrap_or(0)
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

/// The set of signals this process ignores, bit `n - 1` for signal `n` (`SigIgn` in `proc_pid_status(5)`).
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    field.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).unwrap_or(0)
}
