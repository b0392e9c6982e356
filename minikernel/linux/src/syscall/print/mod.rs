//! What `--trace` prints: calls, signals and ends, as strace does.
//!
//! A call that returns soon is one line. One that waits is printed as far as it is known when it begins to, as that is what somebody looks for whose
//! program hangs; it goes on in the same line, or, if another was printed meanwhile, in one that says of which call it is.

mod layouts;
mod names;
mod printer;
mod structures;

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use core::future::poll_fn;
use core::pin::{Pin, pin};

use isopod_fs::Errno;
use isopod_hal::sync::SpinLock;
pub use layouts::Shown;
use printer::{Call, Place, Printer};

use super::{put, table};
use crate::mm::FaultKind;
use crate::process::{Ctx, ExitStatus, Thread};
use crate::signal::{SI_KERNEL, SI_TIMER, SI_USER, SigInfo, Signal};
use crate::{host, kernel};

/// Where strace puts the results (`-a`).
const RESULT_COLUMN: usize = 40;

/// Its argument is the stack.
const RT_SIGRETURN: u64 = 15;

/// How many pages of a program's are had for the arguments of one call.
const PAGES: usize = 16;

/// The thread whose line has been begun, and is the last that was printed; 0 for none.
static OPEN: SpinLock<u32> = SpinLock::new(0);

/// Prints a line, or what goes on with that of the thread `goes_on`; `open` is the thread that will go on with this one.
fn print(text: &str, open: u32) {
    let mut last = OPEN.lock();
    if *last != 0 {
        kernel::log(b" <unfinished ...>\n");
    }
    *last = open;
    kernel::log(text.as_bytes());
}

/// Begins a line of a thread's.
fn begin(tid: u32) -> String {
    let mut text = String::new();
    put!(&mut text, "[pid {tid:5}] ");
    text
}

/// Makes the call that the registers ask for, and prints it.
pub fn traced(ctx: &mut Ctx) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
    Box::pin(async move {
        let (number, tid) = (ctx.call, ctx.thread.tid());
        let mut call = Call { registers: table::arguments(ctx), result: None };
        let known = table::find(number);
        let mut kinds = known.map_or([Shown::Hex.code(false); 6], |known| known.shown);
        if number == RT_SIGRETURN {
            // `struct rt_sigframe` begins with the return address, which has been taken from it.
            (call.registers[0], kinds[0]) = (ctx.user.regs.rsp, Shown::Frame.code(false));
        }
        let mut line = begin(tid);
        match known {
            Some(known) => line.push_str(known.name()),
            None => put!(&mut line, "syscall_{number:#x}"),
        }
        line.push('(');
        let shown = arguments(ctx, call, kinds, 0, &mut line).await;
        let mut waits = 0;
        {
            let mut made = pin!(super::handle(ctx));
            poll_fn(|context| {
                let outcome = made.as_mut().poll(context);
                if outcome.is_pending() && waits == 0 {
                    print(&line, tid);
                    waits = line.len();
                    line = String::new();
                }
                outcome
            })
            .await;
        }
        let is_open = waits > 0 && {
            let mut open = OPEN.lock();
            let is_mine = *open == tid;
            if is_mine {
                *open = 0;
            }
            is_mine
        };
        if waits > 0 && !is_open {
            waits = 0;
            let name = known.map_or("syscall", |known| known.name());
            line = begin(tid);
            put!(&mut line, "<... {name} resumed>");
        }
        let value = ctx.user.regs.rax.cast_signed();
        call.result = Some(value);
        arguments(ctx, call, kinds, shown, &mut line).await;
        line.push(')');
        let column = waits + line.len();
        put!(&mut line, "{:1$} = ", "", RESULT_COLUMN.saturating_sub(column + 1));
        if ctx.thread.must_end() {
            // It does not return.
            line.push('?');
        } else {
            result(call, value, known.and_then(|known| layouts::of_result(known.name())), &mut line);
        }
        line.push('\n');
        print(&line, 0);
        host::caught_up().await;
    })
}

/// Writes arguments from number `from` on. What they point to is had from where it lies.
async fn arguments(ctx: &Ctx, call: Call, kinds: [u8; 6], from: usize, line: &mut String) -> usize {
    let mut pages = 0;
    loop {
        let mut printer = Printer::new(call);
        let shown = printer.arguments(kinds, from);
        pages += 1;
        if let Some(address) = printer.missing
            && pages <= PAGES
            && let Some(end) = address.checked_add(1)
            && !ctx.thread.must_end()
        {
            let memory = Arc::clone(&ctx.memory);
            if memory.fault_in(address..end, FaultKind::Read).await.is_ok() {
                continue;
            }
        }
        line.push_str(&printer.out);
        return shown;
    }
}

