//! System V IPC: shared memory, semaphores, message queues.

use std::sync::OnceLock;

use libc::*;

use super::helpers::{child, get, sleep_ms, status_of, until_child_sleeps, wait_for};
use crate::report::Report;
use crate::sys::Errno;

/// A key that no other run uses, the same in children.
fn key(number: u32) -> u32 {
    static RUN: OnceLock<u32> = OnceLock::new();
    RUN.get_or_init(std::process::id) << 8 | number
}

/// Gives up being the superuser.
fn become_nobody() {
    let _ = sys!(SYS_setgroups, 0, 0);
    let _ = sys!(SYS_setresgid, 65534, 65534, 65534);
    let _ = sys!(SYS_setresuid, 65534, 65534, 65534);
}

fn number(result: Result<usize, Errno>) -> i32 {
    result.map_or_else(|errno| -errno.0, |value| value as i32)
}

/// What a call answers to somebody without rights: its error number, or 0.
fn as_nobody(call: impl FnOnce() -> Result<usize, Errno>) -> Errno {
    let status = status_of(|| {
        become_nobody();
        call().map_or_else(|errno| errno.0, |_| 0)
    });
    Errno(status)
}

/// Runs the group.
pub fn run(t: &mut Report) {
    shared_memory(t);
    attaching(t);
    shared_memory_control(t);
    semaphores(t);
    semaphore_waits(t);
    semaphore_control(t);
    messages(t);
    message_waits(t);
    message_control(t);
    listings(t);
}

fn shared_memory(t: &mut Report) {
    t.call("shm_no_size", sys!(SYS_shmget, IPC_PRIVATE, 0, 0o600));
    t.call("shm_too_large", sys!(SYS_shmget, IPC_PRIVATE, -1i64, 0o600));
    t.call("shm_huge", sys!(SYS_shmget, IPC_PRIVATE, 1i64 << 62, 0o600).map(|_| 0));
    t.call("shm_unknown_key", sys!(SYS_shmget, key(1), 4096, 0o600));
    t.call("shm_unknown_key_no_size", sys!(SYS_shmget, key(1), 0, 0o600));
    let id = number(sys!(SYS_shmget, key(1), 5000, IPC_CREAT | 0o640));
    t.is("shm_made", id >= 0);
    t.is("shm_same", number(sys!(SYS_shmget, key(1), 5000, IPC_CREAT | 0o600)) == id);
    t.is("shm_same_any_size", number(sys!(SYS_shmget, key(1), 0, 0)) == id);
    t.call("shm_larger", sys!(SYS_shmget, key(1), 5001, 0));
    t.call("shm_exclusive", sys!(SYS_shmget, key(1), 5000, IPC_CREAT | IPC_EXCL | 0o600));
    t.call("shm_exclusive_larger", sys!(SYS_shmget, key(1), 9000, IPC_CREAT | IPC_EXCL));
    t.ok("shm_exclusive_alone", sys!(SYS_shmget, key(1), 5000, IPC_EXCL));
    t.show("shm_others_read", as_nobody(|| sys!(SYS_shmget, key(1), 5000, 0o400)));
    t.show("shm_others_nothing", as_nobody(|| sys!(SYS_shmget, key(1), 5000, 0)));
    t.show("shm_others_larger", as_nobody(|| sys!(SYS_shmget, key(1), 9000, 0o400)));
    t.show("shm_others_attach", as_nobody(|| sys!(SYS_shmat, id, 0, SHM_RDONLY)));
    t.show("shm_others_stat", as_nobody(|| sys!(SYS_shmctl, id, IPC_STAT, [0u64; 16].as_mut_ptr())));
    t.show("shm_others_remove", as_nobody(|| sys!(SYS_shmctl, id, IPC_RMID, 0)));
    t.show("shm_others_set", as_nobody(|| sys!(SYS_shmctl, id, IPC_SET, [0u64; 16].as_mut_ptr())));
    t.show("shm_others_lock", as_nobody(|| sys!(SYS_shmctl, id, SHM_LOCK, 0)));
    t.call("shm_remove", sys!(SYS_shmctl, id, IPC_RMID, 0));
    t.call("shm_removed", sys!(SYS_shmctl, id, IPC_RMID, 0));
    t.call("shm_removed_stat", sys!(SYS_shmctl, id, IPC_STAT, [0u64; 16].as_mut_ptr()));
    t.call("shm_removed_attach", sys!(SYS_shmat, id, 0, 0));
    t.call("shm_negative", sys!(SYS_shmctl, -1, IPC_STAT, 0));
    t.call("shm_attach_negative", sys!(SYS_shmat, -1, 0, 0));
    t.call("shm_bad_command", sys!(SYS_shmctl, 0, 99, 0));
}

