//! Code that is kept compressed until it is first reached: how it lies in memory.
//!
//! | offset | size | what |
//! |---|---|---|
//! | 0 | 4 | how many pages there are, `n` |
//! | 4 | 4 · (n + 1) | where each page's block begins, and where the last one ends, from offset 0 on |
//! | 4 · (n + 2) | | the blocks |
//!
//! Numbers are little endian. A block is a page in LZ4's block format (`lz4_Block_format.md` of LZ4 1.10), whose matches may reach back into
//! a dictionary that is thought to lie before it; a block of a page's length is the page itself. So each page can be had without the others.

use crate::PAGE_SIZE;

type Page = [u8; PAGE_SIZE];

/// What is copied at once, where there is room for so much.
const PIECE: usize = 16;

/// The shortest match: it is not written down.
const SHORTEST: usize = 4;

/// Pages of code, each compressed by itself.
#[derive(Clone, Copy)]
pub(crate) struct Packed<'a> {
    bytes: &'a [u8],
}

impl<'a> Packed<'a> {
    /// Takes the bytes as they were linked. Nothing is believed of them until a page is asked for.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// Unpacks a page; `None` where not all of it is there and in order.
    pub(crate) fn unpack(&self, index: usize, dictionary: &[u8], page: &mut Page) -> Option<()> {
        let block = self.block(index)?;
        match block.try_into() {
            Ok(whole) => *page = whole,
            Err(_) => unpack(block, dictionary, page)?,
        }
        Some(())
    }

    fn block(&self, index: usize) -> Option<&'a [u8]> {
        let word = |index: usize| {
            let bytes = self.bytes.get(index.checked_mul(4)?..)?.first_chunk()?;
            Some(u32::from_le_bytes(*bytes) as usize)
        };
        (index < word(0)?).then_some(())?;
        self.bytes.get(word(index + 1)?..word(index + 2)?)
    }
}

/// Reads a block that gives a whole page. It runs a few hundred sequences, each of few instructions: whoever reaches new code waits for it.
fn unpack(block: &[u8], dictionary: &[u8], page: &mut Page) -> Option<()> {
    let (mut next, mut at) = (0, 0);
    loop {
        let token = usize::from(*block.get(next)?);
        next += 1;
        let literals = length(block, &mut next, token >> 4)?;
        copy(block, next, page, at, literals)?;
        next += literals;
        at += literals;
        if next == block.len() {
            return (at == PAGE_SIZE).then_some(());
        }
        let distance = usize::from(u16::from_le_bytes(*block.get(next..)?.first_chunk()?));
        next += 2;
        let mut matched = length(block, &mut next, token & 15)? + SHORTEST;
        if distance > at {
            let from = dictionary.len().checked_sub(distance - at)?;
            let known = matched.min(dictionary.len() - from);
            copy(dictionary, from, page, at, known)?;
            at += known;
            matched -= known;
            // What goes on behind the dictionary's end goes on at the page's start.
            if matched == 0 {
                continue;
            }
        }
        repeat(page, distance, at, matched)?;
        at += matched;
    }
}

/// A length of which the token has four bits, all set where bytes follow: they add up until one is not full.
#[inline]
fn length(block: &[u8], next: &mut usize, bits: usize) -> Option<usize> {
    let mut length = bits;
    if bits == 15 {
        loop {
            let more = *block.get(*next)?;
            *next += 1;
            length += usize::from(more);
            if more != 255 {
                break;
            }
        }
    }
    Some(length)
}

/// Copies `count` bytes of `source` from `from` on. What is behind them in the page may change: it is written later.
#[inline]
fn copy(source: &[u8], from: usize, page: &mut Page, at: usize, count: usize) -> Option<()> {
    if count <= PIECE
        && let Some(piece) = source.get(from..).and_then(|rest| rest.first_chunk::<PIECE>())
        && let Some(place) = page.get_mut(at..).and_then(|rest| rest.first_chunk_mut())
    {
        *place = *piece;
        return Some(());
    }
    page.get_mut(at..at.checked_add(count)?)?.copy_from_slice(source.get(from..from.checked_add(count)?)?);
    Some(())
}

