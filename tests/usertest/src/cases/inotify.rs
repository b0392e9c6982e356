//! inotify(7): watches and what they tell.

use std::ffi::CString;
use std::fs;
use std::os::fd::AsRawFd;

use libc::*;

use super::helpers::{close, get, put, until_others_sleep};
use crate::report::Report;
use crate::sys::Errno;

/// Runs the group.
pub fn run(t: &mut Report) {
    arguments(t);
    files(t);
    names(t);
    masks(t);
    reading(t);
    limits(t);
    unmounted(t);
}

const NAMES: [(u32, &str); 16] = [
    (IN_ACCESS, "ACCESS"),
    (IN_MODIFY, "MODIFY"),
    (IN_ATTRIB, "ATTRIB"),
    (IN_CLOSE_WRITE, "CLOSE_WRITE"),
    (IN_CLOSE_NOWRITE, "CLOSE_NOWRITE"),
    (IN_OPEN, "OPEN"),
    (IN_MOVED_FROM, "MOVED_FROM"),
    (IN_MOVED_TO, "MOVED_TO"),
    (IN_CREATE, "CREATE"),
    (IN_DELETE, "DELETE"),
    (IN_DELETE_SELF, "DELETE_SELF"),
    (IN_MOVE_SELF, "MOVE_SELF"),
    (IN_UNMOUNT, "UNMOUNT"),
    (IN_Q_OVERFLOW, "Q_OVERFLOW"),
    (IN_IGNORED, "IGNORED"),
    (IN_ISDIR, "ISDIR"),
];

/// An instance that does not wait.
fn instance() -> i32 {
    sys!(SYS_inotify_init1, IN_NONBLOCK).expect("an instance") as i32
}

fn add(fd: i32, path: &str, mask: u32) -> Result<usize, Errno> {
    let path = CString::new(path).expect("no NUL");
    sys!(SYS_inotify_add_watch, fd, path.as_c_str(), mask)
}

/// All events that wait, as text; cookies by the order in which they appear.
fn events(fd: i32) -> String {
    let mut bytes = [0u8; 8192];
    let length = match sys!(SYS_read, fd, bytes.as_mut_ptr(), bytes.len()) {
        Ok(length) => length,
        Err(errno) => return errno.to_string(),
    };
    let mut cookies = vec![0];
    let (mut rest, mut words) = (&bytes[..length], Vec::new());
    while !rest.is_empty() {
        let word = |at: usize| u32::from_ne_bytes(rest[at..at + 4].try_into().expect("four bytes"));
        let (watch, mask, cookie, room) = (word(0).cast_signed(), word(4), word(8), word(12) as usize);
        let name: String =
            rest[16..16 + room].iter().take_while(|byte| **byte != 0).map(|byte| char::from(*byte)).collect();
        let what: Vec<_> = NAMES.iter().filter(|(bit, _)| mask & bit != 0).map(|(_, name)| *name).collect();
        let index = cookies.iter().position(|known| *known == cookie).unwrap_or_else(|| {
            cookies.push(cookie);
            cookies.len() - 1
        });
        words.push(format!("{watch}:{}({name}/{room}/{index})", what.join("|")));
        rest = &rest[16 + room..];
    }
    words.join(" ")
}

