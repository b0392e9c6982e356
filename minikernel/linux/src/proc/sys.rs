//! `/sys`: `sysfs(5)`.

use alloc::sync::Arc;

use isopod_fs::generated::{Entry, Generated, SYSFS_MAGIC};
use isopod_fs::{Errno, FileType};
use isopod_hal::cpu;

use super::machine::range;
use super::subject::Subject;
use super::table::{Folder, Numbers, Row};
use super::text::Text;

static ROOT: [Row; 3] = [Row::rows("devices", &DEVICES), Row::rows("fs", &FS), Row::rows("kernel", &KERNEL)];

static DEVICES: [Row; 1] = [Row::rows("system", &SYSTEM)];
static SYSTEM: [Row; 1] = [Row::mixed("cpu", &CPU, &CPUS)];
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
        Ok(Entry::Directory(Arc::new(folder(&[]))))
    },
};

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
