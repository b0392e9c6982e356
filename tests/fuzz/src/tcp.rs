//! A peer that says anything, and a program that does anything meanwhile. Numbers are near those that are expected, or hardly a segment would get
//! beyond the first check; headers go through the wire format.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use isopod_net::chunk::{Chunk, Chunks};
use isopod_net::tcp::{
    Claim, Endpoint, Error, Events, Flags, Flow, Listener, Observer, Output, Path, Readiness, Scope,
    SegmentHeader, Send, Seq, SocketOptions, State, Stream, Tcp,
};

const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const REMOTE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));
const MILLISECOND: u64 = 1_000_000;

/// What the peer knows of us: the numbers of the last segment.
#[derive(Default)]
struct Wire {
    next: Seq,
    expected: Seq,
    count: usize,
}

impl Output for Wire {
    fn segment(&mut self, _: &Flow, header: &SegmentHeader, payload: Chunks) {
        let mut bytes = [0; SegmentHeader::MAX_LEN];
        header.emit(&mut bytes);
        let (read, _) = SegmentHeader::parse(&bytes).expect("our own header");
        assert_eq!(read.options, header.options);
        assert!(header.segment_size > 0 || payload.len() <= 1460, "longer than the path takes");
        self.next = header.sequence + header.sequence_length(payload.len());
        if header.flags.contains(Flags::ACK) {
            self.expected = header.acknowledgment;
        }
        self.count += 1;
    }

    fn path(&self, _: &Flow) -> Path {
        Path { mss: 1460, burst: 20_000 }
    }
}

#[derive(Debug)]
struct Ignore;

impl Observer for Ignore {
    fn notify(&self, _: Events) {}
}

struct Machine {
    tcp: Tcp,
    now: u64,
    wire: Wire,
    listener: Arc<Listener>,
    stream: Option<Arc<Stream>>,
    ports: (u16, u16),
    /// What was read last, as long as nothing is urgent: the bytes of the peer's stream are its sequence numbers.
    last: Option<u8>,
    urgent: bool,
    reached: usize,
}

/// How many bytes were read, and how many connections came to an end.
pub fn run(data: &[u8]) -> usize {
    let tcp = Tcp::new([3; 10]);
    let claim = Claim { reuse_address: true, ..Claim::new(Scope::Any) };
    let binding = tcp.bind(80, claim).expect("a free port");
    let options = SocketOptions::default();
    let listener =
        tcp.listen(binding, Scope::Any, 1, options, Arc::new(Ignore)).expect("nobody else listens");
    let wire = Wire::default();
    let ports = (80, 5000);
    let now = 1_000_000 * MILLISECOND;
    let mut machine =
        Machine { tcp, now, wire, listener, stream: None, ports, last: None, urgent: false, reached: 0 };
    let mut steps = data;
    while let Some((step, rest)) = steps.split_first_chunk::<8>() {
        steps = machine.step(*step, rest);
    }
    // Whatever happened, silence ends everything that nobody has open.
    machine.program(7, 1);
    for _ in 0..60 {
        machine.wait(60_000);
    }
    let mut left = 0;
    machine.tcp.each(&mut |_| left += 1);
    assert!(left <= machine.listener.waiting().0, "only what was not accepted is left");
    machine.reached
}

