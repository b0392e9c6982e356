//! When data is sent, and when it waits.

use super::script::{ACK, Peer, RST, Script, Writer, state};
use crate::tcp::{Connection, Error, Flags, Readiness, SECOND, Send, SocketOptions, State, Stream};
use alloc::sync::Arc;

fn accepted(options: SocketOptions) -> (Script, Arc<Stream>) {
    let mut script = Script::new(Peer::default());
    let stream = script.accepted(options);
    (script, stream)
}

#[test]
fn rfc_9293_3_7_4_nagle_a_second_short_segment_waits() {
    let (mut script, stream) = accepted(SocketOptions::default());
    script.write(&stream, 10);
    script.expect(ACK, 1, 1, 10);
    script.write(&stream, 20);
    script.write(&stream, 30);
    script.nothing();
    script.says(ACK, 1, 11, 0);
    script.expect(ACK, 11, 1, 50);
}

#[test]
fn minshall_a_short_segment_behind_full_ones_does_not_wait() {
    let (mut script, stream) = accepted(SocketOptions::default());
    script.write(&stream, 2500);
    script.expect(ACK, 1, 1, 1000);
    script.expect(ACK, 1001, 1, 1000);
    script.expect(ACK, 2001, 1, 500);
}

#[test]
fn no_delay_sends_at_once_and_pushes() {
    let (mut script, stream) = accepted(SocketOptions { no_delay: true, ..SocketOptions::default() });
    script.write(&stream, 10);
    script.expect(ACK, 1, 1, 10);
    script.write(&stream, 20);
    let sent = script.expect(ACK, 11, 1, 20);
    assert!(sent.header.flags.contains(Flags::PSH));
}

#[test]
fn cork_holds_a_short_segment_until_it_is_pulled_or_200_ms() {
    let (mut script, stream) = accepted(SocketOptions { cork: true, ..SocketOptions::default() });
    script.write(&stream, 1300);
    script.expect(ACK, 1, 1, 1000);
    script.says(ACK, 1, 1001, 0);
    script.nothing();
    script.with(&stream, |connection, now, out| {
        connection.options_mut().cork = false;
        connection.options_changed(now, out);
    });
    script.expect(ACK, 1001, 1, 300);
    script.says(ACK, 1, 1301, 0);
    script.write_as(&stream, 7, Send { more: true, ..Send::default() });
    script.wait(199);
    script.nothing();
    script.wait(1);
    script.expect(ACK, 1301, 1, 7);
}

#[test]
fn rfc_9293_3_8_6_2_1_a_window_smaller_than_a_segment_is_left_alone() {
    let (mut script, stream) = accepted(SocketOptions::default());
    script.peer.window = 1500;
    script.says(ACK, 1, 1, 0);
    script.write(&stream, 3000);
    script.expect(ACK, 1, 1, 1000);
    script.nothing();
}

#[test]
fn rfc_9293_3_8_6_1_a_closed_window_is_probed_and_the_probes_become_rare() {
    let (mut script, stream) = accepted(SocketOptions::default());
    script.peer.window = 0;
    script.says(ACK, 1, 1, 0);
    script.write(&stream, 500);
    let mut gaps = std::vec::Vec::new();
    let mut last = script.now;
    while gaps.len() < 5 {
        script.wait(1);
        if let Some(probe) = script.poll() {
            assert_eq!((probe.flags, probe.sequence, probe.len), (ACK, 0, 0));
            gaps.push((script.now - last) / 100_000_000);
            last = script.now;
            script.says(ACK, 1, 1, 0);
        }
    }
    assert!(gaps.windows(2).all(|pair| pair[1] >= 2 * pair[0] - 1), "{gaps:?}");
    assert_eq!(state(&stream), State::Established);
    script.peer.window = 60_000;
    script.says(ACK, 1, 1, 0);
    script.expect(ACK, 1, 1, 500);
}

#[test]
fn a_peer_that_stops_answering_probes_is_given_up() {
    let (mut script, stream) = accepted(SocketOptions::default());
    script.peer.window = 0;
    script.says(ACK, 1, 1, 0);
    script.write(&stream, 500);
    script.wait(1_100_000);
    assert_eq!(state(&stream), State::Closed);
    assert_eq!(script.read(&stream, 1), Err(Error::TimedOut));
}

#[test]
fn a_closed_connection_does_not_wait_for_good_for_a_peer_that_answers_and_never_reads() {
    let (mut script, stream) = accepted(SocketOptions::default());
    script.peer.window = 0;
    script.says(ACK, 1, 1, 0);
    script.write(&stream, 500);
    let mut patient = 0;
    for second in 0..1000 {
        script.wait(1000);
        while let Some(sent) = script.poll() {
            if sent.flags == ACK {
                script.says(ACK, 1, 1, 0);
            }
        }
        if second == 300 {
            assert_eq!(state(&stream), State::Established, "somebody has it open");
            script.close(&stream);
        }
        patient += u32::from(script.flows() > 0);
    }
    assert!(patient < 800 && script.flows() == 0, "{patient}");
}

