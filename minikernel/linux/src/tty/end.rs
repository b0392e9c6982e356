//! A terminal as programs have it open: `/dev/pts/N`, `/dev/console`, `/dev/tty`.

use alloc::boxed::Box;
use alloc::sync::Arc;

use isopod_fs::file::{FileOps, OpenFile, OpenFlags, OpenRequest, Ready, UserMemory};
use isopod_fs::{Errno, Result, Sink, Source, next_bytes};
use isopod_hal::sync::wait::WaitQueue;

use super::terminal::State;
use super::termios::local;
use super::{Terminal, ioctl, job};
use crate::process;
use crate::signal::Signal;

/// An open terminal.
pub(super) struct End {
    pub terminal: Arc<Terminal>,
    /// How often it had been hung up before.
    pub born: u32,
}

impl End {
    fn is_dead(&self, state: &State) -> bool {
        state.closed || state.hangups != self.born
    }

    fn check_alive(&self) -> Result<()> {
        if self.is_dead(&self.terminal.lock()) { Err(Errno::EIO.into()) } else { Ok(()) }
    }
}

/// Opens `/dev/tty`. `ENXIO` without a controlling terminal.
pub fn open_controlling(request: &OpenRequest<'_>) -> Result<Box<dyn FileOps>> {
    let thread = process::current().ok_or(Errno::ENXIO)?;
    job::controlling(thread.process()).ok_or(Errno::ENXIO)?.open(request)
}

impl FileOps for End {
    fn read(&self, file: &OpenFile, _: u64, sink: &mut dyn Sink) -> Result<usize> {
        if self.check_alive().is_err() {
            return Ok(0);
        }
        job::check_foreground(&self.terminal, Signal::TTIN)?;
        let mut state = self.terminal.lock();
        let outcome = state.line.read(sink, file.flags().contains(OpenFlags::NONBLOCK));
        if outcome.is_ok() {
            state.pump();
            self.terminal.settle(state);
        }
        outcome
    }

    fn read_timeout(&self) -> Option<u64> {
        self.terminal.lock().line.read_timeout()
    }

    fn write(&self, _: &OpenFile, _: u64, source: &mut dyn Source) -> Result<usize> {
        self.check_alive()?;
        let stops = self.terminal.lock().line.local(local::TOSTOP);
        if stops {
            job::check_foreground(&self.terminal, Signal::TTOU)?;
        }
        let mut state = self.terminal.lock();
        let (mut done, mut waits) = (0, source.remaining() > 0);
        let mut more = source.remaining() > 0;
        while more {
            let mut buffer = [0; 256];
            let room = state.room_to_print(self.terminal.far);
            if room == 0 {
                break;
            }
            let (bytes, rest) = next_bytes(source, &mut buffer, room);
            state.line.write(bytes);
            done += bytes.len();
            (waits, more) = (false, rest);
        }
        if waits {
            return Err(Errno::EAGAIN.into());
        }
        self.terminal.settle(state);
        Ok(done)
    }

    fn ready(&self, _: &OpenFile) -> Ready {
        let mut state = self.terminal.lock();
        if self.is_dead(&state) {
            return Ready::READABLE | Ready::WRITABLE | Ready::ERROR | Ready::HANG_UP;
        }
        let mut ready = Ready::empty();
        ready.set(Ready::READABLE, state.line.has_input());
        ready.set(Ready::WRITABLE, state.room_to_print(self.terminal.far) > 0);
        ready
    }

    fn wait_queue(&self) -> Option<Arc<WaitQueue>> {
        Some(Arc::clone(&self.terminal.changed))
    }

    fn ioctl(
        &self,
        file: &OpenFile,
        request: u32,
        argument: usize,
        memory: &mut dyn UserMemory,
    ) -> Result<usize> {
        if self.check_alive().is_err() {
            return Err(if request == ioctl::TIOCSPGRP { Errno::ENOTTY } else { Errno::EIO }.into());
        }
        ioctl::terminal(&self.terminal, false, file, request, argument, memory)
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let mut state = self.terminal.lock();
        state.users -= 1;
        if state.users == 0 {
            state.deserted = true;
            state.exclusive = false;
        }
        self.terminal.settle(state);
    }
}
