//! System calls with random arguments: the kernel must neither panic nor hang, whatever it is asked.
//!
//! `usertest --fuzz SEED MILLISECONDS` prints its seed, lets a few threads make random calls on the same descriptors, files and memory, and
//! prints `alive` and how many calls it made. The same seed makes the same calls of each thread, though not their order among threads. A
//! call that would end or stop the program is not made ([`shapes::NEVER`]); one that waits is ended by a signal, and one that still does not
//! return is named, and fails the run.
//!
//! It runs as the first process of a machine and nowhere else: there is nothing that it would not change.

mod arguments;
mod memory;
mod messages;
mod random;
mod shapes;
mod signals;

use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use memory::Memory;
use random::Random;
use signals::Signals;

/// The signal that ends a wait.
pub const WAKE: usize = libc::SIGUSR1 as usize;
/// Threads that make calls.
const THREADS: usize = 3;
/// How often those that wait are woken.
const ROUND: Duration = Duration::from_millis(10);
/// A call that outlasts this many signals has not noticed them.
const PATIENCE: u32 = 3000;

/// What all threads share.
#[derive(Debug)]
pub struct Setting {
    memory: Memory,
    signals: Signals,
    over: AtomicBool,
    workers: [Worker; THREADS],
}

/// What is seen of a thread from outside.
#[derive(Debug, Default)]
struct Worker {
    /// Its number for the kernel, 0 before it runs.
    tid: AtomicI32,
    /// How many calls it has made.
    calls: AtomicU64,
    /// The call that it makes.
    number: AtomicU64,
    /// It makes no more calls.
    done: AtomicBool,
}

/// Makes random calls for so many milliseconds; the exit status is 0 if every one of them returned.
pub fn run(seed: u64, milliseconds: u64) -> i32 {
    if sys!(SYS_getpid) != Ok(1) {
        eprintln!("usertest: random calls are only made by the first process of a machine of its own");
        return 2;
    }
    println!("seed {seed}");
    prepare_files();
    let setting: &'static Setting = Box::leak(Box::new(Setting {
        memory: Memory::new(),
        signals: Signals::new(),
        over: AtomicBool::new(false),
        workers: Default::default(),
    }));
    for index in 0..THREADS {
        std::thread::spawn(move || work(setting, index, Random(seed.wrapping_add(index as u64))));
    }
    let end = Instant::now() + Duration::from_millis(milliseconds);
    let mut seen = [(0, 0); THREADS];
    while !setting.workers.iter().all(|worker| worker.done.load(Ordering::Acquire)) {
        std::thread::sleep(ROUND);
        setting.over.store(Instant::now() >= end, Ordering::Release);
        for (worker, (calls, rounds)) in setting.workers.iter().zip(&mut seen) {
            if let Some(number) = worker.stuck(calls, rounds) {
                println!("call {number} does not return");
                return 1;
            }
        }
    }
    let calls: u64 = setting.workers.iter().map(|worker| worker.calls.load(Ordering::Relaxed)).sum();
    println!("alive after {calls} calls");
    0
}

impl Worker {
    /// Wakes a thread that has made no call since the last round; the number of its call if that has gone on for too long.
    fn stuck(&self, calls: &mut u64, rounds: &mut u32) -> Option<u64> {
        let now = self.calls.load(Ordering::Relaxed);
        if now != *calls || self.done.load(Ordering::Relaxed) {
            (*calls, *rounds) = (now, 0);
            return None;
        }
        *rounds += 1;
        let _ = sys!(SYS_tkill, self.tid.load(Ordering::Relaxed), WAKE);
        (*rounds > PATIENCE).then(|| self.number.load(Ordering::Relaxed))
    }
}

/// The files that paths name at first.
fn prepare_files() {
    std::fs::create_dir_all("/tmp/fuzz/d/e").expect("a folder");
    std::env::set_current_dir("/tmp/fuzz").expect("the folder is there");
    std::fs::write("a", "some content").expect("a file");
    std::os::unix::fs::symlink("d/a", "link").expect("a link");
    let _ = sys!(SYS_mknod, c"fifo", libc::S_IFIFO | 0o600, 0);
    for kind in [libc::SOCK_STREAM, libc::SOCK_DGRAM, libc::SOCK_SEQPACKET] {
        let _ = sys!(SYS_socketpair, libc::AF_UNIX, kind, 0, &mut [0i32; 2]);
    }
}

fn work(setting: &'static Setting, index: usize, mut random: Random) {
    let worker = &setting.workers[index];
    worker.tid.store(sys!(SYS_gettid).unwrap_or(0) as i32, Ordering::Relaxed);
    while !setting.over.load(Ordering::Acquire) {
        let made = worker.calls.load(Ordering::Relaxed);
        if made.is_multiple_of(16) {
            setting.memory.stir(&mut random);
        }
        if made.is_multiple_of(1024) {
            tidy(setting.memory);
        }
        let Some((number, words)) = arguments::call(setting, &mut random) else { continue };
        worker.number.store(number.cast_unsigned(), Ordering::Relaxed);
        let result = crate::sys::call(number, words);
        // What was mapped elsewhere would fill the address space.
        if let Ok(address) = result
            && matches!(number, libc::SYS_mmap | libc::SYS_mremap)
            && !setting.memory.is_playground(address)
        {
            let length = words[if number == libc::SYS_mmap { 1 } else { 2 }];
            let _ = sys!(SYS_munmap, address, length);
        }
        unblock();
        worker.calls.store(made + 1, Ordering::Relaxed);
    }
    worker.done.store(true, Ordering::Release);
    // It ends with the program: what it left in the kernel for its end (set_tid_address(2)) is random too.
    loop {
        std::thread::park();
    }
}

/// Takes back what random calls did to the mask of signals.
fn unblock() {
    let none = 0u64;
    let _ = sys!(SYS_rt_sigprocmask, libc::SIG_SETMASK, &none, 0, 8);
}

/// Gives back what has gathered, and opens one file of each kind: by chance alone two that fit would seldom meet.
fn tidy(memory: Memory) {
    let _ = sys!(SYS_close_range, arguments::FIRST_FD, u32::MAX, 0);
    memory.clear_playground();
    for file in [c"a", c"b", c"c", c"d/a", c"d/b", c"d/e/f"] {
        let _ = sys!(SYS_unlink, file);
    }
    let _ = sys!(SYS_chdir, c"/tmp/fuzz");
    let _ = sys!(SYS_umask, 0o022);
    let _ = sys!(SYS_mkdir, c"d", 0o755);
    let _ = sys!(SYS_mkdir, c"d/e", 0o755);
    let mut ends = [0i32; 2];
    let _ = sys!(SYS_open, c"a", libc::O_RDWR | libc::O_CREAT, 0o644);
    let _ = sys!(SYS_open, c"d", libc::O_RDONLY | libc::O_DIRECTORY, 0);
    let _ = sys!(SYS_pipe2, &mut ends, 0);
    let _ = sys!(SYS_pipe2, &mut ends, libc::O_NONBLOCK);
    let _ = sys!(SYS_memfd_create, c"memory", libc::MFD_ALLOW_SEALING);
    let _ = sys!(SYS_epoll_create1, 0);
    let _ = sys!(SYS_eventfd2, 1, 0);
    let _ = sys!(SYS_timerfd_create, libc::CLOCK_MONOTONIC, 0);
    let _ = sys!(SYS_signalfd4, -1, &(1u64 << (libc::SIGUSR2 - 1)), 8, 0);
    let _ = sys!(SYS_open, c"/dev/ptmx", libc::O_RDWR | libc::O_NOCTTY, 0);
}
