//! The bytes of a disk, without a copy of them: pieces at offsets, and zeros between.

use std::borrow::Cow;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;

/// What data is rounded to in every format: the cluster of a qcow2, the grain of a VMDK. The size of a disk is a multiple of it.
pub(super) const GRAIN: u64 = 64 << 10;

/// Bytes of a disk, or of a file on it.
#[derive(Debug, Clone)]
pub enum Data<'a> {
    /// In memory.
    Bytes(Cow<'a, [u8]>),
    /// `len` bytes of a file, from its byte `start` on.
    File {
        /// The file.
        file: &'a File,
        /// Where its part begins.
        start: u64,
        /// How long its part is.
        len: u64,
    },
}

impl Data<'_> {
    /// How many bytes there are.
    pub fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File { len, .. } => *len,
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn read(&self, from: u64, buffer: &mut [u8]) -> io::Result<()> {
        match self {
            Self::Bytes(bytes) => buffer.copy_from_slice(&bytes[from as usize..][..buffer.len()]),
            Self::File { file, start, .. } => file.read_exact_at(buffer, start + from)?,
        }
        Ok(())
    }
}

impl From<Vec<u8>> for Data<'_> {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes.into())
    }
}

/// Data at a place of a disk.
#[derive(Debug, Clone)]
pub(super) struct Piece<'a> {
    pub offset: u64,
    pub data: Data<'a>,
}

impl Piece<'_> {
    fn range(&self) -> Range<u64> {
        self.offset..self.offset + self.data.len()
    }
}

/// All bytes of a disk.
#[derive(Debug)]
pub(super) struct Bytes<'a> {
    pieces: Vec<Piece<'a>>,
    map: Map,
}

impl<'a> Bytes<'a> {
    /// A disk of `size` bytes, a multiple of [`GRAIN`], with `pieces` that lie apart from each other in it, in any order.
    pub fn new(size: u64, mut pieces: Vec<Piece<'a>>) -> Self {
        pieces.retain(|piece| !piece.data.is_empty());
        pieces.sort_by_key(|piece| piece.offset);
        debug_assert!(size.is_multiple_of(GRAIN));
        debug_assert!(pieces.is_sorted_by(|one, next| one.range().end <= next.offset));
        debug_assert!(pieces.last().is_none_or(|last| last.range().end <= size));
        let mut runs: Vec<Range<u64>> = Vec::new();
        for range in pieces.iter().map(Piece::range) {
            let (start, end) = (range.start / GRAIN * GRAIN, range.end.next_multiple_of(GRAIN));
            match runs.last_mut().filter(|last| last.end >= start) {
                Some(last) => last.end = last.end.max(end),
                None => runs.push(start..end),
            }
        }
        Self { pieces, map: Map { size, runs } }
    }

    /// Where there is data.
    pub fn map(&self) -> &Map {
        &self.map
    }

    /// Fills `buffer` with the bytes at `offset`.
    ///
    /// # Errors
    /// When a file cannot be read, or has become shorter.
    pub fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let wanted = offset..offset + buffer.len() as u64;
        let mut filled = offset;
        let first = self.pieces.partition_point(|piece| piece.range().end <= offset);
        for piece in self.pieces[first..].iter().take_while(|piece| piece.offset < wanted.end) {
            let (from, to) = (piece.offset.max(offset), piece.range().end.min(wanted.end));
            buffer[(filled - offset) as usize..(from - offset) as usize].fill(0);
            piece
                .data
                .read(from - piece.offset, &mut buffer[(from - offset) as usize..(to - offset) as usize])?;
            filled = to;
        }
        buffer[(filled - offset) as usize..].fill(0);
        Ok(())
    }
}

/// Where a disk has data, known before any of it is read: so every format can be written front to back.
#[derive(Debug, Clone)]
pub(super) struct Map {
    size: u64,
    runs: Vec<Range<u64>>,
}

impl Map {
    /// The disk's size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The stretches that hold data, in order and apart from each other; they begin and end at multiples of [`GRAIN`].
    pub fn runs(&self) -> &[Range<u64>] {
        &self.runs
    }

    /// How many bytes the stretches hold.
    pub fn data(&self) -> u64 {
        self.runs.iter().map(|run| run.end - run.start).sum()
    }

    /// The numbers of the blocks of `size` bytes, a multiple of [`GRAIN`], that hold data, in order.
    pub fn blocks(&self, size: u64) -> impl Iterator<Item = u64> {
        let mut next = 0;
        self.runs.iter().flat_map(move |run| {
            let blocks = (run.start / size).max(next)..run.end.div_ceil(size);
            next = blocks.end;
            blocks
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

        #[test]
        fn reads_what_the_pieces_say(
            stretches in prop::collection::vec((0u64..150_000, prop::collection::vec(1u8.., 0..2000)), 0..8),
            from in 0u64..1_000_000, len in 0usize..300_000,
        ) {
            let (mut pieces, mut whole) = (Vec::new(), vec![0; 2 << 20]);
            let mut at = 0;
            for (gap, bytes) in stretches {
                at += gap;
                whole[at as usize..][..bytes.len()].copy_from_slice(&bytes);
                let data = Data::from(bytes);
                pieces.push(Piece { offset: at, data: data.clone() });
                at += data.len();
            }
            pieces.reverse();
            let disk = Bytes::new(2 << 20, pieces);
            let mut buffer = vec![7; len];
            disk.read(from, &mut buffer).unwrap();
            prop_assert_eq!(&buffer, &whole[from as usize..][..len]);

            // Each block with data is named once, and no other.
            for size in [GRAIN, 4 * GRAIN] {
                let grains: std::collections::BTreeSet<u64> =
                    disk.map().runs().iter().flat_map(|run| run.start / GRAIN..run.end / GRAIN).collect();
                let blocks: std::collections::BTreeSet<u64> = grains.iter().map(|grain| grain * GRAIN / size).collect();
                prop_assert_eq!(disk.map().blocks(size).collect::<Vec<_>>(), Vec::from_iter(blocks));
                for (number, grain) in whole.chunks(GRAIN as usize).enumerate() {
                    prop_assert!(grains.contains(&(number as u64)) || grain.iter().all(|byte| *byte == 0));
                }
            }
        }
    }
}
