//! Opening, creating and closing files.

use libc::*;

use super::helpers::{CLOSED, NOWHERE, close, fstat, get, lstat, must_open, open, put};
use crate::report::Report;

/// Runs the group.
pub fn run(t: &mut Report) {
    flags(t);
    creation(t);
    modes(t);
    special(t);
    openat2(t);
}

fn flags(t: &mut Report) {
    put("file", "hello");
    t.call("open_lowest", open(c"file", O_RDONLY));
    t.call("open_next", open(c"file", O_RDWR));
    t.call("close_first", sys!(SYS_close, 3));
    t.call("open_reuses_lowest", open(c"file", O_RDONLY));
    t.call("close", sys!(SYS_close, 3));
    t.call("close_second", sys!(SYS_close, 4));
    t.call("close_closed", sys!(SYS_close, 4));
    t.call("close_negative", sys!(SYS_close, -1));
    t.call("close_huge", sys!(SYS_close, CLOSED));
    t.call("legacy_open", sys!(SYS_open, c"file", O_RDONLY));
    close(3);
    t.call("legacy_creat", sys!(SYS_creat, c"created", 0o600));
    t.show("legacy_creat_flags", sys!(SYS_fcntl, 3, F_GETFL).map_or(-1, |flags| flags as i32 & O_ACCMODE));
    close(3);
    t.call("missing", open(c"missing", O_RDONLY));
    t.call("empty_path", open(c"", O_RDONLY));
    t.call("fault", sys!(SYS_openat, AT_FDCWD, NOWHERE, O_RDONLY, 0));
    t.call("null", sys!(SYS_openat, AT_FDCWD, 0, O_RDONLY, 0));
    t.call("directory_for_writing", open(c".", O_WRONLY));
    t.call("directory_read_write", open(c".", O_RDWR));
    t.ok("directory_for_reading", open(c".", O_RDONLY | O_DIRECTORY));
    close(3);
    t.call("not_a_directory", open(c"file", O_RDONLY | O_DIRECTORY));
    t.call("below_a_file", open(c"file/x", O_RDONLY));
    t.call("file_with_slash", open(c"file/", O_RDONLY));
    t.call("create_with_slash", open(c"new/", O_CREAT | O_WRONLY));
    t.call("bad_dirfd", sys!(SYS_openat, CLOSED, c"file", O_RDONLY, 0));
    t.ok("bad_dirfd_absolute", sys!(SYS_openat, CLOSED, c"/", O_RDONLY, 0));
    close(3);
    let fd = must_open(c"file", O_RDONLY);
    t.call("dirfd_is_file", sys!(SYS_openat, fd, c"x", O_RDONLY, 0));
    close(fd);
    t.call("access_mode_3", open(c"file", 3));
    let _ = sys!(SYS_close, 3);
}

fn creation(t: &mut Report) {
    t.call("create", open(c"new", O_CREAT | O_EXCL | O_RDWR));
    t.show("create_size", fstat(3).st_size);
    close(3);
    t.call("exclusive_exists", open(c"new", O_CREAT | O_EXCL | O_RDWR));
    t.ok("create_exists", open(c"new", O_CREAT | O_RDWR));
    close(3);
    t.call("create_directory", open(c".", O_CREAT | O_RDWR));
    t.call("create_o_directory", open(c"odir", O_CREAT | O_DIRECTORY | O_RDONLY));
    t.call("create_below_missing", open(c"missing/new", O_CREAT | O_RDWR));
    put("full", "content");
    t.ok("truncate", open(c"full", O_TRUNC | O_WRONLY));
    close(3);
    t.show("truncate_content", get("full").len());
    sys!(SYS_symlinkat, c"target", AT_FDCWD, c"dangling").expect("a link");
    t.call("dangling", open(c"dangling", O_RDONLY));
    t.call("dangling_exclusive", open(c"dangling", O_CREAT | O_EXCL | O_RDWR));
    t.ok("dangling_create", open(c"dangling", O_CREAT | O_RDWR));
    close(3);
    t.is("dangling_made_target", std::path::Path::new("target").exists());
    t.call("nofollow", open(c"dangling", O_RDONLY | O_NOFOLLOW));
    t.call("nofollow_directory", open(c"dangling", O_RDONLY | O_NOFOLLOW | O_DIRECTORY));
}

