//! The line discipline `N_TTY`: what becomes of typed bytes, and how they are echoed.
//!
//! Nothing here waits or knows of processes: [`Line::receive`] takes what is typed, [`Line::read`] gives what a program may have,
//! [`Line::write`] takes what the program prints; what goes to the screen is collected by the [`Screen`], and signals in [`Line::signals`].

mod erase;
mod read;
#[cfg(test)]
mod tests;

use alloc::collections::VecDeque;

use isopod_fs::{Errno, Result};
use isopod_hal::clock;

use super::screen::{Screen, news};
use super::termios::Special::{
    EndOfFile, EndOfLine, EndOfLine2, Erase, Interrupt, Kill, LiteralNext, Quit, Reprint, Start, Stop,
    Suspend, WordErase,
};
use super::termios::{Termios, input, local};
use crate::signal::{SigSet, Signal};

/// The most bytes that wait to be read (`N_TTY_BUF_SIZE`); one stays free, for the end of a line that is too long.
pub(super) const CAPACITY: usize = 4096;

/// Set in an entry that ends a line.
const END: u16 = 0x100;
/// Set in an entry that ends a line and is itself not read: the end of the file.
const HIDDEN: u16 = 0x200;

/// A line discipline and what waits in it.
pub(super) struct Line {
    pub termios: Termios,
    /// What of the settings programs cannot change: a bit for each flag, a character that is not 0 (`TIOCSLCKTRMIOS`).
    pub locked: Termios,
    pub screen: Screen,
    /// What the typed bytes made of signals, for the foreground.
    pub signals: SigSet,
    /// Typed bytes with their marks.
    typed: VecDeque<u16>,
    /// In canonical mode, how many of them belong to lines that have ended.
    committed: usize,
    /// The next byte has no special meaning.
    literal: bool,
    /// When the last byte came, in nanoseconds since boot.
    last: u64,
}

impl Line {
    /// An empty one. `ENOMEM` without room for what will be typed.
    pub fn new() -> Result<Self> {
        let mut typed = VecDeque::new();
        typed.try_reserve_exact(CAPACITY).map_err(|_| Errno::ENOMEM)?;
        Ok(Self {
            termios: Termios::DEFAULT,
            locked: Termios::NOTHING,
            screen: Screen::default(),
            signals: SigSet::EMPTY,
            typed,
            committed: 0,
            literal: false,
            last: 0,
        })
    }

    fn input(&self, mode: u32) -> bool {
        self.termios.input & mode != 0
    }

    pub fn local(&self, mode: u32) -> bool {
        self.termios.local & mode != 0
    }

    /// Changes the settings. What was typed before becomes a line, or loses its lines, when the mode changes.
    pub fn set(&mut self, termios: Termios) {
        let old = core::mem::replace(&mut self.termios, termios);
        if (old.local ^ termios.local) & local::ICANON != 0 {
            for entry in &mut self.typed {
                *entry &= 0xff;
            }
            self.committed = if self.local(local::ICANON) { self.typed.len() } else { 0 };
            if let Some(last) = self.typed.back_mut().filter(|_| self.committed > 0) {
                *last |= END;
            }
            self.literal = false;
        }
        // Whether who prints can be stopped and started by the usual keys.
        let stops = |termios: &Termios| {
            termios.input & input::IXON != 0 && termios.is(Stop, 0x13) && termios.is(Start, 0x11)
        };
        match (stops(&old), stops(&termios)) {
            (false, true) => self.screen.tell(news::DO_STOP, news::NO_STOP),
            (true, false) => self.screen.tell(news::NO_STOP, news::DO_STOP),
            _ => {}
        }
        if old.input & !termios.input & input::IXON != 0 {
            self.screen.stop(false);
        }
    }

    /// Throws away what was typed and not read.
    pub fn flush(&mut self) {
        self.typed.clear();
        self.committed = 0;
        self.literal = false;
        self.screen.tell(news::FLUSH_READ, 0);
    }

    /// Takes typed bytes, as many as there is room for; returns how many. A line that grows too long loses its last bytes.
    pub fn receive(&mut self, bytes: &[u8]) -> usize {
        self.last = clock::monotonic_ns();
        for (index, &byte) in bytes.iter().enumerate() {
            if self.typed.len() >= CAPACITY - 1 {
                if self.committed > 0 || !self.local(local::ICANON) {
                    return index;
                }
                if self.typed.len() >= CAPACITY {
                    self.typed.pop_back();
                }
            }
            self.take(byte);
        }
        bytes.len()
    }

