//! The alphabets of literals and lengths and of distances, and where all of it lies.

use core::ops::Range;

/// The longest code of a symbol, in bits: a table of all that can follow has two entries to this power.
pub(crate) const LONGEST: usize = 11;

/// The symbols below this one are bytes; the others are slots of a length.
pub(crate) const LENGTHS: usize = 256;

/// The shortest match, in bytes: slots count from here.
pub(crate) const SHORTEST: usize = 2;

/// Of bytes and lengths.
pub(crate) const LITERALS: usize = LENGTHS + 32;

/// Of distances, the first of which is that of the match before.
pub(crate) const DISTANCES: usize = 80;

/// Where the lengths of codes lie, four bits each.
pub(crate) const LITERAL_CODES: Range<usize> = 4..4 + LITERALS / 2;
pub(crate) const DISTANCE_CODES: Range<usize> = LITERAL_CODES.end..LITERAL_CODES.end + DISTANCES / 2;

/// A match's length beyond [`SHORTEST`].
pub(crate) const LENGTH: Slots = Slots { direct: 4, kept: 1 };

/// A match's distance; none is 0.
pub(crate) const DISTANCE: Slots = Slots { direct: 2, kept: 2 };

/// Numbers as a slot and bits: the larger a number, the more others share its slot.
///
/// Those of up to `direct` bits have slots of their own; of larger ones the slot says how many bits they have and the first `kept` behind the
/// highest.
#[derive(Clone, Copy)]
pub(crate) struct Slots {
    direct: usize,
    kept: usize,
}

impl Slots {
    /// The first number of a slot, and how many bits are to be added to it.
    #[inline]
    pub(crate) const fn numbers(self, slot: usize) -> (usize, usize) {
        if slot < 1 << self.direct {
            return (slot, 0);
        }
        let slot = slot - (1 << self.direct);
        let bits = self.direct - self.kept + (slot >> self.kept);
        let highest = 1 << self.kept;
        ((highest | (slot & (highest - 1))) << bits, bits)
    }

    /// The slot that a number belongs to.
    #[cfg(feature = "pack")]
    pub(crate) const fn slot(self, number: usize) -> usize {
        if number < 1 << self.direct {
            return number;
        }
        let highest = number.ilog2() as usize;
        let kept = (number >> (highest - self.kept)) & ((1 << self.kept) - 1);
        (1 << self.direct) + ((highest - self.direct) << self.kept) + kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_is_in_its_slot() {
        for (slots, end) in [(LENGTH, 4097 - SHORTEST), (DISTANCE, 1 << 21)] {
            for number in 0..end {
                let (first, bits) = slots.numbers(slots.slot(number));
                assert!((first..first + (1 << bits)).contains(&number), "{number} in {first}, {bits} bits");
            }
        }
        assert_eq!(LENGTH.slot(4096 - SHORTEST), LITERALS - LENGTHS - 1);
        assert_eq!(DISTANCE.slot((1 << 21) - 1), DISTANCES - 1);
    }
}
