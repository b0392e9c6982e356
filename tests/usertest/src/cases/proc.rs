//! `/proc` and `/sys` as programs and language runtimes read them.

use libc::*;

use super::helpers::{close, get, must_open, put};
use crate::report::Report;
use crate::sys;

/// Runs the group.
pub fn run(t: &mut Report) {
    residence(t);
    activity(t);
    own_process(t);
    own_memory(t);
    own_descriptors(t);
    machine(t);
    behaviour(t);
    sysfs(t);
    accounts(t);
    namespaces(t);
    open_namespaces(t);
    pages(t);
    settings(t);
}

/// Names of what a folder holds, or the error.
fn names(path: &str) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(path) else { return Vec::new() };
    let mut names: Vec<_> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// The value behind `key:` in a file of such lines.
fn field(text: &str, key: &str) -> String {
    text.lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))
        .map_or_else(|| "missing".to_owned(), |value| value.split_whitespace().collect::<Vec<_>>().join(" "))
}

fn own_process(t: &mut Report) {
    let pid = sys!(SYS_getpid).unwrap_or(0).to_string();
    t.is("self_is_pid", std::fs::read_link("/proc/self").is_ok_and(|path| path.to_string_lossy() == pid));
    t.is(
        "exe",
        std::fs::read_link("/proc/self/exe").ok()
            == std::env::args().next().and_then(|path| std::fs::canonicalize(path).ok()),
    );
    t.is("cwd", std::fs::read_link("/proc/self/cwd").is_ok_and(|path| path.ends_with("proc")));
    t.show(
        "root",
        std::fs::read_link("/proc/self/root")
            .map_or_else(|error| error.to_string(), |path| path.display().to_string()),
    );
    let arguments: Vec<u8> =
        std::env::args().flat_map(|word| [word.into_bytes(), vec![0]].concat()).collect();
    t.is("cmdline", std::fs::read("/proc/self/cmdline").is_ok_and(|bytes| bytes == arguments));
    t.show("comm", get("/proc/self/comm").trim_end());
    let environment = std::fs::read("/proc/self/environ").unwrap_or_default();
    t.is(
        "environ",
        std::env::vars().all(|(name, value)| {
            let entry = format!("{name}={value}");
            environment.split(|&byte| byte == 0).any(|found| found == entry.as_bytes())
        }),
    );
    let status = get("/proc/self/status");
    t.show("status_name", field(&status, "Name"));
    t.is("status_pid", field(&status, "Pid") == pid && field(&status, "Tgid") == pid);
    t.show("status_state", field(&status, "State"));
    t.show("status_uid", field(&status, "Uid"));
    t.show("status_gid", field(&status, "Gid"));
    t.show("status_threads", field(&status, "Threads"));
    t.show("status_umask", field(&status, "Umask"));
    t.is(
        "status_memory",
        ["VmPeak", "VmSize", "VmRSS", "VmData", "VmStk"]
            .iter()
            .all(|key| field(&status, key).ends_with(" kB")),
    );
    t.is(
        "status_signals",
        ["SigPnd", "ShdPnd", "SigBlk", "SigIgn", "SigCgt"].iter().all(|key| field(&status, key).len() == 16),
    );
    let stat = get("/proc/self/stat");
    let fields: Vec<_> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    t.show("stat_fields", fields.len());
    t.is("stat_begins", stat.starts_with(&format!("{pid} (usertest) R ")));
    t.show("stat_threads", fields.get(17).copied().unwrap_or("missing"));
    t.show("statm_fields", get("/proc/self/statm").split_whitespace().count());
    let limits = get("/proc/self/limits");
    t.show("limits_header", limits.lines().next().unwrap_or_default().trim_end());
    t.show("limits_lines", limits.lines().count());
    t.is("limits_open_files", limits.lines().any(|line| line.starts_with("Max open files ")));
    t.show("task", names("/proc/self/task").len());
    let mounts = get("/proc/self/mounts");
    t.is("mounts_root", mounts.lines().any(|line| line.split(' ').nth(1) == Some("/")));
    t.is(
        "mounts_proc",
        mounts
            .lines()
            .any(|line| line.split(' ').nth(1) == Some("/proc") && line.split(' ').nth(2) == Some("proc")),
    );
    t.is("mounts_fields", mounts.lines().all(|line| line.split(' ').count() == 6));
    t.is("mountinfo", get("/proc/self/mountinfo").lines().all(|line| line.contains(" - ")));
    t.is("cgroup", get("/proc/self/cgroup").lines().all(|line| line.split(':').count() >= 3));
    t.is(
        "auxv",
        std::fs::read("/proc/self/auxv").is_ok_and(|bytes| {
            !bytes.is_empty() && bytes.len().is_multiple_of(16) && bytes.ends_with(&[0; 16])
        }),
    );
    t.show("oom_score_adj", get("/proc/self/oom_score_adj").trim_end());
}

