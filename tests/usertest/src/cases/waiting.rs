//! wait4 and waitid, what they tell of ends, stops and continuations; orphans, groups, sessions, descriptors of processes.

use libc::*;

use super::helpers::{
    CLOSED, NOWHERE, child, close, pipe, sleep_ms, status_of, until_child_sleeps, wait_for,
};
use crate::report::Report;
use crate::sys;

/// Runs the group.
pub fn run(t: &mut Report) {
    statuses(t);
    options(t);
    identified(t);
    stops(t);
    told(t);
    unwanted(t);
    orphans(t);
    orphaned_groups(t);
    groups(t);
    descriptors(t);
}

/// A child that waits until it is killed.
fn sleeper() -> i32 {
    child(|| {
        loop {
            let _ = sys!(SYS_pause);
        }
    })
}

fn kill(pid: i32, signal: i32) {
    sys!(SYS_kill, pid, signal).unwrap_or_else(|errno| panic!("kill {pid}: {errno}"));
}

fn statuses(t: &mut Report) {
    let mut status = 0;
    for code in [0, 1, 255, 256, 0x1234] {
        let pid = child(|| code);
        t.is("wait4_gives_the_pid", sys!(SYS_wait4, pid, &mut status, 0, 0) == Ok(pid as usize));
        t.show(&format!("exit_{code}"), status);
    }
    for signal in [SIGKILL, SIGTERM, SIGFPE, SIGUSR1, SIGABRT, 64] {
        let pid = sleeper();
        kill(pid, signal);
        sys!(SYS_wait4, pid, &mut status, 0, 0).expect("a child");
        // A dump of memory may be made here or not.
        t.show(&format!("killed_by_{signal}"), status & 0x7f);
    }
    let pid = child(|| 5);
    let mut usage = sys::zeroed::<rusage>();
    sys!(SYS_wait4, pid, &mut status, 0, &mut usage).expect("a child");
    t.is("usage_has_a_resident_set", usage.ru_maxrss > 0);
    let pid = child(|| 5);
    t.is("without_a_place_for_the_status", sys!(SYS_wait4, pid, 0, 0, 0) == Ok(pid as usize));
    let pid = child(|| 5);
    t.call("bad_place", sys!(SYS_wait4, pid, NOWHERE, 0, 0));
    t.call("is_gone_all_the_same", sys!(SYS_wait4, pid, &mut status, 0, 0));
}

fn options(t: &mut Report) {
    let mut status = 0;
    t.call("nobody", sys!(SYS_wait4, -1, &mut status, 0, 0));
    t.call("nobody_no_hang", sys!(SYS_wait4, -1, &mut status, WNOHANG, 0));
    t.call("no_such_child", sys!(SYS_wait4, 0x3f_ffff, &mut status, 0, 0));
    t.call("not_a_child", sys!(SYS_wait4, sys!(SYS_getpid).unwrap_or(0), &mut status, 0, 0));
    t.call("bad_option", sys!(SYS_wait4, -1, &mut status, 0x10, 0));
    t.call("exited_is_no_option", sys!(SYS_wait4, -1, &mut status, WEXITED, 0));
    t.call("smallest_group", sys!(SYS_wait4, i32::MIN, &mut status, 0, 0));
    let pid = sleeper();
    t.call("no_hang", sys!(SYS_wait4, pid, &mut status, WNOHANG, 0));
    t.call("other_group", sys!(SYS_wait4, -0x3f_ffff, &mut status, WNOHANG, 0));
    t.call("own_group", sys!(SYS_wait4, 0, &mut status, WNOHANG, 0));
    kill(pid, SIGKILL);
    t.is("any", sys!(SYS_wait4, -1, &mut status, 0, 0) == Ok(pid as usize));
    // The order of ends does not matter to one who names a child.
    let (first, second) = (sleeper(), child(|| 2));
    t.show("second", wait_for(second).1);
    kill(first, SIGKILL);
    t.show("first", wait_for(first).1);
}

