//! RACK: a segment is lost when one that was sent sufficiently later has arrived (RFC 8985, section 6).

use super::Seq;
use super::queue::{Marks, RetransmissionQueue, Sent};
use super::rtt::RoundTrip;

/// Recoveries for which a reordering window that duplicates have widened is kept (RFC 8985, section 6.2, step 4).
const PERSISTENCE: u8 = 16;

/// The state of RACK; the names are those of RFC 8985, section 5.2.
#[derive(Debug, Default)]
pub(super) struct Rack {
    /// When the segment was sent that was sent last among those that arrived.
    xmit_time: u64,
    /// Its end.
    end: Seq,
    /// Its round-trip time.
    rtt: u64,
    /// The highest number that has arrived, once there is one.
    fack: Option<Seq>,
    reordering_seen: bool,
    /// The window for reordering, in quarters of the least round-trip time.
    multiplier: u8,
    persist: u8,
    /// SND.NXT when the window was last widened: once in a round trip is enough.
    round: Option<Seq>,
}

impl Rack {
    /// Takes into account a segment that has arrived (steps 1 to 3). `echoed` tells whether the peer's timestamp shows that it is the
    /// last copy that arrived, where timestamps are in use.
    pub fn delivered(&mut self, sent: &Sent, now: u64, min_rtt: Option<u64>, echoed: Option<bool>) {
        let rtt = now.saturating_sub(sent.at);
        let repeated = sent.marks.contains(Marks::REPEATED);
        // Step 2: the acknowledgment of a copy sent before is not that of the last one.
        if repeated && (echoed == Some(false) || min_rtt.is_some_and(|min| rtt < min)) {
            return;
        }
        if sent_after((sent.at, sent.end), (self.xmit_time, self.end)) {
            (self.xmit_time, self.end, self.rtt) = (sent.at, sent.end, rtt);
        }
        // Step 3: something below the highest that arrived comes late and was never sent again.
        match self.fack {
            Some(fack) if sent.end < fack => self.reordering_seen |= !repeated,
            _ => self.fack = Some(sent.end),
        }
    }

    /// The peer reported a duplicate: what was taken for lost was only late, so the window widens, once in a round trip (step 4).
    pub fn duplicate_reported(&mut self, una: Seq, next: Seq) {
        if self.round.is_none_or(|round| una >= round) {
            self.round = Some(next);
            self.multiplier = self.multiplier.saturating_add(1);
            self.persist = PERSISTENCE;
        }
    }

    /// A recovery ended (step 4).
    pub fn recovered(&mut self) {
        self.persist = self.persist.saturating_sub(1);
        if self.persist == 0 {
            self.multiplier = 0;
        }
    }

    /// Marks what is lost (step 5), `in_recovery` or not. Returns after how long to look again when something may still turn out lost.
    pub fn detect(
        &self,
        queue: &mut RetransmissionQueue,
        now: u64,
        rtt: &RoundTrip,
        segment: u32,
        in_recovery: bool,
    ) -> Option<u64> {
        if self.xmit_time == 0 || queue.sacked() == 0 && !in_recovery {
            return None;
        }
        let window = self.window(queue, rtt, segment, in_recovery);
        let mut wait = None;
        for index in 0..queue.len() {
            let Some(sent) = queue.get(index) else { break };
            let gone = sent.marks.contains(Marks::LOST) && !sent.marks.contains(Marks::RETRANSMITTED);
            if sent.marks.contains(Marks::SACKED) || gone {
                continue;
            }
            if !sent_after((self.xmit_time, self.end), (sent.at, sent.end)) {
                continue;
            }
            let deadline = sent.at + self.rtt + window;
            if deadline <= now {
                queue.set(index, Marks::LOST, Marks::RETRANSMITTED);
            } else {
                wait = wait.max(Some(deadline - now));
            }
        }
        wait
    }

    /// How much later than its successor a segment may arrive (step 4): nothing as long as no reordering was seen and the
    /// classic three segments have arrived behind a gap.
    fn window(&self, queue: &RetransmissionQueue, rtt: &RoundTrip, segment: u32, in_recovery: bool) -> u64 {
        if !self.reordering_seen && (in_recovery || queue.sacked() >= 3 * segment) {
            return 0;
        }
        let quarter = rtt.min().unwrap_or(0) / 4;
        (quarter * (u64::from(self.multiplier) + 1)).min(rtt.smoothed().unwrap_or(0))
    }

    /// Whether segments were seen to overtake each other.
    pub fn reordering_seen(&self) -> bool {
        self.reordering_seen
    }
}

