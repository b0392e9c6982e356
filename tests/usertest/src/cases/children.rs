//! fork, vfork and clone: what a child has of its parent's, and what it does not.

use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use libc::*;

use super::helpers::{child, close, leave, must_open, now, pipe, put, status_of, wait_for};
use crate::report::Report;
use crate::sys;

/// Runs the group.
pub fn run(t: &mut Report) {
    limits(t);
    identity(t);
    private_memory(t);
    shared_memory(t);
    advice(t);
    files(t);
    signals(t);
    vfork(t);
    clone(t);
    told_of_the_end(t);
    many(t);
}

fn identity(t: &mut Report) {
    let parent = sys!(SYS_getpid);
    t.show("sees_its_parent", status_of(|| i32::from(sys!(SYS_getppid) == parent)));
    t.show("has_another_pid", status_of(|| i32::from(sys!(SYS_getpid) != parent)));
    t.show("its_tid_is_its_pid", status_of(|| i32::from(sys!(SYS_getpid) == sys!(SYS_gettid))));
    let group = sys!(SYS_getpgrp);
    t.show("same_group", status_of(|| i32::from(sys!(SYS_getpgrp) == group)));
    let session = sys!(SYS_getsid, 0);
    t.show("same_session", status_of(|| i32::from(sys!(SYS_getsid, 0) == session)));
    t.show(
        "has_one_thread",
        status_of(|| std::fs::read_dir("/proc/self/task").map_or(0, |list| list.count() as i32)),
    );
    let mut used = sys::zeroed::<rusage>();
    sys!(SYS_getrusage, RUSAGE_SELF, &mut used).expect("usage");
    t.show(
        "used_no_time",
        status_of(|| {
            let mut usage = sys::zeroed::<rusage>();
            let _ = sys!(SYS_getrusage, RUSAGE_CHILDREN, &mut usage);
            i32::from(usage.ru_utime.tv_sec == 0 && usage.ru_utime.tv_usec == 0)
        }),
    );
    sys!(SYS_prctl, PR_SET_NAME, c"maker".as_ptr() as usize).expect("a name");
    t.show(
        "same_name",
        status_of(|| {
            i32::from(std::fs::read_to_string("/proc/self/comm").is_ok_and(|name| name == "maker\n"))
        }),
    );
    sys!(SYS_prctl, PR_SET_PDEATHSIG, SIGUSR1).expect("a signal");
    t.show(
        "no_death_signal",
        status_of(|| {
            let mut signal = 77;
            let _ = sys!(SYS_prctl, PR_GET_PDEATHSIG, &mut signal);
            signal
        }),
    );
    sys!(SYS_prctl, PR_SET_PDEATHSIG, 0).expect("no signal");
}

/// Memory of whole pages, of which the first byte of each is looked at.
#[derive(Clone, Copy)]
struct Pages(*mut u8);

impl Pages {
    /// So many pages that nobody else has.
    fn new(count: usize, flags: i32) -> Self {
        Self::map(count, flags | MAP_ANONYMOUS, -1)
    }

    /// So many pages of a file.
    fn map(count: usize, flags: i32, fd: i32) -> Self {
        let access = PROT_READ | PROT_WRITE;
        Self(sys!(SYS_mmap, 0, count * 4096, access, flags, fd, 0).expect("memory") as *mut u8)
    }

    fn address(self) -> usize {
        self.0 as usize
    }

    /// Reads from a page; a page that cannot be read ends the process with a signal.
    fn get(self, page: usize) -> i32 {
        // SAFETY: the cases unmap nothing that they look at but in a child that is meant to end.
        unsafe { self.0.add(page * 4096).read_volatile().into() }
    }

    /// Writes to a page, as [`Pages::get`].
    fn set(self, page: usize, value: u8) {
        // SAFETY: as above.
        unsafe { self.0.add(page * 4096).write_volatile(value) }
    }

