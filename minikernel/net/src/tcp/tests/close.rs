//! How connections end (RFC 9293, section 3.6), in each state.

use super::script::{ACK, FIN, Peer, RST, SYN, Script, state};
use crate::tcp::{Connection, Error, SECOND, SocketOptions, State};

fn accepted() -> (Script, alloc::sync::Arc<crate::tcp::Stream>) {
    let mut script = Script::new(Peer::default());
    let stream = script.accepted(SocketOptions::default());
    (script, stream)
}

#[test]
fn rfc_9293_3_6_case_1_this_end_closes_first() {
    let (mut script, stream) = accepted();
    script.close(&stream);
    script.expect(FIN | ACK, 1, 1, 0);
    assert_eq!(state(&stream), State::FinWait1);
    script.says(ACK, 1, 2, 0);
    assert_eq!(state(&stream), State::FinWait2);
    script.says(FIN | ACK, 1, 2, 0);
    script.expect(ACK, 2, 2, 0);
    assert_eq!((state(&stream), script.flows()), (State::Closed, 1), "TIME-WAIT");
    // The last acknowledgment was lost: it is repeated, and the minute begins anew.
    script.wait(59_000);
    script.says(FIN | ACK, 1, 2, 0);
    script.expect(ACK, 2, 2, 0);
    script.wait(59_000);
    assert_eq!(script.flows(), 1);
    script.wait(1000);
    assert_eq!(script.flows(), 0);
}

#[test]
fn rfc_9293_3_6_case_1_the_peer_acknowledges_and_closes_at_once() {
    let (mut script, stream) = accepted();
    script.close(&stream);
    script.expect(FIN | ACK, 1, 1, 0);
    script.says(FIN | ACK, 1, 2, 0);
    script.expect(ACK, 2, 2, 0);
    assert_eq!((state(&stream), script.flows()), (State::Closed, 1));
}

#[test]
fn rfc_9293_3_6_case_2_the_peer_closes_first() {
    let (mut script, stream) = accepted();
    script.says(FIN | ACK, 1, 1, 3);
    script.expect(ACK, 1, 5, 0);
    assert_eq!(state(&stream), State::CloseWait);
    assert_eq!(script.read(&stream, 10), Ok([1, 2, 3].into()));
    assert_eq!(script.read(&stream, 10), Ok([].into()), "the end");
    script.write(&stream, 4);
    script.expect(ACK, 1, 5, 4);
    script.close(&stream);
    script.expect(FIN | ACK, 5, 5, 0);
    assert_eq!(state(&stream), State::LastAck);
    script.says(ACK, 5, 6, 0);
    assert_eq!((state(&stream), script.flows()), (State::Closed, 0));
}

#[test]
fn rfc_9293_3_6_case_3_both_close_at_once() {
    let (mut script, stream) = accepted();
    script.close(&stream);
    script.expect(FIN | ACK, 1, 1, 0);
    script.says(FIN | ACK, 1, 1, 0);
    script.expect(ACK, 2, 2, 0);
    assert_eq!(state(&stream), State::Closing);
    script.says(ACK, 2, 2, 0);
    assert_eq!((state(&stream), script.flows()), (State::Closed, 1));
    script.wait(60_000);
    assert_eq!(script.flows(), 0);
}

#[test]
fn rfc_9293_3_10_4_the_fin_follows_what_was_written() {
    let (mut script, stream) = accepted();
    script.peer.window = 1000;
    script.says(ACK, 1, 1, 0);
    script.write(&stream, 1500);
    script.expect(ACK, 1, 1, 1000);
    script.shut_down(&stream);
    script.nothing();
    script.says(ACK, 1, 1001, 0);
    script.expect(FIN | ACK, 1001, 1, 500);
}

