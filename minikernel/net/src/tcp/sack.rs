//! Selective acknowledgments of what was received (RFC 2018, section 4; duplicates by RFC 2883).

use super::Seq;

/// The blocks to report, the latest first.
#[derive(Debug, Default)]
pub(super) struct SackBlocks {
    blocks: [Option<(Seq, Seq)>; 3],
    /// What arrived a second time, reported once (RFC 2883, section 4).
    duplicate: Option<(Seq, Seq)>,
}

impl SackBlocks {
    /// Notes that `start..end` arrived out of order: the block with it comes first, grown by those it touches (RFC 2018, section 4).
    pub fn add(&mut self, mut start: Seq, mut end: Seq) {
        let old = core::mem::take(&mut self.blocks);
        let mut apart = [None; 3];
        let mut count = 0;
        for block in old.into_iter().flatten() {
            if block.0 <= end && start <= block.1 {
                (start, end) = (start.min(block.0), end.max(block.1));
            } else {
                apart[count] = Some(block);
                count += 1;
            }
        }
        self.blocks = [Some((start, end)), apart[0], apart[1]];
    }

    /// Notes that `start..end` had arrived before.
    pub fn add_duplicate(&mut self, start: Seq, end: Seq) {
        self.duplicate = Some((start, end));
    }

    /// Forgets what lies before `next`: it is acknowledged the ordinary way.
    pub fn advance(&mut self, next: Seq) {
        if self.blocks[0].is_none() {
            return;
        }
        let mut left = self.blocks.into_iter().flatten().filter(|block| block.1 > next);
        self.blocks = [left.next(), left.next(), left.next()];
    }

    /// Bytes that the report takes in a header.
    pub fn encoded_len(&self) -> u32 {
        if self.blocks[0].is_none() && self.duplicate.is_none() {
            return 0;
        }
        let blocks = self.blocks.iter().chain([&self.duplicate]).flatten().count().min(3);
        4 + 8 * blocks as u32
    }

    /// What the next segment reports; a duplicate comes first and only once.
    pub fn report(&mut self) -> [Option<(Seq, Seq)>; 3] {
        match self.duplicate.take() {
            Some(duplicate) => [Some(duplicate), self.blocks[0], self.blocks[1]],
            None => self.blocks,
        }
    }
}

/// Whether the first of the blocks received reports a duplicate: it lies before what is acknowledged, or within the second (RFC 2883,
/// section 4).
pub(super) fn reports_duplicate(blocks: &[Option<(Seq, Seq)>; 3], acknowledgment: Seq) -> bool {
    let Some(first) = blocks[0] else { return false };
    first.1 <= acknowledgment || blocks[1].is_some_and(|second| second.0 <= first.0 && first.1 <= second.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Some blocks, the rest of the three none.
    fn blocks(some: &[(u32, u32)]) -> [Option<(Seq, Seq)>; 3] {
        core::array::from_fn(|index| some.get(index).map(|&(start, end)| (Seq(start), Seq(end))))
    }

    #[test]
    fn rfc_2018_4_the_block_of_the_latest_segment_comes_first() {
        let mut sack = SackBlocks::default();
        sack.add(Seq(10), Seq(20));
        sack.add(Seq(30), Seq(40));
        sack.add(Seq(50), Seq(60));
        assert_eq!(sack.report(), blocks(&[(50, 60), (30, 40), (10, 20)]));
        sack.add(Seq(20), Seq(30));
        assert_eq!(sack.report(), blocks(&[(10, 40), (50, 60)]));
    }

    #[test]
    fn what_is_acknowledged_is_not_reported() {
        let mut sack = SackBlocks::default();
        sack.add(Seq(10), Seq(20));
        sack.add(Seq(30), Seq(40));
        sack.advance(Seq(20));
        assert_eq!(sack.report(), blocks(&[(30, 40)]));
    }

    #[test]
    fn rfc_2883_4_a_duplicate_is_reported_once_and_first() {
        let mut sack = SackBlocks::default();
        sack.add(Seq(30), Seq(40));
        sack.add_duplicate(Seq(10), Seq(20));
        let report = sack.report();
        assert_eq!(report, blocks(&[(10, 20), (30, 40)]));
        assert!(reports_duplicate(&report, Seq(20)));
        assert!(reports_duplicate(&blocks(&[(32, 34), (30, 40)]), Seq(20)));
        assert!(!reports_duplicate(&blocks(&[(30, 40), (50, 60)]), Seq(20)));
        assert_eq!(sack.report(), blocks(&[(30, 40)]));
    }
}
