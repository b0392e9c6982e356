//! Interval timers, POSIX timers, timer descriptors and alarms.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use libc::*;

use super::helpers::{CLOSED, close, now, sleep_ms, status_of};
use crate::report::Report;
use crate::sys;

static FIRED: AtomicUsize = AtomicUsize::new(0);

extern "C" fn count(_: i32) {
    FIRED.fetch_add(1, SeqCst);
}

fn catch(signal: i32) {
    FIRED.store(0, SeqCst);
    // SAFETY: the handler only counts.
    unsafe { libc::signal(signal, count as *const () as usize) };
}

/// Sleeps until the handler ran so many times, at most two seconds.
fn wait_fired(times: usize) -> bool {
    let end = now() + 2_000_000_000;
    while FIRED.load(SeqCst) < times && now() < end {
        sleep_ms(2);
    }
    FIRED.load(SeqCst) >= times
}

const fn ms(value: i64) -> timespec {
    timespec { tv_sec: value / 1000, tv_nsec: value % 1000 * 1_000_000 }
}

const fn timer(first: i64, interval: i64) -> itimerspec {
    itimerspec { it_interval: ms(interval), it_value: ms(first) }
}

/// Runs the group.
pub fn run(t: &mut Report) {
    intervals(t);
    alarms(t);
    posix(t);
    queued(t);
    descriptors(t);
    limits(t);
}

/// CPU time without end, within these limits, for a child of a child: limits are inherited.
fn limits(t: &mut Report) {
    let compute = |soft, hard, handler: usize| {
        status_of(|| {
            let _ = sys!(SYS_setrlimit, RLIMIT_CPU, &rlimit { rlim_cur: soft, rlim_max: hard });
            // SAFETY: the handler only counts.
            unsafe { libc::signal(SIGXCPU, handler) };
            status_of(|| {
                while FIRED.load(SeqCst) < 2 {}
                0
            })
        })
    };
    FIRED.store(0, SeqCst);
    t.show("cpu_limit_soft", compute(1, 10, SIG_DFL));
    t.show("cpu_limit_hard", compute(1, 1, SIG_DFL));
    t.show("cpu_limit_again_and_again", compute(1, 10, count as *const () as usize));
}

fn intervals(t: &mut Report) {
    catch(SIGALRM);
    let us = |value: i64| timeval { tv_sec: value / 1_000_000, tv_usec: value % 1_000_000 };
    t.call(
        "setitimer",
        sys!(SYS_setitimer, ITIMER_REAL, &itimerval { it_interval: us(5000), it_value: us(5000) }, 0),
    );
    t.is("setitimer_repeats", wait_fired(3));
    let mut old = sys::zeroed::<itimerval>();
    t.call("getitimer", sys!(SYS_getitimer, ITIMER_REAL, &mut old));
    t.show("getitimer_interval", old.it_interval.tv_usec);
    t.call(
        "setitimer_off",
        sys!(SYS_setitimer, ITIMER_REAL, &itimerval { it_interval: us(0), it_value: us(0) }, &mut old),
    );
    let fired = FIRED.load(SeqCst);
    sleep_ms(30);
    t.is("setitimer_off_is_quiet", FIRED.load(SeqCst) == fired);
    t.call("setitimer_bad_kind", sys!(SYS_setitimer, 9, &old, 0));
    t.call(
        "setitimer_bad_time",
        sys!(
            SYS_setitimer,
            ITIMER_REAL,
            &itimerval { it_interval: us(0), it_value: timeval { tv_sec: 0, tv_usec: 1_000_000 } },
            0
        ),
    );
    t.call("getitimer_fault", sys!(SYS_getitimer, ITIMER_REAL, 8));
}

fn alarms(t: &mut Report) {
    catch(SIGALRM);
    t.call("alarm", sys!(SYS_alarm, 100));
    t.call("alarm_replaces", sys!(SYS_alarm, 50));
    t.call("alarm_off", sys!(SYS_alarm, 0));
    t.call("alarm_off_again", sys!(SYS_alarm, 0));
    t.call("alarm_second", sys!(SYS_alarm, 1));
    t.is("alarm_fires", wait_fired(1));
}

