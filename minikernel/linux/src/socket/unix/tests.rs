use super::*;
use crate::fail::errno;
use crate::poll::{self, FOREVER};
use crate::socket::new_file;
use crate::testing::{self, Task};
use alloc::vec;
use core::task::Poll;
use isopod_fs::file::OpenFlags;
use isopod_fs::{Buffer, Bytes};
use proptest::prelude::*;

/// A socket and its open file.
type Open = (Arc<UnixSocket>, Arc<OpenFile>);

fn open(socket: Arc<UnixSocket>, owner: &Thread) -> Open {
    let file = new_file(Arc::clone(&socket) as _, OpenFlags::empty(), owner).unwrap();
    (socket, file)
}

fn connected_by(owner: &Thread, kind: Kind) -> [Open; 2] {
    let (one, other) = pair(kind, owner);
    [open(one, owner), open(other, owner)]
}

fn connected(kind: Kind) -> [Open; 2] {
    connected_by(&testing::thread(), kind)
}

fn send_with(socket: &UnixSocket, bytes: &[u8], files: &[&Arc<OpenFile>]) -> Result<usize, Errno> {
    let mut message = Outgoing::default();
    if !files.is_empty() {
        let files = files.iter().map(|file| Arc::clone(file)).collect();
        message.rights = Rights::new(files, 0, u64::MAX)?;
    }
    socket.send(&mut message, &mut Bytes::new(bytes)).map_err(errno)
}

fn send(socket: &UnixSocket, bytes: &[u8]) -> Result<usize, Errno> {
    send_with(socket, bytes, &[])
}

fn receive(socket: &UnixSocket, room: usize, flags: MessageFlags) -> Result<Vec<u8>, Errno> {
    let mut bytes = vec![0; room];
    let mut message = Incoming::new(flags | MessageFlags::DONT_WAIT);
    let count = socket.receive(&mut message, &mut Buffer::new(&mut bytes))?;
    bytes.truncate(count);
    Ok(bytes)
}

#[test]
fn a_waiting_read_is_woken_once_by_bytes_and_by_the_end() {
    let [(_, reader), (sender, writer)] = connected(Kind::Stream);
    let thread = testing::thread();
    let read = || reader.read(&mut Buffer::new(&mut [0; 8]));
    let mut task = Task::new(poll::until_ready(&thread, &reader, FOREVER, read));
    assert_eq!(task.poll(), Poll::Pending);
    send(&sender, b"abc").unwrap();
    assert_eq!((task.wakes(), task.poll()), (1, Poll::Ready(Ok(3))));
    let mut task = Task::new(poll::until_ready(&thread, &reader, FOREVER, read));
    assert_eq!(task.poll(), Poll::Pending);
    drop(writer);
    assert_eq!((task.wakes() > 0, task.poll()), (true, Poll::Ready(Ok(0))));
}

#[test]
fn a_writer_is_woken_when_most_of_the_buffer_is_free_again_and_not_before() {
    let [(one, writer), (other, _reader)] = connected(Kind::Stream);
    let thread = testing::thread();
    let credentials = thread.identity().for_files();
    while send(&one, &[1; 10_000]).is_ok() {}
    let write = || writer.write(&credentials, &mut Bytes::new(b"x"));
    let mut task = Task::new(poll::until_ready(&thread, &writer, FOREVER, write));
    assert_eq!(task.poll(), Poll::Pending);
    let buffer = one.common.options.send_buffer();
    receive(&other, buffer / 2, MessageFlags::empty()).unwrap();
    assert_eq!(task.wakes(), 0);
    receive(&other, buffer / 3, MessageFlags::empty()).unwrap();
    assert_eq!((task.wakes(), task.poll()), (1, Poll::Ready(Ok(1))));
}

