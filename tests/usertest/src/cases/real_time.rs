//! `SCHED_FIFO` and `SCHED_RR`: who comes first on one CPU (sched(7)).

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use libc::*;

use super::helpers::{child, close, pipe, sleep_ms, until_child_sleeps, wait_for};
use crate::report::Report;

const RW: i32 = PROT_READ | PROT_WRITE;

/// Runs the group.
pub fn run(t: &mut Report) {
    let mut all = [0u64; 16];
    let bytes = sys!(SYS_sched_getaffinity, 0, 128, &mut all).expect("the CPUs");
    sys!(SYS_sched_setaffinity, 0, 8, &1u64).expect("the first CPU");
    by_priority(t);
    at_once(t);
    for (name, policy) in [("fifo", SCHED_FIFO), ("rr", SCHED_RR)] {
        turns(t, name, policy);
        leaves_something(t, name, policy);
    }
    set(0, SCHED_OTHER, 0);
    sys!(SYS_sched_setaffinity, 0, bytes, &all).expect("all CPUs");
}

fn set(pid: i32, policy: i32, priority: i32) {
    sys!(SYS_sched_setscheduler, pid, policy, &priority).expect("a policy");
}

/// Those that wake while one of a higher priority runs go on in the order of their priorities.
fn by_priority(t: &mut Report) {
    let [from, to] = pipe();
    let wishes = [
        ('o', SCHED_OTHER, 0),
        ('a', SCHED_FIFO, 10),
        ('b', SCHED_RR, 10),
        ('c', SCHED_FIFO, 30),
        ('d', SCHED_RR, 20),
        ('e', SCHED_FIFO, 1),
    ];
    let mut starts = Vec::new();
    for (letter, policy, priority) in wishes {
        let [start, begin] = pipe();
        let pid = child(|| {
            let mut byte = [0u8];
            let _ = sys!(SYS_read, start, &mut byte, 1);
            let _ = sys!(SYS_write, to, &[letter as u8], 1);
            0
        });
        until_child_sleeps(pid);
        set(pid, policy, priority);
        starts.push((pid, start, begin));
    }
    set(0, SCHED_FIFO, 50);
    for (_, _, begin) in &starts {
        let _ = sys!(SYS_write, *begin, b"x", 1);
    }
    let mut letters = Vec::new();
    for _ in &starts {
        let mut letter = [0u8];
        let _ = sys!(SYS_read, from, &mut letter, 1);
        letters.push(letter[0]);
    }
    set(0, SCHED_OTHER, 0);
    for (pid, start, begin) in starts {
        wait_for(pid);
        close(start);
        close(begin);
    }
    close(from);
    close(to);
    t.show("by_priority", String::from_utf8_lossy(&letters));
}

/// A number that parent and child share.
fn shared() -> &'static AtomicU32 {
    let at = sys!(SYS_mmap, 0, 4096, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0).expect("a page");
    // SAFETY: the page is zeroed, and stays mapped.
    unsafe { &*(at as *const AtomicU32) }
}

/// Spins until the number is not 0, at most so long.
fn comes(number: &AtomicU32, within: Duration) -> bool {
    let end = Instant::now() + within;
    while Instant::now() < end {
        if number.load(Ordering::Relaxed) != 0 {
            return true;
        }
    }
    false
}

/// Who wakes with a higher priority does not wait for a turn; one with the same or a lower one waits until the other does.
fn at_once(t: &mut Report) {
    for (name, priority) in [("higher", 20), ("equal", 10), ("lower", 5)] {
        let number = shared();
        let [start, begin] = pipe();
        let pid = child(|| {
            let mut byte = [0u8];
            let _ = sys!(SYS_read, start, &mut byte, 1);
            number.store(1, Ordering::Relaxed);
            0
        });
        until_child_sleeps(pid);
        set(pid, SCHED_FIFO, priority);
        set(0, SCHED_FIFO, 10);
        let _ = sys!(SYS_write, begin, b"x", 1);
        t.is(&format!("comes_at_once_{name}"), comes(number, Duration::from_millis(200)));
        set(0, SCHED_OTHER, 0);
        wait_for(pid);
        close(start);
        close(begin);
    }
}

/// Whether one of the same priority and policy gets its turn while another runs.
fn turns(t: &mut Report, name: &str, policy: i32) {
    let number = shared();
    set(0, policy, 10);
    let pid = child(|| {
        number.store(1, Ordering::Relaxed);
        0
    });
    t.is(&format!("turns_{name}"), comes(number, Duration::from_millis(400)));
    sys!(SYS_sched_yield).expect("others go on");
    t.is(&format!("turns_{name}_after_yield"), number.load(Ordering::Relaxed) == 1);
    set(0, SCHED_OTHER, 0);
    wait_for(pid);
}

/// One that never waits leaves the others something all the same.
fn leaves_something(t: &mut Report, name: &str, policy: i32) {
    let number = shared();
    let pid = child(|| {
        sleep_ms(20);
        number.store(1, Ordering::Relaxed);
        0
    });
    set(0, policy, 10);
    t.is(&format!("leaves_something_{name}"), comes(number, Duration::from_secs(20)));
    set(0, SCHED_OTHER, 0);
    wait_for(pid);
}
