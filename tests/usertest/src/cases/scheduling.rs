//! How threads want to be scheduled, and what one process may know of another.

use libc::*;

use super::helpers::{NOWHERE, child, close, get, leave, pipe, sleep_ms, status_of, wait_for};
use crate::report::Report;
use crate::sys::{self, Errno};

/// Runs the group.
pub fn run(t: &mut Report) {
    policies(t);
    attributes(t);
    rights(t);
    transfers(t);
    personalities(t);
    memory_of_others(t);
    comparing(t);
    barriers(t);
    nodes(t);
}

fn become_nobody() {
    let _ = sys!(SYS_setgroups, 0, 0);
    let _ = sys!(SYS_setresgid, 65534, 65534, 65534);
    let _ = sys!(SYS_setresuid, 65534, 65534, 65534);
}

fn set(policy: i32, priority: i32) -> Result<usize, Errno> {
    sys!(SYS_sched_setscheduler, 0, policy, &priority)
}

fn now() -> String {
    let mut priority = -1;
    let policy = sys!(SYS_sched_getscheduler, 0).unwrap_or(999);
    let _ = sys!(SYS_sched_getparam, 0, &mut priority);
    format!("{policy:x} {priority}")
}

fn policies(t: &mut Report) {
    t.show("usual", now());
    t.call("set_negative", set(-1, 0));
    t.call("set_no_param", sys!(SYS_sched_setscheduler, 0, SCHED_FIFO, 0));
    t.call("set_bad_param", sys!(SYS_sched_setscheduler, 99_999, SCHED_FIFO, 8));
    t.call("set_negative_pid", sys!(SYS_sched_setscheduler, -1, SCHED_FIFO, 8));
    t.call("set_nobody", sys!(SYS_sched_setscheduler, 99_999, SCHED_FIFO, &1));
    t.call("set_unknown", set(4, 0));
    t.call("set_other_with_priority", set(SCHED_OTHER, 1));
    t.call("set_fifo_without", set(SCHED_FIFO, 0));
    t.call("set_fifo_too_high", set(SCHED_FIFO, 100));
    t.call("set_fifo_negative", set(SCHED_FIFO, -1));
    t.call("set_deadline", set(6, 0));
    t.call("set_batch", set(SCHED_BATCH, 0));
    t.show("batch", now());
    t.call("set_idle", set(SCHED_IDLE, 0));
    t.show("idle", now());
    t.call("set_fifo", set(SCHED_FIFO, 7));
    t.show("fifo", now());
    t.call("param", sys!(SYS_sched_setparam, 0, &9));
    t.show("param_set", now());
    t.call("param_zero", sys!(SYS_sched_setparam, 0, &0));
    t.call("param_null", sys!(SYS_sched_setparam, 0, 0));
    t.call("param_get_null", sys!(SYS_sched_getparam, 0, 0));
    t.call("param_get_bad", sys!(SYS_sched_getparam, 0, 8));
    t.call("param_get_bad_nobody", sys!(SYS_sched_getparam, 99_999, 8));
    t.call("get_negative", sys!(SYS_sched_getscheduler, -1));
    t.call("get_nobody", sys!(SYS_sched_getscheduler, 99_999));
    let mut turn = [7i64, 7];
    t.call("turn_fifo", sys!(SYS_sched_rr_get_interval, 0, &mut turn));
    t.show("turn_fifo_time", format!("{turn:?}"));
    t.call("set_round_robin", set(SCHED_RR | 0x4000_0000, 3));
    t.show("round_robin", now());
    t.call("turn", sys!(SYS_sched_rr_get_interval, 0, &mut turn));
    t.show("turn_time", format!("{turn:?}"));
    t.call("turn_bad", sys!(SYS_sched_rr_get_interval, 0, 8));
    t.call("turn_negative", sys!(SYS_sched_rr_get_interval, -1, 8));
    t.call("turn_nobody", sys!(SYS_sched_rr_get_interval, 99_999, 8));
    t.show("not_inherited", status_of(|| i32::from(now() == "0 0")));
    t.show("thread_not_inherited", std::thread::spawn(now).join().expect("a thread"));
    let _ = set(SCHED_RR, 3);
    t.show("inherited", status_of(|| i32::from(now() == "2 3")));
    let _ = set(SCHED_OTHER, 0);
    for policy in [0, 1, 2, 3, 4, 5, 6, 99, -1] {
        let [most, least] =
            [sys!(SYS_sched_get_priority_max, policy), sys!(SYS_sched_get_priority_min, policy)];
        t.call("most", most);
        t.call("least", least);
    }
}