    /// The page's first word, shared by processes.
    fn word(self, page: usize) -> &'static AtomicU32 {
        // SAFETY: pages are aligned, and stay mapped.
        unsafe { &*self.0.add(page * 4096).cast() }
    }
}

fn private_memory(t: &mut Report) {
    let memory = Pages::new(16, MAP_PRIVATE);
    memory.set(0, 1);
    memory.set(1, 2);
    let (_, status) = wait_for(child(|| {
        let seen = memory.get(0);
        memory.set(0, 50);
        memory.set(2, 60);
        seen + memory.get(0) + memory.get(2)
    }));
    t.show("child_sees_and_changes", status);
    t.show("parent_keeps", memory.get(0) + memory.get(1) + memory.get(2));
    // Both write at once, the child while it is waited for.
    let pid = child(|| {
        (3..16).for_each(|page| memory.set(page, page as u8));
        i32::from((3..16).all(|page| memory.get(page) == page as i32))
    });
    (3..16).for_each(|page| memory.set(page, 200));
    t.show("child_writes_its_own", wait_for(pid).1);
    t.is("parent_writes_its_own", (3..16).all(|page| memory.get(page) == 200));
    // A grandchild shares with both.
    t.show(
        "grandchild",
        status_of(|| {
            let inner = status_of(|| memory.get(5));
            i32::from(inner == 200)
        }),
    );
    put("file", [7u8; 4096]);
    let fd = must_open(c"file", O_RDWR);
    let mapped = Pages::map(1, MAP_PRIVATE, fd);
    mapped.set(0, 9);
    t.show("private_file_page", status_of(|| mapped.get(0)));
    // What the parent wrote stays, though the file loses its page.
    sys!(SYS_ftruncate, fd, 0).expect("a shorter file");
    t.show("child_of_a_shorter_file", killed_or(status_of_raw(|| mapped.get(0))));
    close(fd);
    sys!(SYS_munmap, mapped.address(), 4096).expect("unmapped");
    let read_only = Pages::new(1, MAP_PRIVATE);
    read_only.set(0, 3);
    sys!(SYS_mprotect, read_only.address(), 4096, PROT_READ).expect("protected");
    t.show(
        "write_to_protected",
        killed_or(status_of_raw(|| {
            read_only.set(0, 4);
            0
        })),
    );
    t.show(
        "protection_lifted_in_child",
        status_of(|| {
            let _ = sys!(SYS_mprotect, read_only.address(), 4096, PROT_READ | PROT_WRITE);
            read_only.set(0, 5);
            read_only.get(0)
        }),
    );
    t.show("parents_stays", read_only.get(0));
}

/// A raw status of a child that may be killed.
fn status_of_raw(run: impl FnOnce() -> i32) -> i32 {
    let pid = child(run);
    let mut status = 0;
    sys!(SYS_wait4, pid, &mut status, 0, 0).expect("a child");
    status
}

/// An exit status, or 1000 more than the signal.
fn killed_or(status: i32) -> i32 {
    if WIFSIGNALED(status) { 1000 + WTERMSIG(status) } else { WEXITSTATUS(status) }
}

fn shared_memory(t: &mut Report) {
    let shared = Pages::new(2, MAP_SHARED);
    let word = |page| shared.word(page);
    word(0).store(1, SeqCst);
    let (_, status) = wait_for(child(|| {
        word(0).fetch_add(10, SeqCst);
        word(1).store(33, SeqCst);
        0
    }));
    t.show("shared_child", status);
    t.show("shared_changes_arrive", word(0).load(SeqCst) + word(1).load(SeqCst));
    // A futex in it wakes across processes.
    let pid = child(|| {
        while word(1).load(SeqCst) != 34 {
            let _ = sys!(SYS_futex, word(1).as_ptr(), FUTEX_WAIT, 33, 0, 0, 0);
        }
        5
    });
    super::helpers::until_child_sleeps(pid);
    word(1).store(34, SeqCst);
    t.ok("futex_wake", sys!(SYS_futex, word(1).as_ptr(), FUTEX_WAKE, 1, 0, 0, 0));
    t.show("futex_across", wait_for(pid).1);
    put("shared", [0u8; 4096]);
    let fd = must_open(c"shared", O_RDWR);
    let mapped = Pages::map(1, MAP_SHARED, fd);
    t.show(
        "shared_file",
        status_of(|| {
            mapped.set(0, b'x');
            0
        }),
    );
    t.is("shared_file_changed", std::fs::read("shared").is_ok_and(|bytes| bytes[0] == b'x'));
    close(fd);
}