fn own_memory(t: &mut Report) {
    let at = sys!(SYS_mmap, 0, 3 * 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0).expect("a mapping");
    sys!(SYS_mprotect, at + 4096, 4096, PROT_READ | PROT_WRITE | PROT_EXEC).expect("another protection");
    let maps = get("/proc/self/maps");
    let rights = |address: usize| {
        let prefix = format!("{address:08x}-");
        maps.lines()
            .find(|line| line.starts_with(&prefix))
            .map_or("missing".to_owned(), |line| line.split(' ').nth(1).unwrap_or_default().to_owned())
    };
    t.show("maps_protection", rights(at + 4096));
    t.is("maps_stack", maps.contains("[stack]"));
    t.is("maps_heap", maps.contains("[heap]"));
    t.is("maps_vdso", maps.contains("[vdso]"));
    t.is("maps_program", maps.lines().any(|line| line.ends_with("/usertest") && line.contains("r-xp")));
    t.is("maps_sorted", {
        let starts: Vec<_> = maps
            .lines()
            .map(|line| usize::from_str_radix(line.split('-').next().unwrap_or_default(), 16).unwrap_or(0))
            .collect();
        starts.is_sorted()
    });
    put("mapped file", "x");
    let fd = must_open(c"mapped file", O_RDONLY);
    let mapped = sys!(SYS_mmap, 0, 4096, PROT_READ, MAP_SHARED, fd, 0).expect("a mapping");
    let maps = get("/proc/self/maps");
    let line = maps.lines().find(|line| line.starts_with(&format!("{mapped:08x}-"))).unwrap_or_default();
    t.is("maps_shared_file", line.contains("r--s 00000000 ") && line.ends_with("/proc/mapped file"));
    let shared = sys!(SYS_mmap, 0, 8192, PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1, 0).expect("room");
    let maps = get("/proc/self/maps");
    let line = maps.lines().find(|line| line.starts_with(&format!("{shared:08x}-"))).unwrap_or_default();
    t.is("maps_shared_memory", line.contains("r--s 00000000 00:") && line.ends_with("/dev/zero (deleted)"));
    sys!(SYS_munmap, shared, 8192).expect("it is there");
    t.is("smaps", get("/proc/self/smaps").lines().any(|line| line.starts_with("Rss:")));
    close(fd);
}

fn own_descriptors(t: &mut Report) {
    put("file", "content");
    let fd = must_open(c"file", O_RDONLY);
    let link = std::fs::read_link(format!("/proc/self/fd/{fd}"));
    t.is("fd_link", link.is_ok_and(|path| path.ends_with("proc/file")));
    t.is("fd_listed", names("/proc/self/fd").contains(&fd.to_string()));
    let _ = sys!(SYS_lseek, fd, 3, SEEK_SET);
    t.show("fdinfo_pos", field(&get(&format!("/proc/self/fdinfo/{fd}")), "pos"));
    t.show("fdinfo_flags", field(&get(&format!("/proc/self/fdinfo/{fd}")), "flags"));
    t.show("fd_reopens", get(&format!("/proc/self/fd/{fd}")));
    t.show("dev_fd", get(&format!("/dev/fd/{fd}")));
    let _ = sys!(SYS_unlink, c"file");
    let link = std::fs::read_link(format!("/proc/self/fd/{fd}"));
    t.is("fd_deleted", link.is_ok_and(|path| path.to_string_lossy().ends_with("proc/file (deleted)")));
    t.show("fd_deleted_reopens", get(&format!("/proc/self/fd/{fd}")));
    close(fd);
    let mut ends = [0i32; 2];
    sys!(SYS_pipe2, &mut ends, 0).expect("a pipe");
    let link = std::fs::read_link(format!("/proc/self/fd/{}", ends[0]));
    t.is("fd_pipe", link.is_ok_and(|path| path.to_string_lossy().starts_with("pipe:[")));
    let event = sys!(SYS_eventfd2, 0, 0).unwrap_or(0);
    let link = std::fs::read_link(format!("/proc/self/fd/{event}"));
    t.show("fd_eventfd", link.map_or_else(|error| error.to_string(), |path| path.display().to_string()));
    t.call("fd_missing", sys!(SYS_readlink, c"/proc/self/fd/999", &mut [0u8; 8], 8));
    for fd in [ends[0], ends[1], event as i32] {
        close(fd);
    }
}

