//! The files of a process and of each of its threads: `/proc/PID` and `/proc/PID/task/TID`.

use alloc::sync::Arc;
use core::sync::atomic::Ordering::Relaxed;

use isopod_fs::generated::Entry;
use isopod_fs::{Capabilities, Errno, FileType, Result, Target};
use isopod_hal::memory_stats;

use super::subject::Subject;
use super::table::{Folder, Numbers, Row, gather, put};
use super::text::Text;
use super::{descriptors, mem, memory, mounts, namespaces, net, pagemap, schedule, status};
use crate::memory_pressure;
use crate::process::{self, Limit};

/// What both directories have; a thread's has all of it but `task`, which comes last.
pub(super) static PROCESS: [Row; 38] = [
    Row::guarded("auxv", 0o400, memory::auxiliary),
    Row::constant("cgroup", "0::/\n"),
    Row::thread("cmdline", memory::command_line),
    Row::written("comm", comm, set_comm),
    Row::written("coredump_filter", core_filter, set_core_filter),
    Row::link("cwd", |subject, _| {
        subject.check_access()?;
        Ok(Target::Path(subject.thread()?.fs().working_dir()))
    }),
    Row::guarded("environ", 0o400, memory::environment),
    Row::link("exe", |subject, _| {
        subject.check_access()?;
        let path = subject.process()?.executable.lock().as_ref().map(|file| file.path().clone());
        Ok(Target::Path(path.ok_or(Errno::ENOENT)?))
    }),
    Row::numbers("fd", 0o500, &descriptors::LINKS),
    Row::numbers("fdinfo", 0o555, &descriptors::POSITIONS),
    Row::constant("gid_map", ID_MAP),
    Row::thread("limits", limits),
    // No login has set it.
    Row::constant("loginuid", "4294967295"),
    Row::guarded("maps", 0o444, memory::maps),
    Row::opened("mem", mem::open),
    Row::thread("mountinfo", mounts::mountinfo),
    Row::thread("mounts", mounts::mounts),
    Row::rows("net", &net::NET),
    Row::rows("ns", &namespaces::NAMESPACES),
    Row::written("oom_adj", oom_adj, set_oom_adj),
    Row::thread("oom_score", oom_score),
    Row::written("oom_score_adj", oom_score_adj, set_oom_score_adj),
    Row::opened("pagemap", pagemap::open),
    Row::guarded("personality", 0o400, |subject, text| {
        put!(text, "{:08x}\n", subject.thread()?.personality.load(Relaxed));
        Ok(())
    }),
    Row::link("root", |subject, _| {
        subject.check_access()?;
        Ok(Target::Path(subject.thread()?.fs().root()))
    }),
    Row::thread("sched", schedule::details),
    Row::thread("schedstat", schedule::statistics),
    Row::constant("sessionid", "4294967295"),
    Row::constant("setgroups", "allow\n"),
    Row::guarded("smaps", 0o444, memory::smaps),
    Row::guarded("smaps_rollup", 0o444, memory::smaps_rollup),
    Row::thread("stat", status::stat),
    Row::thread("statm", status::statm),
    Row::thread("status", status::status),
    Row::written("timerslack_ns", schedule::slack, schedule::set_slack),
    Row::constant("uid_map", ID_MAP),
    // It waits for nothing that has a name.
    Row::constant("wchan", "0"),
    Row::numbers("task", 0o555, &THREADS),
];

static THREADS: Numbers = Numbers {
    prefix: "",
    kind: FileType::Directory,
    all: |subject| gather(&mut subject.process()?.threads().map(|thread| thread.tid())),
    entry: |subject, tid| {
        subject.process()?.thread(tid).ok_or(Errno::ENOENT)?;
        let rows = PROCESS.split_last().map_or(&[][..], |(_, rows)| rows);
        let subject = subject.of_thread(tid);
        Ok(Entry::Directory(Arc::new(Folder { subject, mode: 0o555, rows, numbers: None })))
    },
};

/// All ids stand for themselves: there is one user namespace.
const ID_MAP: &str = "         0          0 4294967295\n";

fn comm(subject: &Subject, text: &mut Text) -> Result<()> {
    text.put_line(&subject.thread()?.name());
    Ok(())
}

/// What of the process's memory belongs into a core file (core(5), "Controlling which mappings are written to the core dump").
fn core_filter(subject: &Subject, text: &mut Text) -> Result<()> {
    put!(text, "{:08x}\n", subject.process()?.core_filter.load(Relaxed));
    Ok(())
}

/// A number as C writes it. Bits that mean nothing are dropped.
fn set_core_filter(subject: &Subject, value: &[u8]) -> Result<()> {
    const KNOWN: u32 = 0x1ff;
    let text = core::str::from_utf8(value.trim_ascii()).map_err(|_| Errno::EINVAL)?;
    let number = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => u32::from_str_radix(digits, 16),
        None if text.starts_with('0') => u32::from_str_radix(text, 8),
        None => text.parse(),
    };
    subject.process()?.core_filter.store(number.map_err(|_| Errno::EINVAL)? & KNOWN, Relaxed);
    Ok(())
}

