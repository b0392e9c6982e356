//! How losses are found and repaired, segment by segment.

use super::script::{ACK, Peer, Script};
use crate::tcp::{Options, SocketOptions, Stream, Timestamps};
use alloc::sync::Arc;
use std::vec::Vec;

/// A connection with a round trip of 100 ms, of which `segments` segments of 1000 bytes are outstanding, from 1001 on.
fn outstanding(peer: &Peer, segments: usize) -> (Script, Arc<Stream>) {
    let mut script = Script::new(Peer { handshake: 100, ..peer.clone() });
    let stream = script.accepted(SocketOptions::default());
    let full = if script.peer.clock.is_some() { 988 } else { 1000 };
    script.write(&stream, full);
    assert_eq!(script.next().len, full);
    script.wait(100);
    script.acknowledge(1 + full as u32);
    script.write(&stream, segments * full);
    assert_eq!(sequences(&mut script).len(), segments);
    (script, stream)
}

/// Where the segments begin that were sent.
fn sequences(script: &mut Script) -> Vec<u32> {
    std::iter::from_fn(|| script.poll()).map(|sent| sent.sequence).collect()
}

fn window(stream: &Stream) -> u32 {
    stream.look(|connection| connection.info(0).snd_cwnd)
}

#[test]
fn rfc_8985_three_segments_behind_a_gap_repair_it_at_once() {
    let (mut script, stream) = outstanding(&Peer::default(), 10);
    let before = window(&stream);
    script.wait(100);
    script.sacks(1, 1001, &[(2001, 3001)]);
    script.sacks(1, 1001, &[(2001, 4001)]);
    assert_eq!(sequences(&mut script), []);
    script.sacks(1, 1001, &[(2001, 5001)]);
    assert_eq!(sequences(&mut script), [1001]);
    script.wait(100);
    script.sacks(1, 11001, &[]);
    assert_eq!(sequences(&mut script), []);
    let after = window(&stream);
    assert!(after < before && after >= before * 6 / 10, "CUBIC: {before} {after}");
}

#[test]
fn rfc_8985_6_2_two_segments_behind_a_gap_repair_it_a_little_later() {
    let (mut script, _stream) = outstanding(&Peer::default(), 3);
    script.wait(100);
    script.sacks(1, 1001, &[(2001, 4001)]);
    assert_eq!(sequences(&mut script), []);
    script.wait(25);
    assert_eq!(sequences(&mut script), [1001], "a quarter of the round trip");
}

#[test]
fn several_gaps_are_repaired_in_order_and_nothing_else() {
    let (mut script, _stream) = outstanding(&Peer::default(), 10);
    script.wait(100);
    script.sacks(1, 1001, &[(6001, 11001), (4001, 5001), (2001, 3001)]);
    let mut repaired = sequences(&mut script);
    for _ in 0..4 {
        script.wait(10);
        script.sacks(1, 1001, &[(6001, 11001), (4001, 5001), (2001, 3001)]);
        repaired.extend(sequences(&mut script));
    }
    assert_eq!(repaired, [1001, 3001, 5001]);
}

#[test]
fn rfc_6582_without_sack_three_duplicates_repair_the_first_and_each_partial_acknowledgment_the_next() {
    let (mut script, _stream) = outstanding(&Peer { sack: false, ..Peer::default() }, 10);
    script.wait(100);
    script.says(ACK, 1, 1001, 0);
    script.says(ACK, 1, 1001, 0);
    assert_eq!(sequences(&mut script), []);
    script.says(ACK, 1, 1001, 0);
    assert_eq!(sequences(&mut script), [1001]);
    script.wait(50);
    script.says(ACK, 1, 4001, 0);
    assert_eq!(sequences(&mut script), [4001]);
    script.wait(50);
    script.says(ACK, 1, 11001, 0);
    assert_eq!(sequences(&mut script), []);
}

#[test]
fn rfc_5681_2_an_acknowledgment_with_data_or_another_window_is_no_duplicate() {
    let (mut script, _stream) = outstanding(&Peer { sack: false, ..Peer::default() }, 10);
    for offset in 0..4 {
        script.says(ACK, 1 + offset, 1001, 1);
        script.peer.window -= 1;
        script.says(ACK, 2 + offset, 1001, 0);
    }
    assert_eq!(sequences(&mut script).into_iter().filter(|&sequence| sequence == 1001).count(), 0);
}

#[test]
fn rfc_8985_7_the_end_of_a_flight_is_probed_before_the_timeout() {
    let (mut script, _stream) = outstanding(&Peer::default(), 4);
    // Two round trips and a little, and the last segment again.
    script.wait(195);
    assert_eq!(sequences(&mut script), []);
    script.wait(20);
    assert_eq!(sequences(&mut script), [4001]);
    script.wait(100);
    script.sacks(1, 1001, &[(4001, 5001)]);
    assert_eq!(
        sequences(&mut script),
        [1001, 2001],
        "what its arrival shows to be lost, at twice the rate of arrivals"
    );
}

