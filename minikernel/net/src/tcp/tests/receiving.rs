//! What is acknowledged, and when; and how the window moves.

use super::script::{ACK, FIN, Peer, RST, Script};
use crate::tcp::{Connection, Error, Readiness, Seq, SocketOptions, Stream};
use alloc::sync::Arc;

/// A connection that is past its first segments, which are acknowledged at once: `next` is the peer's next number.
fn settled(options: SocketOptions) -> (Script, Arc<Stream>, u32) {
    let mut script = Script::new(Peer::default());
    let stream = script.accepted(options);
    let mut next = 1;
    for _ in 0..16 {
        script.says(ACK, next, 1, 1000);
        next += 1000;
        script.expect(ACK, 1, next, 0);
        assert_eq!(script.read(&stream, 1000).unwrap().len(), 1000);
        while script.poll().is_some() {}
    }
    (script, stream, next)
}

#[test]
fn rfc_9293_3_8_6_3_every_second_full_segment_is_acknowledged() {
    let (mut script, _stream, next) = settled(SocketOptions::default());
    script.says(ACK, next, 1, 1000);
    script.nothing();
    script.says(ACK, next + 1000, 1, 1000);
    script.expect(ACK, 1, next + 2000, 0);
}

#[test]
fn segments_that_a_device_has_put_together_count_as_what_they_were() {
    let (mut script, stream, next) = settled(SocketOptions::default());
    script.glued(next, 2000, 1000);
    script.expect(ACK, 1, next + 2000, 0);
    script.glued(next + 2000, 1000, 1000);
    script.nothing();
    script.glued(next + 3000, 5000, 1000);
    script.expect(ACK, 1, next + 8000, 0);
    script.nothing();
    assert_eq!(stream.look(|connection| connection.info(0).rcv_mss), 1000);
}

#[test]
fn rfc_9293_3_8_6_3_a_single_segment_is_acknowledged_after_40_ms() {
    let (mut script, _stream, next) = settled(SocketOptions::default());
    script.says(ACK, next, 1, 100);
    script.wait(39);
    script.nothing();
    script.wait(1);
    script.expect(ACK, 1, next + 100, 0);
}

#[test]
fn an_answer_carries_the_acknowledgment() {
    let (mut script, stream, next) = settled(SocketOptions::default());
    script.says(ACK, next, 1, 100);
    script.nothing();
    script.write(&stream, 5);
    script.expect(ACK, 1, next + 100, 5);
    script.says(ACK, next + 100, 6, 0);
    script.wait(1000);
    script.nothing();
}

#[test]
fn quick_ack_acknowledges_at_once() {
    let (mut script, _stream, next) = settled(SocketOptions { quick_ack: true, ..SocketOptions::default() });
    script.says(ACK, next, 1, 100);
    script.expect(ACK, 1, next + 100, 0);
}

#[test]
fn rfc_5681_4_2_a_gap_is_acknowledged_at_once_and_so_is_its_end() {
    let (mut script, stream, next) = settled(SocketOptions::default());
    script.says(ACK, next + 100, 1, 100);
    let sent = script.expect(ACK, 1, next, 0);
    let block = sent.header.options.sack[0].unwrap();
    assert_eq!(block.1 - block.0, 100);
    script.says(ACK, next, 1, 100);
    let sent = script.expect(ACK, 1, next + 200, 0);
    assert_eq!(sent.header.options.sack[0], None);
    assert_eq!(script.read(&stream, 1000).unwrap().len(), 200);
}

#[test]
fn rfc_2883_4_what_comes_twice_is_reported() {
    let (mut script, _stream, next) = settled(SocketOptions::default());
    script.says(ACK, next - 1000, 1, 1000);
    let sent = script.expect(ACK, 1, next, 0);
    let first = sent.header.acknowledgment;
    assert_eq!(sent.header.options.sack[0], Some((first - 1000, first)));
}

#[test]
fn rfc_9293_3_10_7_4_a_segment_that_overlaps_gives_what_is_new() {
    let (mut script, stream, next) = settled(SocketOptions::default());
    script.says(ACK, next - 10, 1, 20);
    let expected: std::vec::Vec<u8> = (next..next + 10).map(|byte| byte as u8).collect();
    assert_eq!(script.read(&stream, 100), Ok(expected));
}

#[test]
fn rfc_9293_3_8_6_the_right_edge_of_the_window_never_moves_left() {
    let mut script = Script::new(Peer { scale: Some(4), ..Peer::default() });
    let stream = script.accepted(SocketOptions::default());
    let (mut next, mut edge) = (1, Seq(0));
    for step in 0..2000u32 {
        let len = 1 + (step * 37) % 700;
        script.says(ACK, next, 1, len as usize);
        next += len;
        if step % 5 == 0 {
            drop(script.read(&stream, 900 + step as usize));
        }
        while let Some(sent) = script.poll() {
            let told = sent.header.acknowledgment + (u32::from(sent.header.window) << 7);
            assert!(edge == Seq(0) || told >= edge, "step {step}");
            edge = told;
        }
        if stream.look(|connection| connection.info(0).rcv_wnd) < 1400 {
            while script.read(&stream, 100_000).is_ok() {}
        }
    }
}

