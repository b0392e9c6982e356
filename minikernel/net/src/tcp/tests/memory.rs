//! Peers that want the machine's memory, and do not get it.

use alloc::sync::Arc;
use std::vec::Vec;

use super::script::{ACK, FIN, Peer, RST, Script, state};
use crate::tcp::{Connection, Seq, SocketOptions, State, Stream};

const PAGE: usize = 4096;

/// A machine on which connections may hold 20 pages, or 10 with ease, and two may be nobody's.
fn small() -> Script {
    let script = Script::new(Peer { window: 0, ..Peer::default() });
    script.tcp.memory.limit(10, 20);
    script.tcp.memory.limit_connections(2, 100);
    script
}

/// Connections, and what the script knows each by.
fn connections(script: &mut Script, count: usize) -> Vec<(Arc<Stream>, (u16, Seq))> {
    let options = SocketOptions { send_buffer: Some(60_000), ..SocketOptions::default() };
    let listener = script.listen(1, options);
    let streams = (0..count).map(|_| {
        script.peer_port += 1;
        script.open();
        (listener.accept().unwrap(), (script.peer_port, script.iss()))
    });
    let streams = streams.collect();
    script.stop(&listener);
    streams
}

#[test]
fn peers_that_stop_reading_hold_no_more_than_the_limit() {
    let mut script = small();
    let streams = connections(&mut script, 50);
    for (stream, _) in &streams {
        while let room @ 1.. = stream.touch(|connection| connection.room()) {
            script.write(stream, room.min(1000));
        }
    }
    // What a connection needs to go on at all it may have beyond.
    let (used, _) = script.tcp.memory.used();
    assert!((20..=20 + 50 * 4608 / PAGE + 30_000 / PAGE).contains(&used), "{used}");
    let writable =
        |stream: &Stream| stream.look(Connection::readiness).contains(crate::tcp::Readiness::WRITABLE);
    assert!(!streams.iter().any(|(stream, _)| writable(stream)));
    // Once most of it is gone the others go on.
    for (stream, _) in &streams[..49] {
        script.with(stream, |connection, now, out| connection.abort(now, out));
    }
    assert!(script.tcp.memory.used().0 < 10);
    script.peer.window = 5000;
    script.says(ACK, 1, 1, 0);
    script.says(ACK, 1, 1001, 0);
    assert!(writable(&streams[49].0));
}

#[test]
fn programs_that_do_not_read_get_no_more_than_the_limit() {
    let mut script = small();
    let streams = connections(&mut script, 10);
    let mut accepted = 0;
    for (stream, peer) in &streams {
        script.turn_to(*peer);
        for segment in 0..30 {
            script.says(ACK, 1 + segment * 1000, 1, 1000);
        }
        accepted += stream.look(Connection::readable);
    }
    let (used, _) = script.tcp.memory.used();
    assert!(used <= 20 + 10, "{used}");
    assert!(accepted < 80_000 && streams.iter().all(|(stream, _)| stream.look(Connection::readable) >= 1000));
    // What was read makes room for more, which the peer sends again.
    for (stream, _) in &streams {
        while script.read(stream, usize::MAX).is_ok() {}
    }
    assert_eq!(script.tcp.memory.used(), (0, 0));
    let next = 1 + streams[9].0.look(|connection| connection.info(0).bytes_received) as u32;
    script.says(ACK, next, 1, 1000);
    assert_eq!(streams[9].0.look(Connection::readable), 1000);
}

#[test]
fn few_connections_are_nobodys() {
    let mut script = small();
    let streams = connections(&mut script, 5);
    for (index, (stream, peer)) in streams.iter().enumerate() {
        script.turn_to(*peer);
        script.write(stream, 100);
        script.close(stream);
        let ends = index > 2;
        assert_eq!(state(stream) == State::Closed, ends, "{index}");
        let sent = script.poll().map(|sent| sent.flags);
        assert_eq!(sent, ends.then_some(RST | ACK));
    }
    assert_eq!((script.tcp.memory.used().1, script.flows()), (3, 3));
    script.turn_to(streams[2].1);
    script.peer.window = 1000;
    script.says(ACK, 1, 1, 0);
    script.expect(FIN | ACK, 1, 1, 100);
    script.says(FIN | ACK, 1, 102, 0);
    assert_eq!(script.tcp.memory.used().1, 2);
}
