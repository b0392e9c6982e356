//! Calls whose relatives are asked elsewhere: older forms, forms with one argument more, and what they say of bad arguments.

use std::arch::asm;

use libc::*;

use super::helpers::{CLOSED, NOWHERE, child, close, lstat, must_open, pipe, put, status_of, wait_for};
use crate::report::Report;
use crate::sys;

/// A process that is not there.
const NOBODY: i32 = 0x3f_ffff;

const PAGE: usize = 4096;

/// `MADV_DONTNEED_LOCKED`
const FORGET_LOCKED: i32 = 24;

/// Runs the group.
pub fn run(t: &mut Report) {
    times(t);
    attributes(t);
    identities(t);
    clocks(t);
    pipes(t);
    vectors(t);
    queued_signals(t);
    frames(t);
    events(t);
    mappings(t);
    policies(t);
    programs(t);
}

/// What a child that is no longer root is told, as its exit status.
fn without_rights(call: impl FnOnce() -> Result<usize, sys::Errno>) -> i32 {
    status_of(|| {
        sys!(SYS_setresgid, 1234, 1234, 1234).expect("root may");
        sys!(SYS_setresuid, 1234, 1234, 1234).expect("root may");
        call().map_or_else(|errno| errno.0, |_| 0)
    })
}

fn times(t: &mut Report) {
    put("file", "");
    let micro = |sec, usec| timeval { tv_sec: sec, tv_usec: usec };
    let shown = || format!("{} {}", lstat(c"file").st_atime, lstat(c"file").st_mtime);
    let pair = [micro(11, 12), micro(13, 14)];
    t.call("futimesat", sys!(SYS_futimesat, AT_FDCWD, c"file", &pair));
    t.show("futimesat_times", shown());
    t.call("futimesat_much", sys!(SYS_futimesat, AT_FDCWD, c"file", &[micro(0, 1_000_000), micro(0, 0)]));
    t.call("futimesat_below", sys!(SYS_futimesat, AT_FDCWD, c"file", &[micro(0, 0), micro(0, -1)]));
    t.call("futimesat_missing", sys!(SYS_futimesat, AT_FDCWD, c"missing", &pair));
    t.call("futimesat_closed", sys!(SYS_futimesat, CLOSED, c"file", &pair));
    t.call("futimesat_bad_times", sys!(SYS_futimesat, AT_FDCWD, c"file", NOWHERE));
    t.call("futimesat_bad_path", sys!(SYS_futimesat, AT_FDCWD, NOWHERE, &pair));
    let fd = must_open(c"file", O_RDONLY);
    t.call("futimesat_of_descriptor", sys!(SYS_futimesat, fd, 0, &[micro(5, 0), micro(6, 0)]));
    t.show("futimesat_of_descriptor_times", shown());
    close(fd);
    t.call("futimesat_now", sys!(SYS_futimesat, AT_FDCWD, c"file", 0));
    t.call("utime_now", sys!(SYS_utime, c"file", 0));
    t.is("utime_now_is_now", lstat(c"file").st_mtime > 1_700_000_000);
    t.call("utime_bad_times", sys!(SYS_utime, c"file", NOWHERE));
    t.call("utime_missing", sys!(SYS_utime, c"missing", &[1i64, 2]));
    t.call("utime_before_1970", sys!(SYS_utime, c"file", &[-5i64, -6]));
    t.show("utime_before_1970_times", shown());
    t.show("utime_of_others_now", without_rights(|| sys!(SYS_utime, c"file", 0)));
    t.show("utime_of_others", without_rights(|| sys!(SYS_utime, c"file", &[1i64, 2])));
}

