//! Threads: identity, what they share, how they end.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Barrier, Condvar, Mutex, mpsc};

use libc::*;

use super::helpers::{NOWHERE, join_all, now};
use crate::report::Report;

/// Runs the group.
pub fn run(t: &mut Report) {
    identity(t);
    sharing(t);
    synchronisation(t);
    naming(t);
    raw_clone(t);
    bad_clones(t);
    ending(t);
}

fn identity(t: &mut Report) {
    let pid = sys!(SYS_getpid);
    t.is("main_tid_is_pid", sys!(SYS_gettid) == pid);
    let (thread_pid, tid) =
        std::thread::spawn(|| (sys!(SYS_getpid), sys!(SYS_gettid))).join().expect("a thread");
    t.is("same_pid", thread_pid == pid);
    t.is("other_tid", tid != pid);
    // Nobody joins the main thread, so it can do without the word that the kernel clears at its end.
    t.is("set_tid_address_returns_tid", sys!(SYS_set_tid_address, 0) == sys!(SYS_gettid));
    let listed = std::thread::spawn(|| {
        let tid = sys!(SYS_gettid).unwrap_or(0);
        std::path::Path::new(&format!("/proc/self/task/{tid}")).is_dir()
    });
    t.is("listed_in_proc", listed.join().expect("a thread"));
    t.is(
        "thread_self",
        std::thread::spawn(|| {
            let tid = sys!(SYS_gettid).unwrap_or(0);
            std::fs::read_link("/proc/thread-self").is_ok_and(|path| path.ends_with(format!("task/{tid}")))
        })
        .join()
        .expect("a thread"),
    );
}

fn sharing(t: &mut Report) {
    let counter = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                (0..1000).for_each(|_| {
                    counter.fetch_add(1, SeqCst);
                });
            });
        }
    });
    t.show("eight_threads_count", counter.load(SeqCst));
    std::thread::spawn(|| std::fs::create_dir("made").and_then(|()| std::env::set_current_dir("made")))
        .join()
        .expect("a thread")
        .expect("a folder");
    t.is("share_working_folder", std::env::current_dir().is_ok_and(|path| path.ends_with("threads/made")));
    std::env::set_current_dir("..").expect("the parent");
    let fd = std::thread::spawn(|| sys!(SYS_openat, AT_FDCWD, c".", O_RDONLY, 0)).join().expect("a thread");
    t.call("share_descriptors", sys!(SYS_close, fd.unwrap_or(999)));
    std::thread::spawn(|| {
        let _ = sys!(SYS_umask, 0o27);
    })
    .join()
    .expect("a thread");
    t.call("share_umask", sys!(SYS_umask, 0o22));
    thread_local!(static LOCAL: std::cell::Cell<u32> = const { std::cell::Cell::new(1) });
    LOCAL.set(2);
    t.show("thread_local", std::thread::spawn(|| LOCAL.get()).join().expect("a thread"));
}

