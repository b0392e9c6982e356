//! What files say of themselves, and how it is changed.

use libc::*;

use super::helpers::{CLOSED, NOWHERE, close, fstat, lstat, must_open, open, put};
use crate::report::Report;
use crate::sys;

/// Runs the group.
pub fn run(t: &mut Report) {
    stat_family(t);
    statx_family(t);
    access(t);
    modes(t);
    owners(t);
    times(t);
    file_system(t);
}

fn stat_family(t: &mut Report) {
    put("file", "content");
    let mut stat = sys::zeroed::<libc::stat>();
    t.call("stat", sys!(SYS_stat, c"file", &mut stat));
    t.show("stat_type", format!("{:o}", stat.st_mode & S_IFMT));
    t.show("stat_mode", format!("{:o}", stat.st_mode & 0o7777));
    t.show("stat_size", stat.st_size);
    t.show("stat_links", stat.st_nlink);
    t.show("stat_owner", format!("{}:{}", stat.st_uid, stat.st_gid));
    t.show("stat_block_size", stat.st_blksize);
    t.is("stat_inode", stat.st_ino > 0);
    t.is("stat_times", stat.st_mtime > 1_700_000_000 && stat.st_ctime >= stat.st_mtime);
    let fd = must_open(c"file", O_RDONLY);
    t.is("fstat_same_inode", fstat(fd).st_ino == stat.st_ino && fstat(fd).st_dev == stat.st_dev);
    t.call("fstatat_empty_path", sys!(SYS_newfstatat, fd, c"", &mut stat, AT_EMPTY_PATH));
    t.call("fstatat_empty_path_unasked", sys!(SYS_newfstatat, fd, c"", &mut stat, 0));
    t.call("fstatat_bad_flag", sys!(SYS_newfstatat, AT_FDCWD, c"file", &mut stat, 0x8000));
    t.call("fstat_fault", sys!(SYS_fstat, fd, NOWHERE));
    close(fd);
    t.call("stat_fault", sys!(SYS_stat, c"file", NOWHERE));
    t.call("fstat_closed", sys!(SYS_fstat, CLOSED, &mut stat));
    sys!(SYS_symlinkat, c"file", AT_FDCWD, c"link").expect("a link");
    t.call("stat_follows", sys!(SYS_stat, c"link", &mut stat));
    t.show("stat_follows_type", format!("{:o}", stat.st_mode & S_IFMT));
    t.call("lstat", sys!(SYS_lstat, c"link", &mut stat));
    t.show("lstat_mode", format!("{:o}", stat.st_mode));
    t.show("lstat_size", stat.st_size);
}

fn statx_family(t: &mut Report) {
    let mut statx = sys::zeroed::<libc::statx>();
    t.call("statx", sys!(SYS_statx, AT_FDCWD, c"file", 0, STATX_BASIC_STATS, &mut statx));
    for (name, path) in [("file", c"file"), ("proc", c"/proc"), ("root", c"/"), ("below", c"/proc/self")] {
        let mut about = sys::zeroed::<libc::statx>();
        sys!(SYS_statx, AT_FDCWD, path, 0, STATX_BASIC_STATS, &mut about).expect("a file");
        t.is(
            &format!("statx_{name}_is_mount_root"),
            about.stx_attributes & STATX_ATTR_MOUNT_ROOT as u64 != 0,
        );
    }
    t.show("statx_size", statx.stx_size);
    t.show("statx_mode", format!("{:o}", statx.stx_mode));
    t.is("statx_mask", statx.stx_mask & STATX_BASIC_STATS == STATX_BASIC_STATS);
    t.is("statx_agrees", statx.stx_ino == lstat(c"file").st_ino);
    t.call("statx_nofollow", sys!(SYS_statx, AT_FDCWD, c"link", AT_SYMLINK_NOFOLLOW, STATX_TYPE, &mut statx));
    t.show("statx_nofollow_type", format!("{:o}", u32::from(statx.stx_mode) & S_IFMT));
    t.call("statx_bad_flag", sys!(SYS_statx, AT_FDCWD, c"file", 0x8, STATX_TYPE, &mut statx));
    t.call("statx_bad_sync", sys!(SYS_statx, AT_FDCWD, c"file", 0x6000, STATX_TYPE, &mut statx));
    t.call("statx_reserved_mask", sys!(SYS_statx, AT_FDCWD, c"file", 0, 0x8000_0000u32, &mut statx));
    t.call("statx_fault", sys!(SYS_statx, AT_FDCWD, c"file", 0, STATX_TYPE, NOWHERE));
}