/// Whether the first was sent after the second; what was sent at one moment is ordered by sequence number.
fn sent_after(first: (u64, Seq), second: (u64, Seq)) -> bool {
    first.0 > second.0 || first.0 == second.0 && first.1 > second.1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chunk::Chunks;
    use crate::tcp::MILLISECOND;
    use std::vec::Vec;

    const MSS: u32 = 10;
    const RTT: u64 = 100 * MILLISECOND;

    /// Segments that were sent a millisecond after another, at 1 ms, 2 ms, ...
    fn queue(entries: u32) -> RetransmissionQueue {
        let mut queue = RetransmissionQueue::default();
        for entry in 0..entries {
            let (start, at) = (Seq(entry * MSS), u64::from(entry + 1) * MILLISECOND);
            queue.reserve().unwrap();
            queue.push(Sent { start, end: start + MSS, at, marks: Marks::empty(), payload: Chunks::new() });
        }
        queue
    }

    fn measured() -> RoundTrip {
        let mut rtt = RoundTrip::new();
        rtt.measure(0, RTT);
        rtt
    }

    fn lost(queue: &RetransmissionQueue) -> Vec<u32> {
        (0..queue.len())
            .filter_map(|index| queue.get(index))
            .filter(|sent| sent.marks.contains(Marks::LOST))
            .map(|sent| sent.start.0 / MSS)
            .collect()
    }

    fn arrives(rack: &mut Rack, queue: &mut RetransmissionQueue, entry: u32, now: u64) {
        let start = Seq(entry * MSS);
        queue.sack(start, start + MSS, MSS, &mut |sent, _| rack.delivered(sent, now, Some(RTT), None));
    }

    #[test]
    fn rfc_8985_6_2_three_segments_behind_a_gap_make_it_lost() {
        let (mut rack, mut queue, rtt) = (Rack::default(), queue(5), measured());
        let now = RTT + 5 * MILLISECOND;
        arrives(&mut rack, &mut queue, 1, now);
        arrives(&mut rack, &mut queue, 2, now);
        assert!(rack.detect(&mut queue, now, &rtt, MSS, false).is_some());
        assert_eq!(lost(&queue), []);
        arrives(&mut rack, &mut queue, 3, now);
        assert_eq!(rack.detect(&mut queue, now, &rtt, MSS, false), None);
        assert_eq!(lost(&queue), [0], "and not what was sent after the last that arrived");
    }

    #[test]
    fn rfc_8985_6_2_one_segment_behind_a_gap_makes_it_lost_after_the_reordering_window() {
        let (mut rack, mut queue, rtt) = (Rack::default(), queue(2), measured());
        let now = RTT + 2 * MILLISECOND;
        arrives(&mut rack, &mut queue, 1, now);
        let wait = rack.detect(&mut queue, now, &rtt, MSS, false).unwrap();
        assert_eq!(wait, RTT / 4 - MILLISECOND);
        assert_eq!(rack.detect(&mut queue, now + wait, &rtt, MSS, false), None);
        assert_eq!(lost(&queue), [0]);
    }

    #[test]
    fn rfc_8985_6_2_where_segments_overtake_each_other_three_are_not_enough() {
        let (mut rack, mut queue, rtt) = (Rack::default(), queue(8), measured());
        let now = RTT + 8 * MILLISECOND;
        arrives(&mut rack, &mut queue, 3, now);
        arrives(&mut rack, &mut queue, 1, now);
        assert!(rack.reordering_seen());
        arrives(&mut rack, &mut queue, 4, now);
        arrives(&mut rack, &mut queue, 5, now);
        assert!(rack.detect(&mut queue, now, &rtt, MSS, false).is_some());
        assert_eq!(lost(&queue), []);
    }

    #[test]
    fn rfc_8985_6_2_a_lost_retransmission_is_found() {
        let (mut rack, mut queue, rtt) = (Rack::default(), queue(6), measured());
        let now = RTT + 5 * MILLISECOND;
        (1..4).for_each(|entry| arrives(&mut rack, &mut queue, entry, now));
        rack.detect(&mut queue, now, &rtt, MSS, false);
        queue.repeat(0, now);
        // The one after it was sent again too, later, and arrives.
        queue.repeat(4, now + MILLISECOND);
        let later = now + RTT + 2 * MILLISECOND;
        arrives(&mut rack, &mut queue, 4, later);
        rack.detect(&mut queue, later, &rtt, MSS, true);
        let first = queue.first().unwrap();
        assert_eq!(first.marks & (Marks::LOST | Marks::RETRANSMITTED), Marks::LOST);
    }

    #[test]
    fn rfc_8985_6_2_step_2_the_echo_of_the_first_copy_says_nothing_of_the_second() {
        let (mut rack, mut queue) = (Rack::default(), queue(1));
        queue.repeat(0, 50 * MILLISECOND);
        rack.delivered(queue.first().unwrap(), 60 * MILLISECOND, Some(RTT), None);
        assert_eq!(rack.xmit_time, 0, "sooner than any round trip");
        rack.delivered(queue.first().unwrap(), 2 * RTT, Some(RTT), Some(false));
        assert_eq!(rack.xmit_time, 0, "by the timestamp");
        rack.delivered(queue.first().unwrap(), 2 * RTT, Some(RTT), Some(true));
        assert_eq!(rack.xmit_time, 50 * MILLISECOND);
    }

    #[test]
    fn rfc_8985_6_2_step_4_duplicates_widen_the_window_once_a_round_trip() {
        let mut rack = Rack::default();
        rack.duplicate_reported(Seq(0), Seq(100));
        rack.duplicate_reported(Seq(50), Seq(120));
        assert_eq!(rack.multiplier, 1);
        rack.duplicate_reported(Seq(100), Seq(200));
        assert_eq!(rack.multiplier, 2);
        (0..PERSISTENCE).for_each(|_| rack.recovered());
        assert_eq!(rack.multiplier, 0);
    }
}