fn attributes(t: &mut Report) {
    sys!(SYS_symlink, c"file", c"link").expect("a link");
    t.call("lremovexattr_missing", sys!(SYS_lremovexattr, c"link", c"trusted.none"));
    t.call("lremovexattr_user_of_link", sys!(SYS_lremovexattr, c"link", c"user.one"));
    sys!(SYS_lsetxattr, c"file", c"user.one", b"1", 1, 0).expect("an attribute");
    t.call("lremovexattr", sys!(SYS_lremovexattr, c"file", c"user.one"));
    t.call("lremovexattr_again", sys!(SYS_lremovexattr, c"file", c"user.one"));
    t.call("lremovexattr_no_file", sys!(SYS_lremovexattr, c"missing", c"user.one"));
    t.call("lremovexattr_nowhere", sys!(SYS_lremovexattr, c"file", NOWHERE));
    t.call("lremovexattr_unknown_space", sys!(SYS_lremovexattr, c"file", c"nonsense.x"));
    t.call("llistxattr_of_link", sys!(SYS_llistxattr, c"link", 0, 0));
    t.call("llistxattr_missing", sys!(SYS_llistxattr, c"missing", 0, 0));
    let fd = must_open(c"file", O_RDONLY);
    t.call("fsetxattr_create", sys!(SYS_fsetxattr, fd, c"user.two", b"2", 1, XATTR_CREATE));
    t.call("fsetxattr_create_again", sys!(SYS_fsetxattr, fd, c"user.two", b"2", 1, XATTR_CREATE));
    t.call("fsetxattr_replace", sys!(SYS_fsetxattr, fd, c"user.two", b"22", 2, XATTR_REPLACE));
    t.call("fsetxattr_replace_missing", sys!(SYS_fsetxattr, fd, c"user.six", b"6", 1, XATTR_REPLACE));
    t.call("fsetxattr_bad_flag", sys!(SYS_fsetxattr, fd, c"user.two", b"2", 1, 8));
    t.call("fsetxattr_much", sys!(SYS_fsetxattr, fd, c"user.two", b"2", 65_537, 0));
    t.call("fsetxattr_nowhere", sys!(SYS_fsetxattr, fd, c"user.two", NOWHERE, 1, 0));
    t.call("fsetxattr_no_name", sys!(SYS_fsetxattr, fd, NOWHERE, b"2", 1, 0));
    t.call("fsetxattr_closed", sys!(SYS_fsetxattr, CLOSED, c"user.two", b"2", 1, 0));
    close(fd);
    let fd = must_open(c"file", O_PATH);
    t.call("fsetxattr_path_only", sys!(SYS_fsetxattr, fd, c"user.two", b"2", 1, 0));
    close(fd);
}

fn identities(t: &mut Report) {
    t.call("setreuid_same", sys!(SYS_setreuid, 0, 0));
    t.call("setreuid_none", sys!(SYS_setreuid, -1, -1));
    let ids = |group: bool| {
        let mut ids = [9u32; 3];
        let [real, effective, saved] = &mut ids;
        let _ = if group {
            sys!(SYS_getresgid, real, effective, saved)
        } else {
            sys!(SYS_getresuid, real, effective, saved)
        };
        ids
    };
    // The saved one follows where the real one is set, or the effective one becomes another than the real one was.
    for (name, real, effective, expected) in [
        ("real", 1000, -1, [1000, 0, 0]),
        ("effective", -1, 1000, [0, 1000, 1000]),
        ("both", 1000, 2000, [1000, 2000, 2000]),
        ("swapped", 1000, 0, [1000, 0, 0]),
    ] {
        t.show(
            &format!("setreuid_{name}"),
            status_of(|| {
                let _ = sys!(SYS_setreuid, real, effective);
                i32::from(ids(false) == expected)
            }),
        );
        t.show(
            &format!("setregid_{name}"),
            status_of(|| {
                let _ = sys!(SYS_setregid, real, effective);
                i32::from(ids(true) == expected)
            }),
        );
    }
    t.show("setreuid_real_without_rights", without_rights(|| sys!(SYS_setreuid, 1, -1)));
    t.show("setreuid_effective_without_rights", without_rights(|| sys!(SYS_setreuid, -1, 1)));
    t.show("setreuid_same_without_rights", without_rights(|| sys!(SYS_setreuid, 1234, 1234)));
    t.show("setregid_real_without_rights", without_rights(|| sys!(SYS_setregid, 1, -1)));
    t.show("setregid_effective_without_rights", without_rights(|| sys!(SYS_setregid, -1, 1)));
    t.show("setregid_same_without_rights", without_rights(|| sys!(SYS_setregid, 1234, 1234)));
}

fn clocks(t: &mut Report) {
    let micro = |sec: i64, usec: i64| [sec, usec];
    t.call("settimeofday_nothing", sys!(SYS_settimeofday, 0, 0));
    t.call("settimeofday_much", sys!(SYS_settimeofday, &micro(1, 1_000_001), 0));
    t.call("settimeofday_below", sys!(SYS_settimeofday, &micro(1, -1), 0));
    t.call("settimeofday_before_1970", sys!(SYS_settimeofday, &micro(-1, 0), 0));
    t.call("settimeofday_nowhere", sys!(SYS_settimeofday, NOWHERE, 0));
    t.call("settimeofday_zone_nowhere", sys!(SYS_settimeofday, 0, NOWHERE));
    t.call("settimeofday_bad_zone", sys!(SYS_settimeofday, 0, &[16 * 60i32, 0]));
    t.show("settimeofday_without_rights", without_rights(|| sys!(SYS_settimeofday, &micro(5, 5), 0)));
    t.show(
        "settimeofday_bad_without_rights",
        without_rights(|| sys!(SYS_settimeofday, &micro(1, 1_000_001), 0)),
    );
}