#[test]
fn rfc_8985_7_3_a_probe_is_new_data_where_there_is_some() {
    let (mut script, stream) = outstanding(&Peer::default(), 4);
    script.write(&stream, 300);
    assert_eq!(sequences(&mut script), [5001]);
    script.write(&stream, 10);
    assert_eq!(sequences(&mut script), [], "held by Nagle");
    script.wait(250);
    assert_eq!(sequences(&mut script), [5301]);
}

#[test]
fn rfc_8985_7_4_2_a_loss_that_only_the_probe_repaired_lowers_the_window() {
    let (mut script, stream) = outstanding(&Peer::default(), 4);
    let before = window(&stream);
    script.wait(220);
    assert_eq!(sequences(&mut script), [4001]);
    script.write(&stream, 1000);
    sequences(&mut script);
    script.wait(100);
    script.acknowledge(6001);
    assert!(window(&stream) < before);
}

#[test]
fn rfc_6298_5_a_timeout_sends_the_first_again_and_doubles() {
    let (mut script, stream) = outstanding(&Peer { sack: false, ..Peer::default() }, 5);
    let rto = u64::from(stream.look(|connection| connection.info(0).rto) / 1000);
    assert!((300..=320).contains(&rto), "{rto}");
    script.wait(rto - 5);
    assert_eq!(sequences(&mut script), []);
    script.wait(10);
    assert_eq!(sequences(&mut script), [1001]);
    assert_eq!(window(&stream), 1);
    script.wait(2 * rto - 20);
    assert_eq!(sequences(&mut script), []);
    script.wait(30);
    assert_eq!(sequences(&mut script), [1001]);
    // Slow start from there.
    script.acknowledge(2001);
    assert_eq!(sequences(&mut script), [2001, 3001]);
}

#[test]
fn rfc_2018_8_after_a_timeout_what_the_peer_has_is_not_sent_again() {
    let (mut script, _stream) = outstanding(&Peer::default(), 5);
    script.sacks(1, 1001, &[(3001, 4001)]);
    script.wait(3000);
    sequences(&mut script);
    let mut repaired = Vec::new();
    script.sacks(1, 2001, &[(3001, 4001)]);
    repaired.extend(sequences(&mut script));
    script.sacks(1, 4001, &[]);
    repaired.extend(sequences(&mut script));
    assert!(!repaired.contains(&3001) && repaired.contains(&4001), "{repaired:?}");
}

#[test]
fn rfc_4015_a_timeout_that_a_late_acknowledgment_disproves_is_taken_back() {
    let (mut script, stream) = outstanding(&Peer { clock: Some(1), ..Peer::default() }, 8);
    let before = window(&stream);
    let clock = script.our_clock();
    script.wait(1000);
    assert!(!sequences(&mut script).is_empty());
    assert_eq!(window(&stream), 1);
    let options = Options { timestamps: Some(Timestamps { value: 2, echo: clock }), ..Options::default() };
    script.sends(ACK, 1, 1 + 988 * 2, 0, options);
    assert_eq!(sequences(&mut script), [], "nothing else is sent again");
    assert!(window(&stream) >= before);
}

#[test]
fn rfc_1191_6_4_a_smaller_path_has_what_is_too_long_sent_again_in_pieces() {
    let (mut script, stream) = outstanding(&Peer::default(), 2);
    let flow = *stream.flow();
    let quoted = script.iss() + 1001;
    script.path_changed(&flow, script.iss() - 500, 500);
    assert_eq!(sequences(&mut script), [], "RFC 5927, section 4.1: nothing that is outstanding");
    script.path_changed(&flow, quoted, 500);
    assert_eq!(sequences(&mut script), [1001, 1501, 2001, 2501]);
    assert_eq!(stream.look(|connection| connection.info(0).lost), 4);
}

#[test]
fn a_host_that_icmp_reports_is_unreachable_ends_only_a_handshake() {
    let (script, stream) = outstanding(&Peer::default(), 2);
    let flow = *stream.flow();
    let quoted = script.iss() + 1001;
    script.tcp.unreachable(script.now, &flow, quoted, crate::tcp::Error::HostUnreachable);
    assert_eq!(super::script::state(&stream), crate::tcp::State::Established);
    let mut script = Script::new(Peer::default());
    let stream = script.connect(&SocketOptions::default());
    script.next();
    script.tcp.unreachable(script.now, stream.flow(), script.iss(), crate::tcp::Error::HostUnreachable);
    assert_eq!(script.read(&stream, 1), Err(crate::tcp::Error::HostUnreachable));
}
