//! The line discipline beside Linux's.

extern crate std;

use alloc::vec::Vec;

use isopod_fs::{Buffer, Errno};
use proptest::prelude::*;

use super::{CAPACITY, Line};
use crate::signal::{SigSet, Signal};
use crate::tty::termios::{Special, Termios, local};

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
