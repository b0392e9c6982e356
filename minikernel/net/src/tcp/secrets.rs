//! Numbers that a peer must not guess: initial sequence numbers (RFC 6528), timestamps (RFC 7323, section 5.4), ports (RFC 6056).

use core::ops::RangeInclusive;
use core::sync::atomic::{AtomicU32, Ordering};

use super::hash::Key;
use super::{Flow, Secret, Seq};

/// The keys of this machine's TCP.
#[derive(Debug)]
pub(super) struct Secrets {
    sequence: Key,
    timestamp: Key,
    port: Key,
    pub spread: Key,
    pub cookie: Key,
    /// Ports given so far (RFC 6056, algorithm 3, `next_ephemeral`).
    given: AtomicU32,
}

impl Secrets {
    /// Keys from ten random numbers.
    pub fn new(random: [u64; 10]) -> Self {
        let key = |index: usize| Key(random[2 * index], random[2 * index + 1]);
        let given = AtomicU32::new(0);
        Self { sequence: key(0), timestamp: key(1), port: key(2), spread: key(3), cookie: key(4), given }
    }

    /// The numbers with which a connection begins: a clock that ticks every 4 µs, and a hash (RFC 6528, section 3).
    pub fn begin(&self, flow: &Flow, now: u64) -> Secret {
        let clock = (now >> 12) as u32;
        let sequence = Seq((self.sequence.sip(flow, 0) as u32).wrapping_add(clock));
        Secret { sequence, timestamp_offset: self.timestamp_offset(flow) }
    }

    /// The same for all connections between two hosts, so that their timestamps rise from one to the next (RFC 6191).
    pub fn timestamp_offset(&self, flow: &Flow) -> u32 {
        let mut hosts = *flow;
        (hosts.local.port, hosts.remote.port) = (0, 0);
        self.timestamp.sip(&hosts, 0) as u32
    }

    /// Ports of `all` to try for a flow without one (RFC 6056, section 3.3.3): a walk through them from a place that depends on the peer.
    pub fn ports(&self, flow: &Flow, all: RangeInclusive<u16>) -> impl Iterator<Item = u16> + use<> {
        let count = u32::from(all.end().saturating_sub(*all.start())) + 1;
        let offset =
            (self.port.sip(flow, 0) as u32 % count) + self.given.fetch_add(1, Ordering::Relaxed) % count;
        (0..count).map(move |step| (u32::from(*all.start()) + (offset + step) % count) as u16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tcp::{Endpoint, SECOND};
    use core::net::Ipv4Addr;
    use std::collections::HashSet;

    fn flow(port: u16) -> Flow {
        let address = Ipv4Addr::LOCALHOST.into();
        Flow { local: Endpoint::new(address, port), remote: Endpoint::new(address, 80) }
    }

    fn secrets() -> Secrets {
        Secrets::new(core::array::from_fn(|index| 0x9e37_79b9_7f4a_7c15u64.wrapping_mul(index as u64 + 1)))
    }

    #[test]
    fn rfc_6528_3_sequence_numbers_rise_for_one_flow_and_differ_between_flows() {
        let secrets = secrets();
        let first = secrets.begin(&flow(1), 0).sequence;
        let later = secrets.begin(&flow(1), SECOND).sequence;
        assert_eq!(later - first, (SECOND >> 12) as u32);
        assert!(
            (secrets.begin(&flow(2), 0).sequence - first).min(first - secrets.begin(&flow(2), 0).sequence)
                > 1000
        );
    }

    #[test]
    fn rfc_6191_timestamps_of_one_host_share_a_clock() {
        let secrets = secrets();
        assert_eq!(secrets.begin(&flow(1), 0).timestamp_offset, secrets.begin(&flow(2), 5).timestamp_offset);
    }

    #[test]
    fn rfc_6056_3_3_3_every_port_is_tried_once_and_the_next_flow_starts_further() {
        let secrets = secrets();
        let range = 40_000..=40_099;
        let ports = || secrets.ports(&flow(0), range.clone());
        let all: HashSet<u16> = ports().collect();
        assert_eq!(all, range.clone().collect());
        let (one, two) = (ports().next(), ports().next());
        assert_ne!(one, two);
    }
}
