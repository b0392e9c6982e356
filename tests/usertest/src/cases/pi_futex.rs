//! Futexes that have an owner, and waiting for several words.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use libc::*;

use super::helpers::{sleep_ms, until_others_sleep};
use crate::report::Report;
use crate::sys::{self, Errno};

const PRIVATE: i32 = FUTEX_PRIVATE_FLAG;
const LOCK_PI: i32 = FUTEX_LOCK_PI | PRIVATE;
const LOCK_PI2: i32 = FUTEX_LOCK_PI2 | PRIVATE;
const UNLOCK_PI: i32 = FUTEX_UNLOCK_PI | PRIVATE;
const TRYLOCK_PI: i32 = FUTEX_TRYLOCK_PI | PRIVATE;
const WAIT_REQUEUE_PI: i32 = FUTEX_WAIT_REQUEUE_PI | PRIVATE;
const CMP_REQUEUE_PI: i32 = FUTEX_CMP_REQUEUE_PI | PRIVATE;
const FUTEX_LOCK_PI2: i32 = 13;

/// Runs the group.
pub fn run(t: &mut Report) {
    alone(t);
    waiting(t);
    deadlocks(t);
    owner_deaths(t);
    requeueing(t);
    several(t);
}

fn tid() -> u32 {
    sys!(SYS_gettid).expect("an id") as u32
}

fn act(word: &AtomicU32, operation: i32) -> Result<usize, Errno> {
    sys!(SYS_futex, word.as_ptr(), operation, 0, 0)
}

/// A word with the thread's id as `me`, the marks as letters.
fn shown(word: &AtomicU32, me: u32) -> String {
    let value = word.load(SeqCst);
    let owner = value & FUTEX_TID_MASK;
    format!(
        "{}{}{}",
        if owner == me {
            "me".into()
        } else if owner == 0 {
            "nobody".to_string()
        } else {
            "other".into()
        },
        if value & FUTEX_WAITERS != 0 { " W" } else { "" },
        if value & FUTEX_OWNER_DIED != 0 { " D" } else { "" }
    )
}

fn soon(clock: i32, milliseconds: i64) -> timespec {
    let mut time = sys::zeroed::<timespec>();
    let _ = sys!(SYS_clock_gettime, clock, &mut time);
    let sum = time.tv_nsec + milliseconds * 1_000_000;
    timespec { tv_sec: time.tv_sec + sum / 1_000_000_000, tv_nsec: sum % 1_000_000_000 }
}

fn alone(t: &mut Report) {
    let (word, me) = (AtomicU32::new(0), tid());
    t.call("unlock_free", act(&word, UNLOCK_PI));
    t.call("lock", act(&word, LOCK_PI));
    t.show("locked", shown(&word, me));
    t.call("lock_again", act(&word, LOCK_PI));
    t.call("try_again", act(&word, TRYLOCK_PI));
    t.call("unlock", act(&word, UNLOCK_PI));
    t.show("unlocked", word.load(SeqCst));
    t.call("try", act(&word, TRYLOCK_PI));
    t.call("unlock_tried", act(&word, UNLOCK_PI));
    t.call("lock_2", act(&word, LOCK_PI2));
    t.call("unlock_2", act(&word, UNLOCK_PI));
    word.store(0x3fff_fff0, SeqCst);
    t.call("lock_of_nobody", act(&word, LOCK_PI));
    t.show("marked", format!("{:x}", word.load(SeqCst)));
    t.call("try_of_nobody", act(&word, TRYLOCK_PI));
    t.call("unlock_of_nobody", act(&word, UNLOCK_PI));
    word.store(FUTEX_OWNER_DIED, SeqCst);
    t.call("lock_left", act(&word, LOCK_PI));
    t.show("left", shown(&word, me));
    t.call("unlock_left", act(&word, UNLOCK_PI));
    t.show("left_unlocked", word.load(SeqCst));
    word.store(FUTEX_WAITERS, SeqCst);
    t.call("lock_marked", act(&word, LOCK_PI));
    t.show("marked_lock", shown(&word, me));
    let _ = act(&word, UNLOCK_PI);
    t.call("lock_unaligned", sys!(SYS_futex, word.as_ptr() as usize + 1, LOCK_PI, 0, 0));
    t.call("unlock_unaligned", sys!(SYS_futex, word.as_ptr() as usize + 1, UNLOCK_PI, 0, 0));
    t.call("lock_nowhere", sys!(SYS_futex, 4096, LOCK_PI, 0, 0));
    t.call("unlock_nowhere", sys!(SYS_futex, 4096, UNLOCK_PI, 0, 0));
    t.call("lock_bad_time", sys!(SYS_futex, word.as_ptr(), LOCK_PI, 0, &timespec { tv_sec: 0, tv_nsec: -1 }));
    t.call("lock_bad_time_pointer", sys!(SYS_futex, word.as_ptr(), LOCK_PI, 0, 8));
    t.call("lock_realtime_flag", act(&word, LOCK_PI | FUTEX_CLOCK_REALTIME));
    t.call("lock_2_realtime_flag", act(&word, LOCK_PI2 | FUTEX_CLOCK_REALTIME));
    t.call("wait_requeue_same", sys!(SYS_futex, word.as_ptr(), WAIT_REQUEUE_PI, 0, 0, word.as_ptr()));
    let other = AtomicU32::new(0);
    t.call(
        "wait_requeue_other_value",
        sys!(SYS_futex, word.as_ptr(), WAIT_REQUEUE_PI, 77, 0, other.as_ptr()),
    );
    let requeue = |wake: i32, moves: i32, expected: u32| {
        sys!(SYS_futex, word.as_ptr(), CMP_REQUEUE_PI, wake, moves, other.as_ptr(), expected)
    };
    t.call("requeue_two", requeue(2, 1, 0));
    t.call("requeue_negative", requeue(-1, 1, 0));
    t.call("requeue_other_value", requeue(1, 1, 77));
    t.call("requeue_nobody", requeue(1, 1, word.load(SeqCst)));
    t.call("requeue_same", sys!(SYS_futex, word.as_ptr(), CMP_REQUEUE_PI, 1, 1, word.as_ptr(), 0));
}

