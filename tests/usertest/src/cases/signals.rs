//! Signals of one process: masks, handlers, waiting, interrupted calls.

use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering::SeqCst};

use libc::*;

use super::helpers::{close, now, sleep_ms, until_others_sleep};
use crate::report::Report;
use crate::sys::{self, Errno};

static COUNT: AtomicUsize = AtomicUsize::new(0);
static LAST: AtomicI32 = AtomicI32::new(0);
static CODE: AtomicI32 = AtomicI32::new(0);
static VALUE: AtomicUsize = AtomicUsize::new(0);
static ORDER: AtomicUsize = AtomicUsize::new(0);
static ON_STACK: AtomicUsize = AtomicUsize::new(0);
static BLOCKED: AtomicUsize = AtomicUsize::new(0);

extern "C" fn handler(signal: i32, info: *mut siginfo_t, _: *mut c_void) {
    let local = 0u8;
    ON_STACK.store(std::ptr::from_ref(&local) as usize, SeqCst);
    COUNT.fetch_add(1, SeqCst);
    LAST.store(signal, SeqCst);
    let order = ORDER.load(SeqCst);
    ORDER.store(order * 100 + signal as usize, SeqCst);
    if !info.is_null() {
        // SAFETY: the kernel passes the structure.
        unsafe {
            CODE.store((*info).si_code, SeqCst);
            if (*info).si_code == SI_QUEUE {
                VALUE.store((*info).si_value().sival_ptr as usize, SeqCst);
            }
        }
    }
    let mut mask = 0u64;
    let _ = sys!(SYS_rt_sigprocmask, SIG_BLOCK, 0, &mut mask, 8);
    BLOCKED.store(mask as usize, SeqCst);
}

/// Installs [`handler`] (or a plain disposition).
fn install(signal: i32, disposition: usize, flags: i32) {
    // SAFETY: the handler follows the kernel's interface.
    unsafe {
        let mut action: sigaction = std::mem::zeroed();
        action.sa_sigaction = disposition;
        action.sa_flags = flags;
        sigaction(signal, &raw const action, std::ptr::null_mut());
    }
}

fn handle(signal: i32, flags: i32) {
    install(signal, handler as *const () as usize, flags | SA_SIGINFO);
    COUNT.store(0, SeqCst);
    ORDER.store(0, SeqCst);
}

const fn bit(signal: i32) -> u64 {
    1 << (signal - 1)
}

fn mask(how: i32, set: u64) {
    sys!(SYS_rt_sigprocmask, how, &set, 0, 8).expect("a mask");
}

fn raise_here(signal: i32) -> Result<usize, Errno> {
    sys!(SYS_tgkill, sys!(SYS_getpid)?, sys!(SYS_gettid)?, signal)
}

/// Runs the group.
pub fn run(t: &mut Report) {
    sending(t);
    masks(t);
    masks_of_waits(t);
    flags(t);
    queues(t);
    limited(t);
    waiting(t);
    interrupted(t);
    alternate_stack(t);
    threads(t);
    signalfd_reads(t);
}

