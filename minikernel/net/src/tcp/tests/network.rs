//! Two hosts and a network between them that loses, reorders, duplicates and delays, in simulated time.

use alloc::sync::Arc;
use core::net::{IpAddr, Ipv4Addr};
use std::collections::VecDeque;
use std::vec::Vec;

use crate::chunk::{Chunk, Chunks};
use crate::tcp::{
    Claim, Connection, Endpoint, Error, Events, Flow, Listener, MILLISECOND, Observer, Output, Path, SECOND,
    Scope, SegmentHeader, Send, SocketOptions, Stream, Tcp,
};

/// How the network treats segments; probabilities are per thousand.
#[derive(Clone, Debug)]
pub struct Link {
    pub delay: u64,
    /// How much longer than `delay` a segment may take.
    pub jitter: u64,
    pub loss: u64,
    pub duplicates: u64,
    /// Bytes in a millisecond; zero for no limit.
    pub rate: u64,
    /// Bytes that wait for their turn where there is a limit; more are dropped.
    pub queue: u64,
    pub mss: u16,
    /// The largest payload that the device cuts.
    pub burst: u32,
    /// Whether it is a loopback device, which hands such payloads over whole.
    pub whole: bool,
}

impl Default for Link {
    fn default() -> Self {
        Self {
            delay: 10 * MILLISECOND,
            jitter: 0,
            loss: 0,
            duplicates: 0,
            rate: 0,
            queue: 100_000,
            mss: 1460,
            burst: 65_000,
            whole: false,
        }
    }
}

/// A segment on its way, as bytes.
#[derive(Clone, Debug)]
pub struct Segment {
    pub to: usize,
    pub header: SegmentHeader,
    pub payload: Vec<u8>,
    at: u64,
    order: u64,
}

#[derive(Debug)]
pub struct Ignore;

impl Observer for Ignore {
    fn notify(&self, _: Events) {}
}

/// What a host sends, before the network has it.
pub struct Outbox {
    path: Path,
    segments: Vec<(Flow, SegmentHeader, Vec<u8>)>,
}

impl Output for Outbox {
    fn segment(&mut self, flow: &Flow, header: &SegmentHeader, payload: Chunks) {
        let bytes = payload.iter().flat_map(|chunk| chunk.to_vec()).collect();
        self.segments.push((*flow, header.clone(), bytes));
    }

    fn path(&self, _: &Flow) -> Path {
        self.path
    }
}

/// Decides which segments are lost, by what they are; true loses one.
pub type Filter = alloc::boxed::Box<dyn FnMut(&Segment) -> bool>;

pub struct Network {
    pub now: u64,
    pub hosts: [Tcp; 2],
    pub link: Link,
    /// Everything that was sent: when, and what.
    pub log: Vec<(u64, Segment)>,
    pub filter: Option<Filter>,
    wire: Vec<Segment>,
    busy_until: [u64; 2],
    random: u64,
    order: u64,
    /// Events at this moment.
    still: u32,
}

pub fn address(host: usize) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, 1 + host as u8).into()
}

impl Network {
    pub fn new(seed: u64, link: Link) -> Self {
        let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut tcp = || Tcp::new(core::array::from_fn(|_| next(&mut random)));
        let hosts = [tcp(), tcp()];
        Self {
            now: SECOND,
            hosts,
            link,
            log: Vec::new(),
            filter: None,
            wire: Vec::new(),
            busy_until: [0; 2],
            random,
            order: 0,
            still: 0,
        }
    }

    /// Does something at a host and sends what it says.
    pub fn at<R>(&mut self, host: usize, action: impl FnOnce(&Tcp, u64, &mut dyn Output) -> R) -> R {
        let path = Path { mss: self.link.mss, burst: self.link.burst };
        let mut out = Outbox { path, segments: Vec::new() };
        let result = action(&self.hosts[host], self.now, &mut out);
        for (flow, header, payload) in out.segments {
            assert_eq!((flow.local.address, flow.local.port), (address(host), header.source));
            self.send(1 - host, &header, &payload);
        }
        result
    }

    /// Gives a connection something to do.
    pub fn with<R>(
        &mut self,
        host: usize,
        stream: &Stream,
        action: impl FnOnce(&mut Connection, u64, &mut dyn Output) -> R,
    ) -> R {
        self.at(host, |tcp, now, out| stream.with(tcp, now, |connection| action(connection, now, out)))
    }

    /// Sends a segment to a host, cut as a device would.
    pub fn send(&mut self, to: usize, header: &SegmentHeader, payload: &[u8]) {
        let size = usize::from(header.segment_size);
        if size == 0 || self.link.whole {
            return self.transmit(to, header.clone(), payload);
        }
        let mut rest = payload;
        let mut offset = 0;
        while !rest.is_empty() {
            let (part, after) = rest.split_at(size.min(rest.len()));
            let mut header =
                SegmentHeader { sequence: header.sequence + offset, segment_size: 0, ..header.clone() };
            if !after.is_empty() {
                header.flags -= crate::tcp::Flags::FIN | crate::tcp::Flags::PSH;
            }
            self.transmit(to, header, part);
            offset += part.len() as u32;
            rest = after;
        }
    }

