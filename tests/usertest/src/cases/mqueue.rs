//! POSIX message queues.

use std::ffi::CString;

use libc::*;

use super::helpers::{child, close, get, sleep_ms, status_of, until_child_sleeps, wait_for};
use crate::report::Report;
use crate::sys::{self, Errno};

/// A name that no other run uses.
fn name(word: &str) -> CString {
    use std::sync::OnceLock;
    static RUN: OnceLock<u32> = OnceLock::new();
    CString::new(format!("usertest-{}-{word}", RUN.get_or_init(std::process::id))).expect("no NUL")
}

/// `struct mq_attr`: flags, messages, size, messages that wait.
fn attributes(messages: i64, size: i64) -> [i64; 8] {
    [0, messages, size, 0, 0, 0, 0, 0]
}

fn open(word: &str, flags: i32, attributes: [i64; 8]) -> Result<usize, Errno> {
    sys!(SYS_mq_open, name(word).as_c_str(), flags, 0o600, &attributes)
}

fn send(fd: i32, text: &str, priority: u32) -> Result<usize, Errno> {
    sys!(SYS_mq_timedsend, fd, text.as_ptr(), text.len(), priority, 0)
}

fn receive(fd: i32) -> String {
    let (mut bytes, mut priority) = ([0u8; 16], 0u32);
    match sys!(SYS_mq_timedreceive, fd, bytes.as_mut_ptr(), 16, &mut priority, 0) {
        Ok(length) => format!("{priority} {}", String::from_utf8_lossy(&bytes[..length])),
        Err(errno) => errno.to_string(),
    }
}

fn become_nobody() {
    let _ = sys!(SYS_setgroups, 0, 0);
    let _ = sys!(SYS_setresgid, 65534, 65534, 65534);
    let _ = sys!(SYS_setresuid, 65534, 65534, 65534);
}

fn as_nobody(call: impl FnOnce() -> Result<usize, Errno>) -> Errno {
    Errno(status_of(|| {
        become_nobody();
        call().map_or_else(|errno| errno.0, |_| 0)
    }))
}

/// Runs the group.
pub fn run(t: &mut Report) {
    opening(t);
    messages(t);
    waiting(t);
    notifying(t);
    limits(t);
}

fn opening(t: &mut Report) {
    let create = O_CREAT | O_RDWR;
    t.call("open_unknown", open("a", O_RDWR, attributes(2, 16)));
    t.call("open_empty_name", sys!(SYS_mq_open, c"", create, 0o600, 0));
    t.call("open_slash", sys!(SYS_mq_open, c"/a", create, 0o600, 0));
    t.call("open_dot", sys!(SYS_mq_open, c".", create, 0o600, 0));
    t.call("open_dots", sys!(SYS_mq_open, c"..", create, 0o600, 0));
    t.call(
        "open_long_name",
        sys!(SYS_mq_open, &*CString::new("n".repeat(256)).expect("no NUL"), create, 0o600, 0),
    );
    t.call("open_bad_pointer", sys!(SYS_mq_open, 8, create, 0o600, 0));
    t.call("open_bad_attributes", sys!(SYS_mq_open, 8, create, 0o600, 8));
    for (case, messages, size) in [
        ("open_no_messages", 0, 16),
        ("open_no_size", 2, 0),
        ("open_negative", -1, 16),
        ("open_far_too_many", 65_537, 16),
        ("open_far_too_large", 2, 16_777_217),
    ] {
        t.call(case, open("a", create, attributes(messages, size)));
    }
    t.call("open", open("a", create, attributes(2, 16)));
    t.call("close_on_exec", sys!(SYS_fcntl, 3, F_GETFD));
    t.call("open_again", open("a", O_RDONLY, attributes(0, 0)));
    t.call("open_exclusive", open("a", create | O_EXCL, attributes(2, 16)));
    t.call("open_both", open("a", O_RDWR | O_WRONLY, attributes(2, 16)));
    close(4);
    t.show("open_others", as_nobody(|| open("a", O_RDONLY, attributes(0, 0))));
    t.show("unlink_others", as_nobody(|| sys!(SYS_mq_unlink, name("a").as_c_str())));
    t.show(
        "link",
        std::fs::read_link("/proc/self/fd/3").expect("a link").to_string_lossy().starts_with("/usertest-"),
    );
    let mut about = sys::zeroed::<stat>();
    t.call("stat", sys!(SYS_fstat, 3, &mut about));
    t.show("mode", format!("{:o} {}", about.st_mode, about.st_nlink));
    t.call("chmod", sys!(SYS_fchmod, 3, 0o644));
    t.show("open_others_now", as_nobody(|| open("a", O_RDONLY, attributes(0, 0))));
    t.show("open_others_to_write", as_nobody(|| open("a", O_WRONLY, attributes(0, 0))));
    t.show("others_limits", as_nobody(|| open("b", create, attributes(11, 16))));
    t.show("others_size", as_nobody(|| open("b", create, attributes(1, 8193))));
    let mut found = [0i64; 8];
    t.call("attributes", sys!(SYS_mq_getsetattr, 3, 0, found.as_mut_ptr()));
    t.show("attributes_found", format!("{found:?}"));
    t.call("attributes_bad_flag", sys!(SYS_mq_getsetattr, 99, &[1i64; 8], 0));
    t.call("attributes_bad_fd", sys!(SYS_mq_getsetattr, 99, 0, 0));
    t.call("attributes_other_fd", sys!(SYS_mq_getsetattr, 1, 0, 0));
    t.call("attributes_bad_pointer", sys!(SYS_mq_getsetattr, 3, 8, 0));
    t.call("attributes_bad_place", sys!(SYS_mq_getsetattr, 3, 0, 8));
    t.call(
        "set",
        sys!(SYS_mq_getsetattr, 3, &[i64::from(O_NONBLOCK), 7, 7, 7, 0, 0, 0, 0], found.as_mut_ptr()),
    );
    t.show("before", found[0]);
    let _ = sys!(SYS_mq_getsetattr, 3, 0, found.as_mut_ptr());
    t.show("after", format!("{:?} {}", &found[..4], sys!(SYS_fcntl, 3, F_GETFL).unwrap_or(0)));
    t.call("unlink_bad_pointer", sys!(SYS_mq_unlink, 8));
    t.call("unlink_empty", sys!(SYS_mq_unlink, c""));
    t.call("unlink_slash", sys!(SYS_mq_unlink, c"/a"));
    t.call("unlink", sys!(SYS_mq_unlink, name("a").as_c_str()));
    t.call("unlink_again", sys!(SYS_mq_unlink, name("a").as_c_str()));
    t.call("lives_on", send(3, "x", 0));
    close(3);
    t.call("default", sys!(SYS_mq_open, name("a").as_c_str(), create, 0o600, 0));
    let _ = sys!(SYS_mq_getsetattr, 3, 0, found.as_mut_ptr());
    t.show("default_limits", format!("{:?}", &found[..4]));
    let _ = sys!(SYS_mq_unlink, name("a").as_c_str());
    close(3);
}

