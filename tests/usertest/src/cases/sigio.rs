//! Files that tell of themselves by signals: owners, `O_ASYNC`, `F_NOTIFY`.

use libc::*;

use super::helpers::{NOWHERE, child, close, must_open, pipe, put, status_of, wait_for};
use crate::report::Report;
use crate::sys::{self, Errno};

const F_SETSIG: i32 = 10;
const F_GETSIG: i32 = 11;
const F_SETOWN_EX: i32 = 15;
const F_GETOWN_EX: i32 = 16;
const FIOSETOWN: u32 = 0x8901;
const SIOCGPGRP: u32 = 0x8904;

/// Runs the group.
pub fn run(t: &mut Report) {
    owners(t);
    let set = 1u64 << (SIGIO - 1) | 1 << (SIGUSR1 - 1) | 1 << (SIGUSR2 - 1);
    sys!(SYS_rt_sigprocmask, SIG_BLOCK, &set, 0, 8).expect("a mask");
    changes(t, set);
    directories(t, set);
    sys!(SYS_rt_sigprocmask, SIG_UNBLOCK, &set, 0, 8).expect("a mask");
}

fn owners(t: &mut Report) {
    let [reader, writer] = pipe();
    let pid = sys!(SYS_getpid).unwrap_or(0);
    let group = sys!(SYS_getpgrp).unwrap_or(0);
    let own = |command, argument: usize| sys!(SYS_fcntl, reader, command, argument);
    let mut both = [-1i32; 2];
    t.call("owner_at_first", own(F_GETOWN, 0));
    t.call("owner_at_first_ex", sys!(SYS_fcntl, reader, F_GETOWN_EX, &mut both));
    t.show("owner_at_first_is", format!("{both:?}"));
    t.call("set_owner", own(F_SETOWN, pid));
    t.is("owner_is_process", own(F_GETOWN, 0) == Ok(pid));
    let _ = sys!(SYS_fcntl, reader, F_GETOWN_EX, &mut both);
    t.is("owner_ex_is_process", both == [1, pid as i32]);
    t.call("set_owner_group", own(F_SETOWN, group.wrapping_neg()));
    t.is(
        "owner_is_group",
        own(F_GETOWN, 0) == Err(Errno(group as i32)) || own(F_GETOWN, 0) == Ok(group.wrapping_neg()),
    );
    t.call("set_owner_nobody", own(F_SETOWN, 0x3f_ffff));
    t.call("set_owner_least", own(F_SETOWN, i32::MIN as usize));
    t.call("set_owner_none", own(F_SETOWN, 0));
    t.call("owner_none", own(F_GETOWN, 0));
    t.call("set_owner_thread", sys!(SYS_fcntl, reader, F_SETOWN_EX, &[0i32, pid as i32]));
    let _ = sys!(SYS_fcntl, reader, F_GETOWN_EX, &mut both);
    t.is("owner_is_thread", both == [0, pid as i32]);
    t.call("set_owner_kind", sys!(SYS_fcntl, reader, F_SETOWN_EX, &[3i32, 1]));
    t.call("set_owner_missing", sys!(SYS_fcntl, reader, F_SETOWN_EX, &[2i32, 0x3f_ffff]));
    t.call("set_owner_fault", sys!(SYS_fcntl, reader, F_SETOWN_EX, NOWHERE));
    t.call("get_owner_fault", sys!(SYS_fcntl, reader, F_GETOWN_EX, NOWHERE));
    t.call("set_signal", own(F_SETSIG, SIGUSR1 as usize));
    t.call("get_signal", own(F_GETSIG, 0));
    t.call("set_signal_high", own(F_SETSIG, 65));
    t.call("set_signal_default", own(F_SETSIG, 0));
    t.call("get_signal_default", own(F_GETSIG, 0));
    let gone = child(|| 0);
    wait_for(gone);
    t.call("set_owner_gone", own(F_SETOWN, gone as usize));
    let mut number = 0i32;
    t.call("pipe_has_no_owner_request", sys!(SYS_ioctl, reader, FIOSETOWN, &number));
    close(reader);
    close(writer);
    let socket = sys!(SYS_socket, AF_UNIX, SOCK_STREAM, 0).expect("a socket");
    number = pid as i32;
    t.call("socket_set_owner", sys!(SYS_ioctl, socket, FIOSETOWN, &number));
    t.is("socket_owner", sys!(SYS_fcntl, socket, F_GETOWN) == Ok(pid));
    t.call("socket_get_owner", sys!(SYS_ioctl, socket, SIOCGPGRP, &mut number));
    t.is("socket_owner_told", number == pid as i32);
    close(socket as i32);
}

