//! `/sys`: `sysfs(5)`.

use alloc::sync::Arc;

use isopod_fs::generated::{Entry, Generated, SYSFS_MAGIC};
use isopod_fs::{Errno, FileType, Result};
use isopod_hal::cpu;

use super::machine::range;
use super::subject::Subject;
use super::table::{Folder, Numbers, Row, put};
use super::text::Text;
use super::{hardware, interface};

static ROOT: [Row; 6] = [
    // No disk is the program's own.
    Row::rows("block", &[]),
    Row::rows("class", &interface::CLASS),
    Row::rows("dev", &NUMBERS),
    Row::rows("devices", &DEVICES),
    Row::rows("fs", &FS),
    Row::rows("kernel", &KERNEL),
];

static DEVICES: [Row; 2] = [Row::rows("system", &SYSTEM), Row::rows("virtual", &interface::DEVICES)];
static SYSTEM: [Row; 2] = [Row::mixed("cpu", &CPU, &CPUS), Row::rows("node", &hardware::NODES)];
/// Devices by their numbers.
static NUMBERS: [Row; 2] = [Row::rows("block", &[]), Row::rows("char", &[])];
static CPU: [Row; 3] =
    [Row::machine("online", cpus), Row::machine("possible", cpus), Row::machine("present", cpus)];

static CPUS: Numbers = Numbers {
    prefix: "cpu",
    kind: FileType::Directory,
    all: |_| Ok((0..cpu::count() as u32).collect()),
    entry: |_, number| {
        if number as usize >= cpu::count() {
            return Err(Errno::ENOENT.into());
        }
        let subject = Subject::MACHINE.of_thread(number);
        Ok(Entry::Directory(Arc::new(Folder { subject, mode: 0o555, rows: &PROCESSOR, numbers: None })))
    },
};

/// A CPU, which the directory's number names.
static PROCESSOR: [Row; 2] =
    [Row::numbers("cache", 0o555, &hardware::CACHES), Row::rows("topology", &TOPOLOGY)];
/// All CPUs are cores of one package and have one thread each, as `/proc/cpuinfo` says.
static TOPOLOGY: [Row; 12] = [
    Row::constant("cluster_id", "0\n"),
    Row::thread("core_cpus", itself),
    Row::thread("core_cpus_list", number),
    Row::thread("core_id", number),
    Row::machine("core_siblings", all),
    Row::machine("core_siblings_list", cpus),
    Row::constant("die_id", "0\n"),
    Row::machine("package_cpus", all),
    Row::machine("package_cpus_list", cpus),
    Row::constant("physical_package_id", "0\n"),
    Row::thread("thread_siblings", itself),
    Row::thread("thread_siblings_list", number),
];

fn number(cpu: &Subject, text: &mut Text) -> Result<()> {
    put!(text, "{}\n", cpu.id()?);
    Ok(())
}

/// The mask of one CPU.
fn itself(cpu: &Subject, text: &mut Text) -> Result<()> {
    mask(1u64.unbounded_shl(cpu.id()?), text);
    Ok(())
}

pub(super) fn all(text: &mut Text) {
    mask(u64::MAX >> (64 - cpu::count().clamp(1, 64)), text);
}

/// Words of 32 bits, the highest first, as many as there are CPUs for (`cpuset(7)`, Mask format).
pub(super) fn mask(cpus: u64, text: &mut Text) {
    if cpu::count() > 32 {
        put!(text, "{:08x},", cpus >> 32);
    }
    put!(text, "{:0width$x}\n", cpus & 0xffff_ffff, width = cpu::count().min(32).div_ceil(4));
}

static FS: [Row; 1] = [Row::rows("cgroup", &[])];
static KERNEL: [Row; 1] = [Row::rows("mm", &MM)];
static MM: [Row; 1] = [Row::rows("transparent_hugepage", &HUGE_PAGES)];
static HUGE_PAGES: [Row; 1] = [Row::constant("enabled", "always madvise [never]\n")];

fn cpus(text: &mut Text) {
    range(cpu::count(), text);
}

fn folder(rows: &'static [Row]) -> Folder {
    Folder { subject: Subject::MACHINE, mode: 0o555, rows, numbers: None }
}

/// The file system of `/sys`.
pub fn sys() -> Arc<Generated> {
    Generated::new("sysfs", SYSFS_MAGIC, Arc::new(folder(&ROOT)))
}