const SHM_STAT: i32 = 13;
const SHM_INFO: i32 = 14;
const SHM_STAT_ANY: i32 = 15;
const IPC_INFO: i32 = 3;

/// Reads the first word of memory that is mapped.
fn peek(at: usize) -> u32 {
    // SAFETY: the callers pass where they have attached a segment.
    unsafe { (at as *const u32).read_volatile() }
}

fn poke(at: usize, value: u32) {
    // SAFETY: as above; the segment is attached for writing.
    unsafe { (at as *mut u32).write_volatile(value) }
}

/// Size, mode, number of attachments of a segment.
fn described(id: i32) -> String {
    let mut words = [0u64; 14];
    match sys!(SYS_shmctl, id, IPC_STAT, words.as_mut_ptr()) {
        Ok(_) => format!("{} bytes, {:o}, {} attached", words[6], words[2] >> 32, words[11]),
        Err(errno) => errno.to_string(),
    }
}

fn attaching(t: &mut Report) {
    const ROOM: usize = 0x2000_0000;
    let id = number(sys!(SYS_shmget, key(2), 5000, IPC_CREAT | 0o600));
    let first = sys!(SYS_shmat, id, 0, 0).expect("an address");
    t.is("at_page", first.is_multiple_of(4096));
    t.show("attached", described(id));
    poke(first + 4096, 77);
    t.is("at_given", sys!(SYS_shmat, id, ROOM, 0) == Ok(ROOM));
    t.show("seen_twice", peek(ROOM + 4096));
    t.call("at_taken", sys!(SYS_shmat, id, ROOM, 0));
    t.call("at_taken_in_part", sys!(SYS_shmat, id, ROOM + 4096, 0));
    t.call("at_unaligned", sys!(SYS_shmat, id, ROOM + 0x10001, 0));
    t.is("at_rounded", sys!(SYS_shmat, id, ROOM + 0x10001, SHM_RND) == Ok(ROOM + 0x10000));
    t.call("at_null_replacing", sys!(SYS_shmat, id, 0, SHM_REMAP));
    t.call("at_rounded_to_null", sys!(SYS_shmat, id, 5, SHM_RND | SHM_REMAP));
    t.is("at_replacing", sys!(SYS_shmat, id, ROOM, SHM_REMAP) == Ok(ROOM));
    t.show("attached_three", described(id));
    let read_only = sys!(SYS_shmat, id, 0, SHM_RDONLY).expect("an address");
    t.show("read_only", peek(read_only + 4096));
    t.call("read_only_protect", sys!(SYS_mprotect, read_only, 4096, PROT_READ | PROT_WRITE));
    t.is("executable", sys!(SYS_shmat, id, 0, SHM_EXEC).is_ok());
    let maps = get("/proc/self/maps");
    let line = maps.lines().find(|line| line.starts_with(&format!("{ROOM:08x}"))).unwrap_or_default();
    let words: Vec<_> = line.split_ascii_whitespace().collect();
    t.show("maps", [words[1], words[2], &words[5][..5], words[6]].join(" "));
    t.call("detach_unaligned", sys!(SYS_shmdt, ROOM + 1));
    t.call("detach_inside", sys!(SYS_shmdt, ROOM + 4096));
    t.call("detach_other", sys!(SYS_shmdt, 0x1000));
    let other = sys!(SYS_mmap, 0, 4096, PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1, 0).expect("memory");
    t.call("detach_shared_memory", sys!(SYS_shmdt, other));
    t.call("detach", sys!(SYS_shmdt, ROOM));
    t.call("detach_again", sys!(SYS_shmdt, ROOM));
    t.show("detached", described(id));
    t.call("unmap_part", sys!(SYS_munmap, first, 4096));
    t.show("part_left", described(id));
    t.call("detach_part", sys!(SYS_shmdt, first));
    t.show("part_detached", described(id));
    t.is("child_inherits", {
        let pid = child(|| {
            poke(ROOM + 0x10000, 5);
            let _ = sys!(SYS_pause);
            0
        });
        until_child_sleeps(pid);
        let inherited = described(id).ends_with("6 attached");
        let _ = sys!(SYS_kill, pid, SIGKILL);
        wait_for(pid);
        inherited
    });
    t.show("child_wrote", peek(ROOM + 0x10000));
    t.show("child_gone", described(id));
    t.call("remove", sys!(SYS_shmctl, id, IPC_RMID, 0));
    t.show("doomed", described(id));
    t.call("doomed_key", sys!(SYS_shmget, key(2), 0, 0));
    let again = sys!(SYS_shmat, id, 0, 0);
    t.is("doomed_attach", again.is_ok());
    for at in [ROOM + 0x10000, read_only, again.unwrap_or(0)] {
        let _ = sys!(SYS_shmdt, at);
    }
    t.show("doomed_one_left", described(id));
    let found = get("/proc/self/maps");
    let last = found.lines().find(|line| line.contains("/SYSV")).unwrap_or_default();
    let start = usize::from_str_radix(last.split('-').next().unwrap_or_default(), 16).unwrap_or(0);
    t.call("detach_last", sys!(SYS_shmdt, start));
    t.show("gone", described(id));
}