fn advice(t: &mut Report) {
    let memory = Pages::new(2, MAP_PRIVATE);
    memory.set(0, 1);
    t.call("wipe_on_fork", sys!(SYS_madvise, memory.address(), 4096, MADV_WIPEONFORK));
    t.show("wiped", status_of(|| memory.get(0)));
    t.show(
        "wiped_in_grandchild",
        status_of(|| {
            memory.set(0, 4);
            status_of(|| memory.get(0))
        }),
    );
    t.call("keep_on_fork", sys!(SYS_madvise, memory.address(), 4096, MADV_KEEPONFORK));
    t.show("kept", status_of(|| memory.get(0)));
    t.call("dont_fork", sys!(SYS_madvise, memory.address(), 4096, MADV_DONTFORK));
    t.show("not_inherited", killed_or(status_of_raw(|| memory.get(0))));
    t.show(
        "place_is_free",
        status_of(|| {
            let fixed = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE;
            i32::from(sys!(SYS_mmap, memory.address(), 4096, PROT_READ, fixed, -1, 0).is_ok())
        }),
    );
    t.call("do_fork", sys!(SYS_madvise, memory.address(), 4096, MADV_DOFORK));
    t.show("inherited", status_of(|| memory.get(0)));
}

fn files(t: &mut Report) {
    put("text", "0123456789");
    let fd = must_open(c"text", O_RDONLY);
    t.show(
        "shares_the_position",
        status_of(|| {
            let mut byte = [0u8; 4];
            let _ = sys!(SYS_read, fd, byte.as_mut_ptr() as usize, 4);
            i32::from(byte[3])
        }),
    );
    t.call("position_moved", sys!(SYS_lseek, fd, 0, SEEK_CUR));
    t.show("closes_its_own", status_of(|| i32::from(sys!(SYS_close, fd).is_ok())));
    t.call("still_open", sys!(SYS_lseek, fd, 0, SEEK_CUR));
    // A lock of fcntl belongs to the process, one of flock to the open file.
    let mut lock = sys::zeroed::<flock>();
    (lock.l_type, lock.l_whence) = (F_WRLCK as i16, SEEK_SET as i16);
    let own = must_open(c"text", O_RDWR);
    t.call("lock", sys!(SYS_fcntl, own, F_SETLK, &mut lock));
    t.show(
        "lock_not_inherited",
        status_of(|| {
            let mut lock = lock;
            sys!(SYS_fcntl, own, F_SETLK, &mut lock).err().map_or(0, |errno| errno.0)
        }),
    );
    t.show(
        "lock_owner_is_told",
        status_of(|| {
            let parent = sys!(SYS_getppid).unwrap_or(0);
            let mut lock = lock;
            let _ = sys!(SYS_fcntl, own, F_GETLK, &mut lock);
            i32::from(lock.l_pid as usize == parent)
        }),
    );
    close(own);
    let pipe = super::helpers::pipe();
    let pid = child(|| {
        close(pipe[0]);
        let written = sys!(SYS_write, pipe[1], b"from the child".as_ptr() as usize, 14);
        i32::from(written == Ok(14))
    });
    close(pipe[1]);
    let mut text = [0u8; 32];
    t.call("pipe_read", sys!(SYS_read, pipe[0], text.as_mut_ptr() as usize, 32));
    t.call("pipe_end", sys!(SYS_read, pipe[0], text.as_mut_ptr() as usize, 32));
    t.show("pipe_child", wait_for(pid).1);
    close(pipe[0]);
    close(fd);
    std::fs::create_dir("below").expect("a folder");
    t.show("own_directory", status_of(|| i32::from(sys!(SYS_chdir, c"below").is_ok())));
    t.is("directory_stays", std::fs::metadata("below").is_ok());
    let umask = sys!(SYS_umask, 0o22).unwrap_or(0);
    t.show("own_umask", status_of(|| sys!(SYS_umask, 0o77).unwrap_or(0) as i32));
    t.call("umask_stays", sys!(SYS_umask, umask));
}

