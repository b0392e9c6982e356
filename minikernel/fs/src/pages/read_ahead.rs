//! How far to read ahead: the more a reader goes on in order, the farther.

use core::ops::Range;

/// How much is read for a first touch, and at most, in pages.
const FIRST: u64 = 4;
pub(super) const MOST: u64 = 64;
/// How many readers are told apart.
const STREAMS: usize = 8;

/// A reader that goes on in order.
#[derive(Clone, Copy, Debug, Default)]
struct Stream {
    /// Where what was read for it ends; a touch here goes on in order.
    end: u64,
    /// A touch here says that half of it is used up, and that it is time for more.
    marker: u64,
    window: u64,
}

impl Stream {
    /// Grows, and returns what to read next.
    fn advance(&mut self) -> Range<u64> {
        self.window = (self.window * 2).min(MOST);
        let range = self.end..self.end.saturating_add(self.window);
        self.marker = range.start;
        self.end = range.end;
        range
    }
}

/// The readers that were seen last.
#[derive(Debug, Default)]
pub(super) struct ReadAhead {
    streams: [Stream; STREAMS],
    oldest: usize,
}

impl ReadAhead {
    /// What to read for a touch of a page that is not there.
    pub(super) fn miss(&mut self, index: u64) -> Range<u64> {
        match self.streams.iter_mut().find(|stream| stream.window > 0 && stream.end == index) {
            Some(stream) => stream.advance(),
            None => self.start(index..index.saturating_add(FIRST)),
        }
    }

    /// What to read besides, for a touch of pages that are there.
    pub(super) fn hit(&mut self, pages: &Range<u64>) -> Option<Range<u64>> {
        let stream =
            self.streams.iter_mut().find(|stream| stream.window > 0 && pages.contains(&stream.marker))?;
        Some(stream.advance())
    }

    /// Notes a reader for whom `range` is read.
    pub(super) fn start(&mut self, range: Range<u64>) -> Range<u64> {
        let window = range.end - range.start;
        self.streams[self.oldest] = Stream { end: range.end, marker: range.start + window / 2, window };
        self.oldest = (self.oldest + 1) % STREAMS;
        range
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_grows_for_who_reads_in_order() {
        let mut ahead = ReadAhead::default();
        assert_eq!(ahead.miss(10), 10..14);
        assert_eq!(ahead.hit(&(11..12)), None);
        assert_eq!(ahead.hit(&(12..13)), Some(14..22));
        assert_eq!(ahead.hit(&(13..16)), Some(22..38));
        assert_eq!(ahead.miss(38), 38..70);
        assert_eq!(ahead.miss(70), 70..134);
        assert_eq!(ahead.miss(134), 134..198);
        assert_eq!(ahead.miss(7), 7..11);
    }
}