/// Signal, error, code, pid relative to `pid`, and status of an information.
fn show_info(t: &mut Report, case: &str, info: &siginfo_t, pid: i32) {
    // SAFETY: waitid fills in what a SIGCHLD has, or zeros.
    let (sender, status) = unsafe { (info.si_pid(), info.si_status()) };
    let who = if sender == pid {
        "the child"
    } else if sender == 0 {
        "nobody"
    } else {
        "another"
    };
    t.show(case, format!("{} {} {} {who} {status}", info.si_signo, info.si_errno, info.si_code));
}

fn identified(t: &mut Report) {
    let mut info = sys::zeroed::<siginfo_t>();
    t.call("waitid_nobody", sys!(SYS_waitid, P_ALL, 0, &mut info, WEXITED, 0));
    t.call("waitid_no_event", sys!(SYS_waitid, P_ALL, 0, &mut info, WNOHANG, 0));
    t.call("waitid_bad_option", sys!(SYS_waitid, P_ALL, 0, &mut info, WEXITED | 0x10, 0));
    t.call("waitid_bad_kind", sys!(SYS_waitid, 9, 0, &mut info, WEXITED, 0));
    t.call("waitid_pid_0", sys!(SYS_waitid, P_PID, 0, &mut info, WEXITED, 0));
    t.call("waitid_negative_group", sys!(SYS_waitid, P_PGID, -2, &mut info, WEXITED, 0));
    t.call("waitid_closed_descriptor", sys!(SYS_waitid, P_PIDFD, CLOSED, &mut info, WEXITED, 0));
    t.call("waitid_no_pidfd", sys!(SYS_waitid, P_PIDFD, 0, &mut info, WEXITED, 0));
    let pid = child(|| 300);
    t.call("waitid_keep", sys!(SYS_waitid, P_PID, pid, &mut info, WEXITED | WNOWAIT, 0));
    show_info(t, "waitid_kept", &info, pid);
    info = sys::zeroed();
    t.call("waitid_take", sys!(SYS_waitid, P_PID, pid, &mut info, WEXITED, 0));
    show_info(t, "waitid_taken", &info, pid);
    t.call("waitid_taken_again", sys!(SYS_waitid, P_PID, pid, &mut info, WEXITED, 0));
    let pid = sleeper();
    t.call("waitid_no_hang", sys!(SYS_waitid, P_PID, pid, &mut info, WEXITED | WNOHANG, 0));
    show_info(t, "waitid_nothing_yet", &info, pid);
    kill(pid, SIGKILL);
    t.call("waitid_group", sys!(SYS_waitid, P_PGID, 0, &mut info, WEXITED, 0));
    show_info(t, "waitid_killed", &info, pid);
    let pid = child(|| 1);
    t.call("waitid_without_info", sys!(SYS_waitid, P_PID, pid, 0, WEXITED, 0));
    let pid = child(|| 1);
    t.call("waitid_bad_info", sys!(SYS_waitid, P_PID, pid, NOWHERE, WEXITED, 0));
}

fn stops(t: &mut Report) {
    let mut status = 0;
    let mut info = sys::zeroed::<siginfo_t>();
    let pid = sleeper();
    kill(pid, SIGSTOP);
    t.is("untraced", sys!(SYS_wait4, pid, &mut status, WUNTRACED, 0) == Ok(pid as usize));
    t.show("stopped", format!("{status:#x}"));
    t.call("told_once", sys!(SYS_wait4, pid, &mut status, WUNTRACED | WNOHANG, 0));
    kill(pid, SIGCONT);
    t.is("continued", sys!(SYS_wait4, pid, &mut status, WCONTINUED, 0) == Ok(pid as usize));
    t.show("continued_status", format!("{status:#x}"));
    t.call("continued_once", sys!(SYS_wait4, pid, &mut status, WCONTINUED | WNOHANG, 0));
    kill(pid, SIGSTOP);
    t.call("waitid_stopped", sys!(SYS_waitid, P_PID, pid, &mut info, WSTOPPED | WNOWAIT, 0));
    show_info(t, "waitid_stop", &info, pid);
    t.call("waitid_stopped_again", sys!(SYS_waitid, P_PID, pid, &mut info, WSTOPPED, 0));
    kill(pid, SIGCONT);
    t.call("waitid_continued", sys!(SYS_waitid, P_PID, pid, &mut info, WCONTINUED, 0));
    show_info(t, "waitid_continuation", &info, pid);
    kill(pid, SIGSTOP);
    sys!(SYS_waitid, P_PID, pid, &mut info, WSTOPPED | WNOWAIT, 0).expect("a stop");
    kill(pid, SIGCONT);
    sys!(SYS_waitid, P_PID, pid, &mut info, WCONTINUED | WNOWAIT, 0).expect("a continuation");
    t.call("a_stop_that_is_over", sys!(SYS_wait4, pid, &mut status, WUNTRACED | WNOHANG, 0));
    kill(pid, SIGSTOP);
    kill(pid, SIGKILL);
    t.show("killed_while_stopped", wait_for(pid).1);
}