extern "C" fn note(_: i32) {
    NOTED.fetch_add(1, SeqCst);
}

static NOTED: AtomicU32 = AtomicU32::new(0);

/// Sets what a signal does.
fn handle(number: i32, disposition: usize) {
    // SAFETY: the handler only counts.
    unsafe { signal(number, disposition) };
}

fn signals(t: &mut Report) {
    handle(SIGUSR1, note as *const () as usize);
    t.show(
        "handlers_are_inherited",
        status_of(|| {
            let _ = sys!(SYS_kill, sys!(SYS_getpid).unwrap_or(0), SIGUSR1);
            NOTED.load(SeqCst) as i32
        }),
    );
    t.show("parents_handler_not_run", NOTED.load(SeqCst));
    let usr1 = 1u64 << (SIGUSR1 - 1);
    sys!(SYS_rt_sigprocmask, SIG_BLOCK, &usr1, 0, 8).expect("a mask");
    sys!(SYS_kill, sys!(SYS_getpid).unwrap_or(0), SIGUSR1).expect("a signal");
    t.show(
        "mask_is_inherited_pending_is_not",
        status_of(|| {
            let (mut mask, mut waiting) = (0u64, 0u64);
            let _ = sys!(SYS_rt_sigprocmask, SIG_BLOCK, 0, &mut mask, 8);
            let _ = sys!(SYS_rt_sigpending, &mut waiting, 8);
            i32::from(mask & usr1 != 0) + 2 * i32::from(waiting & usr1 != 0)
        }),
    );
    sys!(SYS_rt_sigprocmask, SIG_UNBLOCK, &usr1, 0, 8).expect("a mask");
    sys!(SYS_alarm, 100).expect("an alarm");
    t.show("alarm_is_not_inherited", status_of(|| sys!(SYS_alarm, 0).unwrap_or(9) as i32));
    t.is("alarm_stays", sys!(SYS_alarm, 0).is_ok_and(|left| left > 0));
    handle(SIGUSR1, SIG_DFL);
}

fn vfork(t: &mut Report) {
    vfork_beside(t);
    t.show("vfork_wait_ends_by_sigterm", status_of(|| end_of_vfork_wait(SIGTERM, 500)));
    t.show("vfork_wait_ends_by_sigkill", status_of(|| end_of_vfork_wait(SIGKILL, 500)));
    t.show("vfork_wait_outlasts_a_core_dump", status_of(|| end_of_vfork_wait(SIGQUIT, 20)));
}

