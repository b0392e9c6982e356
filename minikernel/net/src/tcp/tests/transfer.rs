//! Whatever the network does, each end reads what the other wrote, and everything ends.

use super::network::{Link, Network};
use crate::tcp::{Algorithm, MILLISECOND, SocketOptions, State};
use proptest::prelude::*;

/// Both directions at once, then the close of both; nothing is left but what waits for a minute, and after it nothing at all.
fn exchange(seed: u64, link: Link, bytes: usize, step: usize, options: &SocketOptions) {
    let mut network = Network::new(seed, link);
    // A handshake may fail where all its segments are lost; what follows may not.
    let loss = core::mem::take(&mut network.link.loss);
    let ends = network.pair(options, options.clone());
    network.link.loss = loss;
    network.exchange(&ends, bytes, step);
    network.run(300_000 * MILLISECOND);
    for (host, end) in ends.iter().enumerate() {
        assert_eq!(end.look(crate::tcp::Connection::state), State::Closed);
        let mut left = 0;
        network.hosts[host].each(&mut |_| left += 1);
        assert_eq!(left, 0, "host {host}");
    }
}

#[test]
fn a_good_network() {
    exchange(1, Link::default(), 3_000_000, 100_000, &SocketOptions::default());
}

#[test]
fn the_window_of_a_loopback_device_opens_beyond_one_segment() {
    let link = Link { delay: 1000, mss: 65_483, burst: 65_483, whole: true, ..Link::default() };
    let mut network = Network::new(4, link);
    let options = SocketOptions::default();
    let ends = network.pair(&options, options.clone());
    network.exchange(&ends, 10_000_000, 200_000);
    for end in &ends {
        let window = end.look(|connection| connection.info(0).rcv_space);
        assert!(window > 4 * 65_536, "{window}");
    }
}

#[test]
fn a_loopback_device_carries_large_segments_whole() {
    let link = Link { delay: 1000, mss: 65_483, burst: 65_483, whole: true, ..Link::default() };
    exchange(2, link.clone(), 3_000_000, 100_000, &SocketOptions::default());
    exchange(3, Link { mss: 1460, ..link }, 3_000_000, 100_000, &SocketOptions::default());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn any_network(
        seed: u64,
        (loss, duplicates) in (0u64..200, 0u64..200),
        (delay, jitter) in (0u64..100, 0u64..100),
        (mss, gso) in (100u16..9000, any::<bool>()),
        (bytes, step) in (0usize..200_000, 1usize..50_000),
        receive_buffer in proptest::option::of(500u32..100_000),
        (no_delay, reno) in any::<(bool, bool)>(),
    ) {
        let burst = if gso { 65_000 } else { 0 };
        let (delay, jitter) = (delay * MILLISECOND, jitter * MILLISECOND);
        let link = Link { delay, jitter, loss, duplicates, mss, burst, ..Link::default() };
        let congestion = if reno { Algorithm::Reno } else { Algorithm::Cubic };
        let options = SocketOptions { no_delay, receive_buffer, congestion, ..SocketOptions::default() };
        exchange(seed, link, bytes, step, &options);
    }
}
