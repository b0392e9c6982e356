//! The memory that calls are pointed at.
//!
//! What the kernel may write over lies in mappings of their own, and nothing of this program depends on what is in them: calls with
//! random arguments change it at any time.

use std::ffi::CStr;

use super::arguments;
use super::random::Random;

/// Bytes of the memory that calls read and write; inaccessible memory follows it.
const ARENA: usize = 256 << 10;
/// Bytes of the memory that calls map and unmap.
const PLAYGROUND: usize = 16 << 20;
/// How far a call may reach beyond it: the longest length that is no nonsense.
pub const MARGIN: usize = 1 << 20;
const PAGE: usize = 4096;

/// Addresses that no program has, or that are no addresses.
const WRONG: [usize; 8] =
    [0, 1, PAGE, 0x7fff_ffff_f000, 0x8000_0000_0000, 0xffff_8000_0000_0000, usize::MAX - 4095, usize::MAX];

/// Files to be worked on: some are there, some come and go, some never are.
const PATHS: [&CStr; 26] = [
    c"a",
    c"b",
    c"c",
    c"d",
    c"d/a",
    c"d/b",
    c"d/e",
    c"d/e/f",
    c"link",
    c"fifo",
    c".",
    c"..",
    c"",
    c"no/such",
    c"/",
    c"/etc/passwd",
    c"/proc/self/maps",
    c"/proc/self/status",
    c"/proc",
    c"/proc/self/fd",
    c"/proc/meminfo",
    c"/dev/null",
    c"/dev/zero",
    c"/dev/urandom",
    c"/dev/ptmx",
    c"/dev/full",
];

/// Names of attributes and file systems.
const WORDS: [&CStr; 8] = [
    c"user.a",
    c"user.b",
    c"trusted.c",
    c"security.d",
    c"system.posix_acl_access",
    c"user.",
    c"tmpfs",
    c"proc",
];

/// Times as seconds and nanoseconds, in pairs: none, short, wrong and as good as for ever.
static TIMES: [[i64; 4]; 9] = [
    [0, 0, 0, 0],
    [0, 1, 0, 1],
    [0, 2_000_000, 0, 3_000_000],
    [0, 0, 0, 900_000],
    [1 << 40, 0, 1 << 40, 0],
    [i64::MAX, 999_999_999, i64::MAX, 999_999_999],
    [-1, 0, -1, 0],
    [0, 1_000_000_000, 0, -1],
    [0, 0x3fff_fffe, 0, 0x3fff_ffff],
];

/// Intervals and first times that do not flood the program with signals: `itimerval` and `itimerspec` alike.
static TIMERS: [[i64; 4]; 5] =
    [[0, 0, 0, 0], [0, 50_000, 0, 10_000], [1, 0, 0, 900], [0, 1_000_000, 0, 1], [i64::MAX, 0, i64::MAX, 0]];

/// Resource limits that leave enough of everything, and one that is none.
static LIMITS: [[u64; 2]; 3] = [[u64::MAX, u64::MAX], [1 << 20, u64::MAX], [2, 1]];

/// Sets of signals without the one that wakes this program.
static MASKS: [u64; 4] =
    [0, !(1 << (super::WAKE - 1)), 0x5555_5555_5555_5555 & !(1 << (super::WAKE - 1)), 1 << 40];

/// Where calls are pointed.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    arena: usize,
    playground: usize,
}

fn map(length: usize, protection: i32) -> usize {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    sys!(SYS_mmap, 0, length, protection, flags, -1, 0).expect("memory can be mapped")
}

impl Memory {
    /// Maps it.
    pub fn new() -> Self {
        let arena = map(ARENA + PAGE, libc::PROT_NONE);
        sys!(SYS_mprotect, arena, ARENA, libc::PROT_READ | libc::PROT_WRITE).expect("memory can be opened");
        Self { arena, playground: map(PLAYGROUND + MARGIN, libc::PROT_NONE) }
    }

    /// Whether an address lies where calls may map what they like.
    pub fn is_playground(self, address: usize) -> bool {
        (self.playground..self.playground + PLAYGROUND + MARGIN).contains(&address)
    }

    /// Empties the memory that calls map and unmap.
    pub fn clear_playground(self) {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_FIXED;
        let _ = sys!(SYS_mmap, self.playground, PLAYGROUND + MARGIN, libc::PROT_NONE, flags, -1, 0);
    }

    /// Writes a few words that could be pointers, lengths, descriptors or flags, as structures are made of.
    pub fn stir(self, random: &mut Random) {
        for _ in 0..8 {
            let place = (self.arena + random.below(ARENA / 16) * 16) as *mut [usize; 2];
            let words = [self.pointer(random), arguments::count(random)];
            // SAFETY: the arena is mapped for good, `place` is aligned in it, and no reference to it exists. Calls of other threads
            // may change it at the same time; whatever then stands there is as good.
            unsafe { place.write_volatile(words) };
        }
    }

    /// Memory to be read or written, mostly there.
    pub fn pointer(self, random: &mut Random) -> usize {
        match random.below(16) {
            0 => random.pick(&WRONG),
            // So close to the end that little is left.
            1 => self.arena + ARENA - random.below(64),
            2 => self.arena + random.below(ARENA),
            3 => self.playground + random.below(PLAYGROUND),
            _ => self.arena + random.below(ARENA / 16) * 16,
        }
    }

    /// An address of memory that may be mapped over.
    pub fn address(self, random: &mut Random) -> usize {
        match random.below(12) {
            0 => random.pick(&WRONG),
            1 => self.playground + random.below(PLAYGROUND),
            _ => self.playground + random.below(PLAYGROUND / PAGE) * PAGE,
        }
    }

    /// How much of it.
    pub fn length(random: &mut Random) -> usize {
        match random.below(12) {
            0 => random.pick(&[0, 1, usize::MAX, 1 << 47, 1 << 46, usize::MAX - 4095]),
            1 => random.below(MARGIN),
            _ => (1 + random.below(64)) * PAGE,
        }
    }

    /// A path.
    pub fn path(self, random: &mut Random) -> usize {
        if random.once_in(24) { self.pointer(random) } else { random.pick(&PATHS).as_ptr() as usize }
    }

    /// A name of something.
    pub fn word(self, random: &mut Random) -> usize {
        if random.once_in(24) { self.pointer(random) } else { random.pick(&WORDS).as_ptr() as usize }
    }
}

/// A time, or a pair of them.
pub fn time(random: &mut Random) -> usize {
    (&raw const TIMES[random.below(TIMES.len())]) as usize
}

/// Times of a timer that repeats.
pub fn timer(random: &mut Random) -> usize {
    (&raw const TIMERS[random.below(TIMERS.len())]) as usize
}

/// A limit.
pub fn limits(random: &mut Random) -> usize {
    (&raw const LIMITS[random.below(LIMITS.len())]) as usize
}

/// A set of signals.
pub fn mask(random: &mut Random) -> usize {
    (&raw const MASKS[random.below(MASKS.len())]) as usize
}
