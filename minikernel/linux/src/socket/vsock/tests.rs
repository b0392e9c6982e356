use alloc::vec;
use alloc::vec::Vec;

use isopod_fs::{Buffer, Bytes};

use super::*;

fn listener(kind: Kind) -> Arc<VsockSocket> {
    let socket = VsockSocket::new(kind, Settings::default());
    let at = table::bind(&socket.me, Place { cid: CID_LOCAL, port: PORT_ANY }).unwrap();
    let mut state = socket.state.lock();
    (state.local, state.phase, state.backlog) = (at, Phase::Listening, 1);
    drop(state);
    socket
}

/// Begins to connect, and lets all packets arrive.
fn connect(kind: Kind, to: Place) -> Arc<VsockSocket> {
    let socket = VsockSocket::new(kind, Settings::default());
    socket.begin(&mut socket.state.lock(), &shown(to)).unwrap();
    settle();
    socket
}

fn settle() {
    while link::take_local(1) {}
}

/// Two that are connected, and who listened.
fn pair(kind: Kind) -> (Arc<VsockSocket>, Arc<dyn Socket>, Arc<VsockSocket>) {
    let listener = listener(kind);
    let at = listener.state.lock().local;
    let client = connect(kind, at);
    let server = listener.accept(false).unwrap();
    (client, server, listener)
}

fn send(socket: &dyn Socket, bytes: &[u8], flags: MessageFlags) -> Result<usize, Errno> {
    let sent = socket.send(&mut Outgoing { flags, ..Outgoing::default() }, &mut Bytes::new(bytes));
    settle();
    sent.map_err(crate::fail::errno)
}

fn receive(socket: &dyn Socket, room: usize) -> Result<(Vec<u8>, MessageFlags), Errno> {
    let (mut bytes, mut message) = (vec![0; room], Incoming::default());
    let count = socket.receive(&mut message, &mut Buffer::new(&mut bytes))?;
    settle();
    bytes.truncate(count);
    Ok((bytes, message.found))
}

const NONE: MessageFlags = MessageFlags::empty();

#[test]
fn bytes_go_both_ways_and_end_with_the_connection() {
    let (client, server, _listener) = pair(Kind::Stream);
    assert_eq!(send(&*client, b"hello", NONE), Ok(5));
    assert_eq!(receive(&*server, 3), Ok((b"hel".to_vec(), NONE)));
    assert_eq!(receive(&*server, 9), Ok((b"lo".to_vec(), NONE)));
    assert_eq!(receive(&*server, 9), Err(Errno::EAGAIN));
    assert_eq!(send(&*server, b"back", NONE), Ok(4));
    server.close();
    settle();
    assert!(client.ready().contains(Ready::READ_HANG_UP | Ready::READABLE));
    assert_eq!(receive(&*client, 9), Ok((b"back".to_vec(), NONE)));
    assert_eq!(receive(&*client, 9), Ok((vec![], NONE)));
    assert_eq!(send(&*client, b"x", NONE), Err(Errno::EPIPE));
    client.close();
    settle();
}

#[test]
fn nobody_listens_and_nobody_is_reached() {
    let listener = listener(Kind::Stream);
    let at = listener.state.lock().local;
    let other = connect(Kind::Sequence, at);
    assert_eq!(other.take_error(), Some(Errno::ECONNRESET), "packets of another type are for nobody");
    let clients: Vec<_> = (0..3).map(|_| connect(Kind::Stream, at)).collect();
    let errors: Vec<_> = clients.iter().map(|client| client.take_error()).collect();
    assert_eq!(errors, [None, None, Some(Errno::ECONNRESET)], "one more than the backlog has room");
    listener.close();
    settle();
    assert_eq!(clients[0].state.lock().phase, Phase::Over, "those that were not accepted end");
    assert_eq!(connect(Kind::Stream, at).take_error(), Some(Errno::ECONNRESET));
}

#[test]
fn a_sender_waits_for_credit() {
    let (client, server, _listener) = pair(Kind::Stream);
    server.set_option(AF_VSOCK.into(), 0, &1000u64.to_le_bytes()).unwrap();
    settle();
    assert_eq!(send(&*client, &[1; 1500], NONE), Ok(1000));
    assert_eq!(send(&*client, &[1; 500], NONE), Err(Errno::EAGAIN));
    assert!(!client.ready().contains(Ready::WRITE));
    assert_eq!(receive(&*server, 600).unwrap().0.len(), 600);
    assert!(client.ready().contains(Ready::WRITE));
    assert_eq!(send(&*client, &[1; 900], NONE), Ok(600));
    assert_eq!(server.readable_bytes(), Ok(1000));
}

