//! Taking back what was typed.

use super::Line;
use crate::tty::screen::is_control;
use crate::tty::termios::Special::{self, Erase, Kill, WordErase};
use crate::tty::termios::{input, local};

impl Line {
    /// `VERASE`, `VWERASE` and `VKILL`: takes back the last character, word or all of the line that is being typed.
    pub(super) fn erase(&mut self, what: Special) {
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
}

/// Letters and digits of Latin-1, and `_`.
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0xc0 && byte != 0xd7 && byte != 0xf7
}