/// `struct sched_attr`
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct Attributes {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    times: [u64; 3],
    more: [u32; 6],
}

const PLAIN: Attributes =
    Attributes { size: 56, policy: 0, flags: 0, nice: 0, priority: 0, times: [0; 3], more: [0; 6] };

fn set_attributes(attributes: Attributes) -> Result<usize, Errno> {
    sys!(SYS_sched_setattr, 0, &attributes, 0)
}

fn attributes(t: &mut Report) {
    let found = || {
        let mut found = PLAIN;
        let result = sys!(SYS_sched_getattr, 0, &mut found, 56, 0);
        format!(
            "{result:?} {} {} {} {} {}",
            found.size, found.policy, found.flags, found.nice, found.priority
        )
    };
    t.show("attributes", found());
    t.call("attributes_null", sys!(SYS_sched_getattr, 0, 0, 56, 0));
    t.call("attributes_small", sys!(SYS_sched_getattr, 0, &mut PLAIN.clone(), 47, 0));
    t.call("attributes_first", sys!(SYS_sched_getattr, 0, &mut PLAIN.clone(), 48, 0));
    t.call("attributes_large", sys!(SYS_sched_getattr, 0, &mut PLAIN.clone(), 4097, 0));
    t.call("attributes_flags", sys!(SYS_sched_getattr, 0, &mut PLAIN.clone(), 56, 1));
    t.call("attributes_negative", sys!(SYS_sched_getattr, -1, &mut PLAIN.clone(), 56, 0));
    t.call("attributes_nobody", sys!(SYS_sched_getattr, 99_999, &mut PLAIN.clone(), 56, 0));
    t.call("attributes_bad", sys!(SYS_sched_getattr, 0, 8, 56, 0));
    t.call("set_attributes_null", sys!(SYS_sched_setattr, 0, 0, 0));
    t.call("set_attributes_bad", sys!(SYS_sched_setattr, 0, 8, 0));
    t.call("set_attributes_flags", sys!(SYS_sched_setattr, 0, 8, 1));
    t.call("set_attributes_nobody", sys!(SYS_sched_setattr, 99_999, &PLAIN, 0));
    t.call("set_attributes_no_size", set_attributes(Attributes { size: 0, ..PLAIN }));
    let small = Attributes { size: 47, ..PLAIN };
    t.call("set_attributes_small", sys!(SYS_sched_setattr, 0, &small, 0));
    // SAFETY: the kernel has written to it.
    t.show("size_told", unsafe { std::ptr::from_ref(&small.size).read_volatile() });
    t.call("set_attributes_newer", set_attributes(Attributes { size: 64, ..PLAIN }));
    t.call("set_attributes_more", set_attributes(Attributes { size: 64, more: [0, 0, 1, 0, 0, 0], ..PLAIN }));
    t.call("set_attributes_unknown_flag", set_attributes(Attributes { flags: 0x80, ..PLAIN }));
    t.call("set_attributes_utilization", set_attributes(Attributes { flags: 0x20, ..PLAIN }));
    t.call("set_attributes_negative", set_attributes(Attributes { policy: 0x8000_0000, ..PLAIN }));
    t.call("set_attributes_nice", set_attributes(Attributes { nice: 7, ..PLAIN }));
    t.show("nice", found());
    t.call("nice_seen", sys!(SYS_getpriority, PRIO_PROCESS, 0));
    t.call("set_attributes_nicest", set_attributes(Attributes { nice: 99, policy: 3, ..PLAIN }));
    t.show("nicest", found());
    t.call("set_attributes_fifo", set_attributes(Attributes { policy: 1, priority: 5, flags: 1, ..PLAIN }));
    t.show("fifo_attributes", found());
    t.call("keep_policy", set_attributes(Attributes { priority: 6, flags: 8, ..PLAIN }));
    t.show("kept_policy", found());
    t.call("keep_all", set_attributes(Attributes { flags: 0x18, ..PLAIN }));
    t.show("kept_all", found());
    for (case, times) in [
        ("deadline_none", [0, 0, 0]),
        ("deadline_short", [1000, 1_000_000, 1_000_000]),
        ("deadline_order", [2_000_000, 1_000_000, 1_000_000]),
        ("deadline_period", [1_000_000, 3_000_000, 2_000_000]),
        ("deadline_often", [1024, 2000, 2000]),
    ] {
        t.call(case, set_attributes(Attributes { policy: 6, times, ..PLAIN }));
    }
    let _ = set_attributes(PLAIN);
}

