//! The processor's debug registers: breakpoints that a tracer sets for a thread.

use std::arch::asm;
use std::cell::UnsafeCell;

use libc::*;

use super::super::helpers::{pipe, status_of};
use super::{broken, end, go, info, message, tracee, wait};
use crate::report::Report;
use crate::sys::Errno;

/// Where the debug registers lie in `struct user`.
const REGISTERS: usize = 848;
/// The first breakpoint, for eight bytes that are written; for eight that are read, too; the second, for an instruction.
const WRITTEN: u64 = 0x9_0001;
const USED: u64 = 0xb_0001;
const EXECUTED: u64 = 0x4;

fn peek(pid: i32, number: usize) -> String {
    let mut word = 0u64;
    match trace!(PTRACE_PEEKUSER, pid, REGISTERS + 8 * number, &mut word) {
        Ok(_) => format!("{word:#x}"),
        Err(errno) => errno.to_string(),
    }
}

fn poke(pid: i32, number: usize, word: u64) -> Result<usize, Errno> {
    trace!(PTRACE_POKEUSER, pid, REGISTERS + 8 * number, word)
}

/// Eight bytes at an address that parent and child share.
#[repr(align(8))]
struct Watched(UnsafeCell<u64>);

// SAFETY: each process has its own, which one thread uses.
unsafe impl Sync for Watched {}

static WATCHED: Watched = Watched(UnsafeCell::new(0));
static OTHER: Watched = Watched(UnsafeCell::new(0));

fn address(of: &Watched) -> u64 {
    of.0.get() as u64
}

/// Writes to the upper half of a word, and reads that. Two instructions, of which the first is three bytes long, and a call.
fn write_and_read(to: &Watched) -> i32 {
    // SAFETY: the word is there; the call has no arguments.
    unsafe {
        asm!("mov [rdi + 4], ecx", "mov ecx, [rdi + 4]", "mov eax, 39", "syscall",
             in("rdi") to.0.get(), inout("rcx") 7u64 => _, out("rax") _, out("r11") _);
        (to.0.get().read_volatile() >> 32) as i32
    }
}

pub(super) fn registers(t: &mut Report) {
    let pid = tracee(|| 0);
    for number in 0..8 {
        t.show(&format!("debug_{number}"), peek(pid, number));
    }
    let mut word = 0u64;
    for offset in [216, 224, 816, 912, 920, 928] {
        t.call(&format!("user_{offset}"), trace!(PTRACE_PEEKUSER, pid, offset, &mut word));
        t.call(&format!("user_{offset}_set"), trace!(PTRACE_POKEUSER, pid, offset, 0));
    }
    t.call("user_set_unaligned", trace!(PTRACE_POKEUSER, pid, REGISTERS + 4, 0));
    t.call("set_4", poke(pid, 4, 0));
    t.call("set_5", poke(pid, 5, 0));
    let place = address(&WATCHED);
    t.call("set_address", poke(pid, 0, place + 1));
    t.is("address", peek(pid, 0) == format!("{:#x}", place + 1));
    t.call("unaligned", poke(pid, 7, WRITTEN));
    t.show("control_unchanged", peek(pid, 7));
    t.call("of_one_byte", poke(pid, 7, 0x1_0001));
    t.call("of_two_bytes", poke(pid, 7, 0x5_0001));
    t.call("unaligned_off", poke(pid, 7, 0x5_0000));
    t.call("set_aligned", poke(pid, 0, place));
    t.call("of_eight_bytes", poke(pid, 7, WRITTEN));
    t.call("set_unaligned", poke(pid, 0, place + 4));
    t.is("address_unchanged", peek(pid, 0) == format!("{place:#x}"));
    t.call("of_ports", poke(pid, 7, 0x2_0001));
    t.call("of_ports_off", poke(pid, 7, 0x2_0000));
    t.call("of_ports_never_set", poke(pid, 7, WRITTEN | 0x2000_0000));
    t.call("of_instructions_long", poke(pid, 7, 0x4_0001));
    t.call("others_bits", poke(pid, 7, WRITTEN | 0xdead_0000_0000_ff00));
    t.show("control", peek(pid, 7));
    t.call("enabled_without_address", poke(pid, 7, WRITTEN | 0x90_0008));
    t.show("address_of_it", peek(pid, 1));
    t.call("set_status", poke(pid, 6, 0x1234));
    t.show("status", peek(pid, 6));
    end(pid);
    let refused = status_of(|| {
        let _ = sys!(SYS_setresuid, 1234, 1234, 1234);
        let pid = tracee(|| 0);
        let kernel = poke(pid, 0, 0xffff_8000_0000_0000).err().map_or(0, |errno| errno.0);
        let end_of_user = poke(pid, 1, 0x7fff_ffff_f000).err().map_or(0, |errno| errno.0);
        end(pid);
        if kernel == end_of_user { kernel } else { 999 }
    });
    t.show("address_of_the_kernel", Errno(refused));
}

