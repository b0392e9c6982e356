//! `/proc/PID/status`, `stat` and `statm`.

use core::sync::atomic::Ordering::Relaxed;

use isopod_fs::Result;
use isopod_hal::PAGE_SIZE;

use super::memory::text_range;
use super::subject::Subject;
use super::table::put;
use super::text::Text;
use crate::process::{Process, Resource, Thread};
use crate::sched;
use crate::signal::{Disposition, SigSet, Signal};
use crate::time::{CpuTime, TICKS_PER_SECOND};
use crate::tty;

/// Nanoseconds in a tick of `sysconf(_SC_CLK_TCK)`.
pub(super) const NS_PER_TICK: u64 = 1_000_000_000 / TICKS_PER_SECOND;

/// Letter and word for what the thread does.
fn state(process: &Process, thread: Option<&Thread>) -> (char, &'static str) {
    match thread {
        None => ('Z', "zombie"),
        Some(thread) if thread.trace.is_stopped() => ('t', "tracing stop"),
        Some(thread) if process.job.is_stopped() && !thread.trace.is_traced() => ('T', "stopped"),
        Some(thread) if thread.is_ready() => ('R', "running"),
        Some(_) => ('S', "sleeping"),
    }
}

/// What waits for the thread itself, what it blocks, what it ignores, and what it has handlers for.
fn signals(thread: &Thread) -> [SigSet; 4] {
    let (pending, blocked) = {
        let signals = thread.signals.lock();
        (signals.pending.set(), signals.mask)
    };
    let actions = thread.actions.lock().clone();
    let (mut ignored, mut caught) = (SigSet::EMPTY, SigSet::EMPTY);
    for signal in (1..=Signal::COUNT as u32).filter_map(Signal::new) {
        match actions.get(signal).disposition {
            Disposition::Default => {}
            Disposition::Ignore => ignored.insert(signal),
            Disposition::Handler(_) => caught.insert(signal),
        }
    }
    [pending, blocked, ignored, caught]
}

/// `proc_pid_status(5)`
pub(super) fn status(subject: &Subject, text: &mut Text) -> Result<()> {
    let (process, thread) = (subject.process()?, subject.thread().ok());
    let name = thread.as_ref().map(|thread| thread.name()).unwrap_or_default();
    text.put(b"Name:\t");
    text.put_escaped(&name, b"\n\\");
    if let Some(thread) = &thread {
        put!(text, "\nUmask:\t{:04o}", thread.fs().umask());
    }
    let (letter, word) = state(&process, thread.as_deref());
    let (pid, id) = (process.pid, subject.id()?);
    put!(text, "\nState:\t{letter} ({word})\n");
    let tracer = thread.as_ref().and_then(|thread| thread.trace.tracer()).map_or(0, |tracer| tracer.pid);
    let ids = [
        ("Tgid", pid),
        ("Ngid", 0),
        ("Pid", id),
        ("PPid", process.parent_pid.load(Relaxed)),
        ("TracerPid", tracer),
    ];
    fields(&ids, text);
    let Some(thread) = thread else {
        fields(&[("Threads", 0)], text);
        return Ok(());
    };
    let identity = thread.identity();
    for (name, ids) in [("Uid", identity.users), ("Gid", identity.groups)] {
        put!(text, "{name}:\t{}\t{}\t{}\t{}\n", ids.real, ids.effective, ids.saved, ids.file);
    }
    // A table has room for 64 at least.
    let descriptors = thread.files().highest().map_or(0, |highest| highest + 1).next_power_of_two().max(64);
    put!(text, "FDSize:\t{descriptors}\nGroups:\t");
    for group in identity.supplementary.iter() {
        put!(text, "{group} ");
    }
    if identity.supplementary.is_empty() {
        text.put(b" ");
    }
    let (group, session) = (process.group.load(Relaxed), process.session.load(Relaxed));
    text.put(b"\n");
    fields(&[("NStgid", pid), ("NSpid", id), ("NSpgid", group), ("NSsid", session)], text);
    memory(&process, text);
    fields(&[("Threads", process.thread_count() as u32)], text);
    let [pending, blocked, ignored, caught] = signals(&thread);
    let shared = process.pending.lock().set();
    let capabilities = identity.capabilities;
    for (name, bits) in [
        ("SigPnd", pending.bits()),
        ("ShdPnd", shared.bits()),
        ("SigBlk", blocked.bits()),
        ("SigIgn", ignored.bits()),
        ("SigCgt", caught.bits()),
        ("CapInh", capabilities.inheritable.bits()),
        ("CapPrm", capabilities.permitted.bits()),
        ("CapEff", capabilities.effective.bits()),
        ("CapBnd", capabilities.bounding.bits()),
        ("CapAmb", capabilities.ambient.bits()),
    ] {
        put!(text, "{name}:\t{bits:016x}\n");
    }
    let mode = thread.seccomp.lock().clone();
    let filters = mode.filters().map_or(0, |filter| filter.count());
    fields(&[("NoNewPrivs", u32::from(identity.no_new_privileges))], text);
    fields(&[("Seccomp", mode.number()), ("Seccomp_filters", filters)], text);
    let cpus = sched::present(thread.affinity());
    put!(text, "Cpus_allowed:\t{cpus:x}\nCpus_allowed_list:\t");
    super::machine::list(cpus, text);
    fields(&[("Mems_allowed", 1), ("Mems_allowed_list", 0)], text);
    let (given_up, preempted) = thread.switches();
    put!(text, "voluntary_ctxt_switches:\t{given_up}\nnonvoluntary_ctxt_switches:\t{preempted}\n");
    Ok(())
}

