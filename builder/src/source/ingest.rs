//! A layer's way into the store: read, verified as it was transferred, inflated once, verified as tar, put in
//! place.
//!
//! Two threads share the work: one reads, hashes and inflates, the other hashes what comes out and writes it.
//! Between them travel a few buffers, so a layer of any size needs the same small amount of memory.

use std::fs::File;
use std::io::{self, Read, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use super::inflate::{Inflate, OpenError};
use super::progress::Step;
use super::{Blob, Content, Damage, SourceError};
use crate::store::{Digest, DigestWriter, Store, StoreError};

/// Inflated bytes travel in buffers of this size.
const BUFFER: usize = 256 * 1024;

/// How many full buffers may wait for the disk.
const WAITING: usize = 4;

/// How often the room on the disk is looked at, in bytes written.
const ROOM_CHECK: u64 = 16 << 20;

/// A layer on its way into the store.
pub(super) struct Ingest<'a> {
    pub blob: &'a Blob,
    /// Where it comes from, for messages.
    pub place: &'a str,
    pub store: &'a Store,
    pub step: &'a dyn Step,
    /// Set when another layer failed.
    pub cancel: &'a AtomicBool,
}

impl Ingest<'_> {
    /// Brings the layer into the store, reading its bytes as transferred from `stream`.
    pub fn run(&self, stream: Box<dyn Read + Send>) -> Result<(), SourceError> {
        let temp = self.store.temp()?;
        let mut reader = Metered { stream, job: self, hash: DigestWriter::new(io::sink()), failure: None };

        let (inflated, written) = pump(&mut reader, temp.as_file(), self.store);
        // Causes come before their effects: what could not be read, what could not be written, a transfer
        // that differs from what was promised; only then does it matter whether the layer inflates, and to
        // what.
        if let Some(failure) = reader.failure {
            return Err(failure);
        }
        let actual = written?;
        reader.finish()?;
        match inflated {
            Ok(()) => {}
            Err(OpenError::Io(error)) => return Err(self.damaged(Damage::Inflate(error))),
            Err(OpenError::Foreign(method)) => {
                return Err(SourceError::Compression { what: self.blob.name(), method });
            }
        }
        let expected = self.blob.diff_id;
        if actual != expected {
            return Err(self.damaged(Damage::DiffId { expected, actual }));
        }
        self.store.put_layer(&expected, temp)?;
        Ok(())
    }

    fn damaged(&self, damage: Damage) -> SourceError {
        SourceError::Damaged {
            what: format!("layer {}", self.blob.name()),
            place: self.place.to_owned(),
            damage,
        }
    }
}

/// Inflates `reader` into `file`: how inflating ended, and the digest of what was written. Where writing
/// failed, inflating stops early and says nothing.
fn pump(
    reader: &mut Metered,
    file: &File,
    store: &Store,
) -> (Result<(), OpenError>, Result<Digest, StoreError>) {
    thread::scope(|scope| {
        let (full, to_write) = mpsc::sync_channel(WAITING);
        let (written, empty) = mpsc::channel();
        let writer = scope.spawn(move || write(&to_write, &written, file, store));
        let inflated = inflate(reader, |buffer| full.send(buffer).is_ok(), &empty);
        drop(full);
        (inflated, writer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}

/// Passes inflated buffers to `send` until the end, or until it refuses one.
fn inflate(
    reader: &mut Metered,
    send: impl Fn(Vec<u8>) -> bool,
    empty: &Receiver<Vec<u8>>,
) -> Result<(), OpenError> {
    let mut stream = Inflate::open(reader)?;
    loop {
        let mut buffer = empty.try_recv().unwrap_or_else(|_| Vec::with_capacity(BUFFER));
        buffer.clear();
        stream.by_ref().take(BUFFER as u64).read_to_end(&mut buffer).map_err(OpenError::Io)?;
        if buffer.is_empty() || !send(buffer) {
            return Ok(());
        }
    }
}

/// Writes and hashes buffers until no more come, and gives them back.
fn write(
    full: &Receiver<Vec<u8>>,
    empty: &Sender<Vec<u8>>,
    file: &File,
    store: &Store,
) -> Result<Digest, StoreError> {
    let mut out = DigestWriter::new(file);
    let mut next_check = 0;
    for buffer in full {
        if out.written() >= next_check {
            store.check_room(ROOM_CHECK)?;
            next_check += ROOM_CHECK;
        }
        out.write_all(&buffer).map_err(StoreError::io("write a layer to", store.cache_dir()))?;
        // The other side has gone when the stream has ended.
        let _ = empty.send(buffer);
    }
    Ok(out.finish().0)
}

/// Reads what is transferred: counts and hashes it, and holds it to the size that was promised.
///
/// Decoders wrap the errors of what they read beyond recognition, so the error itself is kept here.
struct Metered<'a> {
    stream: Box<dyn Read + Send>,
    job: &'a Ingest<'a>,
    hash: DigestWriter<io::Sink>,
    failure: Option<SourceError>,
}

impl Metered<'_> {
    /// Reads what a decoder left over and verifies the digest of the whole.
    fn finish(mut self) -> Result<(), SourceError> {
        if let Err(error) = io::copy(&mut self, &mut io::sink()) {
            return Err(self.failure.unwrap_or_else(|| self.job.unreadable(error)));
        }
        let (actual, _) = self.hash.finish();
        match self.job.blob.content {
            Content::Blob(expected) if expected != actual => {
                Err(self.job.damaged(Damage::Digest { expected, actual }))
            }
            _ => Ok(()),
        }
    }

    fn try_read(&mut self, buf: &mut [u8]) -> Result<usize, SourceError> {
        if self.job.cancel.load(Ordering::Relaxed) {
            return Err(SourceError::Cancelled);
        }
        let n = self.stream.read(buf).map_err(|error| self.job.unreadable(error))?;
        self.hash.write_all(&buf[..n]).map_err(|error| self.job.unreadable(error))?;
        self.job.step.advance(n as u64);
        let (expected, actual) = (self.job.blob.size, self.hash.written());
        if actual > expected {
            return Err(self.job.damaged(Damage::Overlong { expected }));
        }
        if n == 0 && !buf.is_empty() && actual < expected {
            return Err(self.job.damaged(Damage::Truncated { expected, actual }));
        }
        Ok(n)
    }
}

impl Ingest<'_> {
    /// The error behind a failed read: a download says itself what happened.
    fn unreadable(&self, error: io::Error) -> SourceError {
        error.downcast().unwrap_or_else(|source| SourceError::Read { path: self.place.into(), source })
    }
}

impl Read for Metered<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.try_read(buf).map_err(|failure| {
            self.failure = Some(failure);
            io::Error::other("the transfer failed")
        })
    }
}
