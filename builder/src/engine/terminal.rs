//! The user's terminal: raw while the application owns it, restored whatever happens.

use std::io::Stdin;

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

/// The terminal on standard input in raw mode. Restored when dropped.
#[derive(Debug)]
pub(super) struct RawMode {
    stdin: Stdin,
    before: Termios,
}

impl RawMode {
    /// Makes the terminal raw: every byte goes to the guest's terminal, which gives Ctrl-C its meaning.
    pub fn enter() -> rustix::io::Result<Self> {
        let stdin = std::io::stdin();
        let before = tcgetattr(&stdin)?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(&stdin, OptionalActions::Now, &raw)?;
        Ok(Self { stdin, before })
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        // A terminal that has gone needs no restoring.
        let _ = tcsetattr(&self.stdin, OptionalActions::Now, &self.before);
    }
}

/// Rows and columns of the terminal on standard output.
pub(super) fn size() -> Option<(u16, u16)> {
    tcgetwinsize(std::io::stdout()).ok().map(|size| (size.ws_row, size.ws_col))
}