/// A thread that does something, and its result when it has ended.
fn beside<T: Send + 'static>(act: impl FnOnce() -> T + Send + 'static) -> std::thread::JoinHandle<T> {
    let thread = std::thread::spawn(act);
    until_others_sleep();
    thread
}

fn waiting(t: &mut Report) {
    let (word, me) = (Arc::new(AtomicU32::new(0)), tid());
    let _ = act(&word, LOCK_PI);
    let shared = Arc::clone(&word);
    let first = beside(move || (act(&shared, LOCK_PI), shown(&shared, tid()), act(&shared, UNLOCK_PI)));
    t.show("waited_for", shown(&word, me));
    t.call("wake_of_claim", act(&word, FUTEX_WAKE | PRIVATE));
    let other = AtomicU32::new(0);
    t.call(
        "requeue_of_claim",
        sys!(SYS_futex, word.as_ptr(), FUTEX_REQUEUE | PRIVATE, 1, 1, other.as_ptr(), 0),
    );
    t.call("unlock_to_waiter", act(&word, UNLOCK_PI));
    let (locked, seen, unlocked) = first.join().expect("a thread");
    t.call("handed_over", locked);
    t.show("handed", seen);
    t.call("handed_back", unlocked);
    t.show("free_again", word.load(SeqCst));
    let _ = act(&word, LOCK_PI);
    let shared = Arc::clone(&word);
    let results = beside(move || {
        let late = [LOCK_PI, LOCK_PI2 | FUTEX_CLOCK_REALTIME]
            .map(|operation| sys!(SYS_futex, shared.as_ptr(), operation, 0, &soon(CLOCK_REALTIME, 10)));
        let monotonic = sys!(SYS_futex, shared.as_ptr(), LOCK_PI2, 0, &soon(CLOCK_MONOTONIC, 10));
        [late[0], late[1], monotonic, act(&shared, TRYLOCK_PI), act(&shared, UNLOCK_PI)]
    });
    for result in results.join().expect("a thread") {
        t.call("by_others", result);
    }
    t.show("mark_stays", shown(&word, me));
    t.call("unlock_marked", act(&word, UNLOCK_PI));
    t.show("mark_gone", word.load(SeqCst));
    // Several get it in the order in which they came.
    let _ = act(&word, LOCK_PI);
    let order = Arc::new(std::sync::Mutex::new(Vec::new()));
    let threads: Vec<_> = (0..3)
        .map(|number| {
            let (word, order) = (Arc::clone(&word), Arc::clone(&order));
            beside(move || {
                let _ = act(&word, LOCK_PI);
                order.lock().expect("nobody panics").push(number);
                let _ = act(&word, UNLOCK_PI);
            })
        })
        .collect();
    let _ = act(&word, UNLOCK_PI);
    super::helpers::join_all(threads);
    t.show("order", format!("{:?} {}", order.lock().expect("nobody panics"), word.load(SeqCst)));
    // Waiting otherwise at a word that is owned.
    let shared = Arc::clone(&word);
    let waiter = beside(move || sys!(SYS_futex, shared.as_ptr(), FUTEX_WAIT | PRIVATE, 0, 0));
    word.store(0x3fff_fff0, SeqCst);
    t.call("lock_where_others_wait", act(&word, LOCK_PI));
    word.store(me, SeqCst);
    t.call("unlock_where_others_wait", act(&word, UNLOCK_PI));
    let _ = act(&word, FUTEX_WAKE | PRIVATE);
    let _ = waiter.join();
}

