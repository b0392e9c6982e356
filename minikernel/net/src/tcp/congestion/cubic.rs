//! CUBIC (RFC 9438): after a loss the window approaches the size at which the loss happened, lingers there, then probes beyond, by the
//! time that has passed and not by the round trips.

use super::Acknowledged;
use crate::tcp::MILLISECOND;

/// Windows are in bytes, times in milliseconds.
#[derive(Debug, Default)]
pub(super) struct Cubic {
    /// Whether a period of congestion avoidance has begun since the last event.
    running: bool,
    /// When it began, in nanoseconds.
    began: u64,

    /// The window at which the last loss happened, lower where the path seems to be shared (`W_max`).
    maximum: u32,
    /// The window before that loss.
    prior: u32,
    /// `W_max` before the last loss.
    previous_maximum: u32,
    /// K: how long it takes to be back at `W_max`.
    inflection: u64,
    /// What Reno would have (`W_est`).
    estimate: u32,
}

impl Cubic {
    /// How many bytes must be acknowledged for the window to grow by a segment (RFC 9438, sections 4.2 to 4.5).
    pub fn window_per_segment(&mut self, window: u32, ack: &Acknowledged) -> u32 {
        if !self.running {
            self.begin(window, ack);
        }
        // Section 4.3: Reno's rate between losses, α = 3(1 − β)/(1 + β) = 9/17, and 1 beyond the window of the loss.
        let (numerator, denominator) = if self.estimate < self.prior { (9, 17) } else { (1, 1) };
        let gained = u64::from(ack.bytes) * u64::from(ack.segment) * numerator
            / (u64::from(window.max(1)) * denominator);
        self.estimate = self.estimate.saturating_add(gained as u32);
        let elapsed = ack.now.saturating_sub(self.began) / MILLISECOND;
        let target = self.curve(elapsed + ack.round_trip / MILLISECOND, ack.segment);
        // Section 4.2: at most half a window in a round trip.
        let target = target.clamp(window, window.saturating_add(window / 2)).max(self.estimate);
        match target - window.min(target) {
            // Where the curve is flat the window still creeps, as in Linux.
            0 => window.saturating_mul(100),
            rise => {
                (u64::from(window) * u64::from(ack.segment) / u64::from(rise)).min(u64::from(u32::MAX)) as u32
            }
        }
    }

    /// A loss: where the window stood is remembered, and ssthresh is β = 0.7 of it (RFC 9438, sections 4.6 and 4.7).
    pub fn threshold(&mut self, window: u32) -> u32 {
        self.previous_maximum = self.maximum;
        // Fast convergence: a window that did not come back to the last maximum makes room for others.
        self.maximum = if window < self.maximum { scale(window, 17, 20) } else { window };
        self.prior = window;
        self.running = false;
        scale(window, 7, 10)
    }

    /// The next period begins where the window then stands.
    pub fn restart(&mut self) {
        self.running = false;
    }

    /// The last loss was none.
    pub fn undo(&mut self) {
        self.maximum = self.previous_maximum;
        self.running = false;
    }

    fn begin(&mut self, window: u32, ack: &Acknowledged) {
        self.running = true;
        (self.began, self.estimate) = (ack.now, window);
        if window >= self.maximum {
            (self.maximum, self.inflection) = (window, 0);
            return;
        }
        // K = ∛((W_max − cwnd) / C) with C = 0.4 segments per second cubed, in milliseconds.
        let distance = u64::from(self.maximum - window) * 2_500_000_000 / u64::from(ack.segment.max(1));
        self.inflection = cube_root(distance);
    }

    /// `W_cubic(t)` (RFC 9438, equation 1).
    fn curve(&self, elapsed: u64, segment: u32) -> u32 {
        // Beyond this the curve lies above any window.
        const HORIZON: u64 = 1 << 20;
        let distance = elapsed.abs_diff(self.inflection).min(HORIZON);
        // 0.4 (t/1000)³ segments.
        let offset =
            (distance.pow(3) / 2_500_000 * u64::from(segment) / 1000).min(u64::from(u32::MAX)) as u32;
        if elapsed < self.inflection {
            self.maximum.saturating_sub(offset)
        } else {
            self.maximum.saturating_add(offset)
        }
    }
}

fn scale(value: u32, numerator: u64, denominator: u64) -> u32 {
    (u64::from(value) * numerator / denominator) as u32
}

/// The integer cube root, bit by bit from the highest.
fn cube_root(value: u64) -> u64 {
    (0..=21).rev().fold(0u64, |root, bit| {
        let larger = root | 1 << bit;
        if larger.checked_pow(3).is_some_and(|cube| cube <= value) { larger } else { root }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tcp::congestion::{Algorithm, Congestion};

    const MSS: u32 = 1000;

    /// The window after acknowledging everything for `rounds` round trips of 100 ms.
    fn run(congestion: &mut Congestion, start: u64, rounds: u64) -> u32 {
        for round in 0..rounds {
            let segments = congestion.window / MSS;
            for _ in 0..segments {
                congestion.acknowledged(Acknowledged {
                    now: (start + round) * 100 * MILLISECOND,
                    bytes: MSS,
                    segment: MSS,
                    round_trip: 100 * MILLISECOND,
                });
            }
        }
        congestion.window
    }

    #[test]
    fn rfc_9438_4_2_the_window_is_back_at_its_maximum_after_k() {
        let mut congestion = Congestion::new(Algorithm::Cubic, MSS);
        congestion.window = 1000 * MSS;
        congestion.lost(1000 * MSS, MSS);
        congestion.window = congestion.threshold;
        assert_eq!(congestion.window, 700 * MSS, "β is 0.7");
        // K = ∛(300 / 0.4) = 9.086 s.
        let before = run(&mut congestion, 0, 45);
        assert!(
            (900 * MSS..970 * MSS).contains(&before),
            "concave: most of the way in half the time, {before}"
        );
        let at = run(&mut congestion, 45, 46);
        assert!((985 * MSS..=1010 * MSS).contains(&at), "a plateau at the maximum, {at}");
        let beyond = run(&mut congestion, 91, 60);
        assert!(beyond > 1070 * MSS, "convex beyond it, {beyond}");
    }

    #[test]
    fn rfc_9438_4_3_on_a_short_path_it_grows_no_slower_than_reno() {
        let mut congestion = Congestion::new(Algorithm::Cubic, MSS);
        congestion.window = 20 * MSS;
        congestion.lost(20 * MSS, MSS);
        congestion.window = congestion.threshold;
        // 20 round trips of a millisecond: the curve has hardly moved.
        for round in 0..20 {
            for _ in 0..congestion.window / MSS {
                let now = round * MILLISECOND;
                congestion.acknowledged(Acknowledged {
                    now,
                    bytes: MSS,
                    segment: MSS,
                    round_trip: MILLISECOND,
                });
            }
        }
        assert!(congestion.window >= 22 * MSS, "{}", congestion.window);
    }

    #[test]
    fn rfc_9438_4_7_a_second_loss_below_the_maximum_releases_room() {
        let mut cubic = Cubic::default();
        cubic.threshold(100 * MSS);
        cubic.threshold(80 * MSS);
        assert_eq!(cubic.maximum, 68 * MSS);
        cubic.undo();
        assert_eq!(cubic.maximum, 100 * MSS);
    }

    #[test]
    fn cube_roots_are_exact() {
        for root in [0u64, 1, 2, 3, 999, 1_000_000, 2_642_245] {
            assert_eq!(cube_root(root.pow(3)), root);
            assert_eq!(cube_root((root + 1).checked_pow(3).unwrap_or(u64::MAX) - 1), root);
        }
    }
}
