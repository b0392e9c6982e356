//! Event counters.

use libc::*;

use super::helpers::{close, until_others_sleep};
use crate::report::Report;

/// Runs the group.
pub fn run(t: &mut Report) {
    t.call("create", sys!(SYS_eventfd2, 5, EFD_NONBLOCK));
    let mut value = 0u64;
    t.call("read", sys!(SYS_read, 3, &mut value, 8));
    t.show("read_value", value);
    t.call("read_zero", sys!(SYS_read, 3, &mut value, 8));
    t.call("read_short", sys!(SYS_read, 3, &mut value, 7));
    t.call("write", sys!(SYS_write, 3, &7u64, 8));
    t.call("write_adds", sys!(SYS_write, 3, &8u64, 8));
    let _ = sys!(SYS_read, 3, &mut value, 8);
    t.show("sum", value);
    t.call("write_maximum", sys!(SYS_write, 3, &(u64::MAX - 1), 8));
    t.call("write_over_maximum", sys!(SYS_write, 3, &1u64, 8));
    t.call("write_all_ones", sys!(SYS_write, 3, &u64::MAX, 8));
    t.call("write_short", sys!(SYS_write, 3, &1u64, 4));
    t.call("write_zero", sys!(SYS_write, 3, &0u64, 8));
    t.call("seek", sys!(SYS_lseek, 3, 0, SEEK_SET));
    let mut poll = [pollfd { fd: 3, events: POLLIN | POLLOUT, revents: 0 }];
    t.call("poll_full", sys!(SYS_poll, &mut poll, 1, 0));
    t.show("poll_full_events", poll[0].revents);
    let _ = sys!(SYS_read, 3, &mut value, 8);
    t.call("poll_empty", sys!(SYS_poll, &mut poll, 1, 0));
    t.show("poll_empty_events", poll[0].revents);
    close(3);
    t.call("semaphore", sys!(SYS_eventfd2, 2, EFD_SEMAPHORE | EFD_NONBLOCK | EFD_CLOEXEC));
    for case in ["semaphore_first", "semaphore_second", "semaphore_empty"] {
        t.call(case, sys!(SYS_read, 3, &mut value, 8));
    }
    t.show("semaphore_value", value);
    close(3);
    t.call("legacy", sys!(SYS_eventfd, 0));
    let thread = std::thread::spawn(|| {
        let mut value = 0u64;
        sys!(SYS_read, 3, &mut value, 8).map(|_| value)
    });
    until_others_sleep();
    let _ = sys!(SYS_write, 3, &9u64, 8);
    t.show("read_waits", thread.join().expect("a thread").unwrap_or(0));
    close(3);
    t.call("bad_flag", sys!(SYS_eventfd2, 0, 1 << 20));
}
