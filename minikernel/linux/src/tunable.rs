//! Numbers that the administrator can change in `/proc/sys`.

use core::sync::atomic::{AtomicU64, Ordering};

use isopod_fs::Errno;

/// What a number is that nobody has set.
const UNSET: u64 = u64::MAX;

/// A number below `/proc/sys`.
#[derive(Debug)]
pub struct Tunable {
    value: AtomicU64,
    default: fn() -> u64,
    range: (u64, u64),
}

impl Tunable {
    /// One that is `default` until somebody sets it to something from `least` to `most`.
    pub const fn new(default: fn() -> u64, least: u64, most: u64) -> Self {
        Self { value: AtomicU64::new(UNSET), default, range: (least, most) }
    }

    /// The number now.
    pub fn get(&self) -> u64 {
        match self.value.load(Ordering::Relaxed) {
            UNSET => (self.default)(),
            value => value,
        }
    }

    /// Sets it. `EINVAL` for what is out of its range.
    pub fn set(&self, value: u64) -> Result<(), Errno> {
        if value < self.range.0 || value > self.range.1 {
            return Err(Errno::EINVAL);
        }
        self.value.store(value, Ordering::Relaxed);
        Ok(())
    }

    /// Sets it to the number that begins `text`, as it was written to its file.
    pub fn set_text(&self, text: &[u8]) -> Result<(), Errno> {
        let text = core::str::from_utf8(text).map_err(|_| Errno::EINVAL)?;
        let word = text.split_ascii_whitespace().next().ok_or(Errno::EINVAL)?;
        self.set(word.parse().map_err(|_| Errno::EINVAL)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_stays_in_its_range() {
        static NUMBER: Tunable = Tunable::new(|| 5, 1, 9);
        assert_eq!(NUMBER.get(), 5);
        assert_eq!(
            [b"7\n".as_slice(), b"10", b"0", b"-1", b"x", b""].map(|text| NUMBER.set_text(text).is_ok()),
            [true, false, false, false, false, false]
        );
        assert_eq!(NUMBER.get(), 7);
    }
}