fn shared_memory_control(t: &mut Report) {
    let id = number(sys!(SYS_shmget, key(3), 4096, IPC_CREAT | 0o600));
    let mut words = [0u64; 14];
    t.call("stat_bad_pointer", sys!(SYS_shmctl, id, IPC_STAT, 8));
    t.call("stat_bad_pointer_and_number", sys!(SYS_shmctl, 0x7fff_0000, IPC_STAT, 8));
    t.call("set_bad_pointer_and_number", sys!(SYS_shmctl, 0x7fff_0000, IPC_SET, 8));
    t.call("stat", sys!(SYS_shmctl, id, IPC_STAT, words.as_mut_ptr()));
    t.is("stat_key", words[0] as u32 == key(3));
    t.is("stat_creator", words[10] as u32 == std::process::id());
    t.show("stat_last", words[10] >> 32);
    t.show("stat_times", format!("{} {} {}", words[7], words[8], words[9] > 1_600_000_000));
    words[0] = 5 << 32;
    words[1] = 6;
    words[2] = 0o7644 << 32;
    t.call("set", sys!(SYS_shmctl, id, IPC_SET, words.as_mut_ptr()));
    let _ = sys!(SYS_shmctl, id, IPC_STAT, words.as_mut_ptr());
    t.show("set_owner", format!("{} {} {:o}", words[0] >> 32, words[1] as u32, words[2] >> 32));
    words[0] = u64::from(u32::MAX) << 32;
    t.call("set_nobody", sys!(SYS_shmctl, id, IPC_SET, words.as_mut_ptr()));
    t.call("lock", sys!(SYS_shmctl, id, SHM_LOCK, 0));
    t.show("locked", described(id));
    t.call("unlock", sys!(SYS_shmctl, id, SHM_UNLOCK, 0));
    t.show("unlocked", described(id));
    t.is("stat_by_place", number(sys!(SYS_shmctl, id & 0x7fff, SHM_STAT, words.as_mut_ptr())) == id);
    t.is("stat_by_any_place", number(sys!(SYS_shmctl, id & 0x7fff, SHM_STAT_ANY, words.as_mut_ptr())) == id);
    let _ = sys!(SYS_shmctl, id, IPC_SET, &[0u64, 0, 0o600 << 32, 0, 0, 0]);
    t.show(
        "others_stat_by_place",
        as_nobody(|| sys!(SYS_shmctl, id & 0x7fff, SHM_STAT, [0u64; 14].as_mut_ptr())),
    );
    t.show(
        "others_stat_by_any_place",
        as_nobody(|| sys!(SYS_shmctl, id & 0x7fff, SHM_STAT_ANY, [0u64; 14].as_mut_ptr())),
    );
    let mut limits = [0u64; 9];
    t.ok("info", sys!(SYS_shmctl, 0, IPC_INFO, limits.as_mut_ptr()));
    t.show("limits", format!("{limits:?}"));
    t.ok("usage", sys!(SYS_shmctl, 0, SHM_INFO, limits.as_mut_ptr()));
    t.is("usage_counts", limits[0] >= 1 && limits[1] >= 1);
    t.call("info_bad_pointer", sys!(SYS_shmctl, 0, IPC_INFO, 8));
    let _ = sys!(SYS_shmctl, id, IPC_RMID, 0);
}

/// `struct sembuf`
#[derive(Clone, Copy)]
#[repr(C)]
struct Op(u16, i16, i16);

