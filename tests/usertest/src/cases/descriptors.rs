//! The table of file descriptors: duplicates, flags, ranges, limits.

use libc::*;

use super::helpers::{CLOSED, NOWHERE, close, must_open, put};
use crate::report::Report;
use crate::sys;

/// Runs the group.
pub fn run(t: &mut Report) {
    put("file", "content");
    duplicates(t);
    flags(t);
    ranges(t);
    limits(t);
}

fn duplicates(t: &mut Report) {
    let fd = must_open(c"file", O_RDONLY | O_CLOEXEC);
    t.call("dup", sys!(SYS_dup, fd));
    t.call("dup_drops_cloexec", sys!(SYS_fcntl, 4, F_GETFD));
    t.call("dup_closed", sys!(SYS_dup, CLOSED));
    t.call("dup2", sys!(SYS_dup2, fd, 10));
    t.call("dup2_same", sys!(SYS_dup2, fd, fd));
    t.call("dup2_same_closed", sys!(SYS_dup2, CLOSED, CLOSED));
    t.call("dup2_negative", sys!(SYS_dup2, fd, -1));
    t.call("dup2_too_high", sys!(SYS_dup2, fd, 1 << 30));
    t.call("dup2_replaces", sys!(SYS_dup2, 4, 10));
    t.call("dup3", sys!(SYS_dup3, fd, 11, O_CLOEXEC));
    t.call("dup3_cloexec", sys!(SYS_fcntl, 11, F_GETFD));
    t.call("dup3_same", sys!(SYS_dup3, fd, fd, 0));
    t.call("dup3_bad_flag", sys!(SYS_dup3, fd, 12, O_APPEND));
    t.call("dupfd", sys!(SYS_fcntl, fd, F_DUPFD, 20));
    t.call("dupfd_next", sys!(SYS_fcntl, fd, F_DUPFD_CLOEXEC, 20));
    t.call("dupfd_cloexec", sys!(SYS_fcntl, 21, F_GETFD));
    t.call("dupfd_negative", sys!(SYS_fcntl, fd, F_DUPFD, -1));
    t.call("dupfd_too_high", sys!(SYS_fcntl, fd, F_DUPFD, 1 << 30));
    for open in [fd, 4, 10, 11, 20, 21] {
        close(open);
    }
}

fn flags(t: &mut Report) {
    let fd = must_open(c"file", O_RDONLY);
    t.call("setfd", sys!(SYS_fcntl, fd, F_SETFD, FD_CLOEXEC));
    t.call("getfd", sys!(SYS_fcntl, fd, F_GETFD));
    t.call("setfd_clears", sys!(SYS_fcntl, fd, F_SETFD, 0));
    t.call("getfd_cleared", sys!(SYS_fcntl, fd, F_GETFD));
    t.call("ioctl_fioclex", sys!(SYS_ioctl, fd, FIOCLEX, 0));
    t.call("fioclex_sets", sys!(SYS_fcntl, fd, F_GETFD));
    t.call("ioctl_fionclex", sys!(SYS_ioctl, fd, FIONCLEX, 0));
    t.call("fionclex_clears", sys!(SYS_fcntl, fd, F_GETFD));
    let on = 1i32;
    t.call("ioctl_fionbio", sys!(SYS_ioctl, fd, FIONBIO, &on));
    t.is("fionbio_sets", sys!(SYS_fcntl, fd, F_GETFL).is_ok_and(|flags| flags as i32 & O_NONBLOCK != 0));
    let mut available = 0i32;
    t.call("ioctl_fionread", sys!(SYS_ioctl, fd, FIONREAD, &mut available));
    t.show("fionread", available);
    t.call("ioctl_unknown", sys!(SYS_ioctl, fd, 0xdead, 0));
    t.call("ioctl_tty_on_file", sys!(SYS_ioctl, fd, TCGETS, &mut sys::zeroed::<termios>()));
    t.call("ioctl_closed", sys!(SYS_ioctl, CLOSED, TCGETS, 0));
    t.call("fcntl_unknown", sys!(SYS_fcntl, fd, 9999, 0));
    t.call("fcntl_closed", sys!(SYS_fcntl, CLOSED, F_GETFD));
    t.call("setfl_ignores_creation", sys!(SYS_fcntl, fd, F_SETFL, O_CREAT | O_EXCL));
    t.call("getown", sys!(SYS_fcntl, fd, F_GETOWN));
    close(fd);
}

