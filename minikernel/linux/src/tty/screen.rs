//! The output side of the line discipline: columns, line ends, echo.

use alloc::collections::VecDeque;

use super::termios::{Termios, input, local, output};

/// How many bytes may wait before programs that print have to.
const ROOM: usize = 64 << 10;
/// The most bytes that one byte can become: a tab.
const WIDEST: usize = 8;

/// What goes to the screen.
#[derive(Default)]
pub(super) struct Screen {
    /// Bytes on their way.
    pub bytes: VecDeque<u8>,
    /// Held back by `VSTOP` or tcflow(3).
    stopped: bool,
    /// The master reads packets: a byte that says what follows, or what has happened (`TIOCPKT`).
    pub packets: bool,
    /// What has happened since: bits of [`news`].
    pub news: u8,
    /// `ECHOPRT` shows erased characters between `\` and `/`.
    erasing: bool,
    column: usize,
    /// Where the line that is being typed began.
    line_start: usize,
}

/// What a master that reads packets is told (`ioctl_tty(2)`, "Packet mode").
pub(super) mod news {
    pub const FLUSH_READ: u8 = 1;
    pub const FLUSH_WRITE: u8 = 2;
    pub const STOP: u8 = 4;
    pub const START: u8 = 8;
    pub const NO_STOP: u8 = 16;
    pub const DO_STOP: u8 = 32;
}

impl Screen {
    /// Holds back what is printed, or no more.
    pub fn stop(&mut self, stopped: bool) {
        if core::mem::replace(&mut self.stopped, stopped) != stopped {
            let (now, before) = if stopped { (news::STOP, news::START) } else { (news::START, news::STOP) };
            self.tell(now, before);
        }
    }

    /// Tells a master that reads packets of something, in place of what was before.
    pub fn tell(&mut self, now: u8, before: u8) {
        if self.packets {
            self.news = self.news & !before | now;
        }
    }

    /// How many bytes of a program's can be taken.
    pub fn room(&self) -> usize {
        if self.stopped { 0 } else { ROOM.saturating_sub(self.bytes.len()) / WIDEST }
    }

    /// Sends bytes as they are. Without memory, or when nobody takes the echo of very much, they are lost.
    pub fn raw(&mut self, bytes: &[u8]) {
        if self.bytes.len() + bytes.len() <= 2 * ROOM && self.bytes.try_reserve(bytes.len()).is_ok() {
            self.bytes.extend(bytes);
        }
    }

    /// Sends a byte as the output modes say.
    pub fn put(&mut self, termios: &Termios, mut byte: u8) {
        let is = |mode| termios.output & mode != 0;
        if is(output::OPOST) {
            match byte {
                b'\n' => {
                    if is(output::ONLRET | output::ONLCR) {
                        self.column = 0;
                    }
                    self.line_start = self.column;
                    if is(output::ONLCR) {
                        return self.raw(b"\r\n");
                    }
                }
                b'\r' if is(output::ONOCR) && self.column == 0 => return,
                b'\r' if is(output::OCRNL) => {
                    byte = b'\n';
                    if is(output::ONLRET) {
                        (self.column, self.line_start) = (0, 0);
                    }
                }
                b'\r' => (self.column, self.line_start) = (0, 0),
                b'\t' => {
                    let spaces = 8 - self.column % 8;
                    self.column += spaces;
                    if termios.output & output::XTABS == output::XTABS {
                        return self.raw(&[b' '; 8][..spaces]);
                    }
                }
                8 => self.column = self.column.saturating_sub(1),
                _ if is_control(byte) => {}
                _ => {
                    // As with `IUCLC`, letters are those of Latin-1, as in Linux's ctype.
                    if is(output::OLCUC) && matches!(byte, b'a'..=b'z' | 0xdf..=0xf6 | 0xf8..) {
                        byte -= 0x20;
                    }
                    if termios.input & input::IUTF8 == 0 || byte & 0xc0 != 0x80 {
                        self.column += 1;
                    }
                }
            }
        }
        self.raw(&[byte]);
    }

    /// Shows a typed byte, control characters as `^X` with `ECHOCTL`.
    pub fn echo(&mut self, termios: &Termios, byte: u8) {
        if termios.local & local::ECHOCTL != 0 && is_control(byte) && byte != b'\t' {
            self.raw(&[b'^', byte ^ 0x40]);
            self.column += 2;
        } else if byte == 0xff {
            // Linux's echo buffer has this byte for itself; the output modes do not see it.
            self.raw(&[byte]);
            self.column += 1;
        } else {
            self.put(termios, byte);
        }
    }

    /// A line begins to be typed here.
    pub fn begin_line(&mut self) {
        self.line_start = self.column;
    }

    /// `ECHOPRT`: what follows was erased.
    pub fn begin_erasing(&mut self, termios: &Termios) {
        if !core::mem::replace(&mut self.erasing, true) {
            self.put(termios, b'\\');
        }
    }

    /// `ECHOPRT`: the erased characters end here.
    pub fn finish_erasing(&mut self, termios: &Termios) {
        if core::mem::take(&mut self.erasing) {
            self.put(termios, b'/');
        }
    }

    /// Sends a byte that takes no column of its own.
    pub fn put_beneath(&mut self, termios: &Termios, byte: u8) {
        self.put(termios, byte);
        self.column = self.column.saturating_sub(1);
    }

    /// Makes the last column blank.
    pub fn erase_column(&mut self, termios: &Termios) {
        for byte in *b"\x08 \x08" {
            self.put(termios, byte);
        }
    }

    /// Goes back over a tab that was typed behind `width` columns, counted from a tab or from the line's start.
    pub fn erase_tab(&mut self, width: usize, after_tab: bool) {
        let before = if after_tab { width } else { width + self.line_start };
        let back = 8 - before % 8;
        self.column = self.column.saturating_sub(back);
        self.raw(&[8; 8][..back]);
    }
}

/// The control characters of ASCII.
pub(super) fn is_control(byte: u8) -> bool {
    byte.is_ascii_control()
}