const NOWAIT: i16 = IPC_NOWAIT as i16;
const UNDO: i16 = SEM_UNDO as i16;
const GETPID: i32 = 11;
const GETVAL: i32 = 12;
const GETALL: i32 = 13;
const GETNCNT: i32 = 14;
const GETZCNT: i32 = 15;
const SETVAL: i32 = 16;
const SETALL: i32 = 17;

fn op(id: i32, operations: &[Op]) -> Result<usize, Errno> {
    sys!(SYS_semop, id, operations.as_ptr(), operations.len())
}

fn values(id: i32) -> String {
    let mut values = [0u16; 3];
    let _ = sys!(SYS_semctl, id, 0, GETALL, values.as_mut_ptr());
    format!("{values:?}")
}

fn semaphores(t: &mut Report) {
    t.call("sem_none", sys!(SYS_semget, IPC_PRIVATE, 0, 0o600));
    t.call("sem_negative", sys!(SYS_semget, IPC_PRIVATE, -1, 0o600));
    t.call("sem_too_many", sys!(SYS_semget, IPC_PRIVATE, 32_001, 0o600));
    t.call("sem_unknown_key", sys!(SYS_semget, key(4), 1, 0));
    let id = number(sys!(SYS_semget, key(4), 3, IPC_CREAT | 0o600));
    t.is("sem_same", number(sys!(SYS_semget, key(4), 0, 0)) == id);
    t.call("sem_more", sys!(SYS_semget, key(4), 4, 0));
    t.call("sem_exclusive", sys!(SYS_semget, key(4), 3, IPC_CREAT | IPC_EXCL));
    t.call("op_none", op(id, &[]));
    t.call("op_too_many", op(id, &[Op(0, 1, 0); 501]));
    t.call("op_too_many_bad", sys!(SYS_semop, -1, 8, 501));
    t.call("op_bad_pointer", sys!(SYS_semop, id, 8, 1));
    t.call("op_bad_pointer_and_number", sys!(SYS_semop, -1, 8, 1));
    t.call("op_negative", op(-1, &[Op(0, 1, 0)]));
    t.call("op_unknown", op(0x7fff_0000, &[Op(0, 1, 0)]));
    t.call("op_beyond", op(id, &[Op(0, 1, 0), Op(3, 1, 0)]));
    t.show("op_others", as_nobody(|| op(id, &[Op(0, 1, 0)])));
    t.show("op_others_beyond", as_nobody(|| op(id, &[Op(9, 1, 0)])));
    t.call("op_adds", op(id, &[Op(0, 2, 0), Op(1, 1, 0)]));
    t.call("op_zero_not_yet", op(id, &[Op(0, 0, NOWAIT)]));
    t.call("op_zero", op(id, &[Op(2, 0, 0)]));
    t.call("op_takes", op(id, &[Op(0, -1, 0)]));
    t.call("op_not_all", op(id, &[Op(0, -1, 0), Op(1, -2, NOWAIT)]));
    t.show("op_nothing_done", values(id));
    t.call("op_same_twice", op(id, &[Op(0, -1, 0), Op(0, 0, 0), Op(0, 1, 0)]));
    t.call("op_over", op(id, &[Op(0, 32_767, 0)]));
    t.call("op_at_most", op(id, &[Op(2, 32_767, 0)]));
    t.call("op_over_after_block", op(id, &[Op(1, -5, NOWAIT), Op(2, 1, 0)]));
    t.show("op_values", values(id));
    t.call("timed_bad_time", sys!(SYS_semtimedop, id, &Op(0, -5, 0), 1, &[0i64, 1_000_000_000]));
    t.call("timed_bad_pointer", sys!(SYS_semtimedop, -1, 8, 501, 8));
    t.call("timed_out", sys!(SYS_semtimedop, id, &Op(0, -5, 0), 1, &[0i64, 10_000_000]));
    t.call("timed_zero", sys!(SYS_semtimedop, id, &Op(0, -5, 0), 1, &[0i64, 0]));
    t.call("timed_done", sys!(SYS_semtimedop, id, &Op(0, -1, 0), 1, &[0i64, 0]));
    t.call("sem_remove", sys!(SYS_semctl, id, 0, IPC_RMID));
    t.call("sem_removed", op(id, &[Op(0, 1, 0)]));
}

/// Waits for one operation in another process: 0, or the error number.
fn waits(id: i32, operations: &[Op]) -> i32 {
    let before = sleepers(id);
    let pid = child(|| op(id, operations).map_or_else(|errno| errno.0, |_| 0));
    until_asleep(id, before);
    pid
}