    fn transmit(&mut self, to: usize, header: SegmentHeader, payload: &[u8]) {
        assert!(
            payload.len() + header.encoded_len() - 20 <= usize::from(self.link.mss) || self.link.whole,
            "too long for the path"
        );
        self.order += 1;
        let segment = Segment { to, header, payload: payload.into(), at: 0, order: self.order };
        self.log.push((self.now, segment.clone()));
        let lost = self.filter.as_mut().is_some_and(|filter| filter(&segment)) || self.chance(self.link.loss);
        if lost {
            return;
        }
        let mut at = self.now;
        if self.link.rate > 0 {
            let busy = self.busy_until[to].max(self.now);
            if (busy - self.now) / MILLISECOND * self.link.rate > self.link.queue {
                return;
            }
            at = busy + (segment.payload.len() as u64 + 40) * MILLISECOND / self.link.rate;
            self.busy_until[to] = at;
        }
        let copies = if self.chance(self.link.duplicates) { 2 } else { 1 };
        for _ in 0..copies {
            let jitter = if self.link.jitter > 0 { next(&mut self.random) % self.link.jitter } else { 0 };
            self.wire.push(Segment { at: at + self.link.delay + jitter, ..segment.clone() });
        }
    }

    fn chance(&mut self, per_thousand: u64) -> bool {
        per_thousand > 0 && next(&mut self.random) % 1000 < per_thousand
    }

    /// Goes on to the next thing that happens, but not beyond `limit`. False when nothing happens until then.
    pub fn step(&mut self, limit: u64) -> bool {
        let arrival = (0..self.wire.len()).min_by_key(|&index| (self.wire[index].at, self.wire[index].order));
        let due = (0..2).filter_map(|host| self.hosts[host].deadline().map(|at| (at, host))).min();
        let arrives = arrival.map_or(u64::MAX, |index| self.wire[index].at);
        let next = arrives.min(due.map_or(u64::MAX, |due| due.0));
        if next > limit {
            self.now = limit;
            return false;
        }
        self.still = if next > self.now { 0 } else { self.still + 1 };
        assert!(self.still < 10_000, "time stands still\n{}", self.last_segments());
        self.now = self.now.max(next);
        match (arrival, due) {
            (Some(index), _) if arrives == next => {
                let segment = self.wire.swap_remove(index);
                self.deliver(segment);
            }
            (_, Some((_, host))) => {
                self.at(host, |tcp, now, out| tcp.expire(now, out));
            }
            _ => {}
        }
        true
    }

    /// Through the wire format, as on a real network, unless the segment is one that no wire carries.
    fn deliver(&mut self, segment: Segment) {
        let Segment { to, mut header, payload, .. } = segment;
        if header.segment_size == 0 {
            let mut bytes = [0; SegmentHeader::MAX_LEN];
            header.emit(&mut bytes[..header.encoded_len()]);
            header = SegmentHeader::parse(&bytes).unwrap().0;
        }
        let flow = Flow {
            local: Endpoint::new(address(to), header.destination),
            remote: Endpoint::new(address(1 - to), header.source),
        };
        let payload = Chunks::from(Chunk::copy_of(&payload).unwrap());
        self.at(to, |tcp, now, out| tcp.receive(now, &flow, &header, payload, out));
    }

    /// Lets time pass.
    pub fn run(&mut self, duration: u64) {
        let limit = self.now + duration;
        while self.step(limit) {}
    }

    /// Lets time pass until something holds, which is asked at every event and every 10 ms, and fails if it takes too long.
    pub fn until(&mut self, limit: u64, what: &str, mut holds: impl FnMut(&mut Self) -> bool) {
        let limit = self.now + limit;
        while !holds(self) {
            assert!(self.now < limit, "{what}: not in time\n{}", self.last_segments());
            self.step(limit.min(self.now + 10 * MILLISECOND));
        }
    }

    /// The end of the log, to see why a test fails.
    fn last_segments(&self) -> std::string::String {
        let last = &self.log[self.log.len().saturating_sub(40)..];
        let line = |(at, Segment { to, header, payload, .. }): &(u64, Segment)| {
            let SegmentHeader { sequence, acknowledgment, flags, window, options, .. } = header;
            let milliseconds = at / MILLISECOND;
            std::format!(
                "{milliseconds} ms to {to}: {flags:?} {}+{} ack {} window {window} {:?}\n",
                sequence.0,
                payload.len(),
                acknowledgment.0,
                options.sack
            )
        };
        last.iter().map(line).collect()
    }

