//! Threads that trace others: ptrace(2), and other ways into the memory of a process.

use std::arch::asm;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering::SeqCst};

use libc::*;

use super::helpers::{NOWHERE, child, close, leave, pipe, status_of};
use crate::report::Report;
use crate::sys;
use crate::sys::Errno;

/// The request, the thread, and two words.
macro_rules! trace {
    ($request:expr, $pid:expr, $address:expr, $data:expr $(,)?) => {
        sys!(SYS_ptrace, $request, $pid, $address, $data)
    };
}

const LISTEN: u32 = 0x4208;
const PEEKSIGINFO: u32 = 0x4209;
const CALL_INFO: u32 = 0x420e;
const EVENT_STOP: i32 = 128;

/// Waits for `pid`, whatever it is; what it tells as a word for a case.
fn wait(pid: i32) -> String {
    let mut status = 0i32;
    match sys!(SYS_wait4, pid, &mut status, __WALL, 0) {
        Ok(found) if found as i32 == pid || pid < 0 => told(status),
        Ok(_) => "another".to_owned(),
        Err(errno) => errno.to_string(),
    }
}

fn told(status: i32) -> String {
    if WIFEXITED(status) {
        format!("exit {}", WEXITSTATUS(status))
    } else if WIFSIGNALED(status) {
        format!("killed {}", WTERMSIG(status))
    } else {
        let event = status >> 16;
        let event = if event == 0 { String::new() } else { format!(" event {event}") };
        format!("stop {:#x}{event}", WSTOPSIG(status))
    }
}

/// A child that lets itself be traced, stops, and then runs `run`; it has been waited for once.
fn tracee(run: impl FnOnce() -> i32) -> i32 {
    let pid = child(|| {
        trace!(PTRACE_TRACEME, 0, 0, 0).expect("nobody traces it");
        let _ = sys!(SYS_kill, sys!(SYS_getpid).unwrap_or(0), SIGSTOP);
        run()
    });
    assert_eq!(wait(pid), format!("stop {SIGSTOP:#x}"));
    pid
}

fn go(request: u32, pid: i32, signal: i32) -> String {
    match trace!(request, pid, 0, signal) {
        Ok(_) => wait(pid),
        Err(errno) => errno.to_string(),
    }
}

fn end(pid: i32) {
    let _ = sys!(SYS_kill, pid, SIGKILL);
    let _ = wait(pid);
}

fn registers(pid: i32) -> user_regs_struct {
    let mut found = sys::zeroed::<Registers>();
    trace!(PTRACE_GETREGS, pid, 0, &mut found).expect("it is stopped");
    found.0
}

fn set_registers(pid: i32, registers: &user_regs_struct) -> Result<usize, Errno> {
    trace!(PTRACE_SETREGS, pid, 0, std::ptr::from_ref(registers))
}

fn message(pid: i32) -> u64 {
    let mut message = 0u64;
    let _ = trace!(PTRACE_GETEVENTMSG, pid, 0, &mut message);
    message
}

/// The first words of a siginfo: number, error and code.
fn info(pid: i32) -> String {
    let mut words = [0i32; 32];
    match trace!(PTRACE_GETSIGINFO, pid, 0, &mut words) {
        Ok(_) => format!("{} {} {:#x}", words[0], words[1], words[2]),
        Err(errno) => errno.to_string(),
    }
}

/// Structures that may be zero.
#[derive(Clone, Copy)]
struct Registers(user_regs_struct);

// SAFETY: a C structure of numbers.
unsafe impl sys::Plain for Registers {}

/// Runs the group.
pub fn run(t: &mut Report) {
    requests(t);
    attaching(t);
    calls(t);
    changed_calls(t);
    steps(t);
    breakpoint(t);
    signals(t);
    group_stops(t);
    seizing(t);
    events(t);
    ends(t);
    register_sets(t);
    memory(t);
    filters(t);
}

