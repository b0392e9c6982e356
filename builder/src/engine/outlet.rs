//! Standard output and standard error, written without ever blocking.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::BorrowedFd;

/// What a pipe that is ready takes without blocking, in bytes (pipe(7)).
pub(super) const PIPE_BUF: usize = 4096;

/// The most written at once where nothing blocks, in bytes.
const WHOLE: usize = 256 << 10;

/// One of our standard outputs, and what is to be written to it.
#[derive(Debug)]
pub(super) struct Outlet {
    pub file: File,
    pub queue: VecDeque<u8>,
    /// The most that is written at once, in bytes.
    chunk: usize,
}

impl Outlet {
    pub fn new(fd: BorrowedFd<'_>) -> io::Result<Self> {
        let file = File::from(fd.try_clone_to_owned()?);
        let chunk = if file.metadata()?.is_file() { WHOLE } else { PIPE_BUF };
        Ok(Self { file, queue: VecDeque::new(), chunk })
    }

    pub fn push(&mut self, bytes: &[u8]) {
        self.queue.extend(bytes);
    }

    /// Writes one chunk. After an error the outlet forgets what waits, as nobody will read it.
    pub fn drain(&mut self) -> io::Result<()> {
        let (front, _) = self.queue.as_slices();
        match self.file.write(&front[..front.len().min(self.chunk)]) {
            Ok(count) => drop(self.queue.drain(..count)),
            Err(error) if waits(&error) => {}
            Err(error) => {
                self.queue.clear();
                return Err(error);
            }
        }
        Ok(())
    }
}

/// Whether an operation was only put off.
pub(super) fn waits(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
