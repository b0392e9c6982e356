//! Sequential output, written while what follows is gathered.
//!
//! To read the contents of many files and to write them takes about as long; two threads do both at once, and a few buffers that fit
//! into a CPU's cache travel between them. Larger ones, or a copy within the kernel (`copy_file_range(2)`), are slower where the file
//! system cannot share blocks, and contents in a tar file do not begin where blocks do.

use std::fs::File;
use std::io::{self, Write as _};
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::thread;

use super::super::content::Opened;
use super::super::error::RootError;

/// Bytes that are gathered before they are written.
const BUFFER: usize = 256 * 1024;
/// How many full buffers may wait to be written.
const WAITING: usize = 4;

/// Why data was not copied: for a fault of its source, or of the output.
#[derive(Debug)]
pub(super) enum CopyError {
    Read(io::Error),
    Write(io::Error),
}

/// Gathers what is to be written.
#[derive(Debug)]
pub(super) struct Output {
    buffer: Vec<u8>,
    /// How many bytes were taken, those in the buffer included.
    position: u64,
    full: SyncSender<Vec<u8>>,
    empty: Receiver<Vec<u8>>,
}

/// Writes to `file`, front to back, what `fill` puts into the output.
pub(super) fn write(
    file: &File,
    fill: impl FnOnce(&mut Output) -> Result<(), RootError>,
) -> Result<(), RootError> {
    thread::scope(|scope| {
        let (full, to_write) = mpsc::sync_channel(WAITING);
        let (written, empty) = mpsc::channel();
        let writer = scope.spawn(move || write_buffers(file, &to_write, &written));
        let mut out = Output { buffer: Vec::with_capacity(BUFFER), position: 0, full, empty };
        let filled = fill(&mut out).and_then(|()| out.flush().map_err(RootError::Write));
        // The writer ends when nobody can send any more.
        drop(out);
        // Where it has failed, the other side knows only that nobody takes its buffers.
        writer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)).map_err(RootError::Write)?;
        filled
    })
}

/// Writes buffers until no more come, and gives them back.
fn write_buffers(mut file: &File, full: &Receiver<Vec<u8>>, empty: &Sender<Vec<u8>>) -> io::Result<()> {
    for mut buffer in full {
        file.write_all(&buffer)?;
        buffer.clear();
        // The other side has gone when all is gathered.
        let _ = empty.send(buffer);
    }
    Ok(())
}

impl Output {
    pub(super) fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        self.position += bytes.len() as u64;
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(BUFFER - self.buffer.len()));
            self.buffer.extend_from_slice(now);
            bytes = later;
            self.flush_if_full()?;
        }
        Ok(())
    }

    /// Writes zeros up to `position`, counted from where this output began.
    pub(super) fn zeros_until(&mut self, position: u64) -> io::Result<()> {
        while self.position < position {
            let len = (position - self.position).min((BUFFER - self.buffer.len()) as u64);
            self.buffer.resize(self.buffer.len() + len as usize, 0);
            self.position += len;
            self.flush_if_full()?;
        }
        Ok(())
    }

    /// Copies `len` bytes that begin at `from` in `source`.
    pub(super) fn copy(&mut self, source: &Opened, mut from: u64, mut len: u64) -> Result<(), CopyError> {
        while len > 0 {
            let filled = self.buffer.len();
            let part = len.min((BUFFER - filled) as u64);
            self.buffer.resize(filled + part as usize, 0);
            source.read_exact_at(&mut self.buffer[filled..], from).map_err(CopyError::Read)?;
            from += part;
            len -= part;
            self.position += part;
            self.flush_if_full().map_err(CopyError::Write)?;
        }
        Ok(())
    }

    fn flush_if_full(&mut self) -> io::Result<()> {
        if self.buffer.len() == BUFFER { self.flush() } else { Ok(()) }
    }

    /// Hands the buffer to the writer.
    fn flush(&mut self) -> io::Result<()> {
        let next = self.empty.try_recv().unwrap_or_else(|_| Vec::with_capacity(BUFFER));
        let full = std::mem::replace(&mut self.buffer, next);
        self.full.send(full).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}