/// Lines of a name and a number.
fn fields(fields: &[(&str, u32)], text: &mut Text) {
    for (name, value) in fields {
        put!(text, "{name}:\t{value}\n");
    }
}

/// Sizes in KiB, as `status` shows them.
fn memory(process: &Process, text: &mut Text) {
    let memory = process.memory();
    let sizes = memory.report();
    let program = text_range(&memory).len();
    let files = memory.resident_of_files() * PAGE_SIZE;
    for (name, bytes) in [
        ("VmPeak", sizes.size_peak),
        ("VmSize", sizes.size),
        ("VmLck", sizes.locked),
        ("VmPin", 0),
        ("VmHWM", sizes.resident_peak),
        ("VmRSS", sizes.resident),
        ("RssAnon", sizes.resident.saturating_sub(files)),
        ("RssFile", files),
        ("RssShmem", 0),
        ("VmData", sizes.data),
        ("VmStk", sizes.stack),
        ("VmExe", program),
        ("VmLib", sizes.text.saturating_sub(program)),
        ("VmPTE", sizes.tables),
        ("VmSwap", 0),
    ] {
        put!(text, "{name}:\t{:8} kB\n", bytes >> 10);
    }
}

/// `proc_pid_stat(5)`. What is not counted, such as page faults, is 0.
pub(super) fn stat(subject: &Subject, text: &mut Text) -> Result<()> {
    let (process, thread) = (subject.process()?, subject.thread().ok());
    put!(text, "{} (", subject.id()?);
    text.put(&thread.as_ref().map(|thread| thread.name()).unwrap_or_default());
    let times = match &thread {
        Some(thread) if subject.is_thread() => CpuTime::of_thread(thread),
        _ => CpuTime::of_process(&process),
    };
    put!(text, ") {} {}", state(&process, thread.as_deref()).0, process.parent_pid.load(Relaxed));
    let (group, session) = (process.group.load(Relaxed), process.session.load(Relaxed));
    match tty::controlling(&process) {
        Some(terminal) => {
            put!(text, " {group} {session} {} {}", terminal.device().encode(), terminal.foreground());
        }
        None => put!(text, " {group} {session} 0 -1"),
    }
    let memory = process.memory();
    let (sizes, start) = (memory.report(), memory.start());
    // Addresses are for those who may look into the memory; Linux shows others 1 for the code, and 0.
    let visible = subject.check_access().is_ok();
    let shown = |address: usize| if visible { address as u64 } else { 0 };
    let program = if visible { text_range(&memory) } else { 1..1 };
    let signals = thread.as_deref().map(signals).unwrap_or_default();
    let nice = thread.as_deref().map_or(0, |thread| i64::from(thread.nice.load(Relaxed)));
    // Only the standard ones are shown.
    let [pending, blocked, ignored, caught] = signals.map(|set| set.bits() & 0x7fff_ffff);
    // Flags and page faults, then times, of children as well.
    text.put_numbers(&[0, 0, 0, 0, 0, times.user / NS_PER_TICK, times.system / NS_PER_TICK, 0, 0]);
    // Priority and nice value.
    put!(text, " {} {nice}", 20 + nice);
    #[rustfmt::skip]
    let fields = [
        process.thread_count() as u64, 0, process.started / NS_PER_TICK,
        sizes.size as u64, (sizes.resident / PAGE_SIZE) as u64,
        process.limits.lock().get(Resource::ResidentSet).soft,
        program.start as u64, program.end as u64, shown(start.stack), 0, 0,
        pending, blocked, ignored, caught, 0, 0, 0,
        // SIGCHLD tells the parent of its end.
        17, 0, 0, 0, 0, 0, 0, 0, 0,
        shown(memory.brk_start()),
        shown(start.arguments.start), shown(start.arguments.end),
        shown(start.environment.start), shown(start.environment.end), 0,
    ];
    text.put_numbers(&fields);
    text.put(b"\n");
    Ok(())
}

/// `proc_pid_statm(5)`, in pages.
pub(super) fn statm(subject: &Subject, text: &mut Text) -> Result<()> {
    let memory = subject.process()?.memory();
    let sizes = memory.report();
    let pages = |bytes: usize| (bytes / PAGE_SIZE) as u64;
    put!(text, "{}", pages(sizes.size));
    text.put_numbers(&[
        pages(sizes.resident),
        memory.resident_of_files() as u64,
        pages(text_range(&memory).len()),
        0,
        pages(sizes.data + sizes.stack),
        0,
    ]);
    text.put(b"\n");
    Ok(())
}
