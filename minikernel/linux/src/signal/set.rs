//! Signal numbers and sets of them.

use core::fmt;

/// A signal, 1 to 64.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Signal(u8);

/// The names of the standard signals on x86-64, from 1.
const NAMES: [&str; 31] = [
    "SIGHUP",
    "SIGINT",
    "SIGQUIT",
    "SIGILL",
    "SIGTRAP",
    "SIGABRT",
    "SIGBUS",
    "SIGFPE",
    "SIGKILL",
    "SIGUSR1",
    "SIGSEGV",
    "SIGUSR2",
    "SIGPIPE",
    "SIGALRM",
    "SIGTERM",
    "SIGSTKFLT",
    "SIGCHLD",
    "SIGCONT",
    "SIGSTOP",
    "SIGTSTP",
    "SIGTTIN",
    "SIGTTOU",
    "SIGURG",
    "SIGXCPU",
    "SIGXFSZ",
    "SIGVTALRM",
    "SIGPROF",
    "SIGWINCH",
    "SIGIO",
    "SIGPWR",
    "SIGSYS",
];

#[expect(missing_docs, reason = "the names are those of signal(7)")]
impl Signal {
    pub const HUP: Self = Self(1);
    pub const INT: Self = Self(2);
    pub const QUIT: Self = Self(3);
    pub const ILL: Self = Self(4);
    pub const TRAP: Self = Self(5);
    pub const ABRT: Self = Self(6);
    pub const BUS: Self = Self(7);
    pub const FPE: Self = Self(8);
    pub const KILL: Self = Self(9);
    pub const USR1: Self = Self(10);
    pub const SEGV: Self = Self(11);
    pub const PIPE: Self = Self(13);
    pub const ALRM: Self = Self(14);
    pub const TERM: Self = Self(15);
    pub const CHLD: Self = Self(17);
    pub const CONT: Self = Self(18);
    pub const STOP: Self = Self(19);
    pub const TSTP: Self = Self(20);
    pub const TTIN: Self = Self(21);
    pub const TTOU: Self = Self(22);
    pub const URG: Self = Self(23);
    pub const XCPU: Self = Self(24);
    pub const XFSZ: Self = Self(25);
    pub const VTALRM: Self = Self(26);
    pub const PROF: Self = Self(27);
    pub const WINCH: Self = Self(28);
    pub const IO: Self = Self(29);
    pub const SYS: Self = Self(31);
    /// The first real-time signal; from here on each signal sent is queued.
    pub const RT_MIN: Self = Self(32);
}

impl Signal {
    /// How many signals there are.
    pub const COUNT: usize = 64;

    /// The signal with this number, 1 to 64.
    pub fn new(number: u32) -> Option<Self> {
        (1..=Self::COUNT as u32).contains(&number).then_some(Self(number as u8))
    }

    /// Its number.
    pub const fn number(self) -> u8 {
        self.0
    }

    /// Its place in tables that start at zero.
    pub(super) const fn index(self) -> usize {
        self.0 as usize - 1
    }

    /// True for the signals of which each one sent is kept.
    pub fn is_real_time(self) -> bool {
        self >= Self::RT_MIN
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.get(self.index()) {
            Some(name) => f.write_str(name),
            None if *self == Self::RT_MIN => f.write_str("SIGRTMIN"),
            None => write!(f, "SIGRT_{}", self.0 - Self::RT_MIN.0),
        }
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A set of signals, in the ABI's form: bit n - 1 is signal n.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SigSet(u64);

impl SigSet {
    /// No signal.
    pub const EMPTY: Self = Self(0);
    /// SIGKILL and SIGSTOP, which cannot be caught, blocked or ignored.
    pub const UNSTOPPABLE: Self = Self(1 << (Signal::KILL.0 - 1) | 1 << (Signal::STOP.0 - 1));
    /// The signals whose default is to stop the process.
    pub const STOPPING: Self = Self(
        1 << (Signal::STOP.0 - 1)
            | 1 << (Signal::TSTP.0 - 1)
            | 1 << (Signal::TTIN.0 - 1)
            | 1 << (Signal::TTOU.0 - 1),
    );
    /// The signals that a fault of the program causes; they are dealt with before all others.
    pub const SYNCHRONOUS: Self = Self(
        1 << (Signal::SEGV.0 - 1)
            | 1 << (Signal::BUS.0 - 1)
            | 1 << (Signal::ILL.0 - 1)
            | 1 << (Signal::TRAP.0 - 1)
            | 1 << (Signal::FPE.0 - 1)
            | 1 << (Signal::SYS.0 - 1),
    );

    /// From the ABI's form.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// In the ABI's form.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Only `signal`.
    pub const fn only(signal: Signal) -> Self {
        Self(1 << (signal.0 - 1))
    }

    /// True without any signal.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// True when `signal` is in it.
    pub const fn contains(self, signal: Signal) -> bool {
        self.0 & Self::only(signal).0 != 0
    }

    /// All that are in either.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// All that are in both.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// All but those in `other`.
    #[must_use]
    pub const fn difference(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Adds `signal`.
    pub fn insert(&mut self, signal: Signal) {
        self.0 |= Self::only(signal).0;
    }

    /// Takes `signal` out.
    pub fn remove(&mut self, signal: Signal) {
        self.0 &= !Self::only(signal).0;
    }

    /// The lowest signal.
    pub fn first(self) -> Option<Signal> {
        Signal::new(self.0.trailing_zeros() + 1)
    }

    /// Its signals, rising.
    pub fn iter(self) -> impl Iterator<Item = Signal> {
        (1..=Signal::COUNT as u32).filter_map(Signal::new).filter(move |&signal| self.contains(signal))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_have_the_abis_bits() {
        let mut set = SigSet::EMPTY;
        set.insert(Signal::HUP);
        set.insert(Signal::new(64).unwrap());
        assert_eq!(set.bits(), 1 | 1 << 63);
        assert_eq!(set.iter().map(Signal::number).collect::<alloc::vec::Vec<_>>(), [1, 64]);
        assert_eq!(SigSet::EMPTY.first(), None);
    }

    #[test]
    fn names_are_those_of_the_manual() {
        assert_eq!(alloc::format!("{} {}", Signal::SYS, Signal::new(34).unwrap()), "SIGSYS SIGRT_2");
        assert_eq!(Signal::new(0), None);
        assert_eq!(Signal::new(65), None);
    }
}