/// The end of a process that waits for a child of vfork(2) when it gets a signal: at once, as far as `looks` at intervals of 10 ms show, or
/// when that child ends, which `+100` says.
fn end_of_vfork_wait(number: i32, looks: u32) -> i32 {
    /// Says that it runs, and goes on until it is told to end.
    extern "C" fn beside(ends: *mut c_void) -> i32 {
        // SAFETY: the parent's memory stays as long as this child uses it.
        let [tell, end] = unsafe { ends.cast::<[i32; 2]>().read() };
        let mut byte = 0u8;
        let _ = sys!(SYS_write, tell, &byte, 1);
        let _ = sys!(SYS_read, end, &mut byte, 1);
        0
    }
    // Who outlives its parent comes to this process.
    sys!(SYS_prctl, PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0).expect("a reaper");
    let ([runs, tell], [end, let_end]) = (pipe(), pipe());
    let parent = child(|| {
        let mut ends = [tell, end];
        let stack = Pages::new(16, MAP_PRIVATE);
        let top = (stack.address() + 16 * 4096) as *mut c_void;
        let flags = CLONE_VM | CLONE_VFORK | SIGCHLD;
        // SAFETY: the child has a stack of its own in memory that lives as long as either of the two.
        unsafe { libc::clone(beside, top, flags, (&raw mut ends).cast()) };
        0
    });
    let mut byte = 0u8;
    sys!(SYS_read, runs, &mut byte, 1).expect("the child of vfork runs");
    sys!(SYS_kill, parent, number).expect("a signal");
    let mut status = 0;
    let soon = (0..looks).any(|_| {
        super::helpers::sleep_ms(10);
        sys!(SYS_wait4, parent, &mut status, WNOHANG, 0) != Ok(0)
    });
    sys!(SYS_write, let_end, &byte, 1).expect("the child of vfork ends");
    if !soon {
        sys!(SYS_wait4, parent, &mut status, 0, 0).expect("the end of the parent");
    }
    while sys!(SYS_wait4, -1, 0, 0, 0).is_ok() {}
    WTERMSIG(status) + if soon { 0 } else { 100 }
}

fn vfork_beside(t: &mut Report) {
    /// Sleeps, stores to the memory that it shares, and ends.
    extern "C" fn beside(made: *mut c_void) -> i32 {
        super::helpers::sleep_ms(50);
        // SAFETY: the parent waits, and its variable lives.
        unsafe { made.cast::<i32>().write_volatile(7) };
        3
    }
    let start = now();
    let mut made = 0i32;
    let stack = Pages::new(16, MAP_PRIVATE);
    let flags = CLONE_VM | CLONE_VFORK | SIGCHLD;
    let top = (stack.address() + 16 * 4096) as *mut c_void;
    // SAFETY: the child has a stack of its own, and this thread waits as long as it runs.
    let pid = unsafe { libc::clone(beside, top, flags, (&raw mut made).cast()) };
    t.is("vfork_waits", now() - start >= 50_000_000);
    t.show("vfork_shares_memory", std::hint::black_box(&made));
    t.show("vfork_status", wait_for(pid).1);
    let output = std::process::Command::new("/proc/self/exe").arg("--list").output();
    t.is(
        "spawned",
        output.is_ok_and(|output| output.status.success() && output.stdout.starts_with(b"start\n")),
    );
    let missing = std::process::Command::new("/no/such/program").spawn();
    t.show("spawn_missing", missing.err().and_then(|error| error.raw_os_error()).unwrap_or(0));
}

/// The word that tells of the end of a child which shares the memory and is no thread.
fn told_of_the_end(t: &mut Report) {
    extern "C" fn ends(_: *mut c_void) -> i32 {
        leave(9)
    }
    extern "C" fn becomes_another(_: *mut c_void) -> i32 {
        let arguments = [c"usertest".as_ptr(), c"--nothing".as_ptr(), std::ptr::null()];
        for output in [1, 2] {
            let _ = sys!(SYS_close, output);
        }
        let _ = sys!(SYS_execve, c"/proc/self/exe", arguments.as_ptr(), 0);
        leave(9)
    }
    let flags = CLONE_VM | CLONE_VFORK | CLONE_CHILD_CLEARTID | SIGCHLD;
    for (case, act) in [
        ("cleared_at_the_end", ends as extern "C" fn(*mut c_void) -> i32),
        ("cleared_by_exec", becomes_another),
    ] {
        let mut word = 7i32;
        let stack = Pages::new(16, MAP_PRIVATE);
        let top = (stack.address() + 16 * 4096) as *mut c_void;
        let (none, at) = (std::ptr::null_mut::<c_void>(), &raw mut word);
        // SAFETY: the child has a stack of its own, and this thread waits as long as it uses the memory.
        let pid = unsafe { libc::clone(act, top, flags, none, none, none, at) };
        let status = wait_for(pid).1;
        t.show(case, format!("{} {}", status == 9, std::hint::black_box(&word)));
    }
}

