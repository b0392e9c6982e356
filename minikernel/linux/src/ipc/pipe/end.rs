//! An open end of a pipe.

use alloc::sync::Arc;

use isopod_fs::file::{FileOps, OpenFile, OpenFlags, Ready, UserMemory};
use isopod_fs::{Errno, Result, Sink, Source};
use isopod_hal::sync::wait::WaitQueue;

use super::super::bytes_waiting;
use super::Pipe;

/// What a description of a pipe does. A FIFO can be open for both directions at once.
#[derive(Debug)]
pub(super) struct End {
    pipe: Arc<Pipe>,
    reads: bool,
    writes: bool,
    /// Nobody was at the other end when this one was opened: how many had ever been there.
    alone: Option<u64>,
}

impl End {
    /// An end that has been counted.
    pub fn new(pipe: Arc<Pipe>, reads: bool, writes: bool, alone: Option<u64>) -> Self {
        Self { pipe, reads, writes, alone }
    }

    pub fn pipe(&self) -> &Pipe {
        &self.pipe
    }
}

impl FileOps for End {
    fn read(&self, _file: &OpenFile, _offset: u64, sink: &mut dyn Sink) -> Result<usize> {
        if sink.remaining() == 0 {
            return Ok(0);
        }
        let mut state = self.pipe.state.lock();
        if state.ring.is_empty() {
            return if state.has_ended() { Ok(0) } else { Err(Errno::EAGAIN.into()) };
        }
        let was_full = state.ring.is_full();
        let count = state.ring.read(sink);
        let has_room = was_full && !state.ring.is_full();
        drop(state);
        if has_room {
            self.pipe.wake_writers();
        }
        Ok(count)
    }

    fn write(&self, file: &OpenFile, _offset: u64, source: &mut dyn Source) -> Result<usize> {
        if source.remaining() == 0 {
            return Ok(0);
        }
        let mut state = self.pipe.state.lock();
        if state.readers.count == 0 {
            return Err(Errno::EPIPE.into());
        }
        if !state.ring.has_room_for(source.remaining()) {
            return Err(Errno::EAGAIN.into());
        }
        let count = state.ring.write(source, file.flags().contains(OpenFlags::DIRECT))?;
        drop(state);
        if count > 0 {
            self.pipe.wake_readers();
        }
        Ok(count)
    }

    fn ready(&self, _file: &OpenFile) -> Ready {
        let state = self.pipe.state.lock();
        let mut ready = Ready::empty();
        if self.reads {
            if !state.ring.is_empty() {
                ready |= Ready::READABLE;
            }
            // Not yet hung up: nobody has ever been there (fifo(7), O_NONBLOCK).
            let never_met = self.alone == Some(state.writers.ever);
            if state.writers.count == 0 && !never_met {
                ready |= Ready::HANG_UP;
            }
        }
        if self.writes {
            if !state.ring.is_full() {
                ready |= Ready::WRITABLE;
            }
            if state.readers.count == 0 {
                ready |= Ready::ERROR;
            }
        }
        ready
    }

    fn wait_queue(&self) -> Option<Arc<WaitQueue>> {
        let pipe = &self.pipe;
        Some(Arc::clone(match (self.reads, self.writes) {
            (true, true) => &pipe.either,
            (true, false) => &pipe.readable,
            _ => &pipe.writable,
        }))
    }

    fn finish_open(&self, _file: &OpenFile) -> Result<()> {
        let state = self.pipe.state.lock();
        let others = if self.writes { state.readers.ever } else { state.writers.ever };
        if self.alone == Some(others) { Err(Errno::EAGAIN.into()) } else { Ok(()) }
    }

    fn ioctl(
        &self,
        _file: &OpenFile,
        request: u32,
        argument: usize,
        memory: &mut dyn UserMemory,
    ) -> Result<usize> {
        bytes_waiting(request, argument, memory, || self.pipe.state.lock().ring.len())
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let mut state = self.pipe.state.lock();
        state.readers.count -= usize::from(self.reads);
        state.writers.count -= usize::from(self.writes);
        let hung_up = state.readers.count == 0 || state.writers.count == 0;
        drop(state);
        if hung_up {
            self.pipe.wake_readers();
            self.pipe.wake_writers();
        }
    }
}
