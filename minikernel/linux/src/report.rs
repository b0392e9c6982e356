//! What the kernel prints when it ends a program: enough to begin to look for the reason.

use alloc::string::String;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use isopod_hal::uaccess;

use crate::mm::describe;
use crate::process::{Ctx, Process};
use crate::signal::{Fault, Signal};
use crate::syscall::{find, put};
use crate::{kernel, memory_pressure};

/// How many mappings of a program are printed.
const MAPPINGS_SHOWN: usize = 256;

/// A fault that no handler took: signal, registers, code bytes and mappings.
pub fn fault(ctx: &Ctx, signal: Signal, fault: Fault) {
    let mut text = header(ctx, signal);
    match fault {
        Fault::NotMapped { address, kind } => put!(&mut text, "nothing is mapped at {address:#x} ({kind:?})"),
        Fault::NotAllowed { address, kind } => put!(&mut text, "{kind:?} is not allowed at {address:#x}"),
        Fault::NoContent { address } => put!(&mut text, "the mapped file does not reach {address:#x}"),
        Fault::Exception { vector, error } => {
            put!(&mut text, "{} (error code {error:#x})", exception(vector));
        }
        Fault::SignalFrame => text.push_str("the frame that rt_sigreturn undoes is damaged"),
        Fault::Sequence => text.push_str("what it has registered with rseq is damaged"),
    }
    text.push('\n');
    registers(ctx, &mut text);
    code(ctx, &mut text);
    text.push_str("mappings:\n");
    let areas = ctx.memory.areas().unwrap_or_default();
    for vma in areas.iter().take(MAPPINGS_SHOWN) {
        put!(&mut text, "  {}\n", describe(vma));
    }
    if areas.len() > MAPPINGS_SHOWN {
        put!(&mut text, "  and {} more\n", areas.len() - MAPPINGS_SHOWN);
    }
    kernel::log(text.as_bytes());
}

/// A call that a filter has not let pass, or wants to be known. So many lines are printed since boot, as a program can make as many calls as
/// it likes.
pub fn filtered(ctx: &Ctx, outcome: &str) {
    const LINES: u32 = 100;
    static PRINTED: AtomicU32 = AtomicU32::new(0);
    if PRINTED.fetch_add(1, Relaxed) >= LINES {
        return PRINTED.store(LINES, Relaxed);
    }
    let mut text = String::new();
    let name = ctx.thread.name();
    let (pid, tid) = (ctx.thread.process().pid, ctx.thread.tid());
    put!(&mut text, "isopod: {} (process {pid}, thread {tid}): ", String::from_utf8_lossy(&name));
    match find(ctx.call) {
        Some(call) => put!(&mut text, "{}", call.name()),
        None => put!(&mut text, "system call {}", ctx.call),
    }
    put!(&mut text, " {outcome} (seccomp)\n");
    kernel::log(text.as_bytes());
}

/// A handler whose frame does not fit on the stack.
pub fn no_signal_stack(ctx: &Ctx, signal: Signal) {
    let mut text = header(ctx, Signal::SEGV);
    put!(&mut text, "no room on the stack for the frame of {signal}\n");
    registers(ctx, &mut text);
    kernel::log(text.as_bytes());
}

/// The process is ended because memory ran out.
pub fn out_of_memory(process: &Process) {
    let name = process.first_thread().map_or_else(alloc::vec::Vec::new, |thread| thread.name());
    let mut text = String::new();
    put!(
        &mut text,
        "isopod: {} (process {}) ends with {}: out of memory: it holds {} KiB; give the VM more with -m\n",
        String::from_utf8_lossy(&name),
        process.pid,
        Signal::KILL,
        memory_pressure::footprint(process) >> 10
    );
    kernel::log(text.as_bytes());
}

fn header(ctx: &Ctx, signal: Signal) -> String {
    let mut text = String::new();
    let name = ctx.thread.name();
    let (pid, tid) = (ctx.thread.process().pid, ctx.thread.tid());
    put!(
        &mut text,
        "isopod: {} (process {pid}, thread {tid}) ends with {signal}: ",
        String::from_utf8_lossy(&name)
    );
    text
}

fn registers(ctx: &Ctx, text: &mut String) {
    let r = &ctx.user.regs;
    let all = [
        [("rip", r.rip), ("rsp", r.rsp), ("rflags", r.rflags)],
        [("rax", r.rax), ("rbx", r.rbx), ("rcx", r.rcx)],
        [("rdx", r.rdx), ("rsi", r.rsi), ("rdi", r.rdi)],
        [("rbp", r.rbp), ("r8", r.r8), ("r9", r.r9)],
        [("r10", r.r10), ("r11", r.r11), ("r12", r.r12)],
        [("r13", r.r13), ("r14", r.r14), ("r15", r.r15)],
    ];
    for row in all {
        for (name, value) in row {
            put!(text, "  {name:>6} {value:016x}");
        }
        text.push('\n');
    }
    put!(text, "  fs_base {:016x}  gs_base {:016x}\n", ctx.user.fs_base(), ctx.user.gs_base());
}

/// The bytes at the instruction pointer, if they are there.
fn code(ctx: &Ctx, text: &mut String) {
    let mut bytes = [0u8; 16];
    if uaccess::copy_from_user(&mut bytes, ctx.user.regs.rip as usize).is_ok() {
        text.push_str("  code");
        for byte in bytes {
            put!(text, " {byte:02x}");
        }
        text.push('\n');
    }
}

/// The names of exceptions a program can cause (Intel SDM volume 3, table 6-1).
fn exception(vector: u8) -> &'static str {
    match vector {
        0 => "division by zero",
        1 => "debug exception",
        3 => "breakpoint",
        4 => "overflow",
        5 => "bound range exceeded",
        6 => "invalid instruction",
        7 => "no floating-point unit",
        11 => "segment not present",
        12 => "stack segment fault",
        13 => "general protection fault",
        16 => "x87 floating-point error",
        17 => "alignment check",
        19 => "SIMD floating-point exception",
        _ => "processor exception",
    }
}