fn access(t: &mut Report) {
    t.call("access_exists", sys!(SYS_access, c"file", F_OK));
    t.call("access_read_write", sys!(SYS_access, c"file", R_OK | W_OK));
    t.call("access_execute_root_needs_a_bit", sys!(SYS_access, c"file", X_OK));
    t.call("access_directory_execute", sys!(SYS_access, c".", X_OK));
    t.call("access_missing", sys!(SYS_access, c"missing", F_OK));
    t.call("access_bad_mode", sys!(SYS_access, c"file", 8));
    t.call("faccessat", sys!(SYS_faccessat, AT_FDCWD, c"file", R_OK));
    t.call("faccessat2", sys!(SYS_faccessat2, AT_FDCWD, c"file", R_OK, AT_EACCESS));
    t.call("faccessat2_bad_flag", sys!(SYS_faccessat2, AT_FDCWD, c"file", R_OK, 0x1));
}

fn modes(t: &mut Report) {
    let mode = |path| format!("{:o}", lstat(path).st_mode & 0o7777);
    t.call("chmod", sys!(SYS_chmod, c"file", 0o4751));
    t.show("chmod_mode", mode(c"file"));
    t.call("chmod_ignores_type_bits", sys!(SYS_chmod, c"file", 0o177_640));
    t.show("chmod_type_bits_mode", mode(c"file"));
    let fd = must_open(c"file", O_RDONLY);
    t.call("fchmod", sys!(SYS_fchmod, fd, 0o600));
    t.show("fchmod_mode", mode(c"file"));
    close(fd);
    t.call("fchmodat2", sys!(SYS_fchmodat2, AT_FDCWD, c"file", 0o644, 0));
    t.call("fchmodat2_bad_flag", sys!(SYS_fchmodat2, AT_FDCWD, c"file", 0o644, AT_SYMLINK_FOLLOW));
    t.call("fchmodat2_empty", sys!(SYS_fchmodat2, AT_FDCWD, c"", 0o644, 0));
    sys!(SYS_symlinkat, c"file", AT_FDCWD, c"chmod_link").expect("a link");
    t.call("fchmodat2_link", sys!(SYS_fchmodat2, AT_FDCWD, c"chmod_link", 0o600, AT_SYMLINK_NOFOLLOW));
    t.call("fchmodat2_through_link", sys!(SYS_fchmodat2, AT_FDCWD, c"chmod_link", 0o644, 0));
    sys!(SYS_unlink, c"chmod_link").expect("no link");
    t.call("fchmodat", sys!(SYS_fchmodat, AT_FDCWD, c"file", 0o644));
    t.call("chmod_follows", sys!(SYS_chmod, c"link", 0o666));
    t.show("chmod_follows_mode", mode(c"file"));
    t.call("chmod_missing", sys!(SYS_chmod, c"missing", 0o666));
    t.call("fchmod_closed", sys!(SYS_fchmod, CLOSED, 0o666));
}

fn owners(t: &mut Report) {
    let owner = |path| format!("{}:{}", lstat(path).st_uid, lstat(path).st_gid);
    t.call("chown", sys!(SYS_chown, c"file", 1000, 1001));
    t.show("chown_owner", owner(c"file"));
    t.call("chown_minus_one_keeps", sys!(SYS_chown, c"file", -1, 7));
    t.show("chown_minus_one_owner", owner(c"file"));
    t.call("lchown", sys!(SYS_lchown, c"link", 5, 6));
    t.show("lchown_owner", owner(c"link"));
    t.show("lchown_spares_target", owner(c"file"));
    sys!(SYS_chmod, c"file", 0o6777).expect("a mode");
    t.call("chown_clears_set_id", sys!(SYS_chown, c"file", 0, 0));
    t.show("chown_cleared_mode", format!("{:o}", lstat(c"file").st_mode & 0o7777));
    let fd = must_open(c"file", O_RDONLY);
    t.call("fchown", sys!(SYS_fchown, fd, 3, 4));
    t.call("fchownat_empty_path", sys!(SYS_fchownat, fd, c"", 0, 0, AT_EMPTY_PATH));
    close(fd);
    t.call("fchownat_bad_flag", sys!(SYS_fchownat, AT_FDCWD, c"file", 0, 0, 0x8000));
    t.call("chown_missing", sys!(SYS_chown, c"missing", 0, 0));
}

