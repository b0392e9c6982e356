//! A program that replaces itself: what the new one inherits, what it does not. One process, so this comes last.

use std::ffi::CString;

use libc::*;

use crate::report::Report;

/// The first argument of a program that replaced another.
pub const MARK: &str = "--replaced";

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
    let program = CString::new(
        std::fs::read_link("/proc/self/exe")
            .map_or_else(|_| Vec::new(), |path| path.into_os_string().into_encoded_bytes()),
    )
    .expect("no NUL");
    let words = [
        c"renamed".to_owned(),
        CString::new(MARK).expect("no NUL"),
        CString::new(pid).expect("no NUL"),
        c"a b".to_owned(),
        c"".to_owned(),
    ];
    let environment = [c"ONE=1".to_owned(), c"EMPTY=".to_owned()];
    let pointers = |strings: &[CString]| {
        strings.iter().map(|string| string.as_ptr()).chain([std::ptr::null()]).collect::<Vec<_>>()
    };
    let result =
        sys!(SYS_execve, program.as_c_str(), pointers(&words).as_ptr(), pointers(&environment).as_ptr());
    t.call("execve", result);
}

fn errors(t: &mut Report) {
    let directory = std::env::temp_dir().join(format!("usertest-exec-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&directory);
    std::fs::create_dir(&directory).expect("a folder");
    let file = |name: &str, content: &[u8], mode: u32| {
        let path = directory.join(name);
        std::fs::write(&path, content).expect("a file");
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(mode)).expect("a mode");
        CString::new(path.into_os_string().into_encoded_bytes()).expect("no NUL")
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
    let _ = std::fs::remove_dir_all(&directory);
}

/// What the program finds after it replaced itself; `arguments` are those after the mark.
pub fn after(t: &mut Report, arguments: &[String]) {
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
}