/// Waits for a SIGCHLD, which is blocked.
fn next_sigchld(milliseconds: i64) -> Option<siginfo_t> {
    let mut info = sys::zeroed::<siginfo_t>();
    let set = 1u64 << (SIGCHLD - 1);
    let span = timespec { tv_sec: milliseconds / 1000, tv_nsec: milliseconds % 1000 * 1_000_000 };
    sys!(SYS_rt_sigtimedwait, &set, &mut info, &span, 8).ok().map(|_| info)
}

fn told(t: &mut Report) {
    let set = 1u64 << (SIGCHLD - 1);
    sys!(SYS_rt_sigprocmask, SIG_BLOCK, &set, 0, 8).expect("a mask");
    let pid = child(|| 9);
    match next_sigchld(5000) {
        Some(info) => show_info(t, "sigchld_of_an_end", &info, pid),
        None => t.show("sigchld_of_an_end", "none"),
    }
    wait_for(pid);
    let pid = sleeper();
    for (case, signal) in [("stop", SIGSTOP), ("continuation", SIGCONT), ("kill", SIGKILL)] {
        kill(pid, signal);
        match next_sigchld(5000) {
            Some(info) => show_info(t, &format!("sigchld_of_a_{case}"), &info, pid),
            None => t.show(&format!("sigchld_of_a_{case}"), "none"),
        }
    }
    wait_for(pid);
    let mut action = [0usize; 4];
    action[1] = SA_NOCLDSTOP as usize;
    sys!(SYS_rt_sigaction, SIGCHLD, &action, 0, 8).expect("an action");
    let pid = sleeper();
    kill(pid, SIGSTOP);
    let mut status = 0;
    sys!(SYS_wait4, pid, &mut status, WUNTRACED, 0).expect("a stop");
    t.is("no_sigchld_of_a_stop", next_sigchld(0).is_none());
    kill(pid, SIGKILL);
    wait_for(pid);
    t.is("but_of_an_end", next_sigchld(0).is_some());
    sys!(SYS_rt_sigaction, SIGCHLD, &[0usize; 4], 0, 8).expect("an action");
    sys!(SYS_rt_sigprocmask, SIG_UNBLOCK, &set, 0, 8).expect("a mask");
}

fn unwanted(t: &mut Report) {
    let mut ignore = [0usize; 4];
    ignore[0] = SIG_IGN;
    let mut no_wait = [0usize; 4];
    no_wait[1] = SA_NOCLDWAIT as usize;
    for (case, action) in [("ignored", ignore), ("no_cld_wait", no_wait)] {
        sys!(SYS_rt_sigaction, SIGCHLD, &action, 0, 8).expect("an action");
        let pid = child(|| 3);
        let mut status = 77;
        t.call(&format!("{case}_wait_ends_without_a_child"), sys!(SYS_wait4, pid, &mut status, 0, 0));
        t.show(&format!("{case}_status_untouched"), status);
        t.call(&format!("{case}_child_is_gone"), sys!(SYS_kill, pid, 0));
    }
    sys!(SYS_rt_sigaction, SIGCHLD, &[0usize; 4], 0, 8).expect("an action");
    let pid = child(|| 3);
    until_child_sleeps(pid);
    t.call("a_zombie_takes_signals", sys!(SYS_kill, pid, SIGTERM));
    t.call(
        "a_zombie_has_a_group",
        sys!(SYS_getpgid, pid).map(|group| usize::from(Ok(group) == sys!(SYS_getpgrp))),
    );
    let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    t.show("a_zombies_state", state.rsplit(") ").next().and_then(|rest| rest.chars().next()).unwrap_or('?'));
    let mut info = sys::zeroed::<siginfo_t>();
    t.call("a_zombie_does_not_stop", sys!(SYS_waitid, P_PID, pid, &mut info, WSTOPPED, 0));
    t.show("a_zombies_status", wait_for(pid).1);
    t.call("then_it_is_gone", sys!(SYS_kill, pid, 0));
}