/// What a process without rights may do, from a state that the superuser made.
fn rights(t: &mut Report) {
    let mut ask =
        |case: &str, limits: [u64; 2], before: &dyn Fn(), act: &dyn Fn() -> Result<usize, Errno>| {
            let status = status_of(|| {
                for (resource, limit) in [(RLIMIT_RTPRIO, limits[0]), (RLIMIT_NICE, limits[1])] {
                    let _ = sys!(SYS_setrlimit, resource, &[limit, limit]);
                }
                before();
                become_nobody();
                act().map_or_else(|errno| errno.0, |_| 0)
            });
            t.show(case, Errno(status));
        };
    let nothing = || {};
    ask("fifo_refused", [0, 0], &nothing, &|| set(SCHED_FIFO, 1));
    ask("fifo_wrong_first", [0, 0], &nothing, &|| set(SCHED_FIFO, 100));
    ask("fifo_over_limit", [5, 0], &nothing, &|| set(SCHED_FIFO, 6));
    ask("batch_allowed", [0, 0], &nothing, &|| set(SCHED_BATCH, 0));
    ask("idle_allowed", [0, 0], &nothing, &|| set(SCHED_IDLE, 0));
    let idle = || {
        let _ = set(SCHED_IDLE, 0);
    };
    ask("out_of_idle", [0, 0], &idle, &|| set(SCHED_OTHER, 0));
    let real_time = || {
        let _ = set(SCHED_FIFO, 9);
    };
    ask("less", [0, 0], &real_time, &|| set(SCHED_FIFO, 8));
    ask("more", [0, 0], &real_time, &|| set(SCHED_FIFO, 10));
    ask("turns", [0, 0], &real_time, &|| set(SCHED_RR, 1));
    ask("back", [0, 0], &real_time, &|| set(SCHED_OTHER, 0));
    let reset = || {
        let _ = set(SCHED_BATCH | 0x4000_0000, 0);
    };
    ask("reset_given_up", [0, 0], &reset, &|| set(SCHED_BATCH, 0));
    ask("reset_kept", [0, 0], &reset, &|| set(SCHED_BATCH | 0x4000_0000, 0));
    ask("nicer", [0, 0], &nothing, &|| set_attributes(Attributes { nice: 5, ..PLAIN }));
    ask("less_nice", [0, 0], &nothing, &|| set_attributes(Attributes { nice: -1, ..PLAIN }));
    ask("deadline_refused", [9, 40], &nothing, &|| {
        set_attributes(Attributes { policy: 6, times: [1_000_000, 2_000_000, 2_000_000], ..PLAIN })
    });
    let parent = sys!(SYS_getpid).expect("an id");
    ask("of_others", [9, 40], &nothing, &|| sys!(SYS_sched_setscheduler, parent, SCHED_BATCH, &0));
    ask("of_others_get", [0, 0], &nothing, &|| sys!(SYS_sched_getscheduler, parent));
}

