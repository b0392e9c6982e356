//! The congestion window (RFC 5681) and the algorithms that move it.

mod cubic;
mod reno;

use cubic::Cubic;

/// How the window grows in congestion avoidance, and how far it falls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Algorithm {
    /// RFC 5681, `reno` in Linux.
    Reno,
    /// RFC 9438, `cubic` in Linux.
    #[default]
    Cubic,
}

/// Segments of the initial window (RFC 6928).
pub(super) const INITIAL_SEGMENTS: u32 = 10;

/// The congestion window, in bytes.
#[derive(Debug)]
pub(super) struct Congestion {
    algorithm: Algorithm,
    /// cwnd.
    pub window: u32,
    /// ssthresh.
    pub threshold: u32,
    /// Bytes acknowledged that have not moved the window yet.
    credit: u32,
    cubic: Cubic,
}

/// An acknowledgment, as congestion control sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Acknowledged {
    pub now: u64,
    pub bytes: u32,
    pub segment: u32,
    pub round_trip: u64,
}

impl Congestion {
    pub fn new(algorithm: Algorithm, segment: u32) -> Self {
        let window = INITIAL_SEGMENTS * segment;
        Self { algorithm, window, threshold: u32::MAX, credit: 0, cubic: Cubic::default() }
    }

    /// Which algorithm runs.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Changes the algorithm (`TCP_CONGESTION`). The window stays.
    pub fn set_algorithm(&mut self, algorithm: Algorithm) {
        self.algorithm = algorithm;
        self.cubic = Cubic::default();
    }

    /// Whether the window doubles with each round trip (RFC 5681, section 3.1).
    pub fn in_slow_start(&self) -> bool {
        self.window < self.threshold
    }

    /// Opens the window for new data that was acknowledged while the window was what held the sender back.
    pub fn acknowledged(&mut self, mut ack: Acknowledged) {
        if self.in_slow_start() {
            let step = ack.bytes.min(self.threshold - self.window);
            self.window = self.window.saturating_add(step);
            ack.bytes -= step;
        }
        if ack.bytes == 0 {
            return;
        }
        let wanted = match self.algorithm {
            Algorithm::Reno => self.window,
            Algorithm::Cubic => self.cubic.window_per_segment(self.window, &ack),
        };
        self.advance(wanted, &ack);
    }

    /// One segment more for each `per_segment` bytes acknowledged.
    fn advance(&mut self, per_segment: u32, ack: &Acknowledged) {
        let per_segment = per_segment.max(1);
        self.credit = self.credit.saturating_add(ack.bytes);
        self.window = self.window.saturating_add((self.credit / per_segment).saturating_mul(ack.segment));
        self.credit %= per_segment;
    }

    /// A loss was found: lowers the threshold for the `flight` that was outstanding (RFC 5681, equation 4; RFC 9438, section 4.6).
    pub fn lost(&mut self, flight: u32, segment: u32) {
        let threshold = match self.algorithm {
            Algorithm::Reno => reno::threshold(flight),
            Algorithm::Cubic => self.cubic.threshold(self.window),
        };
        self.threshold = threshold.max(2 * segment);
        self.credit = 0;
    }

    /// A retransmission timeout: begins anew with one segment (RFC 5681, section 3.1).
    pub fn timed_out(&mut self, segment: u32) {
        self.window = segment;
        self.cubic.restart();
    }

    /// What [`lost`](Self::lost) did was wrong (RFC 4015): nothing had been lost.
    pub fn undo(&mut self, window: u32, threshold: u32) {
        self.window = self.window.max(window);
        self.threshold = threshold;
        self.cubic.undo();
    }

    /// After silence: the window falls by half for each timeout gone by, down to the initial one (RFC 2861; RFC 5681, section 4.1).
    pub fn idle(&mut self, timeouts: u64, segment: u32) {
        let floor = self.window.min(INITIAL_SEGMENTS * segment);
        self.threshold = self.threshold.max(self.window / 4 * 3);
        self.window = self.window.checked_shr(timeouts.min(31) as u32).unwrap_or(0).max(floor);
        self.cubic.restart();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MSS: u32 = 1000;

    #[test]
    fn rfc_6928_the_initial_window_is_ten_segments() {
        assert_eq!(Congestion::new(Algorithm::Reno, MSS).window, 10 * MSS);
    }

    #[test]
    fn rfc_5681_3_1_slow_start_opens_by_what_was_acknowledged() {
        let mut congestion = Congestion::new(Algorithm::Reno, MSS);
        congestion.acknowledged(Acknowledged { now: 0, bytes: 2 * MSS, segment: MSS, round_trip: 1 });
        assert_eq!(congestion.window, 12 * MSS);
    }

    #[test]
    fn rfc_5681_4_1_a_silent_connection_begins_anew() {
        let mut congestion = Congestion::new(Algorithm::Cubic, MSS);
        congestion.window = 80 * MSS;
        congestion.idle(1, MSS);
        assert_eq!(congestion.window, 40 * MSS);
        congestion.idle(60, MSS);
        assert_eq!(congestion.window, 10 * MSS);
        assert_eq!(congestion.threshold, u32::MAX);
    }

    #[test]
    fn rfc_4015_a_reduction_without_a_loss_is_undone() {
        let mut congestion = Congestion::new(Algorithm::Cubic, MSS);
        congestion.window = 100 * MSS;
        congestion.lost(100 * MSS, MSS);
        congestion.timed_out(MSS);
        assert_eq!((congestion.window, congestion.threshold), (MSS, 70 * MSS));
        congestion.undo(100 * MSS, u32::MAX);
        assert_eq!((congestion.window, congestion.threshold), (100 * MSS, u32::MAX));
    }
}