fn machine(t: &mut Report) {
    let memory = get("/proc/meminfo");
    for key in ["MemTotal", "MemFree", "MemAvailable", "Buffers", "Cached", "SwapTotal", "Shmem", "Slab"] {
        t.is(&format!("meminfo_{key}"), field(&memory, key).ends_with(" kB"));
    }
    let cpu = get("/proc/cpuinfo");
    t.is("cpuinfo", cpu.starts_with("processor\t: 0\nvendor_id\t: "));
    t.is("cpuinfo_flags", cpu.lines().any(|line| line.starts_with("flags\t\t: ") && line.contains(" sse2 ")));
    t.is("stat_cpu", get("/proc/stat").starts_with("cpu  "));
    t.is("stat_btime", get("/proc/stat").lines().any(|line| line.starts_with("btime 1")));
    t.show(
        "uptime_fields",
        get("/proc/uptime").split_whitespace().filter(|word| word.parse::<f64>().is_ok()).count(),
    );
    t.show("loadavg_fields", get("/proc/loadavg").split_whitespace().count());
    t.is("version", get("/proc/version").starts_with("Linux version "));
    t.is("filesystems", get("/proc/filesystems").lines().any(|line| line == "nodev\tproc"));
    t.is("filesystems_overlay", get("/proc/filesystems").contains("tmpfs"));
    t.show("ostype", get("/proc/sys/kernel/ostype").trim_end());
    t.is("osrelease", !get("/proc/sys/kernel/osrelease").trim().is_empty());
    t.is("hostname", !get("/proc/sys/kernel/hostname").trim().is_empty());
    t.is("pid_max", get("/proc/sys/kernel/pid_max").trim().parse::<u32>().is_ok_and(|max| max >= 32768));
    t.is("boot_id", get("/proc/sys/kernel/random/boot_id").trim().len() == 36);
    t.is("uuid_differs", get("/proc/sys/kernel/random/uuid") != get("/proc/sys/kernel/random/uuid"));
    t.is(
        "overcommit",
        get("/proc/sys/vm/overcommit_memory").trim().parse::<u32>().is_ok_and(|mode| mode < 3),
    );
    t.is("file_max", get("/proc/sys/fs/file-max").trim().parse::<u64>().is_ok());
    t.is("nr_open", get("/proc/sys/fs/nr_open").trim().parse::<u64>().is_ok());
    t.is(
        "mounts_is_link",
        std::fs::read_link("/proc/mounts").is_ok_and(|path| path.as_os_str() == "self/mounts"),
    );
}

fn behaviour(t: &mut Report) {
    let mut stat = sys::zeroed::<libc::stat>();
    t.call("stat", sys!(SYS_stat, c"/proc/self/status", &mut stat));
    t.show("stat_mode", format!("{:o} {}", stat.st_mode, stat.st_size));
    t.call("write_read_only", sys!(SYS_openat, AT_FDCWD, c"/proc/self/status", O_CREAT, 0));
    let _ = sys!(SYS_close, 3);
    t.call("create", sys!(SYS_openat, AT_FDCWD, c"/proc/new", O_CREAT | O_RDWR, 0o600));
    t.call("mkdir", sys!(SYS_mkdir, c"/proc/new", 0o700));
    t.call("unlink", sys!(SYS_unlink, c"/proc/version"));
    t.call("missing_process", sys!(SYS_stat, c"/proc/4194303", &mut stat));
    t.call("missing_file", sys!(SYS_stat, c"/proc/self/nonsense", &mut stat));
    let fd = must_open(c"/proc/self/stat", O_RDONLY);
    let mut byte = [0u8; 1];
    t.ok("small_reads", sys!(SYS_read, fd, &mut byte, 1));
    t.ok("small_reads_go_on", sys!(SYS_read, fd, &mut byte, 1));
    t.call("seek", sys!(SYS_lseek, fd, 0, SEEK_SET));
    t.call("seek_end", sys!(SYS_lseek, fd, 0, SEEK_END));
    close(fd);
}

