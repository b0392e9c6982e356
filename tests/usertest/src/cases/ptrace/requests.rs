//! Who may trace whom, and the requests themselves.

use libc::*;

use super::super::helpers::{NOWHERE, status_of};
use super::{LISTEN, end, go, info, sleeper, tracee, wait};
use crate::report::Report;
use crate::sys::Errno;

pub(super) fn requests(t: &mut Report) {
    let pid = tracee(|| 7);
    t.show("first_stop", info(pid));
    t.call("unknown", trace!(9999, pid, 0, 0));
    t.call("signal_bad", trace!(PTRACE_CONT, pid, 0, 99));
    t.call("options_bad", trace!(PTRACE_SETOPTIONS, pid, 0, 1u64 << 30));
    let mut word = 0u64;
    t.call("user_unaligned", trace!(PTRACE_PEEKUSER, pid, 3, &mut word));
    t.call("user_beyond", trace!(PTRACE_PEEKUSER, pid, 4096, &mut word));
    t.call("user_debug_register", trace!(PTRACE_PEEKUSER, pid, 848, &mut word));
    t.call("peek_nowhere", trace!(PTRACE_PEEKDATA, pid, NOWHERE, &mut word));
    t.call("poke_nowhere", trace!(PTRACE_POKEDATA, pid, NOWHERE, 1));
    t.call("peek_to_nowhere", trace!(PTRACE_PEEKDATA, pid, &raw const word, NOWHERE));
    t.call("listen_unseized", trace!(LISTEN, pid, 0, 0));
    t.call("interrupt_unseized", trace!(PTRACE_INTERRUPT, pid, 0, 0));
    t.call("set_unknown", trace!(PTRACE_GETREGSET, pid, 77, &[(&raw mut word) as usize, 8]));
    t.call("set_odd", trace!(PTRACE_GETREGSET, pid, 1, &[(&raw mut word) as usize, 7]));
    t.call("mask_size", trace!(0x420a, pid, 4, &mut word));
    t.call("mask", trace!(0x420a, pid, 8, &mut word));
    t.show("mask_value", word);
    t.call("message", trace!(PTRACE_GETEVENTMSG, pid, 0, &mut word));
    t.show("status_line", tracer_line(pid));
    t.show("state", state(pid));
    t.show("continue", go(PTRACE_CONT, pid, 0));
    t.call("gone", trace!(PTRACE_CONT, pid, 0, 0));
    t.call("no_tracee", trace!(PTRACE_CONT, sys!(SYS_getppid).unwrap_or(0) as i32, 0, 0));
    let twice = status_of(|| {
        let _ = trace!(PTRACE_TRACEME, 0, 0, 0);
        trace!(PTRACE_TRACEME, 0, 0, 0).err().map_or(0, |errno| errno.0)
    });
    t.show("traceme_twice", Errno(twice));
    let pid = tracee(|| {
        loop {
            let _ = sys!(SYS_pause);
        }
    });
    let _ = trace!(PTRACE_CONT, pid, 0, 0);
    t.call("running", trace!(PTRACE_PEEKUSER, pid, 0, &mut word));
    t.call("kill_request", trace!(PTRACE_KILL, pid, 0, 0));
    t.show("killed", wait(pid));
}

/// Whether `status` names this process as the tracer of `pid`.
fn tracer_line(pid: i32) -> bool {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    text.lines().any(|line| line == format!("TracerPid:\t{}", std::process::id()))
}

fn state(pid: i32) -> String {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    text.lines().find(|line| line.starts_with("State")).unwrap_or_default().replace('\t', " ")
}

pub(super) fn attaching(t: &mut Report) {
    let own = sys!(SYS_getpid).unwrap_or(0) as i32;
    t.call("attach_self", trace!(PTRACE_ATTACH, own, 0, 0));
    t.call("attach_missing", trace!(PTRACE_ATTACH, 0x3f_ffff, 0, 0));
    t.call("seize_with_address", trace!(PTRACE_SEIZE, own, 1, 0));
    t.call("seize_bad_options", trace!(PTRACE_SEIZE, own, 0, 1u64 << 30));
    let pid = sleeper();
    t.call("attach", trace!(PTRACE_ATTACH, pid, 0, 0));
    t.show("attached", wait(pid));
    t.call("attach_twice", trace!(PTRACE_ATTACH, pid, 0, 0));
    t.call("detach_bad_signal", trace!(PTRACE_DETACH, pid, 0, 99));
    t.call("detach", trace!(PTRACE_DETACH, pid, 0, 0));
    t.call("detach_twice", trace!(PTRACE_DETACH, pid, 0, 0));
    t.show("detached_line", tracer_line(pid));
    end(pid);
    // With a signal it goes on.
    let pid = sleeper();
    let _ = trace!(PTRACE_ATTACH, pid, 0, 0);
    let _ = wait(pid);
    t.call("detach_with_signal", trace!(PTRACE_DETACH, pid, 0, SIGTERM));
    t.show("ended_by_it", wait(pid));
    // One that is stopped already.
    let pid = sleeper();
    let _ = sys!(SYS_kill, pid, SIGSTOP);
    let mut status = 0i32;
    let _ = sys!(SYS_wait4, pid, &mut status, WUNTRACED, 0);
    t.call("attach_stopped", trace!(PTRACE_ATTACH, pid, 0, 0));
    t.show("attached_stopped", wait(pid));
    let _ = trace!(PTRACE_CONT, pid, 0, 0);
    end(pid);
    let pid = sleeper();
    let refused = status_of(|| {
        let _ = sys!(SYS_setresuid, 1234, 1234, 1234);
        trace!(PTRACE_ATTACH, pid, 0, 0).err().map_or(0, |errno| errno.0)
    });
    t.show("attach_unprivileged", Errno(refused));
    end(pid);
}