/// How many wait for some semaphore.
fn sleepers(id: i32) -> usize {
    let counts = (0..3).flat_map(|index| [GETNCNT, GETZCNT].map(|what| sys!(SYS_semctl, id, index, what)));
    counts.map(|count| count.unwrap_or(0)).sum()
}

/// Waits until one more waits, for some seconds at the most.
fn until_asleep(id: i32, before: usize) {
    for _ in 0..500 {
        if sleepers(id) > before {
            return;
        }
        sleep_ms(10);
    }
}

fn ended(pid: i32) -> Errno {
    Errno(wait_for(pid).1)
}

fn semaphore_waits(t: &mut Report) {
    let id = number(sys!(SYS_semget, IPC_PRIVATE, 3, 0o600));
    let first = waits(id, &[Op(0, -2, 0)]);
    let second = waits(id, &[Op(0, -1, 0)]);
    let both = waits(id, &[Op(1, -1, 0), Op(0, -1, 0)]);
    let count = |what: i32, index: i32| number(sys!(SYS_semctl, id, index, what));
    t.show("waiting", format!("{} {} {}", count(GETNCNT, 0), count(GETNCNT, 1), count(GETZCNT, 0)));
    t.call("wake_small", op(id, &[Op(0, 1, 0)]));
    t.show("small_woken", ended(second));
    t.show("still_waiting", format!("{} {}", count(GETNCNT, 0), count(GETNCNT, 1)));
    t.call("wake_large", op(id, &[Op(0, 2, 0)]));
    t.show("large_woken", ended(first));
    t.call("wake_half", op(id, &[Op(1, 1, 0)]));
    t.show("blocked_elsewhere", format!("{} {}", count(GETNCNT, 0), count(GETNCNT, 1)));
    t.call("wake_both", op(id, &[Op(0, 1, 0)]));
    t.show("both_woken", ended(both));
    t.show("values_after", values(id));
    let _ = op(id, &[Op(0, 1, 0)]);
    let zero = waits(id, &[Op(0, 0, 0), Op(1, 7, 0)]);
    t.show("waiting_for_zero", format!("{} {}", count(GETZCNT, 0), count(GETNCNT, 0)));
    t.call("to_zero", sys!(SYS_semctl, id, 0, SETVAL, 0));
    t.show("zero_woken", ended(zero));
    t.show("zero_added", values(id));
    let undone = status_of(|| {
        let _ = op(id, &[Op(1, -7, UNDO), Op(2, 4, UNDO), Op(2, 1, 0)]);
        i32::from(values(id) == "[0, 0, 5]")
    });
    t.show("undo_before", undone);
    t.show("undone", values(id));
    let waiter = waits(id, &[Op(1, -8, 0)]);
    let giver = child(|| op(id, &[Op(1, 1, UNDO)]).map_or(1, |_| 0));
    wait_for(giver);
    t.show("undo_after_taken", ended(waiter));
    t.show("undo_below_zero", values(id));
    status_of(|| {
        let _ = op(id, &[Op(2, 5, UNDO)]);
        let _ = sys!(SYS_semctl, id, 2, SETVAL, 9);
        0
    });
    t.show("set_forgets_undo", values(id));
    let before = sleepers(id);
    let interrupted = child(|| {
        // SAFETY: the handler does nothing. It is installed with `SA_RESTART`.
        unsafe { signal(SIGUSR1, ignore as *const () as sighandler_t) };
        op(id, &[Op(0, -1, 0)]).map_or_else(|errno| errno.0, |_| 0)
    });
    until_asleep(id, before);
    let _ = sys!(SYS_kill, interrupted, SIGUSR1);
    t.show("interrupted", ended(interrupted));
    let waiter = waits(id, &[Op(0, -1, 0)]);
    t.call("remove_waited_for", sys!(SYS_semctl, id, 0, IPC_RMID));
    t.show("removed_while_waiting", ended(waiter));
}

extern "C" fn ignore(_: i32) {}

