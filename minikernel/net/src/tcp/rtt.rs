//! The round-trip time and the retransmission timeout (RFC 6298).

use super::{MILLISECOND, SECOND};

/// The timeout before the first measurement (RFC 6298, section 2.1).
const INITIAL: u64 = SECOND;
/// The timeout of a connection whose SYN had to be repeated (RFC 6298, section 5.7).
const AFTER_LOST_SYN: u64 = 3 * SECOND;
/// The least room for variation: Linux' minimum of 200 ms (`TCP_RTO_MIN`), where RFC 6298 asks for a second.
const MIN_VARIATION: u64 = 200 * MILLISECOND;
/// The longest timeout (`TCP_RTO_MAX`; RFC 6298, section 2.5).
const MAX: u64 = 120 * SECOND;
/// For how long a minimum holds (Linux' `tcp_min_rtt_wlen`).
const MIN_LIFETIME: u64 = 300 * SECOND;

/// What is known of the path's round-trip time; all in nanoseconds.
#[derive(Debug)]
pub(super) struct RoundTrip {
    /// SRTT; zero before the first measurement.
    smoothed: u64,
    /// RTTVAR.
    variation: u64,
    /// The least measurement of late, and when it was made.
    min: (u64, u64),
    /// How often the timeout doubled.
    pub backoff: u8,
    syn_was_lost: bool,
}

impl RoundTrip {
    pub const fn new() -> Self {
        Self { smoothed: 0, variation: 0, min: (u64::MAX, 0), backoff: 0, syn_was_lost: false }
    }

    /// Takes a measurement (RFC 6298, sections 2.2 and 2.3).
    pub fn measure(&mut self, now: u64, sample: u64) {
        let sample = sample.max(1);
        if self.smoothed == 0 {
            (self.smoothed, self.variation) = (sample, sample / 2);
        } else {
            self.variation = (3 * self.variation + self.smoothed.abs_diff(sample)) / 4;
            self.smoothed = (7 * self.smoothed + sample) / 8;
        }
        if sample <= self.min.0 || now.saturating_sub(self.min.1) > MIN_LIFETIME {
            self.min = (sample, now);
        }
    }

    /// Remembers that the SYN was lost, as long as nothing better is known.
    pub fn lost_syn(&mut self) {
        self.syn_was_lost = true;
    }

    /// RTO, with its back-off.
    pub fn timeout(&self) -> u64 {
        let base = match self.smoothed {
            0 if self.syn_was_lost && self.backoff == 0 => AFTER_LOST_SYN,
            0 => INITIAL,
            smoothed => smoothed + (4 * self.variation).max(MIN_VARIATION),
        };
        (base.min(MAX) << self.backoff.min(10)).min(MAX)
    }

    /// SRTT, if there was a measurement.
    pub fn smoothed(&self) -> Option<u64> {
        (self.smoothed != 0).then_some(self.smoothed)
    }

    /// RTTVAR.
    pub fn variation(&self) -> u64 {
        self.variation
    }

    /// The least measurement of the last minutes, if there was one.
    pub fn min(&self) -> Option<u64> {
        (self.min.0 != u64::MAX).then_some(self.min.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_6298_2_1_the_first_timeout_is_a_second() {
        assert_eq!(RoundTrip::new().timeout(), SECOND);
    }

    #[test]
    fn rfc_6298_2_2_and_2_3_measurements_are_smoothed() {
        let mut rtt = RoundTrip::new();
        rtt.measure(0, 400 * MILLISECOND);
        assert_eq!((rtt.smoothed, rtt.variation), (400 * MILLISECOND, 200 * MILLISECOND));
        assert_eq!(rtt.timeout(), 1200 * MILLISECOND);
        rtt.measure(0, 800 * MILLISECOND);
        assert_eq!((rtt.smoothed, rtt.variation), (450 * MILLISECOND, 250 * MILLISECOND));
    }

    #[test]
    fn rfc_6298_5_5_the_timeout_doubles_up_to_its_limit() {
        let mut rtt = RoundTrip::new();
        for doubled in 0..9 {
            rtt.backoff = doubled;
            assert_eq!(rtt.timeout(), (SECOND << doubled).min(MAX));
        }
        rtt.backoff = u8::MAX;
        assert_eq!(rtt.timeout(), MAX);
    }

    #[test]
    fn rfc_6298_5_7_a_lost_syn_makes_the_first_timeout_three_seconds() {
        let mut rtt = RoundTrip::new();
        rtt.lost_syn();
        assert_eq!(rtt.timeout(), 3 * SECOND);
    }

    #[test]
    fn the_minimum_is_of_late() {
        let mut rtt = RoundTrip::new();
        rtt.measure(0, 10);
        rtt.measure(SECOND, 20);
        assert_eq!(rtt.min(), Some(10));
        rtt.measure(2 * MIN_LIFETIME, 20);
        assert_eq!(rtt.min(), Some(20));
    }
}