fn deadlocks(t: &mut Report) {
    let words = [Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0))];
    let _ = act(&words[0], LOCK_PI);
    let [first, second] = words.clone();
    let other = beside(move || {
        let _ = act(&second, LOCK_PI);
        let waited = act(&first, LOCK_PI);
        let _ = act(&first, UNLOCK_PI);
        let _ = act(&second, UNLOCK_PI);
        waited
    });
    t.call("deadlock", act(&words[1], LOCK_PI));
    t.call("unlock_first", act(&words[0], UNLOCK_PI));
    t.call("other_went_on", other.join().expect("a thread"));
    t.call("lock_second", act(&words[1], LOCK_PI));
    let _ = act(&words[1], UNLOCK_PI);
}

/// A list with one robust futex.
#[repr(C)]
struct List {
    head: [usize; 3],
    entry: usize,
    word: AtomicU32,
}

fn owner_deaths(t: &mut Report) {
    let me = tid();
    let word = Arc::new(AtomicU32::new(0));
    let shared = Arc::clone(&word);
    let owner = beside(move || {
        let locked = act(&shared, LOCK_PI);
        sleep_ms(300);
        locked
    });
    t.call("lock_of_dying", act(&word, LOCK_PI));
    t.show("dead_owner", shown(&word, me));
    t.call("owner_had_it", owner.join().expect("a thread"));
    t.call("unlock_of_dead", act(&word, UNLOCK_PI));
    t.show("unlocked_of_dead", word.load(SeqCst));
    let owner = {
        let shared = Arc::clone(&word);
        beside(move || act(&shared, LOCK_PI))
    };
    let _ = owner.join();
    t.call("lock_of_dead", act(&word, LOCK_PI));
    let list = Arc::new(List { head: [0; 3], entry: 0, word: AtomicU32::new(0) });
    let shared = Arc::clone(&list);
    let owner = beside(move || {
        let base = std::ptr::from_ref(&*shared) as usize;
        let (entry, offset) = (base + std::mem::offset_of!(List, entry), 8usize);
        let head = [entry | 1, offset, 0usize];
        // SAFETY: the list is this thread's alone until it ends.
        unsafe {
            (base as *mut [usize; 3]).write_volatile(head);
            (entry as *mut usize).write_volatile(base);
        }
        let _ = sys!(SYS_set_robust_list, base, 24);
        let _ = act(&shared.word, LOCK_PI);
        sleep_ms(300);
    });
    t.call("robust_lock", act(&list.word, LOCK_PI));
    t.show("robust_left", shown(&list.word, me));
    let _ = owner.join();
    t.call("robust_unlock", act(&list.word, UNLOCK_PI));
}

