//! The line discipline as Linux has it, pseudo terminals, and sessions.

extern crate std;

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use std::collections::BTreeMap;
use std::string::String;

use isopod_fs::file::{FileOps, OpenFile, OpenFlags, OpenRequest, Ready, UserMemory};
use isopod_fs::{Buffer, Bytes, Credentials, DetachedInode, Errno, Error, FileType, Inode};
use proptest::prelude::*;
use zerocopy::IntoBytes;

use super::line::{CAPACITY, Line};
use super::pty;
use super::termios::{Special, Termios, local};
use crate::kernel;
use crate::process::{self, Thread, in_thread};
use crate::signal::{SigSet, Signal};
use crate::testing::{self, Task};

/// Sequences of typed and printed bytes with random settings, and what a Linux 6.1 pty made of each:
/// input, output and local modes, characters, printed bytes, typed bytes, what the master read, `FIONREAD`, what each read gave.
const RECORDED: &str = include_str!("recorded.txt");

fn bytes(hex: &str) -> Vec<u8> {
    let digits = hex.trim_matches('-');
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

fn read(line: &mut Line, length: usize, hurried: bool) -> Result<Vec<u8>, Errno> {
    let mut room = alloc::vec![0; length];
    let mut sink = Buffer::new(&mut room);
    let outcome = line.read(&mut sink, hurried);
    let filled = sink.filled();
    room.truncate(filled);
    match outcome {
        Ok(count) => {
            assert_eq!(count, filled);
            Ok(room)
        }
        Err(error) => Err(error.errno().unwrap()),
    }
}

fn shown(line: &mut Line) -> Vec<u8> {
    line.screen.bytes.drain(..).collect()
}

#[test]
fn bytes_become_what_linux_makes_of_them() {
    for (number, case) in RECORDED.lines().enumerate() {
        let fields: Vec<&str> = case.split(' ').collect();
        let mode = |index: usize| fields[index].parse::<u32>().unwrap();
        let mut termios = Termios::DEFAULT;
        (termios.input, termios.output, termios.local) = (mode(0), mode(1), mode(2));
        termios.characters.copy_from_slice(&bytes(fields[3]));
        let mut line = Line::new().unwrap();
        line.set(termios);
        line.write(&bytes(fields[4]));
        let typed = bytes(fields[5]);
        assert_eq!(line.receive(&typed), typed.len());
        let context = alloc::format!("case {}: {case}", number + 1);
        assert_eq!(shown(&mut line), bytes(fields[6]), "{context}");
        assert_eq!(line.unread(), fields[7].parse::<usize>().unwrap(), "{context}");
        let mut reads = Vec::new();
        while let Ok(got) = read(&mut line, 100, true) {
            let end = got.is_empty() && termios.local & local::ICANON == 0;
            reads.push(got);
            if end {
                break;
            }
        }
        let expected: Vec<_> = fields[8].split(',').filter(|read| *read != ".").map(bytes).collect();
        assert_eq!(reads, expected, "{context}");
    }
}

/// A terminal with other settings.
fn line_with(change: impl FnOnce(&mut Termios)) -> Line {
    let mut line = Line::new().unwrap();
    let mut termios = line.termios;
    change(&mut termios);
    line.set(termios);
    line
}

fn raw(minimum: u8, time: u8) -> Line {
    line_with(|termios| {
        termios.local = 0;
        termios.input = 0;
        termios.output = 0;
        termios.characters[Special::Minimum as usize] = minimum;
        termios.characters[Special::Time as usize] = time;
    })
}

#[test]
fn a_read_ends_with_its_line() {
    let mut line = Line::new().unwrap();
    line.receive(b"one\ntwo\nthr");
    assert_eq!(read(&mut line, 2, false), Ok(b"on".to_vec()));
    assert_eq!(read(&mut line, 100, false), Ok(b"e\n".to_vec()));
    assert_eq!(read(&mut line, 100, false), Ok(b"two\n".to_vec()));
    assert_eq!(read(&mut line, 100, false), Err(Errno::EAGAIN));
    assert!(!line.has_input());
    // The end of the file goes with the bytes before it, if they fill the buffer.
    line.receive(b"\x04\x04");
    assert_eq!(read(&mut line, 3, false), Ok(b"thr".to_vec()));
    assert_eq!(read(&mut line, 3, false), Ok(Vec::new()));
    assert_eq!(read(&mut line, 3, false), Err(Errno::EAGAIN));
}

#[test]
fn signals_come_with_a_flush_unless_noflsh() {
    for (modes, kept) in [(0, &b""[..]), (local::NOFLSH, b"abcd\n")] {
        let mut line = line_with(|termios| termios.local |= modes);
        line.receive(b"ab\x03cd\n");
        assert_eq!(line.signals, SigSet::only(Signal::INT));
        let expected = if kept.is_empty() { b"cd\n" } else { kept };
        assert_eq!(read(&mut line, 100, false), Ok(expected.to_vec()));
    }
}

#[test]
fn output_stops_and_goes_on() {
    let mut line = Line::new().unwrap();
    line.receive(b"\x13");
    assert_eq!(line.screen.room(), 0);
    line.receive(b"\x11");
    assert!(line.screen.room() > 0);
}

#[test]
fn a_line_that_is_too_long_keeps_its_end() {
    let mut line = Line::new().unwrap();
    let typed = alloc::vec![b'x'; CAPACITY + 100];
    assert_eq!(line.receive(&typed), typed.len());
    line.receive(b"\n");
    let got = read(&mut line, 2 * CAPACITY, false).unwrap();
    assert_eq!((got.len(), got.last()), (CAPACITY, Some(&b'\n')));
}

#[test]
fn raw_reads_wait_for_count_and_time() {
    let mut line = raw(3, 0);
    line.receive(b"ab");
    assert_eq!(read(&mut line, 10, false), Err(Errno::EAGAIN));
    assert!(!line.has_input());
    assert_eq!(read(&mut line, 2, false), Ok(b"ab".to_vec()));
    line.receive(b"ab");
    assert_eq!(read(&mut line, 10, true), Ok(b"ab".to_vec()));
    assert_eq!(read(&mut raw(0, 0), 10, false), Ok(Vec::new()));
    let mut timed = raw(0, 1);
    assert_eq!(timed.read_timeout(), Some(100_000_000));
    assert_eq!(read(&mut timed, 10, false), Err(Errno::EAGAIN));
    let mut paused = raw(9, 1);
    paused.receive(b"ab");
    assert_eq!(read(&mut paused, 10, false), Err(Errno::EAGAIN));
    while paused.pause_ends().unwrap() > isopod_hal::clock::monotonic_ns() {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert_eq!(read(&mut paused, 10, false), Ok(b"ab".to_vec()));
}

#[test]
fn a_change_of_mode_keeps_what_was_typed() {
    let mut line = Line::new().unwrap();
    let cooked = line.termios;
    line.receive(b"ab");
    let mut termios = cooked;
    termios.local &= !local::ICANON;
    line.set(termios);
    assert_eq!(line.unread(), 2);
    line.set(cooked);
    assert_eq!(read(&mut line, 10, false), Ok(b"ab".to_vec()));
}

proptest! {
    /// Without modes, everything typed is read, whatever the sizes of the pieces; nothing else is.
    #[test]
    fn raw_lines_neither_lose_nor_invent(pieces: Vec<(Vec<u8>, u8)>) {
        let mut line = raw(1, 0);
        let (mut sent, mut got) = (Vec::new(), Vec::new());
        for (piece, length) in &pieces {
            let taken = line.receive(piece);
            sent.extend_from_slice(&piece[..taken]);
            got.extend(read(&mut line, usize::from(*length), true).unwrap_or_default());
        }
        while let Ok(more) = read(&mut line, 100, true) {
            got.extend(more);
        }
        prop_assert_eq!(got, sent);
    }

    /// Whatever is typed in whatever mode, the counts agree with what can be read, and lines end where they should.
    #[test]
    fn counts_hold_in_every_mode(modes: [u32; 3], characters: [u8; 19], typed: Vec<u8>, printed: Vec<u8>) {
        let mut line = line_with(|termios| {
            (termios.input, termios.output, termios.local) = (modes[0], modes[1], modes[2]);
            termios.characters = characters;
        });
        line.write(&printed);
        line.receive(&typed);
        let unread = line.unread();
        let mut got = 0;
        while let Ok(bytes) = read(&mut line, 7, true) {
            got += bytes.len();
            if bytes.is_empty() && line.unread() == 0 && !line.has_input() {
                break;
            }
        }
        prop_assert_eq!(got, unread);
    }
}

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
    inode: Arc<dyn Inode>,
    open: impl FnOnce(&OpenRequest<'_>) -> isopod_fs::Result<Box<dyn FileOps>>,
) -> isopod_fs::Result<Arc<OpenFile>> {
    let credentials = Credentials::root();
    let flags = flags | OpenFlags::RDWR;
    let request = OpenRequest {
        inode: &inode,
        flags,
        credentials: &credentials,
        process: isopod_fs::vfs::Process::default(),
    };
    let ops = open(&request)?;
    OpenFile::anonymous(kernel::namespace().detached(Arc::clone(&inode), b"tty"), flags, Some(ops))
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
    let master = open_with(OpenFlags::NOCTTY, detached(), pty::open_master).unwrap();
    let number = ask(&master, TIOCGPTN, 0).unwrap();
    assert!(matches!(open_slave(number, OpenFlags::NOCTTY), Err(Error::Errno(Errno::EIO))), "locked");
    ask(&master, TIOCSPTLCK, 0).unwrap();
    let slave = open_slave(number, OpenFlags::NOCTTY).unwrap();
    (master, slave)
}

fn open_slave(number: u32, flags: OpenFlags) -> isopod_fs::Result<Arc<OpenFile>> {
    let inode = pty::file_system()?.root().lookup(alloc::format!("{number}").as_bytes())?;
    open_with(flags, inode, pty::open_terminal)
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
            open_with(OpenFlags::empty(), detached(), super::open_controlling),
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
        let tty = open_with(OpenFlags::empty(), detached(), super::open_controlling).unwrap();
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
