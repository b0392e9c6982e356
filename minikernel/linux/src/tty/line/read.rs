//! What a program may read, and when.

use isopod_fs::{Errno, Result, Sink};
use isopod_hal::clock;

use super::{END, HIDDEN, Line};
use crate::tty::termios::Special::{Minimum, Time};
use crate::tty::termios::local;

/// Nanoseconds in the unit of `VTIME`.
const TENTH: u64 = 100_000_000;

impl Line {
    /// How many entries a read can have.
    fn readable(&self) -> usize {
        if self.local(local::ICANON) { self.committed } else { self.typed.len() }
    }

    /// How many bytes a read can have, for `FIONREAD`.
    pub fn unread(&self) -> usize {
        let hidden = self.typed.iter().take(self.committed).filter(|&&entry| entry & HIDDEN != 0).count();
        self.readable() - hidden
    }

    /// Whether poll(2) says that there is something to read.
    pub fn has_input(&self) -> bool {
        let minimum = match self.termios.character(Time) {
            0 if !self.local(local::ICANON) => self.termios.character(Minimum).max(1),
            _ => 1,
        };
        self.readable() >= usize::from(minimum)
    }

    /// How long a read waits at most before it ends with nothing, in nanoseconds (`VMIN` 0, `VTIME` above).
    pub fn read_timeout(&self) -> Option<u64> {
        let patient = self.local(local::ICANON) || self.termios.character(Minimum) > 0;
        let time = u64::from(self.termios.character(Time)) * TENTH;
        (!patient && time > 0).then_some(time)
    }

    /// When a read that has something but less than `VMIN` ends without more, in nanoseconds since boot.
    pub fn pause_ends(&self) -> Option<u64> {
        let time = u64::from(self.termios.character(Time)) * TENTH;
        let raw = !self.local(local::ICANON) && !self.typed.is_empty();
        (raw && time > 0 && self.termios.character(Minimum) > 0).then(|| self.last.saturating_add(time))
    }

    /// Moves typed bytes to `sink`: in canonical mode at most to the end of a line. `EAGAIN` as long as a read waits; one that is not
    /// to wait (`hurried`) takes what there is. 0 is the end of the file.
    pub fn read(&mut self, sink: &mut dyn Sink, hurried: bool) -> Result<usize> {
        let minimum = usize::from(self.termios.character(Minimum));
        let needed = match (self.local(local::ICANON), hurried) {
            (false, false) => minimum.min(sink.remaining()),
            // Neither count nor time: a read never waits.
            (false, true) if minimum == 0 && self.termios.character(Time) == 0 => 0,
            _ => 1,
        };
        let needed = needed.max(usize::from(self.read_timeout().is_some()));
        if sink.remaining() > 0 && self.readable() < needed {
            let paused = self.pause_ends().is_some_and(|end| end <= clock::monotonic_ns());
            if !paused || self.readable() == 0 {
                return Err(Errno::EAGAIN.into());
            }
        }
        let mut done = 0;
        loop {
            let mut chunk = [0; 256];
            let wanted = sink.remaining().min(chunk.len());
            let (mut length, mut ended, mut hidden) = (0, false, false);
            for &entry in self.typed.iter().take(self.readable()) {
                // The end of a file directly behind what was asked for goes with it.
                hidden = entry & HIDDEN != 0;
                ended = hidden;
                if hidden || length == wanted {
                    break;
                }
                chunk[length] = entry as u8;
                length += 1;
                ended = entry & END != 0;
                if ended {
                    break;
                }
            }
            let put = if length == 0 { 0 } else { sink.put(&chunk[..length]) };
            let used = put + usize::from(hidden && put == length);
            for _ in 0..used {
                self.typed.pop_front();
            }
            self.committed = self.committed.saturating_sub(used);
            done += put;
            if ended || put < chunk.len() {
                return Ok(done);
            }
        }
    }
}
