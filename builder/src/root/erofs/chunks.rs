//! Sparse files: divided into chunks of equal size, of which those without data are not stored.

use super::super::content::{Content, Extent};
use super::{BLOCK, BLOCK_BITS};

/// The block address of a chunk that is a hole.
pub(super) const HOLE: u32 = u32::MAX;
/// Bytes of one address in the map.
pub(super) const ADDRESS: u64 = 4;
/// The format has five bits for the size of a chunk (`EROFS_CHUNK_FORMAT_BLKBITS_MASK`).
const BITS_MAX: u32 = 31;

/// Bytes of a chunk, as the inode tells it.
pub(super) fn size(format: u32) -> u64 {
    BLOCK << (format & BITS_MAX)
}

/// Holes are worth a map from this many bytes on.
const WORTHWHILE: u64 = 64 * 1024;
/// The largest map that is written.
const MAP_MAX: u64 = 64 << 20;
/// The most bytes that are spent on maps and zeros beyond the data of a tree's sparse files. An archive of a few kilobytes could ask
/// for terabytes.
pub(super) const OVERHEAD_MAX: u64 = 1 << 30;

/// How a sparse file is divided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chunks {
    /// A chunk has 2 to the power of this blocks.
    pub(super) bits: u32,
    /// How many there are, holes included.
    count: u64,
    /// How many blocks those with data have.
    pub(super) stored_blocks: u64,
}

impl Chunks {
    /// The division that takes least room, `None` where the file had better be stored whole; and how many bytes it takes beyond the
    /// file's data.
    pub(super) fn of(content: &Content) -> (Option<Self>, u64) {
        if !content.is_sparse() || content.len() < WORTHWHILE {
            return (None, 0);
        }
        let extents = content.extents();
        let data: u64 = extents.iter().map(|extent| extent.len).sum();
        let all = (0..=BITS_MAX).map(|bits| Self::divide(bits, content.len(), &extents));
        let best = all.filter(|chunks| chunks.map_bytes() <= MAP_MAX).min_by_key(Self::cost);
        let cost = best.as_ref().map_or(u64::MAX, Self::cost);
        let whole = content.len().next_multiple_of(BLOCK);
        let best = best.filter(|_| cost <= whole - WORTHWHILE);
        let taken = if best.is_some() { cost } else { whole };
        (best, taken - data)
    }

    fn divide(bits: u32, len: u64, extents: &[Extent]) -> Self {
        let shift = bits + BLOCK_BITS;
        let count = ((len - 1) >> shift) + 1;
        let (mut stored, mut next) = (0, 0);
        for extent in extents {
            let first = (extent.logical >> shift).max(next);
            next = ((extent.range().end - 1) >> shift) + 1;
            stored += next.saturating_sub(first);
        }
        let mut stored_blocks = stored << bits;
        // The last chunk ends with the file.
        if next == count {
            stored_blocks -= (count << bits) - len.div_ceil(BLOCK);
        }
        Self { bits, count, stored_blocks }
    }

    fn cost(&self) -> u64 {
        self.map_bytes().saturating_add(self.stored_blocks * BLOCK)
    }

    /// Size of the map behind the inode.
    pub(super) fn map_bytes(&self) -> u64 {
        self.count.saturating_mul(ADDRESS)
    }

    /// Appends the map of a file whose data begins at the block `start`.
    pub(super) fn encode(&self, content: &Content, start: u32, bytes: &mut Vec<u8>) {
        let mut address = start;
        let mut next = 0;
        for chunk in self.stored(content) {
            for _ in next..chunk {
                bytes.extend(HOLE.to_le_bytes());
            }
            bytes.extend(address.to_le_bytes());
            // The last may be shorter, but then nothing comes after it.
            address = address.wrapping_add(1 << self.bits);
            next = chunk + 1;
        }
        for _ in next..self.count {
            bytes.extend(HOLE.to_le_bytes());
        }
    }

