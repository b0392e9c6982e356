//! Futexes: the words that threads wait on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use libc::*;

use super::helpers::{close, join_all, must_open, now, until_others_sleep};
use crate::report::Report;
use crate::sys::Errno;

const PRIVATE: i32 = FUTEX_PRIVATE_FLAG;

/// Runs the group.
pub fn run(t: &mut Report) {
    immediate(t);
    timeouts(t);
    waking(t);
    requeue(t);
    shared_file(t);
    robust_list_of_another(t);
    robust_lists(t);
}

fn futex(word: &AtomicU32, operation: i32, value: u32) -> Result<usize, Errno> {
    sys!(SYS_futex, word.as_ptr(), operation, value, 0)
}

fn immediate(t: &mut Report) {
    let word = AtomicU32::new(5);
    t.call("wait_other_value", futex(&word, FUTEX_WAIT, 4));
    t.call("wake_nobody", futex(&word, FUTEX_WAKE, 1));
    t.call("wait_unaligned", sys!(SYS_futex, word.as_ptr() as usize + 1, FUTEX_WAIT, 5, 0));
    t.call("wake_unaligned", sys!(SYS_futex, word.as_ptr() as usize + 1, FUTEX_WAKE, 1, 0));
    t.call("wait_fault", sys!(SYS_futex, 4096, FUTEX_WAIT, 5, 0));
    t.call("wake_private_unmapped", sys!(SYS_futex, 4096, FUTEX_WAKE | PRIVATE, 1, 0));
    t.call("wake_shared_unmapped", sys!(SYS_futex, 4096, FUTEX_WAKE, 1, 0));
    t.call("unknown_operation", futex(&word, 99, 5));
    t.call("bitset_zero", sys!(SYS_futex, word.as_ptr(), FUTEX_WAIT_BITSET, 5, 0, 0, 0));
    t.call("wake_bitset_zero", sys!(SYS_futex, word.as_ptr(), FUTEX_WAKE_BITSET, 1, 0, 0, 0));
    t.call(
        "wake_op_nobody",
        sys!(SYS_futex, word.as_ptr(), FUTEX_WAKE_OP, 1, 1, word.as_ptr(), FUTEX_OP_ADD << 28 | 3 << 12),
    );
    t.show("wake_op_adds", word.load(SeqCst));
}

const FUTEX_OP_ADD: u32 = 1;

fn timeouts(t: &mut Report) {
    let word = AtomicU32::new(1);
    let relative = timespec { tv_sec: 0, tv_nsec: 20_000_000 };
    let start = now();
    t.call("wait_times_out", sys!(SYS_futex, word.as_ptr(), FUTEX_WAIT | PRIVATE, 1, &relative));
    t.is("wait_takes_its_time", now() - start >= 20_000_000);
    let until = now() + 20_000_000;
    let absolute = timespec { tv_sec: until / 1_000_000_000, tv_nsec: until % 1_000_000_000 };
    t.call(
        "bitset_times_out",
        sys!(SYS_futex, word.as_ptr(), FUTEX_WAIT_BITSET | PRIVATE, 1, &absolute, 0, u32::MAX),
    );
    t.is("bitset_waits_until", now() >= until);
    let past = timespec { tv_sec: 0, tv_nsec: 1 };
    t.call(
        "bitset_past",
        sys!(SYS_futex, word.as_ptr(), FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME, 1, &past, 0, u32::MAX),
    );
    let bad = timespec { tv_sec: 0, tv_nsec: 1_000_000_000 };
    t.call("bad_nanoseconds", sys!(SYS_futex, word.as_ptr(), FUTEX_WAIT, 1, &bad));
    let negative = timespec { tv_sec: -1, tv_nsec: 0 };
    t.call("negative_seconds", sys!(SYS_futex, word.as_ptr(), FUTEX_WAIT, 1, &negative));
    t.call("timeout_fault", sys!(SYS_futex, word.as_ptr(), FUTEX_WAIT, 1, 8));
    t.call("realtime_on_wake", sys!(SYS_futex, word.as_ptr(), FUTEX_WAKE | FUTEX_CLOCK_REALTIME, 1, 0));
}

/// Starts threads that wait on a word and say when they are woken.
fn waiters(
    count: usize,
    word: &Arc<AtomicU32>,
    operation: i32,
    bits: u32,
) -> Vec<std::thread::JoinHandle<Result<usize, Errno>>> {
    let threads = (0..count)
        .map(|_| {
            let word = Arc::clone(word);
            std::thread::spawn(move || sys!(SYS_futex, word.as_ptr(), operation, 0, 0, 0, bits))
        })
        .collect();
    until_others_sleep();
    threads
}

fn waking(t: &mut Report) {
    let word = Arc::new(AtomicU32::new(0));
    let threads = waiters(3, &word, FUTEX_WAIT | PRIVATE, 0);
    t.call("wake_two_of_three", futex(&word, FUTEX_WAKE | PRIVATE, 2));
    t.call("shared_wake_does_not_meet_private", futex(&word, FUTEX_WAKE, 9));
    t.call("wake_the_rest", futex(&word, FUTEX_WAKE | PRIVATE, 9));
    t.is("all_return_zero", threads.into_iter().all(|thread| thread.join().expect("a thread") == Ok(0)));
    let one = waiters(1, &word, FUTEX_WAIT_BITSET | PRIVATE, 0b01);
    t.call("bitset_no_match", sys!(SYS_futex, word.as_ptr(), FUTEX_WAKE_BITSET | PRIVATE, 9, 0, 0, 0b10));
    t.call("bitset_match", sys!(SYS_futex, word.as_ptr(), FUTEX_WAKE_BITSET | PRIVATE, 9, 0, 0, 0b11));
    t.is("bitset_woken", one.into_iter().all(|thread| thread.join().expect("a thread") == Ok(0)));
    let zero = waiters(2, &word, FUTEX_WAIT, 0);
    t.call("wake_zero_wakes_one", futex(&word, FUTEX_WAKE, 0));
    t.call("wake_negative", futex(&word, FUTEX_WAKE, u32::MAX));
    let _ = futex(&word, FUTEX_WAKE, 9);
    join_all(zero);
}

