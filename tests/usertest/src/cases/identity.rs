//! Who the process is and what it may use.

use libc::*;

use super::helpers::{NOWHERE, status_of};
use crate::report::Report;
use crate::sys;

/// Runs the group.
pub fn run(t: &mut Report) {
    numbers(t);
    limits(t);
    scheduling(t);
    process_control(t);
    capabilities(t);
    changes_of_user(t);
    priorities(t);
    timer_slack(t);
    information(t);
}

fn numbers(t: &mut Report) {
    t.call("getuid", sys!(SYS_getuid));
    t.call("geteuid", sys!(SYS_geteuid));
    t.call("getgid", sys!(SYS_getgid));
    t.call("getegid", sys!(SYS_getegid));
    let mut ids = [9u32; 3];
    let [real, effective, saved] = &mut ids;
    t.call("getresuid", sys!(SYS_getresuid, real, effective, saved));
    t.show("getresuid_ids", format!("{ids:?}"));
    t.call("getresuid_fault", sys!(SYS_getresuid, NOWHERE, NOWHERE, NOWHERE));
    t.is("getpgrp", sys!(SYS_getpgrp) == sys!(SYS_getpgid, 0));
    t.call("getpgid_missing", sys!(SYS_getpgid, 0x3f_ffff));
    t.call("getsid_missing", sys!(SYS_getsid, 0x3f_ffff));
    t.call("setpgid_negative", sys!(SYS_setpgid, 0, -1));
    t.call("setpgid_missing", sys!(SYS_setpgid, 0x3f_ffff, 0));
    // Credentials belong to a thread; the C library, not the kernel, changes all of them.
    let (inside, outside) = std::thread::spawn(|| {
        let _ = sys!(SYS_setresuid, -1, 1234, -1);
        (sys!(SYS_geteuid), sys!(SYS_getuid))
    })
    .join()
    .expect("a thread");
    t.call("setresuid_in_thread", inside);
    t.call("setresuid_keeps_real", outside);
    t.call("setresuid_spares_others", sys!(SYS_geteuid));
    t.call("setfsuid", sys!(SYS_setfsuid, -1));
    t.call("setregid_same", sys!(SYS_setregid, 0, 0));
    t.call("setgroups_too_many", sys!(SYS_setgroups, 1 << 20, 0));
    t.call("setgroups_fault", sys!(SYS_setgroups, 2, NOWHERE));
}

fn limits(t: &mut Report) {
    let mut limit = sys::zeroed::<rlimit>();
    for (name, resource) in [
        ("data", RLIMIT_DATA),
        ("fsize", RLIMIT_FSIZE),
        ("as", RLIMIT_AS),
        ("rss", RLIMIT_RSS),
        ("cpu", RLIMIT_CPU),
    ] {
        t.call(&format!("getrlimit_{name}"), sys!(SYS_getrlimit, resource, &mut limit));
        t.is(&format!("getrlimit_{name}_unlimited"), limit.rlim_cur == RLIM_INFINITY);
    }
    t.call("getrlimit_unknown", sys!(SYS_getrlimit, 99, &mut limit));
    t.call("getrlimit_fault", sys!(SYS_getrlimit, RLIMIT_DATA, NOWHERE));
    t.call("prlimit_missing_process", sys!(SYS_prlimit64, 0x3f_ffff, RLIMIT_DATA, 0, &mut limit));
    let crossed = rlimit { rlim_cur: 20, rlim_max: 10 };
    t.call("setrlimit_soft_over_hard", sys!(SYS_setrlimit, RLIMIT_NOFILE, &crossed));
    let mut nofile = sys::zeroed::<rlimit>();
    let _ = sys!(SYS_getrlimit, RLIMIT_NOFILE, &mut nofile);
    t.is("nofile_is_useful", nofile.rlim_cur >= 1024);
}