fn clone(t: &mut Report) {
    let mut pidfd = -1i32;
    let pid = sys!(SYS_clone, CLONE_PIDFD | SIGCHLD, 0, &mut pidfd, 0, 0).expect("a child") as i32;
    if pid == 0 {
        leave(4);
    }
    t.is("pidfd_is_open", pidfd >= 0 && sys!(SYS_fcntl, pidfd, F_GETFD) == Ok(FD_CLOEXEC as usize));
    t.show("pidfd_child", wait_for(pid).1);
    close(pidfd);
    t.call(
        "pidfd_with_parent_settid",
        sys!(SYS_clone, CLONE_PIDFD | CLONE_PARENT_SETTID | SIGCHLD, 0, &mut pidfd, 0, 0),
    );
    let (mut parent_word, mut child_word) = (0i32, 0i32);
    let flags = CLONE_PARENT_SETTID | CLONE_CHILD_SETTID | SIGCHLD;
    let pid = sys!(SYS_clone, flags, 0, &mut parent_word, &mut child_word, 0).expect("a child") as i32;
    if pid == 0 {
        let own = sys!(SYS_getpid).unwrap_or(0) as i32;
        leave(i32::from(child_word == own));
    }
    t.show("child_settid", wait_for(pid).1);
    t.is("parent_settid", parent_word == pid && child_word == 0);
    // Without a signal the child is a clone, which only a wait for clones finds.
    let pid = sys!(SYS_clone, 0, 0, 0, 0, 0).expect("a child") as i32;
    if pid == 0 {
        leave(6);
    }
    let mut status = 0;
    t.call("plain_wait_for_a_clone", sys!(SYS_wait4, pid, &mut status, 0, 0));
    t.is("wait_for_a_clone", sys!(SYS_wait4, pid, &mut status, 0x8000_0000u32, 0) == Ok(pid as usize));
    t.show("clone_status", WEXITSTATUS(status));
    // The default of SIGUSR2 would end this program.
    handle(SIGUSR2, note as *const () as usize);
    let pid = sys!(SYS_clone, SIGUSR2, 0, 0, 0, 0).expect("a child") as i32;
    if pid == 0 {
        leave(8);
    }
    t.is("wait_for_all_kinds", sys!(SYS_wait4, pid, &mut status, 0x4000_0000, 0) == Ok(pid as usize));
    handle(SIGUSR2, SIG_DFL);
}

/// A chain of processes, each the child of the one before.
fn chain(length: i32) -> i32 {
    if length == 0 { 0 } else { 1 + status_of(|| chain(length - 1)) }
}

fn many(t: &mut Report) {
    let pids: Vec<i32> = (0..50).map(|number| child(move || number)).collect();
    let statuses: Vec<i32> = pids.iter().map(|&pid| wait_for(pid).1).collect();
    t.is("fifty_children", statuses == (0..50).collect::<Vec<_>>());
    t.call("no_more_children", sys!(SYS_wait4, -1, 0, 0, 0));
    t.show("chain_of_ten", chain(10));
    let limit = rlimit { rlim_cur: 1, rlim_max: 1 };
    t.show(
        "too_many_processes",
        status_of(|| {
            // The superuser may go beyond.
            let _ = sys!(SYS_setrlimit, RLIMIT_NPROC, &limit);
            let _ = sys!(SYS_setresuid, 4321, 4321, 4321);
            match sys!(SYS_fork) {
                Ok(0) => leave(0),
                Ok(_) => 0,
                Err(errno) => errno.0,
            }
        }),
    );
}