pub(super) fn breakpoints(t: &mut Report) {
    for (name, control) in [("written", WRITTEN), ("used", USED)] {
        let pid = tracee(|| write_and_read(&WATCHED));
        let _ = poke(pid, 0, address(&WATCHED));
        let _ = poke(pid, 7, control);
        t.show(name, go(PTRACE_CONT, pid, 0));
        t.show(&format!("{name}_info"), info(pid));
        t.show(&format!("{name}_status"), peek(pid, 6));
        let before = super::registers(pid).rip;
        t.show(&format!("{name}_next"), go(PTRACE_SINGLESTEP, pid, 0));
        t.show(&format!("{name}_next_info"), info(pid));
        t.show(&format!("{name}_next_status"), peek(pid, 6));
        t.show(&format!("{name}_distance"), super::registers(pid).rip - before);
        let _ = poke(pid, 7, 0);
        t.show(&format!("{name}_end"), go(PTRACE_CONT, pid, 0));
    }
    // Before an instruction; it is executed when the thread goes on.
    let pid = tracee(|| broken(std::hint::black_box(40)));
    let place = broken as *const () as u64;
    let _ = poke(pid, 1, place);
    t.call("instruction", poke(pid, 7, EXECUTED));
    t.show("executed", go(PTRACE_CONT, pid, 0));
    t.show("executed_info", info(pid));
    t.show("executed_status", peek(pid, 6));
    t.is("executed_here", super::registers(pid).rip == place);
    t.show("executed_end", go(PTRACE_CONT, pid, 0));
}

/// What the kernel writes for the thread.
pub(super) fn copies(t: &mut Report) {
    let pid = tracee(|| {
        let [read, write] = pipe();
        let _ = sys!(SYS_write, write, b"12345678", 8);
        let got = sys!(SYS_read, read, WATCHED.0.get(), 8);
        // SAFETY: a trap for the tracer.
        unsafe { asm!("int3") };
        i32::from(got != Ok(8))
    });
    let _ = poke(pid, 0, address(&WATCHED));
    let _ = poke(pid, 7, WRITTEN);
    t.show("copied", go(PTRACE_CONT, pid, 0));
    t.show("copied_info", info(pid));
    t.show("copied_status", peek(pid, 6));
    t.show("copied_end", go(PTRACE_CONT, pid, 0));
}

/// Other threads and programs, and tracers that go.
pub(super) fn others(t: &mut Report) {
    let pid = tracee(|| status_of(|| write_and_read(&WATCHED)) + write_and_read(&OTHER));
    let _ = trace!(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE);
    let _ = poke(pid, 0, address(&WATCHED));
    let _ = poke(pid, 1, address(&OTHER));
    let _ = poke(pid, 7, WRITTEN | 0x90_0004);
    t.show("forks", go(PTRACE_CONT, pid, 0));
    let other = message(pid) as i32;
    t.show("child", wait(other));
    t.show("child_address", peek(other, 0));
    t.show("child_control", peek(other, 7));
    t.show("child_end", go(PTRACE_CONT, other, 0));
    t.show("parent_signal", go(PTRACE_CONT, pid, 0));
    t.show("parent", go(PTRACE_CONT, pid, 0));
    t.show("parent_status", peek(pid, 6));
    t.show("parent_end", go(PTRACE_CONT, pid, 0));
    // A new program begins without.
    let pid = tracee(|| {
        let words = [c"/proc/self/exe".as_ptr(), c"--list".as_ptr(), std::ptr::null()];
        let _ = sys!(SYS_execve, c"/proc/self/exe", words.as_ptr(), &[0usize]);
        9
    });
    let _ = poke(pid, 0, address(&WATCHED));
    let _ = poke(pid, 7, WRITTEN);
    t.show("executes", go(PTRACE_CONT, pid, 0));
    t.show("executed_control", peek(pid, 7));
    t.show("executed_address", peek(pid, 0));
    end(pid);
    // They stay when the tracer goes.
    let pid = tracee(|| write_and_read(&WATCHED));
    let _ = poke(pid, 0, address(&WATCHED));
    let _ = poke(pid, 7, WRITTEN);
    t.call("detach", trace!(PTRACE_DETACH, pid, 0, 0));
    t.show("detached", wait(pid));
}