fn sysfs(t: &mut Report) {
    let online = get("/sys/devices/system/cpu/online");
    t.is("cpu_online", online.trim().starts_with('0'));
    t.is("cpu_possible", get("/sys/devices/system/cpu/possible").trim().starts_with('0'));
    t.is("cpu0", std::path::Path::new("/sys/devices/system/cpu/cpu0").is_dir());
    t.is(
        "kernel_mm",
        std::path::Path::new("/sys/kernel/mm/transparent_hugepage").is_dir()
            || std::path::Path::new("/sys/kernel").is_dir(),
    );
    t.is("fs_cgroup", std::path::Path::new("/sys/fs").is_dir());
}

/// What `smaps` counts of 8 pages that are written, then shared with a child.
fn residence(t: &mut Report) {
    const LENGTH: usize = 8 * 4096;
    let flags = MAP_PRIVATE | MAP_ANONYMOUS;
    let at = sys!(SYS_mmap, 0, LENGTH + 8192, PROT_NONE, flags, -1, 0).expect("room") + 4096;
    // A page without rights on both sides keeps it an area of its own.
    sys!(SYS_mprotect, at, LENGTH, PROT_READ | PROT_WRITE).expect("it is there");
    let counted = |path: &str| {
        let text = get(path);
        let mut lines = text.lines().skip_while(|line| !line.starts_with(&format!("{at:08x}-")));
        lines.next();
        let own: Vec<_> = lines.take_while(|line| !line.contains('-')).collect();
        [
            "Size",
            "Rss",
            "Pss",
            "Shared_Clean",
            "Shared_Dirty",
            "Private_Clean",
            "Private_Dirty",
            "Anonymous",
            "Swap",
        ]
        .map(|name| {
            let line = own.iter().find(|line| line.starts_with(&format!("{name}:")));
            line.and_then(|line| line.split_whitespace().nth(1)).unwrap_or("none").to_owned()
        })
        .join(" ")
    };
    t.show("smaps_untouched", counted("/proc/self/smaps"));
    for page in 0..8 {
        // SAFETY: the pages are there and nobody else's.
        unsafe { ((at + page * 4096) as *mut u8).write_volatile(1) };
    }
    t.show("smaps_written", counted("/proc/self/smaps"));
    let ends = super::helpers::pipe();
    let pid = super::helpers::child(|| {
        let mut byte = [0u8];
        let _ = sys!(SYS_read, ends[0], &mut byte, 1);
        0
    });
    t.show("smaps_with_a_child", counted("/proc/self/smaps"));
    t.show("smaps_of_the_child", counted(&format!("/proc/{pid}/smaps")));
    let _ = sys!(SYS_write, ends[1], c"x", 1);
    let _ = super::helpers::wait_for(pid);
    for end in ends {
        close(end);
    }
    t.show("smaps_alone_again", counted("/proc/self/smaps"));
    let rollup = get("/proc/self/smaps_rollup");
    let kib = |name: &str| {
        let line = rollup.lines().find(|line| line.starts_with(&format!("{name}:")));
        line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).unwrap_or(u64::MAX)
    };
    t.is("rollup_proportional", kib("Pss") <= kib("Rss"));
    let kinds = ["Shared_Clean", "Shared_Dirty", "Private_Clean", "Private_Dirty"].map(kib);
    t.is("rollup_sums_up", kinds.iter().sum::<u64>() == kib("Rss"));
    sys!(SYS_munmap, at - 4096, LENGTH + 8192).expect("it is there");
}