fn requeue(t: &mut Report) {
    let (word, other) = (Arc::new(AtomicU32::new(0)), AtomicU32::new(0));
    let threads = waiters(4, &word, FUTEX_WAIT | PRIVATE, 0);
    let requeue = |expected: u32| {
        sys!(SYS_futex, word.as_ptr(), FUTEX_CMP_REQUEUE | PRIVATE, 1, 2, other.as_ptr(), expected)
    };
    t.call("cmp_requeue_other_value", requeue(7));
    t.call("cmp_requeue", requeue(0));
    t.call("wake_requeued", futex(&other, FUTEX_WAKE | PRIVATE, 9));
    t.call("wake_left", futex(&word, FUTEX_WAKE | PRIVATE, 9));
    t.is("requeued_return_zero", threads.into_iter().all(|thread| thread.join().expect("a thread") == Ok(0)));
    let threads = waiters(2, &word, FUTEX_WAIT | PRIVATE, 0);
    t.call("requeue", sys!(SYS_futex, word.as_ptr(), FUTEX_REQUEUE | PRIVATE, 0, 9, other.as_ptr(), 0));
    t.call("wake_after_requeue", futex(&other, FUTEX_WAKE | PRIVATE, 9));
    join_all(threads);
}

/// Two mappings of one page of a file are one futex.
fn shared_file(t: &mut Report) {
    let fd = must_open(c"page", O_CREAT | O_RDWR);
    sys!(SYS_ftruncate, fd, 4096).expect("a page");
    let map = || sys!(SYS_mmap, 0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0).expect("a mapping");
    let (first, second) = (map(), map());
    let thread = std::thread::spawn(move || sys!(SYS_futex, first, FUTEX_WAIT, 0, 0));
    until_others_sleep();
    t.call("wake_through_other_mapping", sys!(SYS_futex, second, FUTEX_WAKE, 1, 0));
    // Ends the thread whatever the kernel did.
    let _ = sys!(SYS_futex, first, FUTEX_WAKE, 1, 0);
    t.call("woken_through_other_mapping", thread.join().expect("a thread"));
    close(fd);
}

/// A lock whose owner ends is marked, and one waiter is woken.
fn robust_list_of_another(t: &mut Report) {
    let parent = sys!(SYS_getpid).unwrap_or(0);
    let refused = super::helpers::status_of(|| {
        let _ = sys!(SYS_setuid, 1234);
        let (mut head, mut length) = (0u64, 0u64);
        sys!(SYS_get_robust_list, parent, &mut head, &mut length).err().map_or(0, |errno| errno.0)
    });
    t.show("get_robust_list_of_another_user", refused);
}

fn robust_lists(t: &mut Report) {
    #[repr(C)]
    struct Head {
        next: usize,
        offset: isize,
        pending: usize,
    }
    #[repr(C)]
    struct Entry {
        next: usize,
        word: AtomicU32,
    }
    t.call("set_robust_list_bad_size", sys!(SYS_set_robust_list, 0, 8));
    let entry: &'static Entry = Box::leak(Box::new(Entry { next: 0, word: AtomicU32::new(0) }));
    std::thread::spawn(move || {
        let tid = sys!(SYS_gettid).unwrap_or(0) as u32;
        entry.word.store(tid, SeqCst);
        let head = Box::leak(Box::new(Head { next: 0, offset: 8, pending: 0 }));
        head.next = std::ptr::from_ref(entry) as usize;
        // The list ends where it began.
        // SAFETY: nobody else reads the entry yet.
        unsafe {
            (std::ptr::from_ref(entry) as *mut usize).write_volatile(std::ptr::from_ref(head) as usize);
        };
        sys!(SYS_set_robust_list, std::ptr::from_ref(head), 24).expect("a list");
    })
    .join()
    .expect("a thread");
    t.show("owner_died", format!("{:x}", entry.word.load(SeqCst)));
    // A lock that its last owner gave up, and whose next one ended before it took it.
    let orphan: &'static Entry = Box::leak(Box::new(Entry { next: 0, word: AtomicU32::new(0) }));
    let waiter = std::thread::spawn(|| {
        let limit = timespec { tv_sec: 2, tv_nsec: 0 };
        sys!(SYS_futex, orphan.word.as_ptr(), FUTEX_WAIT, 0, &limit)
    });
    until_others_sleep();
    std::thread::spawn(move || {
        let head =
            Box::leak(Box::new(Head { next: 0, offset: 8, pending: std::ptr::from_ref(orphan) as usize }));
        head.next = std::ptr::from_ref(head) as usize;
        sys!(SYS_set_robust_list, std::ptr::from_ref(head), 24).expect("a list");
    })
    .join()
    .expect("a thread");
    t.call("pending_without_owner_wakes", waiter.join().expect("a thread"));
    t.show("pending_without_owner_stays", orphan.word.load(SeqCst));
    let (mut head, mut length) = (0usize, 0usize);
    t.call("get_robust_list", sys!(SYS_get_robust_list, 0, &mut head, &mut length));
    t.show("get_robust_list_length", length);
}