fn sending(t: &mut Report) {
    let pid = sys!(SYS_getpid).unwrap_or(0);
    handle(SIGUSR1, 0);
    t.call("kill_self", sys!(SYS_kill, pid, SIGUSR1));
    t.show(
        "kill_self_delivered",
        format!("{} {} {}", COUNT.load(SeqCst), LAST.load(SeqCst), CODE.load(SeqCst)),
    );
    t.call("tgkill", raise_here(SIGUSR1));
    t.show("tgkill_code", CODE.load(SeqCst));
    t.call("kill_zero", sys!(SYS_kill, pid, 0));
    t.call("kill_bad_signal", sys!(SYS_kill, pid, 65));
    t.call("kill_negative_signal", sys!(SYS_kill, pid, -1));
    t.call("kill_no_such_process", sys!(SYS_kill, 0x3f_ffff, SIGUSR1));
    install(SIGUSR1, SIG_IGN, 0);
    t.call("ignored", raise_here(SIGUSR1));
    install(SIGCHLD, SIG_DFL, 0);
    t.call("default_is_ignore", raise_here(SIGCHLD));
    t.call("sigaction_kill", sys!(SYS_rt_sigaction, SIGKILL, &[0usize; 4], 0, 8));
    t.call("sigaction_kill_read", sys!(SYS_rt_sigaction, SIGKILL, 0, &mut [0usize; 4], 8));
    t.call("sigaction_zero", sys!(SYS_rt_sigaction, 0, 0, 0, 8));
    t.call("sigaction_65", sys!(SYS_rt_sigaction, 65, 0, 0, 8));
    t.call("sigaction_bad_size", sys!(SYS_rt_sigaction, SIGUSR1, 0, 0, 4));
    t.call("sigaction_fault", sys!(SYS_rt_sigaction, SIGUSR1, 8, 0, 8));
}

fn masks(t: &mut Report) {
    handle(SIGUSR1, 0);
    mask(SIG_BLOCK, bit(SIGUSR1));
    raise_here(SIGUSR1).expect("a signal");
    raise_here(SIGUSR1).expect("a signal");
    t.show("blocked", COUNT.load(SeqCst));
    let mut pending = 0u64;
    t.call("pending", sys!(SYS_rt_sigpending, &mut pending, 8));
    t.show("pending_set", format!("{pending:x}"));
    mask(SIG_UNBLOCK, bit(SIGUSR1));
    t.show("standard_signals_merge", COUNT.load(SeqCst));
    let mut old = 0u64;
    t.call("mask_all", sys!(SYS_rt_sigprocmask, SIG_SETMASK, &u64::MAX, &mut old, 8));
    t.show("mask_old", format!("{old:x}"));
    let _ = sys!(SYS_rt_sigprocmask, SIG_SETMASK, 0, &mut old, 8);
    t.show("mask_spares_kill_and_stop", format!("{old:x}"));
    mask(SIG_SETMASK, 0);
    t.call("mask_bad_how", sys!(SYS_rt_sigprocmask, 9, &0u64, 0, 8));
    t.call("mask_bad_how_without_set", sys!(SYS_rt_sigprocmask, 9, 0, 0, 8));
    t.call("mask_bad_size", sys!(SYS_rt_sigprocmask, SIG_BLOCK, &0u64, 0, 16));
    t.call("mask_fault", sys!(SYS_rt_sigprocmask, SIG_BLOCK, 8, 0, 8));
    // Setting a signal to be ignored drops it where it was pending.
    mask(SIG_BLOCK, bit(SIGUSR1));
    raise_here(SIGUSR1).expect("a signal");
    install(SIGUSR1, SIG_IGN, 0);
    let _ = sys!(SYS_rt_sigpending, &mut pending, 8);
    t.show("ignore_drops_pending", format!("{pending:x}"));
    mask(SIG_SETMASK, 0);
}

