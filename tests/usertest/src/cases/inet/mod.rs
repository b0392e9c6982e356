//! Sockets of the Internet, over the loopback interface: the only one that the program has.

mod beginnings;
mod bound;
mod changes;
mod corks;
mod datagrams;
mod diag;
mod endings;
mod failures;
mod fast_open;
mod groups;
mod helpers;
mod names;
mod options;
mod packets;
mod peeks;
mod pings;
mod raw;
mod segments;
mod streams;
mod tables;
mod tcp_options;

use libc::{SIG_IGN, SIGPIPE, signal};

use crate::report::Report;

/// Runs the group.
pub fn run(t: &mut Report) {
    // SAFETY: no handler is installed.
    unsafe { signal(SIGPIPE, SIG_IGN) };
    names::run(t);
    datagrams::run(t);
    corks::run(t);
    failures::run(t);
    groups::run(t);
    options::run(t);
    pings::run(t);
    packets::run(t);
    peeks::run(t);
    raw::run(t);
    segments::run(t);
    streams::run(t);
    bound::run(t);
    tcp_options::run(t);
    tables::run(t);
    diag::run(t);
    beginnings::run(t);
    changes::run(t);
    endings::run(t);
    fast_open::run(t);
}
