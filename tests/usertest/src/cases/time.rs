//! Clocks and sleeping.

use libc::*;

use super::helpers::{now, sleep_ms, status_of};
use crate::report::Report;
use crate::sys;

/// Runs the group.
pub fn run(t: &mut Report) {
    clocks(t);
    agreement(t);
    sleeping(t);
    accounting(t);
    discipline(t);
}

/// The discipline of the wall clock, as far as it can be asked for without changing the machine's.
fn discipline(t: &mut Report) {
    const TICK: u64 = 0x4000;
    const ADJTIME: u64 = 0x8000;
    let mut words = [0u64; 26];
    t.ok("adjtimex", sys!(SYS_adjtimex, &mut words));
    t.show("adjtimex_constants", format!("{} {} {}", words[7], words[8], words[11]));
    t.is("adjtimex_time", words[9] > 1_000_000_000 && words[10] < 1_000_000_000);
    t.call("adjtimex_fault", sys!(SYS_adjtimex, 8));
    let mut asked = |name: &str, modes: u64, at: usize, value: u64| {
        let mut words = [0u64; 26];
        (words[0], words[at]) = (modes, value);
        t.ok(name, sys!(SYS_adjtimex, &mut words));
    };
    asked("adjtimex_tick_too_short", TICK, 11, 8999);
    asked("adjtimex_tick_too_long", TICK, 11, 11_001);
    asked("adjtimex_frequency_beyond", 2, 2, 1 << 62);
    asked("adjtime_alone", ADJTIME, 1, 0);
    asked("adjtime_asks", ADJTIME | 0x2001, 1, 5);
    asked("adjtimex_step_beyond", 0x100, 10, 1_000_000);
    for id in -9..13 {
        // The host's clocks that are files are none of ours.
        let mut words = [0u64; 26];
        t.ok(&format!("clock_adjtime_{id}"), sys!(SYS_clock_adjtime, id, &mut words));
    }
    t.call("clock_adjtime_fault", sys!(SYS_clock_adjtime, 99, 8));
    let refused = super::helpers::status_of(|| {
        let _ = sys!(SYS_setuid, 1234);
        let mut words = [0u64; 26];
        let asks = sys!(SYS_adjtimex, &mut words).is_ok();
        words[0] = 4;
        let sets = sys!(SYS_adjtimex, &mut words).err().map_or(0, |errno| errno.0);
        i32::from(asks) * 100 + sets
    });
    t.show("adjtimex_unprivileged", refused);
}

const fn span(sec: i64, nsec: i64) -> timespec {
    timespec { tv_sec: sec, tv_nsec: nsec }
}

fn clocks(t: &mut Report) {
    for (name, clock) in [
        ("realtime", CLOCK_REALTIME),
        ("monotonic", CLOCK_MONOTONIC),
        ("process", CLOCK_PROCESS_CPUTIME_ID),
        ("thread", CLOCK_THREAD_CPUTIME_ID),
        ("monotonic_raw", CLOCK_MONOTONIC_RAW),
        ("realtime_coarse", CLOCK_REALTIME_COARSE),
        ("monotonic_coarse", CLOCK_MONOTONIC_COARSE),
        ("boottime", CLOCK_BOOTTIME),
        ("tai", CLOCK_TAI),
        ("unknown", 99),
    ] {
        let mut time = span(-1, -1);
        t.call(&format!("gettime_{name}"), sys!(SYS_clock_gettime, clock, &mut time));
        if clock != 99 {
            t.is(
                &format!("gettime_{name}_is_valid"),
                time.tv_sec >= 0 && (0..1_000_000_000).contains(&time.tv_nsec),
            );
        }
    }
    let mut resolution = span(-1, -1);
    t.call("getres", sys!(SYS_clock_getres, CLOCK_MONOTONIC, &mut resolution));
    t.show("getres_monotonic", format!("{}.{:09}", resolution.tv_sec, resolution.tv_nsec));
    t.call("getres_null", sys!(SYS_clock_getres, CLOCK_MONOTONIC, 0));
    t.call("getres_unknown", sys!(SYS_clock_getres, 99, &mut resolution));
    t.call("gettime_fault", sys!(SYS_clock_gettime, CLOCK_MONOTONIC, 8));
    t.call("settime_monotonic", sys!(SYS_clock_settime, CLOCK_MONOTONIC, &span(1, 0)));
    t.call("settime_bad", sys!(SYS_clock_settime, CLOCK_REALTIME, &span(1, 1_000_000_000)));
    t.call("gettimeofday_fault", sys!(SYS_gettimeofday, 8, 0));
    t.is("time", sys!(SYS_time, 0).is_ok_and(|time| time > 1_700_000_000));
}

fn agreement(t: &mut Report) {
    let mut seconds = 0i64;
    let result = sys!(SYS_time, &mut seconds);
    t.is("time_stores", result == Ok(seconds as usize));
    let mut day = timeval { tv_sec: 0, tv_usec: -1 };
    t.call("gettimeofday", sys!(SYS_gettimeofday, &mut day, 0));
    t.is("gettimeofday_agrees", (day.tv_sec - seconds).abs() <= 1 && (0..1_000_000).contains(&day.tv_usec));
    let mut last = now();
    t.is(
        "monotonic_never_goes_back",
        (0..10_000).all(|_| {
            let time = now();
            let holds = time >= last;
            last = time;
            holds
        }),
    );
    // The C library reads the clock through the vDSO; both tell the same time.
    let library = std::time::Instant::now();
    let before = now();
    let elapsed = library.elapsed().as_nanos() as i64;
    t.is("vdso_agrees", elapsed >= 0 && now() - before < 1_000_000_000);
    let wall = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |time| time.as_secs() as i64);
    t.is("vdso_wall_clock_agrees", (wall - seconds).abs() <= 1);
}

