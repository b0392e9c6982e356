//! The retransmission queue (RFC 9293, section 3.8.1): what was sent and is not acknowledged, with what is known of its fate.

use alloc::collections::VecDeque;

use isopod_hal::OutOfMemory;

use super::Seq;
use crate::chunk::Chunks;

bitflags::bitflags! {
    /// What is known of a part of the sequence space that was sent.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub(super) struct Marks: u8 {
        /// The first number is a SYN.
        const SYN = 1;
        /// The last number is a FIN.
        const FIN = 2;
        /// The peer has it (RFC 2018).
        const SACKED = 4;
        /// It is believed lost.
        const LOST = 8;
        /// It was sent again and that copy is on its way.
        const RETRANSMITTED = 16;
        /// It was sent more than once, so no round trip can be measured with it (Karn; RFC 6298, section 3).
        const REPEATED = 32;
        /// Its last byte ended what a program wrote.
        const PUSH = 64;
    }
}

/// A range of the sequence space that was sent at one moment: a segment, or several that a device cut.
#[derive(Debug)]
pub(super) struct Sent {
    pub start: Seq,
    pub end: Seq,
    /// When it was last sent.
    pub at: u64,
    pub marks: Marks,
    pub payload: Chunks,
}

impl Sent {
    /// The numbers it occupies.
    pub fn len(&self) -> u32 {
        self.end - self.start
    }
}

/// What is outstanding, in the order of the sequence space.
#[derive(Debug, Default)]
pub(super) struct RetransmissionQueue {
    sent: VecDeque<Sent>,
    sacked: u32,
    lost: u32,
    retransmitted: u32,
}

impl RetransmissionQueue {
    pub fn is_empty(&self) -> bool {
        self.sent.is_empty()
    }

    pub fn len(&self) -> usize {
        self.sent.len()
    }

    pub fn get(&self, index: usize) -> Option<&Sent> {
        self.sent.get(index)
    }

    pub fn first(&self) -> Option<&Sent> {
        self.sent.front()
    }

    /// Numbers that the peer has beyond the acknowledged ones.
    pub fn sacked(&self) -> u32 {
        self.sacked
    }

    /// Numbers that are believed lost.
    pub fn lost(&self) -> u32 {
        self.lost
    }

    /// Numbers believed lost of which another copy is on its way.
    pub fn retransmitted(&self) -> u32 {
        self.retransmitted
    }

    /// Numbers that are believed to be in the network (RFC 6675, section 4, `pipe`).
    pub fn pipe(&self) -> u32 {
        let all = self.first().zip(self.sent.back()).map_or(0, |(first, last)| last.end - first.start);
        (all + self.retransmitted).saturating_sub(self.sacked + self.lost)
    }

    /// Makes room for another entry.
    pub fn reserve(&mut self) -> Result<(), OutOfMemory> {
        self.sent.try_reserve(1).map_err(|_| OutOfMemory)
    }

    /// Adds what is sent for the first time; [`reserve`](Self::reserve) has made room.
    pub fn push(&mut self, sent: Sent) {
        self.sent.push_back(sent);
    }

    /// Removes what lies before `una`. Each entry is shown to `delivered` with how many of its numbers go, unless the peer was known to have it.
    pub fn acknowledge(&mut self, una: Seq, delivered: &mut dyn FnMut(&Sent, u32)) {
        while let Some(first) = self.sent.front().filter(|first| first.start < una) {
            let gone = (una - first.start).min(first.len());
            if !first.marks.contains(Marks::SACKED) {
                delivered(first, gone);
            }
            self.count(0, gone, false);
            if una >= self.sent[0].end {
                self.sent.pop_front();
                continue;
            }
            let first = &mut self.sent[0];
            let syn = u32::from(first.marks.contains(Marks::SYN));
            first.marks.remove(Marks::SYN);
            first.payload.advance((gone - syn) as usize);
            first.start = una;
        }
        if self.sent.is_empty() && self.sent.capacity() > 4 {
            self.sent = VecDeque::new();
        }
    }

