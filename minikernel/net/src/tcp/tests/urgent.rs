//! Urgent data as Linux treats it (RFC 6093; tcp(7), `SO_OOBINLINE`, `SIOCATMARK`).

use super::script::{ACK, Peer, Script};
use crate::tcp::{Connection, Error, Flags, Send, SocketOptions, Stream};
use alloc::sync::Arc;

/// Five bytes have come, the third of them urgent.
fn urgent(inline: bool) -> (Script, Arc<Stream>) {
    let mut script = Script::new(Peer::default());
    let stream = script.accepted(SocketOptions { urgent_inline: inline, ..SocketOptions::default() });
    script.urgent(1, 3, 5);
    (script, stream)
}

fn read_urgent(script: &mut Script, stream: &Stream) -> Result<u8, Error> {
    script.with(stream, |connection, _, _| connection.read_urgent(false))
}

#[test]
fn the_urgent_byte_is_out_of_band_and_reads_end_at_the_mark() {
    let (mut script, stream) = urgent(false);
    assert!(stream.look(Connection::readiness).contains(crate::tcp::Readiness::URGENT));
    assert!(!stream.look(Connection::at_mark));
    assert_eq!(read_urgent(&mut script, &stream), Ok(3));
    assert_eq!(read_urgent(&mut script, &stream), Err(Error::Invalid), "it is fetched once");
    assert_eq!(script.read(&stream, 9), Ok([1, 2].into()));
    assert!(stream.look(Connection::at_mark));
    assert_eq!(script.read(&stream, 9), Ok([4, 5].into()));
    assert!(!stream.look(Connection::at_mark));
}

#[test]
fn inline_the_urgent_byte_is_part_of_the_stream() {
    let (mut script, stream) = urgent(true);
    assert_eq!(read_urgent(&mut script, &stream), Err(Error::Invalid));
    assert_eq!(script.read(&stream, 9), Ok([1, 2].into()));
    assert!(stream.look(Connection::at_mark));
    assert_eq!(script.read(&stream, 9), Ok([3, 4, 5].into()));
}

#[test]
fn the_mark_may_come_before_its_byte() {
    let mut script = Script::new(Peer::default());
    let stream = script.accepted(SocketOptions::default());
    script.urgent(1, 9, 5);
    assert_eq!(read_urgent(&mut script, &stream), Err(Error::WouldBlock));
    script.says(ACK, 6, 1, 5);
    assert_eq!(read_urgent(&mut script, &stream), Ok(9));
    assert_eq!(script.read(&stream, 20).unwrap().len(), 8);
}

#[test]
fn rfc_6093_3_1_the_pointer_lies_behind_the_urgent_byte() {
    let mut script = Script::new(Peer::default());
    let stream = script.accepted(SocketOptions::default());
    script.write_as(&stream, 5, Send { urgent: true, ..Send::default() });
    let sent = script.next();
    assert_eq!((sent.flags, sent.header.urgent, sent.len), (ACK | Flags::URG, 5, 5));
}
