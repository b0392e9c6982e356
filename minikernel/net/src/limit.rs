//! How many errors are sent: no more than a stranger may cause (`icmp_ratelimit`, `icmp_msgs_per_sec`; RFC 1812, section 4.3.2.8; RFC 4443, section 2.4).

use isopod_hal::sync::SpinLock;

use crate::address::Address;

const SECOND: u64 = 1_000_000_000;
/// Errors to one address: one in this time (`icmp_ratelimit`), or as many at once (`XRLIM_BURST_FACTOR`).
const INTERVAL: u64 = SECOND;
/// See [`INTERVAL`].
const BURST: u64 = 6;
/// Errors to all (`icmp_msgs_per_sec`, `icmp_msgs_burst`).
const INTERVAL_ALL: u64 = SECOND / 1000;
/// See [`INTERVAL_ALL`].
const BURST_ALL: u64 = 50;
/// Addresses share so many places.
const PLACES: usize = 64;

/// When the next error would be sent if they came evenly; for everybody, and for whoever was sent to by each place.
#[derive(Debug)]
struct Times {
    all: u64,
    each: [(Address, u64); PLACES],
}

/// What has been sent.
#[derive(Debug)]
pub struct Limit(SpinLock<Times>);

/// Takes `cost` of what has been saved up since, if there is as much.
fn take(time: &mut u64, now: u64, interval: u64, burst: u64, cost: u64) -> bool {
    let next = (*time).max(now);
    let allowed = next + interval <= now + burst * interval;
    if allowed {
        *time = next + cost * interval;
    }
    allowed
}

impl Limit {
    pub const fn new() -> Self {
        Self(SpinLock::new(Times { all: 0, each: [(Address::UNSPECIFIED, 0); PLACES] }))
    }

    /// Whether an error may be sent to an address. The cost for all is a random one, so that nobody learns from it how many others were sent.
    pub fn allows(&self, to: &Address, now: u64, random: u64) -> bool {
        let mut times = self.0.lock();
        let bits = to.to_bits();
        let place = (bits ^ bits >> 64 ^ bits >> 8) as usize % PLACES;
        let mut each = times.each[place];
        if each.0 != *to {
            each = (*to, 0);
        }
        let allowed = take(&mut each.1, now, INTERVAL, BURST, 1)
            && take(&mut times.all, now, INTERVAL_ALL, BURST_ALL, random % 3);
        if allowed {
            times.each[place] = each;
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::v4;

    fn count(limit: &Limit, to: Address, now: u64) -> usize {
        (0..1000).filter(|_| limit.allows(&to, now, 1)).count()
    }

    #[test]
    fn one_address_gets_six_at_once_and_one_each_second() {
        let (limit, to) = (Limit::new(), v4(10, 0, 0, 1));
        let start = 100 * SECOND;
        assert_eq!(count(&limit, to, start), 6);
        assert_eq!(count(&limit, to, start + SECOND / 2), 0);
        assert_eq!(count(&limit, to, start + SECOND), 1);
        assert_eq!(count(&limit, to, start + 3 * SECOND), 2);
        assert_eq!(count(&limit, v4(10, 0, 0, 2), start + 3 * SECOND), 6);
        assert_eq!(count(&limit, to, start + 100 * SECOND), 6);
    }

    #[test]
    fn all_get_fifty_at_once_and_a_thousand_each_second() {
        let limit = Limit::new();
        let start = 100 * SECOND;
        let many = |now| (0..200).filter(|&number| limit.allows(&v4(10, 0, 1, number), now, 1)).count();
        assert_eq!(many(start), 50);
        assert_eq!(many(start + SECOND / 100), 10);
    }
}
