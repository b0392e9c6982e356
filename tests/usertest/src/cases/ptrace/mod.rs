//! Threads that trace others: ptrace(2), and other ways into the memory of a process.

/// The request, the thread, and two words.
macro_rules! trace {
    ($request:expr, $pid:expr, $address:expr, $data:expr $(,)?) => {
        sys!(SYS_ptrace, $request, $pid, $address, $data)
    };
}

mod calls;
mod contents;
mod debug;
mod events;
mod requests;
mod steps;
mod stops;

use std::sync::atomic::{AtomicI32, Ordering::SeqCst};

use libc::*;

use super::helpers::child;
use crate::report::Report;
use crate::sys;
use crate::sys::Errno;

const LISTEN: u32 = 0x4208;
const PEEKSIGINFO: u32 = 0x4209;
const CALL_INFO: u32 = 0x420e;
const EVENT_STOP: i32 = 128;

/// Runs the group.
pub fn run(t: &mut Report) {
    for number in [SIGUSR1, SIGUSR2] {
        // What other groups have caught is not caught here. SAFETY: the default action needs nothing.
        unsafe { signal(number, SIG_DFL) };
    }
    requests::requests(t);
    requests::attaching(t);
    calls::calls(t);
    calls::changed_calls(t);
    steps::steps(t);
    steps::breakpoint(t);
    stops::signals(t);
    stops::group_stops(t);
    stops::seizing(t);
    events::events(t);
    events::ends(t);
    contents::register_sets(t);
    contents::memory(t);
    calls::filters(t);
    debug::registers(t);
    debug::breakpoints(t);
    debug::copies(t);
    debug::others(t);
}

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

/// A child that sleeps until it is killed, or for ever.
fn sleeper() -> i32 {
    child(|| {
        loop {
            let _ = sys!(SYS_pause);
        }
    })
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

/// Structures that may be zero.
#[derive(Clone, Copy)]
struct Registers(user_regs_struct);

// SAFETY: a C structure of numbers.
unsafe impl sys::Plain for Registers {}

#[inline(never)]
extern "C" fn broken(value: i32) -> i32 {
    std::hint::black_box(value) + 1
}

/// The signal that [`on_signal`] handled last.
static SEEN: AtomicI32 = AtomicI32::new(0);

extern "C" fn on_signal(number: c_int) {
    SEEN.store(number, SeqCst);
}
