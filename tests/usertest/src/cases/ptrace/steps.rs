//! One instruction at a time, and breakpoints.

use std::arch::asm;
use std::sync::atomic::Ordering::SeqCst;

use libc::*;

use super::{SEEN, broken, go, info, on_signal, registers, set_registers, tracee};
use crate::report::Report;

pub(super) fn steps(t: &mut Report) {
    let pid = tracee(|| {
        let result: u64;
        // SAFETY: a trap of its own, some instructions that do nothing, and a call.
        unsafe {
            asm!("int3", "nop", "mov eax, 39", "syscall", "nop", "pushfq", "pop rcx",
                 out("rax") result, out("rcx") _, out("r11") _);
        }
        i32::from(result == 0)
    });
    t.show("int3", go(PTRACE_CONT, pid, 0));
    t.show("int3_info", info(pid));
    let mut before = registers(pid).rip;
    let mut distances = Vec::new();
    for _ in 0..6 {
        let told = go(PTRACE_SINGLESTEP, pid, 0);
        let now = registers(pid);
        distances.push(format!("{} {told} {}", now.rip - before, now.eflags & 0x100));
        before = now.rip;
    }
    t.show("steps", format!("{distances:?}"));
    t.show("step_info", info(pid));
    t.show("stepped_to_the_end", go(PTRACE_CONT, pid, 0));
    // Into a handler.
    let pid = tracee(|| {
        // SAFETY: a handler of the right type.
        unsafe { signal(SIGUSR1, on_signal as *const () as usize) };
        let _ = sys!(SYS_kill, sys!(SYS_getpid).unwrap_or(0), SIGUSR1);
        SEEN.load(SeqCst)
    });
    t.show("handled_stop", go(PTRACE_CONT, pid, 0));
    t.show("handled_step", go(PTRACE_SINGLESTEP, pid, SIGUSR1));
    t.is("handled_first_instruction", registers(pid).rip == on_signal as *const () as u64);
    t.show("handled_end", go(PTRACE_CONT, pid, 0));
}

pub(super) fn breakpoint(t: &mut Report) {
    let address = broken as *const () as u64;
    let pid = tracee(|| broken(std::hint::black_box(40)));
    let mut word = 0u64;
    let _ = trace!(PTRACE_PEEKTEXT, pid, address, &mut word);
    // SAFETY: this program's own code.
    t.is("peek_text", word == unsafe { (address as *const u64).read_unaligned() });
    t.call("poke_text", trace!(PTRACE_POKETEXT, pid, address, word & !0xff | 0xcc));
    t.show("breakpoint", go(PTRACE_CONT, pid, 0));
    let mut r = registers(pid);
    t.show("breakpoint_behind", r.rip - address);
    // SAFETY: as above.
    t.is("own_text_unchanged", word == unsafe { (address as *const u64).read_unaligned() });
    r.rip = address;
    r.rdi = 50;
    t.call("set_registers", set_registers(pid, &r));
    let _ = trace!(PTRACE_POKETEXT, pid, address, word);
    t.show("breakpoint_end", go(PTRACE_CONT, pid, 0));
}