#[test]
fn senders_to_a_full_queue_get_their_turns_in_order() {
    testing::install_kernel();
    let caller = testing::thread();
    let (server, _file) = open(UnixSocket::new(Kind::Datagram), &caller);
    let name = Address::new(AF_UNIX, b"\0full");
    server.bind(&caller, &name).unwrap();
    let clients: Vec<Open> = (0..3).map(|_| open(UnixSocket::new(Kind::Datagram), &caller)).collect();
    for (client, _) in &clients {
        client.connect(&caller, &name, true).unwrap();
    }
    while send(&clients[0].0, b"x").is_ok() {}
    let credentials = caller.identity().for_files();
    let mut tasks: Vec<_> = clients
        .iter()
        .map(|(_, file)| {
            let write = || file.write(&credentials, &mut Bytes::new(b"y"));
            Task::new(poll::until_ready(&caller, file, FOREVER, write))
        })
        .collect();
    for task in &mut tasks {
        assert_eq!(task.poll(), Poll::Pending);
    }
    for turn in 0..3 {
        receive(&server, 1, MessageFlags::empty()).unwrap();
        let woken: Vec<_> = tasks.iter().map(Task::wakes).collect();
        assert_eq!(woken.iter().sum::<usize>(), turn + 1, "{woken:?}");
        assert_eq!(tasks[turn].poll(), Poll::Ready(Ok(1)));
    }
}

#[test]
fn what_nobody_receives_is_given_back_to_its_sender() {
    for kind in [Kind::Stream, Kind::Datagram, Kind::Sequence] {
        let [(one, _file), (other, closing)] = connected(kind);
        send(&one, &[0; 1000]).unwrap();
        assert!(one.charged.load(Ordering::Relaxed) >= 1000);
        drop(closing);
        assert_eq!(one.charged.load(Ordering::Relaxed), 0);
        assert_eq!(other.state.lock().bytes.len(), 0);
    }
}

/// How many sockets of a graph are left once nobody refers to them: `edges` are pairs of a receiver and what waits in its queue, `held` are those with
/// a descriptor.
fn left_of(sockets: usize, edges: &[(usize, usize)], held: &[usize]) -> Vec<bool> {
    let owner = testing::thread();
    let mut ends: Vec<[Open; 2]> = (0..sockets).map(|_| connected_by(&owner, Kind::Datagram)).collect();
    for &(receiver, waiting) in edges {
        let file = Arc::clone(&ends[waiting][1].1);
        // One message is the most that can be told apart; all of them fit.
        send_with(&ends[receiver][0].0, b"x", &[&file]).unwrap();
    }
    let inner: Vec<Arc<UnixSocket>> = ends.iter().map(|[_, (socket, _)]| Arc::clone(socket)).collect();
    let kept: Vec<Arc<OpenFile>> = held.iter().map(|&index| Arc::clone(&ends[index][1].1)).collect();
    ends.clear();
    // Searches come after closes, not after each when many are in flight.
    for _ in 0..sockets {
        drop(connected_by(&owner, Kind::Stream));
    }
    let left = inner.iter().map(|socket| !socket.state.lock().dead).collect();
    drop(kept);
    left
}

/// What can be come to from those with a descriptor, by receiving.
fn reachable(sockets: usize, edges: &[(usize, usize)], held: &[usize]) -> Vec<bool> {
    let mut reached = vec![false; sockets];
    for &index in held {
        reached[index] = true;
    }
    for _ in 0..sockets {
        for &(receiver, waiting) in edges {
            reached[waiting] |= reached[receiver];
        }
    }
    reached
}

#[test]
fn a_socket_in_its_own_queue_goes() {
    assert_eq!(left_of(1, &[(0, 0)], &[]), [false]);
    assert_eq!(left_of(1, &[(0, 0)], &[0]), [true]);
    assert_eq!(left_of(3, &[(0, 1), (1, 2), (2, 0)], &[]), [false; 3]);
    assert_eq!(left_of(3, &[(0, 1), (1, 0), (0, 2)], &[2]), [false, false, true]);
}