    pub fn listen(
        &mut self,
        host: usize,
        port: u16,
        backlog: usize,
        options: SocketOptions,
    ) -> Arc<Listener> {
        let claim = Claim::new(Scope::Ipv4);
        let tcp = &self.hosts[host];
        let binding = tcp.bind(port, claim).unwrap();
        tcp.listen(binding, Scope::Ipv4, backlog, options, Arc::new(Ignore)).unwrap()
    }

    pub fn connect(&mut self, port: u16, options: &SocketOptions) -> Result<Arc<Stream>, Error> {
        let flow = Flow { local: Endpoint::new(address(0), 0), remote: Endpoint::new(address(1), port) };
        self.at(0, |tcp, now, out| tcp.connect(flow, None, options, Arc::new(Ignore), now, out))
    }

    /// An established connection: the client's end and the server's.
    pub fn pair(&mut self, client: &SocketOptions, server: SocketOptions) -> [Arc<Stream>; 2] {
        let listener = self.listen(1, 80, 16, server);
        let ends = self.pair_with(&listener, client);
        self.at(1, |tcp, now, out| listener.close(tcp, now, out));
        ends
    }

    pub fn pair_with(&mut self, listener: &Listener, client: &SocketOptions) -> [Arc<Stream>; 2] {
        let stream = self.connect(listener.port(), client).unwrap();
        let mut accepted = None;
        self.until(300 * SECOND, "handshake", |_| {
            accepted = accepted.take().or_else(|| listener.accept());
            accepted.is_some()
        });
        [stream, accepted.unwrap()]
    }

    /// Writes as much as there is room for; returns how much.
    pub fn write(&mut self, host: usize, stream: &Stream, bytes: &[u8]) -> Result<usize, Error> {
        self.with(host, stream, |connection, now, out| {
            let count = connection.room().min(bytes.len());
            connection
                .send(now, Chunk::copy_of(&bytes[..count]).unwrap(), Send::default(), out)
                .map(|()| count)
        })
    }

    /// Reads what there is, at most `limit` bytes.
    pub fn read(&mut self, host: usize, stream: &Stream, limit: usize) -> Result<Vec<u8>, Error> {
        self.with(host, stream, |connection, now, out| read(connection, now, limit, out))
    }

    pub fn shut_down(&mut self, host: usize, stream: &Stream) {
        self.with(host, stream, |connection, now, out| connection.shut_down(now, false, true, out));
    }

    pub fn close(&mut self, host: usize, stream: &Stream) {
        self.with(host, stream, |connection, now, out| connection.close(now, out));
    }

    /// Sends `bytes` each way over both ends at once, reading at most `step` bytes at a time, and compares; then closes.
    pub fn exchange(&mut self, ends: &[Arc<Stream>; 2], bytes: usize, step: usize) {
        let data: [Vec<u8>; 2] =
            core::array::from_fn(|_| (0..bytes).map(|_| next(&mut self.random) as u8).collect());
        let mut left: [VecDeque<u8>; 2] =
            [data[0].iter().copied().collect(), data[1].iter().copied().collect()];
        let mut came = [Vec::new(), Vec::new()];
        let mut closed = [false; 2];
        self.until(3600 * SECOND, "exchange", |network| {
            for host in 0..2 {
                if !left[host].is_empty() {
                    let part: Vec<u8> = left[host].iter().copied().take(step).collect();
                    match network.write(host, &ends[host], &part) {
                        Ok(count) => drop(left[host].drain(..count)),
                        Err(error) => assert_eq!(error, Error::WouldBlock),
                    }
                    if left[host].is_empty() {
                        network.shut_down(host, &ends[host]);
                    }
                }
                if !closed[host] {
                    match network.read(host, &ends[host], step) {
                        Ok(part) if part.is_empty() => closed[host] = true,
                        Ok(part) => came[host].extend(part),
                        Err(error) => assert_eq!(error, Error::WouldBlock),
                    }
                }
            }
            closed == [true; 2]
        });
        assert!(came[1] == data[0] && came[0] == data[1], "not what was sent");
        for (host, end) in ends.iter().enumerate() {
            self.close(host, end);
        }
    }
}

/// xorshift64.
pub fn next(random: &mut u64) -> u64 {
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    *random
}

/// A device that sends nothing.
pub struct Sink;

impl Output for Sink {
    fn segment(&mut self, _: &Flow, _: &SegmentHeader, _: Chunks) {}

    fn path(&self, _: &Flow) -> Path {
        Path { mss: 1460, burst: 0 }
    }
}

/// Reads what there is, at most `limit` bytes.
pub fn read(
    connection: &mut Connection,
    now: u64,
    limit: usize,
    out: &mut dyn Output,
) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let mut sink = |part: &[u8]| {
        let count = part.len().min(limit - bytes.len());
        bytes.extend_from_slice(&part[..count]);
        count
    };
    connection.read(now, &mut sink, out)?;
    Ok(bytes)
}