/// Becomes `user` with this limit of threads, of whom two wait, and executes no program with a limit of `then`, if that is not 0.
fn exec_as(user: i32, limit: u64, then: u64) -> i32 {
    let [wait, end] = pipe();
    let limits = |soft| rlimit { rlim_cur: soft, rlim_max: 100 };
    let _ = sys!(SYS_prlimit64, 0, RLIMIT_NPROC, &limits(limit), 0);
    let waiting = [0; 2].map(|_| {
        let waits = child(|| {
            let _ = sys!(SYS_setuid, user);
            let _ = sys!(SYS_close, end);
            sys!(SYS_read, wait, &mut 0u8, 1).is_ok().into()
        });
        super::helpers::until_child_sleeps(waits);
        waits
    });
    let _ = sys!(SYS_setuid, user);
    if then != 0 {
        let _ = sys!(SYS_prlimit64, 0, RLIMIT_NPROC, &limits(then), 0);
    }
    let outcome = sys!(SYS_execve, c"/no/such/program", 0, 0);
    let _ = sys!(SYS_close, end);
    for waits in waiting {
        wait_for(waits);
    }
    outcome.map_or_else(|errno| errno.0, |_| 0)
}

/// Limits of a child that are none of its parent's, and of threads.
fn limits(t: &mut Report) {
    let status = status_of(|| {
        let few = rlimit { rlim_cur: 1 << 20, rlim_max: 1 << 40 };
        // SAFETY: the parent sleeps until the child ends, which only makes calls.
        match unsafe { syscall(SYS_clone, CLONE_VM | CLONE_VFORK | SIGCHLD, 0, 0, 0, 0) } {
            0 => {
                let done = sys!(SYS_prlimit64, 0, RLIMIT_AS, &few, 0).is_ok();
                leave(i32::from(done))
            }
            pid => {
                let (_, limited) = wait_for(pid as i32);
                let room = sys!(SYS_mmap, 0, 64 << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
                limited * 10 + i32::from(room.is_ok())
            }
        }
    });
    t.show("limit_of_a_vfork_child", status);
    let status = status_of(|| {
        let one = rlimit { rlim_cur: 1, rlim_max: 1 };
        let _ = sys!(SYS_prlimit64, 0, RLIMIT_NPROC, &one, 0);
        let _ = sys!(SYS_setuid, 61_234);
        match std::thread::Builder::new().spawn(|| ()) {
            Ok(_) => 0,
            Err(error) => error.raw_os_error().unwrap_or(-1),
        }
    });
    t.show("threads_beyond_the_limit", sys::Errno(status));
    let status = status_of(|| {
        let three = rlimit { rlim_cur: 3, rlim_max: 3 };
        let _ = sys!(SYS_prlimit64, 0, RLIMIT_NPROC, &three, 0);
        let _ = sys!(SYS_setuid, 61_235);
        let made = (0..5).take_while(|_| match sys!(SYS_fork) {
            Ok(0) => leave(0),
            made => made.is_ok(),
        });
        let before = made.count() as i32;
        let mut status = 0;
        let _ = sys!(SYS_wait4, -1, &mut status, 0, 0);
        let after = match sys!(SYS_fork) {
            Ok(0) => leave(0),
            made => i32::from(made.is_ok()),
        };
        while sys!(SYS_wait4, -1, 0, 0, 0).is_ok() {}
        before * 10 + after
    });
    t.show("zombies_count", status);
    t.show("exec_beyond_the_limit", sys::Errno(status_of(|| exec_as(61_236, 1, 0))));
    t.show("exec_within_the_limit_again", sys::Errno(status_of(|| exec_as(61_237, 1, 3))));
    t.show("exec_within_the_limit", sys::Errno(status_of(|| exec_as(61_238, 2, 1))));
}