fn semaphore_control(t: &mut Report) {
    let id = number(sys!(SYS_semget, key(5), 3, IPC_CREAT | 0o600));
    t.call("set_all", sys!(SYS_semctl, id, 99, SETALL, &[1u16, 2, 3]));
    t.call("set_all_over", sys!(SYS_semctl, id, 0, SETALL, &[1u16, 40_000, 3]));
    t.call("set_all_bad", sys!(SYS_semctl, id, 0, SETALL, 8));
    t.call("get_all_bad", sys!(SYS_semctl, id, 0, GETALL, 8));
    t.show("all", values(id));
    t.call("value", sys!(SYS_semctl, id, 1, GETVAL));
    t.is("pid", number(sys!(SYS_semctl, id, 1, GETPID)) == std::process::id() as i32);
    t.call("value_beyond", sys!(SYS_semctl, id, 3, GETVAL));
    t.call("value_negative", sys!(SYS_semctl, id, -1, GETVAL));
    t.call("set_beyond", sys!(SYS_semctl, id, 3, SETVAL, 1));
    t.call("set_over", sys!(SYS_semctl, id, 0, SETVAL, 32_768));
    t.call("set_over_unknown", sys!(SYS_semctl, 0x7fff_0000, 0, SETVAL, 32_768));
    t.call("set_negative", sys!(SYS_semctl, id, 9, SETVAL, -1));
    t.call("bad_command", sys!(SYS_semctl, id, 0, 99, 0));
    t.show("others_value", as_nobody(|| sys!(SYS_semctl, id, 9, GETVAL)));
    t.show("others_set", as_nobody(|| sys!(SYS_semctl, id, 0, SETVAL, 1)));
    t.show("others_set_beyond", as_nobody(|| sys!(SYS_semctl, id, 9, SETVAL, 1)));
    t.show("others_remove", as_nobody(|| sys!(SYS_semctl, id, 0, IPC_RMID)));
    let mut words = [0u64; 13];
    t.call("sem_stat", sys!(SYS_semctl, id, 0, IPC_STAT, words.as_mut_ptr()));
    t.show("sem_stat_words", format!("{} {} {:o} {}", words[0] >> 32, words[6], words[2] >> 32, words[10]));
    t.is("sem_stat_changed", words[8] > 1_600_000_000);
    words[2] = 0o664 << 32;
    t.call("sem_set", sys!(SYS_semctl, id, 0, IPC_SET, words.as_mut_ptr()));
    t.show("others_may_read", as_nobody(|| sys!(SYS_semctl, id, 0, GETVAL)));
    t.show("others_may_not_write", as_nobody(|| op(id, &[Op(0, 1, 0)])));
    t.show("others_may_wait_for_zero", as_nobody(|| op(id, &[Op(0, 0, NOWAIT)])));
    let mut limits = [0i32; 10];
    t.ok("sem_info", sys!(SYS_semctl, 0, 0, IPC_INFO, limits.as_mut_ptr()));
    t.show("sem_limits", format!("{limits:?}"));
    t.ok("sem_usage", sys!(SYS_semctl, 0, 0, SEM_INFO, limits.as_mut_ptr()));
    t.is("sem_usage_counts", limits[7] >= 1 && limits[9] >= 3);
    t.is("sem_by_place", number(sys!(SYS_semctl, id & 0x7fff, 0, SEM_STAT, words.as_mut_ptr())) == id);
    let _ = sys!(SYS_semctl, id, 0, IPC_RMID);
}

const SEM_INFO: i32 = 19;
const SEM_STAT: i32 = 18;

/// `struct msgbuf`
#[derive(Clone, Copy)]
#[repr(C)]
struct Message(i64, [u8; 16]);

fn send(id: i32, kind: i64, text: &str, flags: i32) -> Result<usize, Errno> {
    let mut message = Message(kind, [0; 16]);
    message.1[..text.len()].copy_from_slice(text.as_bytes());
    sys!(SYS_msgsnd, id, &message, text.len(), flags)
}

fn receive(id: i32, kind: i64, size: i64, flags: i32) -> String {
    let mut message = Message(0, [b'.'; 16]);
    match sys!(SYS_msgrcv, id, &mut message, size, kind, flags) {
        Ok(length) => format!("{} {}", message.0, String::from_utf8_lossy(&message.1[..=length])),
        Err(errno) => errno.to_string(),
    }
}

