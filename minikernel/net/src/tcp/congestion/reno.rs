//! Reno's multiplicative decrease (RFC 5681). Its increase, one segment for each window acknowledged, needs no state.

/// ssthresh after a loss: half of what was outstanding (RFC 5681, equation 4).
pub(super) fn threshold(flight: u32) -> u32 {
    flight / 2
}

#[cfg(test)]
mod tests {
    use crate::tcp::congestion::{Acknowledged, Algorithm, Congestion};

    const MSS: u32 = 1000;

    #[test]
    fn rfc_5681_3_1_congestion_avoidance_adds_a_segment_for_each_window() {
        let mut congestion = Congestion::new(Algorithm::Reno, MSS);
        congestion.threshold = 10 * MSS;
        for _ in 0..10 {
            assert_eq!(congestion.window, 10 * MSS);
            congestion.acknowledged(Acknowledged { now: 0, bytes: MSS, segment: MSS, round_trip: 1 });
        }
        assert_eq!(congestion.window, 11 * MSS);
    }

    #[test]
    fn rfc_5681_equation_4_a_loss_halves_the_flight_down_to_two_segments() {
        let mut congestion = Congestion::new(Algorithm::Reno, MSS);
        congestion.lost(30 * MSS, MSS);
        assert_eq!(congestion.threshold, 15 * MSS);
        congestion.lost(MSS, MSS);
        assert_eq!(congestion.threshold, 2 * MSS);
    }
}
