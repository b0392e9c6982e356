//! The formats, as Linux has them.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use isopod_fs::generated::{Directory, Entry};
use isopod_fs::vfs::Process;
use isopod_fs::{Errno, Error, Result, Target};

use super::process::PROCESS;
use super::subject::Subject;
use super::table::Folder;
use crate::mm::Start;
use crate::process::Thread;
use crate::testing;

fn folder(thread: &Arc<Thread>) -> Folder {
    let subject = Subject::of_process(thread.process());
    Folder { subject, mode: 0o555, rows: &PROCESS, numbers: None }
}

fn read(folder: &dyn Directory, name: &str) -> Result<String> {
    match folder.lookup(name.as_bytes())? {
        Entry::File(file) => {
            file.read(Process::default()).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        }
        Entry::Link(link) => {
            link.text(Process::default()).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        }
        Entry::Directory(_) => Err(Errno::EISDIR.into()),
    }
}

fn write(folder: &dyn Directory, name: &str, text: &[u8]) -> Result<()> {
    match folder.lookup(name.as_bytes())? {
        Entry::File(file) => file.write(Process::default(), text),
        _ => Err(Errno::EINVAL.into()),
    }
}

fn names(folder: &dyn Directory) -> Vec<String> {
    let mut names = Vec::new();
    folder
        .list(0, &mut |listed| {
            names.push(String::from_utf8_lossy(listed.name).into_owned());
            true
        })
        .unwrap();
    names
}

fn fails<T>(result: &Result<T>, errno: Errno) -> bool {
    matches!(result, Err(Error::Errno(found)) if *found == errno)
}

#[test]
fn limits_are_a_table_of_fixed_columns() {
    let text = read(&folder(&testing::thread()), "limits").unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 17);
    assert_eq!(lines[0], "Limit                     Soft Limit           Hard Limit           Units     ");
    assert_eq!(lines[1], "Max cpu time              unlimited            unlimited            seconds   ");
    assert_eq!(lines[4], "Max stack size            8388608              unlimited            bytes     ");
    assert_eq!(lines[14], "Max nice priority         0                    0                    ");
}

#[test]
fn stat_has_52_fields_even_with_an_odd_name() {
    let thread = testing::thread();
    thread.set_name(b"a) b (c");
    let text = read(&folder(&thread), "stat").unwrap();
    let (name, rest) = text.rsplit_once(") ").unwrap();
    assert_eq!(name, alloc::format!("{} (a) b (c", thread.tid()));
    let fields: Vec<_> = rest.split_whitespace().collect();
    assert_eq!(fields.len(), 50);
    assert_eq!((fields[0], fields[15], fields[17]), ("S", "20", "1"));
    assert_eq!(fields[22], "18446744073709551615");
    assert!(text.ends_with(" 0\n"));
    assert_eq!(read(&folder(&thread), "statm").unwrap().split(' ').count(), 7);
}

#[test]
fn status_has_the_fields_of_proc_pid_status() {
    let thread = testing::thread();
    thread.set_name(b"new\nline");
    let text = read(&folder(&thread), "status").unwrap();
    let start = alloc::format!(
        "Name:\tnew\\012line\nUmask:\t0022\nState:\tS (sleeping)\nTgid:\t{0}\nNgid:\t0\nPid:\t{0}\nPPid:\t0\n",
        thread.tid()
    );
    assert!(text.starts_with(&start), "{text}");
    for line in [
        "Uid:\t0\t0\t0\t0",
        "Groups:\t ",
        "VmLck:\t       0 kB",
        "Threads:\t1",
        "SigCgt:\t0000000000000000",
        "CapEff:\t000001ffffffffff",
        "Cpus_allowed:\t1",
        "Cpus_allowed_list:\t0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line:?} in {text}");
    }
}

#[test]
fn names_and_adjustments_can_be_written() {
    let thread = testing::thread();
    let folder = folder(&thread);
    write(&folder, "comm", b"a name of more than fifteen bytes").unwrap();
    assert_eq!(read(&folder, "comm").unwrap(), "a name of more \n");
    write(&folder, "oom_score_adj", b"-500\n").unwrap();
    assert_eq!(read(&folder, "oom_score_adj").unwrap(), "-500\n");
    let score = |adjustment: &[u8]| {
        write(&folder, "oom_score_adj", adjustment).unwrap();
        read(&folder, "oom_score").unwrap().trim().parse::<u32>().unwrap()
    };
    // What it holds is a few thousandths of all memory at most.
    assert!(
        score(b"-1000") == 0
            && (333..340).contains(&score(b"-500"))
            && (1333..1340).contains(&score(b"1000"))
    );
    for bad in [&b"1001"[..], b"x", b""] {
        assert!(fails(&write(&folder, "oom_score_adj", bad), Errno::EINVAL));
    }
    assert!(fails(&write(&folder, "stat", b"x"), Errno::EINVAL));
}

#[test]
fn the_auxiliary_vector_is_given_back_as_words() {
    let thread = testing::thread();
    let auxiliary: Arc<[(u64, u64)]> = [(6, 4096), (0, 0)].into();
    thread.process().memory().set_start(Start { auxiliary, ..Start::default() });
    let Ok(Entry::File(file)) = folder(&thread).lookup(b"auxv") else { panic!("no file") };
    let words: Vec<u8> = [6_u64, 4096, 0, 0].iter().flat_map(|word| word.to_le_bytes()).collect();
    assert_eq!(file.read(Process::default()).unwrap(), words);
    assert_eq!(file.attributes().mode, 0o400);
}

