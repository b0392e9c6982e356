//! `timespec` and `timeval`.

use isopod_fs::Errno;
use isopod_hal::clock;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// `sysconf(_SC_CLK_TCK)`: the unit of times(2) and of some files in /proc.
pub const TICKS_PER_SECOND: u64 = 100;

const NS_PER_SECOND: u64 = 1_000_000_000;

/// `struct timespec`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct Timespec {
    /// Seconds.
    pub seconds: i64,
    /// Nanoseconds, 0 to 999,999,999.
    pub nanoseconds: i64,
}

/// `struct timeval`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct Timeval {
    /// Seconds.
    pub seconds: i64,
    /// Microseconds, 0 to 999,999.
    pub microseconds: i64,
}

impl Timespec {
    /// From nanoseconds.
    pub fn from_ns(ns: u64) -> Self {
        Self { seconds: (ns / NS_PER_SECOND) as i64, nanoseconds: (ns % NS_PER_SECOND) as i64 }
    }

    /// In nanoseconds, the largest number when it is more than that. `EINVAL` for what is no time.
    pub fn to_ns(self) -> Result<u64, Errno> {
        if self.seconds < 0 || !(0..NS_PER_SECOND as i64).contains(&self.nanoseconds) {
            return Err(Errno::EINVAL);
        }
        Ok((self.seconds as u64).saturating_mul(NS_PER_SECOND).saturating_add(self.nanoseconds as u64))
    }

    /// The point of time this long from now, in nanoseconds since boot. `EINVAL` for what is no time.
    pub fn deadline_from_now(self) -> Result<u64, Errno> {
        Ok(clock::monotonic_ns().saturating_add(self.to_ns()?))
    }
}

impl Timeval {
    /// From nanoseconds, rounded down.
    pub fn from_ns(ns: u64) -> Self {
        Self { seconds: (ns / NS_PER_SECOND) as i64, microseconds: (ns % NS_PER_SECOND / 1000) as i64 }
    }

    /// In nanoseconds, the largest number when it is more than that. `EINVAL` for what is no time.
    pub fn to_ns(self) -> Result<u64, Errno> {
        let nanoseconds = self.microseconds.checked_mul(1000).ok_or(Errno::EINVAL)?;
        Timespec { seconds: self.seconds, nanoseconds }.to_ns()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_that_are_none_are_refused_and_huge_ones_saturate() {
        assert_eq!(Timespec { seconds: -1, nanoseconds: 0 }.to_ns(), Err(Errno::EINVAL));
        assert_eq!(Timespec { seconds: 0, nanoseconds: 1_000_000_000 }.to_ns(), Err(Errno::EINVAL));
        assert_eq!(Timeval { seconds: 0, microseconds: i64::MAX }.to_ns(), Err(Errno::EINVAL));
        assert_eq!(Timespec { seconds: i64::MAX, nanoseconds: 0 }.to_ns(), Ok(u64::MAX));
        assert_eq!(Timespec::from_ns(1_500_000_000).to_ns(), Ok(1_500_000_000));
    }
}
