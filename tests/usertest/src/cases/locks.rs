//! Locks of one process: between open file descriptions, and of the process with itself.

use libc::*;

use super::helpers::{CLOSED, close, must_open, put};
use crate::report::Report;
use crate::sys;

/// Runs the group.
pub fn run(t: &mut Report) {
    put("file", "0123456789");
    whole_files(t);
    records(t);
    descriptions(t);
}

fn whole_files(t: &mut Report) {
    let (a, b) = (must_open(c"file", O_RDWR), must_open(c"file", O_RDONLY));
    t.call("flock", sys!(SYS_flock, a, LOCK_EX));
    t.call("flock_again", sys!(SYS_flock, a, LOCK_EX));
    t.call("flock_other", sys!(SYS_flock, b, LOCK_EX | LOCK_NB));
    t.call("flock_other_shared", sys!(SYS_flock, b, LOCK_SH | LOCK_NB));
    t.call("flock_downgrade", sys!(SYS_flock, a, LOCK_SH));
    t.call("flock_both_shared", sys!(SYS_flock, b, LOCK_SH | LOCK_NB));
    t.call("flock_upgrade_refused", sys!(SYS_flock, a, LOCK_EX | LOCK_NB));
    t.call("flock_unlock", sys!(SYS_flock, b, LOCK_UN));
    t.call("flock_unlock_again", sys!(SYS_flock, b, LOCK_UN));
    t.call("flock_bad", sys!(SYS_flock, a, 77));
    t.call("flock_closed", sys!(SYS_flock, CLOSED, LOCK_EX));
    let second = sys!(SYS_dup, a).expect("a duplicate") as i32;
    sys!(SYS_flock, a, LOCK_EX).expect("a lock");
    close(a);
    t.call("flock_lives_in_duplicate", sys!(SYS_flock, b, LOCK_EX | LOCK_NB));
    close(second);
    t.call("flock_ends_with_last", sys!(SYS_flock, b, LOCK_EX | LOCK_NB));
    close(b);
}

fn lock(kind: i32, start: i64, length: i64) -> flock {
    let mut lock = sys::zeroed::<flock>();
    lock.l_type = kind as i16;
    lock.l_start = start;
    lock.l_len = length;
    lock
}

fn records(t: &mut Report) {
    let fd = must_open(c"file", O_RDWR);
    t.call("setlk", sys!(SYS_fcntl, fd, F_SETLK, &lock(F_WRLCK, 0, 5)));
    t.call("setlk_own_overlap", sys!(SYS_fcntl, fd, F_SETLK, &lock(F_RDLCK, 2, 10)));
    let mut probe = lock(F_WRLCK, 0, 0);
    t.call("getlk_own", sys!(SYS_fcntl, fd, F_GETLK, &mut probe));
    t.show("getlk_own_type", probe.l_type);
    t.call("setlk_unlock", sys!(SYS_fcntl, fd, F_SETLK, &lock(F_UNLCK, 0, 0)));
    t.call("setlkw", sys!(SYS_fcntl, fd, F_SETLKW, &lock(F_WRLCK, 0, 0)));
    t.call("setlk_bad_type", sys!(SYS_fcntl, fd, F_SETLK, &lock(9, 0, 0)));
    let mut whence = lock(F_WRLCK, 0, 0);
    whence.l_whence = 9;
    t.call("setlk_bad_whence", sys!(SYS_fcntl, fd, F_SETLK, &whence));
    t.call("setlk_negative", sys!(SYS_fcntl, fd, F_SETLK, &lock(F_WRLCK, -1, 0)));
    t.call("setlk_negative_length", sys!(SYS_fcntl, fd, F_SETLK, &lock(F_WRLCK, 5, -5)));
    t.call("setlk_fault", sys!(SYS_fcntl, fd, F_SETLK, 8));
    close(fd);
    let fd = must_open(c"file", O_RDONLY);
    t.call("setlk_write_on_read_only", sys!(SYS_fcntl, fd, F_SETLK, &lock(F_WRLCK, 0, 0)));
    t.call("setlk_read_on_read_only", sys!(SYS_fcntl, fd, F_SETLK, &lock(F_RDLCK, 0, 0)));
    close(fd);
    t.call("setlk_closed", sys!(SYS_fcntl, CLOSED, F_SETLK, &lock(F_RDLCK, 0, 0)));
}

fn descriptions(t: &mut Report) {
    let (a, b) = (must_open(c"file", O_RDWR), must_open(c"file", O_RDWR));
    t.call("ofd_set", sys!(SYS_fcntl, a, F_OFD_SETLK, &lock(F_WRLCK, 0, 5)));
    t.call("ofd_conflict", sys!(SYS_fcntl, b, F_OFD_SETLK, &lock(F_RDLCK, 4, 1)));
    t.call("ofd_no_conflict", sys!(SYS_fcntl, b, F_OFD_SETLK, &lock(F_WRLCK, 5, 1)));
    let mut probe = lock(F_WRLCK, 0, 0);
    t.call("ofd_get", sys!(SYS_fcntl, b, F_OFD_GETLK, &mut probe));
    t.show("ofd_get_found", format!("{} {} {} {}", probe.l_type, probe.l_start, probe.l_len, probe.l_pid));
    let mut with_pid = lock(F_WRLCK, 0, 0);
    with_pid.l_pid = 1;
    t.call("ofd_pid_must_be_zero", sys!(SYS_fcntl, b, F_OFD_SETLK, &with_pid));
    close(a);
    t.call("ofd_ends_with_close", sys!(SYS_fcntl, b, F_OFD_SETLK, &lock(F_WRLCK, 0, 0)));
    close(b);
}
