//! What every timer is made of: when it expires next, and how it comes to know.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Waker};

use isopod_hal::sync::wait::{Listener, WaitQueue};

use super::clock::{Clock, stepped};
use crate::sched::{self, Sleep};

/// When a timer expires: once, or again and again.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// The clock it goes by.
    pub clock: Clock,
    /// Time of the next expiry on that clock, in nanoseconds; `None` when there will be none.
    pub next: Option<u64>,
    /// Nanoseconds from one expiry to the next; 0 for a single one.
    pub interval: u64,
}

impl Schedule {
    /// Never.
    pub fn disarmed(clock: Clock) -> Self {
        Self { clock, next: None, interval: 0 }
    }

    /// From a timer's settings: first after, or at, `value` nanoseconds, 0 for never.
    pub fn new(clock: Clock, value: u64, interval: u64, absolute: bool) -> Self {
        if value == 0 {
            return Self { clock, next: None, interval };
        }
        if absolute {
            return Self { next: Some(value), clock, interval };
        }
        // A duration does not change when the wall clock is set.
        let clock = if clock.is_wall() { Clock::Monotonic } else { clock };
        Self { next: Some(clock.now().saturating_add(value)), clock, interval }
    }

    /// Nanoseconds until the next expiry; at least 1 while there will be one, as that tells a running timer from one that does not.
    pub fn remaining(&self) -> u64 {
        self.next.map_or(0, |next| next.saturating_sub(self.clock.now()).max(1))
    }

    /// Goes on to the first expiry after `now`. Returns how many there were until then, 0 when the next lies ahead.
    pub fn advance(&mut self, now: u64) -> u64 {
        let Some(next) = self.next.filter(|&next| next <= now) else { return 0 };
        if self.interval == 0 {
            self.next = None;
            return 1;
        }
        let passed = (now - next) / self.interval + 1;
        self.next = Some(next.saturating_add(passed.saturating_mul(self.interval)));
        passed
    }
}

/// Wakes at a time on a clock. It can wake early, too: who is woken looks at the clock and sets it again.
#[derive(Debug, Default)]
pub struct Alarm {
    sleep: Option<Sleep>,
    step: Option<Listener<&'static WaitQueue>>,
}

impl Alarm {
    /// Has `waker` woken at `time` on `clock`, instead of what was set before. True when it is that late already; then nothing is set.
    pub fn set(&mut self, clock: &Clock, time: u64, waker: &Waker) -> bool {
        let mut sleep = sched::sleep_until(clock.earliest(time));
        let due = Pin::new(&mut sleep).poll(&mut Context::from_waker(waker)).is_ready();
        self.sleep = (!due).then_some(sleep);
        let follows = !due && clock.is_wall();
        self.step = follows.then(|| stepped().listen(waker));
        due
    }

    /// Wakes nobody any more.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn schedule(next: u64, interval: u64) -> Schedule {
        Schedule { clock: Clock::Monotonic, next: Some(next), interval }
    }

    #[test]
    fn a_single_expiry_ends_the_schedule() {
        let mut once = schedule(10, 0);
        assert_eq!((once.advance(9), once.next), (0, Some(10)));
        assert_eq!((once.advance(10), once.next), (1, None));
        assert_eq!((once.advance(99), once.remaining()), (0, 0));
    }

    #[test]
    fn intervals_keep_their_beat() {
        let mut beat = schedule(10, 5);
        assert_eq!((beat.advance(10), beat.next), (1, Some(15)));
        assert_eq!((beat.advance(31), beat.next), (4, Some(35)));
        let mut end = schedule(10, u64::MAX);
        assert_eq!((end.advance(u64::MAX), end.next), (1, Some(u64::MAX)));
    }

    #[test]
    fn a_duration_on_the_wall_clock_is_measured_by_the_monotonic_one() {
        assert!(matches!(Schedule::new(Clock::Realtime, 5, 0, false).clock, Clock::Monotonic));
        assert!(matches!(Schedule::new(Clock::Realtime, 5, 0, true).clock, Clock::Realtime));
        assert_eq!(Schedule::new(Clock::Realtime, 0, 7, true).remaining(), 0);
    }

    proptest! {
        #[test]
        fn the_next_expiry_lies_ahead(next in 1u64..1 << 40, interval in 1u64..1 << 30, now in 0u64..1 << 41) {
            let mut schedule = schedule(next, interval);
            let count = schedule.advance(now);
            prop_assert!(schedule.next.unwrap() > now);
            prop_assert_eq!(schedule.next.unwrap(), next + count * interval);
        }
    }
}
