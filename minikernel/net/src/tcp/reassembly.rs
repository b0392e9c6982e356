//! Data that came before what precedes it (RFC 9293, section 3.10.7.4: segments with higher sequence numbers are held for later).

use alloc::vec::Vec;

use isopod_hal::OutOfMemory;

use super::Seq;
use crate::chunk::{Chunk, Chunks};

/// More gaps than this and data is dropped, which a receiver may do: each may hold a frame for a single byte.
const MAX_RUNS: usize = 256;

/// Runs of bytes without a gap, in order, none overlapping another.
#[derive(Debug, Default)]
pub(super) struct Reassembly {
    runs: Vec<Run>,
    len: usize,
}

#[derive(Debug)]
struct Run {
    start: Seq,
    payload: Chunks,
}

impl Run {
    fn end(&self) -> Seq {
        self.start + self.payload.len() as u32
    }
}

impl Reassembly {
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// How many bytes are held.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Holds those bytes of `payload` that are not yet held. Where memory is short, the rest is dropped and will be sent again.
    pub fn insert(&mut self, mut start: Seq, mut payload: Chunks) -> Result<(), OutOfMemory> {
        while !payload.is_empty() {
            // The first run that ends behind the first byte.
            let index = self.runs.partition_point(|run| run.end() <= start);
            let next = self.runs.get(index).map(|run| (run.start, run.end()));
            let gap = match next {
                Some((begin, end)) if begin <= start => {
                    payload.advance((end - start) as usize);
                    start = end;
                    continue;
                }
                Some((begin, _)) => payload.split_to((begin - start) as usize)?,
                None => core::mem::take(&mut payload),
            };
            let count = gap.len();
            self.place(index, start, gap)?;
            start += count as u32;
        }
        Ok(())
    }

    /// Adds bytes that lie in no run, before the run at `index`.
    fn place(&mut self, index: usize, start: Seq, bytes: Chunks) -> Result<(), OutOfMemory> {
        let count = bytes.len();
        if let Some(run) = self.runs[..index].last_mut().filter(|run| run.end() == start) {
            let before = run.payload.len();
            let appended = run.payload.append(bytes);
            self.len += run.payload.len() - before;
            return appended;
        }
        if self.runs.len() >= MAX_RUNS {
            return Err(OutOfMemory);
        }
        self.runs.try_reserve(1).map_err(|_| OutOfMemory)?;
        self.runs.insert(index, Run { start, payload: compact(bytes)? });
        self.len += count;
        Ok(())
    }

    /// Takes bytes that begin at `next`, if there are any. What lies before has arrived otherwise and is dropped.
    pub fn take(&mut self, next: Seq) -> Option<Chunks> {
        while self.runs.first().is_some_and(|run| run.start <= next) {
            let mut run = self.runs.remove(0);
            self.len -= run.payload.len();
            run.payload.advance((next - run.start) as usize);
            if !run.payload.is_empty() {
                return Some(run.payload);
            }
        }
        if self.runs.is_empty() && self.runs.capacity() > 0 {
            self.runs = Vec::new();
        }
        None
    }
}

/// A copy where a few bytes would hold a large buffer.
pub(super) fn compact(bytes: Chunks) -> Result<Chunks, OutOfMemory> {
    let small = |only: &&Chunk| only.len() == bytes.len() && only.footprint() > 4 * only.len();
    let copy = bytes.iter().next().filter(small).map(|only| Chunk::copy_of(only));
    copy.map_or(Ok(bytes), |copy| Ok(Chunks::from(copy?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Bytes whose values are their sequence numbers.
    fn bytes(start: u32, len: u32) -> Chunks {
        let bytes: Vec<u8> = (start..start + len).map(|byte| byte as u8).collect();
        Chunks::from(Chunk::copy_of(&bytes).unwrap())
    }

    proptest! {
        #[test]
        fn any_order_and_overlap_gives_the_stream(parts in proptest::collection::vec((0u32..200, 1u32..50), 1..60)) {
            let mut reassembly = Reassembly::default();
            let mut present = [false; 250];
            for &(start, len) in &parts {
                reassembly.insert(Seq(start), bytes(start, len)).unwrap();
                present[start as usize..(start + len) as usize].fill(true);
                prop_assert_eq!(reassembly.len(), present.iter().filter(|&&byte| byte).count());
            }
            let mut next = parts[0].0;
            let end = (next..250).find(|&at| !present[at as usize]).unwrap_or(250);
            while let Some(chunks) = reassembly.take(Seq(next)) {
                let taken: Vec<u8> = chunks.iter().flat_map(|chunk| chunk.to_vec()).collect();
                let expected: Vec<u8> = (next..next + taken.len() as u32).map(|byte| byte as u8).collect();
                prop_assert_eq!(&taken, &expected);
                next += taken.len() as u32;
            }
            prop_assert_eq!(next, end);
        }
    }

    #[test]
    fn a_peer_that_leaves_a_gap_behind_each_byte_holds_little_memory() {
        let mut reassembly = Reassembly::default();
        let held = |at: u32| Chunks::from(Chunk::with_capacity(&[at as u8], 2048).unwrap());
        let refused = (0..2 * MAX_RUNS as u32).find(|&at| reassembly.insert(Seq(at * 2), held(at)).is_err());
        assert_eq!(refused, Some(MAX_RUNS as u32));
        let footprint: usize =
            reassembly.runs.iter().flat_map(|run| run.payload.iter()).map(Chunk::footprint).sum();
        assert_eq!(footprint, MAX_RUNS);
    }
}