fn arguments(t: &mut Report) {
    t.call("init_bad_flag", sys!(SYS_inotify_init1, 1));
    t.call("init", sys!(SYS_inotify_init));
    t.call("init_flags", sys!(SYS_fcntl, 3, F_GETFL));
    t.call("init_no_cloexec", sys!(SYS_fcntl, 3, F_GETFD));
    close(3);
    t.call("init1", sys!(SYS_inotify_init1, IN_NONBLOCK | IN_CLOEXEC));
    t.call("init1_flags", sys!(SYS_fcntl, 3, F_GETFL));
    t.call("init1_cloexec", sys!(SYS_fcntl, 3, F_GETFD));
    t.call("write", sys!(SYS_write, 3, c"12345678".as_ptr(), 8));
    t.call("pread", sys!(SYS_pread64, 3, [0u8; 64].as_mut_ptr(), 64, 0));
    t.call("seek", sys!(SYS_lseek, 3, 0, SEEK_END));
    t.show("link", fs::read_link("/proc/self/fd/3").expect("a link").display());
    put("file", "x");
    fs::create_dir("folder").expect("a folder");
    std::os::unix::fs::symlink("folder", "link").expect("a link");
    t.call("add_no_mask", add(3, "file", 0));
    t.call("add_bad_mask", add(3, "file", IN_ACCESS | 0x1000));
    t.call("add_bad_fd", add(99, "file", IN_ACCESS));
    t.call("add_bad_mask_and_fd", add(99, "file", 0));
    t.call("add_other_fd", add(0, "file", IN_ACCESS));
    t.call("add_both", add(3, "file", IN_ACCESS | IN_MASK_ADD | IN_MASK_CREATE));
    t.call("add_both_other_fd", add(1, "missing", IN_ACCESS | IN_MASK_ADD | IN_MASK_CREATE));
    t.call("add_missing", add(3, "missing", IN_ACCESS));
    t.call("add_empty", add(3, "", IN_ACCESS));
    t.call("add_bad_pointer", sys!(SYS_inotify_add_watch, 3, 8, IN_ACCESS));
    t.call("add_bad_pointer_other_fd", sys!(SYS_inotify_add_watch, 1, 8, IN_ACCESS));
    t.call("add_only_folder", add(3, "file", IN_ACCESS | IN_ONLYDIR));
    t.call("add_slash", add(3, "file/", IN_ACCESS));
    t.call("add_folder", add(3, "folder", IN_ACCESS | IN_ONLYDIR));
    t.call("add_again", add(3, "folder", IN_OPEN));
    t.call("add_by_link", add(3, "link", IN_OPEN));
    t.call("add_link_itself", add(3, "link", IN_OPEN | IN_DONT_FOLLOW));
    t.call("add_link_itself_folder", add(3, "link", IN_OPEN | IN_DONT_FOLLOW | IN_ONLYDIR));
    t.call("create_taken", add(3, "folder", IN_OPEN | IN_MASK_CREATE));
    t.call("create_new", add(3, "file", IN_OPEN | IN_MASK_CREATE));
    t.call("only_ignored", add(3, "file", IN_IGNORED));
    let shown = get("/proc/self/fdinfo/3");
    for line in shown.lines().filter(|line| line.starts_with("inotify")) {
        let words: Vec<_> =
            line.split(' ').filter(|word| word.starts_with("wd:") || word.contains("mask:")).collect();
        t.show("fdinfo", words.join(" "));
    }
    t.call("remove_unknown", sys!(SYS_inotify_rm_watch, 3, 77));
    t.call("remove_negative", sys!(SYS_inotify_rm_watch, 3, -1));
    t.call("remove_bad_fd", sys!(SYS_inotify_rm_watch, 99, 1));
    t.call("remove_other_fd", sys!(SYS_inotify_rm_watch, 0, 1));
    t.call("remove", sys!(SYS_inotify_rm_watch, 3, 2));
    t.call("remove_again", sys!(SYS_inotify_rm_watch, 3, 2));
    t.show("removed", events(3));
    t.call("number_is_new", add(3, "link", IN_OPEN | IN_DONT_FOLLOW));
    close(3);
}