/// Threads may rename each other within a process only.
fn set_comm(subject: &Subject, name: &[u8]) -> Result<()> {
    let thread = subject.thread()?;
    if process::current().is_some_and(|caller| !Arc::ptr_eq(caller.process(), thread.process())) {
        return Err(Errno::EINVAL.into());
    }
    let end = name.iter().position(|&byte| byte == 0).unwrap_or(name.len());
    thread.set_name(&name[..end]);
    Ok(())
}

/// Names and units of the limits, by their numbers (`lnames` of Linux's `fs/proc/base.c`).
const LIMITS: [(&str, &str); 16] = [
    ("Max cpu time", "seconds"),
    ("Max file size", "bytes"),
    ("Max data size", "bytes"),
    ("Max stack size", "bytes"),
    ("Max core file size", "bytes"),
    ("Max resident set", "bytes"),
    ("Max processes", "processes"),
    ("Max open files", "files"),
    ("Max locked memory", "bytes"),
    ("Max address space", "bytes"),
    ("Max file locks", "locks"),
    ("Max pending signals", "signals"),
    ("Max msgqueue size", "bytes"),
    ("Max nice priority", ""),
    ("Max realtime priority", ""),
    ("Max realtime timeout", "us"),
];

fn limits(subject: &Subject, text: &mut Text) -> Result<()> {
    let limits = subject.process()?.limits.lock().clone();
    put!(text, "{:<25} {:<20} {:<20} {:<10}\n", "Limit", "Soft Limit", "Hard Limit", "Units");
    for (number, (name, unit)) in LIMITS.iter().enumerate() {
        let Some(Limit { soft, hard }) = limits.by_number(number) else { break };
        put!(text, "{name:<25} ");
        for value in [soft, hard] {
            if value == u64::MAX {
                put!(text, "{:<20} ", "unlimited");
            } else {
                put!(text, "{value:<20} ");
            }
        }
        if unit.is_empty() {
            put!(text, "\n");
        } else {
            put!(text, "{unit:<10}\n");
        }
    }
    Ok(())
}

/// How likely the process is to be killed when memory runs out: its points in thousandths of memory, scaled as Linux does since it counts from
/// -1000 on, or 0 where it is spared (`proc_oom_score`).
fn oom_score(subject: &Subject, text: &mut Text) -> Result<()> {
    let score = memory_pressure::points(&*subject.process()?).map_or(0, |points| {
        let share = points * 1000 / memory_stats().total_frames.max(1) as i64;
        (1000 + share).max(0) * 2 / 3
    });
    put!(text, "{score}\n");
    Ok(())
}

fn oom_score_adj(subject: &Subject, text: &mut Text) -> Result<()> {
    put!(text, "{}\n", subject.process()?.oom_score_adj.load(Relaxed));
    Ok(())
}

fn set_oom_score_adj(subject: &Subject, value: &[u8]) -> Result<()> {
    adjust(subject, number(value, -1000..=1000)?)
}

/// `OOM_DISABLE` and `OOM_ADJUST_MAX`: the ends of the scale that `oom_score_adj` has taken the place of.
const OLD_SCALE: core::ops::RangeInclusive<i16> = -17..=15;

/// The same on the old scale (`oom_adj_read`).
fn oom_adj(subject: &Subject, text: &mut Text) -> Result<()> {
    let value = match subject.process()?.oom_score_adj.load(Relaxed) {
        1000 => 15,
        value => i32::from(value) * 17 / 1000,
    };
    put!(text, "{value}\n");
    Ok(())
}

fn set_oom_adj(subject: &Subject, value: &[u8]) -> Result<()> {
    let value = number(value, OLD_SCALE)?;
    adjust(subject, if value == 15 { 1000 } else { (i32::from(value) * 1000 / 17) as i16 })
}

fn number(text: &[u8], range: core::ops::RangeInclusive<i16>) -> Result<i16> {
    let value = core::str::from_utf8(text.trim_ascii()).ok().and_then(|text| text.parse().ok());
    Ok(value.filter(|value| range.contains(value)).ok_or(Errno::EINVAL)?)
}

fn adjust(subject: &Subject, value: i16) -> Result<()> {
    let process = subject.process()?;
    let lower = value < process.oom_score_adj.load(Relaxed);
    if lower
        && process::current().is_some_and(|caller| !caller.identity().capable(Capabilities::SYS_RESOURCE))
    {
        return Err(Errno::EACCES.into());
    }
    process.oom_score_adj.store(value, Relaxed);
    Ok(())
}
