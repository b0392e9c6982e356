//! Arguments by their letter in [`super::shapes`].

use std::ptr::from_ref;

use super::memory::{self, Memory};
use super::random::Random;
use super::{Setting, messages, shapes};

/// Descriptors from this one on are the random calls' own.
pub const FIRST_FD: usize = 3;
/// How many of them there are.
const FDS: usize = 16;

/// Numbers at which something changes.
const EDGES: [usize; 14] = [
    0,
    1,
    2,
    4095,
    4096,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x1_0000_0000,
    1 << 62,
    usize::MAX >> 1,
    (usize::MAX >> 1) + 1,
    usize::MAX - 1,
    usize::MAX,
];

/// A descriptor, mostly one that may be open.
fn descriptor(random: &mut Random) -> usize {
    match random.below(20) {
        0 => random.pick(&[usize::MAX, 1000, 0x7fff_ffff, (libc::AT_FDCWD as isize).cast_unsigned()]),
        _ => FIRST_FD + random.below(FDS),
    }
}

/// A count of bytes.
pub fn count(random: &mut Random) -> usize {
    match random.below(8) {
        0 => random.pick(&EDGES),
        1 => random.below(64),
        2 => random.below(1 << 20),
        _ => random.below(16 << 10),
    }
}

/// A small number, the smaller the likelier.
fn small(random: &mut Random) -> usize {
    let limit = random.pick(&[2, 4, 4, 16, 80]);
    random.below(limit)
}

/// A number without a meaning.
fn anything(memory: Memory, random: &mut Random) -> usize {
    match random.below(8) {
        0 => random.next() as usize,
        1 => random.pick(&EDGES),
        2 => random.flags(),
        3 => descriptor(random),
        4 => random.below(64),
        _ => memory.pointer(random),
    }
}

/// The argument that a letter stands for.
fn argument(letter: u8, setting: &Setting, random: &mut Random) -> usize {
    let memory = setting.memory;
    match letter {
        b'n' => FIRST_FD + random.below(FDS),
        b'd' if random.once_in(2) => (libc::AT_FDCWD as isize).cast_unsigned(),
        b'f' | b'd' => descriptor(random),
        b's' => memory.path(random),
        b'w' => memory.word(random),
        // Nothing is a common thing to point at.
        b'p' | b'v' if random.once_in(4) => 0,
        b'p' | b'v' => memory.pointer(random),
        b'c' => count(random),
        b'k' => random.below(20),
        b'o' if random.once_in(8) => random.pick(&EDGES),
        b'o' => random.below(64 << 10),
        b'i' => small(random),
        b'g' if random.once_in(2) => 0,
        b'g' => random.flags(),
        b't' if random.once_in(16) => memory.pointer(random),
        b't' => memory::time(random),
        b'r' => memory::timer(random),
        b'm' => memory::mask(random),
        b'8' if random.once_in(24) => random.below(200),
        b'8' => 8,
        b'a' => memory.address(random),
        b'l' => Memory::length(random),
        b'P' => random.below(8),
        b'M' => mapping_flags(random),
        b'S' => signal(random),
        b'A' => setting.signals.disposition(random),
        b'u' => random.pick(&[0, 0xffff_ffff]),
        b'I' => random.pick(&[0, 0, 1, 1, 1, 4, 0x7fff_ffff, usize::MAX]),
        b'C' => random.pick(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 100, usize::MAX - 5]),
        b'L' => memory::limits(random),
        // Without room for data, 2, or for anything, 9, the program itself could not go on.
        b'R' => random.pick(&[0, 1, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 14, 15, 16, usize::MAX]),
        b'F' if random.once_in(8) => random.below(50),
        b'F' => libc::AF_UNIX as usize,
        b'T' => random.pick(&[1, 2, 5, 1, 2, 5, 3, 0, 10, 0x801, 0x802, 0x8_0805, usize::MAX]),
        b'N' | b'H' if random.once_in(8) => memory.pointer(random),
        b'N' => messages::name(random),
        b'H' => messages::header(random),
        _ => anything(memory, random),
    }
}

/// Flags of mmap(2): fixed half of the time, which is safe where addresses come from; nothing is filled ahead.
fn mapping_flags(random: &mut Random) -> usize {
    let kind = random.pick(&[
        libc::MAP_PRIVATE,
        libc::MAP_SHARED,
        libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
        libc::MAP_SHARED | libc::MAP_ANONYMOUS,
    ]);
    let fixed =
        random.pick(&[0, libc::MAP_FIXED, libc::MAP_FIXED_NOREPLACE, libc::MAP_GROWSDOWN | libc::MAP_FIXED]);
    (kind | fixed | libc::MAP_NORESERVE) as usize
}

/// One call: its number and arguments. `None` for one that is never made.
pub fn call(setting: &Setting, random: &mut Random) -> Option<(i64, [usize; 6])> {
    // A tenth of the numbers is picked blindly, so that those which nobody described are tried as well.
    let (number, shape) = if random.once_in(10) {
        let number = random.below(shapes::NUMBERS as usize) as i64;
        let known = shapes::SHAPES.iter().find(|(known, _)| *known == number);
        (number, known.map_or("xxxxxx", |(_, shape)| shape))
    } else {
        random.pick(shapes::SHAPES)
    };
    if shapes::NEVER.contains(&number) {
        return None;
    }
    let mut words = [0; 6];
    for (word, letter) in words.iter_mut().zip(shape.bytes()) {
        *word = argument(letter, setting, random);
    }
    is_survivable(number, &words).then_some((number, words))
}

/// Whether this program can go on after a call.
fn is_survivable(number: i64, words: &[usize; 6]) -> bool {
    match number {
        // Seccomp, a time-stamp counter that faults, calls that are sent elsewhere.
        libc::SYS_prctl => {
            let option = words[0] as i32;
            ![libc::PR_SET_SECCOMP, libc::PR_SET_TSC, 59].contains(&option)
        }
        // The signal by which this program is woken keeps its handler.
        libc::SYS_rt_sigaction => words[0] != super::WAKE,
        // Advice skips what is not mapped: over all that follows it would drop this program's own pages.
        libc::SYS_madvise => words[1] <= memory::MARGIN,
        // A segment that is put somewhere may replace what is there.
        libc::SYS_shmat => words[1] == 0,
        // It is not to be filled with pages.
        libc::SYS_mmap => words[3] & (libc::MAP_POPULATE | libc::MAP_LOCKED) as usize == 0,
        _ => true,
    }
}

/// The address of a value that lives as long as the program.
pub fn address<T>(value: &'static T) -> usize {
    from_ref(value) as usize
}

/// A signal, or no signal.
fn signal(random: &mut Random) -> usize {
    random.pick(&[0, 1, 2, 10, 12, 13, 14, 15, 17, 18, 23, 28, 32, 33, 34, 50, 64, 65, 100, usize::MAX])
}