fn posix(t: &mut Report) {
    catch(SIGUSR1);
    let mut event = sys::zeroed::<sigevent>();
    event.sigev_notify = SIGEV_SIGNAL;
    event.sigev_signo = SIGUSR1;
    let mut id = -1i32;
    t.call("create", sys!(SYS_timer_create, CLOCK_MONOTONIC, &event, &mut id));
    t.call("settime", sys!(SYS_timer_settime, id, 0, &timer(5, 5), 0));
    t.is("fires", wait_fired(3));
    let mut left = timer(-1, -1);
    t.call("gettime", sys!(SYS_timer_gettime, id, &mut left));
    t.show("gettime_interval", left.it_interval.tv_nsec);
    t.call("settime_off", sys!(SYS_timer_settime, id, 0, &timer(0, 0), 0));
    t.ok("getoverrun", sys!(SYS_timer_getoverrun, id));
    let bad = itimerspec { it_interval: ms(0), it_value: timespec { tv_sec: 0, tv_nsec: -1 } };
    t.call("settime_bad_time", sys!(SYS_timer_settime, id, 0, &bad, 0));
    t.call("delete", sys!(SYS_timer_delete, id));
    t.call("delete_again", sys!(SYS_timer_delete, id));
    t.call("settime_deleted", sys!(SYS_timer_settime, id, 0, &timer(5, 5), 0));
    t.call("create_bad_clock", sys!(SYS_timer_create, 99, &event, &mut id));
    event.sigev_signo = 99;
    t.call("create_bad_signal", sys!(SYS_timer_create, CLOCK_MONOTONIC, &event, &mut id));
    event.sigev_notify = SIGEV_NONE;
    t.call("create_silent", sys!(SYS_timer_create, CLOCK_REALTIME, &event, &mut id));
    t.call("delete_silent", sys!(SYS_timer_delete, id));
}

/// Timers whose signal waits: each has a place of its own in the queue, and not more than one.
fn queued(t: &mut Report) {
    let set = 1u64 << (SIGUSR1 - 1);
    let _ = sys!(SYS_rt_sigprocmask, SIG_BLOCK, &set, 0, 8);
    let mut event = sys::zeroed::<sigevent>();
    event.sigev_notify = SIGEV_SIGNAL;
    event.sigev_signo = SIGUSR1;
    let create = |event: &sigevent| {
        let mut id = -1i32;
        sys!(SYS_timer_create, CLOCK_MONOTONIC, event, &mut id).map(|_| id)
    };
    let (now, mut info) = (ms(0), sys::zeroed::<siginfo_t>());
    let mut take = || sys!(SYS_rt_sigtimedwait, &set, &mut info, &now, 8).map(|_| info.si_code);
    let timers = [create(&event), create(&event)].map(|id| id.unwrap_or(-1));
    for id in timers {
        let _ = sys!(SYS_timer_settime, id, 0, &timer(1, 0), 0);
    }
    sleep_ms(20);
    let taken = [take(), take(), take()];
    t.show("each_timer_has_its_signal", format!("{taken:?}"));
    let id = timers[0];
    let _ = sys!(SYS_timer_settime, id, 0, &timer(1, 1), 0);
    sleep_ms(50);
    t.is("missed_expiries_are_one_signal", take().is_ok());
    let overrun = sys!(SYS_timer_getoverrun, id);
    t.is("missed_expiries_are_counted", overrun.is_ok_and(|count| count >= 5));
    let _ = sys!(SYS_timer_settime, id, 0, &timer(0, 0), 0);
    t.show("disarmed_sends_nothing", format!("{:?}", take()));
    let _ = sys!(SYS_timer_settime, id, 0, &timer(1, 0), 0);
    sleep_ms(20);
    let _ = sys!(SYS_timer_settime, id, 0, &timer(0, 0), 0);
    t.show("disarmed_takes_its_signal_back", format!("{:?}", take()));
    let _ = sys!(SYS_timer_settime, id, 0, &timer(1, 0), 0);
    sleep_ms(20);
    let _ = sys!(SYS_timer_delete, id);
    t.show("deleted_takes_its_signal_back", format!("{:?}", take()));
    let _ = sys!(SYS_timer_delete, timers[1]);
    let mut limit = sys::zeroed::<rlimit>();
    let _ = sys!(SYS_getrlimit, RLIMIT_SIGPENDING, &mut limit);
    t.is("signals_are_limited", limit.rlim_cur < RLIM_INFINITY);
    let none = rlimit { rlim_cur: 0, ..limit };
    let _ = sys!(SYS_setrlimit, RLIMIT_SIGPENDING, &none);
    t.show("timers_are_limited", format!("{:?}", create(&event)));
    let _ = sys!(SYS_setrlimit, RLIMIT_SIGPENDING, &limit);
    let _ = sys!(SYS_rt_sigprocmask, SIG_UNBLOCK, &set, 0, 8);
}

