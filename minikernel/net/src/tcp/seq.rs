//! Sequence numbers (RFC 9293, section 3.4).

use core::cmp::Ordering;
use core::ops::{Add, AddAssign, Sub};

/// A sequence number. Two of them compare by which is reached from the other by less than half of the number space, so a
/// comparison holds only between numbers of one connection's windows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seq(pub u32);

impl Seq {
    /// The later of the two.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        if self < other { other } else { self }
    }

    /// The earlier of the two.
    #[must_use]
    pub fn min(self, other: Self) -> Self {
        if self < other { self } else { other }
    }

    /// How far this lies behind `other`; zero when it does not.
    #[must_use]
    pub fn since(self, other: Self) -> u32 {
        if self > other { self - other } else { 0 }
    }
}

impl PartialOrd for Seq {
    #[inline]
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self.0.wrapping_sub(other.0) as i32).partial_cmp(&0)
    }
}

impl Add<u32> for Seq {
    type Output = Self;

    #[inline]
    fn add(self, count: u32) -> Self {
        Self(self.0.wrapping_add(count))
    }
}

impl AddAssign<u32> for Seq {
    #[inline]
    fn add_assign(&mut self, count: u32) {
        *self = *self + count;
    }
}

impl Sub<u32> for Seq {
    type Output = Self;

    #[inline]
    fn sub(self, count: u32) -> Self {
        Self(self.0.wrapping_sub(count))
    }
}

/// The distance to an earlier number.
impl Sub for Seq {
    type Output = u32;

    #[inline]
    fn sub(self, earlier: Self) -> u32 {
        self.0.wrapping_sub(earlier.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_survives_the_wrap() {
        let last = Seq(u32::MAX);
        assert!(last < last + 1);
        assert_eq!((last + 10) - last, 10);
        assert_eq!((last.max(Seq(3)), last.min(Seq(3))), (Seq(3), last));
        assert_eq!((Seq(3).since(last), last.since(Seq(3))), (4, 0));
    }
}
