//! What an ordinary user may and may not do. The credentials are those of one thread, so the rest stays root.

use libc::*;

use super::helpers::{close, get, lstat, open, put};
use crate::report::Report;
use crate::sys;

const USER: u32 = 1000;
const GROUP: u32 = 1000;

/// Runs the group.
pub fn run(t: &mut Report) {
    prepare();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            become_user(t);
            opening(t);
            changing(t);
            folders(t);
            privileged(t);
        });
    });
    t.show("main_thread_stays_root", sys!(SYS_geteuid).unwrap_or(1));
}

fn prepare() {
    for (name, mode, uid, gid) in [
        ("private", 0o600, 0, 0),
        ("readable", 0o644, 0, 0),
        ("group", 0o640, 0, GROUP),
        ("supplementary", 0o640, 0, 4242),
        ("own", 0o644, USER, GROUP),
        ("own_unreadable", 0o077, USER, GROUP),
        ("own_special", 0o6755, USER, GROUP),
        ("executable", 0o744, 0, 0),
    ] {
        put(name, "secret");
        std::os::unix::fs::chown(name, Some(uid), Some(gid)).expect("root changes owners");
        std::fs::set_permissions(name, std::os::unix::fs::PermissionsExt::from_mode(mode)).expect("a mode");
    }
    for (name, mode) in
        [("closed", 0o700), ("searchable", 0o711), ("listable", 0o744), ("open", 0o777), ("sticky", 0o1777)]
    {
        std::fs::create_dir(name).expect("a folder");
        put(&format!("{name}/file"), "inside");
        std::fs::set_permissions(name, std::os::unix::fs::PermissionsExt::from_mode(mode)).expect("a mode");
    }
}

fn become_user(t: &mut Report) {
    t.call("setgroups", sys!(SYS_setgroups, 1, &[4242u32]));
    t.call("setresgid", sys!(SYS_setresgid, GROUP, GROUP, GROUP));
    t.call("setresuid", sys!(SYS_setresuid, USER, USER, USER));
    t.call("getuid", sys!(SYS_getuid));
    t.call("getegid", sys!(SYS_getegid));
    let mut groups = [0u32; 4];
    t.call("getgroups", sys!(SYS_getgroups, 4, &mut groups));
    t.show("getgroups_first", groups[0]);
    t.call("getgroups_too_small", sys!(SYS_getgroups, -1, &mut groups));
    t.call("setuid_root", sys!(SYS_setuid, 0));
    t.call("setgid_root", sys!(SYS_setgid, 0));
    t.call("setuid_same", sys!(SYS_setuid, USER));
    t.call("setgroups_refused", sys!(SYS_setgroups, 0, 0));
}

fn opening(t: &mut Report) {
    let mut attempt = |case: &str, path, flags| {
        let result = open(path, flags);
        t.ok(case, result);
        if let Ok(fd) = result {
            close(fd as i32);
        }
    };
    attempt("open_private", c"private", O_RDONLY);
    attempt("open_readable", c"readable", O_RDONLY);
    attempt("open_readable_for_writing", c"readable", O_WRONLY);
    attempt("open_truncate", c"readable", O_RDONLY | O_TRUNC);
    attempt("open_by_group", c"group", O_RDONLY);
    attempt("open_by_group_for_writing", c"group", O_RDWR);
    attempt("open_by_supplementary_group", c"supplementary", O_RDONLY);
    attempt("open_own", c"own", O_RDWR);
    attempt("owner_class_decides", c"own_unreadable", O_RDONLY);
    attempt("open_path_needs_no_right", c"private", O_PATH);
    attempt("create_in_closed", c"closed/new", O_CREAT | O_RDWR);
    attempt("open_in_closed", c"closed/file", O_RDONLY);
    attempt("open_missing_in_closed", c"closed/missing", O_RDONLY);
    attempt("open_in_searchable", c"searchable/file", O_RDONLY);
    attempt("list_searchable", c"searchable", O_RDONLY | O_DIRECTORY);
    attempt("list_listable", c"listable", O_RDONLY | O_DIRECTORY);
    attempt("open_in_listable", c"listable/file", O_RDONLY);
    attempt("create_in_readable_folder", c"searchable/new", O_CREAT | O_RDWR);
    attempt("create_in_open", c"open/new", O_CREAT | O_RDWR);
    attempt("noatime_of_another", c"readable", O_RDONLY | O_NOATIME);
    t.show("created_owner", format!("{}:{}", lstat(c"open/new").st_uid, lstat(c"open/new").st_gid));
    t.call("access_private", sys!(SYS_access, c"private", R_OK));
    t.call("access_readable", sys!(SYS_access, c"readable", R_OK));
    t.call("access_write", sys!(SYS_access, c"readable", W_OK));
    t.call("access_execute", sys!(SYS_access, c"executable", X_OK));
    t.call("execve_private", sys!(SYS_execve, c"private", 0, 0));
    t.call("chdir_closed", sys!(SYS_chdir, c"closed"));
    t.call("stat_in_closed", sys!(SYS_stat, c"closed/file", &mut sys::zeroed::<libc::stat>()));
}

