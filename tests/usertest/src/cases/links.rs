//! Hard links, symbolic links, removal and renaming.

use std::ffi::CStr;

use libc::*;

use super::helpers::{CLOSED, NOWHERE, close, fstat, get, lstat, must_open, put};
use crate::report::Report;
use crate::sys;

/// Runs the group.
pub fn run(t: &mut Report) {
    hard(t);
    symbolic(t);
    removal(t);
    renaming(t);
    renaming_folders(t);
    rename_flags(t);
    nodes(t);
}

fn hard(t: &mut Report) {
    put("file", "content");
    t.call("link", sys!(SYS_link, c"file", c"second"));
    t.show("link_count", lstat(c"file").st_nlink);
    t.is("link_same_inode", lstat(c"file").st_ino == lstat(c"second").st_ino);
    t.call("link_exists", sys!(SYS_link, c"file", c"second"));
    t.call("link_missing", sys!(SYS_link, c"missing", c"third"));
    sys!(SYS_mkdir, c"folder", 0o755).expect("a folder");
    t.call("link_directory", sys!(SYS_link, c"folder", c"third"));
    t.call("link_across_file_systems", sys!(SYS_link, c"/proc/version", c"third"));
    t.call("link_into_missing", sys!(SYS_link, c"file", c"missing/third"));
    t.call("link_to_slash", sys!(SYS_link, c"file", c"third/"));
    put("second", "changed");
    t.show("link_shares_content", get("file"));
    sys!(SYS_symlinkat, c"file", AT_FDCWD, c"soft").expect("a link");
    t.call("link_of_symlink", sys!(SYS_link, c"soft", c"soft2"));
    t.show("link_of_symlink_type", format!("{:o}", lstat(c"soft2").st_mode & S_IFMT));
    t.call("linkat_follow", sys!(SYS_linkat, AT_FDCWD, c"soft", AT_FDCWD, c"hard3", AT_SYMLINK_FOLLOW));
    t.show("linkat_follow_type", format!("{:o}", lstat(c"hard3").st_mode & S_IFMT));
    t.call("linkat_bad_flag", sys!(SYS_linkat, AT_FDCWD, c"file", AT_FDCWD, c"hard4", 0x1));
    let fd = sys!(SYS_openat, AT_FDCWD, c".", O_TMPFILE | O_RDWR, 0o600).expect("a nameless file") as i32;
    sys!(SYS_write, fd, b"named", 5).expect("five bytes");
    t.call("linkat_empty_path", sys!(SYS_linkat, fd, c"", AT_FDCWD, c"named", AT_EMPTY_PATH));
    t.show("linkat_empty_path_content", get("named"));
    close(fd);
}

fn symbolic(t: &mut Report) {
    let mut buffer = [0u8; 64];
    t.call("symlink", sys!(SYS_symlink, c"some/where", c"link"));
    t.call("readlink", sys!(SYS_readlink, c"link", &mut buffer, 64));
    t.show("readlink_target", String::from_utf8_lossy(&buffer[..10]));
    t.call("readlink_cut", sys!(SYS_readlink, c"link", &mut buffer, 4));
    t.call("readlink_zero", sys!(SYS_readlink, c"link", &mut buffer, 0));
    t.call("readlink_negative", sys!(SYS_readlink, c"link", &mut buffer, -1));
    t.call("readlink_file", sys!(SYS_readlink, c"file", &mut buffer, 64));
    t.call("readlink_missing", sys!(SYS_readlink, c"missing", &mut buffer, 64));
    t.call("readlink_fault", sys!(SYS_readlink, c"link", NOWHERE, 64));
    t.call("symlink_exists", sys!(SYS_symlink, c"x", c"link"));
    t.call("symlink_empty", sys!(SYS_symlink, c"", c"empty"));
    t.call("symlink_fault", sys!(SYS_symlink, NOWHERE, c"empty"));
    t.call("symlink_slash", sys!(SYS_symlink, c"x", c"slash/"));
    sys!(SYS_symlink, c"loop2", c"loop1").expect("a link");
    sys!(SYS_symlink, c"loop1", c"loop2").expect("a link");
    t.call("loop", sys!(SYS_stat, c"loop1", &mut sys::zeroed::<libc::stat>()));
    sys!(SYS_symlink, c"folder", c"to_folder").expect("a link");
    put("folder/inner", "inner");
    t.show("through_folder_link", get("to_folder/inner"));
    t.call("lstat_link_with_slash", sys!(SYS_lstat, c"to_folder/", &mut sys::zeroed::<libc::stat>()));
    // Forty links are followed, one more is too many.
    put("chain0", "end");
    for index in 1..=41 {
        std::os::unix::fs::symlink(format!("chain{}", index - 1), format!("chain{index}")).expect("a link");
    }
    t.call("forty_links", sys!(SYS_access, c"chain40", F_OK));
    t.call("forty_one_links", sys!(SYS_access, c"chain41", F_OK));
}

fn removal(t: &mut Report) {
    put("victim", "still here");
    let fd = must_open(c"victim", O_RDWR);
    t.call("unlink", sys!(SYS_unlink, c"victim"));
    t.call("unlink_again", sys!(SYS_unlink, c"victim"));
    t.show("unlinked_links", fstat(fd).st_nlink);
    let mut buffer = [0u8; 16];
    t.call("unlinked_read", sys!(SYS_read, fd, &mut buffer, 16));
    t.call("unlinked_write", sys!(SYS_write, fd, b"more", 4));
    close(fd);
    t.call("unlink_symlink", sys!(SYS_unlink, c"soft"));
    t.is("unlink_symlink_spares_target", std::path::Path::new("file").exists());
    t.call("unlink_slash", sys!(SYS_unlink, c"file/"));
    t.call("unlink_dot", sys!(SYS_unlink, c"."));
    t.call("unlink_root", sys!(SYS_unlink, c"/"));
    t.call("unlinkat_closed", sys!(SYS_unlinkat, CLOSED, c"file", 0));
}