fn messages(t: &mut Report) {
    t.call("msg_unknown_key", sys!(SYS_msgget, key(6), 0));
    let id = number(sys!(SYS_msgget, key(6), IPC_CREAT | 0o600));
    t.is("msg_same", number(sys!(SYS_msgget, key(6), 0o600)) == id);
    t.call("msg_exclusive", sys!(SYS_msgget, key(6), IPC_CREAT | IPC_EXCL));
    t.call("send_no_type", send(id, 0, "a", 0));
    t.call("send_negative_type", send(id, -1, "a", 0));
    t.call("send_too_long", sys!(SYS_msgsnd, id, &Message(1, [0; 16]), 8193, 0));
    t.call("send_negative_length", sys!(SYS_msgsnd, id, &Message(1, [0; 16]), -1, 0));
    t.call("send_bad_pointer", sys!(SYS_msgsnd, -1, 8, -1, 0));
    t.call("send_negative", send(-1, 1, "a", 0));
    t.call("send_unknown", send(0x7fff_0000, 1, "a", 0));
    t.show("send_others", as_nobody(|| send(id, 1, "a", 0)));
    t.show("receive_others", as_nobody(|| sys!(SYS_msgrcv, id, [0u64; 3].as_mut_ptr(), 8, 0, IPC_NOWAIT)));
    t.show("receive_none", receive(id, 0, 8, IPC_NOWAIT));
    t.show("receive_negative_length", receive(id, 0, -1, IPC_NOWAIT));
    t.show("receive_negative", receive(-1, 0, 8, IPC_NOWAIT));
    t.show("receive_unknown", receive(0x7fff_0000, 0, 8, IPC_NOWAIT));
    for (kind, text) in [(4, "four"), (2, "two"), (9, "nine"), (2, "second"), (1, ""), (7, "seven")] {
        t.call("send", send(id, kind, text, 0));
    }
    t.show("receive_copy", receive(id, 2, 16, MSG_COPY | IPC_NOWAIT));
    t.show("receive_copy_short", receive(id, 2, 2, MSG_COPY | IPC_NOWAIT));
    t.show("receive_copy_cut", receive(id, 2, 2, MSG_COPY | IPC_NOWAIT | MSG_NOERROR));
    t.show("receive_copy_none", receive(id, 6, 16, MSG_COPY | IPC_NOWAIT));
    t.show("receive_copy_waiting", receive(id, 0, 16, MSG_COPY));
    t.show("receive_copy_except", receive(id, 0, 16, MSG_COPY | MSG_EXCEPT | IPC_NOWAIT));
    t.show("receive_short", receive(id, 0, 3, 0));
    t.show("receive_cut", receive(id, 0, 3, MSG_NOERROR));
    t.show("receive_type", receive(id, 9, 15, 0));
    t.show("receive_no_such_type", receive(id, 9, 15, IPC_NOWAIT));
    t.show("receive_up_to", receive(id, -8, 15, 0));
    t.show("receive_up_to_again", receive(id, -8, 15, 0));
    t.show("receive_up_to_none", receive(id, -1, 15, IPC_NOWAIT));
    t.show("receive_except", receive(id, 2, 15, MSG_EXCEPT));
    t.show("receive_up_to_least", receive(id, i64::MIN, 15, IPC_NOWAIT));
    t.show("receive_empty", receive(id, 0, 15, IPC_NOWAIT));
    for number in 0..2 {
        let _ = sys!(SYS_msgsnd, id, [1u64; 1025].as_ptr(), 8192, 0);
        t.call("fill", send(id, number + 1, "", IPC_NOWAIT));
    }
    t.call("full", send(id, 1, "a", IPC_NOWAIT));
    t.call("full_but_nothing", send(id, 1, "", IPC_NOWAIT));
    t.call("remove_queue", sys!(SYS_msgctl, id, IPC_RMID, 0));
    t.call("removed_queue", send(id, 1, "a", 0));
}

const MSG_EXCEPT: i32 = 0o20_000;
const MSG_COPY: i32 = 0o40_000;
const MSG_NOERROR: i32 = 0o10_000;

fn message_waits(t: &mut Report) {
    let id = number(sys!(SYS_msgget, IPC_PRIVATE, 0o600));
    let waits = |kind: i64, size: i64| {
        let pid = child(|| {
            let text = receive(id, kind, size, 0);
            if text == "E2BIG" { 99 } else { i32::from(text.as_bytes()[0]) }
        });
        until_child_sleeps(pid);
        pid
    };
    let three = waits(3, 15);
    let any = waits(0, 15);
    t.call("send_to_any", send(id, 5, "x", 0));
    t.show("any_got", wait_for(any).1);
    t.call("send_to_three", send(id, 3, "y", 0));
    t.show("three_got", wait_for(three).1);
    let small = waits(0, 1);
    t.call("send_large", send(id, 4, "large", 0));
    t.show("small_got", wait_for(small).1);
    t.show("large_stays", receive(id, 0, 15, IPC_NOWAIT));
    let mut words = [0u64; 15];
    let _ = sys!(SYS_msgctl, id, IPC_STAT, words.as_mut_ptr());
    words[11] = 4;
    t.call("shrink", sys!(SYS_msgctl, id, IPC_SET, words.as_mut_ptr()));
    t.call("fill_small", send(id, 1, "abcd", IPC_NOWAIT));
    let sender = child(|| send(id, 2, "more", 0).map_or(1, |_| 0));
    until_child_sleeps(sender);
    t.show("make_room", receive(id, 0, 15, 0));
    t.show("sender_went_on", wait_for(sender).1);
    t.show("sent_then", receive(id, 0, 15, 0));
    let reader = waits(0, 15);
    t.call("remove_read_queue", sys!(SYS_msgctl, id, IPC_RMID, 0));
    t.show("reader_told", wait_for(reader).1);
}