#[test]
fn a_full_buffer_closes_the_window_and_reading_opens_it() {
    let (mut script, stream, next) =
        settled(SocketOptions { receive_buffer: Some(8000), ..SocketOptions::default() });
    let window = |stream: &Stream| stream.look(|connection| connection.info(0).rcv_wnd);
    for segment in 0..4 {
        script.says(ACK, next + segment * 1000, 1, 1000);
    }
    script.wait(100);
    while script.poll().is_some() {}
    assert_eq!(window(&stream), 0);
    // A probe beyond it is answered, and its byte not taken.
    script.says(ACK, next + 4000, 1, 1);
    script.expect(ACK, 1, next + 4000, 0);
    assert_eq!(script.read(&stream, 500).unwrap().len(), 500);
    script.nothing();
    assert_eq!(script.read(&stream, 3500).unwrap().len(), 3500);
    let update = script.expect(ACK, 1, next + 4000, 0);
    assert_eq!(update.header.window, 4000);
}

#[test]
fn the_window_grows_with_a_program_that_reads_fast() {
    let mut script = Script::new(Peer { scale: Some(7), ..Peer::default() });
    let stream = script.accepted(SocketOptions::default());
    let size = |stream: &Stream| stream.look(|connection| connection.info(0).rcv_space);
    let before = size(&stream);
    let mut next = 1;
    for _ in 0..20 {
        for _ in 0..60 {
            script.says(ACK, next, 1, 1000);
            next += 1000;
        }
        assert_eq!(script.read(&stream, 100_000).unwrap().len(), 60_000);
        script.wait(110);
    }
    assert!(size(&stream) > before + 40_000, "{before} {}", size(&stream));
}

#[test]
fn after_shutting_down_reading_nobody_waits_but_what_comes_is_read() {
    let (mut script, stream, next) = settled(SocketOptions::default());
    script.with(&stream, |connection, now, out| connection.shut_down(now, true, false, out));
    assert_eq!(script.read(&stream, 10), Ok([].into()));
    script.says(ACK, next, 1, 1000);
    script.says(ACK, next + 1000, 1, 1000);
    script.expect(ACK, 1, next + 2000, 0);
    assert_eq!(script.read(&stream, 5000).unwrap().len(), 2000);
    assert_eq!(script.read(&stream, 10), Ok([].into()));
}

#[test]
fn peeking_leaves_everything() {
    let (mut script, stream, next) = settled(SocketOptions::default());
    assert_eq!(script.read(&stream, 10), Err(Error::WouldBlock));
    script.says(ACK, next, 1, 4);
    let mut peeked = std::vec::Vec::new();
    let count = script.with(&stream, |connection, _, _| {
        connection.peek(1, &mut |bytes| {
            peeked.extend_from_slice(bytes);
            bytes.len()
        })
    });
    assert_eq!((count, peeked.len()), (Ok(3), 3));
    assert_eq!(script.read(&stream, 10).unwrap()[1..], peeked);
}

/// A connection of which a program wants to know when so many bytes have come.
fn with_mark(mark: u32, buffer: Option<u32>) -> (Script, Arc<Stream>) {
    let options =
        SocketOptions { receive_low_water: mark, receive_buffer: buffer, ..SocketOptions::default() };
    let mut script = Script::new(Peer::default());
    let stream = script.accepted(options);
    (script, stream)
}

fn is_readable(stream: &Stream) -> bool {
    stream.look(|connection| connection.readiness().contains(Readiness::READABLE))
}

/// `SO_RCVLOWAT`
#[test]
fn data_below_the_low_water_mark_is_not_told_of() {
    let (mut script, stream) = with_mark(10, None);
    script.says(ACK, 1, 1, 9);
    assert!(!is_readable(&stream));
    script.says(ACK, 10, 1, 1);
    assert!(is_readable(&stream));
    assert_eq!(script.read(&stream, 1).unwrap().len(), 1, "a read takes what there is all the same");
    assert!(!is_readable(&stream));
    script.says(FIN | ACK, 11, 1, 0);
    assert!(is_readable(&stream), "no more will come");
    let (mut script, stream) = with_mark(10, None);
    script.says(ACK, 1, 1, 9);
    script.says(RST, 10, 0, 0);
    assert!(is_readable(&stream), "nor after a reset");
}

/// `tcp_epollin_ready` in Linux: a mark that the window never lets be reached is none.
#[test]
fn data_is_told_of_where_no_more_finds_room() {
    let (mut script, stream) = with_mark(8000, Some(16_000));
    for start in (1..6000).step_by(1000) {
        script.says(ACK, start, 1, 1000);
        assert!(!is_readable(&stream));
    }
    script.says(ACK, 6001, 1, 1000);
    assert!(is_readable(&stream));
}

/// `tcp_set_rcvlowat` in Linux
#[test]
fn the_buffer_grows_to_the_low_water_mark() {
    let (mut script, stream) = with_mark(1, None);
    let (_, before) = stream.look(Connection::buffer_sizes);
    script.with(&stream, |connection, now, out| {
        connection.options_mut().receive_low_water = before;
        connection.options_changed(now, out);
    });
    let (_, size) = stream.look(Connection::buffer_sizes);
    assert_eq!(size, 2 * before, "so many bytes, and as much again for their frames");
}
