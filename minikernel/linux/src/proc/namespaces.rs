//! `/proc/PID/ns`: there is one namespace of each kind, and every process is in it (namespaces(7)).

use alloc::format;
use alloc::sync::Arc;

use isopod_fs::file::{OpenFile, OpenFlags};
use isopod_fs::vfs::Path;
use isopod_fs::{DetachedInode, Errno, FileType, Inode, Result, Target};
use isopod_hal::sync::Once;

use super::subject::Subject;
use super::table::Row;
use crate::kernel;
use crate::process::CloneFlags;

/// The kinds, with the numbers that Linux gives the first namespace of each (`enum init_ns_ino` of `nsfs.h`); the network's is the first of the
/// numbers that it gives by chance.
static KINDS: [(&str, u64, CloneFlags); 8] = [
    ("cgroup", 0xefff_fffb, CloneFlags::NEWCGROUP),
    ("ipc", 0xefff_ffff, CloneFlags::NEWIPC),
    ("mnt", 0xf000_0000, CloneFlags::NEWNS),
    ("net", 0xf000_0001, CloneFlags::NEWNET),
    ("pid", PID, CloneFlags::NEWPID),
    // `CLONE_NEWTIME`
    ("time", 0xefff_fffa, CloneFlags::from_bits_retain(0x80)),
    ("user", USER, CloneFlags::NEWUSER),
    ("uts", 0xefff_fffe, CloneFlags::NEWUTS),
];

const PID: u64 = 0xefff_fffc;
const USER: u64 = 0xefff_fffd;
/// The index of the user namespace.
const OWNER: usize = 6;

pub(super) static NAMESPACES: [Row; 10] = [
    Row::link("cgroup", |subject, _| target(subject, 0)),
    Row::link("ipc", |subject, _| target(subject, 1)),
    Row::link("mnt", |subject, _| target(subject, 2)),
    Row::link("net", |subject, _| target(subject, 3)),
    Row::link("pid", |subject, _| target(subject, 4)),
    Row::link("pid_for_children", |subject, _| target(subject, 4)),
    Row::link("time", |subject, _| target(subject, 5)),
    Row::link("time_for_children", |subject, _| target(subject, 5)),
    Row::link("user", |subject, _| target(subject, 6)),
    Row::link("uts", |subject, _| target(subject, 7)),
];

fn target(subject: &Subject, kind: usize) -> Result<Target> {
    subject.check_access()?;
    subject.thread()?;
    Ok(Target::Path(path(kind)))
}

fn path(kind: usize) -> Path {
    static INODES: [Once<Arc<DetachedInode>>; KINDS.len()] = [const { Once::new() }; KINDS.len()];
    let (name, number, _) = KINDS[kind];
    let inode: Arc<dyn Inode> = INODES[kind].get_or_init(|| DetachedInode::namespace(number)).clone();
    kernel::namespace().detached(inode, format!("{name}:[{number}]").as_bytes())
}

/// What can be asked of an open namespace (`ioctl_nsfs(2)`).
#[derive(Debug, Clone, Copy)]
pub enum Question {
    /// The user namespace that it belongs to.
    Owner,
    /// The namespace that it was made in.
    Parent,
    /// Its kind.
    Kind,
    /// The user who made a user namespace.
    Maker,
}

/// What there is to answer.
#[derive(Debug)]
pub enum Answer {
    /// A file, for a new descriptor.
    File(Arc<OpenFile>),
    /// The call's result.
    Number(u32),
    /// A user, which the caller's memory takes.
    User(u32),
}

/// Answers about `file`; `ENOTTY` if it is no namespace.
pub fn ask(file: &OpenFile, question: Question) -> Result<Answer> {
    let number = file.inode().metadata()?.inode;
    let is_detached =
        file.kind() == FileType::Regular && file.path().mount().file_system().name() == "anon_inodefs";
    let found = KINDS.iter().find(|kind| is_detached && kind.1 == number).ok_or(Errno::ENOTTY)?;
    match question {
        Question::Kind => Ok(Answer::Number(found.2.bits() as u32)),
        Question::Maker if number == USER => Ok(Answer::User(0)),
        // What is around the first ones is nobody's to see.
        Question::Parent if matches!(number, PID | USER) => Err(Errno::EPERM.into()),
        Question::Owner if number == USER => Err(Errno::EPERM.into()),
        Question::Owner => OpenFile::anonymous(path(OWNER), OpenFlags::empty(), None).map(Answer::File),
        Question::Parent | Question::Maker => Err(Errno::EINVAL.into()),
    }
}
