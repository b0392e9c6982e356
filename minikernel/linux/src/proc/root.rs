//! The root of `/proc`: the machine's files, and a directory for each process.

use alloc::format;
use alloc::sync::Arc;

use isopod_fs::generated::{Entry, Generated, PROC_MAGIC, directory_of};
use isopod_fs::{Errno, FileType, Inode, Result, Target};

use super::machine;
use super::process::PROCESS;
use super::subject::Subject;
use super::sysctl::SYSCTL;
use super::sysvipc::SYSVIPC;
use super::table::{Folder, Numbers, Row, gather};
use crate::process::{self, Process};

static ROOT: [Row; 20] = [
    Row::machine("cmdline", machine::command_line),
    Row::machine("cpuinfo", machine::cpuinfo),
    Row::constant("devices", DEVICES),
    // No disk is the program's own.
    Row::constant("diskstats", ""),
    // What is made of these can be told apart by statfs(2); the first three can be mounted from inside.
    Row::constant(
        "filesystems",
        "nodev\tsysfs\nnodev\ttmpfs\nnodev\tproc\nnodev\tdevpts\nnodev\tcgroup2\nnodev\toverlay\n\terofs\n",
    ),
    Row::machine("interrupts", machine::interrupt_table),
    Row::machine("loadavg", machine::loadavg),
    Row::machine("meminfo", machine::meminfo),
    Row::link("mounts", |_, _| Ok(Target::Text(b"self/mounts".to_vec()))),
    Row::link("net", |_, _| Ok(Target::Text(b"self/net".to_vec()))),
    Row::constant("partitions", ""),
    Row::machine("stat", machine::stat),
    Row::constant("swaps", "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"),
    Row::rows("sys", &SYSCTL),
    Row::rows("sysvipc", &SYSVIPC),
    Row::machine("uptime", machine::uptime),
    Row::machine("version", machine::version),
    Row::machine("vmstat", machine::vmstat),
    Row::link("self", |_, caller| Ok(Target::Text(format!("{}", caller.id).into_bytes()))),
    Row::link("thread-self", |_, caller| {
        Ok(Target::Text(format!("{}/task/{}", caller.id, caller.thread).into_bytes()))
    }),
];

/// The drivers of what is in `/dev`, by major number.
const DEVICES: &str =
    "Character devices:\n  1 mem\n  5 /dev/tty\n  5 /dev/console\n  5 /dev/ptmx\n136 pts\n\nBlock devices:\n";

static PROCESSES: Numbers = Numbers {
    prefix: "",
    kind: FileType::Directory,
    all: |_| gather(&mut process::processes().map(|process| process.pid)),
    // The number of a thread is not listed, but it leads to its process.
    entry: |_, id| {
        let subject = Subject::of_process(&process::find_process_of(id).ok_or(Errno::ENOENT)?);
        Ok(Entry::Directory(Arc::new(Folder { subject, mode: 0o555, rows: &PROCESS, numbers: None })))
    },
};

/// The file system of `/proc`.
pub fn proc() -> Arc<Generated> {
    let root = Folder { subject: Subject::MACHINE, mode: 0o555, rows: &ROOT, numbers: Some(&PROCESSES) };
    Generated::new("proc", PROC_MAGIC, Arc::new(root))
}

/// The process whose directory here `inode` is, if it is one; ESRCH when the process is gone.
pub fn process_of(inode: &Arc<dyn Inode>) -> Option<Result<Arc<Process>>> {
    let folder = directory_of::<Folder>(inode)?;
    let is_process = core::ptr::eq(folder.rows, &raw const PROCESS[..]) && !folder.subject.is_thread();
    is_process.then(|| folder.subject.process())
}