impl Machine {
    fn step<'a>(
        &mut self,
        [what, flags, sequence, acknowledgment, window, len, options, more]: [u8; 8],
        rest: &'a [u8],
    ) -> &'a [u8] {
        match what % 8 {
            0..4 => {
                let options = usize::from(options % 11) * 4;
                let (options, rest) = rest.split_at(options.min(rest.len() / 4 * 4));
                let near = |delta: u8, shift: u8| (i32::from(delta as i8) << (shift % 4 * 4)) as u32;
                let sequence = self.wire.expected + near(sequence, more);
                let acknowledgment = self.wire.next + near(acknowledgment, more >> 2);
                let len = usize::from(len) << (more >> 5);
                self.segment(flags, sequence, acknowledgment, u16::from(window) << (more >> 4), len, options);
                return rest;
            }
            4 => self.wait(u64::from(len) << (more % 12)),
            5 => self.router(sequence, window, more),
            6 => self.connect(),
            _ => self.program(more, u16::from(len) << (window % 8)),
        }
        rest
    }

    fn flow(&self) -> Flow {
        Flow { local: Endpoint::new(LOCAL, self.ports.0), remote: Endpoint::new(REMOTE, self.ports.1) }
    }

    fn segment(
        &mut self,
        flags: u8,
        sequence: Seq,
        acknowledgment: Seq,
        window: u16,
        len: usize,
        options: &[u8],
    ) {
        let header = SegmentHeader {
            source: self.ports.1,
            destination: self.ports.0,
            sequence,
            acknowledgment,
            flags: Flags::from_bits_truncate(flags),
            window,
            urgent: len as u16 / 2,
            ..SegmentHeader::default()
        };
        self.urgent |= header.flags.contains(Flags::URG);
        let mut bytes = [0; SegmentHeader::MAX_LEN];
        header.emit(&mut bytes);
        bytes[12] = ((5 + options.len() / 4) << 4) as u8;
        bytes[20..20 + options.len()].copy_from_slice(options);
        let (header, _) = SegmentHeader::parse(&bytes).expect("a header that is long enough");
        let first = sequence + u32::from(header.flags.contains(Flags::SYN));
        let payload: Vec<u8> = (0..len as u32).map(|offset| (first + offset).0 as u8).collect();
        let payload = Chunks::from(Chunk::from(payload));
        let flow = self.flow();
        self.tcp.receive(self.now, &flow, &header, payload, &mut self.wire);
    }

    fn wait(&mut self, milliseconds: u64) {
        self.now += milliseconds * MILLISECOND;
        let calls = (0..1000).find(|_| self.tcp.expire(self.now, &mut self.wire));
        assert!(calls.is_some(), "time stands still");
    }

    fn router(&mut self, sequence: u8, size: u8, what: u8) {
        let quoted = self.wire.next - u32::from(sequence);
        let flow = self.flow();
        if what % 2 == 0 {
            self.tcp.path_changed(self.now, &flow, quoted, u16::from(size) << 3, &mut self.wire);
        } else {
            self.tcp.unreachable(self.now, &flow, quoted, Error::HostUnreachable);
        }
    }

    /// From here on the segments are those of this connection.
    fn connect(&mut self) {
        let flow = Flow { local: Endpoint::new(LOCAL, 0), remote: Endpoint::new(REMOTE, 5000) };
        let options = SocketOptions { keep_alive: true, ..SocketOptions::default() };
        self.program(7, 1);
        let stream = self.tcp.connect(flow, None, &options, Arc::new(Ignore), self.now, &mut self.wire);
        if let Ok(stream) = stream {
            self.ports.0 = stream.flow().local.port;
            self.stream = Some(stream);
            self.last = None;
        }
    }

    fn program(&mut self, what: u8, len: u16) {
        if self.stream.is_none() {
            self.stream = self.listener.accept();
            self.last = None;
        }
        let Some(stream) = self.stream.take() else { return };
        let Self { tcp, now, wire, last, reached, urgent, .. } = self;
        let now = *now;
        stream.with(tcp, now, |connection| match what % 8 {
            0 | 1 => {
                let mut left = usize::from(len);
                let mut sink = |bytes: &[u8]| {
                    let bytes = &bytes[..bytes.len().min(left)];
                    for &byte in bytes {
                        assert!(
                            *urgent || last.is_none_or(|last| byte == last.wrapping_add(1)),
                            "a gap in the stream"
                        );
                        *last = Some(byte);
                    }
                    left -= bytes.len();
                    bytes.len()
                };
                *reached += connection.read(now, &mut sink, wire).unwrap_or(0);
            }
            2 | 3 => {
                let bytes = Chunk::from(vec![0; usize::from(len).min(connection.room())]);
                let how = Send { more: len % 3 == 0, urgent: len % 5 == 0 };
                let _ = connection.send(now, bytes, how, wire);
            }
            4 => {
                let options = connection.options_mut();
                options.no_delay = len & 1 != 0;
                options.cork = len & 2 != 0;
                options.keep_alive = len & 4 != 0;
                options.receive_buffer = (len & 8 != 0).then(|| u32::from(len));
                options.send_buffer = (len & 16 != 0).then(|| u32::from(len));
                options.user_timeout = u64::from(len & 32) * 1000 * MILLISECOND;
                connection.options_changed(now, wire);
            }
            5 => {
                let _ = connection.read_urgent(len & 1 != 0);
                let _ = connection.peek(usize::from(len), &mut <[u8]>::len);
            }
            6 => connection.shut_down(now, len & 1 != 0, len & 2 != 0, wire),
            _ if len & 2 != 0 => connection.abort(now, wire),
            _ => connection.close(now, wire),
        });
        stream.look(|connection| {
            let info = connection.info(now);
            *reached += usize::from(info.state == State::Closed);
            let readiness = connection.readiness();
            assert!(readiness.contains(Readiness::READABLE) || connection.readable() == 0);
        });
        if what % 8 < 7 {
            self.stream = Some(stream);
        }
    }
}