fn transfers(t: &mut Report) {
    let set = |value: i32| sys!(SYS_ioprio_set, 1, 0, value);
    t.call("transfers", sys!(SYS_ioprio_get, 1, 0));
    t.call("transfers_bad_kind", sys!(SYS_ioprio_get, 0, 0));
    t.call("transfers_bad_kind_too", sys!(SYS_ioprio_get, 4, 0));
    t.call("transfers_nobody", sys!(SYS_ioprio_get, 1, 99_999));
    for (case, value) in [
        ("level_without_class", 1),
        ("best_effort", 2 << 13 | 3),
        ("idle_class", 3 << 13),
        ("idle_level", 3 << 13 | 4),
        ("class_4", 4 << 13),
        ("class_7", 7 << 13),
        ("class_negative", -1),
        ("real_time", 1 << 13 | 2),
    ] {
        t.call(case, set(value));
        t.call("now", sys!(SYS_ioprio_get, 1, 0));
    }
    t.call("set_bad_kind", sys!(SYS_ioprio_set, 9, 0, 0));
    t.call("set_bad_kind_and_class", sys!(SYS_ioprio_set, 9, 0, 7 << 13));
    t.call("set_nobody_transfers", sys!(SYS_ioprio_set, 1, 99_999, 0));
    t.show("inherited_transfers", status_of(|| i32::from(sys!(SYS_ioprio_get, 1, 0) == Ok(1 << 13 | 2))));
    let refused = status_of(|| {
        become_nobody();
        set(1 << 13).map_or_else(|errno| errno.0, |_| 0)
    });
    t.show("real_time_refused", Errno(refused));
    let parent = sys!(SYS_getpid).expect("an id");
    let refused = status_of(|| {
        become_nobody();
        sys!(SYS_ioprio_set, 1, parent, 2 << 13).map_or_else(|errno| errno.0, |_| 0)
    });
    t.show("others_refused", Errno(refused));
    t.call("set_back", set(0));
    let group = status_of(|| {
        let _ = sys!(SYS_setpgid, 0, 0);
        let _ = sys!(SYS_setpriority, PRIO_PROCESS, 0, 7);
        i32::from(sys!(SYS_ioprio_get, 2, 0) == Ok(2 << 13 | 5))
    });
    t.show("group_by_nice", group);
}

fn personalities(t: &mut Report) {
    t.call("personality", sys!(SYS_personality, 0xffff_ffffu32));
    t.call("personality_set", sys!(SYS_personality, 0x004_0000));
    t.call("personality_now", sys!(SYS_personality, 0xffff_ffffu32));
    t.show("personality_shown", get("/proc/self/personality").trim_end());
    t.call(
        "personality_inherited",
        Ok(status_of(|| i32::from(sys!(SYS_personality, 0xffff_ffffu32) == Ok(0x004_0000))) as usize),
    );
    t.call("personality_32", sys!(SYS_personality, 8));
    let mut names = sys::zeroed::<utsname>();
    let _ = sys!(SYS_uname, &mut names);
    t.show(
        "machine",
        names.machine.iter().take(4).map(|byte| char::from(byte.cast_unsigned())).collect::<String>(),
    );
    t.call("personality_executable", sys!(SYS_personality, 0x040_0000));
    let at = sys!(SYS_mmap, 0, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0).expect("memory");
    let rights = || {
        let maps = get("/proc/self/maps");
        let line = maps.lines().find(|line| {
            let range = line.split(' ').next().unwrap_or_default().split_once('-').unwrap_or_default();
            let number = |text| usize::from_str_radix(text, 16).unwrap_or(0);
            (number(range.0)..number(range.1)).contains(&at)
        });
        line.unwrap_or_default().split(' ').nth(1).unwrap_or_default().to_string()
    };
    t.show("mapped_executable", rights());
    let _ = sys!(SYS_personality, 0);
    t.call("protect", sys!(SYS_mprotect, at, 4096, PROT_READ));
    t.show("mapped_readable", rights());
    let _ = sys!(SYS_munmap, at, 4096);
    t.call("personality_back", sys!(SYS_personality, 0));
}

