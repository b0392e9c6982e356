//! Sockets between processes of one machine, and the calls that all sockets share.

mod addresses;
mod connections;
mod control;
pub mod helpers;
mod messages;
mod options;
mod streams;
mod waits;

use libc::{SIG_IGN, SIGPIPE, signal};

use crate::report::Report;

/// Runs the group.
pub fn run(t: &mut Report) {
    // SAFETY: no handler is installed.
    unsafe { signal(SIGPIPE, SIG_IGN) };
    addresses::run(t);
    connections::run(t);
    streams::run(t);
    messages::run(t);
    control::run(t);
    options::run(t);
    waits::run(t);
}