    /// The numbers of the chunks that have data.
    fn stored(&self, content: &Content) -> impl Iterator<Item = u64> {
        let shift = self.bits + BLOCK_BITS;
        let mut next = 0;
        content.extents().into_iter().flat_map(move |extent| {
            let first = (extent.logical >> shift).max(next);
            next = ((extent.range().end - 1) >> shift) + 1;
            first..next
        })
    }

    /// The data in the order in which it is stored, and where each piece lies behind the beginning of the stored data.
    pub(super) fn pieces(&self, content: &Content) -> impl Iterator<Item = (u64, Extent)> {
        let size = BLOCK << self.bits;
        let (mut stored, mut last) = (0_u64, None);
        content.extents().into_iter().flat_map(move |extent| split(extent, size)).map(move |extent| {
            let chunk = extent.logical / size;
            if last.is_some_and(|last| last != chunk) {
                stored += size;
            }
            last = Some(chunk);
            (stored + extent.logical % size, extent)
        })
    }
}

/// Parts of an extent that do not cross multiples of `size`.
fn split(extent: Extent, size: u64) -> impl Iterator<Item = Extent> {
    let end = extent.range().end;
    let mut at = extent.logical;
    std::iter::from_fn(move || {
        let len = end.min((at / size + 1) * size) - at;
        let part = Extent { logical: at, physical: extent.physical + (at - extent.logical), len };
        at += len;
        (len > 0).then_some(part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn content(len: u64, data: &[(u64, u64)]) -> Content {
        let extents = data.iter().map(|&(logical, len)| Extent { logical, physical: logical, len });
        Content::host_file("sparse".into(), len).with_extents(Some(extents.collect()))
    }

    #[test]
    fn a_terabyte_of_nothing_takes_four_bytes() {
        let chunks = Chunks::of(&content(1 << 40, &[])).0.unwrap();
        assert_eq!((chunks.count, chunks.stored_blocks), (1, 0));
    }

    #[test]
    fn data_at_both_ends_of_a_terabyte_stays_small() {
        let content = content(1 << 40, &[(0, 4096), ((1 << 40) - 5000, 5000)]);
        let chunks = Chunks::of(&content).0.unwrap();
        assert!(chunks.cost() < 16 << 20, "{chunks:?}");
    }

    #[test]
    fn small_holes_are_written_as_zeros() {
        assert_eq!(Chunks::of(&content(100_000, &[(0, 90_000)])), (None, 102_400 - 90_000));
        assert_eq!(Chunks::of(&content(10_000, &[])), (None, 0));
    }

    #[test]
    fn what_would_explode_is_counted() {
        let data: Vec<_> = (0..100_000).map(|i| (i << 43, 1)).collect();
        assert!(Chunks::of(&content(i64::MAX as u64, &data)).1 > OVERHEAD_MAX);
    }

    proptest! {
        #[test]
        fn map_and_pieces_agree(
            gaps in prop::collection::vec((1_u64..200_000, 1_u64..50_000), 0..20), tail in 0_u64..300_000, bits in 0_u32..8
        ) {
            let mut at = 0;
            let data: Vec<_> = gaps.iter().map(|&(gap, len)| { let from = at + gap; at = from + len; (from, len) }).collect();
            let content = content(at + tail + 1, &data);
            let chunks = Chunks::divide(bits, content.len(), &content.extents());
            let mut map = Vec::new();
            chunks.encode(&content, 7, &mut map);
            prop_assert_eq!(map.len() as u64, chunks.map_bytes());
            let mut moved = 0;
            for (at, extent) in chunks.pieces(&content) {
                let chunk = (extent.logical / (BLOCK << bits)) as usize;
                let address = u32::from_le_bytes(map[chunk * 4..][..4].try_into().unwrap());
                prop_assert_ne!(address, HOLE);
                prop_assert_eq!(u64::from(address - 7) * BLOCK + extent.logical % (BLOCK << bits), at);
                prop_assert!(at + extent.len <= chunks.stored_blocks * BLOCK);
                moved += extent.len;
            }
            prop_assert_eq!(moved, data.iter().map(|piece| piece.1).sum::<u64>());
        }
    }
}
