//! Pseudo terminals and sessions.

extern crate std;

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;
use std::collections::BTreeMap;
use std::string::String;

use isopod_fs::file::{FileOps, OpenFile, OpenFlags, OpenRequest, Ready, UserMemory};
use isopod_fs::{Buffer, Bytes, Credentials, DetachedInode, Errno, Error, FileType, Inode};
use zerocopy::IntoBytes;

use super::pty;
use crate::kernel;
use crate::process::{self, Thread, in_thread};
use crate::signal::{SigSet, Signal};
use crate::testing::{self, Task};

/// The memory of a program that uses small integers as addresses.
#[derive(Default)]
struct Memory(BTreeMap<usize, Vec<u8>>);

impl UserMemory for Memory {
    fn read(&mut self, address: usize, bytes: &mut [u8]) -> isopod_fs::Result<()> {
        let there = self.0.get(&address).ok_or(Errno::EFAULT)?;
        bytes.copy_from_slice(&there[..bytes.len()]);
        Ok(())
    }

    fn write(&mut self, address: usize, bytes: &[u8]) -> isopod_fs::Result<()> {
        self.0.insert(address, bytes.to_vec());
        Ok(())
    }
}

fn detached() -> Arc<dyn Inode> {
    DetachedInode::new(FileType::CharacterDevice, 0o666, 0, 0)
}