/// What happens to a file, seen by it and by its folder.
fn files(t: &mut Report) {
    let fd = instance();
    fs::create_dir("f").expect("a folder");
    let _ = add(fd, "f", IN_ALL_EVENTS);
    let (a, mut buffer) = (c"f/a", [0u8; 16]);
    let file = sys!(SYS_open, a, O_RDWR | O_CREAT, 0o644).expect("a file") as i32;
    t.show("create", events(fd));
    let _ = add(fd, "f/a", IN_ALL_EVENTS);
    t.call("read_end", sys!(SYS_read, file, buffer.as_mut_ptr(), 16));
    t.show("read_end_events", events(fd));
    let _ = sys!(SYS_write, file, c"abc".as_ptr(), 3);
    t.show("write", events(fd));
    let _ = sys!(SYS_write, file, c"abc".as_ptr(), 0);
    t.show("write_nothing", events(fd));
    let _ = sys!(SYS_pread64, file, buffer.as_mut_ptr(), 16, 0);
    t.show("read", events(fd));
    let _ = sys!(SYS_ftruncate, file, 1);
    t.show("ftruncate", events(fd));
    let _ = sys!(SYS_truncate, a, 9);
    t.show("truncate", events(fd));
    let _ = sys!(SYS_fallocate, file, 0, 0, 100);
    t.show("fallocate", events(fd));
    let _ = sys!(SYS_fchmod, file, 0o600);
    t.show("chmod", events(fd));
    let _ = sys!(SYS_fchown, file, 5, -1);
    t.show("chown", events(fd));
    let _ = sys!(SYS_utimensat, AT_FDCWD, a, 0, 0);
    t.show("utime", events(fd));
    let omit = timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
    let zero = timespec { tv_sec: 1, tv_nsec: 0 };
    let _ = sys!(SYS_utimensat, AT_FDCWD, a, &[zero, omit], 0);
    t.show("set_accessed", events(fd));
    let _ = sys!(SYS_utimensat, AT_FDCWD, a, &[omit, zero], 0);
    t.show("set_modified", events(fd));
    let _ = sys!(SYS_utimensat, AT_FDCWD, a, &[omit, omit], 0);
    t.show("set_nothing", events(fd));
    t.ok("xattr", sys!(SYS_setxattr, a, c"user.x", c"1".as_ptr(), 1, 0));
    t.show("set_xattr", events(fd));
    let _ = sys!(SYS_removexattr, a, c"user.x");
    t.show("remove_xattr", events(fd));
    close(file);
    t.show("close_write", events(fd));
    close(sys!(SYS_open, a, O_RDONLY).expect("a file") as i32);
    t.show("open_close", events(fd));
    close(sys!(SYS_open, a, O_PATH).expect("a place") as i32);
    t.show("open_path", events(fd));
    close(sys!(SYS_open, a, O_WRONLY | O_TRUNC).expect("a file") as i32);
    t.show("open_truncate", events(fd));
    let _ = sys!(SYS_stat, a, &mut crate::sys::zeroed::<stat>());
    t.show("stat", events(fd));
    let first = sys!(SYS_open, a, O_RDONLY).expect("a file") as i32;
    let second = sys!(SYS_dup, first).expect("another") as i32;
    let _ = events(fd);
    close(first);
    t.show("close_first", events(fd));
    let _ = sys!(SYS_unlink, a);
    t.show("unlink_open", events(fd));
    let _ = sys!(SYS_fchmod, second, 0o640);
    t.show("chmod_unlinked", events(fd));
    close(second);
    t.show("close_unlinked", events(fd));
    close(fd);
}

