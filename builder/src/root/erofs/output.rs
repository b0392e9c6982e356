//! Sequential output in large writes.

use std::fs::File;
use std::io::{self, Write};

use rustix::fs::copy_file_range;
use rustix::io::Errno;

use super::super::content::Opened;

/// Bytes that are gathered before they are written.
const BUFFER: usize = 1 << 20;
/// From this size on, data is copied by the kernel.
const COPY: u64 = 256 * 1024;

/// Why data was not copied: for a fault of its source, or of the output.
#[derive(Debug)]
pub(super) enum CopyError {
    Read(io::Error),
    Write(io::Error),
}

/// Writes a file front to back.
#[derive(Debug)]
pub(super) struct Output<'f> {
    file: &'f File,
    buffer: Vec<u8>,
    /// How many bytes were taken, those in the buffer included.
    position: u64,
    /// Whether the kernel copies between the files at hand.
    copies: bool,
}

impl<'f> Output<'f> {
    pub(super) fn new(file: &'f File) -> Self {
        Self { file, buffer: Vec::with_capacity(BUFFER), position: 0, copies: true }
    }

    pub(super) fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        self.position += bytes.len() as u64;
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(BUFFER - self.buffer.len()));
            self.buffer.extend_from_slice(now);
            bytes = later;
            if self.buffer.len() == BUFFER {
                self.flush()?;
            }
        }
        Ok(())
    }

    /// Writes zeros up to `position`, counted from where this output began.
    pub(super) fn zeros_until(&mut self, position: u64) -> io::Result<()> {
        while self.position < position {
            let len = (position - self.position).min((BUFFER - self.buffer.len()) as u64);
            self.buffer.resize(self.buffer.len() + len as usize, 0);
            self.position += len;
            if self.buffer.len() == BUFFER {
                self.flush()?;
            }
        }
        Ok(())
    }

    /// Copies `len` bytes that begin at `from` in `source`.
    pub(super) fn copy(&mut self, source: &Opened, mut from: u64, mut len: u64) -> Result<(), CopyError> {
        if let Some((file, offset)) = source.file()
            && len >= COPY
            && self.copies
        {
            self.flush().map_err(CopyError::Write)?;
            let copied = self.copy_by_kernel(file, offset + from, len)?;
            from += copied;
            len -= copied;
        }
        while len > 0 {
            let filled = self.buffer.len();
            let part = len.min((BUFFER - filled) as u64);
            self.buffer.resize(filled + part as usize, 0);
            source.read_exact_at(&mut self.buffer[filled..], from).map_err(CopyError::Read)?;
            from += part;
            len -= part;
            self.position += part;
            if self.buffer.len() == BUFFER {
                self.flush().map_err(CopyError::Write)?;
            }
        }
        Ok(())
    }

    /// Copies as much as the kernel is able to, without a buffer.
    fn copy_by_kernel(&mut self, file: &File, mut from: u64, len: u64) -> Result<u64, CopyError> {
        let mut copied = 0;
        while copied < len {
            let part = usize::try_from(len - copied).unwrap_or(usize::MAX);
            match copy_file_range(file, Some(&mut from), self.file, None, part) {
                Ok(0) => return Err(CopyError::Read(io::ErrorKind::UnexpectedEof.into())),
                Ok(now) => copied += now as u64,
                Err(Errno::INTR) => {}
                // Other file systems, special files, older kernels: copied by hand from here on.
                Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::BADF) => {
                    self.copies = false;
                    break;
                }
                Err(error) => return Err(CopyError::Write(error.into())),
            }
        }
        self.position += copied;
        Ok(copied)
    }

    /// Writes what is left.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.flush()
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.write_all(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }
}
