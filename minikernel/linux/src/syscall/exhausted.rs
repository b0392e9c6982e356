//! Every call with memory exhausted but for the heap's reserve: it ends, with a result or an error number (design, decision 10).
//!
//! Whether something fails that must not, or goes on for ever, can only be seen from outside: the calls are made by another process of
//! this test's program, which prints the name of each before it makes it.

extern crate std;

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::task::Poll;
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use isopod_hal::PAGE_SIZE;
use isopod_hal::hosted::{Exhausted, exhaust};
use isopod_hal::user::UserContext;

use super::{CALLS, CallInfo, handle};
use crate::mm::AddressSpace;
use crate::process::{Ctx, Thread, in_thread};
use crate::testing::{self, Task};

/// How much of the reserve one call may use, in bytes; that of a machine of 32 MiB is four times as large.
const RESERVE: usize = 256 << 10;
/// Where the programs' memory lies, and how many pages.
const MEMORY: usize = 0x10_0000;
const PAGES: usize = 16;
/// The name of a file that exists.
const NAME: usize = MEMORY + 15 * PAGE_SIZE;
/// How often a call that waits is polled.
const POLLS: usize = 3;
/// For all calls together.
const LIMIT: Duration = Duration::from_mins(2);

/// Calls that make descriptors, with their arguments, in the order of the numbers that they get from 0 on.
const OPENED: [(u64, [u64; 4]); 10] = [
    (2, [NAME as u64, 0o102, 0o644, 0]),
    (2, [NAME as u64 + 5, 0, 0, 0]),
    (293, [MEMORY as u64, 0, 0, 0]),
    (290, [1, 0, 0, 0]),
    (291, [0, 0, 0, 0]),
    (283, [1, 0, 0, 0]),
    (289, [u64::MAX, MEMORY as u64, 8, 0]),
    (319, [NAME as u64, 2, 0, 0]),
    (53, [1, 1, 0, MEMORY as u64]),
    (41, [1, 2, 0, 0]),
];
/// Two more than the calls, as a pipe and a pair of sockets have two each.
const DESCRIPTORS: u64 = OPENED.len() as u64 + 2;
/// What numbers are tried as sizes, flags and the like.
const NUMBERS: [u64; 8] = [0, 1, 8, 0x1000, 40_000, 1 << 20, 1 << 46, u64::MAX];

fn make(ctx: &mut Ctx, number: u64, arguments: [u64; 6]) -> bool {
    let registers = &mut ctx.user.regs;
    registers.rax = number;
    [registers.rdi, registers.rsi, registers.rdx, registers.r10, registers.r8, registers.r9] = arguments;
    let thread = Arc::clone(&ctx.thread);
    let mut call = Task::new(in_thread(&thread, handle(ctx)));
    (0..POLLS).any(|_| call.poll() == Poll::Ready(()))
}

/// A process with memory and descriptors, whose memory holds `words` again and again.
fn process(words: [u64; 2]) -> (Arc<Thread>, Ctx) {
    let thread = testing::thread();
    let memory = testing::map_pages(&thread, MEMORY, PAGES);
    let mut ctx = Ctx::new(&thread, UserContext::new(0, 0).unwrap());
    let write = |address, bytes: &[u8]| {
        assert!(Task::new(memory.write_bytes(address, bytes)).poll().is_ready());
    };
    write(NAME, b"file\0/\0");
    for (number, arguments) in OPENED {
        let [first, second, third, fourth] = arguments;
        assert!(make(&mut ctx, number, [first, second, third, fourth, 0, 0]));
        assert!((ctx.user.regs.rax as i64) >= 0, "call {number} gives {}", ctx.user.regs.rax as i64);
    }
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    write(MEMORY, &bytes.repeat((NAME - MEMORY) / bytes.len()));
    (thread, ctx)
}

/// An argument of this kind: the `index`th, when the others are number `choice`.
fn argument(kind: &str, index: usize, choice: usize, fd: u64) -> u64 {
    match kind {
        "Fd" => fd,
        "UserPath" => NAME as u64,
        kind if kind.starts_with("UserPtr") || kind.ends_with("Bytes") => (MEMORY + index * PAGE_SIZE) as u64,
        // All flags at once would make the tree read-only for all calls after mount(2).
        "Flags" => NUMBERS[(choice + index) % (NUMBERS.len() - 1)],
        _ => NUMBERS[(choice + index) % NUMBERS.len()],
    }
}

fn every_way(call: &CallInfo) {
    let takes_fd = call.parameters.iter().any(|parameter| parameter.kind == "Fd");
    for fd in 0..if takes_fd { DESCRIPTORS } else { 1 } {
        for choice in 0..NUMBERS.len() {
            for words in [[0, 0], [MEMORY as u64, 64]] {
                let (thread, mut ctx) = process(words);
                let mut arguments = [0; 6];
                for (index, parameter) in call.parameters.iter().enumerate() {
                    arguments[index] = argument(parameter.kind, index, choice, fd);
                }
                let exhausted: Exhausted = exhaust(RESERVE);
                make(&mut ctx, call.number.into(), arguments);
                drop(exhausted);
                // A process that has not ended keeps its memory.
                drop(thread.process().replace_memory(AddressSpace::none().unwrap()));
            }
        }
    }
}

#[test]
#[ignore = "made by the other test, as a process that may be killed"]
fn make_every_call_exhausted() {
    let mut out = std::io::stderr();
    for call in CALLS {
        writeln!(out, "call {}", call.name()).unwrap();
        every_way(call);
    }
    writeln!(out, "done").unwrap();
}

#[test]
fn every_call_ends_with_memory_exhausted() {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "--ignored", "--nocapture", "syscall::exhausted::make_every_call_exhausted"]);
    // To print a backtrace takes more memory than there is.
    command.env("RUST_BACKTRACE", "0");
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut errors = child.stderr.take().unwrap();
    let words = std::thread::spawn(move || {
        let mut words = std::string::String::new();
        errors.read_to_string(&mut words).map(|_| words)
    });
    let start = Instant::now();
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break Some(status),
            None if start.elapsed() > LIMIT => {
                child.kill().unwrap();
                child.wait().unwrap();
                break None;
            }
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    };
    let words = words.join().unwrap().unwrap();
    let last: Vec<_> = words.lines().rev().take(12).collect();
    assert!(
        status.is_some_and(|status| status.success()) && words.ends_with("done\n"),
        "{status:?} after {last:#?}"
    );
}
