//! Folders: making, removing, listing, working in them.

use libc::*;

use super::helpers::{CLOSED, NOWHERE, close, fstat, long_name, lstat, must_open, put};
use crate::report::Report;
use crate::sys;

/// Runs the group.
pub fn run(t: &mut Report) {
    making(t);
    removing(t);
    listing(t);
    working(t);
}

fn making(t: &mut Report) {
    t.call("mkdir", sys!(SYS_mkdir, c"a", 0o7777));
    t.show("mkdir_mode", format!("{:o}", lstat(c"a").st_mode));
    t.show("mkdir_links", lstat(c"a").st_nlink);
    t.call("mkdir_exists", sys!(SYS_mkdir, c"a", 0o777));
    t.call("mkdir_slash", sys!(SYS_mkdir, c"b/", 0o777));
    t.call("mkdir_below_missing", sys!(SYS_mkdir, c"missing/b", 0o777));
    t.call("mkdir_dot", sys!(SYS_mkdir, c".", 0o777));
    t.call("mkdir_dotdot", sys!(SYS_mkdir, c"..", 0o777));
    t.call("mkdir_root", sys!(SYS_mkdir, c"/", 0o777));
    t.call("mkdir_name_max", sys!(SYS_mkdir, long_name(255).as_c_str(), 0o777));
    t.call("mkdir_name_too_long", sys!(SYS_mkdir, long_name(256).as_c_str(), 0o777));
    put("file", "");
    t.call("mkdir_below_file", sys!(SYS_mkdir, c"file/b", 0o777));
    t.call("mkdir_over_file", sys!(SYS_mkdir, c"file", 0o777));
    t.call("mkdirat", sys!(SYS_mkdirat, AT_FDCWD, c"a/inner", 0o755));
    t.show("parent_links", lstat(c"a").st_nlink);
    sys!(SYS_symlinkat, c"nowhere", AT_FDCWD, c"dangling").expect("a link");
    t.call("mkdir_over_dangling_link", sys!(SYS_mkdir, c"dangling", 0o777));
    sys!(SYS_mkdir, c"setgid", 0o755).expect("a folder");
    sys!(SYS_chown, c"setgid", 0, 77).expect("an owner");
    sys!(SYS_chmod, c"setgid", 0o2755).expect("a mode");
    t.call("mkdir_in_set_group_folder", sys!(SYS_mkdir, c"setgid/inner", 0o755));
    let inner = lstat(c"setgid/inner");
    t.show("set_group_inherited", format!("{:o} {}", inner.st_mode, inner.st_gid));
}

fn removing(t: &mut Report) {
    t.call("rmdir_not_empty", sys!(SYS_rmdir, c"a"));
    t.call("rmdir", sys!(SYS_rmdir, c"a/inner"));
    t.call("rmdir_missing", sys!(SYS_rmdir, c"a/inner"));
    t.call("rmdir_file", sys!(SYS_rmdir, c"file"));
    t.call("rmdir_dot", sys!(SYS_rmdir, c"."));
    t.call("rmdir_ends_in_dot", sys!(SYS_rmdir, c"a/."));
    t.call("rmdir_dotdot", sys!(SYS_rmdir, c"a/.."));
    t.call("rmdir_root", sys!(SYS_rmdir, c"/"));
    t.call("rmdir_slash", sys!(SYS_rmdir, c"b/"));
    t.call("unlink_directory", sys!(SYS_unlink, c"a"));
    t.call("unlinkat_removedir", sys!(SYS_unlinkat, AT_FDCWD, c"a", AT_REMOVEDIR));
    t.call("unlinkat_bad_flag", sys!(SYS_unlinkat, AT_FDCWD, c"a", 1));
    t.call("rmdir_name_max", sys!(SYS_rmdir, long_name(255).as_c_str()));
    sys!(SYS_mkdir, c"open", 0o755).expect("a folder");
    let fd = must_open(c"open", O_RDONLY);
    t.call("rmdir_open", sys!(SYS_rmdir, c"open"));
    t.show("removed_links", fstat(fd).st_nlink);
    t.call("create_in_removed", sys!(SYS_openat, fd, c"x", O_CREAT | O_RDWR, 0o600));
    let mut buffer = [0u8; 256];
    t.call("list_removed", sys!(SYS_getdents64, fd, &mut buffer, 256));
    close(fd);
}

/// Names and types in a folder, sorted.
fn entries(fd: i32, size: usize) -> Vec<String> {
    let mut names = Vec::new();
    let mut buffer = vec![0u64; size / 8];
    while let Ok(length @ 1..) = sys!(SYS_getdents64, fd, buffer.as_mut_ptr(), size) {
        // SAFETY: the buffer holds at least `length` bytes.
        let bytes = unsafe { std::slice::from_raw_parts(buffer.as_ptr().cast::<u8>(), length) };
        let mut at = 0;
        while at < length {
            let record = usize::from(u16::from_le_bytes([bytes[at + 16], bytes[at + 17]]));
            let name: Vec<u8> =
                bytes[at + 19..at + record].iter().copied().take_while(|&byte| byte != 0).collect();
            names.push(format!("{}:{}", String::from_utf8_lossy(&name), bytes[at + 18]));
            at += record;
        }
    }
    names.sort();
    names
}