fn times(t: &mut Report) {
    let shown = || {
        let stat = lstat(c"file");
        format!("{}.{:09} {}.{:09}", stat.st_atime, stat.st_atime_nsec, stat.st_mtime, stat.st_mtime_nsec)
    };
    let at = |sec, nsec| timespec { tv_sec: sec, tv_nsec: nsec };
    t.call(
        "utimensat",
        sys!(SYS_utimensat, AT_FDCWD, c"file", &[at(1_000_000_000, 123_456_789), at(1_100_000_000, 1)], 0),
    );
    t.show("utimensat_times", shown());
    t.call("utimensat_omit", sys!(SYS_utimensat, AT_FDCWD, c"file", &[at(0, UTIME_OMIT), at(5, 0)], 0));
    t.show("utimensat_omit_times", shown());
    t.call(
        "utimensat_bad_nanoseconds",
        sys!(SYS_utimensat, AT_FDCWD, c"file", &[at(0, 1_000_000_000), at(0, 0)], 0),
    );
    t.call("utimensat_bad_flag", sys!(SYS_utimensat, AT_FDCWD, c"file", 0, 0x10));
    t.call("utimensat_missing", sys!(SYS_utimensat, AT_FDCWD, c"missing", 0, 0));
    t.call(
        "utimensat_both_omitted_missing",
        sys!(SYS_utimensat, AT_FDCWD, c"missing", &[at(0, UTIME_OMIT), at(0, UTIME_OMIT)], 0),
    );
    let fd = must_open(c"file", O_RDONLY);
    t.call("futimens", sys!(SYS_utimensat, fd, 0, &[at(7, 8), at(9, 10)], 0));
    t.show("futimens_times", shown());
    close(fd);
    let micro = |sec, usec| timeval { tv_sec: sec, tv_usec: usec };
    t.call("utimes", sys!(SYS_utimes, c"file", &[micro(11, 12), micro(13, 14)]));
    t.show("utimes_times", shown());
    t.call("utime", sys!(SYS_utime, c"file", &[21i64, 22]));
    t.show("utime_times", shown());
    t.call("utimensat_now", sys!(SYS_utimensat, AT_FDCWD, c"file", 0, 0));
    t.is("utimensat_now_is_now", lstat(c"file").st_mtime > 1_700_000_000);
    // What changes which time.
    sys!(SYS_utimensat, AT_FDCWD, c"file", &[at(1, 0), at(1, 0)], 0).expect("old times");
    let fd = must_open(c"file", O_RDWR);
    sys!(SYS_write, fd, b"x", 1).expect("a byte");
    close(fd);
    t.is("write_sets_mtime", lstat(c"file").st_mtime > 1_700_000_000);
    t.show("write_spares_atime", lstat(c"file").st_atime);
    sys!(SYS_utimensat, AT_FDCWD, c".", &[at(1, 0), at(1, 0)], 0).expect("old times");
    put("newcomer", "");
    t.is("create_sets_directory_mtime", lstat(c".").st_mtime > 1_700_000_000);
    sys!(SYS_utimensat, AT_FDCWD, c"file", &[at(1, 0), at(1, 0)], 0).expect("old times");
    sys!(SYS_chmod, c"file", 0o600).expect("a mode");
    t.show("chmod_spares_mtime", lstat(c"file").st_mtime);
}

fn file_system(t: &mut Report) {
    let mut statfs = sys::zeroed::<libc::statfs>();
    t.call("statfs", sys!(SYS_statfs, c".", &mut statfs));
    t.is(
        "statfs_blocks",
        statfs.f_blocks > 0 && statfs.f_bavail <= statfs.f_bfree && statfs.f_bfree <= statfs.f_blocks,
    );
    t.show("statfs_name_max", statfs.f_namelen);
    t.is("statfs_block_size", statfs.f_bsize >= 512);
    t.call("statfs_missing", sys!(SYS_statfs, c"missing", &mut statfs));
    t.call("statfs_fault", sys!(SYS_statfs, c".", NOWHERE));
    t.ok("open", open(c".", O_RDONLY));
    t.call("fstatfs", sys!(SYS_fstatfs, 3, &mut statfs));
    close(3);
    t.call("fstatfs_closed", sys!(SYS_fstatfs, CLOSED, &mut statfs));
    t.call("statfs_proc", sys!(SYS_statfs, c"/proc", &mut statfs));
    t.show("statfs_proc_magic", format!("{:x}", statfs.f_type));
}
