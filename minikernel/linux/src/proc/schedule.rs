//! What `/proc/PID` tells of a thread's turns: `schedstat`, `sched` and `timerslack_ns` of `proc_pid(5)`.

use core::sync::atomic::Ordering::Relaxed;

use isopod_fs::{Errno, Result};

use super::subject::Subject;
use super::table::put;
use super::text::Text;
use crate::time::CpuTime;

/// Time with a CPU, time spent waiting for one, and turns. How long a thread has waited is not measured, and told as 0.
pub(super) fn statistics(subject: &Subject, text: &mut Text) -> Result<()> {
    let thread = subject.thread()?;
    let (given_up, preempted) = thread.switches();
    put!(text, "{} 0 {}\n", CpuTime::of_thread(&thread).total(), given_up + preempted);
    Ok(())
}

/// The same in words, as far as it is counted.
pub(super) fn details(subject: &Subject, text: &mut Text) -> Result<()> {
    let thread = subject.thread()?;
    let (given_up, preempted) = thread.switches();
    text.put(&thread.name());
    put!(text, " ({}, #threads: {})\n{:-<67}\n", thread.tid(), thread.process().thread_count(), "");
    let ran = CpuTime::of_thread(&thread).total();
    put!(text, "{:<45}:{:>14}.{:06}\n", "se.sum_exec_runtime", ran / 1_000_000, ran % 1_000_000);
    for (name, value) in [
        ("nr_switches", given_up + preempted),
        ("nr_voluntary_switches", given_up),
        ("nr_involuntary_switches", preempted),
        ("prio", (120 + i64::from(thread.nice.load(Relaxed))).unsigned_abs()),
    ] {
        put!(text, "{name:<45}:{value:>21}\n");
    }
    Ok(())
}

/// How late the thread's sleeps may end.
pub(super) fn slack(subject: &Subject, text: &mut Text) -> Result<()> {
    subject.check_access()?;
    put!(text, "{}\n", subject.thread()?.timer_slack.get());
    Ok(())
}

/// Sets it; 0 sets it back.
pub(super) fn set_slack(subject: &Subject, text: &[u8]) -> Result<()> {
    subject.check_access()?;
    let value = core::str::from_utf8(text.trim_ascii()).ok().and_then(|text| text.parse().ok());
    subject.thread()?.timer_slack.set(value.ok_or(Errno::EINVAL)?);
    Ok(())
}
