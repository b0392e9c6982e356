//! Stops at signals, of the whole process, and of threads that were seized.

use std::arch::asm;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use libc::*;

use super::{EVENT_STOP, LISTEN, PEEKSIGINFO, SEEN, end, go, info, on_signal, sleeper, tracee, wait};
use crate::report::Report;

static VALUE: AtomicU64 = AtomicU64::new(0);

extern "C" fn on_info(number: c_int, info: *mut siginfo_t, _: *mut c_void) {
    SEEN.store(number, SeqCst);
    // SAFETY: the kernel's structure; the value of a queued signal is its fourth word of eight bytes.
    VALUE.store(unsafe { info.cast::<u64>().add(3).read() }, SeqCst);
}

pub(super) fn signals(t: &mut Report) {
    let two = || {
        // SAFETY: handlers of the right type.
        unsafe {
            signal(SIGUSR1, on_signal as *const () as usize);
            signal(SIGUSR2, on_signal as *const () as usize);
        }
        let _ = sys!(SYS_kill, sys!(SYS_getpid).unwrap_or(0), SIGUSR1);
        SEEN.load(SeqCst)
    };
    for (name, signal) in
        [("suppressed", 0), ("passed_on", SIGUSR1), ("replaced", SIGUSR2), ("fatal", SIGTERM)]
    {
        let pid = tracee(two);
        t.show(&format!("{name}_stop"), go(PTRACE_CONT, pid, 0));
        t.show(name, go(PTRACE_CONT, pid, signal));
    }
    // Ignored ones are seen as well.
    let pid = tracee(|| {
        // SAFETY: no handler at all.
        unsafe { signal(SIGUSR1, SIG_IGN) };
        let _ = sys!(SYS_kill, sys!(SYS_getpid).unwrap_or(0), SIGUSR1);
        3
    });
    t.show("ignored", go(PTRACE_CONT, pid, 0));
    t.show("ignored_passed_on", go(PTRACE_CONT, pid, SIGUSR1));
    // What it is told about a signal can be changed.
    let pid = tracee(|| {
        let action = sigaction {
            sa_sigaction: on_info as *const () as usize,
            // SAFETY: an empty set.
            sa_mask: unsafe { std::mem::zeroed() },
            sa_flags: SA_SIGINFO,
            sa_restorer: None,
        };
        // SAFETY: a handler of the right type.
        unsafe { sigaction(SIGUSR1, &raw const action, std::ptr::null_mut()) };
        let mut info = [0u64; 16];
        (info[0], info[1], info[3]) = (SIGUSR1 as u64, 0xffff_ffff, 11);
        let pid = sys!(SYS_getpid).unwrap_or(0);
        let _ = sys!(SYS_rt_sigqueueinfo, pid, SIGUSR1, &info);
        VALUE.load(SeqCst) as i32
    });
    let _ = go(PTRACE_CONT, pid, 0);
    let mut words = [0u64; 16];
    let _ = trace!(PTRACE_GETSIGINFO, pid, 0, &mut words);
    t.show("value", words[3]);
    words[3] = 22;
    t.call("set_info", trace!(PTRACE_SETSIGINFO, pid, 0, &words));
    t.show("value_changed", go(PTRACE_CONT, pid, SIGUSR1));
    // Signals that wait can be looked at.
    let pid = tracee(|| 0);
    let _ = trace!(0x420b, pid, 8, &(1u64 << (SIGUSR1 - 1)));
    let _ = sys!(SYS_kill, pid, SIGUSR1);
    let mut infos = [[0i32; 32]; 4];
    for (name, flags) in [("own", 0u64), ("shared", 1)] {
        let arguments = [0u64, flags | 4 << 32];
        let found = trace!(PEEKSIGINFO, pid, &arguments, &mut infos);
        t.call(&format!("waiting_{name}"), found);
    }
    t.show("waiting_number", infos[0][0]);
    t.call("waiting_bad_flags", trace!(PEEKSIGINFO, pid, &[0u64, 2], &mut infos));
    end(pid);
    // A fault is shown before it is fatal.
    let pid = tracee(|| {
        // SAFETY: it faults, which is what is asked for.
        unsafe { asm!("mov rax, [8]", out("rax") _) };
        0
    });
    t.show("fault", go(PTRACE_CONT, pid, 0));
    t.show("fault_info", info(pid));
    t.show("fault_again", go(PTRACE_CONT, pid, 0));
    t.show("fault_fatal", go(PTRACE_CONT, pid, SIGSEGV));
}

pub(super) fn group_stops(t: &mut Report) {
    let pid = tracee(|| {
        let _ = sys!(SYS_kill, sys!(SYS_getpid).unwrap_or(0), SIGTSTP);
        5
    });
    t.show("stopping", go(PTRACE_CONT, pid, 0));
    t.show("stopping_info", info(pid));
    t.show("stopped", go(PTRACE_CONT, pid, SIGSTOP));
    t.show("stopped_info", info(pid));
    t.show("stopped_goes_on", go(PTRACE_CONT, pid, 0));
    let pid = tracee(|| {
        loop {
            let _ = sys!(SYS_pause);
        }
    });
    let _ = go(PTRACE_CONT, pid, SIGSTOP);
    let _ = sys!(SYS_kill, pid, SIGCONT);
    t.show("continued", go(PTRACE_CONT, pid, 0));
    let _ = trace!(PTRACE_CONT, pid, 0, SIGCONT);
    end(pid);
    // waitid(2) tells the same in its own words.
    let pid = tracee(|| 0);
    let mut words = [0i32; 32];
    let _ = trace!(PTRACE_CONT, pid, 0, SIGUSR2);
    let found = sys!(SYS_waitid, P_PID, pid, &mut words, WEXITED | WNOWAIT | __WALL, 0);
    t.show("waitid", format!("{found:?} {:?}", [words[0], words[2], words[6]]));
    t.show("not_taken", wait(pid));
}

pub(super) fn seizing(t: &mut Report) {
    let pid = sleeper();
    t.call("seize", trace!(PTRACE_SEIZE, pid, 0, PTRACE_O_TRACESYSGOOD));
    t.call("seized_runs", trace!(PTRACE_CONT, pid, 0, 0));
    t.call("interrupt", trace!(PTRACE_INTERRUPT, pid, 0, 0));
    t.show("interrupted_seized", wait(pid));
    t.show("interrupted_info", info(pid));
    t.call("listen_to_interrupt", trace!(LISTEN, pid, 0, 0));
    t.call("listening", trace!(PTRACE_CONT, pid, 0, 0));
    let _ = trace!(PTRACE_INTERRUPT, pid, 0, 0);
    t.show("interrupted_again", wait(pid));
    let _ = trace!(PTRACE_CONT, pid, 0, 0);
    let _ = sys!(SYS_kill, pid, SIGSTOP);
    t.show("signal_first", wait(pid));
    t.show("group_stop", go(PTRACE_CONT, pid, SIGSTOP));
    t.show("group_stop_info", info(pid));
    t.call("listen", trace!(LISTEN, pid, 0, 0));
    let mut status = 0i32;
    t.call("listening_tells_nothing", sys!(SYS_wait4, pid, &mut status, WNOHANG, 0));
    let _ = sys!(SYS_kill, pid, SIGCONT);
    t.show("continued_event", wait(pid));
    t.show("continued_signal", go(PTRACE_CONT, pid, 0));
    let _ = trace!(PTRACE_CONT, pid, 0, SIGCONT);
    end(pid);
    assert_eq!(EVENT_STOP, 128);
}
