//! A program that replaces itself: what the new one inherits, what it does not. One process, so this comes last.

use std::ffi::{CStr, CString};

use libc::*;

use super::helpers::close;
use crate::report::Report;
use crate::sys::{self, Errno, Word};

/// The first argument of a program that replaced another.
pub const MARK: &str = "--replaced";
/// The second, of one that was executed by a thread that was not the first.
const BY_THREAD: &str = "by-thread";
/// The second, of one whose file has set-id bits.
const SET_ID: &str = "set-id";

/// Prepares what can be inherited, then runs this program again.
pub fn replace() {
    let mut t = Report::new("exec");
    errors(&mut t);
    // SAFETY: the dispositions are plain ones; the mask is a word.
    unsafe {
        signal(SIGUSR1, SIG_IGN);
        signal(SIGUSR2, errors as *const () as usize);
    }
    let mask = 1u64 << (SIGTERM - 1);
    let _ = sys!(SYS_rt_sigprocmask, SIG_BLOCK, &mask, 0, 8);
    let _ = sys!(SYS_dup2, 0, 50);
    let _ = sys!(SYS_dup3, 0, 51, O_CLOEXEC);
    let _ = sys!(SYS_umask, 0o27);
    let _ = sys!(SYS_chdir, c"/tmp");
    let pid = sys!(SYS_getpid).unwrap_or(0).to_string();
    // Other threads end with the old program.
    std::thread::spawn(|| super::helpers::sleep_ms(60_000));
    let words = [
        c"renamed".to_owned(),
        CString::new(MARK).expect("no NUL"),
        CString::new(pid).expect("no NUL"),
        c"a b".to_owned(),
        c"".to_owned(),
    ];
    let result = execute(&own_file(), &words, &[c"ONE=1".to_owned(), c"EMPTY=".to_owned()]);
    t.call("execve", result);
}

/// The path of this program.
fn own_file() -> CString {
    path(std::fs::read_link("/proc/self/exe").unwrap_or_default())
}

fn path(path: std::path::PathBuf) -> CString {
    CString::new(path.into_os_string().into_encoded_bytes()).expect("no NUL")
}

/// Returns only if it fails.
fn execute(program: &CStr, words: &[CString], environment: &[CString]) -> Result<usize, Errno> {
    let pointers = |strings: &[CString]| {
        strings.iter().map(|string| string.as_ptr()).chain([std::ptr::null()]).collect::<Vec<_>>()
    };
    sys!(SYS_execve, program, pointers(words).as_ptr(), pointers(environment).as_ptr())
}

/// Runs `program`, which is this one, as `stage`, with one more word.
fn next_stage(program: &CStr, stage: &str, word: &str) -> Result<usize, Errno> {
    let words = ["usertest", MARK, stage, word].map(|word| CString::new(word).expect("no NUL"));
    execute(program, &words, &[])
}

