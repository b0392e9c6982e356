//! What several groups need: files of known content, and short forms of common calls.

use std::ffi::{CStr, CString};
use std::fs;

use libc::AT_FDCWD;

use crate::sys;
use crate::sys::Errno;

/// `openat` at the working folder, with mode 0644.
pub fn open(path: &CStr, flags: i32) -> Result<usize, Errno> {
    sys!(SYS_openat, AT_FDCWD, path, flags, 0o644)
}

/// Opens a file that must be there.
pub fn must_open(path: &CStr, flags: i32) -> i32 {
    open(path, flags).unwrap_or_else(|errno| panic!("open {path:?}: {errno}")) as i32
}

/// Closes a descriptor that is open.
pub fn close(fd: i32) {
    sys!(SYS_close, fd).unwrap_or_else(|errno| panic!("close {fd}: {errno}"));
}

/// Writes a file with a content in the group's folder.
pub fn put(path: &str, content: impl AsRef<[u8]>) {
    fs::write(path, content).unwrap_or_else(|error| panic!("write {path}: {error}"));
}

/// A file's content as text, bytes that are no UTF-8 replaced.
pub fn get(path: &str) -> String {
    fs::read(path).map_or_else(
        |error| format!("cannot read: {error}"),
        |bytes| String::from_utf8_lossy(&bytes).into_owned(),
    )
}

/// What `fstat` says of a descriptor.
pub fn fstat(fd: i32) -> libc::stat {
    let mut stat = sys::zeroed::<libc::stat>();
    sys!(SYS_fstat, fd, &mut stat).unwrap_or_else(|errno| panic!("fstat {fd}: {errno}"));
    stat
}

/// What `lstat` says of a path.
pub fn lstat(path: &CStr) -> libc::stat {
    let mut stat = sys::zeroed::<libc::stat>();
    sys!(SYS_newfstatat, AT_FDCWD, path, &mut stat, libc::AT_SYMLINK_NOFOLLOW)
        .unwrap_or_else(|errno| panic!("lstat {path:?}: {errno}"));
    stat
}

/// A path of so many bytes of `x`.
pub fn long_name(length: usize) -> CString {
    CString::new("x".repeat(length)).expect("x is not NUL")
}

/// A descriptor that is not open.
pub const CLOSED: i32 = 999;

/// An address that no program has mapped.
pub const NOWHERE: usize = 8;

/// Monotonic time in nanoseconds.
pub fn now() -> i64 {
    let mut time = sys::zeroed::<libc::timespec>();
    sys!(SYS_clock_gettime, libc::CLOCK_MONOTONIC, &mut time).expect("the clock can be read");
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

/// Sleeps for so many milliseconds.
pub fn sleep_ms(ms: i64) {
    std::thread::sleep(std::time::Duration::from_millis(ms.unsigned_abs()));
}

/// Waits until all other threads of this process sleep in a call that waits, or have ended.
pub fn until_others_sleep() {
    let own = sys!(SYS_gettid).expect("an id").to_string();
    until_asleep(|| {
        let threads = std::fs::read_dir("/proc/self/task").expect("a directory of threads");
        let names = threads.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        names.filter(|name| *name != own).all(|name| is_asleep(&format!("/proc/self/task/{name}/stat")))
    });
}

/// Waits until a child sleeps in a call that waits, or has ended.
pub fn until_child_sleeps(pid: i32) {
    until_asleep(|| is_asleep(&format!("/proc/{pid}/stat")));
}

/// Two looks must find it so, as who has just begun may sleep for a moment for another reason. After ten seconds the results will tell.
fn until_asleep(asleep: impl Fn() -> bool) {
    let mut looks = 0;
    for _ in 0..10_000 {
        looks = if asleep() { looks + 1 } else { 0 };
        if looks == 2 {
            return;
        }
        sleep_ms(1);
    }
}

/// Neither runs nor is about to run; `proc_pid_stat(5)`, third field.
fn is_asleep(stat: &str) -> bool {
    let Ok(text) = std::fs::read_to_string(stat) else { return true };
    let state = text.rsplit(") ").next().and_then(|rest| rest.chars().next());
    !matches!(state, Some('R' | 'D'))
}

/// Waits for threads whose results do not matter.
pub fn join_all<T>(threads: impl IntoIterator<Item = std::thread::JoinHandle<T>>) {
    for thread in threads {
        let _ = thread.join();
    }
}

/// Runs `run` in a child process, whose exit status is what it returns; gives the child's id.
pub fn child(run: impl FnOnce() -> i32) -> i32 {
    // SAFETY: the C library makes its own state fit for a child with one thread; no other thread of this program runs.
    match unsafe { libc::fork() } {
        0 => leave(run()),
        -1 => panic!("fork: {}", std::io::Error::last_os_error()),
        pid => pid,
    }
}

/// Ends the process as it is, without running what was registered for its end.
pub fn leave(status: i32) -> ! {
    // SAFETY: nothing of the process is used any more.
    unsafe { libc::_exit(status) }
}

/// Waits for a child; its id and its exit status, or minus the signal that ended it.
pub fn wait_for(pid: i32) -> (i32, i32) {
    let mut status = 0;
    let found = sys!(SYS_wait4, pid, &mut status, 0, 0).unwrap_or_else(|errno| panic!("wait {pid}: {errno}"));
    let told = if libc::WIFSIGNALED(status) { -libc::WTERMSIG(status) } else { libc::WEXITSTATUS(status) };
    (found as i32, told)
}

/// What `run` returns in a child process.
pub fn status_of(run: impl FnOnce() -> i32) -> i32 {
    wait_for(child(run)).1
}

/// Has this process leave a core file if it ends in a way that leaves one.
pub fn allow_core() {
    let limit = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    sys!(SYS_prlimit64, 0, libc::RLIMIT_CORE, &limit, 0).expect("a core may be as large as it likes");
    sys!(SYS_prctl, libc::PR_SET_DUMPABLE, 1, 0, 0, 0).expect("it may be looked into");
}

/// A new pipe: the end to read from, and the one to write to.
pub fn pipe() -> [i32; 2] {
    let mut ends = [0; 2];
    sys!(SYS_pipe2, &mut ends, 0).expect("a pipe");
    ends
}