fn memory_of_others(t: &mut Report) {
    let mut other = vec![1u8; 10_000];
    let from = other.as_mut_ptr() as usize;
    let mut own = vec![0u8; 10_000];
    let to = own.as_mut_ptr() as usize;
    let [ready, tell] = pipe();
    let pid = child(|| {
        // SAFETY: the child's copy of the bytes, which nobody else uses.
        unsafe { std::slice::from_raw_parts_mut(from as *mut u8, 10_000) }.fill(7);
        let _ = sys!(SYS_write, tell, c"x".as_ptr(), 1);
        for _ in 0..500 {
            sleep_ms(20);
            // SAFETY: as above.
            if unsafe { (from as *const u8).add(5000).read_volatile() } == 9 {
                leave(3);
            }
        }
        4
    });
    let _ = sys!(SYS_read, ready, &mut [0u8; 1], 1);
    close(ready);
    close(tell);
    let read = |local: &[[usize; 2]], remote: &[[usize; 2]]| {
        sys!(SYS_process_vm_readv, pid, local.as_ptr(), local.len(), remote.as_ptr(), remote.len(), 0)
    };
    t.call("vm_read", read(&[[to, 10_000]], &[[from, 10_000]]));
    t.is("vm_read_bytes", own.iter().all(|byte| *byte == 7));
    t.call("vm_read_pieces", read(&[[to, 5], [to + 50, 100]], &[[from, 60], [from + 4090, 20]]));
    t.call("vm_read_less", read(&[[to, 10]], &[[from, 60]]));
    t.call("vm_read_nothing", read(&[[to, 0]], &[[8, 60]]));
    t.call("vm_read_from_nothing", read(&[[to, 10]], &[[8, 0]]));
    t.call("vm_read_nowhere", read(&[[to, 10]], &[[8, 10]]));
    t.call("vm_read_then_nowhere", read(&[[to, 100]], &[[from, 10], [8, 10]]));
    t.call("vm_read_to_nowhere", read(&[[8, 10]], &[[from, 10]]));
    t.call("vm_read_negative", read(&[[to, usize::MAX]], &[[from, 10]]));
    t.call("vm_read_from_negative", read(&[[to, 10]], &[[from, usize::MAX]]));
    t.call("vm_read_kernel", read(&[[to, 10]], &[[usize::MAX - 20, 10]]));
    t.call("vm_flags", sys!(SYS_process_vm_readv, pid, 8, 1, 8, 1, 1));
    t.call("vm_many", sys!(SYS_process_vm_readv, pid, 8, 1025, 8, 1, 0));
    t.call("vm_bad_list", sys!(SYS_process_vm_readv, 99_999, 8, 1, 8, 1, 0));
    let list = [[to, 10usize]];
    t.call("vm_bad_remote_list", sys!(SYS_process_vm_readv, 99_999, list.as_ptr(), 1, 8, 1, 0));
    t.call("vm_many_remote", sys!(SYS_process_vm_readv, 99_999, list.as_ptr(), 1, 8, 1025, 0));
    t.call("vm_nobody", sys!(SYS_process_vm_readv, 99_999, list.as_ptr(), 1, list.as_ptr(), 1, 0));
    let refused = status_of(|| {
        become_nobody();
        read(&[[to, 10]], &[[from, 10]]).map_or_else(|errno| errno.0, |_| 0)
    });
    t.show("vm_others", Errno(refused));
    let constant = b"constant".as_ptr() as usize;
    let write = |remote: &[[usize; 2]]| {
        sys!(SYS_process_vm_writev, pid, &[to, 4], 1, remote.as_ptr(), remote.len(), 0)
    };
    t.call("vm_write_constant", write(&[[constant, 4]]));
    own.fill(9);
    t.call("vm_write", write(&[[from + 4998, 4]]));
    t.show("vm_written", wait_for(pid).1);
    t.show("own_unchanged", other[5000]);
    t.call("vm_ended", read(&[[to, 10]], &[[from, 10]]));
    let own_pid = sys!(SYS_getpid).expect("an id");
    t.call("vm_own", sys!(SYS_process_vm_readv, own_pid, &[to, 4], 1, &[from, 4], 1, 0));
    t.show("vm_own_byte", own[0]);
}

