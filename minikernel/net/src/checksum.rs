//! The checksum of the Internet (RFC 1071).

use crate::address::{Address, is_v4};

/// A sum under way, of words in the processor's order.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum {
    sum: u64,
    /// An odd number of bytes has been added.
    odd: bool,
}

impl Sum {
    /// One of words that somebody has added up.
    pub fn of(sum: u64) -> Self {
        Self { sum: fold(sum).to_be().into(), odd: false }
    }

    /// That of the pseudo-header of a packet's payload (RFC 768; RFC 8200, section 8.1).
    pub fn of_pseudo_header(source: &Address, destination: &Address, protocol: u8, length: usize) -> Self {
        let mut sum = Self::of(length as u64 + u64::from(protocol));
        // What makes an address of IPv4 one of IPv6 is not in its header.
        let begin = if is_v4(source) { 12 } else { 0 };
        for address in [source, destination] {
            let octets = address.octets();
            for word in octets[begin..].as_chunks().0 {
                sum.sum += u64::from(u32::from_ne_bytes(*word));
            }
        }
        sum
    }

    /// Adds bytes behind those that were added before. Words of any width do as well as those of the RFC, in the processor's order too: only the result's
    /// bytes are swapped then, as they are behind an odd number of bytes (section 2).
    pub fn add(&mut self, bytes: &[u8]) {
        let word = |bytes: &[u8; 8]| u128::from(u64::from_ne_bytes(*bytes));
        let (blocks, rest) = bytes.as_chunks::<32>();
        let mut sum = 0;
        for block in blocks {
            let [a, b, c, d] = block.as_chunks().0 else { continue };
            sum += word(a) + word(b) + word(c) + word(d);
        }
        let (words, rest) = rest.as_chunks::<8>();
        sum += words.iter().map(word).sum::<u128>();
        let mut sum = (sum as u64 >> 32) + u64::from(sum as u32) + (sum >> 64) as u64;
        let (words, rest) = rest.as_chunks::<2>();
        sum += words.iter().map(|word| u64::from(u16::from_ne_bytes(*word))).sum::<u64>();
        // The last byte of an odd number is the first of a word.
        if let Some(byte) = rest.first() {
            sum += u64::from(u16::from_ne_bytes([*byte, 0]));
        }
        self.sum += if self.odd { fold(sum).swap_bytes().into() } else { sum };
        self.odd ^= !bytes.len().is_multiple_of(2);
    }

    /// The checksum; 0 of what includes a correct one.
    pub fn finish(self) -> u16 {
        !u16::from_be(fold(self.sum))
    }

    /// The checksum as a datagram carries it, of which 0 would say that there is none (RFC 768).
    pub fn finish_sent(self) -> u16 {
        match self.finish() {
            0 => 0xffff,
            sum => sum,
        }
    }
}

/// The same sum in 16 bits.
fn fold(sum: u64) -> u16 {
    let mut sum = sum;
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
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
        fn it_is_the_sum_of_the_words(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let word = |pair: &[u8]| u64::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]));
            let mut sum = Sum::default();
            sum.add(&bytes);
            prop_assert_eq!(sum.finish(), Sum::of(bytes.chunks(2).map(word).sum()).finish());
        }

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
