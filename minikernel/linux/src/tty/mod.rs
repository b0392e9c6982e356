//! Terminals: `tty(4)`, `pty(7)`, `termios(3)`.
//!
//! A [`Terminal`] is a [line discipline](line) with a window size, a session that it controls, and two ends. A program has the one
//! end open as its terminal ([`end`]); at the other is the host ([`console`]) or a program that opened `/dev/ptmx` ([`pty`]).
//! What only the foreground may do, and which session a terminal belongs to, is in [`job`].

pub mod console;
mod end;
mod ioctl;
mod job;
mod line;
pub mod pty;
mod screen;
mod terminal;
mod termios;
#[cfg(test)]
mod tests;

pub use end::open_controlling;
pub use job::{Orphaned, controlling, could_continue, hang_up_orphaned, is_in_orphaned_group, leave_session};
pub use terminal::Terminal;