fn errors(t: &mut Report) {
    let directory = std::env::temp_dir().join(format!("usertest-exec-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&directory);
    std::fs::create_dir(&directory).expect("a folder");
    let file = |name: &str, content: &[u8], mode: u32| {
        let path = directory.join(name);
        std::fs::write(&path, content).expect("a file");
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(mode)).expect("a mode");
        self::path(path)
    };
    let header = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\xb7\0\x01\0\0\0";
    for (case, content, mode) in [
        ("not_executable", &b"#!/bin/sh\n"[..], 0o644),
        ("empty", b"", 0o755),
        ("text", b"just text\n", 0o755),
        ("cut_elf", &header[..16], 0o755),
        ("other_machine", header, 0o755),
        ("missing_interpreter", b"#!/no/such/program\n", 0o755),
        ("no_interpreter_named", b"#!\n", 0o755),
        ("folder_as_interpreter", b"#!/tmp\n", 0o755),
    ] {
        let path = file(case, content, mode);
        t.call(case, sys!(SYS_execve, path.as_c_str(), 0, 0));
    }
    t.call("folder", sys!(SYS_execve, c"/tmp", 0, 0));
    t.call("missing", sys!(SYS_execve, c"/no/such/program", 0, 0));
    t.call("arguments_fault", sys!(SYS_execve, c"/proc/self/exe", 8, 0));
    let huge = CString::new("x".repeat(200_000)).expect("no NUL");
    let words = [huge.as_ptr(), std::ptr::null()];
    t.call("argument_too_long", sys!(SYS_execve, c"/proc/self/exe", &words, 0));
    t.call("execveat_bad_flag", sys!(SYS_execveat, AT_FDCWD, c"/proc/self/exe", 0, 0, 1));
    let busy = file("busy", b"just text\n", 0o755);
    let script = file("script", &[b"#!", busy.to_bytes(), b"\n"].concat(), 0o755);
    let writer = sys!(SYS_openat, AT_FDCWD, busy.as_c_str(), O_WRONLY).expect("a file") as i32;
    t.call("open_for_writing", sys!(SYS_execve, busy.as_c_str(), 0, 0));
    t.call("interpreter_open_for_writing", sys!(SYS_execve, script.as_c_str(), 0, 0));
    close(writer);
    t.call("written_before", sys!(SYS_execve, busy.as_c_str(), 0, 0));
    t.ok("writable_again", sys!(SYS_openat, AT_FDCWD, busy.as_c_str(), O_WRONLY));
    let _ = std::fs::remove_dir_all(&directory);
    // Who made a file in memory may write to it, and execute it all the same.
    let memory = sys!(SYS_memfd_create, c"text", 0).expect("a file");
    let _ = sys!(SYS_write, memory, b"just text\n", 10);
    t.call("file_in_memory", sys!(SYS_execveat, memory, c"", 0, 0, AT_EMPTY_PATH));
    t.call("write_to_running", sys!(SYS_openat, AT_FDCWD, c"/proc/self/exe", O_WRONLY));
    t.call("truncate_running", sys!(SYS_truncate, c"/proc/self/exe", 0));
    t.call("empty_running", sys!(SYS_openat, AT_FDCWD, c"/proc/self/exe", O_RDWR | O_TRUNC));
}

/// What the program finds after it replaced itself; `arguments` are those after the mark.
pub fn after(t: &mut Report, arguments: &[String]) {
    match arguments {
        [stage, pid] if stage == BY_THREAD => by_thread(t, pid),
        [stage, file] if stage == SET_ID => set_id(t, file),
        _ => inherited(t, arguments),
    }
}

fn inherited(t: &mut Report, arguments: &[String]) {
    t.is("same_process", arguments.first().and_then(|pid| pid.parse().ok()) == sys!(SYS_getpid).ok());
    t.show("arguments", format!("{:?}", &arguments[1..]));
    t.show("name", std::env::args().next().unwrap_or_default());
    let mut environment: Vec<_> = std::env::vars().map(|(name, value)| format!("{name}={value}")).collect();
    environment.sort();
    t.show("environment", format!("{environment:?}"));
    t.show("comm", std::fs::read_to_string("/proc/self/comm").unwrap_or_default().trim_end());
    t.is("descriptor_kept", sys!(SYS_fcntl, 50, F_GETFD).is_ok());
    t.call("descriptor_closed", sys!(SYS_fcntl, 51, F_GETFD));
    let mut action = [0usize; 4];
    let _ = sys!(SYS_rt_sigaction, SIGUSR1, 0, &mut action, 8);
    t.show("ignored_signal_stays_ignored", action[0]);
    let _ = sys!(SYS_rt_sigaction, SIGUSR2, 0, &mut action, 8);
    t.show("handled_signal_is_default", action[0]);
    let mut mask = 0u64;
    let _ = sys!(SYS_rt_sigprocmask, SIG_BLOCK, 0, &mut mask, 8);
    t.show("mask_is_kept", format!("{mask:x}"));
    t.call("umask_is_kept", sys!(SYS_umask, 0));
    t.is("folder_is_kept", std::env::current_dir().is_ok_and(|path| path.as_os_str() == "/tmp"));
    t.show("threads_are_gone", std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count));
    t.is("main_tid_is_pid", sys!(SYS_gettid) == sys!(SYS_getpid));
    // Two threads at once, neither of them the first: one succeeds, and nothing is left of the other.
    let program: &'static CStr = Box::leak(own_file().into_boxed_c_str());
    let pid = sys!(SYS_getpid).unwrap_or(0).to_string();
    let threads = [pid.clone(), pid]
        .map(|pid| std::thread::spawn(move || next_stage(program, BY_THREAD, &pid)))
        .map(|thread| thread.join().expect("a thread"));
    t.show("execve_by_thread", format!("{threads:?}"));
}