#[test]
fn a_half_closed_connection_still_receives() {
    let (mut script, stream) = accepted();
    script.shut_down(&stream);
    script.expect(FIN | ACK, 1, 1, 0);
    script.says(ACK, 1, 2, 0);
    script.wait(600_000);
    script.says(ACK, 1, 2, 3);
    assert_eq!(script.read(&stream, 10), Ok([1, 2, 3].into()));
    assert_eq!(state(&stream), State::FinWait2, "somebody has it open, so it waits for good");
    let written = script.with(&stream, |connection, _, _| connection.may_write());
    assert_eq!(written, Err(Error::Pipe));
}

#[test]
fn rfc_2525_2_17_a_close_with_unread_data_is_a_reset() {
    let (mut script, stream) = accepted();
    script.says(ACK, 1, 1, 3);
    script.expect(ACK, 1, 4, 0);
    script.close(&stream);
    script.expect(RST | ACK, 1, 4, 0);
    assert_eq!(script.flows(), 0);
}

#[test]
fn rfc_9293_3_10_4_data_for_a_closed_connection_is_a_reset() {
    let (mut script, stream) = accepted();
    script.close(&stream);
    script.expect(FIN | ACK, 1, 1, 0);
    script.says(ACK, 1, 2, 3);
    script.expect(RST, 2, 0, 0);
    assert_eq!(script.flows(), 0);
}

/// The program still has the connection, and learns what became of it (`tcp_rcv_state_process` in Linux).
#[test]
fn rfc_1122_4_2_2_13_data_is_refused_once_both_directions_are_closed() {
    for acknowledged in [1, 2] {
        let (mut script, stream) = accepted();
        script.says(ACK, 1, 1, 3);
        script.expect(ACK, 1, 4, 0);
        script.with(&stream, |connection, now, out| connection.shut_down(now, true, true, out));
        script.expect(FIN | ACK, 1, 4, 0);
        // What had come before is no news, and is acknowledged again.
        script.says(ACK, 1, acknowledged, 3);
        script.expect(ACK, 2, 4, 0);
        script.says(ACK, 4, acknowledged, 1);
        script.expect(RST, acknowledged, 0, 0);
        assert_eq!((state(&stream), script.flows()), (State::Closed, 0));
        assert_eq!(script.read(&stream, 10), Ok([1, 2, 3].into()));
        assert_eq!(script.read(&stream, 10), Err(Error::Reset));
        assert_eq!(script.read(&stream, 10), Ok([].into()));
    }
    // A FIN alone is no data.
    let (mut script, stream) = accepted();
    script.with(&stream, |connection, now, out| connection.shut_down(now, true, true, out));
    script.expect(FIN | ACK, 1, 1, 0);
    script.says(FIN | ACK, 1, 2, 0);
    script.expect(ACK, 2, 2, 0);
    assert_eq!(script.flows(), 1, "TIME-WAIT");
}

#[test]
fn one_that_only_reads_no_more_takes_what_comes() {
    let (mut script, stream) = accepted();
    script.with(&stream, |connection, now, out| connection.shut_down(now, true, false, out));
    assert_eq!(script.read(&stream, 10), Ok([].into()));
    script.says(ACK, 1, 1, 3);
    script.expect(ACK, 1, 4, 0);
    assert_eq!(script.read(&stream, 10), Ok([1, 2, 3].into()));
}

/// `SOCK_DONE` in Linux: behind its FIN a peer can say nothing that a read tells.
#[test]
fn a_reset_behind_the_fin_leaves_the_end_and_the_error() {
    let (mut script, stream) = accepted();
    script.says(FIN | ACK, 1, 1, 3);
    script.expect(ACK, 1, 5, 0);
    script.says(RST, 5, 0, 0);
    assert_eq!(script.read(&stream, 10), Ok([1, 2, 3].into()));
    assert_eq!(script.read(&stream, 10), Ok([].into()));
    assert_eq!(script.with(&stream, |connection, _, _| connection.take_error()), Some(Error::Pipe));
    assert_eq!(script.read(&stream, 10), Ok([].into()));
}