fn synchronisation(t: &mut Report) {
    let total = Arc::new(Mutex::new(0u64));
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let total = Arc::clone(&total);
            std::thread::spawn(move || {
                for _ in 0..500 {
                    let mut value = total.lock().expect("no panic");
                    let old = *value;
                    std::thread::yield_now();
                    *value = old + 1;
                }
            })
        })
        .collect();
    join_all(threads);
    t.show("mutex", *total.lock().expect("no panic"));
    let pair = Arc::new((Mutex::new(0), Condvar::new()));
    let other = Arc::clone(&pair);
    let thread = std::thread::spawn(move || {
        for turn in 0..100 {
            let mut value = other
                .1
                .wait_while(other.0.lock().expect("no panic"), |value| *value != 2 * turn + 1)
                .expect("no panic");
            *value += 1;
            other.1.notify_all();
        }
    });
    for turn in 0..100 {
        *pair.0.lock().expect("no panic") += 1;
        pair.1.notify_all();
        drop(
            pair.1
                .wait_while(pair.0.lock().expect("no panic"), |value| *value != 2 * turn + 2)
                .expect("no panic"),
        );
    }
    thread.join().expect("a thread");
    t.show("condition_ping_pong", *pair.0.lock().expect("no panic"));
    let (sender, receiver) = mpsc::sync_channel(1);
    let thread =
        std::thread::spawn(move || (0..1000u32).for_each(|value| sender.send(value).expect("a receiver")));
    t.show("channel", receiver.iter().map(u64::from).sum::<u64>());
    thread.join().expect("a thread");
    let barrier = Arc::new(Barrier::new(6));
    let leaders: usize = (0..6)
        .map(|_| {
            let barrier = Arc::clone(&barrier);
            std::thread::spawn(move || usize::from(barrier.wait().is_leader()))
        })
        .collect::<Vec<_>>()
        .into_iter()
        .map(|thread| thread.join().expect("a thread"))
        .sum();
    t.show("barrier_leaders", leaders);
    let timed = Condvar::new();
    let lock = Mutex::new(());
    let result = timed
        .wait_timeout(lock.lock().expect("no panic"), std::time::Duration::from_millis(5))
        .expect("no panic");
    t.is("condition_times_out", result.1.timed_out());
    let many: usize = (0..200)
        .map(|index| std::thread::spawn(move || index))
        .map(|thread| thread.join().expect("a thread"))
        .sum();
    t.show("two_hundred_in_turn", many);
    let together: Vec<_> = (0..100usize)
        .map(|index| {
            std::thread::spawn(move || {
                std::thread::yield_now();
                index
            })
        })
        .collect();
    t.show(
        "hundred_at_once",
        together.into_iter().map(|thread| thread.join().expect("a thread")).sum::<usize>(),
    );
}

fn naming(t: &mut Report) {
    let name = std::thread::spawn(|| {
        let _ = sys!(SYS_prctl, PR_SET_NAME, c"a-name-that-is-too-long");
        let mut name = [0u8; 16];
        let _ = sys!(SYS_prctl, PR_GET_NAME, &mut name);
        let tid = sys!(SYS_gettid).unwrap_or(0);
        let comm = std::fs::read_to_string(format!("/proc/self/task/{tid}/comm")).unwrap_or_default();
        format!("{} {}", String::from_utf8_lossy(&name).trim_end_matches('\0'), comm.trim_end())
    });
    t.show("name", name.join().expect("a thread"));
    let mut main = [0u8; 16];
    t.call("main_name", sys!(SYS_prctl, PR_GET_NAME, &mut main));
    t.show("main_name_is", String::from_utf8_lossy(&main).trim_end_matches('\0'));
}

/// What the raw thread leaves behind.
static RAN: AtomicU32 = AtomicU32::new(0);
/// The raw thread's number, until the kernel clears it at its end.
static CHILD: AtomicU32 = AtomicU32::new(0);

/// Makes a thread without the C library: it stores a word and ends; the kernel writes its number to `parent` and, at its end, clears it at
/// `child`.
fn clone_raw(parent: usize, child: usize) -> isize {
    let stack = sys!(SYS_mmap, 0, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        .expect("a stack");
    let flags = CLONE_VM
        | CLONE_FS
        | CLONE_FILES
        | CLONE_SIGHAND
        | CLONE_THREAD
        | CLONE_SYSVSEM
        | CLONE_PARENT_SETTID
        | CLONE_CHILD_CLEARTID;
    let result: isize;
    // SAFETY: the child runs on its own stack, touches only the two statics, and ends by itself.
    unsafe {
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "mov dword ptr [r9], 77",
            "xor edi, edi",
            "mov eax, 60",
            "syscall",
            "2:",
            in("r9") RAN.as_ptr(),
            inlateout("rax") SYS_clone as isize => result,
            in("rdi") flags, in("rsi") stack + 65536, in("rdx") parent, in("r10") child, in("r8") 0,
            lateout("rcx") _, lateout("r11") _,
        );
    }
    result
}

