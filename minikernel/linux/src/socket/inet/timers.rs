//! TCP's timers: a task that sleeps until the first of them is due.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use isopod_hal::clock;
use isopod_hal::sync::wait::WaitQueue;
use isopod_net::packet::Outbox;
use isopod_net::stack::Stack;

use crate::sched;

/// Nothing is due.
const NEVER: u64 = u64::MAX;

/// Whether the task is there.
static RUNS: AtomicBool = AtomicBool::new(false);
/// Until when it sleeps.
static UNTIL: AtomicU64 = AtomicU64::new(NEVER);
/// Woken when something is due before that.
static EARLIER: WaitQueue = WaitQueue::new();

/// Something may be due earlier than the task knows.
pub fn look(stack: &'static Stack) {
    let Some(deadline) = stack.deadline() else { return };
    if deadline < UNTIL.load(Ordering::SeqCst) {
        if !RUNS.swap(true, Ordering::Relaxed) {
            sched::spawn(run(stack));
        }
        EARLIER.wake_all();
    }
}

async fn run(stack: &'static Stack) {
    loop {
        let mut out = Outbox::new(clock::monotonic_ns());
        let all = stack.expire(&mut out);
        stack.deliver(&mut out);
        if !all {
            sched::give_way().await;
            continue;
        }
        let deadline = stack.deadline().unwrap_or(NEVER);
        UNTIL.store(deadline, Ordering::SeqCst);
        // Whoever has not seen that yet has set a deadline before, which is seen now.
        let earlier = || stack.deadline().is_some_and(|now| now < deadline).then_some(());
        sched::timeout_at(deadline, EARLIER.until(earlier)).await;
        UNTIL.store(NEVER, Ordering::SeqCst);
    }
}