#[test]
fn a_lingering_close_lasts_until_the_fin_is_acknowledged() {
    let (mut script, stream) = accepted();
    script.write(&stream, 5);
    script.expect(ACK, 1, 1, 5);
    assert!(script.with(&stream, Connection::linger));
    script.expect(FIN | ACK, 6, 1, 0);
    let closing = || stream.look(Connection::is_closing);
    script.says(ACK, 1, 6, 0);
    assert!(closing(), "the FIN is not acknowledged");
    script.says(ACK, 1, 7, 0);
    assert!(!closing());
    script.close(&stream);
    script.wait(60_000);
    assert_eq!(script.flows(), 0, "it is nobody's from then on");
}

#[test]
fn a_lingering_close_waits_not_where_data_is_lost() {
    let (mut script, stream) = accepted();
    script.says(ACK, 1, 1, 3);
    script.expect(ACK, 1, 4, 0);
    assert!(!script.with(&stream, Connection::linger));
    script.nothing();
    script.close(&stream);
    script.expect(RST | ACK, 1, 4, 0);
    // Nor for a peer that sends what nobody will read.
    let (mut script, stream) = accepted();
    assert!(script.with(&stream, Connection::linger));
    script.expect(FIN | ACK, 1, 1, 0);
    script.says(ACK, 1, 1, 3);
    script.expect(RST, 1, 0, 0);
    assert!(!stream.look(Connection::is_closing));
}

#[test]
fn directions_that_were_closed_before_the_connection_are_closed_in_it() {
    let (mut script, stream) = accepted();
    stream.touch(|connection| connection.begin_shut_down(true, true));
    script.nothing();
    assert_eq!(script.with(&stream, |connection, _, _| connection.may_write()), Err(Error::Pipe));
    assert_eq!(script.read(&stream, 10), Ok([].into()));
    script.says(ACK, 1, 1, 3);
    script.expect(ACK, 1, 4, 0);
    assert_eq!(script.read(&stream, 10), Ok([1, 2, 3].into()));
    script.shut_down(&stream);
    script.expect(FIN | ACK, 1, 4, 0);
}

#[test]
fn a_peer_that_never_closes_is_forgotten_after_a_minute() {
    let (mut script, stream) = accepted();
    script.close(&stream);
    script.expect(FIN | ACK, 1, 1, 0);
    script.says(ACK, 1, 2, 0);
    script.wait(59_999);
    assert_eq!(script.flows(), 1);
    script.wait(1);
    assert_eq!(script.flows(), 0);
}

#[test]
fn linger_without_time_resets() {
    let (mut script, stream) = accepted();
    script.write(&stream, 10);
    script.expect(ACK, 1, 1, 10);
    script.with(&stream, |connection, now, out| connection.abort(now, out));
    script.expect(RST | ACK, 11, 1, 0);
    assert_eq!((state(&stream), script.flows()), (State::Closed, 0));
}

#[test]
fn a_fin_before_what_precedes_it_waits() {
    let (mut script, stream) = accepted();
    script.says(FIN | ACK, 4, 1, 2);
    script.expect(ACK, 1, 1, 0);
    assert_eq!(state(&stream), State::Established);
    script.says(ACK, 1, 1, 3);
    script.expect(ACK, 1, 7, 0);
    assert_eq!(state(&stream), State::CloseWait);
    assert_eq!(script.read(&stream, 10), Ok([1, 2, 3, 4, 5].into()));
}

/// A connection in TIME-WAIT, with the peer's clock at 100.
fn time_wait(clock: Option<u32>) -> Script {
    let mut script = Script::new(Peer { clock, ..Peer::default() });
    let stream = script.accepted(SocketOptions::default());
    script.listen(1, SocketOptions::default());
    script.close(&stream);
    script.expect(FIN | ACK, 1, 1, 0);
    script.says(FIN | ACK, 1, 2, 0);
    script.expect(ACK, 2, 2, 0);
    script.wait(1000);
    script
}