fn part(bytes: &[u8]) -> iovec {
    iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() }
}

fn pipes(t: &mut Report) {
    let ([reader, writer], [second, to_second]) = (pipe(), pipe());
    let file = must_open(c"file", O_RDWR);
    let parts = [part(b"abc"), part(b"defgh")];
    let mut buffer = [0u8; 32];
    t.call("vmsplice", sys!(SYS_vmsplice, writer, &parts, 2, 0));
    t.call("vmsplice_nothing", sys!(SYS_vmsplice, writer, &parts, 0, 0));
    t.call("vmsplice_flags", sys!(SYS_vmsplice, writer, &parts, 1, 15));
    t.call("vmsplice_bad_flag", sys!(SYS_vmsplice, writer, &parts, 1, 16));
    t.call("vmsplice_too_many", sys!(SYS_vmsplice, writer, &parts, 1025, 0));
    t.call("vmsplice_nowhere", sys!(SYS_vmsplice, writer, NOWHERE, 1, 0));
    t.call("vmsplice_bad_part", sys!(SYS_vmsplice, writer, &[NOWHERE, 3], 1, 0));
    t.call("vmsplice_file", sys!(SYS_vmsplice, file, &parts, 2, 0));
    t.call("vmsplice_closed", sys!(SYS_vmsplice, CLOSED, &parts, 2, 0));
    t.call("tee", sys!(SYS_tee, reader, to_second, 100, 0));
    t.call("tee_again", sys!(SYS_tee, reader, to_second, 2, SPLICE_F_NONBLOCK));
    t.call("tee_copies", sys!(SYS_read, second, &mut buffer, 32));
    t.show("tee_copies_are", String::from_utf8_lossy(&buffer[..13]));
    t.call("tee_same", sys!(SYS_tee, reader, writer, 1, 0));
    t.call("tee_nothing", sys!(SYS_tee, reader, to_second, 0, 0));
    t.call("tee_bad_flag", sys!(SYS_tee, reader, to_second, 1, 16));
    t.call("tee_of_file", sys!(SYS_tee, file, to_second, 1, 0));
    t.call("tee_to_file", sys!(SYS_tee, reader, file, 1, 0));
    t.call("tee_wrong_ends", sys!(SYS_tee, to_second, reader, 1, 0));
    t.call("tee_closed", sys!(SYS_tee, CLOSED, to_second, 1, 0));
    t.call("tee_of_empty", sys!(SYS_tee, second, writer, 1, SPLICE_F_NONBLOCK));
    let target = [part(&buffer[..4]), part(&buffer[4..6])];
    t.call("vmsplice_takes", sys!(SYS_vmsplice, reader, &target, 2, 0));
    close(writer);
    for fd in [reader, second, to_second, file] {
        close(fd);
    }
}

fn vectors(t: &mut Report) {
    let fd = must_open(c"vector", O_CREAT | O_RDWR);
    let parts = [part(b"abc"), part(b"defgh")];
    // Offset, its upper half, flags.
    for (name, offset, flags) in [
        ("plain", 0i64, 0),
        ("position", -1, 0),
        ("below", -2, 0),
        ("data_sync", 2, 2),
        ("sync", 2, 4),
        ("bad_flag", 0, 0x4000_0000),
        ("append_at_position", -1, 0x10),
    ] {
        t.call(&format!("pwritev2_{name}"), sys!(SYS_pwritev2, fd, &parts, 2, offset, 0, flags));
    }
    t.show("pwritev2_content", super::helpers::get("vector"));
    t.call("pwritev2_moves", sys!(SYS_lseek, fd, 0, SEEK_CUR));
    t.call("pwritev2_too_many", sys!(SYS_pwritev2, fd, &parts, 1025, 0, 0, 0));
    t.call("pwritev2_nowhere", sys!(SYS_pwritev2, fd, NOWHERE, 1, 0, 0, 0));
    let [reader, writer] = pipe();
    t.call("pwritev2_pipe", sys!(SYS_pwritev2, writer, &parts, 2, 0, 0, 0));
    t.call("pwritev2_pipe_position", sys!(SYS_pwritev2, writer, &parts, 2, -1, 0, 0));
    t.call("pwritev2_wrong_end", sys!(SYS_pwritev2, reader, &parts, 2, -1, 0, 0));
    for fd in [fd, reader, writer] {
        close(fd);
    }
}

