//! `/sys/fs/cgroup` as the inside of a container sees it: one group without limits, which everybody is in (cgroups(7), "Cgroups version 2").

use alloc::sync::Arc;

use isopod_fs::generated::{CGROUP2_MAGIC, Generated};
use isopod_hal::{PAGE_SIZE, memory_stats};

use super::machine;
use super::subject::Subject;
use super::table::{Folder, Row, put};
use super::text::Text;
use crate::process;

static ROOT: [Row; 14] = [
    Row::constant("cgroup.controllers", "cpu memory pids\n"),
    Row::constant("cgroup.events", "populated 1\nfrozen 0\n"),
    Row::machine("cgroup.procs", processes),
    Row::constant("cgroup.subtree_control", "\n"),
    Row::constant("cgroup.type", "domain\n"),
    Row::constant("cpu.max", "max 100000\n"),
    Row::machine("cpu.stat", processors),
    Row::constant("cpu.weight", "100\n"),
    Row::machine("memory.current", memory),
    Row::constant("memory.high", "max\n"),
    Row::constant("memory.max", "max\n"),
    Row::constant("memory.swap.max", "0\n"),
    Row::machine("pids.current", |text| put!(text, "{}\n", process::threads().count())),
    Row::constant("pids.max", "max\n"),
];

fn processes(text: &mut Text) {
    for process in process::processes() {
        put!(text, "{}\n", process.pid);
    }
}

fn processors(text: &mut Text) {
    let busy = machine::busy();
    let [all, user, system] = [busy.total(), busy.user, busy.system].map(|ns| ns / 1000);
    put!(text, "usage_usec {all}\nuser_usec {user}\nsystem_usec {system}\n");
}

/// What is in use, files in memory included.
fn memory(text: &mut Text) {
    let memory = memory_stats();
    put!(text, "{}\n", (memory.total_frames - memory.free_frames) * PAGE_SIZE);
}

/// The file system of `/sys/fs/cgroup`.
pub fn cgroup() -> Arc<Generated> {
    let root = Folder { subject: Subject::MACHINE, mode: 0o555, rows: &ROOT, numbers: None };
    Generated::new("cgroup2", CGROUP2_MAGIC, Arc::new(root))
}