#[test]
fn the_numbers_of_bytes_wrap() {
    let (client, server, _listener) = pair(Kind::Stream);
    let any: &dyn core::any::Any = &*server;
    let theirs: &VsockSocket = any.downcast_ref().unwrap();
    let near = u32::MAX - 10;
    {
        let mut state = client.state.lock();
        state.credit.jump(near);
    }
    theirs.state.lock().credit.jump(near);
    for _ in 0..10 {
        assert_eq!(send(&*client, &[1; 5000], NONE), Ok(5000));
        assert_eq!(receive(&*server, 9000).unwrap().0.len(), 5000);
    }
    assert_eq!(client.state.lock().credit.space(), 256 << 10);
}

#[test]
fn messages_keep_their_borders() {
    let (client, server, _listener) = pair(Kind::Sequence);
    let long: Vec<u8> = (0..10_000).map(|number| number as u8).collect();
    assert_eq!(send(&*client, &long, MessageFlags::END_OF_RECORD), Ok(10_000));
    assert_eq!(send(&*client, b"cut", NONE), Ok(3));
    assert_eq!(send(&*client, &vec![0; 300 << 10], NONE), Err(Errno::EMSGSIZE));
    assert_eq!(receive(&*server, 20_000), Ok((long, MessageFlags::END_OF_RECORD)));
    assert_eq!(receive(&*server, 2), Ok((b"cu".to_vec(), MessageFlags::CUT)));
    assert_eq!(receive(&*server, 2), Err(Errno::EAGAIN));
}

#[test]
fn a_peer_that_sends_more_than_it_may_loses_the_connection() {
    let (client, server, _listener) = pair(Kind::Stream);
    let mut state = client.state.lock();
    state.credit.forget_bounds();
    drop(state);
    for _ in 0..4 {
        assert_eq!(send(&*client, &vec![0; 64 << 10], NONE), Ok(64 << 10));
    }
    assert_eq!(send(&*client, b"x", NONE), Ok(1));
    assert_eq!(send(&*client, b"x", NONE), Err(Errno::EPIPE));
    assert_eq!(server.take_error(), Some(Errno::ECONNRESET));
}

#[test]
fn a_place_is_taken_once_but_at_two_addresses() {
    let at = |cid, port| Place { port, cid };
    let sockets: Vec<_> = (0..3).map(|_| VsockSocket::new(Kind::Stream, Settings::default())).collect();
    let port = table::bind(&sockets[0].me, at(CID_LOCAL, PORT_ANY)).unwrap().port;
    assert_eq!(table::bind(&sockets[1].me, at(CID_LOCAL, port)), Err(Errno::EADDRINUSE));
    assert_eq!(table::bind(&sockets[1].me, at(CID_ANY, port)), Err(Errno::EADDRINUSE));
    assert_eq!(table::bind(&sockets[1].me, at(7, port)), Ok(at(7, port)));
    for socket in &sockets {
        socket.close();
    }
    assert_eq!(table::bind(&sockets[2].me, at(CID_ANY, port)), Ok(at(CID_ANY, port)));
    sockets[2].close();
}

#[test]
fn settings_keep_to_their_bounds() {
    let mut settings = Settings::default();
    settings.set(0, &(1u64 << 40).to_le_bytes()).unwrap();
    assert_eq!(settings.size, 256 << 10);
    settings.set(2, &(1u64 << 40).to_le_bytes()).unwrap();
    settings.set(0, &(1u64 << 30).to_le_bytes()).unwrap();
    assert_eq!(settings.size, 1 << 30);
    settings.set(0, &1u64.to_le_bytes()).unwrap();
    assert_eq!(settings.size, 128);
    assert_eq!(settings.set(0, &[0; 7]), Err(Errno::EINVAL));
    let time = |seconds: i64, microseconds: i64| [seconds, microseconds].map(i64::to_le_bytes).concat();
    settings.set(6, &time(3, 500_000)).unwrap();
    assert_eq!(settings.get(8), Ok(time(3, 500_000)));
    assert_eq!(settings.set(6, &time(-1, 0)), Err(Errno::ERANGE));
    assert_eq!(settings.set(6, &time(0, 1_000_000)), Err(Errno::ERANGE));
}
