//! What somebody who only guesses cannot do (RFC 5961; RFC 7323, section 5).

use super::script::{ACK, Peer, RST, SYN, Script, state};
use crate::tcp::{Error, SocketOptions, State};

#[test]
fn rfc_5961_3_2_only_an_exact_reset_ends_a_connection() {
    let mut script = Script::new(Peer::default());
    let stream = script.accepted(SocketOptions::default());
    script.says(RST, 2, 0, 0);
    script.expect(ACK, 1, 1, 0);
    script.says(RST, 0, 0, 0);
    script.says(RST, 1 << 20, 0, 0);
    script.nothing();
    assert_eq!(state(&stream), State::Established);
    script.says(RST, 1, 0, 0);
    script.nothing();
    assert_eq!(state(&stream), State::Closed);
    assert_eq!(script.read(&stream, 1), Err(Error::Reset));
    assert_eq!(script.read(&stream, 1), Ok([].into()), "the error is told once");
}

#[test]
fn rfc_5961_4_2_a_syn_is_challenged() {
    let mut script = Script::new(Peer::default());
    let stream = script.accepted(SocketOptions::default());
    script.says(SYN, 1, 0, 0);
    script.expect(ACK, 1, 1, 0);
    assert_eq!(state(&stream), State::Established);
}

#[test]
fn rfc_5961_5_2_an_acknowledgment_of_what_was_not_sent_is_challenged_and_its_data_dropped() {
    let mut script = Script::new(Peer::default());
    let stream = script.accepted(SocketOptions::default());
    for acknowledgment in [2, 1u32.wrapping_sub(70_000)] {
        script.says(ACK, 1, acknowledgment, 5);
        script.expect(ACK, 1, 1, 0);
        script.wait(500);
    }
    assert_eq!(script.read(&stream, 9), Err(Error::WouldBlock));
    script.says(ACK, 1, 0, 5);
    assert_eq!(script.read(&stream, 9).unwrap().len(), 5, "an old one within the window is harmless");
}

#[test]
fn rfc_5961_7_challenges_are_rare() {
    let mut script = Script::new(Peer::default());
    script.accepted(SocketOptions::default());
    for _ in 0..10 {
        script.says(SYN, 1, 0, 0);
    }
    script.expect(ACK, 1, 1, 0);
    script.nothing();
    script.wait(500);
    script.says(SYN, 1, 0, 0);
    script.expect(ACK, 1, 1, 0);
}

#[test]
fn rfc_7323_5_3_a_segment_with_an_old_timestamp_is_dropped() {
    let mut script = Script::new(Peer { clock: Some(100), ..Peer::default() });
    let stream = script.accepted(SocketOptions::default());
    script.peer.clock = Some(99);
    script.says(ACK, 1, 1, 5);
    script.expect(ACK, 1, 1, 0);
    assert_eq!(script.read(&stream, 9), Err(Error::WouldBlock));
    script.says(RST, 1, 0, 0);
    assert_eq!(state(&stream), State::Closed, "a reset needs no timestamp");
}

#[test]
fn rfc_7323_5_5_a_timestamp_of_last_month_counts_no_more() {
    let mut script = Script::new(Peer { clock: Some(100), ..Peer::default() });
    let stream = script.accepted(SocketOptions::default());
    script.wait(25 * 24 * 3600 * 1000);
    script.peer.clock = Some(99);
    script.says(ACK, 1, 1, 5);
    assert_eq!(script.read(&stream, 9).unwrap().len(), 5);
}

#[test]
fn rfc_7323_4_3_the_timestamp_echoed_is_that_of_the_segment_at_the_left_edge() {
    let mut script = Script::new(Peer { clock: Some(100), ..Peer::default() });
    script.accepted(SocketOptions::default());
    script.peer.clock = Some(110);
    script.says(ACK, 6, 1, 5);
    let echo = |sent: super::script::Sent| sent.header.options.timestamps.unwrap().echo;
    assert_eq!(echo(script.next()), 100, "it is beyond a gap");
    script.peer.clock = Some(120);
    script.says(ACK, 1, 1, 5);
    assert_eq!(echo(script.next()), 120);
}