    fn take(&mut self, mut byte: u8) {
        let termios = self.termios;
        let extended = self.local(local::IEXTEN);
        if self.input(input::ISTRIP) {
            byte &= 0x7f;
        }
        let upper = matches!(byte, b'A'..=b'Z' | 0xc0..=0xd6 | 0xd8..=0xde);
        if upper && extended && self.input(input::IUCLC) {
            byte += 0x20;
        }
        if core::mem::take(&mut self.literal) {
            return self.keep(byte, false);
        }
        if self.input(input::IXON) && (termios.is(Start, byte) || termios.is(Stop, byte)) {
            self.screen.stop(!termios.is(Start, byte));
            return;
        }
        if self.local(local::ISIG) {
            let signals = [(Interrupt, Signal::INT), (Quit, Signal::QUIT), (Suspend, Signal::TSTP)];
            if let Some((_, signal)) = signals.into_iter().find(|&(special, _)| termios.is(special, byte)) {
                return self.raise(signal, byte);
            }
        }
        if self.input(input::IXON) && self.input(input::IXANY) {
            self.screen.stop(false);
        }
        let mut translated = false;
        match byte {
            b'\r' if self.input(input::IGNCR) => return,
            b'\r' if self.input(input::ICRNL) => (byte, translated) = (b'\n', true),
            b'\n' if self.input(input::INLCR) => byte = b'\r',
            _ => {}
        }
        if !self.local(local::ICANON) {
            return self.keep(byte, translated);
        }
        let is = |special| termios.is(special, byte);
        if is(Erase) || is(Kill) || extended && is(WordErase) {
            self.erase(if is(Erase) {
                Erase
            } else if is(Kill) {
                Kill
            } else {
                WordErase
            });
        } else if extended && is(LiteralNext) {
            self.literal = true;
            if self.local(local::ECHO) {
                self.screen.finish_erasing(&self.termios);
                if self.local(local::ECHOCTL) {
                    self.write(b"^\x08");
                }
            }
        } else if extended && self.local(local::ECHO) && is(Reprint) {
            self.screen.finish_erasing(&self.termios);
            self.screen.echo(&termios, byte);
            self.screen.put(&termios, b'\n');
            for &entry in self.typed.iter().skip(self.committed) {
                self.screen.echo(&termios, entry as u8);
            }
        } else if byte == b'\n' {
            if self.local(local::ECHO | local::ECHONL) {
                self.screen.put(&termios, b'\n');
            }
            self.end_line(u16::from(b'\n') | END);
        } else if is(EndOfFile) {
            self.end_line(HIDDEN);
        } else if is(EndOfLine) || extended && is(EndOfLine2) {
            if self.local(local::ECHO) {
                self.echo_typed(byte, false);
            }
            self.mark(byte);
            self.end_line(u16::from(byte) | END);
        } else {
            self.keep(byte, translated);
        }
    }

    /// A byte that is only data.
    fn keep(&mut self, byte: u8, translated: bool) {
        if self.local(local::ECHO) {
            self.screen.finish_erasing(&self.termios);
            self.echo_typed(byte, translated && byte == b'\n');
        }
        self.mark(byte);
        self.push(u16::from(byte));
    }

    /// Shows a typed byte: `plain` as the program would print it, else with control characters in letters.
    fn echo_typed(&mut self, byte: u8, plain: bool) {
        if self.typed.len() == self.committed {
            self.screen.begin_line();
        }
        if plain {
            self.screen.put(&self.termios, byte);
        } else {
            self.screen.echo(&self.termios, byte);
        }
    }

    /// With `PARMRK`, 0xff comes twice, as alone it marks an error.
    fn mark(&mut self, byte: u8) {
        if byte == 0xff && self.input(input::PARMRK) {
            self.push(0xff);
        }
    }

    fn push(&mut self, entry: u16) {
        // The room was reserved at the beginning; only doubled bytes at the very end of it can go beyond.
        if self.typed.len() < self.typed.capacity() {
            self.typed.push_back(entry);
        }
    }

    fn end_line(&mut self, entry: u16) {
        self.push(entry);
        self.committed = self.typed.len();
    }

    fn raise(&mut self, signal: Signal, byte: u8) {
        self.signals.insert(signal);
        if !self.local(local::NOFLSH) {
            self.flush();
            self.screen.tell(news::FLUSH_WRITE, 0);
        }
        if self.input(input::IXON) {
            self.screen.stop(false);
        }
        if self.local(local::ECHO) {
            self.screen.echo(&self.termios, byte);
        }
    }

    /// Takes what the program prints.
    pub fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.screen.put(&self.termios, byte);
        }
    }
}