fn scheduling(t: &mut Report) {
    t.call("sched_yield", sys!(SYS_sched_yield));
    let mut mask = [0u64; 16];
    let length = sys!(SYS_sched_getaffinity, 0, 128, &mut mask);
    t.is("getaffinity", length.is_ok_and(|length| length >= 8 && length.is_multiple_of(8)));
    t.is("getaffinity_has_a_cpu", mask.iter().any(|&word| word != 0));
    t.call("getaffinity_small", sys!(SYS_sched_getaffinity, 0, 4, &mut mask));
    t.call("setaffinity", sys!(SYS_sched_setaffinity, 0, 128, &mask));
    t.call("setaffinity_none", sys!(SYS_sched_setaffinity, 0, 8, &0u64));
    t.call("getaffinity_missing", sys!(SYS_sched_getaffinity, 0x3f_ffff, 128, &mut mask));
    t.call("getscheduler", sys!(SYS_sched_getscheduler, 0));
    t.call("getscheduler_negative", sys!(SYS_sched_getscheduler, -1));
    let mut priority = 77i32;
    t.call("getparam", sys!(SYS_sched_getparam, 0, &mut priority));
    t.show("getparam_priority", priority);
    t.call("setparam", sys!(SYS_sched_setparam, 0, &0i32));
    t.call("setparam_priority", sys!(SYS_sched_setparam, 0, &1i32));
    t.call("setparam_null", sys!(SYS_sched_setparam, 0, 0));
    t.call("setparam_nobody", sys!(SYS_sched_setparam, 999_999, &0i32));
    let mut slice = sys::zeroed::<timespec>();
    t.call("rr_get_interval", sys!(SYS_sched_rr_get_interval, 0, &mut slice));
    t.is("rr_get_interval_is_short", slice.tv_sec == 0);
    t.call("rr_get_interval_negative", sys!(SYS_sched_rr_get_interval, -1, &mut slice));
    t.call("rr_get_interval_fault", sys!(SYS_sched_rr_get_interval, 0, 8));
    t.call("setscheduler_other", sys!(SYS_sched_setscheduler, 0, SCHED_OTHER, &0i32));
    t.call("setscheduler_bad", sys!(SYS_sched_setscheduler, 0, 77, &0i32));
    t.call("priority_max_fifo", sys!(SYS_sched_get_priority_max, SCHED_FIFO));
    t.call("priority_min_fifo", sys!(SYS_sched_get_priority_min, SCHED_FIFO));
    t.call("priority_max_other", sys!(SYS_sched_get_priority_max, SCHED_OTHER));
    t.call("priority_max_bad", sys!(SYS_sched_get_priority_max, 77));
    t.call("getpriority", sys!(SYS_getpriority, 0, 0));
    t.call("getpriority_bad", sys!(SYS_getpriority, 9, 0));
    let (mut cpu, mut node) = (u32::MAX, u32::MAX);
    t.call("getcpu", sys!(SYS_getcpu, &mut cpu, &mut node, 0));
    t.is("getcpu_is_small", cpu < 4096 && node == 0);
}