#[test]
fn a_chain_of_sockets_needs_no_stack() {
    let owner = testing::thread();
    let [_, (last, mut held)] = connected_by(&owner, Kind::Datagram);
    for _ in 0..20_000 {
        let [(one, _closing), (_, other)] = connected_by(&owner, Kind::Datagram);
        send_with(&one, b"x", &[&held]).unwrap();
        held = other;
    }
    assert!(!last.state.lock().dead);
    drop(held);
    assert!(last.state.lock().dead);
}

/// A step of a program with a pair of sockets.
#[derive(Debug, Clone)]
enum Step {
    Send(usize, bool),
    Receive(usize),
    Peek(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (0..9000usize, any::<bool>()).prop_map(|(length, file)| Step::Send(length, file)),
        (1..12_000usize).prop_map(Step::Receive),
        (1..12_000usize).prop_map(Step::Peek),
    ];
    prop::collection::vec(step, 1..80)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn circles_go_and_all_else_stays(
        edges in prop::collection::vec((0..6usize, 0..6usize), 0..14),
        held in prop::collection::vec(0..6usize, 0..3),
    ) {
        testing::install_kernel();
        let mut edges = edges;
        edges.sort_unstable();
        edges.dedup();
        prop_assert_eq!(left_of(6, &edges, &held), reachable(6, &edges, &held));
    }

    #[test]
    fn a_stream_is_a_queue_of_bytes_with_files_at_their_places(steps in steps()) {
        testing::install_kernel();
        let [(one, file), (other, _other)] = connected(Kind::Stream);
        // Runs of bytes, and whether files came with the first of them.
        let mut model: VecDeque<(Vec<u8>, bool)> = VecDeque::new();
        let mut next = 0u8;
        for step in steps {
            match step {
                Step::Send(length, with_file) => {
                    next = next.wrapping_add(1);
                    let bytes = vec![next; length];
                    let files = [&file];
                    let waiting: usize = model.iter().map(|run| run.0.len()).sum();
                    let room = one.common.options.send_buffer() - waiting;
                    let sent = send_with(&one, &bytes, if with_file { &files } else { &[] });
                    let expected = match (length, room) {
                        (0, _) => Ok(0),
                        (_, 0) => Err(Errno::EAGAIN),
                        _ => Ok(length.min(room)),
                    };
                    prop_assert_eq!(sent, expected);
                    if let Ok(count @ 1..) = expected {
                        model.push_back((bytes[..count].to_vec(), with_file));
                    }
                }
                Step::Receive(room) | Step::Peek(room) => {
                    let peeks = matches!(step, Step::Peek(_));
                    let flags = if peeks { MessageFlags::PEEK } else { MessageFlags::empty() };
                    let mut bytes = vec![0; room];
                    let mut message = Incoming::new(flags | MessageFlags::DONT_WAIT);
                    let got = other.receive(&mut message, &mut Buffer::new(&mut bytes));
                    let files = message.take_files().len();
                    let (mut expected, mut with_file) = (Vec::new(), false);
                    let mut seen = model.clone();
                    while let Some((run, file)) = seen.front_mut() {
                        let step = run.len().min(room - expected.len());
                        if step == 0 {
                            break;
                        }
                        expected.extend(run.drain(..step));
                        with_file |= core::mem::take(file);
                        let whole = run.is_empty();
                        if whole {
                            seen.pop_front();
                        }
                        if with_file && (whole || peeks) {
                            break;
                        }
                    }
                    if expected.is_empty() {
                        prop_assert_eq!(got, Err(Errno::EAGAIN));
                    } else {
                        prop_assert_eq!(got, Ok(expected.len()));
                        prop_assert!(bytes[..expected.len()] == expected[..]);
                        prop_assert_eq!(files, usize::from(with_file));
                    }
                    if !peeks {
                        model = seen;
                    }
                }
            }
            let waiting: usize = model.iter().map(|run| run.0.len()).sum();
            prop_assert_eq!(other.readable_bytes().unwrap(), waiting);
            prop_assert_eq!(one.charged.load(Ordering::Relaxed), waiting);
        }
    }
}