fn raw_clone(t: &mut Report) {
    t.is("clone", clone_raw(CHILD.as_ptr() as usize, CHILD.as_ptr() as usize) > 0);
    loop {
        let tid = CHILD.load(SeqCst);
        if tid == 0 {
            break;
        }
        let _ = sys!(SYS_futex, CHILD.as_ptr(), FUTEX_WAIT, tid, 0);
    }
    t.show("clone_ran", RAN.load(SeqCst));
    t.show("clone_cleared_tid", CHILD.load(SeqCst));
    RAN.store(0, SeqCst);
    t.is("clone_bad_parent_tid", clone_raw(NOWHERE, NOWHERE) > 0);
    let end = now() + 2_000_000_000;
    while RAN.load(SeqCst) == 0 && now() < end {
        std::thread::yield_now();
    }
    t.show("clone_bad_parent_tid_ran", RAN.load(SeqCst));
}

/// The structure of `clone3`: its words in order.
#[derive(Default)]
#[repr(C)]
struct CloneArguments([u64; 11]);

fn bad_clones(t: &mut Report) {
    t.call("thread_without_sighand", sys!(SYS_clone, CLONE_THREAD | CLONE_VM, 0, 0, 0, 0));
    t.call("sighand_without_vm", sys!(SYS_clone, CLONE_SIGHAND, 0, 0, 0, 0));
    t.call("fs_with_newns", sys!(SYS_clone, CLONE_FS | CLONE_NEWNS, 0, 0, 0, 0));
    let arguments = CloneArguments::default();
    t.call("clone3_too_small", sys!(SYS_clone3, &arguments, 8));
    t.call("clone3_too_big", sys!(SYS_clone3, &arguments, 1 << 20));
    t.call("clone3_fault", sys!(SYS_clone3, 8, 88));
    let mut unknown = CloneArguments::default();
    unknown.0[0] = 1 << 60;
    t.call("clone3_unknown_flag", sys!(SYS_clone3, &unknown, 88));
    let mut lone_stack = CloneArguments::default();
    lone_stack.0[5] = 4096;
    let mut group = CloneArguments::default();
    (group.0[0], group.0[10]) = (1 << 33, 0);
    t.call("clone3_into_no_cgroup", sys!(SYS_clone3, &group, 88));
    t.call("clone3_into_cgroup_too_small", sys!(SYS_clone3, &group, 80));
    group.0[10] = 1 << 31;
    t.call("clone3_into_cgroup_bad_descriptor", sys!(SYS_clone3, &group, 88));
    t.call("clone3_stack_without_size", sys!(SYS_clone3, &lone_stack, 88));
}

fn ending(t: &mut Report) {
    let ended = std::thread::spawn(|| std::panic::catch_unwind(|| std::panic::resume_unwind(Box::new(5u8))))
        .join()
        .expect("a thread");
    t.is("unwinding", ended.is_err());
    t.is(
        "join_tells_of_panic",
        std::thread::spawn(|| std::panic::resume_unwind(Box::new(1u8))).join().is_err(),
    );
    t.call("tgkill_zero", sys!(SYS_tgkill, sys!(SYS_getpid).unwrap_or(0), sys!(SYS_gettid).unwrap_or(0), 0));
    t.call("tgkill_no_such_thread", sys!(SYS_tgkill, sys!(SYS_getpid).unwrap_or(0), 0x3f_ffff, 0));
    t.call("tgkill_negative", sys!(SYS_tgkill, -1, 1, 0));
    t.call("tkill_negative", sys!(SYS_tkill, -1, 0));
    t.call("tkill_bad_signal", sys!(SYS_tkill, sys!(SYS_gettid).unwrap_or(0), 65));
}
