//! The line discipline `N_TTY`: what becomes of typed bytes, and how they are echoed.
//!
//! Nothing here waits or knows of processes: [`Line::receive`] takes what is typed, [`Line::read`] gives what a program may have,
//! [`Line::write`] takes what the program prints; what goes to the screen is collected by the [`Screen`], and signals in [`Line::signals`].

use alloc::collections::VecDeque;

use isopod_fs::{Errno, Result, Sink};
use isopod_hal::clock;

use super::screen::{Screen, is_control};
use super::termios::Special::{
    EndOfFile, EndOfLine, EndOfLine2, Erase, Interrupt, Kill, LiteralNext, Minimum, Quit, Reprint, Start,
    Stop, Suspend, Time, WordErase,
};
use super::termios::{Special, Termios, input, local};
use crate::signal::{SigSet, Signal};

/// The most bytes that wait to be read (`N_TTY_BUF_SIZE`); one stays free, for the end of a line that is too long.
pub(super) const CAPACITY: usize = 4096;

/// Set in an entry that ends a line.
const END: u16 = 0x100;
/// Set in an entry that ends a line and is itself not read: the end of the file.
const HIDDEN: u16 = 0x200;

/// Nanoseconds in the unit of `VTIME`.
const TENTH: u64 = 100_000_000;

/// A line discipline and what waits in it.
pub(super) struct Line {
    pub termios: Termios,
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
        if old.input & !termios.input & input::IXON != 0 {
            self.screen.stopped = false;
        }
    }

    /// Throws away what was typed and not read.
    pub fn flush(&mut self) {
        self.typed.clear();
        self.committed = 0;
        self.literal = false;
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
            self.screen.stopped = !termios.is(Start, byte);
            return;
        }
        if self.local(local::ISIG) {
            let signals = [(Interrupt, Signal::INT), (Quit, Signal::QUIT), (Suspend, Signal::TSTP)];
            if let Some((_, signal)) = signals.into_iter().find(|&(special, _)| termios.is(special, byte)) {
                return self.raise(signal, byte);
            }
        }
        if self.input(input::IXON) && self.input(input::IXANY) {
            self.screen.stopped = false;
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
        }
        if self.input(input::IXON) {
            self.screen.stopped = false;
        }
        if self.local(local::ECHO) {
            self.screen.echo(&self.termios, byte);
        }
    }

    /// `VERASE`, `VWERASE` and `VKILL`: takes back the last character, word or all of the line that is being typed.
    fn erase(&mut self, what: Special) {
        if self.typed.len() == self.committed {
            return;
        }
        let termios = self.termios;
        let echo = self.local(local::ECHO);
        let shown_as_gone = local::ECHOK | local::ECHOKE | local::ECHOE;
        if what == Kill && (!echo || termios.local & shown_as_gone != shown_as_gone) {
            self.typed.truncate(self.committed);
            if echo {
                self.screen.finish_erasing(&self.termios);
                self.screen.echo(&termios, termios.character(Kill));
                if self.local(local::ECHOK) {
                    self.screen.put(&termios, b'\n');
                }
            }
            return;
        }
        let mut in_word = false;
        while self.typed.len() > self.committed {
            let start = self.last_character();
            let first = self.typed.get(start).map_or(0, |&entry| entry as u8);
            if self.continues(first) {
                break;
            }
            if what == WordErase {
                let word = is_word(first);
                if in_word && !word {
                    break;
                }
                in_word |= word;
            }
            if echo {
                self.echo_erase(start, first, what);
            }
            self.typed.truncate(start);
            if what == Erase {
                break;
            }
        }
        if echo && self.typed.len() == self.committed {
            self.screen.finish_erasing(&self.termios);
        }
    }

    /// Where the last character begins: with `IUTF8` it can have several bytes.
    fn last_character(&self) -> usize {
        let mut start = self.typed.len() - 1;
        while start > self.committed
            && self.typed.get(start).is_some_and(|&entry| self.continues(entry as u8))
        {
            start -= 1;
        }
        start
    }

    /// Whether the byte goes on with a character of several bytes.
    fn continues(&self, byte: u8) -> bool {
        self.input(input::IUTF8) && byte & 0xc0 == 0x80
    }

    /// Shows that the character from `start` on, which begins with `first`, is gone.
    fn echo_erase(&mut self, start: usize, first: u8, what: Special) {
        let termios = self.termios;
        if self.local(local::ECHOPRT) {
            self.screen.begin_erasing(&self.termios);
            self.screen.echo(&termios, first);
            for &entry in self.typed.iter().skip(start + 1) {
                self.screen.put_beneath(&termios, entry as u8);
            }
        } else if what == Erase && !self.local(local::ECHOE) {
            self.screen.echo(&termios, termios.character(Erase));
        } else if first == b'\t' {
            let mut width = 0;
            let mut after_tab = false;
            for &entry in self.typed.range(self.committed..start).rev() {
                match entry as u8 {
                    b'\t' => {
                        after_tab = true;
                        break;
                    }
                    byte if is_control(byte) => width += if self.local(local::ECHOCTL) { 2 } else { 0 },
                    byte => width += usize::from(!self.continues(byte)),
                }
            }
            self.screen.erase_tab(width, after_tab);
        } else {
            let columns = match is_control(first) {
                true if self.local(local::ECHOCTL) => 2,
                true => 0,
                false => 1,
            };
            for _ in 0..columns {
                self.screen.erase_column(&termios);
            }
        }
    }

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

    /// Takes what the program prints.
    pub fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.screen.put(&self.termios, byte);
        }
    }
}

/// Letters and digits of Latin-1, and `_`.
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0xc0 && byte != 0xd7 && byte != 0xf7
}