#[test]
fn rfc_6191_2_a_later_syn_reopens_a_connection_in_time_wait() {
    // A SYN before the window, but with a later timestamp.
    let mut script = time_wait(Some(100));
    script.peer.clock = Some(101);
    let before = script.iss();
    script.syn(0u32.wrapping_sub(5000));
    let answer = script.next();
    assert_eq!(answer.flags, SYN | ACK);
    assert!(answer.header.sequence > before + 2, "beyond the numbers of the connection before");
    // The same with an earlier timestamp, and without any.
    let mut script = time_wait(Some(100));
    script.peer.clock = Some(99);
    script.syn(5000);
    script.expect(ACK, 2, 2, 0);
    let mut script = time_wait(None);
    script.syn(5000);
    assert_eq!(script.next().flags, SYN | ACK);
    let mut script = time_wait(None);
    script.syn(0u32.wrapping_sub(5000));
    script.expect(ACK, 2, 2, 0);
}

#[test]
fn time_wait_ends_with_an_exact_reset_only() {
    let mut script = time_wait(None);
    script.says(RST, 1, 0, 0);
    script.says(RST, 3, 0, 0);
    assert_eq!(script.flows(), 1);
    script.says(RST, 2, 0, 0);
    assert_eq!(script.flows(), 0);
}

#[test]
fn the_port_is_taken_until_time_wait_is_over() {
    let mut script = Script::new(Peer::default());
    let stream = script.accepted(SocketOptions::default());
    script.close(&stream);
    script.says(FIN | ACK, 1, 2, 0);
    drop(stream);
    let claim = crate::tcp::Claim::new(crate::tcp::Scope::Any);
    assert_eq!(script.tcp.bind(80, claim).err(), Some(Error::AddressInUse));
    script.wait(60 * SECOND / 1_000_000);
    assert!(script.tcp.bind(80, claim).is_ok());
}

#[test]
fn time_wait_answers_rarely() {
    let mut script = time_wait(None);
    for _ in 0..10 {
        script.says(FIN | ACK, 1, 2, 0);
    }
    script.expect(ACK, 2, 2, 0);
    script.nothing();
    script.wait(500);
    script.says(FIN | ACK, 1, 2, 0);
    script.expect(ACK, 2, 2, 0);
}

#[test]
fn a_listener_without_room_does_not_end_time_wait() {
    let mut script = Script::new(Peer::default());
    let stream = script.accepted(SocketOptions::default());
    let listener = script.listen(0, SocketOptions::default());
    script.close(&stream);
    script.says(FIN | ACK, 1, 2, 0);
    while script.poll().is_some() {}
    script.peer_port += 1;
    script.open();
    script.peer_port -= 1;
    while script.poll().is_some() {}
    script.syn(5000);
    script.nothing();
    assert_eq!(script.flows(), 2, "a connection that waits, and the end of the first");
    assert!(listener.accept().is_some());
    script.syn(5000);
    assert_eq!(script.next().flags, SYN | ACK);
    assert_eq!(script.flows(), 2);
}

/// What a reset tells depends on whether the peer had said all, and this end not (`tcp_reset` in Linux).
#[test]
fn rfc_9293_3_10_7_4_a_reset_in_each_state() {
    for (peer_closes, we_close, error) in [
        (false, false, Some(Error::Reset)),
        (true, false, Some(Error::Pipe)),
        (false, true, Some(Error::Reset)),
        (true, true, Some(Error::Reset)),
    ] {
        let (mut script, stream) = accepted();
        let mut next = 1;
        if peer_closes {
            script.says(FIN | ACK, 1, 1, 0);
            next += 1;
        }
        if we_close {
            script.shut_down(&stream);
        }
        while script.poll().is_some() {}
        script.says(RST, next, 0, 0);
        script.nothing();
        assert_eq!((state(&stream), script.flows()), (State::Closed, 0));
        assert_eq!(script.with(&stream, |connection, _, _| connection.take_error()), error);
        // Nothing more is said for it, and what still comes is for nobody.
        script.wait(100_000);
        script.nothing();
        script.says(ACK, next, 1, 5);
        script.expect(RST, 1, 0, 0);
    }
}