/// Writes what a call has returned.
fn result(call: Call, value: i64, layout: Option<&'static str>, line: &mut String) {
    let restarts = match value {
        -512 => "SYS (To be restarted if SA_RESTART is set)",
        -513 => "NOINTR (To be restarted)",
        -514 => "NOHAND (To be restarted if no handler)",
        -516 => "_RESTARTBLOCK (Interrupted by signal)",
        _ => "",
    };
    match (restarts, layout) {
        ("", _) if (-4095..0).contains(&value) => match Errno::words(value.unsigned_abs() as u16) {
            Some((name, description)) => put!(line, "-1 {name} ({description})"),
            None => put!(line, "{value}"),
        },
        ("", Some(layout)) => {
            let mut printer = Printer::new(call);
            printer.show(layout, Place::Value(value.cast_unsigned()));
            line.push_str(&printer.out);
        }
        ("", None) => put!(line, "{value}"),
        _ => put!(line, "? ERESTART{restarts}"),
    }
}

/// Prints that a signal comes to a thread.
#[cold]
pub fn signal(thread: &Thread, signal: Signal, info: &SigInfo) {
    let mut text = begin(thread.tid());
    put!(&mut text, "--- {} ---\n", description(signal, info));
    print(&text, 0);
}

/// `siginfo_t` as sigaction(2) takes it apart.
fn description(signal: Signal, info: &SigInfo) -> String {
    /// Of any signal.
    const CODES: &str = "SI_: USER 128 KERNEL 4294967290 TKILL 4294967292 ASYNCIO MESGQ TIMER QUEUE";
    let (codes, is_fault) = match signal {
        Signal::SEGV => ("SEGV_: - MAPERR ACCERR BNDERR PKUERR", true),
        Signal::BUS => ("BUS_: - ADRALN ADRERR OBJERR", true),
        Signal::FPE => ("FPE_: - INTDIV INTOVF FLTDIV FLTOVF FLTUND FLTRES FLTINV FLTSUB", true),
        Signal::ILL => ("ILL_: - ILLOPC ILLOPN ILLADR ILLTRP PRVOPC PRVREG COPROC BADSTK", true),
        Signal::TRAP => ("TRAP_: - BRKPT TRACE BRANCH HWBKPT", true),
        Signal::CHLD => ("CLD_: - EXITED KILLED DUMPED TRAPPED STOPPED CONTINUED", false),
        Signal::SYS => ("SYS_: - SECCOMP", false),
        _ => ("SI_:", false),
    };
    let is_own = info.code > SI_USER && info.code < SI_KERNEL;
    let mut text = String::new();
    put!(&mut text, "{signal} {{si_signo={signal}, si_code=");
    names::write(if is_own { codes } else { CODES }, u64::from(info.code.cast_unsigned()), &mut text);
    let rest = match (signal, info.code) {
        (Signal::CHLD, 1) => ", si_pid=%16d, si_uid=%20u, si_status=%24d, si_utime=%32D, si_stime=%40D",
        (Signal::CHLD, 2..=6) => ", si_pid=%16d, si_uid=%20u, si_status=%24S, si_utime=%32D, si_stime=%40D",
        (Signal::SYS, 1) => ", si_call_addr=%16p, si_syscall=%24d, si_arch=%28x",
        (_, SI_KERNEL | 1..) if is_fault => ", si_addr=%16p",
        (_, SI_TIMER) => ", si_timerid=%16x, si_overrun=%20d<24!0:, si_int=%24d, si_ptr=%24p>",
        (_, -1 | -3) => ", si_pid=%16d, si_uid=%20u<24!0:, si_int=%24d, si_ptr=%24p>",
        (_, ..=SI_USER) => ", si_pid=%16d, si_uid=%20u",
        _ => "",
    };
    let mut printer = Printer::of_structure(zerocopy::IntoBytes::as_bytes(info));
    printer.format(rest, Place::Memory(0));
    put!(&mut text, "{}}}", printer.out);
    text
}

/// Prints that a thread ends.
#[cold]
pub fn end(thread: &Thread, status: ExitStatus) {
    let mut text = begin(thread.tid());
    match status {
        ExitStatus::Exited(code) => put!(&mut text, "+++ exited with {code} +++\n"),
        ExitStatus::Killed(signal) => put!(&mut text, "+++ killed by {signal} +++\n"),
        ExitStatus::Dumped(signal) => put!(&mut text, "+++ killed by {signal} (core dumped) +++\n"),
    }
    print(&text, 0);
}

#[cfg(test)]
mod tests;
