//! The checksum of the Internet (RFC 1071).

use crate::address::{Address, is_v4};

/// A sum under way.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum {
    sum: u64,
    /// So many bytes have been added.
    length: usize,
}

impl Sum {
    /// One of words that somebody has added up.
    pub fn of(sum: u64) -> Self {
        Self { sum, length: 0 }
    }

    /// That of the pseudo-header of a packet's payload (RFC 768; RFC 8200, section 8.1).
    pub fn of_pseudo_header(source: &Address, destination: &Address, protocol: u8, length: usize) -> Self {
        let v4 = is_v4(source);
        let mut sum = length as u64 + u64::from(protocol);
        for address in [source, destination] {
            let bits = address.to_bits();
            sum += u64::from(bits as u32);
            if !v4 {
                sum += u64::from((bits >> 32) as u32)
                    + u64::from((bits >> 64) as u32)
                    + u64::from((bits >> 96) as u32);
            }
        }
        Self::of(sum)
    }

    /// Adds bytes behind those that were added before. Longer words do as well as those of the RFC (section 2): 2^16 is 1 in this sum.
    pub fn add(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        if !self.length.is_multiple_of(2)
            && let Some((first, others)) = bytes.split_first()
        {
            self.sum += u64::from(*first);
            rest = others;
        }
        let (words, last) = rest.as_chunks::<4>();
        self.sum += words.iter().map(|word| u64::from(u32::from_be_bytes(*word))).sum::<u64>();
        let mut end = [0; 4];
        end[..last.len()].copy_from_slice(last);
        self.sum += u64::from(u32::from_be_bytes(end));
        self.length += bytes.len();
    }

    /// The checksum; 0 of what includes a correct one.
    pub fn finish(self) -> u16 {
        let mut sum = self.sum;
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !(sum as u16)
    }

    /// The checksum as a datagram carries it, of which 0 would say that there is none (RFC 768).
    pub fn finish_sent(self) -> u16 {
        match self.finish() {
            0 => 0xffff,
            sum => sum,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::{LOOPBACK, LOOPBACK_V4, v4};
    use proptest::prelude::*;

    #[test]
    fn the_example_of_the_rfc() {
        let mut sum = Sum::default();
        sum.add(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]);
        assert_eq!(sum.finish(), !0xddf2);
    }

    #[test]
    fn both_versions_have_a_pseudo_header() {
        let four = Sum::of_pseudo_header(&LOOPBACK_V4, &v4(127, 0, 0, 2), 17, 8);
        assert_eq!(four.finish(), !(0x7f00 + 1 + 0x7f00 + 2 + 8 + 17));
        assert_eq!(Sum::of_pseudo_header(&LOOPBACK, &LOOPBACK, 17, 8).finish(), !(1 + 1 + 8 + 17));
    }

    proptest! {
        #[test]
        fn parts_sum_up_to_the_whole(bytes in prop::collection::vec(any::<u8>(), 0..200), cut in 0..200usize) {
            let (mut whole, mut parts) = (Sum::default(), Sum::default());
            whole.add(&bytes);
            let (first, second) = bytes.split_at(cut.min(bytes.len()));
            parts.add(first);
            parts.add(second);
            prop_assert_eq!(whole.finish(), parts.finish());
        }
    }
}