fn messages(t: &mut Report) {
    let fd = open("m", O_CREAT | O_RDWR | O_NONBLOCK, attributes(4, 16)).expect("a queue") as i32;
    t.show("receive_none", receive(fd));
    t.call("send_high", send(fd, "x", 32_768));
    t.call("send_high_bad_fd", send(99, "x", 32_768));
    t.call("send_bad_fd", send(99, "x", 0));
    t.call("send_other_fd", send(1, "x", 0));
    t.call("send_long", send(fd, "12345678901234567", 0));
    t.call("send_bad_pointer", sys!(SYS_mq_timedsend, fd, 8, 4, 0, 0));
    t.call("send_bad_time", sys!(SYS_mq_timedsend, fd, 8, 4, 99_999, &[0i64, -1]));
    t.call("send_bad_time_pointer", sys!(SYS_mq_timedsend, 99, 8, 4, 99_999, 8));
    for (text, priority) in [("one", 1), ("five", 5), ("", 1), ("high", 32_767)] {
        t.call("send", send(fd, text, priority));
    }
    t.call("send_full", send(fd, "x", 0));
    let mut poll = [pollfd { fd, events: POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM, revents: 0 }];
    let _ = sys!(SYS_poll, &mut poll, 1, 0);
    t.show("poll_full", poll[0].revents);
    let mut text = [0u8; 100];
    let length = sys!(SYS_read, fd, text.as_mut_ptr(), 100).unwrap_or(0);
    t.show("status", format!("{:?}", String::from_utf8_lossy(&text[..length])));
    t.call("receive_short", sys!(SYS_mq_timedreceive, fd, text.as_mut_ptr(), 15, 0, 0));
    t.call("receive_bad_fd", sys!(SYS_mq_timedreceive, 99, text.as_mut_ptr(), 16, 0, 0));
    t.call("receive_bad_pointer", sys!(SYS_mq_timedreceive, fd, 8, 16, 0, 0));
    for _ in 0..4 {
        t.show("receive", receive(fd));
    }
    let _ = sys!(SYS_poll, &mut poll, 1, 0);
    t.show("poll_empty", poll[0].revents);
    let reader = open("m", O_RDONLY, attributes(0, 0)).expect("a queue") as i32;
    let writer = open("m", O_WRONLY, attributes(0, 0)).expect("a queue") as i32;
    t.call("send_to_reader", send(reader, "x", 0));
    t.show("receive_from_writer", receive(writer));
    t.call("write", sys!(SYS_write, writer, c"x".as_ptr(), 1));
    close(reader);
    close(writer);
    let _ = sys!(SYS_mq_unlink, name("m").as_c_str());
    close(fd);
}