fn changing(t: &mut Report) {
    t.call("chmod_own", sys!(SYS_chmod, c"own", 0o666));
    t.call("chmod_other", sys!(SYS_chmod, c"readable", 0o666));
    t.call("chown_own_to_other", sys!(SYS_chown, c"own", 1, -1));
    t.call("chown_own_group", sys!(SYS_chown, c"own", -1, 4242));
    t.call("chown_own_foreign_group", sys!(SYS_chown, c"own", -1, 9));
    t.call("chown_other", sys!(SYS_chown, c"readable", USER, GROUP));
    t.call("chown_nothing", sys!(SYS_chown, c"readable", -1, -1));
    t.call("truncate_readable", sys!(SYS_truncate, c"readable", 0));
    t.call("utimes_other_now", sys!(SYS_utimensat, AT_FDCWD, c"readable", 0, 0));
    t.call("utimes_other_set", sys!(SYS_utimensat, AT_FDCWD, c"readable", &[1i64, 0, 1, 0], 0));
    t.call("utimes_own_set", sys!(SYS_utimensat, AT_FDCWD, c"own", &[1i64, 0, 1, 0], 0));
    t.call("setxattr_other", sys!(SYS_setxattr, c"readable", c"user.x", b"v", 1, 0));
    t.call("setxattr_trusted", sys!(SYS_setxattr, c"own", c"trusted.x", b"v", 1, 0));
    let fd = open(c"own_special", O_WRONLY).unwrap_or(0);
    t.call("write_special", sys!(SYS_write, fd, b"x", 1));
    t.show("write_clears_set_id", format!("{:o}", lstat(c"own_special").st_mode & 0o7777));
    close(fd as i32);
    // A member of the file's group keeps the set-group bit, others lose it.
    t.call("chmod_set_group_own", sys!(SYS_chmod, c"own", 0o2755));
    t.show("chmod_set_group_mode", format!("{:o}", lstat(c"own").st_mode & 0o7777));
}

fn folders(t: &mut Report) {
    t.call("unlink_in_searchable", sys!(SYS_unlink, c"searchable/file"));
    t.call("unlink_missing_in_searchable", sys!(SYS_unlink, c"searchable/missing"));
    t.call("unlink_in_open", sys!(SYS_unlink, c"open/file"));
    t.call("unlink_in_sticky", sys!(SYS_unlink, c"sticky/file"));
    t.call("rename_in_sticky", sys!(SYS_rename, c"sticky/file", c"sticky/other"));
    put("sticky/mine", "");
    t.call("unlink_own_in_sticky", sys!(SYS_unlink, c"sticky/mine"));
    t.call("mkdir_in_searchable", sys!(SYS_mkdir, c"searchable/new", 0o755));
    t.call("mkdir_existing_in_searchable", sys!(SYS_mkdir, c"searchable/file", 0o755));
    t.call("rmdir_in_searchable", sys!(SYS_rmdir, c"searchable/file"));
    t.call("symlink_in_searchable", sys!(SYS_symlink, c"x", c"searchable/new"));
    t.call("rename_from_searchable", sys!(SYS_rename, c"searchable/file", c"open/moved"));
    t.show("content_untouched", get("readable"));
}

fn privileged(t: &mut Report) {
    t.call("mknod_device", sys!(SYS_mknod, c"open/null", S_IFCHR | 0o666, makedev(1, 3)));
    t.call("mknod_fifo", sys!(SYS_mknod, c"open/fifo", S_IFIFO | 0o666, 0));
    t.call("chroot", sys!(SYS_chroot, c"open"));
    t.call("sethostname", sys!(SYS_sethostname, c"name", 4));
    t.call("clock_settime", sys!(SYS_clock_settime, CLOCK_REALTIME, &[1_900_000_000i64, 0]));
    let mut limit = sys::zeroed::<rlimit>();
    sys!(SYS_getrlimit, RLIMIT_LOCKS, &mut limit).expect("a limit");
    limit.rlim_max = 0;
    limit.rlim_cur = 0;
    t.call("lower_hard_limit", sys!(SYS_setrlimit, RLIMIT_LOCKS, &limit));
    limit.rlim_max = 1 << 20;
    t.call("raise_hard_limit", sys!(SYS_setrlimit, RLIMIT_LOCKS, &limit));
    t.call("reboot", sys!(SYS_reboot, 0, 0, 0, 0));
    t.call("mount", sys!(SYS_mount, c"none", c"open", c"tmpfs", 0, 0));
    t.call("setpriority_up", sys!(SYS_setpriority, 0, 0, -5));
}