fn requests(t: &mut Report) {
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

/// A child that sleeps until it is killed, or for ever.
fn sleeper() -> i32 {
    child(|| {
        loop {
            let _ = sys!(SYS_pause);
        }
    })
}

fn attaching(t: &mut Report) {
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

/// The call that the tracee is in, as `PTRACE_GET_SYSCALL_INFO` tells it.
fn call_info(pid: i32) -> String {
    let mut words = [0u64; 11];
    let size = trace!(CALL_INFO, pid, 88, &mut words);
    let operation = words[0] as u8;
    match operation {
        1 => format!("{size:?} entry {} {:?}", words[3], &words[4..6]),
        2 => format!("{size:?} exit {} {}", words[3].cast_signed(), words[4] as u8),
        3 => format!("{size:?} filter {} data {}", words[3], words[10] as u32),
        other => format!("{size:?} {other}"),
    }
}

fn calls(t: &mut Report) {
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

fn changed_calls(t: &mut Report) {
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

fn steps(t: &mut Report) {
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

static SEEN: AtomicI32 = AtomicI32::new(0);
static VALUE: AtomicU64 = AtomicU64::new(0);

extern "C" fn on_signal(number: c_int) {
    SEEN.store(number, SeqCst);
}

extern "C" fn on_info(number: c_int, info: *mut siginfo_t, _: *mut c_void) {
    SEEN.store(number, SeqCst);
    // SAFETY: the kernel's structure; the value of a queued signal is its fourth word of eight bytes.
    VALUE.store(unsafe { info.cast::<u64>().add(3).read() }, SeqCst);
}

#[inline(never)]
extern "C" fn broken(value: i32) -> i32 {
    std::hint::black_box(value) + 1
}

fn breakpoint(t: &mut Report) {
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

fn signals(t: &mut Report) {
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

fn group_stops(t: &mut Report) {
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

fn seizing(t: &mut Report) {
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

/// Lets `pid` go on until something but the stops of its new children happens; adds what it tells.
fn events(t: &mut Report) {
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
        let _ = sys!(SYS_dup2, super::helpers::must_open(c"/dev/null", O_WRONLY), 1);
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
        let _ = sys!(SYS_dup2, super::helpers::must_open(c"/dev/null", O_WRONLY), 1);
        let _ = sys!(SYS_execve, c"/proc/self/exe", words.as_ptr(), &[0usize]);
        9
    });
    t.show("exec_trap", go(PTRACE_CONT, pid, 0));
    t.show("exec_trap_info", info(pid));
    t.show("exec_trap_end", go(PTRACE_CONT, pid, 0));
    // Threads.
    let pid = tracee(|| std::thread::spawn(|| 12).join().unwrap_or(0));
    let _ = trace!(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACECLONE);
    t.show("thread_event", go(PTRACE_CONT, pid, 0));
    let thread = message(pid) as i32;
    t.show("thread_stop", wait(thread));
    t.is("thread_in_proc", std::path::Path::new(&format!("/proc/{pid}/task/{thread}")).exists());
    let _ = trace!(PTRACE_CONT, pid, 0, 0);
    t.show("thread_end", go(PTRACE_CONT, thread, 0));
    t.show("process_end", wait(pid));
}

fn ends(t: &mut Report) {
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

fn register_sets(t: &mut Report) {
    let pid = tracee(|| 0);
    let mut general = [0u64; 40];
    let mut part = [general.as_mut_ptr() as usize, 320];
    t.call("general", trace!(PTRACE_GETREGSET, pid, 1, &mut part));
    t.show("general_size", part[1]);
    t.show("segments", format!("{:x?}", [general[17], general[20], general[23], general[24]]));
    let mut floating = [0u8; 512];
    t.call("floating", trace!(PTRACE_GETFPREGS, pid, 0, &mut floating));
    t.show("floating_control", format!("{:x?}", [&floating[..2], &floating[24..28]]));
    floating[160..168].copy_from_slice(b"register");
    t.call("set_floating", trace!(PTRACE_SETFPREGS, pid, 0, &floating));
    let mut extended = [0u8; 8192];
    let mut part = [extended.as_mut_ptr() as usize, 8192];
    t.call("extended", trace!(PTRACE_GETREGSET, pid, 0x202, &mut part));
    t.show("extended_xmm", String::from_utf8_lossy(&extended[160..168]));
    t.is("extended_components", extended[464] & 3 == 3 && part[1] >= 576);
    t.call("set_extended", trace!(PTRACE_SETREGSET, pid, 0x202, &mut part));
    floating[27] = 0xff;
    t.call("set_floating_bad", trace!(PTRACE_SETFPREGS, pid, 0, &floating));
    let mut r = registers(pid);
    let good = r;
    r.cs = 0x10;
    t.call("set_kernel_code", set_registers(pid, &r));
    r = good;
    r.fs_base = 0xffff_8000_0000_0000;
    t.call("set_kernel_base", set_registers(pid, &r));
    t.call("poke_register", trace!(PTRACE_POKEUSER, pid, 0, 0x1234));
    t.show("poked", format!("{:x}", registers(pid).r15));
    t.call("poke_beyond", trace!(PTRACE_POKEUSER, pid, 4096, 0));
    end(pid);
}

fn memory(t: &mut Report) {
    let mut place = *b"before..";
    let at = place.as_mut_ptr() as usize;
    let pid = tracee(|| i32::from(place[0]));
    let vector = |bytes: &[u8]| [bytes.as_ptr() as usize, bytes.len()];
    let read = [0u8; 8];
    let remote = |address: usize, length: usize| [address, length];
    t.call("vm_read", sys!(SYS_process_vm_readv, pid, &vector(&read), 1, &remote(at, 6), 1, 0));
    t.show("vm_read_text", String::from_utf8_lossy(&read));
    t.call("vm_write", sys!(SYS_process_vm_writev, pid, &vector(b"after"), 1, &remote(at, 5), 1, 0));
    t.call("vm_nowhere", sys!(SYS_process_vm_readv, pid, &vector(&read), 1, &remote(NOWHERE, 6), 1, 0));
    let halves = [remote(at, 4), remote(NOWHERE, 4)];
    t.call("vm_partly", sys!(SYS_process_vm_readv, pid, &vector(&read), 1, &halves, 2, 0));
    let text = broken as *const () as usize;
    t.call("vm_write_text", sys!(SYS_process_vm_writev, pid, &vector(b"x"), 1, &remote(text, 1), 1, 0));
    t.call("vm_flags", sys!(SYS_process_vm_readv, pid, &vector(&read), 1, &remote(at, 6), 1, 1));
    t.call("vm_many", sys!(SYS_process_vm_readv, pid, &vector(&read), 2000, &remote(at, 6), 1, 0));
    t.call("vm_missing", sys!(SYS_process_vm_readv, 0x3f_ffff, &vector(&read), 1, &remote(at, 6), 1, 0));
    let path = std::ffi::CString::new(format!("/proc/{pid}/mem")).expect("no NUL");
    let file = super::helpers::must_open(&path, O_RDWR);
    t.call("mem_read", sys!(SYS_pread64, file, &read, 8, at));
    t.show("mem_text", String::from_utf8_lossy(&read));
    t.call("mem_write", sys!(SYS_pwrite64, file, b"zzz", 3, at));
    t.call("mem_write_text", sys!(SYS_pwrite64, file, b"\xcc", 1, text));
    t.call("mem_nowhere", sys!(SYS_pread64, file, &read, 8, NOWHERE));
    t.call("mem_seek_end", sys!(SYS_lseek, file, 0, SEEK_END));
    t.call("mem_seek", sys!(SYS_lseek, file, 4096, SEEK_SET));
    // SAFETY: this program's own code.
    t.is("mem_own_text", unsafe { (text as *const u8).read() } != 0xcc);
    t.show("mem_seen", go(PTRACE_CONT, pid, 0));
    t.call("mem_of_nobody", sys!(SYS_pread64, file, &read, 8, at));
    close(file);
    let pid = sleeper();
    let refused = status_of(|| {
        let _ = sys!(SYS_setresuid, 1234, 1234, 1234);
        let read = sys!(SYS_process_vm_readv, pid, &vector(&read), 1, &remote(at, 6), 1, 0);
        read.err().map_or(0, |errno| errno.0)
    });
    t.show("vm_unprivileged", Errno(refused));
    end(pid);
}

fn filters(t: &mut Report) {
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