/// A time of the real-time clock so far from now.
fn soon(nanoseconds: i64) -> [i64; 2] {
    let mut time = sys::zeroed::<timespec>();
    let _ = sys!(SYS_clock_gettime, CLOCK_REALTIME, &mut time);
    let sum = time.tv_nsec + nanoseconds;
    [time.tv_sec + sum / 1_000_000_000, sum % 1_000_000_000]
}

extern "C" fn ignore(_: i32) {}

fn waiting(t: &mut Report) {
    let fd = open("w", O_CREAT | O_RDWR, attributes(1, 16)).expect("a queue") as i32;
    let mut text = [0u8; 16];
    t.call("receive_late", sys!(SYS_mq_timedreceive, fd, text.as_mut_ptr(), 16, 0, &[0i64, 0]));
    t.call("receive_soon", sys!(SYS_mq_timedreceive, fd, text.as_mut_ptr(), 16, 0, &soon(20_000_000)));
    let reader = child(|| i32::from(receive(fd) == "3 hello"));
    until_child_sleeps(reader);
    t.call("send_to_waiting", send(fd, "hello", 3));
    t.show("waiting_got", wait_for(reader).1);
    t.call("fill", send(fd, "first", 0));
    t.call("send_late", sys!(SYS_mq_timedsend, fd, text.as_ptr(), 1, 0, &[0i64, 0]));
    t.call("send_late_bad", sys!(SYS_mq_timedsend, fd, text.as_ptr(), 1, 0, &[0i64, 1_000_000_000]));
    let sender = child(|| send(fd, "second", 0).map_or(1, |_| 0));
    until_child_sleeps(sender);
    t.show("take", receive(fd));
    t.show("sender", wait_for(sender).1);
    t.show("take_second", receive(fd));
    for (case, flags) in [("interrupted", 0), ("restarted", SA_RESTART)] {
        // Before the child is there, so that no signal can come too early.
        // SAFETY: a structure of numbers, and a handler that does nothing.
        unsafe {
            let mut action: sigaction = std::mem::zeroed();
            action.sa_sigaction = ignore as *const () as usize;
            action.sa_flags = flags;
            sigaction(SIGUSR1, &raw const action, std::ptr::null_mut());
        }
        let reader = child(|| match receive(fd).as_str() {
            "EINTR" => 4,
            "0 late" => 7,
            _ => 9,
        });
        until_child_sleeps(reader);
        // Again and again, as the first may come before it waits; the handler of the second case lets it wait on.
        for round in 0..500 {
            let _ = sys!(SYS_kill, reader, SIGUSR1);
            sleep_ms(10);
            if flags == SA_RESTART && round > 5 {
                let _ = send(fd, "late", 0);
                break;
            }
            let mut info = sys::zeroed::<siginfo_t>();
            let _ = sys!(SYS_waitid, P_PID, reader, &mut info, WEXITED | WNOHANG | WNOWAIT, 0);
            if info.si_signo != 0 {
                break;
            }
        }
        t.show(case, wait_for(reader).1);
    }
    let _ = sys!(SYS_mq_unlink, name("w").as_c_str());
    close(fd);
}

fn event(notify: i32, signal: i32) -> sigevent {
    let mut event = sys::zeroed::<sigevent>();
    event.sigev_notify = notify;
    event.sigev_signo = signal;
    event.sigev_value.sival_ptr = 77 as *mut c_void;
    event
}

/// The signal that waits: number, code, sender and value.
fn taken() -> String {
    let mut info = [0i32; 32];
    match sys!(SYS_rt_sigtimedwait, &(1u64 << (SIGUSR1 - 1)), info.as_mut_ptr(), &[0i64, 0], 8) {
        Ok(signal) => {
            let own = info[4] == std::process::id().cast_signed();
            format!("{signal} {} {own} {} {}", info[2], info[5], info[6])
        }
        Err(errno) => errno.to_string(),
    }
}