/// What happens to names.
fn names(t: &mut Report) {
    let fd = instance();
    fs::create_dir_all("n/in").expect("folders");
    for folder in ["n", "n/in"] {
        let _ = add(fd, folder, IN_ALL_EVENTS);
    }
    fs::create_dir("n/sub").expect("a folder");
    t.show("mkdir", events(fd));
    let _ = add(fd, "n/sub", IN_ALL_EVENTS);
    let folder = sys!(SYS_open, c"n/sub", O_RDONLY | O_DIRECTORY).expect("a folder") as i32;
    let _ = sys!(SYS_getdents64, folder, [0u64; 512].as_mut_ptr(), 4096);
    close(folder);
    t.show("list", events(fd));
    let _ = sys!(SYS_symlink, c"x", c"n/link");
    let _ = sys!(SYS_mknod, c"n/fifo", S_IFIFO | 0o600, 0);
    let _ = sys!(SYS_readlink, c"n/link", [0u8; 8].as_mut_ptr(), 8);
    t.show("symlink_mknod", events(fd));
    put("n/a", "1");
    let _ = events(fd);
    let _ = add(fd, "n/a", IN_ALL_EVENTS);
    let _ = sys!(SYS_link, c"n/a", c"n/in/b");
    t.show("link", events(fd));
    let _ = sys!(SYS_rename, c"n/in/b", c"n/in/c");
    t.show("rename", events(fd));
    let _ = sys!(SYS_rename, c"n/in/c", c"n/a");
    t.show("rename_to_itself", events(fd));
    let _ = sys!(SYS_unlink, c"n/in/c");
    t.show("unlink_second", events(fd));
    let _ = sys!(SYS_rename, c"n/a", c"n/in/a");
    t.show("move", events(fd));
    put("n/in/z", "1");
    let _ = events(fd);
    let _ = add(fd, "n/in/z", IN_ALL_EVENTS);
    let _ = sys!(SYS_renameat2, AT_FDCWD, c"n/in/a", AT_FDCWD, c"n/in/z", RENAME_EXCHANGE);
    t.show("exchange", events(fd));
    let _ = sys!(SYS_rename, c"n/in/a", c"n/in/z");
    t.show("replace", events(fd));
    let _ = sys!(SYS_unlink, c"n/in/z");
    t.show("unlink", events(fd));
    fs::create_dir("n/other").expect("a folder");
    let _ = add(fd, "n/other", IN_ALL_EVENTS);
    let _ = events(fd);
    let _ = sys!(SYS_rename, c"n/sub", c"n/other");
    t.show("replace_folder", events(fd));
    let _ = sys!(SYS_chmod, c"n/other", 0o700);
    t.show("chmod_folder", events(fd));
    let _ = sys!(SYS_rmdir, c"n/other");
    t.show("rmdir", events(fd));
    let _ = sys!(SYS_mkdir, c"n/in", 0o700);
    let _ = sys!(SYS_unlink, c"n/in");
    t.show("failures", events(fd));
    close(fd);
}

/// Masks, and what they leave out.
fn masks(t: &mut Report) {
    let fd = instance();
    fs::create_dir("m").expect("a folder");
    put("m/a", "1");
    let _ = add(fd, "m", IN_OPEN | IN_EXCL_UNLINK);
    let _ = add(fd, "m/a", IN_CLOSE);
    let file = fs::File::open("m/a").expect("a file");
    t.show("chosen", events(fd));
    let _ = add(fd, "m", IN_CLOSE_NOWRITE | IN_MASK_ADD);
    drop(fs::File::open("m/a"));
    t.show("added", events(fd));
    let _ = add(fd, "m", IN_CLOSE_NOWRITE | IN_ATTRIB | IN_ACCESS | IN_EXCL_UNLINK);
    fs::remove_file("m/a").expect("a file");
    let _ = events(fd);
    let _ = sys!(SYS_fchmod, file.as_raw_fd(), 0o600);
    let _ = sys!(SYS_read, file.as_raw_fd(), [0u8; 4].as_mut_ptr(), 4);
    t.show("without_name", events(fd));
    drop(file);
    t.show("closed_without_name", events(fd));
    let _ = add(fd, "m", IN_CREATE | IN_ONESHOT);
    fs::create_dir("m/1").expect("a folder");
    fs::create_dir("m/2").expect("a folder");
    t.show("one_shot", events(fd));
    t.call("one_shot_is_over", sys!(SYS_inotify_rm_watch, fd, 1));
    let second = instance();
    let _ = add(fd, "m", IN_CREATE);
    let _ = add(second, "m", IN_DELETE);
    fs::create_dir("m/3").expect("a folder");
    fs::remove_dir("m/3").expect("a folder");
    t.show("first_instance", events(fd));
    t.show("second_instance", events(second));
    close(second);
    fs::create_dir("m/4").expect("a folder");
    t.show("after_close", events(fd));
    close(fd);
}