#[test]
fn rfc_9293_3_8_3_what_is_never_acknowledged_is_sent_until_924_seconds_have_passed() {
    let (mut script, stream) = accepted(SocketOptions::default());
    script.write(&stream, 500);
    script.wait(900_000);
    assert_eq!(state(&stream), State::Established);
    let copies =
        std::iter::from_fn(|| script.poll()).filter(|sent| (sent.sequence, sent.len) == (1, 500)).count();
    assert!((12..20).contains(&copies), "{copies}");
    script.wait(150_000);
    assert_eq!(state(&stream), State::Closed);
    assert_eq!(script.read(&stream, 1), Err(Error::TimedOut));
}

#[test]
fn rfc_5482_the_program_may_have_less_patience() {
    let (mut script, stream) =
        accepted(SocketOptions { user_timeout: 5 * SECOND, ..SocketOptions::default() });
    script.write(&stream, 500);
    script.wait(15_000);
    assert_eq!(script.read(&stream, 1), Err(Error::TimedOut));
}

#[test]
fn rfc_9293_3_8_4_a_silent_peer_is_asked_and_given_up() {
    let options = SocketOptions {
        keep_alive: true,
        keep_alive_idle: 10 * SECOND,
        keep_alive_interval: 2 * SECOND,
        keep_alive_count: 3,
        ..SocketOptions::default()
    };
    let (mut script, stream) = accepted(options);
    script.wait(10_000);
    script.expect(ACK, 0, 1, 0);
    script.says(ACK, 1, 1, 0);
    script.wait(9_999);
    script.nothing();
    for _ in 0..3 {
        script.wait(2000);
        script.expect(ACK, 0, 1, 0);
    }
    script.wait(2000);
    assert_eq!(script.next().flags, RST | ACK);
    assert_eq!(script.read(&stream, 1), Err(Error::TimedOut));
}

#[test]
fn a_writer_finds_room_again_when_a_third_is_free() {
    let (mut script, stream) =
        accepted(SocketOptions { send_buffer: Some(20_000), ..SocketOptions::default() });
    let ready = |stream: &Stream| stream.look(Connection::readiness).contains(Readiness::WRITABLE);
    assert!(ready(&stream));
    script.write(&stream, 10_000);
    assert!(!ready(&stream));
    assert_eq!(stream.look(Connection::room), 0);
    script.says(ACK, 1, 2001, 0);
    assert!(!ready(&stream));
    script.says(ACK, 1, 4001, 0);
    assert!(ready(&stream));
}

/// Whatever lets what was written go wakes the writer: an acknowledgment, a timer, an option.
#[test]
fn a_writer_with_a_low_water_mark_is_woken_when_little_is_left_to_send() {
    let options = SocketOptions { unsent_low_water: 100, cork: true, ..SocketOptions::default() };
    let (mut script, stream) = accepted(options);
    let writer = Writer::of(&stream);
    let full = |script: &mut Script| {
        script.write(&stream, 300);
        assert_eq!(stream.look(Connection::room), 0, "more would only wait");
        assert!(!stream.look(Connection::readiness).contains(Readiness::WRITABLE));
    };
    // The cork holds no longer than 200 ms.
    full(&mut script);
    assert_eq!(writer.woken(), 0);
    script.wait(200);
    script.expect(ACK, 1, 1, 300);
    assert_eq!(writer.woken(), 1);
    // It is pulled.
    full(&mut script);
    script.with(&stream, |connection, now, out| {
        connection.options_mut().cork = false;
        connection.options_changed(now, out);
    });
    assert_eq!(writer.woken(), 1, "a short segment is under way");
    script.says(ACK, 1, 301, 0);
    script.expect(ACK, 301, 1, 300);
    assert_eq!(writer.woken(), 2);
    assert!(stream.look(Connection::readiness).contains(Readiness::WRITABLE));
}

#[test]
fn rfc_6928_the_first_flight_is_ten_segments() {
    let (mut script, stream) = accepted(SocketOptions::default());
    script.write(&stream, 20_000);
    assert_eq!(std::iter::from_fn(|| script.poll()).count(), 10);
    script.says(ACK, 1, 2001, 0);
    assert_eq!(std::iter::from_fn(|| script.poll()).count(), 4, "two have left, and slow start adds two");
}

#[test]
fn a_device_that_cuts_gets_segments_whole() {
    let mut script = Script::new(Peer::default());
    script.set_burst(64_000);
    let stream = script.accepted(SocketOptions::default());
    script.write(&stream, 4500);
    let sent = script.expect(ACK, 1, 1, 4500);
    assert_eq!(sent.header.segment_size, 1000);
    script.write(&stream, 20_000);
    assert_eq!(script.next().len, 5000, "the congestion window ends it at a whole segment");
}

#[test]
fn nothing_is_ready_before_the_handshake() {
    let mut script = Script::new(Peer::default());
    let stream = script.connect(&SocketOptions::default());
    assert_eq!(stream.look(Connection::readiness), Readiness::default());
}