/// Groups of which a member is stopped, and whose last parent of their session ends: they are told, and others are not.
fn orphaned_groups(t: &mut Report) {
    sys!(SYS_prctl, PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0).expect("a reaper");
    let ends = pipe();
    let leader = child(|| {
        sys!(SYS_setsid).expect("a session");
        let members = [SIGSTOP, SIGSTOP, 0].map(|stop| {
            let member = child(|| {
                let _ = sys!(SYS_setpgid, 0, 0);
                if stop != 0 {
                    kill(sys!(SYS_getpid).expect("an id") as i32, stop);
                }
                sys!(SYS_read, ends[0], &mut 0u8, 1).map_or(1, |_| 6)
            });
            let _ = sys!(SYS_setpgid, member, member);
            if stop == 0 {
                until_child_sleeps(member);
            } else {
                let _ = sys!(SYS_wait4, member, 0, WUNTRACED, 0);
            }
            member
        });
        members.len() as i32
    });
    t.show("leader_of_groups", wait_for(leader).1);
    let mut status = 0;
    let mut ended = || sys!(SYS_wait4, -1, &mut status, 0, 0).map_or(-1, |_| status);
    t.show("stopped_groups", format!("{} {}", ended(), ended()));
    sys!(SYS_write, ends[1], b"x", 1).expect("a byte");
    t.show("running_group", ended());
    sys!(SYS_prctl, PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0).expect("no reaper");
    close(ends[0]);
    close(ends[1]);
}

fn orphans(t: &mut Report) {
    sys!(SYS_prctl, PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0).expect("a reaper");
    let mut reaper = 0i32;
    t.call("is_a_reaper", sys!(SYS_prctl, PR_GET_CHILD_SUBREAPER, &mut reaper, 0, 0, 0));
    t.show("reaper", reaper);
    let ends = pipe();
    let own = sys!(SYS_getpid);
    let parent = child(|| {
        child(|| {
            while sys!(SYS_getppid) != own {
                sleep_ms(1);
            }
            let _ = sys!(SYS_write, ends[1], b"x".as_ptr() as usize, 1);
            44
        });
        0
    });
    t.show("parent_of_the_orphan", wait_for(parent).1);
    let mut byte = 0u8;
    t.call("the_orphan_has_a_new_parent", sys!(SYS_read, ends[0], &raw mut byte as usize, 1));
    let mut status = 0;
    t.is("the_reaper_waits_for_it", sys!(SYS_wait4, -1, &mut status, 0, 0).is_ok());
    t.show("the_orphans_status", WEXITSTATUS(status));
    t.show(
        "not_inherited",
        status_of(|| {
            let mut reaper = 7i32;
            let _ = sys!(SYS_prctl, PR_GET_CHILD_SUBREAPER, &mut reaper, 0, 0, 0);
            reaper
        }),
    );
    // A signal at the parent's death.
    let parent = child(|| {
        let ready = pipe();
        child(|| {
            let _ = sys!(SYS_prctl, PR_SET_PDEATHSIG, SIGTERM);
            let _ = sys!(SYS_write, ready[1], b"x".as_ptr() as usize, 1);
            loop {
                let _ = sys!(SYS_pause);
            }
        });
        let mut byte = 0u8;
        let _ = sys!(SYS_read, ready[0], &raw mut byte as usize, 1);
        0
    });
    wait_for(parent);
    sys!(SYS_wait4, -1, &mut status, 0, 0).expect("an orphan");
    t.show("death_signal", WTERMSIG(status));
    sys!(SYS_prctl, PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0).expect("no reaper");
    close(ends[0]);
    close(ends[1]);
}