fn requeueing(t: &mut Report) {
    let (word, lock, me) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)), tid());
    let waiter = |timeout: bool| {
        let (word, lock) = (Arc::clone(&word), Arc::clone(&lock));
        beside(move || {
            let time = soon(CLOCK_MONOTONIC, 20);
            let time = if timeout { std::ptr::from_ref(&time) as usize } else { 0 };
            let waited = sys!(SYS_futex, word.as_ptr(), WAIT_REQUEUE_PI, 0, time, lock.as_ptr());
            let seen = shown(&lock, tid());
            if waited.is_ok() {
                let _ = act(&lock, UNLOCK_PI);
            }
            (waited, seen)
        })
    };
    let requeue = |moves: i32| sys!(SYS_futex, word.as_ptr(), CMP_REQUEUE_PI, 1, moves, lock.as_ptr(), 0);
    let late = waiter(true).join().expect("a thread");
    t.call("requeue_late", late.0);
    let alone = waiter(false);
    t.call("requeue_wake", act(&word, FUTEX_WAKE | PRIVATE));
    let third = AtomicU32::new(0);
    t.call("requeue_elsewhere", sys!(SYS_futex, word.as_ptr(), CMP_REQUEUE_PI, 1, 1, third.as_ptr(), 0));
    t.call("requeue_plain", sys!(SYS_futex, word.as_ptr(), FUTEX_REQUEUE | PRIVATE, 1, 1, third.as_ptr(), 0));
    t.call("requeue_to_free", requeue(0));
    let (waited, seen) = alone.join().expect("a thread");
    t.call("got_free", waited);
    t.show("got_free_seen", seen);
    let _ = act(&lock, LOCK_PI);
    let threads = [waiter(false), waiter(false), waiter(false)];
    t.call("requeue_to_owned", requeue(1));
    t.show("requeued", shown(&lock, me));
    t.call("requeue_rest", requeue(9));
    t.call("unlock_to_requeued", act(&lock, UNLOCK_PI));
    for thread in threads {
        let (waited, seen) = thread.join().expect("a thread");
        t.call("requeued_got", waited);
        t.show("requeued_seen", seen);
    }
    t.show("requeued_free", lock.load(SeqCst));
}

/// `struct futex_waitv`
#[repr(C)]
#[derive(Clone, Copy)]
struct Wait(u64, usize, u32, u32);

fn several(t: &mut Report) {
    const U32: u32 = 2;
    let words: Vec<_> = (0..3).map(|_| Arc::new(AtomicU32::new(0))).collect();
    let list = |flags: u32| -> Vec<Wait> {
        words.iter().map(|word| Wait(0, word.as_ptr() as usize, flags, 0)).collect()
    };
    let wait = |list: &[Wait], count: usize, flags: u32, time: usize, clock: i32| {
        sys!(SYS_futex_waitv, list.as_ptr(), count, flags, time, clock)
    };
    let private = list(U32 | 128);
    t.call("waitv_none", wait(&private, 0, 0, 0, 0));
    t.call("waitv_too_many", wait(&private, 129, 0, 0, 0));
    t.call("waitv_flags", wait(&private, 3, 1, 0, 0));
    t.call("waitv_null", sys!(SYS_futex_waitv, 0, 1, 0, 0, 0));
    t.call("waitv_bad_pointer", sys!(SYS_futex_waitv, 8, 1, 0, 0, 0));
    t.call("waitv_bad_size", wait(&list(1), 3, 0, 0, 0));
    t.call("waitv_bad_flag", wait(&list(U32 | 64), 3, 0, 0, 0));
    t.call("waitv_reserved", wait(&[Wait(0, words[0].as_ptr() as usize, U32, 1)], 1, 0, 0, 0));
    t.call("waitv_large", wait(&[Wait(1 << 32, words[0].as_ptr() as usize, U32, 0)], 1, 0, 0, 0));
    t.call("waitv_unaligned", wait(&[Wait(0, words[0].as_ptr() as usize + 1, U32, 0)], 1, 0, 0, 0));
    t.call("waitv_nowhere", wait(&[Wait(0, 4096, U32, 0)], 1, 0, 0, 0));
    t.call("waitv_bad_clock", wait(&private, 3, 0, 8, 2));
    t.call("waitv_bad_time", wait(&private, 3, 0, 8, 1));
    let time = soon(CLOCK_MONOTONIC, 10);
    t.call("waitv_late", wait(&private, 3, 0, std::ptr::from_ref(&time) as usize, CLOCK_MONOTONIC));
    words[1].store(5, SeqCst);
    t.call("waitv_other_value", wait(&private, 3, 0, 0, 0));
    words[1].store(0, SeqCst);
    for index in [2, 0] {
        let list: Vec<usize> = private.iter().map(|wait| wait.1).collect();
        let thread = beside(move || {
            let list: Vec<_> = list.iter().map(|at| Wait(0, *at, U32 | 128, 0)).collect();
            sys!(SYS_futex_waitv, list.as_ptr(), 3, 0, 0, 0)
        });
        t.call("waitv_wake", sys!(SYS_futex, words[index].as_ptr(), FUTEX_WAKE | PRIVATE, 9));
        t.call("waitv_woken", thread.join().expect("a thread"));
        t.call("waitv_all_gone", sys!(SYS_futex, words[1].as_ptr(), FUTEX_WAKE | PRIVATE, 9));
    }
}