fn sleeping(t: &mut Report) {
    let start = now();
    t.call("nanosleep", sys!(SYS_nanosleep, &span(0, 20_000_000), 0));
    let slept = now() - start;
    t.is("nanosleep_long_enough", slept >= 20_000_000);
    t.is("nanosleep_not_much_longer", slept < 2_000_000_000);
    t.call("nanosleep_zero", sys!(SYS_nanosleep, &span(0, 0), 0));
    t.call("nanosleep_bad", sys!(SYS_nanosleep, &span(0, 1_000_000_000), 0));
    t.call("nanosleep_negative", sys!(SYS_nanosleep, &span(-1, 0), 0));
    t.call("nanosleep_fault", sys!(SYS_nanosleep, 8, 0));
    t.call("clock_nanosleep", sys!(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &span(0, 5_000_000), 0));
    let until = now() + 15_000_000;
    t.call(
        "clock_nanosleep_absolute",
        sys!(
            SYS_clock_nanosleep,
            CLOCK_MONOTONIC,
            TIMER_ABSTIME,
            &span(until / 1_000_000_000, until % 1_000_000_000),
            0
        ),
    );
    t.is("clock_nanosleep_absolute_long_enough", now() >= until);
    t.call("clock_nanosleep_past", sys!(SYS_clock_nanosleep, CLOCK_REALTIME, TIMER_ABSTIME, &span(1, 0), 0));
    t.call(
        "clock_nanosleep_thread_clock",
        sys!(SYS_clock_nanosleep, CLOCK_THREAD_CPUTIME_ID, 0, &span(0, 1), 0),
    );
    t.call("clock_nanosleep_unknown", sys!(SYS_clock_nanosleep, 99, 0, &span(0, 1), 0));
    // Sleeping threads do not wait for each other.
    let side_by_side = || {
        let start = now();
        let threads: Vec<_> = (0..10).map(|_| std::thread::spawn(|| sleep_ms(100))).collect();
        super::helpers::join_all(threads);
        now() - start < 900_000_000
    };
    t.is("sleeps_run_side_by_side", (0..3).any(|_| side_by_side()));
}

fn accounting(t: &mut Report) {
    let cpu = |clock| {
        let mut time = span(0, 0);
        sys!(SYS_clock_gettime, clock, &mut time).expect("a clock");
        time.tv_sec * 1_000_000_000 + time.tv_nsec
    };
    // The wall's interval encloses the processor's: whatever stops the machine between two readings counts in both.
    let start = now();
    let before = cpu(CLOCK_THREAD_CPUTIME_ID);
    while now() - start < 30_000_000 {
        std::hint::spin_loop();
    }
    let used = cpu(CLOCK_THREAD_CPUTIME_ID) - before;
    let passed = now() - start;
    t.is("cpu_time_advances", used > 0 && used <= passed + 1_000_000);
    // A busy host may stop the machine in the middle of the call before the sleep: one clean measurement of several proves it.
    let sleeps = (0..5).map(|_| {
        let before = cpu(CLOCK_THREAD_CPUTIME_ID);
        sleep_ms(50);
        cpu(CLOCK_THREAD_CPUTIME_ID) - before
    });
    t.is("sleep_uses_no_cpu_time", sleeps.min().is_some_and(|used| used < 10_000_000));
    let mut usage = sys::zeroed::<rusage>();
    t.call("getrusage", sys!(SYS_getrusage, RUSAGE_SELF, &mut usage));
    t.is("getrusage_time", usage.ru_utime.tv_sec + usage.ru_utime.tv_usec + usage.ru_stime.tv_usec > 0);
    t.call("getrusage_thread", sys!(SYS_getrusage, RUSAGE_THREAD, &mut usage));
    t.call("getrusage_children", sys!(SYS_getrusage, RUSAGE_CHILDREN, &mut usage));
    t.call("getrusage_bad", sys!(SYS_getrusage, 77, &mut usage));
    let given_up = |who: i32| {
        let mut usage = sys::zeroed::<rusage>();
        let _ = sys!(SYS_getrusage, who, &mut usage);
        usage.ru_nvcsw
    };
    let (own, thread, children) = (given_up(RUSAGE_SELF), given_up(RUSAGE_THREAD), given_up(RUSAGE_CHILDREN));
    sleep_ms(1);
    t.is("getrusage_counts_waits", given_up(RUSAGE_SELF) > own && given_up(RUSAGE_THREAD) > thread);
    status_of(|| {
        sleep_ms(1);
        0
    });
    t.is("getrusage_counts_waits_of_children", given_up(RUSAGE_CHILDREN) > children);
    let mut tms = sys::zeroed::<tms>();
    t.ok("times", sys!(SYS_times, &mut tms));
    t.ok("times_null", sys!(SYS_times, 0));
}