fn listing(t: &mut Report) {
    sys!(SYS_mkdir, c"list", 0o755).expect("a folder");
    for name in ["list/a", "list/b", "list/long-name-of-a-file"] {
        put(name, "");
    }
    sys!(SYS_mkdir, c"list/sub", 0o755).expect("a folder");
    sys!(SYS_symlinkat, c"a", AT_FDCWD, c"list/link").expect("a link");
    sys!(SYS_mknodat, AT_FDCWD, c"list/fifo", S_IFIFO | 0o600, 0).expect("a pipe");
    let fd = must_open(c"list", O_RDONLY | O_DIRECTORY);
    t.show("getdents", entries(fd, 1024).join(" "));
    let old = sys!(SYS_open, c".", O_RDONLY).expect("the directory") as i32;
    let mut first = [0u8; 1024];
    t.ok("old_getdents", sys!(SYS_getdents, old, &mut first, 1024));
    let place = first.windows(4).position(|bytes| bytes == [24, 0, b'.', 0]).expect("an entry for .");
    t.show("old_getdents_type_at_the_end", first[place + 7]);
    sys!(SYS_lseek, old, 0, SEEK_SET).expect("the start");
    t.call("old_getdents_too_small", sys!(SYS_getdents, old, &mut first, 10));
    t.call("old_getdents_fault", sys!(SYS_getdents, old, 8, 1000));
    close(old);
    t.call("getdents_end", sys!(SYS_getdents64, fd, &mut [0u8; 64], 64));
    t.call("rewind", sys!(SYS_lseek, fd, 0, SEEK_SET));
    t.show("getdents_small_buffer", entries(fd, 48).len());
    sys!(SYS_lseek, fd, 0, SEEK_SET).expect("a seek");
    t.call("getdents_tiny_buffer", sys!(SYS_getdents64, fd, &mut [0u8; 8], 8));
    t.call("getdents_fault", sys!(SYS_getdents64, fd, NOWHERE, 1024));
    // Removing what was already listed hides nothing of the rest.
    let many = 300;
    sys!(SYS_mkdir, c"many", 0o755).expect("a folder");
    for index in 0..many {
        put(&format!("many/{index}"), "");
    }
    let mut seen = 0;
    for entry in std::fs::read_dir("many").expect("a folder") {
        std::fs::remove_file(entry.expect("an entry").path()).expect("a file");
        seen += 1;
    }
    t.show("remove_while_listing", seen);
    close(fd);
    let fd = must_open(c"file", O_RDONLY);
    t.call("getdents_file", sys!(SYS_getdents64, fd, &mut [0u8; 64], 64));
    close(fd);
    t.call("getdents_closed", sys!(SYS_getdents64, CLOSED, &mut [0u8; 64], 64));
}

fn working(t: &mut Report) {
    let cwd = || {
        let mut buffer = [0u8; 4096];
        sys!(SYS_getcwd, &mut buffer, 4096).map_or_else(
            |errno| errno.to_string(),
            |length| {
                let path = String::from_utf8_lossy(&buffer[..length - 1]).into_owned();
                path.rsplit('/').next().unwrap_or_default().to_owned()
            },
        )
    };
    t.show("getcwd", cwd());
    t.call("getcwd_small", sys!(SYS_getcwd, &mut [0u8; 2], 2));
    t.call("getcwd_zero", sys!(SYS_getcwd, &mut [0u8; 2], 0));
    t.call("getcwd_fault", sys!(SYS_getcwd, NOWHERE, 4096));
    let name = long_name(250);
    for _ in 0..17 {
        sys!(SYS_mkdir, name.as_c_str(), 0o755).expect("a directory");
        sys!(SYS_chdir, name.as_c_str()).expect("a place");
    }
    t.call("getcwd_too_long", sys!(SYS_getcwd, &mut [0u8; 8192], 8192));
    t.call("getcwd_too_long_for_a_small_buffer", sys!(SYS_getcwd, &mut [0u8; 2], 2));
    for _ in 0..17 {
        sys!(SYS_chdir, c"..").expect("a place");
        sys!(SYS_rmdir, name.as_c_str()).expect("an empty directory");
    }
    t.call("chdir", sys!(SYS_chdir, c"list/sub"));
    t.show("chdir_getcwd", cwd());
    t.call("chdir_up", sys!(SYS_chdir, c"../.."));
    t.show("chdir_up_getcwd", cwd());
    t.call("chdir_missing", sys!(SYS_chdir, c"missing"));
    t.call("chdir_file", sys!(SYS_chdir, c"file"));
    t.call("chdir_fault", sys!(SYS_chdir, NOWHERE));
    let back = must_open(c".", O_RDONLY);
    let fd = must_open(c"list", O_RDONLY);
    t.call("fchdir", sys!(SYS_fchdir, fd));
    t.show("fchdir_getcwd", cwd());
    sys!(SYS_fchdir, back).expect("back");
    close(fd);
    let fd = must_open(c"file", O_RDONLY);
    t.call("fchdir_file", sys!(SYS_fchdir, fd));
    t.call("fchdir_closed", sys!(SYS_fchdir, CLOSED));
    close(fd);
    sys!(SYS_mkdir, c"gone", 0o755).expect("a folder");
    sys!(SYS_chdir, c"gone").expect("the folder");
    sys!(SYS_rmdir, c"../gone").expect("an empty folder");
    t.call("getcwd_removed", sys!(SYS_getcwd, &mut [0u8; 64], 64));
    t.call("create_in_removed_cwd", sys!(SYS_openat, AT_FDCWD, c"x", O_CREAT | O_RDWR, 0o600));
    t.ok("stat_removed_cwd", sys!(SYS_stat, c".", &mut sys::zeroed::<libc::stat>()));
    sys!(SYS_fchdir, back).expect("back");
    close(back);
    t.call("root_parent_is_root", sys!(SYS_stat, c"/../../tmp/..", &mut sys::zeroed::<libc::stat>()));
}
