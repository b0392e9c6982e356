//! Stops at system calls: what is told of them, and what a tracer makes of them.

use libc::*;

use super::super::helpers::{close, pipe};
use super::{call_info, end, go, info, message, registers, set_registers, tracee, wait};
use crate::report::Report;

pub(super) fn calls(t: &mut Report) {
    for (name, options, run) in [("call", 0, 0), ("good_call", PTRACE_O_TRACESYSGOOD, 1)] {
        let pid = tracee(move || {
            let _ = sys!(SYS_getpgid, 0x3f_ffff, 5);
            let _ = sys!(SYS_setpriority, PRIO_PROCESS, 0, run - 1);
            0
        });
        let _ = trace!(PTRACE_SETOPTIONS, pid, 0, options);
        t.show(&format!("{name}_none"), call_info(pid));
        // The signal by which it stopped itself was dealt with behind its call.
        let mut steps = vec![go(PTRACE_SYSCALL, pid, 0)];
        for _ in 0..4 {
            let told = go(PTRACE_SYSCALL, pid, 0);
            let r = registers(pid);
            let result = if r.rax.cast_signed() < 0 { r.rax.cast_signed() } else { 0 };
            steps.push(format!("{told} {} {result} info {} {}", r.orig_rax, info(pid), call_info(pid)));
        }
        for (index, step) in steps.iter().enumerate() {
            t.show(&format!("{name}_{index}"), step);
        }
        t.show(&format!("{name}_message"), message(pid));
        end(pid);
    }
}

pub(super) fn changed_calls(t: &mut Report) {
    // The call is another, has other arguments, is not made, has another result.
    let change = |at_entry: fn(&mut user_regs_struct), at_exit: fn(&mut user_regs_struct)| {
        let pid = tracee(|| match sys!(SYS_getpgid, 0x3f_ffff) {
            Ok(value) => i32::from(value > 0) + 100,
            Err(errno) => errno.0,
        });
        let _ = go(PTRACE_SYSCALL, pid, 0);
        for change in [at_entry, at_exit] {
            let _ = go(PTRACE_SYSCALL, pid, 0);
            let mut r = registers(pid);
            change(&mut r);
            let _ = set_registers(pid, &r);
        }
        go(PTRACE_CONT, pid, 0)
    };
    t.show("changed_not", change(|_| (), |_| ()));
    t.show("changed_number", change(|r| r.orig_rax = SYS_getuid as u64, |_| ()));
    t.show("changed_argument", change(|r| r.rdi = 0, |_| ()));
    t.show("changed_skipped", change(|r| r.orig_rax = u64::MAX, |_| ()));
    t.show("changed_skipped_result", change(|r| (r.orig_rax, r.rax) = (u64::MAX, -33i64 as u64), |_| ()));
    t.show("changed_result", change(|_| (), |r| r.rax = -44i64 as u64));
    let pid = tracee(|| sys!(SYS_getpgid, 0).err().map_or(0, |errno| errno.0));
    t.show("emulated", go(31, pid, 0));
    t.show("emulated_number", registers(pid).orig_rax as i64);
    let mut r = registers(pid);
    r.rax = -55i64 as u64;
    let _ = set_registers(pid, &r);
    t.show("emulated_end", go(PTRACE_CONT, pid, 0));
    // A wait that the tracer ends goes on by itself.
    let [from, to] = pipe();
    let pid = tracee(move || {
        close(to);
        sys!(SYS_read, from, &mut [0u8; 4], 4).map_or(-1, |length| length as i32) + 10
    });
    close(from);
    let _ = go(PTRACE_SYSCALL, pid, 0);
    let _ = trace!(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACESYSGOOD);
    for _ in 0..2 {
        let _ = go(PTRACE_SYSCALL, pid, 0);
    }
    let _ = trace!(PTRACE_SYSCALL, pid, 0, 0);
    let _ = sys!(SYS_kill, pid, SIGUSR1);
    t.show("interrupted", wait(pid));
    t.show("interrupted_result", registers(pid).rax as i64);
    t.show("interrupted_signal", go(PTRACE_SYSCALL, pid, 0));
    // Without the signal the call is made again.
    t.show("made_again", go(PTRACE_SYSCALL, pid, 0));
    t.show("made_again_number", registers(pid).orig_rax);
    let _ = sys!(SYS_write, to, b"abc", 3);
    t.show("made_again_result", go(PTRACE_SYSCALL, pid, 0));
    t.show("made_again_end", go(PTRACE_CONT, pid, 0));
    close(to);
}

pub(super) fn filters(t: &mut Report) {
    let program: [u64; 4] = [
        0x20,
        // Any other call: one instruction is skipped.
        0x15 | 1 << 24 | (SYS_getpgid as u64) << 32,
        u64::from(0x06u8) | u64::from(SECCOMP_RET_TRACE | 9) << 32,
        u64::from(0x06u8) | u64::from(SECCOMP_RET_ALLOW) << 32,
    ];
    let pid = tracee(move || {
        let _ = sys!(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        let words = [4usize, program.as_ptr() as usize];
        let _ = sys!(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &words);
        let first = sys!(SYS_getpgid, 0x3f_ffff).err().map_or(0, |errno| errno.0);
        let second = sys!(SYS_getpgid, 0x3f_ffff).err().map_or(0, |errno| errno.0);
        first * 10 + second
    });
    let _ = trace!(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACESECCOMP);
    t.show("filter_event", go(PTRACE_CONT, pid, 0));
    t.show("filter_message", message(pid));
    t.show("filter_info", call_info(pid));
    t.show("filter_second", go(PTRACE_CONT, pid, 0));
    let mut r = registers(pid);
    (r.orig_rax, r.rax) = (u64::MAX, -7i64 as u64);
    let _ = set_registers(pid, &r);
    t.show("filter_end", go(PTRACE_CONT, pid, 0));
}
