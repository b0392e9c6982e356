//! Threads that run, with user code that the test plays.

use alloc::rc::Rc;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cell::RefCell;

use isopod_hal::hosted::set_user;

use super::*;
use crate::mm::UserPtr;
use crate::process::enlist;
use crate::signal::{SigInfo, Signal, send_to_process};
use crate::testing::{self, Task};
use crate::time::{CpuTime, Timespec};

const SCHED_YIELD: u64 = 24;
const FUTEX: u64 = 202;

/// The life of a thread whose user code finds `mark` in `rbx`.
fn life(thread: &Arc<Thread>, mark: u64) -> Task<'static, ()> {
    enlist(thread);
    let mut user = UserContext::new(0x1000, 0x2000).unwrap();
    user.regs.rbx = mark;
    let ctx = Ctx::new(thread, user);
    Task::new(in_space(Arc::clone(thread), live(ctx)))
}

fn send(thread: &Thread, signal: Signal) {
    send_to_process(thread.process(), signal, SigInfo::kernel(signal)).unwrap();
}

#[test]
fn a_stop_is_for_all_threads_and_so_is_its_end() {
    let first = testing::thread();
    let second = testing::sibling(&first);
    let turns = Rc::new(RefCell::new([0; 2]));
    let counted = Rc::clone(&turns);
    set_user(move |context| {
        counted.borrow_mut()[context.regs.rbx as usize] += 1;
        context.regs.rax = SCHED_YIELD;
        Trap::Syscall
    });
    let mut lives = [life(&first, 0), life(&second, 1)];
    let mut poll = || lives.iter_mut().for_each(|life| assert!(life.poll().is_pending()));
    poll();
    send(&first, Signal::STOP);
    // Whoever takes the signal tells the other, who may have had its turn already.
    poll();
    let stopped = *turns.borrow();
    poll();
    poll();
    assert_eq!(*turns.borrow(), stopped);
    send(&first, Signal::CONT);
    poll();
    assert!(turns.borrow().iter().zip(stopped).all(|(now, then)| *now > then));
}

#[test]
fn time_in_user_code_counts_as_such() {
    const TURN_NS: u64 = 2_000_000;
    let thread = testing::thread();
    set_user(|context| {
        let end = clock::monotonic_ns() + TURN_NS;
        while clock::monotonic_ns() < end {
            core::hint::spin_loop();
        }
        context.regs.rax = SCHED_YIELD;
        Trap::Syscall
    });
    let mut life = life(&thread, 0);
    for turns in 1..=5 {
        assert!(life.poll().is_pending());
        let time = CpuTime::of_thread(&thread);
        assert!(time.user >= turns * TURN_NS && time.total() > time.user, "{time:?} after {turns}");
    }
}

#[test]
fn a_wait_that_is_made_again_after_a_stop_ends_when_the_first_would_have() {
    const PAGE: usize = 0x10_0000;
    const TIMEOUT: usize = PAGE + 64;
    const WAIT_NS: u64 = 20_000_000;
    let thread = testing::thread();
    let memory = testing::map_pages(&thread, PAGE, 1);
    let timeout = Timespec::from_ns(WAIT_NS);
    assert!(Task::new(memory.write(UserPtr::new(TIMEOUT), &timeout)).poll().is_ready());
    let results = Rc::new(RefCell::new(Vec::new()));
    let seen = Rc::clone(&results);
    set_user(move |context| {
        let registers = &mut context.regs;
        seen.borrow_mut().push(registers.rax as i64);
        // The processor leaves it behind the instruction, whose length a call made again goes back.
        registers.rip += 2;
        (registers.rax, registers.rdi, registers.rsi, registers.rdx, registers.r10) =
            (FUTEX, PAGE as u64, 0, 0, TIMEOUT as u64);
        Trap::Syscall
    });
    let start = clock::monotonic_ns();
    let mut life = life(&thread, 0);
    assert!(life.poll().is_pending());
    send(&thread, Signal::STOP);
    assert!(life.poll().is_pending());
    while clock::monotonic_ns() <= start + 2 * WAIT_NS {
        core::hint::spin_loop();
    }
    send(&thread, Signal::CONT);
    assert!(life.poll().is_pending());
    let timed_out = -i64::from(Errno::ETIMEDOUT.number());
    // At its start, at the instruction again, and then at once with the result.
    assert_eq!(*results.borrow(), [0, FUTEX as i64, timed_out]);
}