fn queued_signals(t: &mut Report) {
    let pid = sys!(SYS_getpid).unwrap_or(0) as i32;
    let mut queued = [0u8; 128];
    queued[8..12].copy_from_slice(&SI_QUEUE.to_le_bytes());
    let user = [0u8; 128];
    t.call("queue_probe", sys!(SYS_rt_sigqueueinfo, pid, 0, &queued));
    t.call("queue_probe_nobody", sys!(SYS_rt_sigqueueinfo, NOBODY, 0, &queued));
    t.call("queue_bad_signal", sys!(SYS_rt_sigqueueinfo, pid, 65, &queued));
    t.call("queue_bad_signal_to_nobody", sys!(SYS_rt_sigqueueinfo, NOBODY, 65, &queued));
    t.call("queue_pretends_to_nobody", sys!(SYS_rt_sigqueueinfo, NOBODY, 0, &user));
    t.call("queue_nowhere_to_nobody", sys!(SYS_rt_sigqueueinfo, NOBODY, 0, NOWHERE));
    t.call("thread_probe", sys!(SYS_rt_tgsigqueueinfo, pid, pid, 0, &queued));
    t.call("thread_other_process", sys!(SYS_rt_tgsigqueueinfo, NOBODY, pid, 0, &queued));
    t.call("thread_nobody", sys!(SYS_rt_tgsigqueueinfo, pid, NOBODY, 0, &queued));
    t.call("thread_zero", sys!(SYS_rt_tgsigqueueinfo, pid, 0, 0, &queued));
    t.call("process_zero", sys!(SYS_rt_tgsigqueueinfo, 0, pid, 0, &queued));
    t.call("process_below", sys!(SYS_rt_tgsigqueueinfo, -1, pid, 0, &queued));
    t.call("thread_bad_signal", sys!(SYS_rt_tgsigqueueinfo, pid, pid, 65, &queued));
    t.call("thread_bad_signal_to_nobody", sys!(SYS_rt_tgsigqueueinfo, pid, NOBODY, 65, &queued));
    t.call("thread_nowhere_and_zero", sys!(SYS_rt_tgsigqueueinfo, 0, 0, 0, NOWHERE));
    t.call("thread_pretends_to_nobody", sys!(SYS_rt_tgsigqueueinfo, NOBODY, NOBODY, 0, &user));
    // Who may pretend is known by the number of the thread, not of the process.
    let pretends = move || sys!(SYS_rt_sigqueueinfo, pid, 0, &[0u8; 128]);
    t.call("queue_pretends_to_itself", pretends());
    t.call("queue_pretends_by_thread", std::thread::spawn(pretends).join().expect("a thread"));
    let set = 1u64 << (SIGUSR1 - 1);
    t.call("signalfd_bad_size", sys!(SYS_signalfd, -1, &set, 4));
    t.call("signalfd_not_one", sys!(SYS_signalfd, 0, &set, 8));
    let fd = sys!(SYS_signalfd, -1, &set, 8);
    t.ok("signalfd", fd);
    t.ok("signalfd_changed", fd.and_then(|fd| sys!(SYS_signalfd, fd, &set, 8)));
    if let Ok(fd) = fd {
        close(fd as i32);
    }
}

fn frames(t: &mut Report) {
    let pid = child(|| {
        // SAFETY: the handler of Rust's own goes: it would go on behind the call.
        unsafe { signal(SIGSEGV, SIG_DFL) };
        // SAFETY: the stack is never used again: the call does not come back.
        unsafe { asm!("mov rsp, 8", "syscall", in("rax") SYS_rt_sigreturn, options(noreturn)) }
    });
    t.show("rt_sigreturn_without_frame", wait_for(pid).1);
    let pid: i64;
    // SAFETY: the child, which runs on the parent's memory, touches registers only and ends.
    unsafe {
        asm!(
            "syscall", "test rax, rax", "jnz 2f", "mov edi, 7", "mov eax, 60", "syscall", "2:",
            inlateout("rax") SYS_vfork => pid, out("rdi") _, lateout("rcx") _, lateout("r11") _,
        );
    }
    t.show("vfork", wait_for(pid as i32).1);
}