fn notifying(t: &mut Report) {
    let set = 1u64 << (SIGUSR1 - 1);
    let _ = sys!(SYS_rt_sigprocmask, SIG_BLOCK, &set, 0, 8);
    let fd = open("n", O_CREAT | O_RDWR | O_NONBLOCK, attributes(4, 16)).expect("a queue") as i32;
    t.call("notify_bad_kind", sys!(SYS_mq_notify, fd, &event(9, SIGUSR1)));
    t.call("notify_bad_signal", sys!(SYS_mq_notify, fd, &event(SIGEV_SIGNAL, 65)));
    t.call("notify_bad_signal_and_fd", sys!(SYS_mq_notify, 99, &event(SIGEV_SIGNAL, 65)));
    t.call("notify_bad_fd", sys!(SYS_mq_notify, 99, &event(SIGEV_SIGNAL, SIGUSR1)));
    t.call("notify_other_fd", sys!(SYS_mq_notify, 1, &event(SIGEV_SIGNAL, SIGUSR1)));
    t.call("notify_bad_pointer", sys!(SYS_mq_notify, fd, 8));
    t.call("notify_thread_bad_cookie", sys!(SYS_mq_notify, fd, &event(SIGEV_THREAD, 99)));
    t.call("notify", sys!(SYS_mq_notify, fd, &event(SIGEV_SIGNAL, SIGUSR1)));
    t.call("notify_again", sys!(SYS_mq_notify, fd, &event(SIGEV_SIGNAL, SIGUSR1)));
    let mut text = [0u8; 100];
    let length = sys!(SYS_read, fd, text.as_mut_ptr(), 100).unwrap_or(0);
    t.show("notify_status", String::from_utf8_lossy(&text[..length.min(37)]));
    t.show("not_yet", taken());
    t.call("notify_send", send(fd, "a", 0));
    t.show("told", taken());
    let _ = send(fd, "b", 0);
    t.call("notify_when_full", sys!(SYS_mq_notify, fd, &event(SIGEV_SIGNAL, SIGUSR1)));
    let _ = send(fd, "c", 0);
    t.show("not_empty", taken());
    for _ in 0..3 {
        let _ = receive(fd);
    }
    t.call(
        "notify_busy_in_child",
        Ok(status_of(|| {
            sys!(SYS_mq_notify, fd, &event(SIGEV_SIGNAL, SIGUSR1)).map_or_else(|errno| errno.0, |_| 0)
        }) as usize),
    );
    t.call(
        "forget_in_child",
        Ok(status_of(|| sys!(SYS_mq_notify, fd, 0).map_or_else(|errno| errno.0, |_| 0)) as usize),
    );
    let reader = child(|| {
        let _ = sys!(SYS_mq_getsetattr, fd, &[0i64; 8], 0);
        i32::from(receive(fd) == "0 x")
    });
    until_child_sleeps(reader);
    let _ = send(fd, "x", 0);
    t.show("reader_first", wait_for(reader).1);
    t.show("nobody_told", taken());
    let _ = sys!(SYS_mq_getsetattr, fd, &[i64::from(O_NONBLOCK), 0, 0, 0, 0, 0, 0, 0], 0);
    t.call("forget", sys!(SYS_mq_notify, fd, 0));
    let _ = send(fd, "y", 0);
    t.show("forgotten", taken());
    let _ = receive(fd);
    t.call("notify_nothing", sys!(SYS_mq_notify, fd, &event(SIGEV_NONE, 0)));
    t.call("notify_nothing_busy", sys!(SYS_mq_notify, fd, &event(SIGEV_SIGNAL, SIGUSR1)));
    close(sys!(SYS_dup, fd).expect("another") as i32);
    t.call("closed_one", sys!(SYS_mq_notify, fd, &event(SIGEV_SIGNAL, SIGUSR1)));
    let _ = sys!(SYS_mq_notify, fd, 0);
    status_of(|| {
        let _ = sys!(SYS_mq_notify, fd, &event(SIGEV_SIGNAL, SIGUSR1));
        0
    });
    t.call("owner_gone", sys!(SYS_mq_notify, fd, &event(SIGEV_SIGNAL, SIGUSR1)));
    let _ = sys!(SYS_mq_unlink, name("n").as_c_str());
    close(fd);
    let _ = sys!(SYS_rt_sigprocmask, SIG_UNBLOCK, &set, 0, 8);
}

fn limits(t: &mut Report) {
    for file in ["msg_default", "msg_max", "msgsize_default", "msgsize_max", "queues_max"] {
        t.show(file, get(&format!("/proc/sys/fs/mqueue/{file}")).trim_end());
    }
    t.is("limit_too_low", std::fs::write("/proc/sys/fs/mqueue/msgsize_max", "127\n").is_err());
    t.show(
        "bytes_limit",
        status_of(|| {
            let _ = sys!(SYS_setrlimit, RLIMIT_MSGQUEUE, &[2000u64, 2000]);
            let _ = sys!(SYS_setresuid, 65533, 65533, 65533);
            let sizes = [1800i64, 1000, 1000]
                .map(|size| open(&format!("l{size}"), O_CREAT | O_RDWR, attributes(1, size)));
            let after = sys!(SYS_mq_unlink, name("l1800").as_c_str());
            let _ = sys!(SYS_mq_unlink, name("l1000").as_c_str());
            sizes.iter().chain([&after]).fold(0, |sum, result| {
                sum * 3
                    + match result {
                        Ok(_) => 0,
                        Err(Errno(EMFILE)) => 1,
                        Err(_) => 2,
                    }
            })
        }),
    );
}