#[test]
fn descriptors_are_links_to_what_is_open() {
    let thread = testing::thread();
    let file = crate::dev::memfd(b"x", 0, 0, false).unwrap();
    thread.files().insert(file, true, 7, 100).unwrap();
    let Ok(Entry::Directory(links)) = folder(&thread).lookup(b"fd") else { panic!("no directory") };
    assert_eq!(names(&*links), ["7"]);
    assert_eq!(read(&*links, "7").unwrap(), "/memfd:x (deleted)");
    for missing in ["8", "07", "+7", "-1", "", "99999999999"] {
        assert!(fails(&links.lookup(missing.as_bytes()), Errno::ENOENT), "{missing}");
    }
    let Ok(Entry::Link(link)) = links.lookup(b"7") else { panic!("no link") };
    assert_eq!(link.attributes().mode, 0o700);
    assert!(matches!(link.follow(Process::default()), Ok(Target::Path(_))));
    let Ok(Entry::Directory(positions)) = folder(&thread).lookup(b"fdinfo") else { panic!("no directory") };
    let text = read(&*positions, "7").unwrap();
    assert!(text.starts_with("pos:\t0\nflags:\t02100002\nmnt_id:\t"), "{text}");
    drop(thread.files().remove(7));
    assert!(fails(&link.text(Process::default()), Errno::ENOENT));
}

#[test]
fn threads_have_the_same_files_but_no_threads_of_their_own() {
    let thread = testing::thread();
    let folder = folder(&thread);
    let Ok(Entry::Directory(threads)) = folder.lookup(b"task") else { panic!("no directory") };
    let tid = alloc::format!("{}", thread.tid());
    assert_eq!(names(&*threads), [&tid[..]]);
    let Ok(Entry::Directory(own)) = threads.lookup(tid.as_bytes()) else { panic!("no directory") };
    let (mut process, own) = (names(&folder), names(&*own));
    assert_eq!(process.pop().as_deref(), Some("task"));
    assert_eq!(process, own);
}

#[test]
fn what_is_left_of_an_ended_process_says_so() {
    let thread = testing::thread();
    let subject = Subject::of_process(thread.process()).of_thread(thread.tid() + 1);
    let folder = Folder { subject, mode: 0o555, rows: &PROCESS, numbers: None };
    assert!(fails(&read(&folder, "comm"), Errno::ESRCH));
    let gone = Folder { subject: Subject::MACHINE, mode: 0o555, rows: &PROCESS, numbers: None };
    assert!(fails(&read(&gone, "stat"), Errno::ESRCH));
    assert!(fails(&read(&gone, "cmdline"), Errno::ESRCH));
}

#[test]
fn the_machine_is_described_as_on_linux() {
    testing::install_kernel();
    let mounted = super::proc();
    let root = isopod_fs::FileSystem::root(&*mounted);
    let text = |name: &str| {
        let mut inode = Arc::clone(&root);
        for part in name.split('/') {
            inode = inode.lookup(part.as_bytes()).unwrap();
        }
        let credentials = isopod_fs::Credentials::root();
        let request = isopod_fs::file::OpenRequest {
            inode: &inode,
            flags: isopod_fs::file::OpenFlags::empty(),
            credentials: &credentials,
            process: Process::default(),
        };
        let ops = inode.open(&request).unwrap();
        let path = crate::kernel::namespace().detached(inode.clone(), b"x");
        let file = isopod_fs::file::OpenFile::anonymous(path, request.flags, ops).unwrap();
        let mut bytes = [0; 4096];
        let count = file.read(&mut isopod_fs::Buffer::new(&mut bytes)).unwrap();
        String::from_utf8_lossy(&bytes[..count]).into_owned()
    };
    let memory = text("meminfo");
    assert!(memory.starts_with("MemTotal:  "));
    let (counts, sizes): (Vec<_>, Vec<_>) = memory.lines().partition(|line| line.starts_with("HugePages_"));
    assert!(sizes.iter().all(|line| line.len() == 27 && line.ends_with(" kB")), "{memory}");
    assert!(counts.len() == 4 && counts.iter().all(|line| line.len() == 24), "{memory}");
    assert_eq!(text("loadavg").split(' ').count(), 5);
    assert!(text("uptime").split_whitespace().all(|word| word.split_once('.').unwrap().1.len() == 2));
    assert!(text("stat").starts_with("cpu  "));
    assert!(text("cpuinfo").starts_with("processor\t: 0\nvendor_id\t: "));
    assert_eq!(text("cmdline"), "console=ttyS0\n");
    assert_eq!(text("sys/kernel/ostype"), "Linux\n");
    assert_eq!(text("sys/kernel/random/boot_id"), text("sys/kernel/random/boot_id"));
    let uuid = text("sys/kernel/random/uuid");
    assert_ne!(uuid, text("sys/kernel/random/uuid"));
    let parts: Vec<_> = uuid.trim_end().split('-').map(str::len).collect();
    assert_eq!(parts, [8, 4, 4, 4, 12]);
    assert!(uuid[14..].starts_with('4'));
}