fn by_thread(t: &mut Report, pid: &str) {
    t.is("by_thread_same_process", pid.parse().ok() == sys!(SYS_getpid).ok());
    t.is("by_thread_leads", sys!(SYS_gettid) == sys!(SYS_getpid));
    t.show("by_thread_alone", std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count));
    t.call(
        "by_thread_signal",
        sys!(SYS_tgkill, sys!(SYS_getpid).unwrap_or(0), sys!(SYS_gettid).unwrap_or(0), 0),
    );
    t.show("by_thread_starts_others", std::thread::spawn(|| 5).join().expect("a thread"));
    t.show("at_secure", auxiliary(AT_SECURE));
    t.call("dumpable", sys!(SYS_prctl, PR_GET_DUMPABLE));
    let directory = std::env::temp_dir().join(format!("usertest-set-id-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&directory);
    std::fs::create_dir(&directory).expect("a folder");
    std::fs::set_permissions(&directory, std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .expect("a mode");
    let file = directory.join("set-id");
    std::fs::copy("/proc/self/exe", &file).expect("a copy");
    std::os::unix::fs::chown(&file, Some(1234), Some(1235)).expect("an owner");
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o6755)).expect("a mode");
    let _ = sys!(SYS_prctl, PR_SET_PDEATHSIG, SIGUSR1);
    let result = next_stage(&path(file), SET_ID, &directory.to_string_lossy());
    t.call("execve_set_id", result);
}

/// A program that acts for the owner of its file.
fn set_id(t: &mut Report, directory: &str) {
    t.show("set_id_at_secure", auxiliary(AT_SECURE));
    t.show("set_id_at_ids", format!("{:?}", [AT_UID, AT_EUID, AT_GID, AT_EGID].map(auxiliary)));
    for (case, call) in [("set_id_users", SYS_getresuid), ("set_id_groups", SYS_getresgid)] {
        let mut ids = [9u32; 3];
        let [real, effective, saved] = &mut ids;
        let _ = sys::call(call, sys::pad(&[real.word(), effective.word(), saved.word()]));
        t.show(case, format!("{ids:?}"));
    }
    t.call("set_id_dumpable", sys!(SYS_prctl, PR_GET_DUMPABLE));
    let mut signal = 9i32;
    let _ = sys!(SYS_prctl, PR_GET_PDEATHSIG, &mut signal);
    t.show("set_id_pdeathsig", signal);
    for path in [c"/proc/self", c"/proc/self/status"] {
        let mut stat = sys::zeroed::<stat>();
        let _ = sys!(SYS_stat, path, &mut stat);
        t.show(&format!("owner_of_{}", path.to_string_lossy()), format!("{}:{}", stat.st_uid, stat.st_gid));
    }
    t.is("set_id_has_capabilities", capabilities() != [0; 3]);
    t.call("set_id_takes_root_back", sys!(SYS_setresuid, 0, 0, 0));
    t.is("set_id_has_them_again", capabilities()[0] != 0);
    let _ = std::fs::remove_dir_all(directory);
}

/// The lower half of the effective, permitted and inheritable set.
fn capabilities() -> [u32; 3] {
    let mut data = [0u32; 6];
    let _ = sys!(SYS_capget, &[0x2008_0522u32, 0], &mut data);
    [data[0], data[1], data[2]]
}

fn auxiliary(kind: u64) -> u64 {
    // SAFETY: reads the vector that the kernel left on the stack.
    unsafe { getauxval(kind) }
}