/// The next of the signals, without waiting longer than it can take: its number, its code, and what it says of a file.
fn next(set: u64) -> String {
    let mut info = sys::zeroed::<siginfo_t>();
    let long = timespec { tv_sec: 10, tv_nsec: 0 };
    match sys!(SYS_rt_sigtimedwait, &set, &mut info, &long, 8) {
        Ok(signal) => {
            // SAFETY: the structure is 128 bytes of numbers.
            let words = unsafe { *std::ptr::from_ref(&info).cast::<[i32; 8]>() };
            format!("{signal} {} {:x} {}", words[2], words[4], words[6])
        }
        Err(errno) => format!("{errno}"),
    }
}

/// Whether none of the signals waits.
fn none(set: u64) -> bool {
    let mut pending = 0u64;
    let _ = sys!(SYS_rt_sigpending, &mut pending, 8);
    pending & set == 0
}

fn changes(t: &mut Report, set: u64) {
    let pid = sys!(SYS_getpid).unwrap_or(0);
    let mut ends = [0i32; 2];
    sys!(SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, &mut ends).expect("a pair");
    let [reader, writer] = ends;
    let _ = sys!(SYS_fcntl, reader, F_SETOWN, pid);
    let _ = sys!(SYS_write, writer, b"x", 1);
    t.is("without_async_nothing_comes", none(set));
    t.call("fioasync", sys!(SYS_ioctl, reader, FIOASYNC, &1i32));
    t.call("fioasync_sets_the_flag", sys!(SYS_fcntl, reader, F_GETFL));
    let _ = sys!(SYS_write, writer, b"x", 1);
    t.show("data", next(set));
    let _ = sys!(SYS_fcntl, reader, F_SETSIG, SIGUSR1);
    let _ = sys!(SYS_write, writer, b"x", 1);
    t.show("data_with_details", next(set));
    t.call("fioasync_off", sys!(SYS_ioctl, reader, FIOASYNC, &0i32));
    t.call("fioasync_clears_the_flag", sys!(SYS_fcntl, reader, F_GETFL));
    t.call("fioasync_fault", sys!(SYS_ioctl, reader, FIOASYNC, NOWHERE));
    close(reader);
    close(writer);
    let [reader, writer] = pipe();
    let _ = sys!(SYS_fcntl, reader, F_SETOWN, pid);
    t.call("setfl", sys!(SYS_fcntl, reader, F_SETFL, O_ASYNC));
    let told = status_of(|| sys!(SYS_write, writer, b"x", 1).map_or(1, |_| 0));
    t.show("pipe_child_writes", told);
    t.show("pipe_data", next(set));
    close(reader);
    close(writer);
    put("plain", "content");
    let file = must_open(c"plain", O_RDONLY);
    t.call("fioasync_file", sys!(SYS_ioctl, file, FIOASYNC, &1i32));
    t.call("setfl_file", sys!(SYS_fcntl, file, F_SETFL, O_ASYNC));
    t.call("setfl_file_keeps", sys!(SYS_fcntl, file, F_GETFL));
    close(file);
}

fn directories(t: &mut Report, set: u64) {
    const CREATE: u32 = 4;
    const DELETE: u32 = 8;
    const RENAME: u32 = 0x10;
    const MULTISHOT: u32 = 1 << 31;
    sys!(SYS_mkdir, c"watched", 0o755).expect("a directory");
    put("watched/first", "1");
    let fd = must_open(c"watched", O_RDONLY | O_DIRECTORY);
    let file = must_open(c"watched/first", O_RDONLY);
    t.call("notify_file", sys!(SYS_fcntl, file, F_NOTIFY, CREATE));
    t.call("notify_file_nothing", sys!(SYS_fcntl, file, F_NOTIFY, MULTISHOT));
    t.call("notify", sys!(SYS_fcntl, fd, F_NOTIFY, CREATE));
    let owner = sys!(SYS_fcntl, fd, F_GETOWN);
    t.is("notify_sets_the_owner", owner == sys!(SYS_getpid));
    put("watched/first", "2");
    t.is("a_change_is_no_creation", none(set));
    put("watched/second", "2");
    t.show("created", next(set));
    put("watched/third", "3");
    t.is("told_once", none(set));
    let _ = sys!(SYS_fcntl, fd, F_SETSIG, SIGUSR2);
    t.call("notify_more", sys!(SYS_fcntl, fd, F_NOTIFY, DELETE | RENAME | MULTISHOT));
    let _ = sys!(SYS_unlink, c"watched/third");
    t.show("deleted", next(set));
    let _ = sys!(SYS_rename, c"watched/second", c"watched/other");
    t.show("renamed", next(set));
    t.call("notify_end", sys!(SYS_fcntl, fd, F_NOTIFY, 0));
    let _ = sys!(SYS_unlink, c"watched/other");
    t.is("ended", none(set));
    let _ = sys!(SYS_fcntl, fd, F_NOTIFY, CREATE | MULTISHOT);
    let second = sys!(SYS_dup, fd).expect("a number");
    close(fd);
    put("watched/fourth", "4");
    t.is("ended_by_close", none(set));
    close(second as i32);
    close(file);
}
