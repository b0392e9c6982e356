//! A terminal, whoever is at its far end.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::fmt;

use isopod_fs::file::{FileOps, OpenFlags, OpenRequest};
use isopod_fs::{Capabilities, DeviceId, Errno, Result, Source, next_bytes};
use isopod_hal::sync::wait::WaitQueue;
use isopod_hal::sync::{SpinLock, SpinLockGuard};
use isopod_manifest::channel::{Kind, MAX_PAYLOAD};

use super::end::End;
use super::job;
use super::line::Line;
use super::pty;
use crate::host;
use crate::sched;
use crate::signal::{SigSet, Signal};

/// How much can be typed ahead of what the line discipline has room for, in bytes.
const AHEAD: usize = 64 << 10;

/// What is at the far end.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Far {
    /// The host: `/dev/console`.
    Host,
    /// The master of the pseudo terminal with this number.
    Master(u32),
}

/// A terminal.
pub struct Terminal {
    pub(super) far: Far,
    state: SpinLock<State>,
    /// Woken at every change.
    pub(super) changed: Arc<WaitQueue>,
}

/// What changes of a terminal.
pub(super) struct State {
    pub line: Line,
    /// What was typed and does not fit into the line discipline yet.
    ahead: VecDeque<u8>,
    /// Rows, columns, width and height in pixels.
    pub size: [u16; 4],
    /// The session whose controlling terminal it is, and its process group in the foreground; 0 for none.
    pub session: u32,
    pub foreground: u32,
    /// How many descriptions of this end there are.
    pub users: usize,
    /// Everybody has closed this end.
    pub deserted: bool,
    /// How often it was hung up: descriptions from before are dead.
    pub hangups: u32,
    /// The master has gone.
    pub closed: bool,
    /// Somebody was told that the host takes no more for now.
    pub held_up: bool,
    /// `TIOCSPTLCK`: it cannot be opened yet.
    pub locked: bool,
    /// `TIOCEXCL`: it cannot be opened again.
    pub exclusive: bool,
}

impl Terminal {
    pub(super) fn new(far: Far) -> Result<Arc<Self>> {
        let state = State {
            line: Line::new()?,
            ahead: VecDeque::new(),
            size: [0; 4],
            session: 0,
            foreground: 0,
            users: 0,
            deserted: false,
            hangups: 0,
            closed: false,
            held_up: false,
            locked: far != Far::Host,
            exclusive: false,
        };
        Ok(Arc::new(Self { far, state: SpinLock::new(state), changed: Arc::default() }))
    }

    pub(super) fn lock(&self) -> SpinLockGuard<'_, State> {
        self.state.lock()
    }

    /// The number of this end's device.
    pub fn device(&self) -> DeviceId {
        match self.far {
            Far::Host => DeviceId::new(5, 1),
            Far::Master(number) => pty::slave(number),
        }
    }

    /// The process group in its foreground; 0 for none.
    pub fn foreground(&self) -> u32 {
        self.lock().foreground
    }

    /// Opens this end, as the controlling terminal if the caller's session has none and wants one.
    pub fn open(self: &Arc<Self>, request: &OpenRequest<'_>) -> Result<Box<dyn FileOps>> {
        let mut state = self.lock();
        if state.closed || state.locked {
            return Err(Errno::EIO.into());
        }
        if state.exclusive && !request.credentials.capable(Capabilities::SYS_ADMIN) {
            return Err(Errno::EBUSY.into());
        }
        state.users += 1;
        state.deserted = false;
        let born = state.hangups;
        drop(state);
        if !request.flags.contains(OpenFlags::NOCTTY) && request.flags.readable() && self.far != Far::Host {
            job::acquire(self);
        }
        Ok(Box::new(End { terminal: Arc::clone(self), born }))
    }

    /// Ends a change: what is on its way to the host goes there, signals reach the foreground, and who waits looks again.
    pub(super) fn settle(&self, mut state: SpinLockGuard<'_, State>) {
        if let (Far::Host, Some(host)) = (self.far, host::current()) {
            let screen = &mut state.line.screen.bytes;
            while !screen.is_empty() {
                let bytes = screen.as_slices().0;
                let length = bytes.len().min(MAX_PAYLOAD);
                // What cannot be sent now goes with what is printed next.
                if !host.send(Kind::Stdout, &bytes[..length]) {
                    break;
                }
                screen.drain(..length);
            }
        }
        let signals = core::mem::replace(&mut state.line.signals, SigSet::EMPTY);
        let foreground = state.foreground;
        drop(state);
        for signal in signals.iter() {
            job::signal_group(foreground, signal);
        }
        self.changed.wake_all();
    }

    /// How many more bytes can be typed.
    pub(super) fn room(&self) -> usize {
        AHEAD.saturating_sub(self.lock().ahead.len())
    }

    /// Takes what is typed at the far end; returns how many bytes there was room for.
    pub(super) fn receive(&self, source: &mut dyn Source) -> Result<usize> {
        let mut done = 0;
        let mut state = self.lock();
        loop {
            let mut buffer = [0; 256];
            state.ahead.try_reserve(buffer.len()).map_err(|_| Errno::ENOMEM)?;
            let room = AHEAD.saturating_sub(state.ahead.len());
            let (bytes, more) = next_bytes(source, &mut buffer, room);
            state.ahead.extend(bytes);
            state.pump();
            done += bytes.len();
            if !more || bytes.is_empty() {
                break;
            }
        }
        if let Some(deadline) = state.line.pause_ends() {
            let changed = Arc::clone(&self.changed);
            sched::spawn(async move {
                sched::sleep_until(deadline).await;
                changed.wake_all();
            });
        }
        self.settle(state);
        Ok(done)
    }

    /// Sets the size; the foreground is told if it is another.
    pub(super) fn resize(&self, size: [u16; 4]) {
        let mut state = self.lock();
        if state.size != size {
            state.size = size;
            state.line.signals.insert(Signal::WINCH);
        }
        self.settle(state);
    }

    /// `vhangup(2)`, and the end of the far end: open descriptions are dead, and the session has no terminal any more.
    pub(super) fn hang_up(&self) {
        let mut state = self.lock();
        state.hangups = state.hangups.wrapping_add(1);
        let session = core::mem::take(&mut state.session);
        state.line.flush();
        self.settle(state);
        job::tell_leader(session);
    }
}

impl State {
    /// Moves what was typed ahead into the line discipline, as far as there is room.
    pub fn pump(&mut self) {
        while !self.ahead.is_empty() {
            let slice = self.ahead.as_slices().0;
            let offered = slice.len();
            let taken = self.line.receive(slice);
            self.ahead.drain(..taken);
            if taken < offered {
                break;
            }
        }
    }

    /// How many bytes of a program's can be printed now.
    pub fn room_to_print(&mut self, far: Far) -> usize {
        if let (Far::Host, Some(host)) = (far, host::current()) {
            // Noted first: room that comes right after the question must wake whoever heard that there is none.
            self.held_up = true;
            if !host.can_send() {
                return 0;
            }
            self.held_up = false;
        }
        self.line.screen.room()
    }
}

impl fmt::Debug for Terminal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Terminal")
    }
}