    /// Notes that the peer has `start..end`. Each entry of which that was not known is shown to `delivered`. An entry is cut only between
    /// segments of `segment` bytes, so that no peer cuts it into crumbs (`tcp_match_skb_to_sack` in Linux).
    pub fn sack(&mut self, start: Seq, end: Seq, segment: u32, delivered: &mut dyn FnMut(&Sent, u32)) {
        let mut index = self.sent.partition_point(|sent| sent.end <= start);
        while let Some(sent) = self.sent.get(index).filter(|sent| sent.start < end) {
            let first = start.since(sent.start).div_ceil(segment).saturating_mul(segment);
            let last = if end < sent.end { (end - sent.start) / segment * segment } else { sent.len() };
            let (begin, len) = (sent.start, sent.len());
            if sent.marks.contains(Marks::SACKED) || first >= last {
                index += 1;
                continue;
            }
            if last < len && self.split(index, begin + last).is_err() {
                return;
            }
            if first > 0 {
                if self.split(index, begin + first).is_err() {
                    return;
                }
                index += 1;
            }
            let sent = &self.sent[index];
            delivered(sent, sent.len());
            self.set(index, Marks::SACKED, Marks::LOST | Marks::RETRANSMITTED);
            index += 1;
        }
    }

    /// Changes the marks of an entry.
    pub fn set(&mut self, index: usize, add: Marks, remove: Marks) {
        let len = self.sent[index].len();
        self.count(index, len, false);
        let marks = &mut self.sent[index].marks;
        *marks = (*marks | add) - remove;
        self.count(index, len, true);
    }

    /// Changes the marks of all entries.
    pub fn set_all(&mut self, change: &mut dyn FnMut(&Sent) -> (Marks, Marks)) {
        for index in 0..self.sent.len() {
            let (add, remove) = change(&self.sent[index]);
            self.set(index, add, remove);
        }
    }

    /// Notes that an entry is sent again.
    pub fn repeat(&mut self, index: usize, now: u64) {
        self.sent[index].at = now;
        self.set(index, Marks::REPEATED | Marks::RETRANSMITTED, Marks::empty());
    }

    /// Cuts an entry in two at `middle`, which lies within its bytes.
    pub fn split(&mut self, index: usize, middle: Seq) -> Result<(), OutOfMemory> {
        self.reserve()?;
        let first = &mut self.sent[index];
        let syn = u32::from(first.marks.contains(Marks::SYN));
        let front = first.payload.split_to((middle - first.start - syn) as usize)?;
        let payload = core::mem::replace(&mut first.payload, front);
        let marks = first.marks - Marks::SYN;
        first.marks -= Marks::FIN | Marks::PUSH;
        let rest = Sent { start: middle, end: first.end, at: first.at, marks, payload };
        first.end = middle;
        self.sent.insert(index + 1, rest);
        Ok(())
    }