/// A wait that ends at once lets in what its mask does not block, unless there is something to tell.
fn masks_of_waits(t: &mut Report) {
    let now = timespec { tv_sec: 0, tv_nsec: 0 };
    let none = 0u64;
    let with_size = [std::ptr::from_ref(&none) as usize, 8];
    let epoll = sys!(SYS_epoll_create1, 0).expect("an instance");
    let ready = sys!(SYS_eventfd2, 1, 0).expect("a counter") as i32;
    let mut entry = pollfd { fd: ready, events: POLLIN, revents: 0 };
    let mut events = [sys::zeroed::<epoll_event>(); 1];
    handle(SIGUSR1, SA_RESTART);
    mask(SIG_BLOCK, bit(SIGUSR1));
    raise_here(SIGUSR1).expect("a signal");
    t.call("poll_with_the_signal_blocked", sys!(SYS_poll, 0, 0, 0));
    t.call("epoll_pwait_without_time", sys!(SYS_epoll_pwait, epoll, &mut events, 1, 0, &none, 8));
    t.call("ppoll_with_something_ready", sys!(SYS_ppoll, &mut entry, 1, &now, &none, 8));
    t.show("not_let_in", COUNT.load(SeqCst));
    t.call("ppoll_without_time", sys!(SYS_ppoll, 0, 0, &now, &none, 8));
    t.show("let_in_by_ppoll", COUNT.load(SeqCst));
    raise_here(SIGUSR1).expect("a signal");
    t.call("pselect_without_time", sys!(SYS_pselect6, 0, 0, 0, 0, &now, &with_size));
    t.show("let_in_by_pselect", COUNT.load(SeqCst));
    let mut blocked = 0u64;
    let _ = sys!(SYS_rt_sigprocmask, SIG_BLOCK, 0, &mut blocked, 8);
    t.is("mask_is_back", blocked == bit(SIGUSR1));
    mask(SIG_SETMASK, 0);
    close(ready);
    close(epoll as i32);
}

fn flags(t: &mut Report) {
    handle(SIGUSR1, 0);
    raise_here(SIGUSR1).expect("a signal");
    t.is("handler_blocks_its_signal", BLOCKED.load(SeqCst) as u64 == bit(SIGUSR1));
    handle(SIGUSR1, SA_NODEFER);
    raise_here(SIGUSR1).expect("a signal");
    t.show("nodefer", format!("{:x}", BLOCKED.load(SeqCst)));
    handle(SIGUSR1, SA_RESETHAND);
    raise_here(SIGUSR1).expect("a signal");
    let mut action = [0usize; 4];
    t.call("resethand", sys!(SYS_rt_sigaction, SIGUSR1, 0, &mut action, 8));
    t.show("resethand_handler", action[0]);
    handle(SIGUSR1, SA_RESTART);
    t.call("sigaction_reads", sys!(SYS_rt_sigaction, SIGUSR1, 0, &mut action, 8));
    t.show("sigaction_flags", format!("{:x}", action[1] & !0x0400_0000));
    t.is("sigaction_handler", action[0] == handler as *const () as usize);
}

fn queues(t: &mut Report) {
    let (first, second) = (40, 35);
    handle(first, 0);
    handle(second, 0);
    handle(SIGUSR2, 0);
    mask(SIG_BLOCK, bit(first) | bit(second) | bit(SIGUSR2));
    let pid = sys!(SYS_getpid).unwrap_or(0);
    let mut info = [0u8; 128];
    info[8..12].copy_from_slice(&SI_QUEUE.to_le_bytes());
    info[24..32].copy_from_slice(&4242u64.to_le_bytes());
    t.call("sigqueue", sys!(SYS_rt_sigqueueinfo, pid, first, &info));
    t.call("sigqueue_again", sys!(SYS_rt_sigqueueinfo, pid, first, &info));
    raise_here(second).expect("a signal");
    raise_here(SIGUSR2).expect("a signal");
    mask(SIG_SETMASK, 0);
    t.show("real_time_signals_queue", COUNT.load(SeqCst));
    // Handlers nest, the lowest number first to be set up and so last to run.
    t.show("delivery_order", ORDER.load(SeqCst));
    t.show("sigqueue_value", VALUE.load(SeqCst));
    info[8..12].copy_from_slice(&SI_USER.to_le_bytes());
    t.call("sigqueue_user_code_to_self", sys!(SYS_rt_sigqueueinfo, pid, SIGUSR2, &info));
    t.call("sigqueue_fault", sys!(SYS_rt_sigqueueinfo, pid, SIGUSR2, 8));
    t.call(
        "tgsigqueue",
        sys!(SYS_rt_tgsigqueueinfo, pid, sys!(SYS_gettid).unwrap_or(0), SIGUSR2, &{
            let mut info = info;
            info[8..12].copy_from_slice(&SI_QUEUE.to_le_bytes());
            info
        }),
    );
}

