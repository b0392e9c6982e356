//! Events, and how tracing ends.

use libc::*;

use super::super::helpers::{child, close, leave, pipe, status_of};
use super::{go, info, message, registers, told, tracee, wait};
use crate::report::Report;

/// Lets `pid` go on until something but the stops of its new children happens; adds what it tells.
pub(super) fn events(t: &mut Report) {
    let all = PTRACE_O_TRACEFORK
        | PTRACE_O_TRACEVFORK
        | PTRACE_O_TRACECLONE
        | PTRACE_O_TRACEVFORKDONE
        | PTRACE_O_TRACEEXIT;
    let run = |name: &str, t: &mut Report, make: fn() -> i32| {
        let pid = tracee(make);
        let _ = trace!(PTRACE_SETOPTIONS, pid, 0, all);
        t.show(&format!("{name}_event"), go(PTRACE_CONT, pid, 0));
        let other = message(pid) as i32;
        t.show(&format!("{name}_child"), wait(other));
        t.is(&format!("{name}_is_another"), other != pid);
        let _ = trace!(PTRACE_CONT, pid, 0, 0);
        t.show(&format!("{name}_child_exit"), go(PTRACE_CONT, other, 0));
        t.show(&format!("{name}_child_status"), message(other));
        t.show(&format!("{name}_child_end"), go(PTRACE_CONT, other, 0));
        // Its own end, and events before it; the signal of the child's end may come before or behind.
        let mut told = Vec::new();
        for _ in 0..5 {
            let next = wait(pid);
            if next.starts_with("exit") {
                told.push(next);
                break;
            }
            let of_child = [SIGCHLD, SIGUSR1].into_iter().find(|signal| next == format!("stop {signal:#x}"));
            if of_child.is_none() {
                told.push(next);
            }
            let signal = if of_child == Some(SIGCHLD) { SIGCHLD } else { 0 };
            let _ = trace!(PTRACE_CONT, pid, 0, signal);
        }
        t.show(&format!("{name}_rest"), format!("{told:?}"));
    };
    run("fork", t, || status_of(|| 6));
    run("clone", t, || match sys!(SYS_clone, SIGUSR1, 0, 0, 0, 0) {
        Ok(0) => leave(4),
        Ok(_) => 3,
        Err(errno) => errno.0,
    });
    let pid = tracee(|| {
        let words = [c"/proc/self/exe".as_ptr(), c"--list".as_ptr(), std::ptr::null()];
        let _ = sys!(SYS_dup2, super::super::helpers::must_open(c"/dev/null", O_WRONLY), 1);
        let _ = sys!(SYS_execve, c"/proc/self/exe", words.as_ptr(), &[0usize]);
        9
    });
    let _ = trace!(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACEEXEC);
    t.show("exec_event", go(PTRACE_CONT, pid, 0));
    t.is("exec_message", message(pid) == pid as u64);
    t.show("exec_call", registers(pid).orig_rax);
    t.show("exec_end", go(PTRACE_CONT, pid, 0));
    let pid = tracee(|| {
        let words = [c"/proc/self/exe".as_ptr(), c"--list".as_ptr(), std::ptr::null()];
        let _ = sys!(SYS_dup2, super::super::helpers::must_open(c"/dev/null", O_WRONLY), 1);
        let _ = sys!(SYS_execve, c"/proc/self/exe", words.as_ptr(), &[0usize]);
        9
    });
    t.show("exec_trap", go(PTRACE_CONT, pid, 0));
    t.show("exec_trap_info", info(pid));
    t.show("exec_trap_end", go(PTRACE_CONT, pid, 0));
    // Threads.
    let pid = tracee(|| {
        let status = std::thread::spawn(|| 12).join().unwrap_or(0);
        // Of a thread of a process that ends as a whole that end would be told.
        let _ = sys!(SYS_kill, sys!(SYS_getpid).unwrap_or(0), SIGSTOP);
        status
    });
    let _ = trace!(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACECLONE);
    t.show("thread_event", go(PTRACE_CONT, pid, 0));
    let thread = message(pid) as i32;
    t.show("thread_stop", wait(thread));
    t.is("thread_in_proc", std::path::Path::new(&format!("/proc/{pid}/task/{thread}")).exists());
    let _ = trace!(PTRACE_CONT, pid, 0, 0);
    t.show("thread_end", go(PTRACE_CONT, thread, 0));
    t.show("process_stop", wait(pid));
    t.show("process_end", go(PTRACE_CONT, pid, 0));
}

pub(super) fn ends(t: &mut Report) {
    // A stopped tracee can be killed.
    let pid = tracee(|| 0);
    let _ = sys!(SYS_kill, pid, SIGKILL);
    t.show("killed_while_stopped", wait(pid));
    // The tracer ends: its tracees go on, or are killed.
    for (name, options) in [("orphaned", 0), ("exit_kill", PTRACE_O_EXITKILL)] {
        let [from, to] = pipe();
        let pid = child(|| {
            close(from);
            let _ = sys!(SYS_rt_sigsuspend, &0u64, 8);
            let _ = sys!(SYS_write, to, b"x", 1);
            0
        });
        close(to);
        let tracer = child(|| {
            let _ = trace!(PTRACE_SEIZE, pid, 0, options);
            let _ = trace!(PTRACE_INTERRUPT, pid, 0, 0);
            let _ = wait(pid);
            0
        });
        let _ = wait(tracer);
        let alive = sys!(SYS_kill, pid, 0).is_ok();
        let mut status = 0i32;
        if options == 0 {
            t.is(&format!("{name}_lives"), alive);
            let _ = sys!(SYS_kill, pid, SIGTERM);
        }
        let _ = sys!(SYS_wait4, pid, &mut status, 0, 0);
        t.show(name, told(status));
        close(from);
    }
    // The parent hears of the end after the tracer.
    let [from, to] = pipe();
    let [end_from, end_to] = pipe();
    let pid = child(|| sys!(SYS_read, from, &mut [0u8], 1).map_or(1, |length| length as i32 + 20));
    let [ready_from, ready_to] = pipe();
    let tracer = child(|| {
        let _ = trace!(PTRACE_SEIZE, pid, 0, 0);
        let _ = sys!(SYS_write, ready_to, b"x", 1);
        let _ = sys!(SYS_read, end_from, &mut [0u8], 1);
        i32::from(wait(pid) == "exit 21")
    });
    let _ = sys!(SYS_read, ready_from, &mut [0u8], 1);
    let _ = sys!(SYS_write, to, b"x", 1);
    std::thread::sleep(std::time::Duration::from_millis(100));
    let mut status = 0i32;
    t.call("parent_before_tracer", sys!(SYS_wait4, pid, &mut status, WNOHANG, 0));
    let _ = sys!(SYS_write, end_to, b"x", 1);
    t.show("tracer_heard", wait(tracer));
    t.show("parent_after_tracer", wait(pid));
}