/// What threads and the machine have done.
fn activity(t: &mut Report) {
    let pid = super::helpers::child(|| {
        loop {
            std::hint::spin_loop();
        }
    });
    super::helpers::sleep_ms(20);
    // On one CPU it has none now.
    t.show("state_of_a_spinner", field(&get(&format!("/proc/{pid}/status")), "State"));
    let _ = sys!(SYS_kill, pid, SIGKILL);
    let _ = super::helpers::wait_for(pid);
    let given_up = || field(&get("/proc/self/status"), "voluntary_ctxt_switches").parse().unwrap_or(0u64);
    let before = given_up();
    for _ in 0..3 {
        super::helpers::sleep_ms(1);
    }
    t.is("voluntary_switches", given_up() >= before + 3);
    t.is(
        "involuntary_switches",
        field(&get("/proc/self/status"), "nonvoluntary_ctxt_switches").parse::<u64>().is_ok(),
    );
    let number = |line: &str| {
        let text = get("/proc/stat");
        let found =
            text.lines().find_map(|found| found.strip_prefix(line)?.split_whitespace().next()?.parse().ok());
        found.unwrap_or(0u64)
    };
    let before = (number("ctxt"), number("intr"));
    super::helpers::sleep_ms(20);
    t.is("stat_switches", number("ctxt") > before.0);
    t.is("stat_interrupts", number("intr") > before.1);
    t.is("stat_softirq", get("/proc/stat").lines().any(|line| line.starts_with("softirq ")));
    let interrupts = get("/proc/interrupts");
    t.is("interrupts_columns", interrupts.lines().next().is_some_and(|line| line.trim().starts_with("CPU0")));
    t.is("interrupts_timer", interrupts.lines().any(|line| line.trim_start().starts_with("LOC:")));
    let load = get("/proc/loadavg");
    let averages: Vec<_> = load.split(' ').take(3).map(|average| average.parse::<f64>().is_ok()).collect();
    t.show("loadavg", format!("{averages:?}"));
}

/// What programs read of the machine's memory, and of a process's turns.
fn accounts(t: &mut Report) {
    let memory = get("/proc/meminfo");
    let of = |key: &str| field(&memory, key).trim_end_matches(" kB").parse::<i64>().unwrap_or(-1);
    for key in [
        "Active",
        "Inactive",
        "Active(anon)",
        "Inactive(anon)",
        "Active(file)",
        "Inactive(file)",
        "Unevictable",
        "Mlocked",
        "Dirty",
        "Writeback",
        "AnonPages",
        "Mapped",
        "KReclaimable",
        "KernelStack",
        "PageTables",
        "CommitLimit",
        "Committed_AS",
        "AnonHugePages",
        "Hugepagesize",
        "Hugetlb",
    ] {
        t.is(&format!("meminfo_{key}"), field(&memory, key).ends_with(" kB"));
    }
    for key in ["HugePages_Total", "HugePages_Free", "HugePages_Rsvd", "HugePages_Surp"] {
        t.is(&format!("meminfo_{key}"), of(key) >= 0);
    }
    let total = of("MemTotal");
    t.is("anonymous_is_some", (1..total).contains(&of("AnonPages")));
    t.is("tables_are_some", (1..total).contains(&of("PageTables")));
    t.is("promised_is_some", of("Committed_AS") > 0);
    let words = |path: &str| {
        let text = get(path);
        let numbers = text.split_whitespace().filter(|word| word.parse::<u64>().is_ok()).count();
        format!("{numbers} of {}", text.split_whitespace().count())
    };
    t.show("schedstat", words("/proc/self/schedstat"));
    t.show("file_nr", words("/proc/sys/fs/file-nr"));
    let sched = get("/proc/self/sched");
    t.is("sched_head", sched.contains(" (") && sched.contains(", #threads: 1)\n----"));
    t.is("sched_switches", sched.lines().any(|line| line.starts_with("nr_switches    ")));
}

fn namespaces(t: &mut Report) {
    t.show("namespaces", names("/proc/self/ns").join(" "));
    for name in names("/proc/self/ns") {
        let path = format!("/proc/self/ns/{name}");
        let link = std::fs::read_link(&path).unwrap_or_default().to_string_lossy().into_owned();
        let metadata = std::fs::metadata(&path);
        let number = metadata.map_or(0, |about| std::os::unix::fs::MetadataExt::ino(&about));
        let kind = name.trim_end_matches("_for_children");
        t.is(&format!("namespace_{name}"), number != 0 && link == format!("{kind}:[{number}]"));
        let parents = format!("/proc/{}/ns/{name}", std::process::id());
        t.is(
            &format!("namespace_{name}_by_id"),
            std::fs::read_link(parents).unwrap_or_default().to_string_lossy() == link,
        );
    }
}