/// With no signal allowed to wait, those of the kernel and of kill(2) come all the same, but not all that is known of them.
fn limited(t: &mut Report) {
    let real_time = 40;
    handle(real_time, 0);
    handle(SIGUSR1, 0);
    mask(SIG_BLOCK, bit(real_time) | bit(SIGUSR1));
    let mut limit = sys::zeroed::<rlimit>();
    let _ = sys!(SYS_getrlimit, RLIMIT_SIGPENDING, &mut limit);
    let _ = sys!(SYS_setrlimit, RLIMIT_SIGPENDING, &rlimit { rlim_cur: 0, ..limit });
    let pid = sys!(SYS_getpid).unwrap_or(0);
    let mut info = [0u8; 128];
    info[8..12].copy_from_slice(&SI_QUEUE.to_le_bytes());
    let (now, mut found) = (timespec { tv_sec: 0, tv_nsec: 0 }, sys::zeroed::<siginfo_t>());
    let mut take = |signal| {
        let taken = sys!(SYS_rt_sigtimedwait, &bit(signal), &mut found, &now, 8);
        // SAFETY: of what was sent, these two fields are always there.
        taken.map(|_| (found.si_code, unsafe { found.si_pid() } as usize == pid))
    };
    t.call("over_limit_sigqueue", sys!(SYS_rt_sigqueueinfo, pid, real_time, &info));
    t.call("over_limit_tgkill", raise_here(real_time));
    t.show("over_limit_nothing_waits", format!("{:?}", take(real_time)));
    t.call("over_limit_kill", sys!(SYS_kill, pid, real_time));
    t.show("over_limit_kill_is_taken", format!("{:?}", take(real_time)));
    t.call("over_limit_standard_tgkill", raise_here(SIGUSR1));
    t.show("over_limit_standard_tgkill_is_taken", format!("{:?}", take(SIGUSR1)));
    t.call("over_limit_standard_kill", sys!(SYS_kill, pid, SIGUSR1));
    t.show("over_limit_standard_kill_is_taken", format!("{:?}", take(SIGUSR1)));
    let _ = sys!(SYS_setrlimit, RLIMIT_SIGPENDING, &limit);
    mask(SIG_SETMASK, 0);
}

fn waiting(t: &mut Report) {
    let set = bit(SIGUSR1);
    mask(SIG_BLOCK, set);
    raise_here(SIGUSR1).expect("a signal");
    let mut info = sys::zeroed::<siginfo_t>();
    t.call("sigtimedwait", sys!(SYS_rt_sigtimedwait, &set, &mut info, 0, 8));
    t.show("sigtimedwait_info", format!("{} {}", info.si_signo, info.si_code));
    let short = timespec { tv_sec: 0, tv_nsec: 10_000_000 };
    t.call("sigtimedwait_times_out", sys!(SYS_rt_sigtimedwait, &set, 0, &short, 8));
    let poll = timespec { tv_sec: 0, tv_nsec: 0 };
    t.call("sigtimedwait_polls", sys!(SYS_rt_sigtimedwait, &set, 0, &poll, 8));
    let bad = timespec { tv_sec: 0, tv_nsec: -1 };
    t.call("sigtimedwait_bad_time", sys!(SYS_rt_sigtimedwait, &set, 0, &bad, 8));
    t.call("sigtimedwait_bad_size", sys!(SYS_rt_sigtimedwait, &set, 0, 0, 4));
    handle(SIGUSR1, 0);
    raise_here(SIGUSR1).expect("a signal");
    t.call("sigsuspend", sys!(SYS_rt_sigsuspend, &0u64, 8));
    t.show("sigsuspend_ran_handler", COUNT.load(SeqCst));
    let mut now_blocked = 0u64;
    let _ = sys!(SYS_rt_sigprocmask, SIG_BLOCK, 0, &mut now_blocked, 8);
    t.show("sigsuspend_restores_mask", format!("{now_blocked:x}"));
    mask(SIG_SETMASK, 0);
    t.call("sigsuspend_bad_size", sys!(SYS_rt_sigsuspend, &0u64, 7));
}