/// What an epoll watches, with a descriptor that is a copy of standard output and no longer what it was when it was added.
fn epoll_targets(t: &mut Report, own: usize, copy: i32) {
    let epoll = sys!(SYS_epoll_create1, 0).expect("an epoll") as i32;
    let [read, write] = pipe();
    let event = [EPOLLIN as u32, 0, 0];
    let _ = sys!(SYS_epoll_ctl, epoll, EPOLL_CTL_ADD, read, &event);
    let compare = |file: i32, slot: [i32; 3]| sys!(SYS_kcmp, own, own, 7, file, &slot);
    t.call("kcmp_epoll", compare(read, [epoll, read, 0]));
    t.is("kcmp_epoll_other", matches!(compare(write, [epoll, read, 0]), Ok(1 | 2)));
    t.call("kcmp_epoll_unwatched", compare(read, [epoll, write, 0]));
    t.call("kcmp_epoll_second", compare(read, [epoll, read, 1]));
    t.call("kcmp_epoll_closed", compare(read, [999, read, 0]));
    t.call("kcmp_epoll_none", compare(read, [read, read, 0]));
    t.call("kcmp_epoll_closed_file", compare(999, [epoll, read, 0]));
    t.call("kcmp_epoll_nowhere", sys!(SYS_kcmp, own, own, 7, read, NOWHERE));
    // The number is another file's by now, and the first one is open under another number.
    let again = sys!(SYS_dup, read).expect("a descriptor") as i32;
    let _ = sys!(SYS_dup2, copy, read);
    t.call("kcmp_epoll_moved", compare(again, [epoll, read, 0]));
    close(again);
    t.call("kcmp_epoll_gone", compare(write, [epoll, read, 0]));
    [epoll, read, write].into_iter().for_each(close);
}

fn comparing(t: &mut Report) {
    let own = sys!(SYS_getpid).expect("an id");
    let other = child(|| {
        sleep_ms(300);
        0
    });
    let compare = |a: usize, b: usize, kind: i32, x: i32, y: i32| sys!(SYS_kcmp, a, b, kind, x, y);
    let second = other as usize;
    for kind in 1..=6 {
        t.call("kcmp_itself", compare(own, own, kind, 0, 0));
        // Of the last two, some have none, which is the same.
        if kind > 4 {
            continue;
        }
        let (there, back) = (compare(own, second, kind, 0, 0), compare(second, own, kind, 0, 0));
        let same = there == Ok(0) && back == Ok(0);
        let ordered = matches!((there, back), (Ok(1), Ok(2)) | (Ok(2), Ok(1)));
        t.show(
            "kcmp_child",
            if same {
                "same"
            } else if ordered {
                "ordered"
            } else {
                "wrong"
            },
        );
    }
    let copy = sys!(SYS_dup, 1).expect("a descriptor") as i32;
    t.call("kcmp_file", compare(own, second, 0, 1, 1));
    t.call("kcmp_copy", compare(own, own, 0, 1, copy));
    t.call("kcmp_closed", compare(own, second, 0, 1, 99));
    epoll_targets(t, own, copy);
    let _ = sys!(SYS_close, copy);
    t.call("kcmp_bad_kind", compare(own, own, 8, 0, 0));
    t.call("kcmp_bad_kind_nobody", compare(own, 99_999, 8, 0, 0));
    let refused = status_of(|| {
        become_nobody();
        compare(own, own, 8, 0, 0).map_or_else(|errno| errno.0, |_| 0)
    });
    t.show("kcmp_others", Errno(refused));
    wait_for(other);
}

fn barriers(t: &mut Report) {
    let barrier = |command: i32, flags: u32| sys!(SYS_membarrier, command, flags, 0);
    t.is("barriers", barrier(0, 0).is_ok_and(|found| found & 0x7f == 0x7f));
    for command in [1, 2, 8, 32, 512, 3, 1024, -1] {
        t.call("barrier", barrier(command, 0));
    }
    for command in [0, 1, 4, 8, 512] {
        t.call("barrier_flag", barrier(command, 1));
    }
    for command in [4, 16, 512, 8, 32, 64, 32, 512] {
        t.call("barrier_registered", barrier(command, 0));
    }
    t.call("barrier_of_sequences_unregistered", barrier(128, 0));
    t.call("barrier_of_sequences_register_flag", barrier(256, 1));
    t.call("barrier_of_sequences_register", barrier(256, 0));
    for flags in [0, 1, 2] {
        t.call("barrier_of_sequences", barrier(128, flags));
    }
    t.call("barrier_of_sequences_registered", barrier(512, 0));
    t.show("barrier_child", status_of(|| i32::from(barrier(8, 0) == Ok(0))));
}

