//! What `/proc` tells of the machine as a whole.

use alloc::vec::Vec;

use isopod_fs::pages;
use isopod_hal::{PAGE_SIZE, clock, cpu, irq, memory_stats, paging};

use super::status::NS_PER_TICK;
use super::table::put;
use super::text::Text;
use crate::time::CpuTime;
use crate::{dev, kernel, process};

/// `proc_cmdline(5)`
pub(super) fn command_line(text: &mut Text) {
    text.put_line(kernel::command_line());
}

/// `proc_version(5)`
pub(super) fn version(text: &mut Text) {
    put!(text, "Linux version {} (isopod) (rustc) {}\n", kernel::RELEASE, kernel::VERSION);
}

/// The CPUs that there are, as a list.
pub(super) fn range(cpus: usize, text: &mut Text) {
    list(u64::MAX >> (64 - cpus.clamp(1, 64)), text);
}

/// CPUs as a list: `0`, `0-3`, or `0,2-3` (`cpuset(7)`, List format).
pub(super) fn list(cpus: u64, text: &mut Text) {
    let mut separator = "";
    let mut next = 0;
    while next < 64 && cpus >> next != 0 {
        let first = next + (cpus >> next).trailing_zeros();
        let last = first + (cpus >> first).trailing_ones() - 1;
        put!(text, "{separator}{first}");
        if last > first {
            put!(text, "-{last}");
        }
        separator = ",";
        next = last + 1;
    }
    text.put(b"\n");
}

/// `proc_cpuinfo(5)`
pub(super) fn cpuinfo(text: &mut Text) {
    let identity = cpu::identity();
    let brand = Some(identity.brand()).filter(|brand| !brand.is_empty()).unwrap_or("unknown");
    for number in 0..cpu::count() {
        put!(text, "processor\t: {number}\nvendor_id\t: {}\n", identity.vendor());
        put!(text, "cpu family\t: {}\nmodel\t\t: {}\n", identity.family, identity.model);
        put!(text, "model name\t: {brand}\nstepping\t: {}\n", identity.stepping);
        // One processor package, whose cores have one thread each.
        let cores = cpu::count();
        put!(text, "physical id\t: 0\nsiblings\t: {cores}\ncore id\t\t: {number}\ncpu cores\t: {cores}\n");
        if let Some(hertz) = clock::tsc_frequency() {
            put!(text, "cpu MHz\t\t: {}.{:03}\n", hertz / 1_000_000, hertz / 1000 % 1000);
        }
        put!(text, "fpu\t\t: yes\nfpu_exception\t: yes\nwp\t\t: yes\nflags\t\t:");
        identity.for_each_flag(|flag| put!(text, " {flag}"));
        put!(text, "\n\n");
    }
}

/// `proc_meminfo(5)`, in KiB. What lies in a tmpfs counts as cached, as on Linux.
pub(super) fn meminfo(text: &mut Text) {
    let memory = memory_stats();
    let files = pages::cached();
    let shared = shared_pages();
    let available = memory.free_frames.saturating_sub(memory.reserve_frames) + files;
    let (heap, tables) = (memory.heap_bytes / PAGE_SIZE, paging::tables());
    // What is not free and nothing else has programs have written; buffers of pipes and devices are in it.
    let used = memory.total_frames - memory.free_frames;
    let anonymous = used.saturating_sub(files + shared + heap + tables);
    let Areas { mapped, promised, locked } = Areas::count(files + shared);
    for (name, frames) in [
        ("MemTotal:", memory.total_frames),
        ("MemFree:", memory.free_frames),
        ("MemAvailable:", available),
        ("Buffers:", 0),
        ("Cached:", files + shared),
        ("SwapCached:", 0),
        // Pages have no age: what programs have in use counts as active.
        ("Active:", anonymous + shared + mapped.min(files)),
        ("Inactive:", files.saturating_sub(mapped)),
        ("Active(anon):", anonymous + shared),
        ("Inactive(anon):", 0),
        ("Active(file):", mapped.min(files)),
        ("Inactive(file):", files.saturating_sub(mapped)),
        ("Unevictable:", locked),
        ("Mlocked:", locked),
        ("SwapTotal:", 0),
        ("SwapFree:", 0),
        // Files are written to memory, and nowhere else.
        ("Dirty:", 0),
        ("Writeback:", 0),
        ("AnonPages:", anonymous),
        ("Mapped:", mapped),
        ("Shmem:", shared),
        ("KReclaimable:", 0),
        ("Slab:", heap),
        ("SReclaimable:", 0),
        ("SUnreclaim:", heap),
        // No thread has a stack in the kernel.
        ("KernelStack:", 0),
        ("PageTables:", tables),
        ("NFS_Unstable:", 0),
        ("Bounce:", 0),
        ("WritebackTmp:", 0),
        // Half of memory, where there is no swap (`overcommit_ratio`).
        ("CommitLimit:", memory.total_frames / 2),
        ("Committed_AS:", promised),
        ("AnonHugePages:", 0),
        ("ShmemHugePages:", 0),
        ("ShmemPmdMapped:", 0),
    ] {
        put!(text, "{name:<16}{:8} kB\n", frames * (PAGE_SIZE >> 10));
    }
    for name in ["HugePages_Total:", "HugePages_Free:", "HugePages_Rsvd:", "HugePages_Surp:"] {
        put!(text, "{name:<16}{:8}\n", 0);
    }
    put!(text, "Hugepagesize:       2048 kB\nHugetlb:               0 kB\n");
}

/// Pages of programs' areas.
#[derive(Default)]
struct Areas {
    /// Pages of files that they have mapped.
    mapped: usize,
    /// Those that they may come to need for what is their own.
    promised: usize,
    /// Those that are to stay in memory.
    locked: usize,
}