/// Runs a call in a thread and sends it a signal while it sleeps.
fn with_signal(flags: i32, action: impl FnOnce() -> Result<usize, Errno> + Send) -> Result<usize, Errno> {
    handle(SIGUSR1, flags);
    let pid = sys!(SYS_getpid)?;
    std::thread::scope(|scope| {
        let (sender, receiver) = std::sync::mpsc::channel();
        let thread = scope.spawn(move || {
            sender.send(sys!(SYS_gettid)).expect("a receiver");
            action()
        });
        let tid = receiver.recv().expect("a sender")?;
        until_others_sleep();
        sys!(SYS_tgkill, pid, tid, SIGUSR1)?;
        thread.join().expect("a thread")
    })
}

fn interrupted(t: &mut Report) {
    let mut pipe = [0i32; 2];
    sys!(SYS_pipe2, &mut pipe, 0).expect("a pipe");
    let [reader, writer] = pipe;
    t.call("read_interrupted", with_signal(0, || sys!(SYS_read, reader, &mut [0u8; 1], 1)));
    // A restarted read goes on until the byte comes.
    COUNT.store(0, SeqCst);
    let restarted = std::thread::scope(|scope| {
        scope.spawn(|| {
            while COUNT.load(SeqCst) == 0 {
                sleep_ms(5);
            }
            let _ = sys!(SYS_write, writer, b"x", 1);
        });
        with_signal(SA_RESTART, || sys!(SYS_read, reader, &mut [0u8; 1], 1))
    });
    t.call("read_restarted", restarted);
    t.show("read_restarted_after_handler", COUNT.load(SeqCst));
    let long = timespec { tv_sec: 5, tv_nsec: 0 };
    let mut left = timespec { tv_sec: 0, tv_nsec: 0 };
    t.call("nanosleep_interrupted", with_signal(0, || sys!(SYS_nanosleep, &long, &mut left)));
    t.show("nanosleep_left", left.tv_sec);
    t.call("nanosleep_never_restarts", with_signal(SA_RESTART, || sys!(SYS_nanosleep, &long, 0)));
    t.call("pause", with_signal(SA_RESTART, || sys!(SYS_pause)));
    t.call("poll_never_restarts", with_signal(SA_RESTART, || sys!(SYS_poll, 0, 0, 5000)));
    let epoll = sys!(SYS_epoll_create1, 0).expect("an epoll") as i32;
    let mut events = [sys::zeroed::<epoll_event>()];
    t.call(
        "epoll_never_restarts",
        with_signal(SA_RESTART, || sys!(SYS_epoll_wait, epoll, &mut events, 1, 5000)),
    );
    let word = 0u32;
    t.call("futex_interrupted", with_signal(0, || sys!(SYS_futex, &word, FUTEX_WAIT, 0, 0)));
    t.call(
        "futex_timed_never_restarts",
        with_signal(SA_RESTART, || sys!(SYS_futex, &word, FUTEX_WAIT, 0, &long)),
    );
    // A full pipe: what was written before the signal counts.
    let start = now();
    let written = with_signal(0, || sys!(SYS_write, writer, vec![0u8; 100_000].as_ptr(), 100_000));
    t.call("write_interrupted_is_partial", written);
    t.is("write_interrupted_in_time", now() - start < 4_000_000_000);
    for fd in [reader, writer, epoll] {
        close(fd);
    }
}

