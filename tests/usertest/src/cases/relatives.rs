//! Who is whose: ids of threads that are not the first where a process is meant, and what children have to do with the thread that made them.

use libc::*;

use super::helpers::{child, close, pipe, put, status_of, wait_for};
use crate::report::Report;
use crate::sys::{self, Errno};

/// An id that nobody has, and a signal that there is not.
const NOBODY: i32 = 4_000_000;
const NO_SIGNAL: i32 = 999;

/// Runs the group.
pub fn run(t: &mut Report) {
    thread_ids(t);
    wrong_signals(t);
    t.show("end_of_the_making_thread", told_by_a_thread(true));
    t.show("end_of_another_thread", told_by_a_thread(false));
    t.show("traceme_by_equal", Errno(traced_by(0)));
    t.show("traceme_by_lesser", Errno(traced_by(54_323)));
    scripts(t);
}

/// What calls that mean a process make of another thread's id.
fn thread_ids(t: &mut Report) {
    let asked = pipe();
    let (tell, told) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        tell.send(sys!(SYS_gettid).expect("an id")).expect("the other thread waits");
        let mut byte = 0u8;
        let _ = sys!(SYS_read, asked[0], &mut byte, 1);
    });
    let tid = told.recv().expect("it tells");
    t.call("kill", sys!(SYS_kill, tid, 0));
    t.call("kill_wrong", sys!(SYS_kill, tid, NO_SIGNAL));
    t.is("getpgid", sys!(SYS_getpgid, tid) == sys!(SYS_getpgid, 0));
    t.is("getsid", sys!(SYS_getsid, tid) == sys!(SYS_getsid, 0));
    t.call("setpgid", sys!(SYS_setpgid, tid, 0));
    t.call("setpgid_bad_group", sys!(SYS_setpgid, tid, -1));
    let mut limit = [0u64; 2];
    t.call("prlimit", sys!(SYS_prlimit64, tid, RLIMIT_NOFILE, 0, &mut limit));
    t.is("prlimit_found", limit[1] > 0);
    t.call("getpriority", sys!(SYS_getpriority, PRIO_PROCESS, tid));
    close(asked[1]);
    thread.join().expect("it ends");
    close(asked[0]);
}

/// Whom a signal goes to is looked for before what it is looked at.
fn wrong_signals(t: &mut Report) {
    t.call("kill_nobody", sys!(SYS_kill, NOBODY, NO_SIGNAL));
    t.call("kill_no_group", sys!(SYS_kill, -NOBODY, NO_SIGNAL));
    t.call("kill_oneself", sys!(SYS_kill, sys!(SYS_getpid).expect("an id"), NO_SIGNAL));
    t.call("kill_own_group", sys!(SYS_kill, 0, NO_SIGNAL));
    t.call("kill_minimum", sys!(SYS_kill, i32::MIN, NO_SIGNAL));
    t.call("tgkill_nobody", sys!(SYS_tgkill, NOBODY, NOBODY, NO_SIGNAL));
}

/// What a child hears of the thread that made it, or of another one, ending while its parent goes on (`PR_SET_PDEATHSIG`): the signal, and whether
/// the parent sent it; or that it came to the end of its patience.
fn told_by_a_thread(maker_ends: bool) -> String {
    let status = status_of(move || {
        let ready = pipe();
        let ended = pipe();
        let make = move || {
            child(move || {
                let wanted = 1u64 << (SIGUSR1 - 1);
                let _ = sys!(SYS_rt_sigprocmask, SIG_BLOCK, &wanted, 0, 8);
                let _ = sys!(SYS_prctl, PR_SET_PDEATHSIG, SIGUSR1);
                let _ = sys!(SYS_write, ready[1], b"r", 1);
                let mut byte = 0u8;
                let _ = sys!(SYS_read, ended[0], &mut byte, 1);
                let mut info = sys::zeroed::<siginfo_t>();
                // Once the thread was joined the signal has come, or is about to.
                let patience = timespec { tv_sec: if maker_ends { 60 } else { 0 }, tv_nsec: 0 };
                let taken = sys!(SYS_rt_sigtimedwait, &wanted, &mut info, &patience, 8);
                // SAFETY: a signal that a process sent says which one.
                let by_parent = unsafe { info.si_pid() } as usize == sys!(SYS_getppid).unwrap_or(0);
                match taken {
                    Ok(signal) => signal as i32 + if by_parent { 100 } else { 0 },
                    Err(errno) => errno.0,
                }
            })
        };
        let wait_until_ready = move || {
            let mut byte = 0u8;
            let _ = sys!(SYS_read, ready[0], &mut byte, 1);
        };
        let made = if maker_ends {
            let thread = std::thread::spawn(move || {
                let made = make();
                wait_until_ready();
                made
            });
            thread.join().expect("it ends")
        } else {
            let made = make();
            wait_until_ready();
            std::thread::spawn(|| ()).join().expect("it ends");
            made
        };
        let _ = sys!(SYS_write, ended[1], b"e", 1);
        wait_for(made).1
    });
    match status {
        100.. => format!("signal {} of the parent", status - 100),
        _ => Errno(status).to_string(),
    }
}

/// The error of `PTRACE_TRACEME` by a root's child whose parent acts for `user`.
fn traced_by(user: u32) -> i32 {
    status_of(move || {
        let changed = pipe();
        let traced = child(move || {
            let mut byte = 0u8;
            let _ = sys!(SYS_read, changed[0], &mut byte, 1);
            sys!(SYS_ptrace, PTRACE_TRACEME, 0, 0, 0).err().map_or(0, |errno| errno.0)
        });
        let _ = sys!(SYS_setresuid, user, user, user);
        let _ = sys!(SYS_write, changed[1], b"c", 1);
        wait_for(traced).1
    })
}

/// A script by a descriptor that its interpreter will not find.
fn scripts(t: &mut Report) {
    put("interpreter", "not executable");
    put("script", "#!interpreter\n");
    put("empty", "#!\n");
    for name in ["script", "empty"] {
        std::fs::set_permissions(name, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("a mode");
    }
    let arguments = [c"script".as_ptr() as usize, 0];
    for (case, name, flags) in [
        ("script_that_stays", c"script", O_RDONLY),
        ("script_that_goes", c"script", O_CLOEXEC),
        ("no_interpreter_that_goes", c"empty", O_CLOEXEC),
    ] {
        let fd = super::helpers::must_open(name, flags);
        t.call(case, sys!(SYS_execveat, fd, c"", &arguments, 0, AT_EMPTY_PATH));
        close(fd);
    }
    let folder = super::helpers::must_open(c".", O_DIRECTORY | O_CLOEXEC);
    t.call("script_in_a_folder_that_goes", sys!(SYS_execveat, folder, c"script", &arguments, 0, 0));
    close(folder);
}