fn modes(t: &mut Report) {
    let mode = |path| format!("{:o}", lstat(path).st_mode);
    let create = |path, mode: u32| {
        close(sys!(SYS_openat, AT_FDCWD, path, O_CREAT | O_WRONLY, mode).expect("a new file") as i32);
    };
    create(c"mode_666", 0o666);
    t.show("mode_masked", mode(c"mode_666"));
    create(c"mode_7777", 0o7777);
    t.show("mode_special", mode(c"mode_7777"));
    create(c"mode_0", 0);
    t.show("mode_none", mode(c"mode_0"));
    t.ok("mode_none_root_opens", open(c"mode_0", O_RDWR));
    close(3);
    t.call("umask_returns_old", sys!(SYS_umask, 0o77));
    create(c"mode_umask", 0o666);
    t.show("mode_umask", mode(c"mode_umask"));
    t.call("umask_ignores_high_bits", sys!(SYS_umask, 0o17022));
    t.call("umask_is", sys!(SYS_umask, 0o22));
}

fn special(t: &mut Report) {
    let fd = must_open(c"file", O_PATH);
    let mut byte = 0u8;
    t.call("path_read", sys!(SYS_read, fd, &mut byte, 1));
    t.call("path_fchmod", sys!(SYS_fchmod, fd, 0o600));
    t.show("path_size", fstat(fd).st_size);
    t.is("path_flags", sys!(SYS_fcntl, fd, F_GETFL).is_ok_and(|flags| flags as i32 & O_PATH != 0));
    t.call("path_dup", sys!(SYS_dup, fd));
    close(4);
    close(fd);
    t.ok("path_symlink", open(c"dangling", O_PATH | O_NOFOLLOW));
    t.show("path_symlink_type", format!("{:o}", fstat(3).st_mode & S_IFMT));
    close(3);
    t.ok("tmpfile", sys!(SYS_openat, AT_FDCWD, c".", O_TMPFILE | O_RDWR, 0o600));
    t.show("tmpfile_links", fstat(3).st_nlink);
    t.call("tmpfile_write", sys!(SYS_write, 3, b"abc", 3));
    close(3);
    t.call("tmpfile_read_only", sys!(SYS_openat, AT_FDCWD, c".", O_TMPFILE | O_RDONLY, 0o600));
    t.ok("cloexec", open(c"file", O_RDONLY | O_CLOEXEC));
    t.call("cloexec_flag", sys!(SYS_fcntl, 3, F_GETFD));
    close(3);
    let fd = must_open(c"file", O_WRONLY | O_APPEND | O_NONBLOCK);
    t.show("getfl", format!("{:o}", sys!(SYS_fcntl, fd, F_GETFL).map_or(0, |flags| flags & !0o100000)));
    t.call("setfl", sys!(SYS_fcntl, fd, F_SETFL, O_RDWR));
    t.show(
        "setfl_result",
        format!("{:o}", sys!(SYS_fcntl, fd, F_GETFL).map_or(0, |flags| flags & !0o100000)),
    );
    close(fd);
}

fn openat2(t: &mut Report) {
    const NO_SYMLINKS: u64 = 4;
    const BENEATH: u64 = 8;
    const IN_ROOT: u64 = 16;
    #[repr(C)]
    struct How {
        flags: u64,
        mode: u64,
        resolve: u64,
    }
    let how = |flags: i32, mode, resolve| How { flags: flags as u64, mode, resolve };
    let size = size_of::<How>();
    std::fs::create_dir("sub").expect("a folder");
    put("sub/inner", "x");
    let mut attempt = |case: &str, path: &std::ffi::CStr, how: &How| {
        let result = sys!(SYS_openat2, AT_FDCWD, path, how, size);
        t.ok(case, result);
        if let Ok(fd) = result {
            close(fd as i32);
        }
    };
    attempt("openat2", c"file", &how(O_RDONLY, 0, 0));
    attempt("openat2_mode_without_create", c"file", &how(O_RDONLY, 0o600, 0));
    attempt("openat2_unknown_flag", c"file", &How { flags: 1 << 40, mode: 0, resolve: 0 });
    attempt("openat2_unknown_resolve", c"file", &how(O_RDONLY, 0, 1 << 20));
    attempt("openat2_beneath", c"sub/inner", &how(O_RDONLY, 0, BENEATH));
    attempt("openat2_beneath_escape", c"../files/file", &how(O_RDONLY, 0, BENEATH));
    attempt("openat2_beneath_absolute", c"/", &how(O_RDONLY, 0, BENEATH));
    attempt("openat2_in_root", c"/sub/../../file", &how(O_RDONLY, 0, IN_ROOT));
    attempt("openat2_no_symlinks", c"dangling", &how(O_RDONLY, 0, NO_SYMLINKS));
    t.call("openat2_small", sys!(SYS_openat2, AT_FDCWD, c"file", &how(O_RDONLY, 0, 0), 8));
}
