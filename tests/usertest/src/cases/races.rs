//! What several processors do at the same moment. Each question has one answer, whoever comes first.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use libc::*;

use super::helpers::{child, close, join_all, leave, must_open, pipe, sleep_ms, status_of, wait_for};
use crate::report::Report;

/// Runs the group.
pub fn run(t: &mut Report) {
    position_of_itself(t);
    creators(t);
    spliced_by_two(t);
    t.show("killed_while_forking", status_of(kill_while_forking));
    t.show("continued_after_stop", status_of(stop_and_continue));
}

/// A descriptor's position is asked for while it is read itself.
fn position_of_itself(t: &mut Report) {
    let fd = must_open(c"/dev/null", O_RDONLY);
    let path = std::ffi::CString::new(format!("/proc/self/fdinfo/{fd}")).expect("no NUL");
    let about = must_open(&path, O_RDONLY);
    let _ = sys!(SYS_dup2, about, fd);
    let mut text = [0u8; 256];
    let read = sys!(SYS_read, fd, &mut text, text.len());
    t.is("fdinfo_of_itself", read.is_ok_and(|length| text[..length].starts_with(b"pos:\t0\n")));
    close(fd);
    close(about);
}

/// A name that comes and goes can be created by all who do not insist on being first.
fn creators(t: &mut Report) {
    static REFUSED: AtomicU64 = AtomicU64::new(0);
    let creator = |removes: bool| {
        move || {
            for _ in 0..400 {
                match sys!(SYS_openat, AT_FDCWD, c"created", O_CREAT | O_WRONLY | O_CLOEXEC, 0o600) {
                    Ok(fd) => close(fd as i32),
                    Err(_) => drop(REFUSED.fetch_add(1, Ordering::Relaxed)),
                }
                if removes {
                    let _ = sys!(SYS_unlinkat, AT_FDCWD, c"created", 0);
                }
            }
        }
    };
    join_all([true, false, true, false].map(|removes| std::thread::spawn(creator(removes))));
    t.show("creators_refused", REFUSED.load(Ordering::Relaxed));
    let _ = sys!(SYS_unlinkat, AT_FDCWD, c"created", 0);
}

/// Two threads splice from one pipe: every byte goes through once.
fn spliced_by_two(t: &mut Report) {
    const BYTES: [u8; 1000] = [1; 1000];
    const WRITES: usize = 400;
    let (source, target) = (pipe(), pipe());
    let movers = [0, 1].map(|_| {
        std::thread::spawn(move || {
            while sys!(SYS_splice, source[0], 0, target[1], 0, 4096, 0).is_ok_and(|moved| moved > 0) {}
        })
    });
    let reader = std::thread::spawn(move || {
        let (mut sum, mut bytes) = (0, [0u8; 4096]);
        while let Ok(length @ 1..) = sys!(SYS_read, target[0], &mut bytes, bytes.len()) {
            sum += length;
        }
        sum
    });
    for _ in 0..WRITES {
        let _ = sys!(SYS_write, source[1], &BYTES, BYTES.len());
    }
    close(source[1]);
    join_all(movers);
    close(target[1]);
    t.show("spliced_by_two", reader.join().expect("a thread"));
    close(source[0]);
    close(target[0]);
}

/// Kills a group whose members make others all the time: nobody is left.
fn kill_while_forking() -> i32 {
    let _ = sys!(SYS_prctl, PR_SET_CHILD_SUBREAPER, 1);
    for round in 0..8 {
        let leader = child(|| {
            let _ = sys!(SYS_setpgid, 0, 0);
            for _ in 0..2 {
                child(|| {
                    for _ in 0..100 {
                        child(|| rest());
                    }
                    rest()
                });
            }
            rest()
        });
        let _ = sys!(SYS_setpgid, leader, leader);
        sleep_ms(2 + round % 4 * 3);
        let _ = sys!(SYS_kill, -leader, SIGKILL);
        // All of them are this process's children once their parents are gone; one that was missed never ends.
        let mut status = 0;
        while sys!(SYS_wait4, -1, &mut status, 0, 0).is_ok() {}
    }
    0
}

/// Waits for a signal that ends it.
fn rest() -> ! {
    loop {
        let _ = sys!(SYS_pause);
    }
}

/// SIGCONT after SIGSTOP: the process goes on, whichever of its processors took which.
fn stop_and_continue() -> i32 {
    static GOES_ON: AtomicBool = AtomicBool::new(true);
    let [ready, told] = pipe();
    let spinning = child(|| {
        while GOES_ON.load(Ordering::Relaxed) {
            let _ = sys!(SYS_write, told, b"x", 1);
        }
        leave(0)
    });
    for _ in 0..500 {
        let _ = sys!(SYS_kill, spinning, SIGSTOP);
        let _ = sys!(SYS_kill, spinning, SIGCONT);
    }
    // More than a pipe holds: it comes only from one who goes on.
    let mut bytes = [0u8; 4096];
    let mut left = 2 * 65_536;
    while left > 0 {
        left -= sys!(SYS_read, ready, &mut bytes, bytes.len()).unwrap_or(0).min(left);
    }
    let _ = sys!(SYS_kill, spinning, SIGKILL);
    i32::from(wait_for(spinning).1 != -SIGKILL)
}
