use super::*;
use crate::chunk::Chunk;
use crate::tcp::{Claim, Connection, Error, Events, Listener, Observer, Scope, Send, SocketOptions, Stream};
use alloc::sync::Arc;
use std::net::Ipv4Addr;
use std::vec;

#[derive(Debug)]
struct Nobody;

impl Observer for Nobody {
    fn notify(&self, _: Events) {}
}

const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A network in which no time passes.
struct Net {
    stack: Stack,
}

impl Net {
    fn new() -> Self {
        Self { stack: Stack::new(|| 4711) }
    }

    fn run<T>(&self, action: impl FnOnce(&Stack, &mut Below<'_>) -> T) -> T {
        let mut out = Outbox::new(1_000_000_000);
        let outcome = action(&self.stack, &mut Below { stack: &self.stack, out: &mut out });
        self.stack.deliver(&mut out);
        outcome
    }

    fn listen(&self) -> Arc<Listener> {
        let claim = Claim::new(Scope::Ipv4);
        let binding = self.stack.tcp.bind(80, claim).unwrap();
        self.stack.tcp.listen(binding, Scope::Ipv4, 5, SocketOptions::default(), Arc::new(Nobody)).unwrap()
    }

    fn connect(&self) -> Arc<Stream> {
        let flow = Flow { local: Endpoint::new(LOCAL, 0), remote: Endpoint::new(LOCAL, 80) };
        let options = SocketOptions::default();
        self.run(|stack, below| {
            let now = below.out.now;
            stack.tcp.connect(flow, None, &options, Arc::new(Nobody), now, below).unwrap()
        })
    }

    fn with<T>(&self, stream: &Stream, action: impl FnOnce(&mut Connection, u64, &mut Below<'_>) -> T) -> T {
        self.run(|stack, below| {
            let now = below.out.now;
            stream.with(&stack.tcp, now, |connection| action(connection, now, below))
        })
    }
}

#[test]
fn what_was_written_can_be_read_without_time_passing() {
    let net = Net::new();
    let listener = net.listen();
    let client = net.connect();
    let server = listener.accept().unwrap();
    let mut sent = 0;
    while let room @ 1.. = client.look(Connection::room).min(65_536) {
        let bytes = Chunk::copy_of(&vec![7; room]).unwrap();
        net.with(&client, |connection, now, out| connection.send(now, bytes, Send::default(), out)).unwrap();
        sent += room;
    }
    let mut received = 0;
    while let Ok(count) = net.with(&server, |connection, now, out| {
        connection.read(now, &mut |bytes: &[u8]| bytes.len().min(70_000), out)
    }) {
        received += count;
    }
    assert_eq!(received, sent, "{:?}", client.look(|connection| connection.info(1_000_000_000)));
}

#[test]
fn nobody_listens() {
    let net = Net::new();
    let client = net.connect();
    assert_eq!(net.with(&client, |connection, _, _| connection.take_error()), Some(Error::Refused));
}