fn events(t: &mut Report) {
    let epoll = sys!(SYS_epoll_create1, 0).expect("an epoll") as i32;
    let mut events = [sys::zeroed::<epoll_event>(); 2];
    let at = events.as_mut_ptr();
    let time = |sec, nsec| timespec { tv_sec: sec, tv_nsec: nsec };
    t.call("epoll_pwait2_now", sys!(SYS_epoll_pwait2, epoll, at, 2, &time(0, 0), 0, 8));
    t.call("epoll_pwait2_bad_time", sys!(SYS_epoll_pwait2, epoll, at, 2, &time(0, 1_000_000_000), 0, 8));
    t.call("epoll_pwait2_time_below", sys!(SYS_epoll_pwait2, epoll, at, 2, &time(-1, 0), 0, 8));
    t.call("epoll_pwait2_time_nowhere", sys!(SYS_epoll_pwait2, epoll, at, 2, NOWHERE, 0, 8));
    t.call("epoll_pwait2_no_room", sys!(SYS_epoll_pwait2, epoll, at, 0, &time(0, 0), 0, 8));
    t.call("epoll_pwait2_mask", sys!(SYS_epoll_pwait2, epoll, at, 2, &time(0, 0), &!0u64, 8));
    t.call("epoll_pwait2_bad_mask", sys!(SYS_epoll_pwait2, epoll, at, 2, &time(0, 0), &!0u64, 4));
    t.call("epoll_pwait2_mask_nowhere", sys!(SYS_epoll_pwait2, epoll, at, 2, &time(0, 0), NOWHERE, 8));
    t.call("epoll_pwait2_closed", sys!(SYS_epoll_pwait2, CLOSED, at, 2, &time(0, 0), 0, 8));
    t.call("epoll_pwait2_no_epoll", sys!(SYS_epoll_pwait2, 0, at, 2, &time(0, 0), 0, 8));
    close(epoll);
}

fn mappings(t: &mut Report) {
    let file = sys!(SYS_memfd_create, c"mapped", 0).expect("a file") as i32;
    sys!(SYS_ftruncate, file, PAGE).expect("a size");
    let mut map = |case: &str, flags: i32, fd: i32| {
        let at = sys!(SYS_mmap, 0, PAGE, PROT_READ | PROT_WRITE, flags, fd, 0);
        t.ok(case, at);
        at
    };
    let _ = map("validated", MAP_SHARED_VALIDATE, file);
    for (name, flag) in [
        ("sync", MAP_SYNC),
        ("unknown", 0x20_0000),
        ("populate", MAP_POPULATE),
        ("stack", MAP_STACK),
        ("deny_write", MAP_DENYWRITE),
        ("huge", MAP_HUGETLB),
    ] {
        let _ = map(&format!("validated_{name}"), MAP_SHARED_VALIDATE | flag, file);
        let _ = map(&format!("shared_{name}"), MAP_SHARED | flag, file);
    }
    let _ = map("validated_fixed_no_replace", MAP_SHARED_VALIDATE | MAP_FIXED_NOREPLACE, file);
    let _ = map("validated_anonymous", MAP_SHARED_VALIDATE | MAP_ANONYMOUS | MAP_SYNC, -1);
    let at = map("locked", MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED, -1).expect("memory");
    // SAFETY: the page was mapped above.
    unsafe { (at as *mut u8).write_volatile(5) };
    t.call("forget_locked", sys!(SYS_madvise, at, PAGE, FORGET_LOCKED));
    // SAFETY: the page was mapped above.
    t.show("forgot_locked", unsafe { (at as *const u8).read_volatile() });
    t.call("forget_locked_part", sys!(SYS_madvise, at + 1, PAGE, FORGET_LOCKED));
    close(file);
}

fn policies(t: &mut Report) {
    let at = sys!(SYS_mmap, 0, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    let at = at.expect("memory");
    let bind = |length: usize, mode: u32, nodes: usize, bits: usize| {
        sys!(SYS_mbind, at, length, mode, nodes, bits, 0)
    };
    let node = std::ptr::from_ref(&1u64).addr();
    t.call("mbind_preferred", bind(PAGE, 1, node, 64));
    t.call("mbind_preferred_none", bind(PAGE, 1, 0, 0));
    t.call("mbind_bind_none", bind(PAGE, 2, 0, 0));
    t.call("mbind_local", bind(PAGE, 4, 0, 0));
    t.call("mbind_local_node", bind(PAGE, 4, node, 64));
    t.call("mbind_default", bind(PAGE, 0, 0, 0));
    t.call("mbind_much", bind(usize::MAX - PAGE, 2, node, 64));
    t.call("mbind_two_flags", bind(PAGE, 2 | 0xc000, node, 64));
    let _ = sys!(SYS_munmap, at, 2 * PAGE);
}

fn programs(t: &mut Report) {
    let none = [0usize];
    let run = |path: &std::ffi::CStr, flags: i32| sys!(SYS_execveat, AT_FDCWD, path, &none, &none, flags);
    t.call("execveat_empty_bad_flag", run(c"", 0x8000));
    t.call("execveat_missing_bad_flag", run(c"missing", 0x8000));
}