/// Reading, waiting, and how much waits.
fn reading(t: &mut Report) {
    let fd = instance();
    put("r", "123");
    let _ = add(fd, "r", IN_ALL_EVENTS);
    let mut buffer = [0u8; 64];
    t.call("read_empty", sys!(SYS_read, fd, buffer.as_mut_ptr(), 64));
    let mut waiting = 0i32;
    let mut poll = [pollfd { fd, events: POLLIN | POLLOUT | POLLRDNORM, revents: 0 }];
    t.call("poll_empty", sys!(SYS_poll, &mut poll, 1, 0));
    for _ in 0..3 {
        let _ = sys!(SYS_chmod, c"r", 0o600);
    }
    drop(fs::File::open("r"));
    t.call("poll", sys!(SYS_poll, &mut poll, 1, 0));
    t.show("poll_events", poll[0].revents);
    t.call("waiting", sys!(SYS_ioctl, fd, FIONREAD, &mut waiting));
    t.show("waiting_bytes", waiting);
    t.call("other_ioctl", sys!(SYS_ioctl, fd, TCGETS, &mut buffer));
    t.call("bad_ioctl", sys!(SYS_ioctl, fd, FIONREAD, 8));
    t.call("read_small", sys!(SYS_read, fd, buffer.as_mut_ptr(), 15));
    t.call("read_two", sys!(SYS_read, fd, buffer.as_mut_ptr(), 40));
    t.call("read_rest", sys!(SYS_read, fd, buffer.as_mut_ptr(), 64));
    t.call("read_no_more", sys!(SYS_read, fd, buffer.as_mut_ptr(), 64));
    fs::create_dir("long").expect("a folder");
    let _ = add(fd, "long", IN_CREATE);
    for length in [15, 16, 255] {
        put(&format!("long/{}", "n".repeat(length)), "");
    }
    let sizes: Vec<_> =
        (0..3).map(|_| sys!(SYS_read, fd, [0u8; 300].as_mut_ptr(), 300).unwrap_or(0)).collect();
    t.show("sizes", format!("{sizes:?}"));
    let epoll = sys!(SYS_epoll_create1, 0).expect("an epoll") as i32;
    let mut event = epoll_event { events: EPOLLIN as u32, u64: 5 };
    t.call("epoll_add", sys!(SYS_epoll_ctl, epoll, EPOLL_CTL_ADD, fd, &mut event));
    t.call("epoll_empty", sys!(SYS_epoll_wait, epoll, &mut event, 1, 0));
    put("long/x", "");
    t.call("epoll", sys!(SYS_epoll_wait, epoll, &mut event, 1, 0));
    t.call("read_bad", sys!(SYS_read, fd, 8, 64));
    close(epoll);
    close(fd);
    let fd = sys!(SYS_inotify_init).expect("an instance") as i32;
    let _ = add(fd, "long", IN_DELETE);
    let thread = std::thread::spawn(move || events(fd));
    until_others_sleep();
    fs::remove_file("long/x").expect("a file");
    t.show("read_waits", thread.join().expect("a thread"));
    close(fd);
}

fn limits(t: &mut Report) {
    for name in ["max_queued_events", "max_user_instances"] {
        let about = fs::metadata(format!("/proc/sys/fs/inotify/{name}")).expect("a limit");
        t.show(name, format!("{:o}", std::os::unix::fs::MetadataExt::mode(&about)));
    }
    let path = "/proc/sys/fs/inotify/max_queued_events";
    let old = get(path);
    t.is("wrong_number", fs::write(path, "many\n").is_err());
    t.is("negative_number", fs::write(path, "-1\n").is_err());
    t.is("number", fs::write(path, "3\n").is_ok());
    t.show("number_read", get(path).trim());
    let fd = instance();
    put("l", "");
    let _ = add(fd, "l", IN_ALL_EVENTS);
    for _ in 0..3 {
        drop(fs::File::open("l"));
    }
    t.show("overflow", events(fd));
    drop(fs::File::open("l"));
    t.show("after_overflow", events(fd));
    close(fd);
    fs::write(path, old).expect("the old limit");
}

/// The end of a file system.
fn unmounted(t: &mut Report) {
    let fd = instance();
    fs::create_dir("u").expect("a folder");
    t.call("mount", sys!(SYS_mount, c"none", c"u", c"tmpfs", 0, 0));
    put("u/a", "1");
    let _ = add(fd, "u/a", IN_ALL_EVENTS);
    t.call("unmount", sys!(SYS_umount2, c"u", 0));
    t.show("unmounted", events(fd));
    close(fd);
}