impl Areas {
    /// Counts them. There are `most` pages of files.
    fn count(most: usize) -> Self {
        let mut sum = Self::default();
        for process in process::processes() {
            let memory = process.memory();
            sum.promised += memory.data_bytes() / PAGE_SIZE;
            sum.locked += memory.locked_outside(&(0..0)) / PAGE_SIZE;
            // Programs map the same pages: after some of them all have been counted.
            if sum.mapped < most {
                sum.mapped += memory.resident_of_files();
            }
        }
        sum.mapped = sum.mapped.min(most);
        sum
    }
}

/// `proc_vmstat(5)`: what is counted of it.
pub(super) fn vmstat(text: &mut Text) {
    let memory = memory_stats();
    let shared = shared_pages();
    put!(text, "nr_free_pages {}\nnr_file_pages {}\n", memory.free_frames, pages::cached() + shared);
    put!(text, "nr_shmem {shared}\nnr_slab_unreclaimable {}\n", memory.heap_bytes / PAGE_SIZE);
    put!(text, "pswpin 0\npswpout 0\n");
}

/// Pages of file systems in memory.
fn shared_pages() -> usize {
    let mut pages = dev::memory_pages();
    let namespace = kernel::namespace();
    for mount in namespace.mounts() {
        // A bind mount shows the same pages again.
        if namespace.is_first(&mount)
            && let Ok(about) = mount.file_system().statistics()
        {
            pages += about.blocks.saturating_sub(about.blocks_free);
        }
    }
    pages as usize
}

/// CPU time of all processes, those that have ended included.
pub(super) fn busy() -> CpuTime {
    (0..cpu::count()).map(CpuTime::of_cpu).fold(CpuTime { user: 0, system: 0 }, |sum, one| CpuTime {
        user: sum.user + one.user,
        system: sum.system + one.system,
    })
}

/// Nanoseconds since boot, and those of all CPUs in which no process had them.
fn uptime_and_idle() -> (u64, u64) {
    let up = clock::monotonic_ns();
    (up, (up * cpu::count() as u64).saturating_sub(busy().total()))
}

/// `proc_stat(5)`: what is counted of it.
pub(super) fn stat(text: &mut Text) {
    let (up, idle) = uptime_and_idle();
    let mut line = |name: &[u8], time: CpuTime, idle: u64| {
        text.put(name);
        let [user, system, idle] = [time.user, time.system, idle].map(|ns| ns / NS_PER_TICK);
        text.put_numbers(&[user, 0, system, idle, 0, 0, 0, 0, 0, 0]);
        text.put(b"\n");
    };
    line(b"cpu ", busy(), idle);
    for number in 0..cpu::count() {
        let time = CpuTime::of_cpu(number);
        line(alloc::format!("cpu{number}").as_bytes(), time, up.saturating_sub(time.total()));
    }
    let boot = clock::realtime_ns().saturating_sub(up) / 1_000_000_000;
    let each: Vec<u64> = (0..irq::SOURCES).map(|source| interrupts(source).sum()).collect();
    put!(text, "intr {}", each.iter().sum::<u64>());
    text.put_numbers(&each);
    put!(text, "\nctxt {}\nbtime {boot}\nprocesses {}\n", process::switches(), process::last_pid());
    // Nothing is put off to an interrupt's end.
    put!(text, "procs_running {}\nprocs_blocked 0\nsoftirq 0", running());
    text.put_numbers(&[0; 10]);
    text.put(b"\n");
}

/// How often a source has interrupted each CPU.
fn interrupts(source: usize) -> impl Iterator<Item = u64> {
    (0..cpu::count()).map(move |cpu| irq::count(cpu, source))
}

/// `proc_interrupts(5)`
pub(super) fn interrupt_table(text: &mut Text) {
    put!(text, "    ");
    for number in 0..cpu::count() {
        put!(text, "       CPU{number:<1}");
    }
    for source in 0..irq::SOURCES {
        let name = match source {
            irq::TIMER => "LOC",
            irq::CALL => "RES",
            _ => "",
        };
        let counts: Vec<u64> = interrupts(source).collect();
        if name.is_empty() && counts.iter().all(|count| *count == 0) {
            continue;
        }
        if name.is_empty() {
            put!(text, "\n{source:>3}:");
        } else {
            put!(text, "\n{name}:");
        }
        for count in counts {
            put!(text, " {count:>10}");
        }
        text.put(match source {
            irq::TIMER => b"   Local timer interrupts",
            irq::CALL => b"   Rescheduling interrupts",
            _ => b"   device",
        });
    }
    text.put(b"\n");
}

/// Threads that have a CPU, or wait for one.
fn running() -> usize {
    process::threads().filter(|thread| thread.is_ready()).count()
}

/// `proc_uptime(5)`
pub(super) fn uptime(text: &mut Text) {
    let (up, idle) = uptime_and_idle();
    let split = |ns: u64| (ns / 1_000_000_000, ns / 10_000_000 % 100);
    let ((up, up_part), (idle, idle_part)) = (split(up), split(idle));
    put!(text, "{up}.{up_part:02} {idle}.{idle_part:02}\n");
}

/// `proc_loadavg(5)`
pub(super) fn loadavg(text: &mut Text) {
    for average in process::load::averages() {
        // Rounded to hundredths.
        let hundredths = (average * 100 + (1 << 15)) >> 16;
        put!(text, "{}.{:02} ", hundredths / 100, hundredths % 100);
    }
    put!(text, "{}/{} {}\n", running(), process::threads().count(), process::last_pid());
}