fn groups(t: &mut Report) {
    let pid = sleeper();
    t.call("put_into_its_own_group", sys!(SYS_setpgid, pid, 0));
    t.is("group", sys!(SYS_getpgid, pid) == Ok(pid as usize));
    let second = sleeper();
    t.call("join_it", sys!(SYS_setpgid, second, pid));
    t.call("join_no_group", sys!(SYS_setpgid, second, 0x3f_ffff));
    t.call("signal_the_group", sys!(SYS_kill, -pid, SIGTERM));
    let mut status = 0;
    t.is("wait_for_the_group", sys!(SYS_wait4, -pid, &mut status, 0, 0).is_ok());
    t.is("wait_for_the_rest", sys!(SYS_wait4, -pid, &mut status, 0, 0).is_ok());
    t.call("wait_for_nobody", sys!(SYS_wait4, -pid, &mut status, 0, 0));
    t.call("signal_no_group", sys!(SYS_kill, -pid, 0));
    t.show(
        "new_session",
        status_of(|| {
            let own = sys!(SYS_getpid);
            i32::from(sys!(SYS_setsid) == own && sys!(SYS_getsid, 0) == own && sys!(SYS_getpgrp) == own)
        }),
    );
    t.show(
        "leader_makes_no_session",
        status_of(|| {
            let _ = sys!(SYS_setsid);
            sys!(SYS_setsid).err().map_or(0, |errno| errno.0)
        }),
    );
    t.show(
        "leader_keeps_its_group",
        status_of(|| {
            let _ = sys!(SYS_setsid);
            sys!(SYS_setpgid, 0, 0).err().map_or(0, |errno| errno.0)
        }),
    );
    let pid = child(|| {
        let _ = sys!(SYS_setsid);
        loop {
            let _ = sys!(SYS_pause);
        }
    });
    while sys!(SYS_getsid, pid) != Ok(pid as usize) {
        sleep_ms(1);
    }
    t.call("child_in_another_session", sys!(SYS_setpgid, pid, 0));
    kill(pid, SIGKILL);
    wait_for(pid);
    let other = sleeper();
    t.show(
        "kill_all_is_refused_by_all",
        status_of(|| {
            let _ = sys!(SYS_setsid);
            let _ = sys!(SYS_setresuid, 4321, 4321, 4321);
            sys!(SYS_kill, -1, 0).map_or_else(|errno| errno.0, |_| 0)
        }),
    );
    kill(other, SIGKILL);
    wait_for(other);
    t.call("setpgid_negative", sys!(SYS_setpgid, 0, -1));
    t.show(
        "limits_of_another_user",
        status_of(|| {
            let _ = sys!(SYS_setresuid, 4321, 4321, 4321);
            let mut limit = sys::zeroed::<rlimit>();
            let parent = sys!(SYS_getppid).unwrap_or(0);
            sys!(SYS_prlimit64, parent, RLIMIT_NOFILE, 0, &mut limit).err().map_or(0, |errno| errno.0)
        }),
    );
    t.call("setpgid_stranger", sys!(SYS_setpgid, 0x3f_ffff, 0));
    t.call("getpgid_stranger", sys!(SYS_getpgid, 0x3f_ffff));
    t.call("getsid_stranger", sys!(SYS_getsid, 0x3f_ffff));
}