fn descriptors(t: &mut Report) {
    t.call("timerfd", sys!(SYS_timerfd_create, CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC));
    let fd = 3;
    let mut count = 0u64;
    t.call("timerfd_unarmed", sys!(SYS_read, fd, &mut count, 8));
    t.call("timerfd_set", sys!(SYS_timerfd_settime, fd, 0, &timer(5, 0), 0));
    let mut poll = [pollfd { fd, events: POLLIN, revents: 0 }];
    t.call("timerfd_poll", sys!(SYS_poll, &mut poll, 1, 2000));
    t.call("timerfd_read", sys!(SYS_read, fd, &mut count, 8));
    t.show("timerfd_count", count);
    t.call("timerfd_read_again", sys!(SYS_read, fd, &mut count, 8));
    t.call("timerfd_interval", sys!(SYS_timerfd_settime, fd, 0, &timer(5, 5), 0));
    sleep_ms(50);
    t.call("timerfd_read_interval", sys!(SYS_read, fd, &mut count, 8));
    t.is("timerfd_counts_many", count >= 5);
    let mut left = timer(0, 0);
    t.call("timerfd_gettime", sys!(SYS_timerfd_gettime, fd, &mut left));
    t.show("timerfd_gettime_interval", left.it_interval.tv_nsec);
    t.call("timerfd_short_read", sys!(SYS_read, fd, &mut count, 4));
    t.call("timerfd_write", sys!(SYS_write, fd, &count, 8));
    t.call("timerfd_past", sys!(SYS_timerfd_settime, fd, TFD_TIMER_ABSTIME, &timer(1, 0), 0));
    t.call("timerfd_past_read", sys!(SYS_read, fd, &mut count, 8));
    t.call("timerfd_bad_flag", sys!(SYS_timerfd_settime, fd, 8, &timer(1, 0), 0));
    close(fd);
    t.call("timerfd_blocking", sys!(SYS_timerfd_create, CLOCK_REALTIME, 0));
    t.call("timerfd_blocking_set", sys!(SYS_timerfd_settime, 3, 0, &timer(20, 0), 0));
    t.call("timerfd_blocking_read", sys!(SYS_read, 3, &mut count, 8));
    close(3);
    t.call("timerfd_bad_clock", sys!(SYS_timerfd_create, 99, 0));
    t.call("timerfd_bad_create_flag", sys!(SYS_timerfd_create, CLOCK_MONOTONIC, 1));
    t.call("timerfd_settime_closed", sys!(SYS_timerfd_settime, CLOSED, 0, &timer(1, 0), 0));
    t.call("timerfd_settime_other_file", sys!(SYS_timerfd_settime, 0, 0, &timer(1, 0), 0));
}