    /// Adds an entry's numbers to the sums, or takes them away. A lost entry that was sent again counts in both.
    fn count(&mut self, index: usize, len: u32, add: bool) {
        let marks = self.sent[index].marks;
        let sums = [
            (Marks::SACKED, &mut self.sacked),
            (Marks::LOST, &mut self.lost),
            (Marks::RETRANSMITTED, &mut self.retransmitted),
        ];
        for (mark, sum) in sums {
            if marks.contains(mark) {
                *sum = if add { *sum + len } else { *sum - len };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chunk::Chunk;
    use proptest::prelude::*;
    use std::vec::Vec;

    /// Entries of ten bytes each, whose bytes are their sequence numbers.
    fn queue(entries: u32) -> RetransmissionQueue {
        let mut queue = RetransmissionQueue::default();
        for start in (0..entries * 10).step_by(10) {
            let bytes: Vec<u8> = (start..start + 10).map(|byte| byte as u8).collect();
            queue.reserve().unwrap();
            let payload = Chunks::from(Chunk::copy_of(&bytes).unwrap());
            queue.push(Sent {
                start: Seq(start),
                end: Seq(start + 10),
                at: 0,
                marks: Marks::empty(),
                payload,
            });
        }
        queue
    }

    fn check(queue: &RetransmissionQueue) {
        let sum =
            |mark| queue.sent.iter().filter(|sent| sent.marks.contains(mark)).map(Sent::len).sum::<u32>();
        assert_eq!(
            (queue.sacked, queue.lost, queue.retransmitted),
            (sum(Marks::SACKED), sum(Marks::LOST), sum(Marks::RETRANSMITTED))
        );
        for sent in &queue.sent {
            let bytes: Vec<u8> = sent.payload.iter().flat_map(|chunk| chunk.to_vec()).collect();
            let expected: Vec<u8> = (sent.start.0..sent.end.0).map(|byte| byte as u8).collect();
            assert_eq!(bytes, expected);
        }
    }

    proptest! {
        #[test]
        fn sums_and_bytes_stay_right(
            steps in proptest::collection::vec((0u8..4, 0u32..100, 1u32..40), 0..40),
            segment in 1u32..12,
        ) {
            let mut queue = queue(10);
            let mut una = 0;
            for (what, at, len) in steps {
                match what {
                    0 => {
                        una = una.max(at);
                        queue.acknowledge(Seq(una), &mut |_, _| {});
                    }
                    1 => queue.sack(Seq(at.max(una)), Seq(at.max(una) + len), segment, &mut |_, _| {}),
                    2 => queue.set_all(&mut |sent| {
                        let lost = !sent.marks.contains(Marks::SACKED);
                        if lost { (Marks::LOST, Marks::RETRANSMITTED) } else { (Marks::empty(), Marks::empty()) }
                    }),
                    _ => if let Some(index) = queue.sent.iter().position(|sent| sent.marks == Marks::LOST) {
                        queue.repeat(index, 1);
                    },
                }
                check(&queue);
            }
        }
    }

    #[test]
    fn an_acknowledgment_within_an_entry_leaves_its_end() {
        let mut queue = queue(2);
        let mut gone = Vec::new();
        queue.acknowledge(Seq(13), &mut |sent, count| gone.push((sent.start, count)));
        assert_eq!(gone, [(Seq(0), 10), (Seq(10), 3)]);
        assert_eq!((queue.first().unwrap().start, queue.pipe()), (Seq(13), 7));
        check(&queue);
    }

    #[test]
    fn rfc_6675_4_the_pipe_counts_what_is_in_the_network() {
        let mut queue = queue(4);
        queue.sack(Seq(15), Seq(40), 5, &mut |_, _| {});
        assert_eq!(queue.pipe(), 15);
        queue.set(0, Marks::LOST, Marks::empty());
        assert_eq!(queue.pipe(), 5);
        queue.repeat(0, 1);
        assert_eq!(queue.pipe(), 15);
    }

    #[test]
    fn a_block_that_ends_within_a_segment_cuts_it_not() {
        let mut queue = RetransmissionQueue::default();
        queue.reserve().unwrap();
        let payload =
            Chunks::from(Chunk::copy_of(&core::array::from_fn::<u8, 100, _>(|at| at as u8)).unwrap());
        queue.push(Sent { start: Seq(0), end: Seq(100), at: 0, marks: Marks::empty(), payload });
        for byte in (1..99).step_by(2) {
            queue.sack(Seq(byte), Seq(byte + 1), 10, &mut |_, _| {});
        }
        assert_eq!((queue.len(), queue.sacked()), (1, 0));
        queue.sack(Seq(15), Seq(47), 10, &mut |_, _| {});
        assert_eq!((queue.len(), queue.sacked()), (3, 20), "from 20 to 40");
        queue.sack(Seq(85), Seq(100), 10, &mut |_, _| {});
        assert_eq!((queue.len(), queue.sacked()), (4, 30), "the last has no end but its own");
        check(&queue);
    }

    #[test]
    fn what_is_delivered_is_told_once() {
        let mut queue = queue(3);
        let mut told = 0;
        queue.sack(Seq(10), Seq(20), 5, &mut |_, count| told += count);
        queue.sack(Seq(5), Seq(25), 5, &mut |_, count| told += count);
        queue.acknowledge(Seq(30), &mut |_, count| told += count);
        assert_eq!(told, 30);
    }
}
