//! One table: every call that takes a descriptor, with one that is not open and with one of the wrong kind.

use libc::*;

use super::helpers::{CLOSED, close, must_open};
use crate::report::Report;
use crate::sys::Errno;

/// A call's name, and how it is made with a descriptor.
type Call = (&'static str, fn(i32) -> Result<usize, Errno>);

/// Room for results that nobody looks at.
static mut SCRATCH: [u64; 512] = [0; 512];

fn scratch() -> *mut u64 {
    (&raw mut SCRATCH).cast()
}

const CALLS: [Call; 38] = [
    ("read", |fd| sys!(SYS_read, fd, scratch(), 1)),
    ("readv", |fd| sys!(SYS_readv, fd, scratch(), 0)),
    ("pread64", |fd| sys!(SYS_pread64, fd, scratch(), 1, 0)),
    ("write", |fd| sys!(SYS_write, fd, scratch(), 1)),
    ("pwrite64", |fd| sys!(SYS_pwrite64, fd, scratch(), 1, 0)),
    ("lseek", |fd| sys!(SYS_lseek, fd, 0, SEEK_CUR)),
    ("fstat", |fd| sys!(SYS_fstat, fd, scratch())),
    ("fstatfs", |fd| sys!(SYS_fstatfs, fd, scratch())),
    ("fchmod", |fd| sys!(SYS_fchmod, fd, 0o644)),
    ("fchown", |fd| sys!(SYS_fchown, fd, -1, -1)),
    ("ftruncate", |fd| sys!(SYS_ftruncate, fd, 0)),
    ("fallocate", |fd| sys!(SYS_fallocate, fd, 0, 0, 1)),
    ("fsync", |fd| sys!(SYS_fsync, fd)),
    ("fdatasync", |fd| sys!(SYS_fdatasync, fd)),
    ("syncfs", |fd| sys!(SYS_syncfs, fd)),
    ("fadvise64", |fd| sys!(SYS_fadvise64, fd, 0, 0, 0)),
    ("readahead", |fd| sys!(SYS_readahead, fd, 0, 1)),
    ("getdents64", |fd| sys!(SYS_getdents64, fd, scratch(), 4096)),
    ("fchdir", |fd| sys!(SYS_fchdir, fd)),
    ("flock", |fd| sys!(SYS_flock, fd, LOCK_UN)),
    ("fcntl", |fd| sys!(SYS_fcntl, fd, F_GETFD)),
    ("ioctl", |fd| sys!(SYS_ioctl, fd, TIOCGWINSZ, scratch())),
    ("dup", |fd| sys!(SYS_dup, fd).and_then(|new| sys!(SYS_close, new))),
    ("fgetxattr", |fd| sys!(SYS_fgetxattr, fd, c"user.none", 0, 0)),
    ("flistxattr", |fd| sys!(SYS_flistxattr, fd, 0, 0).map(|_| 0)),
    ("openat", |fd| sys!(SYS_openat, fd, c"missing", O_RDONLY, 0)),
    ("mkdirat", |fd| sys!(SYS_mkdirat, fd, c"", 0o755)),
    ("unlinkat", |fd| sys!(SYS_unlinkat, fd, c"missing", 0)),
    ("readlinkat", |fd| sys!(SYS_readlinkat, fd, c"missing", scratch(), 8)),
    ("fchmodat", |fd| sys!(SYS_fchmodat, fd, c"missing", 0)),
    ("faccessat", |fd| sys!(SYS_faccessat, fd, c"missing", 0)),
    ("newfstatat", |fd| sys!(SYS_newfstatat, fd, c"missing", scratch(), 0)),
    ("epoll_wait", |fd| sys!(SYS_epoll_wait, fd, scratch(), 1, 0)),
    ("timerfd_gettime", |fd| sys!(SYS_timerfd_gettime, fd, scratch())),
    ("mmap", |fd| sys!(SYS_mmap, 0, 4096, PROT_READ, MAP_PRIVATE, fd, 0)),
    ("sendfile", |fd| sys!(SYS_sendfile, fd, fd, 0, 1)),
    ("splice", |fd| sys!(SYS_splice, fd, 0, fd, 0, 1, 0)),
    ("signalfd4", |fd| sys!(SYS_signalfd4, fd, scratch(), 8, 0)),
];

/// Runs the group.
pub fn run(t: &mut Report) {
    for (name, call) in CALLS {
        t.call(&format!("{name}_closed"), call(CLOSED));
        t.call(&format!("{name}_negative"), call(-7));
    }
    let path = must_open(c".", O_PATH);
    let folder = must_open(c".", O_RDONLY);
    let event = sys!(SYS_eventfd2, 1, EFD_NONBLOCK).expect("an event") as i32;
    let epoll = sys!(SYS_epoll_create1, 0).expect("an epoll") as i32;
    for (name, call) in CALLS {
        t.call(&format!("{name}_on_path"), call(path));
        // Whether a folder can be mapped or sent from is told by its file system, not by the kernel.
        if name != "mmap" && name != "sendfile" {
            t.call(&format!("{name}_on_folder"), call(folder));
        }
        t.call(&format!("{name}_on_event"), call(event));
        t.call(&format!("{name}_on_epoll"), call(epoll));
        // The next call finds the counter as this one did.
        let _ = sys!(SYS_write, event, &1u64, 8);
    }
    for fd in [path, folder, event, epoll] {
        close(fd);
    }
}