fn process_control(t: &mut Report) {
    t.call("prctl_unknown", sys!(SYS_prctl, 9999, 0, 0, 0, 0));
    t.call("prctl_dumpable", sys!(SYS_prctl, PR_GET_DUMPABLE, 0, 0, 0, 0));
    t.call("prctl_set_dumpable_bad", sys!(SYS_prctl, PR_SET_DUMPABLE, 7, 0, 0, 0));
    t.call("prctl_no_new_privs", sys!(SYS_prctl, PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
    t.call("prctl_no_new_privs_bad", sys!(SYS_prctl, PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0));
    t.call("prctl_pdeathsig_bad", sys!(SYS_prctl, PR_SET_PDEATHSIG, 99, 0, 0, 0));
    let mut signal = 5i32;
    t.call("prctl_pdeathsig", sys!(SYS_prctl, PR_GET_PDEATHSIG, &mut signal, 0, 0, 0));
    t.show("prctl_pdeathsig_signal", signal);
    t.call("prctl_timerslack", sys!(SYS_prctl, PR_GET_TIMERSLACK, 0, 0, 0, 0));
    t.call("prctl_seccomp", sys!(SYS_prctl, PR_GET_SECCOMP, 0, 0, 0, 0));
    t.call("prctl_name_fault", sys!(SYS_prctl, PR_SET_NAME, NOWHERE));
    t.call("personality", sys!(SYS_personality, 0xffff_ffffu32));
    t.call("arch_prctl_unknown", sys!(SYS_arch_prctl, 0x9999, 0));
    let mut base = 0u64;
    t.call("arch_prctl_get_fs", sys!(SYS_arch_prctl, 0x1003, &mut base));
    t.is("arch_prctl_fs", base != 0);
    t.call("arch_prctl_set_fs_kernel", sys!(SYS_arch_prctl, 0x1002, 0xffff_8000_0000_0000usize));
    t.call("arch_prctl_set_gs", sys!(SYS_arch_prctl, 0x1001, 0x1234_5000));
    t.call("arch_prctl_get_gs", sys!(SYS_arch_prctl, 0x1004, &mut base));
    t.show("arch_prctl_gs", format!("{base:x}"));
    kernel_log(t);
    t.ok("membarrier_query", sys!(SYS_membarrier, 0, 0, 0));
    t.call("membarrier_bad", sys!(SYS_membarrier, 1 << 20, 0, 0));
    t.call("unknown_call", sys::call(1000, [0; 6]));
    t.call("call_number_is_32_bits_wide", sys::call(1 << 40, [0; 6]));
    t.call("unknown_call_negative", sys::call(-1, [0; 6]));
}

fn capabilities(t: &mut Report) {
    let mut header = [0x2008_0522u32, 0];
    let mut data = [0u32; 6];
    t.call("capget", sys!(SYS_capget, &mut header, &mut data));
    t.is("capget_root_has_chown", data[0] & 1 == 1);
    header[0] = 0;
    t.call("capget_bad_version", sys!(SYS_capget, &mut header, &mut data));
    t.show("capget_tells_version", format!("{:x}", header[0]));
    t.call("capget_probe", {
        header[0] = 0;
        sys!(SYS_capget, &mut header, 0)
    });
    t.call("bounding_read", sys!(SYS_prctl, PR_CAPBSET_READ, 0, 0, 0, 0));
    t.call("bounding_read_bad", sys!(SYS_prctl, PR_CAPBSET_READ, 99, 0, 0, 0));
}

/// What is in force and what is permitted of the capabilities that concern files, and of one that does not.
fn held() -> String {
    // CAP_FS_SET, and CAP_KILL.
    const SHOWN: [u32; 2] = [1 | 1 << 1 | 1 << 2 | 1 << 3 | 1 << 4 | 1 << 9 | 1 << 27 | 1 << 5, 1];
    let header = [0x2008_0522u32, 0];
    let mut data = [0u32; 6];
    let _ = sys!(SYS_capget, &header, &mut data);
    let set = |index: usize| u64::from(data[index] & SHOWN[0]) | u64::from(data[index + 3] & SHOWN[1]) << 32;
    format!("{:x} of {:x}", set(0), set(1))
}

/// Calls `act` in a thread, whose identity is its own.
fn in_thread<T: Send + 'static>(act: impl FnOnce() -> T + Send + 'static) -> T {
    std::thread::spawn(act).join().expect("a thread")
}

/// How capabilities follow the ids: capabilities(7), "Effect of user ID changes on capabilities".
fn changes_of_user(t: &mut Report) {
    const NONE: u32 = u32::MAX;
    let steps = in_thread(|| {
        let mut steps = vec![held()];
        let _ = sys!(SYS_setfsuid, 1234);
        steps.push(held());
        let _ = sys!(SYS_setfsuid, 0);
        steps.push(held());
        steps
    });
    t.show("setfsuid_takes_file_capabilities", steps.join(", "));
    let steps = in_thread(|| {
        let _ = sys!(SYS_setresuid, NONE, 1234, NONE);
        let without = held();
        let _ = sys!(SYS_setresuid, NONE, 0, NONE);
        [without, held()]
    });
    t.show("effective_user_and_back", steps.join(", "));
    let steps = in_thread(|| {
        let _ = sys!(SYS_prctl, PR_SET_KEEPCAPS, 1);
        let _ = sys!(SYS_setresuid, 1234, 1234, 1234);
        let kept = held();
        [kept, format!("{:?}", sys!(SYS_setresuid, 0, 0, 0))]
    });
    t.show("all_users_with_keepcaps", steps.join(", "));
    t.show(
        "all_users",
        in_thread(|| {
            let _ = sys!(SYS_setuid, 1234);
            held()
        }),
    );
    let returned = in_thread(|| {
        let _ = sys!(SYS_setresuid, 10, 20, 30);
        [30, 10, 40, NONE].map(|user| sys!(SYS_setfsuid, user)).map(|old| old.unwrap_or(0))
    });
    t.show("setfsuid_unprivileged", format!("{returned:?}"));
    let signal = in_thread(|| {
        let mut signal = 0i32;
        let _ = sys!(SYS_prctl, PR_SET_PDEATHSIG, SIGUSR1);
        let _ = sys!(SYS_setfsgid, 1234);
        let _ = sys!(SYS_prctl, PR_GET_PDEATHSIG, &mut signal);
        signal
    });
    t.show("change_clears_pdeathsig", signal);
    let _ = sys!(SYS_prctl, PR_SET_DUMPABLE, 1);
    in_thread(|| sys!(SYS_setfsuid, 1234)).expect("it never fails");
    t.call("change_clears_dumpable", sys!(SYS_prctl, PR_GET_DUMPABLE));
    let _ = sys!(SYS_prctl, PR_SET_DUMPABLE, 1);
    in_thread(|| sys!(SYS_setresuid, 1234, 0, 0)).expect("root may");
    t.call("real_user_keeps_dumpable", sys!(SYS_prctl, PR_GET_DUMPABLE));
}

fn priorities(t: &mut Report) {
    let get = || sys!(SYS_getpriority, PRIO_PROCESS, 0);
    let results = in_thread(move || {
        let set = |nice| sys!(SYS_setpriority, PRIO_PROCESS, 0, nice).and_then(|_| get());
        let inherited = |nice| {
            set(nice)?;
            in_thread(get)
        };
        [set(5), set(100), set(-100), inherited(7)]
    });
    t.show("setpriority", format!("{results:?}"));
    t.call("setpriority_spares_other_threads", get());
    let shown = in_thread(|| {
        let _ = sys!(SYS_setpriority, PRIO_PROCESS, 0, -5);
        let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap_or_default();
        let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
        fields.skip(15).take(2).collect::<Vec<_>>().join(" ")
    });
    t.show("priority_in_proc", shown);
    t.call("getpriority_group", sys!(SYS_getpriority, PRIO_PGRP, 0x3f_ffff));
    t.call("getpriority_user_missing", sys!(SYS_getpriority, PRIO_USER, 54_321));
    t.call("setpriority_bad", sys!(SYS_setpriority, 9, 0, 0));
    t.call("setpriority_missing", sys!(SYS_setpriority, PRIO_PROCESS, 0x3f_ffff, 0));
    let main = sys!(SYS_gettid).unwrap_or(0);
    let results = in_thread(move || {
        sys!(SYS_setresuid, 1234, 1234, 1234)?;
        let set = |nice| sys!(SYS_setpriority, PRIO_PROCESS, 0, nice);
        Ok::<_, sys::Errno>([set(3), set(3), set(2), sys!(SYS_setpriority, PRIO_PROCESS, main, 19)])
    });
    t.show("setpriority_unprivileged", format!("{results:?}"));
}

fn timer_slack(t: &mut Report) {
    let set = |slack: u64| sys!(SYS_prctl, PR_SET_TIMERSLACK, slack);
    let get = || sys!(SYS_prctl, PR_GET_TIMERSLACK);
    let results = in_thread(move || {
        let before = [set(7), get()];
        let inherited = in_thread(move || [get(), set(9), set(0), get()]);
        [before.to_vec(), inherited.to_vec(), vec![set(0), get()]].concat()
    });
    t.show("timer_slack", format!("{results:?}"));
    t.call("timer_slack_spares_other_threads", get());
}

fn information(t: &mut Report) {
    let mut info = sys::zeroed::<sysinfo>();
    t.call("sysinfo", sys!(SYS_sysinfo, &mut info));
    t.is("sysinfo_memory", info.totalram > 0 && info.freeram <= info.totalram && info.mem_unit >= 1);
    t.is("sysinfo_processes", info.procs >= 1);
    t.call("sysinfo_fault", sys!(SYS_sysinfo, NOWHERE));
    t.call("sethostname_long", sys!(SYS_sethostname, c"x", 65));
    t.call("setdomainname_negative", sys!(SYS_setdomainname, c"x", -1));
}

/// syslog(2), but for what the machine's own log holds.
fn kernel_log(t: &mut Report) {
    let mut room = [0u8; 8];
    for action in [-1, 0, 1, 11] {
        t.call(&format!("syslog_{action}"), sys!(SYS_syslog, action, &mut room, 8));
    }
    t.call("syslog_all_nowhere", sys!(SYS_syslog, 3, 0, 8));
    t.call("syslog_all_negative", sys!(SYS_syslog, 3, &mut room, -1));
    t.call("syslog_all_nothing", sys!(SYS_syslog, 3, &mut room, 0));
    t.call("syslog_read_nothing", sys!(SYS_syslog, 2, &mut room, 0));
    t.call("syslog_level_beyond", sys!(SYS_syslog, 8, 0, 9));
    t.is("syslog_size", sys!(SYS_syslog, 10, 0, 0).is_ok_and(|size| size >= 1 << 17));
    let refused = status_of(|| {
        let _ = sys!(SYS_setuid, 1234);
        sys!(SYS_syslog, 9, 0, 0).err().map_or(0, |errno| errno.0)
    });
    t.show("syslog_unprivileged", refused);
}
