//! One table: every call that takes a path, with every way in which a path can be wrong.

use std::ffi::CStr;

use libc::*;

use super::helpers::{NOWHERE, long_name, put};
use crate::report::Report;
use crate::sys::Errno;

/// A call's name, and how it is made with a path given as a register.
type Call = (&'static str, fn(usize) -> Result<usize, Errno>);

/// Buffer for results that nobody looks at.
static mut SCRATCH: [u8; 4096] = [0; 4096];

fn scratch() -> *mut u8 {
    (&raw mut SCRATCH).cast()
}

const TIMES: [i64; 4] = [1, 0, 1, 0];

const CALLS: [Call; 24] = [
    ("open", |path| sys!(SYS_open, path, O_RDONLY)),
    ("stat", |path| sys!(SYS_stat, path, scratch())),
    ("lstat", |path| sys!(SYS_lstat, path, scratch())),
    ("statx", |path| sys!(SYS_statx, AT_FDCWD, path, 0, STATX_BASIC_STATS, scratch())),
    ("access", |path| sys!(SYS_access, path, F_OK)),
    ("chdir", |path| sys!(SYS_chdir, path)),
    ("chmod", |path| sys!(SYS_chmod, path, 0o644)),
    ("chown", |path| sys!(SYS_chown, path, 0, 0)),
    ("lchown", |path| sys!(SYS_lchown, path, 0, 0)),
    ("link_from", |path| sys!(SYS_link, path, c"made")),
    ("mkdir", |path| sys!(SYS_mkdir, path, 0o755)),
    ("mknod", |path| sys!(SYS_mknod, path, S_IFREG | 0o644, 0)),
    ("readlink", |path| sys!(SYS_readlink, path, scratch(), 64)),
    ("rename_from", |path| sys!(SYS_rename, path, c"made")),
    ("rename_to", |path| sys!(SYS_rename, c"file", path)),
    ("rmdir", |path| sys!(SYS_rmdir, path)),
    ("statfs", |path| sys!(SYS_statfs, path, scratch())),
    ("symlink_at", |path| sys!(SYS_symlink, c"x", path)),
    ("truncate", |path| sys!(SYS_truncate, path, 1)),
    ("unlink", |path| sys!(SYS_unlink, path)),
    ("utimensat", |path| sys!(SYS_utimensat, AT_FDCWD, path, &TIMES, 0)),
    ("getxattr", |path| sys!(SYS_getxattr, path, c"user.x", scratch(), 64)),
    ("listxattr", |path| sys!(SYS_listxattr, path, scratch(), 64)),
    ("execve", |path| sys!(SYS_execve, path, 0, 0)),
];

/// Runs the group.
pub fn run(t: &mut Report) {
    put("file", "content");
    sys!(SYS_symlink, c"loop", c"loop").expect("a link");
    let long_component = long_name(256);
    let long_path = std::ffi::CString::new("./".repeat(2100)).expect("no NUL");
    let longest = std::ffi::CString::new(format!("{}missing", "./".repeat(2044))).expect("no NUL");
    let wrong: [(&str, usize); 9] = [
        ("fault", NOWHERE),
        ("kernel_address", usize::MAX - 4095),
        ("empty", address(c"")),
        ("below_missing", address(c"missing/x")),
        ("below_file", address(c"file/x")),
        ("loop", address(c"loop/x")),
        ("long_component", address(&long_component)),
        ("long_path", address(&long_path)),
        ("longest_path", address(&longest)),
    ];
    for (name, call) in CALLS {
        for (way, path) in wrong {
            let result = call(path);
            // A call that makes the file leaves none behind for the next.
            if way == "longest_path" {
                let _ = sys!(SYS_unlink, c"missing");
                let _ = sys!(SYS_rmdir, c"missing");
                put("file", "content");
            }
            t.call(&format!("{name}_{way}"), result);
        }
    }
}

fn address(path: &CStr) -> usize {
    path.as_ptr() as usize
}