/// What is told of an open namespace (`ioctl_nsfs(2)`).
fn open_namespaces(t: &mut Report) {
    const PARENT: u32 = 0xb702;
    const KIND: u32 = 0xb703;
    const MAKER: u32 = 0xb704;
    let (uts, user) = (must_open(c"/proc/self/ns/uts", O_RDONLY), must_open(c"/proc/self/ns/user", O_RDONLY));
    t.call("namespace_kind", sys!(SYS_ioctl, uts, KIND));
    t.call("namespace_kind_of_user", sys!(SYS_ioctl, user, KIND));
    t.call("namespace_parent", sys!(SYS_ioctl, uts, PARENT));
    t.call("namespace_maker", sys!(SYS_ioctl, uts, MAKER, 8));
    t.call("namespace_maker_nowhere", sys!(SYS_ioctl, user, MAKER, 8));
    t.call("namespace_read", sys!(SYS_read, uts, &mut [0u8; 8], 8));
    let other = must_open(c"/proc/self/stat", O_RDONLY);
    t.call("namespace_of_other_file", sys!(SYS_ioctl, other, KIND));
    for fd in [uts, user, other] {
        close(fd);
    }
}

/// Entries of `/proc/self/pagemap`, without the number of the page and what only newer kernels tell.
fn pages(t: &mut Report) {
    let at =
        sys!(SYS_mmap, 0, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0).expect("memory");
    // SAFETY: the page was mapped above.
    unsafe { (at as *mut u8).write_volatile(1) };
    let fd = must_open(c"/proc/self/pagemap", O_RDONLY);
    let mut entries = [9u64; 2];
    t.call("pagemap", sys!(SYS_pread64, fd, &mut entries, 16, at / 4096 * 8));
    t.show("pagemap_entries", format!("{:x?}", entries.map(|entry| entry >> 61)));
    t.call("pagemap_between", sys!(SYS_pread64, fd, &mut entries, 8, 4));
    t.call("pagemap_part", sys!(SYS_pread64, fd, &mut entries, 7, 0));
    t.call("pagemap_nothing", sys!(SYS_pread64, fd, &mut entries, 0, 0));
    close(fd);
    let _ = sys!(SYS_munmap, at, 8192);
}

/// What can be set for a process, and what is only told.
fn settings(t: &mut Report) {
    t.show("core_filter", get("/proc/self/coredump_filter").trim_end());
    for text in ["0x7f", "3", "010", "x", "0xffffffff", "-1"] {
        let written = std::fs::write("/proc/self/coredump_filter", text);
        let error = written.map_err(|error| error.raw_os_error());
        t.show(
            &format!("core_filter_{text}"),
            format!("{error:?} {}", get("/proc/self/coredump_filter").trim_end()),
        );
    }
    let inherited = super::helpers::status_of(|| {
        i32::from(
            get("/proc/self/coredump_filter")
                == get(&format!("/proc/{}/coredump_filter", std::os::unix::process::parent_id())),
        )
    });
    t.show("core_filter_inherited", inherited);
    let _ = std::fs::write("/proc/self/coredump_filter", "0x33");
    t.show("slack", get("/proc/self/timerslack_ns").trim_end());
    t.is("slack_set", std::fs::write("/proc/self/timerslack_ns", "70000\n").is_ok());
    t.call("slack_by_prctl", sys!(SYS_prctl, PR_GET_TIMERSLACK));
    t.is("slack_set_back", std::fs::write("/proc/self/timerslack_ns", "0").is_ok());
    t.show("slack_again", get("/proc/self/timerslack_ns").trim_end());
    t.show("dir_notify", get("/proc/sys/fs/dir-notify-enable").trim_end());
    t.is("swappiness", get("/proc/sys/vm/swappiness").trim().parse::<u32>().is_ok_and(|value| value <= 200));
    for path in ["/sys/block", "/sys/dev/block", "/sys/dev/char", "/sys/class/block"] {
        t.is(&path.replace('/', "_")[1..], std::fs::read_dir(path).is_ok());
    }
    for name in ["online", "possible", "has_memory", "has_cpu", "node0/distance", "node0/cpulist"] {
        t.show(
            &format!("node_{name}"),
            get(&format!("/sys/devices/system/node/{name}")).starts_with(['0', '1']),
        );
    }
}