fn rename(from: &CStr, to: &CStr) -> Result<usize, sys::Errno> {
    sys!(SYS_rename, from, to)
}

fn renaming(t: &mut Report) {
    put("a", "A");
    put("b", "B");
    t.call("rename_over", rename(c"a", c"b"));
    t.show("rename_over_content", get("b"));
    t.call("rename_missing", rename(c"a", c"c"));
    t.call("rename_same", rename(c"b", c"b"));
    sys!(SYS_link, c"b", c"b2").expect("a link");
    t.call("rename_hard_links", rename(c"b", c"b2"));
    t.is("rename_hard_links_keeps_both", std::path::Path::new("b").exists());
    t.call("rename_to_slash", rename(c"b", c"c/"));
    t.call("rename_into_missing", rename(c"b", c"missing/c"));
    t.call("rename_below_file", rename(c"b", c"file/c"));
    t.call("rename_dot", rename(c".", c"c"));
    t.call("rename_to_dotdot", rename(c"b", c".."));
    t.call("rename_across", rename(c"b", c"/proc/b"));
    t.call("rename_fault", sys!(SYS_rename, NOWHERE, c"c"));
    t.call("renameat", sys!(SYS_renameat, AT_FDCWD, c"b2", AT_FDCWD, c"b3"));
    t.call("renameat_closed", sys!(SYS_renameat, CLOSED, c"b3", AT_FDCWD, c"b4"));
    put("held", "held");
    let fd = must_open(c"held", O_RDONLY);
    put("over", "over");
    sys!(SYS_rename, c"over", c"held").expect("a rename");
    let mut buffer = [0u8; 8];
    t.call("rename_over_open", sys!(SYS_read, fd, &mut buffer, 8));
    t.show("rename_over_open_content", String::from_utf8_lossy(&buffer[..4]));
    t.show("rename_over_open_links", fstat(fd).st_nlink);
    close(fd);
}

fn renaming_folders(t: &mut Report) {
    for folder in ["d1", "d1/sub", "d2", "d3", "d3/full"] {
        std::fs::create_dir(folder).expect("a folder");
    }
    t.call("rename_folder_over_empty", rename(c"d1", c"d2"));
    t.is("rename_folder_moves_content", std::path::Path::new("d2/sub").is_dir());
    t.call("rename_folder_over_full", rename(c"d2", c"d3"));
    t.call("rename_folder_over_file", rename(c"d2", c"file"));
    t.call("rename_file_over_folder", rename(c"file", c"d2"));
    t.call("rename_into_itself", rename(c"d2", c"d2/sub/deeper"));
    t.call("rename_over_ancestor", rename(c"d2/sub", c"d2"));
    t.call("rename_folder_slash", rename(c"d2/", c"d4/"));
    t.call("rename_up", rename(c"d4/sub", c"moved"));
    t.show("rename_up_links", lstat(c"d4").st_nlink);
    let parent = std::fs::metadata("moved/..").map(|m| std::os::unix::fs::MetadataExt::ino(&m)).ok();
    t.is("rename_up_parent", parent == Some(lstat(c".").st_ino));
}

fn rename_flags(t: &mut Report) {
    put("x", "X");
    put("y", "Y");
    let rename2 =
        |from: &CStr, to: &CStr, flags: u32| sys!(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, flags);
    t.call("noreplace_exists", rename2(c"x", c"y", RENAME_NOREPLACE));
    t.call("noreplace", rename2(c"x", c"z", RENAME_NOREPLACE));
    t.call("exchange", rename2(c"z", c"y", RENAME_EXCHANGE));
    t.show("exchange_content", format!("{}{}", get("z"), get("y")));
    t.call("exchange_missing", rename2(c"z", c"missing", RENAME_EXCHANGE));
    t.call("exchange_with_folder", rename2(c"z", c"d4", RENAME_EXCHANGE));
    t.is("exchange_with_folder_done", std::path::Path::new("z").is_dir());
    t.call("both_flags", rename2(c"y", c"q", RENAME_NOREPLACE | RENAME_EXCHANGE));
    t.call("unknown_flag", rename2(c"y", c"q", 64));
}

fn nodes(t: &mut Report) {
    t.call("mknod_file", sys!(SYS_mknod, c"node", S_IFREG | 0o640, 0));
    t.show("mknod_file_mode", format!("{:o}", lstat(c"node").st_mode));
    t.call("mknod_no_type", sys!(SYS_mknod, c"node2", 0o600, 0));
    t.call("mknod_exists", sys!(SYS_mknod, c"node", S_IFREG | 0o640, 0));
    t.call("mknod_directory", sys!(SYS_mknod, c"node3", S_IFDIR | 0o640, 0));
    t.call("mknod_bad_type", sys!(SYS_mknod, c"node3", 0o170_000, 0));
    t.call("mknod_fifo", sys!(SYS_mknod, c"fifo", S_IFIFO | 0o600, 0));
    t.call("mknod_device", sys!(SYS_mknod, c"null", S_IFCHR | 0o666, makedev(1, 3)));
    let stat = lstat(c"null");
    t.show("mknod_device_number", format!("{}:{}", major(stat.st_rdev), minor(stat.st_rdev)));
    t.call("mknod_socket", sys!(SYS_mknod, c"socket", S_IFSOCK | 0o600, 0));
    t.call("open_socket", sys!(SYS_openat, AT_FDCWD, c"socket", O_RDONLY, 0));
}