fn ranges(t: &mut Report) {
    for fd in [30, 31, 32, 33] {
        let _ = sys!(SYS_dup2, 0, fd);
    }
    t.call("close_range", sys!(SYS_close_range, 31, 32, 0));
    t.call("close_range_spares_before", sys!(SYS_fcntl, 30, F_GETFD));
    t.call("close_range_closes", sys!(SYS_fcntl, 31, F_GETFD));
    t.call("close_range_spares_after", sys!(SYS_fcntl, 33, F_GETFD));
    t.call("close_range_empty", sys!(SYS_close_range, 31, 32, 0));
    t.call("close_range_reversed", sys!(SYS_close_range, 40, 30, 0));
    t.call("close_range_bad_flag", sys!(SYS_close_range, 30, 40, 64));
    t.call("close_range_cloexec", sys!(SYS_close_range, 30, 40, CLOSE_RANGE_CLOEXEC));
    t.call("close_range_marks", sys!(SYS_fcntl, 33, F_GETFD));
    t.call("close_range_rest", sys!(SYS_close_range, 3, u32::MAX, 0));
}

fn limits(t: &mut Report) {
    let mut old = sys::zeroed::<rlimit>();
    t.call("nofile_get", sys!(SYS_prlimit64, 0, RLIMIT_NOFILE, 0, &mut old));
    let low = rlimit { rlim_cur: 5, rlim_max: old.rlim_max };
    t.call("nofile_set", sys!(SYS_setrlimit, RLIMIT_NOFILE, &low));
    t.call("under_limit_1", sys!(SYS_dup, 0));
    t.call("under_limit_2", sys!(SYS_dup, 0));
    t.call("dup_at_limit", sys!(SYS_dup, 0));
    t.call("open_at_limit", sys!(SYS_openat, AT_FDCWD, c"file", O_RDONLY, 0));
    t.call("pipe_at_limit", sys!(SYS_pipe2, &mut [0i32; 2], 0));
    t.call("pipe_at_limit_fault", sys!(SYS_pipe2, NOWHERE, 0));
    t.call("pair_at_limit_fault", sys!(SYS_socketpair, 99, SOCK_STREAM, 0, NOWHERE));
    close(4);
    t.call("pipe_over_limit", sys!(SYS_pipe2, &mut [0i32; 2], 0));
    t.call("pipe_over_limit_leaves_none", sys!(SYS_fcntl, 4, F_GETFD));
    t.call("pair_over_limit", sys!(SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, &mut [0i32; 2]));
    t.call("dup2_at_limit", sys!(SYS_dup2, 0, 5));
    t.call("dupfd_at_limit", sys!(SYS_fcntl, 0, F_DUPFD, 5));
    t.call("nofile_restore", sys!(SYS_setrlimit, RLIMIT_NOFILE, &old));
    let _ = sys!(SYS_close_range, 3, u32::MAX, 0);
    // The size limit of files: the write is cut, then refused; the signal of it is ignored here.
    let mut size = sys::zeroed::<rlimit>();
    sys!(SYS_getrlimit, RLIMIT_FSIZE, &mut size).expect("the limit");
    // SAFETY: no handler is installed.
    unsafe { signal(SIGXFSZ, SIG_IGN) };
    let low = rlimit { rlim_cur: 6, rlim_max: size.rlim_max };
    sys!(SYS_setrlimit, RLIMIT_FSIZE, &low).expect("a limit");
    let fd = sys!(SYS_openat, AT_FDCWD, c"limited", O_CREAT | O_WRONLY, 0o600).unwrap_or(0);
    let cut = sys!(SYS_write, fd, b"0123456789", 10);
    let refused = sys!(SYS_write, fd, b"x", 1);
    let truncated = sys!(SYS_ftruncate, fd, 100);
    sys!(SYS_setrlimit, RLIMIT_FSIZE, &size).expect("the old limit");
    t.call("fsize_cuts", cut);
    t.call("fsize_refuses", refused);
    t.call("fsize_ftruncate", truncated);
    close(fd as i32);
}
