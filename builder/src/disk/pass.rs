//! One pass over a disk's bytes that writes any number of formats.
//!
//! Each format has a thread of its own, so that what compresses delays nobody who does not, and reading goes on while others write.
//! A few buffers travel between them, however large the disk is.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::thread;

use super::content::{Bytes, GRAIN};

/// Bytes that are read at once.
const CHUNK: u64 = 4 * GRAIN;
/// How many full buffers may wait for each format.
const WAITING: usize = 4;

/// A format being written.
pub(super) trait Sink: Send {
    /// Takes the data at `offset`. Calls come in order and bring each grain of each run of the disk's map once; both numbers are
    /// multiples of [`GRAIN`].
    fn write(&mut self, offset: u64, data: &[u8]) -> io::Result<()>;

    /// Writes what follows when all data is there.
    fn finish(self: Box<Self>) -> io::Result<()>;
}

/// Why a pass was ended.
#[derive(Debug)]
pub(super) enum PassError {
    /// A source cannot be read.
    Read(io::Error),
    /// The sink of this number cannot be written.
    Write(usize, io::Error),
}

/// Bytes on their way.
struct Chunk {
    offset: u64,
    len: usize,
    bytes: Box<[u8]>,
}

/// Brings all of `disk` to all of `sinks`.
pub(super) fn run(disk: &Bytes<'_>, sinks: Vec<Box<dyn Sink + '_>>) -> Result<(), PassError> {
    thread::scope(|scope| {
        let (used, unused) = mpsc::channel();
        let mut lines = Vec::new();
        let mut workers = Vec::new();
        for sink in sinks {
            let (line, chunks) = mpsc::sync_channel(WAITING);
            let used = used.clone();
            lines.push(line);
            workers.push(scope.spawn(move || take(sink, &chunks, &used)));
        }
        let read = feed(disk, &lines, &unused);
        // The workers end when nobody can send any more.
        drop(lines);
        let mut done = Vec::new();
        let mut failed = None;
        for (number, worker) in workers.into_iter().enumerate() {
            match worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)) {
                Ok(sink) => done.push(sink),
                Err(error) => failed = failed.or(Some(PassError::Write(number, error))),
            }
        }
        // Where a sink has failed, the reader knows only that nobody takes its chunks.
        failed.map_or(Ok(()), Err)?;
        read?;
        for (number, sink) in done.into_iter().enumerate() {
            sink.finish().map_err(|error| PassError::Write(number, error))?;
        }
        Ok(())
    })
}

/// Reads the disk, and gives each chunk to all.
fn feed(
    disk: &Bytes<'_>,
    lines: &[SyncSender<Arc<Chunk>>],
    unused: &Receiver<Box<[u8]>>,
) -> Result<(), PassError> {
    for run in disk.map().runs() {
        let mut offset = run.start;
        while offset < run.end {
            let mut bytes = unused.try_recv().unwrap_or_else(|_| vec![0; CHUNK as usize].into_boxed_slice());
            let len = (run.end - offset).min(CHUNK) as usize;
            disk.read(offset, &mut bytes[..len]).map_err(PassError::Read)?;
            let chunk = Arc::new(Chunk { offset, len, bytes });
            for line in lines {
                // Whoever has failed says why when it is joined.
                if line.send(Arc::clone(&chunk)).is_err() {
                    return Ok(());
                }
            }
            offset += len as u64;
        }
    }
    Ok(())
}

/// Writes chunks until no more come. Whoever is the last to need one gives its buffer back.
fn take<'s>(
    mut sink: Box<dyn Sink + 's>,
    chunks: &Receiver<Arc<Chunk>>,
    used: &Sender<Box<[u8]>>,
) -> io::Result<Box<dyn Sink + 's>> {
    for chunk in chunks {
        sink.write(chunk.offset, &chunk.bytes[..chunk.len])?;
        if let Some(chunk) = Arc::into_inner(chunk) {
            // The reader has gone when all is read.
            let _ = used.send(chunk.bytes);
        }
    }
    Ok(sink)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::content::{Data, Piece};
    use std::sync::Mutex;

    struct Recorder<'a> {
        got: &'a Mutex<Vec<(u64, Vec<u8>)>>,
        fails_at: Option<u64>,
    }

    impl Sink for Recorder<'_> {
        fn write(&mut self, offset: u64, data: &[u8]) -> io::Result<()> {
            if self.fails_at.is_some_and(|at| offset >= at) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.got.lock().unwrap().push((offset, data.to_vec()));
            Ok(())
        }

        fn finish(self: Box<Self>) -> io::Result<()> {
            self.got.lock().unwrap().push((u64::MAX, Vec::new()));
            Ok(())
        }
    }

    fn disk() -> Bytes<'static> {
        let piece = |offset, byte, len| Piece { offset, data: Data::from(vec![byte; len]) };
        Bytes::new(64 << 20, vec![piece(10, 1, 5), piece(1 << 20, 2, 3 << 20), piece((64 << 20) - 1, 3, 1)])
    }

    #[test]
    fn every_sink_gets_all_data_in_order_and_then_the_end() {
        let (one, other) = (Mutex::default(), Mutex::default());
        let sink = |got| Box::new(Recorder { got, fails_at: None }) as Box<dyn Sink>;
        run(&disk(), vec![sink(&one), sink(&other)]).unwrap();
        let got = one.into_inner().unwrap();
        assert_eq!(got, other.into_inner().unwrap());
        assert_eq!(got.last().unwrap().0, u64::MAX);
        let offsets: Vec<u64> = got.iter().map(|(offset, _)| *offset).collect();
        assert!(offsets.is_sorted());
        let total: usize = got.iter().map(|(_, data)| data.len()).sum();
        assert_eq!(total as u64, 3 * CHUNK / 4 - GRAIN + (3 << 20));
    }

    #[test]
    fn the_sink_that_fails_is_named_and_no_other_is_finished() {
        let got = Mutex::default();
        let sinks: Vec<Box<dyn Sink>> = vec![
            Box::new(Recorder { got: &got, fails_at: None }),
            Box::new(Recorder { got: &got, fails_at: Some(2 << 20) }),
        ];
        let failed = run(&disk(), sinks);
        assert!(
            matches!(&failed, Err(PassError::Write(1, error)) if error.kind() == io::ErrorKind::StorageFull),
            "{failed:?}"
        );
        assert!(got.into_inner().unwrap().iter().all(|(offset, _)| *offset != u64::MAX));
    }

    #[test]
    fn a_file_that_has_become_shorter_is_told() {
        let file = tempfile::tempfile().unwrap();
        let data = Data::File { file: &file, start: 0, len: 100 };
        let disk = Bytes::new(1 << 20, vec![Piece { offset: 0, data }]);
        assert!(matches!(run(&disk, Vec::new()), Err(PassError::Read(_))));
    }
}