/// Opens one of the devices for reading and writing.
fn open_with(
    flags: OpenFlags,
    inode: &Arc<dyn Inode>,
    open: impl FnOnce(&OpenRequest<'_>) -> isopod_fs::Result<Box<dyn FileOps>>,
) -> isopod_fs::Result<Arc<OpenFile>> {
    let credentials = Credentials::root();
    let flags = flags | OpenFlags::RDWR;
    let request =
        OpenRequest { inode, flags, credentials: &credentials, process: isopod_fs::vfs::Process::default() };
    let ops = open(&request)?;
    OpenFile::anonymous(kernel::namespace().detached(Arc::clone(inode), b"tty"), flags, Some(ops))
}

const TIOCGPTN: u32 = 0x8004_5430;
const TIOCSPTLCK: u32 = 0x4004_5431;
const TIOCGPGRP: u32 = 0x540f;
const TIOCSPGRP: u32 = 0x5410;
const TIOCGWINSZ: u32 = 0x5413;
const TIOCSWINSZ: u32 = 0x5414;
const TIOCSCTTY: u32 = 0x540e;
const TIOCNOTTY: u32 = 0x5422;

fn ask(file: &OpenFile, request: u32, argument: u32) -> Result<u32, Errno> {
    let mut memory = Memory::default();
    memory.0.insert(8, argument.to_le_bytes().to_vec());
    file.ioctl(request, 8, &mut memory).map_err(|error| error.errno().unwrap())?;
    Ok(u32::from_le_bytes(memory.0[&8][..4].try_into().unwrap()))
}

/// A pseudo terminal: master, the terminal behind it.
fn pair() -> (Arc<OpenFile>, Arc<OpenFile>) {
    let master = open_with(OpenFlags::NOCTTY, &detached(), pty::open_master).unwrap();
    let number = ask(&master, TIOCGPTN, 0).unwrap();
    assert!(matches!(open_slave(number, OpenFlags::NOCTTY), Err(Error::Errno(Errno::EIO))), "locked");
    ask(&master, TIOCSPTLCK, 0).unwrap();
    let slave = open_slave(number, OpenFlags::NOCTTY).unwrap();
    (master, slave)
}

fn open_slave(number: u32, flags: OpenFlags) -> isopod_fs::Result<Arc<OpenFile>> {
    let inode = pty::file_system()?.root().lookup(alloc::format!("{number}").as_bytes())?;
    open_with(flags, &inode, pty::open_terminal)
}

fn take(file: &OpenFile) -> Result<Vec<u8>, Errno> {
    let mut room = [0; 100];
    let mut sink = Buffer::new(&mut room);
    let count = file.read(&mut sink).map_err(|error| error.errno().unwrap())?;
    Ok(room[..count].to_vec())
}

fn give(file: &OpenFile, bytes: &[u8]) -> Result<usize, Errno> {
    file.write(&Credentials::root(), &mut Bytes::new(bytes)).map_err(|error| error.errno().unwrap())
}

#[test]
fn pseudo_terminals_come_and_go() {
    testing::install_kernel();
    let names = || {
        let mut names = Vec::new();
        let root = pty::file_system().unwrap().root();
        root.read_dir(isopod_fs::FIRST_COOKIE, &mut |entry| {
            names.push(String::from_utf8(entry.name.to_vec()).unwrap());
            true
        })
        .unwrap();
        names
    };
    let (master, slave) = pair();
    let number = ask(&master, TIOCGPTN, 0).unwrap();
    assert!(names().contains(&alloc::format!("{number}")));
    assert_eq!(give(&master, b"hi\r"), Ok(3));
    assert_eq!(take(&slave), Ok(b"hi\n".to_vec()));
    assert_eq!(take(&master), Ok(b"hi\r\n".to_vec()));
    assert_eq!(take(&master), Err(Errno::EAGAIN));
    assert_eq!(give(&slave, b"last\n"), Ok(5));
    drop(slave);
    assert!(master.ready().contains(Ready::HANG_UP | Ready::READABLE));
    assert_eq!(take(&master), Ok(b"last\r\n".to_vec()));
    assert_eq!(take(&master), Err(Errno::EIO));
    let again = open_slave(number, OpenFlags::NOCTTY).unwrap();
    assert_eq!(take(&master), Err(Errno::EAGAIN));
    drop(master);
    assert_eq!(take(&again), Ok(Vec::new()));
    assert_eq!(give(&again, b"x"), Err(Errno::EIO));
    assert_eq!(ask(&again, TIOCGWINSZ, 0), Err(Errno::EIO));
    assert_eq!(ask(&again, TIOCSPGRP, 0), Err(Errno::ENOTTY));
    assert!(again.ready().contains(Ready::HANG_UP | Ready::ERROR | Ready::READABLE | Ready::WRITABLE));
    assert!(!names().contains(&alloc::format!("{number}")));
}

/// A thread that is found by its process's id and leads a session.
fn leader() -> Arc<Thread> {
    let thread = testing::thread();
    process::enlist(&thread);
    thread
}

fn pending(thread: &Thread) -> SigSet {
    thread.process().pending.lock().set()
}

#[test]
fn a_session_has_one_terminal_and_its_foreground_the_signals() {
    let thread = leader();
    let pid = thread.process().pid;
    let (master, slave) = pair();
    let number = ask(&master, TIOCGPTN, 0).unwrap();
    let mut task = Task::new(in_thread(&thread, async {
        assert!(matches!(
            open_with(OpenFlags::empty(), &detached(), super::open_controlling),
            Err(Error::Errno(Errno::ENXIO))
        ));
        assert_eq!(ask(&slave, TIOCGPGRP, 0), Err(Errno::ENOTTY));
        // Opened without O_NOCTTY it becomes the controlling terminal.
        let opened = open_slave(number, OpenFlags::empty()).unwrap();
        assert_eq!(ask(&slave, TIOCGPGRP, 0), Ok(pid));
        assert_eq!(ask(&slave, TIOCSPGRP, u32::MAX), Err(Errno::EINVAL));
        assert_eq!(ask(&slave, TIOCSPGRP, 4_000_000), Err(Errno::ESRCH));
        assert_eq!(ask(&slave, TIOCSPGRP, pid), Ok(pid));
        assert_eq!(ask(&slave, TIOCSCTTY, 0), Ok(0));
        let tty = open_with(OpenFlags::empty(), &detached(), super::open_controlling).unwrap();
        assert_eq!(give(&tty, b"x"), Ok(1));
        drop(opened);
    }));
    assert!(task.poll().is_ready());
    give(&master, b"\x03").unwrap();
    assert_eq!(pending(&thread), SigSet::only(Signal::INT));
    let size: [u16; 4] = [24, 80, 0, 0];
    let mut memory = Memory::default();
    memory.0.insert(8, size.as_bytes().to_vec());
    master.ioctl(TIOCSWINSZ, 8, &mut memory).unwrap();
    slave.ioctl(TIOCGWINSZ, 16, &mut memory).unwrap();
    assert_eq!(memory.0[&16], size.as_bytes());
    drop(master);
    assert_eq!(pending(&thread).iter().collect::<Vec<_>>(), [Signal::HUP, Signal::INT, Signal::CONT]);
    let mut task = Task::new(in_thread(&thread, async {
        assert!(super::controlling(thread.process()).is_none());
        assert_eq!(ask(&slave, TIOCNOTTY, 0), Err(Errno::EIO));
    }));
    assert!(task.poll().is_ready());
}

#[test]
fn the_background_stops_at_what_only_the_foreground_may() {
    const TCFLSH: u32 = 0x540b;
    let leader = leader();
    let session = leader.process().pid;
    let (master, slave) = pair();
    let number = ask(&master, TIOCGPTN, 0).unwrap();
    let within = |thread: &Arc<Thread>, act: &dyn Fn()| {
        let mut task = Task::new(in_thread(thread, async { act() }));
        assert!(task.poll().is_ready());
    };
    within(&leader, &|| drop(open_slave(number, OpenFlags::empty()).unwrap()));
    let member = testing::child(Arc::downgrade(leader.process()));
    let group = member.process().pid;
    process::enlist(&member);
    member.process().group.store(group, Ordering::Relaxed);
    give(&master, b"line\r").unwrap();
    within(&member, &|| {
        assert_eq!(take(&slave), Err(Errno::ERESTART));
        assert_eq!(pending(&member), SigSet::only(Signal::TTIN));
        assert_eq!(give(&slave, b"x"), Ok(1), "without TOSTOP anybody may print");
        assert_eq!(ask(&slave, TCFLSH, 0), Err(Errno::ERESTART));
        assert!(pending(&member).contains(Signal::TTOU));
        member.signals.lock().mask = SigSet::only(Signal::TTIN).union(SigSet::only(Signal::TTOU));
        assert_eq!(take(&slave), Err(Errno::EIO), "SIGTTIN would do nothing");
        assert_eq!(ask(&slave, TIOCSPGRP, group), Ok(group), "but SIGTTOU need not come");
        assert_eq!(take(&slave), Ok(b"line\n".to_vec()));
    });
    within(&leader, &|| assert_eq!(ask(&slave, TIOCGPGRP, 0), Ok(group)));
    // The end of the leader is heard in the foreground, and leaves the terminal to the next session.
    super::leave_session(leader.process());
    assert!(pending(&member).contains(Signal::HUP));
    assert!(super::controlling(member.process()).is_none());
    assert_eq!(ask(&master, TIOCGPGRP, 0), Ok(0));
    assert_ne!(session, group);
}