fn message_control(t: &mut Report) {
    let id = number(sys!(SYS_msgget, key(7), IPC_CREAT | 0o640));
    let _ = send(id, 1, "four", 0);
    let _ = send(id, 1, "", 0);
    let mut words = [0u64; 15];
    t.call("msg_stat", sys!(SYS_msgctl, id, IPC_STAT, words.as_mut_ptr()));
    t.show("msg_stat_words", format!("{} {} {} {:o}", words[9], words[10], words[11], words[2] >> 32));
    t.is("msg_stat_sender", words[12] as u32 == std::process::id());
    t.show("msg_stat_reader", words[12] >> 32);
    t.show("msg_stat_times", format!("{} {} {}", words[6] > 0, words[7], words[8] > 0));
    words[11] = 10_000;
    t.call("msg_set", sys!(SYS_msgctl, id, IPC_SET, words.as_mut_ptr()));
    words[0] = 65534 << 32;
    t.call("msg_give_away", sys!(SYS_msgctl, id, IPC_SET, words.as_mut_ptr()));
    words[11] = 20_000;
    t.show("owner_beyond_limit", as_nobody(|| sys!(SYS_msgctl, id, IPC_SET, words.as_mut_ptr())));
    words[11] = 16_384;
    t.show("owner_at_limit", as_nobody(|| sys!(SYS_msgctl, id, IPC_SET, words.as_mut_ptr())));
    let mut limits = [0i32; 8];
    t.ok("msg_info", sys!(SYS_msgctl, 0, IPC_INFO, limits.as_mut_ptr()));
    t.show("msg_limits", format!("{:?} {}", &limits[..7], limits[7] & 0xffff));
    t.ok("msg_usage", sys!(SYS_msgctl, 0, MSG_INFO, limits.as_mut_ptr()));
    t.is("msg_usage_counts", limits[0] >= 1 && limits[1] >= 2 && limits[6] >= 4);
    t.is("msg_by_place", number(sys!(SYS_msgctl, id & 0x7fff, MSG_STAT, words.as_mut_ptr())) == id);
    t.call("msg_bad_command", sys!(SYS_msgctl, id, 99, 0));
    t.call("msg_bad_pointer", sys!(SYS_msgctl, id, IPC_STAT, 8));
    t.call("msg_remove", sys!(SYS_msgctl, id, IPC_RMID, 0));
}

const MSG_INFO: i32 = 12;
const MSG_STAT: i32 = 11;

/// What `/proc` tells.
fn listings(t: &mut Report) {
    let shm = number(sys!(SYS_shmget, IPC_PRIVATE, 8192, 0o600));
    let sem = number(sys!(SYS_semget, IPC_PRIVATE, 2, 0o640));
    let msg = number(sys!(SYS_msgget, IPC_PRIVATE, 0o604));
    for (name, id) in [("shm", shm), ("sem", sem), ("msg", msg)] {
        let text = get(&format!("/proc/sysvipc/{name}"));
        t.show(&format!("{name}_header"), text.lines().next().unwrap_or_default());
        let id = id.to_string();
        let line =
            text.lines().find(|line| line.split_ascii_whitespace().nth(1) == Some(&id)).unwrap_or_default();
        let words: Vec<_> = line.split_ascii_whitespace().collect();
        t.show(&format!("{name}_line"), format!("{} {} {}", line.len() >= 75, words[2], words[3]));
    }
    for name in ["shmmax", "shmall", "shmmni", "sem", "msgmax", "msgmnb", "msgmni"] {
        t.show(name, get(&format!("/proc/sys/kernel/{name}")).trim_end());
    }
    let _ = sys!(SYS_shmctl, shm, IPC_RMID, 0);
    let _ = sys!(SYS_semctl, sem, 0, IPC_RMID);
    let _ = sys!(SYS_msgctl, msg, IPC_RMID, 0);
}
