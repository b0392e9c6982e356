//! What a terminal is set to: `termios(3)`, with Linux's numbers on x86-64 (`asm-generic/termbits.h`).

use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Input modes.
pub(super) mod input {
    pub const PARMRK: u32 = 0o10;
    pub const ISTRIP: u32 = 0o40;
    pub const INLCR: u32 = 0o100;
    pub const IGNCR: u32 = 0o200;
    pub const ICRNL: u32 = 0o400;
    pub const IUCLC: u32 = 0o1000;
    pub const IXON: u32 = 0o2000;
    pub const IXANY: u32 = 0o4000;
    pub const IUTF8: u32 = 0o40_000;
}

/// Output modes.
pub(super) mod output {
    pub const OPOST: u32 = 0o1;
    pub const OLCUC: u32 = 0o2;
    pub const ONLCR: u32 = 0o4;
    pub const OCRNL: u32 = 0o10;
    pub const ONOCR: u32 = 0o20;
    pub const ONLRET: u32 = 0o40;
    /// How tabs are shown; all bits set: as spaces.
    pub const XTABS: u32 = 0o14_000;
}

/// Control modes.
pub(super) mod control {
    /// The output speed.
    pub const CBAUD: u32 = 0o10_017;
    /// A speed that has no number.
    pub const BOTHER: u32 = 0o10_000;
    pub const CSIZE: u32 = 0o60;
    pub const CS8: u32 = 0o60;
    pub const CREAD: u32 = 0o200;
    pub const PARENB: u32 = 0o400;
}

/// Local modes.
pub(super) mod local {
    pub const ISIG: u32 = 0o1;
    pub const ICANON: u32 = 0o2;
    pub const ECHO: u32 = 0o10;
    pub const ECHOE: u32 = 0o20;
    pub const ECHOK: u32 = 0o40;
    pub const ECHONL: u32 = 0o100;
    pub const NOFLSH: u32 = 0o200;
    pub const TOSTOP: u32 = 0o400;
    pub const ECHOCTL: u32 = 0o1000;
    pub const ECHOPRT: u32 = 0o2000;
    pub const ECHOKE: u32 = 0o4000;
    pub const IEXTEN: u32 = 0o100_000;
}

/// A special character; its number is its place in the array.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Special {
    Interrupt = 0,
    Quit = 1,
    Erase = 2,
    Kill = 3,
    EndOfFile = 4,
    Time = 5,
    Minimum = 6,
    Start = 8,
    Stop = 9,
    Suspend = 10,
    EndOfLine = 11,
    Reprint = 12,
    WordErase = 14,
    LiteralNext = 15,
    EndOfLine2 = 16,
}

/// `struct termios2`; its first [`Termios::SHORT`] bytes are `struct termios`.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub(super) struct Termios {
    pub input: u32,
    pub output: u32,
    pub control: u32,
    pub local: u32,
    discipline: u8,
    pub characters: [u8; 19],
    input_speed: u32,
    output_speed: u32,
}

/// Bits per second of the numbers from 0, and of those from `BOTHER + 1`.
const SPEEDS: [[u32; 16]; 2] = [
    [0, 50, 75, 110, 134, 150, 200, 300, 600, 1200, 1800, 2400, 4800, 9600, 19_200, 38_400],
    [
        0, 57_600, 115_200, 230_400, 460_800, 500_000, 576_000, 921_600, 1_000_000, 1_152_000, 1_500_000,
        2_000_000, 2_500_000, 3_000_000, 3_500_000, 4_000_000,
    ],
];

impl Termios {
    /// Bytes of `struct termios`.
    pub const SHORT: usize = 36;

    /// All bytes zero: nothing is locked.
    pub const NOTHING: Self = Self {
        input: 0,
        output: 0,
        control: 0,
        local: 0,
        discipline: 0,
        characters: [0; 19],
        input_speed: 0,
        output_speed: 0,
    };

    /// Takes from `old` what is `locked` (`unset_locked_termios` of Linux).
    pub fn keep_locked(&mut self, old: &Self, locked: &Self) {
        let keep = |new: &mut u32, old: u32, locked: u32| *new = (*new & !locked) | (old & locked);
        keep(&mut self.input, old.input, locked.input);
        keep(&mut self.output, old.output, locked.output);
        keep(&mut self.control, old.control, locked.control);
        keep(&mut self.local, old.local, locked.local);
        if locked.discipline != 0 {
            self.discipline = old.discipline;
        }
        for (new, (old, locked)) in
            self.characters.iter_mut().zip(old.characters.iter().zip(&locked.characters))
        {
            if *locked != 0 {
                *new = *old;
            }
        }
    }

    /// What a new terminal is set to (`tty_std_termios` of Linux).
    pub const DEFAULT: Self = Self {
        input: input::ICRNL | input::IXON,
        output: output::OPOST | output::ONLCR,
        control: 0o17 | control::CS8 | control::CREAD,
        local: local::ISIG
            | local::ICANON
            | local::ECHO
            | local::ECHOE
            | local::ECHOK
            | local::ECHOCTL
            | local::ECHOKE
            | local::IEXTEN,
        discipline: 0,
        characters: *b"\x03\x1c\x7f\x15\x04\x00\x01\x00\x11\x13\x1a\x00\x12\x0f\x17\x16\x00\x00\x00",
        input_speed: 38_400,
        output_speed: 38_400,
    };

    /// Bytes of `struct termio` of System V: the lower halves of the modes, the discipline and the first eight characters.
    pub const OLD: usize = 18;

    /// As `struct termio`.
    pub fn old(&self) -> [u8; Self::OLD] {
        let mut old = [0; Self::OLD];
        for (place, mode) in old.chunks_exact_mut(2).zip([self.input, self.output, self.control, self.local])
        {
            place.copy_from_slice(&(mode as u16).to_le_bytes());
        }
        old[8] = self.discipline;
        old[9..17].copy_from_slice(&self.characters[..8]);
        old
    }

    /// Takes what a `struct termio` says; the rest stays.
    pub fn take_old(&mut self, old: &[u8; Self::OLD]) {
        let modes = [&mut self.input, &mut self.output, &mut self.control, &mut self.local];
        for (mode, half) in modes.into_iter().zip(old.chunks_exact(2)) {
            *mode = *mode & !0xffff | u32::from(half[1]) << 8 | u32::from(half[0]);
        }
        self.discipline = old[8];
        self.characters[..8].copy_from_slice(&old[9..17]);
    }

    /// Makes settings of a program's what the terminal can be: always eight bits and no parity.
    pub fn settle(&mut self) {
        self.control &= !(control::CSIZE | control::PARENB);
        self.control |= control::CS8 | control::CREAD;
        let number = self.control & control::CBAUD;
        if number != control::BOTHER {
            let speed = SPEEDS[usize::from(number & control::BOTHER != 0)][(number & 0o17) as usize];
            (self.input_speed, self.output_speed) = (speed, speed);
        }
    }

    /// The character that means `special`; 0 for none.
    pub fn character(&self, special: Special) -> u8 {
        self.characters[special as usize]
    }

    /// Whether `byte` means `special`.
    pub fn is(&self, special: Special, byte: u8) -> bool {
        byte != 0 && self.character(special) == byte
    }
}