fn descriptors(t: &mut Report) {
    t.call("pidfd_of_nobody", sys!(SYS_pidfd_open, 0x3f_ffff, 0));
    t.call("pidfd_of_0", sys!(SYS_pidfd_open, 0, 0));
    t.call("pidfd_bad_flag", sys!(SYS_pidfd_open, 1, 1));
    let pid = sleeper();
    let fd = sys!(SYS_pidfd_open, pid, 0).expect("a descriptor") as i32;
    t.call("pidfd_closes_on_exec", sys!(SYS_fcntl, fd, F_GETFD));
    t.call("pidfd_read", sys!(SYS_read, fd, &mut [0u8; 8], 8));
    let mut wanted = pollfd { fd, events: POLLIN, revents: 0 };
    t.call("pidfd_is_not_ready", sys!(SYS_poll, &raw mut wanted as usize, 1, 0));
    t.call("pidfd_probe", sys!(SYS_pidfd_send_signal, fd, 0, 0, 0));
    t.call("pidfd_bad_signal", sys!(SYS_pidfd_send_signal, fd, 65, 0, 0));
    t.call("pidfd_send_to_no_pidfd", sys!(SYS_pidfd_send_signal, 0, SIGTERM, 0, 0));
    let folder = |name: String| {
        let name = std::ffi::CString::new(name).expect("no NUL");
        super::helpers::must_open(&name, O_RDONLY | O_DIRECTORY)
    };
    let of_process = folder(format!("/proc/{pid}"));
    t.call("folder_probe", sys!(SYS_pidfd_send_signal, of_process, 0, 0, 0));
    t.call("folder_is_no_pidfd_to_get", sys!(SYS_pidfd_getfd, of_process, 0, 0));
    for name in ["task", "fd"] {
        let fd = folder(format!("/proc/{pid}/{name}"));
        t.call(&format!("folder_{name}"), sys!(SYS_pidfd_send_signal, fd, 0, 0, 0));
        close(fd);
    }
    t.call("pidfd_send", sys!(SYS_pidfd_send_signal, fd, SIGTERM, 0, 0));
    t.call("pidfd_becomes_ready", sys!(SYS_poll, &raw mut wanted as usize, 1, 5000));
    t.show("pidfd_events", wanted.revents);
    t.call("pidfd_of_a_zombie_takes_signals", sys!(SYS_pidfd_send_signal, fd, 0, 0, 0));
    let mut info = sys::zeroed::<siginfo_t>();
    t.call("pidfd_wait", sys!(SYS_waitid, P_PIDFD, fd, &mut info, WEXITED, 0));
    show_info(t, "pidfd_info", &info, pid);
    t.call("folder_of_the_gone", sys!(SYS_pidfd_send_signal, of_process, 0, 0, 0));
    close(of_process);
    t.call("pidfd_of_the_gone", sys!(SYS_pidfd_send_signal, fd, 0, 0, 0));
    t.call("pidfd_wait_again", sys!(SYS_waitid, P_PIDFD, fd, &mut info, WEXITED, 0));
    close(fd);
    // A descriptor of another process's file.
    let ends = pipe();
    let pid = child(|| {
        close(ends[0]);
        let mut byte = 0u8;
        let _ = sys!(SYS_read, ends[0], &raw mut byte as usize, 1);
        loop {
            let _ = sys!(SYS_pause);
        }
    });
    let fd = sys!(SYS_pidfd_open, pid, O_NONBLOCK).expect("a descriptor") as i32;
    t.call("wait_that_would_block", sys!(SYS_waitid, P_PIDFD, fd, &mut info, WEXITED, 0));
    match sys!(SYS_pidfd_getfd, fd, ends[1], 0) {
        Ok(copy) => {
            t.call("write_to_the_copy", sys!(SYS_write, copy, b"abc".as_ptr() as usize, 3));
            t.call("read_from_the_original", sys!(SYS_read, ends[0], &mut [0u8; 8], 8));
            close(copy as i32);
        }
        Err(errno) => t.show("write_to_the_copy", errno),
    }
    t.call("getfd_closed", sys!(SYS_pidfd_getfd, fd, CLOSED, 0));
    t.call("getfd_bad_flags", sys!(SYS_pidfd_getfd, fd, ends[1], 1));
    kill(pid, SIGKILL);
    wait_for(pid);
    t.call("getfd_of_the_gone", sys!(SYS_pidfd_getfd, fd, ends[1], 0));
    close(fd);
    close(ends[0]);
    close(ends[1]);
}
