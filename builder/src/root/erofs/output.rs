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

/// Bytes on their way. It is never cleared: to do so would write all of it once more.
#[derive(Debug)]
struct Buffer {
    bytes: Box<[u8]>,
    filled: usize,
}

impl Buffer {
    fn new() -> Self {
        Self { bytes: vec![0; BUFFER].into_boxed_slice(), filled: 0 }
    }

    /// The next bytes to be filled, `len` of them or as many as there is room for.
    fn next(&mut self, len: u64) -> &mut [u8] {
        let start = self.filled;
        self.filled += len.min((BUFFER - start) as u64) as usize;
        &mut self.bytes[start..self.filled]
    }
}

/// Gathers what is to be written.
#[derive(Debug)]
pub(super) struct Output {
    buffer: Buffer,
    /// How many bytes were taken, those in the buffer included.
    position: u64,
    full: SyncSender<Buffer>,
    empty: Receiver<Buffer>,
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
        let mut out = Output { buffer: Buffer::new(), position: 0, full, empty };
        let filled = fill(&mut out).and_then(|()| out.flush().map_err(RootError::Write));
        // The writer ends when nobody can send any more.
        drop(out);
        // Where it has failed, the other side knows only that nobody takes its buffers.
        writer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)).map_err(RootError::Write)?;
        filled
    })
}

/// Writes buffers until no more come, and gives them back.
fn write_buffers(mut file: &File, full: &Receiver<Buffer>, empty: &Sender<Buffer>) -> io::Result<()> {
    for mut buffer in full {
        file.write_all(&buffer.bytes[..buffer.filled])?;
        buffer.filled = 0;
        // The other side has gone when all is gathered.
        let _ = empty.send(buffer);
    }
    Ok(())
}

impl Output {
    pub(super) fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let next = self.buffer.next(bytes.len() as u64);
            let (now, later) = bytes.split_at(next.len());
            next.copy_from_slice(now);
            bytes = later;
            self.took(now.len())?;
        }
        Ok(())
    }

    /// Writes zeros up to `position`, counted from where this output began.
    pub(super) fn zeros_until(&mut self, position: u64) -> io::Result<()> {
        while self.position < position {
            let next = self.buffer.next(position - self.position);
            next.fill(0);
            let len = next.len();
            self.took(len)?;
        }
        Ok(())
    }

    /// Copies `len` bytes that begin at `from` in `source`.
    pub(super) fn copy(&mut self, source: &Opened, mut from: u64, len: u64) -> Result<(), CopyError> {
        let end = from + len;
        while from < end {
            let next = self.buffer.next(end - from);
            source.read_exact_at(next, from).map_err(CopyError::Read)?;
            let len = next.len();
            from += len as u64;
            self.took(len).map_err(CopyError::Write)?;
        }
        Ok(())
    }

    /// Counts bytes that were put into the buffer, and hands it over when it is full.
    fn took(&mut self, len: usize) -> io::Result<()> {
        self.position += len as u64;
        if self.buffer.filled == BUFFER { self.flush() } else { Ok(()) }
    }

    /// Hands the buffer to the writer.
    fn flush(&mut self) -> io::Result<()> {
        let next = self.empty.try_recv().unwrap_or_else(|_| Buffer::new());
        let full = std::mem::replace(&mut self.buffer, next);
        self.full.send(full).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}