/// Policies of memory, where there is one node.
fn nodes(t: &mut Report) {
    let set = |mode: u32, mask: u64, count: usize| sys!(SYS_set_mempolicy, mode, &mask, count);
    let told = |flags: u32, address: usize| {
        let (mut mode, mut mask) = (99u32, [99u64, 99]);
        match sys!(SYS_get_mempolicy, &mut mode, &mut mask, 128, address, flags) {
            Ok(_) => format!("{mode:x} {mask:?}"),
            Err(errno) => errno.to_string(),
        }
    };
    t.show("policy", told(0, 0));
    t.show("policy_allowed", told(4, 0));
    for mode in [0, 1, 2, 3, 4, 5, 7, 0x8001, 0xc001, 0x2002, 0x2003, 0x4002] {
        for mask in [0, 1, 2, 3] {
            t.call("policy_set", set(mode, mask, 64));
            t.show("policy_told", told(0, 0));
        }
    }
    t.call("policy_none", sys!(SYS_set_mempolicy, 2, 0, 64));
    t.call("policy_bad", sys!(SYS_set_mempolicy, 2, 8, 64));
    t.call("policy_few_bits", set(2, 3, 2));
    t.call("policy_no_bits", set(2, 1, 1));
    t.call("policy_many_bits", set(2, 1, 1 << 20));
    t.call("policy_interleave", set(3, 1, 64));
    t.show("policy_next_node", told(1, 0));
    t.show("policy_inherited", status_of(|| i32::from(told(0, 0) == "3 [1, 0]")));
    let at =
        sys!(SYS_mmap, 0, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0).expect("memory");
    t.show("policy_of_page", told(2, at));
    t.show("node_of_page", told(3, at));
    t.show("policy_of_nothing", told(2, 8));
    t.show("policy_of_address", told(0, at));
    t.show("policy_bad_flag", told(8, 0));
    t.show("policy_allowed_node", told(5, 0));
    t.call("policy_no_room", sys!(SYS_get_mempolicy, 0, &mut [0u64], 0, 0, 0));
    t.call("policy_bad_place", sys!(SYS_get_mempolicy, 8, 0, 0, 0, 0));
    t.call("policy_default", set(0, 0, 0));
    t.show("policy_next_of_default", told(1, 0));
    let bind = |start: usize, length: usize, mode: u32, flags: u32| {
        sys!(SYS_mbind, start, length, mode, &1u64, 64, flags)
    };
    t.call("range", bind(at, 8192, 2, 0));
    t.call("range_part", bind(at + 1, 8192, 2, 0));
    t.call("range_none", bind(at, 0, 2, 0));
    t.call("range_hole", bind(0x1000, 4096, 2, 0));
    t.call("range_bad_mode", bind(at, 4096, 9, 0));
    t.call("range_bad_flag", bind(at, 4096, 2, 8));
    t.call("range_default_nodes", bind(at, 4096, 0, 0));
    let (mut status, pages) = ([9i32; 3], [at, at + 4096, 0x1000]);
    // SAFETY: the page was mapped above.
    unsafe { (at as *mut u8).write_volatile(1) };
    t.call("where", sys!(SYS_move_pages, 0, 3, &pages, 0, &mut status, 0));
    t.show("where_status", format!("{status:?}"));
    t.call("move", sys!(SYS_move_pages, 0, 1, &pages, &[0i32], &mut status, 2));
    t.call("move_nowhere", sys!(SYS_move_pages, 0, 1, &pages, &[5000i32], &mut status, 2));
    t.call("move_bad_flag", sys!(SYS_move_pages, 0, 1, &pages, 0, &mut status, 9));
    t.call("move_nobody", sys!(SYS_move_pages, 99_999, 1, &pages, 0, &mut status, 0));
    t.call("move_bad_pages", sys!(SYS_move_pages, 0, 1, 8, 0, &mut status, 0));
    t.call("migrate", sys!(SYS_migrate_pages, 0, 64, &1u64, &1u64));
    t.call("migrate_nowhere", sys!(SYS_migrate_pages, 0, 64, &1u64, &2u64));
    t.call("migrate_nobody", sys!(SYS_migrate_pages, 99_999, 64, &1u64, &1u64));
    let _ = sys!(SYS_munmap, at, 8192);
}