/// Copies `count` bytes from `distance` before, which may be ones that are written by that.
#[inline]
fn repeat(page: &mut Page, distance: usize, at: usize, count: usize) -> Option<()> {
    let from = at.checked_sub(distance)?;
    let end = at.checked_add(count).filter(|end| *end <= PAGE_SIZE && distance > 0)?;
    if distance >= PIECE && end + PIECE <= PAGE_SIZE {
        for step in (0..count).step_by(PIECE) {
            let piece: [u8; PIECE] = *page.get(from + step..)?.first_chunk()?;
            *page.get_mut(at + step..)?.first_chunk_mut()? = piece;
        }
    } else {
        for step in 0..count {
            page[at + step] = page[from + step];
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use alloc::{vec, vec::Vec};

    use proptest::prelude::*;

    use super::*;

    /// Packs blocks as they are.
    fn pack(blocks: &[&[u8]]) -> Vec<u8> {
        let mut bytes = (blocks.len() as u32).to_le_bytes().to_vec();
        let mut at = 4 * (blocks.len() + 2);
        for len in blocks.iter().map(|block| block.len()).chain([0]) {
            bytes.extend((at as u32).to_le_bytes());
            at += len;
        }
        bytes.extend(blocks.concat());
        bytes
    }

    #[test]
    fn pages_are_had_one_by_one() {
        let whole = [7; PAGE_SIZE];
        // A literal, a match of the whole rest one byte back, and five literals, which end each block.
        let mut repeated = vec![0x1f, 0x90, 1, 0];
        repeated.extend([255; 15]);
        repeated.push((PAGE_SIZE - 1 - 5 - 19 - 15 * 255) as u8);
        repeated.extend([0x50, 1, 2, 3, 4, 5]);
        // The dictionary's last nine bytes, their last one on and on, and five literals.
        let mut known = vec![0x05, 9, 0, 0x0f, 1, 0];
        known.extend([255; 15]);
        known.push((PAGE_SIZE - 9 - 5 - 19 - 15 * 255) as u8);
        known.extend([0x50, 1, 2, 3, 4, 5]);
        let bytes = pack(&[&repeated, &whole, &known]);
        let packed = Packed::new(&bytes);
        let mut page = [0; PAGE_SIZE];
        packed.unpack(1, b"", &mut page).unwrap();
        assert_eq!(page, whole);
        packed.unpack(0, b"", &mut page).unwrap();
        assert_eq!(page[..PAGE_SIZE - 5], [0x90; PAGE_SIZE - 5]);
        assert_eq!(page[PAGE_SIZE - 5..], [1, 2, 3, 4, 5]);
        packed.unpack(2, b"...dictionary", &mut page).unwrap();
        assert_eq!(&page[..12], b"ictionaryyyy");
        assert!(packed.unpack(2, b"short", &mut page).is_none(), "a match from before the dictionary");
        assert!(packed.unpack(3, b"", &mut page).is_none());
    }

    proptest! {
        #[test]
        fn another_implementation_s_blocks_are_read(
            page in prop::collection::vec(0u8..4, PAGE_SIZE),
            dictionary in prop::collection::vec(0u8..4, 0..300),
        ) {
            let block = lz4_flex::block::compress_with_dict(&page, &dictionary);
            let bytes = pack(&[&block]);
            let mut unpacked = [0; PAGE_SIZE];
            prop_assert!(Packed::new(&bytes).unpack(0, &dictionary, &mut unpacked).is_some());
            prop_assert_eq!(&unpacked[..], &page);
        }

        #[test]
        fn what_is_damaged_is_refused_or_some_page_but_never_a_panic(
            flips in prop::collection::vec((0usize..64, any::<u8>()), 1..8),
            cut in 0usize..80,
            index in 0usize..4,
        ) {
            let mut bytes = pack(&[&[0x1f, 0x90, 1, 0, 255, 255, 9, 0x50, 1, 2, 3, 4, 5], &[3; 40]]);
            for (at, value) in flips {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = value;
                }
            }
            bytes.truncate(cut);
            let _ = Packed::new(&bytes).unpack(index, b"dictionary", &mut [0; PAGE_SIZE]);
        }
    }
}