fn alternate_stack(t: &mut Report) {
    let stack = sys!(SYS_mmap, 0, 32768, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        .expect("a stack");
    let describe = |flags, size| stack_t { ss_sp: stack as *mut c_void, ss_flags: flags, ss_size: size };
    t.call("sigaltstack_too_small", sys!(SYS_sigaltstack, &describe(0, 1024), 0));
    t.call("sigaltstack_almost", sys!(SYS_sigaltstack, &describe(0, 2047), 0));
    t.call("sigaltstack_smallest", sys!(SYS_sigaltstack, &describe(0, 2048), 0));
    t.call("sigaltstack_bad_flag", sys!(SYS_sigaltstack, &describe(0x40, 32768), 0));
    t.call("sigaltstack", sys!(SYS_sigaltstack, &describe(0, 32768), 0));
    handle(SIGUSR1, SA_ONSTACK);
    raise_here(SIGUSR1).expect("a signal");
    let used = ON_STACK.load(SeqCst);
    t.is("handler_on_alternate_stack", (stack..stack + 32768).contains(&used));
    handle(SIGUSR1, 0);
    raise_here(SIGUSR1).expect("a signal");
    t.is("handler_on_own_stack", !(stack..stack + 32768).contains(&ON_STACK.load(SeqCst)));
    let mut old = sys::zeroed::<stack_t>();
    t.call("sigaltstack_read", sys!(SYS_sigaltstack, 0, &mut old));
    t.show(
        "sigaltstack_read_values",
        format!("{} {} {}", old.ss_sp as usize == stack, old.ss_flags, old.ss_size),
    );
    t.call("sigaltstack_off", sys!(SYS_sigaltstack, &describe(SS_DISABLE, 0), 0));
    let _ = sys!(SYS_sigaltstack, 0, &mut old);
    t.show("sigaltstack_off_flags", old.ss_flags);
    let auto_disarm = i32::MIN;
    let _ = sys!(SYS_sigaltstack, &describe(SS_DISABLE | auto_disarm, 0), 0);
    let _ = sys!(SYS_sigaltstack, 0, &mut old);
    t.show("sigaltstack_off_keeps_autodisarm", format!("{:x}", old.ss_flags));
    let _ = sys!(SYS_sigaltstack, &describe(SS_DISABLE, 0), 0);
}

/// A signal of the process goes to a thread that does not block it.
fn threads(t: &mut Report) {
    handle(SIGUSR2, 0);
    mask(SIG_BLOCK, bit(SIGUSR2));
    let pid = sys!(SYS_getpid).unwrap_or(0);
    let inherits = std::thread::spawn(|| {
        let mut inherited = 0u64;
        let _ = sys!(SYS_rt_sigprocmask, SIG_BLOCK, 0, &mut inherited, 8);
        inherited
    });
    t.show("thread_inherits_mask", format!("{:x}", inherits.join().expect("a thread")));
    let thread = std::thread::spawn(|| {
        mask(SIG_UNBLOCK, bit(SIGUSR2));
        sys!(SYS_nanosleep, &timespec { tv_sec: 5, tv_nsec: 0 }, 0)
    });
    until_others_sleep();
    t.call("kill_with_blocked_main", sys!(SYS_kill, pid, SIGUSR2));
    t.call("unblocked_thread_takes_it", thread.join().expect("a thread"));
    t.show("taken_once", COUNT.load(SeqCst));
    mask(SIG_SETMASK, 0);
}

fn signalfd_reads(t: &mut Report) {
    let set = bit(SIGUSR1);
    mask(SIG_BLOCK, set);
    let fd = sys!(SYS_signalfd4, -1, &set, 8, SFD_NONBLOCK);
    t.ok("signalfd", fd);
    if let Ok(fd) = fd {
        let mut buffer = [0u8; 128];
        t.call("signalfd_empty", sys!(SYS_read, fd, &mut buffer, 128));
        raise_here(SIGUSR1).expect("a signal");
        t.call("signalfd_short", sys!(SYS_read, fd, &mut buffer, 100));
        t.call("signalfd_read", sys!(SYS_read, fd, &mut buffer, 128));
        t.show("signalfd_signal", buffer[0]);
        close(fd as i32);
    }
    mask(SIG_SETMASK, 0);
}
